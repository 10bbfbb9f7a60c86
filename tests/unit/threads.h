/*
 * threads.h - parties of the world as threads on one mapping, so that the thread sanitizer sees
 * what they do to each other.
 *
 * Waiting is a real futex without a deadline: a wake-up that is lost is a test that never ends.
 */
#ifndef APMP_TESTS_THREADS_H
#define APMP_TESTS_THREADS_H

#include "tests/unit/world.h"

/* Gives a booted party callbacks that may be used beside other threads'. */
void threads_party(struct party *p);

/* Waits and wakes alone, for an environment that has no party. */
int threads_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		 uint64_t deadline_ns);
void threads_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count);

/* Runs body(0) to body(count - 1) at the same time, and returns when all have ended. */
void threads_run(uint32_t count, void (*body)(uint32_t idx));

#endif
