/*
 * race_pal.c - a CPU leaves and comes back as fast as its console can, while the primary looks for
 * its STARTREQ at odd times: none is forgotten, and nobody runs on it twice.
 *
 * The console of this world is the CPU's own thread, within its callback, and another one that
 * sends the CPU back the moment that it has gone, also before its thread has settled.  A STARTREQ
 * that is forgotten is a CPU that never starts: the test does not end then.
 */
#include <sched.h>

#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define ROUNDS 1000u

enum { PRIMARY, CPU, SENDER, THREADS };

static struct world w;
static struct party *alpha;
static _Atomic uint32_t left, sent; /* times the CPU was taken from alpha, and given back */
static _Atomic uint32_t over;
static uint32_t refused, other_way, dice; /* of the CPU's thread */

/* The console's answer to MIGRATE_CPU and DEASSIGN: alpha has it no more. */
static int call(struct apmp_env *env, struct apmp_call *call)
{
	(void)env;
	call->reply.error = 0;
	if (apmp_load_relaxed(&left) % 7 == 3 && refused == 0) {
		refused++;
		call->reply.error = -1;
		return 0;
	}
	refused = 0;
	apmp_store_relaxed(&alpha->hwrpb->slot[1].txrdy, 0);
	apmp_fetch_and(&alpha->hwrpb->slot[1].flags, ~(uint64_t)HWRPB_PA);
	apmp_fetch_add(&left, 1);
	/* About as long as the primary needs to wake and look. */
	dice = dice * 1103515245u + 12345u;
	for (uint32_t i = dice >> 16 & 0x1fff; i > 0; i--)
		apmp_relax();
	return 0;
}

/* Now and then somebody else runs between two steps. */
static void point(struct apmp_env *env, enum apmp_point at, uint64_t arg)
{
	static _Thread_local uint32_t coin;

	(void)env;
	(void)arg;
	coin = coin * 1103515245u + 12345u + (uint32_t)at;
	if (coin >> 16 & 1)
		(void)sched_yield();
}

static void sender(void)
{
	while (apmp_load_relaxed(&sent) < ROUNDS) {
		if (apmp_load_acquire(&left) == apmp_load_relaxed(&sent)) {
			(void)sched_yield();
			continue;
		}
		apmp_fetch_or(&alpha->hwrpb->slot[1].flags, HWRPB_PA);
		apmp_fetch_add(&sent, 1);
		apmp_hwrpb_startreq(&alpha->env, alpha->hwrpb, 1);
	}
}

static void primary(void)
{
	static const struct apmp_hwrpb_command start = {.word = APMP_COMMAND_START};
	int err;

	while (!apmp_load_acquire(&over)) {
		(void)apmp_intr_wait(&alpha->env, 0, APMP_NEVER);
		if (apmp_hwrpb_take_startreq(alpha->hwrpb, 1, &err) != APMP_STARTREQ_NONE)
			ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, &start), 0);
		apmp_hwrpb_refresh_sets(alpha->hwrpb);
	}
}

/* Now by PAL MIGRATE, now by HALT. */
static void leave(void)
{
	struct hwrpb *h = alpha->hwrpb;

	apmp_store_release(&h->slot[1].state, HWRPB_CPU_ACTIVE);
	apmp_store_release(&h->slot[1].state, HWRPB_CPU_QUIESCED);
	if (other_way++ % 2)
		ck_assert_int_eq(apmp_pal_halt_migrate(&alpha->env, &alpha->tree, h, ALPHA, 1, BETA,
						       APMP_MIGRATE_HALT),
				 0);
	else if (apmp_pal_migrate(&alpha->env, &alpha->tree, h, ALPHA, 1, BETA, 0))
		leave();
}

static void cpu(void)
{
	leave();
	while (apmp_load_relaxed(&left) < ROUNDS || apmp_load_acquire(&sent) < ROUNDS) {
		ck_assert_int_eq(
		    apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, 1, APMP_NEVER),
		    0);
		if (apmp_load_relaxed(&left) == ROUNDS)
			break;
		leave();
	}
	apmp_store_release(&over, 1);
	apmp_intr_send(&alpha->env, 0, APMP_INTR_WORK);
}

static void any(uint32_t idx)
{
	static void (*const bodies[THREADS])(void) = {
	    [PRIMARY] = primary, [CPU] = cpu, [SENDER] = sender};

	bodies[idx]();
}

/* shows: CPU-01, CPU-05 */
START_TEST(no_startreq_is_forgotten)
{
	uint64_t other;

	world_init(&w);
	alpha = world_boot(&w, ALPHA);
	(void)world_boot(&w, BETA);
	ck_assert_int_eq(apmp_intr_take(&alpha->env, 1, &other), 0);
	threads_party(alpha);
	alpha->env.call = call;
	alpha->env.point = point;
	threads_run(THREADS, any);
	ck_assert_uint_eq(apmp_load_relaxed(&left), ROUNDS);
	ck_assert_uint_eq(apmp_load_relaxed(&sent), ROUNDS);
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race of a CPU's return");
	TCase *tcase = suite_case(suite, "pal");

	tcase_add_test(tcase, no_startreq_is_forgotten);
	return suite_run(suite);
}
