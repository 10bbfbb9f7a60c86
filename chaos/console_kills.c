/*
 * console_kills.c - a campaign: the console is killed at a random store of the operator's changes.
 *
 * WHAT      A change is two methods that undo each other: on a community and partitions of the
 *           campaign's own, on hardware that nobody owns, and on a CPU that goes between two
 *           running partitions.  First each is done and undone undisturbed: the tree after it is
 *           kept, and how many stores it makes.  Then, each time: a point is armed, the method is
 *           called, the console dies, and the next one is asked for the tree.
 * JUDGED    The tree is as before or as after, node for node: as before where the console died at a
 *           store, as after where it died at or behind the commit or has answered.  A migration is
 *           two updates and its CPU asks again, so it may be either.
 * LIMITS    The machine has two running partitions of one community, one of which has an active CPU
 *           to spare; a CPU, a bus and two granules of memory that nobody owns; and nobody else
 *           changes it meanwhile.
 */
#include "chaos/console_kills.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "chaos/machine.h"
#include "shm/layout_common.h"
#include "shm/points.h"

#define MEMORY_EVERY 16u	  /* changes after which the machine's whole memory is judged */
#define HOME	     "chaos-home" /* exists as long as the campaign does */
#define STORES_MAX   512u
#define LOOKS_MAX    100000u /* at a CPU on its way, and at one that is busy: each an answer */

enum change { COMMUNITY, PARTITION, MEMBER, CPU, BUS, MEMORY, MIGRATE, CHANGES };

static const char *const change_names[CHANGES] = {
    "a community",    "a partition",  "a partition's community", "a CPU's owner", "a bus's owner",
    "memory's owner", "a CPU's place"};

struct campaign {
	struct machine machine;
	uint64_t seed, random;
	/* What of the machine it uses. */
	json_int_t free_cpu, moving_cpu;
	char free_bus[32], community[32], from[32], to[32];
	json_t *base, *after[CHANGES]; /* nodes of the tree */
	uint32_t stores[CHANGES][2];   /* that doing and undoing it make */
	uint64_t killed[CHANGES], kills, attempts;
	uint64_t died_at[APMP_P_COUNT], died_at_store[STORES_MAX];
};

