/*
 * scheduler.c - who runs next, what time it is, who waits for what.
 *
 * WHAT      One participant runs at a time.  Each shared access costs virtual time.  A step looks
 *           up only at the access number `attention`: the end of the time slice, the next fault, or
 *           the access during which a deadline falls due.
 * POLICIES  random: a slice of random length, then any that wants to run.  pct: the one with the
 *           highest priority runs; at depth - 1 accesses, chosen evenly from all of the run, the
 *           running one becomes the lowest (probabilistic concurrency testing: a bug that needs
 *           depth ordered events of n threads among k accesses falls with a probability of at
 *           least 1 / (n k^(depth - 1)), as far as time decides nothing).  serial: who runs goes on
 *           until it waits, then who has waited longest; switches elsewhere are chosen one by one.
 * PAUSE     At the access pause_at all stand still and sim_schedule returns, for sim_image.c; the
 *           next call goes on as if nothing had been.
 * FAIRNESS  Who has wanted to run for FAIR_NS runs next, so that starving in the simulator is
 *           never mistaken for death; only fault.c makes participants stand still for longer.
 */
#include <errno.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"

#define FAIR_NS (2 * SIM_MS)
#define FAR	(UINT64_C(1) << 32) /* accesses: never, and no overflow when it costs time */

struct sim sim;

/* Keeps what pick and wake_due look at in step with a participant's state. */
static void file(struct sim_participant *p)
{
	uint64_t still =
	    p->in && p->in->stalled_until_ns > sim.now_ns ? p->in->stalled_until_ns : 0;
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

static bool is_ready(const struct sim_participant *p)
{
	return p && sim.ready >> p->idx & 1;
}

static struct sim_participant *pick_serial(struct sim_participant *oldest)
{
	struct sim_participant *next = is_ready(sim.last) ? sim.last : oldest;

	if (is_ready(sim.target))
		next = sim.target;
	sim.target = NULL;
	sim.last = next;
	return next;
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
	if (sim.plan.policy == SIM_POLICY_SERIAL)
		return pick_serial(oldest);
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
	uint64_t at = sim.soon ? 0 : sim.slice_end, time = next_time();

	if (sim.next_fault < at)
		at = sim.next_fault;
	if (time < sim.now_ns) /* a pause came at that very access */
		at = 0;
	else if (at > sim.accesses && time - sim.now_ns < (at - sim.accesses) * sim.plan.cost_ns)
		at = sim.accesses + (time - sim.now_ns) / sim.plan.cost_ns + 1;
	sim.attention = at < sim.pause_at ? at : sim.pause_at;
}

static void begin_slice(void)
{
	sim.soon = false;
	sim.slice_end = sim.accesses + FAR;
	if (sim.plan.policy == SIM_POLICY_RANDOM)
		sim.slice_end = sim.accesses + 1 + sim_chance(2 * sim.plan.slice);
	if (sim.plan.policy == SIM_POLICY_PCT)
		for (uint32_t i = 0; i + 1 < sim.plan.depth; i++)
			if (sim.plan.change[i] > sim.accesses && sim.plan.change[i] < sim.slice_end)
				sim.slice_end = sim.plan.change[i];
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

/* Who runs next; NULL: time goes on instead. */
static struct sim_participant *next(void)
{
	struct sim_participant *p;

	if (sim.reap)
		reap();
	if (sim.now_ns >= sim.next_event_ns)
		sim_scenario_event();
	if (sim.over)
		return NULL;
	wake_due();
	p = pick();
	if (p) {
		sim.switches++;
		begin_slice();
		sim.soon = p->linger != 0; /* its accesses are counted */
	} else {
		uint64_t time = next_time();

		apmp_assert(time != APMP_NEVER); /* scenario.c always has an event */
		sim.now_ns = time > sim.now_ns ? time : sim.now_ns;
	}
	return p;
}

static void end_all(void)
{
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		sim.participant[i].state = SIM_ENDED;
		file(&sim.participant[i]);
	}
	reap();
}

void sim_schedule(void)
{
	uint64_t accesses = sim.accesses, switches = sim.switches, now_ns = sim.now_ns;

	do {
		struct sim_participant *p = sim.paused ? sim.paused : next();

		sim.paused = NULL;
		if (!p)
			continue;
		set_attention();
		sim.current = p;
		coroutine_resume(&p->co);
		sim.current = NULL;
	} while (!sim.over && !sim.paused);
	if (sim.over)
		end_all();
	totals.accesses += sim.accesses - accesses;
	totals.switches += sim.switches - switches;
	totals.virtual_ns += sim.now_ns - now_ns;
}

void sim_look_up_soon(void)
{
	sim.soon = true;
	sim.attention = 0;
}

void sim_catch(struct sim_participant *p)
{
	p->caught = p->state != SIM_ENDED;
	if (p->state == SIM_WAITING)
		make_ready(p, false);
}

/* Others run, or time goes on; then a signal that has come meanwhile strikes. */
static void stand(void)
{
	struct sim_participant *self = sim.current;

	coroutine_yield();
	if (!self->caught)
		return;
	self->caught = false;
	sim_crash_caught();
}

/* The running one lets others go first. */
static void yield(void)
{
	struct sim_participant *self = sim.current;

	self->ready_since_ns = sim.now_ns;
	for (uint32_t i = 0; i + 1 < sim.plan.depth; i++)
		if (sim.plan.change[i] == sim.accesses)
			self->priority = i; /* below all that begin */
	stand();
}

static void pause(void)
{
	sim.pause_at = APMP_NEVER;
	sim.paused = sim.current;
	coroutine_yield();
}

void sim_step_slow(void)
{
	struct sim_participant *self = sim.current;

	if (sim.over)
		coroutine_leave();
	if (sim.accesses == sim.pause_at) {
		pause();
		if (sim.accesses < sim.attention)
			return; /* it was for the pause alone */
	}
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
	stand();
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
	p->caught = p->fails = false;
	p->last_point = APMP_P_NONE;
	p->store_count = 0;
	p->operation = SIM_OP_NONE;
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
