/*
 * test_lock_death.c - somebody dies at every point of opening, taking, letting go and breaking a
 * named lock; whoever comes next gets the lock, and is told BROKEN exactly when its holder died.
 */
#include <errno.h>

#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void setup(void)
{
	world_init(&w);
}

static void teardown(void)
{
	world_fini(&w);
}

/* One life of a lock in BETA: opened, taken, declared good, let go, closed. */
static int use(struct party *p)
{
	struct apmp_locker *l = locker(p);
	uint32_t lock = opened(l, "x", 1);

	ck_assert_int_ge(apmp_lock_acquire(l, lock, 0), 0);
	ck_assert_int_eq(apmp_lock_good(l, lock), 0);
	ck_assert_int_eq(apmp_lock_release(l, lock), 0);
	return apmp_lock_close(l, lock);
}

static const struct {
	enum apmp_point point;
	bool held;
} using[] = {
    {APMP_P_named_table, false},   {APMP_P_named_slot, false}, {APMP_P_named_open, false},
    {APMP_P_named_acquired, true}, {APMP_P_named_good, true},  {APMP_P_named_release, true},
};

/* Who comes after the death. */
enum next {
	MEMBERS,      /* recovery, by the members' clocks */
	WANTER,	      /* one that wants the lock, before any clock has ticked */
	BEFORE_FENCE, /* one that wants the lock and has to wait for the fence */
	NEWCOMER,     /* one that was no member */
	AGAIN,	      /* the dead one's next life */
	NEXT_COUNT
};

static void on_wait_fence(struct party *p, const _Atomic uint32_t *word)
{
	(void)word;
	if (p->waits == 5)
		world_fence(&w, BETA);
}

/* The first to come after BETA's death. */
static struct party *comes_next(enum next next)
{
	struct party *alpha = &w.party[ALPHA];

	if (next != BEFORE_FENCE)
		world_fence(&w, BETA);
	if (next == MEMBERS)
		world_ticks(&w, 3);
	if (next == NEWCOMER)
		return lock_member(GAMMA);
	if (next == AGAIN)
		return lock_member(BETA);
	if (next == BEFORE_FENCE) {
		alpha->waits = 0;
		alpha->on_wait = on_wait_fence;
	}
	return alpha;
}

/* Takes and lets go the lock, as somebody who has it open or not; what acquire said. */
static int takes(struct party *p)
{
	struct apmp_locker *l = locker(p);
	uint32_t lock = opened(l, "x", 1);
	int broken = apmp_lock_acquire(l, lock, APMP_NEVER);

	ck_assert_uint_eq(word_of("x") & ~APMP_LOCK_WAITERS, l->word);
	if (broken == 1)
		ck_assert_int_eq(apmp_lock_good(l, lock), 0);
	ck_assert_int_eq(apmp_lock_release(l, lock), 0);
	ck_assert_uint_eq(word_of("x"), 0);
	return broken;
}

/* When ALPHA and p are left: nobody holds anything, and who lives may have the lock. */
static void check_at_rest(struct party *p)
{
	struct apmp_db_locks *table = lock_table();
	uint64_t members = BIT(ALPHA) | BIT(p->id);

	p->on_wait = NULL;
	if (w.party[BETA].ended && apmp_tree_alive(&w.tw.tree, w.party[BETA].env.self))
		world_fence(&w, BETA);
	world_ticks(&w, 5);
	world_check_set(&w, members);
	ck_assert_uint_eq(apmp_load_relaxed(&table->table), 0);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		ck_assert_uint_eq(apmp_load_relaxed(&table->lock[i].word), 0);
		ck_assert_uint_eq(apmp_load_relaxed(&table->lock[i].openers) & ~members, 0);
	}
	for (uint64_t m = members; m; m &= m - 1)
		ck_assert_int_eq(takes(&w.party[__builtin_ctzll(m)]), 0);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		ck_assert_uint_eq(apmp_load_relaxed(&locks[id].odd_count), 0);
}

