/*
 * test_update.c - an update is whole or not at all, wherever its console dies.
 *
 * Each operation is run once to see what the machine is before and after it and which points it
 * passes; then again on a new machine for every one of these points, where the console dies; the
 * next console repairs, and finds the one or the other.
 */
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
	(void)world_boot(&w, ALPHA);
	(void)world_boot(&w, BETA);
	w.console.trail_count = 0;
}

static void teardown(void)
{
	world_fini(&w);
}

static struct gct_root_node *root(void)
{
	return (void *)w.tw.root;
}

/* All that updates change, but for the two levels and what lies in the free pool. */
struct image {
	unsigned char *tree;
	uint64_t size;
	struct hwrpb hwrpb[2];
	uint64_t transit[WORLD_CPUS], arrival[WORLD_CPUS];
};

static struct image *take_image(void)
{
	struct image *image = calloc(1, sizeof(*image));
	struct gct_root_node *copy;

	ck_assert_ptr_nonnull(image);
	image->size = (uint64_t)apmp_load_relaxed(&root()->first_free);
	image->tree = malloc(image->size);
	ck_assert_ptr_nonnull(image->tree);
	memcpy(image->tree, w.tw.root, image->size);
	copy = (void *)image->tree;
	apmp_store_relaxed(&copy->transient_level, 0);
	apmp_store_relaxed(&copy->current_level, 0);
	for (uint32_t id = ALPHA; id <= BETA; id++)
		memcpy(&image->hwrpb[id], w.party[id].hwrpb, sizeof(struct hwrpb));
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++) {
		image->transit[cpu] = apmp_load_relaxed(&w.state->transit[cpu]);
		image->arrival[cpu] = apmp_load_relaxed(&w.state->arrival[cpu]);
	}
	return image;
}

static void free_image(struct image *image)
{
	free(image->tree);
	free(image);
}

/* Compares what the machine is now with an image; the HWRPBs by their slots' flags, which alone
 * are under the journal. */
static bool is_like(const struct image *image)
{
	struct image *now = take_image();
	bool same = now->size == image->size && !memcmp(now->tree, image->tree, now->size) &&
		    !memcmp(now->transit, image->transit, sizeof(now->transit)) &&
		    !memcmp(now->arrival, image->arrival, sizeof(now->arrival));

	for (uint32_t id = ALPHA; id <= BETA; id++)
		for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
			same = same && apmp_hwrpb_flags(&now->hwrpb[id], cpu) ==
					   apmp_hwrpb_flags(&image->hwrpb[id], cpu);
	free_image(now);
	return same;
}

/* Operations: each one update. */
static int add_partition(struct party *console)
{
	int id;

	(void)console;
	apmp_update_begin(&w.up);
	id = apmp_tree_add_partition(&w.tw, w.lab, "omega", 0x777000);
	apmp_update_commit(&w.up);
	return id >= 0 ? 0 : id;
}

static int boot(struct party *console)
{
	(void)console;
	apmp_update_begin(&w.up);
	(void)apmp_tree_partition_boot(&w.tw, GAMMA, "GAMMA");
	apmp_update_commit(&w.up);
	return 0;
}

static int take_memory(struct party *console)
{
	uint64_t pa;
	int err;

	(void)console;
	apmp_update_begin(&w.up);
	err = apmp_tree_take_memory(&w.tw, w.desc[0], APMP_GRANULE, w.lab, GCT_MEM_SHARED, &pa);
	apmp_update_commit(&w.up);
	return err;
}

static int depart(struct party *console)
{
	struct apmp_cpu_words words = world_cpu_words(&w, 1);
	struct apmp_tree_node cpu;

	(void)console;
	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, 1, &cpu), 0);
	apmp_cpu_depart(&w.tw, &cpu, w.party[ALPHA].hwrpb, ALPHA, &words,
			party_identity(&w.party[ALPHA]));
	return 0;
}

static int arrive(struct party *console)
{
	struct apmp_tree_partition beta;
	struct apmp_cpu_words words = world_cpu_words(&w, 1);
	struct apmp_tree_node cpu;

	(void)console;
	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, 1, &cpu), 0);
	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, BETA, &beta), 0);
	apmp_cpu_arrive(&w.tw, &cpu, w.party[BETA].hwrpb, BETA, beta.node.handle, false, &words,
			party_identity(&w.party[BETA]));
	return 0;
}

static int (*const operations[])(struct party *) = {add_partition, boot, take_memory, depart,
						    arrive};

#define OPERATIONS ((int)(sizeof(operations) / sizeof(operations[0])))

