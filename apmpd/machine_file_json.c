/* A machine, and the mistakes of a machine file, as JSON. The shapes are in machine_file.h. */
#include "apmpd/machine_file.h"

#include "apmpd/machine_file_internal.h"

/*
 * Building goes on with null for what there was no memory for: json_pack fails for a null "o", and
 * an append of null fails; so it is enough to look at the end of each object and list.
 */

/* Appends `item` to `*list`; on failure the whole list becomes null. */
static void append(json_t **list, json_t *item)
{
	if (*list && json_array_append_new(*list, item) == 0)
		return;
	if (!*list)
		json_decref(item);
	json_decref(*list);
	*list = NULL;
}

static json_t *bus_id(uint32_t sbb, uint32_t iop, uint32_t bus)
{
	return json_sprintf("%u.%u.%u", sbb, iop, bus);
}

static json_t *cpus_to_json(const struct machine_sbb *sbb)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sbb->cpu_count; i++) {
		const struct machine_cpu *cpu = &sbb->cpus[i];

		append(&list, json_pack("{s:I, s:I, s:I, s:b}", "id", (json_int_t)cpu->id, "type",
					(json_int_t)cpu->type, "revision",
					(json_int_t)cpu->revision, "primary", cpu->primary));
	}
	return list;
}

static json_t *disks_to_json(const struct machine_bus *bus)
{
	json_t *list = json_array();

	for (size_t i = 0; i < bus->disk_count; i++)
		append(&list, json_pack("{s:s, s:I}", "name", bus->disks[i].name.text, "size",
					(json_int_t)bus->disks[i].size.bytes));
	return list;
}

static json_t *iops_to_json(const struct machine_sbb *sbb)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sbb->iop_count; i++) {
		const struct machine_iop *iop = &sbb->iops[i];
		json_t *buses = json_array();

		for (size_t b = 0; b < iop->bus_count; b++)
			append(&buses, json_pack("{s:o, s:o}", "id",
						 bus_id(sbb->id, (uint32_t)i, (uint32_t)b), "disks",
						 disks_to_json(&iop->buses[b])));
		append(&list, json_pack("{s:I, s:o}", "id", (json_int_t)i, "buses", buses));
	}
	return list;
}

static json_t *hardware_to_json(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < machine->sbb_count; i++) {
		const struct machine_sbb *sbb = &machine->sbbs[i];

		append(&list, json_pack("{s:I, s:o, s:I, s:o}", "sbb", (json_int_t)sbb->id, "cpus",
					cpus_to_json(sbb), "memory", (json_int_t)sbb->memory.bytes,
					"iops", iops_to_json(sbb)));
	}
	return list;
}

static json_t *communities_to_json(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < machine->community_count; i++) {
		const struct machine_community *community = &machine->communities[i];

		append(&list, json_pack("{s:s, s:I}", "name", community->name.text, "shared",
					(json_int_t)community->shared.bytes));
	}
	return list;
}

static json_t *targets_to_json(const struct machine_failover *rule)
{
	json_t *list;

	if (rule->target_count == 1)
		return json_string(rule->targets[0].text);
	list = json_array();
	for (size_t i = 0; i < rule->target_count; i++)
		append(&list, json_string(rule->targets[i].text));
	return list;
}

static json_t *failover_to_json(const struct machine_partition *partition)
{
	json_t *rules = json_object();

	for (size_t i = 0; i < partition->failover_count; i++) {
		const struct machine_failover *rule = &partition->failovers[i];
		char cpu[16] = "*";

		if (rule->cpu != APMP_MACHINE_FAILOVER_ALL)
			snprintf(cpu, sizeof(cpu), "%u", rule->cpu);
		if (json_object_set_new(rules, cpu, targets_to_json(rule)) < 0) {
			json_decref(rules);
			return NULL;
		}
	}
	return rules;
}

static json_t *ids_to_json(const struct machine_cpu_ref *cpus, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		append(&list, json_integer(cpus[i].id));
	return list;
}

static json_t *partition_to_json(const struct machine_partition *partition)
{
	const char *community = partition->community.text;
	json_t *cpus = ids_to_json(partition->cpus, partition->cpu_count);
	json_t *autostart = partition->autostart_all
				? json_string("all")
				: ids_to_json(partition->autostart, partition->autostart_count);
	json_t *buses = json_array();

	for (size_t i = 0; i < partition->bus_count; i++)
		append(&buses, bus_id(partition->buses[i].sbb, partition->buses[i].iop,
				      partition->buses[i].bus));
	return json_pack("{s:s, s:s?, s:o, s:I, s:o, s:b, s:o, s:o}", "name", partition->name.text,
			 "community", community[0] ? community : NULL, "cpus", cpus, "memory",
			 (json_int_t)partition->memory.bytes, "buses", buses, "boot",
			 partition->boot, "failover", failover_to_json(partition), "autostart",
			 autostart);
}

static json_t *partitions_to_json(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < machine->partition_count; i++)
		append(&list, partition_to_json(&machine->partitions[i]));
	return list;
}

static json_t *dump_to_json(const struct machine_dump *dump)
{
	return dump->on ? json_pack("{s:I, s:I}", "limit", (json_int_t)dump->limit.bytes, "keep",
				    (json_int_t)dump->keep)
			: json_null();
}

json_t *apmp_machine_to_json(const struct machine *machine)
{
	const struct machine_timing *timing = &machine->timing;

	return json_pack("{s:s, s:o, s:o, s:o, s:{s:I, s:I, s:I}, s:s, s:b, s:o}", "machine",
			 machine->name.text, "hardware", hardware_to_json(machine), "communities",
			 communities_to_json(machine), "partitions", partitions_to_json(machine),
			 "timing", "tick_ns", (json_int_t)timing->tick.ns, "suspect",
			 (json_int_t)timing->suspect, "stop_ns", (json_int_t)timing->stop.ns,
			 "fence", machine->fence == APMP_FENCE_BUGCHECK ? "bugcheck" : "kill",
			 "notice_exit", machine->notice_exit, "dump", dump_to_json(&machine->dump));
}

json_t *apmp_machine_errors_to_json(const struct machine_errors *errors)
{
	json_t *list = json_array();

	for (size_t i = 0; i < errors->count; i++) {
		const struct machine_error *e = &errors->list[i];

		append(&list, json_pack("{s:I, s:I, s:s}", "line", (json_int_t)e->line, "column",
					(json_int_t)e->column, "message", e->sentence));
	}
	return json_pack("{s:s, s:o, s:I}", "file", errors->file, "errors", list, "more",
			 (json_int_t)errors->more);
}
