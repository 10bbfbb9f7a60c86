/*
 * configure_internal.h - what the files of the configuration's rules share.
 *
 * Each operation first checks everything and stores nothing; then begins the update, and from there
 * on can't fail.
 */
#ifndef APMP_SHM_CONFIGURE_INTERNAL_H
#define APMP_SHM_CONFIGURE_INTERNAL_H

#include "shm/configure.h"
#include "shm/tree_internal.h"

/* A request on its way. */
struct apmp__asked {
	struct apmp_tree_writer *tw;
	const struct apmp_tree *tree;
	const struct apmp_call_request *request;
	int32_t by;	/* a partition's handle, or APMP_ADMINISTRATOR */
	int32_t domain; /* of by; GCT_NONE of the administrator */
	struct apmp_configured *ret;
};

/* A partition or community as an owner.  Its domain is what resources don't leave but by the
 * administrator: its community, or itself when it is a partition without one [0063]. */
struct apmp__owner {
	int32_t handle;
	int32_t domain;
	bool community;
	bool initialized; /* a community: any of its partitions */
};

/* Fills in why not.  -errno of the reason. */
APMP_CHECK int apmp__refuse(struct apmp__asked *asked, enum apmp_reason reason, int32_t about);

/* A living partition or community; false: the handle is none. */
bool apmp__owner_at(const struct apmp_tree *tree, uint64_t handle, struct apmp__owner *ret);
/* The node with this handle, of any type; false: the tree has none. */
bool apmp__node_at(const struct apmp_tree *tree, uint64_t handle, struct apmp_tree_node *ret);

static inline bool apmp__is_hardware(const struct apmp_tree_node *node)
{
	return node->type >= GCT_SBB && !(node->flags & NODE_HW_TEMPLATE);
}

/* Refused when somebody else holds the tree lock [0085]. */
APMP_CHECK int apmp__check_lock(struct apmp__asked *asked);

/* Whether the asker may give to, or take for, this owner.  0, or refused. */
APMP_CHECK int apmp__may_assign(struct apmp__asked *asked, const struct apmp__owner *to);
/* Whether the asker may release what this owner has.  0, or refused. */
APMP_CHECK int apmp__may_release(struct apmp__asked *asked, int32_t owner);
/* Whether the use by current_owner ends with its release: 1 it does, 0 it goes on until the user
 * initializes, or refused.  given_up: the asker says that it is in use no more. */
APMP_CHECK int apmp__use_ends(struct apmp__asked *asked, int32_t current_owner, bool given_up);

/* Whether the node, and what is bound to it, may become the owner's, where only `from` may have had
 * it [0192, 0193].  0, or refused. */
APMP_CHECK int apmp__fits(struct apmp__asked *asked, const struct apmp_tree_node *node,
			  const struct apmp__owner *to, int32_t from);
/* Makes the node and what is bound to it the owner's; a partition uses it when it initializes, a
 * community at once. */
void apmp__give(struct apmp__asked *asked, const struct apmp_tree_node *node,
		const struct apmp__owner *to);

/* The operations, by subject. */
APMP_CHECK int apmp__assign(struct apmp__asked *asked);
APMP_CHECK int apmp__deassign(struct apmp__asked *asked);
APMP_CHECK int apmp__reassign(struct apmp__asked *asked);
APMP_CHECK int apmp__assign_memory(struct apmp__asked *asked);
APMP_CHECK int apmp__deassign_memory(struct apmp__asked *asked);
APMP_CHECK int apmp__create_community(struct apmp__asked *asked);
APMP_CHECK int apmp__delete_community(struct apmp__asked *asked);
APMP_CHECK int apmp__create_partition(struct apmp__asked *asked);
APMP_CHECK int apmp__delete_partition(struct apmp__asked *asked);
APMP_CHECK int apmp__start_partition(struct apmp__asked *asked);
APMP_CHECK int apmp__set_community(struct apmp__asked *asked);

#endif
