/*
 * scenario.c - one run: power on, faults, quiet, and what must hold then.
 *
 * STATES    chaos (faults, boots, leaving) -> settling (no more faults; survivors must repair by
 *           themselves, nobody is booted) -> refill (everybody is booted again, until for some
 *           ticks all is as it must be) -> over.  Each has a bound in virtual time; an access costs
 *           time, so it is a bound on accesses too.
 */
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "chaos/sim/sim_update.h"
#include "shm/intr.h"

#define STILL_TICKS   6u
#define QUIET_COST_NS 100u /* at most, of an access when no faults come any more */

enum { PHASE_CHAOS, PHASE_SETTLING, PHASE_REFILL };

void sim_plan_random(struct sim_plan *plan, uint64_t seed)
{
	static const uint64_t costs[] = {50, 200, 500, 1000, 2000}, slices[] = {2, 10, 50, 500};
	struct sim_random r = {sim_mix(seed ^ 0x706c616e)};

	*plan = (struct sim_plan){
	    .seed = seed,
	    .instances = (uint32_t)sim_random_range(&r, 2, SIM_MAX_INSTANCES),
	    .kill_rate = 2.0,
	    .policy = sim_random_once_in(&r, 3) ? SIM_POLICY_PCT : SIM_POLICY_RANDOM,
	    .depth = (uint32_t)sim_random_range(&r, 2, 4),
	    .locks = !sim_random_once_in(&r, 3),
	    .spoils = sim_random_once_in(&r, 4),
	    .slice = slices[sim_random_below(&r, 4)],
	    .cost_ns = costs[sim_random_below(&r, 5)],
	    .weak = sim_random_once_in(&r, 3),
	    .garbage = sim_random_once_in(&r, 2),
	    .lossy = sim_random_once_in(&r, 4),
	    .leaves = !sim_random_once_in(&r, 3),
	    .reboots = !sim_random_once_in(&r, 4),
	    .timing = {.tick_ns = 2 * SIM_MS, .suspect = 3},
	    .chaos_ns = sim_random_range(&r, 20, 200) * SIM_MS,
	};
	plan->timing.stop_ns = sim_random_range(&r, 8, 20) * plan->timing.tick_ns;
	if (!sim_random_once_in(&r, 4))
		plan->cpus = (uint32_t)sim_random_range(&r, 1, SIM_CPUS);
}

/* --- the operator --- */

static void ask_boot(struct sim_instance *in)
{
	in->boot_at_ns = APMP_NEVER;
	in->boot_wanted = true;
	sim_wake(SIM_CONSOLE_KEY, 1);
}

static void ask_leave(struct sim_instance *in)
{
	if (in->life != SIM_ALIVE || in->start || !in->member->joined)
		return;
	in->leave_wanted = true;
	apmp_intr_send(&sim.console_env, in->id, APMP_INTR_REQUEST);
}

/* Of four, one is no member yet and comes to the lock while the operation is under way. */
static bool newcomer(uint32_t id)
{
	return sim.plan.instances == 4 && id == 3 && sim.plan.op != SIM_OP_TICK &&
	       !sim_is_preemption(sim.plan.op);
}

/* When each partition is powered on. */
static uint64_t first_boot(uint32_t id)
{
	switch (sim.plan.op) {
	case SIM_OP_NONE:
		return sim_chance(20 * SIM_MS);
	case SIM_OP_CREATE:
		return id ? 2 * SIM_MS : 0;
	case SIM_OP_JOIN: /* of four, one more waits behind who joins */
		return id == sim.plan.instances - 1 || id == 2 ? 15 * SIM_MS : sim_chance(SIM_MS);
	case SIM_OP_JOIN_JOIN:
		return id ? 15 * SIM_MS : 0;
	case SIM_OP_JOIN_DEATH:
		return id == sim.plan.instances - 1 ? 15 * SIM_MS : 0;
	default:
		return newcomer(id) ? SIM_SCRIPT_NS - SIM_MS / 2 : sim_chance(SIM_MS);
	}
}

static void ask_first(uint32_t op, uint64_t to, uint64_t flags)
{
	sim.cpu[0].ask = (struct sim_ask){.op = op, .to = to, .flags = flags};
	sim_wake(SIM_CONSOLE_KEY, 1);
}

