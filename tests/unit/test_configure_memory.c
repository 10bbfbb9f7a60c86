/*
 * test_configure_memory.c - fragments of memory: sizes, places, who may have them, when they are
 * free.
 */
#include <errno.h>
#include <string.h>

#include "shm/shared.h"
#include "tests/unit/asking.h"

/* shows: TREE-18, MEM-01 */
START_TEST(memory_is_cut_and_made_whole)
{
	uint64_t pa = estate_pa(&e, 0);

	take(APMP_REASON_NONE, 0, e.part[A], pa + 2 * GRANULE, 2, e.part[A], 0);
	has_memory(pa, 2, 0, 0);
	has_memory(pa + 2 * GRANULE, 2, e.part[A], 0);
	has_memory(pa + 4 * GRANULE, 12, 0, 0);
	ck_assert_uint_eq(estate_fragment(&e, pa + 2 * GRANULE).flags, GCT_MEM_PRIVATE);
	has(e.sub[0], e.lab, e.lab); /* taken along */
	has(e.desc[1], e.lab, e.lab);
	has(e.ctrl[0], 0, 0);
	take(APMP_REASON_NONE, 0, e.part[B], pa + 4 * GRANULE, 1, e.lab, 0);
	ck_assert_uint_eq(estate_fragment(&e, pa + 4 * GRANULE).flags, GCT_MEM_SHARED);
	has_memory(pa + 4 * GRANULE, 1, e.lab, e.lab);
	/* The middle of a fragment, then the rest of it. */
	take(APMP_REASON_NONE, 0, e.part[A], pa + 8 * GRANULE, 6, e.part[C], 0);
	leave(APMP_REASON_NONE, 0, e.part[C], pa + 10 * GRANULE, 2, true);
	has_memory(pa + 8 * GRANULE, 2, e.part[C], 0);
	has_memory(pa + 10 * GRANULE, 2, 0, 0);
	has_memory(pa + 12 * GRANULE, 2, e.part[C], 0);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 8 * GRANULE, 2, true);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 12 * GRANULE, 2, true);
	has_memory(pa + 5 * GRANULE, 11, 0, 0);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 2 * GRANULE, 2, true);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 4 * GRANULE, 1, true);
	has_memory(pa, 16, 0, 0);
	has(e.sub[0], 0, 0); /* and given up: others may have it */
	take(APMP_REASON_NONE, 0, e.part[D], pa, 16, e.part[D], 0);
}
END_TEST

/* shows: TREE-19 */
START_TEST(memory_of_others)
{
	uint64_t pa = estate_pa(&e, 2);

	take(APMP_REASON_NONE, 0, e.part[A], pa, 2, e.part[A], 0);
	take(APMP_REASON_OWNED, e.part[A], e.part[A], pa, 2, e.part[A], 0);
	take(APMP_REASON_OWNED, e.part[A], e.part[B], pa + GRANULE, 2, e.part[B], 0);
	take(APMP_REASON_DESCRIPTOR_UNSHARED, e.desc[2], e.part[D], pa + 4 * GRANULE, 1, e.part[D],
	     0);
	take(APMP_REASON_DESCRIPTOR_UNSHARED, e.desc[2], ADMIN, pa + 4 * GRANULE, 1, e.den, 0);
	take(APMP_REASON_DESCRIPTOR_UNSHARED, e.desc[2], ADMIN, pa + 4 * GRANULE, 1, e.part[F], 0);
	take(APMP_REASON_OTHER_COMMUNITY, e.part[D], e.part[A], pa + 4 * GRANULE, 1, e.part[D], 0);
	take(APMP_REASON_OTHER_COMMUNITY, e.lab, e.part[F], pa + 4 * GRANULE, 1, e.lab, 0);
	/* A partition that is alone has a private descriptor. */
	take(APMP_REASON_NONE, 0, e.part[F], estate_pa(&e, 3), 1, e.part[F], 0);
	has(e.sub[2], e.part[F], 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[3], ADMIN, estate_pa(&e, 3) + GRANULE, 1,
	     e.part[G], 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[3], ADMIN, estate_pa(&e, 3) + GRANULE, 1, e.lab,
	     0);
	/* It joins a community: its memory does not become the community's. */
	ask(APMP_REASON_NONE, 0, ADMIN, APMP_CALL_SET_COMMUNITY, (uint64_t)e.part[F],
	    (uint64_t)e.lab, 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[3], e.part[F], estate_pa(&e, 3) + GRANULE, 1,
	     e.lab, 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[3], e.part[A], estate_pa(&e, 3) + GRANULE, 1,
	     e.part[A], 0);
	reassign(APMP_REASON_NONE, 0, e.part[F], e.sub[2], e.lab); /* unless it gives it */
	has_memory(estate_pa(&e, 3), 1, e.part[F], 0);
	take(APMP_REASON_NONE, 0, e.part[A], estate_pa(&e, 3) + GRANULE, 1, e.part[A], 0);
	reassign(APMP_REASON_DESCENDANT, e.ctrl[2], ADMIN, e.sub[2], e.part[F]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.ctrl[2], true); /* which stayed with F */
	reassign(APMP_REASON_DESCENDANT, e.desc[3], ADMIN, e.sub[2], e.part[F]);
	deassign(APMP_REASON_DESCENDANT, e.desc[3], ADMIN, e.sub[2], true);
}
END_TEST

