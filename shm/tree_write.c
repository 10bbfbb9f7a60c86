/*
 * tree_write.c - building the configuration tree, and its hardware.
 *
 * WHAT      Nodes are taken from the free pool and never move [0116]; all of the tree is in one
 *           memory, whose layout is: header, root node, hardware, software, template roots, the
 *           partition and community arrays, the platform's name, then nodes as they are added.
 *           A component that leaves the box keeps its node, flagged UNAVAILABLE, and finds it again
 *           when it comes back: handles of hardware are valid for ever.
 * STATES    unpublished (plain stores, only the console has it) -> published (fingerprint written;
 *           stores go through the update's journal).
 * CRASHES   Unpublished: the next console starts from zeroed memory.  Published: shm/update.c.  A
 *           node that is fresh from the pool is filled in by plain stores: what an undone update
 *           leaves there lies behind first_free.
 * LIMITS    Every update fits into the journal: at most APMP_TREE_NODES_MAX nodes, which an update
 *           stores into twice, and descriptors whose fragments fit (apmp_tree_create).
 * NOT HERE  Reading (tree.c); owners (tree_owner.c), partitions and communities (tree_software.c),
 *           memory (tree_memory.c); who may change what (configure*.c).
 */
#include "shm/tree_internal.h"

#include <errno.h>
#include <string.h>

#define FIRST_ROOT ((int32_t)sizeof(struct gct_root_node))