/* The CPU of an operation that moves it is to go; where HALT comes with it, sometimes nowhere. */
static void begin_move(void)
{
	uint64_t loan = sim.plan.seed & 1 ? APMP_MIGRATE_LOAN : 0;
	bool all = sim.plan.op == SIM_OP_FAILOVER || sim.plan.op == SIM_OP_CRASH;

	sim.moving = all ? (1u << sim.plan.cpus) - 1 : 1;
	if (sim.plan.op == SIM_OP_FAILOVER)
		sim_kill(&sim.instance[SIM_MOVE_FROM], true);
	else if (sim.plan.op == SIM_OP_CRASH)
		ask_first(SIM_ASK_CRASH, 0, 0);
	else if (sim.plan.op == SIM_OP_DEASSIGN)
		ask_first(HWRPB_REQUEST_DEASSIGN, 0, 0);
	else if (sim.plan.op == SIM_OP_HALT)
		ask_first(HWRPB_REQUEST_MIGRATE,
			  sim.plan.seed & 2 ? sim.plan.instances : SIM_MOVE_TO,
			  loan | APMP_MIGRATE_HALT);
	else
		ask_first(HWRPB_REQUEST_MIGRATE, SIM_MOVE_TO, loan);
}

/* What comes before, and between. */
static void prepare_move(void)
{
	bool stop =
	    sim.plan.op == SIM_OP_RX || (sim.plan.op == SIM_OP_CRASH && !(sim.plan.seed & 1));

	if (stop && !sim.prepared && sim.now_ns >= SIM_SCRIPT_NS - 2 * SIM_MS) {
		sim.prepared = true;
		ask_first(HWRPB_REQUEST_STOP, 0, 0);
	}
	if (sim.plan.op == SIM_OP_DEASSIGN && sim.moving && !sim.quiet && !sim.cpu[0].ask.op &&
	    sim_cpu_is_unowned(0)) /* whoever wants it gets it */
		ask_first(HWRPB_REQUEST_MIGRATE, SIM_MOVE_TO, 0);
}

/* The one thing that makes the operation happen. */
static void script(void)
{
	uint32_t last = sim.plan.instances - 1;

	sim.scripted = true;
	if (sim_is_move(sim.plan.op))
		begin_move();
	if (sim.plan.op == SIM_OP_LEAVE)
		ask_leave(&sim.instance[1]);
	if (sim.plan.op == SIM_OP_RECOVER)
		sim_kill(&sim.instance[newcomer(last) ? last - 1 : last], true);
	if (sim.plan.op == SIM_OP_FENCE && sim.plan.seed & 1)
		sim_kill(&sim.instance[newcomer(last) ? last - 1 : last], false);
	else if (sim.plan.op == SIM_OP_FENCE)
		sim_stall(&sim.instance[1], sim.now_ns + 3 * sim.plan.timing.stop_ns);
	if (sim.plan.op == SIM_OP_LEAVE_SUSPICION) {
		sim_stall(&sim.instance[1], sim.now_ns + 3 * sim.plan.timing.stop_ns);
		ask_leave(&sim.instance[1]);
	}
}

void sim_script_operation(enum sim_operation op, struct sim_instance *in)
{
	struct sim_instance *victim = &sim.instance[1];

	if (sim.plan.op != SIM_OP_JOIN_DEATH || op != SIM_OP_JOIN || sim.scripted ||
	    in->id != sim.plan.instances - 1)
		return;
	/* A member dies when another begins to join; the box sees it while he is at it. */
	sim.scripted = true;
	sim_kill(victim, true);
	victim->notice_at_ns = sim.now_ns + sim_chance(1000 * sim.plan.cost_ns);
	sim.next_event_ns = sim.now_ns;
	sim_look_up_soon();
}

/* Who holds a lock dies, others want it. */
void sim_script_acquired(struct sim_instance *in)
{
	if (sim.plan.op != SIM_OP_LOCK_DEATH || sim.scripted || sim.now_ns < SIM_SCRIPT_NS)
		return;
	sim.scripted = true;
	sim_kill(in, true);
}

bool sim_locks_rest(const struct sim_instance *in)
{
	return sim.phase == PHASE_SETTLING ||
	       (sim.phase == PHASE_REFILL && in->took == (1u << SIM_NAMED_COUNT) - 1);
}

