/*
 * test_member_reform.c - a database that goes bad under its living members: the set is formed anew
 * in another place, and nobody dies of it, whatever is spoilt and whoever dies meanwhile.
 */
#include <errno.h>
#include <string.h>

#include "shm/service.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static const uint64_t three = BIT(ALPHA) | BIT(BETA) | BIT(GAMMA);
static uint32_t departures[WORLD_PARTITIONS];

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void setup(void)
{
	world_init(&w);
	memset(departures, 0, sizeof(departures));
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_member(&w, id);
	world_ticks(&w, 2);
}

static void setup_empty(void)
{
	world_init(&w);
}

static void teardown(void)
{
	world_fini(&w);
}

/* Ticks; each member's programs ask what has changed. */
static void ticks(uint32_t count)
{
	struct apmp_member_change change[2 * APMP_MAX_PARTITIONS];

	while (count-- > 0) {
		world_tick(&w);
		for (uint32_t id = ALPHA; id <= GAMMA; id++) {
			struct party *p = &w.party[id];
			uint32_t n = p->ended ? 0 : apmp_member_changes(&p->member, change);

			for (uint32_t i = 0; i < n; i++)
				departures[id] += !change[i].added;
		}
	}
}

static uint64_t range_of_set(void)
{
	return world_pfn(&w) * APMP_PAGE_SIZE / APMP_GRANULE * APMP_GRANULE;
}

static void mark_bad(uint64_t pfn)
{
	uint64_t pa = pfn * APMP_PAGE_SIZE;
	struct apmp_tree_fragment f;
	struct gct_mem_desc_node *d;
	int err = apmp_tree_memory_at(&w.tw.tree, pa, &f);

	ck_assert_int_eq(err, 0);
	d = (void *)(w.tw.root + f.desc);
	apmp_update_begin(&w.up);
	err = apmp_tree_mark_bad(&w.tw, f.desc,
				 (pa - apmp_load_relaxed(&d->mem_info.base_pa)) / APMP_PAGE_SIZE);
	ck_assert_int_eq(err, 0);
	apmp_update_commit(&w.up);
}

/* A page fails behind the back of who creates. */
static void on_call_page_fails(struct party *p, struct apmp_call *call)
{
	if (call->request.op != APMP_CALL_SET_ID)
		return;
	p->on_call = NULL;
	mark_bad(world_pfn(&w) + 2);
}

START_TEST(page_fails_while_it_is_created)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->on_call = on_call_page_fails;
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	world_ticks(&w, 3);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_uint_le(apmp_load_relaxed(&world_db(&w)->header.incarnation), 4);
}
END_TEST

/* The console interrupts everybody. */
static void interrupt_all(void)
{
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		if (w.party[id].env.self && !w.party[id].ended)
			ck_assert_int_ge(party_run(&w.party[id], party_work), 0);
}

static void check_nobody_left(void)
{
	for (uint32_t id = ALPHA; id <= GAMMA; id++) {
		ck_assert(!w.party[id].ended);
		ck_assert_msg(!departures[id], "programs in %u were told of %u departures", id,
			      departures[id]);
		ck_assert_uint_eq(w.party[id].reports[APMP_REPORT_SUSPECTED], 0);
	}
}

static uint64_t garbage(int kind)
{
	switch (kind) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return UINT64_C(0x123456789abcdef);
	default:
		return party_identity(&w.party[BETA]);
	}
}

#define KINDS 4

/* Whatever word of the header is written over: nobody dies, and all are members again.
 * shows: DB-07, DB-11, MEM-13 */
START_TEST(word_of_the_header)
{
	_Atomic uint64_t *word = (void *)world_db(&w);
	uint32_t at = (uint32_t)_i / KINDS;

	ticks(1);
	apmp_store_relaxed(&word[at], garbage(_i % KINDS));
	ticks(4);
	interrupt_all(); /* what nobody reads at each tick */
	world_check_set(&w, three);
	ticks(130);
	world_check_set(&w, three);
	check_nobody_left();
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		ck_assert_uint_le(w.party[id].reports[APMP_REPORT_REFORMED], 1);
}
END_TEST

static bool is_text(uint64_t off)
{
	return off >= offsetof(struct apmp_db_node, name);
}

