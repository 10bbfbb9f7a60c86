/*
 * tree_write.c - building and changing the configuration tree.
 *
 * WHAT      Nodes are taken from the free pool and never move [0116]; all of the tree is in one
 *           memory, whose layout is: header, root node, hardware, software, template roots, the
 *           partition and community arrays, the platform's name, then nodes as they are added.
 * STATES    unpublished (plain stores, only the console has it) -> published (fingerprint written;
 *           stores go through the update's journal).
 * CRASHES   Unpublished: the next console starts from zeroed memory.  Published: shm/update.c.
 * NOT HERE  Reading (tree.c), deletion with the lookaside list, hot swap.
 */
#include "shm/tree_write.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/shared.h"

#define FIRST_ROOT ((int32_t)sizeof(struct gct_root_node))

static struct gct_node *node_of(const struct apmp_tree_writer *tw, int32_t handle)
{
	apmp_assert(handle >= 0 && handle % (int32_t)GCT_ALIGN == 0 &&
		    (uint64_t)handle + sizeof(struct gct_node) <= tw->tree.size);
	return (void *)(tw->root + handle);
}

static struct gct_root_node *root_of(const struct apmp_tree_writer *tw)
{
	return (void *)tw->root;
}

/* Stores: through the journal once everyone may read. */
static void put_handle(struct apmp_tree_writer *tw, _Atomic int32_t *field, int32_t value)
{
	if (tw->published)
		apmp_update_store_handle(tw->up, field, value);
	else
		apmp_store_relaxed(field, value);
}

static void put32(struct apmp_tree_writer *tw, _Atomic uint32_t *field, uint32_t value)
{
	put_handle(tw, (_Atomic int32_t *)field, (int32_t)value);
}

static void put64(struct apmp_tree_writer *tw, _Atomic uint64_t *field, uint64_t value)
{
	if (tw->published)
		apmp_update_store64(tw->up, APMP_OBJECT_TREE, field, value);
	else
		apmp_store_relaxed(field, value);
}

/* A string into a field of whole quadwords. */
static void put_string(struct apmp_tree_writer *tw, char *field, size_t size, const char *text)
{
	size_t length = strnlen(text, size - 1);

	for (size_t off = 0; off < size; off += 8) {
		uint64_t word = 0;

		if (off < length)
			memcpy(&word, text + off, length - off < 8 ? length - off : 8);
		put64(tw, (_Atomic uint64_t *)(void *)(field + off), word);
	}
}

