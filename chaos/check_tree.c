/*
 * check_tree.c - the configuration tree: structure, arrays, pool, owners.
 *
 * WHAT      From the root every node is met once, and each unit of the pool belongs to one thing.
 *           Only when that holds are owners and bindings looked at: they are handles.
 */
#include <inttypes.h>
#include <string.h>

#include "chaos/check.h"

enum { FREE, NODE, OTHER };

static const struct gct_node *node(const struct check *c, int32_t handle)
{
	return image_node(&c->tree, handle);
}

/* Bytes that belong to this, and to nothing else. */
static bool claim(struct check *c, int64_t off, uint64_t size, unsigned char as, const char *what)
{
	uint64_t used = (uint64_t)image_root(&c->tree)->first_free;

	size = (size + GCT_ALIGN - 1) / GCT_ALIGN * GCT_ALIGN;
	if (off < 0 || off % GCT_ALIGN || (uint64_t)off > used || used - (uint64_t)off < size) {
		found(c, CHECK_tree_pool, "%s at %" PRId64 " is not in the used part of the pool",
		      what, off);
		return false;
	}
	for (uint64_t unit = (uint64_t)off / GCT_ALIGN; unit < ((uint64_t)off + size) / GCT_ALIGN;
	     unit++) {
		if (c->claimed[unit] != FREE) {
			found(c, CHECK_tree_pool, "%s at %" PRId64 " overlaps something else", what,
			      off);
			return false;
		}
		c->claimed[unit] = OTHER;
	}
	c->claimed[off / GCT_ALIGN] = as;
	return true;
}

static bool header_holds(struct check *c)
{
	const struct gct_header *h = (const void *)(c->tree.root - sizeof(struct gct_header));
	const struct gct_root_node *r = image_root(&c->tree);
	uint64_t pool = h->size;

	if (pool % APMP_PAGE_SIZE || h->fingerprint != apmp_fingerprint(pool) ||
	    pool < sizeof(*h) + sizeof(*r) || pool > INT32_MAX) {
		found(c, CHECK_tree_header, "its fingerprint is %#" PRIx64 ", its size %" PRIu64,
		      (uint64_t)h->fingerprint, pool);
		return false;
	}
	if (r->first_free <= 0 || r->available < 0 || (uint64_t)r->first_free > c->tree.size ||
	    (uint64_t)r->first_free + (uint64_t)r->available != pool - sizeof(*h)) {
		found(c, CHECK_tree_header,
		      "first_free %" PRId32 " and available %" PRId32 " are not a pool of %" PRIu64,
		      (int32_t)r->first_free, (int32_t)r->available, pool - sizeof(*h));
		return false;
	}
	return true;
}

static bool may_hang_below(const struct gct_node *n, const struct gct_node *parent)
{
	static const uint32_t parents[] = {
	    [GCT_ROOT] = 0,
	    [GCT_HW_ROOT] = 1u << GCT_ROOT,
	    [GCT_SW_ROOT] = 1u << GCT_ROOT,
	    [GCT_TEMPLATE_ROOT] = 1u << GCT_ROOT,
	    [GCT_COMMUNITY] = 1u << GCT_SW_ROOT,
	    [GCT_PARTITION] = 1u << GCT_SW_ROOT | 1u << GCT_COMMUNITY,
	    [GCT_SBB] = 1u << GCT_HW_ROOT,
	    [GCT_CPU] = 1u << GCT_SBB,
	    [GCT_MEMORY_SUB] = 1u << GCT_SBB,
	    [GCT_MEMORY_CTRL] = 1u << GCT_MEMORY_SUB,
	    [GCT_MEMORY_DESC] = 1u << GCT_MEMORY_SUB,
	    [GCT_IOP] = 1u << GCT_SBB,
	    [GCT_BUS] = 1u << GCT_IOP,
	    [GCT_IO_CTRL] = 1u << GCT_BUS,
	};

	if (n->node_flags & NODE_HW_TEMPLATE)
		return parent->type == GCT_TEMPLATE_ROOT && n->type >= GCT_SBB;
	return parents[n->type] >> parent->type & 1;
}

