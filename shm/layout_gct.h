/*
 * layout_gct.h - the configuration tree, structure for structure as [0080]-[0097].
 *
 * W: the console alone, inside an update (shm/update.h) once the tree is published.
 * R: everyone, through shm/tree.h; instances hold a descriptor that can't be mapped writable.
 * The comment of each structure holds for all of its fields unless a field says otherwise.
 *
 * The C names of fields are those of the specification.  What we add stands behind the last field
 * of the specification's structure (a node says its own size) and is marked "ours".
 */
#ifndef APMP_SHM_LAYOUT_GCT_H
#define APMP_SHM_LAYOUT_GCT_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* Node types.  0 is invalid. */
#define GCT_NODE_TYPES(X)                                                                          \
	X(ROOT, 1, "root")                                                                         \
	X(HW_ROOT, 2, "hardware_root")                                                             \
	X(SW_ROOT, 3, "software_root")                                                             \
	X(TEMPLATE_ROOT, 4, "template_root")                                                       \
	X(COMMUNITY, 5, "community")                                                               \
	X(PARTITION, 6, "partition")                                                               \
	X(SBB, 7, "sbb")                                                                           \
	X(CPU, 8, "cpu")                                                                           \
	X(MEMORY_SUB, 9, "memory_subsystem")                                                       \
	X(MEMORY_CTRL, 10, "memory_controller")                                                    \
	X(MEMORY_DESC, 11, "memory_descriptor")                                                    \
	X(IOP, 12, "iop")                                                                          \
	X(BUS, 13, "bus")                                                                          \
	X(IO_CTRL, 14, "device_controller")

enum gct_node_type {
#define X(name, value, text) GCT_##name = value,
	GCT_NODE_TYPES(X)
#undef X
};

/* CPU subtypes: a CPU that can't be primary is marked by its subtype [0090]. */
#define GCT_CPU_PRIMARY_CAPABLE 0u
#define GCT_CPU_SECONDARY_ONLY	1u

#define NODE_HARDWARE	 0x001u
#define NODE_HOTSWAP	 0x002u
#define NODE_UNAVAILABLE 0x004u
#define NODE_HW_TEMPLATE 0x008u
#define NODE_INITIALIZED 0x010u
#define NODE_PRIMARY	 0x020u

#define GCT_MAGIC 0x21544347u /* "GCT!" */
#define GCT_ALIGN 64u	      /* node sizes and offsets are multiples of this [0082] */
#define GCT_NONE  0	      /* the null owner is the root's handle [0072] */

/* W: console, once, before the tree is published.  R: everyone.  [0080] */
struct gct_header {
	_Atomic uint64_t size;	      /* bytes of the whole pool, header included */
	_Atomic uint64_t checksum;    /* of header and nodes when the console published them */
	_Atomic uint64_t fingerprint; /* ours: apmp_fingerprint(size), written last */
	uint64_t reserved[5];	      /* zero */
};

static_assert(sizeof(struct gct_header) == 64, "[0080]");

/* W: console in an update.  R: everyone.  [0082] */
struct gct_node {
	_Atomic uint8_t type;
	_Atomic uint8_t subtype;
	_Atomic uint16_t size;
	_Atomic int32_t owner;
	_Atomic int32_t current_owner;
	uint32_t id_fill; /* GCT_ID is a quadword: its natural alignment shows here */
	_Atomic uint64_t id;
	_Atomic uint64_t node_flags;
	_Atomic int32_t config;
	_Atomic int32_t affinity;
	_Atomic int32_t parent;
	_Atomic int32_t next_sib;
	_Atomic int32_t prev_sib;
	_Atomic int32_t child;
	_Atomic int32_t reserved;
	_Atomic uint32_t magic;
};

static_assert(sizeof(struct gct_node) == 64, "[0082]");
static_assert(offsetof(struct gct_node, magic) == 60, "[0082]");

/* W: console in an update; lock: whoever holds it.  R: everyone.  [0084] */
struct gct_root_node {
	struct gct_node hd;
	_Atomic uint64_t lock;		  /* -1 unlocked, else partition id of the holder */
	_Atomic uint64_t transient_level; /* rises when an update begins [0117] */
	_Atomic uint64_t current_level;	  /* follows when it is complete */
	_Atomic uint64_t console_req;
	_Atomic uint64_t min_alloc;
	_Atomic uint64_t min_align;
	_Atomic uint64_t base_alloc;
	_Atomic uint64_t base_align;
	_Atomic uint64_t max_phys_address;
	_Atomic uint64_t mem_size;
	_Atomic uint64_t platform_type;
	_Atomic int32_t platform_name;
	_Atomic int32_t primary_instance;
	_Atomic int32_t first_free;
	_Atomic int32_t high_limit;
	_Atomic int32_t lookaside;
	_Atomic int32_t available;
	_Atomic uint32_t max_partition;
	_Atomic int32_t partitions;
	_Atomic int32_t communities;
	_Atomic uint32_t max_platform_partition;
	_Atomic uint32_t max_fragments;
	_Atomic uint32_t max_desc;
	char apmp_id[16];
	char apmp_id_pad[4];
	_Atomic int32_t bindings;
	uint64_t fill[4]; /* to a multiple of GCT_ALIGN */
};

