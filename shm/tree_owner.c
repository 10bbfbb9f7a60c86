/* tree_owner.c - owner and current_owner of the tree's nodes [0100-0103], and their flags. */
#include "shm/tree_internal.h"

#include <errno.h>

/* A memory controller needs an instance and is never a community's [0092]. */
static bool refuses(const struct apmp_tree *tree, const struct apmp_tree_node *node, int32_t owner)
{
	struct apmp_tree_node o;

	return node->type == GCT_MEMORY_CTRL && owner && !apmp_tree_node(tree, owner, &o) &&
	       o.type == GCT_COMMUNITY;
}

/* Stores into a node and into every one that is bound to it; current says which field. */
static void put_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner, bool current)
{
	struct gct_node *node = apmp__tree_at(tw, handle);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp__tree_put_handle(tw, current ? &node->current_owner : &node->owner, owner);
	if (!apmp_load_relaxed(&node->child)) /* nothing below: the usual case, a CPU */
		return;
	apmp_tree_walk_init(&walk, handle);
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0 &&
	       apmp__tree_is_below(&tw->tree, n.handle, handle)) {
		if (!apmp__tree_is_bound(&tw->tree, &n, handle) || refuses(&tw->tree, &n, owner))
			continue;
		node = apmp__tree_at(tw, n.handle);
		apmp__tree_put_handle(tw, current ? &node->current_owner : &node->owner, owner);
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

void apmp_tree_set_flags(struct apmp_tree_writer *tw, int32_t handle, uint64_t clear, uint64_t set)
{
	struct gct_node *node = apmp__tree_at(tw, handle);

	apmp__tree_put64(tw, &node->node_flags,
			 (apmp_load_relaxed(&node->node_flags) & ~clear) | set);
}

/* Who begins or ends, and who may have left something behind. */
struct initialization {
	int32_t partition, community;
	bool first;  /* no other partition of the community is initialized */
	bool begins; /* else its life has ended */
};

/* What current_owner becomes [0102, 0103]. */
static int32_t next_user(const struct initialization *i, int32_t owner, int32_t current)
{
	bool ours = owner == i->partition || (i->community && owner == i->community);
	bool left = current == i->partition || (i->first && current == i->community);

	if (owner)
		return i->begins && !current && ours ? owner : current;
	return left ? GCT_NONE : current;
}

static void initialize_fragment(void *ctx, struct apmp_tree_fragment *f)
{
	f->current_owner = next_user(ctx, f->owner, f->current_owner);
}

static bool has_other_initialized(const struct apmp_tree *tree, int32_t community,
				  int32_t partition)
{
	struct apmp_tree_partition p;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_partition(tree, id, &p) == 0 && p.community == community &&
		    p.node.handle != partition && p.node.flags & NODE_INITIALIZED)
			return true;
	return false;
}

/* Goes through all that can have an owner. */
static void change_users(struct apmp_tree_writer *tw, int32_t partition, bool begins)
{
	const struct apmp_tree *tree = &tw->tree;
	struct initialization i = {.partition = partition, .begins = begins};
	struct apmp_tree_walk walk;
	struct apmp_tree_node n, above;

	if (apmp_tree_node(tree, partition, &n) == 0 && apmp_tree_node(tree, n.parent, &above) == 0)
		i.community = above.type == GCT_COMMUNITY ? above.handle : GCT_NONE;
	i.first = i.community && !has_other_initialized(tree, i.community, partition);
	apmp_tree_walk_init(&walk, apmp_tree_root(tw, GCT_HW_ROOT));
	while (apmp_tree_walk(tree, &walk, &n) > 0) {
		if (n.type < GCT_SBB || n.flags & NODE_HW_TEMPLATE)
			continue;
		apmp__tree_put_owners(tw, n.handle, n.owner,
				      next_user(&i, n.owner, n.current_owner));
	}
	apmp_tree_walk_init(&walk, apmp_tree_root(tw, GCT_HW_ROOT));
	while (apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		/* What does not fit stays in use until the next time. */
		if (tw->published &&
		    apmp_update_room(tw->up) < apmp__tree_change_cost(tree, n.handle))
			return;
		if (apmp__tree_change_fragments(tw, n.handle, initialize_fragment, &i))
			apmp__tree_leave_subsystem(tw, n.handle, partition);
	}
}

void apmp_tree_initialize_owner(struct apmp_tree_writer *tw, int32_t partition)
{
	change_users(tw, partition, true);
}

void apmp_tree_end_use(struct apmp_tree_writer *tw, int32_t partition)
{
	change_users(tw, partition, false);
}
