/*
 * test_lock_reform.c - the database goes bad under named locks, and its set is re-formed in another
 * place: who held a lock holds it still, and nobody is granted one before all have come over.
 */
#include <errno.h>

#include "shm/service.h"
#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

static struct party *alpha, *beta, *third;
static struct apmp_locker *a, *b, *c;

static void setup(void)
{
	world_init(&w);
	alpha = lock_member(ALPHA);
	beta = lock_member(BETA);
	third = lock_member(GAMMA);
	a = locker(alpha);
	b = locker(beta);
	c = locker(third);
	world_ticks(&w, 2);
}

static void teardown(void)
{
	world_fini(&w);
}

/* The segment where this party has it mapped. */
static struct apmp_db_locks *party_table(struct party *p)
{
	return apmp_service_segment(party_db(p), p->member.size, APMP_SERVICE_lock);
}

static void spoil(void)
{
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 0);
}

static void spoil_and_wait(uint64_t members)
{
	uint64_t before = apmp_load_relaxed(&world_db(&w)->header.incarnation);

	spoil();
	world_ticks(&w, 5);
	world_check_set(&w, members);
	ck_assert_uint_gt(apmp_load_relaxed(&world_db(&w)->header.incarnation), before);
	ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->table), 0);
}

/* A lock that all have open. */
static uint32_t shared_by_all(const char *name, uint32_t rank)
{
	uint32_t lock = opened(a, name, rank);

	ck_assert_uint_eq(opened(b, name, rank), lock);
	ck_assert_uint_eq(opened(c, name, rank), lock);
	return lock;
}

/* shows: COMM-04, DB-03 */
START_TEST(what_is_held_stays_so)
{
	uint32_t x = shared_by_all("x", 1), y = shared_by_all("y", 2), z = shared_by_all("z", 3);
	uint32_t own = opened(b, "own", 9);

	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, y, 0), 0);
	apmp_store_relaxed(&slot_of("z")->broken_by, 1);
	ck_assert_int_eq(apmp_lock_acquire(b, z, 0), 1);
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(word_of("x"), a->word);
	ck_assert_uint_eq(word_of("y"), a->word);
	ck_assert_uint_eq(word_of("z"), b->word);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("x")->openers),
			  BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("own")->openers), BIT(BETA));
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of("y")->rank), 2);
	/* As it was: good for others, or BROKEN. */
	ck_assert_int_eq(apmp_lock_acquire(c, x, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(a, x), 0);
	ck_assert_int_eq(apmp_lock_acquire(c, x, 0), 0);
	ck_assert_int_eq(apmp_lock_release(b, z), 0);
	ck_assert_int_eq(apmp_lock_acquire(c, z, 0), 1);
	ck_assert_int_eq(apmp_lock_good(c, z), 0);
	ck_assert_int_eq(apmp_lock_release(c, z), 0);
	ck_assert_int_eq(apmp_lock_release(c, x), 0);
	ck_assert_int_eq(apmp_lock_release(a, y), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, own, 0), 1); /* nobody held it: nobody can know */
	ck_assert_int_eq(apmp_lock_good(b, own), 0);
	ck_assert_int_eq(apmp_lock_release(b, own), 0);
	/* And again, back to the first range. */
	ck_assert_int_eq(apmp_lock_acquire(c, y, 0), 0);
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(word_of("y"), c->word);
	ck_assert_int_eq(apmp_lock_release(c, y), 0);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		ck_assert_uint_eq(apmp_load_relaxed(&locks[id].odd_count), 0);
}
END_TEST

/* Somebody wrote over the word, and another took the lock: of two that claim it the later is told.
 */
START_TEST(two_claim_it)
{
	uint32_t x = shared_by_all("x", 1);
	int first, second;

	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), 0);
	apmp_store_relaxed(&slot_of("x")->word, 0);
	ck_assert_int_eq(apmp_lock_acquire(b, x, 0), 0);
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	first = apmp_lock_release(a, x);
	second = apmp_lock_release(b, x);
	ck_assert(first == 0 || second == 0);
	ck_assert(first == -ESTALE || second == -ESTALE);
	ck_assert_int_eq(apmp_lock_acquire(c, x, 0), 1);
	ck_assert_int_eq(apmp_lock_release(c, x), 0);
}
END_TEST

