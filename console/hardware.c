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

int32_t console_add_sbb(struct console *c, uint64_t id)
{
	struct apmp_tree_spec spec = {.parent = apmp_tree_root(&c->tw, GCT_HW_ROOT),
				      .type = GCT_SBB,
				      .id = id,
				      .flags = NODE_HARDWARE};

	return apmp_tree_add(&c->tw, &spec);
}

int32_t console_add_cpu(struct console *c, int32_t sbb, const struct console_cpu *cpu)
{
	struct apmp_tree_spec spec = {.parent = sbb,
				      .type = GCT_CPU,
				      .subtype = cpu->primary ? GCT_CPU_PRIMARY_CAPABLE
							      : GCT_CPU_SECONDARY_ONLY,
				      .id = cpu->id,
				      .flags = NODE_HARDWARE | NODE_HOTSWAP,
				      .affinity = sbb};

	return apmp_tree_add(&c->tw, &spec);
}

int32_t console_add_memory(struct console *c, int32_t sbb, uint64_t id, uint64_t pa, uint64_t size)
{
	struct apmp_tree_spec spec = {.parent = sbb,
				      .type = GCT_MEMORY_SUB,
				      .id = id,
				      .flags = NODE_HARDWARE | NODE_HOTSWAP,
				      .affinity = sbb};
	int32_t sub = apmp_tree_add(&c->tw, &spec), at;

	if (sub < 0)
		return sub;
	spec.parent = spec.config = sub;
	spec.type = GCT_MEMORY_CTRL;
	spec.flags = NODE_HARDWARE; /* it goes with its subsystem */
	at = apmp_tree_add(&c->tw, &spec);
	if (at < 0)
		return at;
	spec.type = GCT_MEMORY_DESC;
	spec.id = pa;
	at = apmp_tree_add_memory(&c->tw, &spec, pa, size);
	return at < 0 ? at : sub;
}

int32_t console_add_iop(struct console *c, int32_t sbb, uint64_t id)
{
	struct apmp_tree_spec spec = {
	    .parent = sbb, .type = GCT_IOP, .id = id, .flags = NODE_HARDWARE, .affinity = sbb};

	return apmp_tree_add(&c->tw, &spec);
}

int32_t console_add_bus(struct console *c, int32_t iop, uint64_t id, size_t disks)
{
	struct apmp_tree_spec spec = {.parent = iop,
				      .type = GCT_BUS,
				      .id = id,
				      .flags = NODE_HARDWARE | NODE_HOTSWAP,
				      .affinity = iop};
	int32_t bus = apmp_tree_add(&c->tw, &spec), at = bus;

	spec.parent = spec.config = spec.affinity = bus;
	spec.type = GCT_IO_CTRL;
	spec.flags = NODE_HARDWARE;
	for (size_t i = 0; i < disks && at >= 0; i++) {
		spec.id = id << 16 | i;
		at = apmp_tree_add(&c->tw, &spec);
	}
	return at < 0 ? at : bus;
}

static int32_t add_iops(struct console *c, int32_t sbb, uint64_t sbb_id, const json_t *iops)
{
	const json_t *iop, *bus;
	int32_t at = sbb;
	size_t i, k;

	json_array_foreach(iops, i, iop)
	{
		int32_t iop_at = console_add_iop(c, sbb, sbb_id << 16 | i);

		if (iop_at < 0)
			return iop_at;
		json_array_foreach(json_object_get(iop, "buses"), k, bus)
		{
			at = console_add_bus(c, iop_at, sbb_id << 32 | i << 16 | k,
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
		struct console_cpu spec = {.id = (uint32_t)number(cpu, "id"),
					   .type = (uint64_t)number(cpu, "type"),
					   .revision = (uint64_t)number(cpu, "revision"),
					   .primary =
					       json_is_true(json_object_get(cpu, "primary"))};

		at = console_add_cpu(c, sbb, &spec);
		if (at < 0)
			return at;
	}
	return at;
}

int console_add_hardware(struct console *c)
{
	uint64_t pa = CONSOLE_FIRST_PA;
	const json_t *sbb;
	size_t i;

	json_array_foreach(json_object_get(c->config, "hardware"), i, sbb)
	{
		uint64_t id = (uint64_t)number(sbb, "sbb"), size = (uint64_t)number(sbb, "memory");
		int32_t at = console_add_sbb(c, id), err = at;

		if (err >= 0)
			err = add_cpus(c, at, json_object_get(sbb, "cpus"));
		if (err >= 0 && size) {
			err = console_add_memory(c, at, id, pa, size);
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
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	int more;

	apmp_tree_walk_init(&walk, 0);
	while ((more = apmp_tree_walk_type(&c->tw.tree, &walk, type, &n)) > 0) {
		if (n.id == id) {
			*ret_node = n;
			return 0;
		}
	}
	return more < 0 ? more : -ENOENT;
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
}
