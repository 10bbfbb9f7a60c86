/* test_lock.c - named locks: names, ranks, waiting, BROKEN.  Death at every point:
 * test_lock_death.c; threads: tests/race/race_lock.c. */
#include "shm/lock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/service.h"
#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

static struct party *alpha, *beta;
static struct apmp_locker *a, *b; /* a locker of each */

static void setup(void)
{
	world_init(&w);
	alpha = lock_member(ALPHA);
	beta = lock_member(BETA);
	a = locker(alpha);
	b = locker(beta);
}

static void teardown(void)
{
	world_fini(&w);
}

/* shows: COMM-04 */
START_TEST(take_and_release)
{
	uint32_t la = opened(a, "queue", 1), lb = opened(b, "queue", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_uint_eq(apmp_lock_identity(word_of("queue")), party_identity(alpha));
	ck_assert_uint_eq(apmp_lock_locker(word_of("queue")), 1);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(b, lb), -EPERM);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	ck_assert_uint_eq(word_of("queue"), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), -EPERM);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("queue")->acquired_count), 2);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("queue")->contended_count), 0);
}
END_TEST

/* Two lockers of one instance are two. */
START_TEST(lockers_of_one_instance)
{
	struct apmp_locker *a2 = locker(alpha);
	uint32_t lock = opened(a, "x", 1);

	ck_assert_uint_eq(opened(a2, "x", 1), lock);
	ck_assert_int_eq(apmp_lock_acquire(a, lock, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a2, lock, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(a2, lock), -EPERM);
	ck_assert_int_eq(apmp_lock_release(a, lock), 0);
	ck_assert_int_eq(apmp_lock_acquire(a2, lock, 0), 0);
	ck_assert_uint_eq(apmp_lock_locker(word_of("x")), 2);
	ck_assert_int_eq(apmp_lock_release(a2, lock), 0);
	apmp_locker_died(a2);
	ck_assert_ptr_eq(locker(alpha), a2);
}
END_TEST

START_TEST(as_many_lockers_as_there_are)
{
	struct apmp_locker *l;

	for (uint32_t i = 1; i < APMP_LOCKER_COUNT; i++)
		l = locker(alpha);
	ck_assert_uint_eq(apmp_lock_locker(l->word), APMP_LOCKER_COUNT);
	ck_assert_int_eq(apmp_locker_init(&alpha->member, &l), -ENFILE);
	beta->member.locks = NULL;
	ck_assert_int_eq(apmp_locker_init(&beta->member, &l), -ENOSYS);
	beta->member.locks = &locks[BETA];
}
END_TEST

START_TEST(names)
{
	char longest[APMP_NAME_SIZE] = {0}, longer[APMP_NAME_SIZE + 1] = {0};
	uint32_t lock;

	memset(longest, 'x', sizeof(longest) - 1);
	memset(longer, 'x', sizeof(longer) - 1);
	ck_assert_int_eq(apmp_lock_open(a, "", 1, &lock), -EINVAL);
	ck_assert_int_eq(apmp_lock_open(a, NULL, 1, &lock), -EINVAL);
	ck_assert_int_eq(apmp_lock_open(a, longer, 1, &lock), -EINVAL);
	ck_assert_int_eq(apmp_lock_open(a, "x", 0, &lock), -EINVAL);
	ck_assert_ptr_null(slot_of("x"));
	lock = opened(a, longest, 1);
	ck_assert_uint_ne(opened(a, "x", 1), lock);
	ck_assert_uint_eq(opened(a, longest, 1), lock);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(longest)->openers), BIT(ALPHA));
	/* One rank for all. */
	ck_assert_int_eq(apmp_lock_open(a, longest, 2, &lock), -EEXIST);
	ck_assert_int_eq(apmp_lock_open(b, longest, 2, &lock), -EEXIST);
	(void)opened(b, longest, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(longest)->openers), BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
}
END_TEST

/* Our primary breaks it for GAMMA, which died: that is no locker of ours. */
START_TEST(closing_what_the_primary_breaks)
{
	uint32_t la = opened(a, "x", 1);

	apmp_fetch_or(&slot_of("x")->openers, BIT(GAMMA));
	apmp_store_relaxed(&slot_of("x")->word, alpha->env.self | APMP_LOCK_WAITERS);
	ck_assert_int_eq(apmp_lock_close(a, la), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers), BIT(GAMMA));
	la = opened(a, "x", 1);
	apmp_fetch_and(&slot_of("x")->openers, ~BIT(GAMMA));
	ck_assert_int_eq(apmp_lock_close(a, la), -EBUSY);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers), BIT(ALPHA));
	apmp_store_relaxed(&slot_of("x")->word, 0);
}
END_TEST

