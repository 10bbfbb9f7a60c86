/*
 * test_pal_console.c - console code of a CPU: HALT and what it was halted for, commands in RX,
 * refusals; its instance and its console die on the way.
 */
#include <errno.h>
#include <string.h>

#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct party *alpha, *beta;
static struct hwrpb_slot *slot; /* of CPU 1, which runs in alpha */

static const struct apmp_hwrpb_command start_it = {.word = APMP_COMMAND_START};
static const struct apmp_hwrpb_command deassign_it = {.word = APMP_COMMAND_DEASSIGN};

/* Seen at the last callback. */
static struct apmp_call_request asked;

static void on_call(struct party *p, struct apmp_call *call)
{
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[1].runner),
			  0); /* nobody runs on it meanwhile */
	ck_assert_uint_eq(apmp_load_relaxed(&p->hwrpb->slot[1].state), HWRPB_CPU_QUIESCED);
	asked = call->request;
}

static void forget(void)
{
	alpha->trail_count = 0;
	alpha->calls = 0;
	alpha->wakes = 0;
	for (uint32_t i = 0; i < WORLD_CPUS; i++)
		apmp_store_relaxed(&w.line[i].pending, 0);
}

static void setup(void)
{
	uint64_t other;

	world_init(&w);
	alpha = world_boot(&w, ALPHA);
	beta = world_boot(&w, BETA);
	slot = &alpha->hwrpb->slot[1];
	ck_assert_int_eq(apmp_intr_take(&alpha->env, 0, &other), 0);
	ck_assert_int_eq(apmp_intr_take(&alpha->env, 1, &other), 0);
	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	alpha->on_call = on_call;
	forget();
}

static void teardown(void)
{
	world_fini(&w);
}

static bool available(struct party *p)
{
	return apmp_hwrpb_flags(p->hwrpb, 1) & HWRPB_PA;
}

static uint64_t runner(void)
{
	return apmp_load_relaxed(&w.line[1].runner);
}

static uint32_t state(void)
{
	return apmp_load_relaxed(&slot->state);
}

static struct apmp_tree_node cpu_node(void)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, 1, &n), 0);
	return n;
}

static uint32_t user(void)
{
	return apmp_tree_owner_id(&w.tw.tree, cpu_node().current_owner);
}

/* Console code, until it has nothing left to do. */
static void console(void)
{
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, 1, 0),
			 -ETIMEDOUT);
}

static int halt(struct party *p)
{
	return apmp_pal_halt(&p->env, p->hwrpb, 1);
}

static int halt_migrate(struct party *p, uint32_t to_id, uint32_t how)
{
	return apmp_pal_halt_migrate(&p->env, &p->tree, p->hwrpb, p->id, 1, to_id,
				     APMP_MIGRATE_HALT | how);
}

static int halt_deassign(struct party *p)
{
	return apmp_pal_halt_deassign(&p->env, &p->tree, p->hwrpb, p->id, 1);
}

static void send(const struct apmp_hwrpb_command *command)
{
	ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, command), 0);
}

static void stop(void)
{
	ck_assert_int_eq(halt(alpha), 0);
	console();
}

static enum apmp_startreq take(int *ret_refused)
{
	return apmp_hwrpb_take_startreq(alpha->hwrpb, 1, ret_refused);
}

static void nothing_said(void)
{
	int refused;

	ck_assert_int_eq(take(&refused), APMP_STARTREQ_NONE);
}

static void check_halted(void)
{
	ck_assert_uint_eq(state(), HWRPB_CPU_HALTED);
	ck_assert_uint_eq(runner(), 0);
	ck_assert(available(alpha));
	ck_assert_uint_eq(user(), ALPHA);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node().owner), ALPHA);
}

/* It has gone, and its context is kept. */
static void check_gone(uint32_t to)
{
	ck_assert_uint_eq(state(), HWRPB_CPU_AWAY);
	ck_assert_uint_eq(runner(), 0);
	ck_assert(!available(alpha));
	ck_assert_uint_eq(user(), to);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->context), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&slot->txrdy), 0);
}

