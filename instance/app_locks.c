/*
 * app_locks.c - named locks for programs: each connection is a locker of its own.
 *
 * WHAT      Nobody waits in shm/lock.c here: one thread would have to wait for many.  Who wants a
 *           lock, or to open one, stands in a queue, and all in it are tried in turn: whenever the
 *           thread has done something, as a program of ours may have let go; when the word of a
 *           lock has changed (app_waker.c), as others may have; and once a tick, as a death wakes
 *           nobody for sure, and the table of names wakes nobody here.
 *           While the primary keeps lockers out (shm/lock_gate.c) nothing is granted.  Of a turn in
 *           which one has found that, none behind him is tried: the gate may open in between, and
 *           would for him who came later.  Who only tries waits for that moment: he asks whether
 *           the lock is held.
 * STATES    of a connection: idle -> waiting (OPEN, ACQUIRE) -> idle (answered).  While it waits
 *           its requests are not read, and only its end is noticed.
 * CRASHES   A program that ends holding locks leaves them broken: its connection ends with its last
 *           process that has it.
 * LIMITS    Fair among the programs of one partition, in the order of asking; partitions race.
 */
#include <errno.h>
#include <string.h>

#include "instance/instance.h"

static struct app_lock *lock_of(struct app *app, uint32_t lock)
{
	struct app_lock *open = app->locks.open;

	return lock >= 1 && lock <= APP_LOCKS_OPEN && open[lock - 1].number ? &open[lock - 1]
									    : NULL;
}

/* The name of a lock that this locker holds. */
static const char *name_of(const struct app *app, uint32_t number)
{
	for (uint32_t i = 0; i < APP_LOCKS_OPEN; i++)
		if (app->locks.open[i].number == number)
			return app->locks.open[i].name;
	return "another";
}

int app_locks_begin(struct instance *in, struct app *app)
{
	struct apmp_locker *locker;
	int err = instance_living(apmp_locker_init(&in->member, &locker));

	if (err)
		return err;
	app->locks = (struct app_locks){.locker = locker};
	app->kind = APP_LOCKS;
	return 0;
}

/* ---- open and close ---- */

static int refuse_open(struct app *app, int err, const struct apmp_app_request *request)
{
	const char *name = request->text;

	switch (err) {
	case -EINVAL:
		return app_answer(
		    app, err, 0,
		    "a lock has a name of 1 to %u bytes and a rank from 1, not \"%s\" and %u",
		    APMP_NAME_SIZE - 1, name, request->rank);
	case -EEXIST:
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" is in use with another rank than %u: all must open it "
		    "with the same",
		    name, request->rank);
	case -ENOSPC:
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" can't be made: the sharing set has %u locks open, and no "
		    "room for more",
		    name, APMP_LOCK_COUNT);
	case -EMFILE:
		return app_answer(app, err, 0,
				  "lock \"%s\" can't be opened: the program has %u open already",
				  name, APP_LOCKS_OPEN);
	case -ENOTCONN:
		return app_answer(app, err, 0,
				  "lock \"%s\" can't be opened: this partition is no member of a "
				  "sharing set",
				  name);
	default:
		return app_answer(app, err, 0, "lock \"%s\" can't be opened: %s", name,
				  strerror(-err));
	}
}

/* -EAGAIN: it has to be tried again. */
static int open_lock(struct app *app, const struct apmp_app_request *request)
{
	struct app_lock *lock = app->locks.open;
	uint32_t place = 0;
	int err = -EMFILE;

	while (place < APP_LOCKS_OPEN && lock[place].number)
		place++;
	if (place < APP_LOCKS_OPEN)
		err = instance_living(apmp_lock_try_open(app->locks.locker, request->text,
							 request->rank, &lock[place].number));
	if (err == -EAGAIN)
		return err;
	if (err)
		return refuse_open(app, err, request);
	lock[place].rank = request->rank;
	memcpy(lock[place].name, request->text, sizeof(lock[place].name));
	return app_answer(app, 0, place + 1, "%s", "");
}

