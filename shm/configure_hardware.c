/*
 * configure_hardware.c - components come into the box and leave it while it runs [0074].
 *
 * WHAT      What comes in is nobody's, but for a descriptor or controller below something that is
 *           owned: it is nobody's until it is assigned.  What goes out is unowned and unused, with
 *           all below it; what had an owner only because it is bound to what stays loses it.
 *           A component that was there before, of the same type and id below the same parent, has
 *           its node again, so that its handle is valid for ever [0116].
 */
#include "shm/configure_internal.h"

#include <errno.h>

/* Nodes of hardware, also those that are not in the box now; of one type, or of all (0). */
static uint64_t count_nodes(const struct apmp_tree *tree, uint8_t type)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t count = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(tree, &walk, &n) > 0)
		count += apmp__is_hardware(&n) && (!type || n.type == type);
	return count;
}

/* Whether this type of node hangs below that one: as the tree's bindings say [0085]. */
static bool may_hang_below(const struct apmp_tree *tree, uint8_t type, uint8_t parent)
{
	const struct gct_root_node *root = (const void *)tree->root;
	const struct gct_binding *b =
	    (const void *)(tree->root + apmp_load_relaxed(&root->bindings));

	for (; apmp_load_relaxed(&b->node_type); b++)
		if (apmp_load_relaxed(&b->node_type) == type)
			return apmp_load_relaxed(&b->parent_type) == parent;
	return false;
}

/* Whether there may be one more node, and the pool has room for it. */
static int check_new_node(struct apmp__asked *asked, const struct apmp_tree_spec *spec)
{
	const struct gct_root_node *root = (const void *)asked->tree->root;
	uint64_t size = sizeof(struct gct_cpu_node);

	if (count_nodes(asked->tree, 0) >= APMP_TREE_NODES_MAX ||
	    (spec->type == GCT_CPU && spec->id >= APMP_MAX_CPUS) ||
	    (spec->type == GCT_MEMORY_DESC &&
	     count_nodes(asked->tree, spec->type) >= apmp_load_relaxed(&root->max_desc)))
		return apmp__refuse(asked, APMP_REASON_TOO_MANY, GCT_NONE);
	if (spec->type == GCT_MEMORY_DESC)
		size = sizeof(struct gct_mem_desc_node) +
		       apmp_load_relaxed(&root->max_fragments) * sizeof(struct gct_mem_desc);
	if (!apmp__tree_has_room(asked->tw, size))
		return apmp__refuse(asked, APMP_REASON_POOL, GCT_NONE);
	return 0;
}

/* A component that has a node already. */
static int check_old_node(struct apmp__asked *asked, const struct apmp_tree_spec *spec,
			  const struct apmp_tree_node *old, uint64_t pa, uint64_t size)
{
	const struct gct_mem_desc_node *d = (const void *)(asked->tree->root + old->handle);

	if (!(old->flags & NODE_UNAVAILABLE))
		return apmp__refuse(asked, APMP_REASON_PRESENT, old->handle);
	/* Nodes are not moved, and a descriptor's array describes the memory that it had. */
	if (old->parent != spec->parent ||
	    (old->type == GCT_MEMORY_DESC && (apmp_load_relaxed(&d->mem_info.base_pa) != pa ||
					      apmp_load_relaxed(&d->mem_info.base_size) != size)))
		return apmp__refuse(asked, APMP_REASON_INVALID, old->handle);
	return 0;
}

static int check_memory(struct apmp__asked *asked, uint64_t pa, uint64_t size)
{
	const struct gct_root_node *root = (const void *)asked->tree->root;
	uint64_t max = apmp_load_relaxed(&root->max_phys_address);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	if (!pa || !size || pa % apmp_load_relaxed(&root->min_align) ||
	    size % apmp_load_relaxed(&root->min_alloc) || pa > max || size > max - pa)
		return apmp__refuse(asked, APMP_REASON_ALIGNMENT, GCT_NONE);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(asked->tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		const struct gct_mem_desc_node *d = (const void *)(asked->tree->root + n.handle);
		uint64_t base = apmp_load_relaxed(&d->mem_info.base_pa);
		uint64_t length = apmp_load_relaxed(&d->mem_info.base_size);

		if (base < pa + size && pa < base + length && (base != pa || length != size))
			return apmp__refuse(asked, APMP_REASON_PRESENT, n.handle);
	}
	return 0;
}