uint64_t apmp_tree_size(uint32_t hardware_nodes, uint32_t max_desc, uint32_t max_fragments)
{
	uint64_t size = 4 * APMP_PAGE_SIZE + APMP_TREE_BITMAPS;

	size += (uint64_t)hardware_nodes * 2 * sizeof(struct gct_cpu_node);
	size += (uint64_t)max_desc *
		(sizeof(struct gct_mem_desc_node) + max_fragments * sizeof(struct gct_mem_desc));
	size += APMP_MAX_PARTITIONS *
		(sizeof(struct gct_partition_node) + sizeof(struct gct_community_node));
	return (size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
}

int32_t apmp_tree_root(const struct apmp_tree_writer *tw, enum gct_node_type type)
{
	(void)tw;
	if (type == GCT_ROOT)
		return 0;
	apmp_assert(type >= GCT_HW_ROOT && type <= GCT_TEMPLATE_ROOT);
	return FIRST_ROOT + (int32_t)(type - GCT_HW_ROOT) * (int32_t)sizeof(struct gct_node);
}

static void fill_limits(struct apmp_tree_writer *tw, const struct apmp_tree_limits *limits)
{
	struct gct_root_node *root = apmp__tree_root(tw);
	uint64_t min_alloc = limits->min_alloc ? limits->min_alloc : APMP_GRANULE;
	uint64_t min_align = limits->min_align ? limits->min_align : APMP_GRANULE;

	apmp_store_relaxed(&root->lock, UINT64_MAX);
	apmp_store_relaxed(&root->console_req, limits->console_req);
	apmp_store_relaxed(&root->min_alloc, min_alloc);
	apmp_store_relaxed(&root->min_align, min_align);
	apmp_store_relaxed(&root->base_alloc, limits->base_alloc ? limits->base_alloc : min_alloc);
	apmp_store_relaxed(&root->base_align, limits->base_align ? limits->base_align : min_align);
	apmp_store_relaxed(&root->max_phys_address, limits->max_phys_address);
	apmp_store_relaxed(&root->mem_size, limits->mem_size);
	apmp_store_relaxed(&root->primary_instance, -1);
	apmp_store_relaxed(&root->max_partition, APMP_MAX_PARTITIONS);
	apmp_store_relaxed(&root->max_platform_partition, APMP_MAX_PARTITIONS);
	apmp_store_relaxed(&root->max_fragments, limits->max_fragments);
	apmp_store_relaxed(&root->max_desc, limits->max_desc);
}

/* What is bound to what here [0085]: a bus goes with its I/O processor, the rest is free. */
static const struct {
	enum gct_node_type node, parent, config, affinity;
} bindings[] = {
    {GCT_SBB, GCT_HW_ROOT, GCT_HW_ROOT, GCT_HW_ROOT},
    {GCT_CPU, GCT_SBB, GCT_HW_ROOT, GCT_SBB},
    {GCT_MEMORY_SUB, GCT_SBB, GCT_HW_ROOT, GCT_SBB},
    {GCT_MEMORY_CTRL, GCT_MEMORY_SUB, GCT_MEMORY_SUB, GCT_SBB},
    {GCT_MEMORY_DESC, GCT_MEMORY_SUB, GCT_MEMORY_SUB, GCT_SBB},
    {GCT_IOP, GCT_SBB, GCT_HW_ROOT, GCT_SBB},
    {GCT_BUS, GCT_IOP, GCT_HW_ROOT, GCT_IOP},
    {GCT_IO_CTRL, GCT_BUS, GCT_BUS, GCT_BUS},
};

static int32_t add_bindings(struct apmp_tree_writer *tw)
{
	const uint32_t count = sizeof(bindings) / sizeof(bindings[0]);
	int32_t at =
	    apmp__tree_take_pool(tw, (count + 1) * sizeof(struct gct_binding)); /* zero ends it */
	struct gct_binding *to = (void *)(tw->root + at);

	apmp_assert(at > 0);
	for (uint32_t i = 0; i < count; i++) {
		apmp_store_relaxed(&to[i].node_type, bindings[i].node);
		apmp_store_relaxed(&to[i].parent_type, bindings[i].parent);
		apmp_store_relaxed(&to[i].config_type, bindings[i].config);
		apmp_store_relaxed(&to[i].affinity_type, bindings[i].affinity);
	}
	return at;
}

/* The least that a partition needs [0077, 0078]. */
static void add_template(struct apmp_tree_writer *tw)
{
	static const enum gct_node_type needed[] = {GCT_CPU, GCT_MEMORY_DESC, GCT_BUS};

	for (uint32_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		struct apmp_tree_spec spec = {.parent = apmp_tree_root(tw, GCT_TEMPLATE_ROOT),
					      .type = needed[i],
					      .flags = NODE_HW_TEMPLATE};
		int32_t at = apmp__tree_take_pool(tw, sizeof(struct gct_node));

		apmp_assert(at > 0);
		apmp__tree_link(tw, at, sizeof(struct gct_node), &spec);
	}
}

void apmp_tree_create(struct apmp_tree_writer *tw, struct apmp_update *up, void *base,
		      uint64_t size, const struct apmp_tree_limits *limits)
{
	struct gct_header *header = base;
	struct gct_root_node *root;
	const int32_t first = FIRST_ROOT + 3 * (int32_t)sizeof(struct gct_node);
	const uint64_t array_size = APMP_MAX_PARTITIONS * sizeof(int32_t);

	*tw = (struct apmp_tree_writer){
	    .up = up, .root = (unsigned char *)base + sizeof(*header), .published = false};
	/* Its writer may read it before it is published. */
	tw->tree =
	    (struct apmp_tree){.header = header, .root = tw->root, .size = size - sizeof(*header)};
	apmp_store_relaxed(&header->size, size);
	root = apmp__tree_root(tw);
	apmp_assert(limits->max_fragments <= APMP_TREE_FRAGMENTS_MAX);
	fill_limits(tw, limits);
	apmp_store_relaxed(&root->high_limit, (int32_t)(size - sizeof(*header) - GCT_ALIGN));
	apmp_store_relaxed(&root->first_free, first);
	apmp_store_relaxed(&root->available, (int32_t)(size - sizeof(*header)) - first);
	apmp__tree_link(tw, 0, sizeof(*root),
			&(struct apmp_tree_spec){.parent = 0, .type = GCT_ROOT});
	for (enum gct_node_type t = GCT_HW_ROOT; t <= GCT_TEMPLATE_ROOT; t++)
		apmp__tree_link(tw, apmp_tree_root(tw, t), sizeof(struct gct_node),
				&(struct apmp_tree_spec){.parent = 0, .type = t});
	apmp_store_relaxed(&root->partitions, apmp__tree_take_pool(tw, array_size));
	apmp_store_relaxed(&root->communities, apmp__tree_take_pool(tw, array_size));
	apmp_store_relaxed(&root->platform_name, apmp__tree_take_pool(tw, APMP_NAME_SIZE));
	apmp__tree_put_string(tw, (char *)tw->root + apmp_load_relaxed(&root->platform_name),
			      APMP_NAME_SIZE, limits->platform);
	apmp_store_relaxed(&root->bindings, add_bindings(tw));
	add_template(tw);
}

int apmp_tree_adopt(struct apmp_tree_writer *tw, struct apmp_update *up, void *base, uint64_t size)
{
	*tw = (struct apmp_tree_writer){
	    .up = up, .root = (unsigned char *)base + sizeof(struct gct_header), .published = true};
	return apmp_tree_init(&tw->tree, base, size);
}

void apmp_tree_publish(struct apmp_tree_writer *tw)
{
	struct gct_header *header = (void *)(tw->root - sizeof(*header));
	const _Atomic uint64_t *word = (const void *)tw->root;
	uint64_t size = apmp_load_relaxed(&header->size), sum = 0;
	int err;

	for (uint64_t i = 0; i < tw->tree.size / sizeof(*word); i++)
		sum += apmp_load_relaxed(&word[i]);
	apmp_store_relaxed(&header->checksum, sum);
	/* Acquired by apmp_tree_init: who sees it sees the tree. */
	apmp_store_release(&header->fingerprint, apmp_fingerprint(size));
	tw->published = true;
	err = apmp_tree_init(&tw->tree, header, size);
	apmp_assert(!err);
}

int32_t apmp_tree_add(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec)
{
	bool is_cpu = spec->type == GCT_CPU;
	uint64_t size = is_cpu ? sizeof(struct gct_cpu_node) : sizeof(struct gct_node);
	int32_t at = apmp__tree_take_pool(tw, size);

	if (at < 0)
		return at;
	if (is_cpu) {
		struct gct_cpu_node *cpu = (void *)apmp__tree_at(tw, at);

		apmp_store_relaxed(&cpu->cpu_type, spec->cpu_type);
		apmp_store_relaxed(&cpu->cpu_revision, spec->cpu_revision);
		memset(cpu->fill, 0, sizeof(cpu->fill));
	}
	apmp__tree_link(tw, at, size, spec);
	return at;
}

/* Memory that comes and goes with a descriptor; 0 of any other node. */
static uint64_t memory_of(const struct apmp_tree_writer *tw, const struct apmp_tree_node *node)
{
	const struct gct_mem_desc_node *d = (const void *)apmp__tree_at(tw, node->handle);

	return node->type == GCT_MEMORY_DESC ? apmp_load_relaxed(&d->mem_info.base_size) : 0;
}

/* Power goes on or off for a node and what hangs below it [0074]. */
static void power(struct apmp_tree_writer *tw, int32_t handle, bool on)
{
	_Atomic uint64_t *mem_size = &apmp__tree_root(tw)->mem_size;
	uint64_t total = apmp_load_relaxed(mem_size);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, handle);
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0 &&
	       apmp__tree_is_below(&tw->tree, n.handle, handle)) {
		if (on != !!(n.flags & NODE_UNAVAILABLE))
			continue;
		/* What can be powered by itself comes back by itself. */
		if (on && n.handle != handle && n.flags & NODE_HOTSWAP)
			continue;
		if (!on) /* owners that it had because it was bound to what others own */
			apmp__tree_put_owners(tw, n.handle, GCT_NONE, GCT_NONE);
		apmp_tree_set_flags(tw, n.handle, NODE_UNAVAILABLE, on ? 0 : NODE_UNAVAILABLE);
		total += on ? memory_of(tw, &n) : 0 - memory_of(tw, &n);
	}
	if (total != apmp_load_relaxed(mem_size))
		apmp__tree_put64(tw, mem_size, total);
}

void apmp_tree_take_out(struct apmp_tree_writer *tw, int32_t handle)
{
	power(tw, handle, false);
}

void apmp_tree_bring_back(struct apmp_tree_writer *tw, int32_t handle,
			  const struct apmp_tree_spec *spec)
{
	struct gct_node *node = apmp__tree_at(tw, handle);
	struct gct_cpu_node *cpu = (void *)node;
	struct {
		uint8_t type, subtype;
		uint16_t size;
	} head = {apmp_load_relaxed(&node->type), spec->subtype, apmp_load_relaxed(&node->size)};
	uint32_t word;

	memcpy(&word, &head, sizeof(word)); /* the three are one word of the journal */
	apmp__tree_put32(tw, (_Atomic uint32_t *)(void *)node, word);
	if (head.type == GCT_CPU) {
		apmp__tree_put64(tw, &cpu->cpu_type, spec->cpu_type);
		apmp__tree_put64(tw, &cpu->cpu_revision, spec->cpu_revision);
	}
	power(tw, handle, true);
	apmp__tree_put64(tw, &node->node_flags, spec->flags);
}
