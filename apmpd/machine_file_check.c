/*
 * The second pass over a machine file: what only the whole can tell.
 *
 * WHAT	References lead somewhere, nothing is owned twice, names are unique, the memory
 *	suffices, what boots has what booting needs. It knows no YAML; positions came with the
 *	values.
 * STATES	Where the first pass marked something bad, whatever depends on it is not checked:
 *	a CPU is not "unknown" while some SBB's CPUs could not be read.
 * LIMITS	Whether this host can carry the machine is another question, asked at power on.
 */
#include "apmpd/machine_file.h"

#include <string.h>

#include "apmpd/machine_file_internal.h"

struct check {
	const struct machine *machine;
	struct machine_errors *errors;
	bool cpus_known, buses_known,
	    memory_known; /* nothing bad in the hardware's lists of them */
	const struct machine_cpu *cpus[APMP_MACHINE_CPUS];	       /* by id */
	const struct machine_partition *cpu_owners[APMP_MACHINE_CPUS]; /* by id */
};

/* ---- hardware ---- */

static void check_cpu_ids(struct check *check, const struct machine_sbb *sbb)
{
	for (size_t i = 0; i < sbb->cpu_count; i++) {
		const struct machine_cpu *cpu = &sbb->cpus[i];
		const struct machine_cpu *first = check->cpus[cpu->id];

		if (first)
			apmp__machine_error(check->errors, cpu->at,
					    "expected a CPU id of its own, found '%u', which the "
					    "CPU of line %u has",
					    cpu->id, first->at.line);
		else
			check->cpus[cpu->id] = cpu;
	}
}

static void check_disk_names(struct check *check, const struct machine_bus *bus)
{
	for (size_t i = 0; i < bus->disk_count; i++) {
		const struct machine_name *name = &bus->disks[i].name;

		for (size_t j = 0; j < i; j++) {
			if (strcmp(name->text, bus->disks[j].name.text) != 0)
				continue;
			apmp__machine_error(check->errors, name->at,
					    "expected a name of its own for a disk of this bus, "
					    "found '%s' again after line %u",
					    name->text, bus->disks[j].name.at.line);
			break;
		}
	}
}

static void check_sbb_id(struct check *check, size_t index)
{
	const struct machine_sbb *sbb = &check->machine->sbbs[index];

	for (size_t i = 0; i < index && !sbb->at.bad; i++) {
		const struct machine_sbb *other = &check->machine->sbbs[i];

		if (other->at.bad || other->id != sbb->id)
			continue;
		apmp__machine_error(check->errors, sbb->at,
				    "expected an SBB number of its own, found '%u', which the SBB "
				    "of line %u has",
				    sbb->id, other->at.line);
		return;
	}
}

static void check_hardware(struct check *check)
{
	const struct machine *machine = check->machine;

	check->cpus_known = check->buses_known = check->memory_known = !machine->hardware_at.bad;
	for (size_t i = 0; i < machine->sbb_count; i++) {
		const struct machine_sbb *sbb = &machine->sbbs[i];

		check_sbb_id(check, i);
		check_cpu_ids(check, sbb);
		for (size_t p = 0; p < sbb->iop_count; p++) {
			for (size_t b = 0; b < sbb->iops[p].bus_count; b++)
				check_disk_names(check, &sbb->iops[p].buses[b]);
		}
		check->cpus_known = check->cpus_known && !sbb->cpus_at.bad;
		check->buses_known = check->buses_known && !sbb->iops_at.bad && !sbb->at.bad;
		check->memory_known = check->memory_known && !sbb->memory.at.bad;
	}
}

/* ---- names ---- */

static const struct machine_name *
earlier_name(const struct machine *machine, const struct machine_name *name, const char **ret_what)
{
	for (size_t i = 0; i < machine->community_count; i++) {
		const struct machine_name *other = &machine->communities[i].name;

		*ret_what = "community";
		if (other == name)
			return NULL;
		if (strcmp(other->text, name->text) == 0)
			return other;
	}
	for (size_t i = 0; i < machine->partition_count; i++) {
		const struct machine_name *other = &machine->partitions[i].name;

		*ret_what = "partition";
		if (other == name)
			return NULL;
		if (strcmp(other->text, name->text) == 0)
			return other;
	}
	return NULL;
}

