/*
 * tree_write.h - changing the configuration tree: the console's powers alone.
 *
 * Before apmp_tree_publish stores are plain; afterwards every function here but those that say
 * otherwise is called inside an update (shm/update.h).
 */
#ifndef APMP_SHM_TREE_WRITE_H
#define APMP_SHM_TREE_WRITE_H

#include "shm/tree.h"
#include "shm/update.h"

struct apmp_tree_writer {
	struct apmp_tree tree; /* to read it with */
	struct apmp_update *up;
	unsigned char *root;
	bool published;
};

/* What the platform is like [0084].  Sizes and alignments of fragments: 0 is a granule, of base
 * memory as of other fragments. */
struct apmp_tree_limits {
	uint64_t console_req, min_alloc, min_align, base_alloc, base_align;
	uint64_t max_phys_address, mem_size;
	uint32_t max_fragments, max_desc;
	const char *platform; /* its name, shorter than APMP_NAME_SIZE */
};

/* So that an update that stores into every node twice, or rearranges all fragments of one
 * descriptor, fits into the journal. */
#define APMP_TREE_NODES_MAX	((APMP_JOURNAL_ENTRIES - APMP_UPDATE_SPARE) / 2)
#define APMP_TREE_FRAGMENTS_MAX ((APMP_JOURNAL_ENTRIES - APMP_UPDATE_SPARE) / 10)

#define APMP_TREE_BITMAPS (UINT64_C(64) << 10) /* bytes of the pool for tested-memory bitmaps */

/* Bytes of a tree for so many hardware nodes, and as many again that come by hot swap; a multiple
 * of the page. */
uint64_t apmp_tree_size(uint32_t hardware_nodes, uint32_t max_desc, uint32_t max_fragments);

/* Begins a tree in zeroed memory: header, root, hardware, software and template roots, arrays. */
void apmp_tree_create(struct apmp_tree_writer *tw, struct apmp_update *up, void *base,
		      uint64_t size, const struct apmp_tree_limits *limits);
/* Uses a tree that is there: a restarted console.  -EBADMSG, -ENOSPC. */
APMP_CHECK int apmp_tree_adopt(struct apmp_tree_writer *tw, struct apmp_update *up, void *base,
			       uint64_t size);
/* Checksum, then the fingerprint: from here on everyone may read it. */
void apmp_tree_publish(struct apmp_tree_writer *tw);

/* The roots' handles [0072]. */
int32_t apmp_tree_root(const struct apmp_tree_writer *tw, enum gct_node_type type);

struct apmp_tree_spec {
	int32_t parent;
	enum gct_node_type type;
	uint8_t subtype;
	uint64_t id, flags;
	int32_t config, affinity;	 /* 0: the hardware root */
	uint64_t cpu_type, cpu_revision; /* of a CPU [0224] */
};

/* Adds a node as the parent's last child.  Its handle, or -ENOSPC: the pool is used up. */
APMP_CHECK int32_t apmp_tree_add(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec);
/* A memory descriptor with one fragment, unowned, that covers it.  Handle or -ENOSPC. */
APMP_CHECK int32_t apmp_tree_add_memory(struct apmp_tree_writer *tw,
					const struct apmp_tree_spec *spec, uint64_t pa,
					uint64_t size);
/* The same when it comes into a box that is on: mem_size follows. */
APMP_CHECK int32_t apmp_tree_insert_memory(struct apmp_tree_writer *tw,
					   const struct apmp_tree_spec *spec, uint64_t pa,
					   uint64_t size);
/* Hot swap [0074]: a node and all below it, which nobody owns or uses, become unavailable; and one
 * comes back, with what can't be powered by itself below it.  mem_size follows. */
void apmp_tree_take_out(struct apmp_tree_writer *tw, int32_t handle);
void apmp_tree_bring_back(struct apmp_tree_writer *tw, int32_t handle,
			  const struct apmp_tree_spec *spec);
/* Dense ids [0071]: the first that is free.  The id, or -ENOSPC: ids or pool are used up. */
APMP_CHECK int apmp_tree_add_community(struct apmp_tree_writer *tw, const char *name);
APMP_CHECK int apmp_tree_add_partition(struct apmp_tree_writer *tw, int32_t community,
				       const char *name, uint64_t hwrpb_pa);

/* Both set the node and all that is bound to it by its config handle [0101]. */
void apmp_tree_set_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner);
void apmp_tree_set_current_owner(struct apmp_tree_writer *tw, int32_t handle, int32_t owner);
void apmp_tree_set_flags(struct apmp_tree_writer *tw, int32_t handle, uint64_t clear, uint64_t set);
/* Cuts size bytes off an unowned fragment of the descriptor and gives them to owner, who uses them
 * at once.
 * -ENOSPC: no unowned fragment is large enough, or no fragment is left to describe it. */
