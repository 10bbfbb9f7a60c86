/*
 * race_db_lock.c - several instances want the database lock at once: as threads on one mapping, so
 * that a missing acquire or release is a data race on what the lock protects.
 */
#include <pthread.h>
#include <sched.h>

#include "shm/member_internal.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define INSTANCES 4u
#define ROUNDS	  1500u

static struct world w;
static uint64_t counter;			  /* plain: the lock protects it */
static _Atomic uint32_t failed, taken_over, died; /* asserted when all threads have ended */
static pthread_mutex_t console = PTHREAD_MUTEX_INITIALIZER; /* it is one thread */

static void setup(void)
{
	world_init(&w);
	for (uint32_t id = 0; id < INSTANCES; id++)
		threads_party(world_boot(&w, id));
}

static void teardown(void)
{
	world_fini(&w);
}

static void enter_all(void)
{
	for (uint32_t id = 0; id < INSTANCES; id++)
		ck_assert_int_eq(apmp_member_enter(&w.party[id].member), 0);
}

static void lock_and_count(uint32_t idx)
{
	struct apmp_member *m = &w.party[idx].member;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		if (apmp__db_lock(m) != 0)
			apmp_fetch_add(&failed, 1);
		counter++;
		apmp__db_unlock(m);
	}
}

START_TEST(one_at_a_time)
{
	enter_all();
	threads_run(INSTANCES, lock_and_count);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	ck_assert_uint_eq(counter, INSTANCES * ROUNDS);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA) | BIT(DELTA));
	for (uint32_t id = 0; id < INSTANCES; id++)
		ck_assert_uint_eq(w.party[id].member.odd_count, 0);
}
END_TEST

/* Ends with the lock held, is fenced, and lives again.  Whoever waits for it is woken by nobody
 * here, so the next life rings the bell as a tick would. */
static void die_with_lock(uint32_t id)
{
	struct apmp_db *db = world_db(&w);

	apmp_fetch_add(&died, 1);
	(void)pthread_mutex_lock(&console);
	apmp_tree_set_fenced(&w.tw, id, apmp_identity_incarnation(w.party[id].env.self));
	threads_wake(NULL, (const _Atomic uint32_t *)&db->header.lock, INT32_MAX);
	threads_party(world_boot(&w, id));
	(void)pthread_mutex_unlock(&console);
	apmp_store_relaxed(&w.party[id].member.info, apmp_tree_database(&w.tw.tree, w.lab).info);
	/* It beats here: who does not, and is no member, can't hold the lock. */
	apmp_store_release(&db->node[id].beat_of, w.party[id].env.self);
	apmp_store_release(&w.party[id].member.cell, db);
}

static void lock_and_die(uint32_t idx)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct apmp_member *m = &w.party[idx].member;
		int broken = apmp__db_lock(m);

		apmp_fetch_add(&taken_over, broken == 1);
		apmp_fetch_add(&failed, broken < 0);
		counter++;
		if ((round * INSTANCES + idx) % 97 == 0)
			die_with_lock(idx);
		else
			apmp__db_unlock(m);
	}
}

/* What the dead did under the lock is seen by who takes it over.  shows: DB-05, DB-14 */
START_TEST(taken_from_the_dead)
{
	enter_all();
	threads_run(INSTANCES, lock_and_die);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	ck_assert_uint_eq(counter, INSTANCES * ROUNDS);
	ck_assert_uint_ge(apmp_load_relaxed(&died), INSTANCES);
	ck_assert_uint_le(apmp_load_relaxed(&died) - apmp_load_relaxed(&taken_over), 1);
}
END_TEST

static void come_and_go(uint32_t idx)
{
	struct apmp_member *m = &w.party[idx].member;

	for (uint32_t round = 0; round < ROUNDS / 10; round++) {
		apmp_fetch_add(&failed, apmp_member_enter(m) != 0);
		(void)sched_yield();
		apmp_fetch_add(&failed, apmp_member_tick(m) < 0);
		apmp_fetch_add(&failed, apmp_member_work(m) != 0);
		if (round + 1 < ROUNDS / 10)
			apmp_fetch_add(&failed, apmp_member_leave(m) != 0);
	}
}

/* All enter, tick and leave at once, create and join as it comes; in the end all are members.
 * shows: DB-05, DB-09, DB-12 */
START_TEST(all_come_and_go)
{
	threads_run(INSTANCES, come_and_go);
	ck_assert_uint_eq(apmp_load_relaxed(&failed), 0);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA) | BIT(DELTA));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.removed_count), 0);
	for (uint32_t id = 0; id < INSTANCES; id++) {
		ck_assert_uint_eq(w.party[id].reports[APMP_REPORT_LOCK_BROKEN], 0);
		ck_assert_uint_eq(w.party[id].member.odd_count, 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race_db_lock");
	TCase *tc = suite_case(suite, "db_lock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, taken_from_the_dead);
	tcase_add_test(tc, all_come_and_go);
	return suite_run(suite);
}
