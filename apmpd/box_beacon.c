/* The watch over death beacons.
 *
 * WHAT     One thread sleeps in futex_waitv() on one word of each partition, and on a word of its
 *          own that says when the list has changed.  It only wakes the loop (uv_async): what a
 *          changed word means, the loop finds out.
 * STATES   of a partition's place: not watched -> armed (the loop: which beacon, and what stood
 *          there) -> fired (the thread: something else stands there) -> not watched (the loop took
 *          it).  Which beacon: while the instance runs its clock's, first dark, then lit; while it
 *          is being killed, the first that is lit by a thread that still runs.
 * LOCKS    lock: the places.  The thread reads mapped words only with it, or in the kernel, which
 *          answers -EFAULT for one that was unmapped meanwhile.
 * CRASHES  A victim may write anything into its beacons, as often as it likes: each armed place
 *          fires once, and what it said is checked against the kernel's word (exiting.h); that of
 *          one that is not killed, only told to end, for as often as it has beacons.  So at
 *          worst its end is seen when it is reaped, as where there are no beacons; and one that
 *          puts out its clock's while that runs has a clock that gives way, which harms itself
 *          alone (to ask the kernel first could make this thread the one that tears down).  One
 *          that wakes the thread for nothing makes it slow, by a millisecond.
 * LIMITS   The thread is in SCHED_FIFO where that is allowed, above the clocks: it runs for
 *          microseconds, and takes that class from a clock's thread which would else keep it
 *          through the teardown of its process, as long as that is large.
 */
#include "apmpd/box_internal.h"

#include "apmpd/exiting.h"
#include "shm/shared.h"
#include "shm/wire/beacon_futex.h"
#include "shm/wire/urgent.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FRUITLESS_MAX 256u

static_assert(APMP_MAX_PARTITIONS < APMP_BEACON_WAITS, "one for each, and ours");

/* The clock's thread has ended, and may go on to the teardown in SCHED_FIFO: at once, for the loop
 * may have to wait for just that CPU. */
static void clock_gives_way(const struct apmp_beacon_place *place)
{
	if (place->idx == APMP_BEACON_CLOCK &&
	    apmp_beacon_read(place->rec, place->idx).state == APMP_BEACON_OUT)
		apmp_exiting_first_gives_way(place->pid); /* not reaped: nobody else's number */
}

/* What to sleep on, and how many that are.  Whether something has fired: then the loop is woken. */
static bool list_waits(struct apmp_beacons *beacons, struct apmp_beacon_wait *ret_waits,
		       unsigned *ret_count)
{
	unsigned count = 0;
	bool fired = false;

	/* Read before the places: whoever changes them afterwards changes this word too. */
	ret_waits[count++] =
	    (struct apmp_beacon_wait){&beacons->changed, apmp_load_acquire(&beacons->changed)};
	pthread_mutex_lock(&beacons->lock);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct apmp_beacon_place *place = &beacons->place[id];

		if (!place->armed)
			continue;
		if (apmp_load_acquire(&place->rec->beacon[place->idx]) == place->seen) {
			ret_waits[count++] =
			    (struct apmp_beacon_wait){&place->rec->beacon[place->idx], place->seen};
			continue;
		}
		place->armed = false;
		place->fired = fired = true;
		clock_gives_way(place);
	}
	pthread_mutex_unlock(&beacons->lock);
	if (fired)
		uv_async_send(&beacons->wake_loop);
	*ret_count = count;
	return fired;
}

static void *watch_main(void *arg)
{
	static const struct timespec breath = {.tv_nsec = 1000000};
	struct apmp_beacon_wait waits[APMP_BEACON_WAITS];
	struct apmp_beacons *beacons = arg;
	unsigned fruitless = 0;
	int error = 0;

	(void)pthread_setname_np(pthread_self(), "beacons"); /* for top -H and gdb */
	/* Refused: then it is as late as any thread. */
	(void)!apmp_urgent_fifo(0, APMP_INSTANCE_FIFO_PRIORITY + 1);
	while (!apmp_load_acquire(&beacons->stop) &&
	       (!error || error == -EFAULT || error == -ENOMEM)) {
		unsigned count;

		/* Somebody wakes it again and again for nothing: he must not have the host. */
		fruitless = list_waits(beacons, waits, &count) ? 0 : fruitless + 1;
		if (fruitless > FRUITLESS_MAX)
			(void)nanosleep(&breath, NULL);
		error = apmp_beacon_futex_wait(waits, count);
	}
	return NULL;
}

/* The thread has slept on something else. */
static void look_anew(struct apmp_beacons *beacons)
{
	apmp_fetch_add(&beacons->changed, 1);
	apmp_beacon_futex_wake(&beacons->changed);
}

static void arm(struct apmp_beacons *beacons, uint32_t id, uint32_t idx, uint32_t seen)
{
	struct apmp_beacon_place *place = &beacons->place[id];

	pthread_mutex_lock(&beacons->lock);
	place->idx = idx;
	place->seen = seen;
	place->armed = true;
	place->fired = false;
	pthread_mutex_unlock(&beacons->lock);
	look_anew(beacons);
}

/* Whether it fired, which is taken. */
static bool take(struct apmp_beacons *beacons, uint32_t id)
{
	struct apmp_beacon_place *place = &beacons->place[id];
	bool fired;

	pthread_mutex_lock(&beacons->lock);
	fired = place->fired;
	place->fired = false;
	pthread_mutex_unlock(&beacons->lock);
	return fired;
}

