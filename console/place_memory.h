/*
 * place_memory.h - where memory for an owner is to be taken from [0092-0097].
 */
#ifndef APMP_CONSOLE_PLACE_MEMORY_H
#define APMP_CONSOLE_PLACE_MEMORY_H

#include "console/console.h"

#define CONSOLE_PIECES 64u

struct console_piece {
	int32_t desc; /* the descriptor it lies in */
	uint64_t pa, size;
};

/*
 * Plans size bytes for a partition or community, in as few pieces as there must be; near is the
 * handle of an SBB, or GCT_NONE.  The first piece has at least first_min bytes.  Changes nothing.
 * The count of pieces; -ENOMEM: *ret_had is how much there is; ret_pieces is then of no use.
 */
APMP_CHECK int console_plan_memory(struct console *c, int32_t owner, int32_t near, uint64_t size,
				   uint64_t first_min,
				   struct console_piece ret_pieces[CONSOLE_PIECES],
				   uint64_t *ret_had);

#endif
