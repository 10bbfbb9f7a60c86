/* test_pal.c - a CPU leaves, waits in console code, and comes; its console dies on the way. */
#include <errno.h>
#include <string.h>

#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct party *alpha, *beta;

static void setup(void)
{
	uint64_t other;

	world_init(&w);
	alpha = world_boot(&w, ALPHA);
	beta = world_boot(&w, BETA);
	ck_assert_int_eq(apmp_intr_take(&alpha->env, 0, &other), 0);
	ck_assert_int_eq(apmp_intr_take(&alpha->env, 1, &other), 0);
	alpha->trail_count = 0;
}

static void teardown(void)
{
	world_fini(&w);
}

static struct apmp_tree_node cpu_node(uint32_t cpu_idx)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, cpu_idx, &n), 0);
	return n;
}

static int migrate(struct party *p, uint32_t cpu_idx, uint32_t to_id, bool loan)
{
	return apmp_pal_migrate(&p->env, &p->tree, p->hwrpb, p->id, cpu_idx, to_id, loan);
}

static bool available(struct party *p, uint32_t cpu_idx)
{
	return apmp_hwrpb_flags(p->hwrpb, cpu_idx) & HWRPB_PA;
}

static bool has_come(struct party *p, uint32_t cpu_idx)
{
	int refused;

	return apmp_hwrpb_take_startreq(p->hwrpb, cpu_idx, &refused) == APMP_STARTREQ_COME;
}

static void start(struct party *p, uint32_t cpu_idx)
{
	static const struct apmp_hwrpb_command command = {.word = APMP_COMMAND_START};

	ck_assert_int_eq(apmp_hwrpb_send(&p->env, p->hwrpb, cpu_idx, &command), 0);
}

static int console(struct party *p, uint64_t deadline_ns)
{
	return apmp_pal_console(&p->env, &p->tree, p->hwrpb, p->id, 1, deadline_ns);
}

static uint64_t runner(uint32_t cpu_idx)
{
	return apmp_load_relaxed(&w.line[cpu_idx].runner);
}

/* shows: CPU-03 */
START_TEST(validate_refuses)
{
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, BETA), 0);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, 33), -ENXIO);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, 33, 1, BETA), -ENXIO);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, WORLD_CPUS, BETA), -ENXIO);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 3, BETA), -EPERM);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 7, BETA), -EPERM);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 0, BETA), -EBUSY);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, ALPHA), -EALREADY);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, STRANGER), -EXDEV);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, LONE), -EXDEV);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, GAMMA), -EHOSTDOWN);
	world_fence(&w, BETA);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, ALPHA, 1, BETA), -EHOSTDOWN);
}
END_TEST

/* No community is not a community of those who are in none [0063].  shows: PLAT-06 */
START_TEST(from_no_community)
{
	struct apmp_tree_partition lone;

	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, LONE, &lone), 0);
	apmp_update_begin(&w.up);
	ck_assert_int_eq(apmp_tree_add_partition(&w.tw, 0, "other", 1), WORLD_PARTITIONS);
	apmp_tree_set_current_owner(&w.tw, w.cpu[7], lone.node.handle);
	apmp_update_commit(&w.up);
	ck_assert_int_eq(apmp_pal_validate(&alpha->tree, LONE, 7, WORLD_PARTITIONS), -EXDEV);
}
END_TEST

/* shows: CPU-01, CPU-02, CPU-04, CPU-10 */
START_TEST(there)
{
	struct hwrpb_slot *slot = &alpha->hwrpb->slot[1];
	bool loan = _i != 0;

	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	apmp_store_relaxed(&slot->rxrdy, 1); /* a START that was for an earlier time */
	ck_assert_int_eq(migrate(alpha, 1, BETA, loan), 0);
	ck_assert_uint_eq(runner(1), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->context), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&slot->rxrdy), 0);
	ck_assert(!available(alpha, 1));
	ck_assert(available(beta, 1));
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node(1).current_owner), BETA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node(1).owner), loan ? ALPHA : BETA);
	ck_assert_uint_eq(apmp_load_relaxed(&w.state->transit[1]), 0);
	ck_assert(has_come(beta, 1));
}
END_TEST

