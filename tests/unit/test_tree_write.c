/* test_tree_write.c - building and changing the configuration tree. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
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

static struct gct_root_node *root(void)
{
	return (void *)w.tw.root;
}

static struct apmp_tree_node node(int32_t handle)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_node(&w.tw.tree, handle, &n), 0);
	return n;
}

/* A tree of its own, not published, in one page of zeroes. */
static struct apmp_tree_writer small;

static void *small_create(uint32_t max_fragments)
{
	static _Alignas(APMP_PAGE_SIZE) unsigned char page[APMP_PAGE_SIZE];
	const struct apmp_tree_limits limits = {.max_fragments = max_fragments,
						.max_desc = 1,
						.platform = "a platform of a long, long name"};

	memset(page, 0, sizeof(page));
	apmp_tree_create(&small, NULL, page, sizeof(page), &limits);
	return page;
}

/* shows: TREE-01, TREE-05, TREE-14 */
START_TEST(root_fields)
{
	const struct gct_header *header = (const void *)w.tree_base;
	uint64_t sum = 0;

	ck_assert_uint_eq(apmp_load_relaxed(&header->size), w.tree_size);
	ck_assert_uint_eq(w.tree_size % APMP_PAGE_SIZE, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->lock), UINT64_MAX);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->min_alloc), APMP_GRANULE);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->max_fragments), 8);
	ck_assert_uint_eq(apmp_load_relaxed(&root()->max_platform_partition), APMP_MAX_PARTITIONS);
	ck_assert_int_eq(apmp_load_relaxed(&root()->primary_instance), -1);
	ck_assert_int_eq(apmp_load_relaxed(&root()->lookaside), 0);
	ck_assert_int_eq(apmp_load_relaxed(&root()->first_free) +
			     apmp_load_relaxed(&root()->available),
			 (int32_t)(w.tree_size - sizeof(*header)));
	ck_assert_str_eq((char *)w.tw.root + apmp_load_relaxed(&root()->platform_name), "test");
	for (uint64_t off = 0; off < w.tw.tree.size; off += 8)
		sum += apmp_load_relaxed((_Atomic uint64_t *)(void *)(w.tw.root + off));
	ck_assert_uint_eq(apmp_load_relaxed(&header->checksum), sum);
}
END_TEST

/* shows: TREE-08 */
START_TEST(bindings)
{
	const struct gct_binding *b =
	    (const void *)(w.tw.root + apmp_load_relaxed(&root()->bindings));
	bool found = false;
	uint32_t i = 0;

	for (; apmp_load_relaxed(&b[i].node_type); i++) {
		ck_assert_uint_lt(i, GCT_IO_CTRL);
		ck_assert_ptr_nonnull(
		    apmp_tree_type_name((uint8_t)apmp_load_relaxed(&b[i].config_type)));
		if (apmp_load_relaxed(&b[i].node_type) != GCT_CPU)
			continue;
		found = true; /* a CPU is free, and best with its SBB */
		ck_assert_uint_eq(apmp_load_relaxed(&b[i].config_type), GCT_HW_ROOT);
		ck_assert_uint_eq(apmp_load_relaxed(&b[i].affinity_type), GCT_SBB);
	}
	ck_assert(found);
	ck_assert_int_eq(node(w.cpu[0]).config, apmp_tree_root(&w.tw, GCT_HW_ROOT));
	ck_assert_int_eq(node(w.desc[0]).config, node(w.desc[0]).parent);
}
END_TEST

/* shows: TREE-04 */
START_TEST(siblings_in_order)
{
	int32_t sbb = node(w.cpu[0]).parent, last = 0;

	for (uint32_t i = 0; i < 4; i++) {
		ck_assert_int_eq(node(w.cpu[i]).parent, sbb);
		ck_assert_int_eq(node(w.cpu[i]).prev_sib, last);
		last = w.cpu[i];
	}
	ck_assert_int_eq(node(sbb).child, w.cpu[0]);
	ck_assert_int_eq(node(sbb).parent, apmp_tree_root(&w.tw, GCT_HW_ROOT));
	ck_assert_int_eq(node(apmp_tree_root(&w.tw, GCT_HW_ROOT)).next_sib,
			 apmp_tree_root(&w.tw, GCT_SW_ROOT));
	ck_assert_int_eq(apmp_tree_root(&w.tw, GCT_ROOT), 0);
}
END_TEST

