/*
 * migrations.c - a campaign: CPUs migrate from all sides at once while instances crash and boot.
 *
 * WHAT      Several operators, each a thread with a connection of its own, ask for random CPUs to
 *           go to random partitions by PAL and by HALT, from console mode and by the pool, stop and
 *           start them, and have partitions ask each other; also where that must be refused: the
 *           primary, CPUs and partitions that don't exist, partitions that don't run, CPUs that
 *           another operator has just asked for.  Beside them instances are killed, crash and halt,
 *           and boot again.
 * JUDGED    Each call is answered, with what was asked or one of the refusals that can be.  No CPU
 *           has two owners, and none no owner but while it is marked in transit: samples from
 *           outside (samples.c), and the execution words, which abort an instance on a double
 *           entry: who does not run when he is to be ended, or at the end, or ends while he boots,
 *           is a violation.  At the end every CPU that had an owner has one, and all that
 *           chaos/check.c knows holds.
 * LIMITS    Several threads: a seed chooses what is asked, not how it falls together.  The machine
 *           is one community at rest, which nobody else changes meanwhile.
 */
#include "chaos/migrations.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "chaos/invariants.h"
#include "chaos/machine.h"
#include "chaos/samples.h"
#include "chaos/sim/random.h"

#define OPERATORS 4u
#define END_EVERY 250u	 /* migrations, about, between two ends of an instance */
#define LOOKS_MAX 20000u /* at a machine that is not at rest yet: each takes an answer */
#define BOOTS_MAX 100u	 /* tries; one that is still being reaped may be refused */

struct campaign;

struct caller {
	struct campaign *campaign;
	struct machine machine; /* only its client is used */
	struct sim_random random;
	pthread_t thread;
	uint64_t migrated, other, refused, ends;
};

struct campaign {
	struct machine machine;
	uint64_t count;
	uint32_t cpu_count;
	uint32_t partition_count;
	char partition[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];
	uint64_t migrated; /* under lock, while they run */
	_Atomic bool stop;
	pthread_mutex_t lock;	 /* of machine.violation */
	pthread_cond_t progress; /* an operator was answered, or it is to stop */
	struct samples samples;
	struct caller caller[OPERATORS + 1]; /* the last one ends and boots instances */
	json_t *first;			     /* the status before anything was done */
};

static bool violated(struct campaign *c, const char *what, const char *about)
{
	pthread_mutex_lock(&c->lock);
	machine_violated(&c->machine, what, about);
	atomic_store(&c->stop, true);
	pthread_cond_broadcast(&c->progress);
	pthread_mutex_unlock(&c->lock);
	return false;
}

static bool is_one_of(const char *error, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(error, *names) == 0)
			return true;
	return false;
}

/* ---- operators ---- */

static const char *const refusals[] = {"PrimaryCpu",	"Busy",	   "NotRunning", "NotOwner",
				       "PartitionDied", "Refused", "NoSuchCpu",	 "NoSuchPartition",
				       "Owned",		NULL};

struct asked {
	const char *method;
	json_t *parameters;
	bool migrates;
};

static const char *any_partition(struct caller *caller)
{
	struct campaign *c = caller->campaign;

	return c->partition[sim_random_below(&caller->random, c->partition_count)];
}

static struct asked migrate(struct caller *caller, int cpu)
{
	static const char *const ways[] = {"pal", "pal", "pal", "halt", "halt", "deassign"};
	const char *by = ways[sim_random_below(&caller->random, sizeof(ways) / sizeof(ways[0]))];
	const char *to = any_partition(caller);
	int loan = by[0] != 'd' && sim_random_below(&caller->random, 3) == 0;

	if (sim_random_below(&caller->random, 50) == 0)
		to = "nowhere";
	return (struct asked){.method = "CpuMigrate",
			      .parameters = json_pack("{s:i,s:s,s:b,s:s}", "cpu", cpu, "to", to,
						      "loan", loan, "by", by),
			      .migrates = true};
}

static struct asked choose(struct caller *caller)
{
	uint64_t chance = sim_random_below(&caller->random, 100);
	int cpu = (int)sim_random_below(&caller->random, caller->campaign->cpu_count);
	const char *to = any_partition(caller);