START_TEST(closing)
{
	uint32_t la = opened(a, "x", 1), lb = opened(b, "x", 1);

	ck_assert_uint_eq(opened(a, "x", 1), la);
	ck_assert_int_eq(apmp_lock_close(a, la), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0); /* open once more */
	ck_assert_int_eq(apmp_lock_close(a, la), -EBUSY);
	ck_assert_int_eq(apmp_lock_close(locker(alpha), la), -EBUSY);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	ck_assert_int_eq(apmp_lock_close(a, la), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers), BIT(BETA));
	ck_assert_int_eq(apmp_lock_close(a, la), -ESTALE);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), -ESTALE);
	ck_assert_int_eq(apmp_lock_close(a, 0), -ESTALE);
	ck_assert_int_eq(apmp_lock_acquire(a, 0, 0), -ESTALE);
	ck_assert_int_eq(apmp_lock_acquire(a, UINT32_MAX, 0), -ESTALE);
	ck_assert_uint_ne(opened(a, "y", 1), la);
	ck_assert_int_eq(apmp_lock_close(b, lb), 0);
	ck_assert_ptr_null(slot_of("x"));
	/* Made anew, with another rank. */
	(void)opened(b, "x", 7);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->rank), 7);
}
END_TEST

/* Somebody alive has the table lock: who must wait for nobody is told so, and may try again. */
START_TEST(opening_without_waiting)
{
	uint32_t lock;

	apmp_store_relaxed(&lock_table()->table, b->word);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 1, &lock), -EAGAIN);
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), b->word);
	ck_assert_ptr_null(slot_of("x"));
	apmp_store_relaxed(&lock_table()->table, 0);
	ck_assert_int_eq(apmp_lock_try_open(a, "", 1, &lock), -EINVAL);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 0, &lock), -EINVAL);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 1, &lock), 0);
	ck_assert_uint_eq(opened(a, "x", 1), lock);
	apmp__lockers_stop(&alpha->member, LOCKS_SHUT);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 1, &lock), -EAGAIN);
	apmp__lockers_go(&alpha->member, LOCKS_CLAIMING);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 1, &lock), -EAGAIN);
	apmp__lockers_go(&alpha->member, LOCKS_OPEN);
	ck_assert_int_eq(apmp_lock_try_open(a, "x", 1, &lock), 0);
}
END_TEST

START_TEST(as_many_names_as_there_are)
{
	char name[16];
	uint32_t lock, first = 0;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		snprintf(name, sizeof(name), "lock-%u", i);
		lock = opened(i % 2 ? a : b, name, i + 1);
		if (i == 0)
			first = lock;
	}
	ck_assert_int_eq(apmp_lock_open(a, "one-more", 1, &lock), -ENOSPC);
	ck_assert_int_eq(apmp_lock_close(b, first), 0);
	(void)opened(a, "one-more", 1);
}
END_TEST

