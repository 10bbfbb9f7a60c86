/*
 * cpu.c - the CPUs of an instance but its primary: one thread for each that ever ran here, and the
 * orders that the primary gives them.
 *
 * STATES    no thread -> console code (away, or ours and halted: shm/pal_console.c) -> active (runs
 *           tasks, waits for interrupts) -> quiesced -> PAL MIGRATE or HALT -> console code.
 *           Active again when its task is bound to it, or when PAL MIGRATE was refused.
 * WRITERS   order and its arguments: the primary before the interrupt; the CPU clears it when it
 *           has left, or when it stays and has said why.
 *           start_again: the primary, with an order to an active CPU that it may refuse when it is
 *           halted already; what is ordered of the halted one meanwhile leaves it as it is.
 * LIMITS    Stacks lie in the base fragment of private memory: a CPU that comes when there is no
 *           room for another can't be started.  It is in console mode; what it is told there the
 *           primary does for it (primary.c).
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "instance/instance.h"
#include "shm/hwrpb_message.h"
#include "shm/pal.h"
#include "shm/shared.h"

void instance_bugcheck(struct instance *in, uint32_t cpu_idx)
{
	char text[HWRPB_CRASH_TEXT];

	snprintf(text, sizeof(text), "CPU %u is run by somebody else, or its line was written over",
		 cpu_idx);
	instance_crash(in, HWRPB_CRASH_RUNNER, text);
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

void instance_cpu_refused(struct instance *in, uint32_t cpu_idx, uint32_t request, int err)
{
	if (request && apmp_hwrpb_request_refused(&in->hwrpb->slot[cpu_idx].request, request, err))
		in->env.report(&in->env, APMP_REPORT_CPU_REFUSED, cpu_idx);
}

/* It has come, and gets no thread: it is in console mode. */
static void not_started(struct instance *in, uint32_t cpu_idx, int err)
{
	struct hwrpb_slot *slot = &in->hwrpb->slot[cpu_idx];

	instance_say(in, "CPU %u can't start: no memory for its stack", cpu_idx);
	/* Acquired by the console, which compares the number with that of its STARTREQ. */
	apmp_store_release(&slot->not_started,
			   apmp_load_relaxed(&slot->arrivals) << 32 | (uint32_t)-err);
	in->env.report(&in->env, APMP_REPORT_CPU_REFUSED, cpu_idx);
	apmp_store_release(&slot->state, HWRPB_CPU_HALTED);
	in->env.report(&in->env, APMP_REPORT_CPU_HALTED, cpu_idx);
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

/* Quiesced: leaves by the order.  0: its thread is in console code now. */
static int leave(struct cpu *cpu, enum cpu_order order, uint32_t to_id, uint32_t how)
{
	struct instance *in = cpu->instance;
	struct apmp_env *env = &in->env;

	if (order == CPU_ORDER_STOP)
		return apmp_pal_halt(env, in->hwrpb, cpu->idx);
	if (order == CPU_ORDER_DEASSIGN)
		return apmp_pal_halt_deassign(env, &in->tree, in->hwrpb, in->id, cpu->idx);
	if (how & APMP_MIGRATE_HALT)
		return apmp_pal_halt_migrate(env, &in->tree, in->hwrpb, in->id, cpu->idx, to_id,
					     how);
	return apmp_pal_migrate(env, &in->tree, in->hwrpb, in->id, cpu->idx, to_id, how);
}

/* It goes on here: told to the operator, and to who follows it (trade_cpus.c). */
static void stay(struct cpu *cpu, int err)
{
	struct instance *in = cpu->instance;

	instance_cpu_refused(in, cpu->idx, cpu->request, err);
	apmp_store_relaxed(&cpu->refusal, err);
	/* Acquired by the primary: the CPU is active again, and why. */
	apmp_store_release(&cpu->order, CPU_ORDER_NONE);
	apmp_intr_send(&in->env, in->primary, APMP_INTR_WORK);
}

/* Follows an order; true when the CPU has left. */
static bool follow(struct cpu *cpu, enum cpu_order order)
{
	struct instance *in = cpu->instance;
	int err = instance_tasks_quiesce(in, cpu->idx);

	if (err) {
		apmp_store_release(&in->hwrpb->slot[cpu->idx].rxrdy, 0); /* DEASSIGN may be there */
		stay(cpu, err);
		return false;
	}
	apmp_pal_quiesce(&in->env, in->hwrpb, cpu->idx);
	if (order != CPU_ORDER_MIGRATE) /* else MIGRATE_CPU says so */
		in->env.report(&in->env, APMP_REPORT_CPU_QUIESCED, cpu->idx);
	err = leave(cpu, order, cpu->to_id, cpu->how);
	if (err == -EIO)
		instance_bugcheck(in, cpu->idx);
	if (err)
		stay(cpu, err);
	else /* acquired by the primary: who sees it sees that the CPU has left */
		apmp_store_release(&cpu->order, CPU_ORDER_NONE);
	return !err;
}

/* Runs here until it has left. */
static void run(struct cpu *cpu)
{
	struct instance *in = cpu->instance;
	enum cpu_order order;

	/* What the tree says is the primary's to act on. */
	apmp_store_relaxed(&in->env.lines[cpu->idx].tree_can_wait, 1);
	do {
		(void)instance_tasks_wait(in, cpu->idx);
		if (instance_crash_begun(&in->crash))
			instance_crash_cpu(in, cpu->idx);
		/* Acquires its arguments. */
		order = apmp_load_acquire(&cpu->order);
	} while (order == CPU_ORDER_NONE || !follow(cpu, order));
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
		if (apmp_pal_console(&in->env, &in->tree, in->hwrpb, in->id, cpu->idx, APMP_NEVER))
			instance_bugcheck(in, cpu->idx);
		activate(cpu);
		run(cpu);
	}
	return NULL;
}

