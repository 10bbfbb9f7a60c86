/*
 * test_member_garbage.c - the database's memory may hold anything when somebody arrives, and
 * somebody may write into it later.  Nobody crashes, and the set is made or goes on, also in
 * another place: test_member_reform.c.
 */
#include <errno.h>
#include <string.h>

#include "shm/service.h"
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

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Fills every page that the database could use: by seed 0, all ones, or noise. */
static void fill(uint64_t seed)
{
	_Atomic uint64_t *word = (void *)w.shared;

	for (uint64_t i = 0; i < APMP_DB_MAX_PAGES * APMP_PAGE_SIZE / sizeof(*word); i++)
		apmp_store_relaxed(&word[i], seed < 2 ? -seed : next_random(&seed));
}

static void create_and_join(void)
{
	(void)world_member(&w, ALPHA);
	world_check_set(&w, BIT(ALPHA));
	(void)world_member(&w, BETA);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	world_ticks(&w, 60);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}

/* shows: DB-05, DB-14 */
START_TEST(noise)
{
	fill((uint64_t)_i);
	create_and_join();
}
END_TEST

/* Counts of silences are of this set. */
START_TEST(silences_begin_at_zero)
{
	fill(4711);
	create_and_join();
	for (uint32_t i = 0; i < 2 * APMP_DB_SILENCES; i++)
		ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->node[i % 2].silence[i / 2]), 0);
}
END_TEST

/* Noise behind a header that is right in all that can be checked without the tree.
 * shows: DB-05, DB-14 */
START_TEST(noise_that_looks_like_a_set)
{
	struct apmp_db_header *h = &world_db(&w)->header;

	fill((uint64_t)_i);
	apmp_store_relaxed(&h->lock, 0);
	apmp_store_relaxed(&h->fingerprint, apmp_fingerprint(sizeof(struct apmp_db)));
	apmp_store_relaxed(&h->software_version, APMP_DB_SOFTWARE_VERSION);
	apmp_store_relaxed(&h->state, APMP_DB_OPERATIONAL);
	apmp_store_relaxed(&h->first_pfn, w.range_pa[0] / APMP_PAGE_SIZE);
	apmp_store_relaxed(&h->members, UINT64_MAX);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) /* of lives that will never be */
		apmp_store_relaxed(&world_db(&w)->node[id].identity, apmp_identity(id, 1000));
	create_and_join();
}
END_TEST

/* What may stand in the lock word, that is nobody who lives. */
static uint64_t lock_garbage(int kind)
{
	switch (kind) {
	case 0:
		return UINT64_MAX;
	case 1:
		return 0x8000; /* somebody waits, nobody holds */
	case 2:
		return apmp_identity(BETA, 1); /* was never booted */
	case 3:
		return apmp_identity(ALPHA, 2); /* ALPHA's next life */
	case 4:
		return apmp_identity(LONE, 0); /* no incarnation */
	case 5:
		return apmp_identity(APMP_MAX_PARTITIONS, 1); /* no such partition */
	case 6:
		return apmp_identity(ALPHA, 1); /* who comes */
	default:
		return apmp_identity(63, 77) | 0x8000;
	}
}

/* shows: DB-05 */
START_TEST(lock_word)
{
	struct party *alpha = world_boot(&w, ALPHA);

	apmp_store_relaxed(&world_db(&w)->header.lock, lock_garbage(_i));
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_LOCK_BROKEN], _i != 1);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

/* While it is held: the holder finds somebody else's store and does not release that. */
static void on_point_stray_lock(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	(void)arg;
	if (point == APMP_P_create_716)
		apmp_store_relaxed(&world_db(&w)->header.lock, apmp_identity(LONE, 9));
}

START_TEST(lock_word_while_held)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->on_point = on_point_stray_lock;
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.lock), apmp_identity(LONE, 9));
	ck_assert_uint_eq(alpha->member.odd_count, 1);
	world_ticks(&w, 3);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

/* Steps of creation during which somebody without rights writes the segment table. */
static void on_point_segment(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	(void)arg;
	if (point == APMP_P_create_708 || point == APMP_P_create_714)
		apmp_store_relaxed(&world_db(&w)->header.segment[0].off, 0);
}

