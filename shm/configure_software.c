/*
 * configure_software.c - partitions and communities are created, deleted, moved [0063, 0071, 0113,
 * 0116]; what a partition needs at least [0077-0079].
 *
 * WHAT      Anybody creates; a partition does so within its domain.  What is deleted runs nothing
 *           and has no members; what it owned is nobody's.  A partition changes its community by
 *           the administrator alone, who so takes its components from one community to another.
 */
#include "shm/configure_internal.h"
#include "shm/name.h"

#include <errno.h>
#include <string.h>

/* The partition or community of this name; GCT_NONE. */
static int32_t find_name(const struct apmp_tree *tree, enum gct_node_type type, const char *name)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct apmp_tree_partition p;
		struct apmp_tree_community c;

		if (type == GCT_PARTITION && apmp_tree_partition(tree, id, &p) == 0 &&
		    strcmp(p.name, name) == 0)
			return p.node.handle;
		if (type == GCT_COMMUNITY && apmp_tree_community(tree, id, &c) == 0 &&
		    strcmp(c.name, name) == 0)
			return c.node.handle;
	}
	return GCT_NONE;
}

/* Whether one more of this name, and an id and a node for it, may be. */
static int check_new(struct apmp__asked *asked, enum gct_node_type type)
{
	const char *name = asked->request->text;
	int32_t taken;
	int id;

	if (!apmp_name_valid(name))
		return apmp__refuse(asked, APMP_REASON_NAME, GCT_NONE);
	taken = find_name(asked->tree, type, name);
	if (taken)
		return apmp__refuse(asked, APMP_REASON_NAME_TAKEN, taken);
	id = apmp__tree_free_id(asked->tw, type);
	if (id < 0)
		return apmp__refuse(asked, APMP_REASON_MAX_PARTITIONS, GCT_NONE);
	if (!apmp__tree_software_room(asked->tw, type, (uint32_t)id))
		return apmp__refuse(asked, APMP_REASON_POOL, GCT_NONE);
	return 0;
}

int apmp__create_community(struct apmp__asked *asked)
{
	struct apmp_tree_community c;
	int err = check_new(asked, GCT_COMMUNITY), id;

	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	id = apmp_tree_add_community(asked->tw, asked->request->text);
	apmp_assert(id >= 0 && !apmp_tree_community(asked->tree, (uint32_t)id, &c));
	asked->ret->ret[0] = (uint64_t)id;
	asked->ret->ret[1] = (uint64_t)c.node.handle;
	return 0;
}

/* A community; NO_SUCH_NODE when the handle is none. */
static int find_community(struct apmp__asked *asked, uint64_t handle, struct apmp__owner *ret)
{
	if (!apmp__owner_at(asked->tree, handle, ret) || !ret->community)
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	return 0;
}

static int find_partition(struct apmp__asked *asked, struct apmp__owner *ret)
{
	if (!apmp__owner_at(asked->tree, asked->request->arg[0], ret) || ret->community)
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	return 0;
}

/* Whether anything of the hardware is this owner's. */
static bool owns_anything(const struct apmp_tree *tree, int32_t owner)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(tree, &walk, &n) > 0) {
		if (n.owner == owner || n.current_owner == owner)
			return true;
		for (uint32_t i = 0; apmp__is_hardware(&n) && n.type == GCT_MEMORY_DESC &&
				     apmp_tree_fragment(tree, n.handle, i, &f) == 0;
		     i++)
			if (f.owner == owner || f.current_owner == owner)
				return true;
	}
	return false;
}

int apmp__delete_community(struct apmp__asked *asked)
{
	struct apmp__owner community;
	struct apmp_tree_node node;
	int err = find_community(asked, asked->request->arg[0], &community);

	if (err)
		return err;
	if (apmp_tree_node(asked->tree, community.handle, &node) || node.child)
		return apmp__refuse(asked, APMP_REASON_HAS_MEMBERS, node.child);
	/* Nobody who asks by callback is in it: what it owns is another community's. */
	if (asked->by != APMP_ADMINISTRATOR && owns_anything(asked->tree, community.handle))
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, community.handle);
	if (apmp__tree_delete_cost(asked->tree, community.handle) > apmp_update_room(asked->tw->up))
		return apmp__refuse(asked, APMP_REASON_TOO_MUCH, community.handle);
	apmp_update_begin(asked->tw->up);
	apmp_tree_delete_software(asked->tw, community.handle);
	return 0;
}

int apmp__create_partition(struct apmp__asked *asked)
{
	uint64_t community = asked->request->arg[0], boots = asked->request->arg[1];
	struct apmp_tree_partition p;
	struct apmp__owner owner = {0};
	int err = 0, id;

	if (boots > 1)
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	if (community) {
		err = find_community(asked, community, &owner);
		if (!err)
			err = apmp__may_assign(asked, &owner);
	}
	if (!err)
		err = check_new(asked, GCT_PARTITION);
	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	id = apmp_tree_add_partition(asked->tw, owner.handle, asked->request->text, 0);
	apmp_assert(id >= 0 && !apmp_tree_partition(asked->tree, (uint32_t)id, &p));
	if (boots)
		apmp_tree_set_policy(asked->tw, (uint32_t)id, GCT_POLICY_BOOT);
	asked->ret->ret[0] = (uint64_t)id;
	asked->ret->ret[1] = (uint64_t)p.node.handle;
	return 0;
}

/* A partition without a life: nothing of it runs, or is still being fenced [0063]. */
static int check_uninitialized(struct apmp__asked *asked, const struct apmp__owner *partition)
{
	uint32_t id = apmp_tree_owner_id(asked->tree, partition->handle);

	if (partition->initialized || apmp_tree_present(asked->tree, id))
		return apmp__refuse(asked, APMP_REASON_INITIALIZED, partition->handle);
	return 0;
}

