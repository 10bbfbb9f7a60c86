/*
 * call.h - console callbacks: what an instance may ask of its console [0113, 0143, 0278].
 *
 * One request and one reply, each a datagram of fixed size on the partition's channel (a
 * SOCK_SEQPACKET pair; MAP's reply carries a descriptor).  A callback that met the death of the
 * console is sent again with the same seq; the console answers a seq it has done from its record.
 * The reply's error is 0 or a negative errno:
 *   -EINVAL  the request makes no sense          -EPERM   not yours to ask
 *   -ENXIO   no such memory (SET_APMPDB_INFO: no shared memory of the community), CPU or partition
 *   -EACCES  MAP: not your memory
 *   -EAGAIN  SET_APMPDB_INFO: the field holds something else by now
 *   -ESTALE  this identity is fenced, or is being fenced
 *   -EINPROGRESS  REMOVE_INSTANCE: the fence is pending, or a debugger holds it; ask again
 *   MIGRATE_CPU besides: -EBUSY it is the primary, or somebody executes on it; -EALREADY it is
 *   there; -EXDEV another community; -EHOSTDOWN nothing runs there; -ENOEXEC the CPU is not
 *   compatible there; what the host said
 * What changes the configuration (CREATE_COMMUNITY and all below it) has a reason besides, by
 * number (shm/reasons.def), and is durable when it is answered with 0 [0065], unless it says
 * APMP_DEASSIGN_HASTE.  In them a node is named by its handle; owner is the handle of a partition
 * or community.
 */
#ifndef APMP_SHM_CALL_H
#define APMP_SHM_CALL_H

#include <assert.h>
#include <stdint.h>

#define APMP_CALLS(X)                                                                              \
	X(MAP, 1,                                                                                  \
	  "map") /* arg0 pa, arg1 size; ret0 offset in the descriptor, fd, ret1 writable */        \
	X(SET_APMPDB_INFO, 2, "set_apmpdb_info") /* arg0 old, arg1 new: compare-and-set [0278]; */ \
	/* arg2 0: APMPDB_INFO, 1: the other range [0125] */                                       \
	X(REMOVE_INSTANCE, 3, "remove_instance") /* arg0 identity: answered when it is fenced */   \
	X(MIGRATE_CPU, 4, "migrate_cpu") /* arg0 CPU, arg1 partition id, arg2 APMP_MIGRATE_*: */   \
	/* PAL MIGRATE */                                                                          \
	X(REPORT, 5, "report") /* arg0 enum apmp_report, arg1 about; has no reply */               \
	X(EXIT, 6, "exit")     /* arg0 enum apmp_exit: the primary enters console mode */          \
	X(CREATE_COMMUNITY, 7, "create_community") /* text name; ret0 id, ret1 handle [0113] */    \
	X(DELETE_COMMUNITY, 8, "delete_community") /* arg0 community [0116] */                     \
	X(CREATE_PARTITION, 9, "create_partition") /* arg0 community or 0, arg1 1: boots at */     \
	/* power on; text name; ret0 id, ret1 handle */                                            \
	X(DELETE_PARTITION, 10, "delete_partition") /* arg0 partition [0116] */                    \
	X(START_PARTITION, 11, "start_partition")   /* arg0 partition: boots it [0113] */          \
	X(SET_COMMUNITY, 12, "set_community") /* arg0 partition, arg1 community or 0 [0063] */     \
	X(ASSIGN, 13, "assign")		      /* arg0 node, arg1 owner [0101] */                   \
	X(DEASSIGN, 14, "deassign") /* arg0 node, arg1 APMP_DEASSIGN_*; ret0 1: it is in use */    \
	/* until the reboot [0102] */                                                              \
	X(REASSIGN, 15, "reassign") /* arg0 node, arg1 owner: from its owner, who uses it no */    \
	/* more, to another one, in one update [0115] */                                           \
	X(ASSIGN_MEMORY, 16, "assign_memory") /* arg0 pa or 0 for any, arg1 size, arg2 owner | */  \
	/* GCT_MEM_* << 32; ret0 pa [0095-0097] */                                                 \
	X(DEASSIGN_MEMORY, 17, "deassign_memory") /* arg0 pa, arg1 size, arg2 as arg1 of */        \
	/* DEASSIGN, ret0 as there */                                                              \
	X(LIMITS, 18, "limits") /* arg0 enum apmp_limit; ret0 its value [0095] */                  \
	X(SET_ID, 19, "set_id") /* arg0 the ID field of one's own node [0262]; arg1 1: the next */ \
	/* ID of the community instead, of a set that is being created; ret0 the ID [0263] */      \
	X(LOCK_TREE, 20, "lock_tree")	  /* the caller inhibits changes by others [0085] */       \
	X(UNLOCK_TREE, 21, "unlock_tree") /* the holder lets go */                                 \
	X(RESET_BUSES, 22, "reset_buses") /* arg0 partition id: resets the I/O buses of one of */  \
	/* the community that runs no instance, and clears its ID field [0263] */

enum apmp_call_op {
#define X(name, value, text) APMP_CALL_##name = value,
	APMP_CALLS(X)
#undef X
};

