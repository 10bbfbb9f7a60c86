/*
 * test_steps.c - the flowcharts of a CPU that changes hands, step by step.
 *
 * WHAT      Instances and console run as in life, with the console's callbacks served by
 *           shm/cpu_move.c.  Whoever passes the point of a step is looked at right there: what the
 *           step does must have been done.  In the end the steps were those of the figure, in its
 *           order.  So a step that is left out is found here (tests/mutants).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/configure.h"
#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define CPU   1u /* of ALPHA: it goes to BETA */
#define STEPS 64u

static struct world w;
static struct apmp_cpu_mover m;
static struct party *alpha, *beta;
static enum apmp_point trail[STEPS];
static uint32_t trail_count;
static bool booting;
static uint32_t grown; /* times that BETA's host CPUs were to follow before the CPU came */

/* --- what is looked at --- */

static struct hwrpb_slot *slot(const struct party *p)
{
	return &p->hwrpb->slot[CPU];
}

static uint32_t state(const struct party *p)
{
	return apmp_load_relaxed(&slot(p)->state);
}

static struct apmp_tree_node node(void)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, CPU, &n), 0);
	return n;
}

static uint32_t owner(void)
{
	return apmp_tree_owner_id(&w.tw.tree, node().owner);
}

static uint32_t user(void)
{
	return apmp_tree_owner_id(&w.tw.tree, node().current_owner);
}

static bool available(const struct party *p)
{
	return apmp_hwrpb_flags(p->hwrpb, CPU) & HWRPB_PA;
}

static uint64_t runner(void)
{
	return apmp_load_relaxed(&w.line[CPU].runner);
}

static uint64_t reason(void)
{
	return apmp_load_relaxed(&slot(alpha)->reason_for_halt);
}

static bool told(const struct party *p)
{
	return apmp_load_relaxed(&w.line[p == alpha ? 0 : 2].pending) & APMP_INTR_TXRDY;
}

static bool at_rest(void)
{
	uint64_t level;

	return apmp_tree_level(&w.tw.tree, &level) == 0;
}

static bool rx_is(const char *text)
{
	return strncmp(slot(alpha)->rx, text, HWRPB_MSG_SIZE) == 0;
}

static bool tx_is_startreq(const struct party *p)
{
	return strncmp(slot(p)->tx, HWRPB_MSG_STARTREQ, HWRPB_MSG_SIZE) == 0;
}

