/*
 * update_requests.c - every kind of change that a console makes to tree and HWRPBs.
 *
 * What instances and administrator ask is made by apmp_configure, hot swap by its two functions;
 * boot, fence and migration as console/lifecycle.c and console/migrate.c make them.  As in the
 * console, a permanent change is counted in the same update.
 */
#include <stdio.h>
#include <string.h>

#include "chaos/sim/sim_update.h"
#include "shm/assert.h"
#include "shm/configure.h"
#include "shm/shared.h"

#define FIRST_PA SIM_SHARED_PA

static bool made[APMP_CALL_UNLOCK_TREE + 1];

static struct apmp_tree_partition partition(const char *name)
{
	struct apmp_tree_partition p;
	struct apmp_tree_node n;
	int err = apmp_tree_node(&sim.writer.tree, update_partition(name), &n);

	if (!err)
		err = apmp_tree_partition(&sim.writer.tree, (uint32_t)n.id, &p);
	apmp_assert(!err);
	return p;
}

/* What console_configure adds to an update, and its commit. */
static void finish(const struct apmp_configured *done)
{
	_Atomic uint64_t *level = &world.words->permanent_level;

	if (done->permanent)
		apmp_update_store64(&sim.update, APMP_OBJECT_STATE, level,
				    apmp_load_relaxed(level) + 1);
	apmp_update_commit(&sim.update);
	update_boundary();
}

/* by: a partition's name, NULL the administrator. */
static void ask(const char *by, enum apmp_call_op op, uint64_t arg0, uint64_t arg1, uint64_t arg2,
		const char *text)
{
	struct apmp_call_request request = {.op = op, .arg = {arg0, arg1, arg2}};
	struct apmp_configured done;
	int err;

	snprintf(request.text, sizeof(request.text), "%s", text ? text : "");
	err = apmp_configure(&sim.writer, &request, by ? update_partition(by) : APMP_ADMINISTRATOR,
			     &done);
	if (err)
		sim_finding("a request of kind %u is refused: %s", op,
			    apmp_reason_info(done.reason)->name);
	if (err || !apmp_update_open(&sim.update))
		return;
	if (op == APMP_CALL_CREATE_PARTITION)
		apmp_tree_set_hwrpb(&sim.writer, (uint32_t)done.ret[0], SIM_HWRPB_PA(done.ret[0]));
	finish(&done);
	made[op] = true;
}

/* --- lives --- */

static void boot(const char *name)
{
	struct apmp_tree_partition p = partition(name);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	bool primary = true;

	apmp_update_begin(&sim.update);
	(void)apmp_tree_partition_boot(&sim.writer, p.id, name);
	apmp_tree_initialize_owner(&sim.writer, p.node.handle);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&sim.writer.tree, &walk, GCT_CPU, &n) > 0) {
		if (n.current_owner != p.node.handle)
			continue;
		apmp_tree_set_flags(&sim.writer, n.handle, NODE_PRIMARY,
				    primary ? NODE_PRIMARY : 0);
		apmp_hwrpb_set_flags(&sim.update, world.hwrpb[p.id], p.id, (uint32_t)n.id, 0,
				     HWRPB_PP | HWRPB_PA);
		primary = false;
	}
	apmp_update_commit(&sim.update);
	update_boundary();
}

static void fence(const char *name)
{
	struct apmp_tree_partition p = partition(name);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_update_begin(&sim.update);
	apmp_tree_set_flags(&sim.writer, p.node.handle, NODE_INITIALIZED, 0);
	apmp_tree_unlock(&sim.writer, p.id);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&sim.writer.tree, &walk, GCT_CPU, &n) > 0) {
		if (n.current_owner != p.node.handle)
			continue;
		apmp_tree_set_flags(&sim.writer, n.handle, NODE_PRIMARY, 0);
		if (n.owner != p.node.handle) /* a loan ends */
			apmp_tree_set_current_owner(&sim.writer, n.handle, GCT_NONE);
		apmp_hwrpb_set_flags(&sim.update, world.hwrpb[p.id], p.id, (uint32_t)n.id, HWRPB_PA,
				     0);
	}
	apmp_update_commit(&sim.update);
	update_boundary();
	apmp_tree_set_fenced(&sim.writer, p.id, p.incarnation);
	update_boundary();
}

/* --- migrations --- */

static struct apmp_cpu_words words_of(uint32_t cpu)
{
	return (struct apmp_cpu_words){.transit = &world.words->transit[cpu],
				       .arrival = &world.words->arrival[cpu]};
}

