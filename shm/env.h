/*
 * env.h - the world as a parameter.
 *
 * libapmp never logs, exits, allocates, sleeps or reads a clock by itself; it asks this.  A real
 * instance fills it in with CLOCK_MONOTONIC, futexes and its console's socket, the simulator with
 * a virtual clock, a seeded scheduler and a console of its own.
 */
#ifndef APMP_SHM_ENV_H
#define APMP_SHM_ENV_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/call.h"
#include "shm/points.h"

#define APMP_NEVER UINT64_MAX

struct apmp_intr_line;

struct apmp_env {
	/* CLOCK_MONOTONIC in nanoseconds. */
	uint64_t (*now)(struct apmp_env *env);
	/* Waits while *word is seen, until woken or the deadline (ns of now; APMP_NEVER).
	 * 0 woken or changed, -ETIMEDOUT; may return early: the caller looks again. */
	int (*wait)(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		    uint64_t deadline_ns);
	/* Wakes at most count waiters on word. */
	void (*wake)(struct apmp_env *env, const _Atomic uint32_t *word, int count);
	/* A console callback; fills in call->reply.  0, or -errno when it could not be made. */
	int (*call)(struct apmp_env *env, struct apmp_call *call);
	/* Maps physical memory, page aligned, readable and writable by protocol code.
	 * 0; -EACCES not ours; -ENXIO no such memory; -ENOMEM. */
	int (*map)(struct apmp_env *env, uint64_t pa, uint64_t size, void **ret_base);
	/* Address space of this size without memory behind it, for map_at.  0; -ENOMEM. */
	int (*reserve)(struct apmp_env *env, uint64_t size, void **ret_base);
	/* As map, at this address, which lies in what was reserved or mapped before. */
	int (*map_at)(struct apmp_env *env, uint64_t pa, uint64_t size, void *at);
	/* Ends mappings, whole or in part, and reservations. */
	void (*unmap)(struct apmp_env *env, void *base, uint64_t size);
	/* A point was passed: record it; end here if the injector wants it. */
	void (*point)(struct apmp_env *env, enum apmp_point point, uint64_t arg);
	/* Tells the operator, through the console; never waits.  enum apmp_report. */
	void (*report)(struct apmp_env *env, uint32_t report, uint64_t about);
	struct apmp_intr_line *lines; /* interrupt lines of the machine, by CPU id */
	uint32_t line_count;
	uint32_t spin; /* looks at a held lock before it sleeps; 0 where one CPU runs all */
	uint64_t self; /* identity of this instance */
	/* When it returns, every thread of this process has passed a full fence.  NULL: there is no
	 * such thing; who relies on it makes fences of his own. */
	void (*fence_all)(struct apmp_env *env);
	/* Whether points on the path of a lock are to be passed: not 0; NULL: always. */
	const _Atomic uint32_t *armed;
};

/* Nanoseconds since a moment that any thread may store at any time: 0 when that is after our look
 * at the clock. */
static inline uint64_t apmp_env_since(struct apmp_env *env, const _Atomic uint64_t *moment_ns)
{
	uint64_t then = atomic_load_explicit(moment_ns, memory_order_acquire);
	uint64_t now = env->now(env);

	return now > then ? now - then : 0;
}

#define APMP_POINT(env, name)	       (env)->point((env), APMP_P_##name, 0)
#define APMP_POINT_ARG(env, name, arg) (env)->point((env), APMP_P_##name, (arg))
/* On the path of a lock, packet or notification: only while some point is armed. */
#define APMP_POINT_ARMED(env, name, arg)                                                           \
	do {                                                                                       \
		if (!(env)->armed || atomic_load_explicit((env)->armed, memory_order_relaxed))     \
			APMP_POINT_ARG(env, name, arg);                                            \
	} while (0)

#endif