/* splitmix64, as in kills.c: small, seeded, the same everywhere. */
static uint64_t below(struct campaign *c, uint64_t n)
{
	uint64_t z = (c->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}

/* --- asking the console, whichever it is --- */

/* error: the name of what it refused, "silent" when it died meanwhile, "" when it answered. */
static json_t *call(struct campaign *c, const char *method, json_t *parameters, char *error)
{
	struct varlink_client *client = machine_begin(&c->machine, method, parameters);

	snprintf(error, 64, "silent");
	return client ? machine_end(client, error) : NULL;
}

/* The member of an answer that can't be refused; NULL: a violation. */
static json_t *get(struct campaign *c, const char *method, const char *key)
{
	char error[64];
	json_t *answer = call(c, method, NULL, error);
	json_t *member = answer ? json_incref(json_object_get(answer, key)) : NULL;

	json_decref(answer);
	if (!member)
		machine_violated(&c->machine, method, error);
	return member;
}

static bool arm(struct campaign *c, enum apmp_point point, uint32_t nth)
{
	char error[64];

	json_decref(call(c, "Inject",
			 json_pack("{s:s,s:s,s:s,s:i}", "fault", "kill", "partition", "console",
				   "point", apmp_point_info(point)->name, "count", (int)nth),
			 error));
	return !error[0] || machine_violated(&c->machine, "Inject", error);
}

/* How often the console has passed a point. */
static uint64_t passed(struct campaign *c, enum apmp_point point)
{
	json_t *points = get(c, "Points", "points"), *p;
	uint64_t count = 0;
	size_t i;

	json_array_foreach(points, i, p)
	{
		const char *name = json_string_value(json_object_get(p, "name"));

		if (name && strcmp(name, apmp_point_info(point)->name) == 0)
			count = (uint64_t)json_integer_value(json_object_get(p, "passed"));
	}
	json_decref(points);
	return count;
}

/* --- the changes --- */

static json_t *parameters_of(const struct campaign *c, enum change change, bool undo)
{
	const json_int_t size = 2 * (json_int_t)APMP_GRANULE;

	switch (change) {
	case COMMUNITY:
		return json_pack("{s:s}", "name", "chaos-community");
	case PARTITION:
		return undo ? json_pack("{s:s}", "name", "chaos-partition")
			    : json_pack("{s:s,s:s}", "name", "chaos-partition", "community",
					c->community);
	case MEMBER:
		return json_pack("{s:s,s:s}", "name", c->community, "partition", HOME);
	case CPU:
		return undo ? json_pack("{s:I}", "cpu", c->free_cpu)
			    : json_pack("{s:I,s:s}", "cpu", c->free_cpu, "to", HOME);
	case BUS:
		return undo ? json_pack("{s:s}", "bus", c->free_bus)
			    : json_pack("{s:s,s:s}", "bus", c->free_bus, "to", HOME);
	case MEMORY:
		return json_pack("{s:I,s:s}", "size", size, undo ? "from" : "to", HOME);
	default:
		return json_pack("{s:I,s:s}", "cpu", c->moving_cpu, "to", undo ? c->from : c->to);
	}
}

static const char *method_of(enum change change, bool undo)
{
	static const char *const methods[CHANGES][2] = {{"CommunityCreate", "CommunityDelete"},
							{"PartitionCreate", "PartitionDelete"},
							{"CommunityRemove", "CommunityAdd"},
							{"CpuAssign", "CpuDeassign"},
							{"BusAssign", "BusDeassign"},
							{"MemoryAssign", "MemoryDeassign"},
							{"CpuMigrate", "CpuMigrate"}};

	return methods[change][undo];
}

/* Makes a change, or takes it back.  Its error: "", "silent", or a refusal. */
static void make(struct campaign *c, enum change change, bool undo, char *error)
{
	uint32_t left = LOOKS_MAX;

	do /* an instance may still be busy with what it was asked before the console died */
		json_decref(
		    call(c, method_of(change, undo), parameters_of(c, change, undo), error));
	while (change == MIGRATE && strcmp(error, "Busy") == 0 && --left > 0);
}

static const json_t *with_number(const json_t *array, const char *key, json_int_t number)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item) if (json_integer_value(json_object_get(item, key)) ==
					       number) return item;
	return NULL;
}

/* Waits for a migration that goes on after the console's death. */
static bool await_cpu(struct campaign *c)
{
	for (uint32_t left = LOOKS_MAX; left > 0; left--) {
		json_t *status = get(c, "Status", "status");
		const json_t *cpu =
		    with_number(json_object_get(status, "cpus"), "id", c->moving_cpu);
		const char *state = json_string_value(json_object_get(cpu, "state"));
		bool active = state && strcmp(state, "active") == 0;

		json_decref(status);
		if (active || !status)
			return active;
	}
	return machine_violated(&c->machine, "a CPU", "does not arrive");
}

/* What the tree is like now: 0 as without the change, 1 as with it; -1 a violation. */
static int judge(struct campaign *c, enum change change)
{
	json_t *nodes;
	int at = -1;

	if (change == MIGRATE && !await_cpu(c))
		return -1;
	nodes = get(c, "Tree", "nodes");
	if (json_equal(nodes, c->base))
		at = 0;
	else if (json_equal(nodes, c->after[change]))
		at = 1;
	else
		machine_violated(&c->machine,
				 "the tree is neither as before nor as after a change of",
				 change_names[change]);
	json_decref(nodes);
	return at;
}

/* --- learning --- */