static void check_started(void)
{
	send(&start_it);
	ck_assert_uint_eq(state(), HWRPB_CPU_STARTING);
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, 1, 0), 0);
	ck_assert_uint_eq(state(), HWRPB_CPU_CONFIGURED);
	ck_assert_uint_eq(runner(), party_identity(alpha));
	ck_assert_uint_eq(party_passed(alpha, APMP_P_pal_2218), 1);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_pal_2220), 1);
}

/* The points passed are exactly these. */
static void check_trail(const enum apmp_point *points, uint32_t count)
{
	ck_assert_uint_eq(alpha->trail_count, count);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_msg(alpha->trail[i] == points[i], "%s where %s should be",
			      apmp_point_info(alpha->trail[i])->name,
			      apmp_point_info(points[i])->name);
}

#define CHECK_TRAIL(...)                                                                           \
	check_trail((const enum apmp_point[]){__VA_ARGS__},                                        \
		    sizeof((const enum apmp_point[]){__VA_ARGS__}) / sizeof(enum apmp_point))

/* It stays in console mode, its primary is told once, and it can be started.
 * shows: CPU-12 */
START_TEST(halt_and_start)
{
	ck_assert_int_eq(halt(alpha), 0);
	ck_assert_uint_eq(runner(), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->context), party_identity(alpha));
	console();
	check_halted();
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_CPU_HALTED], 1);
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_CPU_HALTED], 1);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_WORK);
	ck_assert_uint_eq(alpha->calls, 0);
	nothing_said();
	forget();
	console();
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_CPU_HALTED], 1);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), 0);
	forget();
	check_started();
}
END_TEST

START_TEST(somebody_else_runs_on_it)
{
	apmp_store_relaxed(&w.line[1].runner, party_identity(beta));
	ck_assert_int_eq(halt(alpha), -EIO);
	ck_assert_int_eq(halt_migrate(alpha, BETA, 0), -EIO);
	ck_assert_int_eq(halt_deassign(alpha), -EIO);
	ck_assert_uint_eq(runner(), party_identity(beta));
	apmp_store_relaxed(&slot->state, HWRPB_CPU_HALTED);
	send(&start_it);
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, 1, 0),
			 -EIO);
	ck_assert_uint_eq(runner(), party_identity(beta));
}
END_TEST

static void on_halt_point(struct party *p, enum apmp_point point, uint64_t arg)
{
	uint64_t reason = apmp_load_relaxed(&slot->reason_for_halt);

	(void)p;
	ck_assert_uint_eq(arg, 1);
	if (point == APMP_P_halt_3002)
		ck_assert_uint_eq(HWRPB_HALT_CODE(reason), HWRPB_HALT_MIGRATE);
	if (point == APMP_P_halt_3004 || point == APMP_P_halt_3006 || point == APMP_P_halt_3010)
		ck_assert_uint_eq(HWRPB_HALT_TO(reason), BETA);
	if (point == APMP_P_halt_3006)
		ck_assert_uint_eq(runner(), 0);
	if (point == APMP_P_halt_3012)
		ck_assert_uint_eq(reason, 0);
}

/* Figs. 30A, 30B.  shows: CPU-06 */
START_TEST(halt_migration)
{
	uint32_t loan = _i ? APMP_MIGRATE_LOAN : 0;

	alpha->on_point = on_halt_point;
	ck_assert_int_eq(halt_migrate(alpha, BETA, loan), 0);
	console();
	CHECK_TRAIL(APMP_P_halt_3002, APMP_P_halt_3004, APMP_P_halt_3006, APMP_P_halt_3008,
		    APMP_P_halt_3010, APMP_P_halt_3012, APMP_P_halt_3014, APMP_P_halt_3018,
		    APMP_P_pal_2204, APMP_P_migrate_906, APMP_P_con_2306);
	check_gone(BETA);
	ck_assert_uint_eq(asked.op, APMP_CALL_MIGRATE_CPU);
	ck_assert_uint_eq(asked.arg[2], APMP_MIGRATE_HALT | loan);
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node().owner), loan ? ALPHA : BETA);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->reason_for_halt), 0);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_CPU_HALTED], 0);
}
END_TEST

static const struct {
	uint32_t to;
	int err;
} invalid[] = {
    {GAMMA, EHOSTDOWN}, {STRANGER, EXDEV}, {ALPHA, EALREADY}, {40, ENXIO}, {UINT32_MAX, ENXIO}};