/* The clock's beacon of an instance that nobody kills has changed. */
static void clock_changed(struct apmp_box *box, uint32_t id)
{
	struct apmp_partition *partition = &box->partitions[id];
	struct apmp_beacon_place *place = &box->beacons.place[id];
	struct apmp_beacon beacon = apmp_beacon_read(place->rec, APMP_BEACON_CLOCK);

	if (!partition->pid)
		return; /* reaped meanwhile, which says more */
	if (apmp_exiting_begun(partition->pid, partition->pid)) {
		partition->ending = true;
		apmp__console_tell_ending(box, id);
		apmp_exiting_gives_way(partition->pid);
	} else if (beacon.state == APMP_BEACON_LIT && beacon.thread == (uint32_t)partition->pid &&
		   !place->seen) {
		arm(&box->beacons, id, APMP_BEACON_CLOCK, beacon.word);
	} else {
		apmp_log_line(&box->log,
			      "partition \"%s\" wrote 0x%" PRIx32 " into its death beacon: its end "
			      "is seen when it is reaped",
			      partition->name, beacon.word);
	}
}

static void on_beacons(uv_async_t *async)
{
	struct apmp_box *box = async->data;
	bool kills = false;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		if (!take(&box->beacons, id))
			continue;
		if (box->partitions[id].kill.active) {
			box->partitions[id].kill.fired++;
			kills = true;
		} else {
			clock_changed(box, id);
		}
	}
	if (kills)
		apmp__kills_look(box);
}

void apmp__beacons_start(struct apmp_box *box)
{
	struct apmp_beacons *beacons = &box->beacons;
	int error = box->host->futex_waitv;
	sigset_t all, before;

	pthread_mutex_init(&beacons->lock, NULL);
	beacons->wake_loop.data = box;
	if (!error)
		error = uv_async_init(&box->loop, &beacons->wake_loop, on_beacons);
	sigfillset(&all); /* they are the loop's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (!error)
		error = -pthread_create(&beacons->thread, NULL, watch_main, beacons);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	beacons->running = !error;
	if (error)
		apmp_log_line(&box->log, "death beacons are not watched: %s; ends are seen late",
			      strerror(-error));
}

static void unmap(struct apmp_beacons *beacons, uint32_t id)
{
	struct apmp_beacon_place *place = &beacons->place[id];
	struct apmp_recorder *rec = place->rec;

	pthread_mutex_lock(&beacons->lock);
	*place = (struct apmp_beacon_place){0};
	pthread_mutex_unlock(&beacons->lock);
	if (rec)
		munmap(rec, APMP_RECORDER_SIZE);
}

void apmp__beacons_stop(struct apmp_box *box)
{
	struct apmp_beacons *beacons = &box->beacons;

	if (beacons->running) {
		apmp_store_release(&beacons->stop, 1);
		look_anew(beacons);
		pthread_join(beacons->thread, NULL);
	}
	beacons->running = false;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		unmap(beacons, id);
}

void apmp__beacons_begin(struct apmp_box *box, uint32_t id)
{
	const struct apmp_object *object = apmp_objects_find(&box->objects, APMP_BOX_RECORDER, id);
	void *base;

	if (!box->beacons.running)
		return;
	unmap(&box->beacons, id); /* the recorder may be another one by now */
	if (!object)
		return;
	base =
	    mmap(NULL, APMP_RECORDER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, object->fds[0], 0);
	if (base == MAP_FAILED)
		return; /* its end is seen when it is reaped */
	apmp_beacons_reset(base);
	box->beacons.place[id].rec = base; /* not armed: the thread doesn't look at it */
}

void apmp__beacons_watch(struct apmp_box *box, uint32_t id)
{
	if (!box->beacons.place[id].rec)
		return;
	box->beacons.place[id].pid = box->partitions[id].pid;
	arm(&box->beacons, id, APMP_BEACON_CLOCK, 0);
}

void apmp__beacons_end(struct apmp_box *box, uint32_t id)
{
	pthread_mutex_lock(&box->beacons.lock);
	box->beacons.place[id].armed = false; /* from here on the number may be another's */
	pthread_mutex_unlock(&box->beacons.lock);
}

void apmp__beacons_forget(struct apmp_box *box, uint32_t id)
{
	unmap(&box->beacons, id);
}

/* Waits for this one, if its thread still runs. */
static bool await(struct apmp_box *box, uint32_t id, uint32_t idx)
{
	struct apmp_beacon beacon = apmp_beacon_read(box->beacons.place[id].rec, idx);

	if (beacon.state != APMP_BEACON_LIT ||
	    apmp_exiting_task(box->partitions[id].pid, (pid_t)beacon.thread))
		return false;
	arm(&box->beacons, id, idx, beacon.word);
	return true;
}

bool apmp__beacons_await(struct apmp_box *box, uint32_t id)
{
	if (!box->beacons.place[id].rec || !box->partitions[id].pid)
		return false;
	/* The clock's first: it is to give way as soon as it has ended. */
	for (uint32_t i = 0; i < APMP_BEACONS; i++)
		if (await(box, id, (APMP_BEACON_CLOCK + i) % APMP_BEACONS))
			return true;
	return false;
}