/* `memory migrate --from X --to Y` takes either: so no partition is named like a community. */
static void check_name(struct check *check, const struct machine_name *name)
{
	const struct machine_name *other;
	const char *what;

	if (name->text[0] == '\0' || name->at.bad)
		return;
	other = earlier_name(check->machine, name, &what);
	if (other)
		apmp__machine_error(check->errors, name->at,
				    "expected a name of its own among communities and partitions, "
				    "found '%s', which the %s of line %u has",
				    name->text, what, other->at.line);
}

static bool community_exists(const struct machine *machine, const char *name)
{
	for (size_t i = 0; i < machine->community_count; i++)
		if (strcmp(machine->communities[i].name.text, name) == 0)
			return true;
	return false;
}

static void check_community(struct check *check, const struct machine_name *name)
{
	const struct machine *machine = check->machine;
	struct apmp__near near = {.word = name->text};
	char hint[64];

	if (name->text[0] == '\0' || name->at.bad || machine->communities_at.bad ||
	    community_exists(machine, name->text))
		return;
	for (size_t i = 0; i < machine->community_count; i++)
		apmp__near_offer(&near, machine->communities[i].name.text);
	apmp__machine_error(check->errors, name->at,
			    "expected the name of a community, found '%s'%s", name->text,
			    apmp__near_text(&near, hint));
}

/* Partitions of one community trade CPUs.  One that there is not was complained about. */
static void check_trade(struct check *check, const struct machine_partition *partition,
			const struct machine_partition *other, struct machine_pos at)
{
	const struct machine *machine = check->machine;
	const char *community = partition->community.text;

	if (partition->community.at.bad || other->community.at.bad || machine->communities_at.bad)
		return;
	if (!community[0])
		apmp__machine_error(check->errors, at,
				    "expected partition '%s' in a community, where partitions "
				    "trade CPUs, found the failover target '%s'",
				    partition->name.text, other->name.text);
	else if (community_exists(machine, community) &&
		 (!other->community.text[0] || community_exists(machine, other->community.text)) &&
		 strcmp(other->community.text, community) != 0)
		apmp__machine_error(check->errors, at,
				    "expected a partition of community '%s' as target of a "
				    "failover, found '%s'",
				    community, other->name.text);
}

/* Another partition; or itself: the CPU stays [0300]. */
static void check_target(struct check *check, const struct machine_partition *partition,
			 const struct machine_name *target)
{
	const struct machine *machine = check->machine;
	struct apmp__near near = {.word = target->text};
	bool stays = strcmp(target->text, "stay") == 0 || strcmp(target->text, "none") == 0;
	char hint[64];

	if (machine->partitions_at.bad || strcmp(target->text, partition->name.text) == 0)
		return;
	for (size_t i = 0; i < machine->partition_count; i++) {
		const struct machine_partition *other = &machine->partitions[i];

		apmp__near_offer(&near, other->name.text);
		if (strcmp(other->name.text, target->text) != 0)
			continue;
		check_trade(check, partition, other, target->at);
		return;
	}
	if (stays) /* as the command says it */
		apmp__machine_error(
		    check->errors, target->at,
		    "expected the name of a partition, found '%s'; of CPUs that stay "
		    "it is '%s', their own",
		    target->text, partition->name.text);
	else
		apmp__machine_error(check->errors, target->at,
				    "expected the name of a partition, found '%s'%s", target->text,
				    apmp__near_text(&near, hint));
}

/* ---- what a partition owns ---- */

static void unknown_cpu(struct check *check, uint32_t id, struct machine_pos at)
{
	size_t count = 0;

	if (!check->cpus_known)
		return;
	for (size_t i = 0; i < APMP_MACHINE_CPUS; i++)
		count += check->cpus[i] != NULL;
	apmp__machine_error(check->errors, at,
			    "expected the id of one of the machine's %zu CPUs, found '%u'", count,
			    id);
}

static void check_cpus(struct check *check, const struct machine_partition *partition)
{
	for (size_t i = 0; i < partition->cpu_count; i++) {
		const struct machine_cpu_ref *ref = &partition->cpus[i];
		const struct machine_partition *owner = check->cpu_owners[ref->id];

		if (!check->cpus[ref->id])
			unknown_cpu(check, ref->id, ref->at);
		if (owner)
			apmp__machine_error(check->errors, ref->at,
					    "expected a CPU without an owner, found '%u', which "
					    "partition '%s' owns",
					    ref->id, owner->name.text);
		else
			check->cpu_owners[ref->id] = partition;
	}
}

