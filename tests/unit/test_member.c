/* test_member.c - entering and leaving a sharing set: in order, refused, and in the way of others.
 * Garbage in the database's memory: test_member_garbage.c.  Deaths: test_member_death.c. */
#include <errno.h>
#include <string.h>

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

/* The points of a trail from the first of these two to the last are all, once and in order. */
static void check_steps(const struct party *p, enum apmp_point first, enum apmp_point last)
{
	enum apmp_point want = first;

	for (uint32_t i = 0; i < p->trail_count; i++) {
		if (p->trail[i] < first || p->trail[i] > last)
			continue;
		ck_assert_str_eq(apmp_point_info(p->trail[i])->name, apmp_point_info(want)->name);
		want++;
	}
	ck_assert_int_eq(want, last + 1);
}

static uint64_t apmpdb_info(void)
{
	struct apmp_tree_community c;

	ck_assert_int_eq(apmp_tree_community(&w.tw.tree, 0, &c), 0);
	return c.apmpdb_info;
}

static void set_apmpdb_info(uint64_t info)
{
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 0, apmpdb_info(), info), 0);
}

/* Of the first fragment of a descriptor, the shared one. */
static void set_fragment_size(int32_t desc, uint64_t size)
{
	struct gct_mem_desc_node *d = (void *)(w.tw.root + desc);
	struct gct_mem_desc *f = (void *)(w.tw.root + desc + apmp_load_relaxed(&d->mem_frag));

	apmp_store_relaxed(&f[0].size, size);
}

START_TEST(init_refuses)
{
	struct apmp_env env = {.self = 1};
	struct apmp_member m;
	struct gct_community_node *lab = (void *)(w.tw.root + w.lab);

	ck_assert_int_eq(apmp_member_init(&m, &env, &w.tw.tree, 12345, &w.timing, NULL), -ENOENT);
	ck_assert_int_eq(
	    apmp_member_init(&m, &env, &w.tw.tree, WORLD_HWRPB_PA(LONE), &w.timing, NULL), -ENODEV);
	apmp_store_relaxed(&lab->hd.magic, 0);
	ck_assert_int_eq(
	    apmp_member_init(&m, &env, &w.tw.tree, WORLD_HWRPB_PA(ALPHA), &w.timing, NULL),
	    -EBADMSG);
}
END_TEST

/* shows: DB-01, DB-04, DB-05, DB-06 */
START_TEST(first_creates)
{
	struct apmp_db_header *h = &world_db(&w)->header;
	struct apmp_db_node *node = &world_db(&w)->node[ALPHA];
	struct party *alpha;

	apmp_store_relaxed(&node->reasons, ~(uint64_t)APMP_REASON_BUGCHECK);
	apmp_store_relaxed(&node->heartbeat, 77);
	apmp_store_relaxed(&node->bugcheck_of, UINT64_MAX); /* would keep fencers from naming it */
	alpha = world_member(&w, ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&node->reasons), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&node->heartbeat), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&node->bugcheck_of), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&node->beat_of), party_identity(alpha));
	world_check_set(&w, BIT(ALPHA));
	check_steps(alpha, APMP_P_map_602, APMP_P_map_608);
	check_steps(alpha, APMP_P_create_702, APMP_P_create_718);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_join_802), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->incarnation), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&h->creator), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&h->creation_ns), w.now_ns);
	ck_assert_uint_eq(apmp_load_relaxed(&h->software_version), APMP_DB_SOFTWARE_VERSION);
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_CREATED], 1);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_JOINED], 1);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_LOCK_BROKEN], 0);
}
END_TEST