/* A descriptor of a community that it gave to one partition.  shows: TREE-19 */
START_TEST(descriptor_within_a_community)
{
	uint64_t pa = estate_pa(&e, 1);

	assign(APMP_REASON_NONE, 0, ADMIN, e.sub[0], e.lab);
	reassign(APMP_REASON_NONE, 0, e.part[A], e.desc[1], e.part[B]);
	has(e.desc[1], e.part[B], 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[1], e.part[A], pa, 1, e.part[A], 0);
	take(APMP_REASON_DESCRIPTOR_PRIVATE, e.desc[1], e.part[A], pa, 1, e.lab, 0);
	take(APMP_REASON_NONE, 0, e.part[A], pa, 1, e.part[B], 0);
	/* Released alone it is the subsystem's owner's again with its next fragment. */
	leave(APMP_REASON_NONE, 0, e.part[B], pa, 1, true);
	deassign(APMP_REASON_NONE, 0, e.part[B], e.desc[1], true);
	has(e.desc[1], 0, 0);
	take(APMP_REASON_DESCRIPTOR_UNSHARED, e.desc[1], ADMIN, pa, 1, e.part[D], 0);
	take(APMP_REASON_NONE, 0, e.part[A], pa, 1, e.part[A], 0);
	has(e.desc[1], e.lab, e.lab);
	deassign(APMP_REASON_DESCENDANT, e.desc[1], e.part[A], e.desc[1], true);
}
END_TEST

