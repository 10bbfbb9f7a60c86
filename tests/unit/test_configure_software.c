/* test_configure_software.c - partitions and communities are created, deleted and moved. */
#include <errno.h>
#include <string.h>

#include "shm/shared.h"
#include "tests/unit/asking.h"

/* shows: TREE-06, TREE-16 */
START_TEST(creating)
{
	struct apmp_tree_partition p;
	struct apmp_tree_community c;

	ck_assert_int_eq(named(e.part[A], APMP_CALL_CREATE_COMMUNITY, 0, 0, "new"), 0);
	ck_assert_uint_eq(got.ret[0], 2);
	ck_assert(got.permanent);
	ck_assert_int_eq(apmp_tree_community(&e.tw.tree, 2, &c), 0);
	ck_assert_str_eq(c.name, "new");
	ck_assert_uint_eq((uint64_t)c.node.handle, got.ret[1]);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, got.ret[1], 1, "new"), 0);
	ck_assert_uint_eq(got.ret[0], 8);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, 8, &p), 0);
	ck_assert_str_eq(p.name, "new");
	ck_assert_uint_eq((uint64_t)p.node.handle, got.ret[1]);
	ck_assert_int_eq(p.community, c.node.handle);
	ck_assert_uint_eq(p.policy, GCT_POLICY_BOOT);
	ck_assert_uint_eq(p.incarnation, 0);
	ck_assert_int_eq(named(e.part[A], APMP_CALL_CREATE_PARTITION, 0, 0, "x.9-_"), 0);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, 9, &p), 0);
	ck_assert_int_eq(p.community, GCT_NONE);
	ck_assert_uint_eq(p.policy, 0);
	ck_assert_int_eq(named(e.part[A], APMP_CALL_CREATE_PARTITION, (uint64_t)e.lab, 0, "y"), 0);
	ck_assert_int_eq(named(e.part[A], APMP_CALL_CREATE_PARTITION, (uint64_t)e.den, 0, "z"),
			 APMP_REASON_OTHER_COMMUNITY);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, (uint64_t)e.part[A], 0, "z"),
			 APMP_REASON_NO_SUCH_NODE);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 2, "z"), APMP_REASON_INVALID);
}
END_TEST

START_TEST(names)
{
	static const char *const bad[] = {"",
					  "A",
					  "_a",
					  "-",
					  ".a",
					  "a b",
					  "a/b",
					  "a\n",
					  "\xc3\xa9",
					  "ab:",
					  "01234567890123456789012345678901"};
	char unended[APMP_CALL_TEXT];

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, bad[i]),
				 APMP_REASON_NAME);
		ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, bad[i]),
				 APMP_REASON_NAME);
	}
	memset(unended, 'a', sizeof(unended));
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, unended), APMP_REASON_NAME);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "a"),
			 APMP_REASON_NAME_TAKEN);
	ck_assert_int_eq(got.about, e.part[A]);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, "den"),
			 APMP_REASON_NAME_TAKEN);
	ck_assert_int_eq(got.about, e.den);
	/* A community may have a partition's name. */
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, "a"), 0);
	ck_assert_int_eq(
	    named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "0123456789012345678901234567890"), 0);
}
END_TEST

/* shows: TREE-06 */
START_TEST(as_many_as_may_be)
{
	char name[8] = "p00";

	for (uint32_t id = ESTATE_PARTITIONS; id < APMP_MAX_PARTITIONS; id++) {
		name[1] = (char)('0' + id / 10);
		name[2] = (char)('0' + id % 10);
		ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, name), 0);
		ck_assert_uint_eq(got.ret[0], id);
		if (id >= ESTATE_PARTITIONS + 2)
			ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, name), 0);
	}
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "more"),
			 APMP_REASON_MAX_PARTITIONS);
	for (uint32_t id = 0; id < 8; id++) {
		name[2] = (char)('a' + id);
		ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, name), 0);
	}
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, "more"),
			 APMP_REASON_MAX_PARTITIONS);
}
END_TEST

/* The platform may have fewer than the layout allows; ids below are given. */
START_TEST(fewer_than_the_layout_allows)
{
	apmp_store_relaxed(&root()->max_partition, ESTATE_PARTITIONS);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "more"),
			 APMP_REASON_MAX_PARTITIONS);
}
END_TEST