int apmp__delete_partition(struct apmp__asked *asked)
{
	struct apmp__owner partition;
	int err = find_partition(asked, &partition);

	if (!err && asked->by != APMP_ADMINISTRATOR && partition.domain != asked->domain)
		err = apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, partition.handle);
	if (!err)
		err = check_uninitialized(asked, &partition);
	if (err)
		return err;
	if (apmp__tree_delete_cost(asked->tree, partition.handle) > apmp_update_room(asked->tw->up))
		return apmp__refuse(asked, APMP_REASON_TOO_MUCH, partition.handle);
	apmp_update_begin(asked->tw->up);
	apmp_tree_delete_software(asked->tw, partition.handle);
	return 0;
}

int apmp__start_partition(struct apmp__asked *asked)
{
	struct apmp__owner partition;
	struct apmp_missing missing;
	int err = find_partition(asked, &partition);

	if (!err)
		err = apmp__may_assign(asked, &partition);
	if (!err)
		err = check_uninitialized(asked, &partition);
	if (err)
		return err;
	if (apmp_template_check(asked->tree, partition.handle, &missing)) {
		asked->ret->ret[0] = missing.wanted;
		asked->ret->ret[1] = missing.had;
		return apmp__refuse(asked, APMP_REASON_TEMPLATE, partition.handle);
	}
	return 0;
}

/* Memory, or a component bound to a subsystem, that a partition has because its community has the
 * descriptor or subsystem [0096]: a handle of what holds it, GCT_NONE when there is none. */
static int32_t has_of_community(const struct apmp_tree *tree, int32_t partition, int32_t community)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n, config;
	struct apmp_tree_fragment f;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(tree, &walk, &n) > 0) {
		if (!apmp__is_hardware(&n))
			continue;
		if ((n.owner == partition || n.current_owner == partition) &&
		    apmp_tree_node(tree, n.config, &config) == 0 && config.owner == community)
			return n.handle;
		for (uint32_t i = 0; n.type == GCT_MEMORY_DESC && n.owner == community &&
				     apmp_tree_fragment(tree, n.handle, i, &f) == 0;
		     i++)
			if (f.owner == partition || f.current_owner == partition)
				return n.handle;
	}
	return GCT_NONE;
}

int apmp__set_community(struct apmp__asked *asked)
{
	uint64_t community = asked->request->arg[1];
	struct apmp__owner partition, to = {0};
	int32_t from, shared;
	int err = find_partition(asked, &partition);

	if (!err && community)
		err = find_community(asked, community, &to);
	if (err)
		return err;
	if (asked->by != APMP_ADMINISTRATOR)
		return apmp__refuse(asked, APMP_REASON_OTHER_COMMUNITY, partition.handle);
	from = partition.domain == partition.handle ? GCT_NONE : partition.domain;
	if (!from && !community)
		return apmp__refuse(asked, APMP_REASON_INVALID, partition.handle);
	if (from && community)
		return apmp__refuse(asked, APMP_REASON_IN_COMMUNITY, from);
	err = check_uninitialized(asked, &partition);
	if (err)
		return err;
	shared = from ? has_of_community(asked->tree, partition.handle, from) : GCT_NONE;
	if (shared)
		return apmp__refuse(asked, APMP_REASON_HAS_SHARED, shared);
	apmp_update_begin(asked->tw->up);
	apmp_tree_move_partition(asked->tw, partition.handle, to.handle);
	return 0;
}

/* What a partition has of one type and subtype, to begin a life with: it owns it, it is in the box,
 * and nobody else still uses it. */
static uint64_t count_parts(const struct apmp_tree *tree, int32_t partition, uint8_t type,
			    uint8_t subtype)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t count = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, type, &n) > 0)
		count += n.owner == partition && n.subtype == subtype &&
			 !(n.flags & NODE_UNAVAILABLE) &&
			 (!n.current_owner || n.current_owner == partition);
	return count;
}

/* Bytes of its largest base segment [0085]. */
static uint64_t base_memory(const struct apmp_tree *tree, int32_t partition)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;
	uint64_t size = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		for (uint32_t i = 0; !(n.flags & NODE_UNAVAILABLE) &&
				     apmp_tree_fragment(tree, n.handle, i, &f) == 0;
		     i++)
			if (f.owner == partition && f.flags & GCT_MEM_BASE && f.size > size &&
			    (!f.current_owner || f.current_owner == partition))
				size = f.size;
	return size;
}

int apmp_template_check(const struct apmp_tree *tree, int32_t partition, struct apmp_missing *ret)
{
	const struct gct_root_node *root = (const void *)tree->root;
	struct apmp_tree_walk walk, again;
	struct apmp_tree_node want, same;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(tree, &walk, &want) > 0) {
		struct apmp_missing m = {.type = want.type, .subtype = want.subtype};

		if (!(want.flags & NODE_HW_TEMPLATE))
			continue;
		apmp_tree_walk_init(&again, 0);
		while (apmp_tree_walk(tree, &again, &same) > 0)
			m.wanted += same.flags & NODE_HW_TEMPLATE && same.type == want.type &&
				    same.subtype == want.subtype;
		if (want.type == GCT_MEMORY_DESC) {
			m.wanted = apmp_load_relaxed(&root->base_alloc);
			m.had = base_memory(tree, partition);
		} else {
			m.had = count_parts(tree, partition, want.type, want.subtype);
		}
		if (m.had < m.wanted) {
			*ret = m;
			return -ENODEV;
		}
	}
	return 0;
}