uint64_t apmp_tree_size(uint32_t hardware_nodes, uint32_t max_desc, uint32_t max_fragments)
{
	uint64_t size = 4 * APMP_PAGE_SIZE;

	size += (uint64_t)hardware_nodes * 2 * sizeof(struct gct_node);
	size += (uint64_t)max_desc *
		(sizeof(struct gct_mem_desc_node) + max_fragments * sizeof(struct gct_mem_desc));
	size += APMP_MAX_PARTITIONS *
		(sizeof(struct gct_partition_node) + sizeof(struct gct_community_node));
	return (size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
}

/* Takes bytes, a multiple of GCT_ALIGN, from the free pool.  Its offset, or -ENOSPC. */
static int32_t take_pool(struct apmp_tree_writer *tw, uint64_t size)
{
	struct gct_root_node *root = root_of(tw);
	int32_t at = apmp_load_relaxed(&root->first_free);

	size = (size + GCT_ALIGN - 1) / GCT_ALIGN * GCT_ALIGN;
	if ((uint64_t)apmp_load_relaxed(&root->available) < size)
		return -ENOSPC;
	put_handle(tw, &root->available, apmp_load_relaxed(&root->available) - (int32_t)size);
	put_handle(tw, &root->first_free, at + (int32_t)size);
	return at;
}

/* Fills in a node's header and hangs it below its parent as the last child. */
static void link_node(struct apmp_tree_writer *tw, int32_t handle, uint64_t size,
		      const struct apmp_tree_spec *spec)
{
	struct gct_node *node = node_of(tw, handle), *parent = node_of(tw, spec->parent);
	int32_t last = apmp_load_relaxed(&parent->child);
	int32_t hw_root = apmp_tree_root(tw, GCT_HW_ROOT);

	apmp_store_relaxed(&node->type, (uint8_t)spec->type);
	apmp_store_relaxed(&node->subtype, spec->subtype);
	apmp_store_relaxed(&node->size, (uint16_t)size);
	apmp_store_relaxed(&node->id, spec->id);
	apmp_store_relaxed(&node->node_flags, spec->flags);
	apmp_store_relaxed(&node->config, spec->config ? spec->config : hw_root);
	apmp_store_relaxed(&node->affinity, spec->affinity ? spec->affinity : hw_root);
	apmp_store_relaxed(&node->parent, spec->parent);
	/* The pool may hold what an undone update left. */
	apmp_store_relaxed(&node->owner, GCT_NONE);
	apmp_store_relaxed(&node->current_owner, GCT_NONE);
	apmp_store_relaxed(&node->next_sib, 0);
	apmp_store_relaxed(&node->prev_sib, 0);
	apmp_store_relaxed(&node->child, 0);
	apmp_store_relaxed(&node->magic, GCT_MAGIC);
	if (spec->parent == handle) /* the root itself */
		return;
	if (!last) {
		put_handle(tw, &parent->child, handle);
		return;
	}
	while (apmp_load_relaxed(&node_of(tw, last)->next_sib))
		last = apmp_load_relaxed(&node_of(tw, last)->next_sib);
	apmp_store_relaxed(&node->prev_sib, last);
	put_handle(tw, &node_of(tw, last)->next_sib, handle);
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
	struct gct_root_node *root = root_of(tw);

	apmp_store_relaxed(&root->lock, UINT64_MAX);
	apmp_store_relaxed(&root->console_req, limits->console_req);
	apmp_store_relaxed(&root->min_alloc, limits->min_alloc);
	apmp_store_relaxed(&root->min_align, limits->min_align);
	apmp_store_relaxed(&root->base_alloc, limits->base_alloc);
	apmp_store_relaxed(&root->base_align, limits->base_align);
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
	int32_t at = take_pool(tw, (count + 1) * sizeof(struct gct_binding)); /* zero ends it */
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
		int32_t at = take_pool(tw, sizeof(struct gct_node));

		apmp_assert(at > 0);
		link_node(tw, at, sizeof(struct gct_node), &spec);
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
	root = root_of(tw);
	fill_limits(tw, limits);
	apmp_store_relaxed(&root->high_limit, (int32_t)(size - sizeof(*header) - GCT_ALIGN));
	apmp_store_relaxed(&root->first_free, first);
	apmp_store_relaxed(&root->available, (int32_t)(size - sizeof(*header)) - first);
	link_node(tw, 0, sizeof(*root), &(struct apmp_tree_spec){.parent = 0, .type = GCT_ROOT});
	for (enum gct_node_type t = GCT_HW_ROOT; t <= GCT_TEMPLATE_ROOT; t++)
		link_node(tw, apmp_tree_root(tw, t), sizeof(struct gct_node),
			  &(struct apmp_tree_spec){.parent = 0, .type = t});
	apmp_store_relaxed(&root->partitions, take_pool(tw, array_size));
	apmp_store_relaxed(&root->communities, take_pool(tw, array_size));
	apmp_store_relaxed(&root->platform_name, take_pool(tw, APMP_NAME_SIZE));
	put_string(tw, (char *)tw->root + apmp_load_relaxed(&root->platform_name), APMP_NAME_SIZE,
		   limits->platform);
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
	int32_t at = take_pool(tw, sizeof(struct gct_node));

	if (at >= 0)
		link_node(tw, at, sizeof(struct gct_node), spec);
	return at;
}

static struct gct_mem_desc *fragments_of(const struct apmp_tree_writer *tw, int32_t desc)
{
	struct gct_mem_desc_node *d = (void *)node_of(tw, desc);

	return (void *)(tw->root + desc + apmp_load_relaxed(&d->mem_frag));
}

int32_t apmp_tree_add_memory(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec,
			     uint64_t pa, uint64_t size)
{
	uint32_t max = apmp_load_relaxed(&root_of(tw)->max_fragments);
	int32_t at = take_pool(tw, sizeof(struct gct_mem_desc_node));
	int32_t array = at < 0 ? at : take_pool(tw, max * sizeof(struct gct_mem_desc));
	struct gct_mem_desc_node *d;

	if (array < 0)
		return array;
	d = (void *)node_of(tw, at);
	put64(tw, &d->mem_info.base_pa, pa);
	put64(tw, &d->mem_info.base_size, size);
	put32(tw, &d->mem_info.desc_count, 1);
	put_handle(tw, &d->mem_frag, array - at);
	put64(tw, &fragments_of(tw, at)[0].pa, pa);
	put64(tw, &fragments_of(tw, at)[0].size, size);
	link_node(tw, at, sizeof(*d), spec);
	return at;
}

/* The first id without a node [0085]; -ENOSPC. */
static int free_id(struct apmp_tree_writer *tw, int32_t array_off)
{
	_Atomic int32_t *array = (void *)(tw->root + array_off);

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_load_relaxed(&array[id]) == GCT_NONE)
			return (int)id;
	return -ENOSPC;
}

