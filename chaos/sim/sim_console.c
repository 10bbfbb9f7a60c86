/*
 * sim_console.c - the console of the simulated machine: a participant, with the real tree writer.
 *
 * WHAT      Builds the tree with shm/tree_write.c, then serves what instances ask, what the box has
 *           noticed and what the operator wants, one after the other; its own accesses to tree,
 *           journal and interrupt lines are steps like all others.
 * CRASHES   It may be killed at any of them.  What it was asked is asked again of the next one,
 *           which first repairs the tree from the journal.
 * LIMITS    Reports don't pass through it: they are taken at once and never lost.
 */
#include <errno.h>
#include <stdio.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"
#include "shm/configure.h"
#include "shm/intr.h"

#define REAP_NS SIM_MS /* at most this long until a killed process is known to run no more */

/* --- the tree --- */

static int32_t add(enum gct_node_type type, int32_t parent, uint64_t id, uint64_t flags)
{
	int32_t at = apmp_tree_add(
	    &sim.writer,
	    &(struct apmp_tree_spec){.parent = parent, .type = type, .id = id, .flags = flags});

	apmp_assert(at > 0);
	return at;
}

static void add_partition(int32_t community, int32_t sbb, uint32_t id)
{
	char name[16];
	struct apmp_tree_partition p;
	int32_t cpu = add(GCT_CPU, sbb, id, NODE_HARDWARE | NODE_PRIMARY);
	int err;

	snprintf(name, sizeof(name), "p%u", id);
	err = apmp_tree_add_partition(&sim.writer, community, name, SIM_HWRPB_PA(id));
	apmp_assert(err == (int)id);
	err = apmp_tree_partition(&sim.writer.tree, id, &p);
	apmp_assert(!err);
	apmp_tree_set_owner(&sim.writer, cpu, p.node.handle);
	apmp_tree_set_current_owner(&sim.writer, cpu, p.node.handle);
}

static void build(void)
{
	const struct apmp_tree_limits limits = {.min_alloc = APMP_GRANULE,
						.min_align = APMP_GRANULE,
						.max_phys_address = SIM_PHYSICAL,
						.mem_size = SIM_PHYSICAL,
						.max_fragments = 8,
						.max_desc = 4,
						.platform = "simulated"};
	struct apmp_tree_writer *tw = &sim.writer;
	struct apmp_tree_node community;
	struct apmp_tree_community c;
	int32_t sbb, subsystem, memory;
	uint64_t pa;
	int err;

	apmp_tree_create(tw, &sim.update, sim.console_tree, sim.tree_size, &limits);
	sbb = add(GCT_SBB, apmp_tree_root(tw, GCT_HW_ROOT), 0, NODE_HARDWARE);
	subsystem = add(GCT_MEMORY_SUB, sbb, 0, NODE_HARDWARE);
	memory = apmp_tree_add_memory(tw,
				      &(struct apmp_tree_spec){.parent = subsystem,
							       .type = GCT_MEMORY_DESC,
							       .flags = NODE_HARDWARE},
				      SIM_SHARED_PA, SIM_SHARED_COUNT * APMP_GRANULE);
	apmp_assert(memory > 0);
	err = apmp_tree_add_community(tw, "lab");
	apmp_assert(err == 0);
	err = apmp_tree_community(&tw->tree, 0, &c);
	apmp_assert(!err);
	community = c.node;
	for (uint32_t r = 0; r < SIM_SHARED_COUNT; r++) {
		err = apmp_tree_take_memory(tw, memory, APMP_GRANULE, community.handle,
					    GCT_MEM_SHARED, &pa);
		apmp_assert(!err && pa == SIM_SHARED_PA + r * APMP_GRANULE);
	}
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		add_partition(community.handle, sbb, id);
	sim_move_power_on(sbb);
	apmp_tree_publish(tw);
	sim.community = (void *)(sim_physical + SIM_TREE_PA + sizeof(struct gct_header) +
				 (uint32_t)community.handle);
}