APMP_CHECK int apmp_tree_take_memory(struct apmp_tree_writer *tw, int32_t desc, uint64_t size,
				     int32_t owner, uint32_t flags, uint64_t *ret_pa);

/* Fields of a partition's node: where its HWRPB is [0088], GCT_POLICY_*, the ID field [0262]. */
void apmp_tree_set_hwrpb(struct apmp_tree_writer *tw, uint32_t id, uint64_t hwrpb_pa);
void apmp_tree_set_policy(struct apmp_tree_writer *tw, uint32_t id, uint64_t policy);
void apmp_tree_set_id_field(struct apmp_tree_writer *tw, uint32_t id, uint64_t value);
/* apmpdb_id + 1 is the community's last ID from now on [0263]; returns it. */
uint64_t apmp_tree_next_database_id(struct apmp_tree_writer *tw, int32_t community);

/* A partition begins another life [0088, 0262]: incarnation + 1, initialized, instance name, no ID
 * field.  Returns its incarnation. */
uint64_t apmp_tree_partition_boot(struct apmp_tree_writer *tw, uint32_t id,
				  const char *instance_name);
/* Every incarnation up to this one is fenced.  One store, outside of any update: it is the truth.
 */
void apmp_tree_set_fenced(struct apmp_tree_writer *tw, uint32_t id, uint64_t incarnation);
/* A debugger may hold this incarnation; 0: none.  One store, outside of any update. */
void apmp_tree_set_debugged(struct apmp_tree_writer *tw, uint32_t id, uint64_t incarnation);
/* set_APMPDB_info [0278]: -EAGAIN when the field does not hold old_info; -ENOENT.  One
 * compare-and-swap, outside of any update.  When it leaves a range, apmpdb_id rises before. */
APMP_CHECK int apmp_tree_set_apmpdb_info(struct apmp_tree_writer *tw, uint32_t community_id,
					 uint64_t old_info, uint64_t new_info);
/* The same for the other range [0125]; apmpdb_id stays. */
APMP_CHECK int apmp_tree_set_apmpdb_other(struct apmp_tree_writer *tw, uint32_t community_id,
					  uint64_t old_info, uint64_t new_info);

/*
 * What shm/configure.c is made of; it alone checks the rules.  All inside an update.
 */

/* A community without members, or a partition, is deleted [0116]: flagged UNAVAILABLE, out of its
 * array and of its parent's children, on the lookaside list for the next one of its type and id
 * [0085]; everything that it owned is unowned. */
void apmp_tree_delete_software(struct apmp_tree_writer *tw, int32_t handle);
/* A partition goes below another community, or below the software root (0). */
void apmp_tree_move_partition(struct apmp_tree_writer *tw, int32_t handle, int32_t community);
/* Sets owner, and with current also current_owner, of the part [pa, pa + size) of one fragment: it
 * becomes a fragment of its own, and unowned neighbours that touch become one.
 * -ENOENT: no fragment holds all of it; -ENOSPC: max_fragments. */
APMP_CHECK int apmp_tree_set_fragment(struct apmp_tree_writer *tw, uint64_t pa, uint64_t size,
				      int32_t owner, bool current, uint32_t flags);
/* A partition initializes [0102, 0103]: current_owner follows owner where it is null and the
 * partition or its community is owner; it is cleared where nobody is owner and the partition is
 * current_owner, or its community while no other partition of it is initialized.  Memory
 * subsystems that have become empty by that are given up. */
void apmp_tree_initialize_owner(struct apmp_tree_writer *tw, int32_t partition);
/* A partition's life has ended: what it used and nobody owns is out of use, as at its next
 * initialization; so whoever lost it to the administrator need not boot again for that. */
void apmp_tree_end_use(struct apmp_tree_writer *tw, int32_t partition);
/* The tree lock [0085], one store each.  -EAGAIN: somebody holds it.  The console lets go for a
 * holder that was fenced. */
APMP_CHECK int apmp_tree_lock(struct apmp_tree_writer *tw, uint32_t partition_id);
void apmp_tree_unlock(struct apmp_tree_writer *tw, uint32_t partition_id);
/* Marks a page of a memory descriptor bad in its tested-memory bitmap [0277], which is made when
 * this is the first one.  -ENOENT: it has no such page; -ENOSPC: no room for a bitmap. */
APMP_CHECK int apmp_tree_mark_bad(struct apmp_tree_writer *tw, int32_t desc, uint64_t page_idx);

#endif