/* Adds a software node with a dense id and enters it into its array. */
static int add_software(struct apmp_tree_writer *tw, int32_t array_off, uint64_t size,
			struct apmp_tree_spec *spec, int32_t *ret_handle)
{
	int id = free_id(tw, array_off);
	int32_t at = id < 0 ? id : take_pool(tw, size);

	if (at < 0)
		return at;
	spec->id = (uint64_t)id;
	link_node(tw, at, size, spec);
	put_handle(tw, &node_of(tw, at)->owner, spec->parent);
	put_handle(tw, (_Atomic int32_t *)(void *)(tw->root + array_off) + id, at);
	*ret_handle = at;
	return id;
}

int apmp_tree_add_community(struct apmp_tree_writer *tw, const char *name)
{
	struct apmp_tree_spec spec = {.parent = apmp_tree_root(tw, GCT_SW_ROOT),
				      .type = GCT_COMMUNITY};
	int32_t at;
	int id = add_software(tw, apmp_load_relaxed(&root_of(tw)->communities),
			      sizeof(struct gct_community_node), &spec, &at);

	if (id >= 0)
		put_string(tw, ((struct gct_community_node *)(void *)node_of(tw, at))->name,
			   APMP_NAME_SIZE, name);
	return id;
}

int apmp_tree_add_partition(struct apmp_tree_writer *tw, int32_t community, const char *name,
			    uint64_t hwrpb_pa)
{
	struct apmp_tree_spec spec = {.parent =
					  community ? community : apmp_tree_root(tw, GCT_SW_ROOT),
				      .type = GCT_PARTITION};
	struct gct_partition_node *p;
	int32_t at;
	int id = add_software(tw, apmp_load_relaxed(&root_of(tw)->partitions),
			      sizeof(struct gct_partition_node), &spec, &at);

	if (id < 0)
		return id;
	p = (void *)node_of(tw, at);
	put64(tw, &p->hwrpb, hwrpb_pa);
	put_string(tw, p->name, APMP_NAME_SIZE, name);
	return id;
}

/* Whether node goes where the node at handle goes [0101]; a memory controller needs an instance and
 * is never a community's [0092]. */
static bool is_bound(const struct apmp_tree_writer *tw, const struct apmp_tree_node *node,
		     int32_t handle, int32_t owner)
{
	struct apmp_tree_node owner_node;

	if (node->handle == handle || node->config != handle)
		return false;
	return node->type != GCT_MEMORY_CTRL || !owner ||
	       apmp_tree_node(&tw->tree, owner, &owner_node) || owner_node.type != GCT_COMMUNITY;
}

/* Stores into a node and into every one that is bound to it; current says which field. */
static void put_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner, bool current)
{
	struct gct_node *node = node_of(tw, handle);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	put_handle(tw, current ? &node->current_owner : &node->owner, owner);
	if (!apmp_load_relaxed(&node->child)) /* nothing below: the usual case, a CPU */
		return;
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0) {
		if (!is_bound(tw, &n, handle, owner))
			continue;
		node = node_of(tw, n.handle);
		put_handle(tw, current ? &node->current_owner : &node->owner, owner);
	}
}

void apmp_tree_set_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner)
{
	put_owner(tw, handle, owner, false);
}

void apmp_tree_set_current_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner)
{
	put_owner(tw, handle, owner, true);
}

