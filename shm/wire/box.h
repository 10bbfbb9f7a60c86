/*
 * box.h - what console and box say to each other, over one SOCK_SEQPACKET pair.
 *
 * The console asks (struct apmp_box_request), the box answers each request with the same seq
 * (struct apmp_box_event, op APMP_BOX_DONE), in any order; other events come by themselves.
 * Every datagram is a struct of fixed size; descriptors and a longer payload (a memfd) come along
 * as descriptors.  The box does what it is told and keeps every object (by kind and id) for the
 * next console: after a restart it sends HELLO, one OBJECT for each it keeps, one PARTITION for
 * each that has a living process, then READY.
 */
#ifndef APMP_SHM_WIRE_BOX_H
#define APMP_SHM_WIRE_BOX_H

#include <stdint.h>

#include "shm/layout_common.h"

/* Descriptors that the box hands to a program it starts. */
#define APMP_CONSOLE_BOX_FD	 3 /* console: its end of the pair */
#define APMP_CONSOLE_LISTEN_FD	 4 /* console: the listening control socket */
#define APMP_INSTANCE_CHANNEL_FD 3 /* instance: its end of the partition's channel */
#define APMP_INSTANCE_HWRPB_FD	 4 /* instance: the memory of its HWRPB */
#define APMP_INSTANCE_APPS_FD	 5 /* instance: listening socket for its programs (app.h) */

/* The first thread of an instance, and no other, is in SCHED_FIFO with this priority, where the box
 * may have that: above every normal thread, below anything that an administrator made urgent.  It
 * is meant for the heartbeat; it is ended when it has not slept for a second. */
#define APMP_INSTANCE_FIFO_PRIORITY 10

/* The stack of a thread of an instance but its tasks', and the addresses below each stack that
 * nobody may touch: what a program's first thread usually has for a stack, so that a frame that
 * works there can't lead over this into another mapping.  Addresses alone are plenty. */
#define APMP_INSTANCE_STACK_SIZE (UINT64_C(128) << 10)
#define APMP_INSTANCE_STACK_GAP	 (UINT64_C(8) << 20)

/* kind of RUN. */
#define APMP_BOX_RUN_CONFINED 1u

/* Objects that the box keeps. */
#define APMP_BOX_OBJECTS(X)                                                                        \
	X(CONFIG, 1, "config")	   /* id 0: memfd, the machine as JSON (made by the box) */        \
	X(TREE, 2, "tree")	   /* id 0: memfd */                                               \
	X(STATE, 3, "state")	   /* id 0: memfd, struct apmp_console_state */                    \
	X(LINES, 4, "lines")	   /* id 0: memfd, interrupt lines */                              \
	X(HWRPB, 5, "hwrpb")	   /* id partition: memfd */                                       \
	X(RECORDER, 6, "recorder") /* id partition, or APMP_*_RECORDER: memfd */                   \
	X(RAM, 7, "ram")	   /* id physical address: memfd of a fragment */                  \
	X(CHANNEL, 8,                                                                              \
	  "channel")	   /* id partition: socket pair, fd0 console's, fd1 instance's end */      \
	X(PORT, 9, "port") /* id partition: pseudo-terminal, fd0 master, fd1 slave */              \
	X(TREE_RO, 10, "tree_ro") /* id 0: the tree, a descriptor that maps only readable */       \
	X(NVRAM, 11,                                                                               \
	  "nvram") /* id 0: memfd, what was read at power on (made by the box; none:    \
			       * nothing was, or `up --fresh`) */          \
	X(OUTPUT, 12, "output") /* id partition: as PORT, of programs that nobody waits for */

enum apmp_box_object {
#define X(name, value, text) APMP_BOX_##name = value,
	APMP_BOX_OBJECTS(X)
#undef X
};

#define APMP_CONSOLE_RECORDER  0xffffu
#define APMP_BOX_SELF_RECORDER 0xfffeu /* made by the box, from the first HELLO on */