/* A node that was reached from its parent, behind its sibling; false: nothing behind it either. */
static bool meet(struct check *c, int32_t handle, int32_t parent, int32_t prev)
{
	const struct gct_node *n = node(c, handle);

	if (!n || n->type < GCT_ROOT || n->type > GCT_IO_CTRL) {
		found(c, CHECK_tree_nodes, "what is at %" PRId32 ", below %" PRId32 ", is no node",
		      handle, parent);
		return false;
	}
	if (c->claimed[handle / (int32_t)GCT_ALIGN] == NODE) {
		found(c, CHECK_tree_links, "node %" PRId32 " hangs in two places", handle);
		return false;
	}
	if (n->parent != parent || n->prev_sib != prev || n->reserved ||
	    (handle && !may_hang_below(n, node(c, parent)))) {
		found(c, CHECK_tree_links,
		      "node %" PRId32 " of type %u, parent %" PRId32 ", sibling before %" PRId32
		      ", hangs below %" PRId32 " behind %" PRId32,
		      handle, (unsigned)n->type, (int32_t)n->parent, (int32_t)n->prev_sib, parent,
		      prev);
		return false;
	}
	if (c->node_count == CHECK_NODES_MAX || !claim(c, handle, n->size, NODE, "a node"))
		return false;
	c->node[c->node_count++] = handle;
	return true;
}

/* Every node below the root, breadth first: each is met once, so this ends. */
static void walk(struct check *c)
{
	if (!meet(c, 0, 0, 0))
		return;
	for (uint32_t i = 0; i < c->node_count; i++) {
		int32_t prev = 0, at = node(c, c->node[i])->child;

		while (at && meet(c, at, c->node[i], prev)) {
			prev = at;
			at = node(c, at)->next_sib;
		}
	}
}

static bool reachable(const struct check *c, int32_t handle)
{
	return handle >= 0 && handle % (int32_t)GCT_ALIGN == 0 && (uint64_t)handle < c->tree.size &&
	       c->claimed[handle / (int32_t)GCT_ALIGN] == NODE;
}

static void name_of(const struct gct_node *n, char name[APMP_NAME_SIZE])
{
	const char *text = n->type == GCT_PARTITION
			       ? ((const struct gct_partition_node *)(const void *)n)->name
			       : ((const struct gct_community_node *)(const void *)n)->name;

	memcpy(name, text, APMP_NAME_SIZE);
}

/* Partitions or communities: array and tree have the same, each with a name of its own. */
static void check_array(struct check *c, int32_t off, enum gct_node_type type, const char *what)
{
	const int32_t *array = image_tree_at(&c->tree, off, APMP_MAX_PARTITIONS * sizeof(*array));
	char name[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];
	uint32_t named = 0, in_tree = 0;

	if (!array || off <= 0) {
		found(c, CHECK_tree_arrays, "there is no array of %s", what);
		return;
	}
	if (!claim(c, off, APMP_MAX_PARTITIONS * sizeof(*array), OTHER, what))
		return;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct gct_node *n = reachable(c, array[id]) ? node(c, array[id]) : NULL;

		if (!array[id])
			continue;
		if (!n || n->type != type || n->id != id) {
			found(c, CHECK_tree_arrays,
			      "entry %u of %s names node %" PRId32 ", which is another", id, what,
			      array[id]);
			continue;
		}
		name_of(n, name[named]);
		if (!name[named][0] || !memchr(name[named], 0, APMP_NAME_SIZE))
			found(c, CHECK_tree_arrays, "number %u of %s has no name", id, what);
		for (uint32_t k = 0; k < named; k++)
			if (memcmp(name[k], name[named], APMP_NAME_SIZE) == 0)
				found(c, CHECK_tree_arrays, "two of %s are called \"%.31s\"", what,
				      name[k]);
		named++;
	}
	for (uint32_t i = 0; i < c->node_count; i++)
		in_tree += node(c, c->node[i])->type == type;
	if (named != in_tree)
		found(c, CHECK_tree_arrays, "%u of %s are in the tree, %u in their array", in_tree,
		      what, named);
}

