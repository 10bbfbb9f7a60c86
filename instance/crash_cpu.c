/*
 * crash_cpu.c - Fig. 27: what each CPU of an instance that fails does.
 *
 * WHAT      It saves its context, or its task's, and goes where its failover targets say, or
 *           stays in console mode (shm/pal_failover.c).
 * STATES    enum crash_step (instance_crash.h).  CRASH_SAVED: nothing of ours uses the CPU but
 *           this thread, on its way out.
 * CRASHES   fail_2700 to fail_stays: the partition dies with its CPU; the console reads the same
 *           table.  fail_goes: the CPU is its target's.
 * LIMITS    A task is stopped when the host next gives it a CPU, for that handler: on a host that
 *           is busy with other things, milliseconds.  One that can't be stopped in time keeps its
 *           CPU here: the console moves it after the fence, when nothing of us runs.
 */
#include <errno.h>
#include <unistd.h>

#include "instance/crash_internal.h"
#include "shm/pal.h"
#include "shm/shared.h"

bool crash_runs_on(const struct instance *in, uint32_t cpu_idx)
{
	return apmp_load_acquire(&in->env.lines[cpu_idx].runner) == in->env.self;
}

bool crash_take_control(struct instance *in, uint32_t cpu_idx, const ucontext_t *uc)
{
	_Atomic uint32_t *stopped = &in->crash.cpu[cpu_idx].stopped;
	struct instance_task_on on;

	if (instance_tasks_on(in, cpu_idx, &on)) {
		crash_catch(on.tid);
		while (!apmp_load_acquire(stopped))
			if (!crash_await_progress(in, stopped, 0))
				return false;
	}
	crash_save_context(in, cpu_idx, 0, uc); /* unless its task's is saved */
	return true;
}

static void step(struct instance *in, uint32_t cpu_idx, enum crash_step step)
{
	apmp_store_release(&in->crash.cpu[cpu_idx].step, step);
	crash_progress(in);
}

void crash_say_cpu(struct instance *in, uint32_t cpu_idx, const char *what, uint32_t to_id)
{
	struct crash_line line = {.length = 0};
	struct apmp_tree_partition to;

	crash_line_add_number(&line, cpu_idx);
	crash_line_add(&line, what);
	if (to_id != APMP_NO_PARTITION && apmp_tree_partition(&in->tree, to_id, &to) == 0)
		crash_line_add(&line, to.name);
	crash_say(in, "CPU ", line.text);
}

void crash_cpu_goes(struct instance *in, uint32_t cpu_idx, const ucontext_t *uc)
{
	uint32_t to_id;

	/* In PAL MIGRATE, or in console code: what it had begun is not begun twice. */
	if (!crash_runs_on(in, cpu_idx)) {
		step(in, cpu_idx, CRASH_SETTLED);
		instance_crash_wait(in);
	}
	if (!crash_take_control(in, cpu_idx, uc)) {
		crash_say_cpu(in, cpu_idx, " stays: its task can't be stopped", APMP_NO_PARTITION);
		step(in, cpu_idx, CRASH_SETTLED);
		instance_crash_wait(in);
	}
	APMP_POINT_ARG(&in->env, fail_2700, cpu_idx);
	step(in, cpu_idx, CRASH_SAVED);
	to_id = apmp_pal_fail_over(&in->env, &in->tree, in->hwrpb, in->id, cpu_idx);
	crash_say_cpu(in, cpu_idx, to_id == APMP_NO_PARTITION ? " stays" : " goes to ", to_id);
	step(in, cpu_idx, CRASH_SETTLED);
	instance_crash_wait(in);
}

void instance_crash_cpu(struct instance *in, uint32_t cpu_idx)
{
	ucontext_t uc = {0}; /* getcontext leaves out some registers */

	(void)crash_enter();
	(void)getcontext(&uc);
	crash_cpu_goes(in, cpu_idx, &uc);
}