/* A console's own view of the machine: mappings of its own. */
static void open_machine(void)
{
	struct apmp_env *env = &sim.console_env;

	if (env->lines)
		sim_arena_unmap(env->lines, APMP_INTR_SIZE);
	if (sim.console_tree)
		sim_arena_unmap(sim.console_tree, sim.tree_size);
	sim_env_init(env);
	env->lines = sim_arena_map(SIM_LINES_PA, APMP_INTR_SIZE, true);
	env->line_count = sim.plan.instances + sim.plan.cpus;
	sim.console_tree = sim_arena_map(SIM_TREE_PA, sim.tree_size, true);
	apmp_update_init(&sim.update, env, sim.journal);
	apmp_update_object(&sim.update, APMP_OBJECT_TREE, sim.console_tree, sim.tree_size);
	sim_move_open();
}

void sim_console_power_on(void)
{
	sim.tree_size = apmp_tree_size(16 + SIM_CPUS, 4, 8);
	apmp_assert(sim.tree_size <= SIM_SLOT_SIZE);
	sim.journal = sim_arena_private(SIM_MAX_INSTANCES, sizeof(*sim.journal));
	sim.tree_before = sim_arena_private(SIM_MAX_INSTANCES, sim.tree_size);
	sim.words = sim_arena_private(SIM_MAX_INSTANCES + 1, sizeof(*sim.words));
	open_machine();
	build();
}

/* --- what it does --- */

/* By the tree, which is all that a restarted console has. */
static bool is_present(const struct sim_instance *in)
{
	return apmp_tree_alive(&sim.writer.tree, in->identity);
}

/* The fence: the process is gone for certain, then the tree says so. */
static void fence(struct sim_instance *in, uint64_t by)
{
	uint64_t identity = in->identity;

	if (in->life == SIM_ALIVE)
		sim_check_fence(in, by);
	if (in->life != SIM_FENCED) /* by a console that died before it could say so */
		sim_instance_stop(in);
	(void)sim_wait(0, sim.now_ns + sim_chance(REAP_NS));
	sim_check_lost(in);
	in->life = SIM_FENCED;
	sim_move_fenced(in);
	apmp_tree_set_fenced(&sim.writer, in->id, apmp_identity_incarnation(identity));
	sim.fencing = APMP_NO_PARTITION;
	apmp_intr_all(&sim.console_env, APMP_INTR_TREE);
}

static int remove_instance(uint64_t identity, uint64_t by)
{
	uint32_t id = apmp_identity_id(identity);
	struct sim_instance *in;

	if (id >= sim.plan.instances)
		return -EINVAL;
	in = &sim.instance[id];
	if (apmp_identity_incarnation(identity) > apmp_identity_incarnation(in->identity))
		return -EINVAL;
	if (in->identity == identity && is_present(in))
		fence(in, by);
	return 0;
}

static int map(uint64_t pa, uint64_t size)
{
	struct apmp_tree_fragment f;
	int err = apmp_tree_memory_at(&sim.writer.tree, pa, &f);

	if (err)
		return -ENXIO;
	return pa - f.pa + size <= f.size ? 0 : -ENXIO;
}

static int set_apmpdb_info(const struct apmp_call_request *r)
{
	int err;

	if (r->arg[2])
		return apmp_tree_set_apmpdb_other(&sim.writer, 0, r->arg[0], r->arg[1]);
	err = apmp_tree_set_apmpdb_info(&sim.writer, 0, r->arg[0], r->arg[1]);
	if (!err && r->arg[0] && r->arg[0] != r->arg[1]) /* the members are to come over */
		apmp_intr_all(&sim.console_env, APMP_INTR_TREE);
	return err;
}

/* What shm/configure.c decides. */
static int configure(const struct apmp_call_request *r, uint32_t by, uint64_t ret[2])
{
	struct apmp_tree_partition self;
	struct apmp_configured done;
	int err = apmp_tree_partition(&sim.writer.tree, by, &self);

	apmp_assert(!err);
	err = apmp_configure(&sim.writer, r, self.node.handle, &done);
	if (apmp_update_open(&sim.update))
		apmp_update_commit(&sim.update);
	ret[0] = done.ret[0];
	return err;
}