/* shows: TREE-06 */
START_TEST(ids_are_dense_and_bounded)
{
	apmp_update_begin(&w.up);
	for (int id = WORLD_PARTITIONS; id < (int)APMP_MAX_PARTITIONS; id++) {
		ck_assert_int_eq(apmp_tree_add_partition(&w.tw, w.lab, "p", 1), id);
	}
	ck_assert_int_eq(apmp_tree_add_partition(&w.tw, w.lab, "more", 1), -ENOSPC);
	apmp_update_commit(&w.up);
	apmp_update_begin(&w.up);
	for (int id = 2; id < (int)APMP_MAX_PARTITIONS; id++)
		ck_assert_int_eq(apmp_tree_add_community(&w.tw, "c"), id);
	ck_assert_int_eq(apmp_tree_add_community(&w.tw, "more"), -ENOSPC);
	apmp_update_commit(&w.up);
}
END_TEST

/* What apmp_tree_size says is enough is enough. */
START_TEST(size_is_enough)
{
	uint64_t size = apmp_tree_size(40, 3, 16);
	void *base = aligned_alloc(APMP_PAGE_SIZE, size);
	const struct apmp_tree_limits limits = {
	    .max_fragments = 16, .max_desc = 3, .platform = "full"};
	struct apmp_tree_spec spec = {.type = GCT_CPU};
	struct apmp_tree_writer tw;

	ck_assert_ptr_nonnull(base);
	memset(base, 0, size);
	apmp_tree_create(&tw, NULL, base, size, &limits);
	spec.parent = apmp_tree_root(&tw, GCT_HW_ROOT);
	for (int i = 0; i < 40; i++)
		ck_assert_int_gt(apmp_tree_add(&tw, &spec), 0);
	spec.type = GCT_MEMORY_DESC;
	for (int i = 0; i < 3; i++)
		ck_assert_int_gt(apmp_tree_add_memory(&tw, &spec, 0, APMP_GRANULE), 0);
	for (int id = 0; id < (int)APMP_MAX_PARTITIONS; id++) {
		ck_assert_int_eq(apmp_tree_add_partition(&tw, 0, "p", 1), id);
		ck_assert_int_eq(apmp_tree_add_community(&tw, "c"), id);
	}
	free(base);
}
END_TEST

/* The pool is used up by a chain as deep as it gets: still a good tree. */
START_TEST(pool_used_up)
{
	void *base = small_create(8);
	struct apmp_tree_spec spec = {.parent = apmp_tree_root(&small, GCT_HW_ROOT),
				      .type = GCT_SBB};
	struct apmp_tree tree;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	int32_t at;
	int count = 0, more;

	while ((at = apmp_tree_add(&small, &spec)) > 0) {
		spec.parent = at;
		count++;
	}
	ck_assert_int_eq(at, -ENOSPC);
	ck_assert_int_gt(count, 20);
	ck_assert_int_eq(apmp_tree_add_memory(&small, &spec, 0, 1), -ENOSPC);
	ck_assert_int_eq(apmp_tree_add_community(&small, "c"), -ENOSPC);
	ck_assert_int_eq(apmp_tree_add_partition(&small, 0, "p", 0), -ENOSPC);
	apmp_tree_publish(&small);
	ck_assert_int_eq(apmp_tree_init(&tree, base, APMP_PAGE_SIZE), 0);
	apmp_tree_walk_init(&walk, 0);
	while ((more = apmp_tree_walk(&tree, &walk, &n)) > 0)
		count -= n.type == GCT_SBB;
	ck_assert_int_eq(more, 0);
	ck_assert_int_eq(count, 0);
}
END_TEST

START_TEST(long_names_are_cut)
{
	struct apmp_tree_community c;
	int id;

	(void)small_create(8);
	ck_assert_str_eq(
	    (char *)small.root +
		apmp_load_relaxed(&((struct gct_root_node *)(void *)small.root)->platform_name),
	    "a platform of a long, long name");
	apmp_update_begin(&w.up);
	id = apmp_tree_add_community(&w.tw, "0123456789012345678901234567890123456789");
	apmp_update_commit(&w.up);
	ck_assert_int_ge(id, 0);
	ck_assert_int_eq(apmp_tree_community(&w.tw.tree, (uint32_t)id, &c), 0);
	ck_assert_str_eq(c.name, "0123456789012345678901234567890");
}
END_TEST

