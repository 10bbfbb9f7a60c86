/* test_service.c - segments of services, and service "cpu". */
#include "shm/member_internal.h"
#include "shm/service.h"
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

static struct apmp_db_cpu_sets *slot(uint32_t id)
{
	struct apmp_db *db = world_db(&w);
	struct apmp_db_cpu_sets *segment = apmp_service_segment(
	    db, (uint64_t)APMP_DB_MAX_PAGES * APMP_PAGE_SIZE, APMP_SERVICE_cpu);

	ck_assert_ptr_nonnull(segment);
	return segment + id;
}

/* shows: DB-01 */
START_TEST(segment_behind_the_initial_piece)
{
	struct apmp_db *db = world_db(&w);
	uint32_t end = APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE;

	(void)world_member(&w, ALPHA);
	for (uint32_t i = 0; i < APMP_SERVICE_COUNT; i++) {
		struct apmp_db_segment *s = &db->header.segment[i];

		ck_assert_uint_eq(apmp_load_relaxed(&s->off), end);
		ck_assert_uint_ge(apmp_load_relaxed(&s->size), apmp_services[i]->size());
		ck_assert_uint_eq(apmp_load_relaxed(&s->size) % APMP_PAGE_SIZE, 0);
		end += apmp_load_relaxed(&s->size);
	}
	ck_assert_uint_eq(apmp_load_relaxed(&db->header.page_count) * APMP_PAGE_SIZE, end);
	ck_assert_uint_eq(apmp_load_relaxed(&db->header.service_mask),
			  (UINT64_C(1) << APMP_SERVICE_COUNT) - 1);
	for (uint32_t i = APMP_SERVICE_COUNT; i < APMP_DB_MAX_SERVICES; i++) {
		ck_assert_uint_eq(apmp_load_relaxed(&db->header.segment[i].off), 0);
		ck_assert_uint_eq(apmp_load_relaxed(&db->header.segment[i].size), 0);
	}
}
END_TEST

/* Where services begin. */
#define FIRST (APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE)

static const struct {
	uint32_t off, size;
	bool fits;
} segments[] = {
    {FIRST, 3 * APMP_PAGE_SIZE, true},
    {13 * APMP_PAGE_SIZE, 3 * APMP_PAGE_SIZE, true},
    {14 * APMP_PAGE_SIZE, 3 * APMP_PAGE_SIZE, false}, /* a page too far */
    {FIRST, 2 * APMP_PAGE_SIZE, false},		      /* less than the service needs */
    {FIRST, 0, false},
    {0, 3 * APMP_PAGE_SIZE, false},			 /* over the header */
    {FIRST - APMP_PAGE_SIZE, 3 * APMP_PAGE_SIZE, false}, /* over the last node blocks */
    {FIRST + 64, 3 * APMP_PAGE_SIZE, false},
    {17 * APMP_PAGE_SIZE, 3 * APMP_PAGE_SIZE, false}, /* begins outside */
    {0xfffff000, 3 * APMP_PAGE_SIZE, false},
    {FIRST, 0xfffff000, false},
};

START_TEST(segment_is_checked)
{
	struct apmp_db *db = world_db(&w);
	void *segment;

	apmp_store_relaxed(&db->header.segment[APMP_SERVICE_cpu].off, segments[_i].off);
	apmp_store_relaxed(&db->header.segment[APMP_SERVICE_cpu].size, segments[_i].size);
	segment = apmp_service_segment(db, UINT64_C(16) * APMP_PAGE_SIZE, APMP_SERVICE_cpu);
	ck_assert_ptr_eq(segment, segments[_i].fits ? w.shared + segments[_i].off : NULL);
}
END_TEST

/* shows: DB-13 */
START_TEST(sets_are_there_for_others)
{
	struct party *alpha = world_boot(&w, ALPHA);

	apmp_cpu_bits_set(&alpha->cpu_sets[0], 255);
	apmp_cpu_bits_set(&alpha->cpu_sets[1], 64);
	apmp_cpu_bits_set(&alpha->cpu_sets[2], 1);
	apmp_cpu_bits_clear(&alpha->cpu_sets[3], 128); /* all are in it, but this one */
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->identity), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->potential[3]), UINT64_C(1) << 63);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->configure[1]), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->active[0]), 2);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->autostart[2]), UINT64_MAX - 1);
	apmp_cpu_bits_set(&alpha->cpu_sets[2], 0);
	apmp_cpu_bits_clear(&alpha->cpu_sets[2], 1);
	apmp_member_publish_cpus(&alpha->member);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->active[0]), 1);
}
END_TEST

/* shows: DB-13 */
START_TEST(left_and_dead_are_forgotten)
{
	struct party *beta;

	for (uint32_t id = ALPHA; id <= GAMMA; id++) {
		apmp_cpu_bits_set(&world_boot(&w, id)->cpu_sets[0], id);
		ck_assert_int_eq(party_run(&w.party[id], party_enter), 0);
	}
	beta = &w.party[BETA];
	ck_assert_int_eq(party_run(beta, party_leave), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(BETA)->identity), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(BETA)->potential[0]), 0);
	world_fence(&w, GAMMA);
	world_ticks(&w, 3);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(GAMMA)->identity), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(GAMMA)->potential[0]), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(ALPHA)->potential[0]), 1);
	/* Who is no member publishes nothing. */
	apmp_member_publish_cpus(&beta->member);
	ck_assert_uint_eq(apmp_load_relaxed(&slot(BETA)->identity), 0);
}
END_TEST

START_TEST(publishing_into_an_odd_segment)
{
	struct party *alpha = world_member(&w, ALPHA);

	apmp_store_relaxed(&world_db(&w)->header.segment[0].off, 0);
	apmp_member_publish_cpus(&alpha->member);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.members), BIT(ALPHA));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = suite_case(suite, "service");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, segment_behind_the_initial_piece);
	tcase_add_loop_test(tc, segment_is_checked, 0, sizeof(segments) / sizeof(segments[0]));
	tcase_add_test(tc, sets_are_there_for_others);
	tcase_add_test(tc, left_and_dead_are_forgotten);
	tcase_add_test(tc, publishing_into_an_odd_segment);
	return suite_run(suite);
}
