/*
 * unconfigured.c - a machine that nobody has divided yet [0064]: one partition, "admin", with the
 * primary CPU, the least memory and the first bus, whose port is the administrator's; commands make
 * the rest.  It is in a community (the first there is, else "main"), without which its memory
 * subsystem could serve nobody else [0097].
 */
#include <errno.h>
#include <stdio.h>

#include "console/console.h"
#include "console/hardware.h"

/* The first CPU that may be primary; -1. */
static json_int_t first_primary(const json_t *hardware)
{
	const json_t *sbb, *cpu;
	size_t i, k;

	json_array_foreach(hardware, i, sbb)
	{
		json_array_foreach(json_object_get(sbb, "cpus"), k, cpu)
		{
			if (json_is_true(json_object_get(cpu, "primary")))
				return json_integer_value(json_object_get(cpu, "id"));
		}
	}
	return -1;
}

/* NULL: there is none. */
static const char *first_bus(const json_t *hardware)
{
	const json_t *sbb, *iop, *buses;
	size_t i, k;

	json_array_foreach(hardware, i, sbb)
	{
		json_array_foreach(json_object_get(sbb, "iops"), k, iop)
		{
			buses = json_object_get(iop, "buses");
			if (json_array_size(buses) > 0)
				return json_string_value(
				    json_object_get(json_array_get(buses, 0), "id"));
		}
	}
	return NULL;
}

int console_division(struct console *c, json_t **ret_division)
{
	const json_t *hardware = json_object_get(c->config, "hardware");
	json_t *partitions = json_object_get(c->config, "partitions");
	json_t *communities = json_object_get(c->config, "communities");
	json_int_t cpu = first_primary(hardware);
	const char *bus = first_bus(hardware), *name;

	if (json_array_size(partitions) > 0) {
		*ret_division =
		    json_pack("{s:O,s:O}", "communities", communities, "partitions", partitions);
		return *ret_division ? 0 : -ENOMEM;
	}
	if (cpu < 0 || !bus) {
		snprintf(c->why, sizeof(c->why),
			 "nothing divides it, and the hardware has no %s for the first partition",
			 bus ? "CPU that may be primary" : "bus");
		return -ENODEV;
	}
	communities = json_array_size(communities) > 0
			  ? json_incref(communities)
			  : json_pack("[{s:s,s:i}]", "name", "main", "shared", 0);
	name = json_string_value(json_object_get(json_array_get(communities, 0), "name"));
	*ret_division =
	    json_pack("{s:o,s:[{s:s,s:s,s:[I],s:I,s:[s],s:b}]}", "communities", communities,
		      "partitions", "name", "admin", "community", name, "cpus", cpu, "memory",
		      (json_int_t)CONSOLE_BASE_ALLOC, "buses", bus, "boot", 1);
	return *ret_division ? 0 : -ENOMEM;
}