/* Whether what the step does was done when its point is passed; true for steps that only decide. */
static bool done(enum apmp_point point)
{
	switch (point) {
	case APMP_P_migrate_904:
		return state(alpha) == HWRPB_CPU_QUIESCED;
	case APMP_P_pal_2202:
		return apmp_load_relaxed(&slot(alpha)->context) == party_identity(alpha) &&
		       runner() == 0;
	case APMP_P_pal_2205:
		return runner() == party_identity(alpha) && state(alpha) == HWRPB_CPU_ACTIVE;
	case APMP_P_pal_2206:
	case APMP_P_halt_3016:
	case APMP_P_rx_3106:
		return user() == APMP_NO_PARTITION &&
		       apmp_load_relaxed(&w.state->transit[CPU]) == party_identity(alpha);
	case APMP_P_pal_2208:
		return !available(alpha);
	case APMP_P_pal_2210:
		return at_rest();
	case APMP_P_pal_2212:
		return grown == 1;
	case APMP_P_pal_2214:
	case APMP_P_assign_2808:
	case APMP_P_reassign_3214:
		return available(beta);
	case APMP_P_pal_2216:
		return user() == BETA;
	case APMP_P_migrate_908:
		return owner() == BETA && at_rest();
	case APMP_P_con_2302:
		return tx_is_startreq(beta) && apmp_load_relaxed(&slot(beta)->txrdy) == 1;
	case APMP_P_con_2304:
		return told(beta);
	case APMP_P_pal_2218:
		return beta->waits > 0 && apmp_load_relaxed(&slot(beta)->rxrdy) == 0;
	case APMP_P_pal_2220:
		return runner() == party_identity(beta) && state(beta) == HWRPB_CPU_CONFIGURED;
	case APMP_P_halt_3002:
		return HWRPB_HALT_CODE(reason()) == HWRPB_HALT_MIGRATE;
	case APMP_P_halt_3004:
		return HWRPB_HALT_CODE(reason()) == HWRPB_HALT_MIGRATE &&
		       HWRPB_HALT_TO(reason()) >= BETA;
	case APMP_P_halt_3006:
	case APMP_P_reassign_3204:
		return runner() == 0;
	case APMP_P_halt_3008:
		return state(alpha) == HWRPB_CPU_QUIESCED;
	case APMP_P_halt_3012:
	case APMP_P_halt_3022:
		return reason() == 0;
	case APMP_P_halt_3024:
		return tx_is_startreq(alpha);
	case APMP_P_halt_3026:
		return apmp_load_relaxed(&slot(alpha)->txrdy) == 1;
	case APMP_P_halt_3028:
		return told(alpha);
	case APMP_P_halt_3030:
		return state(alpha) == HWRPB_CPU_HALTED && available(alpha) && user() == ALPHA;
	case APMP_P_rx_3102:
		return rx_is(HWRPB_MSG_MIGRATE " 1");
	case APMP_P_rx_3104:
		return apmp_load_relaxed(&slot(alpha)->rxrdy) == 1;
	case APMP_P_rx_3108:
		return state(alpha) == HWRPB_CPU_QUIESCED && rx_is(HWRPB_MSG_MIGRATE " 1");
	case APMP_P_deassign_2902:
		return apmp_load_relaxed(&slot(alpha)->halt_requested) == HWRPB_HALT_DEASSIGN;
	case APMP_P_deassign_2904:
		return owner() == APMP_NO_PARTITION;
	case APMP_P_deassign_2906:
		return user() == APMP_NO_PARTITION;
	case APMP_P_deassign_2908:
		return !available(alpha);
	case APMP_P_reassign_3202:
		return rx_is(HWRPB_MSG_DEASSIGN) && apmp_load_relaxed(&slot(alpha)->rxrdy) == 1;
	case APMP_P_reassign_3206:
		return owner() == APMP_NO_PARTITION && user() == APMP_NO_PARTITION &&
		       !available(alpha) && at_rest();
	case APMP_P_reassign_3210:
	case APMP_P_assign_2809:
		return owner() == BETA;
	case APMP_P_assign_2804:
		return owner() != APMP_NO_PARTITION;
	case APMP_P_assign_2805:
		return owner() == APMP_NO_PARTITION;
	case APMP_P_assign_2810: /* with a boot it is started by its instance */
		return booting || (told(beta) && tx_is_startreq(beta));
	case APMP_P_reassign_3216:
		return told(beta) && tx_is_startreq(beta);
	default:
		return true;
	}
}

static bool is_step(enum apmp_point point)
{
	const char *figure = apmp_point_info(point)->figure;

	return strncmp(figure, "Fig. ", 5) == 0 && point != APMP_P_migrate_902;
}

static void on_point(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)p;
	if (!is_step(point) || arg != CPU)
		return;
	ck_assert_msg(done(point), "%s: %s, but that is not so", apmp_point_info(point)->name,
		      apmp_point_info(point)->about);
	ck_assert_uint_lt(trail_count, STEPS);
	trail[trail_count++] = point;
}

/* The steps that were passed, in order; then they are forgotten. */
static void passed(const enum apmp_point *wanted, uint32_t count)
{
	char names[1024] = "";

	for (uint32_t i = 0; i < trail_count; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
			 apmp_point_info(trail[i])->name);
	ck_assert_msg(trail_count == count && memcmp(trail, wanted, count * sizeof(*wanted)) == 0,
		      "the steps were%s", names);
	trail_count = 0;
}