/* Answers a callback.  A sender that is fenced is heard no more. */
static int serve(const struct apmp_call_request *r, uint64_t sender, uint64_t ret[2])
{
	if (!apmp_tree_alive(&sim.writer.tree, sender))
		return -ESTALE;
	switch (r->op) {
	case APMP_CALL_MAP:
		return map(r->arg[0], r->arg[1]);
	case APMP_CALL_SET_APMPDB_INFO:
		return set_apmpdb_info(r);
	case APMP_CALL_SET_ID:
	case APMP_CALL_RESET_BUSES:
		return configure(r, apmp_identity_id(sender), ret);
	case APMP_CALL_REMOVE_INSTANCE:
		return remove_instance(r->arg[0], sender);
	case APMP_CALL_MIGRATE_CPU:
	case APMP_CALL_DEASSIGN:
		return sim_move_serve(r);
	case APMP_CALL_EXIT:
		sim.instance[apmp_identity_id(sender)].announced = true;
		return 0;
	default:
		return -EINVAL;
	}
}

static void answer(struct sim_instance *in)
{
	struct apmp_call_reply reply = {0};

	reply.error = serve(&in->request.call.request, in->request.identity, reply.ret);
	in->request.call.reply = reply;
	in->request.pending = false;
	in->request.done = true;
	sim_wake(SIM_PRIVATE_KEY(in->id) - 1, UINT32_MAX);
}

static void boot(struct sim_instance *in)
{
	char name[32];
	uint64_t incarnation;

	if (is_present(in))
		fence(in, 0);
	snprintf(name, sizeof(name), "p%u-%llu", in->id,
		 (unsigned long long)apmp_identity_incarnation(in->identity) + 1);
	apmp_update_begin(&sim.update);
	incarnation = apmp_tree_partition_boot(&sim.writer, in->id, name);
	sim_move_boot(in->id);
	apmp_update_commit(&sim.update);
	apmp_assert(incarnation < SIM_LIVES);
	in->identity = apmp_identity(in->id, incarnation);
	in->boot_wanted = false;
	in->start = true;
	sim.next_event_ns = sim.now_ns;
	sim_look_up_soon();
}

static bool work(struct sim_instance *in)
{
	if (in->exit_noticed) {
		/* It names a life: the next one may run already. */
		if (in->exit_noticed == in->identity && is_present(in))
			fence(in, 0);
		in->exit_noticed = 0;
	} else if (in->request.pending) {
		answer(in);
	} else if (in->boot_wanted) {
		if (in->life == SIM_ALIVE)
			in->boot_wanted = false;
		else
			boot(in);
	} else {
		return false;
	}
	return true;
}

static void console(void *arg)
{
	bool open = sim.journal->open;
	int err;

	sim.fencing = APMP_NO_PARTITION;
	if (arg) { /* a restart */
		open_machine();
		err = apmp_tree_adopt(&sim.writer, &sim.update, sim.console_tree, sim.tree_size);
		if (!err)
			err = apmp_update_repair(&sim.update);
		if (err < 0)
			sim_finding("the console can't start again: error %d", -err);
		else
			sim_check_repaired(open);
		sim_move_settle();
		apmp_intr_all(&sim.console_env, APMP_INTR_TREE);
	}
	for (;;) {
		bool busy = false;

		for (uint32_t id = 0; id < sim.plan.instances; id++)
			busy |= work(&sim.instance[id]);
		for (uint32_t k = 0; k < sim.plan.cpus; k++)
			busy |= sim_move_work(k);
		if (!busy)
			(void)sim_wait(SIM_CONSOLE_KEY, APMP_NEVER);
	}
}

void sim_console_begin(void)
{
	sim_participant_begin(&sim.participant[SIM_CONSOLE], console,
			      sim.console_kills ? &sim : NULL);
}