/* shows: TREE-18 */
START_TEST(sizes_and_addresses)
{
	uint64_t pa = estate_pa(&e, 0);
	uint32_t op = APMP_CALL_ASSIGN_MEMORY;
	int32_t a = e.part[A];

	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, 0, wanted(a, 0));
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, GRANULE - 1, wanted(a, 0));
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, GRANULE + 4096, wanted(a, 0));
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa + 4096, GRANULE, wanted(a, 0));
	ask(APMP_REASON_NO_SUCH_NODE, 0, a, op, GRANULE, GRANULE, wanted(a, 0));
	ask(APMP_REASON_NO_SUCH_NODE, 0, a, op, pa + 16 * GRANULE, GRANULE, wanted(a, 0));
	ask(APMP_REASON_NO_MEMORY, e.desc[0], a, op, pa + 15 * GRANULE, 2 * GRANULE, wanted(a, 0));
	ck_assert_uint_eq(got.ret[0], 2 * GRANULE);
	ck_assert_uint_eq(got.ret[1], GRANULE);
	ask(APMP_REASON_NO_MEMORY, e.desc[0], a, op, pa, UINT64_MAX - GRANULE + 1, wanted(a, 0));
	ask(APMP_REASON_NO_MEMORY, 0, a, op, 0, 17 * GRANULE, wanted(a, 0));
	ck_assert_uint_eq(got.ret[0], 17 * GRANULE);
	ck_assert_uint_eq(got.ret[1], 16 * GRANULE);
	ask(APMP_REASON_NO_MEMORY, 0, a, op, 0, UINT64_MAX - GRANULE + 1, wanted(a, 0));
	/* Base memory begins and counts by its own measures. */
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, GRANULE, wanted(a, GCT_MEM_BASE));
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa + GRANULE, 2 * GRANULE, wanted(a, GCT_MEM_BASE));
	ask(APMP_REASON_NONE, 0, a, op, pa, 3 * GRANULE, wanted(a, GCT_MEM_BASE));
	ck_assert_uint_eq(estate_fragment(&e, pa).flags, GCT_MEM_BASE | GCT_MEM_PRIVATE);
	/* Flags for the wrong kind of owner, and none at all. */
	ask(APMP_REASON_INVALID, 0, a, op, 0, GRANULE, wanted(a, GCT_MEM_SHARED));
	ask(APMP_REASON_INVALID, 0, a, op, 0, 2 * GRANULE, wanted(e.lab, GCT_MEM_BASE));
	ask(APMP_REASON_INVALID, 0, a, op, 0, GRANULE, wanted(e.lab, GCT_MEM_PRIVATE));
	ask(APMP_REASON_INVALID, 0, a, op, 0, GRANULE, wanted(a, 0x10));
	ask(APMP_REASON_NOT_AN_OWNER, 0, a, op, 0, GRANULE, wanted(e.cpu[0], 0));
	op = APMP_CALL_DEASSIGN_MEMORY;
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, 0, 0);
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa + 1, GRANULE, 0);
	ask(APMP_REASON_ALIGNMENT, 0, a, op, pa, GRANULE + 1, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, a, op, 0, GRANULE, 0);
	ask(APMP_REASON_INVALID, e.desc[0], a, op, pa, 4 * GRANULE, 0);
	ask(APMP_REASON_INVALID, e.desc[0], a, op, pa, UINT64_MAX - GRANULE + 1, 0);
	ask(APMP_REASON_UNOWNED, e.desc[0], a, op, pa + 3 * GRANULE, GRANULE, 0);
}
END_TEST

/* Where memory is found when the request leaves it open. */
START_TEST(any_memory)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[4], e.part[A]);
	/* Nothing is its domain's: near its CPU. */
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[A], 0, 1, e.part[A], 0),
			  estate_pa(&e, 2));
	/* B is near nothing; rather what its community has than what everybody can have. */
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[A], 0, 2, e.part[B], GCT_MEM_BASE),
			  estate_pa(&e, 2) + 2 * GRANULE);
	/* The smallest place that is large enough. */
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[A], 0, 1, e.part[B], 0),
			  estate_pa(&e, 2) + GRANULE);
	/* The other community finds another descriptor, the smallest. */
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[D], 0, 8, e.den, 0), estate_pa(&e, 1));
	/* More than A's community has left: the next. */
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[A], 0, 12, e.part[A], 0),
			  estate_pa(&e, 2) + 4 * GRANULE);
	ck_assert_uint_eq(take(APMP_REASON_NONE, 0, e.part[A], 0, 1, e.part[A], 0),
			  estate_pa(&e, 3));
}
END_TEST

/* shows: TREE-12, TREE-18 */
START_TEST(memory_in_use)
{
	uint64_t pa = estate_pa(&e, 0);

	take(APMP_REASON_NONE, 0, ADMIN, pa, 4, e.part[A], 0);
	boot(A);
	has_memory(pa, 4, e.part[A], e.part[A]);
	leave(APMP_REASON_NOT_OWNER, e.part[A], e.part[B], pa, 1, false);
	leave(APMP_REASON_NOT_OWNER, e.part[A], e.part[F], pa, 1, true);
	leave(APMP_REASON_INITIALIZED, e.part[A], ADMIN, pa, 1, true);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + GRANULE, 1, false);
	ck_assert_uint_eq(got.ret[0], 1);
	has_memory(pa + GRANULE, 1, 0, e.part[A]);
	take(APMP_REASON_OWNED, e.part[A], ADMIN, pa + GRANULE, 1, e.part[B], 0);
	leave(APMP_REASON_UNOWNED, e.desc[0], e.part[A], pa + GRANULE, 1, true);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 2 * GRANULE, 1, true);
	has_memory(pa + 2 * GRANULE, 1, 0, 0);
	/* Even all of it: the subsystem is the community's until A initializes. */
	leave(APMP_REASON_NONE, 0, e.part[A], pa, 1, false);
	leave(APMP_REASON_NONE, 0, e.part[A], pa + 3 * GRANULE, 1, false);
	has(e.sub[0], e.lab, e.lab);
	estate_halt(&e, A);
	leave(APMP_REASON_UNOWNED, e.desc[0], e.part[B], pa, 1, true);
	boot(A);
	has_memory(pa, 16, 0, 0);
	has(e.sub[0], 0, 0);
}
END_TEST