/* The CPU comes back before its thread has settled: the primary takes STARTREQ only then, and is
 * told to look again. */
static int (*call_console)(struct apmp_env *env, struct apmp_call *call);

static int call_and_come_back(struct apmp_env *env, struct apmp_call *call)
{
	ck_assert_int_eq(call_console(env, call), 0);
	apmp_fetch_or(&alpha->hwrpb->slot[1].flags, HWRPB_PA);
	apmp_hwrpb_startreq(&w.console.env, alpha->hwrpb, 1);
	ck_assert(!has_come(alpha, 1));
	ck_assert_uint_eq(apmp_load_relaxed(&alpha->hwrpb->slot[1].txrdy), 1);
	apmp_store_relaxed(&w.line[0].pending, 0);
	return 0;
}

START_TEST(back_before_it_parked)
{
	struct hwrpb_slot *slot = &alpha->hwrpb->slot[1];

	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
	apmp_pal_quiesce(&alpha->env, alpha->hwrpb, 1);
	call_console = alpha->env.call;
	alpha->env.call = call_and_come_back;
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_AWAY);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_TXRDY);
	ck_assert(has_come(alpha, 1));
}
END_TEST

/* The primary of the sender is not woken for nothing. */
START_TEST(nobody_is_told_of_nothing)
{
	apmp_store_relaxed(&alpha->hwrpb->slot[1].state, HWRPB_CPU_QUIESCED);
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending) &
			      ~(uint64_t)(APMP_INTR_TREE | APMP_INTR_MOVED),
			  0);
}
END_TEST

static void on_wait_start(struct party *p, const _Atomic uint32_t *word)
{
	ck_assert_ptr_eq(word, &p->hwrpb->slot[1].rxrdy);
	if (p->waits == 1)
		start(p, 1);
}

/* shows: CPU-04, CPU-05 */
START_TEST(there_and_back)
{
	struct hwrpb_slot *slot = &alpha->hwrpb->slot[1];

	ck_assert_int_eq(migrate(alpha, 1, BETA, false), 0);
	beta->on_wait = on_wait_start;
	ck_assert_int_eq(console(beta, w.now_ns + 1000 * MSEC), 0);
	ck_assert_uint_eq(runner(1), party_identity(beta));
	ck_assert_uint_eq(apmp_load_relaxed(&beta->hwrpb->slot[1].state), HWRPB_CPU_CONFIGURED);
	ck_assert_int_eq(migrate(beta, 1, ALPHA, false), 0);
	/* The context of ALPHA's life is still there for the parked thread. */
	ck_assert_uint_eq(apmp_load_relaxed(&slot->context), party_identity(alpha));
	alpha->on_wait = on_wait_start;
	alpha->waits = 0;
	ck_assert_int_eq(console(alpha, w.now_ns + 1000 * MSEC), 0);
	ck_assert_uint_eq(runner(1), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[1].taken), 3);
	ck_assert(available(alpha, 1));
	ck_assert(!available(beta, 1));
}
END_TEST

static const struct {
	uint32_t cpu, to;
	int err;
} refused[] = {{0, BETA, -EBUSY},
	       {1, GAMMA, -EHOSTDOWN},
	       {1, STRANGER, -EXDEV},
	       {1, ALPHA, -EALREADY},
	       {1, 40, -ENXIO}};

static void check_stays(uint32_t cpu_idx)
{
	ck_assert_uint_eq(runner(cpu_idx), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&alpha->hwrpb->slot[cpu_idx].state), HWRPB_CPU_ACTIVE);
	ck_assert(available(alpha, cpu_idx));
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node(cpu_idx).current_owner), ALPHA);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_pal_2205), 1);
}