void apmp_tree_set_policy(struct apmp_tree_writer *tw, int32_t handle, uint64_t policy)
{
	struct gct_partition_node *p = (void *)node_of(tw, handle);

	put64(tw, &p->policy, policy);
}

void apmp_tree_set_flags(struct apmp_tree_writer *tw, int32_t handle, uint64_t clear, uint64_t set)
{
	struct gct_node *node = node_of(tw, handle);

	put64(tw, &node->node_flags, (apmp_load_relaxed(&node->node_flags) & ~clear) | set);
}

int apmp_tree_take_memory(struct apmp_tree_writer *tw, int32_t desc, uint64_t size, int32_t owner,
			  uint32_t flags, uint64_t *ret_pa)
{
	struct gct_mem_desc_node *d = (void *)node_of(tw, desc);
	struct gct_mem_desc *f = fragments_of(tw, desc);
	uint32_t count = apmp_load_relaxed(&d->mem_info.desc_count);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t pa = apmp_load_relaxed(&f[i].pa);
		uint64_t left = apmp_load_relaxed(&f[i].size);

		if (apmp_load_relaxed(&f[i].mem_owner) || left < size)
			continue;
		if (left > size) { /* the rest becomes a fragment of its own, at the end */
			if (count >= apmp_load_relaxed(&root_of(tw)->max_fragments))
				continue; /* one of just this size may follow */
			put64(tw, &f[count].pa, pa + size);
			put64(tw, &f[count].size, left - size);
			put_handle(tw, &f[count].mem_owner, GCT_NONE);
			put_handle(tw, &f[count].mem_current_owner, GCT_NONE);
			put32(tw, &f[count].mem_flags, 0);
			put32(tw, &d->mem_info.desc_count, count + 1);
		}
		put64(tw, &f[i].size, size);
		put_handle(tw, &f[i].mem_owner, owner);
		put_handle(tw, &f[i].mem_current_owner, owner);
		put32(tw, &f[i].mem_flags, flags);
		*ret_pa = pa;
		return 0;
	}
	return -ENOSPC;
}

static struct gct_partition_node *partition_of(struct apmp_tree_writer *tw, uint32_t id)
{
	_Atomic int32_t *array = (void *)(tw->root + apmp_load_relaxed(&root_of(tw)->partitions));
	int32_t handle;

	apmp_assert(id < APMP_MAX_PARTITIONS);
	handle = apmp_load_relaxed(&array[id]);
	apmp_assert(handle != GCT_NONE);
	return (void *)node_of(tw, handle);
}

uint64_t apmp_tree_partition_boot(struct apmp_tree_writer *tw, uint32_t id,
				  const char *instance_name)
{
	struct gct_partition_node *p = partition_of(tw, id);
	uint64_t incarnation = apmp_load_relaxed(&p->incarnation) + 1;

	put64(tw, &p->incarnation, incarnation);
	put64(tw, &p->hd.node_flags, apmp_load_relaxed(&p->hd.node_flags) | NODE_INITIALIZED);
	put_string(tw, p->instance_name, sizeof(p->instance_name), instance_name);
	if (apmp_load_relaxed(&root_of(tw)->primary_instance) < 0)
		put_handle(tw, &root_of(tw)->primary_instance, (int32_t)id);
	return incarnation;
}

void apmp_tree_set_fenced(struct apmp_tree_writer *tw, uint32_t id, uint64_t incarnation)
{
	struct gct_partition_node *p = partition_of(tw, id);

	/* Acquired by apmp_tree_alive: who sees it may take what the dead held. */
	if (apmp_load_relaxed(&p->fenced) < incarnation)
		apmp_store_release(&p->fenced, incarnation);
}

int apmp_tree_set_apmpdb_info(struct apmp_tree_writer *tw, uint32_t community_id, uint64_t old_info,
			      uint64_t new_info)
{
	_Atomic int32_t *array = (void *)(tw->root + apmp_load_relaxed(&root_of(tw)->communities));
	struct gct_community_node *c;
	int32_t handle;

	if (community_id >= APMP_MAX_PARTITIONS)
		return -ENOENT;
	handle = apmp_load_relaxed(&array[community_id]);
	if (handle == GCT_NONE)
		return -ENOENT;
	c = (void *)node_of(tw, handle);
	return apmp_cas(&c->apmpdb_info, &old_info, new_info) ? 0 : -EAGAIN;
}