/* Whatever word of a member's node block is. */
START_TEST(word_of_a_node)
{
	uint32_t at = (uint32_t)_i / KINDS;
	_Atomic uint64_t *word = (void *)&world_db(&w)->node[BETA];

	ticks(1);
	if (is_text(at * sizeof(*word)))
		return;
	apmp_store_relaxed(&word[at], garbage(_i % KINDS));
	ticks(4);
	interrupt_all();
	ticks(2);
	world_check_set(&w, three);
	ticks(130);
	world_check_set(&w, three);
	check_nobody_left();
}
END_TEST

/* A whole page of noise over the header, the nodes, or a service that validates.
 * shows: DB-07, DB-11 */
START_TEST(page_of_noise)
{
	uint64_t seed = (uint64_t)_i + 1, from = range_of_set();
	uint32_t page = (uint32_t)_i % apmp_load_relaxed(&world_db(&w)->header.page_count);
	_Atomic uint64_t *word = (void *)((unsigned char *)world_db(&w) + page * APMP_PAGE_SIZE);

	ticks(1);
	for (uint32_t i = 0; i < APMP_PAGE_SIZE / sizeof(*word); i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		apmp_store_relaxed(&word[i], seed);
	}
	apmp_store_relaxed(&world_db(&w)->header.validate, three); /* as after a loss */
	ticks(6);
	interrupt_all();
	world_check_set(&w, three);
	ck_assert(page || range_of_set() != from);
	check_nobody_left();
}
END_TEST

/* shows: DB-07, MEM-15 */
START_TEST(page_marked_bad)
{
	uint64_t pfn = world_pfn(&w), other;

	if (_i >= (int)apmp_load_relaxed(&world_db(&w)->header.page_count))
		return;
	ticks(1);
	other = apmp_tree_database(&w.tw.tree, w.lab).other;
	ck_assert_uint_eq((other & UINT32_MAX) * APMP_PAGE_SIZE, w.range_pa[1]);
	mark_bad(pfn + (uint32_t)_i);
	interrupt_all();
	ticks(2);
	world_check_set(&w, three);
	check_nobody_left();
	ck_assert_uint_eq(world_pfn(&w) * APMP_PAGE_SIZE, w.range_pa[1]);
	/* The given-up range is the other one only where it is good. */
	other = apmp_tree_database(&w.tw.tree, w.lab).other;
	ck_assert_uint_eq(other & UINT32_MAX,
			  _i < (int)APMP_DB_INFO_PAGES ? pfn + (uint32_t)_i + 1 : pfn);
	world_ticks(&w, 100);
	world_check_set(&w, three);
}
END_TEST

static const enum apmp_point reforming[] = {
    APMP_P_reform_chosen, APMP_P_reform_decided, APMP_P_reform_over, APMP_P_map_602,
    APMP_P_map_604,	  APMP_P_map_606,	 APMP_P_map_608,     APMP_P_lock_acquired,
    APMP_P_create_id,	  APMP_P_create_702,	 APMP_P_create_704,  APMP_P_create_706,
    APMP_P_create_708,	  APMP_P_create_710,	 APMP_P_create_712,  APMP_P_create_714,
    APMP_P_create_716,	  APMP_P_create_718,	 APMP_P_lock_release};
static const enum apmp_point coming[] = {
    APMP_P_reform_over, APMP_P_map_602,	      APMP_P_map_604,	   APMP_P_map_606,
    APMP_P_map_608,	APMP_P_lock_acquired, APMP_P_join_802,	   APMP_P_join_804,
    APMP_P_join_806,	APMP_P_join_808,      APMP_P_join_810,	   APMP_P_join_812,
    APMP_P_join_814,	APMP_P_join_816,      APMP_P_lock_release, APMP_P_join_818};

/* While one waits all clocks go on, and the box sees who has ended. */
static bool box_notices;

static void on_wait_clocks(struct party *p, const _Atomic uint32_t *word)
{
	if (word == &p->member.in_tick)
		return;
	for (uint32_t id = ALPHA; id <= GAMMA; id++) {
		struct party *other = &w.party[id];

		if (other->ended && box_notices)
			world_fence(&w, id);
		else if (!other->ended && !other->hung)
			ck_assert_int_ge(apmp_member_tick(&other->member), 0);
	}
}

/* The victim ends at the point while the set is re-formed; noticed, or found by its silence.
 * shows: DB-07, DB-14 */
