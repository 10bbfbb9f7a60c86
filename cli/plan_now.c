/*
 * plan_now.c - the running machine, from its configuration tree and status.
 *
 * WHAT      Hardware below its building block, software as the tree has it. What is not available
 *           is not there: it was taken out of the box.
 * LIMITS    Disks have no name in the tree, so only their number is known. Deeper nesting than
 *           DEPTH_MAX is no tree of a machine.
 */
#include "cli/plan_now.h"

#include <stdbool.h>
#include <string.h>

enum { DEPTH_MAX = 16 };

static json_int_t number(const json_t *node, const char *key)
{
	return json_integer_value(json_object_get(node, key));
}

static bool is_type(const json_t *node, const char *type)
{
	const char *is = json_string_value(json_object_get(node, "type"));

	return is && strcmp(is, type) == 0;
}

static bool has_flag(const json_t *node, const char *flag)
{
	const json_t *flags = json_object_get(node, "flags"), *one;
	size_t i;

	json_array_foreach(flags, i, one)
	{
		const char *name = json_string_value(one);

		if (name && strcmp(name, flag) == 0)
			return true;
	}
	return false;
}

static const json_t *find(const json_t *nodes, json_int_t handle)
{
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (number(node, "handle") == handle)
			return node;
	}
	return NULL;
}

/* The node itself or the nearest one above it of this type; NULL: none. */
static const json_t *above(const json_t *nodes, const json_t *node, const char *type)
{
	for (int depth = 0; node && depth < DEPTH_MAX; depth++) {
		if (is_type(node, type))
			return node;
		node = find(nodes, number(node, "parent"));
	}
	return NULL;
}

/* Whether it is in the box, with all that is above it. */
static bool in_the_box(const json_t *nodes, const json_t *node)
{
	for (int depth = 0; node && depth < DEPTH_MAX && !is_type(node, "root"); depth++) {
		if (has_flag(node, "unavailable") || has_flag(node, "hw_template"))
			return false;
		node = find(nodes, number(node, "parent"));
	}
	return true;
}

/* ---- hardware ---- */

static json_t *copy(const json_t *node, const char *key)
{
	json_t *value = json_object_get(node, key);

	return value ? json_incref(value) : json_null();
}

static json_t *cpu_json(const json_t *node)
{
	const json_t *detail = json_object_get(node, "detail");
	json_t *cpu =
	    json_pack("{s:O, s:b, s:b, s:o, s:o}", "id", json_object_get(node, "id"), "primary",
		      number(node, "subtype") == 0, "is_primary", has_flag(node, "primary"),
		      "owner", copy(node, "owner"), "user", copy(node, "current_owner"));

	if (json_object_get(detail, "type")) {
		json_object_set_new(cpu, "type", copy(detail, "type"));
		json_object_set_new(cpu, "revision", copy(detail, "revision"));
	}
	return cpu;
}

static json_t *bus_json(const json_t *nodes, const json_t *bus)
{
	json_t *disks = json_array();
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (is_type(node, "device_controller") && in_the_box(nodes, node) &&
		    number(node, "parent") == number(bus, "handle"))
			json_array_append_new(disks, copy(node, "id"));
	}
	return json_pack("{s:O, s:o, s:o, s:o}", "id", json_object_get(bus, "name"), "disks", disks,
			 "owner", copy(bus, "owner"), "user", copy(bus, "current_owner"));
}

static json_t *memory_json(const json_t *node)
{
	const json_t *fragments = json_object_get(json_object_get(node, "detail"), "fragments");
	json_t *pieces = json_array();
	const json_t *fragment;
	json_int_t size = 0;
	size_t i;

	json_array_foreach(fragments, i, fragment)
	{
		size += number(fragment, "size");
		json_array_append_new(
		    pieces,
		    json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "pa", copy(fragment, "pa"), "size",
			      copy(fragment, "size"), "owner", copy(fragment, "owner"), "user",
			      copy(fragment, "current_owner"), "shared", copy(fragment, "shared"),
			      "base", copy(fragment, "base")));
	}
	return json_pack("{s:o, s:I, s:o}", "pa", copy(node, "id"), "size", size, "pieces", pieces);
}

static json_t *sbb_json(const json_t *nodes, const json_t *sbb)
{
	json_t *cpus = json_array(), *memory = json_array(), *buses = json_array();
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (above(nodes, node, "sbb") != sbb || !in_the_box(nodes, node))
			continue;
		if (is_type(node, "cpu"))
			json_array_append_new(cpus, cpu_json(node));
		else if (is_type(node, "bus"))
			json_array_append_new(buses, bus_json(nodes, node));
		else if (is_type(node, "memory_descriptor"))
			json_array_append_new(memory, memory_json(node));
	}
	return json_pack("{s:o, s:o, s:o, s:[{s:o}]}", "sbb", copy(sbb, "id"), "cpus", cpus,
			 "memory", memory, "iops", "buses", buses);
}

/* ---- software ---- */

/* What the tree does not have: rules of failover, and the autostart set. */
static void add_tables(json_t *partition, const json_t *status)
{
	const json_t *partitions = json_object_get(status, "partitions"), *one;
	size_t i;

	json_array_foreach(partitions, i, one)
	{
		if (!json_equal(json_object_get(one, "name"), json_object_get(partition, "name")))
			continue;
		json_object_set(partition, "failover", json_object_get(one, "failover"));
		json_object_set(partition, "autostart", json_object_get(one, "autostart"));
	}
}

static json_t *partition_json(const json_t *nodes, const json_t *node, const json_t *status)
{
	const json_t *community = above(nodes, node, "community");
	const json_t *detail = json_object_get(node, "detail");
	json_t *partition =
	    json_pack("{s:o, s:o, s:b, s:o}", "name", copy(node, "name"), "community",
		      community ? copy(community, "name") : json_null(), "running",
		      has_flag(node, "initialized"), "incarnation", copy(detail, "incarnation"));

	json_object_set(partition, "boot", json_object_get(detail, "boot"));
	add_tables(partition, status);
	return partition;
}

json_t *plan_now(const json_t *tree, const json_t *status)
{
	static const char *const settings[] = {"machine", "timing", "fence", "notice_exit", "dump"};
	const json_t *nodes = json_object_get(tree, "nodes"), *node;
	json_t *hardware = json_array(), *communities = json_array(), *partitions = json_array();
	json_t *now = json_pack("{s:o, s:o, s:o}", "hardware", hardware, "communities", communities,
				"partitions", partitions);
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		json_object_set(now, settings[i], json_object_get(status, settings[i]));
	json_array_foreach(nodes, i, node)
	{
		if (!in_the_box(nodes, node))
			continue;
		if (is_type(node, "sbb"))
			json_array_append_new(hardware, sbb_json(nodes, node));
		else if (is_type(node, "community"))
			json_array_append_new(communities,
					      json_pack("{s:o}", "name", copy(node, "name")));
		else if (is_type(node, "partition"))
			json_array_append_new(partitions, partition_json(nodes, node, status));
	}
	return now;
}
