/* tree_policy.c - what the administrator wants of a partition: GCT_POLICY_*. */
#include <errno.h>

#include "shm/shared.h"
#include "shm/tree_write.h"

static const struct gct_partition_node *node_of(const struct apmp_tree *tree, uint32_t id)
{
	struct apmp_tree_partition p;

	return apmp_tree_partition(tree, id, &p) == 0 ? (const void *)(tree->root + p.node.handle)
						      : NULL;
}

uint64_t apmp_tree_policy(const struct apmp_tree *tree, uint32_t id)
{
	const struct gct_partition_node *node = node_of(tree, id);

	return node ? apmp_load_relaxed(&node->policy) : 0;
}

int apmp_tree_set_policy(struct apmp_tree_writer *tw, uint32_t id, uint64_t policy)
{
	struct apmp_tree_partition p;
	struct gct_partition_node *node;
	int err = apmp_tree_partition(&tw->tree, id, &p);

	if (err)
		return err;
	node = (void *)(tw->root + p.node.handle);
	if (tw->published)
		apmp_update_store64(tw->up, APMP_OBJECT_TREE, &node->policy, policy);
	else
		apmp_store_relaxed(&node->policy, policy);
	return 0;
}
