/*
 * image.h - the memory of a running machine, copied: what looks at it without trusting it.
 *
 * An image is pieces of physical memory as they stood at one moment, or (a large one) at moments
 * that follow each other.  What reads it shares the layouts with the machine and none of its code:
 * whatever is read may be anything, and is asked for by its address and size; what is not all there
 * is not there.
 */
#ifndef APMP_SHM_WIRE_IMAGE_H
#define APMP_SHM_WIRE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "shm/layout_common.h"
#include "shm/wire/varlink.h"

/* Bytes that the console gives in one answer, and pieces of it. */
#define IMAGE_BYTES_MAX	 (UINT64_C(4) << 20)
#define IMAGE_PIECES_MAX 512u

struct image_piece {
	uint64_t pa, size;
	unsigned char *data; /* as aligned as pa is, up to 16 */
};

struct image {
	char machine[APMP_NAME_SIZE];
	uint64_t t_ns;		    /* CLOCK_MONOTONIC of the machine when it was taken */
	uint64_t tree_pa, lines_pa; /* where the configuration tree is, and the interrupt lines */
	uint32_t count;
	struct image_piece piece[IMAGE_PIECES_MAX]; /* disjoint */
};

/* One number of all shared layouts: images of another one can't be read. */
uint64_t image_layout(void);

/* Zeroed is empty. */
void image_fini(struct image *image);

/* Adds a copy of size bytes that stand at pa.  -EINVAL: not a multiple of 8, or a part is there
 * already; -ENOSPC: too many pieces, too many bytes; -ENOMEM. */
VARLINK_MUST_CHECK int image_add(struct image *image, uint64_t pa, const void *data, uint64_t size);

/* Moves the pieces of another image, of disjoint memory, into this one, and its time. */
void image_join(struct image *image, struct image *more);

/* The copy of size bytes at pa, a multiple of 8; NULL: not all of it is in one piece. */
const void *image_at(const struct image *image, uint64_t pa, uint64_t size);

/* An image from an answer of method Memory, or of a document.  -EBADMSG; -ENOMEM. */
VARLINK_MUST_CHECK int image_read(const json_t *object, struct image *ret_image);

/* The images as one document with a checksum, and back.  A new reference; NULL: no memory. */
json_t *image_document(const struct image *images, uint32_t count);
/* At most max of them, oldest first.  How many; -EBADMSG: *ret_why, a text that stays, says what is
 * wrong with it; -ENOMEM. */
VARLINK_MUST_CHECK int image_undocument(const json_t *document, struct image *ret_images,
					uint32_t max, const char **ret_why);

/* ---- image_fetch.c ---- */

/* What an image is to hold besides the tree. */
#define IMAGE_CPUS	0x1u /* HWRPBs, interrupt lines, heads of the flight recorders */
#define IMAGE_DATABASES 0x2u /* both ranges of each community, all pages */

/* Ranges that were wanted the last time: then one round is enough the next time.  Zeroed: none. */
struct image_plan {
	uint32_t count;
	struct {
		uint64_t pa, size;
	} range[IMAGE_PIECES_MAX];
};

/* Takes an image of the machine behind the client.  0; -EREMOTEIO: it was refused, and *ret_reply,
 * which must be given to varlink_reply_fini, says why; -EBADMSG: an answer that is none; -EPROTO:
 * the machine is of a build with other layouts; -EAGAIN: where things are changed again and again;
 * what varlink_client_call said; -ENOMEM. */
VARLINK_MUST_CHECK int image_fetch(struct varlink_client *client, unsigned what,
				   struct image_plan *plan, struct image *ret_image,
				   struct varlink_reply *ret_reply);

#endif
