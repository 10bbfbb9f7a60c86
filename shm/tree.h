/*
 * tree.h - reading the configuration tree [0068]-[0117]: what every participant may do.
 *
 * Nothing here makes a system call or waits; views are copies.  Every handle that is followed is
 * checked (range, alignment, magic), so a tree that a mad console wrote gives -EBADMSG, never a
 * wild read.
 */
#ifndef APMP_SHM_TREE_H
#define APMP_SHM_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout_gct.h"

#define APMP_CHECK __attribute__((warn_unused_result))

struct apmp_tree {
	uint64_t magic;
	const struct gct_header *header;
	const unsigned char *root; /* handles count from here */
	uint64_t size;		   /* bytes from root to the end of the pool */
};

/* A node's fixed part, copied out [0082]. */
struct apmp_tree_node {
	int32_t handle;
	uint8_t type;
	uint8_t subtype;
	uint16_t size;
	int32_t owner;
	int32_t current_owner;
	uint64_t id;
	uint64_t flags;
	int32_t config, affinity, parent, next_sib, prev_sib, child;
};

struct apmp_tree_partition {
	struct apmp_tree_node node;
	uint32_t id;
	int32_t community; /* handle, GCT_NONE when it is in none */
	uint64_t hwrpb, incarnation, fenced;
	uint64_t id_field; /* [0262] */
	uint64_t policy;   /* GCT_POLICY_* */
	char name[APMP_NAME_SIZE];
	char instance_name[128];
};

struct apmp_tree_community {
	struct apmp_tree_node node;
	uint32_t id;
	uint64_t apmpdb_info, apmpdb_other, apmpdb_id;
	char name[APMP_NAME_SIZE];
};

struct apmp_tree_fragment {
	int32_t desc; /* handle of the memory descriptor */
	uint32_t idx; /* in its array */
	uint64_t pa, size;
	int32_t owner, current_owner;
	uint32_t flags;
};

/* A walk in preorder: begin with apmp_tree_walk_init. */
struct apmp_tree_walk {
	int32_t next;
	uint32_t left; /* nodes that may still come: bounds a tree with a loop */
};

/* Uses the tree at base, of which size bytes are mapped.  -EBADMSG: no tree, or of another build;
 * -ENOSPC: the tree is larger than what is mapped. */
APMP_CHECK int apmp_tree_init(struct apmp_tree *tree, const void *base, uint64_t size);

/* The level of a tree at rest [0117].  -EAGAIN: an update is under way. */
APMP_CHECK int apmp_tree_level(const struct apmp_tree *tree, uint64_t *ret_level);

/* The node with this handle.  -EBADMSG: not a handle of a node. */
APMP_CHECK int apmp_tree_node(const struct apmp_tree *tree, int32_t handle,
			      struct apmp_tree_node *ret_node);

/* Partition, community or CPU by its id; a CPU also when it is not in the box now
 * (NODE_UNAVAILABLE).  -ENOENT: none of this id; -EBADMSG. */
APMP_CHECK int apmp_tree_partition(const struct apmp_tree *tree, uint32_t id,
				   struct apmp_tree_partition *ret_partition);
APMP_CHECK int apmp_tree_community(const struct apmp_tree *tree, uint32_t id,
				   struct apmp_tree_community *ret_community);
APMP_CHECK int apmp_tree_cpu(const struct apmp_tree *tree, uint32_t id,
			     struct apmp_tree_node *ret_node);

/* The hardware node of this type and id, also one that is not in the box now [0070].  Its handle;
 * -ENOENT, -EBADMSG. */
APMP_CHECK int32_t apmp_tree_find(const struct apmp_tree *tree, enum gct_node_type type,
				  uint64_t id);

/* Type and revision of a CPU [0224].  -EBADMSG: not the handle of a CPU. */
APMP_CHECK int apmp_tree_cpu_type(const struct apmp_tree *tree, int32_t handle, uint64_t *ret_type,
				  uint64_t *ret_revision);

