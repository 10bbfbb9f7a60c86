/*
 * kills.c - a campaign: members are killed at random points of create, join, leave, tick, migrate.
 *
 * WHAT      Each round chooses an operation, a point of it and a victim, arms the point, makes the
 *           operation happen, sees the victim end, boots it again, and checks the invariants.
 *           Whether the kill landed inside the named operation is what the dead one's own recorder
 *           says (the event instance.fenced carries died_at).
 * LIMITS    The machine must have at least two partitions of one community, all members, and
 *           nobody else may change it meanwhile.
 */
#include "chaos/kills.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "chaos/invariants.h"
#include "chaos/machine.h"
#include "shm/points.h"

enum operation { OP_CREATE, OP_JOIN, OP_LEAVE, OP_TICK, OP_MIGRATE, OP_COUNT };

static const char *const operation_names[OP_COUNT] = {"create", "join", "leave", "tick", "migrate"};

/* Points that each operation passes in an instance; a migration's by who passes them. */
static const char *const points_of[OP_COUNT][16] = {
    {"map_602", "map_608", "create_702", "create_704", "create_706", "create_708", "create_710",
     "create_712", "create_714", "create_716", "create_718"},
    {"map_602", "map_604", "map_606", "map_608", "lock_acquired", "join_802", "join_804",
     "join_806", "join_808", "join_810", "join_812", "join_814", "join_816", "join_818",
     "lock_release"},
    {"lock_acquired", "leave_begin", "leave_services", "leave_mask", "leave_ring", "lock_release",
     "leave_end"},
    {"tick_beat", "tick_watch"},
    {"migrate_902", "migrate_904", "migrate_906", "pal_2202", "pal_2204", /* the source */
     "con_2306", "pal_2218", "pal_2220", "migrate_910" /* the receiver */},
};
#define FIRST_RECEIVER_POINT 5u

struct campaign {
	struct machine machine;
	uint64_t seed, random;
	uint32_t partition_count;
	char partition[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];
	uint64_t armed[APMP_P_COUNT], landed[APMP_P_COUNT];
	uint64_t kills, inside;
	json_t *first; /* the status before anything was done */
};