	if (chance < 2)
		cpu = (int)caller->campaign->cpu_count + (int)chance;
	if (chance < 75)
		return migrate(caller, cpu);
	if (chance < 90)
		return (struct asked){.method = chance < 80 ? "CpuStop" : "CpuStart",
				      .parameters = json_pack("{s:i}", "cpu", cpu)};
	if (chance < 96)
		return (struct asked){.method = "CpuAssign",
				      .parameters = json_pack("{s:i,s:s}", "cpu", cpu, "to", to)};
	return (struct asked){.method = "CpuWish",
			      .parameters = json_pack("{s:i,s:s}", "count", 1, "to", to)};
}

static void *operator_main(void *arg)
{
	struct caller *caller = arg;
	struct campaign *c = caller->campaign;
	char error[64];

	while (!atomic_load(&c->stop)) {
		struct asked asked = choose(caller);
		json_t *answer =
		    machine_call(&caller->machine, asked.method, asked.parameters, error);

		if (!answer && !is_one_of(error, refusals))
			violated(c, asked.method, error);
		else if (!answer)
			caller->refused++;
		else if (asked.migrates)
			caller->migrated++;
		else
			caller->other++;
		json_decref(answer);
		pthread_mutex_lock(&c->lock);
		c->migrated += answer && asked.migrates;
		pthread_cond_broadcast(&c->progress);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

/* ---- who ends instances ---- */

static bool boot(struct caller *caller, const char *name)
{
	static const char *const later[] = {"Busy", NULL};
	char error[64] = "";

	for (unsigned i = 0; i < BOOTS_MAX; i++) {
		json_t *answer =
		    machine_call(&caller->machine, "PartitionBoot",
				 json_pack("{s:s,s:b}", "name", name, "wait", 1), error);

		json_decref(answer);
		if (answer || strcmp(error, "AlreadyRunning") == 0)
			return true;
		if (!is_one_of(error, later))
			break;
	}
	return violated(caller->campaign, name, error);
}

static bool end(struct caller *caller, const char *name)
{
	uint64_t chance = sim_random_below(&caller->random, 10);
	json_t *answer;
	char error[64];

	if (chance < 6)
		answer =
		    machine_call(&caller->machine, "Inject",
				 json_pack("{s:s,s:s}", "fault", "kill", "partition", name), error);
	else
		answer =
		    machine_call(&caller->machine, chance < 9 ? "PartitionCrash" : "PartitionHalt",
				 json_pack("{s:s}", "name", name), error);
	json_decref(answer);
	caller->ends++;
	return answer || violated(caller->campaign, name, error);
}

static void *ender_main(void *arg)
{
	struct caller *caller = arg;
	struct campaign *c = caller->campaign;
	bool good = true;

	while (good) {
		uint64_t more = sim_random_below(&caller->random, 2 * (uint64_t)END_EVERY), from;
		const char *name = any_partition(caller);

		pthread_mutex_lock(&c->lock);
		for (from = c->migrated; !atomic_load(&c->stop) && c->migrated < from + more;)
			pthread_cond_wait(&c->progress, &c->lock);
		good = !atomic_load(&c->stop);
		pthread_mutex_unlock(&c->lock);
		good = good && end(caller, name) && boot(caller, name);
	}
	return NULL;
}

/* ---- the campaign ---- */

static bool at_rest(struct campaign *c)
{
	bool good = false;
	char what[200] = "";

	for (unsigned i = 0; i < LOOKS_MAX && !good; i++) {
		json_t *status = machine_look(&c->machine);

		if (!status)
			return false;
		good = invariants_hold(status, c->first, true, what, sizeof(what));
		json_decref(status);
	}
	return good || violated(c, "the machine does not come to rest", what);
}

/* Undoes what would stay: a CPU that was to be assigned to one who has just ended is nobody's, and
 * one that was stopped is in console mode. */
static void undo(struct campaign *c)
{
	json_t *status = machine_look(&c->machine);
	const json_t *cpu;
	char error[64];
	size_t i;

	json_array_foreach(json_object_get(status, "cpus"), i, cpu)
	{
		json_int_t id = json_integer_value(json_object_get(cpu, "id"));
		const char *state = json_string_value(json_object_get(cpu, "state"));

		if (json_is_null(json_object_get(cpu, "owner")))
			json_decref(machine_call(
			    &c->machine, "CpuAssign",
			    json_pack("{s:I,s:s}", "cpu", id, "to", c->partition[0]), error));
		else if (state && strcmp(state, "console") == 0)
			json_decref(machine_call(&c->machine, "CpuStart",
						 json_pack("{s:I}", "cpu", id), error));
	}
	json_decref(status);
}

/* Not all: that is a violation, which stops them. */
static void begin(struct campaign *c, uint64_t seed)
{
	for (uint32_t i = 0; i <= OPERATORS; i++) {
		struct caller *caller = &c->caller[i];

		*caller = (struct caller){.campaign = c, .random = {.state = seed + i}};
		if (machine_connect(&c->machine, &caller->machine.client) ||
		    pthread_create(&caller->thread, NULL,
				   i < OPERATORS ? operator_main : ender_main, caller))
			violated(c, "no connection for an operator", "");
	}
}

static void await(struct campaign *c)
{
	pthread_mutex_lock(&c->lock);
	while (!atomic_load(&c->stop) && !atomic_load(&c->samples.violated) &&
	       (c->migrated < c->count || atomic_load(&c->samples.taken) < 10 * c->count))
		pthread_cond_wait(&c->progress, &c->lock);
	atomic_store(&c->stop, true);
	pthread_cond_broadcast(&c->progress);
	pthread_mutex_unlock(&c->lock);
	for (uint32_t i = 0; i <= OPERATORS; i++) {
		if (c->caller[i].thread)
			pthread_join(c->caller[i].thread, NULL);
		varlink_client_close(c->caller[i].machine.client);
	}
}

static bool run(struct campaign *c, uint64_t seed)
{
	int err = samples_begin(&c->samples, &c->machine);

	if (err)
		return violated(c, "the machine's memory can't be looked at", strerror(-err));
	begin(c, seed);
	await(c);
	samples_end(&c->samples);
	if (atomic_load(&c->samples.violated))
		violated(c, "seen from outside", c->samples.what);
	if (!c->machine.violation[0])
		undo(c);
	return !c->machine.violation[0] && at_rest(c) && check_machine(&c->machine);
}

static bool learn(struct campaign *c)
{
	c->first = machine_look(&c->machine);
	if (!c->first)
		return false;
	c->partition_count = machine_partitions(c->first, c->partition);
	c->cpu_count = (uint32_t)json_array_size(json_object_get(c->first, "cpus"));
	return machine_is_fit(&c->machine, c->first, c->partition_count);
}

static void print(const struct campaign *c, uint64_t seed, bool json)
{
	const char *violation = c->machine.violation[0] ? c->machine.violation : "no violation";
	uint64_t samples = atomic_load(&c->samples.taken);
	uint64_t seen = atomic_load(&c->samples.in_transit), refused = 0, other = 0;
	json_t *all;

	for (uint32_t i = 0; i < OPERATORS; i++) {
		refused += c->caller[i].refused;
		other += c->caller[i].other;
	}
	if (!json) {
		printf("%llu migrations, %llu refused, %llu other commands, %llu instances ended "
		       "and booted meanwhile; %llu samples from outside, which saw %llu CPUs in "
		       "transit; %s\n",
		       (unsigned long long)c->migrated, (unsigned long long)refused,
		       (unsigned long long)other, (unsigned long long)c->caller[OPERATORS].ends,
		       (unsigned long long)samples, (unsigned long long)seen, violation);
		return;
	}
	all = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "seed", (json_int_t)seed, "migrations",
			(json_int_t)c->migrated, "refused", (json_int_t)refused, "other",
			(json_int_t)other, "ended", (json_int_t)c->caller[OPERATORS].ends,
			"samples", (json_int_t)samples, "in_transit", (json_int_t)seen, "violation",
			c->machine.violation);
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

int chaos_migrations(const char *name, uint64_t count, uint64_t seed, bool json)
{
	struct campaign *c = calloc(1, sizeof(*c));
	bool good;
	int code;

	if (!c || machine_open(&c->machine, name)) {
		free(c);
		return 3;
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->progress, NULL);
	c->count = count;
	if (learn(c)) {
		fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
		good = run(c, seed);
		print(c, seed, json);
		if (!good)
			fprintf(stderr,
				"violation: %s\nagain: apmp chaos migrations --seed %llu --count "
				"%llu\n",
				c->machine.violation, (unsigned long long)seed,
				(unsigned long long)count);
		code = good ? 0 : 1;
	} else {
		code = machine_not_begun(&c->machine, "a campaign wants a machine at rest", json);
	}
	machine_close(&c->machine);
	json_decref(c->first);
	free(c);
	return code;
}
