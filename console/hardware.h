/*
 * hardware.h - nodes of the hardware, at power on and at hot swap.
 */
#ifndef APMP_CONSOLE_HARDWARE_H
#define APMP_CONSOLE_HARDWARE_H

#include "console/console.h"

#define CONSOLE_BASE_ALLOC    (2 * APMP_GRANULE) /* the least memory that can boot [0077] */
#define CONSOLE_MAX_DESC      64u
#define CONSOLE_MAX_FRAGMENTS 128u
/* The same for every machine: hardware that comes later has room. */
#define CONSOLE_HARDWARE_NODES (APMP_TREE_NODES_MAX / 2)
#define CONSOLE_TREE_SIZE                                                                          \
	apmp_tree_size(CONSOLE_HARDWARE_NODES, CONSOLE_MAX_DESC, CONSOLE_MAX_FRAGMENTS)

#define CONSOLE_FIRST_PA (UINT64_C(1) << 30) /* so that no page frame is 0 */
#define CONSOLE_PA_ALIGN (UINT64_C(1) << 30) /* where memory may begin */

struct console_cpu {
	uint32_t id;
	uint64_t type, revision;
	bool primary; /* may be one [0090] */
};

/* What the tree says of a component; parents are handles. */
struct apmp_tree_spec console_sbb_spec(const struct console *c, uint64_t id);
struct apmp_tree_spec console_cpu_spec(int32_t sbb, const struct console_cpu *cpu);
struct apmp_tree_spec console_iop_spec(int32_t sbb, uint64_t id);
struct apmp_tree_spec console_bus_spec(int32_t iop, uint64_t id);
/* A memory subsystem, and what is part of it: controller, and descriptor of memory at pa. */
struct apmp_tree_spec console_subsystem_spec(int32_t sbb, uint64_t id);
struct apmp_tree_spec console_controller_spec(int32_t sbb, int32_t subsystem, uint64_t id);
struct apmp_tree_spec console_desc_spec(int32_t sbb, int32_t subsystem, uint64_t pa);

/* All that the machine file describes.  -E2BIG, with a sentence in c->why: more nodes than fit. */
APMP_CHECK int console_add_hardware(struct console *c);
uint64_t console_memory_size(const struct console *c);

/* Bytes of a memory descriptor. */
uint64_t console_desc_size(struct console *c, int32_t desc);
/* The flags of a CPU's slot in the HWRPB of a partition with this primary [0067, 0224]. */
uint64_t console_slot_flags(struct console *c, int32_t cpu, int32_t primary);
/* The hardware node of this type and id, also one that was taken out.  -ENOENT, -EBADMSG. */
APMP_CHECK int console_find_hardware(struct console *c, enum gct_node_type type, uint64_t id,
				     struct apmp_tree_node *ret_node);
/* One more than the highest CPU id there is: slots and interrupt lines in use. */
void console_count_cpus(struct console *c);

#endif