/* The first node of this type that nobody owns, by its name; NULL. */
static const char *unowned(const json_t *nodes, const char *type)
{
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		const char *its = json_string_value(json_object_get(node, "type"));
		const json_t *flags = json_object_get(node, "flags");
		bool template =
		    json_array_size(flags) && json_string_value(json_array_get(flags, 0)) &&
		    strcmp(json_string_value(json_array_get(flags, 0)), "hw_template") == 0;

		if (its && strcmp(its, type) == 0 && !template &&
		    json_is_null(json_object_get(node, "owner")) &&
		    json_is_null(json_object_get(node, "current_owner")))
			return json_string_value(json_object_get(node, "name"));
	}
	return NULL;
}

static const json_t *named(const json_t *array, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		const char *its = json_string_value(json_object_get(item, "name"));

		if (its && name && strcmp(its, name) == 0)
			return item;
	}
	return NULL;
}

/* A CPU that can go from one running partition to another of its community. */
static bool choose_migration(struct campaign *c, const json_t *status)
{
	const json_t *partitions = json_object_get(status, "partitions"), *cpu, *to;
	size_t i, k;

	json_array_foreach(json_object_get(status, "cpus"), i, cpu)
	{
		const char *at = json_string_value(json_object_get(cpu, "current_owner"));
		const json_t *community = json_object_get(named(partitions, at), "community");

		if (!json_is_string(community) || json_is_true(json_object_get(cpu, "primary")) ||
		    strcmp(json_string_value(json_object_get(cpu, "state")), "active") != 0)
			continue;
		json_array_foreach(partitions, k, to)
		{
			const char *name = json_string_value(json_object_get(to, "name"));
			const json_t *instance = json_object_get(to, "instance");

			if (strcmp(name, at) == 0 ||
			    !json_integer_value(json_object_get(instance, "pid")) ||
			    !json_equal(json_object_get(to, "community"), community))
				continue;
			c->moving_cpu = json_integer_value(json_object_get(cpu, "id"));
			snprintf(c->from, sizeof(c->from), "%s", at);
			snprintf(c->to, sizeof(c->to), "%s", name);
			snprintf(c->community, sizeof(c->community), "%s",
				 json_string_value(community));
			return true;
		}
	}
	return machine_violated(&c->machine, "no CPU",
				"that can go from one running partition to another");
}

/* Finds what it needs. */
static bool choose(struct campaign *c)
{
	json_t *status = get(c, "Status", "status"), *nodes = get(c, "Tree", "nodes");
	const char *cpu = unowned(nodes, "cpu"), *bus = unowned(nodes, "bus");
	bool good = status && nodes && choose_migration(c, status);

	if (good && !cpu)
		good = machine_violated(&c->machine, "no CPU is unowned",
					"apmp cpu deassign gives one up");
	if (good && !bus)
		good = machine_violated(&c->machine, "no bus is unowned",
					"apmp bus deassign gives one up");
	if (good) {
		c->free_cpu = (json_int_t)strtoll(cpu, NULL, 10);
		snprintf(c->free_bus, sizeof(c->free_bus), "%s", bus);
	}
	json_decref(status);
	json_decref(nodes);
	return good;
}

/* Makes a change and takes it back, undisturbed. */
static bool learn_change(struct campaign *c, enum change change)
{
	char error[64];

	for (int undo = 0; undo < 2; undo++) {
		uint64_t before = passed(c, APMP_P_update_store);

		make(c, change, undo, error);
		if (error[0])
			return machine_violated(&c->machine, method_of(change, undo), error);
		if (change == MIGRATE && !await_cpu(c))
			return false;
		c->stores[change][undo] = (uint32_t)(passed(c, APMP_P_update_store) - before);
		if (!c->stores[change][undo] || c->stores[change][undo] >= STORES_MAX)
			return machine_violated(&c->machine, "stores can't be counted of",
						change_names[change]);
		if (!undo)
			c->after[change] = get(c, "Tree", "nodes");
	}
	return judge(c, change) == 0 ||
	       machine_violated(&c->machine, "not undone", change_names[change]);
}

