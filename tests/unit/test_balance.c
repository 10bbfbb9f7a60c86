/*
 * test_balance.c - what a balancer decides: the least busy gives to the most busy, after several
 * looks, and nothing goes back and forth however late the figures are.
 */
#include <stdlib.h>
#include <string.h>

#include "instance/balance/decide.h"
#include "tests/unit/suite.h"

#define PARTITIONS 5

static struct apmp_app_load load[PARTITIONS];
static int count;

static void put(int i, uint32_t cpus, uint64_t depth)
{
	load[i] = (struct apmp_app_load){.partition = {.id = (uint32_t)i, .incarnation = 1},
					 .cpu_count = cpus,
					 .depth = depth,
					 .active = {{1u << i}},
					 .potential = {{UINT64_MAX}}};
	count = i + 1;
}

/* What the balancer of a partition says to the figures that stand there. */
static int look(struct balance *b, int self)
{
	struct apmp_app_load seen[PARTITIONS];

	memcpy(seen, load, sizeof(seen));
	seen[self].self = true;
	return balance_look(b, seen, count);
}

START_TEST(the_least_busy_gives_to_the_busiest)
{
	struct balance b[3] = {
	    {.margin = 0.5, .looks = 1}, {.margin = 0.5, .looks = 1}, {.margin = 0.5, .looks = 1}};

	put(0, 3, 0);
	put(1, 2, 2);
	put(2, 1, 4);
	ck_assert_int_eq(look(&b[0], 0), 2);
	ck_assert_int_eq(look(&b[1], 1), -1);
	ck_assert_int_eq(look(&b[2], 2), -1);
}
END_TEST

START_TEST(never_the_last_cpu)
{
	struct balance b = {.margin = 0.5, .looks = 1};

	put(0, 1, 0);
	put(1, 1, 9);
	ck_assert_int_eq(look(&b, 0), -1);
}
END_TEST

/* Who has one CPU has its turn at nothing: the least busy of the others gives. */
START_TEST(who_has_one_stands_in_nobodys_way)
{
	struct balance b = {.margin = 0.5, .looks = 1};

	put(0, 1, 0);
	put(1, 2, 1);
	put(2, 2, 8);
	ck_assert_int_eq(look(&b, 1), 2);
}
END_TEST

/* The busiest can use nobody's CPUs, and those of the least busy are for nobody: between the others
 * one goes.  shows: CPU-12, CPU-13 */
START_TEST(only_what_can_run_there)
{
	struct balance b[4] = {{.looks = 1}, {.looks = 1}, {.looks = 1}, {.looks = 1}};

	put(0, 4, 0);
	put(1, 3, 1);
	put(2, 2, 5);
	put(3, 1, 9);
	load[0].active.word[0] = 0;
	load[0].active.word[3] = 1;
	load[1].potential.word[3] = load[2].potential.word[3] = 0;
	load[3].potential.word[0] = 1 << 3;
	load[3].potential.word[3] = 0;
	ck_assert_int_eq(look(&b[1], 1), 2);
	for (int i = 0; i < 4; i++)
		ck_assert(i == 1 || look(&b[i], i) < 0);
}
END_TEST

START_TEST(several_looks_must_see_the_same)
{
	struct balance b = {.margin = 0.5, .looks = 3};

	put(0, 2, 0);
	put(1, 1, 4);
	ck_assert_int_eq(look(&b, 0), -1);
	ck_assert_int_eq(look(&b, 0), -1);
	put(1, 1, 0); /* a burst that has passed */
	ck_assert_int_eq(look(&b, 0), -1);
	put(1, 1, 4);
	ck_assert_int_eq(look(&b, 0), -1);
	ck_assert_int_eq(look(&b, 0), -1);
	load[1].partition.incarnation++; /* it is another life's burst */
	ck_assert_int_eq(look(&b, 0), -1);
	ck_assert_int_eq(look(&b, 0), -1);
	ck_assert_int_eq(look(&b, 0), 1);
	ck_assert_int_eq(look(&b, 0), -1); /* from the beginning */
}
END_TEST

START_TEST(equally_busy_are_left_alone)
{
	struct balance b = {.margin = 0.5, .looks = 1};

	put(0, 2, 2);
	put(1, 2, 2);
	ck_assert_int_eq(look(&b, 0), -1);
	ck_assert_int_eq(look(&b, 1), -1);
	put(1, 2, 3); /* with one more it would be the less busy of the two */
	ck_assert_int_eq(look(&b, 0), -1);
}
END_TEST

/* Loads that stand still, balancers that look in any order and see what was true up to three looks
 * ago: CPUs come to rest, and none that a partition gave away in this comes back to it by these two
 * alone.  _i is the seed. */
START_TEST(it_comes_to_rest)
{
	struct balance b[PARTITIONS];
	struct apmp_app_load before[4][PARTITIONS];
	uint32_t gave[PARTITIONS][PARTITIONS] = {{0}}, moves = 0, total = 0;

	srandom((unsigned)_i);
	for (int i = 0; i < PARTITIONS; i++) {
		put(i, (uint32_t)random() % 6 + 1, (uint64_t)random() % 12);
		b[i] = (struct balance){.margin = 0.5, .looks = 4};
		total += load[i].cpu_count;
	}
	for (int i = 0; i < 4; i++)
		memcpy(before[i], load, sizeof(load));
	for (uint32_t t = 0; t < 2000; t++) {
		int self = (int)(random() % PARTITIONS), to;
		struct apmp_app_load now[PARTITIONS];

		memcpy(now, load, sizeof(now));
		memcpy(load, before[random() % 4], sizeof(load));
		to = look(&b[self], self);
		memcpy(load, now, sizeof(load));
		if (to >= 0 && load[self].cpu_count > 1) {
			load[self].cpu_count--;
			load[to].cpu_count++;
			gave[self][to]++;
			moves++;
			ck_assert_uint_lt(t, 1500);
		}
		memmove(before[1], before[0], 3 * sizeof(before[0]));
		memcpy(before[0], load, sizeof(load));
	}
	ck_assert_uint_le(moves, total);
	for (int i = 0; i < PARTITIONS; i++)
		for (int k = 0; k < i; k++)
			ck_assert(!gave[i][k] || !gave[k][i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balancer");
	TCase *tcase = suite_case(suite, "decisions");

	tcase_add_test(tcase, the_least_busy_gives_to_the_busiest);
	tcase_add_test(tcase, never_the_last_cpu);
	tcase_add_test(tcase, who_has_one_stands_in_nobodys_way);
	tcase_add_test(tcase, only_what_can_run_there);
	tcase_add_test(tcase, several_looks_must_see_the_same);
	tcase_add_test(tcase, equally_busy_are_left_alone);
	tcase_add_loop_test(tcase, it_comes_to_rest, 0, 300);
	return suite_run(suite);
}