/* shows: DB-02, DB-05, DB-06, DB-07 */
START_TEST(others_join)
{
	struct party *alpha = world_member(&w, ALPHA), *beta = world_member(&w, BETA);
	struct party *delta = world_member(&w, DELTA);
	struct apmp_db_node *node = world_db(&w)->node;

	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(DELTA));
	check_steps(beta, APMP_P_map_602, APMP_P_map_608);
	check_steps(beta, APMP_P_join_802, APMP_P_join_818);
	ck_assert_uint_eq(party_passed(beta, APMP_P_create_702), 0);
	ck_assert_ptr_ne(party_db(alpha), party_db(beta));
	ck_assert_ptr_ne(party_db(beta), party_db(delta));
	ck_assert_uint_eq(apmp_load_relaxed(&node[BETA].little_brother), DELTA);
	ck_assert_uint_eq(apmp_load_relaxed(&node[BETA].big_brother), ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&node[DELTA].little_brother), ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&node[BETA].since_ns), w.now_ns);
	/* The others were told, each on its primary's line and on no other. */
	ck_assert(apmp_load_relaxed(&node[ALPHA].reasons) & APMP_REASON_MEMBERS);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending) & APMP_INTR_APMP, APMP_INTR_APMP);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[1].pending) & APMP_INTR_APMP, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[5].pending) & APMP_INTR_APMP, 0);
}
END_TEST

/* shows: DB-03 */
START_TEST(chooses_its_pages)
{
	(void)world_member(&w, ALPHA);
	ck_assert_uint_eq(apmpdb_info(),
			  w.range_pa[0] / APMP_PAGE_SIZE | (uint64_t)APMP_DB_INFO_PAGES << 32);
}
END_TEST

static const uint64_t bad_info[] = {
    1,					  /* a page frame without pages */
    UINT64_C(16) << 32,			  /* page 0 is nobody's shared memory */
    UINT64_C(17) << 32 | 0x40000,	  /* more than MAX_APMPDB_PAGES */
    UINT64_C(5) << 32 | 0x40000,	  /* less than the initial piece */
    UINT64_C(16) << 32 | (0x40000 + 500), /* begins inside, ends outside */
    UINT64_MAX,
};

/* shows: DB-03 */
START_TEST(replaces_bad_info)
{
	set_apmpdb_info(bad_info[_i]);
	(void)world_member(&w, ALPHA);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_uint_eq(apmpdb_info(),
			  w.range_pa[0] / APMP_PAGE_SIZE | (uint64_t)APMP_DB_INFO_PAGES << 32);
}
END_TEST

/* shows: DB-03 */
START_TEST(second_range_is_used)
{
	struct party *alpha = world_boot(&w, ALPHA);
	uint64_t pfn = w.range_pa[1] / APMP_PAGE_SIZE;

	set_apmpdb_info(pfn | (uint64_t)APMP_DB_INFO_PAGES << 32);
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&party_db(alpha)->header.first_pfn), pfn);
	ck_assert_uint_eq(apmp_load_relaxed(&((struct apmp_db *)(void *)w.shared)->header.state),
			  0);
}
END_TEST

/* Another instance is faster: it sets the field between our look and our callback. */
static void on_call_other_first(struct party *p, struct apmp_call *call)
{
	if (call->request.op == APMP_CALL_SET_APMPDB_INFO && p->calls == 1)
		set_apmpdb_info((w.range_pa[1] / APMP_PAGE_SIZE) | (uint64_t)APMP_DB_INFO_PAGES
								       << 32);
}

/* shows: DB-03 */
START_TEST(info_raced_once)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->on_call = on_call_other_first;
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&party_db(alpha)->header.first_pfn),
			  w.range_pa[1] / APMP_PAGE_SIZE);
}
END_TEST

static void on_call_always_other(struct party *p, struct apmp_call *call)
{
	if (call->request.op == APMP_CALL_SET_APMPDB_INFO)
		set_apmpdb_info(p->calls + 1); /* never good, never what was compared */
}

START_TEST(info_raced_for_ever)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->on_call = on_call_always_other;
	ck_assert_int_eq(party_run(alpha, party_enter), -EAGAIN);
}
END_TEST

START_TEST(no_shared_memory)
{
	struct party *stranger = world_boot(&w, STRANGER);

	ck_assert_int_eq(party_run(stranger, party_enter), -ENOMEM);
	ck_assert_int_eq(party_run(stranger, party_tick), 0);
}
END_TEST