/* A machine on which the operation can be run. */
static void prepare(int operation)
{
	if (operations[operation] == arrive)
		ck_assert_int_eq(depart(&w.console), 0);
	w.console.trail_count = 0;
}

/* Runs the operation to its end; how many points it passes up to and with update_end. */
static uint32_t count_points(int operation, struct image **ret_before, struct image **ret_after)
{
	uint32_t count = 0;

	prepare(operation);
	*ret_before = take_image();
	ck_assert_int_eq(party_run(&w.console, operations[operation]), 0);
	*ret_after = take_image();
	while (w.console.trail[count++] != APMP_P_update_end)
		ck_assert_uint_lt(count, w.console.trail_count);
	ck_assert(!is_like(*ret_before));
	return count;
}

/* Dies at the nth point of all, whichever it is. */
static uint32_t die_after;

static void on_point_die(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (die_after-- == 1)
		party_arm(p, point, 1);
}

static void check_repaired(enum apmp_point died_at, const struct image *before,
			   const struct image *after)
{
	bool committed = died_at == APMP_P_update_commit || died_at == APMP_P_update_end;
	uint64_t level, rest = apmp_load_relaxed(&root()->current_level);
	bool under_way =
	    party_passed(&w.console, APMP_P_update_begin) && died_at != APMP_P_update_end;
	int undone;

	ck_assert_int_eq(apmp_tree_level(&w.tw.tree, &level), under_way ? -EAGAIN : 0);
	world_restart_console(&w);
	undone = apmp_update_repair(&w.up);
	ck_assert_int_ge(undone, 0);
	ck_assert_msg(is_like(committed ? after : before), "died at %s: %s the update",
		      apmp_point_info(died_at)->name, committed ? "not as after" : "not as before");
	ck_assert_int_eq(apmp_tree_level(&w.tw.tree, &level), 0);
	ck_assert_uint_eq(level, rest + under_way);
	ck_assert_int_eq(apmp_update_repair(&w.up), 0);
}

/* shows: TREE-22, TREE-15 */
START_TEST(console_dies_at_every_point)
{
	struct image *before, *after;
	uint32_t count = count_points(_i, &before, &after);

	ck_assert_uint_ge(count, 5);
	teardown();
	for (uint32_t nth = 1; nth <= count; nth++) {
		setup();
		prepare(_i);
		die_after = nth;
		w.console.on_point = on_point_die;
		ck_assert_int_eq(party_run(&w.console, operations[_i]), PARTY_DIED);
		ck_assert_uint_eq(w.console.trail_count, nth);
		check_repaired(w.console.trail[nth - 1], before, after);
		/* And the next console can do it. */
		if (!is_like(after)) {
			ck_assert_int_eq(party_run(&w.console, operations[_i]), 0);
			ck_assert(is_like(after));
		}
		teardown();
	}
	free_image(before);
	free_image(after);
	setup();
}
END_TEST

/* The repairing console dies too: some of the stores are back already.  shows: TREE-22 */
START_TEST(repairer_dies)
{
	struct image *before = take_image();
	struct apmp_journal *j = &w.state->journal;
	uint32_t count;

	party_arm(&w.console, APMP_P_update_store, 8);
	ck_assert_int_eq(party_run(&w.console, boot), PARTY_DIED);
	count = apmp_load_relaxed(&j->count);
	ck_assert_uint_eq(count, 8);
	world_restart_console(&w);
	for (uint32_t back = count; back-- > count - 4;) {
		struct apmp_journal_entry *e = &j->entry[back];
		unsigned char *field = w.tree_base + apmp_load_relaxed(&e->off);

		if (apmp_load_relaxed(&e->width) == 4)
			apmp_store_relaxed((_Atomic uint32_t *)(void *)field,
					   (uint32_t)apmp_load_relaxed(&e->old));
		else
			apmp_store_relaxed((_Atomic uint64_t *)(void *)field,
					   apmp_load_relaxed(&e->old));
	}
	ck_assert_int_eq(apmp_update_repair(&w.up), 8);
	ck_assert(is_like(before));
	free_image(before);
}
END_TEST

