/*
 * exhaust.c - a death, or a switch, at every access of an operation, one after the other; and then
 * a second one at every access of what follows.
 *
 * WHAT      A dry run notes the number of each shared access that belongs to the operation.  Up to
 *           what is chosen a run with the same seed is the same, access by access; so one run for
 *           each number has the death in place of exactly that access, or the switch before it.
 * PAIRS     After each first death the accesses of whoever repairs are noted (an operation in which
 *           somebody is removed, fenced, or a lock is broken), and he dies at each of them.  A
 *           death in place of a load leaves what a death in place of the next store leaves, so
 *           pairs are made of stores.  After each first switch a second one is made before each
 *           later access of the operations.
 * SWITCHES  Participants run until they wait (policy serial), so nothing else switches.  Where
 *           several others are ready each of them is tried; where nobody is, there is nothing to
 *           try.  Accesses are chosen from the first to the last of all operations under way.
 * SPEED     Runs with the same beginning share it (sim_image.c): the image moves on from one first
 *           access to the next, and a second one from one second access to the next.
 * LIMITS    One seed is one interleaving for deaths; `--seed A..B` repeats all with others.
 */
#include <stdlib.h>
#include <string.h>

#include "chaos/sim/nvram_deaths.h"
#include "chaos/sim/sim.h"
#include "chaos/sim/sim_update.h"
#include "shm/assert.h"

#define NOTES_MAX   65536u
#define IMAGE_EVERY 400u /* accesses that take as long as an image */

const char *const sim_operation_names[SIM_OP_COUNT] = {
    [SIM_OP_NONE] = "",
    [SIM_OP_CREATE] = "create",
    [SIM_OP_JOIN] = "join",
    [SIM_OP_LEAVE] = "leave",
    [SIM_OP_TICK] = "tick",
    [SIM_OP_FENCE] = "fence",
    [SIM_OP_RECOVER] = "recover",
    [SIM_OP_ACQUIRE] = "acquire",
    [SIM_OP_RELEASE] = "release",
    [SIM_OP_MIGRATE] = "migrate",
    [SIM_OP_HALT] = "halt",
    [SIM_OP_RX] = "rx",
    [SIM_OP_DEASSIGN] = "deassign",
    [SIM_OP_FAILOVER] = "failover",
    [SIM_OP_CRASH] = "crash",
    [SIM_OP_UPDATE] = "update",
    [SIM_OP_NVRAM] = "nvram",
    [SIM_OP_JOIN_JOIN] = "join-join",
    [SIM_OP_JOIN_DEATH] = "join-death",
    [SIM_OP_LEAVE_SUSPICION] = "leave-suspicion",
    [SIM_OP_LOCK_DEATH] = "lock-death",
};

uint64_t sim_exhaust_number, sim_exhaust_second;

/* --- what belongs to an operation --- */

struct note {
	uint64_t access;
	uint32_t participant;
	uint32_t others; /* that could run instead */
	bool store;
	uint32_t alive; /* a bit for each instance */
};

static struct note notes[NOTES_MAX];
static uint32_t note_count;
static uint32_t wanted_count; /* switches: notes up to the last one of an operation */

bool sim_is_preemption(enum sim_operation op)
{
	return op >= SIM_OP_JOIN_JOIN;
}

bool sim_is_move(enum sim_operation op)
{
	return op >= SIM_OP_MIGRATE && op <= SIM_OP_CRASH;
}

/* Whether the run is about this operation of this instance. */
static bool is_wanted(enum sim_operation op, const struct sim_instance *in)
{
	uint32_t last = sim.plan.instances - 1;

	switch (sim.plan.op) {
	case SIM_OP_CREATE:
		return op == SIM_OP_JOIN && in->id == 0;
	case SIM_OP_JOIN:
		return op == SIM_OP_JOIN && in->id == last;
	case SIM_OP_LEAVE:
		return op == SIM_OP_LEAVE;
	case SIM_OP_TICK: /* two ticks of a member among members */
		return op == SIM_OP_TICK && in->id == 1 && sim.now_ns > SIM_SCRIPT_NS &&
		       sim.now_ns < SIM_SCRIPT_NS + 2 * sim.plan.timing.tick_ns;
	case SIM_OP_FENCE:
	case SIM_OP_RECOVER:
		return op == SIM_OP_RECOVER && sim.now_ns > SIM_SCRIPT_NS;
	case SIM_OP_ACQUIRE:
	case SIM_OP_RELEASE:
		return op == sim.plan.op && sim.now_ns > SIM_SCRIPT_NS;
	case SIM_OP_LOCK_DEATH:
		return sim.scripted &&
		       (op == SIM_OP_ACQUIRE || op == SIM_OP_RELEASE || op == SIM_OP_RECOVER);
	case SIM_OP_JOIN_JOIN:
		return op == SIM_OP_JOIN && in->id > 0;
	case SIM_OP_JOIN_DEATH:
		return sim.scripted && (op == SIM_OP_RECOVER || op == SIM_OP_JOIN);
	case SIM_OP_LEAVE_SUSPICION:
		return sim.judged && (op == SIM_OP_RECOVER || op == SIM_OP_LEAVE);
	default:
		return false;
	}
}

