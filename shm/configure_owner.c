/*
 * configure_owner.c - components get an owner, lose it, change it [0101-0103, 0192-0195].
 *
 * WHAT      A component whose config handle is the hardware root is free: it goes alone, with all
 *           that is bound to it.  One that is bound to another goes with that one, and alone only
 *           where the chain up to its config node is its new owner's, or that owner's community's:
 *           what a community has may be told apart among its partitions.
 * STATES    owner, current_owner, as Table 1 [0103]:
 *           none, none --assign--> owner, none --initialize--> owner, owner (of a community: at
 *           once) --deassign--> none, owner --initialize--> none, none; or straight to none, none
 *           when the owner has given it up or is not initialized.
 */
#include "shm/configure_internal.h"

#include <errno.h>

/* All nodes below handle, one after the other; those that are bound to it are marked. */
struct below {
	struct apmp_tree_walk walk;
	int32_t handle;
	struct apmp_tree_node node;
	bool bound;
};

static struct below below(int32_t handle)
{
	struct below b = {.handle = handle};

	apmp_tree_walk_init(&b.walk, handle);
	return b;
}

static bool next_below(const struct apmp_tree *tree, struct below *b)
{
	while (apmp_tree_walk(tree, &b->walk, &b->node) > 0 &&
	       apmp__tree_is_below(tree, b->node.handle, b->handle)) {
		if (b->node.handle == b->handle)
			continue;
		b->bound = apmp__tree_is_bound(tree, &b->node, b->handle);
		return true;
	}
	return false;
}

/* Memory controllers need an instance for initialization and errors, CPUs one to run. */
static bool needs_instance(uint8_t type)
{
	return type == GCT_CPU || type == GCT_MEMORY_CTRL;
}

/* The domain of a handle that is an owner; GCT_NONE of none. */
static int32_t domain_of(const struct apmp_tree *tree, int32_t handle)
{
	struct apmp__owner owner;

	return handle && apmp__owner_at(tree, (uint64_t)handle, &owner) ? owner.domain : GCT_NONE;
}

/* The node that this one is bound to; false: it is free. */
static bool config_of(const struct apmp_tree *tree, const struct apmp_tree_node *node,
		      struct apmp_tree_node *ret)
{
	return apmp_tree_node(tree, node->config, ret) == 0 && ret->type != GCT_HW_ROOT;
}

/* A bound node alone: its chain of parents up to its config node has the same owner, or that
 * owner's community [0192]. */
static int check_chain(struct apmp__asked *asked, const struct apmp_tree_node *node,
		       const struct apmp__owner *to)
{
	struct apmp_tree_node config, above = *node;

	if (!config_of(asked->tree, node, &config))
		return 0;
	while (above.handle && above.handle != config.handle) {
		struct apmp__owner owner;

		if (apmp_tree_node(asked->tree, above.parent, &above))
			break;
		if (above.owner == to->handle || above.owner == to->domain)
			continue;
		if (apmp__owner_at(asked->tree, (uint64_t)config.owner, &owner) && owner.community)
			return apmp__refuse(asked, APMP_REASON_CHAIN, above.handle);
		return apmp__refuse(asked, APMP_REASON_BOUND_TO, config.handle);
	}
	return 0;
}

/* The same when it is to be released alone: only what a community has is told apart. */
static int check_release_alone(struct apmp__asked *asked, const struct apmp_tree_node *node)
{
	struct apmp_tree_node config;
	struct apmp__owner owner;

	if (!config_of(asked->tree, node, &config) ||
	    (apmp__owner_at(asked->tree, (uint64_t)config.owner, &owner) && owner.community))
		return 0;
	return apmp__refuse(asked, APMP_REASON_BOUND_TO, config.handle);
}

/* The fragments of a descriptor that becomes the owner's (NULL: nobody's) [0096, 0097]. */
static int check_fragments(struct apmp__asked *asked, int32_t desc, const struct apmp__owner *to)
{
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(asked->tree, desc, i, &f) == 0; i++) {
		int32_t has[] = {f.owner, f.current_owner};

		for (uint32_t k = 0; k < 2; k++) {
			int32_t theirs =
			    to && to->community ? domain_of(asked->tree, has[k]) : has[k];

			if (theirs && (!to || theirs != to->handle))
				return apmp__refuse(asked, APMP_REASON_DESCENDANT, desc);
		}
	}
	return 0;
}

/* Whether the node, though bound, does not come along: what needs an instance does not become a
 * community's, but may be one of its partitions'. */
static bool stays(const struct apmp_tree_node *node, const struct apmp__owner *to)
{
	return to->community && needs_instance(node->type);
}

int apmp__fits(struct apmp__asked *asked, const struct apmp_tree_node *node,
	       const struct apmp__owner *to, int32_t from)
{
	struct below b = below(node->handle);
	int err;

	if (stays(node, to))
		return apmp__refuse(asked, APMP_REASON_NOT_FOR_COMMUNITY, node->handle);
	err = check_chain(asked, node, to);
	if (!err && node->type == GCT_MEMORY_DESC)
		err = check_fragments(asked, node->handle, to);
	while (!err && next_below(asked->tree, &b)) {
		const struct apmp_tree_node *n = &b.node;
		bool follows = b.bound && !stays(n, to);

		if (follows && ((n->owner && n->owner != from) ||
				(n->current_owner && n->current_owner != from)))
			return apmp__refuse(asked, APMP_REASON_DESCENDANT, n->handle);
		if (!follows && to->community && n->owner &&
		    domain_of(asked->tree, n->owner) != to->handle)
			return apmp__refuse(asked, APMP_REASON_DESCENDANT, n->handle);
		if (follows && n->type == GCT_MEMORY_DESC)
			err = check_fragments(asked, n->handle, to);
	}
	return err;
}