static void spoil_journal(int kind, struct apmp_journal *j)
{
	struct apmp_journal_entry *e = &j->entry[1];

	switch (kind) {
	case 0:
		apmp_store_relaxed(&j->open, 2);
		break;
	case 1:
		apmp_store_relaxed(&j->count, APMP_JOURNAL_ENTRIES + 1);
		break;
	case 2:
		apmp_store_relaxed(&e->object, APMP_OBJECT_COUNT);
		break;
	case 3:
		apmp_store_relaxed(&e->object, APMP_OBJECT_HWRPB(63)); /* not mapped */
		break;
	case 4:
		apmp_store_relaxed(&e->width, 2);
		break;
	case 5:
		apmp_store_relaxed(&e->off, 4); /* of 8 bytes */
		apmp_store_relaxed(&e->width, 8);
		break;
	case 6:
		apmp_store_relaxed(&e->off, w.tree_size);
		break;
	default:
		apmp_store_relaxed(&e->off, UINT64_MAX - 7);
		break;
	}
}

/* A journal that makes no sense undoes nothing. */
START_TEST(spoilt_journal)
{
	struct image *before;

	party_arm(&w.console, APMP_P_update_store, 8);
	ck_assert_int_eq(party_run(&w.console, boot), PARTY_DIED);
	before = take_image();
	world_restart_console(&w);
	spoil_journal(_i, &w.state->journal);
	ck_assert_int_eq(apmp_update_repair(&w.up), -EBADMSG);
	ck_assert(is_like(before));
	free_image(before);
}
END_TEST

/* shows: TREE-15 */
START_TEST(commit_interrupts_all)
{
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_store_relaxed(&w.line[cpu].pending, 0);
	apmp_update_begin(&w.up);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[cpu].pending), 0);
	apmp_update_commit(&w.up);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[cpu].pending), APMP_INTR_TREE);
}
END_TEST

START_TEST(abort_takes_all_back)
{
	struct image *before = take_image();
	uint64_t level;

	apmp_update_begin(&w.up);
	ck_assert_int_ge(apmp_tree_add_partition(&w.tw, w.lab, "omega", 1), 0);
	apmp_tree_set_owner(&w.tw, w.cpu[1], w.lab);
	apmp_tree_set_owner(&w.tw, w.cpu[1], w.other); /* twice: the first value comes back */
	apmp_hwrpb_set_flags(&w.up, w.party[ALPHA].hwrpb, ALPHA, 0, HWRPB_PA, HWRPB_PRIMARY);
	ck_assert(!is_like(before));
	apmp_update_abort(&w.up);
	ck_assert(is_like(before));
	ck_assert_int_eq(apmp_tree_level(&w.tw.tree, &level), 0);
	apmp_update_begin(&w.up); /* and it can go on */
	apmp_update_commit(&w.up);
	free_image(before);
}
END_TEST

/* Our own bugs. */
START_TEST(begin_twice_aborts)
{
	apmp_update_begin(&w.up);
	apmp_update_begin(&w.up);
}
END_TEST

START_TEST(commit_without_begin_aborts)
{
	apmp_update_commit(&w.up);
}
END_TEST

START_TEST(abort_without_begin_aborts)
{
	apmp_update_abort(&w.up);
}
END_TEST

START_TEST(store_without_begin_aborts)
{
	apmp_update_store64(&w.up, APMP_OBJECT_TREE, &root()->mem_size, 1);
}
END_TEST

START_TEST(too_many_stores_abort)
{
	apmp_update_begin(&w.up);
	for (uint32_t i = 0; i <= APMP_JOURNAL_ENTRIES; i++)
		apmp_update_store64(&w.up, APMP_OBJECT_TREE, &root()->mem_size, i);
}
END_TEST

START_TEST(store_outside_its_object_aborts)
{
	apmp_update_begin(&w.up);
	apmp_update_store64(&w.up, APMP_OBJECT_TREE, &w.state->transit[0], 1);
}
END_TEST

START_TEST(no_such_object_aborts)
{
	apmp_update_object(&w.up, APMP_OBJECT_COUNT, NULL, 0);
}
END_TEST

static void tests_of_bugs(TCase *tc)
{
	tcase_add_test_raise_signal(tc, begin_twice_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, commit_without_begin_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, abort_without_begin_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, store_without_begin_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, too_many_stores_abort, SIGABRT);
	tcase_add_test_raise_signal(tc, store_outside_its_object_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, no_such_object_aborts, SIGABRT);
}

int main(void)
{
	Suite *suite = suite_create("update");
	TCase *tc = suite_case(suite, "update"), *bugs = suite_case(suite, "bugs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(bugs, setup, teardown);
	tcase_add_loop_test(tc, console_dies_at_every_point, 0, OPERATIONS);
	tcase_add_test(tc, repairer_dies);
	tcase_add_loop_test(tc, spoilt_journal, 0, 8);
	tcase_add_test(tc, commit_interrupts_all);
	tcase_add_test(tc, abort_takes_all_back);
	tests_of_bugs(bugs);
	return suite_run(suite);
}
