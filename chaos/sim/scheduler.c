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

/* Keeps what pick and wake_due look at in step with a participant's state. */
static void file(struct sim_participant *p)
{
	uint64_t still = p->in && p->in->stalled_until_ns > sim.now_ns ? p->in->stalled_until_ns : 0;
	uint64_t due = APMP_NEVER, bit = UINT64_C(1) << p->idx;

	sim.ready &= ~bit;
	if (p->state == SIM_WAITING)
		due = p->deadline_ns > still ? p->deadline_ns : still;
	else if (p->state == SIM_READY && still)
		due = still;
	else if (p->state == SIM_READY)
		sim.ready |= bit;
	sim.due_ns[p->idx] = due;
	if (due < sim.next_due_ns)
		sim.next_due_ns = due;
}

static void make_ready(struct sim_participant *p, bool timed_out)
{
	p->state = SIM_READY;
	p->timed_out = timed_out;
	p->key = 0;
	p->ready_since_ns = sim.now_ns;
	file(p);
}

void sim_stall(struct sim_instance *in, uint64_t until_ns)
{
	in->stalled_until_ns = until_ns;
	for (enum sim_thread t = SIM_PRIMARY; t < SIM_THREADS; t++)
		file(sim_thread_of(in, t));
}

/* Deadlines that have passed end their waits; who stood still goes on. */
static void wake_due(void)
{
	if (sim.now_ns < sim.next_due_ns)
		return;
	sim.next_due_ns = APMP_NEVER;
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (sim.due_ns[i] > sim.now_ns) {
			if (sim.due_ns[i] < sim.next_due_ns)
				sim.next_due_ns = sim.due_ns[i];
			continue;
		}
		if (p->state == SIM_WAITING)
			make_ready(p, true);
		else
			file(p);
	}
}

static struct sim_participant *pick(void)
{
	struct sim_participant *best = NULL, *oldest = NULL;
	uint64_t nth = 0;

	if (!sim.ready)
		return NULL;
	for (uint64_t left = sim.ready; left; left &= left - 1) {
		struct sim_participant *p = &sim.participant[__builtin_ctzll(left)];

		if (!best || p->priority > best->priority)
			best = p;
		if (!oldest || p->ready_since_ns < oldest->ready_since_ns)
			oldest = p;
	}
	if (oldest->ready_since_ns + FAIR_NS < sim.now_ns)
		return oldest;
	if (sim.plan.policy == SIM_POLICY_PCT)
		return best;
	nth = sim_chance((uint64_t)__builtin_popcountll(sim.ready));
	for (uint64_t left = sim.ready;; left &= left - 1)
		if (nth-- == 0)
			return &sim.participant[__builtin_ctzll(left)];
}

/* When something happens by itself. */
static uint64_t next_time(void)
{
	return sim.next_due_ns < sim.next_event_ns ? sim.next_due_ns : sim.next_event_ns;
}

/* The access number at which the running participant looks up. */
static void set_attention(void)
{
	uint64_t at = sim.slice_end, ahead = next_time() - sim.now_ns;

	if (sim.next_fault < at)
		at = sim.next_fault;
	/* Else there is no need to divide. */
	if (ahead < (at - sim.accesses) * sim.plan.cost_ns)
		at = sim.accesses + ahead / sim.plan.cost_ns + 1;
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
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		sim.participant[i].state = SIM_ENDED;
		file(&sim.participant[i]);
	}
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
	file(self);
	coroutine_yield();
	return self->timed_out ? -ETIMEDOUT : 0;
}

void sim_wake(uint64_t key, uint32_t count)
{
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS && count; i++) {
		struct sim_participant *p = &sim.participant[i];

		if (p->state != SIM_WAITING || p->key != key)
			continue;
		make_ready(p, false);
		count--;
		sim_look_up_soon();
	}
}

void sim_participant_begin(struct sim_participant *p, void (*body)(void *arg), void *arg)
{
	apmp_assert(p->state == SIM_ENDED);
	coroutine_begin(&p->co, body, arg);
	make_ready(p, false);
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
	file(p);
	if (p == sim.current)
		coroutine_leave();
	sim.reap = true;
}
