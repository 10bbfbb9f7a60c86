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

/* Objects that the box keeps. */
#define APMP_BOX_OBJECTS(X)                                                                        \
	X(CONFIG, 1, "config")	   /* id 0: memfd, the machine as JSON (made by the box) */        \
	X(TREE, 2, "tree")	   /* id 0: memfd */                                               \
	X(STATE, 3, "state")	   /* id 0: memfd, struct apmp_console_state */                    \
	X(LINES, 4, "lines")	   /* id 0: memfd, interrupt lines */                              \
	X(HWRPB, 5, "hwrpb")	   /* id partition: memfd */                                       \
	X(RECORDER, 6, "recorder") /* id partition, or APMP_CONSOLE_RECORDER: memfd */             \
	X(RAM, 7, "ram")	   /* id physical address: memfd of a fragment */                  \
	X(CHANNEL, 8,                                                                              \
	  "channel")	   /* id partition: socket pair, fd0 console's, fd1 instance's end */      \
	X(PORT, 9, "port") /* id partition: pseudo-terminal, fd0 master, fd1 slave */              \
	X(TREE_RO, 10, "tree_ro") /* id 0: the tree, a descriptor that maps only readable */

enum apmp_box_object {
#define X(name, value, text) APMP_BOX_##name = value,
	APMP_BOX_OBJECTS(X)
#undef X
};

#define APMP_CONSOLE_RECORDER 0xffffu

#define APMP_BOX_OPS(X)                                                                            \
	X(MAKE, 1, "make") /* kind, id, size (memfds) -> its descriptor(s); errors: -EEXIST,       \
			    * -ENOMEM with arg0 wanted, arg1 had, text the limit */                \
	X(DROP, 2, "drop") /* kind, id: hole-punched and closed; 0 also when there is none */      \
	X(SPAWN, 3,                                                                                \
	  "spawn")	   /* id partition, arg0 incarnation, text its name, cpus: its host CPUs;  \
			    * the box makes the cpuset if need be; starts apmp-instance with the   \
			    * kept CHANNEL (fd1) and HWRPB, PORT slave as stdin/out/err; -> arg0   \
			    * pid; -EEXIST it has a process; -errno, text what failed */           \
	X(KILL, 4, "kill") /* id partition: SIGKILL to every process of it, again until none is    \
			    * left; answered when all are reaped; arg0 1: don't kill, only wait */ \
	X(SIGNAL, 5, "signal") /* id partition, arg0 signal: to its instance alone (injector);     \
				* -ESRCH */                                                        \
	X(CPUSET, 6, "cpuset") /* id partition, text its name, cpus: -> 0 or -errno with text */   \
	X(RUN, 7, "run") /* id partition, arg0 number of the program (console's choice), arg1 how  \
			  * many arguments, text name; fds: memfd with the arguments, the          \
			  * environment, an empty string and the directory, each with its NUL,     \
			  * and stdin, stdout, stderr -> arg0 pid; -ESRCH no instance; -errno of   \
			  * exec, text */                                                          \
	X(RUN_KILL, 8, "run_kill") /* arg0 number of the program, arg1 signal */                   \
	X(ON, 9, "on")		   /* power on is complete; text: a sentence for who typed `up`;   \
				    * arg0 0, or 1: it failed and the box powers off */            \
	X(OFF, 10, "off")	   /* power off: the box ends everything and itself */             \
	X(REMOVE, 11, "remove")	   /* id partition: its cpuset groups are removed */

enum apmp_box_op {
#define X(name, value, text) APMP_BOX_OP_##name = value,
	APMP_BOX_OPS(X)
#undef X
};

#define APMP_BOX_EVENTS(X)                                                                         \
	X(HELLO, 1, "hello")   /* first of all; arg0 times a console was started before, arg1 the  \
				* number of host CPUs, arg2 1: cgroup-v2, 2: cgroup-v1,            \
				* 3: affinity; text: machine name */                               \
	X(OBJECT, 2, "object") /* kind, id, size; its descriptors */                               \
	X(PARTITION, 3, "partition") /* id, arg0 incarnation, arg1 pid: it has a process */        \
	X(READY, 4, "ready")	     /* all objects were sent */                                   \
	X(DONE, 5, "done")	     /* answer to seq: error 0 or -errno, arg*, text */            \
	X(EXITED, 6, "exited")	 /* id partition, arg0 incarnation: its instance was reaped; arg1  \
				  * wait status; sent always; the console decides what it means */ \
	X(PROGRAM, 7, "program") /* arg0 number: a program that RUN started was reaped, arg1 wait  \
				  * status */                                                      \
	X(TERM, 8, "term")	 /* somebody sent the box SIGTERM or SIGINT: power off in order */ \
	X(PENDING, 9, "pending") /* id partition, arg0 incarnation, arg1 processes that SIGKILL    \
				  * has not ended within a second: the fence is pending */

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