static bool bus_exists(const struct machine *machine, const struct machine_bus_ref *ref)
{
	for (size_t i = 0; i < machine->sbb_count; i++) {
		const struct machine_sbb *sbb = &machine->sbbs[i];

		if (sbb->id == ref->sbb && ref->iop < sbb->iop_count &&
		    ref->bus < sbb->iops[ref->iop].bus_count)
			return true;
	}
	return false;
}

/* The partition that named this bus before `ref` did. */
static const struct machine_partition *bus_owner(const struct machine *machine,
						 const struct machine_bus_ref *ref)
{
	for (size_t i = 0; i < machine->partition_count; i++) {
		const struct machine_partition *partition = &machine->partitions[i];

		for (size_t b = 0; b < partition->bus_count; b++) {
			const struct machine_bus_ref *other = &partition->buses[b];

			if (other == ref)
				return NULL;
			if (other->sbb == ref->sbb && other->iop == ref->iop &&
			    other->bus == ref->bus)
				return partition;
		}
	}
	return NULL;
}

static void check_buses(struct check *check, const struct machine_partition *partition)
{
	for (size_t i = 0; i < partition->bus_count; i++) {
		const struct machine_bus_ref *ref = &partition->buses[i];
		const struct machine_partition *owner = bus_owner(check->machine, ref);

		if (check->buses_known && !bus_exists(check->machine, ref))
			apmp__machine_error(check->errors, ref->at,
					    "expected a bus of the machine as SBB.IOP.BUS, found "
					    "'%u.%u.%u'",
					    ref->sbb, ref->iop, ref->bus);
		if (owner)
			apmp__machine_error(check->errors, ref->at,
					    "expected a bus without an owner, found '%u.%u.%u', "
					    "which partition '%s' owns",
					    ref->sbb, ref->iop, ref->bus, owner->name.text);
	}
}

/* Each once, and nothing behind where the CPU stays, as `apmp cpu failover` has it.  False after
 * complaining about this one. */
static bool check_place(struct check *check, const struct machine_partition *partition,
			const struct machine_failover *rule, size_t place)
{
	const struct machine_name *target = &rule->targets[place];

	for (size_t i = 0; i < place; i++) {
		bool stays = strcmp(rule->targets[i].text, partition->name.text) == 0;

		if (strcmp(rule->targets[i].text, target->text) == 0)
			apmp__machine_error(check->errors, target->at,
					    "expected each target once, found '%s' again",
					    target->text);
		else if (stays)
			apmp__machine_error(check->errors, target->at,
					    "expected nothing behind '%s', where the CPU stays, "
					    "found '%s'",
					    partition->name.text, target->text);
		else
			continue;
		return false;
	}
	return true;
}

static void check_failover(struct check *check, const struct machine_partition *partition)
{
	for (size_t i = 0; i < partition->failover_count; i++) {
		const struct machine_failover *rule = &partition->failovers[i];

		if (rule->cpu != APMP_MACHINE_FAILOVER_ALL && !check->cpus[rule->cpu])
			unknown_cpu(check, rule->cpu, rule->at);
		for (size_t t = 0; t < rule->target_count; t++)
			if (check_place(check, partition, rule, t))
				check_target(check, partition, &rule->targets[t]);
		for (size_t j = 0; j < i; j++) {
			if (partition->failovers[j].cpu != rule->cpu)
				continue;
			apmp__machine_error(check->errors, rule->at,
					    "expected one rule for a CPU, found a second one after "
					    "line %u",
					    partition->failovers[j].at.line);
			break;
		}
	}
}

static void check_autostart(struct check *check, const struct machine_partition *partition)
{
	for (size_t i = 0; i < partition->autostart_count; i++)
		if (!check->cpus[partition->autostart[i].id])
			unknown_cpu(check, partition->autostart[i].id, partition->autostart[i].at);
}

static bool has_primary(const struct check *check, const struct machine_partition *partition)
{
	for (size_t i = 0; i < partition->cpu_count; i++) {
		const struct machine_cpu *cpu = check->cpus[partition->cpus[i].id];

		if (!cpu || cpu->primary)
			return true; /* the unknown CPU has its own sentence */
	}
	return false;
}