/* shows: CPU-03, CPU-04 */
START_TEST(refused_goes_on_here)
{
	ck_assert_int_eq(migrate(alpha, refused[_i].cpu, refused[_i].to, false), refused[_i].err);
	check_stays(refused[_i].cpu);
	ck_assert_uint_eq(alpha->calls, 0);
}
END_TEST

START_TEST(callback_fails)
{
	alpha->call_error = -EPIPE;
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), -EPIPE);
	check_stays(1);
}
END_TEST

static int answer_noexec(struct apmp_env *env, struct apmp_call *call)
{
	(void)env;
	call->reply.error = -ENOEXEC;
	return 0;
}

/* shows: CPU-13 */
START_TEST(console_refuses)
{
	alpha->env.call = answer_noexec;
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), -ENOEXEC);
	check_stays(1);
}
END_TEST

/* shows: CPU-01 */
START_TEST(somebody_else_runs_on_it)
{
	apmp_store_relaxed(&w.line[1].runner, party_identity(beta));
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), -EIO);
	ck_assert_uint_eq(runner(1), party_identity(beta));
	ck_assert_uint_eq(alpha->calls, 0);
	start(alpha, 1);
	ck_assert_int_eq(console(alpha, APMP_NEVER), -EIO);
	ck_assert_uint_eq(runner(1), party_identity(beta));
}
END_TEST

/* While the console is asked, somebody takes the CPU: it can't be restored. */
static void on_call_taken(struct party *p, struct apmp_call *call)
{
	(void)p;
	(void)call;
	apmp_store_relaxed(&w.line[1].runner, party_identity(beta));
}

START_TEST(taken_meanwhile)
{
	alpha->on_call = on_call_taken;
	alpha->call_error = -EPIPE;
	ck_assert_int_eq(migrate(alpha, 1, BETA, false), -EIO);
	ck_assert_uint_eq(runner(1), party_identity(beta));
}
END_TEST

START_TEST(park_until_the_deadline)
{
	uint64_t end = w.now_ns + 7 * MSEC;

	ck_assert_int_eq(console(beta, end), -ETIMEDOUT);
	ck_assert_uint_eq(w.now_ns, end);
	ck_assert_uint_eq(runner(1), party_identity(alpha));
	/* Another word is taken and does not start it. */
	memcpy(beta->hwrpb->slot[1].rx, "STOP\0\0\0\0", 8);
	apmp_store_relaxed(&beta->hwrpb->slot[1].rxrdy, 1);
	ck_assert_int_eq(console(beta, end), -ETIMEDOUT);
	ck_assert_uint_eq(apmp_load_relaxed(&beta->hwrpb->slot[1].rxrdy), 0);
}
END_TEST

static void on_call_take_it(struct party *p, struct apmp_call *call)
{
	(void)call;
	apmp_fetch_and(&p->hwrpb->slot[1].flags, ~(uint64_t)HWRPB_PA);
}

/* The console has made the change, but NVRAM can't be written, or its answer is lost: the CPU is
 * gone, and does not stay HALTED, where the STARTREQ of its next arrival would be dropped.
 * shows: CPU-08 */
START_TEST(gone_whatever_was_answered)
{
	static const struct apmp_hwrpb_command command[] = {
	    {.word = APMP_COMMAND_DEASSIGN}, {.word = APMP_COMMAND_MIGRATE, .to_id = BETA}};
	struct hwrpb_slot *slot = &alpha->hwrpb->slot[1];

	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	ck_assert_int_eq(apmp_pal_halt(&alpha->env, alpha->hwrpb, 1), 0);
	alpha->on_call = on_call_take_it;
	alpha->call_error = -ENOSPC;
	ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, &command[_i]), 0);
	ck_assert_int_eq(console(alpha, 0), -ETIMEDOUT);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->state), HWRPB_CPU_AWAY);
	apmp_fetch_or(&slot->flags, HWRPB_PA);
	apmp_hwrpb_startreq(&w.console.env, alpha->hwrpb, 1);
	ck_assert(has_come(alpha, 1));
}
END_TEST

/* Points of the console's part.  In any state that the next console finds, at most one partition
 * has the CPU, by the tree and by the HWRPBs; and it is in transit, or somebody's. */
