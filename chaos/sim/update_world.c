/*
 * update_world.c - the machine whose console is killed in its updates, and what it was before.
 *
 * WHAT      A tree of two blocks (five CPUs, two memories, three buses), HWRPBs, the console's
 *           words and its journal, all in the arena, so that each access is a step.  It is small
 *           so that a walk over it is: a request is made once for each of its accesses.
 *           Images are copies of all that outlives a console.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/sim/sim_update.h"
#include "shm/assert.h"
#include "shm/intr.h"

#define GRANULES 8u /* of each block's memory */

struct update_world world;

/* --- building --- */

static int32_t add(enum gct_node_type type, int32_t parent, uint64_t id, int32_t config)
{
	const struct apmp_tree_spec spec = {.parent = parent,
					    .type = type,
					    .id = id,
					    .flags = NODE_HARDWARE | NODE_HOTSWAP,
					    .config = config};
	int32_t at = apmp_tree_add(&sim.writer, &spec);

	apmp_assert(at > 0);
	return at;
}

static void add_block(uint64_t id, uint64_t first_cpu, uint64_t cpus, uint64_t buses)
{
	int32_t sbb = add(GCT_SBB, apmp_tree_root(&sim.writer, GCT_HW_ROOT), id, 0);
	int32_t sub, iop;
	struct apmp_tree_spec memory = {.type = GCT_MEMORY_DESC,
					.id = SIM_SHARED_PA + id * GRANULES * APMP_GRANULE,
					.flags = NODE_HARDWARE | NODE_HOTSWAP};
	int32_t at;

	for (uint64_t cpu = first_cpu; cpu < first_cpu + cpus; cpu++)
		(void)add(GCT_CPU, sbb, cpu, 0);
	sub = add(GCT_MEMORY_SUB, sbb, id, 0);
	(void)add(GCT_MEMORY_CTRL, sub, id, sub);
	memory.parent = sub;
	memory.config = sub;
	at = apmp_tree_add_memory(&sim.writer, &memory, memory.id, GRANULES * APMP_GRANULE);
	apmp_assert(at > 0);
	iop = add(GCT_IOP, sbb, id << 16, 0);
	for (uint64_t bus = 0; bus < buses; bus++)
		(void)add(GCT_BUS, iop, id << 32 | bus, 0);
}

/* Mapped again by each console, as a real one does. */
static void map_objects(void)
{
	struct apmp_env *env = &sim.console_env;

	if (env->lines)
		sim_arena_unmap(env->lines, APMP_INTR_SIZE);
	if (sim.console_tree)
		sim_arena_unmap(sim.console_tree, sim.tree_size);
	sim_env_init(env);
	env->lines = sim_arena_map(SIM_LINES_PA, APMP_INTR_SIZE, true);
	env->line_count = UPDATE_CPUS;
	sim.console_tree = sim_arena_map(SIM_TREE_PA, sim.tree_size, true);
}

void update_world_open(bool remap)
{
	if (remap)
		map_objects();
	apmp_update_init(&sim.update, &sim.console_env, sim.journal);
	apmp_update_object(&sim.update, APMP_OBJECT_TREE, sim.console_tree, sim.tree_size);
	apmp_update_object(&sim.update, APMP_OBJECT_STATE, world.words, sizeof(*world.words));
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++)
		apmp_update_object(&sim.update, APMP_OBJECT_HWRPB(p), world.hwrpb[p], HWRPB_SIZE);
}

void update_image_make(struct update_image *image)
{
	image->tree = calloc(1, sim.tree_size);
	image->journal = calloc(1, sizeof(*image->journal));
	apmp_assert(image->tree && image->journal);
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++) {
		image->hwrpb[p] = calloc(1, HWRPB_SIZE);
		apmp_assert(image->hwrpb[p]);
	}
}

