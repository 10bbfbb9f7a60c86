/*
 * fault.c - who dies or stands still, and where.
 *
 * KINDS     An instance dies at an access, seen by the box or by nobody; it fails there, and says
 *           so, as one that crashes (play_crash.c); it stands still for less
 *           or more than `stop` (as under SIGSTOP); the whole host pauses; the console dies and is
 *           started again.  A death is instead of the access: what was stored before is there.
 *           Half of the deaths wait in ambush until somebody takes the database lock, since that is
 *           where they hurt, and few accesses are made with the lock held.
 *           A process has two threads, and where one is killed the other may still make a few
 *           accesses, until it is killed too or the console fences.
 */
#include <stdlib.h>

#include "chaos/sim/sim_cpu.h"

#define LINGER_MAX 40u
#define AMBUSH_MAX 400u /* accesses that create, join, leave or recover make with the lock held */

void sim_fault_plan_next(void)
{
	sim.next_fault = APMP_NEVER;
	for (uint32_t i = 0; i < SIM_CHOSEN_MAX; i++)
		if (sim.plan.chosen[i].access > sim.accesses - !!sim.paused &&
		    sim.plan.chosen[i].access < sim.next_fault)
			sim.next_fault = sim.plan.chosen[i].access;
	if (sim.next_fault != APMP_NEVER)
		return;
	if (!sim.quiet && sim.plan.kill_rate > 0)
		sim.next_fault =
		    sim.accesses + 1 +
		    sim_chance((uint64_t)(2 * SIM_RATE_ACCESSES / sim.plan.kill_rate) + 1);
}

void sim_fault_lock_taken(void)
{
	if (!sim.ambush)
		return;
	sim.ambush = false;
	sim.next_fault = sim.accesses + 1 + sim_chance(sim_chance(AMBUSH_MAX) + 1);
	sim.ambushed = sim.current;
	sim_look_up_soon();
}

static void begin_notice(struct sim_instance *in, bool noticed)
{
	in->life = SIM_DEAD;
	in->ended = in->identity;
	in->notice_at_ns = noticed ? sim.now_ns + sim_chance(2 * SIM_MS) : APMP_NEVER;
	if (sim.plan.reboots && !sim.quiet)
		in->boot_at_ns =
		    sim.now_ns + sim_random_range(&sim.random, 2 * SIM_MS, 80 * SIM_MS);
	if (in->notice_at_ns < sim.next_event_ns)
		sim.next_event_ns = in->notice_at_ns;
}

void sim_instance_stop(struct sim_instance *in)
{
	in->life = SIM_DEAD;
	for (enum sim_thread t = SIM_PRIMARY; t < SIM_THREADS; t++)
		sim_participant_end(sim_thread_of(in, t));
}

void sim_exit(struct sim_instance *in)
{
	begin_notice(in, true);
	for (enum sim_thread t = SIM_PRIMARY; t < SIM_THREADS; t++)
		if (t != sim.current->thread)
			sim_participant_end(sim_thread_of(in, t));
	sim_participant_end(sim.current);
	abort(); /* a participant that ended does not come back */
}

/* A thread that is not where the kill came from. */
static void kill_other(struct sim_instance *in, struct sim_participant *p)
{
	if (p->state != SIM_READY || sim_chance(2)) {
		sim_participant_end(p);
		return;
	}
	in->life = SIM_DYING;
	p->linger = 1 + sim_chance(LINGER_MAX);
}

void sim_kill(struct sim_instance *in, bool noticed)
{
	struct sim_participant *self = sim.current;
	bool own = self && self->in == in;
	enum apmp_point last = (own ? self : sim_thread_of(in, SIM_PRIMARY))->last_point;

	sim.kills++;
	totals.kills_after[last]++;
	sim_say("fault: %s dies after %s%s", in->member->name,
		last ? apmp_point_info(last)->name : "no point", noticed ? "" : ", silently");
	begin_notice(in, noticed);
	for (enum sim_thread t = SIM_PRIMARY; t < SIM_THREADS; t++)
		if (sim_thread_of(in, t) != self)
			kill_other(in, sim_thread_of(in, t));
	if (own)
		sim_participant_end(self);
}

static void stall(struct sim_instance *in)
{
	uint64_t stop = sim.plan.timing.stop_ns;

	sim_stall(in, sim.now_ns + sim_random_range(&sim.random, stop / 4, 3 * stop));
	sim.stalls++;
	sim_say("fault: %s stands still for %.1f ms", in->member->name,
		(double)(in->stalled_until_ns - sim.now_ns) / SIM_MS);
}

/* The current participant's own code fails. */
static void crash(struct sim_instance *in)
{
	sim.crashes++;
	sim_say("fault: %s fails", in->member->name);
	sim_crash(in);
}