/*
 * Requests.  id is a partition unless said otherwise; every error has a sentence in text.
 *
 * MAKE      kind, id of the object, size (memfds) -> its descriptor or two.  -EEXIST; -ENOMEM with
 *           arg0 wanted, arg1 had, text the limit.
 * DROP      kind, id of the object: hole-punched and closed; 0 also when there is none.
 * SPAWN     id, arg0 incarnation, arg1 as arg0 of CPUSET, text its name, cpus its host CPUs: makes
 *           the cpuset if need be, and starts apmp-instance with the kept CHANNEL (fd1) and HWRPB,
 *           the PORT's slave as stdin, stdout and stderr, and a new socket for programs -> arg0
 *           pid, arg1 uid.
 *           -EEXIST it has a process; -errno.
 * KILL      id: SIGKILL to every process of it, again until none is left; FENCED comes when none
 *           runs user code any more, the answer when all are reaped.  arg0 1: only wait, don't
 *           kill.
 * SIGNAL    id, arg0 signal: to its instance alone (injector).  -ESRCH.
 * CPUSET    id, text its name, cpus; arg0 how much of them its programs get, in 1/1000 host CPU (0:
 *           all).  -errno: it has what it had.
 * RUN       id, arg0 number of the program (the console's choice), arg1 how many arguments, text
 *           name; descriptors: memfd with the arguments, the environment, an empty string and the
 *           directory, each with its NUL; and stdin, stdout, stderr -> arg0 pid, arg1 uid.  kind
 *           APMP_BOX_RUN_CONFINED: with the partition's own uid instead of the box's.  -ESRCH no
 *           instance; -EPERM confined, and partitions have no uids; -errno of exec.
 * RUN_KILL  arg0 number of the program, arg1 signal.
 * ON        power on is complete, text a sentence for who typed `up`; arg0 1: it failed, and the
 *           box powers off, unless it was on before: then it goes on with the next console.
 * OFF       power off: the box ends everything and itself.
 * REMOVE    id: its cpuset groups are removed.
 * NVRAM     size; descriptor: memfd with the new contents, whole; the box copies them at once.
 *           Answered when a next power on is sure to find these or newer ones -> arg0 generation;
 *           or -errno: then the old ones still stand.  -EINVAL size is 0 or above the descriptor's;
 *           -E2BIG with arg0 wanted, arg1 had; -EBUSY too many wait.  The box goes on with other
 *           requests meanwhile; several that wait are written as one, the newest.
 * PONG      arg0 of the PING that is answered (0: none), arg1 how many times this console has
 *           answered an operator or a partition; sent also by itself at the first.  Has no answer.
 * ROOM      arg0 processes and threads: whether so many more could be started now, before anything
 *           is changed for them.  -EAGAIN, -ENOMEM: with arg0 wanted, arg1 had, text of what, and
 *           by which limit ("processes and threads (cgroup v1 pids /x)").  RUN refuses alike.
 * URGENT    id: the first thread of its instance gets SCHED_FIFO, now that it has made another.
 *           -ESRCH no instance, or one that ends; -EPERM.
 * DUMP      id, arg0 incarnation, text its name; descriptor: memory with copies, and at size a JSON
 *           object of arg1 bytes that says what a dump of that life is to hold (apmpd/PROTOCOL.md).
 *           Answered when no memory that it names is read any more, or may be used anew; DUMPED
 *           comes when it is written.  Asked again for the same life: answered with the first, or
 *           at once, and whoever writes it hurries -> arg0 1: that has ended, and DUMPED was told.
 *           -EINVAL it makes no sense, or dumps are off.
 */
#define APMP_BOX_OPS(X)                                                                            \
	X(MAKE, 1, "make")                                                                         \
	X(DROP, 2, "drop")                                                                         \
	X(SPAWN, 3, "spawn")                                                                       \
	X(KILL, 4, "kill")                                                                         \
	X(SIGNAL, 5, "signal")                                                                     \
	X(CPUSET, 6, "cpuset")                                                                     \
	X(RUN, 7, "run")                                                                           \
	X(RUN_KILL, 8, "run_kill")                                                                 \
	X(ON, 9, "on")                                                                             \
	X(OFF, 10, "off")                                                                          \
	X(REMOVE, 11, "remove")                                                                    \
	X(NVRAM, 12, "nvram")                                                                      \
	X(PONG, 13, "pong")                                                                        \
	X(ROOM, 14, "room")                                                                        \
	X(DUMP, 15, "dump")                                                                        \
	X(URGENT, 16, "urgent")