static void dies_at(uint32_t victim, enum apmp_point point, bool noticed)
{
	struct party *p = &w.party[victim];

	box_notices = noticed;
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		w.party[id].on_wait = on_wait_clocks;
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
	party_arm(p, point, 1);
	for (int i = 0; i < 4; i++) {
		world_tick(&w);
		if (p->ended && noticed)
			world_fence(&w, victim);
	}
	ck_assert_msg(p->ended, "%s was not passed", apmp_point_info(point)->name);
	world_ticks(&w, 160);
	ck_assert(!apmp_tree_alive(&w.tw.tree, party_identity(p)));
	world_check_set(&w, three & ~BIT(victim));
	(void)world_member(&w, victim);
	world_check_set(&w, three);
	world_ticks(&w, 60);
	world_check_set(&w, three);
}

START_TEST(finder_dies)
{
	dies_at(ALPHA, reforming[_i / 2], _i % 2);
}
END_TEST

START_TEST(follower_dies)
{
	dies_at(_i / 2 % 2 ? BETA : GAMMA, coming[_i / 4], _i % 2);
}
END_TEST

/* All but one die while they come over. */
START_TEST(one_comes_over)
{
	w.party[GAMMA].on_wait = w.party[BETA].on_wait = on_wait_clocks;
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
	party_arm(&w.party[ALPHA], reforming[_i], 1);
	party_arm(&w.party[BETA],
		  reforming[_i] == APMP_P_reform_chosen ? APMP_P_reform_decided : APMP_P_map_608,
		  1);
	world_ticks(&w, 300);
	ck_assert(w.party[ALPHA].ended && w.party[BETA].ended);
	world_check_set(&w, BIT(GAMMA));
}
END_TEST

/* Two find it at once: the second is between its choice and its callback when the first decides. */
static void on_point_other_too(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_reform_chosen)
		return;
	p->on_point = NULL;
	ck_assert_int_ge(party_run(&w.party[BETA], party_tick), 0);
	ck_assert_int_ge(party_run(&w.party[BETA], party_work), 0);
}

START_TEST(two_find_it)
{
	ticks(1);
	w.party[ALPHA].on_point = on_point_other_too;
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
	ticks(3);
	world_check_set(&w, three);
	check_nobody_left();
	ck_assert_uint_eq(w.party[ALPHA].reports[APMP_REPORT_REFORMED] +
			      w.party[BETA].reports[APMP_REPORT_REFORMED],
			  1);
	ck_assert_uint_eq(range_of_set(), w.range_pa[1]);
}
END_TEST

static void forbid_second_range(void)
{
	struct gct_mem_desc_node *d = (void *)(w.tw.root + w.desc[1]);
	struct gct_mem_desc *f = (void *)(w.tw.root + w.desc[1] + apmp_load_relaxed(&d->mem_frag));

	apmp_store_relaxed(&f[0].mem_flags, GCT_MEM_PRIVATE);
}

/* There is one granule of shared memory: the set is made anew where it is. */
START_TEST(only_one_range)
{
	ticks(1);
	forbid_second_range();
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
		else if (i == 1)
			apmp_store_relaxed(&world_db(&w)->node[GAMMA].identity, 12);
		else
			apmp_store_relaxed(&world_db(&w)->header.members, 0);
		ticks(40);
		world_check_set(&w, three);
		check_nobody_left();
		ck_assert_uint_eq(range_of_set(), w.range_pa[0]);
	}
	ck_assert_uint_ge(apmp_load_relaxed(&world_db(&w)->header.incarnation), 4);
}
END_TEST

/* Nothing good is left anywhere: it is told, and everybody goes on. */
START_TEST(all_pages_bad)
{
	uint64_t info = apmp_tree_database(&w.tw.tree, w.lab).info;

	ticks(1);
	for (uint32_t r = 0; r < WORLD_RANGES; r++)
		for (uint64_t page = 0; page < WORLD_RANGE_SIZE / APMP_PAGE_SIZE; page++)
			mark_bad(w.range_pa[r] / APMP_PAGE_SIZE + page);
	interrupt_all();
	ticks(60);
	world_check_set(&w, three);
	check_nobody_left();
	ck_assert_uint_eq(apmp_tree_database(&w.tw.tree, w.lab).info, info);
	ck_assert_uint_ge(w.party[ALPHA].reports[APMP_REPORT_DB_ODD], 1);
	/* Nor does a newcomer take it from under them. */
	ck_assert_int_eq(party_run(world_boot(&w, DELTA), party_enter), -ENOMEM);
	ticks(2);
	world_check_set(&w, three);
}
END_TEST

