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
static _Atomic uint32_t refusals,
    early; /* early: the order had ended before its refusal was there */

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
	return 0; /* any: a sanitizer needs a larger one */
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
	if (!apmp_load_acquire(&in.cpu[CPU].order) && !apmp_load_relaxed(&in.cpu[CPU].refusal))
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
	await(&refusals, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&early), 0);
	await(&in.cpu[CPU].order, CPU_ORDER_NONE);
	instance_trade(&in);
	ck_assert_uint_eq(apmp_load_acquire(&ask->state), APP_ASK_DONE);
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

/* Its console may not live to end the update by which it comes: then another one still runs there.
 * shows: CPU-01 */
START_TEST(not_started_before_it_is_ours)
{
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, in.hwrpb, ALPHA, 3, 0, HWRPB_PA);
	ck_assert_int_eq(instance_cpu_order(&in, 3, CPU_ORDER_START, 0, 0), -EAGAIN);
	apmp_update_abort(&w.up);
	ck_assert_int_eq(instance_cpu_order(&in, 3, CPU_ORDER_START, 0, 0), -EPERM);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("CPUs that leave");
	TCase *tc = suite_case(suite, "CPUs that leave");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, refused, 0, 2);
	tcase_add_loop_test(tc, back_before_anybody_looked, 0, 2);
	tcase_add_test(tc, not_started_before_it_is_ours);
	return suite_run(suite);
}
