/*
 * play_mover.c - the console's part of CPUs that move: requests to instances, MIGRATE_CPU, the
 * slots of a life that begins, the CPUs of one that has ended.
 *
 * CRASHES   The console may be killed at any access.  What was asked is asked again; a callback
 *           that was carried out is known by its record, which is written in the same update.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"
#include "shm/configure.h"
#include "shm/intr.h"
#include "shm/shared.h"

#define REFUSED_ONE_IN 32u /* by the host, of the sets that grow */

static struct apmp_cpu_mover mover;

static struct apmp_tree_node node_of(uint32_t cpu_idx)
{
	struct apmp_tree_node n;
	int err = apmp_tree_cpu(&sim.writer.tree, cpu_idx, &n);

	apmp_assert(!err);
	return n;
}

static int32_t handle_of(uint32_t id)
{
	struct apmp_tree_partition p;
	int err = apmp_tree_partition(&sim.writer.tree, id, &p);

	apmp_assert(!err);
	return p.node.handle;
}

/* --- the world of shm/cpu_move.c --- */

static struct hwrpb *hwrpb_of(struct apmp_cpu_mover *m, uint32_t id)
{
	(void)m;
	return id < sim.plan.instances ? sim.console_hwrpb[id] : NULL;
}

static uint64_t life_of(struct apmp_cpu_mover *m, uint32_t id)
{
	uint64_t identity = id < sim.plan.instances ? sim.instance[id].identity : 0;

	(void)m;
	return id != sim.fencing && apmp_tree_alive(&sim.writer.tree, identity) ? identity : 0;
}

static uint64_t targets_of(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	(void)m;
	return cpu_idx < sim.plan.instances ? 0 : sim.targets[id][cpu_idx - sim.plan.instances];
}

/* The box does what it is told, or the host refuses. */
static int host_cpus(struct apmp_cpu_mover *m, uint32_t id, uint32_t more)
{
	(void)m;
	(void)id;
	if (more == APMP_MAX_CPUS || sim.quiet || sim.plan.op)
		return 0;
	return sim_chance(REFUSED_ONE_IN) ? 0 : -ENOSPC;
}

void sim_move_open(void)
{
	if (!sim.plan.cpus)
		return;
	apmp_update_object(&sim.update, APMP_OBJECT_STATE, sim.words, sizeof(*sim.words));
	for (uint32_t k = 0; k < SIM_CPUS; k++)
		sim.cpu[k].order_open = false; /* a dead one's are nobody's */
	mover = (struct apmp_cpu_mover){.tw = &sim.writer,
					.cpu_count = sim_cpu_count(),
					.transit = sim.words->transit,
					.arrival = sim.words->arrival,
					.source = sim.words->source,
					.hwrpb = hwrpb_of,
					.life = life_of,
					.targets = targets_of,
					.host_cpus = host_cpus};
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		if (sim.console_hwrpb[id])
			sim_arena_unmap(sim.console_hwrpb[id], HWRPB_SIZE);
		sim.console_hwrpb[id] = sim_arena_map(SIM_HWRPB_PA(id), HWRPB_SIZE, true);
		apmp_update_object(&sim.update, APMP_OBJECT_HWRPB(id), sim.console_hwrpb[id],
				   HWRPB_SIZE);
	}
}

/* At most three targets of each CPU, in any order, its own partition among them [0296]. */
static void choose_targets(void)
{
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		for (uint32_t k = 0; k < sim.plan.cpus; k++)
			for (uint64_t n = sim_chance(4); n > 0; n--)
				sim.targets[id][k] =
				    sim.targets[id][k] << 8 | (sim_chance(sim.plan.instances) + 1);
	if (sim.plan.op == SIM_OP_FAILOVER || sim.plan.op == SIM_OP_CRASH)
		for (uint32_t k = 0; k < sim.plan.cpus; k++)
			sim.targets[SIM_MOVE_FROM][k] = SIM_MOVE_TO + 1;
	if (sim.plan.op == SIM_OP_CRASH) /* and for one of them another target behind that */
		sim.targets[SIM_MOVE_FROM][1] |= sim.plan.instances << 8;
}

