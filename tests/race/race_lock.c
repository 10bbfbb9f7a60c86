/*
 * race_lock.c - named locks between instances and between lockers of one, as threads on one
 * mapping: while holders die, instances leave and come back, and primaries look for strays.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define INSTANCES 2u
#define LOCKERS	  3u /* of each */
#define ROUNDS	  2000u
#define TICK	  (MSEC / 4)

static struct apmp_locker *l[INSTANCES * LOCKERS];
static uint64_t counter[2]; /* plain: the locks "one" and "two" protect them */
static _Atomic uint32_t failed, done, broken, died, refused;

/* A wake-up may be late by a tick at the gate (lock_gate.c), so waiting has an end here. */
static int wait_a_tick(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		       uint64_t deadline_ns)
{
	struct timespec tick = {.tv_nsec = TICK};

	(void)env;
	(void)deadline_ns;
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &tick, NULL, 0);
	return 0;
}

/* Now and then another thread runs between two steps; an instance has several here. */
static void point(struct apmp_env *env, enum apmp_point at, uint64_t arg)
{
	static _Thread_local uint32_t state;

	(void)env;
	(void)arg;
	state = state * 1103515245u + 12345u + (uint32_t)at;
	if (state >> 16 & 1)
		(void)sched_yield();
}

static void setup(void)
{
	world_init(&w);
	for (uint32_t id = 0; id < INSTANCES; id++) {
		struct party *p = lock_boot(id);

		threads_party(p);
		p->env.wait = wait_a_tick;
		p->env.point = point;
		ck_assert_int_eq(apmp_member_enter(&p->member), 0);
		for (uint32_t i = 0; i < LOCKERS; i++)
			l[id * LOCKERS + i] = locker(p);
	}
}

static void teardown(void)
{
	world_fini(&w);
}

static void must(bool held)
{
	apmp_fetch_add(&failed, !held);
}

/* Takes one, or both by rank, counts, lets go. */
static void count_once(struct apmp_locker *by, uint32_t one, uint32_t two, uint32_t round)
{
	must(apmp_lock_acquire(by, one, APMP_NEVER) == 0);
	counter[0]++;
	if (round % 3 == 0) {
		must(apmp_lock_acquire(by, two, APMP_NEVER) == 0);
		counter[1]++;
		must(apmp_lock_release(by, two) == 0);
	}
	must(apmp_lock_release(by, one) == 0);
}

static void open_and_count(uint32_t idx)
{
	uint32_t one, two;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		if (round % 50 == 0) {
			must(apmp_lock_open(l[idx], "one", 1, &one) == 0);
			must(apmp_lock_open(l[idx], "two", 2, &two) == 0);
		}
		count_once(l[idx], one, two, round);
		if (round % 50 == 49)
			must(apmp_lock_close(l[idx], two) != -ESTALE &&
			     apmp_lock_close(l[idx], one) != -ESTALE);
	}
}

/* shows: COMM-04 */
START_TEST(one_at_a_time)
{
	/* Kept open: the last to close would meet another's hold of the same instance. */
	for (uint32_t id = 0; id < INSTANCES; id++) {
		(void)opened(l[id * LOCKERS], "one", 1);
		(void)opened(l[id * LOCKERS], "two", 2);
	}
	threads_run(INSTANCES * LOCKERS, open_and_count);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	ck_assert_uint_eq(counter[0], INSTANCES * LOCKERS * ROUNDS);
	ck_assert_uint_eq(counter[1], INSTANCES * LOCKERS * ((ROUNDS + 2) / 3));
	ck_assert_uint_eq(word_of("one"), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("one")->acquired_count), counter[0]);
}
END_TEST