/* Somebody mad spoils whatever is there at each tick. */
START_TEST(spoilt_again_and_again)
{
	ticks(1);
	for (uint32_t i = 0; i < 500; i++) {
		if (i % 7 == 0)
			apmp_store_relaxed(&world_db(&w)->header.fingerprint, i);
		else if (i % 7 == 3)
			apmp_store_relaxed(&world_db(&w)->node[i % 3].identity, i);
		ticks(1);
	}
	ticks(150);
	world_check_set(&w, three);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		ck_assert(!w.party[id].ended);
	/* Each gives up one set in `stop`. */
	ck_assert_uint_le(w.party[ALPHA].reports[APMP_REPORT_DB_ODD], 500 / 25 + 1);
}
END_TEST

/* A set that was given up still looks whole; when the set comes back to its range, it is no set.
 * shows: DB-14 */
START_TEST(back_to_the_first_range)
{
	ticks(1);
	apmp_store_relaxed(&world_db(&w)->node[BETA].identity, 3);
	ticks(30);
	ck_assert_uint_eq(range_of_set(), w.range_pa[1]);
	ck_assert_uint_eq(apmp_load_relaxed(&((struct apmp_db *)(void *)w.shared)->header.state),
			  APMP_DB_OPERATIONAL);
	apmp_store_relaxed(&world_db(&w)->node[BETA].identity, 3);
	ticks(30);
	ck_assert_uint_eq(range_of_set(), w.range_pa[0]);
	world_check_set(&w, three);
	check_nobody_left();
}
END_TEST

/* A member that leaves while the set is elsewhere leaves it there. */
START_TEST(leaves_while_it_moves)
{
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
	ck_assert_int_gt(party_run(&w.party[ALPHA], party_tick), 0);
	ck_assert_int_eq(party_run(&w.party[ALPHA], party_work), 0);
	ck_assert_int_eq(party_run(&w.party[BETA], party_leave), 0);
	world_ticks(&w, 2);
	world_check_set(&w, BIT(ALPHA) | BIT(GAMMA));
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, BETA), 0);
}
END_TEST

/* Who is slow to come over is waited for: longer than `stop`, but not for ever. */
START_TEST(slow_to_come_over)
{
	struct party *gamma = &w.party[GAMMA];

	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 7);
	gamma->hung = true;
	world_ticks(&w, _i ? 60 : 130);
	ck_assert_uint_eq(apmp_tree_alive(&w.tw.tree, party_identity(gamma)), _i);
	if (_i) {
		ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.expected), BIT(GAMMA));
		gamma->hung = false;
		world_ticks(&w, 60);
	}
	world_check_set(&w, _i ? three : three & ~BIT(GAMMA));
}
END_TEST

/* The lock word names one who lives and does not hold it. */
START_TEST(stray_lock_word)
{
	ticks(1);
	apmp_store_relaxed(&world_db(&w)->header.lock,
			   party_identity(&w.party[BETA]) | (_i ? 0x8000 : 0));
	ticks(2);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.lock), 0);
	ck_assert_uint_eq(w.party[BETA].member.odd_count, 1);
	world_check_set(&w, three);
	check_nobody_left();
}
END_TEST

/* Bad pages before there is a set: the pages are those behind them, and the list says which.
 * shows: DB-03, DB-07, MEM-15 */
