/*
 * configure.c - who may change the configuration, and why not: the rules that all requests share.
 *
 * WHAT      A request is checked as a whole, then made as a whole: whoever is refused has changed
 *           nothing.  Partitions ask by callback, and act within their domain: their community, or
 *           themselves when they are in none.  The administrator acts everywhere, but ends nobody's
 *           use: what an initialized partition has stays in its use until it initializes again.
 *             who releases [0061-0063, 0101, 0191]: the owner; a member for its community; anyone
 *               of its domain for a partition that is not initialized; the administrator
 *             who receives [0063, 0101]: anybody in the domain of who asks
 * LOCKS     While a partition holds the tree lock, only its own requests are served [0085].
 * CRASHES   Nothing is stored before apmp_update_begin; then shm/update.c.
 * NOT HERE  Owners of components (configure_owner.c), memory (configure_memory.c), partitions and
 *           communities (configure_software.c), hot swap (configure_hardware.c).  What follows
 *           in HWRPBs and processes is the console's, in the same update where it must be.  A CPU
 *           in transit is known to the console alone, which refuses requests about it.
 */
#include "shm/configure_internal.h"

#include <errno.h>

static const struct apmp_reason_info reasons[APMP_REASON_COUNT] = {
#define X(name, number, err, varlink, text) [number] = {err, varlink, #name, text},
#include "shm/reasons.def"
#undef X
};

const struct apmp_reason_info *apmp_reason_info(uint32_t reason)
{
	return reason < APMP_REASON_COUNT && reasons[reason].err ? &reasons[reason] : NULL;
}

int apmp__refuse(struct apmp__asked *asked, enum apmp_reason reason, int32_t about)
{
	asked->ret->reason = reason;
	asked->ret->about = about;
	return -apmp_reason_info(reason)->err;
}

/* Whether the node is really in the tree: a handle is a number that somebody sent, and memory that
 * looks like a node may be part of another one.  Up to the root, each is its parent's child. */
static bool is_reachable(const struct apmp_tree *tree, struct apmp_tree_node node)
{
	uint64_t left = tree->size / GCT_ALIGN;

	while (node.handle) {
		struct apmp_tree_node parent, child;
		int32_t at;

		if (apmp_tree_node(tree, node.parent, &parent))
			return false;
		for (at = parent.child; at && at != node.handle; at = child.next_sib)
			if (left-- == 0 || apmp_tree_node(tree, at, &child))
				return false;
		if (!at || left-- == 0)
			return false;
		node = parent;
	}
	return true;
}

bool apmp__node_at(const struct apmp_tree *tree, uint64_t handle, struct apmp_tree_node *ret)
{
	return handle <= INT32_MAX && !apmp_tree_node(tree, (int32_t)handle, ret) &&
	       is_reachable(tree, *ret);
}

bool apmp__owner_at(const struct apmp_tree *tree, uint64_t handle, struct apmp__owner *ret)
{
	struct apmp_tree_node node, above;

	if (!apmp__node_at(tree, handle, &node) ||
	    (node.type != GCT_PARTITION && node.type != GCT_COMMUNITY) ||
	    apmp_tree_node(tree, node.parent, &above))
		return false;
	*ret = (struct apmp__owner){
	    .handle = node.handle,
	    .domain = above.type == GCT_COMMUNITY ? above.handle : node.handle,
	    .community = node.type == GCT_COMMUNITY,
	    .initialized = apmp__tree_initialized(tree, node.handle),
	};
	return true;
}

int apmp__may_assign(struct apmp__asked *asked, const struct apmp__owner *to)
{
	if (asked->by != APMP_ADMINISTRATOR && to->domain != asked->domain)
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, to->handle);
	return 0;
}

int apmp__may_release(struct apmp__asked *asked, int32_t handle)
{
	struct apmp__owner owner;

	if (asked->by == APMP_ADMINISTRATOR || asked->by == handle)
		return 0;
	if (!apmp__owner_at(asked->tree, (uint64_t)handle, &owner) ||
	    (owner.initialized && !owner.community) ||
	    (owner.community && owner.domain != asked->domain))
		return apmp__refuse(asked, APMP_REASON_NOT_OWNER, handle);
	if (owner.domain != asked->domain)
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, handle);
	return 0;
}

int apmp__use_ends(struct apmp__asked *asked, int32_t current_owner, bool given_up)
{
	struct apmp__owner user;

	if (!current_owner || !apmp__owner_at(asked->tree, (uint64_t)current_owner, &user) ||
	    !user.initialized)
		return 1;
	if (!given_up)
		return 0;
	/* Members cooperate: one of them speaks for the community [0191]. */
	if (user.handle == asked->by || (user.community && user.handle == asked->domain))
		return 1;
	return apmp__refuse(asked, APMP_REASON_INITIALIZED, current_owner);
}

static int limits(struct apmp__asked *asked)
{
	const struct gct_root_node *root = (const void *)asked->tree->root;

	switch (asked->request->arg[0]) {
#define X(name, value, field)                                                                      \
	case APMP_LIMIT_##name:                                                                    \
		asked->ret->ret[0] = apmp_load_relaxed(&root->field);                              \
		return 0;
		APMP_LIMITS(X)
#undef X
	default:
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	}
}

/* The ID field of the asker's own node [0262-0265]; of a set that it creates, the next ID. */
static int set_id(struct apmp__asked *asked)
{
	uint32_t id = apmp_tree_owner_id(asked->tree, asked->by);
	uint64_t value = asked->request->arg[0];
	struct apmp_tree_partition self;

	if (id == APMP_NO_PARTITION || apmp_tree_partition(asked->tree, id, &self) ||
	    (asked->request->arg[1] && !self.community))
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	apmp_update_begin(asked->tw->up);
	if (asked->request->arg[1])
		value = apmp_tree_next_database_id(asked->tw, self.community);
	apmp_tree_set_id_field(asked->tw, id, value);
	asked->ret->ret[0] = value;
	return 0;
}

