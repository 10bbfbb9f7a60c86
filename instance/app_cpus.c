/*
 * app_cpus.c - programs that see and move CPUs: their requests are handed to the primary, which
 * alone does such things, and its answers to them.
 *
 * STATES    of an ask: free -> asked -> busy -> done -> free.  The primary moves it from asked to
 *           done, this thread the rest.
 * WRITERS   See struct app_ask.
 * ORDERING  asked (release), acquired by the primary, which reads what is asked; done (release),
 *           acquired here, before the answer is read.  The interrupt and the bell only wake.
 * CRASHES   A program that ends while it waits leaves its ask behind, marked: the primary withdraws
 *           its wish, and the place is free when it is done.  A CPU that is on its way goes.
 * LIMITS    APP_ASKS at once; one more is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/intr.h"
#include "shm/shared.h"

void app_cpus_begin(struct app *app)
{
	app->kind = APP_CPUS;
	app->ask = NULL;
}

/* ---- answers ---- */

/* A partition as people call it. */
static void name_of(const struct instance *in, uint32_t id, char ret_name[APMP_NAME_SIZE])
{
	struct apmp_tree_partition partition;

	if (id < APMP_MAX_PARTITIONS && apmp_tree_partition(&in->tree, id, &partition) == 0)
		memcpy(ret_name, partition.name, APMP_NAME_SIZE);
	else
		snprintf(ret_name, APMP_NAME_SIZE, "%u", id);
}

/* Why a CPU was not given. */
static const char *why_not(int err)
{
	switch (err) {
	case -EBUSY:
		return "it is this partition's primary";
	case -EPERM:
		return "this partition does not have it";
	case -EAGAIN:
		return "it is not at work here: on its way in or out, or in console mode";
	case -ETXTBSY:
		return "a task is bound to it";
	case -ENOEXEC:
		return "it can't run there: its type or revision is another";
	case -EALREADY:
		return "that is this partition itself";
	case -ENOTCONN:
		return "that is no member of this partition's sharing set";
	case -EHOSTDOWN:
		return "nothing runs there";
	case -EXDEV:
		return "it is in another community";
	default:
		return strerror(-err);
	}
}

static int answer_give(const struct instance *in, struct app *app, const struct app_ask *ask)
{
	char to[APMP_NAME_SIZE];

	name_of(in, ask->to_id, to);
	if (ask->result == 0)
		return app_answer(app, 0, ask->cpu_idx, "%s", "");
	if (ask->cpu_idx == UINT32_MAX && ask->result == -ENODEV)
		return app_answer(
		    app, -ENODEV, 0,
		    "no CPU can be given to partition \"%s\": of those that are active here "
		    "none but the primary and bound ones can run there",
		    to);
	if (ask->cpu_idx == UINT32_MAX)
		return app_answer(app, ask->result, 0,
				  "no CPU can be given to partition \"%s\": %s", to,
				  why_not(ask->result));
	return app_answer(app, ask->result, 0, "CPU %u can't be given to partition \"%s\": %s",
			  ask->cpu_idx, to, why_not(ask->result));
}

static int answer_wish(struct app *app, const struct app_ask *ask)
{
	switch (ask->result) {
	case -ENODEV:
		return app_answer(app, -ENODEV, 0,
				  "no member of the sharing set can spare a CPU that can run here");
	case -EINVAL:
		return app_answer(app, -EINVAL, 0, "a wish is for 1 to %u CPUs, not for %u",
				  APMP_APP_WISH_MAX, ask->count);
	case -ENOTCONN:
		return app_answer(app, -ENOTCONN, 0,
				  "nobody can be asked for CPUs: this partition is no member of a "
				  "sharing set");
	default:
		return app_answer(app, ask->result < 0 ? ask->result : 0,
				  ask->result < 0 ? 0 : (uint32_t)ask->result, "%s",
				  ask->result < 0 ? strerror(-ask->result) : "");
	}
}

