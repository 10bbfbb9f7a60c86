/*
 * update_requests.c - every kind of change that a console makes to tree and HWRPBs.
 *
 * Boot, fence and migration are made as console/lifecycle.c and console/migrate.c make them.
 */
#include <errno.h>

#include "chaos/sim/sim_update.h"
#include "shm/assert.h"
#include "shm/shared.h"

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

/* --- lives --- */

/* The CPUs whose bit is set become a partition's when it boots. */
static void boot(const char *name, uint32_t cpus)
{
	struct apmp_tree_partition p = partition(name);

	apmp_update_begin(&sim.update);
	(void)apmp_tree_partition_boot(&sim.writer, p.id, name);
	for (uint32_t cpu = 0; cpu < UPDATE_CPUS; cpu++) {
		if (!(cpus >> cpu & 1))
			continue;
		apmp_tree_set_current_owner(&sim.writer, update_node(GCT_CPU, cpu), p.node.handle);
		apmp_hwrpb_set_flags(&sim.update, world.hwrpb[p.id], p.id, cpu, 0,
				     HWRPB_PP | HWRPB_PA);
	}
	apmp_update_commit(&sim.update);
	update_boundary();
}

/* console/lifecycle.c: uninitialize. */
static void fence(const char *name)
{
	struct apmp_tree_partition p = partition(name);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_update_begin(&sim.update);
	apmp_tree_set_flags(&sim.writer, p.node.handle, NODE_INITIALIZED, 0);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&sim.writer.tree, &walk, GCT_CPU, &n) > 0) {
		if (n.current_owner != p.node.handle)
			continue;
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

/* --- the requests --- */

static void software(void)
{
	apmp_update_begin(&sim.update);
	apmp_assert(apmp_tree_add_community(&sim.writer, "lab") == 0);
	apmp_assert(apmp_tree_add_partition(&sim.writer, update_community("lab"), "alpha",
					    SIM_HWRPB_PA(0)) == 0);
	apmp_assert(apmp_tree_add_partition(&sim.writer, update_community("lab"), "beta",
					    SIM_HWRPB_PA(1)) == 1);
	for (uint32_t cpu = 0; cpu < 3; cpu++)
		apmp_tree_set_owner(&sim.writer, update_node(GCT_CPU, cpu),
				    update_partition(cpu < 2 ? "alpha" : "beta"));
	apmp_update_commit(&sim.update);
	update_boundary();
}

static void two_lives(void)
{
	software();
	boot("alpha", 0x3);
	boot("beta", 0x4);
}

static void a_cpu_on_its_way(void)
{
	two_lives();
	depart("alpha", 1);
}

static void a_loan(void)
{
	a_cpu_on_its_way();
	arrive("beta", 1, true);
}

static void make_boot(void)
{
	boot("alpha", 0x3);
}

static void make_fence(void)
{
	fence("beta");
}

static void make_depart(void)
{
	depart("alpha", 1);
}

static void make_arrive(void)
{
	arrive("beta", 1, false);
}

static void make_loan(void)
{
	arrive("beta", 1, true);
}

const struct update_request update_requests[] = {
    {"software", NULL, software},
    {"boot", software, make_boot},
    {"fence", a_loan, make_fence},
    {"depart", two_lives, make_depart},
    {"arrive", a_cpu_on_its_way, make_arrive},
    {"arrive, a loan", a_cpu_on_its_way, make_loan},
};

const uint32_t update_request_count = sizeof(update_requests) / sizeof(update_requests[0]);
