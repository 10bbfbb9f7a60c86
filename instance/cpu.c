/*
 * cpu.c - the CPUs of an instance but its primary: one thread for each that ever ran here.
 *
 * STATES    no thread -> parked (console code, polls RXRDY) -> active (waits for interrupts)
 *           -> quiesced -> PAL MIGRATE -> parked, when the CPU has gone; active again when the
 *           migration was refused.
 * LIMITS    Stacks lie in the base fragment of private memory: a CPU that comes when there is no
 *           room for another is refused, and stays here without working until the next boot.
 * WRITERS   order and its arguments: the primary before the interrupt; the CPU clears it.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/pal.h"
#include "shm/shared.h"

void instance_bugcheck(struct instance *in, uint32_t cpu_idx)
{
	instance_say(in, "bugcheck: CPU %u is run by somebody else, or its line was written over",
		     cpu_idx);
	_exit(INSTANCE_EXIT_BUGCHECK);
}

int instance_stack(struct instance *in, pthread_attr_t *attr)
{
	unsigned char *stack = in->stacks + in->stacks_used;

	if (!in->stacks || in->stacks_size - in->stacks_used < INSTANCE_STACK_SIZE)
		return -ENOMEM;
	in->stacks_used += INSTANCE_STACK_SIZE;
	return -pthread_attr_setstack(attr, stack, INSTANCE_STACK_SIZE);
}

void instance_cpu_pin(struct instance *in, uint32_t cpu_idx)
{
	uint32_t host_cpu = apmp_load_relaxed(&in->hwrpb->slot[cpu_idx].host_cpu);
	cpu_set_t set;

	CPU_ZERO(&set);
	if (host_cpu < CPU_SETSIZE)
		CPU_SET(host_cpu, &set);
	/* Advisory: where it is refused the partition's cpuset still holds. */
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void refused(struct cpu *cpu, int err)
{
	struct instance *in = cpu->instance;

	in->env.report(&in->env, APMP_REPORT_CPU_REFUSED,
		       cpu->idx | (uint64_t)(uint32_t)-err << 32);
}

/* Becomes active: in SMP, known to the operator, and to the others through the primary. */
static void activate(struct cpu *cpu)
{
	struct instance *in = cpu->instance;

	instance_cpu_pin(in, cpu->idx);
	apmp_store_release(&in->hwrpb->slot[cpu->idx].state, HWRPB_CPU_ACTIVE);
	APMP_POINT_ARG(&in->env, migrate_910, cpu->idx);
	in->env.report(&in->env, APMP_REPORT_CPU_ACTIVE, cpu->idx);
	apmp_intr_send(&in->env, in->primary, APMP_INTR_WORK);
}

/* Runs here until it has migrated away. */
static void run(struct cpu *cpu)
{
	struct instance *in = cpu->instance;
	struct apmp_env *env = &in->env;

	/* What the tree says is the primary's to act on. */
	apmp_store_relaxed(&env->lines[cpu->idx].tree_can_wait, 1);
	for (;;) {
		uint32_t to_id;
		bool loan;
		int err;

		(void)instance_tasks_wait(in, cpu->idx);
		if (apmp_load_acquire(&cpu->order) != CPU_ORDER_MIGRATE)
			continue;
		apmp_store_release(&in->hwrpb->slot[cpu->idx].state, HWRPB_CPU_QUIESCED);
		APMP_POINT_ARG(env, migrate_904, cpu->idx);
		env->report(env, APMP_REPORT_CPU_QUIESCED, cpu->idx);
		to_id = cpu->to_id;
		loan = cpu->loan;
		/* Acquired by the primary: who sees it sees that the CPU is quiesced. */
		apmp_store_release(&cpu->order, CPU_ORDER_NONE);
		err = apmp_pal_migrate(env, &in->tree, in->hwrpb, in->id, cpu->idx, to_id, loan);
		if (err == -EIO)
			instance_bugcheck(in, cpu->idx);
		if (!err)
			return;
		refused(cpu, err);
		/* Acquired by who follows it: the CPU goes on here. */
		apmp_store_release(&cpu->refusal, err);
		apmp_intr_send(env, in->primary, APMP_INTR_WORK);
	}
}

static void *cpu_main(void *arg)
{
	struct cpu *cpu = arg;
	struct instance *in = cpu->instance;
	char name[16];

	instance_thread_is(cpu->idx);
	instance_beacon(in, cpu->idx);
	snprintf(name, sizeof(name), "cpu %u", cpu->idx);
	(void)pthread_setname_np(pthread_self(), name); /* for top -H and gdb */
	for (;;) {
		if (apmp_pal_park(&in->env, in->hwrpb, cpu->idx, APMP_NEVER))
			instance_bugcheck(in, cpu->idx);
		activate(cpu);
		run(cpu);
	}
	return NULL;
}

int instance_cpu_start(struct instance *in, uint32_t cpu_idx)
{
	struct cpu *cpu = &in->cpu[cpu_idx];
	pthread_attr_t attr;
	int err = 0;

	if (!cpu->has_thread) {
		cpu->instance = in;
		cpu->idx = cpu_idx;
		pthread_attr_init(&attr);
		err = instance_stack(in, &attr);
		if (!err)
			err = -pthread_create(&cpu->thread, &attr, cpu_main, cpu);
		pthread_attr_destroy(&attr);
		cpu->has_thread = !err;
	}
	if (err)
		refused(cpu, err);
	else
		apmp_hwrpb_send_start(&in->env, in->hwrpb, cpu_idx);
	return err;
}

int instance_cpu_migrate(struct instance *in, uint32_t cpu_idx, uint32_t to_id, bool loan)
{
	struct cpu *cpu = &in->cpu[cpu_idx];

	if (cpu_idx == in->primary)
		return -EBUSY;
	if (!(apmp_hwrpb_flags(in->hwrpb, cpu_idx) & HWRPB_PA))
		return -EPERM;
	/* An order that the CPU has not taken yet must not change under it. */
	if (!cpu->has_thread || apmp_load_acquire(&cpu->order) != CPU_ORDER_NONE ||
	    apmp_load_acquire(&in->hwrpb->slot[cpu_idx].state) != HWRPB_CPU_ACTIVE)
		return -EAGAIN;
	cpu->to_id = to_id;
	cpu->loan = loan;
	/* Acquired by the CPU, which then reads where to go. */
	apmp_store_release(&cpu->order, CPU_ORDER_MIGRATE);
	apmp_intr_send(&in->env, cpu_idx, APMP_INTR_WORK);
	return 0;
}
