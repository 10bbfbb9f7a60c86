/*
 * exhaust.c - an instance dies at every access of an operation, one after the other.
 *
 * WHAT      A dry run notes the number of each shared access that its participant makes within the
 *           operation.  Up to its death a run with the same seed is the same, access by access; so
 *           one run for each number ends the instance in place of exactly that access.
 * LIMITS    One death in each run; `--seed A..B` repeats all with other interleavings.
 */
#include "chaos/sim/sim.h"
#include "chaos/sim/sim_update.h"

#include "chaos/sim/nvram_deaths.h"
#include "shm/assert.h"

#define NOTES_MAX 65536u

const char *const sim_operation_names[] = {"",	   "create",  "join",	"leave",
					   "tick", "recover", "update", "nvram"};

uint64_t sim_exhaust_number;
static struct {
	uint64_t access;
	uint32_t participant;
} notes[NOTES_MAX];
static uint32_t note_count;

/* Whose operation it is, and when. */
static bool is_victim(const struct sim_instance *in)
{
	switch (sim.plan.op) {
	case SIM_OP_CREATE:
		return in->id == 0;
	case SIM_OP_JOIN:
		return in->id == sim.plan.instances - 1;
	case SIM_OP_LEAVE:
		return true;
	case SIM_OP_TICK: /* two ticks of a member among members */
		return in->id == 1 && sim.now_ns > 20 * SIM_MS && sim.now_ns < 24 * SIM_MS;
	default:
		return sim.now_ns > 20 * SIM_MS;
	}
}

void sim_operation_begin(enum sim_operation op, struct sim_instance *in)
{
	struct sim_participant *self = sim.current;

	self->recovered = false;
	self->noted_from = note_count;
	self->in_operation =
	    sim.plan.noting && !sim.quiet && is_victim(in) &&
	    (op == sim.plan.op || (op == SIM_OP_JOIN && sim.plan.op == SIM_OP_CREATE));
}

void sim_operation_end(void)
{
	struct sim_participant *self = sim.current;
	uint32_t kept = self->noted_from;

	if (!self->in_operation)
		return;
	self->in_operation = false;
	if (sim.plan.op != SIM_OP_RECOVER || self->recovered)
		return;
	/* It looked, and there was nothing to recover. */
	for (uint32_t i = kept; i < note_count; i++)
		if (notes[i].participant != self->idx)
			notes[kept++] = notes[i];
	note_count = kept;
}

void sim_operation_note(enum sim_op op)
{
	if (sim.plan.op == SIM_OP_UPDATE)
		update_note(op);
	if (!sim.current->in_operation)
		return;
	apmp_assert(note_count < NOTES_MAX);
	notes[note_count].access = sim.accesses;
	notes[note_count++].participant = sim.current->idx;
}

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
static void exhaust_nvram(const struct sim_plan *plan, uint64_t only)
{
	struct nvram_deaths run = {
	    .seed = plan->seed, .only = only, .on_point = pass_point, .on_death = count_death};

	sim.plan = *plan;
	nvram_die_everywhere(&run);
	if (run.finding[0]) {
		totals.failed++;
		sim_finding("%s", run.finding);
	}
	sim_exhaust_number = 0;
}

void sim_exhaust(struct sim_plan *plan, enum sim_operation op, uint64_t only)
{
	if (op == SIM_OP_NVRAM) {
		exhaust_nvram(plan, only);
		return;
	}
	plan->op = op;
	if (op == SIM_OP_UPDATE) {
		update_exhaust(plan, only);
		return;
	}
	plan->kill_rate = 0;
	plan->leaves = false;
	plan->reboots = false;
	plan->chaos_ns = 26 * SIM_MS;
	plan->cost_ns = plan->cost_ns < 1000 ? plan->cost_ns : 500;
	plan->kill_access = 0;
	note_count = 0;
	plan->noting = true;
	sim_run(plan);
	plan->noting = false;
	if (!note_count)
		sim_finding("operation %s did not happen", sim_operation_names[op]);
	for (uint32_t i = 0; i < note_count; i++) {
		if (only && i + 1 != only)
			continue;
		sim_exhaust_number = i + 1;
		plan->kill_access = notes[i].access;
		plan->kill_noticed = (plan->seed + i) & 1;
		sim_run(plan);
		if (sim.kills != (op == SIM_OP_RECOVER ? 2 : 1))
			sim_finding("no instance died at access %llu",
				    (unsigned long long)plan->kill_access);
	}
	sim_exhaust_number = 0;
}