static int close_lock(struct app *app, struct app_lock *lock)
{
	int err = instance_living(apmp_lock_close(app->locks.locker, lock->number));

	if (err == -EBUSY)
		return app_answer(app, err, 0, "lock \"%s\" can't be closed while it is held",
				  lock->name);
	lock->number = 0; /* -ESTALE: it is not open any more in any case */
	return app_answer(app, 0, 0, "%s", "");
}

/* ---- acquire ---- */

static int answer_acquire(struct app *app, const struct app_lock *lock, int err)
{
	switch (err) {
	case 0:
		return app_answer(app, 0, 0, "%s", "");
	case 1:
		return app_answer(
		    app, 1, 0,
		    "lock \"%s\": a holder was lost while it held it, and nobody has said "
		    "that what it protects is good",
		    lock->name);
	case -ETIMEDOUT:
		if (!app->locks.timeout_ns)
			return app_answer(app, err, 0, "lock \"%s\" is held", lock->name);
		return app_answer(app, err, 0, "lock \"%s\" was held for all of %.3f s", lock->name,
				  (double)app->locks.timeout_ns / 1e9);
	case -EDEADLK:
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" of rank %u can't be taken by who holds \"%s\": take locks "
		    "in the order of their ranks",
		    lock->name, lock->rank, name_of(app, app->locks.locker->in_the_way));
	case -EALREADY:
		return app_answer(app, err, 0, "lock \"%s\" is held by this program already",
				  lock->name);
	case -EMFILE:
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" can't be taken: this program holds %u, the most there can "
		    "be",
		    lock->name, APMP_LOCKER_HELD);
	default:
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" can't be taken: this partition is no member of the sharing "
		    "set any more",
		    lock->name);
	}
}

static int want(struct instance *in, struct app *app, uint32_t place, uint64_t timeout_ns)
{
	struct app_locks *l = &app->locks;
	uint64_t now = in->env.now(&in->env);

	l->waiting = true;
	l->wanted = place;
	l->timeout_ns = timeout_ns;
	l->deadline_ns = timeout_ns < APMP_NEVER - now ? now + timeout_ns : APMP_NEVER;
	in->apps.queue[in->apps.queue_count++] = app;
	return 0;
}

static void leave_queue(struct apps *apps, const struct app *app)
{
	uint32_t i = 0;

	while (apps->queue[i] != app)
		i++;
	apps->queue_count--;
	memmove(&apps->queue[i], &apps->queue[i + 1],
		(apps->queue_count - i) * sizeof(struct app *));
}

/* Tries to take what it waits for, and answers.  -EAGAIN: it goes on waiting; -EPIPE. */
static int try_acquire(struct instance *in, struct app *app)
{
	struct app_locks *l = &app->locks;
	const struct app_lock *lock = &l->open[l->wanted];
	bool late = l->deadline_ns != APMP_NEVER && in->env.now(&in->env) >= l->deadline_ns;
	int err = -EAGAIN;

	if (!in->apps.kept_out)
		err = instance_living(apmp_lock_acquire(l->locker, lock->number, 0));
	if (err == -EAGAIN) {
		in->apps.kept_out = true;
		late = late && l->timeout_ns; /* else it asks whether the lock is held */
		err = -ETIMEDOUT;
	}
	if (err == -ETIMEDOUT && !late)
		return -EAGAIN;
	if (!answer_acquire(app, lock, err))
		return 0;
	/* It has gone, and never heard that the lock was its own: nothing is half done. */
	if (err >= 0)
		(void)instance_living(apmp_lock_release(l->locker, lock->number));
	return -EPIPE;
}

/* Tries for one.  False: it goes on waiting. */
static bool try(struct instance *in, struct app *app)
{
	struct app_locks *l = &app->locks;
	int err = l->wanted < APP_LOCKS_OPEN ? try_acquire(in, app) : open_lock(app, &l->opening);

	if (err == -EAGAIN) {
		if (!l->paused)
			app_pause(in, app, true);
		l->paused = true;
		return false;
	}
	leave_queue(&in->apps, app);
	l->waiting = false;
	if (err) {
		app_drop(in, app);
		return true;
	}
	if (l->paused)
		app_pause(in, app, false);
	l->paused = false;
	return true;
}

