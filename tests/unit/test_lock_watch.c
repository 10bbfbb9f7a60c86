/* test_lock_watch.c - waiting for several named locks in one thread: what to wait on, and that
 * whoever lets go wakes it. */
#include <errno.h>

#include "shm/lock.h"
#include "shm/shared.h"
#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

static struct party *alpha, *beta;
static struct apmp_locker *a, *b;
static uint32_t la, lb;

static void setup(void)
{
	world_init(&w);
	alpha = lock_member(ALPHA);
	beta = lock_member(BETA);
	a = locker(alpha);
	b = locker(beta);
	la = opened(a, "x", 1);
	lb = opened(b, "x", 1);
}

static void teardown(void)
{
	world_fini(&w);
}

/* Beta waits for what alpha has; alpha's release wakes it, and the word is another. */
START_TEST(a_release_wakes)
{
	const _Atomic uint32_t *word;
	uint32_t seen;

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_watch(b, lb, &word, &seen), 0);
	ck_assert_uint_eq(apmp_load_relaxed(word), seen);
	ck_assert(word_of("x") & APMP_LOCK_WAITERS);
	alpha->wakes = 0;
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	ck_assert_uint_eq(alpha->wakes, 1);
	ck_assert_uint_ne(apmp_load_relaxed(word), seen);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
}
END_TEST

/* Others may wait as well: who watched and got it wakes the next. */
START_TEST(who_watched_wakes_the_next)
{
	const _Atomic uint32_t *word;
	uint32_t seen;

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(apmp_lock_watch(b, lb, &word, &seen), 0);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
	beta->wakes = 0;
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_uint_eq(beta->wakes, 1);
	/* The next time it did not wait. */
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_uint_eq(beta->wakes, 1);
}
END_TEST

START_TEST(a_wait_is_counted_once)
{
	const _Atomic uint32_t *word;
	uint32_t seen;

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_int_eq(apmp_lock_watch(b, lb, &word, &seen), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->contended_count), 1);
}
END_TEST

START_TEST(what_can_not_be_watched)
{
	const _Atomic uint32_t *word;
	uint32_t seen;

	ck_assert_int_eq(apmp_lock_watch(b, lb, &word, &seen), -EAGAIN); /* it is free */
	ck_assert_uint_eq(word_of("x"), 0);
	ck_assert_int_eq(apmp_lock_watch(b, lb + 1, &word, &seen), -EAGAIN); /* not open */
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(party_run(beta, party_leave), 0);
	ck_assert_int_eq(apmp_lock_watch(b, lb, &word, &seen), -EAGAIN); /* no member */
	ck_assert(!(word_of("x") & APMP_LOCK_WAITERS));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watching locks");
	TCase *tcase = suite_case(suite, "watch");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_release_wakes);
	tcase_add_test(tcase, who_watched_wakes_the_next);
	tcase_add_test(tcase, a_wait_is_counted_once);
	tcase_add_test(tcase, what_can_not_be_watched);
	return suite_run(suite);
}
