/*
 * crash_cpu.c - Fig. 27: what each CPU of an instance that fails does.
 *
 * WHAT      It saves its context, or its task's, looks up where it is to go, and goes there by PAL
 *           MIGRATE, as a loan: its permanent owner is what it was.  A target that refuses is
 *           followed by the next one.  Who is told to stay, or can go nowhere, gives up the
 *           execution word and is in console mode.
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
#include "shm/intr.h"
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

/* The partition it has gone to; APMP_NO_PARTITION: none. */
static uint32_t go(struct instance *in, uint32_t cpu_idx)
{
	struct apmp_env *env = &in->env;
	uint64_t targets = apmp_load_relaxed(&in->hwrpb->failover[cpu_idx]);
	uint32_t place = 0, to_id;
	bool goes;

	APMP_POINT_ARG(env, fail_2702, cpu_idx);
	goes = apmp_failover_next(targets, in->id, &place, &to_id);
	APMP_POINT_ARG(env, fail_2704, cpu_idx);
	for (; goes; goes = apmp_failover_next(targets, in->id, &place, &to_id)) {
		/* As after an order; an error leaves it ACTIVE, or without its execution word. */
		apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_QUIESCED);
		if (!apmp_pal_migrate(env, &in->tree, in->hwrpb, in->id, cpu_idx, to_id,
				      APMP_MIGRATE_LOAN))
			return to_id;
	}
	return APMP_NO_PARTITION;
}

static void stay(struct instance *in, uint32_t cpu_idx)
{
	/* Not by HALT, for which it may have had other orders.  Refused: somebody else runs there,
	 * which may be why we are here. */
	(void)!apmp_intr_give(&in->env, cpu_idx);
	apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_HALTED);
	APMP_POINT_ARG(&in->env, fail_stays, cpu_idx);
	crash_say_cpu(in, cpu_idx, " stays", APMP_NO_PARTITION);
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
	to_id = go(in, cpu_idx);
	if (to_id == APMP_NO_PARTITION) {
		stay(in, cpu_idx);
	} else {
		APMP_POINT_ARG(&in->env, fail_goes, cpu_idx);
		crash_say_cpu(in, cpu_idx, " goes to ", to_id);
	}
	step(in, cpu_idx, CRASH_SETTLED);
	instance_crash_wait(in);
}

void instance_crash_cpu(struct instance *in, uint32_t cpu_idx)
{
	ucontext_t uc;

	(void)crash_enter();
	(void)getcontext(&uc);
	crash_cpu_goes(in, cpu_idx, &uc);
}