/* 0: it waits to open one. */
static uint32_t wanted_by(const struct app *app)
{
	uint32_t place = app->locks.wanted;

	return place < APP_LOCKS_OPEN ? app->locks.open[place].number : 0;
}

/* Whether the lock is wanted by somebody before this one in the queue. */
static bool wanted_before(const struct apps *apps, uint32_t place)
{
	for (uint32_t i = 0; i < place; i++)
		if (wanted_by(apps->queue[i]) == wanted_by(apps->queue[place]))
			return true;
	return false;
}

static bool same_words(const struct app_waker *waker, const struct app_waker_word *word,
		       uint32_t count)
{
	if (count != waker->count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (word[i].word != waker->word[i].word || word[i].seen != waker->word[i].seen)
			return false;
	return true;
}

/* Each lock that is waited for is watched once.  What can't be is tried again at the next tick. */
static void watch_words(struct apps *apps)
{
	struct app_waker_word word[APP_WAKER_WORDS];
	uint32_t count = 0;

	for (uint32_t i = 0; i < apps->queue_count && count < APP_WAKER_WORDS; i++)
		if (wanted_by(apps->queue[i]) && !wanted_before(apps, i) &&
		    !apmp_lock_watch(apps->queue[i]->locks.locker, wanted_by(apps->queue[i]),
				     &word[count].word, &word[count].seen))
			count++;
	if (apps->woken || !same_words(&apps->waker, word, count))
		app_waker_watch(&apps->waker, word, count);
	apps->woken = false;
}

void app_locks_try(struct instance *in)
{
	uint32_t i = 0;

	/* As long as one is kept out, all behind it are: they must not come first. */
	in->apps.kept_out = false;
	while (i < in->apps.queue_count)
		if (!try(in, in->apps.queue[i]))
			i++;
	watch_words(&in->apps);
}

/* ---- release and good ---- */

static int answer_holder(struct app *app, const struct app_lock *lock, int err)
{
	if (err == -EPERM)
		return app_answer(app, err, 0, "lock \"%s\" is not held by this program",
				  lock->name);
	if (err)
		return app_answer(
		    app, err, 0,
		    "lock \"%s\" was lost while this program held it: what it protects may "
		    "have been changed by others",
		    lock->name);
	return app_answer(app, 0, 0, "%s", "");
}

int app_locks_serve(struct instance *in, struct app *app, const struct apmp_app_request *request)
{
	struct apmp_locker *locker = app->locks.locker;
	struct app_lock *lock = lock_of(app, request->lock);

	if (request->op < APMP_APP_OPEN || request->op > APMP_APP_CLOSE)
		return -EPIPE;
	if (request->op == APMP_APP_OPEN) {
		app->locks.opening = *request;
		return want(in, app, APP_LOCKS_OPEN, UINT64_MAX);
	}
	if (!lock)
		return app_answer(app, -ESTALE, 0, "this program has no lock %u open",
				  request->lock);
	switch (request->op) {
	case APMP_APP_ACQUIRE:
		return want(in, app, request->lock - 1, request->timeout_ns);
	case APMP_APP_RELEASE:
		return answer_holder(app, lock,
				     instance_living(apmp_lock_release(locker, lock->number)));
	case APMP_APP_GOOD:
		return answer_holder(app, lock,
				     instance_living(apmp_lock_good(locker, lock->number)));
	default:
		return close_lock(app, lock);
	}
}

void app_locks_end(struct instance *in, struct app *app)
{
	struct app_locks *l = &app->locks;

	if (l->waiting)
		leave_queue(&in->apps, app);
	apmp_locker_died(l->locker);
	for (uint32_t i = 0; i < APP_LOCKS_OPEN; i++)
		if (l->open[i].number) /* -ESTALE: the instance has left the set meanwhile */
			(void)instance_living(apmp_lock_close(in->apps.locker, l->open[i].number));
}