static void on_refused_point(struct party *p, enum apmp_point point, uint64_t arg)
{
	char tx[HWRPB_MSG_SIZE];

	(void)p;
	(void)arg;
	if (point == APMP_P_halt_3022)
		ck_assert_uint_eq(apmp_load_relaxed(&slot->reason_for_halt), 0);
	if (point == APMP_P_halt_3024) {
		memcpy(tx, slot->tx, sizeof(tx));
		ck_assert_str_eq(tx, HWRPB_MSG_STARTREQ);
		ck_assert_uint_eq(apmp_load_relaxed(&slot->txrdy), 0);
	}
	if (point == APMP_P_halt_3026) {
		ck_assert_uint_eq(apmp_load_relaxed(&slot->txrdy), 1);
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), 0);
	}
	if (point == APMP_P_halt_3028)
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_TXRDY);
}

static void check_refused(int err)
{
	int refused = 0;

	check_halted();
	ck_assert_uint_eq(apmp_load_relaxed(&slot->reason_for_halt), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_TXRDY);
	ck_assert_int_eq(take(&refused), APMP_STARTREQ_REFUSED);
	ck_assert_int_eq(refused, err);
	nothing_said(); /* it is told once, */
	apmp_hwrpb_startreq(&w.console.env, alpha->hwrpb, 1);
	nothing_said(); /* and no other STARTREQ is taken for it */
	check_halted();
	forget();
	check_started();
}

/* Fig. 30C.  shows: CPU-06 */
START_TEST(halt_migration_invalid)
{
	alpha->on_point = on_refused_point;
	ck_assert_int_eq(halt_migrate(alpha, invalid[_i].to, 0), 0);
	console();
	CHECK_TRAIL(APMP_P_halt_3002, APMP_P_halt_3004, APMP_P_halt_3006, APMP_P_halt_3008,
		    APMP_P_halt_3010, APMP_P_halt_3012, APMP_P_halt_3014, APMP_P_halt_3022,
		    APMP_P_halt_3024, APMP_P_halt_3026, APMP_P_halt_3028, APMP_P_halt_3030,
		    APMP_P_con_2306);
	ck_assert_uint_eq(alpha->calls, 0);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_CPU_HALTED], 0);
	check_refused(invalid[_i].err);
}
END_TEST

static int answer_noexec(struct apmp_env *env, struct apmp_call *call)
{
	(void)env;
	call->reply.error = -ENOEXEC;
	return 0;
}

/* What was valid here may not be so there: Fig. 30C, too. */
START_TEST(halt_migration_refused)
{
	if (_i == 0)
		alpha->env.call = answer_noexec;
	else
		alpha->call_error = -EPIPE;
	ck_assert_int_eq(halt_migrate(alpha, BETA, 0), 0);
	console();
	ck_assert_uint_eq(party_passed(alpha, APMP_P_halt_3018), 1);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_halt_3022), 1);
	check_refused(_i == 0 ? ENOEXEC : EPIPE);
}
END_TEST

/* Fig. 31.  shows: CPU-07 */
START_TEST(migrate_in_console_mode)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, BETA, _i};

	stop();
	forget();
	send(&command);
	ck_assert_uint_eq(state(), HWRPB_CPU_QUIESCED);
	ck_assert_uint_eq(alpha->wakes, 1);
	console();
	CHECK_TRAIL(APMP_P_rx_3102, APMP_P_rx_3104, APMP_P_con_2306, APMP_P_rx_3108,
		    APMP_P_pal_2204, APMP_P_migrate_906);
	check_gone(BETA);
	ck_assert_uint_eq(asked.arg[2], APMP_MIGRATE_CONSOLE | (_i ? APMP_MIGRATE_LOAN : 0));
	ck_assert_uint_eq(apmp_tree_owner_id(&w.tw.tree, cpu_node().owner), _i ? ALPHA : BETA);
}
END_TEST

START_TEST(migrate_in_console_mode_refused)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, invalid[_i].to, false};

	stop();
	forget();
	send(&command);
	console();
	ck_assert_uint_eq(alpha->calls, 0);
	check_refused(invalid[_i].err);
}
END_TEST

