/*
 * image_tree.h - the configuration tree and the database in an image, read without trusting them.
 */
#ifndef APMP_SHM_WIRE_IMAGE_TREE_H
#define APMP_SHM_WIRE_IMAGE_TREE_H

#include "shm/layout_db.h"
#include "shm/layout_gct.h"
#include "shm/layout_hwrpb.h"
#include "shm/wire/image.h"

struct image_tree {
	const unsigned char *root; /* NULL: there is none */
	uint64_t size;		   /* bytes from the root on that are in the image */
};

/* The tree of an image.  -ENOENT: not even a root. */
VARLINK_MUST_CHECK int image_tree(const struct image *image, struct image_tree *ret_tree);

/* size bytes at an offset from the root; NULL: not all inside. */
const void *image_tree_at(const struct image_tree *tree, int64_t off, uint64_t size);
static inline const struct gct_root_node *image_root(const struct image_tree *tree)
{
	return (const void *)tree->root;
}
/* The node at a handle; of a partition, community or CPU by id: of that type, and with all of its
 * structure inside.  NULL. */
const struct gct_node *image_node(const struct image_tree *tree, int32_t handle);
const struct gct_partition_node *image_partition(const struct image_tree *tree, uint32_t id);
const struct gct_community_node *image_community(const struct image_tree *tree, uint32_t id);

/* A name of at most size bytes in shared memory: the caller's copy ends with NUL and has nothing in
 * it that a terminal would obey. */
void image_name(const char *shared, size_t size, char *ret_name, size_t ret_size);
#define IMAGE_NAME(shared, name) image_name((shared), sizeof(shared), (name), sizeof(name))

/* The identity of the life that a partition lives now by the tree; 0. */
uint64_t image_present(const struct gct_partition_node *p);

/* ---- the database (image_db.c) ---- */

/* All pages of one of the two ranges, side by side. */
struct image_db {
	uint64_t info;			 /* of the tree: [31:0] first page frame, [63:32] pages */
	uint32_t page_count;		 /* of the header, as far as it can be one; else 0 */
	uint64_t pfn[APMP_DB_MAX_PAGES]; /* where each page is */
	bool there[APMP_DB_MAX_PAGES];	 /* it is in the image */
	bool list_odd;			 /* there is a PFN list, and it is none */
	_Alignas(64) unsigned char bytes[APMP_DB_MAX_PAGES * APMP_PAGE_SIZE];
};

/* Puts together what the image has of the database at this range; pages that it has not are zero.
 * -ENOENT: not even the initial piece. */
VARLINK_MUST_CHECK int image_db(const struct image *image, uint64_t info, struct image_db *ret_db);

static inline const struct apmp_db *image_db_head(const struct image_db *db)
{
	return (const void *)db->bytes;
}

/* size bytes at an offset; NULL: not all inside of the database's pages. */
const void *image_db_at(const struct image_db *db, uint64_t off, uint64_t size);

#endif
