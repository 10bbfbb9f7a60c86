/*
 * core.h - what a failed partition leaves: an ELF core of physical memory [0298], [0299] step 2610.
 *
 * ET_CORE with a PT_NOTE and a PT_LOAD for each piece, whose p_paddr and p_vaddr are its physical
 * address.  Pages of zeros are holes of the file; a piece that was left out has p_filesz 0.  The
 * notes are of "APMP": CORE_NOTE_TEXT, one JSON object (what it holds: apmpd/PROTOCOL.md), and
 * CORE_NOTE_SUMS, 64-bit words: of each piece, then of the head itself with zero in that place.
 * So readelf and gdb read it, and whoever reads it knows whether it is what was written.
 */
#ifndef APMP_SHM_WIRE_CORE_H
#define APMP_SHM_WIRE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "shm/layout_common.h"
#include "shm/wire/image.h"

#define CORE_NOTE_NAME	"APMP"
#define CORE_NOTE_TEXT	0x41504d01u
#define CORE_NOTE_SUMS	0x41504d02u
#define CORE_PIECES_MAX 512u
#define CORE_TEXT_MAX	(1u << 20)

struct core_piece {
	uint64_t pa, size; /* whole pages */
	uint64_t off;	   /* in the file */
	uint64_t sum;	   /* of what is in the file */
	bool left_out;
};

/* ---- core_write.c ---- */

/* Goes on with a sum: FNV-1a by words of 64 bits. */
uint64_t core_sum(uint64_t sum, const void *data, size_t size);
/* Goes on with the sum of a piece: its page of this number, not counted when it is zero. */
uint64_t core_sum_page(uint64_t sum, uint64_t page_idx, const void *page);
bool core_page_zero(const void *page);

/* Where each piece is in the file; returns the file's size.  -EINVAL: no pieces or too many, not
 * whole pages, or the text is too long. */
VARLINK_MUST_CHECK int64_t core_place(struct core_piece *pieces, uint32_t count, size_t text_size);

/* The head, up to the first piece: whole pages, to be freed.  NULL: no memory. */
void *core_head(const struct core_piece *pieces, uint32_t count, const char *text, size_t text_size,
		size_t *ret_size);

/* ---- core_read.c ---- */

struct core {
	int fd;
	uint64_t file_size;
	bool cut; /* the file ends before its memory does */
	json_t *text;
	uint32_t count;
	struct core_piece piece[CORE_PIECES_MAX]; /* disjoint, whole pages */
};

/* Whether a file is to be read by core_open(): it begins as an ELF file does. */
bool core_is_one(int fd);

/* Reads the head of a core; the descriptor is the core's from then on.  -EBADMSG: *ret_why, which
 * stays, says what is wrong with it; -ENOMEM; -errno of read. */
VARLINK_MUST_CHECK int core_open(int fd, struct core *ret_core, const char **ret_why);
void core_close(struct core *core);

/* How many bytes of a piece the file does not have, because it was cut. */
uint64_t core_missing(const struct core *core, const struct core_piece *piece);

/* Reads all pieces: the first whose sum is wrong, or that is not all there; count: all are as they
 * were written.  -errno. */
VARLINK_MUST_CHECK int core_verify(const struct core *core);

/* size bytes at pa, out of one piece.  -ENOENT: they are in none; -ENODATA: it was left out;
 * -ERANGE: the file was cut before them; -errno of read. */
VARLINK_MUST_CHECK int core_read(const struct core *core, uint64_t pa, void *to, uint64_t size);

/* What its text says of it: machine, t_ns, tree, lines, and all memory that is there but what is
 * private.
 * -EBADMSG: of other layouts, or no pieces of an image; -ENOMEM; -errno of read. */
VARLINK_MUST_CHECK int core_image(const struct core *core, struct image *ret_image,
				  const char **ret_why);

#endif