/* The locker dies holding the lock, which its instance then closes: nobody has it open. */
static void die_holding(struct party *p, struct apmp_locker *l, const char *name)
{
	struct apmp_locker *dead = locker(p);
	uint32_t lock = opened(dead, name, 1);

	ck_assert_int_ge(apmp_lock_acquire(dead, lock, 0), 0);
	apmp_locker_died(dead);
	ck_assert_int_eq(apmp_lock_close(l, lock), 0);
	ck_assert_ptr_null(slot_of(name));
}

/* What the next to come is told; he declares it good, or lets it be. */
static int told(struct apmp_locker *l, const char *name, bool good)
{
	uint32_t lock = opened(l, name, 1);
	int broken = apmp_lock_acquire(l, lock, 0);

	if (good)
		ck_assert_int_eq(apmp_lock_good(l, lock), 0);
	ck_assert_int_eq(apmp_lock_release(l, lock), 0);
	ck_assert_int_eq(apmp_lock_close(l, lock), 0);
	return broken;
}

/* Also when nobody has it open, until somebody declares it good.  shows: COMM-04, DB-03 */
START_TEST(what_is_broken_stays_so)
{
	const uint64_t all = BIT(ALPHA) | BIT(BETA) | BIT(GAMMA);

	die_holding(alpha, a, "x");
	die_holding(alpha, a, "y");
	spoil_and_wait(all); /* who broke them knows it at once */
	spoil_and_wait(all); /* and what was entered anew is known, too */
	ck_assert_int_eq(told(b, "x", false), 1);
	ck_assert_int_eq(told(c, "x", true), 1);
	world_ticks(&w, 1);
	spoil_and_wait(all);
	ck_assert_int_eq(told(b, "x", false), 0);
	ck_assert_int_eq(told(b, "y", false), 1);
	ck_assert_int_eq(told(b, "z", false), 0);
}
END_TEST

/* The one who broke it has died, and another lock got its slot: others know. */
START_TEST(others_remember_what_is_broken)
{
	die_holding(alpha, a, "x");
	world_ticks(&w, 1);
	alpha->hung = true;
	world_ticks(&w, 1);
	world_fence(&w, ALPHA);
	world_ticks(&w, 5);
	opened(b, "first", 1); /* a slot before it in the new table */
	spoil_and_wait(BIT(BETA) | BIT(GAMMA));
	ck_assert_int_eq(told(c, "x", true), 1);
	world_ticks(&w, 1);
	spoil_and_wait(BIT(BETA) | BIT(GAMMA));
	ck_assert_int_eq(told(c, "x", false), 0);
}
END_TEST

/* Somebody writes over the table: with all kinds of bytes, with one, with nothing. */
START_TEST(garbage_makes_nobody_forget)
{
	static const uint64_t step[] = {UINT64_C(0x9e3779b97f4a7c15), 0, 0};
	static const uint64_t first[] = {1, UINT64_C(0xa5a5a5a5a5a5a5a5), 0};
	uint64_t *words = (uint64_t *)lock_table();

	die_holding(alpha, a, "x");
	world_ticks(&w, 1);
	for (size_t i = 0; i < sizeof(struct apmp_db_locks) / sizeof(*words); i++)
		words[i] =
		    (first[_i] + i * step[_i]) * (step[_i] ? UINT64_C(0xbf58476d1ce4e5b9) : 1);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		apmp__locks_work(&w.party[id].member, 0);
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_int_eq(told(c, "x", false), 1);
}
END_TEST

static uint32_t wanted, held, tries;

/* At each step of whoever comes over. */
static void on_point_try(struct party *p, enum apmp_point point, uint64_t arg)
{
	struct apmp_locker *l = p == alpha ? a : p == beta ? b : c;
	uint64_t expected = apmp_load_relaxed(&world_db(&w)->header.expected);
	bool over = apmp_load_relaxed(&locks[p->id].state) == LOCKS_CLAIMING;

	(void)arg;
	if (!over || point == APMP_P_named_claim || !expected)
		return;
	ck_assert_int_eq(apmp_lock_acquire(l, wanted, 0), -EAGAIN);
	tries++;
	/* But what is held can be let go. */
	if (l == a && a->held_count)
		ck_assert_int_eq(apmp_lock_release(a, held), 0);
}

