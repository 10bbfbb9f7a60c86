/*
 * test_startreq.c - the primary takes a CPU's STARTREQ while consoles take the CPU away: between
 * whichever accesses of the one the steps of the others come, no CPU is started in an update that
 * may still be undone.
 */
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define CPU    1u /* of ALPHA */
#define STEPS  4u
#define BEHIND 10u /* one look of the primary has fewer accesses */

static struct world w;
static struct hwrpb *hwrpb;
static uint32_t looks, steps;  /* of this run, until now */
static uint32_t before[STEPS]; /* the access that each step comes before; BEHIND: none */

/* A console has died while the CPU was in transit, and the next one has returned it, sends
 * STARTREQ, and lets it go after all; then it comes back, in an update that is open in the end. */
static void step(uint32_t idx)
{
	if (idx == 0)
		apmp_hwrpb_startreq(&w.console.env, hwrpb, CPU);
	if (idx == 2)
		atomic_store(&hwrpb->slot[CPU].state, HWRPB_CPU_AWAY);
	if (idx == 1 || idx == 3)
		apmp_update_begin(&w.up);
	if (idx == 1)
		apmp_hwrpb_set_flags(&w.up, hwrpb, ALPHA, CPU, HWRPB_PA, 0);
	if (idx == 3)
		apmp_hwrpb_set_flags(&w.up, hwrpb, ALPHA, CPU, 0, HWRPB_PA);
	if (idx == 1)
		apmp_update_commit_quietly(&w.up);
}

/* Before each access of the primary. */
static void look(void)
{
	looks++;
	while (steps < STEPS && before[steps] <= looks)
		step(steps++);
}

#undef apmp_load_relaxed
#undef apmp_load_acquire
#undef apmp_swap
#define apmp_load_relaxed(p) (look(), atomic_load_explicit((p), memory_order_relaxed))
#define apmp_load_acquire(p) (look(), atomic_load_explicit((p), memory_order_acquire))
#define apmp_swap(p, v)	     (look(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#include "shm/hwrpb_message.c" /* NOLINT(bugprone-suspicious-include): its accesses */

static void run(void)
{
	int refused;

	world_init(&w);
	hwrpb = world_boot(&w, ALPHA)->hwrpb;
	atomic_store(&hwrpb->slot[CPU].state, HWRPB_CPU_QUIESCED);
	looks = steps = 0;
	ck_assert_msg(apmp_hwrpb_take_startreq(hwrpb, CPU, &refused) == APMP_STARTREQ_NONE,
		      "started by the STARTREQ of before, which came before access %u; left before "
		      "%u, away before %u, coming before %u",
		      before[0], before[1], before[2], before[3]);
	ck_assert_uint_lt(looks, BEHIND);
	if (steps == STEPS)
		apmp_update_abort(&w.up);
	world_fini(&w);
}

/* shows: CPU-01, CPU-05 */
START_TEST(nobody_starts_in_an_open_update)
{
	for (before[0] = 1; before[0] <= BEHIND; before[0]++)
		for (before[1] = before[0]; before[1] <= BEHIND; before[1]++)
			for (before[2] = before[1]; before[2] <= BEHIND; before[2]++)
				for (before[3] = before[2]; before[3] <= BEHIND; before[3]++)
					run();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("startreq");
	TCase *tcase = suite_case(suite, "startreq");

	tcase_add_test(tcase, nobody_starts_in_an_open_update);
	return suite_run(suite);
}
