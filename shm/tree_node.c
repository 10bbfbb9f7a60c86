/*
 * tree_node.c - what every change of the tree is made of: stores, the free pool, links.
 *
 * WHAT      Before the tree is published a store is plain.  Afterwards it goes through the journal,
 *           but into bytes fresh from the pool, which nobody can reach: first_free, itself in the
 *           journal, says how far the pool is anybody's.
 *           Handles are checked here when our own code made them (an assertion), in tree.c when
 *           they were read.
 */
#include "shm/tree_internal.h"

#include <errno.h>
#include <string.h>

struct gct_node *apmp__tree_at(const struct apmp_tree_writer *tw, int32_t handle)
{
	apmp_assert(handle >= 0 && handle % (int32_t)GCT_ALIGN == 0 &&
		    (uint64_t)handle + sizeof(struct gct_node) <= tw->tree.size);
	return (void *)(tw->root + handle);
}

void apmp__tree_put_handle(struct apmp_tree_writer *tw, _Atomic int32_t *field, int32_t value)
{
	if (tw->published)
		apmp_update_store_handle(tw->up, field, value);
	else
		apmp_store_relaxed(field, value);
}

void apmp__tree_put32(struct apmp_tree_writer *tw, _Atomic uint32_t *field, uint32_t value)
{
	apmp__tree_put_handle(tw, (_Atomic int32_t *)field, (int32_t)value);
}

void apmp__tree_put64(struct apmp_tree_writer *tw, _Atomic uint64_t *field, uint64_t value)
{
	if (tw->published)
		apmp_update_store64(tw->up, APMP_OBJECT_TREE, field, value);
	else
		apmp_store_relaxed(field, value);
}

void apmp__tree_put_string(struct apmp_tree_writer *tw, char *field, size_t size, const char *text)
{
	size_t length = strnlen(text, size - 1);

	for (size_t off = 0; off < size; off += 8) {
		uint64_t word = 0;

		if (off < length)
			memcpy(&word, text + off, length - off < 8 ? length - off : 8);
		apmp__tree_put64(tw, (_Atomic uint64_t *)(void *)(field + off), word);
	}
}

static uint64_t rounded(uint64_t size)
{
	return (size + GCT_ALIGN - 1) / GCT_ALIGN * GCT_ALIGN;
}

bool apmp__tree_has_room(const struct apmp_tree_writer *tw, uint64_t size)
{
	return (uint64_t)apmp_load_relaxed(&apmp__tree_root(tw)->available) >= rounded(size);
}

int32_t apmp__tree_take_pool(struct apmp_tree_writer *tw, uint64_t size)
{
	struct gct_root_node *root = apmp__tree_root(tw);
	int32_t at = apmp_load_relaxed(&root->first_free);

	if (!apmp__tree_has_room(tw, size))
		return -ENOSPC;
	size = rounded(size);
	apmp__tree_put_handle(tw, &root->available,
			      apmp_load_relaxed(&root->available) - (int32_t)size);
	apmp__tree_put_handle(tw, &root->first_free, at + (int32_t)size);
	return at;
}

void apmp__tree_append(struct apmp_tree_writer *tw, int32_t parent, int32_t handle)
{
	struct gct_node *node = apmp__tree_at(tw, handle), *above = apmp__tree_at(tw, parent);
	int32_t last = apmp_load_relaxed(&above->child);

	while (last && apmp_load_relaxed(&apmp__tree_at(tw, last)->next_sib))
		last = apmp_load_relaxed(&apmp__tree_at(tw, last)->next_sib);
	apmp__tree_put_handle(tw, &node->parent, parent);
	apmp__tree_put_handle(tw, &node->prev_sib, last);
	apmp__tree_put_handle(tw, last ? &apmp__tree_at(tw, last)->next_sib : &above->child,
			      handle);
}

