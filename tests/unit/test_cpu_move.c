/*
 * test_cpu_move.c - the console moves CPUs, and dies on the way at each of its points: the next one
 * finds every CPU with one owner, or with none and marked, and nobody is owed anything in the end.
 */
#include <errno.h>
#include <string.h>

#include "shm/configure.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define NOBODY APMP_NO_PARTITION
#define TO(id) ((uint64_t)(id) + 1) /* a byte of the targets */

static struct world w;
static struct apmp_cpu_mover m;
static uint64_t targets[WORLD_PARTITIONS][WORLD_CPUS];
static bool down[WORLD_PARTITIONS]; /* the console knows of no process of it */
static int host_error;
static uint32_t host_calls[WORLD_PARTITIONS];
static uint64_t passed, die_at; /* points of the console since `begin`; die at this one */

static uint64_t life_of(struct apmp_cpu_mover *mover, uint32_t id)
{
	(void)mover;
	return id < WORLD_PARTITIONS && !down[id] ? apmp_tree_present(&w.tw.tree, id) : 0;
}

static uint64_t targets_of(struct apmp_cpu_mover *mover, uint32_t id, uint32_t cpu_idx)
{
	(void)mover;
	return targets[id][cpu_idx];
}

static int host_cpus(struct apmp_cpu_mover *mover, uint32_t id, uint32_t more)
{
	(void)mover;
	ck_assert(more == APMP_MAX_CPUS || more < WORLD_CPUS);
	host_calls[id]++;
	return host_error;
}

static void on_point(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (++passed == die_at)
		party_arm(p, point, 1);
}

static void open_console(void)
{
	w.console.on_point = on_point;
	m = world_mover(&w);
	m.life = life_of;
	m.targets = targets_of;
	m.host_cpus = host_cpus;
}

/* alpha has CPUs 0 (primary), 1 and 7; beta 2 and 3; gamma 4; delta is off with 5. */
static void begin(void)
{
	world_init(&w);
	memset(targets, 0, sizeof(targets));
	memset(down, 0, sizeof(down));
	memset(host_calls, 0, sizeof(host_calls));
	host_error = 0;
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_boot(&w, id);
	(void)world_boot(&w, STRANGER);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
			apmp_fetch_or(&w.party[id].hwrpb->slot[cpu].flags, HWRPB_COMPATIBLE);
	open_console();
	passed = die_at = 0;
}

static struct apmp_tree_node node(uint32_t cpu_idx)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, cpu_idx, &n), 0);
	return n;
}

static uint32_t owner(uint32_t cpu_idx)
{
	return apmp_tree_owner_id(&w.tw.tree, node(cpu_idx).owner);
}

static uint32_t user(uint32_t cpu_idx)
{
	return apmp_tree_owner_id(&w.tw.tree, node(cpu_idx).current_owner);
}

static bool available(uint32_t id, uint32_t cpu_idx)
{
	return apmp_hwrpb_flags(w.party[id].hwrpb, cpu_idx) & HWRPB_PA;
}

static bool told(uint32_t id, uint32_t cpu_idx)
{
	const struct hwrpb_slot *slot = &w.party[id].hwrpb->slot[cpu_idx];

	return apmp_load_relaxed(&slot->txrdy) &&
	       memcmp(slot->tx, HWRPB_MSG_STARTREQ, sizeof(HWRPB_MSG_STARTREQ)) == 0;
}

static int32_t handle(uint32_t id)
{
	struct apmp_tree_partition p;

	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, id, &p), 0);
	return p.node.handle;
}

/* At rest: available exactly where the tree says, in every partition that lives. */
static void check_at_rest(void)
{
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++) {
		ck_assert_uint_eq(apmp_load_relaxed(&m.transit[cpu]), 0);
		ck_assert_uint_eq(apmp_load_relaxed(&m.arrival[cpu]), 0);
		for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
			if (life_of(&m, id))
				ck_assert_msg(available(id, cpu) == (user(cpu) == id),
					      "CPU %u, partition %u", cpu, id);
			else
				ck_assert(!available(id, cpu));
	}
}

/* ---- migration ---- */

