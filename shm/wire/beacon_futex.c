/* beacon_futex.c - robust list and futex_waitv. */
#include "shm/wire/beacon_futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel reads it when the thread ends: the list of one entry, whose word is elsewhere. */
struct own_list {
	struct robust_list_head head;
	struct robust_list entry;
};

static _Thread_local struct own_list own;

int apmp_beacon_futex_light(struct apmp_recorder *rec, uint32_t idx)
{
	uint32_t thread = (uint32_t)syscall(SYS_gettid);

	if (idx >= APMP_BEACONS)
		return -ERANGE;
	own.entry.next = &own.head.list;
	own.head.list.next = &own.entry;
	own.head.list_op_pending = NULL;
	own.head.futex_offset = (long)((uintptr_t)&rec->beacon[idx] - (uintptr_t)&own.entry);
	if (syscall(SYS_set_robust_list, &own.head, sizeof(own.head)) < 0)
		return -errno;
	apmp_beacon_light(rec, idx, thread);
	apmp_beacon_futex_wake(&rec->beacon[idx]); /* the box waits for it to be lit */
	return 0;
}

int apmp_beacon_futex_wait(const struct apmp_beacon_wait *waits, unsigned count)
{
	struct futex_waitv waiters[APMP_BEACON_WAITS];

	if (count > APMP_BEACON_WAITS)
		return -E2BIG;
	for (unsigned i = 0; i < count; i++)
		waiters[i] = (struct futex_waitv){
		    .uaddr = (uintptr_t)waits[i].word, .val = waits[i].seen, .flags = FUTEX_32};
	if (syscall(SYS_futex_waitv, waiters, count, 0, NULL, 0) >= 0 || errno == EAGAIN ||
	    errno == EINTR)
		return 0;
	return -errno;
}

void apmp_beacon_futex_wake(const _Atomic uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX); /* nobody waiting is no error */
}
