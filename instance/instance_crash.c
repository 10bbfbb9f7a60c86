/*
 * instance_crash.c - the end of an instance that fails: Figs. 26A and 26B.
 *
 * WHAT      Whoever finds that the instance fails writes the last gasp, the first one for all.  The
 *           primary carries out the rest, in its signal handler if it is the one that failed, and
 *           caught by a signal where another did: it catches the active CPUs, which save their
 *           contexts and go (crash_cpu.c), sends the stopped ones after them, tells the console,
 *           and ends the process.
 *           Steps 2610 to 2614 are not done here.  Memory is dumped by the box, after the fence and
 *           before reuse: a dump by the one that failed would need what has just failed, would keep
 *           its CPUs and its place in the set for as long as its memory is large, and there would
 *           be none of a silent death.  The incarnation count and the state code of the primary are
 *           the console's to write, when it is told (2612).
 *           Who finds that it was judged dead only leaves its last gasp: by then others may be
 *           repairing what we shared (DESIGN 5).
 * STATES    running -> begun (in->crash.begun: nobody begins anything new) -> ended.  Of each CPU:
 *           enum crash_step.
 * WRITERS   hwrpb.crash: all that fail, the first one's (shm/crash.c).  hwrpb.saved: each CPU's own
 *           thread or its task's.
 * LOCKS     None is taken but the channel's, and that not for longer than the `stop` time: a thread
 *           that was caught holds what it held until the end.
 * ORDERING  begun is released after the record; who acquires it may read that.  Who ends the
 *           process has written the record before, or seen begun.
 * CRASHES   crash_2600 to crash_2612: a silent death, and the CPUs that have gone are their
 *           targets'.  A fault of the primary in here is one, too; a CPU that has one is waited for
 *           no more; who has one in that as well ends the process.
 * LIMITS    Nothing waits longer than the `stop` time for something that gets no further, and the
 *           clock, which beats until the end so that nobody suspects us, ends what is stuck after
 *           four of them.  Where the clock's own code failed nobody beats: then a crash that takes
 *           longer than `stop` ends as a silent death.
 */
#include <string.h>
#include <unistd.h>

#include "instance/crash_internal.h"
#include "shm/hwrpb.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

#define STUCK_STOPS 4u /* each step of the primary has its own `stop` */

extern const char __ehdr_start[]; /* the linker's: the program's first byte */

static _Thread_local volatile uint32_t failing; /* so many times, one in the other */

uint32_t crash_enter(void)
{
	return ++failing;
}

bool crash_entered(void)
{
	return failing;
}

/* ---- how far it is ---- */

void crash_progress(struct instance *in)
{
	struct crash *crash = &in->crash;

	apmp_store_relaxed(&crash->progress_ns, in->env.now(&in->env));
	apmp_fetch_add(&crash->progress, 1);
	in->env.wake(&in->env, &crash->progress, INT32_MAX);
}

static bool is_stuck(struct instance *in, uint32_t stops)
{
	return apmp_env_since(&in->env, &in->crash.progress_ns) > stops * in->timing.stop_ns;
}

bool crash_await_progress(struct instance *in, const _Atomic uint32_t *word, uint32_t seen)
{
	(void)in->env.wait(&in->env, word, seen, in->env.now(&in->env) + in->timing.tick_ns);
	return !is_stuck(in, 1);
}

void instance_crash_wait(struct instance *in)
{
	for (;;) {
		uint32_t seen = apmp_load_acquire(&in->crash.progress);

		(void)in->env.wait(&in->env, &in->crash.progress, seen,
				   in->env.now(&in->env) + in->timing.stop_ns);
		instance_crash_tick(in);
	}
}

void instance_crash_tick(struct instance *in)
{
	if (instance_crash_begun(&in->crash) && is_stuck(in, STUCK_STOPS))
		_exit(INSTANCE_EXIT_BUGCHECK);
}

/* ---- Fig. 26A ---- */