static void check_nobodys(void)
{
	check_gone(APMP_NO_PARTITION);
	ck_assert_int_eq(cpu_node().owner, GCT_NONE);
	ck_assert_uint_eq(asked.op, APMP_CALL_DEASSIGN);
	ck_assert_int_eq((int32_t)asked.arg[0], cpu_node().handle);
	ck_assert_uint_eq(asked.arg[1], APMP_DEASSIGN_UNUSED | APMP_DEASSIGN_HASTE);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->halt_requested), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->rxrdy), 0);
}

static void on_deassign_point(struct party *p, enum apmp_point point, uint64_t arg)
{
	char rx[HWRPB_MSG_SIZE];

	(void)p;
	(void)arg;
	if (point == APMP_P_reassign_3202) {
		memcpy(rx, slot->rx, sizeof(rx));
		ck_assert_str_eq(rx, HWRPB_MSG_DEASSIGN);
		ck_assert_uint_eq(apmp_load_relaxed(&slot->rxrdy), 1);
	}
	if (point == APMP_P_deassign_2902)
		ck_assert_uint_eq(apmp_load_relaxed(&slot->halt_requested), HWRPB_HALT_DEASSIGN);
	if (point == APMP_P_reassign_3204)
		ck_assert_uint_eq(runner(), 0);
}

/* Figs. 29 and 32A, of a CPU in SMP.  shows: CPU-08 */
START_TEST(deassign_active)
{
	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
	alpha->on_point = on_deassign_point;
	send(&deassign_it);
	ck_assert_uint_eq(state(), HWRPB_CPU_ACTIVE);
	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	ck_assert_int_eq(halt_deassign(alpha), 0);
	console();
	CHECK_TRAIL(APMP_P_reassign_3202, APMP_P_deassign_2902, APMP_P_reassign_3204,
		    APMP_P_con_2306);
	check_nobodys();
}
END_TEST

/* [0313].  shows: CPU-08 */
START_TEST(deassign_in_console_mode)
{
	stop();
	forget();
	send(&deassign_it);
	console();
	check_nobodys();
}
END_TEST

/* A lent CPU is not its user's to deassign. */
START_TEST(deassign_refused)
{
	struct apmp_tree_partition other;

	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, BETA, &other), 0);
	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, w.cpu[1], other.node.handle);
	apmp_update_commit(&w.up);
	forget();
	if (_i == 0) {
		apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
		send(&deassign_it);
		apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
		ck_assert_int_eq(halt_deassign(alpha), 0);
	} else {
		stop();
		forget();
		send(&deassign_it);
	}
	console();
	ck_assert_uint_eq(alpha->calls, 1);
	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, w.cpu[1], cpu_node().current_owner);
	apmp_update_commit(&w.up);
	apmp_store_relaxed(&w.line[0].pending, APMP_INTR_TXRDY);
	check_refused(EPERM);
}
END_TEST

/* Written as our words, but not quite. */
static const char *const nonsense[] = {"",
				       "STOP",
				       "start",
				       "STARTREQ",
				       " START",
				       "START ",
				       "MIGRATE",
				       "MIGRATE ",
				       "MIGRATE  1",
				       "MIGRATE 01",
				       "MIGRATE -1",
				       "MIGRATE 1 ",
				       "MIGRATE 1 loan ",
				       "MIGRATE 1 LOAN",
				       "MIGRATE 4294967297",
				       "MIGRATE 1loan",
				       "MIGRATE 99999999999999999",
				       "DEASSIGN 1",
				       "DEASSIGNDEASSIGNDEASSIGN"};

#define NONSENSE ((int)(sizeof(nonsense) / sizeof(nonsense[0])))

/* Behind the end of the text there is nothing either. */
START_TEST(nonsense_is_dropped)
{
	char rx[HWRPB_MSG_SIZE] = "";

	stop();
	forget();
	if (_i < NONSENSE)
		memcpy(rx, nonsense[_i], strnlen(nonsense[_i], sizeof(rx)));
	else
		memcpy(rx, "START\0x", 8);
	memcpy(slot->rx, rx, sizeof(rx));
	apmp_store_relaxed(&slot->rxrdy, 1);
	console();
	ck_assert_uint_eq(apmp_load_relaxed(&slot->rxrdy), 0);
	ck_assert_uint_eq(alpha->calls, 0);
	check_halted();
	nothing_said();
	check_started();
}
END_TEST