static void kill_console(void)
{
	sim.console_kills++;
	sim.console_back_ns = sim.now_ns + sim_chance(sim_chance(4) ? 5 * SIM_MS : 80 * SIM_MS);
	sim_say("fault: the console dies");
	if (sim.console_back_ns < sim.next_event_ns)
		sim.next_event_ns = sim.console_back_ns;
	sim_participant_end(&sim.participant[SIM_CONSOLE]);
}

/* What exhaust.c wants to happen at this very access. */
static void make_chosen(enum sim_choice what, uint32_t target)
{
	struct sim_instance *in = sim.current->in;
	uint64_t others = sim.ready & ~(UINT64_C(1) << sim.current->idx);

	if (what == SIM_PREEMPTION) {
		for (; target && others; target--)
			others &= others - 1;
		if (others)
			sim.target = &sim.participant[__builtin_ctzll(others)];
		sim.chosen_done += others != 0;
	} else if (target == 1 || (!target && !in)) {
		sim.chosen_done++;
		kill_console();
	} else {
		in = target ? &sim.instance[target - 2] : in;
		sim.chosen_done += in->life == SIM_ALIVE;
		if (in->life == SIM_ALIVE)
			sim_kill(in, what == SIM_DEATH);
	}
}

static void scribble(uint64_t pa, uint64_t size)
{
	uint64_t *word = (void *)(sim_physical + pa);

	for (uint64_t w = 0; w < size / sizeof(*word); w++)
		word[w] = sim_random_next(&sim.random);
	sim_written[pa / APMP_PAGE_SIZE] = true;
}

void sim_spoil(void)
{
	const uint64_t header_size = sizeof(struct apmp_db_header);
	const uint64_t node_size = sizeof(struct apmp_db_node);
	uint64_t base = (uint64_t)((unsigned char *)(void *)sim_db() - sim_physical), off;

	sim.spoils++;
	sim.range[(base - SIM_SHARED_PA) / APMP_GRANULE].spoilt = true;
	for (uint32_t n = 0; n < SIM_NAMED_COUNT; n++)
		sim.named[n] = (struct sim_named){.broken = SIM_NOT_KNOWN};
	switch (sim_chance(4)) {
	case 0:
		off = sim_chance(header_size / 8) * 8;
		scribble(base + off, 8);
		break;
	case 1:
		off = header_size + sim_chance(sim.plan.instances) * node_size;
		scribble(base + off, node_size);
		break;
	default:
		off = sim_chance(APMP_DB_INITIAL_PAGES + 4) * APMP_PAGE_SIZE;
		scribble(base + off, APMP_PAGE_SIZE);
	}
	sim_say("fault: somebody writes over the database at +%#llx", (unsigned long long)off);
}

void sim_fault_due(void)
{
	struct sim_instance *in = sim.current->in;
	uint32_t chosen = 0;

	while (chosen < SIM_CHOSEN_MAX && sim.plan.chosen[chosen].access != sim.accesses)
		chosen++;
	if (chosen == SIM_CHOSEN_MAX && sim.current->linger)
		return;
	sim_fault_plan_next();
	if (chosen < SIM_CHOSEN_MAX) {
		make_chosen(sim.plan.chosen[chosen].what, sim.plan.chosen[chosen].target);
		return;
	}
	if (sim.quiet)
		return;
	if (sim.ambushed) { /* whoever it is that runs now, it is meant for who has the lock */
		in = sim.ambushed->in;
		sim.ambushed = NULL;
	} else if (in && sim_chance(2)) {
		sim.ambush = true;
		return;
	}
	if (!in) {
		if (sim_chance(2))
			kill_console();
		return;
	}
	if (in->life != SIM_ALIVE)
		return;
	if (in->may_crash && in == sim.current->in && !sim.current->fails && !sim_chance(4))
		crash(in);
	switch (sim_chance(8)) {
	case 0:
		stall(in);
		break;
	case 2:
		if (sim.plan.spoils)
			sim_spoil();
		break;
	case 1:
		sim.now_ns += sim_random_range(&sim.random, SIM_MS, 500 * SIM_MS);
		sim_say("fault: the host pauses");
		break;
	default:
		sim_kill(in, sim_chance(2));
	}
}

void sim_fault_at_point(enum apmp_point point)
{
	struct sim_instance *in = sim.current ? sim.current->in : NULL;

	if (!sim.plan.at || point != sim.plan.at || ++sim.at_passed != sim.plan.at_nth)
		return;
	if (in && in->life == SIM_ALIVE)
		sim_kill(in, sim.plan.seed & 1);
	else if (sim.current && !in)
		kill_console();
}