/* Others have the lock open, or nobody.  shows: COMM-04 */
START_TEST(user_dies)
{
	int point = _i % COUNT(using), next = _i / COUNT(using) % NEXT_COUNT;
	bool open = _i / COUNT(using) / NEXT_COUNT;
	struct party *beta, *p;

	if (open)
		(void)opened(locker(lock_member(ALPHA)), "x", 1);
	else
		(void)lock_member(ALPHA);
	if (open && using[point].point == APMP_P_named_slot)
		return; /* it makes no slot then */
	beta = lock_member(BETA);
	party_arm(beta, using[point].point, 1);
	ck_assert_int_eq(party_run(beta, use), PARTY_DIED);
	p = comes_next((enum next)next);
	ck_assert_int_eq(takes(p), using[point].held);
	check_at_rest(p);
}
END_TEST

/* A member that holds the lock. */
static struct apmp_locker *holder(uint32_t id)
{
	struct apmp_locker *l = locker(lock_member(id));

	ck_assert_int_eq(apmp_lock_acquire(l, opened(l, "x", 1), 0), 0);
	return l;
}

/* What breaks a lock of the dead. */
static int take_it(struct party *p)
{
	(void)takes(p);
	return 0;
}

static const struct {
	int (*operation)(struct party *p);
	enum apmp_point point;
} breaking[] = {
    {party_work, APMP_P_named_broken},	   {party_work, APMP_P_named_marked},
    {party_work, APMP_P_named_freed},	   {party_work, APMP_P_recover_begin},
    {party_work, APMP_P_recover_services}, {take_it, APMP_P_named_broken},
    {take_it, APMP_P_named_acquired},	   {take_it, APMP_P_named_release},
};

/* GAMMA died with the lock, BETA while it broke it: still BROKEN, and had by the next.
 * shows: COMM-04, MEM-16 */
START_TEST(breaker_dies)
{
	int i = _i % COUNT(breaking);
	struct party *alpha = lock_member(ALPHA), *beta, *p;

	(void)opened(locker(alpha), "x", 1);
	(void)holder(GAMMA);
	beta = lock_member(BETA);
	world_fence(&w, GAMMA);
	party_arm(beta, breaking[i].point, 1);
	ck_assert_int_eq(party_run(beta, breaking[i].operation), PARTY_DIED);
	p = comes_next((enum next)(_i / COUNT(breaking)));
	ck_assert_int_eq(takes(p), 1);
	check_at_rest(p);
}
END_TEST

static const enum apmp_point leaving[] = {APMP_P_leave_begin,	 APMP_P_named_broken,
					  APMP_P_named_marked,	 APMP_P_named_freed,
					  APMP_P_leave_services, APMP_P_leave_mask};

/* BETA leaves with the lock, and dies over it. */
START_TEST(leaver_dies)
{
	struct party *beta, *p;

	(void)lock_member(ALPHA);
	(void)holder(BETA);
	beta = &w.party[BETA];
	party_arm(beta, leaving[_i % COUNT(leaving)], 1);
	ck_assert_int_eq(party_run(beta, party_leave), PARTY_DIED);
	p = comes_next((enum next)(_i / COUNT(leaving)));
	ck_assert_int_eq(takes(p), 1);
	check_at_rest(p);
}
END_TEST

static struct apmp_locker *dying;

static int locker_dies(struct party *p)
{
	(void)p;
	apmp_locker_died(dying);
	return 0;
}

static const enum apmp_point ending[] = {APMP_P_named_broken, APMP_P_named_marked,
					 APMP_P_named_freed};

/* A program of BETA died, and then BETA while it broke its lock. */
START_TEST(instance_of_a_dead_program_dies)
{
	struct party *beta, *p;

	(void)lock_member(ALPHA);
	dying = holder(BETA);
	beta = &w.party[BETA];
	party_arm(beta, ending[_i % COUNT(ending)], 1);
	ck_assert_int_eq(party_run(beta, locker_dies), PARTY_DIED);
	p = comes_next((enum next)(_i / COUNT(ending)));
	ck_assert_int_eq(takes(p), 1);
	check_at_rest(p);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock_death");
	TCase *tc = suite_case(suite, "lock_death");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, user_dies, 0, COUNT(using) * NEXT_COUNT * 2);
	tcase_add_loop_test(tc, breaker_dies, 0, COUNT(breaking) * NEXT_COUNT);
	tcase_add_loop_test(tc, leaver_dies, 0, COUNT(leaving) * NEXT_COUNT);
	tcase_add_loop_test(tc, instance_of_a_dead_program_dies, 0, COUNT(ending) * NEXT_COUNT);
	return suite_run(suite);
}