/* shows: COMM-04 */
START_TEST(nothing_is_granted_till_all_have_come)
{
	wanted = shared_by_all("wanted", 2);
	held = shared_by_all("held", 1);
	ck_assert_int_eq(apmp_lock_acquire(a, held, 0), 0);
	alpha->on_point = beta->on_point = third->on_point = on_point_try;
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_gt(tries, 2);
	alpha->on_point = beta->on_point = third->on_point = NULL;
	ck_assert_int_eq(apmp_lock_acquire(c, held, 0), 0); /* let go in order */
	ck_assert_int_eq(apmp_lock_acquire(c, wanted, 0), 1);
	ck_assert_int_eq(apmp_lock_release(c, wanted), 0);
	ck_assert_int_eq(apmp_lock_release(c, held), 0);
}
END_TEST

/* Who comes over and recovers the new set before it has claimed anything. */
static void on_point_recover(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_recover_end || p->member.joined)
		return;
	tries++;
	ck_assert_uint_ne(apmp_load_relaxed(&world_db(&w)->header.expected) & BIT(p->id), 0);
	ck_assert_int_eq(party_run(alpha, party_work), 0);
	ck_assert_int_eq(apmp_lock_acquire(a, wanted, 0), -ETIMEDOUT);
}

/* It is expected until it has joined, also by what it recovers itself: found by spin, as WRONG 7 of
 * tests/model/reform.pml. */
START_TEST(who_recovers_is_still_expected)
{
	wanted = shared_by_all("wanted", 1);
	ck_assert_int_eq(apmp_lock_acquire(c, wanted, 0), 0);
	spoil();
	tries = 0;
	third->on_point = on_point_recover;
	beta->hung = true; /* dies, which somebody has to recover */
	world_ticks(&w, 1);
	world_fence(&w, BETA);
	world_ticks(&w, 5);
	third->on_point = NULL;
	world_check_set(&w, BIT(ALPHA) | BIT(GAMMA));
	ck_assert_uint_eq(word_of("wanted"), c->word);
	ck_assert_int_eq(apmp_lock_release(c, wanted), 0);
}
END_TEST

/* One that waits for a lock goes on waiting in the set re-formed. */
static void on_wait_spoil(struct party *p, const _Atomic uint32_t *word)
{
	(void)word;
	if (p->waits == 3)
		spoil();
	p->on_wait = NULL;
	world_tick(&w);
	p->on_wait = on_wait_spoil;
	if (p->waits == 12)
		ck_assert_int_eq(apmp_lock_release(a, held), 0);
}

START_TEST(a_waiter_goes_over)
{
	held = shared_by_all("held", 1);
	ck_assert_int_eq(apmp_lock_acquire(a, held, 0), 0);
	/* Its primary is another thread, and not this one. */
	third->hung = true;
	third->waits = 0;
	third->on_wait = on_wait_spoil;
	ck_assert_int_eq(apmp_lock_acquire(c, held, w.now_ns + 10 * w.timing.tick_ns), -ETIMEDOUT);
	third->on_wait = NULL;
	third->hung = false;
	world_ticks(&w, 5);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_int_eq(apmp_lock_release(a, held), 0);
	ck_assert_int_eq(apmp_lock_acquire(c, held, 0), 0);
	ck_assert_int_eq(apmp_lock_release(c, held), 0);
}
END_TEST

static const enum apmp_point dying[] = {
    APMP_P_reform_over,	 APMP_P_map_602,    APMP_P_create_702, APMP_P_create_710,
    APMP_P_named_table,	 APMP_P_named_slot, APMP_P_named_open, APMP_P_named_claim,
    APMP_P_create_716,	 APMP_P_join_806,   APMP_P_join_808,   APMP_P_join_812,
    APMP_P_lock_release, APMP_P_join_818,   APMP_P_tick_beat,
};

/* No page of the second range is good: the set is made anew in place. */
static void leave_one_range(void)
{
	struct apmp_tree_fragment f;
	struct gct_mem_desc_node *d;
	uint64_t first;

	ck_assert_int_eq(apmp_tree_memory_at(&w.tw.tree, w.range_pa[1], &f), 0);
	d = (void *)(w.tw.root + f.desc);
	first = (w.range_pa[1] - apmp_load_relaxed(&d->mem_info.base_pa)) / APMP_PAGE_SIZE;
	for (uint64_t i = 0; i < WORLD_RANGE_SIZE / APMP_PAGE_SIZE; i++) {
		apmp_update_begin(&w.up);
		ck_assert_int_eq(apmp_tree_mark_bad(&w.tw, f.desc, first + i), 0);
		apmp_update_commit(&w.up);
	}
}

