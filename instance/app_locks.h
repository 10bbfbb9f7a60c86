/*
 * app_locks.h - the locks of one connection.
 */
#ifndef APMP_INSTANCE_APP_LOCKS_H
#define APMP_INSTANCE_APP_LOCKS_H

#include "shm/lock.h"
#include "shm/wire/app.h"

struct instance;
struct app;

/* Locks that one connection may have open. */
#define APP_LOCKS_OPEN 32u

struct app_lock {
	uint32_t number; /* of shm/lock.h; 0: none */
	uint32_t rank;
	char name[APMP_NAME_SIZE];
};

struct app_locks {
	struct apmp_locker *locker;
	struct app_lock open[APP_LOCKS_OPEN]; /* a lock's number on the wire is its place + 1 */
	bool waiting, paused;		      /* paused: its requests are not read meanwhile */
	uint32_t wanted;		 /* place of what it waits for; APP_LOCKS_OPEN: opening */
	struct apmp_app_request opening; /* what it wants to open */
	uint64_t timeout_ns, deadline_ns;
};

/* The connection is for locks from now on.  -ENFILE: there are no more lockers. */
__attribute__((warn_unused_result)) int app_locks_begin(struct instance *in, struct app *app);
/* One request.  0, or -EPIPE: the connection is to be dropped. */
__attribute__((warn_unused_result)) int app_locks_serve(struct instance *in, struct app *app,
							const struct apmp_app_request *request);
/* The connection has ended: what it holds is broken, what it has open is closed. */
void app_locks_end(struct instance *in, struct app *app);
/* Tries for all who wait, in the order in which they came.  At the end of each turn, and at least
 * once a tick while somebody waits. */
void app_locks_try(struct instance *in);

#endif
