/*
 * tree_internal.h - what the files of the tree's writer share: stores, pool, links.
 *
 * A store before the tree is published is plain; afterwards it goes through the update's journal.
 */
#ifndef APMP_SHM_TREE_INTERNAL_H
#define APMP_SHM_TREE_INTERNAL_H

#include "shm/assert.h"
#include "shm/shared.h"
#include "shm/tree_write.h"

/* The node's memory; a handle that can't be one is our own bug. */
struct gct_node *apmp__tree_at(const struct apmp_tree_writer *tw, int32_t handle);

static inline struct gct_root_node *apmp__tree_root(const struct apmp_tree_writer *tw)
{
	return (void *)tw->root;
}

void apmp__tree_put_handle(struct apmp_tree_writer *tw, _Atomic int32_t *field, int32_t value);
void apmp__tree_put32(struct apmp_tree_writer *tw, _Atomic uint32_t *field, uint32_t value);
void apmp__tree_put64(struct apmp_tree_writer *tw, _Atomic uint64_t *field, uint64_t value);
/* A string into a field of whole quadwords, zeroes behind it. */
void apmp__tree_put_string(struct apmp_tree_writer *tw, char *field, size_t size, const char *text);

/* Whether the free pool has so many bytes. */
bool apmp__tree_has_room(const struct apmp_tree_writer *tw, uint64_t size);
/* Takes bytes, rounded up to GCT_ALIGN, from the free pool.  Their offset, or -ENOSPC. */
int32_t apmp__tree_take_pool(struct apmp_tree_writer *tw, uint64_t size);

/* Fills in the header of a node that is fresh from the pool and hangs it below its parent. */
void apmp__tree_link(struct apmp_tree_writer *tw, int32_t handle, uint64_t size,
		     const struct apmp_tree_spec *spec);
/* A node that hangs nowhere becomes the parent's last child; and one that does hangs nowhere. */
void apmp__tree_append(struct apmp_tree_writer *tw, int32_t parent, int32_t handle);
void apmp__tree_unlink(struct apmp_tree_writer *tw, int32_t handle);

/* Sets both owners of this one node. */
void apmp__tree_put_owners(struct apmp_tree_writer *tw, int32_t handle, int32_t owner,
			   int32_t current_owner);

/* Whether the node's config handle, or that of what it is bound to, leads to the one at handle:
 * then it goes where that goes [0073, 0101]. */
bool apmp__tree_is_bound(const struct apmp_tree *tree, const struct apmp_tree_node *node,
			 int32_t handle);
/* Whether the node hangs below the one at handle, at any depth, or is it. */
bool apmp__tree_is_below(const struct apmp_tree *tree, int32_t node, int32_t handle);
/* Whether a partition, or any partition of a community, is initialized [0061]. */
bool apmp__tree_initialized(const struct apmp_tree *tree, int32_t handle);

static inline bool apmp__tree_is_free(const struct apmp_tree_fragment *f)
{
	return !f->owner && !f->current_owner;
}

/* How a descriptor's fragments change when a part of one of them gets other owners. */
struct apmp__tree_cut {
	int32_t desc;
	uint32_t first, last;		    /* these fragments go, */
	uint32_t count;			    /* so many stand in their place: */
	struct apmp_tree_fragment piece[3]; /* these */
};

/* -ENOENT: no fragment holds all of it; -ENOSPC: more fragments than there may be. */
APMP_CHECK int apmp__tree_plan_cut(const struct apmp_tree *tree, uint64_t pa, uint64_t size,
				   int32_t owner, int32_t current_owner, uint32_t flags,
				   struct apmp__tree_cut *ret);
void apmp__tree_cut(struct apmp_tree_writer *tw, const struct apmp__tree_cut *cut);

/* Lets change look at each fragment of a descriptor; unowned neighbours then become one.  Whether
 * anything became free. */
bool apmp__tree_change_fragments(struct apmp_tree_writer *tw, int32_t desc,
				 void (*change)(void *ctx, struct apmp_tree_fragment *f),
				 void *ctx);
/* Stores that such a change takes at most. */
uint64_t apmp__tree_change_cost(const struct apmp_tree *tree, int32_t desc);

/* The last fragment of a memory subsystem has become free: subsystem and descriptors are given up
 * too, so that everybody may take them, unless something below is somebody's, or a partition other
 * than `by` uses it. */
void apmp__tree_leave_subsystem(struct apmp_tree_writer *tw, int32_t desc, int32_t by);

/* Whether a deleted node of this type and id, or else the pool, has room for a new one. */
bool apmp__tree_software_room(const struct apmp_tree_writer *tw, enum gct_node_type type,
			      uint32_t id);
/* The first id that no partition or community has [0085]; -ENOSPC. */
APMP_CHECK int apmp__tree_free_id(const struct apmp_tree_writer *tw, enum gct_node_type type);
/* The community's database is no more: the memory that it was in is released. */
void apmp__tree_clear_database(struct apmp_tree_writer *tw, int32_t community, bool other);
/* Stores that deleting it takes at most. */
uint64_t apmp__tree_delete_cost(const struct apmp_tree *tree, int32_t handle);

#endif
