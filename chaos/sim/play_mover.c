/*
 * play_mover.c - the console's part of CPUs that move: requests to instances, MIGRATE_CPU, the slots
 * of a life that begins, the CPUs of one that has ended.
 *
 * CRASHES   The console may be killed at any access.  What was asked is asked again; a callback
 *           that was carried out is known by its record, which is written in the same update.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

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

/* Whether a CPU may come to this life: it runs, and is not being fenced. */
static bool is_up(uint32_t id)
{
	return apmp_tree_alive(&sim.writer.tree, sim.instance[id].identity);
}

static struct apmp_cpu_words words_of(uint32_t cpu_idx)
{
	return (struct apmp_cpu_words){.transit = &sim.words->transit[cpu_idx],
				       .arrival = &sim.words->arrival[cpu_idx]};
}

void sim_move_open(void)
{
	if (!sim.plan.cpus)
		return;
	apmp_update_object(&sim.update, APMP_OBJECT_STATE, sim.words, sizeof(*sim.words));
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		if (sim.console_hwrpb[id])
			sim_arena_unmap(sim.console_hwrpb[id], HWRPB_SIZE);
		sim.console_hwrpb[id] = sim_arena_map(SIM_HWRPB_PA(id), HWRPB_SIZE, true);
		apmp_update_object(&sim.update, APMP_OBJECT_HWRPB(id), sim.console_hwrpb[id],
				   HWRPB_SIZE);
	}
}

void sim_move_power_on(int32_t sbb)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++) {
		uint64_t id = sim.plan.op ? SIM_MOVE_FROM : sim_chance(sim.plan.instances);
		int32_t owner = handle_of((uint32_t)id);
		int32_t cpu = apmp_tree_add(&sim.writer,
					    &(struct apmp_tree_spec){.parent = sbb,
								     .type = GCT_CPU,
								     .id = sim_cpu_idx(k),
								     .flags = NODE_HARDWARE});

		apmp_assert(cpu > 0);
		apmp_tree_set_owner(&sim.writer, cpu, owner);
		apmp_tree_set_current_owner(&sim.writer, cpu, owner);
	}
}

/* --- migration --- */

static void send_startreq(uint32_t cpu_idx, uint32_t to)
{
	if (apmp_load_relaxed(&sim.words->arrival[cpu_idx]) != sim.instance[to].identity)
		return;
	apmp_hwrpb_startreq(&sim.console_env, sim.console_hwrpb[to], cpu_idx);
	apmp_store_release(&sim.words->arrival[cpu_idx], 0);
}

static const struct apmp_call_request *recorded;

/* Inside the update of an arrival. */
static void record(void *ctx)
{
	uint32_t id = apmp_identity_id(recorded->identity);

	(void)ctx;
	apmp_update_store64(&sim.update, APMP_OBJECT_STATE, &sim.words->record[id], recorded->seq);
}

static int migrate(uint32_t from, uint32_t cpu_idx, uint32_t to, uint64_t flags)
{
	struct apmp_cpu_words words = words_of(cpu_idx);
	struct apmp_tree_node cpu;
	int err = apmp_pal_validate(&sim.writer.tree, from, cpu_idx, to);

	if (err)
		return err;
	cpu = node_of(cpu_idx);
	apmp_cpu_depart(&sim.writer, &cpu, sim.console_hwrpb[from], from, &words,
			sim.instance[from].identity);
	words.within = record;
	apmp_cpu_arrive(&sim.writer, &cpu, sim.console_hwrpb[to], to, handle_of(to), flags, &words,
			sim.instance[to].identity);
	send_startreq(cpu_idx, to);
	return 0;
}

int sim_move_serve(const struct apmp_call_request *r, uint64_t sender)
{
	uint32_t id = apmp_identity_id(sender);

	if (r->seq == apmp_load_relaxed(&sim.words->record[id]))
		return 0;
	recorded = r;
	return migrate(id, (uint32_t)r->arg[0], (uint32_t)r->arg[1], r->arg[2]);
}

