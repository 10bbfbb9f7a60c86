/*
 * image.c - pieces of copied memory, and images as a document that can be kept.
 *
 * WHAT      A document is {apmp_dump, layout, checksum, images: [{machine, t_ns, tree, lines,
 *           ranges: [{pa, size, data}]}]}; an image in it is just what method Memory answers.  The
 *           checksum (FNV-1a) is of the images as compact JSON with sorted keys, so it outlives a
 *           rewrite by jq.
 * LIMITS    IMAGE_PIECES_MAX pieces of IMAGE_BYTES_MAX bytes.  The checksum finds damage, it is no
 *           signature.
 */
#include "shm/wire/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/layout_db.h"
#include "shm/layout_gct.h"
#include "shm/layout_hwrpb.h"
#include "shm/layout_intr.h"
#include "shm/layout_lock.h"
#include "shm/layout_recorder.h"
#include "shm/wire/base64.h"

#define DOCUMENT_VERSION 1

static uint64_t fnv(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t image_layout(void)
{
	static const uint64_t sizes[] = {
	    sizeof(struct gct_node),
	    sizeof(struct gct_root_node),
	    sizeof(struct gct_community_node),
	    sizeof(struct gct_partition_node),
	    sizeof(struct gct_cpu_node),
	    sizeof(struct gct_mem_desc_node),
	    sizeof(struct gct_mem_desc),
	    sizeof(struct hwrpb),
	    sizeof(struct apmp_db),
	    sizeof(struct apmp_db_pfn_list),
	    sizeof(struct apmp_db_cpu_sets),
	    sizeof(struct apmp_db_lock),
	    sizeof(struct apmp_db_locks),
	    sizeof(struct apmp_intr_line),
	    sizeof(struct apmp_recorder),
	};

	/* 63 bits: JSON has signed numbers. */
	return fnv(apmp_fingerprint(0), sizes, sizeof(sizes)) & INT64_MAX;
}

void image_fini(struct image *image)
{
	for (uint32_t i = 0; i < image->count; i++)
		free(image->piece[i].data);
	memset(image, 0, sizeof(*image));
}

static bool overlaps(const struct image_piece *piece, uint64_t pa, uint64_t size)
{
	return pa < piece->pa + piece->size && piece->pa < pa + size;
}

int image_add(struct image *image, uint64_t pa, const void *data, uint64_t size)
{
	struct image_piece *piece = &image->piece[image->count];

	if (pa % 8 || size % 8 || !size || pa + size < pa)
		return -EINVAL;
	if (image->count == IMAGE_PIECES_MAX || size > IMAGE_BYTES_MAX)
		return -ENOSPC;
	for (uint32_t i = 0; i < image->count; i++)
		if (overlaps(&image->piece[i], pa, size))
			return -EINVAL;
	*piece = (struct image_piece){.pa = pa, .size = size, .data = malloc(size)};
	if (!piece->data)
		return -ENOMEM;
	memcpy(piece->data, data, size);
	image->count++;
	return 0;
}

void image_join(struct image *image, struct image *more)
{
	for (uint32_t i = 0; i < more->count && image->count < IMAGE_PIECES_MAX; i++) {
		image->piece[image->count++] = more->piece[i];
		more->piece[i].data = NULL;
	}
	image->t_ns = more->t_ns;
	image_fini(more);
}

const void *image_at(const struct image *image, uint64_t pa, uint64_t size)
{
	for (uint32_t i = 0; i < image->count && pa % 8 == 0; i++) {
		const struct image_piece *piece = &image->piece[i];

		if (pa >= piece->pa && pa - piece->pa <= piece->size &&
		    piece->size - (pa - piece->pa) >= size)
			return piece->data + (pa - piece->pa);
	}
	return NULL;
}

/* ---- the document ---- */

static json_t *piece_json(const struct image_piece *piece)
{
	size_t length = BASE64_SIZE(piece->size);
	char *text = malloc(length);
	json_t *data = NULL;

	if (text) {
		base64_encode(piece->data, piece->size, text);
		data = json_stringn_nocheck(text, length);
	}
	free(text);
	return json_pack("{s:I,s:I,s:o}", "pa", (json_int_t)piece->pa, "size",
			 (json_int_t)piece->size, "data", data);
}

static json_t *image_json(const struct image *image)
{
	json_t *pieces = json_array();

	for (uint32_t i = 0; i < image->count; i++)
		json_array_append_new(pieces, piece_json(&image->piece[i]));
	return json_pack("{s:s,s:I,s:I,s:I,s:o}", "machine", image->machine, "t_ns",
			 (json_int_t)image->t_ns, "tree", (json_int_t)image->tree_pa, "lines",
			 (json_int_t)image->lines_pa, "ranges", pieces);
}

/* Of the same images the same, whoever wrote them down.  NULL: no memory. */
static json_t *checksum(const json_t *images)
{
	char *text = json_dumps(images, JSON_COMPACT | JSON_SORT_KEYS);
	char number[17];
	uint64_t sum;

	if (!text)
		return NULL;
	sum = fnv(UINT64_C(0xcbf29ce484222325), text, strlen(text));
	free(text);
	for (int i = 15; i >= 0; i--, sum >>= 4)
		number[i] = "0123456789abcdef"[sum & 15];
	number[16] = '\0';
	return json_string(number);
}

json_t *image_document(const struct image *images, uint32_t count)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, image_json(&images[i]));
	return json_pack("{s:i,s:I,s:o,s:o}", "apmp_dump", DOCUMENT_VERSION, "layout",
			 (json_int_t)image_layout(), "checksum", checksum(list), "images", list);
}