/* A context that dies with the lock now and then; its instance breaks it and takes a new locker. */
static void count_and_die(uint32_t idx)
{
	struct party *p = &w.party[idx / LOCKERS];
	struct apmp_locker *by = l[idx];
	uint32_t lock;

	must(apmp_lock_open(by, "one", 1, &lock) == 0);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		int got = apmp_lock_acquire(by, lock, APMP_NEVER);

		must(got >= 0);
		apmp_fetch_add(&broken, got == 1);
		counter[0]++;
		if (got == 1)
			must(apmp_lock_good(by, lock) == 0);
		if ((round * LOCKERS * INSTANCES + idx) % 61 == 0) {
			apmp_fetch_add(&died, 1);
			apmp_locker_died(by);
			must(apmp_locker_init(&p->member, &by) == 0);
		} else {
			must(apmp_lock_release(by, lock) == 0);
		}
	}
}

/* Each death is told to the very next holder.  shows: COMM-04 */
START_TEST(contexts_die)
{
	threads_run(INSTANCES * LOCKERS, count_and_die);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	ck_assert_uint_eq(counter[0], INSTANCES * LOCKERS * ROUNDS);
	ck_assert_uint_ge(apmp_load_relaxed(&died), INSTANCES * LOCKERS);
	ck_assert_uint_le(apmp_load_relaxed(&died) - apmp_load_relaxed(&broken), 1);
}
END_TEST

/* Locks while its instance leaves and comes back. */
static void count_if_member(uint32_t idx)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t lock;
		int got = apmp_lock_open(l[idx], "one", 1, &lock);

		if (!got)
			got = apmp_lock_acquire(l[idx], lock, APMP_NEVER);
		if (got < 0) {
			apmp_fetch_add(&refused, 1);
			must(got == -ENOTCONN || got == -ESTALE);
			(void)sched_yield();
			continue;
		}
		got = apmp_lock_release(l[idx], lock);
		must(got == 0 || got == -EPERM);
	}
	apmp_fetch_add(&done, 1);
}

/* The primary of one comes and goes, that of the other looks for strays. */
static void primary(uint32_t id)
{
	struct apmp_member *m = &w.party[id].member;

	while (apmp_load_acquire(&done) < INSTANCES * LOCKERS) {
		if (id == 0) {
			must(apmp_member_leave(m) == 0);
			must(apmp_member_enter(m) == 0);
		} else {
			apmp_fetch_or(&world_db(&w)->node[id].reasons, APMP_REASON_LOCKS);
			must(apmp_member_work(m) == 0);
		}
		(void)wait_a_tick(&w.party[id].env, &done, apmp_load_acquire(&done), 0);
	}
}

static void (*locker_does)(uint32_t idx);

static void primary_or_locker(uint32_t idx)
{
	if (idx < INSTANCES * LOCKERS)
		locker_does(idx);
	else
		primary(idx - INSTANCES * LOCKERS);
}

static void run_with_primaries(void (*does)(uint32_t idx))
{
	locker_does = does;
	threads_run(INSTANCES * LOCKERS + INSTANCES, primary_or_locker);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&locks[1].odd_count), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&locks[0].odd_count), 0);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}

START_TEST(instances_come_and_go)
{
	run_with_primaries(count_if_member);
}
END_TEST

/* Goes in by the way that one takes who lets go while the set is still being claimed. */
static void enter_and_leave(uint32_t idx)
{
	for (uint32_t round = 0; round < 10 * ROUNDS; round++) {
		struct apmp_db_locks *table;

		must(apmp__locker_enter_slowly(l[idx], false, APMP_NEVER, &table) == 0);
		must(!table || apmp_load_relaxed(&table->lock[0].openers) < BIT(INSTANCES));
		apmp__locker_leave(l[idx]);
	}
	apmp_fetch_add(&done, 1);
}

/* What tells who is inside where the segment is does not change under it: -fsanitize=thread. */
START_TEST(gate_opens_while_some_claim)
{
	run_with_primaries(enter_and_leave);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race_lock");
	TCase *tc = suite_case(suite, "lock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, contexts_die);
	tcase_add_test(tc, instances_come_and_go);
	tcase_add_test(tc, gate_opens_while_some_claim);
	return suite_run(suite);
}
