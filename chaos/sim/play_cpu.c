/*
 * play_cpu.c - the CPUs of an instance but its primary, and what its primary does for them.
 *
 * The loops are those of instance/cpu.c and instance/primary.c; a CPU that moves has a participant
 * in each partition, which begins when it comes there for the first time in a life.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"
#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

static struct sim_cpus *cpus_of(struct sim_instance *in)
{
	return &((struct sim_private *)in->member)->cpus;
}

/* Two that run on one CPU: a real instance ends here. */
__attribute__((noreturn)) static void bugcheck(struct sim_instance *in, uint32_t k)
{
	sim_finding("%s finds that somebody else executes on CPU %u", in->member->name,
		    sim_cpu_idx(k));
	sim_exit(in);
}

/* It does not do what it was asked for by this number; 0: it was nobody who waits. */
static void refused(struct sim_instance *in, uint32_t k, uint32_t request, int err)
{
	if (request)
		(void)!apmp_hwrpb_request_refused(&in->hwrpb->slot[sim_cpu_idx(k)].request, request,
						  err);
}

/* Quiesced: leaves by the order.  0: its thread is in console code now. */
static int leave(struct sim_instance *in, uint32_t cpu_idx, uint32_t order, uint32_t to_id,
		 uint32_t how)
{
	struct apmp_env *env = &in->env;

	if (order == HWRPB_REQUEST_STOP)
		return apmp_pal_halt(env, in->hwrpb, cpu_idx);
	if (order == HWRPB_REQUEST_DEASSIGN)
		return apmp_pal_halt_deassign(env, &in->tree, in->hwrpb, in->id, cpu_idx);
	if (how & APMP_MIGRATE_HALT)
		return apmp_pal_halt_migrate(env, &in->tree, in->hwrpb, in->id, cpu_idx, to_id,
					     how);
	return apmp_pal_migrate(env, &in->tree, in->hwrpb, in->id, cpu_idx, to_id, how);
}

/* Follows an order; true when the CPU has left. */
static bool follow(struct sim_instance *in, uint32_t k, uint32_t order)
{
	struct sim_cpus *cpus = cpus_of(in);
	uint32_t cpu_idx = sim_cpu_idx(k), to_id = cpus->cpu[k].to_id, how = cpus->cpu[k].how;
	int err;

	if (sim_is_bound(in)) {
		apmp_store_release(&in->hwrpb->slot[cpu_idx].rxrdy, 0);
		refused(in, k, cpus->cpu[k].request, -ETXTBSY);
		apmp_store_release(&cpus->cpu[k].order, 0);
		return false;
	}
	apmp_pal_quiesce(&in->env, in->hwrpb, cpu_idx);
	sim_check_leaves(k);
	err = leave(in, cpu_idx, order, to_id, how);
	if (err == -EIO)
		bugcheck(in, k);
	if (err) {
		sim_check_enters(k);
		refused(in, k, cpus->cpu[k].request, err);
	}
	apmp_store_release(&cpus->cpu[k].order, 0);
	if (!err)
		return true;
	apmp_intr_send(&in->env, in->id, APMP_INTR_WORK);
	return false;
}

static void cpu_body(void *arg)
{
	struct sim_instance *in = arg;
	uint32_t k = sim.current->thread - SIM_CPU, cpu_idx = sim_cpu_idx(k), order;

	for (;;) {
		if (apmp_pal_console(&in->env, &in->tree, in->hwrpb, in->id, cpu_idx, APMP_NEVER))
			bugcheck(in, k);
		sim_check_enters(k);
		apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_ACTIVE);
		APMP_POINT_ARG(&in->env, migrate_910, cpu_idx);
		apmp_intr_send(&in->env, in->id, APMP_INTR_WORK);
		apmp_store_relaxed(&in->env.lines[cpu_idx].tree_can_wait, 1);
		do {
			(void)apmp_intr_wait(&in->env, cpu_idx, APMP_NEVER);
			if (sim_crash_begun(in))
				sim_crash_cpu(in, k);
			order = apmp_load_acquire(&cpus_of(in)->cpu[k].order);
		} while (!order || !follow(in, k, order));
	}
}