/* That a callback was carried out: else the next console does it again. */
static void record(void *ctx)
{
	apmp_update_store64(&w.up, APMP_OBJECT_STATE, ctx, 1);
}

static _Atomic uint64_t *recorded(void)
{
	return &w.state->partition[ALPHA].last_seq;
}

static int migrate(uint32_t cpu_idx, uint32_t from, uint32_t to, uint32_t how)
{
	return apmp_cpu_migrate(&m, from, cpu_idx, to, how, record, recorded());
}

static const struct {
	uint32_t how;
	enum apmp_point point;
} ways[] = {{0, APMP_P_pal_2206},
	    {APMP_MIGRATE_HALT, APMP_P_halt_3016},
	    {APMP_MIGRATE_CONSOLE, APMP_P_rx_3106},
	    {APMP_MIGRATE_LOAN, APMP_P_pal_2216}};

/* shows: CPU-02, CPU-06, CPU-07, CPU-10, TREE-15 */
START_TEST(migrates)
{
	bool loan = ways[_i].how & APMP_MIGRATE_LOAN;

	begin();
	w.console.wakes = 0;
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_store_relaxed(&w.line[cpu].pending, 0);
	ck_assert_int_eq(migrate(1, ALPHA, BETA, ways[_i].how), 0);
	/* Nobody but the receiver's primary is woken in the midst of it. */
	ck_assert_uint_eq(w.console.wakes, 1);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[cpu].pending),
				  APMP_INTR_MOVED | (cpu == 2 ? APMP_INTR_TXRDY : 0));
	ck_assert_uint_eq(user(1), BETA);
	ck_assert_uint_eq(owner(1), loan ? ALPHA : BETA);
	ck_assert(told(BETA, 1));
	ck_assert_uint_eq(party_passed(&w.console, ways[_i].point), 1);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_halt_3016), _i == 1);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_rx_3106), _i == 2);
	ck_assert_uint_eq(apmp_load_relaxed(&m.source[1]), party_identity(&w.party[ALPHA]));
	ck_assert(host_calls[ALPHA] == 0 && host_calls[BETA] == 1);
	check_at_rest();
	if (!loan)
		return;
	/* Nor is it the borrower's to give away. */
	ck_assert_int_eq(migrate(1, BETA, GAMMA, 0), 0);
	ck_assert(user(1) == GAMMA && owner(1) == ALPHA);
	ck_assert_int_eq(migrate(1, GAMMA, BETA, 0), 0);
	/* A loan that returns is none any more, however it is asked for. */
	ck_assert_int_eq(migrate(1, BETA, ALPHA, _i == 3 ? 0 : APMP_MIGRATE_LOAN), 0);
	ck_assert(user(1) == ALPHA && owner(1) == ALPHA);
}
END_TEST

/* shows: CPU-02, CPU-13 */
START_TEST(refuses)
{
	begin();
	ck_assert_int_eq(migrate(1, ALPHA, DELTA, 0), -EHOSTDOWN);
	ck_assert_int_eq(migrate(0, ALPHA, BETA, 0), -EBUSY);
	ck_assert_int_eq(migrate(1, BETA, GAMMA, 0), -EPERM);
	ck_assert_int_eq(migrate(1, ALPHA, STRANGER, 0), -EXDEV);
	ck_assert_int_eq(migrate(1, ALPHA, ALPHA, 0), -EALREADY);
	ck_assert_int_eq(migrate(WORLD_CPUS, ALPHA, BETA, 0), -ENXIO);
	ck_assert_int_eq(migrate(1, ALPHA, WORLD_PARTITIONS, 0), -ENXIO);
	down[BETA] = true; /* its fence has begun */
	ck_assert_int_eq(migrate(1, ALPHA, BETA, 0), -EHOSTDOWN);
	down[BETA] = false;
	down[ALPHA] = true;
	ck_assert_int_eq(migrate(1, ALPHA, BETA, 0), -EHOSTDOWN);
	down[ALPHA] = false;
	apmp_fetch_and(&w.party[BETA].hwrpb->slot[1].flags, ~(uint64_t)HWRPB_COMPATIBLE);
	ck_assert_int_eq(migrate(1, ALPHA, BETA, 0), -ENOEXEC);
	ck_assert_uint_eq(passed, 0);
	host_error = -ENOSPC;
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_store_relaxed(&w.line[cpu].pending, 0);
	ck_assert_int_eq(migrate(1, ALPHA, GAMMA, 0), -ENOSPC);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++) /* the tree has changed, and back [0117] */
		ck_assert_uint_eq(apmp_load_relaxed(&w.line[cpu].pending), APMP_INTR_TREE);
	ck_assert(user(1) == ALPHA && owner(1) == ALPHA && !told(GAMMA, 1) && !told(ALPHA, 1));
	check_at_rest();
}
END_TEST

