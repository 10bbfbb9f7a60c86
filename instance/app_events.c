/*
 * app_events.c - programs are told who becomes a member of the sharing set and who is one no more,
 * and which CPUs work in their partition.
 *
 * WHAT      Each stream has a copy of what it has told.  What is to be told is the difference to
 *           what is: so a program that does not read is owed at most one departure and one arrival
 *           for each partition, and one change for each CPU, whatever happens meanwhile, and is
 *           right again when it has read them.  What came and went in between it learns as a
 *           number: seq goes on by so many.  CPUs are told to those streams that asked for it.
 * WRITERS   struct apps_members: the primary.  All else: the thread of programs.
 * ORDERING  version, odd, before the table (release fence); the table before version, even
 *           (release); acquired by app_members_look, which reads version again behind the table.
 *           The bell is rung after that, so what is passed over as half written is looked at again.
 *           It is rung for who listens only: version before the look at listeners, and listeners
 *           before the look at version, with a full fence on both sides, so that either the primary
 *           sees that somebody listens, or who begins to sees what the primary has written.  When
 *           he comes while it writes, what was seen before may be long ago: the stream begins with
 *           the bell.
 */
#include <errno.h>
#include <string.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/shared.h"

static void begin_write(struct apps_members *m)
{
	apmp_store_relaxed(&m->version, apmp_load_relaxed(&m->version) + 1);
	atomic_thread_fence(memory_order_release);
}

static void end_write(struct instance *in)
{
	struct apps_members *m = &in->apps.members;

	apmp_store_release(&m->version, apmp_load_relaxed(&m->version) + 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (apmp_load_relaxed(&in->apps.listeners))
		instance_apps_ring(in);
}

void instance_apps_members(struct instance *in, const struct apmp_member_change *changes,
			   uint32_t count)
{
	struct apps_members *m = &in->apps.members;
	uint64_t failed = apmp_load_relaxed(&m->failed);

	if (!count || in->apps.bell < 0)
		return;
	begin_write(m);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t id = apmp_identity_id(changes[i].identity);

		if (id == APMP_NO_PARTITION)
			continue;
		apmp_store_relaxed(&m->present[id], changes[i].added ? changes[i].identity : 0);
		if (!changes[i].added)
			failed &= ~(UINT64_C(1) << id);
		if (changes[i].failed)
			failed |= UINT64_C(1) << id;
	}
	apmp_store_relaxed(&m->failed, failed);
	apmp_store_relaxed(&m->changes, apmp_load_relaxed(&m->changes) + count);
	end_write(in);
}

void instance_apps_cpus(struct instance *in, const struct apmp_cpu_bits *active)
{
	struct apps_members *m = &in->apps.members;
	uint64_t count = 0;

	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		count += (uint64_t)__builtin_popcountll(active->word[w] ^
							apmp_load_relaxed(&m->cpus[w]));
	if (!count || in->apps.bell < 0)
		return;
	begin_write(m);
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		apmp_store_relaxed(&m->cpus[w], active->word[w]);
	apmp_store_relaxed(&m->cpu_changes, apmp_load_relaxed(&m->cpu_changes) + count);
	end_write(in);
}

void app_members_look(struct instance *in)
{
	struct apps_members *m = &in->apps.members;
	struct app_view seen;
	uint32_t version = apmp_load_acquire(&m->version);

	seen.changes = apmp_load_relaxed(&m->changes);
	seen.cpu_changes = apmp_load_relaxed(&m->cpu_changes);
	seen.failed = apmp_load_relaxed(&m->failed);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		seen.present[id] = apmp_load_relaxed(&m->present[id]);
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		seen.cpus.word[w] = apmp_load_relaxed(&m->cpus[w]);
	atomic_thread_fence(memory_order_acquire);
	if (version % 2 == 0 && apmp_load_relaxed(&m->version) == version) {
		in->apps.now = seen;
		in->apps.now_is_known = true;
	}
}

/* A difference between what is and what was told. */
struct difference {
	enum apmp_app_event_kind kind; /* 0: there is none */
	uint64_t identity;	       /* of a member */
	uint32_t cpu_idx;
	bool failed;
};