/* The partition whose HWRPB is at this physical address [0088].  -ENOENT, -EBADMSG. */
APMP_CHECK int apmp_tree_find_self(const struct apmp_tree *tree, uint64_t hwrpb_pa,
				   struct apmp_tree_partition *ret_partition);

/* Walks all nodes below (and with) the root: 1 and the next node, 0 at the end, -EBADMSG. */
void apmp_tree_walk_init(struct apmp_tree_walk *walk, int32_t from);
APMP_CHECK int apmp_tree_walk(const struct apmp_tree *tree, struct apmp_tree_walk *walk,
			      struct apmp_tree_node *ret_node);

/* The same, but only hardware of one type; the template's nodes are none. */
APMP_CHECK int apmp_tree_walk_type(const struct apmp_tree *tree, struct apmp_tree_walk *walk,
				   enum gct_node_type type, struct apmp_tree_node *ret_node);

/* Fragment idx of a memory descriptor [0094].  -ENOENT: past its last; -EBADMSG. */
APMP_CHECK int apmp_tree_fragment(const struct apmp_tree *tree, int32_t desc, uint32_t idx,
				  struct apmp_tree_fragment *ret_fragment);

/* SHMEM_CONFIG_ALL [0172]: shared fragments of a community, at most max of them; returns how
 * many there are.  -EBADMSG. */
APMP_CHECK int apmp_tree_shared_memory(const struct apmp_tree *tree, int32_t community,
				       struct apmp_tree_fragment *fragments, uint32_t max);

/* The three words of a community's database [0275, 0125, 0263]; ID 0 where there is no such
 * community.  May be asked at any time. */
struct apmp_tree_database {
	uint64_t info, other, id;
};
struct apmp_tree_database apmp_tree_database(const struct apmp_tree *tree, int32_t community);

/* The ID field of a partition [0262]; 0 when there is no such partition. */
uint64_t apmp_tree_id_field(const struct apmp_tree *tree, uint32_t id);

/* MEM_CONFIG_PFN [0171]: the fragment that holds this physical address.  -ENOENT, -EBADMSG. */
APMP_CHECK int apmp_tree_memory_at(const struct apmp_tree *tree, uint64_t pa,
				   struct apmp_tree_fragment *ret_fragment);

/* Whether the page at this physical address was tested and is good [0277].  1 or 0; -ENOENT: no
 * such memory; -EBADMSG. */
APMP_CHECK int apmp_tree_page_good(const struct apmp_tree *tree, uint64_t pa);

/* The same for the pages of one granule of a memory descriptor, a bit each; memory that was not
 * marked is good.  -EBADMSG: no descriptor, or not its memory. */
#define APMP_GRANULE_PAGES (APMP_GRANULE / APMP_PAGE_SIZE)
#define APMP_GRANULE_WORDS (APMP_GRANULE_PAGES / 64)
APMP_CHECK int apmp_tree_tested(const struct apmp_tree *tree, int32_t desc, uint64_t granule_pa,
				uint64_t ret_good[APMP_GRANULE_WORDS]);

/* Whether this identity may still run: booted, and not fenced.  One word each, so it
 * may be asked at any time, also in the middle of an update. */
bool apmp_tree_alive(const struct apmp_tree *tree, uint64_t identity);

/* Whether a debugger may hold this life, so that its silence says nothing. */
bool apmp_tree_debugged(const struct apmp_tree *tree, uint64_t identity);

/* The identity of the life that a partition lives now; 0 when it lives none. */
uint64_t apmp_tree_present(const struct apmp_tree *tree, uint32_t id);

/* The partition id behind a handle; APMP_NO_PARTITION when it is none. */
uint32_t apmp_tree_owner_id(const struct apmp_tree *tree, int32_t handle);

/* Words for a node's type and one flag; NULL when there is none. */
const char *apmp_tree_type_name(uint8_t type);

#endif
