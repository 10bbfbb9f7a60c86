/*
 * scheduler.c - who runs next, what time it is, who waits for what.
 *
 * WHAT      One participant runs at a time.  Each shared access costs virtual time.  A step looks
 *           up only at the access number `attention`: the end of the time slice, the next fault, or
 *           the access during which a deadline falls due.
 * POLICIES  random: a slice of random length, then any that wants to run.  pct: the one with the
 *           highest priority runs; at a few random accesses the running one becomes the lowest
 *           (probabilistic concurrency testing: few switches, at the worst places).
 * FAIRNESS  Who has wanted to run for FAIR_NS runs next, so that starving in the simulator is
 *           never mistaken for death; only fault.c makes participants stand still for longer.
 */
#include <errno.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

#define FAIR_NS	    (2 * SIM_MS)
#define PCT_CHANGES 2000u /* mean accesses between two changes of priority */

struct sim sim;

static bool stalled(const struct sim_participant *p)
{
	return p->in && p->in->stalled_until_ns > sim.now_ns;
}

/* Deadlines that have passed end their waits. */
static void wake_due(void)
{
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (p->state != SIM_WAITING || p->deadline_ns > sim.now_ns || stalled(p))
			continue;
		p->state = SIM_READY;
		p->timed_out = true;
		p->key = 0;
		p->ready_since_ns = sim.now_ns;
	}
}

static struct sim_participant *pick(void)
{
	struct sim_participant *ready[SIM_MAX_PARTICIPANTS], *best = NULL, *oldest = NULL;
	uint32_t count = 0;

	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (p->state != SIM_READY || stalled(p))
			continue;
		ready[count++] = p;
		if (!best || p->priority > best->priority)
			best = p;
		if (!oldest || p->ready_since_ns < oldest->ready_since_ns)
			oldest = p;
	}
	if (!count)
		return NULL;
	if (oldest->ready_since_ns + FAIR_NS < sim.now_ns)
		return oldest;
	return sim.plan.policy == SIM_POLICY_PCT ? best : ready[sim_chance(count)];
}

/* When something happens by itself. */
static uint64_t next_time(void)
{
	uint64_t next = sim.next_event_ns;

	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct sim_participant *p = &sim.participant[i];
		uint64_t at = p->state == SIM_WAITING ? p->deadline_ns : APMP_NEVER;

		if (p->state == SIM_ENDED)
			continue;
		if (p->in && p->in->stalled_until_ns > sim.now_ns &&
		    (p->state == SIM_READY || at < p->in->stalled_until_ns))
			at = p->in->stalled_until_ns;
		if (at > sim.now_ns && at < next)
			next = at;
	}
	return next;
}

/* The access number at which the running participant looks up. */
static void set_attention(void)
{
	uint64_t next = next_time(), at = sim.slice_end;

	if (sim.next_fault < at)
		at = sim.next_fault;
	if (next != APMP_NEVER && sim.accesses + (next - sim.now_ns) / sim.plan.cost_ns + 1 < at)
		at = sim.accesses + (next - sim.now_ns) / sim.plan.cost_ns + 1;
	sim.attention = at;
}

static void begin_slice(void)
{
	uint64_t mean = sim.plan.policy == SIM_POLICY_PCT ? PCT_CHANGES : sim.plan.slice;

	sim.slice_end = sim.accesses + 1 + sim_chance(2 * mean);
}

/* Participants that others have ended get out of their stacks. */
static void reap(void)
{
	sim.reap = false;
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (p->state == SIM_ENDED && p->co.live)
			coroutine_end(&p->co);
	}
}

void sim_schedule(void)
{
	while (!sim.over) {
		struct sim_participant *p;

		if (sim.reap)
			reap();
		if (sim.now_ns >= sim.next_event_ns)
			sim_scenario_event();
		wake_due();
		p = pick();
		if (!p) {
			uint64_t next = next_time();

			apmp_assert(next != APMP_NEVER); /* scenario.c always has an event */
			sim.now_ns = next > sim.now_ns ? next : sim.now_ns;
			continue;
		}
		sim.switches++;
		begin_slice();
		set_attention();
		if (p->linger)
			sim_look_up_soon(); /* its accesses are counted */
		sim.current = p;
		coroutine_resume(&p->co);
		sim.current = NULL;
	}
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		sim.participant[i].state = SIM_ENDED;
	reap();
}

void sim_look_up_soon(void)
{
	sim.attention = 0;
}

/* The running one lets others go first. */
static void yield(void)
{
	struct sim_participant *self = sim.current;

	self->ready_since_ns = sim.now_ns;
	if (sim.plan.policy == SIM_POLICY_PCT && sim.accesses >= sim.slice_end)
		self->priority = sim_chance(1u << 20); /* below all that begin */
	coroutine_yield();
}

void sim_step_slow(void)
{
	struct sim_participant *self = sim.current;

	if (sim.over)
		coroutine_leave();
	if (sim.accesses >= sim.next_fault)
		sim_fault_due();
	if (self->linger && --self->linger == 0)
		sim_participant_end(self);
	yield();
}

int sim_wait(uint64_t key, uint64_t deadline_ns)
{
	struct sim_participant *self = sim.current;

	sim_stores_drain(self);
	if (self->linger)
		sim_participant_end(self); /* the kill comes at the latest with the system call */
	self->state = SIM_WAITING;
	self->key = key;
	self->deadline_ns = deadline_ns;
	self->timed_out = false;
	coroutine_yield();
	return self->timed_out ? -ETIMEDOUT : 0;
}

void sim_wake(uint64_t key, uint32_t count)
{
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS && count; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (p->state != SIM_WAITING || p->key != key)
			continue;
		p->state = SIM_READY;
		p->key = 0;
		p->ready_since_ns = sim.now_ns;
		count--;
		sim_look_up_soon();
	}
}

void sim_participant_begin(struct sim_participant *p, void (*body)(void *arg), void *arg)
{
	apmp_assert(p->state == SIM_ENDED);
	coroutine_begin(&p->co, body, arg);
	p->state = SIM_READY;
	p->ready_since_ns = sim.now_ns;
	p->priority = (1u << 20) + sim_chance(1u << 20);
	p->linger = 0;
	p->last_point = APMP_P_NONE;
	p->store_count = 0;
	p->in_operation = false;
}

void sim_participant_end(struct sim_participant *p)
{
	sim_stores_drain(p);
	if (p->state == SIM_ENDED)
		return;
	p->state = SIM_ENDED;
	if (p == sim.current)
		coroutine_leave();
	sim.reap = true;
}