/* Step 2600. */
static void record(struct instance *in, struct apmp_crash *crash, const struct crash_self *self)
{
	/* Others may still write it when this thread has returned from its handler. */
	static _Thread_local struct apmp_crash gasp;

	crash->thread = self->thread;
	crash->t_ns = in->env.now(&in->env);
	crash->image = (uintptr_t)__ehdr_start;
	if (apmp_load_acquire(&in->crash.first) != &gasp)
		gasp = *crash;
	if (apmp_crash_write(in->hwrpb, &in->crash.first, &gasp))
		APMP_POINT_ARG(&in->env, crash_2600, crash->reason);
	crash_say(in, "bugcheck: ", crash->text);
}

/* Step 2602: all tasks at once, before the threads of their CPUs are woken: where many share a host
 * CPU, each of these would wait for the tasks of the others. */
static void stop_tasks(struct instance *in)
{
	struct instance_task_on on;

	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++)
		if (instance_tasks_on(in, i, &on))
			crash_catch(on.tid);
}

/* Step 2604.  A CPU that is just coming or going is interrupted and looks when it is there. */
static void order_all(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		uint32_t nothing = CRASH_NOTHING;

		if (i == in->primary || !apmp_hwrpb_is_busy(in->hwrpb, i))
			continue;
		(void)apmp_cas(&in->crash.cpu[i].step, &nothing, CRASH_ORDERED);
		apmp_intr_send(&in->env, i, APMP_INTR_WORK);
		crash_catch(crash_tid(i));
	}
}

/* Whether each one that was told is so far, or has left by a migration of before. */
static bool all_are(struct instance *in, enum crash_step step)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		uint32_t is = apmp_load_acquire(&in->crash.cpu[i].step);

		if (is != CRASH_NOTHING && is < (uint32_t)step && apmp_hwrpb_is_busy(in->hwrpb, i))
			return false;
	}
	return true;
}

/* What can't be had in time is left to the console. */
static void await_all(struct instance *in, enum crash_step step)
{
	bool patient = true;

	while (patient) {
		uint32_t seen = apmp_load_acquire(&in->crash.progress);

		if (all_are(in, step))
			return;
		patient = crash_await_progress(in, &in->crash.progress, seen);
	}
}

/* Sends a CPU that is in console mode to its next target [0332].  False: it has none any more. */
static bool send_stopped(struct instance *in, uint32_t cpu_idx)
{
	struct crash_cpu *cpu = &in->crash.cpu[cpu_idx];
	uint32_t to_id;

	if (!apmp_pal_send_stopped(&in->env, &in->tree, in->hwrpb, in->id, cpu_idx, &cpu->place,
				   &to_id))
		return false;
	apmp_store_release(&cpu->step, CRASH_ORDERED);
	crash_say_cpu(in, cpu_idx, ", which is stopped, is sent to ", to_id);
	return true;
}

/* Step 2608: those in console mode, but who has got there by failing.  One that was refused is in
 * console mode again, and is sent to its next target. */
static void send_all_stopped(struct instance *in)
{
	bool again = true;

	/* The first one also waits for those who go by themselves. */
	for (uint32_t round = 0; again && round < HWRPB_TARGETS; round++) {
		again = false;
		for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++)
			if (crash_tid(i) && /* else the console sends it */
			    apmp_load_acquire(&in->hwrpb->slot[i].state) == HWRPB_CPU_HALTED &&
			    apmp_load_acquire(&in->crash.cpu[i].step) <= CRASH_ORDERED)
				again = send_stopped(in, i) || again;
		await_all(in, CRASH_SETTLED);
	}
}

/* Step 2612.  The answer says that the console knows it for an announced end. */
static void tell_console(struct instance *in)
{
	struct apmp_call call = {.request = {.identity = in->env.self,
					     .op = APMP_CALL_EXIT,
					     .thread = in->primary,
					     .arg = {APMP_EXIT_CRASH}}};
	uint64_t deadline_ns = in->env.now(&in->env) + in->timing.stop_ns;

	/* In any case the box sees the end. */
	(void)!channel_call_until(&in->channel, &call, deadline_ns);
}