START_TEST(pool_used_up)
{
	apmp_store_relaxed(&root()->first_free, apmp_load_relaxed(&root()->first_free) +
						    apmp_load_relaxed(&root()->available) - 64);
	apmp_store_relaxed(&root()->available, 64);
	ck_assert_int_eq(apmp_configure(&e.tw,
					&(struct apmp_call_request){
					    .op = APMP_CALL_CREATE_PARTITION, .text = "more"},
					ADMIN, &got),
			 -ENOSPC);
	ck_assert_uint_eq(got.reason, APMP_REASON_POOL);
	/* What was deleted needs no room. */
	ck_assert_int_eq(
	    apmp_configure(&e.tw,
			   &(struct apmp_call_request){.op = APMP_CALL_DELETE_PARTITION,
						       .arg = {(uint64_t)e.part[C]}},
			   ADMIN, &got),
	    0);
	apmp_update_commit_quietly(&e.up);
	ck_assert_int_eq(apmp_configure(&e.tw,
					&(struct apmp_call_request){
					    .op = APMP_CALL_CREATE_PARTITION, .text = "more"},
					ADMIN, &got),
			 0);
	ck_assert_uint_eq(got.ret[0], C);
	apmp_update_abort(&e.up);
}
END_TEST

static void delete_partition(enum apmp_reason want, int32_t about, int32_t by, uint32_t id)
{
	ask(want, about, by, APMP_CALL_DELETE_PARTITION, (uint64_t)e.part[id], 0, 0);
}

/* shows: PLAT-05, TREE-07 */
START_TEST(deleting_a_partition)
{
	boot(A);
	boot(B);
	delete_partition(APMP_REASON_INITIALIZED, e.part[B], e.part[A], B);
	delete_partition(APMP_REASON_INITIALIZED, e.part[B], ADMIN, B);
	delete_partition(APMP_REASON_INITIALIZED, e.part[A], e.part[A], A);
	/* Uninitialized, but not known to be dead. */
	apmp_update_begin(&e.up);
	apmp_tree_set_flags(&e.tw, e.part[B], NODE_INITIALIZED, 0);
	apmp_update_commit_quietly(&e.up);
	delete_partition(APMP_REASON_INITIALIZED, e.part[B], ADMIN, B);
	estate_halt(&e, B);
	delete_partition(APMP_REASON_OTHER_COMMUNITY, e.part[B], e.part[D], B);
	delete_partition(APMP_REASON_OTHER_COMMUNITY, e.part[B], e.part[F], B);
	delete_partition(APMP_REASON_OTHER_COMMUNITY, e.part[G], e.part[F], G);
	delete_partition(APMP_REASON_NONE, 0, e.part[A], B);
	ck_assert(got.permanent);
	delete_partition(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, B);
	ask(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, APMP_CALL_DELETE_PARTITION, (uint64_t)e.lab, 0, 0);
	assign(APMP_REASON_NOT_AN_OWNER, 0, ADMIN, e.cpu[0], e.part[B]);
	delete_partition(APMP_REASON_NONE, 0, ADMIN, G);
}
END_TEST

/* All that it owned is nobody's.  shows: TREE-07 */
START_TEST(deletion_clears_ownership)
{
	uint64_t pa = estate_pa(&e, 0);
	struct apmp_tree_node n;

	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[1], e.part[B]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], e.part[B]);
	take(APMP_REASON_NONE, 0, ADMIN, pa, 2, e.part[B], 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa + 4 * GRANULE, 2, e.part[B], 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa + 2 * GRANULE, 2, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 2, e.part[B], 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.ctrl[1], e.part[B]);
	boot(B);
	boot(A);
	apmp_update_begin(&e.up); /* one CPU is loaned */
	apmp_tree_set_current_owner(&e.tw, e.cpu[1], e.part[A]);
	apmp_update_commit_quietly(&e.up);
	estate_halt(&e, B);
	delete_partition(APMP_REASON_NONE, 0, e.part[A], B);
	has(e.cpu[0], 0, 0);
	has(e.cpu[1], 0, e.part[A]);
	has(e.bus[0], 0, 0);
	has(e.device[0], 0, 0);
	has_memory(pa, 2, 0, 0);
	has_memory(pa + 4 * GRANULE, 12, 0, 0);
	has(e.sub[0], e.lab, e.lab); /* A has memory there */
	has(e.sub[1], 0, 0);
	has(e.ctrl[1], 0, 0);
	n = estate_node(&e, e.part[B]);
	ck_assert_uint_eq(n.type, GCT_PARTITION);
	ck_assert_uint_eq(n.flags, NODE_UNAVAILABLE);
	ck_assert_uint_eq(n.id, B);
}
END_TEST