/* shows: MEM-09 */
START_TEST(ranks_rise)
{
	uint32_t low = opened(a, "low", 10), mid = opened(a, "mid", 20),
		 high = opened(a, "high", 30);
	uint32_t peer = opened(a, "peer", 20), lb = opened(b, "low", 10);

	ck_assert_int_eq(apmp_lock_acquire(a, mid, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, low, 0), -EDEADLK);
	ck_assert_uint_eq(a->in_the_way, mid);
	ck_assert_int_eq(apmp_lock_acquire(a, peer, 0), -EDEADLK);
	ck_assert_int_eq(apmp_lock_acquire(a, mid, 0), -EALREADY);
	ck_assert_int_eq(apmp_lock_acquire(a, high, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, mid, 0), -EALREADY);
	/* Let go in any order. */
	ck_assert_int_eq(apmp_lock_release(a, mid), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, mid, 0), -EDEADLK);
	ck_assert_uint_eq(a->in_the_way, high);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0); /* another holds nothing */
	ck_assert_int_eq(apmp_lock_release(a, high), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, low, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

START_TEST(as_many_held_as_one_can)
{
	uint32_t lock[APMP_LOCKER_HELD + 1];
	char name[16];

	for (uint32_t i = 0; i <= APMP_LOCKER_HELD; i++) {
		snprintf(name, sizeof(name), "lock-%u", i);
		lock[i] = opened(a, name, i + 1);
	}
	for (uint32_t i = 0; i < APMP_LOCKER_HELD; i++)
		ck_assert_int_eq(apmp_lock_acquire(a, lock[i], 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, lock[APMP_LOCKER_HELD], 0), -EMFILE);
	for (uint32_t i = 0; i < APMP_LOCKER_HELD; i++)
		ck_assert_int_eq(apmp_lock_release(a, lock[i]), 0);
	ck_assert_uint_eq(a->held_count, 0);
}
END_TEST

static uint32_t lock_of_a, waits_until;

/* ALPHA releases at BETA's nth look. */
static void on_wait_release(struct party *p, const _Atomic uint32_t *futex)
{
	struct apmp_db_locks *its = locks[BETA].segment;

	ck_assert_ptr_eq(futex, &its->lock[lock_of_a % APMP_LOCK_COUNT].word);
	ck_assert_uint_eq(word_of("x"), a->word | APMP_LOCK_WAITERS);
	if (p->waits == waits_until)
		ck_assert_int_eq(apmp_lock_release(a, lock_of_a), 0);
}

START_TEST(waits_for_the_living)
{
	uint64_t before = w.now_ns;
	uint32_t lb;

	lock_of_a = opened(a, "x", 1);
	lb = opened(b, "x", 1);
	ck_assert_int_eq(apmp_lock_acquire(a, lock_of_a, 0), 0);
	alpha->wakes = beta->waits = 0;
	waits_until = 3;
	beta->on_wait = on_wait_release;
	ck_assert_int_eq(apmp_lock_acquire(b, lb, APMP_NEVER), 0);
	beta->on_wait = NULL;
	ck_assert_uint_eq(beta->waits, 3);
	ck_assert_uint_eq(alpha->wakes, 1);
	/* Never for more than a tick at a time. */
	ck_assert_uint_eq(w.now_ns, before + 2 * w.timing.tick_ns);
	/* Others may wait too: it can't know. */
	ck_assert_uint_eq(word_of("x"), b->word | APMP_LOCK_WAITERS);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->contended_count), 1);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_uint_eq(word_of("x"), 0);
}
END_TEST

START_TEST(waits_till_the_deadline)
{
	uint64_t begin = w.now_ns;
	uint32_t la = opened(a, "x", 1), lb = opened(b, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, begin + 5 * MSEC), -ETIMEDOUT);
	ck_assert_uint_eq(w.now_ns, begin + 5 * MSEC);
	ck_assert_uint_eq(b->held_count, 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, begin), -ETIMEDOUT);
	ck_assert_uint_eq(w.now_ns, begin + 5 * MSEC);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, begin), 0); /* it is free: no time is needed */
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