static int read_piece(struct image *image, const json_t *piece)
{
	const json_t *data = json_object_get(piece, "data");
	json_int_t pa = json_integer_value(json_object_get(piece, "pa"));
	json_int_t size = json_integer_value(json_object_get(piece, "size"));
	unsigned char *copy;
	int err;

	if (!data)
		return 0; /* nothing was there */
	if (pa < 0 || size <= 0 || (uint64_t)size > IMAGE_BYTES_MAX)
		return -EBADMSG;
	copy = malloc((size_t)size);
	if (!copy)
		return -ENOMEM;
	err = json_is_string(data) ? base64_decode(json_string_value(data),
						   json_string_length(data), copy, (size_t)size)
				   : -EBADMSG;
	if (!err)
		err = image_add(image, (uint64_t)pa, copy, (uint64_t)size);
	free(copy);
	return err == -ENOMEM || !err ? err : -EBADMSG;
}

int image_read(const json_t *object, struct image *ret_image)
{
	const json_t *ranges = json_object_get(object, "ranges"), *piece;
	const char *machine = json_string_value(json_object_get(object, "machine"));
	size_t i;
	int err = json_is_array(ranges) && machine ? 0 : -EBADMSG;

	*ret_image = (struct image){
	    .t_ns = (uint64_t)json_integer_value(json_object_get(object, "t_ns")),
	    .tree_pa = (uint64_t)json_integer_value(json_object_get(object, "tree")),
	    .lines_pa = (uint64_t)json_integer_value(json_object_get(object, "lines"))};
	for (i = 0; machine && machine[i] && i < sizeof(ret_image->machine) - 1; i++)
		ret_image->machine[i] = machine[i];
	json_array_foreach(ranges, i, piece)
	{
		if (!err)
			err = read_piece(ret_image, piece);
	}
	if (err)
		image_fini(ret_image);
	return err;
}

/* What is wrong with the document as a whole; NULL: nothing. */
static const char *refuse(const json_t *document, const json_t *images, uint32_t max)
{
	json_t *sum;
	bool same;

	if (json_integer_value(json_object_get(document, "apmp_dump")) != DOCUMENT_VERSION)
		return "it is no dump of this version";
	if (json_integer_value(json_object_get(document, "layout")) != (json_int_t)image_layout())
		return "it was written by a build with other layouts of shared memory";
	if (!json_is_array(images) || !json_array_size(images) || json_array_size(images) > max)
		return "it has no images, or too many";
	sum = checksum(images);
	same = sum && json_equal(sum, json_object_get(document, "checksum"));
	json_decref(sum);
	return same ? NULL : "its checksum is wrong: it was changed, or is not all there";
}

int image_undocument(const json_t *document, struct image *ret_images, uint32_t max,
		     const char **ret_why)
{
	const json_t *images = json_object_get(document, "images"), *image;
	uint32_t count = 0;
	size_t i;

	*ret_why = refuse(document, images, max);
	if (*ret_why)
		return -EBADMSG;
	json_array_foreach(images, i, image)
	{
		int err = image_read(image, &ret_images[count]);

		if (!err) {
			count++;
			continue;
		}
		while (count > 0)
			image_fini(&ret_images[--count]);
		*ret_why = "one of its images has pieces that are none";
		return err;
	}
	return (int)count;
}
