/*
 * joins.c - a campaign: partitions boot and join at the same time as others die and leave.
 *
 * WHAT      In each round every partition has a fate: who is off boots, some of them to be ended at
 *           a point of their way in; of the members some live on, some are killed, some are halted.
 *           All of it is begun in random order with random pauses, so that joiners meet locks of
 *           the dead, recoveries, leavers and each other.  In the last round all boot, so that
 *           the machine is left as it was found.
 * JUDGED    Who boots and is not killed becomes a member, whatever happens around it: no start is
 *           refused.  Who lives on is the same process and a member.  At the end of a round just
 *           these are members, in a right ring of an operational set (chaos/invariants.c), and
 *           all that chaos/check.c knows holds of the machine's memory.
 * LIMITS    The machine has two partitions or more, all of one community, all members, none
 *           debugged or stopped; nobody else changes it meanwhile; the campaign may signal its
 *           processes.
 */
#include "chaos/joins.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chaos/check.h"
#include "chaos/invariants.h"
#include "chaos/machine.h"
#include "chaos/sim/random.h"
#include "shm/layout_common.h"

#define LOOKS_MAX    20000u  /* at a machine that is not at rest yet: each takes an answer */
#define PAUSE_MAX_NS 400000u /* several steps of a join */

enum fate { LIVES, DIES, HALTS, BOOTS, IS_ENDED };

/* Where who is ended on its way in dies. */
static const char *const ends[] = {"map_602",	    "map_604",	  "map_606",	"map_608",
				   "lock_acquired", "join_802",	  "join_804",	"join_806",
				   "join_808",	    "join_810",	  "join_812",	"join_814",
				   "join_816",	    "join_818",	  "create_702", "create_704",
				   "create_708",    "create_712", "create_716", "lock_release"};

struct joiner {
	char name[APMP_NAME_SIZE];
	bool member;
	pid_t pid;
	json_int_t incarnation;
	enum fate fate;
	const char *point;	     /* IS_ENDED: where */
	struct varlink_client *call; /* that it answers when its fate is done */
};

struct campaign {
	struct machine machine;
	struct sim_random random;
	uint64_t starts, joined, ended, killed, halted, rounds;
	size_t count;
	bool last_round; /* nobody dies, everybody boots */
	struct joiner joiner[APMP_MAX_PARTITIONS];
	json_t *first; /* the status before anything was done */
};

static const json_t *instance_of(const json_t *status, size_t at)
{
	return json_object_get(json_array_get(json_object_get(status, "partitions"), at),
			       "instance");
}

static bool is_member(const json_t *instance)
{
	return strcmp(json_string_value(json_object_get(instance, "state")), "member") == 0;
}

/* ---- what happens in a round ---- */

static enum fate choose(struct campaign *c, const struct joiner *j)
{
	uint64_t chance = sim_random_below(&c->random, 100);

	if (c->last_round)
		return j->member ? LIVES : BOOTS;
	if (!j->member)
		return chance < 75 ? BOOTS : IS_ENDED;
	return chance < 50 ? LIVES : chance < 90 ? DIES : HALTS;
}

/* Arms its end; nth 0 takes that back. */
static bool arm(struct campaign *c, const struct joiner *j, int nth)
{
	char error[64];
	json_t *answer = machine_call(&c->machine, "Inject",
				      json_pack("{s:s,s:s,s:s,s:i}", "fault", "kill", "partition",
						j->name, "point", j->point, "count", nth),
				      error);

	json_decref(answer);
	return answer || machine_violated(&c->machine, j->name, error);
}

static bool begin(struct campaign *c, struct joiner *j)
{
	if (j->fate == IS_ENDED) {
		j->point = ends[sim_random_below(&c->random, sizeof(ends) / sizeof(ends[0]))];
		if (!arm(c, j, 1))
			return false;
	}
	if (j->fate == DIES && kill(j->pid, SIGKILL) < 0)
		return machine_violated(&c->machine, j->name, strerror(errno));
	if (j->fate == HALTS)
		j->call = machine_begin(&c->machine, "PartitionHalt",
					json_pack("{s:s}", "name", j->name));
	if (j->fate == BOOTS || j->fate == IS_ENDED)
		j->call = machine_begin(&c->machine, "PartitionBoot",
					json_pack("{s:s,s:b}", "name", j->name, "wait", 1));
	return j->fate == LIVES || j->fate == DIES || j->call ||
	       machine_violated(&c->machine, j->name, "the console takes no call");
}