/* The next one of members, departures first; takes it as told. */
static struct difference next_member(const struct app_view *now, struct app_view *told)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		uint64_t gone = told->present[id];

		if (gone && gone != now->present[id]) {
			told->present[id] = 0;
			return (struct difference){.kind = APMP_APP_MEMBER_REMOVED,
						   .identity = gone,
						   .failed = now->failed >> id & 1};
		}
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (now->present[id] != told->present[id]) {
			told->present[id] = now->present[id];
			return (struct difference){.kind = APMP_APP_MEMBER_ADDED,
						   .identity = now->present[id]};
		}
	return (struct difference){0};
}

/* The same of CPUs. */
static struct difference next_cpu(const struct app_view *now, struct app_view *told)
{
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++) {
		uint64_t differs = now->cpus.word[w] ^ told->cpus.word[w];
		uint64_t bit = differs & -differs;

		if (!differs)
			continue;
		told->cpus.word[w] ^= bit;
		return (struct difference){.kind = told->cpus.word[w] & bit ? APMP_APP_CPU_ADDED
									    : APMP_APP_CPU_REMOVED,
					   .cpu_idx = w * 64u + (uint32_t)__builtin_ctzll(bit)};
	}
	return (struct difference){0};
}

static struct difference next_difference(const struct app *app, const struct app_view *now,
					 struct app_view *told)
{
	struct difference next = next_member(now, told);

	return next.kind || !app->tells_cpus ? next : next_cpu(now, told);
}

/* Changes that there were, of what this stream tells. */
static uint64_t changes_in(const struct app *app, const struct app_view *view)
{
	return view->changes + (app->tells_cpus ? view->cpu_changes : 0);
}

static int tell(struct instance *in, struct app *app, const struct difference *next)
{
	struct apmp_tree_partition partition;
	bool of_cpu = next->kind == APMP_APP_CPU_ADDED || next->kind == APMP_APP_CPU_REMOVED;
	uint64_t identity = of_cpu ? in->env.self : next->identity;
	struct apmp_app_event event = {.version = APMP_APP_VERSION,
				       .kind = next->kind,
				       .seq = app->seq + 1,
				       .partition = apmp_identity_id(identity),
				       .cpu = next->cpu_idx,
				       .incarnation = apmp_identity_incarnation(identity)};

	if (!app->begun)
		event.flags |= APMP_APP_EVENT_STATE;
	if (identity == in->env.self)
		event.flags |= APMP_APP_EVENT_SELF;
	if (next->failed)
		event.flags |= APMP_APP_EVENT_FAILED;
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

static uint32_t changes_due(const struct app *app, const struct app_view *now, struct app_view told)
{
	uint32_t count = 0;

	while (next_difference(app, now, &told).kind)
		count++;
	return count;
}

/* What is now is the state that it begins with, if that is known.  False: the bell will ring. */
static bool know(const struct apps *apps, struct app *app)
{
	app->told.changes = changes_in(app, &apps->now) - changes_due(app, &apps->now, app->told);
	app->known = apps->now_is_known;
	return app->known;
}

void app_events_begin(struct instance *in, struct app *app, bool cpus)
{
	if (!apmp_fetch_add(&in->apps.listeners, 1)) /* what was seen last may be long ago */
		in->apps.now_is_known = false;
	atomic_thread_fence(memory_order_seq_cst);
	app_members_look(in);
	app->kind = APP_EVENTS;
	app->tells_cpus = cpus;
	app->told = (struct app_view){0};
	app->seq = 0;
	app->begun = false;
	(void)know(&in->apps, app);
}

void app_events_end(struct instance *in)
{
	apmp_fetch_add(&in->apps.listeners, UINT32_MAX);
}

int app_events_tell(struct instance *in, struct app *app)
{
	const struct app_view *now = &in->apps.now;
	uint32_t due;
	uint64_t missed;

	if (!app->known && !know(&in->apps, app))
		return 0;
	due = changes_due(app, now, app->told);
	missed = due ? changes_in(app, now) - app->told.changes - due : 0;
	app->seq += missed;
	app->told.changes += missed;
	for (; due; due--) {
		struct app_view told = app->told;
		struct difference next = next_difference(app, now, &told);
		int err = tell(in, app, &next);

		if (err)
			return err;
		app->told = told;
		app->told.changes++;
		app->seq++;
	}
	return app->begun ? 0 : tell_begun(app);
}
