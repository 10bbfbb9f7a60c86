/*
 * tree_software.c - partitions and communities in the tree: made, deleted, made again [0071, 0085,
 * 0116].
 *
 * WHAT      A deleted node stays where it is: magic valid, flagged UNAVAILABLE, out of its array,
 *           below nobody, without a name.  It keeps its id and stands on the lookaside list, which
 *           begins at the root's lookaside and goes on through `reserved`.  Ids are dense, so a new
 *           node gets the lowest id that is free: an id that was used before is always below one
 *           that never was, hence its node is on the list, and it is used again for that same id.
 *           So a node belongs to one id for ever, and keeps incarnation and fenced of everyone who
 *           ever had it: an identity is never reused, and an old one stays dead.
 * STATES    (pool) -> living -> deleted, on the lookaside list -> living ...
 * CRASHES   All stores are in an update (shm/update.c), but fenced and apmpdb_*: one store each.
 */
#include "shm/tree_internal.h"

#include <errno.h>

static _Atomic int32_t *array_of(const struct apmp_tree_writer *tw, enum gct_node_type type)
{
	struct gct_root_node *root = apmp__tree_root(tw);

	apmp_assert(type == GCT_PARTITION || type == GCT_COMMUNITY);
	return (void *)(tw->root + apmp_load_relaxed(type == GCT_PARTITION ? &root->partitions
									   : &root->communities));
}

int apmp__tree_free_id(const struct apmp_tree_writer *tw, enum gct_node_type type)
{
	_Atomic int32_t *array = array_of(tw, type);
	uint32_t max = apmp_load_relaxed(&apmp__tree_root(tw)->max_partition);

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS && id < max; id++)
		if (apmp_load_relaxed(&array[id]) == GCT_NONE)
			return (int)id;
	return -ENOSPC;
}

/* Where the handle of the deleted node of this type and id stands; NULL when there is none. */
static _Atomic int32_t *on_lookaside(const struct apmp_tree_writer *tw, enum gct_node_type type,
				     uint32_t id)
{
	_Atomic int32_t *at = &apmp__tree_root(tw)->lookaside;

	for (uint32_t left = 2 * APMP_MAX_PARTITIONS; apmp_load_relaxed(at) && left > 0; left--) {
		struct gct_node *node = apmp__tree_at(tw, apmp_load_relaxed(at));

		if (apmp_load_relaxed(&node->type) == type && apmp_load_relaxed(&node->id) == id)
			return at;
		at = &node->reserved;
	}
	return NULL;
}

static uint64_t size_of(enum gct_node_type type)
{
	return type == GCT_PARTITION ? sizeof(struct gct_partition_node)
				     : sizeof(struct gct_community_node);
}

bool apmp__tree_software_room(const struct apmp_tree_writer *tw, enum gct_node_type type,
			      uint32_t id)
{
	return on_lookaside(tw, type, id) || apmp__tree_has_room(tw, size_of(type));
}

/* A node fresh from the pool: all behind its header is zero. */
static int32_t from_pool(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec)
{
	uint64_t size = size_of(spec->type);
	int32_t at = apmp__tree_take_pool(tw, size);
	_Atomic uint64_t *word;

	if (at < 0)
		return at;
	word = (void *)(apmp__tree_at(tw, at) + 1);
	for (uint64_t i = 0; i < (size - sizeof(struct gct_node)) / sizeof(*word); i++)
		apmp_store_relaxed(&word[i], 0);
	apmp__tree_link(tw, at, size, spec);
	return at;
}

/* A deleted node lives again. */
static int32_t from_lookaside(struct apmp_tree_writer *tw, _Atomic int32_t *at,
			      const struct apmp_tree_spec *spec)
{
	int32_t handle = apmp_load_relaxed(at);
	struct gct_node *node = apmp__tree_at(tw, handle);

	apmp__tree_put_handle(tw, at, apmp_load_relaxed(&node->reserved));
	apmp__tree_put_handle(tw, &node->reserved, 0);
	apmp__tree_put64(tw, &node->node_flags, spec->flags);
	apmp__tree_append(tw, spec->parent, handle);
	return handle;
}