/* A second console finds the tree and goes on with it. */
START_TEST(adopting)
{
	struct apmp_tree_writer tw;

	ck_assert_int_eq(apmp_tree_adopt(&tw, &w.up, w.tree_base, w.tree_size - 1), -ENOSPC);
	ck_assert_int_eq(apmp_tree_adopt(&tw, &w.up, small_create(8), APMP_PAGE_SIZE), -EBADMSG);
	world_restart_console(&w);
	apmp_update_begin(&w.up);
	apmp_tree_set_flags(&w.tw, w.cpu[7], NODE_HARDWARE, NODE_HOTSWAP);
	apmp_update_commit(&w.up);
	ck_assert_uint_eq(node(w.cpu[7]).flags, NODE_HOTSWAP);
}
END_TEST

/* shows: TREE-09 */
START_TEST(owners_and_flags)
{
	int32_t alpha = node(w.cpu[0]).owner, beta = node(w.cpu[2]).owner;

	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, w.cpu[7], alpha);	    /* owned, not yet active */
	apmp_tree_set_current_owner(&w.tw, w.cpu[1], beta); /* loaned */
	apmp_tree_set_flags(&w.tw, w.cpu[0], NODE_HARDWARE, NODE_HOTSWAP);
	apmp_update_commit(&w.up);
	ck_assert_int_eq(node(w.cpu[7]).owner, alpha);
	ck_assert_int_eq(node(w.cpu[7]).current_owner, GCT_NONE);
	ck_assert_int_eq(node(w.cpu[1]).owner, alpha);
	ck_assert_int_eq(node(w.cpu[1]).current_owner, beta);
	ck_assert_uint_eq(node(w.cpu[0]).flags, NODE_PRIMARY | NODE_HOTSWAP);
}
END_TEST

static void give(int32_t handle, int32_t owner)
{
	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, handle, owner);
	apmp_tree_set_current_owner(&w.tw, handle, owner);
	apmp_update_commit(&w.up);
}

/* What is bound to a node goes with it; but a memory controller is never a community's.
 * shows: TREE-11 */
START_TEST(bound_nodes_go_along)
{
	int32_t alpha = node(w.cpu[0]).owner, memory = node(w.desc[0]).parent;

	give(memory, alpha);
	ck_assert_int_eq(node(memory).owner, alpha);
	ck_assert_int_eq(node(w.desc[0]).owner, alpha);
	ck_assert_int_eq(node(w.desc[0]).current_owner, alpha);
	ck_assert_int_eq(node(w.ctrl[0]).owner, alpha);
	ck_assert_int_eq(node(w.desc[1]).owner, w.lab);
	give(memory, w.lab);
	ck_assert_int_eq(node(memory).owner, w.lab);
	ck_assert_int_eq(node(w.desc[0]).owner, w.lab);
	ck_assert_int_eq(node(w.ctrl[0]).owner, alpha);
	give(memory, GCT_NONE);
	ck_assert_int_eq(node(w.desc[0]).owner, GCT_NONE);
	ck_assert_int_eq(node(w.desc[0]).current_owner, GCT_NONE);
	ck_assert_int_eq(node(w.ctrl[0]).owner, GCT_NONE);
	/* A CPU is not bound to its SBB. */
	give(node(w.cpu[0]).parent, w.lab);
	ck_assert_int_eq(node(w.cpu[0]).owner, alpha);
	ck_assert_int_eq(node(memory).owner, GCT_NONE);
}
END_TEST

static uint64_t take(int32_t desc, uint64_t size, int32_t owner, int want)
{
	uint64_t pa = 4711;

	ck_assert_int_eq(apmp_tree_take_memory(&w.tw, desc, size, owner, GCT_MEM_PRIVATE, &pa),
			 want);
	if (want)
		ck_assert_uint_eq(pa, 4711);
	return pa;
}

