/*
 * clock.c - the clock interrupt of an instance: a thread that ticks and never waits for anyone.
 *
 * It beats and watches (apmp_member_tick), and where that finds work it interrupts the primary.
 * It is the first thread of the process: to that one the box gives a better scheduling class than
 * the rest where the host has one, because a heartbeat that is late looks like a death to others.
 */
#include <errno.h>
#include <time.h>

#include "instance/instance.h"
#include "shm/shared.h"

#define NS 1000000000u

static void sleep_until(uint64_t t_ns)
{
	struct timespec until = {.tv_sec = (time_t)(t_ns / NS), .tv_nsec = (long)(t_ns % NS)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

void instance_clock_start(struct instance *in)
{
	sem_post(&in->clock_start); /* it overflows after more posts than there are */
}

/* Instances on one host CPU tick together, so that one interrupt serves all of them and the host
 * CPU is woken once; those on different ones apart from each other, by the bits of the number
 * turned round: 0, 1/2, 1/4, 3/4 of a tick. */
static uint64_t phase(const struct instance *in)
{
	uint32_t host_cpu = apmp_load_relaxed(&in->hwrpb->slot[in->primary].host_cpu);
	uint64_t ns = 0, step = in->timing.tick_ns;

	for (; host_cpu; host_cpu /= 2) {
		step /= 2;
		ns += host_cpu % 2 * step;
	}
	return ns;
}

/* The first tick after this time. */
static uint64_t tick_after(const struct instance *in, uint64_t t_ns)
{
	uint64_t tick_ns = in->timing.tick_ns, off = phase(in);

	return ((t_ns - off) / tick_ns + 1) * tick_ns + off;
}

void instance_clock(struct instance *in)
{
	struct apmp_env *env = &in->env;
	uint64_t next;

	while (sem_wait(&in->clock_start) < 0)
		; /* EINTR */
	instance_thread_is(APMP_THREAD_CLOCK);
	instance_beacon(in, APMP_BEACON_CLOCK); /* before the first beat */
	next = tick_after(in, env->now(env));
	for (;;) {
		uint64_t now;
		int work;

		in->member.depth = instance_tasks_depth(in);
		work = instance_living(apmp_member_tick(&in->member));
		instance_crash_tick(in);
		/* A lost interrupt costs a tick: what is pending is announced again. */
		if (apmp_intr_due(env, in->primary) || work > 0 ||
		    apmp_load_relaxed(&in->trade.busy))
			apmp_intr_send(env, in->primary, APMP_INTR_WORK);
		instance_tasks_tick(in);
		next += in->timing.tick_ns;
		now = env->now(env);
		if (next < now) /* was late: no ticks in a bunch */
			next = tick_after(in, now);
		sleep_until(next);
	}
}
