/*
 * app.h - what a program in a partition and the partition's instance say to each other.
 *
 * The instance listens on a SOCK_SEQPACKET socket; each connection is for locks, events, tasks or
 * CPUs, as its first message says.  Every message is one struct of fixed size.  One request is
 * answered before the next one is read; a connection that says anything else than what stands here
 * is closed.  The end of a connection, however it comes, gives back all that it held.
 */
#ifndef APMP_SHM_WIRE_APP_H
#define APMP_SHM_WIRE_APP_H

#include "shm/layout_common.h"

/* The variable in the environment of an instance and its programs: ADDRESS:WORD.  The address is
 * that of the listening socket, an abstract one without its leading NUL; the word is known to this
 * life of the partition alone, and lets a program in. */
#define APMP_APP_VARIABLE "APMP_INSTANCE"

#define APMP_APP_ADDRESS_SIZE 96u /* NUL included; fits sun_path */
#define APMP_APP_WORD_SIZE    33u /* 128 bits in hexadecimal, NUL included */

/* "APMP_INSTANCE=ADDRESS:WORD", NUL included. */
#define APMP_APP_VARIABLE_SIZE                                                                     \
	(sizeof(APMP_APP_VARIABLE) + APMP_APP_ADDRESS_SIZE + APMP_APP_WORD_SIZE)

#define APMP_APP_VERSION 2u /* raised when a message changes */

/*
 * Requests.
 *
 * LOCKS    text the word: this connection is for locks -> partition, incarnation, name.
 * EVENTS   the same, for events; rank APMP_APP_TELL_CPUS or 0 -> likewise, then struct
 *          apmp_app_event without being asked.
 *          Both: -EPROTO another version; -EACCES the word is wrong; -EUSERS too many programs.
 * OPEN     text a lock's name, rank -> lock, its number on this connection.
 * ACQUIRE  lock, timeout_ns (0: only try; UINT64_MAX: as long as it takes).  Answered when it is
 *          known: 0, or 1: its last holder died with it, and nobody has said that its data is good.
 * RELEASE  lock.
 * GOOD     lock, which we hold: its data is good.
 * CLOSE    lock, which we do not hold.
 * TASKS    as LOCKS: this connection is for one program of tasks, or to list them (ops up to 15).
 * START    text a name, lock how many arguments, rank 0 or the CPU to bind it to + 1; with three
 *          descriptors: the program and its arguments (each ends with a NUL), both memfds that
 *          are sealed against every change of what is in them, and the writing end of a pipe for
 *          its output -> lock, the task's number; and when that and all tasks that it has spawned
 *          have ended, struct apmp_app_task without being asked.  Once.
 * END      asks it to end; has no answer of its own.
 * LIST     -> lock, how many there are; and so many struct apmp_app_task.
 * CPUS     as LOCKS: this connection is for the policy of CPUs (ops up to 23).
 * LOADS    -> lock, how many members there are; and so many struct apmp_app_member_load.
 * GIVE     lock the CPU + 1, 0: any; rank the partition that gets it; timeout_ns APMP_APP_LOAN or 0
 *          -> lock, the CPU.  Answered when it has gone, or can't.
 * WISH     lock, how many CPUs all members are asked for -> lock, how many came.  Answered when
 *          that is known.
 * Errors of those of locks and CPUs: apmp.h.
 */
#define APMP_APP_OPS(X)                                                                            \
	X(LOCKS, 1)                                                                                \
	X(EVENTS, 2)                                                                               \
	X(OPEN, 3)                                                                                 \
	X(ACQUIRE, 4)                                                                              \
	X(RELEASE, 5)                                                                              \
	X(GOOD, 6)                                                                                 \
	X(CLOSE, 7)                                                                                \
	X(TASKS, 8)                                                                                \
	X(START, 9)                                                                                \
	X(END, 10)                                                                                 \
	X(LIST, 11)                                                                                \
	X(CPUS, 16)                                                                                \
	X(LOADS, 17)                                                                               \
	X(GIVE, 18)                                                                                \
	X(WISH, 19)

enum apmp_app_op {
#define X(name, value) APMP_APP_##name = value,
	APMP_APP_OPS(X)
#undef X
};

struct apmp_app_request {
	uint32_t version; /* APMP_APP_VERSION */
	uint32_t op;	  /* enum apmp_app_op */
	uint32_t lock;
	uint32_t rank;
	uint64_t timeout_ns;
	char text[40]; /* ends with a NUL */
};

struct apmp_app_reply {
	uint32_t version;
	int32_t error; /* 0 or what the op says; -errno */
	uint32_t partition;
	uint32_t lock;
	uint64_t incarnation;
	char name[APMP_NAME_SIZE];
	char text[200]; /* of an error: a sentence */
};

#define APMP_APP_TASK_FDS  3u			/* descriptors that come with START */
#define APMP_APP_TASK_ARGS (UINT32_C(64) << 10) /* bytes of its arguments at most */

enum apmp_app_task_state {
	APMP_APP_TASK_READY = 1,
	APMP_APP_TASK_RUNNING = 2,
	APMP_APP_TASK_WAITING = 3, /* for what it has spawned */
	APMP_APP_TASK_ENDED = 4,
};

struct apmp_app_task {
	uint32_t version;
	uint32_t state; /* enum apmp_app_task_state */
	uint64_t number;
	uint64_t program; /* number of the first task of its program */
	uint32_t cpu;	  /* that runs it, + 1; or 0 */
	uint32_t bound;	  /* that it is bound to, + 1; or 0 */
	int32_t value;	  /* of one that has ended */
	uint32_t ending;  /* not 0: asked to end */
	char name[APMP_NAME_SIZE];
};

/* One member's CPUs. */
struct apmp_app_member_load {
	uint32_t version;
	uint32_t partition;
	uint64_t incarnation;
	uint64_t depth; /* tasks, and threads of programs, that run or could */
	uint64_t potential[APMP_MAX_CPUS / 64u];
	uint64_t active[APMP_MAX_CPUS / 64u];
	char name[APMP_NAME_SIZE];
};

/* flags of an event. */
#define APMP_APP_EVENT_STATE  0x1u /* it was so when this connection began */
#define APMP_APP_EVENT_SELF   0x2u /* about the partition of the program itself */
#define APMP_APP_EVENT_FAILED 0x4u /* of a departure: it has not left in order */

struct apmp_app_event {
	uint32_t version;
	uint32_t kind; /* enum apmp_app_event_kind, which programs see: apmp.h */
	uint64_t seq;
	uint32_t partition;
	uint32_t flags;
	uint64_t incarnation;
	uint32_t cpu; /* of CPU_ADDED and CPU_REMOVED */
	uint32_t fill;
	char name[APMP_NAME_SIZE];
};

#endif
