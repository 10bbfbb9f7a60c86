/* intr.c - interrupt lines: a pending mask and a doorbell for each CPU. */
#include "shm/intr.h"

#include <errno.h>

#include "shm/shared.h"

static void pend(struct apmp_intr_line *line, uint64_t reasons)
{
	apmp_fetch_or(&line->pending, reasons);
	/* Release: the waiter that sees the doorbell's new value sees what is pending. */
	apmp_fetch_add(&line->doorbell, 1);
}

void apmp_intr_send(struct apmp_env *env, uint32_t cpu_idx, uint64_t reasons)
{
	struct apmp_intr_line *line;

	if (cpu_idx >= env->line_count)
		return;
	line = &env->lines[cpu_idx];
	pend(line, reasons);
	/* 256 CPUs to wake take milliseconds, in which nobody recovers anything. */
	if (reasons == APMP_INTR_TREE && apmp_load_relaxed(&line->tree_can_wait))
		return;
	env->wake(env, &line->doorbell, INT32_MAX);
}

void apmp_intr_all(struct apmp_env *env, uint64_t reasons)
{
	for (uint32_t cpu = 0; cpu < env->line_count; cpu++)
		apmp_intr_send(env, cpu, reasons);
}

void apmp_intr_moved(struct apmp_env *env)
{
	for (uint32_t cpu = 0; cpu < env->line_count; cpu++)
		pend(&env->lines[cpu], APMP_INTR_MOVED);
}

bool apmp_intr_due(struct apmp_env *env, uint32_t cpu_idx)
{
	_Atomic uint64_t *pending = &env->lines[cpu_idx].pending;
	uint64_t reasons = apmp_load_relaxed(pending);

	if (reasons & APMP_INTR_MOVED)
		reasons = apmp_fetch_and(pending, ~(uint64_t)APMP_INTR_MOVED);
	return reasons & ~(uint64_t)APMP_INTR_MOVED;
}

uint64_t apmp_intr_wait(struct apmp_env *env, uint32_t cpu_idx, uint64_t deadline_ns)
{
	struct apmp_intr_line *line = &env->lines[cpu_idx];
	/* Read before pending: an interrupt in between changes it and the wait returns at once. */
	uint32_t seen = apmp_load_acquire(&line->doorbell);
	uint64_t reasons = apmp_swap(&line->pending, 0);

	if (reasons)
		return reasons;
	(void)env->wait(env, &line->doorbell, seen, deadline_ns); /* why it ended doesn't matter */
	return apmp_swap(&line->pending, 0);
}

int apmp_intr_take(struct apmp_env *env, uint32_t cpu_idx, uint64_t *ret_other)
{
	struct apmp_intr_line *line = &env->lines[cpu_idx];
	uint64_t nobody = 0;

	if (!apmp_cas(&line->runner, &nobody, env->self)) {
		*ret_other = nobody;
		return -EBUSY;
	}
	apmp_fetch_add(&line->taken, 1);
	return 0;
}

int apmp_intr_give(struct apmp_env *env, uint32_t cpu_idx)
{
	uint64_t self = env->self;

	return apmp_cas(&env->lines[cpu_idx].runner, &self, 0) ? 0 : -EBUSY;
}
