/*
 * hardware.c - nodes of the hardware, as power on finds it.
 *
 * WHAT      Ids: an SBB's number; a CPU's number; I/O processor and bus "SBB.IOP.BUS" in 16 bits
 *           each; memory its SBB's number, or (hot swap) its physical address.
 * LIMITS    CONSOLE_HARDWARE_NODES nodes, hot swap included: what an update can change at once.
 */
#include "console/hardware.h"

#include <errno.h>
#include <stdio.h>

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

struct apmp_tree_spec console_sbb_spec(const struct console *c, uint64_t id)
{
	return (struct apmp_tree_spec){.parent = apmp_tree_root(&c->tw, GCT_HW_ROOT),
				       .type = GCT_SBB,
				       .id = id,
				       .flags = NODE_HARDWARE};
}

struct apmp_tree_spec console_cpu_spec(int32_t sbb, const struct console_cpu *cpu)
{
	return (struct apmp_tree_spec){.parent = sbb,
				       .type = GCT_CPU,
				       .subtype = cpu->primary ? GCT_CPU_PRIMARY_CAPABLE
							       : GCT_CPU_SECONDARY_ONLY,
				       .id = cpu->id,
				       .flags = NODE_HARDWARE | NODE_HOTSWAP,
				       .affinity = sbb,
				       .cpu_type = cpu->type,
				       .cpu_revision = cpu->revision};
}

struct apmp_tree_spec console_iop_spec(int32_t sbb, uint64_t id)
{
	return (struct apmp_tree_spec){
	    .parent = sbb, .type = GCT_IOP, .id = id, .flags = NODE_HARDWARE, .affinity = sbb};
}

struct apmp_tree_spec console_bus_spec(int32_t iop, uint64_t id)
{
	return (struct apmp_tree_spec){.parent = iop,
				       .type = GCT_BUS,
				       .id = id,
				       .flags = NODE_HARDWARE | NODE_HOTSWAP,
				       .affinity = iop};
}

struct apmp_tree_spec console_subsystem_spec(int32_t sbb, uint64_t id)
{
	return (struct apmp_tree_spec){.parent = sbb,
				       .type = GCT_MEMORY_SUB,
				       .id = id,
				       .flags = NODE_HARDWARE | NODE_HOTSWAP,
				       .affinity = sbb};
}

struct apmp_tree_spec console_controller_spec(int32_t sbb, int32_t subsystem, uint64_t id)
{
	return (struct apmp_tree_spec){.parent = subsystem,
				       .type = GCT_MEMORY_CTRL,
				       .id = id,
				       .flags = NODE_HARDWARE,
				       .config = subsystem,
				       .affinity = sbb};
}

struct apmp_tree_spec console_desc_spec(int32_t sbb, int32_t subsystem, uint64_t pa)
{
	return (struct apmp_tree_spec){.parent = subsystem,
				       .type = GCT_MEMORY_DESC,
				       .id = pa,
				       .flags = NODE_HARDWARE,
				       .config = subsystem,
				       .affinity = sbb};
}

/* ---- what the machine file describes; each returns a handle, or -ENOSPC ---- */

static int32_t add(struct console *c, struct apmp_tree_spec spec)
{
	return apmp_tree_add(&c->tw, &spec);
}

static int32_t add_disks(struct console *c, int32_t bus, uint64_t bus_id, size_t count)
{
	struct apmp_tree_spec spec = {.parent = bus,
				      .type = GCT_IO_CTRL,
				      .flags = NODE_HARDWARE,
				      .config = bus,
				      .affinity = bus};
	int32_t at = bus;

	for (size_t i = 0; i < count && at >= 0; i++) {
		spec.id = bus_id << 16 | i;
		at = apmp_tree_add(&c->tw, &spec);
	}
	return at;
}

static int32_t add_iops(struct console *c, int32_t sbb, uint64_t sbb_id, const json_t *iops)
{
	const json_t *iop, *bus;
	int32_t at = sbb;
	size_t i, k;

	json_array_foreach(iops, i, iop)
	{
		int32_t iop_at = add(c, console_iop_spec(sbb, sbb_id << 16 | i));

		if (iop_at < 0)
			return iop_at;
		json_array_foreach(json_object_get(iop, "buses"), k, bus)
		{
			uint64_t id = sbb_id << 32 | i << 16 | k;

			at = add(c, console_bus_spec(iop_at, id));
			if (at >= 0)
				at = add_disks(c, at, id,
					       json_array_size(json_object_get(bus, "disks")));
			if (at < 0)
				return at;
		}
	}
	return at;
}

