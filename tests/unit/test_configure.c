/*
 * test_configure.c - requests that make no sense, limits, handles; and components: who may give,
 * take and release them, each rule tried by who may not.
 */
#include <errno.h>
#include <string.h>

#include "shm/shared.h"
#include "tests/unit/asking.h"

/* shows: TREE-16 */
START_TEST(reasons_are_stable)
{
	for (uint32_t r = 1; r < APMP_REASON_COUNT; r++) {
		const struct apmp_reason_info *info = apmp_reason_info(r);

		ck_assert_ptr_nonnull(info);
		ck_assert_int_gt(info->err, 0);
		ck_assert(info->varlink[0] && info->name[0] && info->text[0]);
		for (uint32_t k = 1; k < r; k++)
			ck_assert_str_ne(info->varlink, apmp_reason_info(k)->varlink);
	}
	ck_assert_ptr_null(apmp_reason_info(0));
	ck_assert_ptr_null(apmp_reason_info(APMP_REASON_COUNT));
	ck_assert_ptr_null(apmp_reason_info(UINT32_MAX));
	ck_assert_int_eq(APMP_REASON_NOT_OWNER, 2);
	ck_assert_str_eq(apmp_reason_info(2)->varlink, "NotOwner");
	ck_assert_str_eq(apmp_reason_info(2)->name, "NOT_OWNER");
	ck_assert_int_eq(APMP_REASON_STORAGE, 35);
}
END_TEST

START_TEST(requests_without_sense)
{
	static const uint32_t none[] = {0, 1, APMP_CALL_EXIT, APMP_CALL_UNLOCK_TREE + 1,
					UINT32_MAX};

	for (uint32_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ask(APMP_REASON_INVALID, 0, ADMIN, none[i], 0, 0, 0);
	/* Who asks is no partition. */
	ask(APMP_REASON_NO_SUCH_NODE, 0, e.lab, APMP_CALL_LIMITS, 1, 0, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, e.cpu[0], APMP_CALL_LIMITS, 1, 0, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, -64, APMP_CALL_LIMITS, 1, 0, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, 0, APMP_CALL_LIMITS, 1, 0, 0);
}
END_TEST

/* shows: TREE-16, TREE-18 */
START_TEST(limits_are_told)
{
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_LIMITS, APMP_LIMIT_MAX_FRAGMENTS, 0, 0);
	ck_assert_uint_eq(got.ret[0], 16);
	ask(APMP_REASON_NONE, 0, ADMIN, APMP_CALL_LIMITS, APMP_LIMIT_MEM_SIZE, 0, 0);
	ck_assert_uint_eq(got.ret[0], 48 * GRANULE);
	ck_assert(!got.permanent);
	ask(APMP_REASON_INVALID, 0, ADMIN, APMP_CALL_LIMITS, 0, 0, 0);
	ask(APMP_REASON_INVALID, 0, ADMIN, APMP_CALL_LIMITS, 11, 0, 0);
}
END_TEST

/* A handle is a number that somebody sent.  shows: TREE-03 */
START_TEST(handles_that_are_none)
{
	const uint64_t none[] = {1,
				 64 * 1000000,
				 UINT64_MAX,
				 (uint64_t)INT32_MAX + 1,
				 (uint64_t)e.cpu[0] | UINT64_C(1) << 32,
				 (uint64_t)apmp_load_relaxed(&root()->partitions)};
	struct gct_node *fake;

	for (uint32_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ask(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, APMP_CALL_ASSIGN, none[i],
		    (uint64_t)e.part[A], 0);
		ask(APMP_REASON_NOT_AN_OWNER, 0, ADMIN, APMP_CALL_ASSIGN, (uint64_t)e.cpu[0],
		    none[i], 0);
	}
	/* A node inside of another one: an instance may choose what stands in its name. */
	fake = (void *)(e.tw.root + e.part[H] + 128);
	memcpy(fake, e.tw.root + e.cpu[0], sizeof(*fake));
	ck_assert_int_eq(estate_node(&e, e.part[H] + 128).type, GCT_CPU);
	assign(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, e.part[H] + 128, e.part[A]);
	/* Nodes that have no owner to choose. */
	assign(APMP_REASON_NOT_ASSIGNABLE, 0, ADMIN, 0, e.part[A]);
	assign(APMP_REASON_NOT_ASSIGNABLE, e.lab, ADMIN, e.lab, e.part[A]);
	assign(APMP_REASON_NOT_ASSIGNABLE, e.part[B], e.part[A], e.part[B], e.part[A]);
	assign(APMP_REASON_NOT_ASSIGNABLE, estate_node(&e, e.sbb[0]).parent, ADMIN,
	       estate_node(&e, e.sbb[0]).parent, e.part[A]);
	assign(APMP_REASON_NOT_ASSIGNABLE,
	       estate_node(&e, apmp_tree_root(&e.tw, GCT_TEMPLATE_ROOT)).child, ADMIN,
	       estate_node(&e, apmp_tree_root(&e.tw, GCT_TEMPLATE_ROOT)).child, e.part[A]);
	assign(APMP_REASON_NOT_AN_OWNER, 0, ADMIN, e.cpu[0], 0);
	assign(APMP_REASON_NOT_AN_OWNER, 0, ADMIN, e.cpu[0], e.cpu[1]);
}
END_TEST