/* Adds a node with a dense id and enters it into its array.  Its id, or -ENOSPC. */
static int add_software(struct apmp_tree_writer *tw, enum gct_node_type type, int32_t parent,
			int32_t *ret_handle)
{
	struct apmp_tree_spec spec = {.parent = parent, .type = type};
	int id = apmp__tree_free_id(tw, type);
	_Atomic int32_t *deleted;
	int32_t at;

	if (id < 0)
		return id;
	spec.id = (uint64_t)id;
	deleted = on_lookaside(tw, type, (uint32_t)id);
	at = deleted ? from_lookaside(tw, deleted, &spec) : from_pool(tw, &spec);
	if (at < 0)
		return at;
	apmp__tree_put_handle(tw, &apmp__tree_at(tw, at)->owner, parent);
	apmp__tree_put_handle(tw, &array_of(tw, type)[id], at);
	*ret_handle = at;
	return id;
}

int apmp_tree_add_community(struct apmp_tree_writer *tw, const char *name)
{
	int32_t at;
	int id = add_software(tw, GCT_COMMUNITY, apmp_tree_root(tw, GCT_SW_ROOT), &at);

	if (id >= 0)
		apmp__tree_put_string(
		    tw, ((struct gct_community_node *)(void *)apmp__tree_at(tw, at))->name,
		    APMP_NAME_SIZE, name);
	return id;
}

int apmp_tree_add_partition(struct apmp_tree_writer *tw, int32_t community, const char *name,
			    uint64_t hwrpb_pa)
{
	struct gct_partition_node *p;
	int32_t at;
	int id = add_software(tw, GCT_PARTITION,
			      community ? community : apmp_tree_root(tw, GCT_SW_ROOT), &at);

	if (id < 0)
		return id;
	p = (void *)apmp__tree_at(tw, at);
	apmp__tree_put64(tw, &p->hwrpb, hwrpb_pa);
	apmp__tree_put_string(tw, p->name, APMP_NAME_SIZE, name);
	return id;
}

static void release_fragment(void *ctx, struct apmp_tree_fragment *f)
{
	const int32_t *gone = ctx;

	if (f->owner == *gone)
		f->owner = GCT_NONE;
	if (f->current_owner == *gone)
		f->current_owner = GCT_NONE;
}

static bool has_fragment(const struct apmp_tree *tree, int32_t desc, int32_t handle)
{
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(tree, desc, i, &f) == 0; i++)
		if (f.owner == handle || f.current_owner == handle)
			return true;
	return false;
}

uint64_t apmp__tree_delete_cost(const struct apmp_tree *tree, int32_t handle)
{
	/* The node itself: links, flags, lists, and all behind its header. */
	uint64_t cost = sizeof(struct gct_partition_node) / sizeof(uint64_t) + 16;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(tree, &walk, &n) > 0) {
		cost += (n.owner == handle) + (n.current_owner == handle);
		if (n.type == GCT_MEMORY_DESC && has_fragment(tree, n.handle, handle))
			cost += apmp__tree_change_cost(tree, n.handle);
		if (n.type >= GCT_MEMORY_SUB && n.type <= GCT_MEMORY_DESC)
			cost += 2; /* subsystems that are left */
	}
	return cost;
}