START_TEST(segment_table_during_creation)
{
	struct party *alpha = world_boot(&w, ALPHA);

	alpha->on_point = on_point_segment;
	ck_assert_int_eq(party_run(alpha, party_enter), -EBADMSG);
	alpha->on_point = NULL;
	ck_assert_int_eq(party_run(alpha, party_enter), 0);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

static void spoil(int kind)
{
	struct apmp_db_header *h = &world_db(&w)->header;

	switch (kind) {
	case 0:
		apmp_store_relaxed(&h->page_count, 0);
		break;
	case 1:
		apmp_store_relaxed(&h->page_count, APMP_DB_MAX_PAGES + 1);
		break;
	case 2:
		apmp_store_relaxed(&h->segment[0].off, 64);
		break;
	case 3:
		apmp_store_relaxed(&h->segment[0].off, 0xfffff000);
		break;
	case 4:
		apmp_store_relaxed(&h->segment[0].size, 0);
		break;
	default:
		apmp_store_relaxed(&h->segment[0].size, 0xfffff000);
		break;
	}
}

/* A header that makes no sense, of a set that lives: a joiner re-forms the set, and the member
 * comes over.  shows: DB-11, DB-14 */
START_TEST(header_of_a_living_set)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	spoil(_i);
	beta = world_boot(&w, BETA);
	ck_assert_int_eq(party_run(beta, party_enter), 0);
	ck_assert_uint_eq(world_pfn(&w), w.range_pa[1] / APMP_PAGE_SIZE);
	ck_assert_uint_eq(beta->reports[APMP_REPORT_REFORMED], 1);
	world_ticks(&w, 2);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(w.party[ALPHA].reports[APMP_REPORT_JOINED], 1); /* as ever */
}
END_TEST

/* A name without an end is still only as long as its field. */
START_TEST(name_without_end)
{
	struct party *beta;

	(void)world_member(&w, ALPHA);
	memset(world_db(&w)->node[ALPHA].name, 'A', sizeof(world_db(&w)->node[ALPHA].name));
	beta = world_boot(&w, BETA);
	ck_assert_int_eq(party_run(beta, party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.members), BIT(ALPHA) | BIT(BETA));
}
END_TEST

static const uint32_t odd_brother[] = {APMP_MAX_PARTITIONS, UINT32_MAX, 63, LONE};

/* A ring that leads nowhere is nobody's death, and the next recovery makes it anew. */
START_TEST(ring)
{
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_member(&w, id);
	for (uint32_t id = ALPHA; id <= GAMMA; id++) {
		apmp_store_relaxed(&world_db(&w)->node[id].little_brother, odd_brother[_i]);
		apmp_store_relaxed(&world_db(&w)->node[id].big_brother, odd_brother[_i]);
	}
	world_ticks(&w, 60);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		ck_assert(!w.party[id].ended);
	(void)world_member(&w, DELTA);
	ck_assert_int_eq(party_run(&w.party[DELTA], party_leave), 0);
	world_fence(&w, GAMMA);
	(void)world_member(&w, DELTA);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(DELTA));
}
END_TEST

/* What somebody writes over GAMMA's identity. */
static uint64_t odd_identity(int kind)
{
	switch (kind) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return party_identity(&w.party[ALPHA]); /* somebody else who lives */
	case 3:
		return apmp_identity(GAMMA, 1000); /* a life that is not yet */
	default:
		return apmp_identity(LONE, 3); /* nobody */
	}
}

/* The block of a member that lives is written over: the set is re-formed, and nobody dies.
 * shows: DB-11 */
START_TEST(identity_of_a_member)
{
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		(void)world_member(&w, id);
	world_ticks(&w, 2);
	apmp_store_relaxed(&world_db(&w)->node[GAMMA].identity, odd_identity(_i));
	world_ticks(&w, 3);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA) | BIT(DELTA));
	ck_assert_uint_eq(world_pfn(&w), w.range_pa[1] / APMP_PAGE_SIZE);
	world_ticks(&w, 150);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(GAMMA) | BIT(DELTA));
}
END_TEST

/* Silent too: it does not come over, so it is fenced in the end; whoever is named there must not be
 * judged for it. */