/* Unassigned resources may be taken by anybody, for anybody of the community, and by nobody for
 * another one.  shows: PLAT-05, PLAT-06, TREE-10 */
START_TEST(unowned_is_for_all)
{
	boot(A);
	assign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], e.part[A]);
	has(e.cpu[0], e.part[A], GCT_NONE); /* until it initializes */
	ck_assert(got.permanent);
	assign(APMP_REASON_NONE, 0, e.part[A], e.cpu[1], e.part[B]);
	assign(APMP_REASON_NONE, 0, e.part[F], e.cpu[2], e.part[F]);
	assign(APMP_REASON_OTHER_COMMUNITY, e.part[D], e.part[A], e.cpu[4], e.part[D]);
	assign(APMP_REASON_OTHER_COMMUNITY, e.part[F], e.part[A], e.cpu[4], e.part[F]);
	assign(APMP_REASON_OTHER_COMMUNITY, e.part[G], e.part[F], e.cpu[4], e.part[G]);
	assign(APMP_REASON_OTHER_COMMUNITY, e.den, e.part[A], e.iop[0], e.den);
	assign(APMP_REASON_OTHER_COMMUNITY, e.lab, e.part[F], e.iop[0], e.lab);
	assign(APMP_REASON_NONE, 0, e.part[B], e.iop[0], e.lab);
	has(e.iop[0], e.lab, e.lab); /* a community uses it at once */
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[4], e.part[D]);
}
END_TEST

/* Only what is null and null.  shows: TREE-09, TREE-10 */
START_TEST(owned_is_not_assigned)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	assign(APMP_REASON_OWNED, e.part[A], ADMIN, e.cpu[0], e.part[B]);
	assign(APMP_REASON_OWNED, e.part[A], e.part[A], e.cpu[0], e.part[A]);
	assign(APMP_REASON_OWNED, e.part[A], e.part[B], e.cpu[0], e.part[B]);
	boot(A);
	has(e.cpu[0], e.part[A], e.part[A]);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], false);
	ck_assert_uint_eq(got.ret[0], 1);
	has(e.cpu[0], GCT_NONE, e.part[A]); /* unowned, but still active */
	assign(APMP_REASON_OWNED, e.part[A], ADMIN, e.cpu[0], e.part[B]);
	assign(APMP_REASON_OWNED, e.part[A], e.part[A], e.cpu[0], e.part[A]);
	estate_halt(&e, A);
	assign(APMP_REASON_OWNED, e.part[A], ADMIN, e.cpu[0], e.part[B]);
	boot(A); /* shows: TREE-12 */
	has(e.cpu[0], GCT_NONE, GCT_NONE);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
}
END_TEST

/* What an ended life used and nobody owns is free; what it owns stays in its use.
 * shows: TREE-12 */
START_TEST(use_ends_with_the_life)
{
	for (uint32_t i = 0; i < 2; i++)
		assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[i], e.part[A]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[0], e.lab);
	boot(A);
	boot(B);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[2], e.part[A]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], false);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.iop[0], false);
	estate_halt(&e, A);
	apmp_update_begin(&e.up);
	apmp_tree_end_use(&e.tw, e.part[A]);
	apmp_update_commit_quietly(&e.up);
	has(e.cpu[0], GCT_NONE, GCT_NONE);
	has(e.cpu[1], e.part[A], e.part[A]);
	has(e.cpu[2], e.part[A], GCT_NONE);
	has(e.iop[0], GCT_NONE, e.lab); /* B is in the community, and lives */
	estate_halt(&e, B);
	apmp_update_begin(&e.up);
	apmp_tree_end_use(&e.tw, e.part[B]);
	apmp_update_commit_quietly(&e.up);
	has(e.iop[0], GCT_NONE, GCT_NONE);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
}
END_TEST