void update_world_begin(void)
{
	const struct apmp_tree_limits limits = {.min_alloc = APMP_GRANULE,
						.min_align = APMP_GRANULE,
						.base_alloc = APMP_GRANULE,
						.base_align = APMP_GRANULE,
						.max_phys_address = UINT64_C(1) << 40,
						.mem_size = 2 * GRANULES * APMP_GRANULE,
						.max_fragments = 8,
						.max_desc = 4,
						.platform = "simulated"};

	sim.tree_size = apmp_tree_size(24, limits.max_desc, limits.max_fragments);
	apmp_assert(sim.tree_size <= SIM_SLOT_SIZE);
	sim.journal = sim_arena_private(SIM_MAX_INSTANCES, sizeof(*sim.journal));
	world.words = sim_arena_private(SIM_MAX_INSTANCES, sizeof(*world.words));
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++)
		world.hwrpb[p] = sim_arena_private(SIM_MAX_INSTANCES, HWRPB_SIZE);
	if (!world.boundary[0].tree) /* once in a process */
		for (uint32_t b = 0; b < UPDATE_BOUNDARIES; b++)
			update_image_make(&world.boundary[b]);
	update_world_open(true);
	apmp_tree_create(&sim.writer, &sim.update, sim.console_tree, sim.tree_size, &limits);
	add_block(0, 0, 3, 2);
	add_block(1, 3, 2, 1);
	apmp_tree_publish(&sim.writer);
}

/* --- images --- */

static size_t journal_used(const struct apmp_journal *journal)
{
	return offsetof(struct apmp_journal, entry) +
	       journal->count * sizeof(struct apmp_journal_entry);
}

void update_image_save(struct update_image *image)
{
	memcpy(image->tree, sim_physical + SIM_TREE_PA, sim.tree_size);
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++)
		memcpy(image->hwrpb[p], world.hwrpb[p], sizeof(struct hwrpb));
	memcpy(&image->words, world.words, sizeof(image->words));
	memcpy(image->journal, sim.journal, journal_used(sim.journal));
}

void update_image_restore(const struct update_image *image)
{
	memcpy(sim_physical + SIM_TREE_PA, image->tree, sim.tree_size);
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++)
		memcpy(world.hwrpb[p], image->hwrpb[p], sizeof(struct hwrpb));
	memcpy(world.words, &image->words, sizeof(image->words));
	memcpy(sim.journal, image->journal, journal_used(image->journal));
}

static struct gct_root_node *root_in(unsigned char *tree)
{
	return (void *)(tree + sizeof(struct gct_header));
}

static bool is_level(size_t at)
{
	at -= sizeof(struct gct_header) + offsetof(struct gct_root_node, transient_level);
	return at < 2 * sizeof(uint64_t);
}