/* ALPHA makes the set anew over the words of BETA and GAMMA, which use them still. */
static void on_point_use(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	(void)arg;
	if (point < APMP_P_create_710 || point > APMP_P_create_718)
		return;
	tries++;
	ck_assert_int_eq(apmp_lock_acquire(c, wanted, 0), -EAGAIN);
	if (b->held_count == 2) /* nobody's store: it is let go in order */
		ck_assert_int_eq(apmp_lock_release(b, held), 0);
}

START_TEST(in_place)
{
	leave_one_range();
	wanted = shared_by_all("wanted", 1);
	held = shared_by_all("held", 2);
	ck_assert_int_eq(apmp_lock_acquire(b, wanted, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, held, 0), 0);
	alpha->on_point = on_point_use;
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(world_pfn(&w), w.range_pa[0] / APMP_PAGE_SIZE);
	ck_assert_uint_gt(tries, 3);
	ck_assert_uint_eq(word_of("wanted"), b->word);
	ck_assert_uint_eq(word_of("held"), 0);
	ck_assert_int_eq(apmp_lock_acquire(c, wanted, 0), -ETIMEDOUT);
	ck_assert_int_eq(apmp_lock_release(b, wanted), 0);
	ck_assert_int_eq(apmp_lock_acquire(c, wanted, 0), 0);
	ck_assert_int_eq(apmp_lock_release(c, wanted), 0);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		ck_assert_uint_eq(apmp_load_relaxed(&locks[id].odd_count), 0);
}
END_TEST

/* BETA opens a name while ALPHA makes the set anew in place: nothing is written over before BETA is
 * done with the table. */
static void on_point_open(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	(void)arg;
	if (point == APMP_P_create_704)
		apmp_store_relaxed(&lock_table()->table, b->word);
}

static void on_wait_opened(struct party *p, const _Atomic uint32_t *word)
{
	uint64_t seen = apmp_load_relaxed(&lock_table()->table) & ~APMP_LOCK_WAITERS;

	if (p != alpha || word != apmp__lock_futex(&party_table(p)->table) || seen != b->word)
		return;
	tries++;
	ck_assert_uint_eq(word_of("held"), b->word); /* not yet */
	apmp_store_relaxed(&lock_table()->table, 0);
}

START_TEST(opens_in_place)
{
	leave_one_range();
	held = opened(b, "held", 1);
	ck_assert_int_eq(apmp_lock_acquire(b, held, 0), 0);
	tries = 0;
	alpha->on_point = on_point_open;
	alpha->on_wait = on_wait_opened;
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(tries, 1);
	ck_assert_uint_eq(word_of("held"), b->word);
	ck_assert_int_eq(apmp_lock_release(b, held), 0);
}
END_TEST

/* BETA has not come over yet, and its slot is another lock's by now. */
static void on_point_good(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	(void)arg;
	if (point == APMP_P_create_716 && !tries++)
		ck_assert_int_eq(apmp_lock_good(b, held), 0);
}

START_TEST(good_in_place)
{
	leave_one_range();
	held = opened(b, "held", 1);
	wanted = opened(a, "wanted", 2);
	apmp_store_relaxed(&slot_of("held")->broken_by, 1);
	ck_assert_int_eq(apmp_lock_acquire(b, held, 0), 1);
	tries = 0;
	alpha->on_point = on_point_good;
	spoil_and_wait(BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(tries, 1);
	ck_assert_int_eq(apmp_lock_acquire(a, wanted, 0), 1); /* nobody held it */
	ck_assert_uint_eq(word_of("held"), b->word);
	ck_assert_int_eq(apmp_lock_release(b, held), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, held, 0), 0); /* as he left it */
	ck_assert_int_eq(apmp_lock_release(b, held), 0);
	ck_assert_int_eq(apmp_lock_release(a, wanted), 0);
}
END_TEST

/* A locker that is inside looks at the database. */
static void on_wait_inside(struct party *p, const _Atomic uint32_t *word)
{
	if (word != &c->inside)
		return;
	tries++;
	ck_assert_ptr_nonnull(party_db(p));
	apmp_store_release(&c->inside, LOCKER_OUT);
}