/* Ids and nodes are used again; identities never.  shows: TREE-06, TREE-07 */
START_TEST(reused_and_never_confused)
{
	struct apmp_tree_partition p;
	int32_t free = apmp_load_relaxed(&root()->first_free);

	for (uint32_t life = 1; life <= 3; life++) {
		boot(B);
		estate_halt(&e, B);
	}
	boot(D);
	estate_halt(&e, D);
	ck_assert(!apmp_tree_alive(&e.tw.tree, apmp_identity(B, 3)));
	delete_partition(APMP_REASON_NONE, 0, ADMIN, B);
	delete_partition(APMP_REASON_NONE, 0, ADMIN, F);
	delete_partition(APMP_REASON_NONE, 0, ADMIN, D);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, B, &p), -ENOENT);
	ck_assert_uint_eq(apmp_tree_present(&e.tw.tree, B), 0);
	for (uint32_t life = 1; life <= 4; life++)
		ck_assert(!apmp_tree_alive(&e.tw.tree, apmp_identity(B, life)));
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, (uint64_t)e.den, 0, "again"), 0);
	ck_assert_uint_eq(got.ret[0], B);
	ck_assert_int_eq((int32_t)got.ret[1], e.part[B]);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, B, &p), 0);
	ck_assert_int_eq(p.community, e.den);
	ck_assert_uint_eq(p.hwrpb, 0); /* the console's to fill in */
	ck_assert_str_eq(p.instance_name, "");
	ck_assert_uint_eq(p.node.flags, 0);
	for (uint32_t life = 1; life <= 4; life++)
		ck_assert(!apmp_tree_alive(&e.tw.tree, apmp_identity(B, life)));
	boot(B);
	ck_assert_uint_eq(apmp_tree_present(&e.tw.tree, B), apmp_identity(B, 4));
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "d2"), 0);
	ck_assert_uint_eq(got.ret[0], D);
	ck_assert_int_eq((int32_t)got.ret[1], e.part[D]);
	ck_assert_int_eq(named(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, "f2"), 0);
	ck_assert_int_eq((int32_t)got.ret[1], e.part[F]);
	ck_assert_int_eq(apmp_load_relaxed(&root()->lookaside), 0);
	ck_assert_int_eq(apmp_load_relaxed(&root()->first_free), free);
}
END_TEST

/* shows: TREE-07, PLAT-06 */
START_TEST(deleting_a_community)
{
	int32_t lone;

	ck_assert_int_eq(named(e.part[A], APMP_CALL_CREATE_COMMUNITY, 0, 0, "new"), 0);
	lone = (int32_t)got.ret[1];
	ask(APMP_REASON_HAS_MEMBERS, e.part[A], ADMIN, APMP_CALL_DELETE_COMMUNITY, (uint64_t)e.lab,
	    0, 0);
	ask(APMP_REASON_HAS_MEMBERS, e.part[A], e.part[A], APMP_CALL_DELETE_COMMUNITY,
	    (uint64_t)e.lab, 0, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, APMP_CALL_DELETE_COMMUNITY, (uint64_t)e.part[A], 0,
	    0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 3), 2, lone, 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], lone);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&e.tw, 2, 0, 77), 0);
	ask(APMP_REASON_OTHER_COMMUNITY, lone, e.part[A], APMP_CALL_DELETE_COMMUNITY,
	    (uint64_t)lone, 0, 0);
	ask(APMP_REASON_NONE, 0, ADMIN, APMP_CALL_DELETE_COMMUNITY, (uint64_t)lone, 0, 0);
	has(e.bus[0], 0, 0);
	has(e.sub[2], 0, 0);
	has_memory(estate_pa(&e, 3), 8, 0, 0);
	ck_assert_int_eq(named(e.part[F], APMP_CALL_CREATE_COMMUNITY, 0, 0, "newer"), 0);
	ck_assert_int_eq((int32_t)got.ret[1], lone);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&e.tw, 2, 0, 0), 0);
	/* It owns nothing: anybody may. */
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_DELETE_COMMUNITY, (uint64_t)lone, 0, 0);
}
END_TEST

static void move(enum apmp_reason want, int32_t about, int32_t by, uint32_t id, int32_t community)
{
	ask(want, about, by, APMP_CALL_SET_COMMUNITY, (uint64_t)e.part[id], (uint64_t)community, 0);
}