/* BROKEN for every holder until one says good.  shows: COMM-04, MEM-16 */
START_TEST(broken_by_death)
{
	uint32_t la = opened(a, "x", 1), lb = opened(b, "x", 1);
	uint64_t dead = a->word;

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	world_fence(&w, ALPHA);
	world_ticks(&w, 3);
	ck_assert_uint_eq(word_of("x"), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->broken_by), dead);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->broken_count), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers), BIT(BETA));
	ck_assert_uint_eq(beta->reports[APMP_REPORT_NAMED_LOCK_BROKEN], 1);
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_NAMED_LOCK_BROKEN],
			  (uint64_t)(ALPHA + 1) << 32 |
			      (uint64_t)(slot_of("x") - lock_table()->lock));
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
		ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	}
	ck_assert_int_eq(apmp_lock_good(b, lb), -EPERM);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
	ck_assert_int_eq(apmp_lock_good(b, lb), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

/* Whoever wants it need not wait for the recovery of the rest, but for the fence. */
static void on_wait_fence(struct party *p, const _Atomic uint32_t *futex)
{
	(void)futex;
	if (p->waits == 4)
		world_fence(&w, ALPHA);
}

START_TEST(taken_from_the_dead_by_a_waiter)
{
	uint32_t la = opened(a, "x", 1), lb = opened(b, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	alpha->hung = true;
	beta->waits = 0;
	beta->on_wait = on_wait_fence;
	ck_assert_int_eq(apmp_lock_acquire(b, lb, APMP_NEVER), 1);
	beta->on_wait = NULL;
	ck_assert_uint_eq(beta->waits, 4);
	ck_assert_uint_eq(party_passed(beta, APMP_P_named_broken), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->broken_by), a->word);
	/* Recovery finds nothing left to break. */
	world_ticks(&w, 3);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->broken_count), 1);
	ck_assert_uint_eq(word_of("x") & ~APMP_LOCK_WAITERS, b->word);
	ck_assert_int_eq(apmp_lock_good(b, lb), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

/* The only opener died: who opens the name next is told. */
START_TEST(broken_is_remembered_by_name)
{
	uint32_t la = opened(a, "x", 1), lb;

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	world_fence(&w, ALPHA);
	world_ticks(&w, 3);
	ck_assert_ptr_null(slot_of("x"));
	(void)opened(b, "other", 1);
	lb = opened(b, "x", 3);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
	ck_assert_int_eq(apmp_lock_good(b, lb), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

/* A program died in an instance that lives. */
START_TEST(locker_dies)
{
	struct apmp_locker *a2 = locker(alpha);
	uint32_t la = opened(a, "x", 1), la2 = opened(a, "y", 2), lb = opened(b, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, la2, 0), 0);
	apmp_locker_died(a);
	ck_assert_uint_eq(word_of("y"), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
	ck_assert_int_eq(apmp_lock_acquire(a2, la2, 0), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("y")->broken_by), a->word);
	ck_assert_ptr_eq(locker(alpha), a);
	ck_assert_uint_eq(a->held_count, 0);
	ck_assert_int_eq(apmp_lock_release(a2, la2), 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

START_TEST(leaving_with_a_lock)
{
	uint32_t la = opened(a, "x", 1), lb = opened(b, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(party_run(alpha, party_leave), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers), BIT(BETA));
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
	ck_assert_int_eq(apmp_lock_acquire(a, la, APMP_NEVER), -ENOTCONN);
	ck_assert_int_eq(apmp_lock_open(a, "x", 1, &la), -ENOTCONN);
	ck_assert_int_eq(apmp_lock_release(a, la), -EPERM);
	ck_assert_int_eq(apmp_lock_close(a, la), -ESTALE);
	/* Back again, it begins anew. */
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), -ESTALE);
	la = opened(a, "x", 1);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 1);
	ck_assert_int_eq(apmp_lock_good(a, la), 0);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
}
END_TEST

START_TEST(bugchecked)
{
	struct apmp_db_node *node = &world_db(&w)->node[BETA];
	uint32_t lb = opened(b, "x", 1);

	apmp_store_relaxed(&node->bugcheck_of, party_identity(beta));
	apmp_fetch_or(&node->reasons, APMP_REASON_BUGCHECK);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), -EOWNERDEAD);
	ck_assert_uint_eq(word_of("x"), 0);
}
END_TEST

static const uint64_t garbage[] = {
    UINT64_MAX, 0x8000, 0x7fff, 1, 0x80, UINT64_C(0xffffffffffff0000), UINT64_C(0x12345600000041),
};

/* Whatever stands there that is nobody alive is taken over, as BROKEN. */
START_TEST(garbage_in_the_word)
{
	uint32_t lb = opened(b, "x", 1);
	uint64_t odd = garbage[_i];

	apmp_store_relaxed(&slot_of("x")->word, odd);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), (odd & ~APMP_LOCK_WAITERS) != 0);
	ck_assert_uint_eq(word_of("x") & ~APMP_LOCK_WAITERS, b->word);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	ck_assert_uint_eq(word_of("x"), 0);
	apmp_store_relaxed(&lock_table()->table, odd);
	(void)opened(b, "y", 1);
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
}
END_TEST

/* Somebody wrote over a lock that is held: the holder is told. */
START_TEST(garbage_in_a_word_that_is_held)
{
	uint32_t lb = opened(b, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 0);
	apmp_store_relaxed(&slot_of("x")->word, garbage[_i]);
	ck_assert_int_eq(apmp_lock_release(b, lb), -ESTALE);
	ck_assert_uint_eq(apmp_load_relaxed(&locks[BETA].odd_count), 1);
	ck_assert_int_eq(apmp_lock_release(b, lb), -EPERM);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), (garbage[_i] & ~APMP_LOCK_WAITERS) != 0);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

/* ALPHA ticks while BETA waits. */
static void on_wait_tick(struct party *p, const _Atomic uint32_t *futex)
{
	(void)p;
	(void)futex;
	if (party_run(alpha, party_tick) > 0)
		ck_assert_int_eq(party_run(alpha, party_work), 0);
}