/* Everything that it owns or uses is so no more. */
static void strip(struct apmp_tree_writer *tw, int32_t handle)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, apmp_tree_root(tw, GCT_HW_ROOT));
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0)
		if (n.type >= GCT_SBB && (n.owner == handle || n.current_owner == handle))
			apmp__tree_put_owners(tw, n.handle, n.owner == handle ? GCT_NONE : n.owner,
					      n.current_owner == handle ? GCT_NONE
									: n.current_owner);
	apmp_tree_walk_init(&walk, apmp_tree_root(tw, GCT_HW_ROOT));
	while (apmp_tree_walk_type(&tw->tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		if (has_fragment(&tw->tree, n.handle, handle) &&
		    apmp__tree_change_fragments(tw, n.handle, release_fragment, &handle))
			apmp__tree_leave_subsystem(tw, n.handle, handle);
}

/* Nothing of it is left but identities that were [0088, 0262]. */
static void clear_software(struct apmp_tree_writer *tw, struct gct_node *node)
{
	struct gct_partition_node *p = (void *)node;
	struct gct_community_node *c = (void *)node;

	if (apmp_load_relaxed(&node->type) == GCT_COMMUNITY) {
		apmp__tree_put64(tw, &c->apmpdb_info, 0);
		apmp__tree_put64(tw, &c->apmpdb_other, 0);
		apmp__tree_put_string(tw, c->name, sizeof(c->name), "");
		return;
	}
	apmp__tree_put64(tw, &p->hwrpb, 0);
	apmp__tree_put64(tw, &p->priority, 0);
	apmp__tree_put32(tw, (_Atomic uint32_t *)&p->os_type, 0);
	apmp__tree_put64(tw, &p->instance_name_format, 0);
	apmp__tree_put_string(tw, p->instance_name, sizeof(p->instance_name), "");
	apmp__tree_put_string(tw, p->name, sizeof(p->name), "");
	apmp__tree_put64(tw, &p->id_field, 0);
	apmp__tree_put64(tw, &p->policy, 0);
}

void apmp_tree_delete_software(struct apmp_tree_writer *tw, int32_t handle)
{
	struct gct_root_node *root = apmp__tree_root(tw);
	struct gct_node *node = apmp__tree_at(tw, handle);
	enum gct_node_type type = apmp_load_relaxed(&node->type);
	uint64_t id = apmp_load_relaxed(&node->id);
	_Atomic int32_t *entry = array_of(tw, type) + id;

	apmp_assert(id < APMP_MAX_PARTITIONS && apmp_load_relaxed(entry) == handle &&
		    !apmp_load_relaxed(&node->child));
	strip(tw, handle);
	apmp__tree_put_handle(tw, entry, GCT_NONE);
	apmp__tree_unlink(tw, handle);
	apmp__tree_put_owners(tw, handle, GCT_NONE, GCT_NONE);
	apmp__tree_put64(tw, &node->node_flags, NODE_UNAVAILABLE);
	clear_software(tw, node);
	apmp__tree_put_handle(tw, &node->reserved, apmp_load_relaxed(&root->lookaside));
	apmp__tree_put_handle(tw, &root->lookaside, handle);
	if (type != GCT_PARTITION)
		return;
	apmp_tree_unlock(tw, (uint32_t)id);
	if (apmp_load_relaxed(&root->primary_instance) == (int32_t)id)
		apmp__tree_put_handle(tw, &root->primary_instance, -1);
}

void apmp_tree_move_partition(struct apmp_tree_writer *tw, int32_t handle, int32_t community)
{
	int32_t parent = community ? community : apmp_tree_root(tw, GCT_SW_ROOT);

	apmp__tree_unlink(tw, handle);
	apmp__tree_append(tw, parent, handle);
	apmp__tree_put_handle(tw, &apmp__tree_at(tw, handle)->owner, parent);
}

static struct gct_partition_node *partition_of(struct apmp_tree_writer *tw, uint32_t id)
{
	int32_t handle;

	apmp_assert(id < APMP_MAX_PARTITIONS);
	handle = apmp_load_relaxed(&array_of(tw, GCT_PARTITION)[id]);
	apmp_assert(handle != GCT_NONE);
	return (void *)apmp__tree_at(tw, handle);
}

uint64_t apmp_tree_partition_boot(struct apmp_tree_writer *tw, uint32_t id,
				  const char *instance_name)
{
	struct gct_root_node *root = apmp__tree_root(tw);
	struct gct_partition_node *p = partition_of(tw, id);
	uint64_t incarnation = apmp_load_relaxed(&p->incarnation) + 1;

	/* First: who sees the new life doesn't take the last one's ID for its own. */
	if (apmp_load_relaxed(&p->id_field))
		apmp__tree_put64(tw, &p->id_field, 0);
	apmp__tree_put64(tw, &p->incarnation, incarnation);
	apmp__tree_put64(tw, &p->hd.node_flags,
			 apmp_load_relaxed(&p->hd.node_flags) | NODE_INITIALIZED);
	apmp__tree_put_string(tw, p->instance_name, sizeof(p->instance_name), instance_name);
	if (apmp_load_relaxed(&root->primary_instance) < 0)
		apmp__tree_put_handle(tw, &root->primary_instance, (int32_t)id);
	return incarnation;
}

void apmp_tree_set_hwrpb(struct apmp_tree_writer *tw, uint32_t id, uint64_t hwrpb_pa)
{
	apmp__tree_put64(tw, &partition_of(tw, id)->hwrpb, hwrpb_pa);
}

void apmp_tree_set_policy(struct apmp_tree_writer *tw, uint32_t id, uint64_t policy)
{
	apmp__tree_put64(tw, &partition_of(tw, id)->policy, policy);
}

void apmp_tree_set_id_field(struct apmp_tree_writer *tw, uint32_t id, uint64_t value)
{
	apmp__tree_put64(tw, &partition_of(tw, id)->id_field, value);
}

void apmp_tree_set_fenced(struct apmp_tree_writer *tw, uint32_t id, uint64_t incarnation)
{
	struct gct_partition_node *p = partition_of(tw, id);

	/* Acquired by apmp_tree_alive: who sees it may take what the dead held. */
	if (apmp_load_relaxed(&p->fenced) < incarnation)
		apmp_store_release(&p->fenced, incarnation);
}

void apmp_tree_set_debugged(struct apmp_tree_writer *tw, uint32_t id, uint64_t incarnation)
{
	/* Acquired by apmp_tree_debugged; nothing else goes with it. */
	apmp_store_release(&partition_of(tw, id)->debugged, incarnation);
}

uint64_t apmp_tree_next_database_id(struct apmp_tree_writer *tw, int32_t community)
{
	struct gct_community_node *c = (void *)apmp__tree_at(tw, community);
	uint64_t id = apmp_load_relaxed(&c->apmpdb_id) + 1;

	apmp__tree_put64(tw, &c->apmpdb_id, id);
	return id;
}

/* NULL: there is none of this id. */
static struct gct_community_node *community_of(struct apmp_tree_writer *tw, uint32_t community_id)
{
	int32_t handle;

	if (community_id >= APMP_MAX_PARTITIONS)
		return NULL;
	handle = apmp_load_relaxed(&array_of(tw, GCT_COMMUNITY)[community_id]);
	return handle == GCT_NONE ? NULL : (void *)apmp__tree_at(tw, handle);
}

int apmp_tree_set_apmpdb_info(struct apmp_tree_writer *tw, uint32_t community_id, uint64_t old_info,
			      uint64_t new_info)
{
	struct gct_community_node *c = community_of(tw, community_id);

	if (!c)
		return -ENOENT;
	if (apmp_load_relaxed(&c->apmpdb_info) != old_info)
		return -EAGAIN;
	/* Its set is over.  First: if it ends here, that set is made anew where it is. */
	if (old_info && old_info != new_info)
		apmp_store_release(&c->apmpdb_id, apmp_load_relaxed(&c->apmpdb_id) + 1);
	return apmp_cas(&c->apmpdb_info, &old_info, new_info) ? 0 : -EAGAIN;
}

int apmp_tree_set_apmpdb_other(struct apmp_tree_writer *tw, uint32_t community_id,
			       uint64_t old_info, uint64_t new_info)
{
	struct gct_community_node *c = community_of(tw, community_id);

	if (!c)
		return -ENOENT;
	return apmp_cas(&c->apmpdb_other, &old_info, new_info) ? 0 : -EAGAIN;
}

void apmp__tree_clear_database(struct apmp_tree_writer *tw, int32_t community, bool other)
{
	struct gct_community_node *c = (void *)apmp__tree_at(tw, community);

	apmp__tree_put64(tw, other ? &c->apmpdb_other : &c->apmpdb_info, 0);
}

int apmp_tree_lock(struct apmp_tree_writer *tw, uint32_t partition_id)
{
	_Atomic uint64_t *lock = &apmp__tree_root(tw)->lock;

	if (apmp_load_relaxed(lock) != UINT64_MAX)
		return -EAGAIN;
	apmp__tree_put64(tw, lock, partition_id);
	return 0;
}

void apmp_tree_unlock(struct apmp_tree_writer *tw, uint32_t partition_id)
{
	_Atomic uint64_t *lock = &apmp__tree_root(tw)->lock;

	if (apmp_load_relaxed(lock) == partition_id)
		apmp__tree_put64(tw, lock, UINT64_MAX);
}