static const enum apmp_point console_points[] = {
    APMP_P_update_begin, APMP_P_update_store, APMP_P_update_commit, APMP_P_update_end,
    APMP_P_pal_2206,	 APMP_P_pal_2208,     APMP_P_pal_2210,	    APMP_P_pal_2212,
    APMP_P_pal_2214,	 APMP_P_pal_2216,     APMP_P_migrate_908,   APMP_P_con_2302};

#define CONSOLE_POINTS ((int)(sizeof(console_points) / sizeof(console_points[0])))

/* The console's part of MIGRATE_CPU, as its callback. */
static int console_part(struct party *console)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MIGRATE_CPU, .arg = {1, BETA, 0}}};

	(void)console;
	return alpha->env.call(&alpha->env, &call);
}

static void check_one_owner(void)
{
	uint32_t owner = apmp_tree_owner_id(&w.tw.tree, cpu_node(1).current_owner);
	bool transit = apmp_load_relaxed(&w.state->transit[1]) != 0;

	ck_assert(!(available(alpha, 1) && available(beta, 1)));
	ck_assert_int_eq(available(alpha, 1), owner == ALPHA);
	ck_assert_int_eq(available(beta, 1), owner == BETA);
	ck_assert_int_eq(transit, owner == APMP_NO_PARTITION);
	/* Whose it is has got its STARTREQ, or is still owed it. */
	if (owner == BETA && !apmp_load_relaxed(&beta->hwrpb->slot[1].txrdy))
		ck_assert_uint_eq(apmp_load_relaxed(&w.state->arrival[1]), party_identity(beta));
	if (transit) /* it can be given back to the last confirmed owner */
		ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node(1).owner), ALPHA);
}

/* Whether a receiver that boots just now starts the CPU, as one of those that it begins with. */
static bool starts_at_boot(struct party *p)
{
	struct apmp_cpu_bits cpus;

	return !apmp_hwrpb_available(&p->tree, p->hwrpb, &cpus) && apmp_cpu_bits_test(&cpus, 1);
}

/* shows: CPU-01, CPU-02, TREE-22 */
START_TEST(console_dies_on_the_way)
{
	uint32_t nth = (uint32_t)(_i / CONSOLE_POINTS) + 1;
	bool starts;

	party_arm(&w.console, console_points[_i % CONSOLE_POINTS], nth);
	if (party_run(&w.console, console_part) != PARTY_DIED) {
		ck_assert_uint_gt(nth, 1); /* passed less often than that */
		return;
	}
	starts = starts_at_boot(beta);
	world_restart_console(&w);
	ck_assert_int_ge(apmp_update_repair(&w.up), 0);
	check_one_owner();
	ck_assert(!starts || available(beta, 1)); /* else two run on it */
	ck_assert_int_eq(starts_at_boot(beta), available(beta, 1));
}
END_TEST

static void tests_of_migration(TCase *tc)
{
	tcase_add_test(tc, validate_refuses);
	tcase_add_test(tc, from_no_community);
	tcase_add_loop_test(tc, there, 0, 2);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, back_before_it_parked);
	tcase_add_test(tc, nobody_is_told_of_nothing);
	tcase_add_loop_test(tc, refused_goes_on_here, 0, 5);
	tcase_add_test(tc, callback_fails);
	tcase_add_test(tc, console_refuses);
	tcase_add_loop_test(tc, gone_whatever_was_answered, 0, 2);
	tcase_add_test(tc, somebody_else_runs_on_it);
	tcase_add_test(tc, taken_meanwhile);
	tcase_add_test(tc, park_until_the_deadline);
	tcase_add_loop_test(tc, console_dies_on_the_way, 0, CONSOLE_POINTS * 8);
}

int main(void)
{
	Suite *suite = suite_create("pal");
	TCase *tc = suite_case(suite, "pal");

	tcase_add_checked_fixture(tc, setup, teardown);
	tests_of_migration(tc);
	return suite_run(suite);
}
