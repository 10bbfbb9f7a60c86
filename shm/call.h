/*
 * call.h - console callbacks: what an instance may ask of its console [0113, 0143, 0278].
 *
 * One request and one reply, each a datagram of fixed size on the partition's channel (a
 * SOCK_SEQPACKET pair; MAP's reply carries a descriptor).  A callback that met the death of the
 * console is sent again with the same seq; the console answers a seq it has done from its record.
 * The reply's error is 0 or a negative errno:
 *   -EINVAL  the request makes no sense          -EPERM   not yours to ask
 *   -ENXIO   no such memory, CPU or partition    -EACCES  MAP: not your memory
 *   -EAGAIN  SET_APMPDB_INFO: the field holds something else by now
 *   -ESTALE  this identity is fenced, or is being fenced
 *   -EINPROGRESS  REMOVE_INSTANCE: the fence is pending; ask again
 *   MIGRATE_CPU besides: -EBUSY it is the primary; -EALREADY it is there; -EXDEV another community;
 *   -EHOSTDOWN nothing runs there; -ENOEXEC the CPU is not compatible there; what the host said
 */
#ifndef APMP_SHM_CALL_H
#define APMP_SHM_CALL_H

#include <assert.h>
#include <stdint.h>

#define APMP_CALLS(X)                                                                              \
	X(MAP, 1,                                                                                  \
	  "map") /* arg0 pa, arg1 size; ret0 offset in the descriptor, fd, ret1 writable */        \
	X(SET_APMPDB_INFO, 2, "set_apmpdb_info") /* arg0 old, arg1 new: compare-and-set [0278] */  \
	X(REMOVE_INSTANCE, 3, "remove_instance") /* arg0 identity: answered when it is fenced */   \
	X(MIGRATE_CPU, 4, "migrate_cpu") /* arg0 CPU, arg1 partition id, arg2 loan: PAL MIGRATE */ \
	X(REPORT, 5, "report")		 /* arg0 enum apmp_report, arg1 about; has no reply */     \
	X(EXIT, 6, "exit")		 /* arg0 enum apmp_exit: the primary enters console mode */

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
	X(CPU_REFUSED, 12, "cpu_refused")   /* about a CPU */                                      \
	X(PAGE_BAD, 13, "page_bad")	    /* about a page frame of the database */               \
	X(LEAVING, 14, "leaving")                                                                  \
	X(JOIN_FAILED, 15, "join_failed") /* about the errno */

enum apmp_report {
#define X(name, value, text) APMP_REPORT_##name = value,
	APMP_REPORTS(X)
#undef X
};

enum apmp_exit { APMP_EXIT_HALT = 1, APMP_EXIT_CRASH = 2 };

#define APMP_CALL_ARGS 3u

struct apmp_call_request {
	uint64_t seq;	   /* rises with each callback of this incarnation */
	uint64_t identity; /* who asks */
	uint32_t op;	   /* enum apmp_call_op */
	uint32_t thread;   /* who waits for the answer: CPU id */
	uint64_t arg[APMP_CALL_ARGS];
};

/* seq 0: the console was restarted; every callback without an answer is to be sent again. */
struct apmp_call_reply {
	uint64_t seq;
	int32_t error; /* 0 or -errno */
	uint32_t fill;
	uint64_t ret[2];
};

static_assert(sizeof(struct apmp_call_request) == 48, "a datagram of fixed size");
static_assert(sizeof(struct apmp_call_reply) == 32, "a datagram of fixed size");

struct apmp_call {
	struct apmp_call_request request;
	struct apmp_call_reply reply;
	int fd; /* that came with the reply, or -1 */
};

#endif
