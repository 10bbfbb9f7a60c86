/*
 * apps.h - what an instance does for the programs of its partition: locks, events, tasks, CPUs.
 */
#ifndef APMP_INSTANCE_APPS_H
#define APMP_INSTANCE_APPS_H

#include <pthread.h>
#include <stdatomic.h>

#include "shm/member.h"
#include "shm/wire/app.h"

#include "instance/app_cpus.h"
#include "instance/app_locks.h"
#include "instance/app_tasks.h"
#include "instance/app_waker.h"

struct instance;

/* Connections at once; a program has one for locks and one for events, if it wants them. */
#define APPS_MAX 256u

/* The members of the set, and our CPUs, as the primary knows them: a table and no queue, so it
 * can't overflow and the primary never waits. */
struct apps_members {
	_Atomic uint32_t version;		       /* W: primary; odd while it writes */
	_Atomic uint64_t changes;		       /* W: primary; how many there were */
	_Atomic uint64_t cpu_changes;		       /* W: primary; the same, of CPUs */
	_Atomic uint64_t failed;		       /* W: primary; bit per partition: the last
							* that departed died */
	_Atomic uint64_t present[APMP_MAX_PARTITIONS]; /* W: primary; identity, 0: no member */
	_Atomic uint64_t cpus[APMP_MAX_CPUS / 64u];    /* W: primary; those that are active */
};

/* What an event stream has told, or the thread of programs has seen. */
struct app_view {
	uint64_t changes, cpu_changes, failed;
	uint64_t present[APMP_MAX_PARTITIONS];
	struct apmp_cpu_bits cpus;
};

enum app_kind {
	APP_FREE = 0,
	APP_NEW,    /* has not said the word yet */
	APP_EVENTS, /* is told of members */
	APP_LOCKS,  /* asks for locks */
	APP_CPUS,   /* asks about CPUs */
	APP_TASKS,  /* runs a program of tasks, or asks for a list */
};

/* One connection.  W: the thread of programs. */
struct app {
	enum app_kind kind;
	uint32_t life;	      /* of this slot, so that an event of an earlier one is passed over */
	uint64_t arrival;     /* who came first */
	int sock;	      /* non-blocking */
	struct app_view told; /* APP_EVENTS */
	uint64_t seq;	      /* APP_EVENTS: of the last event */
	bool known;	      /* APP_EVENTS: the state at its beginning is */
	bool begun;	      /* APP_EVENTS: that was told */
	bool tells_cpus;      /* APP_EVENTS: of CPUs too */
	struct app_ask *ask;  /* APP_CPUS: what it waits for, or NULL */
	struct app_locks locks; /* APP_LOCKS */
	struct task_job *job;	/* APP_TASKS: the one that it has started, or NULL */
};

struct apps {
	int epoll, listener, bell; /* bell: an eventfd that the primary rings; -1: no programs */
	char word[APMP_APP_WORD_SIZE]; /* lets a program in */
	struct apps_members members;
	_Atomic uint32_t
	    listeners;	     /* W: the thread of programs; connections that are told of them */
	bool now_is_known;   /* seen since there are listeners */
	struct app_view now; /* of members, while there are listeners */
	uint64_t arrivals;
	struct apmp_locker *locker;  /* the thread's own: closes what the dead had open */
	struct app *queue[APPS_MAX]; /* who waits for a lock, in the order of asking */
	uint32_t queue_count;
	bool kept_out;	       /* somebody, just now, by the instance and not by a holder */
	_Atomic uint32_t asks; /* that are not free */
	struct app_ask ask[APP_ASKS];
	struct app_waker waker;
	bool woken;    /* by it */
	uint32_t used; /* so many of these were ever used; the others cost no memory */
	struct app app[APPS_MAX];
};

/* apps.c.  Starts the thread, if the box has given us a socket.  To be called before the caller is
 * pinned to a CPU.  -errno, -ENOMEM: the partition has no room for its stack; it goes on without
 * programs that use libapmp. */
__attribute__((warn_unused_result)) int instance_apps_start(struct instance *in);
/* Hands over changes of membership; never waits, and wakes nobody when no program listens.  The
 * primary alone calls it. */
void instance_apps_members(struct instance *in, const struct apmp_member_change *changes,
			   uint32_t count);
/* The same of the CPUs that are active here. */
void instance_apps_cpus(struct instance *in, const struct apmp_cpu_bits *active);
/* The bell: the thread of programs looks at what others have changed; never waits. */
void instance_apps_ring(struct instance *in);
/* Ends a connection. */
void app_drop(struct instance *in, struct app *app);
/* Whether its requests are read. */
void app_pause(struct instance *in, struct app *app, bool pause);

/* app_send.c.  Sends a message without waiting.  -EAGAIN: no room; -EPIPE: nobody is there. */
__attribute__((warn_unused_result)) int app_send(struct app *app, const void *message, size_t size);
/* Answers a request: an error with why, a sentence.  -EPIPE: the connection is to be dropped. */
__attribute__((warn_unused_result, format(printf, 4, 5))) int
app_answer(struct app *app, int error, uint32_t number, const char *format, ...);

/* app_events.c.  Looks at the primary's table; when that is just being written the bell will ring
 * once more. */
void app_members_look(struct instance *in);
/* A connection is for events from now on; cpus: also of CPUs. */
void app_events_begin(struct instance *in, struct app *app, bool cpus);
/* One that was has ended. */
void app_events_end(struct instance *in);
/* Tells what has changed since it was last told, as far as the socket takes it.  0 all; -EAGAIN:
 * again when there is room; -EPIPE. */
__attribute__((warn_unused_result)) int app_events_tell(struct instance *in, struct app *app);

#endif