/* ---- assignment ---- */

/* What shm/configure.c changes, and what follows. */
static void change(uint32_t op, uint32_t cpu_idx, uint64_t arg1, int32_t by)
{
	struct apmp_call_request r = {.op = op, .arg = {(uint64_t)w.cpu[cpu_idx], arg1}};
	struct apmp_configured done;
	uint32_t to;

	ck_assert_int_eq(apmp_configure(&w.tw, &r, by, &done), 0);
	if (apmp_cpu_follow(&m, w.cpu[cpu_idx], &to)) {
		apmp_update_abort(&w.up);
		return;
	}
	apmp_update_commit(&w.up);
	apmp_cpu_followed(&m, w.cpu[cpu_idx], to);
}

static void assign(uint32_t cpu_idx, uint32_t to)
{
	change(APMP_CALL_ASSIGN, cpu_idx, (uint64_t)handle(to), APMP_ADMINISTRATOR);
}

static void check_trail(const enum apmp_point *points, size_t count)
{
	uint32_t at = 0;

	for (size_t i = 0; i < count; i++) {
		while (at < w.console.trail_count && w.console.trail[at] != points[i])
			at++;
		ck_assert_msg(at < w.console.trail_count, "%s is not passed, or not in its order",
			      apmp_point_info(points[i])->name);
	}
}
#define TRAIL(...)                                                                                 \
	check_trail((const enum apmp_point[]){__VA_ARGS__},                                        \
		    sizeof((const enum apmp_point[]){__VA_ARGS__}) / sizeof(enum apmp_point))

/* shows: CPU-09 */
START_TEST(first_assignment)
{
	begin();
	apmp_cpu_examine(&m, 0);
	TRAIL(APMP_P_assign_2800, APMP_P_assign_2802, APMP_P_assign_2804);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_assign_2805), 0);
	apmp_cpu_examine(&m, 7);
	TRAIL(APMP_P_assign_2804, APMP_P_assign_2800, APMP_P_assign_2802, APMP_P_assign_2805);
	apmp_store_relaxed(&w.line[7].runner, 0xbad); /* a stray store, on which ALPHA would end */
	assign(7, ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[7].runner), 0);
	TRAIL(APMP_P_assign_2805, APMP_P_assign_2807, APMP_P_assign_2809, APMP_P_assign_2811,
	      APMP_P_assign_2808, APMP_P_con_2304, APMP_P_assign_2810);
	ck_assert(user(7) == ALPHA && owner(7) == ALPHA && told(ALPHA, 7));
	check_at_rest();
}
END_TEST

START_TEST(to_one_that_is_off)
{
	begin();
	assign(7, DELTA);
	ck_assert(owner(7) == DELTA && user(7) == NOBODY);
	TRAIL(APMP_P_assign_2807, APMP_P_assign_2809);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_assign_2811), 0);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_assign_2810), 0);
	check_at_rest();
}
END_TEST

START_TEST(host_refuses_assignment)
{
	begin();
	host_error = -ENOSPC;
	assign(7, ALPHA);
	ck_assert(owner(7) == NOBODY && user(7) == NOBODY && !told(ALPHA, 7));
	check_at_rest();
}
END_TEST