/* shows: TREE-10, PLAT-05 */
START_TEST(only_the_owner_releases)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	deassign(APMP_REASON_UNOWNED, e.cpu[1], e.part[A], e.cpu[1], true);
	boot(A);
	for (int given_up = 0; given_up <= 1; given_up++) {
		deassign(APMP_REASON_NOT_OWNER, e.part[A], e.part[B], e.cpu[0], given_up);
		deassign(APMP_REASON_NOT_OWNER, e.part[A], e.part[D], e.cpu[0], given_up);
		deassign(APMP_REASON_NOT_OWNER, e.part[A], e.part[F], e.cpu[0], given_up);
	}
	reassign(APMP_REASON_NOT_OWNER, e.part[A], e.part[B], e.cpu[0], e.part[B]);
	/* The administrator ends nobody's use. */
	deassign(APMP_REASON_INITIALIZED, e.part[A], ADMIN, e.cpu[0], true);
	reassign(APMP_REASON_INITIALIZED, e.part[A], ADMIN, e.cpu[0], e.part[B]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], false);
	ck_assert_uint_eq(got.ret[0], 1);
	has(e.cpu[0], GCT_NONE, e.part[A]);
	/* What is owned, but not in use, it may take. */
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[1], e.part[A]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[1], true);
	ck_assert_uint_eq(got.ret[0], 0);
	has(e.cpu[1], GCT_NONE, GCT_NONE);
}
END_TEST

START_TEST(owner_gives_up)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	boot(A);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], true);
	ck_assert_uint_eq(got.ret[0], 0);
	has(e.cpu[0], GCT_NONE, GCT_NONE);
}
END_TEST

/* An uninitialized partition is stripped by its community, and by nobody else.
 * shows: PLAT-05, PLAT-06 */
START_TEST(uninitialized_is_stripped)
{
	boot(A);
	for (int given_up = 0; given_up <= 1; given_up++) {
		assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
		boot(B);
		estate_halt(&e, B);
		has(e.cpu[0], e.part[B], e.part[B]);
		deassign(APMP_REASON_OTHER_COMMUNITY, e.part[B], e.part[D], e.cpu[0], given_up);
		deassign(APMP_REASON_OTHER_COMMUNITY, e.part[B], e.part[F], e.cpu[0], given_up);
		deassign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], given_up);
		ck_assert_uint_eq(got.ret[0], 0);
		has(e.cpu[0], GCT_NONE, GCT_NONE);
	}
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[F]);
	deassign(APMP_REASON_OTHER_COMMUNITY, e.part[F], e.part[A], e.cpu[0], true);
	deassign(APMP_REASON_OTHER_COMMUNITY, e.part[F], e.part[G], e.cpu[0], true);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], false);
	has(e.cpu[0], GCT_NONE, GCT_NONE);
}
END_TEST

START_TEST(primary_stays)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	set_flag(e.cpu[0], NODE_PRIMARY);
	boot(A);
	for (int given_up = 0; given_up <= 1; given_up++) {
		deassign(APMP_REASON_PRIMARY_CPU, e.part[A], e.part[A], e.cpu[0], given_up);
		deassign(APMP_REASON_PRIMARY_CPU, e.part[A], ADMIN, e.cpu[0], given_up);
	}
	reassign(APMP_REASON_PRIMARY_CPU, e.part[A], e.part[A], e.cpu[0], e.part[B]);
	estate_halt(&e, A);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], false);
}
END_TEST

/* A loan: owner and user differ.  shows: TREE-09 */
START_TEST(loaned_is_in_use)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	boot(A);
	boot(B);
	apmp_update_begin(&e.up);
	apmp_tree_set_current_owner(&e.tw, e.cpu[0], e.part[B]);
	apmp_update_commit_quietly(&e.up);
	estate_halt(&e, A); /* the owner's end does not end it */
	boot(A);
	has(e.cpu[0], e.part[A], e.part[B]);
	deassign(APMP_REASON_NOT_OWNER, e.part[A], e.part[B], e.cpu[0], true); /* the borrower */
	deassign(APMP_REASON_INITIALIZED, e.part[B], e.part[A], e.cpu[0], true);
	reassign(APMP_REASON_INITIALIZED, e.part[B], e.part[A], e.cpu[0], e.part[C]);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], false);
	has(e.cpu[0], GCT_NONE, e.part[B]);
	estate_halt(&e, B);
	boot(B);
	has(e.cpu[0], GCT_NONE, GCT_NONE);
}
END_TEST