/* A partition id of any size goes through RX. */
START_TEST(numbers_in_rx)
{
	static const uint32_t numbers[] = {0, 9, 10, 63, 64, 1234567890, UINT32_MAX};
	const struct apmp_hwrpb_command put = {APMP_COMMAND_MIGRATE, numbers[_i / 2], _i % 2};
	struct apmp_hwrpb_command got;

	apmp_store_relaxed(&slot->state, HWRPB_CPU_HALTED);
	send(&put);
	ck_assert(apmp_hwrpb_receive(alpha->hwrpb, 1, &got));
	ck_assert_int_eq((int)got.word, (int)put.word);
	ck_assert_uint_eq(got.to_id, put.to_id);
	ck_assert_int_eq(got.loan, put.loan);
	ck_assert(!apmp_hwrpb_receive(alpha->hwrpb, 1, &got));
}
END_TEST

/* Which commands a CPU takes, by its state. */
static const struct {
	uint32_t state;
	bool start, migrate, deassign;
} takes[] = {
    {0, true, false, false},
    {HWRPB_CPU_AWAY, true, false, false},
    {HWRPB_CPU_STARTING, false, false, false},
    {HWRPB_CPU_CONFIGURED, false, false, false},
    {HWRPB_CPU_ACTIVE, false, false, true},
    {HWRPB_CPU_QUIESCED, false, false, false},
    {HWRPB_CPU_HALTED, true, true, true},
};

static int sends(uint32_t at, enum apmp_command word)
{
	const struct apmp_hwrpb_command command = {word, BETA, false};

	apmp_store_relaxed(&slot->rxrdy, 0);
	apmp_store_relaxed(&slot->state, at);
	return apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, &command);
}

START_TEST(one_command_at_a_time)
{
	uint32_t at = takes[_i].state;

	ck_assert_int_eq(sends(at, APMP_COMMAND_START), takes[_i].start ? 0 : -EAGAIN);
	ck_assert_int_eq(sends(at, APMP_COMMAND_MIGRATE), takes[_i].migrate ? 0 : -EAGAIN);
	ck_assert_int_eq(sends(at, APMP_COMMAND_DEASSIGN), takes[_i].deassign ? 0 : -EAGAIN);
	apmp_store_relaxed(&slot->state, at);
	apmp_store_relaxed(&slot->rxrdy, 1);
	ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, &start_it), -EAGAIN);
	ck_assert_uint_eq(state(), at);
}
END_TEST

/* A second order finds the CPU on its way, from the moment of the first one to its end. */
static void on_point_order_again(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point == APMP_P_rx_3108 || point == APMP_P_pal_2204 || point == APMP_P_migrate_906)
		ck_assert_int_eq(apmp_hwrpb_send(&p->env, p->hwrpb, 1, &start_it), -EAGAIN);
}

START_TEST(second_order_on_the_way)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, BETA, false};

	stop();
	forget();
	alpha->on_point = on_point_order_again;
	send(&command);
	ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, alpha->hwrpb, 1, &start_it), -EAGAIN);
	console();
	check_gone(BETA);
}
END_TEST

/* Stray words, and START for a CPU that has been taken out since: it does not run. */
START_TEST(not_ours)
{
	apmp_store_relaxed(&slot->state, _i ? HWRPB_CPU_STARTING : HWRPB_CPU_AWAY);
	apmp_store_relaxed(&w.line[1].runner, 0);
	apmp_fetch_and(&slot->flags, ~(uint64_t)HWRPB_PA);
	if (_i == 0)
		send(&start_it);
	else
		memcpy(slot->rx, "MIGRATE 1\0\0\0\0\0\0", 16);
	apmp_store_relaxed(&slot->rxrdy, 1);
	console();
	ck_assert_uint_eq(state(), HWRPB_CPU_AWAY);
	ck_assert_uint_eq(runner(), 0);
	ck_assert_uint_eq(alpha->calls, 0);
	nothing_said();
}
END_TEST

/* Between its state and its STARTREQ, and until the primary has heard that: its refusal would be
 * taken for one of what it is told now. */