void sim_move_power_on(int32_t sbb)
{
	choose_targets();
	for (uint32_t k = 0; k < sim.plan.cpus; k++) {
		uint64_t id = sim.plan.op ? SIM_MOVE_FROM : sim_chance(sim.plan.instances);
		int32_t owner = handle_of((uint32_t)id);
		int32_t cpu =
		    apmp_tree_add(&sim.writer, &(struct apmp_tree_spec){.parent = sbb,
									.type = GCT_CPU,
									.id = sim_cpu_idx(k),
									.flags = NODE_HARDWARE});

		apmp_assert(cpu > 0);
		apmp_tree_set_owner(&sim.writer, cpu, owner);
		apmp_tree_set_current_owner(&sim.writer, cpu, owner);
	}
}

/* --- callbacks --- */

static const struct apmp_call_request *recorded;

/* Inside the update that carries it out. */
static void record(void *ctx)
{
	uint32_t id = apmp_identity_id(recorded->identity);

	(void)ctx;
	apmp_update_store64(&sim.update, APMP_OBJECT_STATE, &sim.words->record[id], recorded->seq);
}

/* A change of a CPU's owners, as console/console_configure.c makes it. */
static int configure(const struct apmp_call_request *r, int32_t by, bool recorded_too)
{
	struct apmp_configured done;
	uint32_t to = APMP_NO_PARTITION;
	int err = apmp_configure(&sim.writer, r, by, &done);

	if (err || !apmp_update_open(&sim.update))
		return err;
	err = apmp_cpu_follow(&mover, (int32_t)r->arg[0], &to);
	if (err) {
		apmp_update_abort(&sim.update);
		return err;
	}
	if (recorded_too)
		record(NULL);
	apmp_update_commit(&sim.update);
	apmp_cpu_followed(&mover, (int32_t)r->arg[0], to);
	return 0;
}

static void close_deassigned(void)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		sim.cpu[k].order_open &= sim.cpu[k].order.op != HWRPB_REQUEST_DEASSIGN ||
					 node_of(sim_cpu_idx(k)).owner != GCT_NONE;
}

int sim_move_serve(const struct apmp_call_request *r)
{
	uint32_t id = apmp_identity_id(r->identity);
	int err;

	if (r->seq == apmp_load_relaxed(&sim.words->record[id]))
		return 0;
	recorded = r;
	if (r->op == APMP_CALL_DEASSIGN) {
		err = configure(r, handle_of(id), true);
		if (!err)
			close_deassigned();
		return err;
	}
	err = apmp_cpu_migrate(&mover, id, (uint32_t)r->arg[0], (uint32_t)r->arg[1],
			       (uint32_t)r->arg[2], record, NULL);
	return err;
}

void sim_move_settle(void)
{
	if (!sim.plan.cpus)
		return;
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++)
		apmp_cpu_settle(&mover, cpu);
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		apmp_cpu_arrivals(&mover, id);
		apmp_cpu_take_back_all(&mover, id);
	}
}

/* --- lives --- */

/* Nobody has this HWRPB yet, so it is made without a step. */
static void prepare(uint32_t id)
{
	struct sim_participant *self = sim.current;
	const struct apmp_hwrpb_spec spec = {
	    .pa = SIM_HWRPB_PA(id),
	    .unique = apmp_identity(id, apmp_identity_incarnation(sim.instance[id].identity) + 1),
	    .tick_ns = sim.plan.timing.tick_ns,
	    .stop_ns = sim.plan.timing.stop_ns,
	    .suspect = sim.plan.timing.suspect,
	    .primary = id,
	    .cpu_count = sim_cpu_count()};

	sim_stores_drain(self);
	sim.current = NULL;
	apmp_hwrpb_prepare(sim.console_hwrpb[id], &spec);
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		if (!sim.plan.op && !sim_chance(4))
			apmp_cpu_bits_clear(&sim.console_hwrpb[id]->autostart, sim_cpu_idx(k));
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		apmp_store_relaxed(&sim.console_hwrpb[id]->failover[sim_cpu_idx(k)],
				   sim.targets[id][k]);
	sim.current = self;
}

