/* The steps of a plan, done on the machine in miniature by its rules. */
#include "tests/unit/plan_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- steps: what they are about ---- */

static const char *text(const json_t *step, const char *key)
{
	return json_string_value(json_object_get(json_object_get(step, "parameters"), key));
}

static int64_t number(const json_t *step, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(step, "parameters"), key));
}

/* MODEL_NONE: not among them. */
static int index_of(const char *const *names, int count, const char *name)
{
	for (int i = 0; name && i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return MODEL_NONE;
}

/* A partition that is there. */
static int partition_of(const struct model *m, const char *name)
{
	int i = index_of(model_partition_name, MODEL_NAMES, name);

	return i != MODEL_NONE && m->partition[i].there ? i : MODEL_NONE;
}

static int community_of(const struct model *m, const char *name)
{
	int i = index_of(model_community_name, MODEL_COMMUNITIES, name);

	return i != MODEL_NONE && m->community[i] ? i : MODEL_NONE;
}

static int bus_of(const char *id)
{
	int sbb, iop, bus;

	return id && sscanf(id, "%d.%d.%d", &sbb, &iop, &bus) == 3 ? 4 * sbb + bus : MODEL_NONE;
}

static int community_members(const struct model *m, int community, bool running)
{
	int count = 0;

	for (int i = 0; i < MODEL_NAMES; i++)
		count += m->partition[i].there && m->partition[i].community == community &&
			 (!running || m->partition[i].running);
	return count;
}

/* ---- steps: what they do ---- */

static const char *do_life(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	if (partition == MODEL_NONE)
		return "no such partition";
	if (strcmp(json_string_value(json_object_get(step, "method")), "PartitionHalt") == 0)
		return model_halt(m, partition);
	return model_boot(m, partition);
}

static const char *do_migrate(struct model *m, const json_t *step)
{
	int to = partition_of(m, text(step, "to"));

	return to == MODEL_NONE ? "no such partition"
				: model_migrate(m, (int)number(step, "cpu"), to, false);
}

/* A CPU or bus comes to an owner, or leaves it. */
static const char *change_owner(struct model *m, int *owner, int *user, const char *to)
{
	int partition = partition_of(m, to);

	if (to && partition == MODEL_NONE)
		return "no such partition";
	if (to && (*owner != MODEL_NONE || *user != MODEL_NONE))
		return "it is owned, or used";
	if (!to && *owner == MODEL_NONE)
		return "nobody owns it";
	if (!to && model_runs(m, *user))
		return "who runs uses it";
	*owner = partition;
	*user = MODEL_NONE;
	return NULL;
}

static const char *do_cpu(struct model *m, const json_t *step)
{
	struct model_cpu *cpu = &m->cpu[number(step, "cpu")];

	return cpu->there ? change_owner(m, &cpu->owner, &cpu->user, text(step, "to"))
			  : "no such CPU";
}

static const char *do_bus(struct model *m, const json_t *step)
{
	struct model_bus *bus = &m->bus[bus_of(text(step, "bus"))];

	return bus->there ? change_owner(m, &bus->owner, &bus->user, text(step, "to"))
			  : "no such bus";
}

static const char *do_memory(struct model *m, const json_t *step)
{
	const char *from = text(step, "from"), *name = from ? from : text(step, "to");
	int partition = partition_of(m, name), community = community_of(m, name);
	bool shared = partition == MODEL_NONE;
	int owner = shared ? community : partition;

	if (owner == MODEL_NONE)
		return "no such owner";
	if (!from)
		return model_assign(m, number(step, "size"), number(step, "pa"), owner, shared);
	if (shared ? community_members(m, owner, true) > 0 : model_runs(m, owner))
		return "who runs uses it";
	return model_release(m, number(step, "size"), number(step, "pa"), owner, shared);
}

static const char *delete_partition(struct model *m, int partition)
{
	if (m->partition[partition].running)
		return "it runs";
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->owner == partition && model_runs(m, cpu->user))
			return "a CPU of it is on loan";
		if (cpu->owner == partition)
			cpu->owner = MODEL_NONE;
		if (cpu->user == partition)
			cpu->user = MODEL_NONE;
	}
	for (int i = 0; i < MODEL_BUSES; i++) {
		if (m->bus[i].owner == partition)
			m->bus[i].owner = MODEL_NONE;
		if (m->bus[i].user == partition)
			m->bus[i].user = MODEL_NONE;
	}
	(void)model_release(m, model_owned(m, partition, false), 0, partition, false);
	m->partition[partition].there = false;
	return NULL;
}

static const char *do_delete(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	return partition == MODEL_NONE ? "no such partition" : delete_partition(m, partition);
}

static const char *do_create(struct model *m, const json_t *step)
{
	int i = index_of(model_partition_name, MODEL_NAMES, text(step, "name"));
	int community = community_of(m, text(step, "community"));

	if (m->partition[i].there)
		return "there is one of this name";
	if (text(step, "community") && community == MODEL_NONE)
		return "no such community";
	m->partition[i] = (struct model_partition){
	    .there = true,
	    .resume = m->partition[i].resume, /* it was to be made, and booted */
	    .community = community,
	    .primary = MODEL_NONE,
	    .boot = json_is_true(json_object_get(json_object_get(step, "parameters"), "boot"))};
	return NULL;
}