static_assert(offsetof(struct gct_root_node, platform_name) == 152, "[0084]");
static_assert(offsetof(struct gct_root_node, bindings) == 220, "[0084]");
static_assert(sizeof(struct gct_root_node) == 256, "[0082]");

/* One entry of the bindings array [0085].  W: console, once.  R: everyone. */
struct gct_binding {
	_Atomic uint32_t node_type;
	_Atomic uint32_t parent_type;
	_Atomic uint32_t config_type;	/* the ancestor that a node is configured with */
	_Atomic uint32_t affinity_type; /* the ancestor that gives best performance */
};

/* W: console in an update; apmpdb_* by compare-and-set [0278].  R: everyone.  [0086] [0275] */
struct gct_community_node {
	struct gct_node hd;
	_Atomic uint64_t apmpdb_info;  /* [31:0] first page frame, [63:32] page count; 0 none */
	char name[APMP_NAME_SIZE];     /* ours: what the administrator called it */
	_Atomic uint64_t apmpdb_other; /* as apmpdb_info, the other of the two ranges [0125] */
	/* ours: the last ID that a sharing set of this community got [0263].  Only ever rises: with
	 * each set that is created, and when apmpdb_info leaves a range, whose set is over then.
	 * One store, no update. */
	_Atomic uint64_t apmpdb_id;
	uint64_t fill; /* zero */
};

static_assert(sizeof(struct gct_community_node) == 128, "[0082]");

/* W: console in an update; fenced: console, one store.  R: everyone.  [0087] */
struct gct_partition_node {
	struct gct_node hd;
	_Atomic uint64_t hwrpb; /* physical address */
	_Atomic uint64_t incarnation;
	_Atomic uint64_t priority;
	_Atomic int32_t os_type;
	_Atomic uint32_t partition_reserved_1;
	_Atomic uint64_t instance_name_format;
	char instance_name[128];
	/* ours: every incarnation up to this one is known to run no code any more.  The single
	 * word that says who is alive; only ever rises. */
	_Atomic uint64_t fenced;
	char name[APMP_NAME_SIZE]; /* ours: what the administrator called it */
	_Atomic uint64_t id_field; /* the ID field [0262]: set by callback, cleared at boot */
	_Atomic uint64_t policy;   /* ours: GCT_POLICY_* */
	_Atomic uint64_t debugged; /* ours: the incarnation that a debugger holds, whose silence
				    * nobody suspects; 0 none.  One store, no update */
	uint64_t fill[3];	   /* zero */
};

#define GCT_POLICY_BOOT 0x1u /* boots at power on */

static_assert(offsetof(struct gct_partition_node, fenced) == 64 + 40 + 128, "[0087]");
static_assert(sizeof(struct gct_partition_node) % GCT_ALIGN == 0, "[0082]");

/* [0090].  W: console in an update.  R: everyone. */
struct gct_cpu_node {
	struct gct_node hd;
	_Atomic uint64_t cpu_type; /* ours: of different type or revision: incompatible [0224] */
	_Atomic uint64_t cpu_revision; /* ours */
	uint64_t fill[6];	       /* zero */
};

static_assert(sizeof(struct gct_cpu_node) == 128, "[0082]");

#define GCT_MEM_CONSOLE 0x1u
#define GCT_MEM_PRIVATE 0x2u
#define GCT_MEM_SHARED	0x4u
#define GCT_MEM_BASE	0x8u

/* W: console in an update.  R: everyone.  [0093] */
struct gct_mem_info {
	_Atomic uint64_t base_pa;
	_Atomic uint64_t base_size;
	_Atomic uint32_t desc_count;
	_Atomic uint32_t info_fill;
};

/* W: console in an update.  R: everyone.  [0094] */
struct gct_mem_desc {
	_Atomic uint64_t pa;
	_Atomic uint64_t size;
	_Atomic int32_t mem_owner;
	_Atomic int32_t mem_current_owner;
	_Atomic uint32_t mem_flags;
	_Atomic uint32_t mem_fill;
};

static_assert(sizeof(struct gct_mem_desc) == 32, "[0094]");

/* W: console in an update.  R: everyone.  [0092] */
struct gct_mem_desc_node {
	struct gct_node hd;
	struct gct_mem_info mem_info;
	_Atomic int32_t mem_frag; /* from this node's base to its array of gct_mem_desc */
	/* Tested-memory bitmap [0277]: from this node's base to one bit for each page of the
	 * descriptor, set when it is good; 0 when all of it was tested and is good. */
	_Atomic int32_t tested;
	uint32_t fill[8]; /* zero */
};

static_assert(sizeof(struct gct_mem_desc_node) == 128, "[0082]");

#pragma GCC diagnostic pop
#endif
