/*
 * A machine in miniature with the rules of the configuration [0061-0063, 0101-0103], stricter than
 * the console where that asks less: nothing leaves a partition that runs but by a migration.
 */
#include "tests/unit/plan_model.h"

#include <stdio.h>
#include <string.h>

const char *const model_partition_name[] = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"};
const char *const model_community_name[] = {"lab", "shop", "plant"};

uint64_t model_draw(uint64_t *seed, uint64_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % below;
}

/* ---- random machines ---- */

static void random_hardware(struct model *m, uint64_t *seed)
{
	*m = (struct model){.next_pa = INT64_C(1) << 30};
	for (int i = 0; i < MODEL_CPUS; i++)
		m->cpu[i] = (struct model_cpu){.there = model_draw(seed, 6) > 0,
					       .primary = model_draw(seed, 8) > 0,
					       .sbb = i * MODEL_SBBS / MODEL_CPUS,
					       .type = 1 + (model_draw(seed, 12) == 0),
					       .owner = MODEL_NONE,
					       .user = MODEL_NONE};
	for (int i = 0; i < MODEL_BUSES; i++)
		m->bus[i] = (struct model_bus){
		    /* Those of an I/O processor have no holes. */
		    .there = i % 4 == 0 ? model_draw(seed, 8) > 0
					: m->bus[i - 1].there && model_draw(seed, 3) > 0,
		    .owner = MODEL_NONE,
		    .user = MODEL_NONE};
	for (int i = 0; i < MODEL_SBBS; i++)
		model_add_memory(m, i, (int64_t)model_draw(seed, 9) * 4 * MODEL_UNIT);
}

void model_redeal(struct model *m, uint64_t *seed)
{
	for (int i = 0; i < MODEL_COMMUNITIES; i++) {
		m->community[i] = model_draw(seed, 3) > 0;
		if (m->community[i])
			(void)model_assign(m, (int64_t)model_draw(seed, 8) * MODEL_UNIT, 0, i,
					   true);
	}
	for (int i = 0; i < MODEL_NAMES; i++) {
		int community = (int)model_draw(seed, MODEL_COMMUNITIES);

		m->partition[i] = (struct model_partition){
		    .there = model_draw(seed, 3) > 0,
		    .community = m->community[community] ? community : MODEL_NONE,
		    .primary = MODEL_NONE};
		if (m->partition[i].there)
			(void)model_assign(m, (int64_t)model_draw(seed, 12) * MODEL_UNIT, 0, i,
					   false);
	}
	for (int i = 0; i < MODEL_CPUS + MODEL_BUSES; i++) {
		int to = (int)model_draw(seed, MODEL_NAMES);
		bool cpu = i < MODEL_CPUS;

		if (!m->partition[to].there)
			continue;
		if (cpu && m->cpu[i].there)
			m->cpu[i].owner = to;
		if (!cpu && m->bus[i - MODEL_CPUS].there)
			m->bus[i - MODEL_CPUS].owner = to;
	}
	for (int i = 0; i < MODEL_NAMES; i++)
		m->partition[i].boot = model_bootable(m, i) && model_draw(seed, 4) > 0;
}

void model_random(struct model *m, bool swapped, uint64_t *seed)
{
	random_hardware(m, seed);
	for (int i = 0; swapped && i < MODEL_SBBS; i++)
		model_add_memory(m, i, (int64_t)model_draw(seed, 4) * 4 * MODEL_UNIT);
	model_redeal(m, seed);
}

bool model_bootable(const struct model *m, int partition)
{
	bool cpu = false, bus = false;

	for (int i = 0; i < MODEL_CPUS; i++)
		cpu |= m->cpu[i].there && m->cpu[i].primary && m->cpu[i].owner == partition;
	for (int i = 0; i < MODEL_BUSES; i++)
		bus |= m->bus[i].there && m->bus[i].owner == partition;
	return m->partition[partition].there && cpu && bus &&
	       model_owned(m, partition, false) >= 2 * MODEL_UNIT;
}

/* ---- life ---- */

bool model_runs(const struct model *m, int partition)
{
	return partition != MODEL_NONE && m->partition[partition].running;
}

const char *model_boot(struct model *m, int partition)
{
	struct model_partition *p = &m->partition[partition];

	if (p->running)
		return "it runs";
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->user == partition && cpu->owner == MODEL_NONE)
			cpu->user = MODEL_NONE;
		if (cpu->owner == partition && cpu->user == MODEL_NONE)
			cpu->user = partition;
		if (cpu->user == partition && cpu->owner == partition && cpu->primary &&
		    p->primary == MODEL_NONE)
			p->primary = i;
	}
	for (int i = 0; i < MODEL_BUSES; i++) {
		struct model_bus *bus = &m->bus[i];

		if (bus->owner == partition || bus->user == partition)
			bus->user = bus->owner;
	}
	if (!model_bootable(m, partition) || p->primary == MODEL_NONE)
		return "it has not enough to boot";
	p->running = true;
	p->incarnation++;
	return NULL;
}