/* shows: CPU-08, CPU-14 */
START_TEST(deassigned_and_assigned_again)
{
	begin();
	apmp_store_relaxed(&w.line[1].taken, 1);
	change(APMP_CALL_DEASSIGN, 1, 1, handle(ALPHA));
	TRAIL(APMP_P_deassign_2904, APMP_P_deassign_2906, APMP_P_deassign_2908,
	      APMP_P_update_commit, APMP_P_reassign_3206);
	ck_assert(owner(1) == NOBODY && user(1) == NOBODY && !available(ALPHA, 1));
	check_at_rest();
	assign(1, BETA);
	TRAIL(APMP_P_reassign_3206, APMP_P_reassign_3208, APMP_P_reassign_3210,
	      APMP_P_reassign_3212, APMP_P_reassign_3214, APMP_P_update_commit,
	      APMP_P_reassign_3216);
	ck_assert(owner(1) == BETA && user(1) == BETA && told(BETA, 1));
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_assign_2810), 0);
	check_at_rest();
}
END_TEST

/* What is still used is not taken: that ends with the user's life. */
START_TEST(taken_but_used)
{
	begin();
	change(APMP_CALL_DEASSIGN, 1, 0, APMP_ADMINISTRATOR);
	ck_assert(owner(1) == NOBODY && user(1) == ALPHA && available(ALPHA, 1));
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_deassign_2904), 0);
	check_at_rest();
}
END_TEST

/* shows: CPU-09 */
START_TEST(with_a_boot)
{
	begin();
	apmp_cpu_initialize(&m, DELTA, 5, HWRPB_PP | HWRPB_PA);
	TRAIL(APMP_P_assign_2806, APMP_P_assign_2808);
	ck_assert_uint_eq(apmp_hwrpb_flags(w.party[DELTA].hwrpb, 5), 0); /* no cpu_count yet */
	apmp_cpu_initialized(&m, ALPHA, 1);
	TRAIL(APMP_P_assign_2808, APMP_P_assign_2810);
	apmp_store_relaxed(&w.line[1].taken, 1);
	w.console.trail_count = 0;
	apmp_cpu_initialize(&m, ALPHA, 1, HWRPB_PP | HWRPB_PA);
	apmp_cpu_initialized(&m, ALPHA, 1);
	ck_assert_uint_eq(w.console.trail_count, 0);
}
END_TEST

/* ---- the end of a life ---- */

static struct apmp_cpu_bits gone;

static void end_life(uint32_t id, bool failed)
{
	down[id] = true;
	apmp_update_begin(&w.up);
	apmp_cpu_end_life(&m, id, failed, &gone);
	apmp_tree_set_flags(&w.tw, handle(id), NODE_INITIALIZED, 0);
	apmp_update_commit_quietly(&w.up);
	for (uint32_t to = 0; to < WORLD_PARTITIONS; to++)
		apmp_cpu_arrivals(&m, to);
}

static void fence(uint32_t id)
{
	apmp_tree_set_fenced(&w.tw, id, apmp_identity_incarnation(party_identity(&w.party[id])));
}

static const struct {
	uint64_t targets;
	uint32_t user; /* of CPU 1, which is alpha's */
	bool moved;
} tables[] = {
    {0, ALPHA, false},						 /* no entry: it stays */
    {TO(ALPHA), ALPHA, false},					 /* own id: it stays */
    {TO(BETA), BETA, true},					 /* */
    {TO(DELTA) | TO(GAMMA) << 8, GAMMA, true},			 /* the first is off */
    {TO(DELTA) | TO(STRANGER) << 8, NOBODY, false},		 /* nobody who could: the pool */
    {TO(DELTA) | TO(ALPHA) << 8 | TO(BETA) << 16, ALPHA, false}, /* or it stays */
    {TO(BETA) | TO(GAMMA) << 8, BETA, true},			 /* only one gets it */
    {TO(63) | TO(200) << 8 | TO(BETA) << 16, BETA, true},	 /* no such partitions */
    {UINT64_MAX, NOBODY, false},				 /* nonsense */
};