void sim_script_judged(void)
{
	sim.judged = true;
	/* He wakes when it is too late, and leaves. */
	if (sim.plan.op == SIM_OP_LEAVE_SUSPICION && sim.instance[1].life == SIM_ALIVE)
		sim_stall(&sim.instance[1], sim.now_ns);
}

static void random_leave(void)
{
	struct sim_instance *in = &sim.instance[sim_chance(sim.plan.instances)];

	sim.next_leave_ns = sim.now_ns + sim_chance(30 * SIM_MS);
	ask_leave(in);
	if (in->leave_wanted && sim.plan.reboots)
		in->boot_at_ns = sim.now_ns + sim_random_range(&sim.random, SIM_MS, 60 * SIM_MS);
}

/* The operator wants a CPU elsewhere, or anything else that can be wanted of it. */
static void random_ask(void)
{
	static const enum hwrpb_request_op ops[] = {HWRPB_REQUEST_MIGRATE, HWRPB_REQUEST_MIGRATE,
						    HWRPB_REQUEST_MIGRATE, HWRPB_REQUEST_START,
						    HWRPB_REQUEST_STOP,	   HWRPB_REQUEST_DEASSIGN};
	struct sim_ask *ask = &sim.cpu[sim_chance(sim.plan.cpus)].ask;

	sim.next_ask_ns = sim.now_ns + 1 + sim_chance(SIM_MS);
	*ask = (struct sim_ask){.op = ops[sim_chance(sizeof(ops) / sizeof(ops[0]))],
				.to = sim_chance(sim.plan.instances + 1),
				.flags = (sim_chance(2) ? APMP_MIGRATE_LOAN : 0) |
					 (sim_chance(2) ? APMP_MIGRATE_HALT : 0)};
	sim_wake(SIM_CONSOLE_KEY, 1);
}

/* --- phases --- */

static void enter_phase(int next, uint64_t length_ns)
{
	sim.phase = next;
	sim.phase_end_ns = sim.now_ns + length_ns;
}

/* Long enough for a chain of deaths, each found only after `stop`, and a few callbacks.  With one
 * who is expected in a set that was re-formed there is more patience (shm/member_tick.c). */
static uint64_t settle_bound(void)
{
	uint64_t bound = 4 * (uint64_t)sim.plan.instances * sim.plan.timing.stop_ns + 400 * SIM_MS;

	return sim.spoils ? 4 * bound : bound;
}

static void begin_quiet(void)
{
	sim.quiet = true;
	/* A host that is too slow for the ticks of all is a fault too: who is always late counts
	 * nobody's silence, and waits for ever. */
	if (sim.plan.cost_ns > QUIET_COST_NS)
		sim.plan.cost_ns = QUIET_COST_NS;
	sim_fault_plan_next();
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		sim.instance[id].boot_at_ns = APMP_NEVER;
	sim_say("no more faults");
	sim.still_since_ns = sim.now_ns;
	enter_phase(PHASE_SETTLING, settle_bound());
}

static void refill(void)
{
	sim_say("survivors have settled; everybody is booted again");
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		sim.instance[id].took = 0;
		if (sim.instance[id].life != SIM_ALIVE)
			ask_boot(&sim.instance[id]);
	}
	sim.still_since_ns = sim.now_ns;
	enter_phase(PHASE_REFILL, settle_bound());
}

static void look_for_quiet(void)
{
	const char *why = sim_unsettled();

	if (why)
		sim.still_since_ns = sim.now_ns;
	if (sim.phase == PHASE_SETTLING && !why) {
		refill();
	} else if (sim.now_ns - sim.still_since_ns > STILL_TICKS * sim.plan.timing.tick_ns) {
		sim_check_end();
		sim.over = true;
	} else if (why && sim.now_ns >= sim.phase_end_ns) {
		sim_finding("after %.0f ms without a fault %s%s", (double)settle_bound() / SIM_MS,
			    why, sim.phase == PHASE_REFILL ? " (everybody was booted again)" : "");
		sim.over = true;
	}
}

/* One look at whether the phase is over. */
static void look(void)
{
	if (sim.phase != PHASE_CHAOS)
		look_for_quiet();
	else if (sim.now_ns >= sim.phase_end_ns)
		begin_quiet();
}

