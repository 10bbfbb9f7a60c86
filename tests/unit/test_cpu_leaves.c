/*
 * test_cpu_leaves.c - a CPU that an instance gives away, as its primary follows it: refused, or
 * gone and back before anybody has looked.
 *
 * CPU 1 of ALPHA is the real thread of instance/cpu.c; the test is the primary.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/hwrpb_message.h"
#include "shm/hwrpb_write.h"
#include "shm/pal.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define CPU 1u

static struct world w;
static struct party *alpha, *beta;
static struct instance in;
static struct apmp_wish wish; /* beta's */
static int bound;	      /* what instance_tasks_quiesce says */
static bool no_stacks;
static _Atomic uint32_t refusals,
    early; /* early: the order had ended before its refusal was told */

/* ---- what the rest of an instance does ---- */

void instance_thread_is(uint32_t thread)
{
	(void)thread;
}

void instance_beacon(struct instance *instance, uint32_t idx)
{
	(void)instance;
	(void)idx;
}

void instance_say(struct instance *instance, const char *format, ...)
{
	(void)instance;
	(void)format;
}

__attribute__((noreturn)) void instance_crash(struct instance *instance,
					      enum hwrpb_crash_reason reason, const char *text)
{
	(void)instance;
	(void)reason;
	(void)text;
	abort(); /* nothing fails here */
}

void instance_crash_cpu(struct instance *instance, uint32_t cpu_idx)
{
	(void)instance;
	(void)cpu_idx;
	abort();
}

int instance_stack(struct instance *instance, pthread_attr_t *attr)
{
	(void)instance;
	(void)attr;
	return no_stacks ? -ENOMEM : 0; /* any: a sanitizer needs a larger one */
}

uint64_t instance_tasks_wait(struct instance *instance, uint32_t cpu_idx)
{
	return apmp_intr_wait(&instance->env, cpu_idx, APMP_NEVER);
}

int instance_tasks_quiesce(struct instance *instance, uint32_t cpu_idx)
{
	(void)instance;
	(void)cpu_idx;
	return bound;
}

bool instance_tasks_bound(struct instance *instance, uint32_t cpu_idx)
{
	(void)instance;
	(void)cpu_idx;
	return false;
}

uint32_t instance_tasks_depth(const struct instance *instance)
{
	(void)instance;
	return 0;
}

void instance_apps_ring(struct instance *instance)
{
	(void)instance;
}

static uint64_t now(struct apmp_env *env)
{
	(void)env;
	return 0; /* nothing here has a deadline */
}

static int call(struct apmp_env *env, struct apmp_call *asked)
{
	(void)env;
	return alpha->env.call(&alpha->env, asked);
}

static void report(struct apmp_env *env, uint32_t what, uint64_t about)
{
	(void)env;
	(void)about;
	if (what != APMP_REPORT_CPU_REFUSED)
		return;
	if (!apmp_load_acquire(&in.cpu[CPU].order))
		apmp_fetch_add(&early, 1);
	apmp_fetch_add(&refusals, 1);
}

static void point(struct apmp_env *env, enum apmp_point at, uint64_t arg)
{
	(void)env;
	(void)at;
	(void)arg;
}

/* ---- the world ---- */

static void await(const _Atomic uint32_t *word, uint32_t value)
{
	while (apmp_load_acquire(word) != value)
		(void)sched_yield();
}

static void start(void)
{
	ck_assert_int_eq(instance_cpu_arrive(&in, CPU, true), 0);
	await(&in.hwrpb->slot[CPU].state, HWRPB_CPU_ACTIVE);
	apmp_hwrpb_refresh_sets(in.hwrpb);
}

static struct party *member(uint32_t id)
{
	struct party *p = world_boot(&w, id);

	p->cpu_sets[0].word[0] = (1u << WORLD_CPUS) - 1;
	ck_assert_int_eq(party_run(p, party_enter), 0);
	return p;
}

static void setup(void)
{
	world_init(&w);
	alpha = member(ALPHA);
	beta = member(BETA);
	world_ticks(&w, 2);
	in.env = (struct apmp_env){.self = alpha->env.self,
				   .now = now,
				   .wait = threads_wait,
				   .wake = threads_wake,
				   .call = call,
				   .report = report,
				   .point = point,
				   .lines = w.line,
				   .line_count = WORLD_CPUS};
	in.hwrpb = alpha->hwrpb;
	in.tree = alpha->tree;
	in.id = ALPHA;
	apmp_store_relaxed(&in.hwrpb->slot[0].state, HWRPB_CPU_ACTIVE);
	start();
}

