/*
 * test_image_plan.c - what of a machine is asked for: a word that somebody can write takes nothing
 * away from what the tree itself names.
 */
#include "shm/wire/image_fetch.c" /* NOLINT(bugprone-suspicious-include): its statics */
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define TREE_PA (UINT64_C(1) << 47)
#define HEAD	offsetof(struct hwrpb, slot)

static struct world w;
static struct image image;
static struct image_plan plan;

static void setup(void)
{
	world_init(&w);
	(void)world_member(&w, ALPHA);
	(void)world_member(&w, BETA);
}

static void teardown(void)
{
	image_fini(&image);
	world_fini(&w);
}

static void add(uint64_t pa, const void *data, uint64_t size)
{
	ck_assert_int_eq(image_add(&image, pa, data, size), 0);
}

static void make_plan(void)
{
	image = (struct image){.tree_pa = TREE_PA, .lines_pa = TREE_PA + (UINT64_C(1) << 32)};
	plan = (struct image_plan){0};
	add(TREE_PA, w.tree_base, w.tree_size);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		add(WORLD_HWRPB_PA(id), w.party[id].hwrpb,
		    HEAD + WORLD_CPUS * sizeof(struct hwrpb_slot));
	for (uint32_t r = 0; r < WORLD_RANGES; r++)
		add(w.range_pa[r], w.shared + r * WORLD_RANGE_SIZE,
		    APMP_DB_MAX_PAGES * APMP_PAGE_SIZE);
	want_all(&plan, &image, IMAGE_CPUS | IMAGE_DATABASES);
}

static bool planned(uint64_t pa, uint64_t size)
{
	for (uint32_t i = 0; i < plan.count; i++)
		if (plan.range[i].pa <= pa && pa + size <= plan.range[i].pa + plan.range[i].size)
			return true;
	return false;
}

static void check_plan(void)
{
	make_plan();
	for (uint32_t id = ALPHA; id <= BETA; id++)
		ck_assert_msg(
		    planned(WORLD_HWRPB_PA(id), HEAD + WORLD_CPUS * sizeof(struct hwrpb_slot)),
		    "not the HWRPB of %u", id);
	ck_assert(planned(world_pfn(&w) * APMP_PAGE_SIZE, sizeof(struct apmp_db)));
	for (uint32_t i = 0; i < plan.count; i++)
		for (uint32_t k = 0; k < i; k++)
			ck_assert_msg(plan.range[i].pa >= plan.range[k].pa + plan.range[k].size ||
					  plan.range[k].pa >= plan.range[i].pa + plan.range[i].size,
				      "ranges %u and %u overlap", k, i);
}

START_TEST(all_that_there_is)
{
	check_plan();
}
END_TEST

/* ALPHA's word for its recorder leads into others' memory. */
START_TEST(a_recorder_elsewhere)
{
	static const int64_t off[] = {-8, 0, 64};
	uint64_t at[] = {WORLD_HWRPB_PA(BETA), world_pfn(&w) * APMP_PAGE_SIZE, TREE_PA};

	w.party[ALPHA].hwrpb->recorder = at[_i / 3] + (uint64_t)off[_i % 3];
	check_plan();
}
END_TEST

/* The PFN list that a spoilt header names lies on BETA's HWRPB. */
START_TEST(a_list_elsewhere)
{
	world_db(&w)->header.pfn_list = WORLD_HWRPB_PA(BETA) / APMP_PAGE_SIZE | UINT64_C(1) << 32;
	check_plan();
}
END_TEST

/* A range that grows meets one that came before it. */
START_TEST(what_grows)
{
	w.party[ALPHA].hwrpb->recorder =
	    world_pfn(&w) * APMP_PAGE_SIZE + APMP_DB_INITIAL_PAGES * (uint64_t)APMP_PAGE_SIZE;
	check_plan();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image_plan");
	TCase *tc = suite_case(suite, "image_plan");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_that_there_is);
	tcase_add_loop_test(tc, a_recorder_elsewhere, 0, 9);
	tcase_add_test(tc, a_list_elsewhere);
	tcase_add_test(tc, what_grows);
	return suite_run(suite);
}