/* Whether it turned out to be what the run is about. */
static bool was_wanted(const struct sim_participant *p)
{
	if (sim.plan.noting == SIM_NOTING_SECOND && !sim_is_preemption(sim.plan.op))
		return p->operation != SIM_OP_TICK && (p->recovered || p->fenced);
	if (p->operation != SIM_OP_RECOVER)
		return true;
	return (sim.plan.op != SIM_OP_FENCE && p->recovered) ||
	       (sim.plan.op != SIM_OP_RECOVER && p->fenced);
}

void sim_operation_begin(enum sim_operation op, struct sim_instance *in)
{
	struct sim_participant *self = sim.current;

	if (!sim.plan.op)
		return;
	sim_script_operation(op, in);
	self->operation = op;
	self->is_wanted = !sim.quiet && is_wanted(op, in);
	self->recovered = self->fenced = false;
	self->noted_from = note_count;
}

void sim_operation_end(void)
{
	struct sim_participant *self = sim.current;

	if (sim.plan.noting && self->operation && !sim_is_preemption(sim.plan.op) &&
	    !was_wanted(self))
		for (uint32_t i = self->noted_from; i < note_count; i++)
			if (notes[i].participant == self->idx)
				notes[i].access = 0; /* not wanted; drop_unwanted() */
	self->operation = SIM_OP_NONE;
}

/* What source, receiver and console do until the CPU is there; after a death, whoever repairs. */
static bool is_of_move(const struct sim_participant *p)
{
	return sim.moving && !p->operation && (!p->in || p->thread != SIM_CLOCK) && !sim.quiet;
}

static uint32_t living(void)
{
	uint32_t mask = 0;

	for (uint32_t id = 0; id < sim.plan.instances; id++)
		mask |= (sim.instance[id].life == SIM_ALIVE ? 1u : 0u) << id;
	return mask;
}

void sim_operation_note(enum sim_op op)
{
	struct sim_participant *self = sim.current;
	bool switches = sim_is_preemption(sim.plan.op);
	bool wanted = self->operation &&
		      (self->is_wanted || (!switches && sim.plan.noting == SIM_NOTING_SECOND));

	if (sim_is_move(sim.plan.op))
		wanted = is_of_move(self);

	if (sim.plan.op == SIM_OP_UPDATE) {
		update_note(op);
		return;
	}
	if (self->in && self->in->life != SIM_ALIVE)
		return; /* what it still does before the kill arrives is not repair */
	/* Between the first and the last of them everybody is noted for a switch. */
	if (!wanted && !(switches && note_count && note_count < NOTES_MAX))
		return;
	apmp_assert(note_count < NOTES_MAX);
	notes[note_count].others =
	    (uint32_t)__builtin_popcountll(sim.ready & ~(UINT64_C(1) << self->idx));
	notes[note_count].access = sim.accesses;
	notes[note_count].participant = self->idx;
	notes[note_count].alive = living();
	notes[note_count++].store = op != SIM_LOAD;
	if (wanted)
		wanted_count = note_count;
}

/* Others may have noted meanwhile, so notes keep their places until the run is over. */
static void drop_unwanted(void)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < note_count; i++)
		if (notes[i].access)
			notes[kept++] = notes[i];
	note_count = kept;
}

/* The notes are not in the image: those that go on from one begin with none. */
static void begin_notes(int noting)
{
	sim.plan.noting = noting;
	note_count = wanted_count = 0;
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		sim.participant[i].noted_from = 0;
}

/* --- runs that share their beginning --- */

struct branch {
	struct sim_plan plan;
	struct sim_image *image, *from; /* from: of one with the same beginning; NULL */
	bool kept;			/* the image is of this plan, not beyond the next access, */
	uint64_t at;			/* but here */
};

