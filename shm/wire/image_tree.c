/* image_tree.c - the configuration tree in an image. */
#include "shm/wire/image_tree.h"

#include <errno.h>

int image_tree(const struct image *image, struct image_tree *ret_tree)
{
	*ret_tree = (struct image_tree){0};
	for (uint32_t i = 0; i < image->count; i++) {
		const struct image_piece *piece = &image->piece[i];

		if (piece->pa != image->tree_pa ||
		    piece->size < sizeof(struct gct_header) + sizeof(struct gct_root_node))
			continue;
		*ret_tree = (struct image_tree){.root = piece->data + sizeof(struct gct_header),
						.size = piece->size - sizeof(struct gct_header)};
		return 0;
	}
	return -ENOENT;
}

const void *image_tree_at(const struct image_tree *tree, int64_t off, uint64_t size)
{
	if (off < 0 || off % 8 || (uint64_t)off > tree->size || tree->size - (uint64_t)off < size)
		return NULL;
	return tree->root + off;
}

/* Bytes that a node's structure has. */
static uint64_t size_of(const struct gct_node *n)
{
	/* A template is a header alone; software has none. */
	if (n->node_flags & NODE_HW_TEMPLATE && n->type >= GCT_SBB)
		return sizeof(struct gct_node);
	switch ((uint8_t)n->type) {
	case GCT_ROOT:
		return sizeof(struct gct_root_node);
	case GCT_COMMUNITY:
		return sizeof(struct gct_community_node);
	case GCT_PARTITION:
		return sizeof(struct gct_partition_node);
	case GCT_CPU:
		return sizeof(struct gct_cpu_node);
	case GCT_MEMORY_DESC:
		return sizeof(struct gct_mem_desc_node);
	default:
		return sizeof(struct gct_node);
	}
}

const struct gct_node *image_node(const struct image_tree *tree, int32_t handle)
{
	const struct gct_node *node = handle % (int32_t)GCT_ALIGN
					  ? NULL
					  : image_tree_at(tree, handle, sizeof(struct gct_node));

	if (!node || node->magic != GCT_MAGIC || node->size != size_of(node))
		return NULL;
	return image_tree_at(tree, handle, node->size);
}

/* The node at index id of the array at this offset. */
static const struct gct_node *indexed(const struct image_tree *tree, int32_t array, uint32_t id,
				      enum gct_node_type type)
{
	const int32_t *handle = image_tree_at(tree, array, APMP_MAX_PARTITIONS * sizeof(*handle));
	const struct gct_node *node;

	if (id >= APMP_MAX_PARTITIONS || array <= 0 || !handle || handle[id] == GCT_NONE)
		return NULL;
	node = image_node(tree, handle[id]);
	return node && node->type == type && node->id == id ? node : NULL;
}

const struct gct_partition_node *image_partition(const struct image_tree *tree, uint32_t id)
{
	return (const void *)indexed(tree, image_root(tree)->partitions, id, GCT_PARTITION);
}

const struct gct_community_node *image_community(const struct image_tree *tree, uint32_t id)
{
	return (const void *)indexed(tree, image_root(tree)->communities, id, GCT_COMMUNITY);
}

void image_name(const char *shared, size_t size, char *ret_name, size_t ret_size)
{
	size_t i = 0;

	for (; i < size && i + 1 < ret_size && shared[i]; i++)
		ret_name[i] = shared[i] >= ' ' && shared[i] <= '~' ? shared[i] : '?';
	ret_name[i] = '\0';
}

uint64_t image_present(const struct gct_partition_node *p)
{
	uint64_t incarnation = p->incarnation;

	return incarnation && p->fenced < incarnation
		   ? apmp_identity((uint32_t)p->hd.id, incarnation)
		   : 0;
}
