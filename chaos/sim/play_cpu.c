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
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

/* The CPU whose participant runs. */
static uint32_t this_cpu(void)
{
	return sim.current->thread - SIM_CPU;
}

/* Two that run on one CPU: a real instance ends here. */
__attribute__((noreturn)) static void bugcheck(struct sim_instance *in, uint32_t k)
{
	sim_finding("%s finds the execution word of CPU %u taken", in->member->name,
		    sim_cpu_idx(k));
	sim_exit(in);
}

/* Executes here until it has migrated away. */
static void run(struct sim_instance *in, uint32_t k)
{
	struct apmp_env *env = &in->env;
	uint32_t cpu_idx = sim_cpu_idx(k);

	apmp_store_relaxed(&env->lines[cpu_idx].tree_can_wait, 1);
	for (;;) {
		int err;

		(void)apmp_intr_wait(env, cpu_idx, APMP_NEVER);
		if (in->cpu[k].order != HWRPB_REQUEST_MIGRATE)
			continue;
		apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_QUIESCED);
		APMP_POINT_ARG(env, migrate_904, cpu_idx);
		in->cpu[k].order = 0;
		sim_check_leaves(k);
		err = apmp_pal_migrate(env, &in->tree, in->hwrpb, in->id, cpu_idx,
				       (uint32_t)in->cpu[k].to, in->cpu[k].flags);
		if (err == -EIO)
			bugcheck(in, k);
		if (!err)
			return;
		sim_check_enters(k);
		apmp_intr_send(env, in->id, APMP_INTR_WORK);
	}
}

static void cpu_body(void *arg)
{
	struct sim_instance *in = arg;
	uint32_t k = this_cpu(), cpu_idx = sim_cpu_idx(k);

	for (;;) {
		if (apmp_pal_park(&in->env, in->hwrpb, cpu_idx, APMP_NEVER))
			bugcheck(in, k);
		sim_check_enters(k);
		apmp_store_release(&in->hwrpb->slot[cpu_idx].state, HWRPB_CPU_ACTIVE);
		APMP_POINT_ARG(&in->env, migrate_910, cpu_idx);
		apmp_intr_send(&in->env, in->id, APMP_INTR_WORK);
		run(in, k);
	}
}

static void start(struct sim_instance *in, uint32_t k)
{
	if (!in->cpu[k].has_thread)
		sim_participant_begin(sim_thread_of(in, SIM_CPU + k), cpu_body, in);
	in->cpu[k].has_thread = true;
	apmp_hwrpb_send_start(&in->env, in->hwrpb, sim_cpu_idx(k));
}

/* The instance alone decides [0150]. */
static int order(struct sim_instance *in, const struct apmp_hwrpb_request *r)
{
	uint32_t k = (uint32_t)r->arg[0] - sim.plan.instances;
	int err;

	if (r->op != HWRPB_REQUEST_MIGRATE || k >= sim.plan.cpus)
		return -EINVAL;
	APMP_POINT_ARG(&in->env, migrate_902, r->arg[0]);
	err = apmp_pal_validate(&in->tree, in->id, (uint32_t)r->arg[0], (uint32_t)r->arg[1]);
	if (err)
		return err;
	if (!in->cpu[k].has_thread || in->cpu[k].order ||
	    apmp_load_acquire(&in->hwrpb->slot[r->arg[0]].state) != HWRPB_CPU_ACTIVE)
		return -EAGAIN;
	in->cpu[k].to = r->arg[1];
	in->cpu[k].flags = r->arg[2];
	in->cpu[k].order = r->op;
	apmp_intr_send(&in->env, (uint32_t)r->arg[0], APMP_INTR_WORK);
	return 0;
}

void sim_cpus_work(struct sim_instance *in)
{
	struct apmp_hwrpb_request r;

	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		if (apmp_hwrpb_take_startreq(in->hwrpb, sim_cpu_idx(k)))
			start(in, k);
	if (apmp_hwrpb_request_get(in->hwrpb, &r))
		apmp_hwrpb_request_done(in->hwrpb, r.seq, order(in, &r));
}

void sim_cpus_begin(struct sim_instance *in)
{
	uint64_t other;

	if (in->hwrpb)
		sim_arena_unmap(in->hwrpb, HWRPB_SIZE);
	in->hwrpb = sim_arena_map(SIM_HWRPB_PA(in->id), HWRPB_SIZE, true);
	if (apmp_hwrpb_check(in->hwrpb, HWRPB_SIZE))
		sim_finding("%s has no HWRPB", in->member->name);
	if (apmp_intr_take(&in->env, in->id, &other))
		sim_finding("%s finds its primary's execution word taken by %#llx",
			    in->member->name, (unsigned long long)other);
	apmp_store_release(&in->hwrpb->slot[in->id].state, HWRPB_CPU_ACTIVE);
	memset(in->cpu, 0, sizeof(in->cpu));
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		if (apmp_hwrpb_flags(in->hwrpb, sim_cpu_idx(k)) & HWRPB_PA)
			start(in, k);
}
