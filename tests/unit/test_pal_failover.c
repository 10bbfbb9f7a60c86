/* test_pal_failover.c - where the CPUs of an instance that fails go. */
#include <errno.h>

#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define CPU    1u /* of ALPHA, which fails */
#define TO(id) ((uint64_t)(id) + 1)

static struct world w;
static struct party *alpha;
static struct hwrpb_slot *slot;

static void setup(void)
{
	uint64_t other;

	world_init(&w);
	alpha = world_boot(&w, ALPHA);
	(void)world_boot(&w, BETA); /* GAMMA is not */
	slot = &alpha->hwrpb->slot[CPU];
	ck_assert_int_eq(apmp_intr_take(&alpha->env, CPU, &other), 0);
	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
}

static void teardown(void)
{
	world_fini(&w);
}

static void set_targets(uint64_t targets)
{
	apmp_store_relaxed(&alpha->hwrpb->failover[CPU], targets);
}

static struct apmp_tree_node node(void)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, CPU, &n), 0);
	return n;
}

static uint64_t runner(void)
{
	return apmp_load_relaxed(&w.line[CPU].runner);
}

static uint32_t fail_over(void)
{
	return apmp_pal_fail_over(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU);
}

static bool send_stopped(uint32_t *place, uint32_t *ret_to_id)
{
	return apmp_pal_send_stopped(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, place,
				     ret_to_id);
}

/* Where the target before does not run, and on loan.  shows: FAIL-01, FAIL-02 */
START_TEST(goes_to_the_first_that_takes_it)
{
	set_targets(TO(GAMMA) | TO(BETA) << 8);
	ck_assert_uint_eq(fail_over(), BETA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().current_owner), BETA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().owner), ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_AWAY);
	ck_assert_uint_eq(runner(), 0);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_fail_goes), 1);
}
END_TEST

/* shows: FAIL-01 */
START_TEST(stays_in_console_mode)
{
	static const uint64_t targets[] = {0, TO(GAMMA), TO(ALPHA) | TO(BETA) << 8};

	set_targets(targets[_i]);
	ck_assert_uint_eq(fail_over(), APMP_NO_PARTITION);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().current_owner), ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_HALTED);
	ck_assert_uint_eq(runner(), 0);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_fail_stays), 1);
}
END_TEST

/* Which may be why it fails. */
START_TEST(another_runs_there)
{
	const uint64_t other = party_identity(&w.party[BETA]);

	apmp_store_relaxed(&w.line[CPU].runner, other);
	set_targets(TO(BETA));
	ck_assert_uint_eq(fail_over(), APMP_NO_PARTITION);
	ck_assert_uint_eq(runner(), other);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_HALTED);
}
END_TEST

/* shows: FAIL-01 */
START_TEST(a_stopped_one_is_sent)
{
	uint32_t place = 0, to_id = APMP_NO_PARTITION;

	ck_assert_int_eq(apmp_pal_halt(&alpha->env, alpha->hwrpb, CPU), 0);
	set_targets(TO(GAMMA) | TO(BETA) << 8);
	ck_assert(send_stopped(&place, &to_id));
	ck_assert_uint_eq(to_id, BETA);
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, 0),
			 -ETIMEDOUT);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().current_owner), BETA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().owner), ALPHA);
	ck_assert(!send_stopped(&place, &to_id)); /* it has no other target */
}
END_TEST

static uint32_t next_place, next_to;

/* The primary looks just when the CPU is in console mode again, and has not said why yet. */
static void send_to_the_next(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_halt_3024)
		return;
	p->call_error = 0;
	ck_assert(send_stopped(&next_place, &next_to));
}

/* shows: FAIL-01 */
START_TEST(a_stopped_one_is_refused)
{
	ck_assert_int_eq(apmp_pal_halt(&alpha->env, alpha->hwrpb, CPU), 0);
	(void)world_boot(&w, DELTA);
	set_targets(TO(BETA) | TO(DELTA) << 8);
	ck_assert(send_stopped(&next_place, &next_to));
	ck_assert_uint_eq(next_to, BETA);
	alpha->call_error = -EHOSTDOWN;
	alpha->on_point = send_to_the_next;
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, 0),
			 -ETIMEDOUT);
	ck_assert_uint_eq(next_to, DELTA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, node().current_owner), DELTA);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->txrdy), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, goes_to_the_first_that_takes_it);
	tcase_add_loop_test(tc, stays_in_console_mode, 0, 3);
	tcase_add_test(tc, another_runs_there);
	tcase_add_test(tc, a_stopped_one_is_sent);
	tcase_add_test(tc, a_stopped_one_is_refused);
}

int main(void)
{
	Suite *suite = suite_create("pal_failover");
	TCase *tc = suite_case(suite, "pal_failover");

	tcase_add_checked_fixture(tc, setup, teardown);
	add_tests(tc);
	return suite_run(suite);
}
