/*
 * check_cpus.c - lives, HWRPBs and CPUs: tree, available bits and execution words agree.
 *
 * WHAT      Three places say who has a CPU: current_owner in the tree, the available bit in a HWRPB
 *           [0106], the execution word of its interrupt line.  The console writes the first two in
 *           one update; the CPU itself gives the word up before and takes it after, so a word may
 *           be missing for a while, and must never be another one's.
 * LIMITS    HWRPBs of partitions that live no life are memories of the last one, and the words of
 *           the dead are nobody's: neither is looked at.  What changes with a migration has a stamp
 *           that does, so that two migrations are not taken for one that stands.
 */
#include <inttypes.h>

#include "chaos/check.h"
#include "shm/layout_intr.h"
#include "shm/layout_recorder.h"

static const struct apmp_intr_line *line_of(const struct check *c, uint32_t cpu_idx)
{
	return image_at(c->image, c->image->lines_pa + cpu_idx * sizeof(struct apmp_intr_line),
			sizeof(struct apmp_intr_line));
}

static void check_life_order(struct check *c, uint32_t id)
{
	const struct gct_partition_node *p = c->partition[id];

	if (p->fenced > p->incarnation)
		found(c, CHECK_life_order,
		      "life %" PRIu64 " of \"%s\" is fenced, it lives its %" PRIu64,
		      (uint64_t)p->fenced, c->partition_name[id], (uint64_t)p->incarnation);
	else if (p->hd.node_flags & NODE_INITIALIZED && !image_present(p))
		found(c, CHECK_life_order, "\"%s\" is initialized and has no life",
		      c->partition_name[id]);
}

static bool header_holds(struct check *c, uint32_t id, uint64_t life)
{
	const struct hwrpb *h = check_hwrpb(c, id);
	const struct gct_partition_node *p = c->partition[id];

	if (h && h->magic == HWRPB_MAGIC && h->fingerprint == apmp_fingerprint(sizeof(*h)) &&
	    h->pa == p->hwrpb && h->unique == life && h->slot_size == sizeof(struct hwrpb_slot) &&
	    h->slot_off == offsetof(struct hwrpb, slot) && h->primary < h->cpu_count && h->tick_ns)
		return true;
	if (h)
		found(c, CHECK_hwrpb_header,
		      "that of \"%s\" says magic %#" PRIx64 ", at %#" PRIx64 ", of %s",
		      c->partition_name[id], (uint64_t)h->magic, (uint64_t)h->pa,
		      check_life(c, h->unique).text);
	else
		found(c, CHECK_hwrpb_header, "\"%s\" has none at %#" PRIx64, c->partition_name[id],
		      (uint64_t)p->hwrpb);
	return false;
}

static bool subset(const struct apmp_cpu_bits *part, const struct apmp_cpu_bits *whole)
{
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		if (part->word[w] & ~whole->word[w])
			return false;
	return true;
}

static void check_primary(struct check *c, uint32_t id, const struct hwrpb *h)
{
	uint32_t count = 0, primary = 0;

	for (uint32_t cpu = 0; cpu < APMP_MAX_CPUS; cpu++) {
		const struct gct_cpu_node *n = c->cpu[cpu].node;

		if (!n || !(n->hd.node_flags & NODE_PRIMARY) ||
		    check_partition_at(c, n->hd.current_owner) != id)
			continue;
		count++;
		primary = cpu;
	}
	if (count != 1)
		found(c, CHECK_cpu_primary, "\"%s\" has %u primaries", c->partition_name[id],
		      count);
	else if (h->primary != primary)
		found(c, CHECK_cpu_primary, "the primary of \"%s\" is CPU %u, its HWRPB says %u",
		      c->partition_name[id], primary, (unsigned)h->primary);
}

/* A CPU slot of a partition that lives. */
static void check_slot(struct check *c, uint32_t id, uint64_t life, const struct hwrpb *h,
		       uint32_t cpu)
{
	const struct gct_cpu_node *n = c->cpu[cpu].node;
	const struct apmp_intr_line *line = line_of(c, cpu);
	const struct hwrpb_slot *slot = &h->slot[cpu];
	bool available = slot->flags & HWRPB_PA;
	bool here = n && check_partition_at(c, n->hd.current_owner) == id;

	c->stamp = (line ? line->taken : 0) + slot->arrivals;
	if (available != here)
		found(c, CHECK_cpu_available, "CPU %u is %savailable to \"%s\", and runs in %s",
		      cpu, available ? "" : "not ", c->partition_name[id],
		      check_owner(c, n ? (int32_t)n->hd.current_owner : 0).text);
	else if (here && slot->state == HWRPB_CPU_ACTIVE && (!line || line->runner != life))
		found(c, CHECK_cpu_active, "CPU %u is active in \"%s\" and executes %s", cpu,
		      c->partition_name[id], check_life(c, line ? line->runner : 0).text);
	c->stamp = 0;
}

static void check_recorder(struct check *c, uint32_t id, const struct hwrpb *h)
{
	const struct apmp_recorder *r =
	    image_at(c->image, h->recorder, offsetof(struct apmp_recorder, arm));

	if (!r || r->magic != APMP_RECORDER_MAGIC || r->identity != h->unique)
		found(c, CHECK_recorder_head,
		      "that of \"%s\" at %#" PRIx64 " is none, or of another life",
		      c->partition_name[id], (uint64_t)h->recorder);
	else if (r->panicked)
		found(c, CHECK_recorder_head, "\"%s\" has panicked and lives",
		      c->partition_name[id]);
}

static void check_partition(struct check *c, uint32_t id)
{
	uint64_t life = check_initialized(c, id);
	const struct hwrpb *h = check_hwrpb(c, id);

	check_life_order(c, id);
	if (!life || !header_holds(c, id, life))
		return;
	check_primary(c, id, h);
	if (!subset(&h->active, &h->configure) || !subset(&h->configure, &h->potential))
		found(c, CHECK_hwrpb_sets, "those of \"%s\" are not", c->partition_name[id]);
	for (uint32_t cpu = 0; cpu < h->cpu_count; cpu++)
		check_slot(c, id, life, h, cpu);
	if (h->recorder)
		check_recorder(c, id, h);
}

/* Who is dead executes nothing: only a word of the living counts. */
static void check_runner(struct check *c, uint32_t cpu)
{
	const struct gct_cpu_node *n = c->cpu[cpu].node;
	const struct apmp_intr_line *line = line_of(c, cpu);
	uint32_t id;

	if (!line || !line->runner || !check_alive(c, line->runner))
		return;
	id = apmp_identity_id(line->runner);
	c->stamp = line->taken;
	if (!n || check_partition_at(c, n->hd.current_owner) != id)
		found(c, CHECK_cpu_runner, "CPU %u executes %s, and runs in %s", cpu,
		      check_life(c, line->runner).text,
		      check_owner(c, n ? (int32_t)n->hd.current_owner : 0).text);
	c->stamp = 0;
}

void check_cpus(struct check *c)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (c->partition[id])
			check_partition(c, id);
	for (uint32_t cpu = 0; cpu < APMP_MAX_CPUS; cpu++)
		check_runner(c, cpu);
}
