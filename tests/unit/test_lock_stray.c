/*
 * test_lock_stray.c - a stray store has written into a lock the identity of somebody who lives and
 * doesn't hold it: nobody waits for ever, and nobody is fenced for it.
 */
#include <errno.h>

#include "shm/service.h"
#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

static struct party *alpha, *beta;

static void setup(void)
{
	world_init(&w);
	alpha = lock_member(ALPHA);
	beta = lock_member(BETA);
	world_ticks(&w, 2);
}

static void teardown(void)
{
	world_fini(&w);
}

/* Who lives, and has never been in this database. */
static const uint32_t others[] = {DELTA, STRANGER};

/* shows: DB-10, DB-14 */
START_TEST(database_lock)
{
	struct party *other = world_boot(&w, others[_i]);

	apmp_store_relaxed(&world_db(&w)->header.lock, party_identity(other));
	world_ticks(&w, 100);
	ck_assert(!other->ended);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_int_eq(party_run(beta, party_leave), 0);
}
END_TEST

START_TEST(named_lock)
{
	struct party *other = world_boot(&w, others[_i]);
	struct apmp_locker *a = locker(alpha);
	uint32_t x = opened(a, "x", 1);

	apmp_store_relaxed(&slot_of("x")->word, apmp_lock_word(party_identity(other), 3));
	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), 1);
	ck_assert_int_eq(apmp_lock_release(a, x), 0);
	world_ticks(&w, 100);
	ck_assert(!other->ended);
}
END_TEST

/* The table lock of one who lives nowhere near, or of a locker that isn't even inside: the
 * validation that each member makes after a loss comes to an end. */
START_TEST(table_lock)
{
	uint64_t both = BIT(ALPHA) | BIT(BETA), word;

	switch (_i) {
	case 0:
		word = apmp_lock_word(party_identity(world_boot(&w, STRANGER)), 3);
		break;
	case 1:
		word = locker(alpha)->word;
		break;
	default:
		word = locker(beta)->word;
		break;
	}
	apmp_store_relaxed(&lock_table()->table, word);
	apmp_store_relaxed(&world_db(&w)->header.validate, both);
	world_ticks(&w, 10);
	world_check_set(&w, both);
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
	(void)opened(locker(alpha), "x", 1);
}
END_TEST

/* Who joins doesn't wait for ever either: the set is re-formed, and all are in it. */
START_TEST(table_lock_for_a_joiner)
{
	apmp_store_relaxed(&lock_table()->table, locker(beta)->word);
	(void)lock_member(GAMMA);
	world_ticks(&w, 5);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
}
END_TEST

/* Numbers come round in minutes of opening and closing; 0 is no lock. */
START_TEST(no_lock_is_number_0)
{
	struct apmp_locker *a = locker(alpha);
	uint32_t x;

	locks[ALPHA].open[0].last_number = 0u - APMP_LOCK_COUNT;
	x = opened(a, "x", 1);
	ck_assert_uint_ne(x, 0);
	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), 0);
	ck_assert_int_eq(apmp_lock_release(a, x), 0);
	ck_assert_int_eq(apmp_lock_close(a, x), 0);
}
END_TEST

/* Garbage in beat_of, which stands till its next tick: a member holds what it holds. */
START_TEST(garbage_in_beat_of)
{
	struct apmp_locker *a = locker(alpha), *b = locker(beta);
	uint32_t x = opened(a, "x", 1);

	ck_assert_uint_eq(opened(b, "x", 1), x);
	ck_assert_int_eq(apmp_lock_acquire(b, x, 0), 0);
	apmp_store_relaxed(&world_db(&w)->node[BETA].beat_of, 1);
	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), -ETIMEDOUT);
	world_ticks(&w, 1);
	ck_assert_int_eq(apmp_lock_release(b, x), 0);
}
END_TEST

/* A debugger may hold who has the table lock for any time. */
static uint32_t waited;

static void on_wait_let_go(struct party *p, const _Atomic uint32_t *word)
{
	(void)p;
	if (word == apmp__lock_futex(&lock_table()->table) || waited > 0)
		waited++;
	if (waited == 10000)
		apmp_store_relaxed(&lock_table()->table, 0);
}

START_TEST(table_lock_of_the_debugged)
{
	uint64_t incarnation = apmp_load_relaxed(&world_db(&w)->header.incarnation);

	apmp_tree_set_debugged(&w.tw, BETA, apmp_identity_incarnation(party_identity(beta)));
	beta->hung = true;
	apmp_store_relaxed(&lock_table()->table, locker(beta)->word);
	apmp_store_relaxed(&world_db(&w)->header.validate, BIT(ALPHA));
	waited = 1;
	alpha->on_wait = on_wait_let_go;
	world_ticks(&w, 2);
	alpha->on_wait = NULL;
	ck_assert_uint_ge(waited, 10000);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.incarnation), incarnation);
	apmp_tree_set_debugged(&w.tw, BETA, 0);
	beta->hung = false;
	world_ticks(&w, 2);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}
END_TEST

/* A program that waits for the table lock has the primary look. */
static void on_wait_look(struct party *p, const _Atomic uint32_t *word)
{
	(void)word;
	if (apmp_load_relaxed(&world_db(&w)->header.validate) >> ALPHA & 1)
		apmp_store_relaxed(&lock_table()->table, 0);
	ck_assert_uint_lt(p->waits, 1000);
}

START_TEST(a_program_asks)
{
	struct apmp_locker *a = locker(alpha);
	uint32_t y;

	apmp_store_relaxed(&lock_table()->table, locker(beta)->word);
	alpha->waits = 0;
	alpha->on_wait = on_wait_look;
	(void)opened(a, "x", 1);
	alpha->on_wait = NULL;
	world_ticks(&w, 2);
	/* Or comes again, where it must not wait. */
	apmp_store_relaxed(&lock_table()->table, locker(beta)->word);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(apmp_lock_try_open(a, "y", 1, &y), -EAGAIN);
	world_ticks(&w, 3);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_int_eq(apmp_lock_try_open(a, "y", 1, &y), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock_stray");
	TCase *tc = suite_case(suite, "lock_stray");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, database_lock, 0, 2);
	tcase_add_loop_test(tc, named_lock, 0, 2);
	tcase_add_loop_test(tc, table_lock, 0, 3);
	tcase_add_test(tc, table_lock_for_a_joiner);
	tcase_add_test(tc, garbage_in_beat_of);
	tcase_add_test(tc, no_lock_is_number_0);
	tcase_add_test(tc, table_lock_of_the_debugged);
	tcase_add_test(tc, a_program_asks);
	return suite_run(suite);
}