static void place_database(uint64_t pa, uint64_t pages)
{
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&e.tw, 0, 0, pa / APMP_PAGE_SIZE | pages << 32),
			 0);
}

/* One bad member does not take the database from under the others. */
START_TEST(database_stays)
{
	uint64_t pa = estate_pa(&e, 0);
	struct apmp_tree_community c;

	take(APMP_REASON_NONE, 0, e.part[A], pa, 4, e.lab, 0);
	place_database(pa + 2 * GRANULE, 1024); /* two granules */
	boot(A);
	for (int given_up = 0; given_up <= 1; given_up++) {
		leave(APMP_REASON_IN_USE, e.lab, e.part[A], pa, 4, given_up);
		leave(APMP_REASON_IN_USE, e.lab, e.part[B], pa + 2 * GRANULE, 1, given_up);
		leave(APMP_REASON_IN_USE, e.lab, ADMIN, pa + 3 * GRANULE, 1, given_up);
	}
	leave(APMP_REASON_NONE, 0, e.part[A], pa, 2, true);
	estate_halt(&e, A);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + 3 * GRANULE, 1, false);
	has_memory(pa + 3 * GRANULE, 13, 0, 0);
	ck_assert_int_eq(apmp_tree_community(&e.tw.tree, 0, &c), 0);
	ck_assert_uint_eq(c.apmpdb_info, 0);
}
END_TEST

/* shows: TREE-18 */
START_TEST(as_many_fragments_as_may_be)
{
	uint64_t pa;

	estate_fini(&e);
	estate_init(&e, 3);
	pa = estate_pa(&e, 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa + 2 * GRANULE, 2, e.part[A], 0);
	take(APMP_REASON_FRAGMENTS, e.desc[0], ADMIN, pa + 5 * GRANULE, 2, e.part[A], 0);
	take(APMP_REASON_FRAGMENTS, e.desc[0], ADMIN, pa, 1, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa, 2, e.part[A], 0);
	leave(APMP_REASON_FRAGMENTS, e.desc[0], ADMIN, pa, 1, true);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + 3 * GRANULE, 1, true); /* merges */
	has_memory(pa + 3 * GRANULE, 13, 0, 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa + 3 * GRANULE, 13, e.part[B], 0);
	/* Anywhere: a descriptor of the community has room, but not for a fragment more. */
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 1), 8, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 16, e.part[D], 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 3), 8, e.part[D], 0);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + 2 * GRANULE, 1, true);
	leave(APMP_REASON_FRAGMENTS, e.desc[0], ADMIN, pa + 5 * GRANULE, 2, true);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + 3 * GRANULE, 13, true);
	leave(APMP_REASON_NONE, 0, ADMIN, pa, 2, true);
	take(APMP_REASON_NONE, 0, ADMIN, pa + GRANULE, 2, e.part[A], 0);
	take(APMP_REASON_FRAGMENTS, e.desc[0], ADMIN, 0, 2, e.part[A], 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("configure_memory");
	TCase *tc = asking_case(suite, "rules");

	tcase_add_test(tc, memory_is_cut_and_made_whole);
	tcase_add_test(tc, memory_of_others);
	tcase_add_test(tc, descriptor_within_a_community);
	tcase_add_test(tc, sizes_and_addresses);
	tcase_add_test(tc, any_memory);
	tcase_add_test(tc, memory_in_use);
	tcase_add_test(tc, database_stays);
	tcase_add_test(tc, as_many_fragments_as_may_be);
	return suite_run(suite);
}