START_TEST(pfn_list)
{
	const uint64_t first = w.range_pa[0] / APMP_PAGE_SIZE;
	struct apmp_db_header *h;
	struct party *beta;

	mark_bad(first + 3);
	mark_bad(first + 4 + APMP_DB_INFO_PAGES);
	mark_bad(first + 4 + APMP_DB_INFO_PAGES + 2);
	(void)world_member(&w, ALPHA);
	h = &world_db(&w)->header;
	ck_assert_uint_eq(world_pfn(&w), first + 4);
	ck_assert_uint_eq(apmp_load_relaxed(&h->pfn_list) >> 32, 1);
	beta = world_member(&w, BETA);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(beta->member.pfn[APMP_DB_INFO_PAGES], first + 4 + APMP_DB_INFO_PAGES + 1);
	world_ticks(&w, 60);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_int_eq(party_run(beta, party_leave), 0);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

/* Garbage in the PFN list is never mapped: the set is re-formed. */
START_TEST(spoilt_pfn_list)
{
	const uint64_t first = w.range_pa[0] / APMP_PAGE_SIZE;
	struct apmp_db_pfn_list *list;
	uint64_t pfn;

	mark_bad(first + APMP_DB_INFO_PAGES);
	(void)world_member(&w, ALPHA);
	pfn = apmp_load_relaxed(&world_db(&w)->header.pfn_list) & UINT32_MAX;
	list = (void *)(w.shared + (pfn - first) * APMP_PAGE_SIZE);
	switch (_i) {
	case 0:
		apmp_store_relaxed(&list->pfn[7], 0);
		break;
	case 1:
		apmp_store_relaxed(&list->pfn[0], first + 1);
		break;
	case 2:
		apmp_store_relaxed(&list->pfn[8], first + APMP_GRANULE_PAGES);
		break;
	case 3:
		apmp_store_relaxed(&list->pfn[100], first + 100);
		break;
	case 4:
		apmp_store_relaxed(&list->pfn[8], apmp_load_relaxed(&list->pfn[7]));
		break;
	case 5:
		apmp_store_relaxed(&world_db(&w)->header.pfn_list, UINT64_MAX);
		break;
	default:
		apmp_store_relaxed(&world_db(&w)->header.pfn_list, 0x5 | UINT64_C(1) << 32);
	}
	(void)world_member(&w, BETA);
	world_ticks(&w, 2);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(range_of_set(), w.range_pa[1]);
}
END_TEST

/* Step (4): what the field says is bad by now, and nobody lives there.  shows: DB-03 */
START_TEST(bad_before_the_next_set)
{
	struct party *alpha = world_member(&w, ALPHA);

	ck_assert_int_eq(party_run(alpha, party_leave), 0);
	mark_bad(world_pfn(&w) + (uint32_t)_i);
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_uint_eq(world_pfn(&w) * APMP_PAGE_SIZE,
			  _i < (int)APMP_DB_INFO_PAGES ? w.range_pa[1] : w.range_pa[0]);
}
END_TEST

/* The buses of who died with an ID are reset before the next set begins; who lives keeps his.
 * shows: COMM-01 */
START_TEST(buses_are_reset)
{
	struct party *delta;

	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, BETA), 1);
	world_fence(&w, BETA);
	world_ticks(&w, 3);
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, BETA), 1);
	world_fence(&w, ALPHA);
	delta = world_member(&w, DELTA);
	ck_assert_uint_eq(party_passed(delta, APMP_P_create_263), 2);
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, ALPHA), 0);
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, BETA), 0);
	world_check_set(&w, BIT(DELTA));
	ck_assert_int_eq(party_run(delta, party_leave), 0);
	ck_assert_uint_eq(apmp_tree_id_field(&w.tw.tree, DELTA), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("member_reform");
	TCase *spoilt = suite_case(suite, "spoilt"), *death = suite_case(suite, "death");
	TCase *place = suite_case(suite, "place");

	tcase_add_checked_fixture(spoilt, setup, teardown);
	tcase_add_checked_fixture(death, setup, teardown);
	tcase_add_checked_fixture(place, setup_empty, teardown);
	tcase_add_loop_test(spoilt, word_of_the_header, 0,
			    sizeof(struct apmp_db_header) / 8 * KINDS);
	tcase_add_loop_test(spoilt, word_of_a_node, 0, sizeof(struct apmp_db_node) / 8 * KINDS);
	tcase_add_loop_test(spoilt, page_of_noise, 0, 48);
	tcase_add_loop_test(spoilt, page_marked_bad, 0, APMP_DB_MAX_PAGES);
	tcase_add_test(spoilt, two_find_it);
	tcase_add_test(spoilt, only_one_range);
	tcase_add_test(spoilt, all_pages_bad);
	tcase_add_test(spoilt, spoilt_again_and_again);
	tcase_add_test(spoilt, back_to_the_first_range);
	tcase_add_test(spoilt, leaves_while_it_moves);
	tcase_add_loop_test(spoilt, stray_lock_word, 0, 2);
	tcase_add_loop_test(death, finder_dies, 0, 2 * COUNT(reforming));
	tcase_add_loop_test(death, follower_dies, 0, 4 * COUNT(coming));
	tcase_add_loop_test(death, one_comes_over, 0, COUNT(reforming));
	tcase_add_loop_test(death, slow_to_come_over, 0, 2);
	tcase_add_test(place, pfn_list);
	tcase_add_loop_test(place, spoilt_pfn_list, 0, 7);
	tcase_add_loop_test(place, bad_before_the_next_set, 0, 20);
	tcase_add_test(place, page_fails_while_it_is_created);
	tcase_add_test(place, buses_are_reset);
	return suite_run(suite);
}