void apmp__tree_unlink(struct apmp_tree_writer *tw, int32_t handle)
{
	struct gct_node *node = apmp__tree_at(tw, handle);
	struct gct_node *parent = apmp__tree_at(tw, apmp_load_relaxed(&node->parent));
	int32_t next = apmp_load_relaxed(&node->next_sib);
	int32_t prev = apmp_load_relaxed(&node->prev_sib);

	apmp__tree_put_handle(tw, prev ? &apmp__tree_at(tw, prev)->next_sib : &parent->child, next);
	if (next)
		apmp__tree_put_handle(tw, &apmp__tree_at(tw, next)->prev_sib, prev);
	apmp__tree_put_handle(tw, &node->next_sib, 0);
	apmp__tree_put_handle(tw, &node->prev_sib, 0);
	apmp__tree_put_handle(tw, &node->parent, 0);
}

void apmp__tree_link(struct apmp_tree_writer *tw, int32_t handle, uint64_t size,
		     const struct apmp_tree_spec *spec)
{
	struct gct_node *node = apmp__tree_at(tw, handle);
	int32_t hw_root = apmp_tree_root(tw, GCT_HW_ROOT);

	/* Nobody can reach it yet: plain stores.  The pool may hold what an undone update left. */
	apmp_store_relaxed(&node->type, (uint8_t)spec->type);
	apmp_store_relaxed(&node->subtype, spec->subtype);
	apmp_store_relaxed(&node->size, (uint16_t)size);
	apmp_store_relaxed(&node->owner, GCT_NONE);
	apmp_store_relaxed(&node->current_owner, GCT_NONE);
	apmp_store_relaxed(&node->id, spec->id);
	apmp_store_relaxed(&node->node_flags, spec->flags);
	apmp_store_relaxed(&node->config, spec->config ? spec->config : hw_root);
	apmp_store_relaxed(&node->affinity, spec->affinity ? spec->affinity : hw_root);
	apmp_store_relaxed(&node->parent, spec->parent);
	apmp_store_relaxed(&node->next_sib, 0);
	apmp_store_relaxed(&node->prev_sib, 0);
	apmp_store_relaxed(&node->child, 0);
	apmp_store_relaxed(&node->reserved, 0);
	apmp_store_relaxed(&node->magic, GCT_MAGIC);
	if (spec->parent != handle) /* all but the root itself */
		apmp__tree_append(tw, spec->parent, handle);
}

void apmp__tree_put_owners(struct apmp_tree_writer *tw, int32_t handle, int32_t owner,
			   int32_t current_owner)
{
	struct gct_node *node = apmp__tree_at(tw, handle);

	if (apmp_load_relaxed(&node->owner) != owner)
		apmp__tree_put_handle(tw, &node->owner, owner);
	if (apmp_load_relaxed(&node->current_owner) != current_owner)
		apmp__tree_put_handle(tw, &node->current_owner, current_owner);
}

/* More steps up than any tree of ours has levels: bounds one that a mad console made. */
#define DEPTH_MAX 16u

bool apmp__tree_is_bound(const struct apmp_tree *tree, const struct apmp_tree_node *node,
			 int32_t handle)
{
	struct apmp_tree_node above = *node;

	for (uint32_t i = 0; i < DEPTH_MAX; i++) {
		if (apmp_tree_node(tree, above.config, &above) || above.type == GCT_HW_ROOT)
			return false;
		if (above.handle == handle)
			return true;
	}
	return false;
}

bool apmp__tree_is_below(const struct apmp_tree *tree, int32_t node, int32_t handle)
{
	struct apmp_tree_node above;

	for (uint64_t i = 0; i < tree->size / GCT_ALIGN; i++) {
		if (node == handle)
			return true;
		if (!node || apmp_tree_node(tree, node, &above))
			return false;
		node = above.parent;
	}
	return false;
}

bool apmp__tree_initialized(const struct apmp_tree *tree, int32_t handle)
{
	struct apmp_tree_node node;
	uint32_t left = APMP_MAX_PARTITIONS;

	if (!handle || apmp_tree_node(tree, handle, &node))
		return false;
	if (node.type == GCT_PARTITION)
		return node.flags & NODE_INITIALIZED;
	for (int32_t at = node.child; at && left-- > 0; at = node.next_sib) {
		if (apmp_tree_node(tree, at, &node))
			return false;
		if (node.flags & NODE_INITIALIZED)
			return true;
	}
	return false;
}
