/*
 * test_tree_garbage.c - readers of a tree that a mad console wrote: any word may be anything.  They
 * end, with an answer or -EBADMSG, and read nothing outside of the tree (asan sees it: the tree
 * stands in a block of just its size).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/shared.h"
#include "chaos/sim/random.h"
#include "tests/unit/asking.h"

static struct sim_random chance;

static uint64_t below(uint64_t n)
{
	return sim_random_below(&chance, n);
}

/* A number that is likely to hurt: near a border, a handle of something else, or anything. */
static uint32_t hurtful(void)
{
	uint32_t units = (uint32_t)(e.size / GCT_ALIGN);

	switch (below(6)) {
	case 0:
		return (uint32_t)below(2) ? INT32_MAX : (uint32_t)INT32_MIN;
	case 1:
		return (uint32_t)(e.size - below(4) * GCT_ALIGN);
	case 2:
		return (uint32_t)below(units) * GCT_ALIGN;
	case 3:
		return 0u - (uint32_t)below(4096);
	case 4:
		return (uint32_t)below(256);
	default:
		return (uint32_t)below(UINT64_C(1) << 32);
	}
}

/* Some words of the used part of the pool; the header stays, it was checked once. */
static void spoil(void)
{
	uint64_t words = (uint64_t)apmp_load_relaxed(&root()->first_free) / sizeof(uint32_t);

	for (uint64_t count = 1 + below(6); count > 0 && words && words < e.size / 4; count--) {
		_Atomic uint32_t *word = (void *)(e.tw.root + below(words) * sizeof(*word));

		apmp_store_relaxed(word, hurtful());
	}
}

static void walk(int32_t from)
{
	struct apmp_tree_walk w;
	struct apmp_tree_node n;
	uint64_t left = 4 * e.size / GCT_ALIGN;
	int more;

	apmp_tree_walk_init(&w, from);
	while ((more = apmp_tree_walk(&e.tw.tree, &w, &n)) > 0)
		ck_assert_uint_gt(left--, 0);
	ck_assert(more == 0 || more == -EBADMSG);
}

static void is_answer(int64_t err)
{
	ck_assert_msg(err >= 0 || err == -EBADMSG || err == -ENOENT || err == -EAGAIN, "%lld",
		      (long long)err);
}

static void read_all(void)
{
	const struct apmp_tree *tree = &e.tw.tree;
	struct apmp_tree_fragment f[4];
	struct apmp_tree_partition p;
	struct apmp_tree_community c;
	struct apmp_tree_node n;
	struct apmp_missing missing;
	uint64_t a, b;

	is_answer(apmp_tree_level(tree, &a));
	walk(0);
	walk((int32_t)hurtful());
	for (uint32_t id = 0; id < 10; id++) {
		is_answer(apmp_tree_partition(tree, id, &p));
		is_answer(apmp_tree_community(tree, id, &c));
		is_answer(apmp_tree_cpu(tree, id, &n));
		(void)apmp_tree_present(tree, id);
		(void)apmp_tree_alive(tree, apmp_identity(id, 1 + below(4)));
	}
	is_answer(apmp_tree_find(tree, GCT_BUS, below(4)));
	is_answer(apmp_tree_find_self(tree, 0x10000, &p));
	for (uint32_t d = 0; d < ESTATE_DESCS; d++) {
		is_answer(apmp_tree_fragment(tree, e.desc[d], (uint32_t)below(4), &f[0]));
		is_answer(apmp_tree_page_good(tree, estate_pa(&e, d) + below(16 * GRANULE)));
	}
	is_answer(apmp_tree_fragment(tree, (int32_t)hurtful(), (uint32_t)below(4), &f[0]));
	is_answer(apmp_tree_cpu_type(tree, below(2) ? e.cpu[0] : (int32_t)hurtful(), &a, &b));
	is_answer(apmp_tree_memory_at(tree, estate_pa(&e, 0) + GRANULE, &f[0]));
	is_answer(apmp_tree_page_good(tree, hurtful()));
	is_answer(apmp_tree_shared_memory(tree, e.lab, f, 4));
	(void)apmp_tree_owner_id(tree, (int32_t)hurtful());
	ck_assert_int_le(apmp_template_check(tree, e.part[A], &missing), 0);
}

/* A tree with something of everything. */
static void furnish(void)
{
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 0) + GRANULE, 2, e.lab, 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 0) + 4 * GRANULE, 2, e.part[A], 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	ask(APMP_REASON_NONE, 0, ADMIN, APMP_CALL_DELETE_PARTITION, (uint64_t)e.part[G], 0, 0);
	boot(A);
	apmp_update_begin(&e.up);
	for (uint32_t d = 0; d < ESTATE_DESCS; d++)
		ck_assert_int_eq(apmp_tree_mark_bad(&e.tw, e.desc[d], d), 0);
	apmp_update_commit_quietly(&e.up);
}

/* shows: TREE-20 */
START_TEST(spoilt_anywhere)
{
	struct estate_image *good;

	chance.state = (uint64_t)_i + 1;
	furnish();
	good = estate_save(&e);
	for (uint32_t i = 0; i < 2000; i++) {
		spoil();
		read_all();
		if (below(4) == 0)
			estate_restore(&e, good);
	}
	free(good);
}
END_TEST

/* shows: TREE-21 */
START_TEST(spoilt_bitmap)
{
	struct gct_mem_desc_node *d = (void *)(e.tw.root + e.desc[0]);
	uint64_t pa = estate_pa(&e, 0);
	struct gct_mem_desc *f;

	apmp_store_relaxed(&d->tested, INT32_MAX);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa), -EBADMSG);
	apmp_store_relaxed(&d->tested, -e.desc[0] - 64);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa), -EBADMSG);
	apmp_store_relaxed(&d->tested, 4); /* not of words */
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa), -EBADMSG);
	apmp_store_relaxed(&d->tested, 64);
	apmp_store_relaxed(&d->mem_info.base_pa, pa + 1);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa), -EBADMSG);
	/* Memory without end. */
	apmp_store_relaxed(&d->mem_info.base_pa, 0);
	f = (void *)(e.tw.root + e.desc[0] + apmp_load_relaxed(&d->mem_frag));
	apmp_store_relaxed(&f->pa, 0);
	apmp_store_relaxed(&f->size, UINT64_MAX);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, UINT64_MAX - 1), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tree_garbage");
	TCase *tc = asking_case(suite, "garbage");

	tcase_add_loop_test(tc, spoilt_anywhere, 0, 4);
	tcase_add_test(tc, spoilt_bitmap);
	return suite_run(suite);
}