/* Hardware of one type has ids of its own; quadratic in the few of a type. */
static void check_ids(struct check *c)
{
	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct gct_node *n = node(c, c->node[i]);

		if (n->type < GCT_SBB || n->node_flags & NODE_HW_TEMPLATE)
			continue;
		for (uint32_t k = 0; k < i; k++) {
			const struct gct_node *other = node(c, c->node[k]);

			if (other->type == n->type && other->id == n->id &&
			    !(other->node_flags & NODE_HW_TEMPLATE))
				found(c, CHECK_tree_ids,
				      "nodes %" PRId32 " and %" PRId32
				      " of type %u have id %" PRIu64,
				      c->node[k], c->node[i], (unsigned)n->type, (uint64_t)n->id);
		}
	}
}

static void check_lock(struct check *c)
{
	uint64_t holder = image_root(&c->tree)->lock;

	if (holder != UINT64_MAX &&
	    (holder >= APMP_MAX_PARTITIONS || !image_partition(&c->tree, (uint32_t)holder)))
		found(c, CHECK_tree_lock, "it is locked by %" PRIu64 ", which is no partition",
		      holder);
}

static void check_lookaside(struct check *c)
{
	uint32_t left = 2 * APMP_MAX_PARTITIONS;

	for (int32_t at = image_root(&c->tree)->lookaside; at; at = node(c, at)->reserved) {
		const struct gct_node *n = node(c, at);
		char name[APMP_NAME_SIZE];

		if (!n || left-- == 0 || (n->type != GCT_PARTITION && n->type != GCT_COMMUNITY)) {
			found(c, CHECK_tree_deleted, "what is at %" PRId32 " was never deleted",
			      at);
			return;
		}
		name_of(n, name);
		if (!claim(c, at, n->size, OTHER, "a deleted node"))
			return;
		if (n->node_flags != NODE_UNAVAILABLE || n->owner || n->current_owner ||
		    n->parent || n->child || n->next_sib || n->prev_sib || name[0])
			found(c, CHECK_tree_deleted,
			      "the deleted node %" PRId32 " is still something", at);
	}
}

/* Root, bindings, and that no unit of the pool was forgotten. */
static void check_pool(struct check *c)
{
	const struct gct_root_node *r = image_root(&c->tree);
	uint64_t units = (uint64_t)r->first_free / GCT_ALIGN;
	uint32_t count = 0;

	for (;; count++) {
		const struct gct_binding *b = image_tree_at(
		    &c->tree, (int64_t)r->bindings + (int64_t)(count * sizeof(*b)), sizeof(*b));

		if (!b || count > 2 * GCT_IO_CTRL) {
			found(c, CHECK_tree_pool, "the bindings have no end");
			return;
		}
		if (!b->node_type)
			break;
	}
	claim(c, r->bindings, (count + 1) * sizeof(struct gct_binding), OTHER,
	      "an array of bindings");
	claim(c, r->platform_name, APMP_NAME_SIZE, OTHER, "the platform's name");
	for (uint64_t unit = 0; unit < units; unit++)
		if (c->claimed[unit] == FREE) {
			found(c, CHECK_tree_pool, "what is at %" PRIu64 " belongs to nothing",
			      unit * GCT_ALIGN);
			return;
		}
}

/* What memory descriptors have in the pool. */
static void claim_memory(struct check *c)
{
	const struct gct_root_node *r = image_root(&c->tree);

	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct gct_node *n = node(c, c->node[i]);
		const struct gct_mem_desc_node *d = (const void *)n;
		uint64_t pages;

		if (n->type != GCT_MEMORY_DESC || n->node_flags & NODE_HW_TEMPLATE)
			continue;
		pages = d->mem_info.base_size / APMP_PAGE_SIZE;
		claim(c, (int64_t)c->node[i] + d->mem_frag,
		      (uint64_t)r->max_fragments * sizeof(struct gct_mem_desc), OTHER,
		      "an array of fragments");
		if (d->tested)
			claim(c, (int64_t)c->node[i] + d->tested, (pages + 63) / 64 * 8, OTHER,
			      "a bitmap of tested pages");
	}
}

/* ---- owners ---- */