int apmp_hardware_insert(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec,
			 uint64_t pa, uint64_t size, struct apmp_configured *ret)
{
	struct apmp__asked asked = {
	    .tw = tw, .tree = &tw->tree, .by = APMP_ADMINISTRATOR, .ret = ret};
	struct apmp_tree_spec in = *spec;
	struct apmp_tree_node parent, old;
	int32_t handle;
	int err;

	*ret = (struct apmp_configured){0};
	in.flags = (spec->flags & ~(uint64_t)NODE_UNAVAILABLE) | NODE_HARDWARE;
	err = apmp__check_lock(&asked);
	if (err)
		return err;
	if (!apmp__node_at(&tw->tree, (uint64_t)spec->parent, &parent) ||
	    (!apmp__is_hardware(&parent) && parent.type != GCT_HW_ROOT))
		return apmp__refuse(&asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if (!may_hang_below(&tw->tree, (uint8_t)spec->type, parent.type))
		return apmp__refuse(&asked, APMP_REASON_INVALID, parent.handle);
	if (parent.flags & NODE_UNAVAILABLE)
		return apmp__refuse(&asked, APMP_REASON_UNAVAILABLE, parent.handle);
	if (spec->type == GCT_MEMORY_DESC)
		err = check_memory(&asked, pa, size);
	handle = apmp_tree_find(&tw->tree, spec->type, spec->id);
	if (!err)
		err = handle < 0 || apmp_tree_node(&tw->tree, handle, &old)
			  ? check_new_node(&asked, spec)
			  : check_old_node(&asked, spec, &old, pa, size);
	if (err)
		return err;
	apmp_update_begin(tw->up);
	if (handle >= 0)
		apmp_tree_bring_back(tw, handle, &in);
	else if (spec->type == GCT_MEMORY_DESC)
		handle = apmp_tree_insert_memory(tw, &in, pa, size);
	else
		handle = apmp_tree_add(tw, &in);
	apmp_assert(handle > 0);
	ret->ret[0] = spec->id;
	ret->ret[1] = (uint64_t)handle;
	return 0;
}

/* Whether a node has its owner only because it is bound to one that stays: nobody chose it. */
static bool is_inherited(const struct apmp_tree *tree, const struct apmp_tree_node *n, int32_t top)
{
	struct apmp_tree_node config;

	return apmp_tree_node(tree, n->config, &config) == 0 && config.type != GCT_HW_ROOT &&
	       !apmp__tree_is_below(tree, config.handle, top) && n->owner == config.owner;
}

static bool is_in_use(const struct apmp_tree *tree, const struct apmp_tree_node *n, int32_t top)
{
	struct apmp_tree_fragment f;

	if ((n->owner || n->current_owner) && !is_inherited(tree, n, top))
		return true;
	for (uint32_t i = 0;
	     n->type == GCT_MEMORY_DESC && apmp_tree_fragment(tree, n->handle, i, &f) == 0; i++)
		if (!apmp__tree_is_free(&f))
			return true;
	return false;
}

int apmp_hardware_remove(struct apmp_tree_writer *tw, int32_t handle, struct apmp_configured *ret)
{
	struct apmp__asked asked = {
	    .tw = tw, .tree = &tw->tree, .by = APMP_ADMINISTRATOR, .ret = ret};
	struct apmp_tree_node top, n;
	struct apmp_tree_walk walk;
	int err;

	*ret = (struct apmp_configured){0};
	err = apmp__check_lock(&asked);
	if (err)
		return err;
	if (handle < 0 || !apmp__node_at(&tw->tree, (uint64_t)handle, &top) ||
	    !apmp__is_hardware(&top))
		return apmp__refuse(&asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if (top.flags & NODE_UNAVAILABLE)
		return apmp__refuse(&asked, APMP_REASON_UNAVAILABLE, handle);
	if (!(top.flags & NODE_HOTSWAP))
		return apmp__refuse(&asked, APMP_REASON_NOT_HOTSWAP, handle);
	apmp_tree_walk_init(&walk, handle);
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0 &&
	       apmp__tree_is_below(&tw->tree, n.handle, handle))
		if (is_in_use(&tw->tree, &n, handle))
			return apmp__refuse(&asked, APMP_REASON_IN_USE, n.handle);
	apmp_update_begin(tw->up);
	apmp_tree_take_out(tw, handle);
	return 0;
}
