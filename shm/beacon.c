/* beacon.c - the words of death beacons. */
#include "shm/beacon.h"

#include "shm/shared.h"

/* linux/futex.h, part of the kernel's ABI; libapmp includes no system headers. */
#define WAITERS	   0x80000000u
#define OWNER_DIED 0x40000000u
#define TID_MASK   0x3fffffffu

struct apmp_beacon apmp_beacon_of(uint32_t word)
{
	struct apmp_beacon beacon = {.word = word, .state = APMP_BEACON_ODD};

	if (!word) {
		beacon.state = APMP_BEACON_DARK;
	} else if (word & OWNER_DIED) {
		if (!(word & TID_MASK))
			beacon.state = APMP_BEACON_OUT;
	} else if (word & WAITERS && word & TID_MASK) {
		beacon.state = APMP_BEACON_LIT;
		beacon.thread = word & TID_MASK;
	}
	return beacon;
}

struct apmp_beacon apmp_beacon_read(const struct apmp_recorder *rec, uint32_t idx)
{
	return apmp_beacon_of(apmp_load_acquire(&rec->beacon[idx]));
}

void apmp_beacon_light(struct apmp_recorder *rec, uint32_t idx, uint32_t thread)
{
	/* "Somebody waits" from the start: without it the kernel would wake nobody. */
	apmp_store_release(&rec->beacon[idx], (thread & TID_MASK) | WAITERS);
}

void apmp_beacons_reset(struct apmp_recorder *rec)
{
	for (uint32_t idx = 0; idx < APMP_BEACONS; idx++)
		apmp_store_release(&rec->beacon[idx], 0);
}