static void settle(uint32_t cpu_idx)
{
	struct apmp_cpu_words words = words_of(cpu_idx);
	uint64_t identity = apmp_load_relaxed(words.transit);
	struct apmp_tree_node cpu;
	uint32_t id = apmp_identity_id(identity);
	bool alive = identity && apmp_tree_alive(&sim.writer.tree, identity);

	if (!identity)
		return;
	cpu = node_of(cpu_idx);
	apmp_cpu_arrive(&sim.writer, &cpu, sim.console_hwrpb[id], id, handle_of(id), true, &words,
			alive ? identity : 0);
	send_startreq(cpu_idx, id);
}

void sim_move_settle(void)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++) {
		uint64_t owed = apmp_load_relaxed(&sim.words->arrival[sim_cpu_idx(k)]);

		settle(sim_cpu_idx(k));
		if (owed && apmp_tree_alive(&sim.writer.tree, owed))
			send_startreq(sim_cpu_idx(k), apmp_identity_id(owed));
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
	sim.current = self;
}

static void fill_slot(uint32_t id, uint32_t cpu_idx)
{
	struct apmp_tree_node cpu = node_of(cpu_idx);
	uint64_t flags = HWRPB_PP | HWRPB_COMPATIBLE;

	if (cpu.current_owner == handle_of(id)) {
		flags |= HWRPB_PA;
		apmp_store_relaxed(&sim.console_env.lines[cpu_idx].runner, 0);
	}
	apmp_store_relaxed(&sim.console_hwrpb[id]->slot[cpu_idx].flags, flags);
}

void sim_move_boot(uint32_t id)
{
	if (!sim.plan.cpus)
		return;
	prepare(id);
	apmp_store_relaxed(&sim.words->record[id], 0);
	apmp_tree_initialize_owner(&sim.writer, handle_of(id));
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++)
		fill_slot(id, cpu);
}

/* A loan ends with the life that it was made to. */
static void end_loan(const struct apmp_tree_node *cpu)
{
	uint32_t owner = apmp_tree_owner_id(&sim.writer.tree, cpu->owner);

	apmp_tree_set_current_owner(&sim.writer, cpu->handle, GCT_NONE);
	if (owner != APMP_NO_PARTITION && is_up(owner))
		apmp_update_store64(&sim.update, APMP_OBJECT_STATE, &sim.words->transit[cpu->id],
				    sim.instance[owner].identity);
}

void sim_move_fenced(struct sim_instance *in)
{
	int32_t handle;

	if (!sim.plan.cpus)
		return;
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++) {
		uint64_t runner = in->identity;

		(void)apmp_cas(&sim.console_env.lines[cpu].runner, &runner, 0);
	}
	handle = handle_of(in->id);
	apmp_update_begin(&sim.update);
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++) {
		struct apmp_tree_node n = node_of(cpu);

		if (n.current_owner != handle)
			continue;
		if (n.owner != handle)
			end_loan(&n);
		apmp_hwrpb_set_flags(&sim.update, sim.console_hwrpb[in->id], in->id, cpu, HWRPB_PA,
				     0);
	}
	apmp_update_commit_quietly(&sim.update);
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		settle(sim_cpu_idx(k));
}

/* --- the operator --- */

bool sim_move_work(uint32_t k)
{
	struct sim_ask ask = sim.cpu[k].ask;
	uint32_t cpu_idx = sim_cpu_idx(k), id, seq;

	if (!ask.op)
		return false;
	id = apmp_tree_owner_id(&sim.writer.tree, node_of(cpu_idx).current_owner);
	/* One that is busy refuses: the operator asks again some time. */
	if (id != APMP_NO_PARTITION && is_up(id))
		(void)!apmp_hwrpb_request(&sim.console_env, sim.console_hwrpb[id], ask.op,
					  (const uint64_t[]){cpu_idx, ask.to, ask.flags}, &seq);
	sim.cpu[k].ask.op = 0;
	return true;
}