/* shows: TREE-10 */
START_TEST(reassigning)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	boot(A);
	boot(B);
	reassign(APMP_REASON_UNOWNED, e.cpu[1], e.part[A], e.cpu[1], e.part[B]);
	reassign(APMP_REASON_OWNED, e.part[A], e.part[A], e.cpu[0], e.part[A]);
	reassign(APMP_REASON_OTHER_COMMUNITY, e.part[D], e.part[A], e.cpu[0], e.part[D]);
	reassign(APMP_REASON_NOT_AN_OWNER, 0, e.part[A], e.cpu[0], 0);
	reassign(APMP_REASON_NOT_FOR_COMMUNITY, e.cpu[0], e.part[A], e.cpu[0], e.lab);
	reassign(APMP_REASON_NONE, 0, e.part[A], e.cpu[0], e.part[B]);
	has(e.cpu[0], e.part[B], GCT_NONE);
	/* The administrator, too, deassigns before he crosses communities [0063]. */
	reassign(APMP_REASON_OTHER_COMMUNITY, e.part[D], ADMIN, e.cpu[0], e.part[D]);
	reassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[C]);
	/* A bus to the community and back. */
	assign(APMP_REASON_NONE, 0, e.part[A], e.bus[0], e.part[A]);
	reassign(APMP_REASON_NONE, 0, e.part[A], e.bus[0], e.lab);
	has(e.bus[0], e.lab, e.lab);
	has(e.device[0], e.lab, e.lab);
	reassign(APMP_REASON_NOT_OWNER, e.lab, e.part[D], e.bus[0], e.part[D]);
	reassign(APMP_REASON_INITIALIZED, e.lab, ADMIN, e.bus[0], e.part[B]); /* members run */
	reassign(APMP_REASON_NONE, 0, e.part[B], e.bus[0], e.part[B]);
	has(e.device[0], e.part[B], GCT_NONE);
}
END_TEST

/* shows: TREE-08, TREE-11 */
START_TEST(bound_goes_along)
{
	assign(APMP_REASON_BOUND_TO, e.bus[0], ADMIN, e.device[0], e.part[A]);
	assign(APMP_REASON_BOUND_TO, e.iop[1], ADMIN, e.bus[2], e.part[A]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.part[A]);
	for (int b = 2; b < 4; b++) { /* through two bindings */
		has(e.bus[b], e.part[A], GCT_NONE);
		has(e.device[b], e.part[A], GCT_NONE);
	}
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[0], e.part[A]); /* its buses are free */
	has(e.bus[0], GCT_NONE, GCT_NONE);
	deassign(APMP_REASON_BOUND_TO, e.iop[1], ADMIN, e.bus[2], true);
	reassign(APMP_REASON_BOUND_TO, e.iop[1], ADMIN, e.bus[2], e.part[B]);
	boot(A);
	has(e.device[3], e.part[A], e.part[A]);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.iop[1], false);
	has(e.device[3], GCT_NONE, e.part[A]);
	estate_halt(&e, A);
	boot(A);
	has(e.iop[1], GCT_NONE, GCT_NONE);
	has(e.device[3], GCT_NONE, GCT_NONE);
}
END_TEST

/* What a community has may be told apart among its partitions [0192, 0195].  shows: TREE-11 */
START_TEST(chain_of_a_community)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.lab);
	has(e.device[2], e.lab, e.lab);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.bus[2], true);
	has(e.bus[2], GCT_NONE, GCT_NONE);
	has(e.device[2], GCT_NONE, GCT_NONE);
	assign(APMP_REASON_CHAIN, e.iop[1], ADMIN, e.bus[2], e.part[D]);
	assign(APMP_REASON_CHAIN, e.iop[1], ADMIN, e.bus[2], e.den);
	assign(APMP_REASON_CHAIN, e.iop[1], ADMIN, e.bus[2], e.part[F]);
	assign(APMP_REASON_NONE, 0, e.part[A], e.bus[2], e.part[B]);
	has(e.device[2], e.part[B], GCT_NONE);
	/* Its I/O processor can't go while a part of it is somebody's. */
	deassign(APMP_REASON_DESCENDANT, e.bus[2], ADMIN, e.iop[1], true);
	reassign(APMP_REASON_DESCENDANT, e.bus[2], ADMIN, e.iop[1], e.part[B]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.bus[2], true);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], true);
	has(e.bus[3], GCT_NONE, GCT_NONE);
}
END_TEST