const char *model_halt(struct model *m, int partition)
{
	struct model_partition *p = &m->partition[partition];

	if (!p->running)
		return "it does not run";
	p->running = false;
	p->primary = MODEL_NONE;
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->user == partition && cpu->owner != partition && cpu->owner != MODEL_NONE)
			cpu->user = model_runs(m, cpu->owner) ? cpu->owner : MODEL_NONE;
	}
	return NULL;
}

const char *model_migrate(struct model *m, int number, int to, bool loan)
{
	struct model_cpu *cpu = &m->cpu[number];

	if (cpu->user == MODEL_NONE || cpu->user == to)
		return "it is there, or nowhere";
	if (!model_runs(m, cpu->user) || !model_runs(m, to))
		return "one of the two does not run";
	if (m->partition[cpu->user].primary == number)
		return "it is the primary";
	if (m->partition[to].community == MODEL_NONE ||
	    m->partition[to].community != m->partition[cpu->user].community)
		return "they are not in one community";
	if (m->cpu[m->partition[to].primary].type != cpu->type)
		return "it is of another type";
	if (!loan && (cpu->owner == cpu->user || cpu->owner == MODEL_NONE))
		cpu->owner = to;
	cpu->user = to;
	return NULL;
}

/* A CPU that its partition was given, or lost, while it ran. */
static void change_while_running(struct model *m, uint64_t *seed)
{
	int number = (int)model_draw(seed, MODEL_CPUS);
	struct model_cpu *cpu = &m->cpu[number];

	if (!cpu->there)
		return;
	if (cpu->owner == MODEL_NONE && cpu->user == MODEL_NONE) {
		int to = (int)model_draw(seed, MODEL_NAMES);

		if (m->partition[to].there)
			cpu->owner = to;
	} else if (cpu->owner == cpu->user && model_runs(m, cpu->user) &&
		   m->partition[cpu->user].primary != number) {
		cpu->owner = MODEL_NONE;
	}
}

void model_use(struct model *m, uint64_t *seed)
{
	for (int i = 0; i < MODEL_NAMES; i++)
		if (m->partition[i].boot || (model_bootable(m, i) && model_draw(seed, 3) == 0))
			(void)model_boot(m, i);
	for (int i = 0; i < 8; i++)
		(void)model_migrate(m, (int)model_draw(seed, MODEL_CPUS),
				    (int)model_draw(seed, MODEL_NAMES), model_draw(seed, 3) > 0);
	for (int i = 0; i < MODEL_NAMES; i++)
		if (model_draw(seed, 8) == 0)
			(void)model_halt(m, i);
	if (model_draw(seed, 4) == 0)
		change_while_running(m, seed);
}

/* ---- is it as it should be ---- */

static bool same_partition(const struct model *m, const struct model *want, int i)
{
	const struct model_partition *is = &m->partition[i], *wanted = &want->partition[i];

	if (is->there != wanted->there)
		return false;
	return !is->there || (is->boot == wanted->boot && is->community == wanted->community &&
			      model_owned(m, i, false) == model_owned(want, i, false));
}

bool model_is(const struct model *m, const struct model *want, char *text, size_t size)
{
	text[0] = 0;
	for (int i = 0; i < MODEL_CPUS; i++) {
		const struct model_cpu *is = &m->cpu[i], *wanted = &want->cpu[i];

		if (is->there != wanted->there ||
		    (is->there && (is->owner != wanted->owner || is->type != wanted->type ||
				   is->primary != wanted->primary)))
			snprintf(text, size, "CPU %d", i);
	}
	for (int i = 0; i < MODEL_BUSES; i++)
		if (m->bus[i].there != want->bus[i].there ||
		    (m->bus[i].there && m->bus[i].owner != want->bus[i].owner))
			snprintf(text, size, "bus %d", i);
	for (int i = 0; i < MODEL_NAMES; i++)
		if (!same_partition(m, want, i))
			snprintf(text, size, "partition %s", model_partition_name[i]);
	for (int i = 0; i < MODEL_COMMUNITIES; i++)
		if (m->community[i] != want->community[i] ||
		    model_owned(m, i, true) != model_owned(want, i, true))
			snprintf(text, size, "community %s", model_community_name[i]);
	for (int i = 0; i < MODEL_SBBS; i++)
		if (model_sbb_memory(m, i) != model_sbb_memory(want, i))
			snprintf(text, size, "memory of SBB %d", i);
	return !text[0];
}
