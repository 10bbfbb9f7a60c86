/*
 * clock.c - the clock interrupt of an instance: a thread that ticks and never waits for anyone.
 *
 * It beats and watches (apmp_member_tick), and where that finds work it interrupts the primary.
 * It has a better scheduling class than the rest where the host gives one, because a heartbeat
 * that is late looks like a death to others.
 */
#include <errno.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"

#define NS 1000000000u
/* Above every normal thread, below anything that an administrator made urgent. */
#define CLOCK_PRIORITY 10

static void sleep_until(uint64_t t_ns)
{
	struct timespec until = {.tv_sec = (time_t)(t_ns / NS), .tv_nsec = (long)(t_ns % NS)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static void *clock_main(void *arg)
{
	struct instance *in = arg;
	struct apmp_env *env = &in->env;
	struct apmp_intr_line *line = &env->lines[in->primary];
	uint64_t next = env->now(env);

	instance_thread_is(APMP_THREAD_CLOCK);
	(void)pthread_setname_np(pthread_self(), "clock"); /* for top -H and gdb */
	for (;;) {
		uint64_t now;
		int work = apmp_member_tick(&in->member);

		if (work == -EOWNERDEAD)
			_exit(INSTANCE_EXIT_BUGCHECK); /* touch nothing that is shared */
		/* A lost interrupt costs a tick: what is pending is announced again. */
		if (work > 0 || apmp_load_relaxed(&line->pending))
			apmp_intr_send(env, in->primary, APMP_INTR_WORK);
		next += in->timing.tick_ns;
		now = env->now(env);
		if (next < now) /* was late: no ticks in a bunch */
			next = now + in->timing.tick_ns;
		sleep_until(next);
	}
	return NULL;
}

int instance_clock_start(struct instance *in)
{
	struct sched_param urgent = {.sched_priority = CLOCK_PRIORITY};
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	err = instance_stack(in, &attr);
	if (!err)
		err = -pthread_create(&thread, &attr, clock_main, in);
	pthread_attr_destroy(&attr);
	if (err)
		return err;
	/* Refused to an ordinary user: `apmp doctor` says which class heartbeats get. */
	(void)pthread_setschedparam(thread, SCHED_FIFO, &urgent);
	return 0;
}