/* shows: TREE-11 */
START_TEST(descendants_of_a_community)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	assign(APMP_REASON_DESCENDANT, e.cpu[0], ADMIN, e.sbb[0], e.den);
	assign(APMP_REASON_NONE, 0, ADMIN, e.sbb[0], e.lab);
	has(e.cpu[0], e.part[A], GCT_NONE);
	has(e.cpu[1], GCT_NONE, GCT_NONE);
	/* To a partition: what is free stays free. */
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], e.part[D]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[0], e.part[A]);
	has(e.bus[0], e.part[D], GCT_NONE);
}
END_TEST

/* shows: TREE-11, TREE-19 */
START_TEST(what_needs_an_instance)
{
	assign(APMP_REASON_NOT_FOR_COMMUNITY, e.cpu[0], ADMIN, e.cpu[0], e.lab);
	assign(APMP_REASON_NOT_FOR_COMMUNITY, e.ctrl[0], ADMIN, e.ctrl[0], e.lab);
	assign(APMP_REASON_BOUND_TO, e.sub[0], ADMIN, e.ctrl[0], e.part[A]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.sub[0], e.lab);
	has(e.desc[0], e.lab, e.lab);
	has(e.desc[1], e.lab, e.lab);
	has(e.ctrl[0], GCT_NONE, GCT_NONE);
	assign(APMP_REASON_CHAIN, e.sub[0], ADMIN, e.ctrl[0], e.part[D]);
	assign(APMP_REASON_NONE, 0, e.part[B], e.ctrl[0], e.part[A]);
	deassign(APMP_REASON_DESCENDANT, e.ctrl[0], e.part[B], e.sub[0], true);
	reassign(APMP_REASON_DESCENDANT, e.ctrl[0], e.part[B], e.sub[0], e.part[A]);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.ctrl[0], true);
	reassign(APMP_REASON_NONE, 0, e.part[B], e.sub[0], e.part[A]);
	has(e.ctrl[0], e.part[A], GCT_NONE);
	has(e.desc[1], e.part[A], GCT_NONE);
	/* And back: the controller stays with its partition. */
	reassign(APMP_REASON_NONE, 0, e.part[A], e.sub[0], e.lab);
	has(e.ctrl[0], e.part[A], GCT_NONE);
	has(e.desc[0], e.lab, e.lab);
}
END_TEST

/* Nobody ends the use of a community's but its members, while any of them runs. */
START_TEST(use_by_a_community)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], e.lab);
	boot(A);
	boot(B);
	deassign(APMP_REASON_NOT_OWNER, e.lab, e.part[D], e.bus[0], false);
	deassign(APMP_REASON_NOT_OWNER, e.lab, e.part[F], e.bus[0], true);
	deassign(APMP_REASON_INITIALIZED, e.lab, ADMIN, e.bus[0], true);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], false);
	has(e.bus[0], GCT_NONE, e.lab);
	estate_halt(&e, A);
	boot(A); /* B may still use it */
	has(e.bus[0], GCT_NONE, e.lab);
	estate_halt(&e, A);
	estate_halt(&e, B);
	boot(C);
	has(e.bus[0], GCT_NONE, GCT_NONE);
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], e.lab);
	deassign(APMP_REASON_NONE, 0, e.part[C], e.bus[0], true);
	has(e.bus[0], GCT_NONE, GCT_NONE);
}
END_TEST

START_TEST(unavailable_is_not_assigned)
{
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[1], e.part[A]);
	set_flag(e.cpu[0], NODE_UNAVAILABLE);
	assign(APMP_REASON_UNAVAILABLE, e.cpu[0], ADMIN, e.cpu[0], e.part[A]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("configure");
	TCase *tc = asking_case(suite, "rules");

	tcase_add_test(tc, reasons_are_stable);
	tcase_add_test(tc, requests_without_sense);
	tcase_add_test(tc, limits_are_told);
	tcase_add_test(tc, handles_that_are_none);
	tcase_add_test(tc, unowned_is_for_all);
	tcase_add_test(tc, owned_is_not_assigned);
	tcase_add_test(tc, only_the_owner_releases);
	tcase_add_test(tc, owner_gives_up);
	tcase_add_test(tc, use_ends_with_the_life);
	tcase_add_test(tc, uninitialized_is_stripped);
	tcase_add_test(tc, primary_stays);
	tcase_add_test(tc, loaned_is_in_use);
	tcase_add_test(tc, reassigning);
	tcase_add_test(tc, bound_goes_along);
	tcase_add_test(tc, chain_of_a_community);
	tcase_add_test(tc, descendants_of_a_community);
	tcase_add_test(tc, what_needs_an_instance);
	tcase_add_test(tc, use_by_a_community);
	tcase_add_test(tc, unavailable_is_not_assigned);
	return suite_run(suite);
}