#define PASSED(...)                                                                                \
	passed((const enum apmp_point[]){__VA_ARGS__},                                             \
	       sizeof((const enum apmp_point[]){__VA_ARGS__}) / sizeof(enum apmp_point))
#define P(step) APMP_P_##step
/* From the callback to the receiver's start. */
#define DEPARTS	   P(pal_2206), P(pal_2208), P(pal_2210)
#define ARRIVES	   P(pal_2212), P(pal_2214), P(pal_2216), P(migrate_908)
#define IS_TOLD	   P(con_2302), P(con_2304)
#define IS_STARTED P(con_2306), P(pal_2218), P(pal_2220)

/* --- the console --- */

static int host_cpus(struct apmp_cpu_mover *mover, uint32_t id, uint32_t more)
{
	(void)mover;
	grown += id == BETA && more == CPU;
	return 0;
}

/* A change of owners, as console/console_configure.c makes it. */
static int change(const struct apmp_call_request *request, int32_t by)
{
	struct apmp_configured made;
	uint32_t to;
	int err = apmp_configure(&w.tw, request, by, &made);

	if (err)
		return err;
	ck_assert_int_eq(apmp_cpu_follow(&m, (int32_t)request->arg[0], &to), 0);
	apmp_update_commit(&w.up);
	apmp_cpu_followed(&m, (int32_t)request->arg[0], to);
	return 0;
}

static int handle_of(uint32_t id)
{
	struct apmp_tree_partition p;

	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, id, &p), 0);
	return p.node.handle;
}

static int env_call(struct apmp_env *env, struct apmp_call *call)
{
	struct party *p = (struct party *)(void *)env;
	const uint64_t *arg = call->request.arg;

	if (call->request.op == APMP_CALL_MIGRATE_CPU)
		call->reply.error = apmp_cpu_migrate(&m, p->id, (uint32_t)arg[0], (uint32_t)arg[1],
						     (uint32_t)arg[2], NULL, NULL);
	else
		call->reply.error = change(&call->request, handle_of(p->id));
	return 0;
}

static void assign(uint32_t cpu_idx, uint32_t to_id)
{
	const struct apmp_call_request request = {
	    .op = APMP_CALL_ASSIGN, .arg = {(uint64_t)w.cpu[cpu_idx], (uint64_t)handle_of(to_id)}};

	ck_assert_int_eq(change(&request, APMP_ADMINISTRATOR), 0);
}

/* --- the instances --- */

static struct party *boot(uint32_t id)
{
	struct party *p = world_boot(&w, id);

	p->on_point = on_point;
	p->env.call = env_call;
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_fetch_or(&p->hwrpb->slot[cpu].flags, HWRPB_COMPATIBLE);
	return p;
}

static void setup(void)
{
	uint64_t other;

	world_init(&w);
	trail_count = grown = 0;
	booting = false;
	m = world_mover(&w);
	m.host_cpus = host_cpus;
	alpha = boot(ALPHA);
	beta = boot(BETA);
	w.console.on_point = on_point;
	ck_assert_int_eq(apmp_intr_take(&alpha->env, CPU, &other), 0);
	apmp_store_relaxed(&slot(alpha)->state, HWRPB_CPU_QUIESCED);
	apmp_store_relaxed(&w.line[0].pending, 0);
	apmp_store_relaxed(&w.line[2].pending, 0);
}

static void teardown(void)
{
	world_fini(&w);
}

/* Console code of the CPU's thread, until it has nothing more to do. */
static int console_code(struct party *p)
{
	return apmp_pal_console(&p->env, &p->tree, p->hwrpb, p->id, CPU, w.now_ns + MSEC);
}

static void send(struct party *p, enum apmp_command word)
{
	const struct apmp_hwrpb_command command = {.word = word, .to_id = BETA};

	ck_assert_int_eq(apmp_hwrpb_send(&p->env, p->hwrpb, CPU, &command), 0);
}