/* shows: FAIL-02, FAIL-05, CPU-11 */
START_TEST(failover)
{
	struct apmp_tree_node primary;

	begin();
	targets[ALPHA][1] = tables[_i].targets;
	targets[ALPHA][0] = TO(BETA);
	end_life(ALPHA, true);
	ck_assert_uint_eq(user(1), tables[_i].user);
	ck_assert_uint_eq(owner(1), ALPHA); /* a loan */
	ck_assert_int_eq(apmp_cpu_bits_test(&gone, 1), tables[_i].moved);
	if (tables[_i].moved) {
		ck_assert(told(tables[_i].user, 1));
		ck_assert_uint_eq(host_calls[tables[_i].user], 1);
		ck_assert_uint_eq(apmp_load_relaxed(&m.source[1]), party_identity(&w.party[ALPHA]));
	}
	primary = node(0);
	ck_assert(!(primary.flags & NODE_PRIMARY) && user(0) == ALPHA);
	ck_assert_uint_eq(apmp_hwrpb_flags(w.party[ALPHA].hwrpb, 0) & (HWRPB_PA | HWRPB_CONSOLE),
			  HWRPB_CONSOLE);
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_crash_2614), 1);
	fence(ALPHA);
	check_at_rest();
}
END_TEST

/* shows: CPU-11 */
START_TEST(halted_in_order)
{
	begin();
	targets[ALPHA][1] = TO(BETA);
	end_life(ALPHA, false);
	ck_assert(user(1) == ALPHA && !available(ALPHA, 1));
	ck_assert_uint_eq(party_passed(&w.console, APMP_P_crash_2614), 0);
	fence(ALPHA);
	check_at_rest();
}
END_TEST

/* A borrower ends: the CPU goes to its target, or home, or waits for its owner's boot.
 * shows: CPU-10, CPU-11 */
START_TEST(lent)
{
	begin();
	ck_assert_int_eq(migrate(1, ALPHA, BETA, APMP_MIGRATE_LOAN), 0);
	apmp_store_relaxed(&w.party[BETA].hwrpb->slot[1].txrdy, 0);
	if (_i == 0)
		targets[BETA][1] = TO(GAMMA);
	if (_i == 2) {
		down[ALPHA] = true;
		fence(ALPHA);
		apmp_fetch_and(&w.party[ALPHA].hwrpb->slot[0].flags, ~(uint64_t)HWRPB_PA);
	}
	if (_i == 3)
		targets[BETA][1] = TO(DELTA);
	end_life(BETA, true);
	ck_assert_uint_eq(owner(1), ALPHA);
	ck_assert_uint_eq(user(1), _i == 0 ? GAMMA : _i == 2 ? NOBODY : ALPHA);
	ck_assert_int_eq(told(ALPHA, 1), _i == 1 || _i == 3);
	ck_assert_int_eq(apmp_cpu_bits_test(&gone, 1), _i == 0);
	fence(BETA);
	check_at_rest();
}
END_TEST

/* One cpuset write for each target, whatever number of CPUs it gets. */
START_TEST(one_write_for_each_target)
{
	begin();
	assign(7, ALPHA);
	ck_assert_int_eq(migrate(3, BETA, ALPHA, 0), 0);
	memset(host_calls, 0, sizeof(host_calls));
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		targets[ALPHA][cpu] = cpu == 3 ? TO(GAMMA) : TO(BETA);
	host_error = -ENOSPC; /* they run where the partition may */
	end_life(ALPHA, true);
	ck_assert(user(1) == BETA && user(7) == BETA && user(3) == GAMMA);
	ck_assert(told(BETA, 1) && told(BETA, 7) && told(GAMMA, 3));
	ck_assert(host_calls[BETA] == 1 && host_calls[GAMMA] == 1 && host_calls[ALPHA] == 0);
	fence(ALPHA);
	check_at_rest();
}
END_TEST

/* ---- the console dies ---- */

static int do_migrate(struct party *p)
{
	(void)p;
	return migrate(1, ALPHA, BETA, 0);
}

static int do_refused(struct party *p)
{
	(void)p;
	return migrate(1, ALPHA, GAMMA, APMP_MIGRATE_LOAN) == -ENOSPC ? 0 : -EINVAL;
}

static int do_assign(struct party *p)
{
	(void)p;
	assign(7, ALPHA);
	return 0;
}

static int do_deassign(struct party *p)
{
	(void)p;
	change(APMP_CALL_DEASSIGN, 1, 1, handle(ALPHA));
	return 0;
}

static int do_failover(struct party *p)
{
	(void)p;
	end_life(ALPHA, true);
	fence(ALPHA);
	return 0;
}