void apmp__give(struct apmp__asked *asked, const struct apmp_tree_node *node,
		const struct apmp__owner *to)
{
	int32_t current = to->community ? to->handle : GCT_NONE;

	apmp__tree_put_owners(asked->tw, node->handle, to->handle, current);
	for (struct below b = below(node->handle); next_below(asked->tree, &b);)
		if (b.bound && !stays(&b.node, to))
			apmp__tree_put_owners(asked->tw, b.node.handle, to->handle, current);
}

/* The component that is asked for. */
static int find_component(struct apmp__asked *asked, struct apmp_tree_node *ret)
{
	if (!apmp__node_at(asked->tree, asked->request->arg[0], ret))
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if (!apmp__is_hardware(ret))
		return apmp__refuse(asked, APMP_REASON_NOT_ASSIGNABLE, ret->handle);
	return 0;
}

static int find_owner(struct apmp__asked *asked, struct apmp__owner *ret)
{
	if (!apmp__owner_at(asked->tree, asked->request->arg[1], ret))
		return apmp__refuse(asked, APMP_REASON_NOT_AN_OWNER, GCT_NONE);
	return apmp__may_assign(asked, ret);
}

int apmp__assign(struct apmp__asked *asked)
{
	struct apmp_tree_node node;
	struct apmp__owner to;
	int err = find_component(asked, &node);

	if (!err)
		err = find_owner(asked, &to);
	if (err)
		return err;
	if (node.flags & NODE_UNAVAILABLE)
		return apmp__refuse(asked, APMP_REASON_UNAVAILABLE, node.handle);
	if (node.owner || node.current_owner)
		return apmp__refuse(asked, APMP_REASON_OWNED,
				    node.owner ? node.owner : node.current_owner);
	err = apmp__fits(asked, &node, &to, GCT_NONE);
	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	apmp__give(asked, &node, &to);
	return 0;
}

/* Whether the component may leave its owner, whether it is bound or not. */
static int check_release(struct apmp__asked *asked, const struct apmp_tree_node *node,
			 bool given_up)
{
	struct below b = below(node->handle);
	int err;

	if (!node->owner)
		return apmp__refuse(asked, APMP_REASON_UNOWNED, node->handle);
	err = apmp__may_release(asked, node->owner);
	if (err)
		return err;
	if (node->flags & NODE_PRIMARY && apmp__tree_initialized(asked->tree, node->current_owner))
		return apmp__refuse(asked, APMP_REASON_PRIMARY_CPU, node->current_owner);
	err = apmp__use_ends(asked, node->current_owner, given_up);
	while (err >= 0 && next_below(asked->tree, &b)) {
		if (!b.bound)
			continue;
		if (b.node.owner && b.node.owner != node->owner)
			return apmp__refuse(asked, APMP_REASON_DESCENDANT, b.node.handle);
		err = apmp__use_ends(asked, b.node.current_owner, given_up);
	}
	return err < 0 ? err : 0;
}

/* The node is nobody's, and out of use where that ends now. */
static bool release(struct apmp__asked *asked, const struct apmp_tree_node *node, bool given_up)
{
	bool ends = apmp__use_ends(asked, node->current_owner, given_up) > 0;

	apmp__tree_put_owners(asked->tw, node->handle, GCT_NONE,
			      ends ? GCT_NONE : node->current_owner);
	return ends;
}

int apmp__deassign(struct apmp__asked *asked)
{
	bool given_up = asked->request->arg[1] != 0;
	struct apmp_tree_node node;
	int err = find_component(asked, &node);

	if (!err)
		err = check_release(asked, &node, given_up);
	if (!err)
		err = check_release_alone(asked, &node);
	if (!err && node.type == GCT_MEMORY_DESC)
		err = check_fragments(asked, node.handle, NULL);
	for (struct below b = below(node.handle); !err && next_below(asked->tree, &b);)
		if (b.bound && b.node.type == GCT_MEMORY_DESC)
			err = check_fragments(asked, b.node.handle, NULL);
	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	asked->ret->ret[0] = !release(asked, &node, given_up);
	for (struct below b = below(node.handle); next_below(asked->tree, &b);)
		if (b.bound)
			(void)release(asked, &b.node, given_up);
	return 0;
}

int apmp__reassign(struct apmp__asked *asked)
{
	struct apmp_tree_node node;
	struct apmp__owner to;
	int err = find_component(asked, &node);

	if (!err)
		err = check_release(asked, &node, true);
	if (!err)
		err = find_owner(asked, &to);
	if (err)
		return err;
	if (node.flags & NODE_UNAVAILABLE)
		return apmp__refuse(asked, APMP_REASON_UNAVAILABLE, node.handle);
	if (to.handle == node.owner)
		return apmp__refuse(asked, APMP_REASON_OWNED, node.owner);
	if (to.domain != domain_of(asked->tree, node.owner))
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, to.handle);
	err = apmp__fits(asked, &node, &to, node.owner);
	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	apmp__give(asked, &node, &to);
	return 0;
}