/* What a campaign that was cut off has left. */
static void clear_up(struct campaign *c)
{
	static const char *const mine[][2] = {{"CommunityDelete", "chaos-community"},
					      {"PartitionDelete", "chaos-partition"},
					      {"PartitionDelete", HOME}};
	char error[64];

	for (size_t i = 0; i < sizeof(mine) / sizeof(mine[0]); i++)
		json_decref(call(c, mine[i][0], json_pack("{s:s}", "name", mine[i][1]), error));
}

static bool learn(struct campaign *c)
{
	char error[64];

	clear_up(c);
	if (!choose(c))
		return false;
	json_decref(call(c, "PartitionCreate",
			 json_pack("{s:s,s:s}", "name", HOME, "community", c->community), error));
	if (error[0])
		return machine_violated(&c->machine, "PartitionCreate", error);
	for (enum change change = 0; change < CHANGES; change++) {
		/* What was used for the first time stands elsewhere from then on. */
		for (uint32_t times = 0; times < 2; times++) {
			json_decref(c->base);
			c->base = get(c, "Tree", "nodes");
			json_decref(c->after[change]);
			if (!c->base || !learn_change(c, change))
				return false;
		}
	}
	return true;
}

/* --- killing --- */

/* Where the console is to die: mostly at a store. */
static enum apmp_point choose_point(struct campaign *c, enum change change, bool undo,
				    uint32_t *ret_nth)
{
	uint32_t updates = change == MIGRATE ? 2 : 1;

	*ret_nth = 1 + (uint32_t)below(c, updates);
	switch (below(c, 16)) {
	case 0:
		return APMP_P_update_begin;
	case 1:
		return APMP_P_update_commit;
	case 2:
		return APMP_P_update_end;
	default:
		*ret_nth = 1 + (uint32_t)below(c, c->stores[change][undo]);
		return APMP_P_update_store;
	}
}

static void count_kill(struct campaign *c, enum change change, enum apmp_point point, uint32_t nth)
{
	c->kills++;
	c->killed[change]++;
	c->died_at[point]++;
	if (point == APMP_P_update_store)
		c->died_at_store[nth]++;
}

/* One attempt: from where the tree is (0 or 1) towards the other.  Where it is then; -1. */
static int attempt(struct campaign *c, enum change change, int at)
{
	uint32_t nth;
	enum apmp_point point = choose_point(c, change, at != 0, &nth);
	bool undone = point == APMP_P_update_begin || point == APMP_P_update_store;
	char error[64], about[128];
	int now;

	if (!arm(c, point, nth))
		return -1;
	make(c, change, at != 0, error);
	c->attempts++;
	if (strcmp(error, "silent") == 0) {
		count_kill(c, change, point, nth);
	} else if (error[0]) {
		machine_violated(&c->machine, method_of(change, at != 0), error);
		return -1;
	} else if (!arm(c, point, 0)) {
		return -1;
	}
	now = judge(c, change);
	snprintf(about, sizeof(about), "%s at %s:%u, %s", method_of(change, at != 0),
		 apmp_point_info(point)->name, nth, error[0] ? "no answer" : "answered");
	if (now >= 0 && !error[0] && now == at) {
		machine_violated(&c->machine, "answered, and not done", about);
		return -1;
	}
	if (now >= 0 && error[0] && change != MIGRATE && (now == at) != undone) {
		machine_violated(&c->machine,
				 undone ? "done, but dead before its commit"
					: "dead after its commit, but not done",
				 about);
		return -1;
	}
	return now;
}

/* A change is made, and taken back, each as often as it takes. */
static bool kill_in(struct campaign *c, enum change change, uint64_t count)
{
	int at = 0;

	for (int towards = 1; towards >= 0; towards--)
		while (at != towards) {
			at = attempt(c, change, at);
			if (at < 0)
				return false;
			/* Enough: the rest of the way undisturbed. */
			while (c->kills >= count && at != 0) {
				char error[64];

				make(c, change, true, error);
				at = judge(c, change);
				if (error[0] || at != 0)
					return machine_violated(&c->machine,
								method_of(change, true), error);
				towards = 0;
			}
			if (c->kills >= count)
				return true;
		}
	return true;
}

