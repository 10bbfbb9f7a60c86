/*
 * invariants.c - safety as seen from outside: CPUs and sharing sets.
 *
 *   - every CPU that had an owner at first has one, and none is in transit: no CPU is lost;
 *   - whoever executes on a CPU is its current owner: no CPU has two;
 *   - a partition that runs has exactly one primary among its CPUs;
 *   - the members of a set are the partitions of its community that say they are;
 *   - the set is operational, and each member's little brother is the next member by id.
 */
#include "chaos/invariants.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

__attribute__((format(printf, 3, 4))) static bool fails(char *what, size_t size, const char *format,
							...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(what, size, format, args);
	va_end(args);
	return false;
}

static const json_t *partition_named(const json_t *status, const char *name)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(status, "partitions"), i,
			   p) if (strcmp(text(p, "name"), name) == 0) return p;
	return NULL;
}

static bool is_member(const json_t *partition)
{
	const json_t *instance = json_object_get(partition, "instance");

	return strcmp(text(instance, "state"), "member") == 0;
}

static bool had_owner(const json_t *first, int id)
{
	const json_t *cpu;
	size_t i;

	json_array_foreach(json_object_get(first, "cpus"), i,
			   cpu) if (json_integer_value(json_object_get(cpu, "id")) ==
				    id) return text(cpu, "owner") != NULL;
	return false;
}

static bool cpu_holds(const json_t *status, const json_t *first, const json_t *cpu, char *what,
		      size_t size)
{
	int id = (int)json_integer_value(json_object_get(cpu, "id"));
	const char *owner = text(cpu, "owner"), *current = text(cpu, "current_owner");
	const char *runner = text(cpu, "runner"), *state = text(cpu, "state");
	const json_t *p = current ? partition_named(status, current) : NULL;

	if (owner && !current && is_member(partition_named(status, owner)))
		return fails(what, size, "CPU %d of %s is nowhere", id, owner);
	if (!owner && had_owner(first, id))
		return fails(what, size, "CPU %d has lost its owner", id);
	if (strcmp(state, "transit") == 0)
		return fails(what, size, "CPU %d is still in transit", id);
	if (runner && (!current || strcmp(runner, current) != 0))
		return fails(what, size, "CPU %d belongs to %s and is run by %s", id,
			     current ? current : "nobody", runner);
	if (p && is_member(p) && strcmp(state, "active") == 0 && !runner)
		return fails(what, size, "CPU %d is active in %s and runs nothing", id, current);
	return true;
}

static bool primaries_hold(const json_t *status, const json_t *p, char *what, size_t size)
{
	const json_t *cpu;
	size_t i, primaries = 0;

	json_array_foreach(json_object_get(status, "cpus"), i, cpu)
	{
		const char *current = text(cpu, "current_owner");

		if (current && strcmp(current, text(p, "name")) == 0 &&
		    json_is_true(json_object_get(cpu, "primary")))
			primaries++;
	}
	if (is_member(p) && primaries != 1)
		return fails(what, size, "partition %s has %zu primaries", text(p, "name"),
			     primaries);
	return true;
}

/* Partition ids of the members, as a mask; UINT64_MAX when a name is unknown. */
static uint64_t member_mask(const json_t *status, const json_t *community)
{
	const json_t *name;
	uint64_t mask = 0;
	size_t i;

	json_array_foreach(json_object_get(community, "members"), i, name)
	{
		const json_t *p = partition_named(status, json_string_value(name));

		if (!p)
			return UINT64_MAX;
		mask |= UINT64_C(1) << json_integer_value(json_object_get(p, "id"));
	}
	return mask;
}

static int next_member(uint64_t mask, int id)
{
	for (int step = 1; step <= 64; step++)
		if (mask >> (id + step) % 64 & 1)
			return (id + step) % 64;
	return id;
}

static bool community_holds(const json_t *status, const json_t *community, char *what, size_t size)
{
	uint64_t mask = member_mask(status, community);
	const char *name = text(community, "name");
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(status, "partitions"), i, p)
	{
		int id = (int)json_integer_value(json_object_get(p, "id"));
		const json_t *instance = json_object_get(p, "instance");
		const char *its = text(p, "community");
		json_int_t little = json_integer_value(json_object_get(instance, "little_brother"));

		if (!its || strcmp(its, name) != 0)
			continue;
		if (is_member(p) != (mask >> id & 1))
			return fails(what, size, "partition %s is %s, but %s in the mask of %s",
				     text(p, "name"), text(instance, "state"),
				     mask >> id & 1 ? "is" : "is not", name);
		if (is_member(p) && little != next_member(mask, id))
			return fails(what, size, "partition %s watches %d, the next member is %d",
				     text(p, "name"), (int)little, next_member(mask, id));
	}
	if (mask &&
	    strcmp(text(json_object_get(community, "sharing_set"), "state"), "operational") != 0)
		return fails(what, size, "the set of %s is %s", name,
			     text(json_object_get(community, "sharing_set"), "state"));
	return true;
}

bool invariants_hold_sets(const json_t *status, char *ret_what, size_t size)
{
	const json_t *community;
	size_t i;

	json_array_foreach(
	    json_object_get(status, "communities"), i,
	    community) if (!community_holds(status, community, ret_what, size)) return false;
	return true;
}

bool invariants_hold(const json_t *status, const json_t *first, bool all_members, char *ret_what,
		     size_t size)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(status, "cpus"), i,
			   item) if (!cpu_holds(status, first, item, ret_what, size)) return false;
	json_array_foreach(json_object_get(status, "partitions"), i, item)
	{
		if (!primaries_hold(status, item, ret_what, size))
			return false;
		if (all_members && !is_member(item))
			return fails(ret_what, size, "partition %s is no member",
				     text(item, "name"));
	}
	return !all_members || invariants_hold_sets(status, ret_what, size);
}