__attribute__((noreturn)) static void lead(struct instance *in, const ucontext_t *uc)
{
	struct apmp_env *env = &in->env;

	channel_abandon(&in->channel);
	stop_tasks(in);
	APMP_POINT(env, crash_2602);
	APMP_POINT(env, crash_2604);
	order_all(in);
	(void)!crash_take_control(in, in->primary, uc); /* one that runs on ends with us */
	await_all(in, CRASH_SAVED);
	APMP_POINT(env, crash_2606);
	send_all_stopped(in);
	APMP_POINT(env, crash_2608);
	APMP_POINT(env, crash_2612);
	tell_console(in);
	_exit(INSTANCE_EXIT_BUGCHECK);
}

/* ---- who fails, and who is caught ---- */

/* The thread of a task: its CPU has its context, and goes. */
__attribute__((noreturn)) static void stop_task(struct instance *in, const struct crash_self *self,
						const ucontext_t *uc)
{
	crash_save_context(in, self->thread, self->task, uc);
	apmp_store_release(&in->crash.cpu[self->thread].stopped, 1);
	in->env.wake(&in->env, &in->crash.cpu[self->thread].stopped, INT32_MAX);
	instance_crash_wait(in);
}

/* A fault in what is done because of a fault. */
__attribute__((noreturn)) static void fail_again(struct instance *in, const struct crash_self *self)
{
	if (self->is_cpu && self->thread == in->primary)
		_exit(INSTANCE_EXIT_BUGCHECK);
	if (self->is_cpu) {
		apmp_store_release(&in->crash.cpu[self->thread].step, CRASH_SETTLED);
		crash_progress(in);
	}
	instance_crash_wait(in);
}

void crash_fail(struct instance *in, struct apmp_crash *crash, const ucontext_t *uc,
		bool may_return)
{
	struct crash_self self;

	if (failing > 2) /* also in fail_again */
		_exit(INSTANCE_EXIT_BUGCHECK);
	self = crash_self(in);
	record(in, crash, &self);
	if (crash->reason == HWRPB_CRASH_REMOVED)
		_exit(INSTANCE_EXIT_BUGCHECK);
	if (failing > 1 && instance_crash_begun(&in->crash))
		fail_again(in, &self);
	crash_progress(in);
	apmp_store_release(&in->crash.begun, 1);
	if (self.is_cpu && crash->reason != HWRPB_CRASH_INSTRUCTION)
		crash_save_context(in, self.thread, 0, uc); /* not its task's, which did nothing */
	if (self.is_cpu && self.thread == in->primary)
		lead(in, uc);
	if (!may_return)
		channel_abandon(&in->channel);
	crash_catch(crash_tid(in->primary));
	if (self.is_cpu)
		crash_cpu_goes(in, self.thread, uc);
	if (self.task)
		stop_task(in, &self, uc);
	if (!may_return)
		instance_crash_wait(in);
	failing = 0;
}

void crash_caught(struct instance *in, const ucontext_t *uc)
{
	struct crash_self self = crash_self(in);

	if (failing || !instance_crash_begun(&in->crash))
		return;
	if (self.task) {
		(void)crash_enter();
		stop_task(in, &self, uc);
	}
	if (!self.is_cpu)
		return;
	if (self.thread == in->primary) {
		(void)crash_enter();
		lead(in, uc);
	}
	/* One that comes or goes looks when it is there: it may hold what others wait for. */
	if (crash_runs_on(in, self.thread)) {
		(void)crash_enter();
		crash_cpu_goes(in, self.thread, uc);
	}
}

void instance_crash(struct instance *in, enum hwrpb_crash_reason reason, const char *text)
{
	struct apmp_crash crash = {.reason = reason};
	ucontext_t uc = {0}; /* getcontext leaves out some registers */

	(void)crash_enter();
	strncpy(crash.text, text, sizeof(crash.text) - 1);
	(void)getcontext(&uc);
	crash_fail(in, &crash, &uc, false);
	_exit(INSTANCE_EXIT_BUGCHECK);
}
