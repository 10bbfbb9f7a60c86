/*
 * invariant_cpu.c - what must hold of CPUs that move.
 *
 * ALWAYS    A CPU is available in one living partition's HWRPB at most; who executes on it is one
 *           instance, and the one that the tree names; its execution word is taken from nobody who
 *           lives.  Whenever no update is open, the tree's current_owner and the HWRPBs say the
 *           same, and it is null only while the CPU is in transit or nobody's, or waits for the
 *           boot of its owner.  Each word of an HWRPB is written by whom its W: in
 *           shm/layout_hwrpb.h allows.
 * QUIET     Each CPU executes where it is: nobody waits for a message, none is left lying.  Each
 *           request has an answer, and each order an end that the console can see.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/layout_intr.h"

/* What follows is read by nobody's account: it is no step of the participant that runs. */
static struct sim_participant *begin_unseen(void)
{
	struct sim_participant *self = sim.current;

	sim.current = NULL;
	return self;
}

static void end_unseen(struct sim_participant *self)
{
	sim.current = self;
}

/* --- owners --- */

static bool is_available(uint32_t cpu_idx, uint32_t id)
{
	return sim_hwrpb(id)->slot[cpu_idx].flags & HWRPB_PA;
}

/* Whether it is a life that the console has not yet put an end to. */
static bool is_living(uint32_t id)
{
	return sim.instance[id].identity && sim_living(sim.instance[id].identity);
}

struct whose {
	uint32_t owner, current; /* partition ids; APMP_NO_PARTITION */
};

static struct whose whose(uint32_t cpu_idx)
{
	struct sim_participant *self = begin_unseen();
	struct apmp_tree_node n = {0};
	struct apmp_tree tree;
	struct whose w;

	if (apmp_tree_init(&tree, sim_physical + SIM_TREE_PA, sim.tree_size) ||
	    apmp_tree_cpu(&tree, cpu_idx, &n))
		sim_finding("CPU %u is gone from the tree", cpu_idx);
	w.owner = apmp_tree_owner_id(&tree, n.owner);
	w.current = apmp_tree_owner_id(&tree, n.current_owner);
	end_unseen(self);
	return w;
}

bool sim_cpu_is_unowned(uint32_t k)
{
	struct whose w = whose(sim_cpu_idx(k));

	return w.owner == APMP_NO_PARTITION && w.current == APMP_NO_PARTITION;
}

static void check_owner(uint32_t cpu_idx)
{
	struct whose w = whose(cpu_idx);
	uint64_t transit = sim.words->transit[cpu_idx];

	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		/* A boot that was taken back leaves what it had stored into an HWRPB that no life
		 * has. */
		if (is_available(cpu_idx, id) && w.current != id &&
		    (is_living(id) || !sim.instance[id].filled))
			sim_finding("CPU %u is available in the HWRPB of p%u, and its current "
				    "owner is partition %d",
				    cpu_idx, id, (int)w.current);
		if (!is_available(cpu_idx, id) && w.current == id && is_living(id))
			sim_finding("CPU %u is p%u's by the tree, and not available in its HWRPB",
				    cpu_idx, id);
	}
	if (transit && w.current != APMP_NO_PARTITION)
		sim_finding("CPU %u is in transit from %#llx, and p%u's", cpu_idx,
			    (unsigned long long)transit, w.current);
	if (!transit && w.current == APMP_NO_PARTITION && w.owner != APMP_NO_PARTITION &&
	    is_living(w.owner))
		sim_finding("CPU %u is nobody's now and not in transit; its owner p%u lives",
			    cpu_idx, w.owner);
}

void sim_check_owners(void)
{
	if (!sim.plan.cpus || sim.journal->open)
		return;
	for (uint32_t cpu = 0; cpu < sim_cpu_count(); cpu++)
		check_owner(cpu);
}

/* --- at each store --- */

#define SLOT(name) offsetof(struct hwrpb_slot, name)

/* Whether a word of a slot may be written by the console (in NULL) or by its partition. */
static bool slot_rule(uint64_t off, const struct sim_instance *in)
{
	switch (off) {
	case SLOT(flags):
	case SLOT(host_cpu):
	case SLOT(type):
	case SLOT(revision):
		return !in;
	case SLOT(state):
	case SLOT(context):
	case SLOT(reason_for_halt):
	case SLOT(halt_requested):
	case SLOT(rxrdy):
		return in;
	case SLOT(request.seq):
	case SLOT(request.op):
	case SLOT(request.arg[0]):
	case SLOT(request.arg[1]):
		return !in;
	case SLOT(request.answer):
	case SLOT(not_started):
		return in;
	default:
		/* TX: a halted CPU's console code says STARTREQ too, Fig. 30C. */
		return off >= SLOT(rx) && off < SLOT(arrivals) ? in != NULL : true;
	}
}