/* Fragments never overlap and cover the descriptor.  shows: TREE-18, MEM-01 */
START_TEST(memory_is_cut_into_fragments)
{
	int32_t alpha = node(w.cpu[0]).owner;
	uint64_t base = w.range_pa[0], at = base;
	struct apmp_tree_fragment f;
	uint32_t i = 0;

	apmp_update_begin(&w.up);
	ck_assert_uint_eq(take(w.desc[0], 2 * APMP_GRANULE, alpha, 0), base + APMP_GRANULE);
	ck_assert_uint_eq(take(w.desc[0], APMP_GRANULE, alpha, 0), base + 3 * APMP_GRANULE);
	(void)take(w.desc[0], 5 * APMP_GRANULE, alpha, -ENOSPC);
	ck_assert_uint_eq(take(w.desc[0], 4 * APMP_GRANULE, alpha, 0), base + 4 * APMP_GRANULE);
	(void)take(w.desc[0], APMP_GRANULE, alpha, -ENOSPC);
	apmp_update_commit(&w.up);
	for (; apmp_tree_fragment(&w.tw.tree, w.desc[0], i, &f) == 0; i++) {
		ck_assert_uint_eq(f.pa, at);
		ck_assert_int_eq(f.owner, i ? alpha : w.lab);
		ck_assert_int_eq(f.current_owner, f.owner);
		ck_assert_uint_eq(f.flags, i ? GCT_MEM_PRIVATE : GCT_MEM_SHARED);
		at += f.size;
	}
	ck_assert_uint_eq(i, 4);
	ck_assert_uint_eq(at, base + 8 * APMP_GRANULE);
}
END_TEST

/* No fragment is left to describe the rest of a cut; one that needs no cut is still given. */
START_TEST(fragments_used_up)
{
	struct gct_root_node *r;
	struct apmp_tree_spec spec = {.type = GCT_MEMORY_DESC};
	struct gct_mem_desc_node *d;
	uint64_t pa;
	int32_t desc;

	(void)small_create(3);
	r = (void *)small.root;
	spec.parent = apmp_tree_root(&small, GCT_HW_ROOT);
	desc = apmp_tree_add_memory(&small, &spec, 0, 10 * APMP_GRANULE);
	ck_assert_int_gt(desc, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&r->max_fragments), 3);
	ck_assert_int_eq(apmp_tree_take_memory(&small, desc, APMP_GRANULE, 64, 0, &pa), 0);
	ck_assert_int_eq(apmp_tree_take_memory(&small, desc, APMP_GRANULE, 64, 0, &pa), 0);
	ck_assert_int_eq(apmp_tree_take_memory(&small, desc, APMP_GRANULE, 64, 0, &pa), -ENOSPC);
	/* The first one comes back: it is just large enough, the last one would need a cut. */
	ck_assert_int_eq(apmp_tree_set_fragment(&small, 0, APMP_GRANULE, GCT_NONE, true, 0), 0);
	ck_assert_int_eq(apmp_tree_take_memory(&small, desc, APMP_GRANULE, 64, 0, &pa), 0);
	ck_assert_uint_eq(pa, 0);
	ck_assert_int_eq(apmp_tree_take_memory(&small, desc, 8 * APMP_GRANULE, 64, 0, &pa), 0);
	d = (void *)(small.root + desc);
	ck_assert_uint_eq(apmp_load_relaxed(&d->mem_info.desc_count), 3);
}
END_TEST

/* shows: TREE-17, HWRPB-01 */
START_TEST(each_boot_is_another_life)
{
	struct apmp_tree_partition p;

	for (uint64_t life = 1; life <= 5; life++) {
		apmp_update_begin(&w.up);
		ck_assert_uint_eq(apmp_tree_partition_boot(&w.tw, GAMMA, "g"), life);
		apmp_update_commit(&w.up);
		ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, GAMMA, &p), 0);
		ck_assert_uint_eq(p.incarnation, life);
		ck_assert_str_eq(p.instance_name, "g");
		ck_assert_int_eq(apmp_load_relaxed(&root()->primary_instance), GAMMA);
	}
	apmp_update_begin(&w.up);
	(void)apmp_tree_partition_boot(&w.tw, ALPHA, "a");
	apmp_update_commit(&w.up);
	ck_assert_int_eq(apmp_load_relaxed(&root()->primary_instance), GAMMA);
}
END_TEST

START_TEST(fenced_only_rises)
{
	struct apmp_tree_partition p;

	apmp_tree_set_fenced(&w.tw, BETA, 5);
	apmp_tree_set_fenced(&w.tw, BETA, 3);
	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, BETA, &p), 0);
	ck_assert_uint_eq(p.fenced, 5);
}
END_TEST