static void fill_slot(uint32_t id, uint32_t cpu_idx)
{
	struct apmp_tree_node cpu = node_of(cpu_idx);
	uint64_t flags = HWRPB_PP | HWRPB_COMPATIBLE | (cpu_idx == id ? HWRPB_PRIMARY : 0);

	if (cpu.current_owner == handle_of(id)) {
		flags |= HWRPB_PA;
		apmp_store_relaxed(&sim.console_env.lines[cpu_idx].runner, 0);
		apmp_tree_set_flags(&sim.writer, cpu.handle, NODE_PRIMARY,
				    cpu_idx == id ? NODE_PRIMARY : 0);
	}
	apmp_cpu_initialize(&mover, id, cpu_idx, flags);
}

void sim_move_boot(uint32_t id)
{
	if (!sim.plan.cpus)
		return;
	prepare(id);
	sim.instance[id].filled = true;
	apmp_store_relaxed(&sim.words->record[id], 0);
	apmp_tree_initialize_owner(&sim.writer, handle_of(id));
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++)
		fill_slot(id, cpu);
}

void sim_move_fenced(struct sim_instance *in)
{
	struct apmp_cpu_bits gone;

	if (!sim.plan.cpus)
		return;
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++) {
		uint64_t runner = in->identity;

		(void)apmp_cas(&sim.console_env.lines[cpu].runner, &runner, 0);
	}
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		sim.cpu[k].order_open &=
		    sim.cpu[k].order.from_id != in->id && sim.cpu[k].order.to_id != in->id;
	sim.fencing = in->id;
	apmp_update_begin(&sim.update);
	apmp_cpu_end_life(&mover, in->id, !in->halts, &gone);
	in->filled = false;
	apmp_update_commit_quietly(&sim.update);
	if (!in->halts)
		sim_check_failed_over(in);
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		apmp_cpu_arrivals(&mover, id);
}

/* --- the operator --- */

/* One whom nobody uses is assigned by the console itself [0108]. */
static void assign(uint32_t cpu_idx, uint32_t to)
{
	const struct apmp_call_request r = {
	    .op = APMP_CALL_ASSIGN,
	    .arg = {(uint64_t)node_of(cpu_idx).handle, (uint64_t)handle_of(to)}};

	(void)configure(&r, APMP_ADMINISTRATOR, false); /* refused while it has an owner */
}

bool sim_order_is_open(uint32_t k)
{
	sim.cpu[k].order_open =
	    sim.cpu[k].order_open && apmp_cpu_asked(&mover, &sim.cpu[k].order) == APMP_CPU_OPEN;
	return sim.cpu[k].order_open;
}

/* Asks the instance that has it; one that is busy refuses: the operator asks again some time. */
static void give_order(uint32_t k, uint32_t id, const struct sim_ask *ask)
{
	struct apmp_cpu_request *r = &sim.cpu[k].order;

	if (sim_order_is_open(k))
		return;
	*r = (struct apmp_cpu_request){.op = ask->op,
				       .cpu_idx = sim_cpu_idx(k),
				       .from_id = id,
				       .to_id = ask->op == HWRPB_REQUEST_MIGRATE ? (uint32_t)ask->to
										 : id};
	sim.cpu[k].order_open = !apmp_cpu_ask(&mover, r, (uint32_t)ask->flags);
}

bool sim_move_work(uint32_t k)
{
	struct sim_ask ask = sim.cpu[k].ask;
	uint32_t cpu_idx = sim_cpu_idx(k), id;

	if (!ask.op)
		return false;
	id = apmp_tree_owner_id(&sim.writer.tree, node_of(cpu_idx).current_owner);
	if (id == APMP_NO_PARTITION)
		assign(cpu_idx, (uint32_t)ask.to % sim.plan.instances);
	else if (life_of(&mover, id) && ask.op == SIM_ASK_CRASH)
		apmp_hwrpb_end(&sim.console_env, sim.console_hwrpb[id], HWRPB_END_CRASH);
	else if (life_of(&mover, id))
		give_order(k, id, &ask);
	sim.cpu[k].ask.op = 0;
	return true;
}
