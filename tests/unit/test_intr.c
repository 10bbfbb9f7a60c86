/* test_intr.c - interrupt lines and execution words.  Threads: tests/race/race_intr.c. */
#include <errno.h>

#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct apmp_env *env;

static void setup(void)
{
	world_init(&w);
	env = &world_boot(&w, ALPHA)->env;
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++) /* booting has interrupted all */
		apmp_store_relaxed(&w.line[cpu].pending, 0);
}

static void teardown(void)
{
	world_fini(&w);
}

/* shows: PLAT-02 */
START_TEST(reasons_add_up)
{
	uint32_t doorbell = apmp_load_relaxed(&w.line[5].doorbell);

	apmp_intr_send(env, 5, APMP_INTR_TREE);
	apmp_intr_send(env, 5, APMP_INTR_APMP);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[5].doorbell), doorbell + 2);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 2);
	ck_assert_uint_eq(apmp_intr_wait(env, 5, 0), APMP_INTR_TREE | APMP_INTR_APMP);
	ck_assert_uint_eq(apmp_intr_wait(env, 5, 0), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[4].pending), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[6].pending), 0);
}
END_TEST

/* shows: TREE-15 */
START_TEST(all_are_interrupted)
{
	apmp_intr_all(env, APMP_INTR_TREE);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		ck_assert_uint_eq(apmp_intr_wait(env, cpu, 0), APMP_INTR_TREE);
}
END_TEST

/* All have it pending, whatever else they had, and none is woken: not by their clocks either. */
START_TEST(all_in_good_time)
{
	uint32_t doorbell = apmp_load_relaxed(&w.line[5].doorbell);

	apmp_intr_send(env, 3, APMP_INTR_APMP);
	apmp_intr_moved(env);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[5].doorbell), doorbell + 1);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu += 2)
		ck_assert_uint_eq(apmp_intr_wait(env, cpu, 0), APMP_INTR_MOVED);
	for (uint32_t cpu = 1; cpu < WORLD_CPUS; cpu += 2) {
		ck_assert(apmp_intr_due(env, cpu) == (cpu == 3));
		ck_assert_uint_eq(apmp_intr_wait(env, cpu, 0), cpu == 3 ? APMP_INTR_APMP : 0);
	}
}
END_TEST

/* It has the tree's interrupt pending, and is woken for whatever else. */
START_TEST(the_tree_can_wait)
{
	apmp_store_relaxed(&w.line[5].tree_can_wait, 1);
	apmp_intr_send(env, 5, APMP_INTR_TREE);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 0);
	apmp_intr_send(env, 5, APMP_INTR_WORK);
	apmp_intr_send(env, 5, APMP_INTR_TREE | APMP_INTR_APMP);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 2);
	ck_assert_uint_eq(apmp_intr_wait(env, 5, 0),
			  APMP_INTR_TREE | APMP_INTR_WORK | APMP_INTR_APMP);
	apmp_store_relaxed(&w.line[5].tree_can_wait, UINT32_MAX); /* whoever wrote that */
	apmp_intr_send(env, 5, APMP_INTR_WORK);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 3);
}
END_TEST

/* A CPU id may come from shared memory. */
START_TEST(no_such_cpu)
{
	apmp_intr_send(env, WORLD_CPUS, APMP_INTR_TREE);
	apmp_intr_send(env, UINT32_MAX, APMP_INTR_TREE);
	ck_assert_uint_eq(w.party[ALPHA].wakes, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[WORLD_CPUS - 1].pending), 0);
}
END_TEST

START_TEST(what_is_pending_needs_no_wait)
{
	apmp_intr_send(env, 1, APMP_INTR_WORK);
	ck_assert_uint_eq(apmp_intr_wait(env, 1, APMP_NEVER), APMP_INTR_WORK);
	ck_assert_uint_eq(w.party[ALPHA].waits, 0);
}
END_TEST

static void on_wait_send(struct party *p, const _Atomic uint32_t *word)
{
	ck_assert_ptr_eq(word, &w.line[1].doorbell);
	apmp_intr_send(&p->env, 1, APMP_INTR_REQUEST);
}

START_TEST(interrupt_ends_the_wait)
{
	w.party[ALPHA].on_wait = on_wait_send;
	ck_assert_uint_eq(apmp_intr_wait(env, 1, APMP_NEVER), APMP_INTR_REQUEST);
}
END_TEST

static void on_wait_ring(struct party *p, const _Atomic uint32_t *word)
{
	(void)p;
	(void)word;
	apmp_fetch_add(&w.line[1].doorbell, 1);
}

START_TEST(woken_for_nothing)
{
	w.party[ALPHA].on_wait = on_wait_ring;
	ck_assert_uint_eq(apmp_intr_wait(env, 1, APMP_NEVER), 0);
}
END_TEST

START_TEST(deadline)
{
	uint64_t end = w.now_ns + 5 * MSEC;

	ck_assert_uint_eq(apmp_intr_wait(env, 1, end), 0);
	ck_assert_uint_eq(w.now_ns, end);
}
END_TEST

/* shows: CPU-01 */
START_TEST(one_runs_on_a_cpu)
{
	struct apmp_env *beta = &world_boot(&w, BETA)->env;
	uint64_t other = 0;

	ck_assert_int_eq(apmp_intr_give(env, 2), -EBUSY);
	ck_assert_int_eq(apmp_intr_take(env, 2, &other), 0);
	ck_assert_uint_eq(other, 0);
	ck_assert_int_eq(apmp_intr_take(beta, 2, &other), -EBUSY);
	ck_assert_uint_eq(other, env->self);
	ck_assert_int_eq(apmp_intr_take(env, 2, &other), -EBUSY);
	ck_assert_int_eq(apmp_intr_give(beta, 2), -EBUSY);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[2].taken), 1);
	ck_assert_int_eq(apmp_intr_give(env, 2), 0);
	ck_assert_int_eq(apmp_intr_take(beta, 2, &other), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[2].taken), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("intr");
	TCase *tc = suite_case(suite, "intr");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reasons_add_up);
	tcase_add_test(tc, all_are_interrupted);
	tcase_add_test(tc, all_in_good_time);
	tcase_add_test(tc, the_tree_can_wait);
	tcase_add_test(tc, no_such_cpu);
	tcase_add_test(tc, what_is_pending_needs_no_wait);
	tcase_add_test(tc, interrupt_ends_the_wait);
	tcase_add_test(tc, woken_for_nothing);
	tcase_add_test(tc, deadline);
	tcase_add_test(tc, one_runs_on_a_cpu);
	return suite_run(suite);
}