/* A partition that boots needs a CPU to run on, a console port (on a bus) and memory. */
static void check_boot(struct check *check, const struct machine_partition *partition)
{
	static const char need[] = "expected %s in partition '%s', which boots at power on, found "
				   "none";
	const char *name = partition->name.text;

	if (!partition->boot)
		return;
	if (partition->cpu_count == 0 && !partition->cpus_at.bad)
		apmp__machine_error(check->errors, partition->at, need, "a CPU", name);
	else if (!partition->cpus_at.bad && !has_primary(check, partition))
		apmp__machine_error(check->errors, partition->cpus_at, need,
				    "a CPU that may be primary", name);
	if (partition->bus_count == 0 && !partition->buses_at.bad)
		apmp__machine_error(check->errors, partition->at, need, "a bus", name);
	if (partition->memory.bytes == 0 && !partition->memory.at.bad)
		apmp__machine_error(check->errors, partition->at, need, "memory", name);
}

/* ---- sums ---- */

/* Adds to the memory in use. Complains and returns false where it first becomes too much. */
static bool takes(struct check *check, const struct machine_size *size, uint64_t total,
		  uint64_t *used)
{
	char has[APMP_MACHINE_NAME_SIZE], wants[APMP_MACHINE_NAME_SIZE];
	char sum[APMP_MACHINE_NAME_SIZE];

	*used += size->bytes;
	if (*used <= total)
		return true;
	apmp__machine_error(check->errors, size->at,
			    "expected shared and private memory of at most %s, the memory of the "
			    "machine, found '%s', which makes it %s",
			    apmp__machine_size_text(total, has),
			    apmp__machine_size_text(size->bytes, wants),
			    apmp__machine_size_text(*used, sum));
	return false;
}

static void check_memory(struct check *check)
{
	const struct machine *machine = check->machine;
	uint64_t total = 0, used = 0;
	bool fits = check->memory_known;

	for (size_t i = 0; i < machine->sbb_count; i++)
		total += machine->sbbs[i].memory.bytes;
	for (size_t i = 0; fits && i < machine->community_count; i++)
		fits = takes(check, &machine->communities[i].shared, total, &used);
	for (size_t i = 0; fits && i < machine->partition_count; i++)
		fits = takes(check, &machine->partitions[i].memory, total, &used);
}

/* "50ms": in the largest unit that divides it. Times are whole microseconds. */
static char *time_text(uint64_t ns, char ret_text[APMP_MACHINE_NAME_SIZE])
{
	uint64_t us = ns / 1000;
	const char *unit = "us";

	if (us % 1000000 == 0) {
		us /= 1000000;
		unit = "s";
	} else if (us % 1000 == 0) {
		us /= 1000;
		unit = "ms";
	}
	snprintf(ret_text, APMP_MACHINE_NAME_SIZE, "%llu%s", (unsigned long long)us, unit);
	return ret_text;
}

/* A live instance must be able to miss the beats that make it suspect before it is fenced. */
static void check_timing(struct check *check)
{
	const struct machine_timing *timing = &check->machine->timing;
	uint64_t least = timing->suspect * timing->tick.ns;
	char tick[APMP_MACHINE_NAME_SIZE], sum[APMP_MACHINE_NAME_SIZE];
	char stop[APMP_MACHINE_NAME_SIZE];

	if (timing->at.bad || timing->stop.ns >= least)
		return;
	apmp__machine_error(check->errors, timing->stop.at.line ? timing->stop.at : timing->at,
			    "expected stop to be at least suspect times tick (%u times %s is %s), "
			    "found '%s'%s",
			    timing->suspect, time_text(timing->tick.ns, tick),
			    time_text(least, sum), time_text(timing->stop.ns, stop),
			    timing->stop.at.line ? "" : ", the default");
}

void apmp__machine_check(const struct machine *machine, struct machine_errors *errors)
{
	struct check check = {.machine = machine, .errors = errors};

	check_hardware(&check);
	for (size_t i = 0; i < machine->community_count; i++)
		check_name(&check, &machine->communities[i].name);
	for (size_t i = 0; i < machine->partition_count; i++) {
		const struct machine_partition *partition = &machine->partitions[i];

		check_name(&check, &partition->name);
		check_community(&check, &partition->community);
		check_cpus(&check, partition);
		check_buses(&check, partition);
		check_failover(&check, partition);
		check_autostart(&check, partition);
		check_boot(&check, partition);
	}
	check_memory(&check);
	check_timing(&check);
}