/* shows: PLAT-06 */
START_TEST(changing_community)
{
	struct apmp_tree_partition p;

	move(APMP_REASON_OTHER_COMMUNITY, e.part[F], e.part[A], F, e.lab);
	move(APMP_REASON_OTHER_COMMUNITY, e.part[B], e.part[A], B, 0);
	move(APMP_REASON_IN_COMMUNITY, e.lab, ADMIN, B, e.den);
	move(APMP_REASON_IN_COMMUNITY, e.lab, ADMIN, B, e.lab);
	move(APMP_REASON_INVALID, e.part[F], ADMIN, F, 0);
	move(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, F, e.part[A]);
	move(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, F, e.cpu[0]);
	boot(B);
	boot(F);
	move(APMP_REASON_INITIALIZED, e.part[B], ADMIN, B, 0);
	move(APMP_REASON_INITIALIZED, e.part[F], ADMIN, F, e.lab);
	estate_halt(&e, B);
	estate_halt(&e, F);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 0), 2, e.part[B], 0);
	move(APMP_REASON_HAS_SHARED, e.desc[0], ADMIN, B, 0);
	leave(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 0), 2, true);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.lab);
	reassign(APMP_REASON_NONE, 0, ADMIN, e.bus[2], e.part[B]);
	move(APMP_REASON_HAS_SHARED, e.bus[2], ADMIN, B, 0);
	reassign(APMP_REASON_NONE, 0, ADMIN, e.bus[2], e.lab);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
	move(APMP_REASON_NONE, 0, ADMIN, B, 0);
	ck_assert(got.permanent);
	has(e.cpu[0], e.part[B], 0); /* comes with it */
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, B, &p), 0);
	ck_assert_int_eq(p.community, 0);
	move(APMP_REASON_NONE, 0, ADMIN, B, e.den);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, B, &p), 0);
	ck_assert_int_eq(p.community, e.den);
}
END_TEST

/* shows: TREE-13, PLAT-04 */
START_TEST(what_a_partition_needs)
{
	struct apmp_missing m;
	int32_t a = e.part[A];

	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_CPU);
	ck_assert_uint_eq(m.wanted, 1);
	ck_assert_uint_eq(m.had, 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[3], a); /* can't be primary */
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_CPU);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], a);
	take(APMP_REASON_NONE, 0, ADMIN, 0, 4, a, 0); /* not base memory */
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_MEMORY_DESC);
	ck_assert_uint_eq(m.wanted, 2 * GRANULE);
	ck_assert_uint_eq(m.had, 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 2, a, GCT_MEM_BASE);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_BUS);
	ask(APMP_REASON_TEMPLATE, a, e.part[B], APMP_CALL_START_PARTITION, (uint64_t)a, 0, 0);
	ck_assert_uint_eq(got.ret[0], 1);
	ck_assert_uint_eq(got.ret[1], 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], a);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), 0);
	ask(APMP_REASON_NONE, 0, e.part[B], APMP_CALL_START_PARTITION, (uint64_t)a, 0, 0);
	ask(APMP_REASON_OTHER_COMMUNITY, a, e.part[D], APMP_CALL_START_PARTITION, (uint64_t)a, 0,
	    0);
	boot(A);
	ask(APMP_REASON_INITIALIZED, a, e.part[B], APMP_CALL_START_PARTITION, (uint64_t)a, 0, 0);
	ask(APMP_REASON_NO_SUCH_NODE, 0, ADMIN, APMP_CALL_START_PARTITION, (uint64_t)e.lab, 0, 0);
	/* Half of its base memory is gone: it counts in one piece. */
	leave(APMP_REASON_NONE, 0, a, estate_pa(&e, 2), 1, true);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.had, GRANULE);
	set_flag(e.cpu[0], NODE_UNAVAILABLE);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, a, &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_CPU);
}
END_TEST

/* More than one node of a kind in the template: as many. */
START_TEST(template_asks_for_two)
{
	struct apmp_tree_spec spec = {.parent = apmp_tree_root(&e.tw, GCT_TEMPLATE_ROOT),
				      .type = GCT_BUS,
				      .flags = NODE_HW_TEMPLATE};
	struct apmp_missing m;

	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.bus[0], e.part[A]);
	take(APMP_REASON_NONE, 0, ADMIN, 0, 2, e.part[A], GCT_MEM_BASE);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, e.part[A], &m), 0);
	apmp_update_begin(&e.up);
	ck_assert_int_gt(apmp_tree_add(&e.tw, &spec), 0);
	apmp_update_commit_quietly(&e.up);
	ck_assert_int_eq(apmp_template_check(&e.tw.tree, e.part[A], &m), -ENODEV);
	ck_assert_uint_eq(m.type, GCT_BUS);
	ck_assert_uint_eq(m.wanted, 2);
	ck_assert_uint_eq(m.had, 1);
}
END_TEST

