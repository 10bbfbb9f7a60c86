/*
 * from_outside.h - the memory of a running machine, seen by somebody whom it does not know of: the
 * descriptors of its box, through /proc, mapped readable.
 */
#ifndef APMP_CHAOS_FROM_OUTSIDE_H
#define APMP_CHAOS_FROM_OUTSIDE_H

#include "chaos/machine.h"
#include "shm/layout_console.h"
#include "shm/layout_hwrpb.h"
#include "shm/layout_intr.h"
#include "shm/tree.h"

struct outside {
	struct apmp_tree tree;
	uint64_t tree_size;
	const struct apmp_intr_line *lines;
	const struct apmp_console_state *state;
	const struct hwrpb *hwrpb[APMP_MAX_PARTITIONS]; /* by partition id; NULL: there is none */
};

/* -EACCES: the processes of the machine are another user's; -ENOENT: an object is missing;
 * -EBADMSG: the machine is of another build.  Zeroed is closed. */
APMP_CHECK int outside_open(const struct machine *machine, struct outside *ret);
void outside_close(struct outside *o);

#endif
