/*
 * test_member_death.c - somebody dies at every point of creating, joining, leaving, removing and
 * fencing; whoever comes next makes the sharing set whole, whoever that is.
 */
#include <errno.h>

#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;

static void setup(void)
{
	world_init(&w);
}

static void teardown(void)
{
	world_fini(&w);
}

/* Who comes after the death. */
enum next {
	MEMBERS,      /* the members, by their clocks */
	LEAVER,	      /* a member that leaves, before any clock has ticked */
	NEWCOMER,     /* an instance that was not there, before any clock has ticked */
	AGAIN,	      /* the dead one's next life */
	BEFORE_FENCE, /* a newcomer who has to wait until the console says that it is dead */
	NEXT_COUNT
};

static const enum apmp_point creating[] = {
    APMP_P_map_602,    APMP_P_map_604,	     APMP_P_map_606,	 APMP_P_map_608,
    APMP_P_create_702, APMP_P_create_704,    APMP_P_create_706,	 APMP_P_create_708,
    APMP_P_create_710, APMP_P_create_712,    APMP_P_create_714,	 APMP_P_create_716,
    APMP_P_create_718, APMP_P_lock_acquired, APMP_P_lock_release};
static const enum apmp_point joining[] = {
    APMP_P_map_602,  APMP_P_map_604,  APMP_P_map_606,  APMP_P_map_608,	     APMP_P_join_802,
    APMP_P_join_804, APMP_P_join_806, APMP_P_join_808, APMP_P_join_810,	     APMP_P_join_812,
    APMP_P_join_814, APMP_P_join_816, APMP_P_join_818, APMP_P_lock_acquired, APMP_P_lock_release};
static const enum apmp_point leaving[] = {
    APMP_P_lock_acquired, APMP_P_leave_begin,  APMP_P_leave_services, APMP_P_leave_mask,
    APMP_P_leave_ring,	  APMP_P_lock_release, APMP_P_leave_end};
static const enum apmp_point removing[] = {
    APMP_P_lock_acquired, APMP_P_recover_begin, APMP_P_recover_services, APMP_P_recover_mask,
    APMP_P_recover_ring,  APMP_P_recover_end,	APMP_P_lock_release,	 APMP_P_validate_pages};
static const enum apmp_point fencing[] = {APMP_P_tick_beat,	  APMP_P_tick_suspect,
					  APMP_P_tick_watch,	  APMP_P_fence_bugcheck,
					  APMP_P_fence_interrupt, APMP_P_fence_done};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static int die_at(struct party *p, enum apmp_point point, int (*operation)(struct party *p))
{
	party_arm(p, point, 1);
	return party_run(p, operation);
}

/* The newcomer waits for a lock whose holder died, until the box has reaped it. */
static void on_wait_fence(struct party *p, const _Atomic uint32_t *word)
{
	struct apmp_db *db = world_db(&w);

	(void)word;
	ck_assert_uint_eq(apmp_load_relaxed(&db->header.lock) & ~UINT64_C(0x8000),
			  party_identity(&w.party[BETA]));
	if (p->waits == 5)
		world_fence(&w, BETA);
}

/* Somebody comes after BETA's death; members are who must be in the set then. */
static void comes_next(enum next next, uint64_t members)
{
	struct party *delta;

	switch (next) {
	case MEMBERS:
		world_fence(&w, BETA);
		world_ticks(&w, 3);
		break;
	case LEAVER:
		world_fence(&w, BETA);
		ck_assert_int_eq(party_run(&w.party[ALPHA], party_leave), 0);
		members &= ~BIT(ALPHA);
		break;
	case NEWCOMER:
		world_fence(&w, BETA);
		(void)world_member(&w, DELTA);
		members |= BIT(DELTA);
		break;
	case AGAIN:
		(void)world_member(&w, BETA);
		members |= BIT(BETA);
		break;
	default:
		delta = world_boot(&w, DELTA);
		delta->on_wait = on_wait_fence;
		ck_assert_int_eq(party_run(delta, party_enter), 0);
		if (!delta->waits) /* it held no lock: its clocks and its silence tell */
			world_fence(&w, BETA);
		world_ticks(&w, 3);
		members |= BIT(DELTA);
		break;
	}
	world_check_set(&w, members);
	world_ticks(&w, 60);
	world_check_set(&w, members);
	/* And nothing of it is in the way of a next life. */
	(void)world_member(&w, BETA);
	world_check_set(&w, members | BIT(BETA));
}