static bool is_community(const struct check *c, int32_t owner)
{
	return owner && node(c, owner)->type == GCT_COMMUNITY;
}

/* Whether the owner may have what is bound to, or a part of, what `above` has [0192]. */
static bool fits(const struct check *c, int32_t owner, int32_t above)
{
	return !owner || owner == above ||
	       (is_community(c, above) && (owner == above || node(c, owner)->parent == above));
}

static bool owner_holds(struct check *c, int32_t handle, int32_t owner, const char *word)
{
	const struct gct_node *n = node(c, handle), *o;

	if (!owner)
		return true;
	o = reachable(c, owner) ? node(c, owner) : NULL;
	if (!o || (o->type != GCT_PARTITION && o->type != GCT_COMMUNITY) ||
	    n->node_flags & (NODE_UNAVAILABLE | NODE_HW_TEMPLATE) ||
	    (o->type == GCT_COMMUNITY && (n->type == GCT_CPU || n->type == GCT_MEMORY_CTRL))) {
		found(c, CHECK_tree_owners,
		      "node %" PRId32 " of type %u has the %s %" PRId32 ", which can't have it",
		      handle, (unsigned)n->type, word, owner);
		return false;
	}
	return true;
}

static bool is_above(const struct check *c, const struct gct_node *n, int32_t handle)
{
	int32_t at = n->parent;

	while (at && at != handle)
		at = node(c, at)->parent;
	return at && at == handle;
}

static void check_component(struct check *c, int32_t handle)
{
	const struct gct_node *n = node(c, handle);
	int32_t above = n->config;

	if (n->node_flags & NODE_PRIMARY && n->type != GCT_CPU)
		found(c, CHECK_tree_owners, "node %" PRId32 " is primary and no CPU", handle);
	if (!owner_holds(c, handle, n->owner, "owner") ||
	    !owner_holds(c, handle, n->current_owner, "current owner") ||
	    n->node_flags & NODE_HW_TEMPLATE)
		return;
	if (!is_above(c, n, n->config) || !is_above(c, n, n->affinity)) {
		found(c, CHECK_tree_bound,
		      "node %" PRId32 " is configured with %" PRId32 ", near %" PRId32
		      ": not both are above it",
		      handle, (int32_t)n->config, (int32_t)n->affinity);
		return;
	}
	if (node(c, above)->type == GCT_HW_ROOT)
		return;
	for (int32_t at = n->parent;; at = node(c, at)->parent) {
		int32_t its = node(c, at)->owner;

		if ((!its || reachable(c, its)) && !fits(c, n->owner, its))
			found(c, CHECK_tree_bound,
			      "node %" PRId32 " is of %" PRId32 ", node %" PRId32
			      " above it of %" PRId32,
			      handle, (int32_t)n->owner, at, its);
		if (at == above)
			return;
	}
}

static void check_owners(struct check *c)
{
	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct gct_node *n = node(c, c->node[i]);

		if (n->type >= GCT_SBB)
			check_component(c, c->node[i]);
		else if (n->current_owner ||
			 n->owner != (n->type >= GCT_COMMUNITY ? (int32_t)n->parent : 0))
			found(c, CHECK_tree_owners, "node %" PRId32 " of type %u has an owner",
			      c->node[i], (unsigned)n->type);
	}
}

void check_tree(struct check *c)
{
	const struct gct_root_node *r = image_root(&c->tree);
	uint32_t told;

	if (!header_holds(c))
		return;
	if (r->transient_level != r->current_level) {
		found(c, CHECK_tree_rest, "an update is under way: level %" PRIu64 " of %" PRIu64,
		      (uint64_t)r->current_level, (uint64_t)r->transient_level);
		return;
	}
	walk(c);
	if (c->findings->count)
		return;
	check_array(c, r->partitions, GCT_PARTITION, "partitions");
	check_array(c, r->communities, GCT_COMMUNITY, "communities");
	c->tree_good = !c->findings->count;
	if (!c->tree_good)
		return;
	told = c->findings->count;
	check_lookaside(c);
	claim_memory(c);
	if (c->findings->count == told)
		check_pool(c);
	check_ids(c);
	check_lock(c);
	check_owners(c);
}
