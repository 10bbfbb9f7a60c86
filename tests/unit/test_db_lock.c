/* test_db_lock.c - the lock word, its waiters, and taking it from the dead.  Garbage in the word:
 * test_member_garbage.c; threads: tests/race/race_db_lock.c. */
#include <errno.h>
#include <signal.h>

#include "shm/member_internal.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define WAITERS UINT64_C(0x8000)

static struct world w;
static struct party *alpha, *beta;

static void setup(void)
{
	world_init(&w);
	alpha = world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
}

static void teardown(void)
{
	world_fini(&w);
}

static uint64_t word(void)
{
	return apmp_load_relaxed(&world_db(&w)->header.lock);
}

static void set_word(uint64_t value)
{
	apmp_store_relaxed(&world_db(&w)->header.lock, value);
}

START_TEST(take_and_release)
{
	ck_assert_uint_eq(apmp__db_lock_holder(party_db(beta)), 0);
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	ck_assert_uint_eq(word(), party_identity(alpha));
	ck_assert_uint_eq(apmp__db_lock_holder(party_db(beta)), party_identity(alpha));
	apmp__db_unlock(&alpha->member);
	ck_assert_uint_eq(word(), 0);
	ck_assert_uint_eq(alpha->wakes, 0);
	ck_assert_int_eq(apmp__db_lock(&beta->member), 0);
	apmp__db_unlock(&beta->member);
}
END_TEST

/* ALPHA releases at BETA's third look. */
static void on_wait_release(struct party *p, const _Atomic uint32_t *futex)
{
	ck_assert_ptr_eq(futex, &party_db(p)->header.lock);
	ck_assert_uint_eq(word(), party_identity(alpha) | WAITERS);
	if (p->waits == 3)
		apmp__db_unlock(&alpha->member);
}

START_TEST(waits_for_the_living)
{
	uint64_t before = w.now_ns;

	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	alpha->wakes = 0;
	beta->on_wait = on_wait_release;
	ck_assert_int_eq(apmp__db_lock(&beta->member), 0);
	ck_assert_uint_eq(beta->waits, 3);
	ck_assert_uint_eq(alpha->wakes, 1);
	/* Never for more than a tick at a time. */
	ck_assert_uint_eq(w.now_ns, before + 2 * w.timing.tick_ns);
	ck_assert_uint_eq(word(), party_identity(beta));
	ck_assert_uint_ge(party_passed(beta, APMP_P_lock_wait), 1);
	apmp__db_unlock(&beta->member);
}
END_TEST

/* shows: DB-05, DB-14 */
START_TEST(taken_from_the_dead)
{
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	world_fence(&w, ALPHA);
	ck_assert_int_eq(apmp__db_lock(&beta->member), 1);
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_LOCK_BROKEN], party_identity(alpha));
	ck_assert_uint_eq(party_passed(beta, APMP_P_lock_broken), 1);
	ck_assert_uint_eq(word(), party_identity(beta));
	apmp__db_unlock(&beta->member);
}
END_TEST

/* The holder's next life runs, the holder does not. */
START_TEST(taken_from_the_last_life)
{
	uint64_t last_life = party_identity(beta);

	ck_assert_int_eq(apmp__db_lock(&beta->member), 0);
	(void)world_boot(&w, BETA);
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 1);
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_LOCK_BROKEN], last_life);
	apmp__db_unlock(&alpha->member);
}
END_TEST

/* Others still wait when the lock changes hands: they are woken by the next release. */
START_TEST(waiters_survive_a_takeover)
{
	set_word(apmp_identity(LONE, 5) | WAITERS);
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 1);
	ck_assert_uint_eq(word(), party_identity(alpha) | WAITERS);
	alpha->wakes = 0;
	apmp__db_unlock(&alpha->member);
	ck_assert_uint_eq(alpha->wakes, 1);
	ck_assert_uint_eq(word(), 0);
}
END_TEST

START_TEST(not_ours_to_release)
{
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	set_word(party_identity(beta));
	apmp__db_unlock(&alpha->member);
	ck_assert_uint_eq(word(), party_identity(beta));
	ck_assert_uint_eq(alpha->member.odd_count, 1);
	set_word(0);
	/* And it can be taken again. */
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	apmp__db_unlock(&alpha->member);
}
END_TEST

START_TEST(bugchecked)
{
	struct apmp_db_node *node = &world_db(&w)->node[BETA];

	apmp_store_relaxed(&node->bugcheck_of, party_identity(beta));
	apmp_fetch_or(&node->reasons, APMP_REASON_BUGCHECK);
	ck_assert_int_eq(apmp__db_lock(&beta->member), -EOWNERDEAD);
	ck_assert_uint_eq(word(), 0);
}
END_TEST

/* Our own bug, and the only one that is asserted. */
START_TEST(not_recursive)
{
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0);
	ck_assert_int_eq(apmp__db_lock(&alpha->member), 0); /* aborts */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("db_lock");
	TCase *tc = suite_case(suite, "db_lock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, take_and_release);
	tcase_add_test(tc, waits_for_the_living);
	tcase_add_test(tc, taken_from_the_dead);
	tcase_add_test(tc, taken_from_the_last_life);
	tcase_add_test(tc, waiters_survive_a_takeover);
	tcase_add_test(tc, not_ours_to_release);
	tcase_add_test(tc, bugchecked);
	tcase_add_test_raise_signal(tc, not_recursive, SIGABRT);
	return suite_run(suite);
}
