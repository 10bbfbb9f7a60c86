/* race_intr.c - interrupts are never lost, and one runs on a CPU, whoever tries at the same time.
 */
#include <sched.h>

#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define RECEIVERS 2u
#define SENDERS	  4u
#define ROUNDS	  5000u

static struct apmp_intr_line line[RECEIVERS];
static struct apmp_env env[SENDERS + RECEIVERS];
static _Atomic uint32_t answered[SENDERS]; /* rounds of this sender that were answered */
static _Atomic uint32_t done;
static uint64_t told[SENDERS]; /* plain: written before the interrupt, read after it */

static void setup(void)
{
	for (uint32_t i = 0; i < SENDERS + RECEIVERS; i++)
		env[i] = (struct apmp_env){.wait = threads_wait,
					   .wake = threads_wake,
					   .lines = line,
					   .line_count = RECEIVERS,
					   .self = apmp_identity(i, 1)};
}

/* Each of its interrupts must be answered, one by one; if one is lost, this never ends. */
static void sender(uint32_t idx)
{
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint32_t seen;

		told[idx] = round;
		apmp_intr_send(&env[idx], idx % RECEIVERS, UINT64_C(1) << idx);
		while ((seen = apmp_load_acquire(&answered[idx])) != round)
			(void)threads_wait(&env[idx], &answered[idx], seen, APMP_NEVER);
	}
	apmp_fetch_add(&done, 1);
	for (uint32_t r = 0; r < RECEIVERS; r++)
		apmp_intr_send(&env[idx], r, UINT64_C(1) << 63);
}

static void receiver(uint32_t cpu)
{
	while (apmp_load_acquire(&done) < SENDERS) {
		uint64_t reasons = apmp_intr_wait(&env[SENDERS + cpu], cpu, APMP_NEVER);

		for (uint32_t idx = 0; idx < SENDERS; idx++) {
			if (!(reasons >> idx & 1))
				continue;
			apmp_store_release(&answered[idx], (uint32_t)told[idx]);
			threads_wake(&env[idx], &answered[idx], 1);
		}
	}
}

static void sender_or_receiver(uint32_t idx)
{
	if (idx < SENDERS)
		sender(idx);
	else
		receiver(idx - SENDERS);
}

START_TEST(none_is_lost)
{
	threads_run(SENDERS + RECEIVERS, sender_or_receiver);
	for (uint32_t idx = 0; idx < SENDERS; idx++)
		ck_assert_uint_eq(apmp_load_relaxed(&answered[idx]), ROUNDS);
}
END_TEST

static uint64_t ran; /* plain: only who has the execution word touches it */

static void runner(uint32_t idx)
{
	for (uint32_t round = 0; round < ROUNDS;) {
		uint64_t other;

		if (apmp_intr_take(&env[idx], 0, &other)) {
			(void)sched_yield();
			continue;
		}
		ran++;
		round++;
		if (apmp_intr_give(&env[idx], 0))
			return; /* the sum will not be right */
	}
}

/* shows: CPU-01 */
START_TEST(one_runs)
{
	threads_run(SENDERS, runner);
	ck_assert_uint_eq(ran, SENDERS * ROUNDS);
	ck_assert_uint_eq(apmp_load_relaxed(&line[0].taken), SENDERS * ROUNDS);
	ck_assert_uint_eq(apmp_load_relaxed(&line[0].runner), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race_intr");
	TCase *tc = suite_case(suite, "intr");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, none_is_lost);
	tcase_add_test(tc, one_runs);
	return suite_run(suite);
}