static void on_point_start(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point == APMP_P_halt_3024 || point == APMP_P_halt_3028)
		ck_assert_int_eq(apmp_hwrpb_send(&p->env, p->hwrpb, 1, &start_it), -EAGAIN);
}

START_TEST(told_nothing_before_it_is_heard)
{
	int refused;

	alpha->on_point = on_point_start;
	ck_assert_int_eq(halt_migrate(alpha, GAMMA, 0), 0);
	ck_assert_uint_eq(party_passed(alpha, APMP_P_halt_3028), 1);
	ck_assert_int_eq(take(&refused), APMP_STARTREQ_REFUSED);
	ck_assert_int_eq(refused, EHOSTDOWN);
	send(&start_it);
	ck_assert_int_eq(apmp_pal_console(&alpha->env, &alpha->tree, alpha->hwrpb, ALPHA, 1, 0), 0);
	ck_assert_uint_eq(runner(), party_identity(alpha));
	nothing_said();
}
END_TEST

/* What its instance passes on the ways out; it dies there. */
static const enum apmp_point points[] = {
    APMP_P_halt_3002,	  APMP_P_halt_3004,	APMP_P_halt_3006,     APMP_P_halt_3008,
    APMP_P_halt_3010,	  APMP_P_halt_3012,	APMP_P_halt_3014,     APMP_P_halt_3018,
    APMP_P_halt_3022,	  APMP_P_halt_3024,	APMP_P_halt_3026,     APMP_P_halt_3028,
    APMP_P_halt_3030,	  APMP_P_rx_3102,	APMP_P_rx_3104,	      APMP_P_rx_3108,
    APMP_P_reassign_3202, APMP_P_deassign_2902, APMP_P_reassign_3204, APMP_P_pal_2202,
    APMP_P_pal_2204,	  APMP_P_pal_2205,	APMP_P_migrate_906,   APMP_P_pal_2218,
    APMP_P_pal_2220,	  APMP_P_con_2306};

#define POINTS ((int)(sizeof(points) / sizeof(points[0])))

static int no_such_way(struct party *p)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, GAMMA, false};
	int err, refused;

	err = apmp_pal_migrate(&p->env, &p->tree, p->hwrpb, ALPHA, 1, GAMMA, 0);
	ck_assert_int_eq(err, -EHOSTDOWN);
	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	err = halt_migrate(p, GAMMA, 0);
	ck_assert_int_eq(err, 0);
	console();
	ck_assert_int_eq(take(&refused), APMP_STARTREQ_REFUSED);
	send(&command);
	console();
	ck_assert_int_eq(take(&refused), APMP_STARTREQ_REFUSED);
	send(&start_it);
	err = apmp_pal_console(&p->env, &p->tree, p->hwrpb, ALPHA, 1, 0);
	ck_assert_int_eq(err, 0);
	return 0;
}

static int by_pal(struct party *p)
{
	int err = apmp_pal_migrate(&p->env, &p->tree, p->hwrpb, ALPHA, 1, BETA, 0);

	ck_assert_int_eq(err, 0);
	console();
	return 0;
}

static int by_halt(struct party *p)
{
	int err = halt_migrate(p, BETA, 0);

	ck_assert_int_eq(err, 0);
	console();
	return 0;
}

static int by_rx(struct party *p)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, BETA, false};

	ck_assert_int_eq(halt(p), 0);
	console();
	send(&command);
	console();
	return 0;
}

static int by_deassignment(struct party *p)
{
	int err;

	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
	send(&deassign_it);
	apmp_store_relaxed(&slot->state, HWRPB_CPU_QUIESCED);
	err = halt_deassign(p);
	ck_assert_int_eq(err, 0);
	console();
	return 0;
}

static int (*const ways[])(struct party *p) = {no_such_way, by_pal, by_halt, by_rx,
					       by_deassignment};

#define WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

/* Whose the CPU is when its instance dies: as points.def says.  Before it has asked, its own; after
 * the answer, whose the tree says; and the words of both HWRPBs agree with the tree. */
