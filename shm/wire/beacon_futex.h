/*
 * beacon_futex.h - the kernel's part of death beacons: robust list and futex_waitv.
 */
#ifndef APMP_SHM_WIRE_BEACON_FUTEX_H
#define APMP_SHM_WIRE_BEACON_FUTEX_H

#include "shm/beacon.h"

/* Lights the calling thread's beacon, once in its life; rec stays mapped as long as the thread
 * lives.  It takes the place of the C library's list of robust mutexes, which must not be used in
 * this thread.  -ERANGE: idx; -errno of set_robust_list(): its end is then seen when it is
 * reaped. */
__attribute__((warn_unused_result)) int apmp_beacon_futex_light(struct apmp_recorder *rec,
								uint32_t idx);

/* A word to sleep on, until it is not `seen` any more. */
struct apmp_beacon_wait {
	const _Atomic uint32_t *word;
	uint32_t seen;
};

#define APMP_BEACON_WAITS 128u /* the kernel's limit */

/* Sleeps until one of them has changed and somebody said so, or for no reason: the caller looks at
 * all.  0; -E2BIG; -EFAULT a word is not mapped; -ENOSYS the kernel has no futex_waitv(). */
__attribute__((warn_unused_result)) int apmp_beacon_futex_wait(const struct apmp_beacon_wait *waits,
							       unsigned count);

/* Wakes who sleeps on a word. */
void apmp_beacon_futex_wake(const _Atomic uint32_t *word);

#endif