/* Ranges that are too small for a database are passed over.  shows: DB-03 */
START_TEST(small_ranges)
{
	struct party *alpha = world_boot(&w, ALPHA);
	int32_t first = w.desc[0], second = w.desc[1];

	set_fragment_size(first, (APMP_DB_INFO_PAGES - 1) * APMP_PAGE_SIZE);
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&party_db(alpha)->header.first_pfn),
			  w.range_pa[1] / APMP_PAGE_SIZE);
	ck_assert_int_eq(party_run(alpha, party_leave), 0);
	set_fragment_size(second, (APMP_DB_INFO_PAGES - 1) * APMP_PAGE_SIZE);
	ck_assert_int_eq(party_run(alpha, party_enter), -ENOMEM);
	/* What stands there is not given up for nothing. */
	ck_assert_uint_eq(apmpdb_info(),
			  w.range_pa[1] / APMP_PAGE_SIZE | (uint64_t)APMP_DB_INFO_PAGES << 32);
}
END_TEST

START_TEST(spoilt_tree)
{
	struct party *alpha = world_boot(&w, ALPHA);
	struct gct_node *lab = (void *)(w.tw.root + w.lab);
	struct gct_mem_desc_node *d = (void *)(w.tw.root + w.desc[0]);

	apmp_store_relaxed(&lab->magic, 0);
	ck_assert_int_eq(party_run(alpha, party_enter), -EBADMSG);
	apmp_store_relaxed(&lab->magic, GCT_MAGIC);
	apmp_store_relaxed(&d->mem_frag, 1);
	ck_assert_int_eq(party_run(alpha, party_enter), -EBADMSG);
	ck_assert_uint_eq(alpha->calls, 0);
}
END_TEST

START_TEST(enter_twice)
{
	struct party *alpha = world_member(&w, ALPHA);

	ck_assert_int_eq(party_run(alpha, party_enter), -EALREADY);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

/* shows: DB-06 */
START_TEST(name_taken)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_boot(&w, BETA);
	strcpy(beta->member.name, "ALPHA");
	ck_assert_int_eq(party_run(beta, party_enter), -EEXIST);
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_JOIN_FAILED], EEXIST);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_ptr_null(party_db(beta));
	/* A name that only begins like it is another. */
	strcpy(beta->member.name, "ALPHABET");
	ck_assert_int_eq(party_run(beta, party_enter), 0);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}
END_TEST

/* shows: DB-06, DB-12 */
START_TEST(name_is_free_after_leaving)
{
	struct party *alpha = world_member(&w, ALPHA), *gamma;

	(void)world_member(&w, BETA);
	ck_assert_int_eq(party_run(alpha, party_leave), 0);
	gamma = world_boot(&w, GAMMA);
	strcpy(gamma->member.name, "ALPHA");
	ck_assert_int_eq(party_run(gamma, party_enter), 0);
	world_check_set(&w, BIT(BETA) | BIT(GAMMA));
}
END_TEST

/* Mapping fails at the nth time: 0 the initial piece, 1 the whole. */
START_TEST(create_cannot_map)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->map_error = -ENOMEM;
	alpha->map_after = (uint32_t)_i;
	ck_assert_int_eq(party_run(alpha, party_enter), -ENOMEM);
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_JOIN_FAILED], _i ? ENOMEM : 0);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.lock), 0);
	(void)world_member(&w, BETA);
	world_check_set(&w, BIT(BETA));
}
END_TEST

START_TEST(join_cannot_map)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_boot(&w, BETA);
	beta->map_error = -EACCES;
	beta->map_after = (uint32_t)_i;
	ck_assert_int_eq(party_run(beta, party_enter), -EACCES);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->node[BETA].state),
			  _i ? APMP_NODE_LEFT : 0);
	beta->map_error = 0;
	ck_assert_int_eq(party_run(beta, party_enter), 0);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}
END_TEST

START_TEST(callback_fails)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->call_error = -EPIPE;
	ck_assert_int_eq(party_run(alpha, party_enter), -EPIPE);
	ck_assert_uint_eq(apmpdb_info(), 0);
}
END_TEST

/* shows: DB-09, DB-12 */
START_TEST(leave_hands_duties_over)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	(void)world_member(&w, DELTA);
	ck_assert_int_eq(party_run(beta, party_leave), 0);
	world_check_set(&w, BIT(ALPHA) | BIT(DELTA));
	check_steps(beta, APMP_P_leave_begin, APMP_P_leave_end);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->node[BETA].state), APMP_NODE_LEFT);
	ck_assert_ptr_null(party_db(beta));
	ck_assert_int_eq(party_run(beta, party_leave), -ENOTCONN);
	ck_assert_int_eq(party_run(beta, party_tick), 0);
	ck_assert_int_eq(party_run(beta, party_work), 0);
}
END_TEST