static int32_t add_cpus(struct console *c, int32_t sbb, const json_t *cpus)
{
	const json_t *cpu;
	int32_t at = sbb;
	size_t i;

	json_array_foreach(cpus, i, cpu)
	{
		struct console_cpu it = {.id = (uint32_t)number(cpu, "id"),
					 .type = (uint64_t)number(cpu, "type"),
					 .revision = (uint64_t)number(cpu, "revision"),
					 .primary = json_is_true(json_object_get(cpu, "primary"))};

		at = add(c, console_cpu_spec(sbb, &it));
		if (at < 0)
			return at;
	}
	return at;
}

static int32_t add_memory(struct console *c, int32_t sbb, uint64_t sbb_id, uint64_t pa,
			  uint64_t size)
{
	struct apmp_tree_spec desc;
	int32_t sub = add(c, console_subsystem_spec(sbb, sbb_id)), at = sub;

	if (at >= 0)
		at = add(c, console_controller_spec(sbb, sub, sbb_id));
	if (at < 0)
		return at;
	desc = console_desc_spec(sbb, sub, pa);
	return apmp_tree_add_memory(&c->tw, &desc, pa, size);
}

int console_add_hardware(struct console *c)
{
	uint64_t pa = CONSOLE_FIRST_PA;
	const json_t *sbb;
	size_t i;

	json_array_foreach(json_object_get(c->config, "hardware"), i, sbb)
	{
		uint64_t id = (uint64_t)number(sbb, "sbb"), size = (uint64_t)number(sbb, "memory");
		int32_t at = add(c, console_sbb_spec(c, id)), err = at;

		if (err >= 0)
			err = add_cpus(c, at, json_object_get(sbb, "cpus"));
		if (err >= 0 && size) {
			err = add_memory(c, at, id, pa, size);
			pa += (size + CONSOLE_PA_ALIGN - 1) / CONSOLE_PA_ALIGN * CONSOLE_PA_ALIGN;
		}
		if (err >= 0)
			err = add_iops(c, at, id, json_object_get(sbb, "iops"));
		if (err < 0) {
			snprintf(c->why, sizeof(c->why),
				 "it has more hardware than the configuration tree has room for: "
				 "%u nodes (CPUs, buses, disks, ...)",
				 CONSOLE_HARDWARE_NODES);
			return -E2BIG;
		}
	}
	console_count_cpus(c);
	return 0;
}

uint64_t console_memory_size(const struct console *c)
{
	const json_t *sbb;
	uint64_t size = 0;
	size_t i;

	json_array_foreach(json_object_get(c->config, "hardware"), i, sbb) size +=
	    (uint64_t)number(sbb, "memory");
	return size;
}

int console_find_hardware(struct console *c, enum gct_node_type type, uint64_t id,
			  struct apmp_tree_node *ret_node)
{
	int32_t handle = apmp_tree_find(&c->tw.tree, type, id);

	return handle < 0 ? handle : apmp_tree_node(&c->tw.tree, handle, ret_node);
}

uint64_t console_desc_size(struct console *c, int32_t desc)
{
	struct apmp_tree_fragment f;
	uint64_t size = 0;

	for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, desc, i, &f) == 0; i++)
		size += f.size; /* they tile it */
	return size;
}

uint64_t console_slot_flags(struct console *c, int32_t cpu, int32_t primary)
{
	uint64_t type[2] = {0, 1}, revision[2] = {0, 1}, flags = HWRPB_PP;
	struct apmp_tree_node n;

	if (apmp_tree_node(&c->tw.tree, cpu, &n) || n.flags & NODE_UNAVAILABLE ||
	    apmp_tree_cpu_type(&c->tw.tree, cpu, &type[0], &revision[0]))
		return 0;
	if (apmp_tree_cpu_type(&c->tw.tree, primary, &type[1], &revision[1]) == 0 &&
	    type[0] == type[1] && revision[0] == revision[1])
		flags |= HWRPB_COMPATIBLE;
	if (n.subtype == GCT_CPU_PRIMARY_CAPABLE)
		flags |= HWRPB_PRIMARY_OK;
	return cpu == primary ? flags | HWRPB_PRIMARY : flags;
}

void console_count_cpus(struct console *c)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		if (n.id >= c->cpu_count && n.id < APMP_MAX_CPUS)
			c->cpu_count = (uint32_t)n.id + 1;
	c->env.line_count = c->cpu_count;
	c->mover.cpu_count = c->cpu_count;
}