static void on_wait_start(struct party *p, const _Atomic uint32_t *word)
{
	int refused;

	(void)word;
	p->on_wait = NULL;
	ck_assert_int_eq(apmp_hwrpb_take_startreq(p->hwrpb, CPU, &refused), APMP_STARTREQ_COME);
	send(p, APMP_COMMAND_START);
}

/* Fig. 23 from 2306, and 22B from 2218. */
static void comes(void)
{
	beta->on_wait = on_wait_start;
	ck_assert_int_eq(console_code(beta), 0);
}

/* --- the figures --- */

/* shows: CPU-02, CPU-04, CPU-05 */
START_TEST(figures_22_and_23)
{
	apmp_store_relaxed(&slot(alpha)->state, HWRPB_CPU_ACTIVE);
	apmp_pal_quiesce(&alpha->env, alpha->hwrpb, CPU);
	ck_assert_int_eq(
	    apmp_pal_migrate(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, BETA, 0), 0);
	comes();
	PASSED(P(migrate_904), P(pal_2202), P(pal_2204), P(migrate_906), DEPARTS, ARRIVES, IS_TOLD,
	       IS_STARTED);
}
END_TEST

START_TEST(figure_22_refused)
{
	ck_assert_int_eq(
	    apmp_pal_migrate(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, GAMMA, 0),
	    -EHOSTDOWN);
	PASSED(P(pal_2202), P(pal_2205));
	ck_assert_uint_eq(user(), ALPHA);
}
END_TEST

static int halt_migrate(uint32_t to_id)
{
	return apmp_pal_halt_migrate(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU, to_id,
				     APMP_MIGRATE_HALT);
}

/* shows: CPU-06 */
START_TEST(figures_30a_and_30b)
{
	ck_assert_int_eq(halt_migrate(BETA), 0);
	ck_assert_uint_eq(state(alpha), HWRPB_CPU_AWAY);
	PASSED(P(halt_3002), P(halt_3004), P(halt_3006), P(halt_3008), P(halt_3010), P(halt_3012),
	       P(halt_3014), P(halt_3018), P(pal_2204), P(migrate_906), DEPARTS, P(halt_3016),
	       ARRIVES, IS_TOLD);
	comes();
	PASSED(IS_STARTED);
}
END_TEST

/* shows: CPU-06 */
START_TEST(figure_30c)
{
	ck_assert_int_eq(halt_migrate(GAMMA), 0);
	ck_assert_int_eq(console_code(alpha), -ETIMEDOUT);
	PASSED(P(halt_3002), P(halt_3004), P(halt_3006), P(halt_3008), P(halt_3010), P(halt_3012),
	       P(halt_3014), P(halt_3022), P(halt_3024), P(halt_3026), P(halt_3028), P(halt_3030),
	       P(con_2306));
	ck_assert_uint_gt(alpha->waits, 0); /* it polls RXRDY */
}
END_TEST

static void on_wait_migrate(struct party *p, const _Atomic uint32_t *word)
{
	(void)word;
	p->on_wait = NULL;
	ck_assert_uint_eq(state(p), HWRPB_CPU_HALTED);
	send(p, APMP_COMMAND_MIGRATE);
}

/* shows: CPU-07 */
START_TEST(figure_31)
{
	ck_assert_int_eq(apmp_pal_halt(&alpha->env, alpha->hwrpb, CPU), 0);
	alpha->on_wait = on_wait_migrate;
	ck_assert_int_eq(console_code(alpha), -ETIMEDOUT);
	PASSED(P(con_2306), P(rx_3102), P(rx_3104), P(rx_3108), P(pal_2204), P(migrate_906),
	       DEPARTS, P(rx_3106), ARRIVES, IS_TOLD);
	comes();
	PASSED(IS_STARTED);
}
END_TEST