static const char *do_set(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	if (partition == MODEL_NONE)
		return "no such partition";
	m->partition[partition].boot =
	    json_is_true(json_object_get(json_object_get(step, "parameters"), "boot"));
	return NULL;
}

static const char *do_community(struct model *m, const json_t *step)
{
	bool create =
	    strcmp(json_string_value(json_object_get(step, "method")), "CommunityCreate") == 0;
	int i = index_of(model_community_name, MODEL_COMMUNITIES, text(step, "name"));

	if (m->community[i] == create)
		return create ? "there is one of this name" : "no such community";
	if (!create && community_members(m, i, false) > 0)
		return "partitions are in it";
	m->community[i] = create;
	(void)model_release(m, model_owned(m, i, true), 0, i, true);
	return NULL;
}

static const char *do_membership(struct model *m, const json_t *step)
{
	bool add = strcmp(json_string_value(json_object_get(step, "method")), "CommunityAdd") == 0;
	int partition = partition_of(m, text(step, "partition"));
	int community = community_of(m, text(step, "name"));

	if (partition == MODEL_NONE || community == MODEL_NONE)
		return "no such partition, or community";
	if (m->partition[partition].running)
		return "it runs";
	if (m->partition[partition].community != (add ? MODEL_NONE : community))
		return "it is not in there, or in another one";
	if (model_owned(m, partition, false) > 0)
		return "it has memory of descriptors of another domain";
	m->partition[partition].community = add ? community : MODEL_NONE;
	return NULL;
}

static const char *add_hardware(struct model *m, const json_t *step)
{
	const char *kind = text(step, "kind"), *id = text(step, "id");
	int sbb = (int)number(step, "sbb"), cpu;

	if (strcmp(kind, "memory") == 0) {
		model_add_memory(m, sbb, number(step, "size"));
		return NULL;
	}
	if (strcmp(kind, "bus") == 0) {
		int at = bus_of(id);

		if (at < 0 || at >= MODEL_BUSES || m->bus[at].there)
			return "it is there, or nowhere";
		if (at % 4 > 0 && !m->bus[at - 1].there)
			return "it is not the next one";
		m->bus[at] =
		    (struct model_bus){.there = true, .owner = MODEL_NONE, .user = MODEL_NONE};
		return NULL;
	}
	if (sscanf(id, "%d", &cpu) != 1 || m->cpu[cpu].there)
		return "it is there";
	m->cpu[cpu] = (struct model_cpu){.there = true,
					 .sbb = sbb,
					 .type = (int)number(step, "type"),
					 .primary = json_is_true(json_object_get(
					     json_object_get(step, "parameters"), "primary")),
					 .owner = MODEL_NONE,
					 .user = MODEL_NONE};
	return NULL;
}

static const char *remove_hardware(struct model *m, const json_t *step)
{
	const char *kind = text(step, "kind"), *id = text(step, "id");
	struct model_bus *bus;
	int64_t pa;
	int cpu;

	if (strcmp(kind, "memory") == 0)
		return sscanf(id, "%" SCNx64, (uint64_t *)&pa) == 1 ? model_remove_memory(m, pa)
								    : "no address";
	if (strcmp(kind, "cpu") == 0) {
		if (sscanf(id, "%d", &cpu) != 1 || !m->cpu[cpu].there)
			return "no such CPU";
		if (m->cpu[cpu].owner != MODEL_NONE || m->cpu[cpu].user != MODEL_NONE)
			return "it is owned, or used";
		m->cpu[cpu].there = false;
		return NULL;
	}
	bus = &m->bus[bus_of(id)];
	if (!bus->there)
		return "no such bus";
	if (bus->owner != MODEL_NONE || bus->user != MODEL_NONE)
		return "it is owned, or used";
	bus->there = false;
	return NULL;
}

const char *model_do(struct model *m, const json_t *step)
{
	static const struct {
		const char *method;
		const char *(*act)(struct model *m, const json_t *step);
	} methods[] = {
	    {"PartitionHalt", do_life},	       {"PartitionBoot", do_life},
	    {"CpuMigrate", do_migrate},	       {"CpuAssign", do_cpu},
	    {"CpuDeassign", do_cpu},	       {"BusAssign", do_bus},
	    {"BusDeassign", do_bus},	       {"MemoryAssign", do_memory},
	    {"MemoryDeassign", do_memory},     {"PartitionDelete", do_delete},
	    {"PartitionCreate", do_create},    {"PartitionSet", do_set},
	    {"CommunityCreate", do_community}, {"CommunityDelete", do_community},
	    {"CommunityAdd", do_membership},   {"CommunityRemove", do_membership},
	    {"HardwareAdd", add_hardware},     {"HardwareRemove", remove_hardware},
	};
	const char *method = json_string_value(json_object_get(step, "method"));

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].method, method) == 0)
			return methods[i].act(m, step);
	return "no such method";
}
