/*
 * app_events.c - programs are told who becomes a member of the sharing set and who is one no more.
 *
 * WHAT      Each stream has a copy of what it has told.  What is to be told is the difference to
 *           what is: so a program that does not read is owed at most one departure and one arrival
 *           for each partition, whatever happens meanwhile, and is right again when it has read
 *           them.  What came and went in between it learns as a number: seq goes on by so many.
 * WRITERS   struct apps_members: the primary.  All else: the thread of programs.
 * ORDERING  version, odd, before the table (release fence); the table before version, even
 *           (release); acquired by app_members_look, which reads version again behind the table.
 *           The bell is rung after that, so what is passed over as half written is looked at again.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/shared.h"

void instance_apps_members(struct instance *in, const struct apmp_member_change *changes,
			   uint32_t count)
{
	struct apps_members *m = &in->apps.members;
	uint32_t version = apmp_load_relaxed(&m->version);

	if (!count || in->apps.bell < 0)
		return;
	apmp_store_relaxed(&m->version, version + 1);
	atomic_thread_fence(memory_order_release);
	for (uint32_t i = 0; i < count; i++)
		apmp_store_relaxed(&m->present[apmp_identity_id(changes[i].identity)],
				   changes[i].added ? changes[i].identity : 0);
	apmp_store_relaxed(&m->changes, apmp_load_relaxed(&m->changes) + count);
	apmp_store_release(&m->version, version + 2);
	instance_apps_ring(in);
}

void app_members_look(struct instance *in)
{
	struct apps_members *m = &in->apps.members;
	struct app_view seen;
	uint32_t version = apmp_load_acquire(&m->version);

	seen.changes = apmp_load_relaxed(&m->changes);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		seen.present[id] = apmp_load_relaxed(&m->present[id]);
	atomic_thread_fence(memory_order_acquire);
	if (version % 2 == 0 && apmp_load_relaxed(&m->version) == version)
		in->apps.now = seen;
}

/* The next difference, departures first, and takes it as told.  Its identity; 0: there is none. */
static uint64_t next_change(const struct app_view *now, struct app_view *told, bool *ret_added)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		uint64_t gone = told->present[id];

		if (gone && gone != now->present[id]) {
			*ret_added = false;
			told->present[id] = 0;
			return gone;
		}
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (now->present[id] != told->present[id]) {
			*ret_added = true;
			return told->present[id] = now->present[id];
		}
	return 0;
}

static int tell(struct instance *in, struct app *app, uint64_t identity, bool added)
{
	struct apmp_tree_partition partition;
	struct apmp_app_event event = {.version = APMP_APP_VERSION,
				       .kind =
					   added ? APMP_APP_MEMBER_ADDED : APMP_APP_MEMBER_REMOVED,
				       .seq = app->seq + 1,
				       .partition = apmp_identity_id(identity),
				       .incarnation = apmp_identity_incarnation(identity)};

	if (!app->begun)
		event.flags |= APMP_APP_EVENT_STATE;
	if (identity == in->env.self)
		event.flags |= APMP_APP_EVENT_SELF;
	/* Names stand still while a partition runs, also in the middle of an update of the tree. */
	if (apmp_tree_partition(&in->tree, event.partition, &partition) == 0)
		memcpy(event.name, partition.name, sizeof(event.name));
	return app_send(app, &event, sizeof(event));
}

static int tell_begun(struct app *app)
{
	const struct apmp_app_event event = {
	    .version = APMP_APP_VERSION, .kind = APMP_APP_STATE_TOLD, .seq = app->seq};
	int err = app_send(app, &event, sizeof(event));

	app->begun = !err;
	return err;
}

static uint32_t changes_due(const struct app_view *now, struct app_view told)
{
	uint32_t count = 0;
	bool added;

	while (next_change(now, &told, &added))
		count++;
	return count;
}

void app_events_begin(struct instance *in, struct app *app)
{
	app->kind = APP_EVENTS;
	app->told = (struct app_view){0};
	app->told.changes = in->apps.now.changes - changes_due(&in->apps.now, app->told);
	app->seq = 0;
	app->begun = false;
}

int app_events_tell(struct instance *in, struct app *app)
{
	const struct app_view *now = &in->apps.now;
	uint32_t due = changes_due(now, app->told);
	uint64_t missed = due ? now->changes - app->told.changes - due : 0;

	app->seq += missed;
	app->told.changes += missed;
	for (; due; due--) {
		struct app_view told = app->told;
		bool added;
		uint64_t identity = next_change(now, &told, &added);
		int err = tell(in, app, identity, added);

		if (err)
			return err;
		app->told = told;
		app->told.changes++;
		app->seq++;
	}
	return app->begun ? 0 : tell_begun(app);
}
