/* plan_side.c - a machine as the planner sees it, read from its JSON. */
#include "cli/plan_side.h"

#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

static json_int_t number(const json_t *object, const char *key, json_int_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool truth(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* Room for one more; the list grows as powers of two. */
static void *grow(void *list, size_t count, size_t size)
{
	if (count & (count - 1) || (count == 0 && list))
		return list;
	list = realloc(list, (count ? 2 * count : 1) * size);
	if (!list)
		cli_out_of_memory();
	return list;
}

#define APPEND(list, count, ...)                                                                   \
	do {                                                                                       \
		(list) = grow((list), (count), sizeof((list)[0]));                                 \
		(list)[(count)++] = __VA_ARGS__;                                                   \
	} while (0)

/* ---- hardware ---- */

static void read_cpus(struct plan_side *side, json_int_t sbb, const json_t *cpus)
{
	for (size_t i = 0; i < json_array_size(cpus); i++) {
		const json_t *cpu = json_array_get(cpus, i);
		json_int_t id = number(cpu, "id", -1);

		if (id < 0 || id >= PLAN_CPUS)
			continue;
		side->cpus[id] = (struct plan_cpu){.there = true,
						   .sbb = sbb,
						   .type = number(cpu, "type", -1),
						   .revision = number(cpu, "revision", -1),
						   .can_be_primary = truth(cpu, "primary"),
						   .owner = text(cpu, "owner"),
						   .user = text(cpu, "user"),
						   .is_primary = truth(cpu, "is_primary")};
	}
}

static void read_buses(struct plan_side *side, json_int_t sbb, const json_t *iops)
{
	for (size_t i = 0; i < json_array_size(iops); i++) {
		const json_t *buses = json_object_get(json_array_get(iops, i), "buses");

		for (size_t b = 0; b < json_array_size(buses); b++) {
			const json_t *bus = json_array_get(buses, b);

			APPEND(side->buses, side->bus_count,
			       (struct plan_bus){.id = text(bus, "id"),
						 .sbb = sbb,
						 .disks =
						     json_array_size(json_object_get(bus, "disks")),
						 .owner = text(bus, "owner"),
						 .user = text(bus, "user")});
		}
	}
}

static void read_pieces(struct plan_side *side, const json_t *pieces)
{
	struct plan_memory *memory = &side->memories[side->memory_count - 1];

	for (size_t i = 0; i < json_array_size(pieces); i++) {
		const json_t *piece = json_array_get(pieces, i);
		struct plan_piece p = {.memory = side->memory_count - 1,
				       .pa = number(piece, "pa", 0),
				       .size = number(piece, "size", 0),
				       .owner = text(piece, "owner"),
				       .user = text(piece, "user"),
				       .shared = truth(piece, "shared"),
				       .base = truth(piece, "base")};

		memory->owned |= p.owner || p.user;
		APPEND(side->pieces, side->piece_count, p);
	}
}

/* A file gives the size alone, a running machine each descriptor. */
static void read_memory(struct plan_side *side, json_int_t sbb, const json_t *memory)
{
	if (sbb < 0 || sbb >= PLAN_SBBS)
		return;
	side->sbb_memory[sbb] = json_integer_value(memory);
	for (size_t i = 0; i < json_array_size(memory); i++) {
		const json_t *one = json_array_get(memory, i);
		json_int_t size = number(one, "size", 0);

		APPEND(side->memories, side->memory_count,
		       (struct plan_memory){.sbb = sbb, .pa = number(one, "pa", 0), .size = size});
		side->sbb_memory[sbb] += size;
		read_pieces(side, json_object_get(one, "pieces"));
	}
}

static void read_hardware(struct plan_side *side, const json_t *hardware)
{
	for (size_t i = 0; i < json_array_size(hardware); i++) {
		const json_t *sbb = json_array_get(hardware, i);
		json_int_t id = number(sbb, "sbb", -1);

		read_cpus(side, id, json_object_get(sbb, "cpus"));
		read_buses(side, id, json_object_get(sbb, "iops"));
		read_memory(side, id, json_object_get(sbb, "memory"));
	}
}

/* ---- software ---- */

static json_int_t owned_memory(const struct plan_side *side, const char *owner, bool shared)
{
	json_int_t size = 0;

	for (size_t i = 0; i < side->piece_count; i++)
		if (side->pieces[i].shared == shared && plan_same(side->pieces[i].owner, owner))
			size += side->pieces[i].size;
	return size;
}

/* In a file a partition lists what it owns. */
static void read_owned(struct plan_side *side, const json_t *partition, const char *name)
{
	const json_t *cpus = json_object_get(partition, "cpus");
	const json_t *buses = json_object_get(partition, "buses");

	for (size_t i = 0; i < json_array_size(cpus); i++) {
		json_int_t id = json_integer_value(json_array_get(cpus, i));

		if (id >= 0 && id < PLAN_CPUS)
			side->cpus[id].owner = name;
	}
	for (size_t i = 0; i < json_array_size(buses); i++)
		for (size_t b = 0; b < side->bus_count; b++)
			if (plan_same(side->buses[b].id,
				      json_string_value(json_array_get(buses, i))))
				side->buses[b].owner = name;
}

static void read_partitions(struct plan_side *side, const json_t *partitions)
{
	for (size_t i = 0; i < json_array_size(partitions); i++) {
		const json_t *one = json_array_get(partitions, i);
		const char *name = text(one, "name");

		read_owned(side, one, name);
		APPEND(side->partitions, side->partition_count,
		       (struct plan_partition){
			   .name = name,
			   .community = text(one, "community"),
			   .memory = number(one, "memory", owned_memory(side, name, false)),
			   .boot = truth(one, "boot"),
			   .boot_known = json_is_boolean(json_object_get(one, "boot")),
			   .running = truth(one, "running"),
			   .resume = truth(one, "resume"),
			   .failover = json_object_get(one, "failover"),
			   .autostart = json_object_get(one, "autostart")});
	}
}

static void read_communities(struct plan_side *side, const json_t *communities)
{
	for (size_t i = 0; i < json_array_size(communities); i++) {
		const json_t *one = json_array_get(communities, i);
		const char *name = text(one, "name");

		APPEND(side->communities, side->community_count,
		       (struct plan_community){
			   .name = name,
			   .shared = number(one, "shared", owned_memory(side, name, true))});
	}
}

/* ---- all of it ---- */

struct plan_side *plan_side_create(const json_t *document)
{
	struct plan_side *side = calloc(1, sizeof(*side));

	if (!side)
		cli_out_of_memory();
	side->document = document;
	read_hardware(side, json_object_get(document, "hardware"));
	read_communities(side, json_object_get(document, "communities"));
	read_partitions(side, json_object_get(document, "partitions"));
	return side;
}

void plan_side_divide_as(struct plan_side *side, const struct plan_side *other)
{
	if (side->partition_count > 0 || side->community_count > 0)
		return;
	for (size_t i = 0; i < other->community_count; i++)
		APPEND(side->communities, side->community_count, other->communities[i]);
	for (size_t i = 0; i < other->partition_count; i++)
		APPEND(side->partitions, side->partition_count, other->partitions[i]);
	for (size_t id = 0; id < PLAN_CPUS; id++)
		side->cpus[id].owner = other->cpus[id].owner;
	for (size_t i = 0; i < side->bus_count; i++)
		for (size_t k = 0; k < other->bus_count; k++)
			if (plan_same(side->buses[i].id, other->buses[k].id))
				side->buses[i].owner = other->buses[k].owner;
}

void plan_side_destroy(struct plan_side *side)
{
	free(side->buses);
	free(side->memories);
	free(side->pieces);
	free(side->partitions);
	free(side->communities);
	free(side);
}

bool plan_same(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

#define FIND(list, count, key, text)                                                               \
	for (size_t i = 0; (text) && i < (count); i++)                                             \
		if (plan_same((list)[i].key, (text)))                                              \
			return &(list)[i];                                                         \
	return NULL

const struct plan_partition *plan_find_partition(const struct plan_side *side, const char *name)
{
	FIND(side->partitions, side->partition_count, name, name);
}

const struct plan_community *plan_find_community(const struct plan_side *side, const char *name)
{
	FIND(side->communities, side->community_count, name, name);
}

const struct plan_bus *plan_find_bus(const struct plan_side *side, const char *id)
{
	FIND(side->buses, side->bus_count, id, id);
}

bool plan_runs(const struct plan_side *side, const char *partition)
{
	const struct plan_partition *p = plan_find_partition(side, partition);

	return p && p->running;
}