/* The buses of a partition without an instance were reset: no I/O of it is under way [0263]. */
static int reset_buses(struct apmp__asked *asked)
{
	uint32_t id = apmp_tree_owner_id(asked->tree, asked->by);
	uint64_t target = asked->request->arg[0];
	struct apmp_tree_partition self, its;

	if (id == APMP_NO_PARTITION || apmp_tree_partition(asked->tree, id, &self))
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	if (target >= APMP_MAX_PARTITIONS ||
	    apmp_tree_partition(asked->tree, (uint32_t)target, &its))
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if (!self.community || its.community != self.community)
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, its.node.handle);
	if (apmp_tree_present(asked->tree, its.id))
		return apmp__refuse(asked, APMP_REASON_IN_USE, its.node.handle);
	apmp_update_begin(asked->tw->up);
	apmp_tree_set_id_field(asked->tw, its.id, 0);
	return 0;
}

/* The partition that holds the tree lock; GCT_NONE. */
static int32_t lock_holder(const struct apmp_tree *tree)
{
	const struct gct_root_node *root = (const void *)tree->root;
	uint64_t holder = apmp_load_relaxed(&root->lock);
	struct apmp_tree_partition p;

	if (holder >= APMP_MAX_PARTITIONS || apmp_tree_partition(tree, (uint32_t)holder, &p))
		return GCT_NONE;
	return p.node.handle;
}

static int lock_tree(struct apmp__asked *asked)
{
	uint32_t id = apmp_tree_owner_id(asked->tree, asked->by);
	int32_t holder = lock_holder(asked->tree);
	int err;

	if (id == APMP_NO_PARTITION)
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	if (holder) /* itself: the lock does not nest */
		return apmp__refuse(asked, APMP_REASON_LOCKED, holder);
	apmp_update_begin(asked->tw->up);
	err = apmp_tree_lock(asked->tw, id);
	apmp_assert(!err);
	return 0;
}

static int unlock_tree(struct apmp__asked *asked)
{
	int32_t holder = lock_holder(asked->tree);

	if (!holder || holder != asked->by)
		return apmp__refuse(asked, APMP_REASON_NOT_LOCKED, holder);
	apmp_update_begin(asked->tw->up);
	apmp_tree_unlock(asked->tw, apmp_tree_owner_id(asked->tree, asked->by));
	return 0;
}

int apmp__check_lock(struct apmp__asked *asked)
{
	int32_t holder = lock_holder(asked->tree);

	return holder && holder != asked->by ? apmp__refuse(asked, APMP_REASON_LOCKED, holder) : 0;
}

static const struct {
	int (*run)(struct apmp__asked *asked);
	bool permanent; /* it changes what non-volatile memory holds [0065] */
	bool locked;	/* not while somebody else holds the tree lock: it changes the
			 * configuration [0085], which ID fields are not */
} operations[] = {
    [APMP_CALL_CREATE_COMMUNITY] = {apmp__create_community, true, true},
    [APMP_CALL_DELETE_COMMUNITY] = {apmp__delete_community, true, true},
    [APMP_CALL_CREATE_PARTITION] = {apmp__create_partition, true, true},
    [APMP_CALL_DELETE_PARTITION] = {apmp__delete_partition, true, true},
    [APMP_CALL_START_PARTITION] = {apmp__start_partition, false, true},
    [APMP_CALL_SET_COMMUNITY] = {apmp__set_community, true, true},
    [APMP_CALL_ASSIGN] = {apmp__assign, true, true},
    [APMP_CALL_DEASSIGN] = {apmp__deassign, true, true},
    [APMP_CALL_REASSIGN] = {apmp__reassign, true, true},
    [APMP_CALL_ASSIGN_MEMORY] = {apmp__assign_memory, true, true},
    [APMP_CALL_DEASSIGN_MEMORY] = {apmp__deassign_memory, true, true},
    [APMP_CALL_LIMITS] = {limits, false, false},
    [APMP_CALL_SET_ID] = {set_id, false, false},
    [APMP_CALL_LOCK_TREE] = {lock_tree, false, false},
    [APMP_CALL_UNLOCK_TREE] = {unlock_tree, false, false},
    [APMP_CALL_RESET_BUSES] = {reset_buses, false, false},
};

int apmp_configure(struct apmp_tree_writer *tw, const struct apmp_call_request *request, int32_t by,
		   struct apmp_configured *ret)
{
	struct apmp__asked asked = {
	    .tw = tw, .tree = &tw->tree, .request = request, .by = by, .ret = ret};
	uint32_t op = request->op;
	struct apmp__owner asker;
	int err;

	apmp_assert(tw->published && !apmp_update_open(tw->up));
	*ret = (struct apmp_configured){0};
	if (op >= sizeof(operations) / sizeof(operations[0]) || !operations[op].run)
		return apmp__refuse(&asked, APMP_REASON_INVALID, GCT_NONE);
	if (by != APMP_ADMINISTRATOR) {
		if (by < 0 || !apmp__owner_at(&tw->tree, (uint64_t)by, &asker) || asker.community)
			return apmp__refuse(&asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
		asked.domain = asker.domain;
	}
	err = operations[op].locked ? apmp__check_lock(&asked) : 0;
	if (!err)
		err = operations[op].run(&asked);
	if (err)
		apmp_assert(!apmp_update_open(tw->up));
	else
		ret->permanent = operations[op].permanent;
	return err;
}