static void instance_events(struct sim_instance *in, uint64_t *next)
{
	if (in->start)
		sim_instance_begin(in);
	if (in->notice_at_ns <= sim.now_ns) {
		in->notice_at_ns = APMP_NEVER;
		in->exit_noticed = in->ended;
		sim_wake(SIM_CONSOLE_KEY, 1);
	}
	if (in->boot_at_ns <= sim.now_ns && in->life != SIM_ALIVE)
		ask_boot(in);
	if (in->notice_at_ns < *next)
		*next = in->notice_at_ns;
	if (in->boot_at_ns > sim.now_ns && in->boot_at_ns < *next)
		*next = in->boot_at_ns;
}

void sim_scenario_event(void)
{
	uint64_t next = sim.now_ns + sim.plan.timing.tick_ns / 2;

	if (sim.plan.op == SIM_OP_UPDATE) {
		update_event();
		return;
	}

	if (sim.console_back_ns <= sim.now_ns) {
		sim.console_back_ns = APMP_NEVER;
		sim_console_begin();
	}
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		instance_events(&sim.instance[id], &next);
	if (!sim.quiet && sim.plan.leaves && sim.now_ns >= sim.next_leave_ns)
		random_leave();
	if (!sim.quiet && !sim.plan.op && sim.plan.cpus && sim.now_ns >= sim.next_ask_ns)
		random_ask();
	if (sim_is_move(sim.plan.op))
		prepare_move();
	if (sim.plan.op && sim.plan.op != SIM_OP_JOIN_DEATH && sim.plan.op != SIM_OP_LOCK_DEATH &&
	    !sim.scripted && sim.now_ns >= SIM_SCRIPT_NS)
		script();
	look();
	if (!sim.quiet && !sim.plan.op && sim.plan.cpus && sim.next_ask_ns < next)
		next = sim.next_ask_ns;
	sim.next_event_ns = next < sim.console_back_ns ? next : sim.console_back_ns;
}

/* --- a run --- */

/* All anew but the stacks of the participants. */
void sim_begin(const struct sim_plan *plan)
{
	struct coroutine stacks[SIM_MAX_PARTICIPANTS];

	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		stacks[i] = sim.participant[i].co;
	memset(&sim, 0, sizeof(sim));
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		sim.participant[i].co = stacks[i];
		sim.participant[i].idx = i;
		sim.participant[i].state = SIM_ENDED;
		sim.participant[i].thread = i % SIM_THREADS;
		sim.participant[i].in = i == SIM_CONSOLE ? NULL : &sim.instance[i / SIM_THREADS];
		sim.due_ns[i] = APMP_NEVER;
	}
	sim.plan = *plan;
	sim.random.state = sim_mix(plan->seed);
	sim.now_ns = SIM_MS; /* 0 means "never" to some */
	sim.next_due_ns = APMP_NEVER;
	sim.pause_at = APMP_NEVER;
	sim.console_back_ns = APMP_NEVER;
	sim.scripted = false;
	sim.next_leave_ns = 10 * SIM_MS;
	enter_phase(PHASE_CHAOS, plan->chaos_ns);
	for (uint32_t id = 0; id < plan->instances; id++) {
		sim.instance[id].id = id;
		sim.instance[id].notice_at_ns = APMP_NEVER;
		sim.instance[id].boot_at_ns = sim.now_ns + first_boot(id);
	}
}

void sim_start(const struct sim_plan *plan)
{
	sim_begin(plan);
	sim_arena_reset(plan->garbage);
	sim_console_power_on();
	sim_fault_plan_next();
	sim_console_begin();
}

void sim_finish(void)
{
	totals.runs++;
	totals.kills += sim.kills;
	totals.crashes += sim.crashes;
	totals.stalls += sim.stalls;
	totals.spoils += sim.spoils;
	totals.console_kills += sim.console_kills;
	totals.moved += sim.moved;
	totals.hash += sim_mix(sim.hash); /* in any order */
	if (sim.findings)
		totals.failed++;
	sim_say("seed %llu: %llu accesses, %llu switches, %llu kills, hash %016llx",
		(unsigned long long)sim.plan.seed, (unsigned long long)sim.accesses,
		(unsigned long long)sim.switches, (unsigned long long)sim.kills,
		(unsigned long long)sim.hash);
}

void sim_run(const struct sim_plan *plan)
{
	sim_start(plan);
	sim_schedule();
	sim_finish();
}