/* shows: CPU-08 */
START_TEST(figures_29_and_32)
{
	apmp_store_relaxed(&slot(alpha)->state, HWRPB_CPU_ACTIVE);
	send(alpha, APMP_COMMAND_DEASSIGN);
	PASSED(P(reassign_3202));
	apmp_store_relaxed(&slot(alpha)->state, HWRPB_CPU_QUIESCED);
	ck_assert_int_eq(
	    apmp_pal_halt_deassign(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, CPU), 0);
	PASSED(P(deassign_2902), P(reassign_3204), P(deassign_2904), P(deassign_2906),
	       P(deassign_2908), P(reassign_3206));
	ck_assert_uint_eq(state(alpha), HWRPB_CPU_AWAY);
	assign(CPU, BETA);
	PASSED(P(reassign_3208), P(reassign_3210), P(reassign_3212), P(reassign_3214), IS_TOLD,
	       P(reassign_3216));
	ck_assert_uint_eq(user(), BETA);
	ck_assert_uint_eq(grown, 1);
	comes();
	PASSED(IS_STARTED);
}
END_TEST

/* The CPU is nobody's, and nobody has run on it since power on. */
static void untouched(void)
{
	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, w.cpu[CPU], GCT_NONE);
	apmp_tree_set_current_owner(&w.tw, w.cpu[CPU], GCT_NONE);
	apmp_update_commit(&w.up);
	apmp_fetch_and(&slot(alpha)->flags, ~(uint64_t)HWRPB_PA);
	apmp_store_relaxed(&w.line[CPU].runner, 0);
	apmp_store_relaxed(&w.line[CPU].taken, 0);
	trail_count = 0;
}

/* shows: CPU-09 */
START_TEST(figure_28)
{
	apmp_cpu_examine(&m, CPU);
	PASSED(P(assign_2800), P(assign_2802), P(assign_2804));
	untouched();
	apmp_cpu_examine(&m, CPU);
	PASSED(P(assign_2800), P(assign_2802), P(assign_2805));
	assign(CPU, BETA);
	PASSED(P(assign_2807), P(assign_2809), P(assign_2811), P(assign_2808), IS_TOLD,
	       P(assign_2810));
	ck_assert_uint_eq(user(), BETA);
	ck_assert_uint_eq(grown, 1);
	comes();
	PASSED(IS_STARTED);
}
END_TEST

/* An owner that is off has it at his boot.  shows: CPU-09 */
START_TEST(figure_28_with_a_boot)
{
	untouched();
	booting = true;
	apmp_cpu_initialize(&m, BETA, CPU, HWRPB_PP | HWRPB_PA);
	PASSED(P(assign_2806), P(assign_2808));
	ck_assert(available(beta));
	apmp_cpu_initialized(&m, BETA, CPU);
	PASSED(P(assign_2810));
}
END_TEST

/* Step 2614, the console's: whoever looks sees that the primary is in console mode.  shows: FAIL-01
 */
START_TEST(figure_26b)
{
	struct apmp_cpu_bits gone;

	ck_assert(!(apmp_hwrpb_flags(alpha->hwrpb, 0) & HWRPB_CONSOLE));
	apmp_update_begin(&w.up);
	apmp_cpu_end_life(&m, ALPHA, true, &gone);
	apmp_update_commit(&w.up);
	ck_assert(apmp_hwrpb_flags(alpha->hwrpb, 0) & HWRPB_CONSOLE);
	ck_assert(!available(alpha));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, figure_26b);
	tcase_add_test(tc, figure_28);
	tcase_add_test(tc, figure_28_with_a_boot);
	tcase_add_test(tc, figures_22_and_23);
	tcase_add_test(tc, figure_22_refused);
	tcase_add_test(tc, figures_30a_and_30b);
	tcase_add_test(tc, figure_30c);
	tcase_add_test(tc, figure_31);
	tcase_add_test(tc, figures_29_and_32);
}

int main(void)
{
	Suite *suite = suite_create("steps");
	TCase *tc = suite_case(suite, "steps");

	tcase_add_checked_fixture(tc, setup, teardown);
	add_tests(tc);
	return suite_run(suite);
}
