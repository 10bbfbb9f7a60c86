/*
 * plan_hardware.c - what comes into the box and goes out of it.
 *
 * WHAT      CPUs and buses by their ids. Memory of an SBB by its sum: descriptors go until no more
 *           is left than the file wants, and one comes with what is missing. A CPU of another type,
 *           revision or ability takes the place of the one that has its number.
 * LIMITS    A component that has another place in the file than in the box can't move, and disks
 *           are fixed while the box is on (only their number is known): both are for a power cycle.
 */
#include <stdlib.h>

#include "cli/plan_internal.h"

bool plan_cpu_replaced(const struct plan *plan, int id)
{
	const struct plan_cpu *now = &plan->now->cpus[id], *want = &plan->want->cpus[id];

	return now->there && want->there && now->sbb == want->sbb &&
	       ((now->type >= 0 && now->type != want->type) ||
		(now->revision >= 0 && now->revision != want->revision) ||
		now->can_be_primary != want->can_be_primary);
}

/* The descriptor of this SBB that rather goes: at most so large (0: the smallest of any size),
 * rather one that nobody owns. -1: there is none. */
static ssize_t pick_memory(const struct plan *plan, json_int_t sbb, json_int_t size_max)
{
	ssize_t best = -1;

	for (size_t i = 0; i < plan->now->memory_count; i++) {
		const struct plan_memory *one = &plan->now->memories[i];
		const struct plan_memory *other = best < 0 ? NULL : &plan->now->memories[best];

		if (one->sbb != sbb || plan->memory_goes[i] || (size_max && one->size > size_max))
			continue;
		if (!other || (!size_max && one->size < other->size) ||
		    (size_max && one->owned < other->owned) ||
		    (size_max && one->owned == other->owned && one->size > other->size))
			best = (ssize_t)i;
	}
	return best;
}

static void decide_memory(struct plan *plan, json_int_t sbb)
{
	json_int_t surplus = plan->now->sbb_memory[sbb] - plan->want->sbb_memory[sbb];

	while (surplus > 0) {
		ssize_t goes = pick_memory(plan, sbb, surplus);

		if (goes < 0)
			goes = pick_memory(plan, sbb, 0);
		if (goes < 0)
			return;
		plan->memory_goes[goes] = true;
		surplus -= plan->now->memories[goes].size;
	}
}

/* What is in the file and in the box, and yet not the same. */
static void say_differences(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++) {
		const struct plan_cpu *now = &plan->now->cpus[id], *want = &plan->want->cpus[id];

		if (now->there && want->there && now->sbb != want->sbb)
			plan_say(plan->power_cycle,
				 "CPU %d is in SBB %lld, and in the file in %lld", id,
				 (long long)now->sbb, (long long)want->sbb);
	}
	for (size_t i = 0; i < plan->want->bus_count; i++) {
		const struct plan_bus *want = &plan->want->buses[i];
		const struct plan_bus *now = plan_find_bus(plan->now, want->id);
		size_t disks = now ? now->disks : 0;

		if (disks != want->disks)
			plan_say(plan->power_cycle, "bus %s has %zu disks, and in the file %zu",
				 want->id, disks, want->disks);
	}
}

void plan_hardware_decide(struct plan *plan)
{
	for (json_int_t sbb = 0; sbb < PLAN_SBBS; sbb++)
		decide_memory(plan, sbb);
	say_differences(plan);
}

/* ---- steps ---- */

static void because_memory(struct plan *plan, json_int_t sbb)
{
	char *text = cli_size_text((unsigned long long)plan->want->sbb_memory[sbb]);

	plan_because(plan, "in the file SBB %lld has %s", (long long)sbb, text);
	free(text);
}

static void remove_one(struct plan *plan, const char *kind, char *id)
{
	plan_step(plan, "HardwareRemove", json_pack("{s:s, s:s}", "kind", kind, "id", id),
		  "hardware remove %s %s", kind, id);
	plan_because(plan, "the file does not have it");
	free(id);
}

void plan_hardware_remove(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++)
		if (plan->cpu_ways[id] & PLAN_REMOVE) {
			remove_one(plan, "cpu", cli_text("%d", id));
			if (plan_cpu_replaced(plan, id))
				plan_because(plan, "the file has another CPU %d", id);
		}
	/* The last one of an I/O processor goes first. */
	for (size_t i = plan->now->bus_count; i-- > 0;)
		if (plan->bus_ways[i] & PLAN_REMOVE)
			remove_one(plan, "bus", cli_text("%s", plan->now->buses[i].id));
	for (size_t i = 0; i < plan->now->memory_count; i++)
		if (plan->memory_goes[i]) {
			remove_one(plan, "memory",
				   cli_text("%#llx", (long long)plan->now->memories[i].pa));
			because_memory(plan, plan->now->memories[i].sbb);
		}
}

/* What a CPU has without being told is left out. */
static char *option_text(const char *name, json_int_t value)
{
	return value == 1 ? cli_text("%s", "") : cli_text(" --%s %lld", name, (long long)value);
}

static void add_cpu(struct plan *plan, int id)
{
	const struct plan_cpu *cpu = &plan->want->cpus[id];
	char *number = cli_text("%d", id);
	char *type = option_text("type", cpu->type),
	     *revision = option_text("revision", cpu->revision);

	plan_step(plan, "HardwareAdd",
		  json_pack("{s:s, s:I, s:s, s:I, s:I, s:b}", "kind", "cpu", "sbb", cpu->sbb, "id",
			    number, "type", cpu->type, "revision", cpu->revision, "primary",
			    cpu->can_be_primary),
		  "hardware add cpu --sbb %lld --id %d%s%s%s", (long long)cpu->sbb, id, type,
		  revision, cpu->can_be_primary ? "" : " --secondary-only");
	plan_because(plan, "the file has it");
	free(number);
	free(type);
	free(revision);
}

json_int_t plan_memory_comes(const struct plan *plan, json_int_t sbb)
{
	json_int_t missing = plan->want->sbb_memory[sbb] - plan->now->sbb_memory[sbb];

	for (size_t i = 0; i < plan->now->memory_count; i++)
		if (plan->memory_goes[i] && plan->now->memories[i].sbb == sbb)
			missing += plan->now->memories[i].size;
	return missing > 0 ? missing : 0;
}

static void add_memory(struct plan *plan, json_int_t sbb)
{
	json_int_t size = plan_memory_comes(plan, sbb);
	char *text = cli_size_text((unsigned long long)size);

	if (size > 0) {
		plan_step(plan, "HardwareAdd",
			  json_pack("{s:s, s:I, s:I}", "kind", "memory", "sbb", sbb, "size", size),
			  "hardware add memory %s --sbb %lld", text, (long long)sbb);
		because_memory(plan, sbb);
		plan->memory_came = plan_last_step(plan);
	}
	free(text);
}

void plan_hardware_add(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++)
		if (plan->cpu_ways[id] & PLAN_ADD)
			add_cpu(plan, id);
	for (size_t i = 0; i < plan->want->bus_count; i++) {
		const struct plan_bus *bus = &plan->want->buses[i];

		if (!plan_find_bus(plan->now, bus->id)) {
			plan_step(plan, "HardwareAdd",
				  json_pack("{s:s, s:I, s:s}", "kind", "bus", "sbb", bus->sbb, "id",
					    bus->id),
				  "hardware add bus --sbb %lld --id %s", (long long)bus->sbb,
				  bus->id);
			plan_because(plan, "the file has it");
		}
	}
	for (json_int_t sbb = 0; sbb < PLAN_SBBS; sbb++)
		add_memory(plan, sbb);
}