static bool same_bytes(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

const char *update_image_differs(const struct update_image *image)
{
	static char what[96];
	unsigned char *now = sim_physical + SIM_TREE_PA;
	struct gct_root_node *root = root_in(now);
	size_t used = sizeof(struct gct_header) + (size_t)root_in(image->tree)->first_free;

	if (sim.journal->open)
		return "the journal is open";
	if (root->current_level != root->transient_level)
		return "the levels differ";
	if (root->current_level < root_in(world.boundary[0].tree)->current_level)
		return "the level has gone back";
	for (size_t at = 0; at < used; at += 4) {
		if (memcmp(now + at, image->tree + at, 4) == 0 || is_level(at))
			continue;
		snprintf(what, sizeof(what), "the tree differs, %s %lld",
			 at < sizeof(struct gct_header) ? "in its header at" : "at handle",
			 (long long)at - (long long)sizeof(struct gct_header));
		return what;
	}
	for (uint32_t p = 0; p < UPDATE_PARTITIONS; p++)
		if (!same_bytes(world.hwrpb[p], image->hwrpb[p], sizeof(struct hwrpb)))
			return "an HWRPB differs";
	if (!same_bytes(world.words, &image->words, sizeof(image->words)))
		return "the console's words differ";
	return NULL;
}

void update_boundary(void)
{
	world.boundaries_passed++;
	if (!world.noting)
		return;
	if (sim.current)
		sim_stores_drain(sim.current);
	apmp_assert(world.boundary_count < UPDATE_BOUNDARIES);
	update_image_save(&world.boundary[world.boundary_count++]);
}

/* --- reading --- */

static uint64_t mixed(uint64_t digest, uint64_t value)
{
	return sim_mix(digest + value + 1);
}

static uint64_t mixed_text(uint64_t digest, const char *text)
{
	while (*text)
		digest = mixed(digest, (uint64_t)*text++);
	return mixed(digest, 0);
}

static uint64_t mixed_node(uint64_t d, const struct apmp_tree_node *n)
{
	const int32_t handles[] = {n->handle, n->owner,	   n->current_owner, n->config, n->affinity,
				   n->parent, n->next_sib, n->prev_sib,	     n->child};

	d = mixed(d, (uint64_t)n->type << 32 | (uint64_t)n->subtype << 16 | n->size);
	d = mixed(mixed(d, n->id), n->flags);
	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		d = mixed(d, (uint64_t)(uint32_t)handles[i]);
	return d;
}

/* The fragments of a memory descriptor, and whether its pages are good. */
static int digest_memory(const struct apmp_tree *tree, int32_t desc, uint64_t *digest)
{
	struct apmp_tree_fragment f;
	uint64_t d = *digest;
	int err;

	for (uint32_t i = 0; (err = apmp_tree_fragment(tree, desc, i, &f)) == 0; i++) {
		d = mixed(mixed(d, f.pa), f.size);
		d = mixed(mixed(d, (uint64_t)(uint32_t)f.owner),
			  (uint64_t)(uint32_t)f.current_owner);
		d = mixed(d, f.flags);
	}
	*digest = d;
	return err == -ENOENT ? 0 : err;
}

static int digest_software(const struct apmp_tree *tree, uint64_t *digest)
{
	struct apmp_tree_partition p;
	struct apmp_tree_community c;
	uint64_t d = *digest;

	for (uint32_t id = 0; id < UPDATE_PARTITIONS; id++) {
		int of_p = apmp_tree_partition(tree, id, &p);
		int of_c = apmp_tree_community(tree, id, &c);

		if ((of_p && of_p != -ENOENT) || (of_c && of_c != -ENOENT))
			return of_p && of_p != -ENOENT ? of_p : of_c;
		if (!of_p)
			d = mixed_text(
			    mixed(mixed(mixed(d, p.incarnation), p.fenced), (uint64_t)p.hwrpb),
			    p.name);
		if (!of_p)
			d = mixed_text(mixed(d, (uint64_t)(uint32_t)p.community), p.instance_name);
		if (!of_c)
			d = mixed_text(mixed(d, c.apmpdb_info), c.name);
	}
	*digest = d;
	return 0;
}

int update_digest(const struct apmp_tree *tree, uint64_t *ret_digest)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t d = 0;
	int more, err = 0;

	apmp_tree_walk_init(&walk, 0);
	while (!err && (more = apmp_tree_walk(tree, &walk, &n)) > 0) {
		d = mixed_node(d, &n);
		if (n.type == GCT_MEMORY_DESC && !(n.flags & NODE_HW_TEMPLATE))
			err = digest_memory(tree, n.handle, &d);
	}
	if (!err && more < 0)
		err = more;
	if (!err)
		err = digest_software(tree, &d);
	*ret_digest = d;
	return err;
}

/* --- finding --- */

int32_t update_node(enum gct_node_type type, uint64_t id)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&sim.writer.tree, &walk, type, &n) > 0)
		if (n.id == id)
			return n.handle;
	apmp_assert(!"a node of this type and id");
	return GCT_NONE;
}

int32_t update_partition(const char *name)
{
	struct apmp_tree_partition p;

	for (uint32_t id = 0; id < UPDATE_PARTITIONS; id++)
		if (!apmp_tree_partition(&sim.writer.tree, id, &p) && strcmp(p.name, name) == 0)
			return p.node.handle;
	apmp_assert(!"a partition of this name");
	return GCT_NONE;
}

int32_t update_community(const char *name)
{
	struct apmp_tree_community c;

	for (uint32_t id = 0; id < UPDATE_PARTITIONS; id++)
		if (!apmp_tree_community(&sim.writer.tree, id, &c) && strcmp(c.name, name) == 0)
			return c.node.handle;
	apmp_assert(!"a community of this name");
	return GCT_NONE;
}
