/*
 * linux_env.h - the host's part of struct apmp_env: clock, futex, points; and what a panic does.
 */
#ifndef APMP_SHM_WIRE_LINUX_ENV_H
#define APMP_SHM_WIRE_LINUX_ENV_H

#include "shm/env.h"
#include "shm/recorder.h"

/* For env->now, ->wait and ->wake: CLOCK_MONOTONIC and futexes that work between processes. */
uint64_t apmp_linux_now(struct apmp_env *env);
int apmp_linux_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		    uint64_t deadline_ns);
void apmp_linux_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count);

/* For env->fence_all, where the process could be registered for it: whether it could. */
bool apmp_linux_has_fence_all(void);
void apmp_linux_fence_all(struct apmp_env *env);

/* Records a point.  When it was armed its fault strikes the caller: APMP_FAULT_KILL ends the
 * process on the spot, without any handler; the others go on where the program's handlers do. */
void apmp_linux_pass(struct apmp_recorder *rec, enum apmp_point point, uint32_t thread,
		     uint64_t arg);

/* Where apmp_panic writes its record; until then only to standard error. */
void apmp_linux_panic_into(struct apmp_recorder *rec);
/* Who ends the process behind it, with the record's text, in place of abort(). */
void apmp_linux_panic_by(void (*end)(const char *text));

#endif
