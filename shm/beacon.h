/*
 * beacon.h - death beacons: words that the kernel itself changes when a thread ends.
 *
 * A thread that can reach shared memory lights its beacon, a robust futex word in its partition's
 * flight recorder.  The kernel puts it out (owner died, and wakes who waits) before it tears the
 * address space down, so the end of a thread is seen as early with a large memory as with a small
 * one [0143].  The word is only an event: its owner can write it, and a host number is no identity.
 * What is true the kernel says elsewhere (apmpd/exiting.h).
 */
#ifndef APMP_SHM_BEACON_H
#define APMP_SHM_BEACON_H

#include "shm/layout_recorder.h"

enum apmp_beacon_state {
	APMP_BEACON_DARK = 1, /* no thread has it yet */
	APMP_BEACON_LIT,      /* its thread lives */
	APMP_BEACON_OUT,      /* its thread has ended */
	APMP_BEACON_ODD,      /* no beacon looks like this: its owner wrote it */
};

struct apmp_beacon {
	uint32_t word;	 /* as it was read */
	uint32_t thread; /* of a lit one: the host's number of its thread */
	enum apmp_beacon_state state;
};

/* What a word means. */
struct apmp_beacon apmp_beacon_of(uint32_t word);

/* Reads one; idx below APMP_BEACONS. */
struct apmp_beacon apmp_beacon_read(const struct apmp_recorder *rec, uint32_t idx);

/* The calling thread, whose number on the host this is, lights its beacon.  It has told the kernel
 * of the word before (shm/wire/beacon_futex.h). */
void apmp_beacon_light(struct apmp_recorder *rec, uint32_t idx, uint32_t thread);

/* All dark, for a new life: every thread of the last one has been reaped. */
void apmp_beacons_reset(struct apmp_recorder *rec);

#endif