static void depart(const char *from, uint32_t cpu)
{
	struct apmp_tree_partition p = partition(from);
	struct apmp_cpu_words words = words_of(cpu);
	struct apmp_tree_node n;
	int err = apmp_tree_node(&sim.writer.tree, update_node(GCT_CPU, cpu), &n);

	apmp_assert(!err);
	apmp_cpu_depart(&sim.writer, &n, world.hwrpb[p.id], p.id, &words,
			apmp_identity(p.id, p.incarnation));
	update_boundary();
}

static void arrive(const char *to, uint32_t cpu, bool loan)
{
	struct apmp_tree_partition p = partition(to);
	struct apmp_cpu_words words = words_of(cpu);
	struct apmp_tree_node n;
	int err = apmp_tree_node(&sim.writer.tree, update_node(GCT_CPU, cpu), &n);

	apmp_assert(!err);
	apmp_cpu_arrive(&sim.writer, &n, world.hwrpb[p.id], p.id, p.node.handle, loan, &words,
			apmp_identity(p.id, p.incarnation));
	update_boundary();
}

/* --- hot swap and bad pages --- */

static void insert(const struct apmp_tree_spec *spec, uint64_t pa, uint64_t size)
{
	struct apmp_configured done;
	int err = apmp_hardware_insert(&sim.writer, spec, pa, size, &done);

	if (err)
		sim_finding("hardware that comes in is refused: %s",
			    apmp_reason_info(done.reason)->name);
	else
		finish(&done);
}

static void take_out(int32_t handle)
{
	struct apmp_configured done;
	int err = apmp_hardware_remove(&sim.writer, handle, &done);

	if (err)
		sim_finding("hardware that goes out is refused: %s",
			    apmp_reason_info(done.reason)->name);
	else
		finish(&done);
}

static void mark_bad(uint64_t page_idx)
{
	int err;

	apmp_update_begin(&sim.update);
	err = apmp_tree_mark_bad(&sim.writer, update_node(GCT_MEMORY_DESC, FIRST_PA), page_idx);
	apmp_assert(!err);
	apmp_update_commit(&sim.update);
	update_boundary();
}

/* --- what must have happened before --- */

#define MEMORY(owner, flags) ((uint64_t)(uint32_t)(owner) | (uint64_t)(flags) << 32)
#define GIVE(cpu, name)                                                                            \
	ask(NULL, APMP_CALL_ASSIGN, (uint64_t)update_node(GCT_CPU, cpu),                           \
	    (uint64_t)update_partition(name), 0, NULL)

static uint64_t lab(void)
{
	return (uint64_t)update_community("lab");
}

/* alpha has two CPUs, a bus and memory; beta a CPU; the community a granule. */
static void software(void)
{
	ask(NULL, APMP_CALL_CREATE_COMMUNITY, 0, 0, 0, "lab");
	ask(NULL, APMP_CALL_CREATE_PARTITION, lab(), 1, 0, "alpha");
	ask(NULL, APMP_CALL_CREATE_PARTITION, lab(), 0, 0, "beta");
	GIVE(0, "alpha");
	GIVE(1, "alpha");
	GIVE(2, "beta");
	ask(NULL, APMP_CALL_ASSIGN, (uint64_t)update_node(GCT_BUS, 0),
	    (uint64_t)update_partition("alpha"), 0, NULL);
	ask(NULL, APMP_CALL_ASSIGN_MEMORY, FIRST_PA, 2 * APMP_GRANULE,
	    MEMORY(update_partition("alpha"), GCT_MEM_PRIVATE | GCT_MEM_BASE), NULL);
	ask(NULL, APMP_CALL_ASSIGN_MEMORY, FIRST_PA + 4 * APMP_GRANULE, APMP_GRANULE,
	    MEMORY(update_community("lab"), GCT_MEM_SHARED), NULL);
}

static void two_lives(void)
{
	software();
	boot("alpha");
	boot("beta");
}

static void a_locked_tree(void)
{
	two_lives();
	ask("beta", APMP_CALL_LOCK_TREE, 0, 0, 0, NULL);
}

static void a_cpu_on_its_way(void)
{
	two_lives();
	depart("alpha", 1);
}

static void a_loan(void)
{
	a_locked_tree();
	depart("alpha", 1);
	arrive("beta", 1, true);
}

