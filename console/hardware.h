/*
 * hardware.h - nodes of the hardware: one way to make each, at power on and at hot swap.
 *
 * All inside an update, or before the tree is published.  Each returns a handle, or -ENOSPC: the
 * tree's pool is used up.
 */
#ifndef APMP_CONSOLE_HARDWARE_H
#define APMP_CONSOLE_HARDWARE_H

#include "console/console.h"

#define CONSOLE_BASE_ALLOC    (2 * APMP_GRANULE) /* the least memory that can boot [0077] */
#define CONSOLE_MAX_DESC      64u
#define CONSOLE_MAX_FRAGMENTS 128u
/* An update may have to store two words for each node, and some besides: names, flags, HWRPBs. */
#define CONSOLE_JOURNAL_SPARE  512u
#define CONSOLE_HARDWARE_NODES ((APMP_JOURNAL_ENTRIES - CONSOLE_JOURNAL_SPARE) / 2)
/* The same for every machine: hardware that comes later has room. */
#define CONSOLE_TREE_SIZE                                                                          \
	apmp_tree_size(CONSOLE_HARDWARE_NODES, CONSOLE_MAX_DESC, CONSOLE_MAX_FRAGMENTS)

#define CONSOLE_FIRST_PA (UINT64_C(1) << 30) /* so that no page frame is 0 */
#define CONSOLE_PA_ALIGN (UINT64_C(1) << 30) /* where memory may begin */

struct console_cpu {
	uint32_t id;
	uint64_t type, revision;
	bool primary; /* may be one [0090] */
};

APMP_CHECK int32_t console_add_sbb(struct console *c, uint64_t id);
APMP_CHECK int32_t console_add_cpu(struct console *c, int32_t sbb, const struct console_cpu *cpu);
/* A memory subsystem with one controller and one descriptor; the subsystem's handle. */
APMP_CHECK int32_t console_add_memory(struct console *c, int32_t sbb, uint64_t id, uint64_t pa,
				      uint64_t size);
APMP_CHECK int32_t console_add_iop(struct console *c, int32_t sbb, uint64_t id);
APMP_CHECK int32_t console_add_bus(struct console *c, int32_t iop, uint64_t id, size_t disks);

/* All that the machine file describes.  -E2BIG, with a sentence in c->why: more nodes than fit. */
APMP_CHECK int console_add_hardware(struct console *c);
uint64_t console_memory_size(const struct console *c);

/* The hardware node of this type and id, also one that was taken out.  -ENOENT, -EBADMSG. */
APMP_CHECK int console_find_hardware(struct console *c, enum gct_node_type type, uint64_t id,
				     struct apmp_tree_node *ret_node);
/* One more than the highest CPU id there is: slots and interrupt lines in use. */
void console_count_cpus(struct console *c);

#endif