START_TEST(instance_dies)
{
	enum apmp_point point = points[_i / WAYS];
	int (*way)(struct party * p) = ways[_i % WAYS];
	bool gone;

	party_arm(alpha, point, 1);
	if (party_run(alpha, way) != PARTY_DIED)
		return;		 /* that is not passed, or not so often, on this way */
	gone = alpha->calls > 0; /* nothing is passed between the answer and the end */
	ck_assert_int_eq(available(alpha), user() == ALPHA);
	ck_assert_int_eq(available(beta), user() == BETA);
	if (point != APMP_P_con_2306)
		ck_assert(!gone);
	ck_assert_uint_eq(user(), !gone			   ? ALPHA
				  : way == by_deassignment ? APMP_NO_PARTITION
							   : BETA);
	/* Its word is a dead one's from the fence on; nobody else runs there. */
	ck_assert(runner() == 0 || runner() == party_identity(alpha));
	/* The next life finds nothing of it. */
	alpha = world_boot(&w, ALPHA);
	ck_assert_uint_eq(state(), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->reason_for_halt), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->halt_requested), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->rxrdy), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->txrdy), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot->refused), 0);
	ck_assert_int_eq(available(alpha), !gone);
}
END_TEST

/* The console's points of a migration, and at which passing it dies. */
static const struct {
	enum apmp_point point;
	uint32_t nth;
} console_deaths[] = {
    {APMP_P_update_begin, 1},  {APMP_P_update_begin, 2},  {APMP_P_update_store, 1},
    {APMP_P_update_store, 2},  {APMP_P_update_store, 3},  {APMP_P_update_store, 4},
    {APMP_P_update_store, 5},  {APMP_P_update_store, 6},  {APMP_P_update_store, 7},
    {APMP_P_update_commit, 1}, {APMP_P_update_commit, 2}, {APMP_P_update_end, 1},
    {APMP_P_pal_2206, 1},      {APMP_P_pal_2208, 1},	  {APMP_P_pal_2210, 1},
    {APMP_P_pal_2212, 1},      {APMP_P_pal_2214, 1},	  {APMP_P_pal_2216, 1},
    {APMP_P_migrate_908, 1},   {APMP_P_con_2302, 1},	  {APMP_P_con_2304, 1}};

#define CONSOLE_DEATHS ((int)(sizeof(console_deaths) / sizeof(console_deaths[0])))

static int (*call_console)(struct apmp_env *env, struct apmp_call *call);
static struct apmp_call *call_made;
static bool beta_dies;

static int console_part(struct party *p)
{
	(void)p;
	return call_console(&alpha->env, call_made);
}

static void nobody_has_come(struct party *p)
{
	int refused;

	ck_assert_int_eq(apmp_hwrpb_take_startreq(p->hwrpb, 1, &refused), APMP_STARTREQ_NONE);
}

/* What the next console does, as console_settle_transit and console_send_startreq. */
static void next_console(void)
{
	struct apmp_cpu_words words = world_cpu_words(&w, 1);
	struct apmp_tree_partition self;
	struct apmp_tree_node cpu;
	uint64_t owed;

	world_restart_console(&w);
	ck_assert_int_ge(apmp_update_repair(&w.up), 0);
	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, ALPHA, &self), 0);
	cpu = cpu_node();
	if (apmp_load_relaxed(words.transit))
		apmp_cpu_arrive(&w.tw, &cpu, alpha->hwrpb, ALPHA, self.node.handle, true, &words,
				party_identity(alpha));
	owed = apmp_load_relaxed(words.arrival);
	if (owed)
		apmp_hwrpb_startreq(&w.console.env, w.party[apmp_identity_id(owed)].hwrpb, 1);
	apmp_store_relaxed(words.arrival, 0);
}

static int call_dying_console(struct apmp_env *env, struct apmp_call *call)
{
	call_made = call;
	ck_assert_int_eq(party_run(&w.console, console_part), PARTY_DIED);
	next_console();
	nobody_has_come(alpha); /* it is on its way, whatever the console has returned */
	if (user() == BETA) {	/* the record of the callback came with the arrival */
		call->reply.error = 0;
		return 0;
	}
	if (beta_dies)
		world_fence(&w, BETA);
	call->reply.error = beta_dies ? -EHOSTDOWN : 0;
	return beta_dies ? 0 : call_console(env, call); /* it is asked again */
}