/* The thread of a CPU that never ran here. */
static int make_thread(struct instance *in, uint32_t cpu_idx)
{
	struct cpu *cpu = &in->cpu[cpu_idx];
	pthread_attr_t attr;
	int err;

	cpu->instance = in;
	cpu->idx = cpu_idx;
	pthread_attr_init(&attr);
	err = instance_stack(in, &attr);
	if (!err)
		err = -pthread_create(&cpu->thread, &attr, cpu_main, cpu);
	pthread_attr_destroy(&attr);
	cpu->has_thread = !err;
	return err;
}

int instance_cpu_arrive(struct instance *in, uint32_t cpu_idx, bool start)
{
	static const struct apmp_hwrpb_command command = {.word = APMP_COMMAND_START};
	struct cpu *cpu = &in->cpu[cpu_idx];
	int err = cpu->has_thread ? 0 : make_thread(in, cpu_idx);

	if (!err && start) {
		err = apmp_hwrpb_send(&in->env, in->hwrpb, cpu_idx, &command);
		cpu->start_again &= err != 0;
		return err;
	}
	if (!err) {
		cpu->start_again = false;
		apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_HALTED);
		in->env.report(&in->env, APMP_REPORT_CPU_HALTED, cpu_idx);
		return 0;
	}
	not_started(in, cpu_idx, err);
	return err;
}

void instance_cpu_stays(struct instance *in, uint32_t cpu_idx, int err)
{
	instance_cpu_refused(in, cpu_idx, in->cpu[cpu_idx].request, -err);
	if (in->cpu[cpu_idx].start_again)
		(void)!instance_cpu_arrive(in, cpu_idx, true); /* -EAGAIN: by an order, just now */
}

/* A CPU in console mode: by RX. */
static int command(struct instance *in, uint32_t cpu_idx, enum cpu_order order, uint32_t to_id,
		   uint32_t how, uint32_t request)
{
	const struct apmp_hwrpb_command command = {
	    .word = order == CPU_ORDER_MIGRATE ? APMP_COMMAND_MIGRATE : APMP_COMMAND_DEASSIGN,
	    .to_id = to_id,
	    .loan = how & APMP_MIGRATE_LOAN};
	int err = apmp_hwrpb_send(&in->env, in->hwrpb, cpu_idx, &command);

	if (!err)
		in->cpu[cpu_idx].request = request;
	return err;
}

/* An active CPU: by interrupt. */
static int interrupt(struct instance *in, uint32_t cpu_idx, enum cpu_order order, uint32_t to_id,
		     uint32_t how, uint32_t request)
{
	struct cpu *cpu = &in->cpu[cpu_idx];
	int err = 0;

	/* An order that the CPU has not taken yet must not change under it. */
	if (apmp_load_acquire(&cpu->order) != CPU_ORDER_NONE)
		return -EAGAIN;
	if (instance_tasks_bound(in, cpu_idx))
		return -ETXTBSY;
	if (order == CPU_ORDER_DEASSIGN)
		err = command(in, cpu_idx, order, to_id, how, request);
	if (err)
		return err;
	cpu->start_again = order != CPU_ORDER_STOP;
	cpu->to_id = to_id;
	cpu->how = how;
	cpu->request = request;
	/* Acquired by the CPU, which then reads where to go. */
	apmp_store_release(&cpu->order, order);
	apmp_intr_send(&in->env, cpu_idx, APMP_INTR_WORK);
	return 0;
}

/* Available, but by an update that may be taken back: STARTREQ follows it. */
static bool is_coming(const struct instance *in, uint32_t cpu_idx)
{
	struct apmp_cpu_bits cpus;

	return apmp_hwrpb_available(&in->tree, in->hwrpb, &cpus) ||
	       !apmp_cpu_bits_test(&cpus, cpu_idx);
}

int instance_cpu_order(struct instance *in, uint32_t cpu_idx, enum cpu_order order, uint32_t to_id,
		       uint32_t how, uint32_t request)
{
	uint32_t state;

	if (cpu_idx == in->primary)
		return -EBUSY;
	if (!(apmp_hwrpb_flags(in->hwrpb, cpu_idx) & HWRPB_PA))
		return -EPERM;
	state = apmp_load_acquire(&in->hwrpb->slot[cpu_idx].state);
	if (state == (order == CPU_ORDER_START ? HWRPB_CPU_ACTIVE : HWRPB_CPU_HALTED) &&
	    (order == CPU_ORDER_START || order == CPU_ORDER_STOP))
		return -EALREADY;
	if (order == CPU_ORDER_START && state != HWRPB_CPU_HALTED && is_coming(in, cpu_idx))
		return -EAGAIN;
	if (order == CPU_ORDER_START)
		return instance_cpu_arrive(in, cpu_idx, true);
	if (state == HWRPB_CPU_HALTED)
		return command(in, cpu_idx, order, to_id, how, request);
	return state == HWRPB_CPU_ACTIVE ? interrupt(in, cpu_idx, order, to_id, how, request)
					 : -EAGAIN;
}