/* Nodes of both kinds on the lookaside list, among others. */
static void deletions(void)
{
	software();
	ask(NULL, APMP_CALL_CREATE_COMMUNITY, 0, 0, 0, "other");
	ask(NULL, APMP_CALL_CREATE_PARTITION, (uint64_t)update_community("other"), 0, 0, "gamma");
	ask(NULL, APMP_CALL_CREATE_PARTITION, 0, 0, 0, "delta");
	ask(NULL, APMP_CALL_DELETE_PARTITION, (uint64_t)update_partition("gamma"), 0, 0, NULL);
	ask(NULL, APMP_CALL_DELETE_PARTITION, (uint64_t)update_partition("delta"), 0, 0, NULL);
	ask(NULL, APMP_CALL_DELETE_COMMUNITY, (uint64_t)update_community("other"), 0, 0, NULL);
}

static void another_community(void)
{
	software();
	ask(NULL, APMP_CALL_CREATE_COMMUNITY, 0, 0, 0, "other");
	ask(NULL, APMP_CALL_ASSIGN_MEMORY, 0, 2 * APMP_GRANULE,
	    MEMORY(update_community("other"), GCT_MEM_SHARED), NULL);
}

static void a_cpu_outside(void)
{
	software();
	take_out(update_node(GCT_CPU, 4));
}

static void a_bad_page(void)
{
	mark_bad(3);
}

/* --- the requests --- */

static void create_community(void)
{
	ask(NULL, APMP_CALL_CREATE_COMMUNITY, 0, 0, 0, "other");
}

static void create_partition(void)
{
	ask("alpha", APMP_CALL_CREATE_PARTITION, lab(), 1, 0, "gamma");
}

static void delete_community(void)
{
	ask(NULL, APMP_CALL_DELETE_COMMUNITY, (uint64_t)update_community("other"), 0, 0, NULL);
}

static void delete_partition(void)
{
	ask("beta", APMP_CALL_DELETE_PARTITION, (uint64_t)update_partition("alpha"), 0, 0, NULL);
}

static void leave_community(void)
{
	ask(NULL, APMP_CALL_SET_COMMUNITY, (uint64_t)update_partition("beta"), 0, 0, NULL);
}

static void a_lone_partition(void)
{
	software();
	leave_community();
}

static void enter_community(void)
{
	ask(NULL, APMP_CALL_SET_COMMUNITY, (uint64_t)update_partition("beta"), lab(), 0, NULL);
}

static void assign(void)
{
	ask("alpha", APMP_CALL_ASSIGN, (uint64_t)update_node(GCT_CPU, 3),
	    (uint64_t)update_partition("beta"), 0, NULL);
}

static void assign_bound(void)
{
	ask("alpha", APMP_CALL_ASSIGN, (uint64_t)update_node(GCT_MEMORY_SUB, 1), lab(), 0, NULL);
}

static void deassign(void)
{
	ask("alpha", APMP_CALL_DEASSIGN, (uint64_t)update_node(GCT_CPU, 1), 1, 0, NULL);
}

static void deassign_later(void)
{
	ask("alpha", APMP_CALL_DEASSIGN, (uint64_t)update_node(GCT_BUS, 0), 0, 0, NULL);
}

static void reassign(void)
{
	ask("alpha", APMP_CALL_REASSIGN, (uint64_t)update_node(GCT_CPU, 1),
	    (uint64_t)update_partition("beta"), 0, NULL);
}

static void assign_memory(void)
{
	ask("alpha", APMP_CALL_ASSIGN_MEMORY, 0, 2 * APMP_GRANULE,
	    MEMORY(update_partition("beta"), GCT_MEM_PRIVATE | GCT_MEM_BASE), NULL);
}

static void assign_subsystem(void)
{
	ask("alpha", APMP_CALL_ASSIGN_MEMORY, FIRST_PA + 10 * APMP_GRANULE, APMP_GRANULE,
	    MEMORY(update_partition("beta"), GCT_MEM_PRIVATE), NULL);
}

static void deassign_memory(void)
{
	ask("alpha", APMP_CALL_DEASSIGN_MEMORY, FIRST_PA + APMP_GRANULE, APMP_GRANULE, 1, NULL);
}

static void leave_subsystem(void)
{
	ask(NULL, APMP_CALL_DEASSIGN_MEMORY, FIRST_PA + 8 * APMP_GRANULE, 2 * APMP_GRANULE, 1,
	    NULL);
}