/* Each with who may have the CPU that it is about in the end. */
static const struct {
	int (*run)(struct party *p);
	uint32_t cpu, before, after;
} operations[] = {{do_migrate, 1, ALPHA, BETA},
		  {do_refused, 1, ALPHA, ALPHA},
		  {do_assign, 7, NOBODY, ALPHA},
		  {do_deassign, 1, ALPHA, NOBODY},
		  {do_failover, 1, BETA, BETA}};

static void prepare(int op)
{
	begin();
	apmp_store_relaxed(&w.line[1].taken, 1);
	if (op == 1)
		host_error = -ENOSPC;
	if (op != 4)
		return;
	assign(7, ALPHA);
	ck_assert_int_eq(migrate(3, BETA, ALPHA, APMP_MIGRATE_LOAN), 0);
	apmp_store_relaxed(&w.party[ALPHA].hwrpb->slot[3].txrdy, 0);
	targets[ALPHA][1] = TO(DELTA) | TO(BETA) << 8;
	targets[ALPHA][7] = TO(DELTA);
	targets[ALPHA][0] = TO(BETA); /* its primary never goes, also at the second look */
	passed = 0;
}

/* What console/form.c and lifecycle.c do when they find this. */
static void next_console(int op)
{
	w.console.on_point = NULL;
	world_restart_console(&w);
	ck_assert_int_ge(apmp_update_repair(&w.up), 0);
	open_console();
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_cpu_settle(&m, cpu);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		apmp_cpu_arrivals(&m, id);
	if (op == 4 && apmp_tree_present(&w.tw.tree, ALPHA))
		(void)do_failover(&w.console);
}

/* shows: CPU-01, CPU-02, CPU-08, CPU-09, FAIL-05, TREE-22 */
START_TEST(dies)
{
	uint32_t cpu = operations[_i].cpu;
	uint64_t count;

	prepare(_i);
	ck_assert_int_eq(party_run(&w.console, operations[_i].run), 0);
	ck_assert_uint_eq(user(cpu), operations[_i].after);
	count = passed;
	world_fini(&w);
	ck_assert_uint_ge(count, 10);
	for (uint64_t at = 1; at <= count; at++) {
		prepare(_i);
		die_at = at;
		ck_assert_int_eq(party_run(&w.console, operations[_i].run), PARTY_DIED);
		die_at = 0;
		next_console(_i);
		check_at_rest();
		ck_assert(user(cpu) == operations[_i].before || user(cpu) == operations[_i].after);
		if (_i < 2)
			ck_assert_uint_eq(apmp_load_relaxed(recorded()), user(cpu) == BETA);
		if (user(cpu) == operations[_i].after && user(cpu) != operations[_i].before)
			ck_assert(user(cpu) == NOBODY || told(user(cpu), cpu));
		if (_i == 4) {
			ck_assert(told(BETA, 1) && owner(1) == ALPHA);
			ck_assert(user(7) == NOBODY && owner(7) == ALPHA);
			ck_assert(told(BETA, 3) && user(3) == BETA);
			ck_assert_uint_eq(user(0), ALPHA);
		}
		if (at < count)
			world_fini(&w);
	}
}
END_TEST

static void teardown(void)
{
	world_fini(&w);
}

int main(void)
{
	Suite *suite = suite_create("cpu_move");
	TCase *tc = suite_case(suite, "cpu_move");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_loop_test(tc, migrates, 0, (int)(sizeof(ways) / sizeof(ways[0])));
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, first_assignment);
	tcase_add_test(tc, to_one_that_is_off);
	tcase_add_test(tc, host_refuses_assignment);
	tcase_add_test(tc, deassigned_and_assigned_again);
	tcase_add_test(tc, taken_but_used);
	tcase_add_test(tc, with_a_boot);
	tcase_add_loop_test(tc, failover, 0, (int)(sizeof(tables) / sizeof(tables[0])));
	tcase_add_test(tc, halted_in_order);
	tcase_add_loop_test(tc, lent, 0, 4);
	tcase_add_test(tc, one_write_for_each_target);
	tcase_add_loop_test(tc, dies, 0, (int)(sizeof(operations) / sizeof(operations[0])));
	return suite_run(suite);
}