/* Keeps the CPU, for a sleep is too long. */
static void pause_a_little(struct campaign *c)
{
	uint64_t ns = sim_random_below(&c->random, PAUSE_MAX_NS);
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((uint64_t)((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec) <
	       ns);
}

static bool begin_all(struct campaign *c)
{
	size_t order[APMP_MAX_PARTITIONS];
	bool good = true;

	for (size_t i = 0; i < c->count; i++) {
		size_t k = (size_t)sim_random_below(&c->random, i + 1);

		c->joiner[i].fate = choose(c, &c->joiner[i]);
		order[i] = order[k];
		order[k] = i;
	}
	for (size_t i = 0; i < c->count && good; i++) {
		good = begin(c, &c->joiner[order[i]]);
		if (c->joiner[order[i]].fate != LIVES)
			pause_a_little(c);
	}
	return good;
}

/* ---- what has come of it ---- */

/* Its way did not lead past the point where it was to end: of create, it joined.  It may still pass
 * it before it is disarmed, so it ends now in any case. */
static bool end_late(struct campaign *c, struct joiner *j)
{
	char error[64];

	if (!arm(c, j, 0))
		return false;
	json_decref(machine_call(&c->machine, "Inject",
				 json_pack("{s:s,s:s}", "fault", "kill", "partition", j->name),
				 error)); /* refused: it has ended */
	j->fate = DIES;
	j->incarnation++;
	c->joined++;
	c->killed++;
	return true;
}

/* Counts what was answered; false: who should have got in or out did not. */
static bool end(struct campaign *c, struct joiner *j)
{
	struct varlink_client *call = j->call;
	char error[64] = "";

	j->call = NULL;
	if (call)
		json_decref(machine_end(call, error));
	c->starts += j->fate == BOOTS || j->fate == IS_ENDED;
	c->killed += j->fate == DIES;
	c->halted += j->fate == HALTS;
	if (j->fate == IS_ENDED && strcmp(error, "PartitionDied") == 0) {
		j->incarnation++;
		c->ended++;
		return true;
	}
	if (error[0])
		return machine_violated(&c->machine, j->name, error);
	if (j->fate == IS_ENDED)
		return end_late(c, j);
	c->joined += j->fate == BOOTS;
	return true;
}

/* Whether this one is as its fate says; what is "" while it may still come to that. */
static bool is_as_meant(const struct joiner *j, const json_t *instance, char *what, size_t size)
{
	bool member = is_member(instance);
	bool wanted = j->fate == LIVES || j->fate == BOOTS;
	json_int_t pid = json_integer_value(json_object_get(instance, "pid"));
	json_int_t incarnation = json_integer_value(json_object_get(instance, "incarnation"));

	what[0] = '\0';
	if (wanted && (!member || incarnation != j->incarnation + (j->fate == BOOTS) ||
		       (j->fate == LIVES && pid != j->pid)))
		snprintf(what, size, "was not to be harmed, and is %s, incarnation %lld",
			 json_string_value(json_object_get(instance, "state")),
			 (long long)incarnation);
	return wanted ? member : !member && !pid;
}

/* Whether all is as it was meant, and the set is whole.  Says what is not. */
static bool at_rest(struct campaign *c, const json_t *status, bool *ret_harmed, char *what,
		    size_t size)
{
	bool any = false;

	for (size_t i = 0; i < c->count; i++) {
		bool good = is_as_meant(&c->joiner[i], instance_of(status, i), what, size);

		any |= c->joiner[i].fate == LIVES || c->joiner[i].fate == BOOTS;
		*ret_harmed = what[0] != '\0';
		if (*ret_harmed)
			machine_violated(&c->machine, c->joiner[i].name, what);
		if (!good || *ret_harmed)
			return false;
	}
	/* When all have died nobody is left to remove anybody: the next makes the set anew. */
	return invariants_hold(status, c->first, false, what, size) &&
	       (!any || invariants_hold_sets(status, what, size));
}

static void learn(struct campaign *c, const json_t *status)
{
	for (size_t i = 0; i < c->count; i++) {
		struct joiner *j = &c->joiner[i];
		const json_t *instance = instance_of(status, i);

		j->member = is_member(instance);
		j->pid = (pid_t)json_integer_value(json_object_get(instance, "pid"));
		if (j->member) /* who is off has none, and goes on from its last */
			j->incarnation =
			    json_integer_value(json_object_get(instance, "incarnation"));
	}
}

/* Looks until the dead are cleaned up; nobody healthy may be anything but a member meanwhile. */
static bool settle(struct campaign *c)
{
	bool good = false, harmed = false;
	char what[200] = "";

	for (unsigned i = 0; i < LOOKS_MAX && !good && !harmed; i++) {
		json_t *status = machine_look(&c->machine);

		if (!status)
			return false;
		good = at_rest(c, status, &harmed, what, sizeof(what));
		if (good)
			learn(c, status);
		json_decref(status);
	}
	return good || machine_violated(&c->machine, "the machine does not come to rest", what);
}

static bool round_of(struct campaign *c)
{
	bool good = begin_all(c);

	/* Also after a violation: the console still holds the others' calls. */
	for (size_t i = 0; i < c->count; i++)
		good = end(c, &c->joiner[i]) && good;
	c->rounds++;
	return good && settle(c) && check_machine(&c->machine);
}

/* ---- the campaign ---- */

static bool learn_partitions(struct campaign *c)
{
	char names[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];

	c->first = machine_look(&c->machine);
	if (!c->first)
		return false;
	c->count = machine_partitions(c->first, names);
	for (size_t i = 0; i < c->count; i++)
		memcpy(c->joiner[i].name, names[i], sizeof(c->joiner[i].name));
	learn(c, c->first);
	return machine_is_fit(&c->machine, c->first, c->count);
}

static void print(const struct campaign *c, uint64_t seed, bool json)
{
	json_t *all;

	if (!json) {
		printf("%llu starts, %llu joined, %llu ended on their way in; of members %llu were "
		       "killed and %llu left meanwhile, in %llu rounds; %s\n",
		       (unsigned long long)c->starts, (unsigned long long)c->joined,
		       (unsigned long long)c->ended, (unsigned long long)c->killed,
		       (unsigned long long)c->halted, (unsigned long long)c->rounds,
		       c->machine.violation[0] ? c->machine.violation : "no violation");
		return;
	}
	all = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "seed", (json_int_t)seed, "starts",
			(json_int_t)c->starts, "joined", (json_int_t)c->joined, "ended",
			(json_int_t)c->ended, "killed", (json_int_t)c->killed, "halted",
			(json_int_t)c->halted, "rounds", (json_int_t)c->rounds, "violation",
			c->machine.violation);
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

static bool run(struct campaign *c, uint64_t seed, uint64_t count, bool json)
{
	bool good = true;

	c->random.state = seed;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	while (good && c->starts < count)
		good = round_of(c);
	c->last_round = true;
	good = good && round_of(c);
	print(c, seed, json);
	if (!good)
		fprintf(stderr,
			"violation: %s\nreproduce: apmp chaos joins --seed %llu --count %llu\n",
			c->machine.violation, (unsigned long long)seed, (unsigned long long)count);
	return good;
}

int chaos_joins(const char *name, uint64_t count, uint64_t seed, bool json)
{
	struct campaign *c = calloc(1, sizeof(*c));
	int code;

	if (!c || machine_open(&c->machine, name)) {
		free(c);
		return 3;
	}
	if (learn_partitions(c))
		code = run(c, seed, count, json) ? 0 : 1;
	else
		code = machine_not_begun(&c->machine, "a campaign wants a machine at rest", json);
	machine_close(&c->machine);
	json_decref(c->first);
	free(c);
	return code;
}