static void set_id(void)
{
	ask("alpha", APMP_CALL_SET_ID, 4711, 0, 0, NULL);
}

static void lock_tree(void)
{
	ask("alpha", APMP_CALL_LOCK_TREE, 0, 0, 0, NULL);
}

static void unlock_tree(void)
{
	ask("beta", APMP_CALL_UNLOCK_TREE, 0, 0, 0, NULL);
}

static void insert_cpu(void)
{
	const struct apmp_tree_spec spec = {.parent = update_node(GCT_SBB, 1),
					    .type = GCT_CPU,
					    .id = 5,
					    .cpu_type = 1,
					    .affinity = update_node(GCT_SBB, 1)};

	insert(&spec, 0, 0);
}

static void insert_memory(void)
{
	const uint64_t pa = FIRST_PA + 32 * APMP_GRANULE;
	const struct apmp_tree_spec spec = {.parent = update_node(GCT_MEMORY_SUB, 1),
					    .type = GCT_MEMORY_DESC,
					    .id = pa,
					    .config = update_node(GCT_MEMORY_SUB, 1),
					    .affinity = update_node(GCT_SBB, 1)};

	insert(&spec, pa, 4 * APMP_GRANULE);
}

static void bring_back(void)
{
	const struct apmp_tree_spec spec = {.parent = update_node(GCT_SBB, 1),
					    .type = GCT_CPU,
					    .id = 4,
					    .affinity = update_node(GCT_SBB, 1)};

	insert(&spec, 0, 0);
}

static void take_out_cpu(void)
{
	take_out(update_node(GCT_CPU, 4));
}

static void boot_alpha(void)
{
	boot("alpha");
}

static void fence_beta(void)
{
	fence("beta");
}

static void depart_alpha(void)
{
	depart("alpha", 1);
}

static void arrive_beta(void)
{
	arrive("beta", 1, false);
}

static void arrive_loan(void)
{
	arrive("beta", 1, true);
}

static void mark_first(void)
{
	mark_bad(3);
}

static void mark_second(void)
{
	mark_bad(70);
}

const struct update_request update_requests[] = {
    {"create a community", software, create_community},
    {"create a community again", deletions, create_community},
    {"create a partition", two_lives, create_partition},
    {"create a partition again", deletions, create_partition},
    {"delete a community", another_community, delete_community},
    {"delete a partition", software, delete_partition},
    {"a partition leaves its community", software, leave_community},
    {"a partition gets a community", a_lone_partition, enter_community},
    {"assign a CPU", two_lives, assign},
    {"assign a subsystem", two_lives, assign_bound},
    {"deassign a CPU", two_lives, deassign},
    {"deassign a bus that is in use", two_lives, deassign_later},
    {"reassign a CPU", two_lives, reassign},
    {"assign memory", two_lives, assign_memory},
    {"assign memory, with its subsystem", two_lives, assign_subsystem},
    {"deassign memory", two_lives, deassign_memory},
    {"deassign memory, the last of its subsystem", another_community, leave_subsystem},
    {"set the ID field", two_lives, set_id},
    {"lock the tree", two_lives, lock_tree},
    {"unlock the tree", a_locked_tree, unlock_tree},
    {"boot", software, boot_alpha},
    {"fence", a_loan, fence_beta},
    {"depart", two_lives, depart_alpha},
    {"arrive", a_cpu_on_its_way, arrive_beta},
    {"arrive, a loan", a_cpu_on_its_way, arrive_loan},
    {"a CPU comes in", two_lives, insert_cpu},
    {"memory comes in", two_lives, insert_memory},
    {"a CPU goes out", two_lives, take_out_cpu},
    {"a CPU comes back", a_cpu_outside, bring_back},
    {"the first bad page", NULL, mark_first},
    {"another bad page", a_bad_page, mark_second},
};

const uint32_t update_request_count = sizeof(update_requests) / sizeof(update_requests[0]);

const char *update_never_made(void)
{
	static const char *const names[] = {
#define X(name, value, text) [value] = text,
	    APMP_CALLS(X)
#undef X
	};

	for (uint32_t op = APMP_CALL_CREATE_COMMUNITY; op <= APMP_CALL_UNLOCK_TREE; op++)
		/* They update nothing themselves: a start is a boot. */
		if (op != APMP_CALL_LIMITS && op != APMP_CALL_START_PARTITION && !made[op])
			return names[op];
	return NULL;
}