/* A word that names somebody alive who does not hold it does not block for ever. */
START_TEST(stray_word_of_the_living)
{
	uint32_t la = opened(a, "held", 1), lb = opened(b, "x", 2);

	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	apmp_store_relaxed(&slot_of("x")->word, _i ? party_identity(alpha) : a->word);
	beta->on_wait = on_wait_tick;
	ck_assert_int_eq(apmp_lock_acquire(b, lb, APMP_NEVER), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&locks[ALPHA].odd_count), 1);
	ck_assert_uint_eq(word_of("held"), a->word);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	/* Nor does one of ours. */
	apmp_store_relaxed(&slot_of("x")->word, b->word);
	ck_assert_int_eq(apmp_lock_acquire(b, lb, 0), 1);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
	beta->on_wait = NULL;
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
}
END_TEST

/* Nor does one that others only try for. */
START_TEST(stray_word_and_tries)
{
	uint32_t lb = opened(b, "x", 1), tries = 0;
	int got;

	apmp_store_relaxed(&slot_of("x")->word, a->word);
	while ((got = apmp_lock_acquire(b, lb, 0)) == -ETIMEDOUT && ++tries < 1000)
		world_tick(&w);
	ck_assert_int_eq(got, 1);
	ck_assert_int_eq(apmp_lock_release(b, lb), 0);
}
END_TEST

static int validate(struct party *p)
{
	return apmp_services[APMP_SERVICE_lock]->validate(&p->member, locks[p->id].segment);
}

START_TEST(validation)
{
	uint32_t la = opened(a, "x", 1);
	struct apmp_db_lock *s = slot_of("x"), good = *s;

	ck_assert_int_eq(validate(alpha), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, la, 0), 0);
	ck_assert_int_eq(validate(beta), 0);
	ck_assert_int_eq(apmp_lock_release(a, la), 0);
	s->name[0] = 0;
	ck_assert_int_eq(validate(beta), -EBADMSG);
	*s = good;
	memset(s->name, 'x', sizeof(s->name));
	ck_assert_int_eq(validate(beta), -EBADMSG);
	*s = good;
	s->name[0] = 'y';
	ck_assert_int_eq(validate(beta), 0);
	ck_assert_int_eq(validate(alpha), -EBADMSG);
	*s = good;
	apmp_store_relaxed(&s->rank, 0);
	ck_assert_int_eq(validate(beta), -EBADMSG);
	apmp_store_relaxed(&s->rank, 2);
	ck_assert_int_eq(validate(alpha), -EBADMSG);
	*s = good;
	apmp_store_relaxed(&s->openers, 0);
	ck_assert_int_eq(validate(alpha), -EBADMSG);
	*s = good;
	apmp_store_relaxed(&s->word, 0x7f);
	ck_assert_int_eq(validate(beta), -EBADMSG);
	*s = good;
	ck_assert_int_eq(validate(alpha), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
}
END_TEST

#define GARBAGE (int)(sizeof(garbage) / sizeof(garbage[0]))

int main(void)
{
	Suite *suite = suite_create("lock");
	TCase *tc = suite_case(suite, "lock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, take_and_release);
	tcase_add_test(tc, lockers_of_one_instance);
	tcase_add_test(tc, as_many_lockers_as_there_are);
	tcase_add_test(tc, names);
	tcase_add_test(tc, closing);
	tcase_add_test(tc, closing_what_the_primary_breaks);
	tcase_add_test(tc, opening_without_waiting);
	tcase_add_test(tc, as_many_names_as_there_are);
	tcase_add_test(tc, ranks_rise);
	tcase_add_test(tc, as_many_held_as_one_can);
	tcase_add_test(tc, waits_for_the_living);
	tcase_add_test(tc, waits_till_the_deadline);
	tcase_add_test(tc, broken_by_death);
	tcase_add_test(tc, taken_from_the_dead_by_a_waiter);
	tcase_add_test(tc, broken_is_remembered_by_name);
	tcase_add_test(tc, locker_dies);
	tcase_add_test(tc, leaving_with_a_lock);
	tcase_add_test(tc, bugchecked);
	tcase_add_loop_test(tc, garbage_in_the_word, 0, GARBAGE);
	tcase_add_loop_test(tc, garbage_in_a_word_that_is_held, 0, GARBAGE);
	tcase_add_loop_test(tc, stray_word_of_the_living, 0, 2);
	tcase_add_test(tc, stray_word_and_tries);
	tcase_add_test(tc, validation);
	return suite_run(suite);
}