static bool hwrpb_rule(uint64_t off, const struct sim_instance *in)
{
	if (off >= offsetof(struct hwrpb, slot) && off < offsetof(struct hwrpb, saved))
		return slot_rule((off - offsetof(struct hwrpb, slot)) % sizeof(struct hwrpb_slot),
				 in);
	if (off >= offsetof(struct hwrpb, saved) ||
	    (off >= offsetof(struct hwrpb, crash) && off < offsetof(struct hwrpb, failover)) ||
	    (off >= offsetof(struct hwrpb, potential) && off < offsetof(struct hwrpb, autostart)))
		return in;
	if (off == offsetof(struct hwrpb, wish.answer))
		return in;
	return !in;
}

static bool in_hwrpb(uint64_t key)
{
	return key >= SIM_HWRPB_PA(0) && key < SIM_HWRPB_PA(sim.plan.instances);
}

static void check_hwrpb(uint32_t id, uint64_t off)
{
	const struct sim_instance *in = sim.current->in;

	if ((in && in->id != id) || !hwrpb_rule(off, in))
		sim_finding("%s must not write the HWRPB of p%u at +%#llx",
			    in ? in->member->name : "the console", id, (unsigned long long)off);
}

void sim_check_cpu_seen(uint64_t key)
{
	uint64_t slot = (key - SIM_HWRPB_PA(0)) % HWRPB_SIZE - offsetof(struct hwrpb, slot);
	uint32_t cpu_idx = (uint32_t)(slot / sizeof(struct hwrpb_slot)), count = 0;

	if (!in_hwrpb(key) || slot % sizeof(struct hwrpb_slot) != SLOT(flags) ||
	    cpu_idx >= sim_cpu_count())
		return;
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		count += is_available(cpu_idx, id) && is_living(id);
	if (count > 1)
		sim_finding("CPU %u is available to %u partitions at once", cpu_idx, count);
}

/* The CPU whose execution word this is; APMP_MAX_CPUS: it is none. */
static uint32_t runner_at(uint64_t key)
{
	uint64_t off = key - SIM_LINES_PA;

	return key >= SIM_LINES_PA && off < APMP_INTR_SIZE &&
		       off % sizeof(struct apmp_intr_line) ==
			   offsetof(struct apmp_intr_line, runner)
		   ? (uint32_t)(off / sizeof(struct apmp_intr_line))
		   : APMP_MAX_CPUS;
}

void sim_check_cpu_write(uint64_t key, enum sim_op op, uint64_t value)
{
	uint64_t off = key - SIM_HWRPB_PA(0);

	if (!sim.plan.cpus)
		return;
	if (in_hwrpb(key))
		check_hwrpb((uint32_t)(off / HWRPB_SIZE), off % HWRPB_SIZE);
	if (op == SIM_STORE && runner_at(key) < APMP_MAX_CPUS)
		sim_check_runner(key, *(uint64_t *)(void *)(sim_physical + key), value);
}

void sim_check_runner(uint64_t key, uint64_t old, uint64_t value)
{
	struct sim_instance *in = sim.current->in;
	uint32_t cpu_idx = runner_at(key);

	if (!sim.plan.cpus || cpu_idx == APMP_MAX_CPUS || old == value)
		return;
	if (value && (!in || value != in->identity || old))
		sim_finding("%s puts %#llx into the execution word of CPU %u, which holds %#llx",
			    in ? in->member->name : "the console", (unsigned long long)value,
			    cpu_idx, (unsigned long long)old);
	if (!value && old && (in ? old != in->identity : sim_living(old) != NULL))
		sim_finding("%s takes CPU %u from %#llx, who executes on it",
			    in ? in->member->name : "the console", cpu_idx,
			    (unsigned long long)old);
	/* One that fails lets go of a CPU that stays as it is. */
	if (!value && in && old == in->identity && !sim.spoils && !sim_crash_begun(in) &&
	    sim_hwrpb(in->id)->slot[cpu_idx].state == HWRPB_CPU_ACTIVE)
		sim_finding("%s gives CPU %u up, and says that it is active there",
			    in->member->name, cpu_idx);
}