/* --- the primary --- */

static int arrive(struct sim_instance *in, uint32_t k, bool start)
{
	static const struct apmp_hwrpb_command command = {.word = APMP_COMMAND_START};
	struct sim_cpus *cpus = cpus_of(in);

	if (!cpus->cpu[k].has_thread)
		sim_participant_begin(sim_thread_of(in, SIM_CPU + k), cpu_body, in);
	cpus->cpu[k].has_thread = true;
	if (start) {
		int err = apmp_hwrpb_send(&in->env, in->hwrpb, sim_cpu_idx(k), &command);

		cpus->cpu[k].start_again &= err != 0;
		return err;
	}
	cpus->cpu[k].start_again = false;
	sim.cpu[k].may_halt = true;
	apmp_store_release(&in->hwrpb->slot[sim_cpu_idx(k)].state, HWRPB_CPU_HALTED);
	return 0;
}

static void take_startreq(struct sim_instance *in, uint32_t k)
{
	struct apmp_cpu_bits autostart;
	int err;

	switch (apmp_hwrpb_take_startreq(in->hwrpb, sim_cpu_idx(k), &err)) {
	case APMP_STARTREQ_COME:
		apmp_copy_out(&autostart, &in->hwrpb->autostart, sizeof(autostart));
		(void)!arrive(in, k, apmp_cpu_bits_test(&autostart, sim_cpu_idx(k)));
		break;
	case APMP_STARTREQ_REFUSED:
		refused(in, k, cpus_of(in)->cpu[k].request, -err);
		if (cpus_of(in)->cpu[k].start_again)
			(void)!arrive(in, k, true);
		break;
	default:
		break;
	}
}

/* A CPU in console mode: by RX. */
static int command(struct sim_instance *in, uint32_t k, uint32_t op, uint32_t to_id, uint32_t how,
		   uint32_t request)
{
	const struct apmp_hwrpb_command command = {
	    .word = op == HWRPB_REQUEST_MIGRATE ? APMP_COMMAND_MIGRATE : APMP_COMMAND_DEASSIGN,
	    .to_id = to_id,
	    .loan = how & APMP_MIGRATE_LOAN};
	int err = apmp_hwrpb_send(&in->env, in->hwrpb, sim_cpu_idx(k), &command);

	if (!err)
		cpus_of(in)->cpu[k].request = request;
	return err;
}

/* An active CPU: by interrupt. */
static int interrupt(struct sim_instance *in, uint32_t k, uint32_t op, uint32_t to_id, uint32_t how,
		     uint32_t request)
{
	struct sim_cpus *cpus = cpus_of(in);
	int err = 0;

	if (apmp_load_acquire(&cpus->cpu[k].order))
		return -EAGAIN;
	if (op == HWRPB_REQUEST_DEASSIGN)
		err = command(in, k, op, to_id, how, request);
	if (err)
		return err;
	cpus->cpu[k].start_again = op != HWRPB_REQUEST_STOP;
	cpus->cpu[k].to_id = to_id;
	cpus->cpu[k].how = how;
	cpus->cpu[k].request = request;
	sim.cpu[k].may_halt |= op == HWRPB_REQUEST_STOP;
	apmp_store_release(&cpus->cpu[k].order, op);
	apmp_intr_send(&in->env, sim_cpu_idx(k), APMP_INTR_WORK);
	return 0;
}

/* Available, but by an update that may be taken back. */
static bool is_coming(struct sim_instance *in, uint32_t cpu_idx)
{
	struct apmp_cpu_bits cpus;

	return apmp_hwrpb_available(&in->tree, in->hwrpb, &cpus) ||
	       !apmp_cpu_bits_test(&cpus, cpu_idx);
}