/* Back where it was, and STARTREQ of the console that returned it starts nobody. */
static void check_back(int (*way)(struct party *p))
{
	int refused;

	ck_assert_uint_eq(user(), ALPHA);
	ck_assert(available(alpha));
	if (way != by_pal) {
		ck_assert_int_eq(take(&refused), APMP_STARTREQ_REFUSED);
		ck_assert_int_eq(refused, EHOSTDOWN);
		nothing_said();
		check_halted();
		return;
	}
	nothing_said();
	ck_assert_uint_eq(state(), HWRPB_CPU_ACTIVE);
	ck_assert_uint_eq(runner(), party_identity(alpha));
}

static int by_pal_or_not(struct party *p)
{
	return apmp_pal_migrate(&p->env, &p->tree, p->hwrpb, ALPHA, 1, BETA, 0);
}

START_TEST(console_dies)
{
	static int (*const leave[])(struct party * p) = {by_pal, by_halt, by_rx};
	int (*way)(struct party * p) = leave[_i % 3];
	int refused;

	beta_dies = _i / 3 % 2;
	party_arm(&w.console, console_deaths[_i / 6].point, console_deaths[_i / 6].nth);
	call_console = alpha->env.call;
	alpha->env.call = call_dying_console;
	(void)(way == by_pal ? by_pal_or_not(alpha) : way(alpha));
	ck_assert_int_eq(available(alpha), user() == ALPHA);
	ck_assert_int_eq(available(beta), user() == BETA);
	if (user() == ALPHA) {
		ck_assert(beta_dies);
		check_back(way);
		return;
	}
	check_gone(BETA);
	ck_assert_int_eq(apmp_hwrpb_take_startreq(beta->hwrpb, 1, &refused), APMP_STARTREQ_COME);
	nobody_has_come(beta);
}
END_TEST

/* A command may be there before the thread of a CPU that has just come. */
START_TEST(told_before_its_thread_is_there)
{
	const struct apmp_hwrpb_command command = {APMP_COMMAND_MIGRATE, BETA, false};

	apmp_store_relaxed(&w.line[1].runner, 0);
	apmp_store_relaxed(&slot->context, party_identity(alpha));
	apmp_store_relaxed(&slot->state, HWRPB_CPU_HALTED);
	send(&command);
	console();
	check_gone(BETA);
	ck_assert_uint_eq(alpha->reports[APMP_REPORT_CPU_HALTED], 0);
}
END_TEST

static void tests_of_halt(TCase *tc)
{
	tcase_add_test(tc, halt_and_start);
	tcase_add_test(tc, somebody_else_runs_on_it);
	tcase_add_loop_test(tc, halt_migration, 0, 2);
	tcase_add_loop_test(tc, halt_migration_invalid, 0, 5);
	tcase_add_loop_test(tc, halt_migration_refused, 0, 2);
	tcase_add_loop_test(tc, migrate_in_console_mode, 0, 2);
	tcase_add_loop_test(tc, migrate_in_console_mode_refused, 0, 5);
	tcase_add_test(tc, deassign_active);
	tcase_add_test(tc, deassign_in_console_mode);
	tcase_add_loop_test(tc, deassign_refused, 0, 2);
	tcase_add_loop_test(tc, instance_dies, 0, POINTS * WAYS);
	tcase_add_loop_test(tc, console_dies, 0, CONSOLE_DEATHS * 6);
}

static void tests_of_words(TCase *tc)
{
	tcase_add_loop_test(tc, nonsense_is_dropped, 0, NONSENSE + 1);
	tcase_add_loop_test(tc, numbers_in_rx, 0, 14);
	tcase_add_loop_test(tc, one_command_at_a_time, 0, 7);
	tcase_add_test(tc, second_order_on_the_way);
	tcase_add_loop_test(tc, not_ours, 0, 2);
	tcase_add_test(tc, told_nothing_before_it_is_heard);
	tcase_add_test(tc, told_before_its_thread_is_there);
}

int main(void)
{
	Suite *suite = suite_create("console code");
	TCase *tc = suite_case(suite, "console code");

	tcase_add_checked_fixture(tc, setup, teardown);
	tests_of_halt(tc);
	tests_of_words(tc);
	return suite_run(suite);
}