/* The process ends with its CPU. */
static void teardown(void)
{
}

/* A program asks for this CPU to go. */
static struct app_ask *ask_to_give(uint32_t to_id)
{
	struct app_ask *ask = &in.apps.ask[0];

	in.member = alpha->member;
	*ask = (struct app_ask){.op = APMP_APP_GIVE, .cpu_idx = CPU, .to_id = to_id};
	apmp_store_relaxed(&in.apps.asks, 1);
	apmp_store_release(&ask->state, APP_ASK_ASKED);
	instance_trade(&in);
	return ask;
}

/* By the task that is bound to it, or by PAL MIGRATE: while the CPU is active, and has not said yet
 * that it stays, nobody takes it for one that went and came back. */
START_TEST(refused)
{
	struct app_ask *ask;

	bound = _i ? -ETXTBSY : 0;
	alpha->call_error = -EHOSTDOWN;
	ask = ask_to_give(BETA);
	ck_assert_uint_eq(apmp_load_acquire(&ask->state), APP_ASK_BUSY);
	while (apmp_load_acquire(&ask->state) != APP_ASK_DONE)
		instance_trade(&in);
	ck_assert_int_eq(ask->result, _i ? -ETXTBSY : -EHOSTDOWN);
}
END_TEST

/* The wisher is served by us, and its wish is over when the CPU comes. */
static void serve_wish(void)
{
	ck_assert_int_eq(apmp_wish_begin(&beta->member, &wish, 1), 0);
	ck_assert_int_eq(party_run(alpha, party_work), 0);
	in.member = alpha->member;
	instance_trade(&in);
	ck_assert_uint_eq(in.trade.gift.wisher, party_identity(beta));
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
	await(&in.hwrpb->slot[CPU].state, HWRPB_CPU_AWAY);
	apmp_wish_end(&beta->member, &wish);
}

/* Who gave it has not looked meanwhile.  The claim must not stand for ever: the one would never
 * give again, nor the other ever wish.  shows: CPU-12 */
START_TEST(back_before_anybody_looked)
{
	struct apmp_call back = {.request = {.op = APMP_CALL_MIGRATE_CPU, .arg = {CPU, ALPHA, 0}}};
	int err;

	serve_wish();
	ck_assert_int_eq(beta->env.call(&beta->env, &back), 0);
	ck_assert_int_eq(apmp_hwrpb_take_startreq(in.hwrpb, CPU, &err), APMP_STARTREQ_COME);
	if (_i) /* not of the autostart set */
		ck_assert_int_eq(instance_cpu_arrive(&in, CPU, false), 0);
	else
		start();
	instance_trade(&in);
	ck_assert_uint_eq(in.trade.gift.wisher, 0);
	ck_assert_int_eq(apmp_wish_begin(&beta->member, &wish, 1), 0);
}
END_TEST

/* What the operator wants of the CPU has begun; its number. */
static uint32_t operator_asks(enum hwrpb_request_op op)
{
	struct hwrpb_request *request = &in.hwrpb->slot[CPU].request;
	uint32_t seq;

	ck_assert_int_eq(
	    apmp_hwrpb_request(&w.console.env, in.hwrpb, request, op, (uint64_t[2]){BETA}, &seq),
	    0);
	apmp_hwrpb_request_done(request, seq, 0);
	return seq;
}

static int answer_to(uint32_t seq)
{
	int result;

	ck_assert(apmp_hwrpb_request_answered(&in.hwrpb->slot[CPU].request, seq, &result));
	return result;
}

/* The CPU itself refuses: under the number of the order, and before the next order. */
START_TEST(refusal_of_the_operators)
{
	uint32_t seq = operator_asks(HWRPB_REQUEST_MIGRATE);

	bound = _i ? -ETXTBSY : 0;
	alpha->call_error = -EHOSTDOWN;
	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_MIGRATE, BETA, 0, seq), 0);
	await(&refusals, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&early), 0);
	ck_assert_int_eq(answer_to(seq), _i ? -ETXTBSY : -EHOSTDOWN);
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
}
END_TEST