/* shows: DB-03, TREE-16 */
START_TEST(apmpdb_info_by_compare_and_set)
{
	struct apmp_tree_community c;

	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 2, 0, 1), -ENOENT);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 64, 0, 1), -ENOENT);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, UINT32_MAX, 0, 1), -ENOENT);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 0, 1, 2), -EAGAIN);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 0, 0, 2), 0);
	ck_assert_int_eq(apmp_tree_set_apmpdb_info(&w.tw, 0, 0, 3), -EAGAIN);
	ck_assert_int_eq(apmp_tree_community(&w.tw.tree, 0, &c), 0);
	ck_assert_uint_eq(c.apmpdb_info, 2);
	ck_assert_int_eq(apmp_tree_community(&w.tw.tree, 1, &c), 0);
	ck_assert_uint_eq(c.apmpdb_info, 0);
}
END_TEST

/* What an update that was taken back has left in the pool is in nobody's way. */
START_TEST(pool_after_an_abort)
{
	struct apmp_tree_spec spec = {
	    .parent = apmp_tree_root(&w.tw, GCT_HW_ROOT), .type = GCT_SBB, .id = 9};
	int32_t at, child, again;

	apmp_update_begin(&w.up);
	at = apmp_tree_add(&w.tw, &spec);
	ck_assert_int_ne(node(at).prev_sib, 0);
	spec.parent = at;
	child = apmp_tree_add(&w.tw, &spec);
	ck_assert_int_gt(child, at);
	apmp_tree_set_owner(&w.tw, at, w.lab);
	apmp_update_abort(&w.up);
	spec.parent = w.cpu[0]; /* where it is the only child */
	apmp_update_begin(&w.up);
	again = apmp_tree_add(&w.tw, &spec);
	apmp_update_commit(&w.up);
	ck_assert_int_eq(again, at);
	ck_assert_int_eq(node(again).child, 0);
	ck_assert_int_eq(node(again).owner, GCT_NONE);
	ck_assert_int_eq(node(again).next_sib, 0);
	ck_assert_int_eq(node(again).prev_sib, 0);
}
END_TEST

/* Our own bugs. */
START_TEST(odd_handle_aborts)
{
	static const int32_t odd[] = {-64, 8, INT32_MAX - 63};

	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, odd[_i], 0);
}
END_TEST

START_TEST(odd_root_aborts)
{
	ck_assert_int_eq(apmp_tree_root(&w.tw, GCT_CPU), 0);
}
END_TEST

START_TEST(odd_partition_aborts)
{
	static const uint32_t odd[] = {APMP_MAX_PARTITIONS, WORLD_PARTITIONS};

	apmp_tree_set_fenced(&w.tw, odd[_i], 1);
}
END_TEST

START_TEST(store_outside_an_update_aborts)
{
	apmp_tree_set_owner(&w.tw, w.cpu[0], 0);
}
END_TEST

static void tests_of_bugs(TCase *tc)
{
	tcase_add_loop_test_raise_signal(tc, odd_handle_aborts, SIGABRT, 0, 3);
	tcase_add_test_raise_signal(tc, odd_root_aborts, SIGABRT);
	tcase_add_loop_test_raise_signal(tc, odd_partition_aborts, SIGABRT, 0, 2);
	tcase_add_test_raise_signal(tc, store_outside_an_update_aborts, SIGABRT);
}

int main(void)
{
	Suite *suite = suite_create("tree_write");
	TCase *tc = suite_case(suite, "write"), *bugs = suite_case(suite, "bugs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(bugs, setup, teardown);
	tcase_add_test(tc, root_fields);
	tcase_add_test(tc, bindings);
	tcase_add_test(tc, siblings_in_order);
	tcase_add_test(tc, ids_are_dense_and_bounded);
	tcase_add_test(tc, size_is_enough);
	tcase_add_test(tc, pool_used_up);
	tcase_add_test(tc, long_names_are_cut);
	tcase_add_test(tc, adopting);
	tcase_add_test(tc, owners_and_flags);
	tcase_add_test(tc, bound_nodes_go_along);
	tcase_add_test(tc, memory_is_cut_into_fragments);
	tcase_add_test(tc, fragments_used_up);
	tcase_add_test(tc, each_boot_is_another_life);
	tcase_add_test(tc, fenced_only_rises);
	tcase_add_test(tc, apmpdb_info_by_compare_and_set);
	tcase_add_test(tc, pool_after_an_abort);
	tests_of_bugs(bugs);
	return suite_run(suite);
}