/* --- the end --- */

static void print_text(const struct campaign *c)
{
	static const enum apmp_point points[] = {APMP_P_update_begin, APMP_P_update_store,
						 APMP_P_update_commit, APMP_P_update_end};

	printf("%-26s %6s %6s %7s\n", "CHANGE OF", "STORES", "BACK", "KILLS");
	for (enum change change = 0; change < CHANGES; change++)
		printf("%-26s %6u %6u %7llu\n", change_names[change], c->stores[change][0],
		       c->stores[change][1], (unsigned long long)c->killed[change]);
	printf("\n%-26s %21s\n", "AT", "KILLS");
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		printf("%-26s %21llu\n", apmp_point_info(points[i])->name,
		       (unsigned long long)c->died_at[points[i]]);
	printf("\nKILLS AT STORE NUMBER\n");
	for (uint32_t i = 1, column = 0; i < STORES_MAX; i++)
		if (c->died_at_store[i])
			printf("%5u:%6llu%s", i, (unsigned long long)c->died_at_store[i],
			       ++column % 6 ? "" : "\n");
	printf("\n");
}

static void print_json(const struct campaign *c)
{
	json_t *stores = json_object(), *changes = json_object();
	char number[16];

	for (uint32_t i = 1; i < STORES_MAX; i++) {
		snprintf(number, sizeof(number), "%u", i);
		if (c->died_at_store[i])
			json_object_set_new(stores, number,
					    json_integer((json_int_t)c->died_at_store[i]));
	}
	for (enum change change = 0; change < CHANGES; change++)
		json_object_set_new(changes, change_names[change],
				    json_integer((json_int_t)c->killed[change]));
	stores = json_pack("{s:I,s:I,s:I,s:o,s:o,s:s}", "seed", (json_int_t)c->seed, "kills",
			   (json_int_t)c->kills, "attempts", (json_int_t)c->attempts, "changes",
			   changes, "stores", stores, "violation", c->machine.violation);
	json_dumpf(stores, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(stores);
}

static void fini(struct campaign *c)
{
	clear_up(c);
	json_decref(c->base);
	for (enum change change = 0; change < CHANGES; change++)
		json_decref(c->after[change]);
	machine_close(&c->machine);
	free(c);
}

int chaos_console_kills(const char *name, uint64_t count, uint64_t seed, bool json)
{
	struct campaign *c = calloc(1, sizeof(*c));
	bool good, begun;

	if (!c || machine_open(&c->machine, name)) {
		free(c);
		return 3;
	}
	c->seed = c->random = seed;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	good = begun = learn(c);
	if (!good)
		(void)machine_not_begun(&c->machine, "a campaign wants a machine at rest", json);
	for (uint64_t changes = 0; good && c->kills < count; changes++) {
		good = kill_in(c, (enum change)below(c, CHANGES), count);
		if (good && (changes % MEMORY_EVERY == 0 || c->kills >= count))
			good = check_machine(&c->machine);
	}
	if (begun && json)
		print_json(c);
	else if (begun) {
		print_text(c);
		printf("%llu kills of the console in %llu attempts (%.1f %%), %s\n",
		       (unsigned long long)c->kills, (unsigned long long)c->attempts,
		       100.0 * (double)c->kills / (double)c->attempts,
		       good ? "no violation" : c->machine.violation);
	}
	if (begun && !good)
		fprintf(stderr,
			"violation: %s\nreproduce: apmp chaos kills --console --seed %llu --count "
			"%llu\n",
			c->machine.violation, (unsigned long long)seed, (unsigned long long)count);
	/* Nine of ten must land where they were meant to, or nothing was tested. */
	good = good && 10 * c->kills >= 9 * c->attempts;
	fini(c);
	return good ? 0 : 1;
}