/* The run of the plan stands still before this access.  False: it ended earlier. */
static bool reach(struct branch *b, uint64_t access)
{
	if (b->kept) {
		sim_image_load(b->image);
	} else if (b->from) {
		sim_image_load(b->from);
		memcpy(sim.plan.chosen, b->plan.chosen, sizeof(sim.plan.chosen));
		sim_fault_plan_next();
	} else {
		sim_start(&b->plan);
	}
	if (sim.accesses < access) {
		sim.pause_at = access;
		sim_schedule();
	}
	if (!sim.paused)
		return false;
	if (coroutine_can_copy() && (!b->kept || sim.accesses - b->at > IMAGE_EVERY)) {
		sim_image_save(b->image);
		b->kept = true;
		b->at = sim.accesses;
	}
	return true;
}

/* Chooses what happens at the access where the run stands still. */
static void choose(struct branch *b, uint32_t nth, enum sim_choice what, uint32_t target)
{
	sim.plan.chosen[nth].access = sim.accesses;
	sim.plan.chosen[nth].what = what;
	sim.plan.chosen[nth].target = target;
	sim.next_fault = sim.accesses;
	memcpy(b->plan.chosen, sim.plan.chosen, sizeof(sim.plan.chosen));
}

static struct branch first, second;
static const struct sim_search *search;

/* To the end of the run. */
static void finish(const struct branch *b, uint32_t chosen)
{
	uint64_t hash;

	sim_schedule();
	if (sim.chosen_done != chosen)
		sim_finding("what was chosen did not happen: %u of %u", sim.chosen_done, chosen);
	sim_finish();
	hash = sim.hash;
	if (!search->twice)
		return;
	sim_run(&b->plan);
	if (sim.hash != hash) {
		sim_finding("from the beginning it is another run than from an image");
		totals.failed++;
	}
}

/* Whether the run with a second one that was just numbered is to be made. */
static bool second_wanted(void)
{
	bool wanted = search->second ? search->second == sim_exhaust_second
				     : (sim_exhaust_number + sim_exhaust_second) % search->stride ==
					   first.plan.seed % search->stride;

	totals.skipped_pairs += !wanted;
	return wanted;
}

/* Whether that with this first one is. */
static bool first_wanted(void)
{
	return search->first ? search->first == sim_exhaust_number
			     : sim_exhaust_number % search->workers == search->worker;
}

static void lost_way(void)
{
	sim_finding("the run with the same beginning went another way");
	totals.failed++;
}

static struct note *copy_notes(uint32_t count)
{
	struct note *copy = malloc((count + !count) * sizeof(*copy));

	apmp_assert(copy);
	memcpy(copy, notes, count * sizeof(*copy));
	return copy;
}

/* --- second choices, of a run that stands still before the first one --- */

static void begin_second(void)
{
	second.plan = first.plan;
	second.kept = false;
	sim_exhaust_second = 0;
}

static void second_at(const struct note *site, enum sim_choice what, uint32_t target)
{
	sim_exhaust_second++;
	if (!second_wanted())
		return;
	memset(&second.plan.chosen[1], 0, sizeof(second.plan.chosen[1]));
	if (!reach(&second, site->access)) {
		lost_way();
		return;
	}
	choose(&second, 1, what, target);
	finish(&second, 2);
	totals.pairs++;
}

/* --- deaths --- */

static void second_deaths(const struct note *sites, uint32_t count, enum sim_choice what)
{
	begin_second();
	for (uint32_t j = 0; j < count; j++)
		if (sites[j].store)
			second_at(&sites[j], what, 0);
	sim_exhaust_second = 0;
}

static void kill_at(const struct note *site, uint32_t victim)
{
	enum sim_choice what =
	    (first.plan.seed + sim_exhaust_number) & 1 ? SIM_DEATH : SIM_SILENT_DEATH;
	struct note *sites;
	uint32_t count;

	memset(first.plan.chosen, 0, sizeof(first.plan.chosen));
	if (!reach(&first, site->access)) {
		lost_way();
		return;
	}
	choose(&first, 0, what, victim);
	begin_notes(search->pairs ? SIM_NOTING_SECOND : SIM_NOTING_NOT);
	finish(&first, 1);
	drop_unwanted();
	count = note_count;
	if (!search->pairs || !count)
		return;
	sites = copy_notes(count);
	second_deaths(sites, count, what == SIM_DEATH ? SIM_SILENT_DEATH : SIM_DEATH);
	free(sites);
}

/* Of an operation its own thread dies, of a move each that has to do with it. */
static void kill_each(const struct note *site)
{
	static const uint32_t of_move[] = {1, 2 + SIM_MOVE_FROM, 2 + SIM_MOVE_TO};
	bool move = sim_is_move(first.plan.op);

	for (uint32_t v = 0; v < (move ? sizeof(of_move) / sizeof(of_move[0]) : 1); v++) {
		if (move && of_move[v] > 1 && !(site->alive >> (of_move[v] - 2) & 1))
			continue; /* it is dead already */
		sim_exhaust_number++;
		if (first_wanted())
			kill_at(site, move ? of_move[v] : 0);
	}
}