START_TEST(identity_of_a_silent_member)
{
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		(void)world_member(&w, id);
	world_ticks(&w, 2);
	apmp_store_relaxed(&world_db(&w)->node[GAMMA].identity, odd_identity(_i));
	w.party[GAMMA].hung = true;
	world_ticks(&w, 90);
	ck_assert(apmp_tree_alive(&w.tw.tree, party_identity(&w.party[GAMMA])));
	world_ticks(&w, 30);
	ck_assert(!apmp_tree_alive(&w.tw.tree, party_identity(&w.party[GAMMA])));
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(DELTA));
}
END_TEST

/* The only member's own block. */
START_TEST(own_identity)
{
	struct party *alpha = world_member(&w, ALPHA);

	apmp_store_relaxed(&world_db(&w)->node[ALPHA].identity, odd_identity(_i));
	ck_assert_int_gt(party_run(alpha, party_tick), 0);
	ck_assert_int_eq(party_run(alpha, party_work), 0);
	world_check_set(&w, BIT(ALPHA));
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_DB_ODD], APMP_DB_FAULT_NODE);
	(void)world_member(&w, BETA);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
}
END_TEST

/* Words of a living set that are made right again by who writes them, or by the next recovery. */
START_TEST(words_of_a_living_set)
{
	struct apmp_db *db = world_db(&w);

	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
	world_ticks(&w, 2);
	apmp_store_relaxed(&db->header.state, 77);
	apmp_store_relaxed(&db->header.actor, apmp_identity(GAMMA, 8));
	apmp_store_relaxed(&db->header.crashing, 99);
	apmp_store_relaxed(&db->node[ALPHA].beat_of, 55);
	apmp_store_relaxed(&db->node[BETA].reasons, ~(uint64_t)APMP_REASON_BUGCHECK);
	world_ticks(&w, 60);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(apmp_load_relaxed(&db->node[ALPHA].beat_of),
			  party_identity(&w.party[ALPHA]));
	ck_assert_uint_eq(apmp_load_relaxed(&db->node[BETA].reasons), 0);
}
END_TEST

/* A set that somebody spoilt, found so by one who comes: it is made anew elsewhere, and the living
 * member comes over.  shows: DB-11, DB-14 */
START_TEST(made_anew_around_the_living)
{
	struct party *alpha = world_member(&w, ALPHA);
	struct apmp_db_header *h = &world_db(&w)->header;

	if (_i == 0)
		apmp_store_relaxed(&h->fingerprint, 0);
	else if (_i == 1)
		apmp_store_relaxed(&h->software_version, APMP_DB_SOFTWARE_VERSION + 1);
	else if (_i == 2)
		apmp_store_relaxed(&h->first_pfn, 12345);
	else if (_i == 3)
		apmp_store_relaxed(&h->state, 77);
	else
		apmp_store_relaxed(&h->incarnation, 77);
	(void)world_member(&w, BETA);
	world_ticks(&w, 2);
	ck_assert(!alpha->ended);
	world_check_set(&w, BIT(ALPHA) | BIT(BETA));
	ck_assert_uint_eq(world_pfn(&w), w.range_pa[1] / APMP_PAGE_SIZE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("member_garbage");
	TCase *before = suite_case(suite, "before"), *during = suite_case(suite, "during");

	tcase_add_checked_fixture(before, setup, teardown);
	tcase_add_checked_fixture(during, setup, teardown);
	tcase_add_loop_test(before, noise, 0, 12);
	tcase_add_test(before, silences_begin_at_zero);
	tcase_add_loop_test(before, noise_that_looks_like_a_set, 0, 6);
	tcase_add_loop_test(before, lock_word, 0, 8);
	tcase_add_test(during, lock_word_while_held);
	tcase_add_test(during, segment_table_during_creation);
	tcase_add_loop_test(during, header_of_a_living_set, 0, 6);
	tcase_add_test(during, name_without_end);
	tcase_add_loop_test(during, ring, 0, sizeof(odd_brother) / sizeof(odd_brother[0]));
	tcase_add_loop_test(during, identity_of_a_member, 0, 5);
	tcase_add_loop_test(during, identity_of_a_silent_member, 0, 5);
	tcase_add_loop_test(during, own_identity, 0, 2);
	tcase_add_test(during, words_of_a_living_set);
	tcase_add_loop_test(during, made_anew_around_the_living, 0, 5);
	return suite_run(suite);
}