enum apmp_box_op {
#define X(name, value, text) APMP_BOX_OP_##name = value,
	APMP_BOX_OPS(X)
#undef X
};

/*
 * Events.
 *
 * HELLO      first of all: arg0 times a console was started before, arg1 the number of host CPUs,
 *            arg2 1 cgroup-v2, 2 cgroup-v1, 3 affinity; text machine name.
 * OBJECT     kind, id, size; its descriptors.  NVRAM: size is that of the contents, a NUL stands
 *            behind them; arg0 their generation, text what was refused when they were read ("" all
 *            was well).
 * PARTITION  id, arg0 incarnation, arg1 pid, arg2 uid: it has a process.
 * READY      all objects were sent.
 * DONE       answer to seq: error 0 or -errno, arg*, text.
 * EXITED     id, arg0 incarnation, arg1 wait status: its instance was reaped.  Sent always; the
 *            console decides what it means.
 * PROGRAM    arg0 number, arg1 wait status: a program that RUN started was reaped.
 * TERM       somebody sent the box SIGTERM or SIGINT: power off in order.
 * PENDING    id, arg0 incarnation, arg1 processes that SIGKILL has not ended within a second.
 * ENDING     id, arg0 incarnation: the clock thread of its instance runs no more, which is the end
 *            of the instance; seen by its death beacon, before EXITED or (without beacons) never.
 * FENCED     id, arg0 incarnation: a KILL is under way, and by the kernel's word no process of it
 *            runs user code any more or can store into memory.  At most once for each KILL and
 *            console; DONE of KILL says the same and more.
 * PING       arg0 a number: the console answers PONG with it from its loop; one that does not, for
 *            APMP_CONSOLE_HUNG_MS in which the box itself was not late, hangs and is killed.
 *            Until it has answered one, its requests are signs of life as well.
 * LAST       after HELLO, when a console ended before this one: arg0 how many in a row ended and
 *            had served nobody, arg1 wait status of the last one, arg2 milliseconds this one was
 *            held back for that, text how it ended.
 * DUMPED     id, arg0 incarnation, arg1 bytes on the disk, arg2 elapsed ns, size bytes of memory
 *            that would have been too much, text the path; or error, and text why there is none.
 * LOAD       id, arg0 threads of its programs that run or could, smoothed over half a second; when
 *            it has changed, and again to each console.
 */
#define APMP_BOX_EVENTS(X)                                                                         \
	X(HELLO, 1, "hello")                                                                       \
	X(OBJECT, 2, "object")                                                                     \
	X(PARTITION, 3, "partition")                                                               \
	X(READY, 4, "ready")                                                                       \
	X(DONE, 5, "done")                                                                         \
	X(EXITED, 6, "exited")                                                                     \
	X(PROGRAM, 7, "program")                                                                   \
	X(TERM, 8, "term")                                                                         \
	X(PENDING, 9, "pending")                                                                   \
	X(PING, 10, "ping")                                                                        \
	X(LAST, 11, "last")                                                                        \
	X(ENDING, 12, "ending")                                                                    \
	X(FENCED, 13, "fenced")                                                                    \
	X(DUMPED, 14, "dumped")                                                                    \
	X(LOAD, 15, "load")

#define APMP_CONSOLE_HUNG_MS 3000u

enum apmp_box_event_op {
#define X(name, value, text) APMP_BOX_##name = value,
	APMP_BOX_EVENTS(X)
#undef X
};

#define APMP_BOX_TEXT_SIZE 256u

struct apmp_box_request {
	uint32_t seq;
	uint32_t op;   /* enum apmp_box_op */
	uint32_t kind; /* enum apmp_box_object */
	uint32_t fill;
	uint64_t id;
	uint64_t size;
	uint64_t arg[2];
	uint64_t cpus[16]; /* host CPUs, bit n of word n / 64: at most 1024 */
	char text[APMP_BOX_TEXT_SIZE];
};

struct apmp_box_event {
	uint32_t seq; /* of the request that is answered, else 0 */
	uint32_t op;  /* enum apmp_box_event_op */
	uint32_t kind;
	int32_t error;
	uint64_t id;
	uint64_t size;
	uint64_t arg[3];
	char text[APMP_BOX_TEXT_SIZE];
};

#endif