/* shows: DB-05, DB-06, DB-14 */
START_TEST(creator_dies)
{
	enum next next = (enum next)(_i / COUNT(creating) + NEWCOMER);
	struct party *beta = world_boot(&w, BETA);

	ck_assert_int_eq(die_at(beta, creating[_i % COUNT(creating)], party_enter), PARTY_DIED);
	comes_next(next, 0);
}
END_TEST

/* shows: DB-06, DB-09, DB-14 */
START_TEST(joiner_dies)
{
	enum next next = (enum next)(_i / COUNT(joining));

	(void)world_member(&w, ALPHA);
	(void)world_member(&w, GAMMA);
	ck_assert_int_eq(die_at(world_boot(&w, BETA), joining[_i % COUNT(joining)], party_enter),
			 PARTY_DIED);
	comes_next(next, BIT(ALPHA) | BIT(GAMMA));
}
END_TEST

/* shows: DB-09, DB-12, DB-14 */
START_TEST(leaver_dies)
{
	enum next next = (enum next)(_i / COUNT(leaving));
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	(void)world_member(&w, GAMMA);
	ck_assert_int_eq(die_at(beta, leaving[_i % COUNT(leaving)], party_leave), PARTY_DIED);
	comes_next(next, BIT(ALPHA) | BIT(GAMMA));
}
END_TEST

/* shows: DB-14 */
START_TEST(last_leaver_dies)
{
	enum next next = (enum next)(_i / COUNT(leaving) + NEWCOMER);
	struct party *beta = world_member(&w, BETA);

	ck_assert_int_eq(die_at(beta, leaving[_i % COUNT(leaving)], party_leave), PARTY_DIED);
	comes_next(next, 0);
}
END_TEST

/* GAMMA is dead, and BETA, its big brother, dies while it removes it.
 * shows: DB-10, DB-11, DB-14 */
START_TEST(remover_dies)
{
	enum apmp_point point = removing[_i % COUNT(removing)];
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	(void)world_member(&w, GAMMA);
	(void)world_member(&w, DELTA);
	world_ticks(&w, 2);
	world_fence(&w, GAMMA);
	ck_assert_int_eq(die_at(beta, point, party_work), PARTY_DIED);
	world_fence(&w, BETA);
	if (_i >= COUNT(removing)) /* somebody new before any clock */
		(void)world_member(&w, GAMMA);
	world_ticks(&w, 3);
	world_check_set(&w, BIT(ALPHA) | BIT(DELTA) | (_i >= COUNT(removing) ? BIT(GAMMA) : 0));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.validate), 0);
}
END_TEST

/* GAMMA is silent, and BETA, its big brother, falls silent while it suspects or fences it; nobody
 * but their heartbeats tells.  shows: DB-08, DB-09, DB-10, FAIL-05 */
START_TEST(fencer_dies)
{
	struct party *beta, *gamma;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	gamma = world_member(&w, GAMMA);
	(void)world_member(&w, DELTA);
	world_ticks(&w, 2);
	gamma->hung = true;
	party_arm(beta, fencing[_i], 1);
	for (int i = 0; i < 100 && !beta->ended; i++)
		world_tick(&w);
	ck_assert(beta->ended);
	ck_assert_uint_eq(party_passed(beta, fencing[_i]) > 0, 1);
	world_ticks(&w, 100);
	ck_assert(gamma->ended);
	ck_assert(!apmp_tree_alive(&w.tw.tree, party_identity(beta)));
	ck_assert(!apmp_tree_alive(&w.tw.tree, party_identity(gamma)));
	world_check_set(&w, BIT(ALPHA) | BIT(DELTA));
}
END_TEST

/* All but one die at once.  shows: DB-09, DB-11 */
START_TEST(one_survives)
{
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		(void)world_member(&w, id);
	world_ticks(&w, 2);
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		w.party[id].hung = id != (uint32_t)_i;
	world_ticks(&w, 120);
	world_check_set(&w, BIT(_i));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.removed_count), 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("member_death");
	TCase *tc = suite_case(suite, "death");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, creator_dies, 0, COUNT(creating) * (NEXT_COUNT - NEWCOMER));
	tcase_add_loop_test(tc, joiner_dies, 0, COUNT(joining) * NEXT_COUNT);
	tcase_add_loop_test(tc, leaver_dies, 0, COUNT(leaving) * NEXT_COUNT);
	tcase_add_loop_test(tc, last_leaver_dies, 0, COUNT(leaving) * (NEXT_COUNT - NEWCOMER));
	tcase_add_loop_test(tc, remover_dies, 0, COUNT(removing) * 2);
	tcase_add_loop_test(tc, fencer_dies, 0, COUNT(fencing));
	tcase_add_loop_test(tc, one_survives, ALPHA, DELTA + 1);
	return suite_run(suite);
}