static int order(struct sim_instance *in, uint32_t k, uint32_t op, uint32_t to_id, uint32_t how,
		 uint32_t request)
{
	uint32_t cpu_idx = sim_cpu_idx(k), state;

	if (!(apmp_hwrpb_flags(in->hwrpb, cpu_idx) & HWRPB_PA))
		return -EPERM;
	state = apmp_load_acquire(&in->hwrpb->slot[cpu_idx].state);
	if (state == (op == HWRPB_REQUEST_START ? HWRPB_CPU_ACTIVE : HWRPB_CPU_HALTED) &&
	    (op == HWRPB_REQUEST_START || op == HWRPB_REQUEST_STOP))
		return -EALREADY;
	if (op == HWRPB_REQUEST_START && state != HWRPB_CPU_HALTED && is_coming(in, cpu_idx))
		return -EAGAIN;
	if (op == HWRPB_REQUEST_START)
		return arrive(in, k, true);
	if (state == HWRPB_CPU_HALTED)
		return command(in, k, op, to_id, how, request);
	return state == HWRPB_CPU_ACTIVE ? interrupt(in, k, op, to_id, how, request) : -EAGAIN;
}

/* The instance alone decides [0150]. */
static int obey(struct sim_instance *in, uint32_t k, const struct apmp_hwrpb_request *r)
{
	uint32_t to_id = (uint32_t)r->arg[0], how = (uint32_t)r->arg[1];
	int err = 0;

	if (r->op < HWRPB_REQUEST_MIGRATE || r->op > HWRPB_REQUEST_DEASSIGN)
		return -EINVAL;
	if (r->op == HWRPB_REQUEST_MIGRATE) {
		how &= APMP_MIGRATE_LOAN | APMP_MIGRATE_HALT;
		APMP_POINT_ARG(&in->env, migrate_902, sim_cpu_idx(k));
		if (!(how & APMP_MIGRATE_HALT))
			err = apmp_pal_validate(&in->tree, in->id, sim_cpu_idx(k), to_id);
	}
	return err ? err : order(in, k, r->op, to_id, how, r->seq);
}

static void answer(struct sim_instance *in, uint32_t k)
{
	struct hwrpb_request *request = &in->hwrpb->slot[sim_cpu_idx(k)].request;
	struct apmp_hwrpb_request r;
	int err;

	if (!apmp_hwrpb_request_get(request, &r))
		return;
	apmp_hwrpb_request_done(request, r.seq, 0);
	err = obey(in, k, &r);
	if (err)
		refused(in, k, r.seq, err);
}

void sim_cpus_work(struct sim_instance *in)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		take_startreq(in, k);
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		answer(in, k);
	if (apmp_load_relaxed(&in->hwrpb->end) == HWRPB_END_CRASH)
		sim_crash(in);
}

void sim_cpus_begin(struct sim_instance *in)
{
	struct apmp_cpu_bits cpus;
	uint64_t other;

	if (in->hwrpb)
		sim_arena_unmap(in->hwrpb, HWRPB_SIZE);
	in->hwrpb = sim_arena_map(SIM_HWRPB_PA(in->id), HWRPB_SIZE, true);
	if (apmp_hwrpb_check(in->hwrpb, HWRPB_SIZE))
		sim_finding("%s has no HWRPB", in->member->name);
	in->may_crash = true;
	if (apmp_intr_take(&in->env, in->id, &other))
		sim_finding("%s finds its primary's execution word taken by %#llx",
			    in->member->name, (unsigned long long)other);
	apmp_store_release(&in->hwrpb->slot[in->id].state, HWRPB_CPU_ACTIVE);
	while (apmp_hwrpb_available(&in->tree, in->hwrpb, &cpus))
		(void)apmp_intr_wait(&in->env, in->id,
				     in->env.now(&in->env) + sim.plan.timing.tick_ns);
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		if (apmp_cpu_bits_test(&cpus, sim_cpu_idx(k)))
			(void)!arrive(in, k, true);
}