static int send_load(const struct instance *in, struct app *app,
		     const struct apmp_member_load *load)
{
	struct apmp_app_member_load message = {.version = APMP_APP_VERSION,
					       .partition = apmp_identity_id(load->identity),
					       .incarnation =
						   apmp_identity_incarnation(load->identity),
					       .depth = load->depth};

	name_of(in, message.partition, message.name);
	memcpy(message.potential, &load->potential, sizeof(message.potential));
	memcpy(message.active, &load->active, sizeof(message.active));
	return app_send(app, &message, sizeof(message)) ? -EPIPE : 0;
}

static int answer_loads(const struct instance *in, struct app *app, const struct app_ask *ask)
{
	int err;

	if (!ask->result)
		return app_answer(
		    app, -ENOTCONN, 0,
		    "there are no loads to see: this partition is no member of a sharing "
		    "set");
	err = app_answer(app, 0, (uint32_t)ask->result, "%s", "");
	for (int32_t i = 0; i < ask->result && !err; i++)
		err = send_load(in, app, &ask->load[i]);
	return err;
}

static int answer_done(struct instance *in, struct app *app, const struct app_ask *ask)
{
	if (ask->op == APMP_APP_LOADS)
		return answer_loads(in, app, ask);
	return ask->op == APMP_APP_GIVE ? answer_give(in, app, ask) : answer_wish(app, ask);
}

/* The place can be used again. */
static void free_ask(struct app_ask *ask)
{
	if (ask->app)
		ask->app->ask = NULL;
	ask->app = NULL;
	apmp_store_relaxed(&ask->left, 0);
	apmp_store_relaxed(&ask->state, APP_ASK_FREE);
}

void app_cpus_look(struct instance *in)
{
	if (!apmp_load_relaxed(&in->apps.asks))
		return;
	for (uint32_t i = 0; i < APP_ASKS; i++) {
		struct app_ask *ask = &in->apps.ask[i];
		struct app *app = ask->app;
		int err;

		if (apmp_load_acquire(&ask->state) != APP_ASK_DONE)
			continue;
		err = app ? answer_done(in, app, ask) : 0;
		free_ask(ask);
		apmp_fetch_add(&in->apps.asks, UINT32_MAX);
		if (err)
			app_drop(in, app);
		else if (app)
			app_pause(in, app, false);
	}
}

/* ---- requests ---- */

static struct app_ask *free_place(struct apps *apps)
{
	for (uint32_t i = 0; i < APP_ASKS; i++)
		if (apmp_load_relaxed(&apps->ask[i].state) == APP_ASK_FREE)
			return &apps->ask[i];
	return NULL;
}

int app_cpus_serve(struct instance *in, struct app *app, const struct apmp_app_request *request)
{
	struct app_ask *ask = free_place(&in->apps);

	if (request->op < APMP_APP_LOADS || request->op > APMP_APP_WISH)
		return -EPIPE;
	if (!ask)
		return app_answer(
		    app, -EBUSY, 0,
		    "the instance has %u requests of programs about CPUs to answer, and "
		    "takes no more",
		    APP_ASKS);
	if (request->op == APMP_APP_GIVE && request->timeout_ns & ~(uint64_t)APMP_APP_LOAN)
		return app_answer(app, -EINVAL, 0, "a CPU is given with flags that there are not");
	ask->app = app;
	ask->op = request->op;
	ask->count = request->lock;
	ask->cpu_idx = request->lock - 1; /* 0: any */
	ask->to_id = request->rank;
	ask->how = request->timeout_ns & APMP_APP_LOAN ? APMP_MIGRATE_LOAN : 0;
	ask->arrival = ++in->apps.arrivals;
	app->ask = ask;
	app_pause(in, app, true);
	apmp_fetch_add(&in->apps.asks, 1);
	/* Acquired by the primary, which then reads what is asked. */
	apmp_store_release(&ask->state, APP_ASK_ASKED);
	apmp_intr_send(&in->env, in->primary, APMP_INTR_WORK);
	return 0;
}

void app_cpus_end(struct instance *in, struct app *app)
{
	struct app_ask *ask = app->ask;

	if (!ask)
		return;
	app->ask = NULL;
	ask->app = NULL;
	apmp_store_relaxed(&ask->left, 1);
	apmp_intr_send(&in->env, in->primary, APMP_INTR_WORK);
}
