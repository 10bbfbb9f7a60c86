/*
 * app_cpus.h - what a program asks about CPUs: from its connection to the primary, and back.
 */
#ifndef APMP_INSTANCE_APP_CPUS_H
#define APMP_INSTANCE_APP_CPUS_H

#include <stdatomic.h>

#include "shm/member.h"
#include "shm/wire/app.h"

struct instance;
struct app;

#define APP_ASKS 16u /* of all programs at once */

enum app_ask_state {
	APP_ASK_FREE = 0,
	APP_ASK_ASKED, /* by the thread of programs */
	APP_ASK_BUSY,  /* the primary is at it */
	APP_ASK_DONE,  /* it has an answer */
};

/* W: the thread of programs before ASKED and behind DONE, the primary in between. */
struct app_ask {
	_Atomic uint32_t state; /* as above; enum app_ask_state */
	_Atomic uint32_t left; /* W: the thread of programs; nobody waits for the answer any more */
	struct app *app;       /* W: the thread of programs; NULL: it has left */
	uint32_t op;	       /* APMP_APP_LOADS, GIVE, WISH */
	uint32_t count;	       /* of a wish */
	uint32_t cpu_idx;      /* to be given; UINT32_MAX: any; then the one that was */
	uint32_t to_id, how;   /* where to, and APMP_MIGRATE_* */
	uint64_t arrival;      /* who came first */
	int32_t result;	       /* -errno, 0, or how many */
	struct apmp_member_load load[APMP_MAX_PARTITIONS];
};

/* A connection is for CPUs from now on. */
void app_cpus_begin(struct app *app);
/* One request.  0, or -EPIPE: the connection is to be dropped. */
__attribute__((warn_unused_result)) int app_cpus_serve(struct instance *in, struct app *app,
						       const struct apmp_app_request *request);
/* The connection has ended: a wish of its program is withdrawn. */
void app_cpus_end(struct instance *in, struct app *app);
/* After the bell: sends the answers that the primary has. */
void app_cpus_look(struct instance *in);

#endif