/* shows: DB-12 */
START_TEST(leave_and_join_again)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(party_run(beta, party_leave), 0);
		world_check_set(&w, BIT(ALPHA));
		ck_assert_int_eq(party_run(beta, party_enter), 0);
		world_check_set(&w, BIT(ALPHA) | BIT(BETA));
		world_ticks(&w, 60);
	}
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}
END_TEST

/* shows: DB-12 */
START_TEST(late_join)
{
	(void)world_member(&w, ALPHA);
	(void)world_member(&w, GAMMA);
	world_ticks(&w, 100);
	(void)world_member(&w, BETA);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	world_ticks(&w, 100);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
}
END_TEST

/* shows: DB-14 */
START_TEST(last_leaves_next_creates)
{
	struct party *alpha = world_member(&w, ALPHA), *beta;

	ck_assert_int_eq(party_run(alpha, party_leave), 0);
	world_check_set(&w, 0);
	beta = world_member(&w, BETA);
	world_check_set(&w, BIT(BETA));
	ck_assert_uint_eq(party_passed(beta, APMP_P_create_718), 1);
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_CREATED], 2);
}
END_TEST

/* An instance that died as a member boots and enters before anybody has removed its last life:
 * its own bit is still set [0129].  shows: DB-05, DB-14 */
START_TEST(own_bit_still_set)
{
	struct party *beta;
	uint64_t last_life;

	(void)world_member(&w, ALPHA);
	beta = world_member(&w, BETA);
	(void)world_member(&w, GAMMA);
	last_life = party_identity(beta);
	beta = world_member(&w, BETA); /* fences the last life */
	ck_assert_uint_ne(party_identity(beta), last_life);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_REMOVED], last_life);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.removed_count), 1);
	world_ticks(&w, 60);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA));
}
END_TEST

/* shows: DB-14 */
START_TEST(all_dead_next_creates)
{
	struct party *gamma;

	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
	world_fence(&w, ALPHA);
	world_fence(&w, BETA);
	gamma = world_member(&w, GAMMA);
	world_check_set(&w, BIT(GAMMA));
	ck_assert_uint_eq(party_passed(gamma, APMP_P_create_718), 1);
	ck_assert_uint_eq(gamma->report_about[APMP_REPORT_CREATED], 2);
	ck_assert_uint_eq(gamma->reports[APMP_REPORT_LOCK_BROKEN], 0);
}
END_TEST

static void tests_of_entering(TCase *tc)
{
	tcase_add_test(tc, init_refuses);
	tcase_add_test(tc, first_creates);
	tcase_add_test(tc, others_join);
	tcase_add_test(tc, chooses_its_pages);
	tcase_add_loop_test(tc, replaces_bad_info, 0, sizeof(bad_info) / sizeof(bad_info[0]));
	tcase_add_test(tc, second_range_is_used);
	tcase_add_test(tc, info_raced_once);
	tcase_add_test(tc, info_raced_for_ever);
	tcase_add_test(tc, no_shared_memory);
	tcase_add_test(tc, small_ranges);
	tcase_add_test(tc, spoilt_tree);
	tcase_add_test(tc, enter_twice);
	tcase_add_test(tc, name_taken);
	tcase_add_test(tc, name_is_free_after_leaving);
	tcase_add_loop_test(tc, create_cannot_map, 0, 2);
	tcase_add_loop_test(tc, join_cannot_map, 0, 2);
	tcase_add_test(tc, callback_fails);
	tcase_add_test(tc, late_join);
}

int main(void)
{
	Suite *suite = suite_create("member");
	TCase *enter = suite_case(suite, "enter"), *leave = suite_case(suite, "leave");

	tcase_add_checked_fixture(enter, setup, teardown);
	tcase_add_checked_fixture(leave, setup, teardown);
	tests_of_entering(enter);
	tcase_add_test(leave, leave_hands_duties_over);
	tcase_add_test(leave, leave_and_join_again);
	tcase_add_test(leave, last_leaves_next_creates);
	tcase_add_test(leave, own_bit_still_set);
	tcase_add_test(leave, all_dead_next_creates);
	return suite_run(suite);
}