/* splitmix64: small, seeded, the same everywhere. */
static uint64_t next_random(struct campaign *c)
{
	uint64_t z = (c->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static size_t below(struct campaign *c, size_t n)
{
	return (size_t)(next_random(c) % n);
}

static bool check(struct campaign *c, bool all_members)
{
	json_t *status = machine_look(&c->machine);
	char what[200];
	bool holds = status && invariants_hold(status, c->first, all_members, what, sizeof(what));

	if (status && !holds)
		machine_violated(&c->machine, what, "");
	json_decref(status);
	return holds;
}

/* A life-cycle command; false when it failed with another error than the tolerated one. */
static bool command(struct campaign *c, const char *method, const char *name, const char *tolerated)
{
	json_t *parameters = json_pack("{s:s}", "name", name), *answer;
	char error[64];

	if (strcmp(method, "PartitionBoot") == 0)
		json_object_set_new(parameters, "wait", json_true());
	answer = machine_call(&c->machine, method, parameters, error);
	if (!answer && strcmp(error, tolerated) != 0)
		return machine_violated(&c->machine, method, error);
	json_decref(answer);
	return true;
}

static bool arm(struct campaign *c, const char *name, const char *point, size_t nth)
{
	char error[64];
	json_t *answer = machine_call(&c->machine, "Inject",
				      json_pack("{s:s,s:s,s:s,s:I}", "fault", "kill", "partition",
						name, "point", point, "count", (json_int_t)nth),
				      error);

	if (!answer)
		return machine_violated(&c->machine, "Inject", error);
	json_decref(answer);
	c->armed[apmp_point_find(point)]++;
	return true;
}

static void count_kill(struct campaign *c, const json_t *fenced, const char *point)
{
	const char *died_at = json_string_value(json_object_get(fenced, "died_at"));

	c->kills++;
	if (died_at && strcmp(died_at, point) == 0) {
		c->inside++;
		c->landed[apmp_point_find(point)]++;
	}
}

/* Sees the victim end; whether it ended where it was meant to is counted. */
static bool await_end(struct campaign *c, const char *name, const char *point)
{
	const struct machine_wanted end = {"instance.fenced", name};
	json_t *event = machine_event(&c->machine, &end, 1);

	if (!event)
		return machine_violated(&c->machine, "the victim did not end, armed at", point);
	count_kill(c, event, point);
	json_decref(event);
	return true;
}

/* The migration is over.  Its victim lives, as a CPU that comes back to where it was does not pass
 * all points again; or it has died, and that was not told before.  It is disarmed, and ends now in
 * any case. */
static bool end_late(struct campaign *c, const char *victim, const char *point)
{
	const struct machine_wanted end = {"instance.fenced", victim};
	const char *died_at;
	char error[64];
	json_t *event = machine_call(&c->machine, "Inject",
				     json_pack("{s:s,s:s,s:s,s:i}", "fault", "kill", "partition",
					       victim, "point", point, "count", 0),
				     error);

	if (!event)
		return machine_violated(&c->machine, "disarming", error);
	json_decref(event);
	json_decref(machine_call(&c->machine, "Inject",
				 json_pack("{s:s,s:s}", "fault", "kill", "partition", victim),
				 error)); /* refused: it has ended */
	event = machine_event(&c->machine, &end, 1);
	if (!event)
		return machine_violated(&c->machine, "the victim did not end", victim);
	died_at = json_string_value(json_object_get(event, "died_at"));
	if (died_at && strcmp(died_at, point) == 0)
		count_kill(c, event, point);
	else
		c->armed[apmp_point_find(point)]--;
	json_decref(event);
	return true;
}

/* Sees a migration end, one way or the other, and its victim. */
static bool await_migration(struct campaign *c, const char *victim, const char *from,
			    const char *to, const char *point)
{
	const struct machine_wanted ends[] = {
	    {"instance.fenced", victim}, {"cpu.migrated", to}, {"cpu.refused", from}};
	json_t *event = machine_event(&c->machine, ends, 3);
	bool died;

	if (!event)
		return machine_violated(&c->machine, "a migration did not end, kill armed at",
					point);
	died = strcmp(json_string_value(json_object_get(event, "kind")), ends[0].kind) == 0;
	if (died)
		count_kill(c, event, point);
	json_decref(event);
	return died || end_late(c, victim, point);
}

/* Halts a partition; its own end is passed over in the events. */
static bool halt(struct campaign *c, const char *name)
{
	const struct machine_wanted end = {"instance.fenced", name};
	json_t *event;

	if (!command(c, "PartitionHalt", name, ""))
		return false;
	event = machine_event(&c->machine, &end, 1);
	json_decref(event);
	return event != NULL;
}

static bool kill_creator(struct campaign *c, const char *victim, const char *point)
{
	for (size_t i = 0; i < c->partition_count; i++)
		if (!halt(c, c->partition[i]))
			return false;
	if (!arm(c, victim, point, 1) || !command(c, "PartitionBoot", victim, "PartitionDied") ||
	    !await_end(c, victim, point) || !check(c, false))
		return false;
	for (size_t i = 0; i < c->partition_count; i++)
		if (!command(c, "PartitionBoot", c->partition[i], ""))
			return false;
	return true;
}

static bool kill_joiner(struct campaign *c, const char *victim, const char *point)
{
	return halt(c, victim) && arm(c, victim, point, 1) &&
	       command(c, "PartitionBoot", victim, "PartitionDied") &&
	       await_end(c, victim, point) && check(c, false) &&
	       command(c, "PartitionBoot", victim, "");
}

static bool kill_leaver(struct campaign *c, const char *victim, const char *point)
{
	return arm(c, victim, point, 1) && command(c, "PartitionHalt", victim, "PartitionDied") &&
	       await_end(c, victim, point) && check(c, false) &&
	       command(c, "PartitionBoot", victim, "");
}

static bool kill_ticker(struct campaign *c, const char *victim, const char *point)
{
	return arm(c, victim, point, 1 + below(c, 8)) && await_end(c, victim, point) &&
	       check(c, false) && command(c, "PartitionBoot", victim, "");
}

/* A CPU that may go, where it is, and another partition; false when there is none. */
static bool choose_cpu(struct campaign *c, int *ret_cpu, const char **ret_from, const char **ret_to)
{
	json_t *status = machine_look(&c->machine), *cpus = json_object_get(status, "cpus"), *cpu;
	size_t count = json_array_size(cpus), first = count ? below(c, count) : 0;

	*ret_cpu = -1;
	for (size_t i = 0; i < count && *ret_cpu < 0; i++) {
		const char *at;

		cpu = json_array_get(cpus, (first + i) % count);
		at = json_string_value(json_object_get(cpu, "current_owner"));
		if (!at || json_is_true(json_object_get(cpu, "primary")) ||
		    strcmp(json_string_value(json_object_get(cpu, "state")), "active") != 0)
			continue;
		*ret_cpu = (int)json_integer_value(json_object_get(cpu, "id"));
		for (size_t k = 0; k < c->partition_count; k++)
			if (strcmp(c->partition[k], at) == 0)
				*ret_from = c->partition[k];
		do
			*ret_to = c->partition[below(c, c->partition_count)];
		while (*ret_to == *ret_from);
	}
	json_decref(status);
	return *ret_cpu >= 0;
}

static bool kill_migrator(struct campaign *c, size_t point_idx)
{
	const char *point = points_of[OP_MIGRATE][point_idx], *from = NULL, *to = NULL, *victim;
	const struct machine_wanted started = {"cpu.started", NULL};
	struct varlink_client *migration;
	char error[64];
	int cpu;

	while (!choose_cpu(c, &cpu, &from, &to)) {
		json_t *event; /* they are all still on their way in */

		if (c->machine.violation[0] || !(event = machine_event(&c->machine, &started, 1)))
			return machine_violated(&c->machine, "no CPU can migrate", "");
		json_decref(event);
	}
	victim = point_idx < FIRST_RECEIVER_POINT ? from : to;
	if (!arm(c, victim, point, 1))
		return false;
	migration = machine_begin(
	    &c->machine, "CpuMigrate",
	    json_pack("{s:i,s:s,s:b}", "cpu", cpu, "to", to, "loan", below(c, 3) == 0));
	if (!migration || !await_migration(c, victim, from, to, point))
		return machine_violated(&c->machine, "migration with a kill at", point);
	json_decref(machine_end(migration, error));
	if (strcmp(error, "silent") == 0)
		return machine_violated(&c->machine, "migration got no answer, kill at", point);
	return check(c, false) && command(c, "PartitionBoot", victim, "");
}

/* One round.  False: a violation was found. */
static bool round_of(struct campaign *c)
{
	enum operation op = (enum operation)below(c, OP_COUNT);
	const char *victim = c->partition[below(c, c->partition_count)];
	size_t count = 0, point_idx;
	bool good = false;

	while (count < 16 && points_of[op][count])
		count++;
	point_idx = below(c, count);
	switch (op) {
	case OP_CREATE:
		good = kill_creator(c, victim, points_of[op][point_idx]);
		break;
	case OP_JOIN:
		good = kill_joiner(c, victim, points_of[op][point_idx]);
		break;
	case OP_LEAVE:
		good = kill_leaver(c, victim, points_of[op][point_idx]);
		break;
	case OP_TICK:
		good = kill_ticker(c, victim, points_of[op][point_idx]);
		break;
	case OP_MIGRATE:
		good = kill_migrator(c, point_idx);
		break;
	case OP_COUNT:
		break;
	}
	good = good && check(c, true) && check_machine(&c->machine);
	if (!good)
		fprintf(stderr, "kill in %s of %s at %s\n", operation_names[op], victim,
			points_of[op][point_idx]);
	return good;
}

static bool learn_partitions(struct campaign *c)
{
	c->first = machine_look(&c->machine);
	c->partition_count = machine_partitions(c->first, c->partition);
	return c->partition_count >= 2 ||
	       machine_violated(&c->machine, "at least two partitions are needed", "");
}

static void print_histogram(const struct campaign *c, bool json)
{
	json_t *points = json_object();

	if (!json)
		printf("%-16s %6s %6s  %s\n", "POINT", "ARMED", "LANDED", "FIGURE");
	for (uint32_t p = 1; p < APMP_P_COUNT; p++) {
		const struct apmp_point_info *info = apmp_point_info(p);

		if (!c->armed[p])
			continue;
		json_object_set_new(points, info->name,
				    json_pack("{s:I,s:I}", "armed", (json_int_t)c->armed[p],
					      "landed", (json_int_t)c->landed[p]));
		if (!json)
			printf("%-16s %6llu %6llu  %s\n", info->name,
			       (unsigned long long)c->armed[p], (unsigned long long)c->landed[p],
			       info->figure);
	}
	if (json) {
		json_t *all =
		    json_pack("{s:I,s:I,s:I,s:o,s:s}", "seed", (json_int_t)c->seed, "kills",
			      (json_int_t)c->kills, "inside", (json_int_t)c->inside, "points",
			      points, "violation", c->machine.violation);

		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(all);
	} else {
		json_decref(points);
	}
}

int chaos_kills(const char *name, uint64_t count, uint64_t seed, bool json)
{
	struct campaign *c = calloc(1, sizeof(*c));
	bool good;

	if (!c || machine_open(&c->machine, name)) {
		free(c);
		return 3;
	}
	c->seed = c->random = seed;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	good = learn_partitions(c) && check(c, true);
	if (!good) {
		(void)machine_not_begun(&c->machine, "a campaign wants a machine at rest", json);
		count = 0;
	}
	while (good && c->kills < count)
		good = round_of(c);
	if (good || c->kills)
		print_histogram(c, json);
	if (!json && (good || c->kills))
		printf("%llu kills, %llu inside the named operation (%.1f %%), %s\n",
		       (unsigned long long)c->kills, (unsigned long long)c->inside,
		       c->kills ? 100.0 * (double)c->inside / (double)c->kills : 0.0,
		       good ? "no violation" : c->machine.violation);
	if (!good && count)
		fprintf(stderr,
			"violation: %s\nreproduce: apmp chaos kills --seed %llu --count %llu\n",
			c->machine.violation, (unsigned long long)seed, (unsigned long long)count);
	/* Nine of ten must land where they were meant to, or nothing was tested. */
	if (good && 10 * c->inside < 9 * c->kills) {
		good = false;
		fprintf(stderr,
			"violation: %llu of %llu kills landed outside of the operation that was "
			"meant, more than one of ten\n",
			(unsigned long long)(c->kills - c->inside), (unsigned long long)c->kills);
	}
	machine_close(&c->machine);
	json_decref(c->first);
	free(c);
	return good ? 0 : 1;
}