static void kill_everywhere(const struct note *sites, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!search->pairs || sites[i].store)
			kill_each(&sites[i]);
}

/* --- switches --- */

static void second_switches(const struct note *sites, uint32_t count)
{
	begin_second();
	for (uint32_t j = 0; j < count; j++)
		for (uint32_t target = 0; target < sites[j].others; target++)
			second_at(&sites[j], SIM_PREEMPTION, target);
	sim_exhaust_second = 0;
}

static void switch_at(uint64_t access, uint32_t target)
{
	struct note *sites;
	uint32_t count;

	memset(first.plan.chosen, 0, sizeof(first.plan.chosen));
	if (!reach(&first, access)) {
		lost_way();
		return;
	}
	choose(&first, 0, SIM_PREEMPTION, target);
	begin_notes(SIM_NOTING_SECOND);
	finish(&first, 1);
	count = wanted_count;
	sites = copy_notes(count);
	second_switches(sites, count);
	free(sites);
}

static void switch_everywhere(const struct note *sites, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t target = 0; target < sites[i].others; target++) {
			sim_exhaust_number++;
			if (first_wanted())
				switch_at(sites[i].access, target);
		}
}

/* --- an operation --- */

static void exhaust(void)
{
	bool switches = sim_is_preemption(first.plan.op);
	struct note *sites;
	uint32_t count;

	first.kept = false;
	if (!first.image && coroutine_can_copy()) { /* once in a process */
		first.image = sim_image_make();
		second.image = sim_image_make();
		second.from = first.image;
	}
	first.plan.noting = SIM_NOTING_FIRST;
	note_count = wanted_count = 0;
	sim_run(&first.plan);
	first.plan.noting = SIM_NOTING_NOT;
	if (!switches)
		drop_unwanted();
	count = switches ? wanted_count : note_count;
	if (!count) {
		sim_finding("operation %s did not happen", sim_operation_names[first.plan.op]);
		totals.failed++;
		return;
	}
	sites = copy_notes(count);
	sim_exhaust_number = 0;
	if (switches)
		switch_everywhere(sites, count);
	else
		kill_everywhere(sites, count);
	free(sites);
	sim_exhaust_number = 0;
}

/* --- NVRAM --- */

static void pass_point(enum apmp_point point)
{
	totals.passed[point]++;
}

static void count_death(uint64_t number, enum apmp_point last)
{
	sim_exhaust_number = number;
	totals.runs++;
	totals.kills++;
	totals.kills_after[last]++;
}

/* A writer of NVRAM has no other participants: its steps are those of its disk. */
static void exhaust_nvram(const struct sim_plan *plan)
{
	struct nvram_deaths run = {.seed = plan->seed,
				   .only = search->first,
				   .on_point = pass_point,
				   .on_death = count_death};

	sim.plan = *plan;
	nvram_die_everywhere(&run);
	if (run.finding[0]) {
		totals.failed++;
		sim_finding("%s", run.finding);
	}
	sim_exhaust_number = 0;
}

void sim_exhaust(struct sim_plan *plan, enum sim_operation op, const struct sim_search *wanted)
{
	search = wanted;
	plan->op = op;
	plan->cpus = sim_is_move(op) ? 2 : 0;
	if (op == SIM_OP_NVRAM && search->worker)
		return; /* each run needs what the one before has found: the first worker's */
	if (op == SIM_OP_NVRAM) {
		exhaust_nvram(plan);
		return;
	}
	if (op == SIM_OP_UPDATE) {
		update_exhaust(plan, search);
		return;
	}
	plan->kill_rate = 0;
	plan->leaves = false;
	plan->reboots = plan->spoils = false;
	plan->chaos_ns = SIM_SCRIPT_NS + 3 * plan->timing.tick_ns;
	if (op == SIM_OP_FENCE || op == SIM_OP_LEAVE_SUSPICION || sim_is_move(op))
		plan->chaos_ns += 2 * plan->timing.stop_ns;
	if (op == SIM_OP_ACQUIRE || op == SIM_OP_RELEASE || op == SIM_OP_LOCK_DEATH)
		plan->locks = true;
	else if (sim_is_preemption(op) || sim_is_move(op))
		plan->locks = false;
	plan->cost_ns = plan->cost_ns < 1000 ? plan->cost_ns : 500;
	if (sim_is_preemption(op)) {
		plan->policy = SIM_POLICY_SERIAL;
		plan->weak = plan->lossy = false; /* they take chances of their own */
		plan->cost_ns = 50;
	}
	first.plan = *plan;
	exhaust();
}
