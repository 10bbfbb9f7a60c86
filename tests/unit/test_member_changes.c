/*
 * test_member_changes.c - what an instance tells its programs: who has become a member, who is one
 * no more.
 */
#include <stdio.h>
#include <string.h>

#include "shm/member_internal.h"
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

/* The changes that a party has to tell, as text: "+0 -2", departures and arrivals by id. */
static const char *changes_of(uint32_t id)
{
	static char text[64];
	struct apmp_member_change change[2 * APMP_MAX_PARTITIONS];
	uint32_t count = apmp_member_changes(&w.party[id].member, change);

	text[0] = '\0';
	for (uint32_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%c%u", i ? " " : "",
			 change[i].added ? '+' : '-', apmp_identity_id(change[i].identity));
	return text;
}

/* shows: FAIL-04 */
START_TEST(who_joins_is_told_of_all)
{
	(void)world_member(&w, ALPHA);
	ck_assert_str_eq(changes_of(ALPHA), "+0");
	(void)world_member(&w, BETA);
	(void)world_member(&w, GAMMA);
	ck_assert_str_eq(changes_of(GAMMA), "+0 +1 +2");
	ck_assert_str_eq(changes_of(ALPHA), "+1 +2");
	ck_assert_str_eq(changes_of(ALPHA), "");
}
END_TEST

START_TEST(who_is_no_member_knows_of_nobody)
{
	(void)world_member(&w, ALPHA);
	(void)world_boot(&w, BETA);
	ck_assert_str_eq(changes_of(BETA), "");
	(void)world_boot(&w, LONE);
	ck_assert_str_eq(changes_of(LONE), "");
}
END_TEST

START_TEST(a_death_is_told_once)
{
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_member(&w, id);
	(void)changes_of(ALPHA);
	(void)changes_of(GAMMA);
	world_fence(&w, BETA);
	world_ticks(&w, 2);
	ck_assert_str_eq(changes_of(ALPHA), "-1");
	ck_assert_str_eq(changes_of(GAMMA), "-1");
	ck_assert_str_eq(changes_of(ALPHA), "");
	ck_assert_uint_eq(party_passed(&w.party[ALPHA], APMP_P_member_gone), 1);
}
END_TEST

/* One life's departure and the next one's arrival, also where nobody looked in between. */
START_TEST(another_life_is_another_member)
{
	struct apmp_member_change change[2 * APMP_MAX_PARTITIONS];
	uint64_t first;

	(void)world_member(&w, ALPHA);
	first = party_identity(world_member(&w, BETA));
	(void)changes_of(ALPHA);
	world_fence(&w, BETA);
	world_ticks(&w, 2);
	(void)world_member(&w, BETA);
	ck_assert_uint_eq(apmp_member_changes(&w.party[ALPHA].member, change), 2);
	ck_assert(!change[0].added && change[1].added);
	ck_assert_uint_eq(change[0].identity, first);
	ck_assert_uint_eq(change[1].identity, party_identity(&w.party[BETA]));
}
END_TEST

START_TEST(who_leaves_takes_leave_of_all)
{
	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
	(void)changes_of(ALPHA);
	(void)changes_of(BETA);
	ck_assert_int_eq(party_run(&w.party[BETA], party_leave), 0);
	ck_assert_str_eq(changes_of(BETA), "-0 -1");
	ck_assert_str_eq(changes_of(ALPHA), "-1");
}
END_TEST

/* A block that names somebody else is another's to quarantine: until then nothing has changed. */
START_TEST(an_odd_block_changes_nothing)
{
	struct apmp_db_node *node;
	uint64_t identity;

	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
	(void)changes_of(ALPHA);
	node = &world_db(&w)->node[BETA];
	identity = apmp_load_relaxed(&node->identity);
	apmp_store_relaxed(&node->identity, UINT64_C(0x123456789abcdef0));
	ck_assert_str_eq(changes_of(ALPHA), "");
	apmp_store_relaxed(&node->identity, 0);
	ck_assert_str_eq(changes_of(ALPHA), "");
	apmp_store_relaxed(&node->identity, identity);
	ck_assert_str_eq(changes_of(ALPHA), "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("changes of membership");
	TCase *tcase = suite_case(suite, "changes");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, who_joins_is_told_of_all);
	tcase_add_test(tcase, who_is_no_member_knows_of_nobody);
	tcase_add_test(tcase, a_death_is_told_once);
	tcase_add_test(tcase, another_life_is_another_member);
	tcase_add_test(tcase, who_leaves_takes_leave_of_all);
	tcase_add_test(tcase, an_odd_block_changes_nothing);
	return suite_run(suite);
}