/* What an instance reports for events and status; about is an identity or a CPU. */
#define APMP_REPORTS(X)                                                                            \
	X(BOOTED, 1, "booted") /* has mapped what it needs, clock not yet running */               \
	X(CREATING, 2, "creating")                                                                 \
	X(JOINING, 3, "joining")                                                                   \
	X(CREATED, 4, "created") /* the set; about its incarnation */                              \
	X(JOINED, 5, "joined")                                                                     \
	X(LEFT, 6, "left")                                                                         \
	X(SUSPECTED, 7, "suspected")	    /* about the identity that is silent */                \
	X(REMOVED, 8, "removed")	    /* about the identity that was removed */              \
	X(LOCK_BROKEN, 9, "lock_broken")    /* about the dead holder */                            \
	X(CPU_ACTIVE, 10, "cpu_active")	    /* about a CPU */                                      \
	X(CPU_QUIESCED, 11, "cpu_quiesced") /* about a CPU */                                      \
	X(CPU_REFUSED, 12, "cpu_refused")   /* about a CPU: its slot says why */                   \
	X(PAGE_BAD, 13, "page_bad")	    /* about a page frame of the database */               \
	X(LEAVING, 14, "leaving")                                                                  \
	X(JOIN_FAILED, 15, "join_failed") /* about the errno */                                    \
	X(REFORMED, 16, "reformed") /* about the incarnation of the set on the other range */      \
	X(NAMED_LOCK_BROKEN, 17, "named_lock_broken") /* about its slot in the */                  \
	/* lock table, and in [63:32] the partition id + 1 of the holder that was lost, 0: none */ \
	X(DB_ODD, 18, "db_odd") /* the database makes no sense; about enum apmp_db_fault */        \
	X(UNSUSPECTED, 19, "unsuspected") /* about the identity that beats again */                \
	X(CPU_HALTED, 20, "cpu_halted")	  /* about a CPU that waits in console mode */             \
	X(WISHED, 21, "wished")		  /* the request WISH has its answer */

enum apmp_report {
#define X(name, value, text) APMP_REPORT_##name = value,
	APMP_REPORTS(X)
#undef X
};

/* What LIMITS returns: fields of the root node [0085]. */
#define APMP_LIMITS(X)                                                                             \
	X(MIN_ALLOC, 1, min_alloc)                                                                 \
	X(MIN_ALIGN, 2, min_align)                                                                 \
	X(BASE_ALLOC, 3, base_alloc)                                                               \
	X(BASE_ALIGN, 4, base_align)                                                               \
	X(MAX_PARTITION, 5, max_partition)                                                         \
	X(MAX_PLATFORM_PARTITION, 6, max_platform_partition)                                       \
	X(MAX_FRAGMENTS, 7, max_fragments)                                                         \
	X(MAX_DESC, 8, max_desc)                                                                   \
	X(MEM_SIZE, 9, mem_size)                                                                   \
	X(MAX_PHYS_ADDRESS, 10, max_phys_address)

enum apmp_limit {
#define X(name, value, field) APMP_LIMIT_##name = value,
	APMP_LIMITS(X)
#undef X
};

/* Arg1 of DEASSIGN. */
#define APMP_DEASSIGN_UNUSED 0x1u /* in use no more: current_owner is cleared, too */
#define APMP_DEASSIGN_HASTE  0x2u /* answered when it is made: not to whom it must be durable */

/* How a CPU migrates: arg2 of MIGRATE_CPU, arg1 of the HWRPB's request MIGRATE.  That its instance
 * fails (Fig. 27) needs no word: its last gasp says so. */
#define APMP_MIGRATE_LOAN    0x1u /* only current_owner changes [0107]; of one on loan always */
#define APMP_MIGRATE_HALT    0x2u /* by HALT with HALT_MIGRATE, Figs. 30A to 30C */
#define APMP_MIGRATE_CONSOLE 0x4u /* it was in console mode, Fig. 31 */

enum apmp_exit { APMP_EXIT_HALT = 1, APMP_EXIT_CRASH = 2 };

#define APMP_CALL_ARGS 3u
#define APMP_CALL_TEXT 64u /* bytes of a name, NUL included */

struct apmp_call_request {
	uint64_t seq;	   /* rises with each callback of this incarnation */
	uint64_t identity; /* who asks */
	uint32_t op;	   /* enum apmp_call_op */
	uint32_t thread;   /* who waits for the answer: CPU id */
	uint64_t arg[APMP_CALL_ARGS];
	char text[APMP_CALL_TEXT];
};

/* seq 0: the console was restarted; every callback without an answer is to be sent again. */
struct apmp_call_reply {
	uint64_t seq;
	int32_t error;	 /* 0 or -errno */
	uint32_t reason; /* enum apmp_reason (shm/configure.h) of a refused change, else 0 */
	uint64_t ret[2];
};

static_assert(sizeof(struct apmp_call_request) == 112, "a datagram of fixed size");
static_assert(sizeof(struct apmp_call_reply) == 32, "a datagram of fixed size");

struct apmp_call {
	struct apmp_call_request request;
	struct apmp_call_reply reply;
	int fd; /* that came with the reply, or -1 */
};

#endif