void sim_check_enters(uint32_t k)
{
	struct sim_instance *in = sim.current->in;
	uint64_t *inside = &sim.cpu[k].inside;
	struct whose w = whose(sim_cpu_idx(k));

	if (*inside && *inside != in->identity && sim_living(*inside))
		sim_finding("%s executes on CPU %u, and %#llx does, who lives", in->member->name,
			    sim_cpu_idx(k), (unsigned long long)*inside);
	if (*inside == in->identity)
		sim_finding("%s is started on CPU %u, where it runs", in->member->name,
			    sim_cpu_idx(k));
	if (in->life == SIM_ALIVE && !sim.journal->open && w.current != in->id)
		sim_finding("%s executes on CPU %u, which is partition %d's by the tree",
			    in->member->name, sim_cpu_idx(k), (int)w.current);
	*inside = in->identity;
	sim.cpu[k].may_halt = false;
	sim.moved++;
}

void sim_check_leaves(uint32_t k)
{
	sim.cpu[k].inside = 0;
}

/* Whether one of its failover targets, in whatever place before its own id, could have taken it. */
static bool has_target(uint32_t id, uint32_t k)
{
	for (uint64_t left = sim.targets[id][k]; left & 0xff; left >>= 8) {
		uint32_t to = (uint32_t)(left & 0xff) - 1;

		if (to == id)
			return false;
		if (apmp_tree_alive(&sim.writer.tree, sim.instance[to].identity))
			return true;
	}
	return false;
}

void sim_check_failed_over(const struct sim_instance *in)
{
	struct sim_participant *self = begin_unseen();
	struct apmp_crash gasp;

	if (in->announced &&
	    (apmp_crash_read(sim_hwrpb(in->id), &gasp) || gasp.address != gasp.thread))
		sim_finding("%s has announced its end, and left no whole last gasp",
			    in->member->name);
	for (uint32_t k = 0; k < sim.plan.cpus; k++)
		if (whose(sim_cpu_idx(k)).current == in->id && has_target(in->id, k))
			sim_finding("%s has failed, a failover target of CPU %u lives, and it "
				    "stays there",
				    in->member->name, sim_cpu_idx(k));
	end_unseen(self);
}

/* --- quiet --- */

/* A request that a living instance has not answered. */
static bool is_asked(uint32_t cpu_idx)
{
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		const struct hwrpb_request *r = &sim_hwrpb(id)->slot[cpu_idx].request;

		if (sim.instance[id].life == SIM_ALIVE && r->seq != r->answer >> 32)
			return true;
	}
	return false;
}

static bool is_order_open(uint32_t k)
{
	struct sim_participant *self = begin_unseen();
	bool open = sim_order_is_open(k);

	end_unseen(self);
	return open;
}

static const char *unsettled(uint32_t k)
{
	uint32_t cpu_idx = sim_cpu_idx(k);
	struct whose w = whose(cpu_idx);
	const struct hwrpb_slot *slot;
	const struct apmp_intr_line *line =
	    (void *)(sim_physical + SIM_LINES_PA + cpu_idx * sizeof(*line));

	if (is_asked(cpu_idx))
		return "a request has no answer";
	if (sim.cpu[k].ask.op)
		return "the console has not done what the operator wants of a CPU";
	if (sim.words->transit[cpu_idx])
		return "a CPU is in transit";
	if (w.current == APMP_NO_PARTITION)
		return w.owner != APMP_NO_PARTITION && is_living(w.owner)
			   ? "a CPU is lost: its owner lives, and nobody has it"
			   : NULL;
	if (sim.instance[w.current].life != SIM_ALIVE)
		return NULL; /* it boots with it again */
	if (is_order_open(k))
		return "an order has no end, and nobody is at it";
	slot = &sim_hwrpb(w.current)->slot[cpu_idx];
	if (sim.words->arrival[cpu_idx])
		return "a CPU is still owed a STARTREQ";
	if (slot->txrdy && slot->state != HWRPB_CPU_ACTIVE) /* else a second one */
		return "a STARTREQ lies untaken";
	if (slot->rxrdy)
		return "a thread is parked with a message in RX";
	if (slot->state == HWRPB_CPU_HALTED && sim.cpu[k].may_halt)
		return line->runner ? "somebody executes on a CPU in console mode" : NULL;
	if (slot->state != HWRPB_CPU_ACTIVE)
		return "a CPU is not active where it is";
	if (line->runner != sim.instance[w.current].identity)
		return "nobody executes on a CPU that is active";
	return NULL;
}

const char *sim_cpus_unsettled(void)
{
	static char text[128];
	const char *why = NULL;

	for (uint32_t k = 0; k < sim.plan.cpus && !why; k++) {
		why = unsettled(k);
		if (!why)
			continue;
		snprintf(text, sizeof(text), "%s: CPU %u, at partition %d", why, sim_cpu_idx(k),
			 (int)whose(sim_cpu_idx(k)).current);
		why = text;
	}
	return why;
}