/* It leaves a set whose lock segment can't be found, while a program of it uses a lock. */
START_TEST(who_is_inside_has_a_database)
{
	tries = 0;
	apmp_store_relaxed(&world_db(&w)->header.segment[APMP_SERVICE_lock].size, 0);
	apmp_store_release(&c->inside, LOCKER_IN);
	third->on_wait = on_wait_inside;
	ck_assert_int_eq(party_run(third, party_leave), 0);
	ck_assert_uint_eq(tries, 1);
}
END_TEST

/* One of them took what was free in place, and yields to who held it. */
START_TEST(a_claim_goes_before_who_has_not_come)
{
	struct apmp_db_header *h = &world_db(&w)->header;
	uint32_t x = shared_by_all("x", 1);

	ck_assert_int_eq(apmp_lock_acquire(a, x, 0), 0);
	apmp_store_relaxed(&h->expected, BIT(GAMMA));
	apmp_store_relaxed(&slot_of("x")->word, c->word | APMP_LOCK_WAITERS);
	ck_assert_int_eq(apmp_services[APMP_SERVICE_lock]->join(&alpha->member, lock_table()), 0);
	ck_assert_uint_eq(word_of("x"), a->word | APMP_LOCK_WAITERS);
	/* Not before one who has. */
	apmp_store_relaxed(&h->expected, 0);
	apmp_store_relaxed(&slot_of("x")->word, c->word);
	ck_assert_int_eq(apmp_services[APMP_SERVICE_lock]->join(&alpha->member, lock_table()), 0);
	apmp__locks_work(&alpha->member, 0);
	ck_assert_uint_eq(word_of("x"), c->word);
	ck_assert_int_eq(apmp_lock_release(a, x), -ESTALE);
}
END_TEST

/* The box has seen who died; others may be waiting for it. */
static void fence_ended(struct party *p, const _Atomic uint32_t *word)
{
	(void)p;
	(void)word;
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		if (w.party[id].ended && apmp_tree_alive(&w.tw.tree, w.party[id].env.self))
			world_fence(&w, id);
}

/* ALPHA or GAMMA dies over it with the lock: BROKEN, whoever comes over first. */
START_TEST(holder_dies)
{
	enum apmp_point point = dying[_i / 2];
	struct party *dead = _i % 2 ? third : alpha;
	uint32_t x = shared_by_all("x", 1), y = shared_by_all("y", 2);
	struct apmp_locker *l = _i % 2 ? c : a;

	ck_assert_int_eq(apmp_lock_acquire(l, x, 0), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, y, 0), 0);
	party_arm(dead, point, 1);
	alpha->on_wait = beta->on_wait = third->on_wait = fence_ended;
	spoil();
	for (uint32_t i = 0; i < 5; i++) {
		world_tick(&w);
		fence_ended(NULL, NULL);
	}
	if (!dead->ended)
		world_fence(&w, dead->id); /* it does not pass this point */
	world_ticks(&w, 5);
	world_check_set(&w, (BIT(ALPHA) | BIT(BETA) | BIT(GAMMA)) & ~BIT(dead->id));
	ck_assert_uint_eq(word_of("y"), b->word);
	ck_assert_int_eq(apmp_lock_acquire(b, x, 0), -EDEADLK);
	ck_assert_int_eq(apmp_lock_release(b, y), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, x, 0), 1);
	ck_assert_int_eq(apmp_lock_release(b, x), 0);
	ck_assert_int_eq(apmp_lock_acquire(b, y, 0), 0);
	ck_assert_int_eq(apmp_lock_release(b, y), 0);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
	Suite *suite = suite_create("lock_reform");
	TCase *tc = suite_case(suite, "lock_reform");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_held_stays_so);
	tcase_add_test(tc, two_claim_it);
	tcase_add_test(tc, what_is_broken_stays_so);
	tcase_add_test(tc, others_remember_what_is_broken);
	tcase_add_loop_test(tc, garbage_makes_nobody_forget, 0, 3);
	tcase_add_test(tc, nothing_is_granted_till_all_have_come);
	tcase_add_test(tc, who_recovers_is_still_expected);
	tcase_add_test(tc, a_waiter_goes_over);
	tcase_add_test(tc, in_place);
	tcase_add_test(tc, opens_in_place);
	tcase_add_test(tc, good_in_place);
	tcase_add_test(tc, who_is_inside_has_a_database);
	tcase_add_test(tc, a_claim_goes_before_who_has_not_come);
	tcase_add_loop_test(tc, holder_dies, 0, COUNT(dying) * 2);
	return suite_run(suite);
}