/* shows: TREE-16 */
START_TEST(id_field)
{
	struct apmp_tree_partition p;

	boot(A);
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_SET_ID, 0x1234567890, 0, 0);
	ck_assert(!got.permanent);
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, A, &p), 0);
	ck_assert_uint_eq(p.id_field, 0x1234567890);
	ask(APMP_REASON_INVALID, 0, ADMIN, APMP_CALL_SET_ID, 1, 0, 0);
	estate_halt(&e, A);
	boot(A); /* [0262] */
	ck_assert_int_eq(apmp_tree_partition(&e.tw.tree, A, &p), 0);
	ck_assert_uint_eq(p.id_field, 0);
}
END_TEST

/* shows: TREE-14 */
START_TEST(tree_lock)
{
	boot(A);
	boot(B);
	ask(APMP_REASON_NOT_LOCKED, 0, e.part[A], APMP_CALL_UNLOCK_TREE, 0, 0, 0);
	ask(APMP_REASON_INVALID, 0, ADMIN, APMP_CALL_LOCK_TREE, 0, 0, 0);
	ask(APMP_REASON_NONE, 0, e.part[B], APMP_CALL_LOCK_TREE, 0, 0, 0);
	ck_assert(!got.permanent);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->lock), B);
	ask(APMP_REASON_LOCKED, e.part[B], e.part[A], APMP_CALL_LOCK_TREE, 0, 0, 0);
	ask(APMP_REASON_LOCKED, e.part[B], e.part[B], APMP_CALL_LOCK_TREE, 0, 0, 0);
	ask(APMP_REASON_NOT_LOCKED, e.part[B], e.part[A], APMP_CALL_UNLOCK_TREE, 0, 0, 0);
	ask(APMP_REASON_NOT_LOCKED, e.part[B], ADMIN, APMP_CALL_UNLOCK_TREE, 0, 0, 0);
	for (uint32_t op = APMP_CALL_CREATE_COMMUNITY; op < APMP_CALL_SET_ID; op++) {
		if (op == APMP_CALL_LIMITS)
			continue;
		ask(APMP_REASON_LOCKED, e.part[B], e.part[A], op, (uint64_t)e.cpu[0],
		    (uint64_t)e.part[A], 0);
		ask(APMP_REASON_LOCKED, e.part[B], ADMIN, op, (uint64_t)e.cpu[0],
		    (uint64_t)e.part[A], 0);
	}
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_LIMITS, 1, 0, 0);
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_SET_ID, 1, 0, 0); /* no configuration */
	assign(APMP_REASON_NONE, 0, e.part[B], e.cpu[0], e.part[B]);	/* the holder goes on */
	ask(APMP_REASON_NONE, 0, e.part[B], APMP_CALL_UNLOCK_TREE, 0, 0, 0);
	assign(APMP_REASON_NONE, 0, e.part[A], e.cpu[1], e.part[A]);
	/* The holder dies: the console lets go. */
	ask(APMP_REASON_NONE, 0, e.part[B], APMP_CALL_LOCK_TREE, 0, 0, 0);
	estate_halt(&e, B);
	assign(APMP_REASON_NONE, 0, e.part[A], e.cpu[2], e.part[A]);
	/* A holder that is no more holds nothing. */
	ask(APMP_REASON_NONE, 0, e.part[F], APMP_CALL_LOCK_TREE, 0, 0, 0);
	delete_partition(APMP_REASON_NONE, 0, e.part[F], F);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->lock), UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("configure_software");
	TCase *tc = asking_case(suite, "rules");

	tcase_add_test(tc, creating);
	tcase_add_test(tc, names);
	tcase_add_test(tc, as_many_as_may_be);
	tcase_add_test(tc, fewer_than_the_layout_allows);
	tcase_add_test(tc, pool_used_up);
	tcase_add_test(tc, deleting_a_partition);
	tcase_add_test(tc, deletion_clears_ownership);
	tcase_add_test(tc, reused_and_never_confused);
	tcase_add_test(tc, deleting_a_community);
	tcase_add_test(tc, changing_community);
	tcase_add_test(tc, what_a_partition_needs);
	tcase_add_test(tc, template_asks_for_two);
	tcase_add_test(tc, id_field);
	tcase_add_test(tc, tree_lock);
	return suite_run(suite);
}