/* A task has been bound to it meanwhile: what RX says of that is no command for another time. */
START_TEST(refusal_of_a_deassignment)
{
	uint32_t seq = operator_asks(HWRPB_REQUEST_DEASSIGN);

	bound = -ETXTBSY;
	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_DEASSIGN, 0, 0, seq), 0);
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
	ck_assert_int_eq(answer_to(seq), -ETXTBSY);
	ck_assert_uint_eq(apmp_load_relaxed(&in.hwrpb->slot[CPU].rxrdy), 0);
}
END_TEST

/* What a program asked for, and a refused order of a console that is dead, is not told to who waits
 * for another one. */
START_TEST(refusal_of_another)
{
	uint32_t old = _i ? operator_asks(HWRPB_REQUEST_MIGRATE) : 0, seq;

	seq = operator_asks(HWRPB_REQUEST_STOP);
	bound = -ETXTBSY;
	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_MIGRATE, BETA, 0, old), 0);
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
	ck_assert_int_eq(answer_to(seq), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&refusals), 0);
}
END_TEST

/* In console mode it has refused, and the primary has not heard it: what it is told next must not
 * be answered with that.  shows: CPU-06 */
START_TEST(refusal_from_console_mode)
{
	uint32_t first = operator_asks(HWRPB_REQUEST_MIGRATE), next;
	int err;

	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_MIGRATE, WORLD_PARTITIONS,
					    APMP_MIGRATE_HALT, first),
			 0);
	await(&in.hwrpb->slot[CPU].txrdy, 1);
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
	next = operator_asks(HWRPB_REQUEST_MIGRATE);
	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_MIGRATE, BETA, 0, next), -EAGAIN);
	ck_assert_int_eq(apmp_hwrpb_take_startreq(in.hwrpb, CPU, &err), APMP_STARTREQ_REFUSED);
	instance_cpu_stays(&in, CPU, err); /* answers the one before, for which nobody waits */
	await(&in.hwrpb->slot[CPU].state, HWRPB_CPU_ACTIVE);
	ck_assert_int_eq(answer_to(next), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&refusals), 0);
	ck_assert_int_eq(instance_cpu_order(&in, CPU, CPU_ORDER_MIGRATE, WORLD_PARTITIONS,
					    APMP_MIGRATE_HALT, next),
			 0);
	await(&in.hwrpb->slot[CPU].txrdy, 1);
	ck_assert_int_eq(apmp_hwrpb_take_startreq(in.hwrpb, CPU, &err), APMP_STARTREQ_REFUSED);
	instance_cpu_stays(&in, CPU, err);
	ck_assert_int_eq(answer_to(next), -ENXIO);
}
END_TEST

/* It has come, and there is no memory for its stack. */
START_TEST(no_stack)
{
	struct hwrpb_slot *slot = &in.hwrpb->slot[3];

	no_stacks = true;
	apmp_store_relaxed(&slot->arrivals, 7);
	ck_assert_int_eq(instance_cpu_arrive(&in, 3, true), -ENOMEM);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->not_started), UINT64_C(7) << 32 | ENOMEM);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_HALTED);
	ck_assert_uint_eq(apmp_load_relaxed(&refusals), 1);
}
END_TEST

/* Its console may not live to end the update by which it comes: then another one still runs there.
 * shows: CPU-01 */
START_TEST(not_started_before_it_is_ours)
{
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, in.hwrpb, ALPHA, 3, 0, HWRPB_PA);
	ck_assert_int_eq(instance_cpu_order(&in, 3, CPU_ORDER_START, 0, 0, 0), -EAGAIN);
	apmp_update_abort(&w.up);
	ck_assert_int_eq(instance_cpu_order(&in, 3, CPU_ORDER_START, 0, 0, 0), -EPERM);
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, in.hwrpb, ALPHA, 3, 0, HWRPB_PA);
	apmp_update_commit(&w.up);
	ck_assert_int_eq(instance_cpu_order(&in, 3, CPU_ORDER_START, 0, 0, 0), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("CPUs that leave");
	TCase *tc = suite_case(suite, "CPUs that leave");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, refused, 0, 2);
	tcase_add_loop_test(tc, back_before_anybody_looked, 0, 2);
	tcase_add_loop_test(tc, refusal_of_the_operators, 0, 2);
	tcase_add_test(tc, refusal_of_a_deassignment);
	tcase_add_loop_test(tc, refusal_of_another, 0, 2);
	tcase_add_test(tc, refusal_from_console_mode);
	tcase_add_test(tc, no_stack);
	tcase_add_test(tc, not_started_before_it_is_ours);
	return suite_run(suite);
}
