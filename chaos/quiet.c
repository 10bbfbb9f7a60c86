/*
 * quiet.c - a campaign in which nothing may happen: no live member is taken for dead.
 *
 * WHAT      Looks at a machine of which all partitions are members, none of them debugged or
 *           stopped, until each has beaten so often.  It can keep the host busy meanwhile.  How
 *           long a member was silent is what its big brother has counted in the database; that one
 *           missed a tick or two is no suspicion.
 * JUDGED    In the end the same processes are the same members of the same set.  Suspicions that a
 *           beat ended are counted and printed.
 * LIMITS    Nobody else may change the machine.  Silences are known in powers of 2 of ticks.
 */
#include "chaos/quiet.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chaos/machine.h"
#include "shm/layout_common.h"
#include "shm/layout_db.h"

#define LOAD_MAX   1024u
#define LOOK_MS	   250	 /* between two looks; what it costs must not be what is measured */
#define HUNG_LOOKS 1000u /* no beat in all of them: the machine stands still */

struct campaign {
	struct machine machine;
	json_t *first, *last; /* the status, then and now */
	json_int_t suspicions;
	json_int_t silence[APMP_DB_SILENCES];
	pid_t load[LOAD_MAX];
	uint32_t load_count;
};

static const json_t *partition_at(const json_t *status, size_t at)
{
	return json_array_get(json_object_get(status, "partitions"), at);
}

static json_int_t number(const json_t *partition, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(partition, "instance"), key));
}

/* ---- load ---- */

__attribute__((noreturn)) static void be_busy(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (volatile uint64_t n = 0;; n++)
		;
}

static bool start_load(struct campaign *c, uint32_t of_each)
{
	long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t count = (uint64_t)host_cpus * of_each;

	for (; c->load_count < count && c->load_count < LOAD_MAX; c->load_count++) {
		pid_t pid = fork();

		if (pid == 0)
			be_busy();
		if (pid < 0)
			return machine_violated(&c->machine, "no process for the load",
						strerror(errno));
		c->load[c->load_count] = pid;
	}
	return true;
}

static void end_load(struct campaign *c)
{
	for (uint32_t i = 0; i < c->load_count; i++)
		kill(c->load[i], SIGKILL);
	for (uint32_t i = 0; i < c->load_count; i++)
		(void)waitpid(c->load[i], NULL, 0); /* it is our child, and ends */
}

/* ---- looking ---- */

/* Whether all are the members that they were. */
static bool unharmed(struct campaign *c)
{
	size_t count = json_array_size(json_object_get(c->first, "partitions"));

	for (size_t i = 0; i < count; i++) {
		const json_t *then = partition_at(c->first, i), *now = partition_at(c->last, i);
		const char *name = json_string_value(json_object_get(then, "name"));
		const char *state =
		    json_string_value(json_object_get(json_object_get(now, "instance"), "state"));

		if (!state || strcmp(state, "member") != 0)
			return machine_violated(&c->machine, name, state ? state : "is gone");
		if (number(then, "pid") != number(now, "pid"))
			return machine_violated(&c->machine, name, "is another process now");
	}
	return true;
}

/* The fewest beats of a member so far. */
static uint64_t beats_so_far(const struct campaign *c)
{
	size_t count = json_array_size(json_object_get(c->first, "partitions"));
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		json_int_t beats = number(partition_at(c->last, i), "heartbeat") -
				   number(partition_at(c->first, i), "heartbeat");

		least = (uint64_t)beats < least ? (uint64_t)beats : least;
	}
	return least;
}

static void wait_a_little(void)
{
	struct timespec time = {.tv_nsec = LOOK_MS * 1000000};

	nanosleep(&time, NULL);
}

static bool look_until(struct campaign *c, uint64_t beats)
{
	uint64_t before = 0, so_far = 0;
	unsigned still = 0;

	while (so_far < beats) {
		wait_a_little();
		json_decref(c->last);
		c->last = machine_look(&c->machine);
		if (!c->last || !unharmed(c))
			return false;
		so_far = beats_so_far(c);
		still = so_far > before ? 0 : still + 1;
		before = so_far;
		if (still == HUNG_LOOKS)
			return machine_violated(&c->machine, "the machine",
						"has a member that beats no more");
	}
	return true;
}

/* ---- what is said ---- */

static void sum_up(struct campaign *c)
{
	size_t count = json_array_size(json_object_get(c->first, "partitions"));

	for (size_t i = 0; i < count; i++) {
		const json_t *then = partition_at(c->first, i), *now = partition_at(c->last, i);

		c->suspicions += number(now, "suspected") - number(then, "suspected");
		for (size_t k = 0; k < APMP_DB_SILENCES; k++) {
			const json_t *a =
			    json_object_get(json_object_get(then, "instance"), "silences");
			const json_t *b =
			    json_object_get(json_object_get(now, "instance"), "silences");

			c->silence[k] += json_integer_value(json_array_get(b, k)) -
					 json_integer_value(json_array_get(a, k));
		}
	}
}

static void print_text(const struct campaign *c, uint64_t beats)
{
	bool any = false;

	for (size_t k = 0; k < APMP_DB_SILENCES; k++) {
		char ticks[32];

		if (k == 0)
			snprintf(ticks, sizeof(ticks), "1");
		else if (k + 1 == APMP_DB_SILENCES)
			snprintf(ticks, sizeof(ticks), "%u or more", 1u << k);
		else
			snprintf(ticks, sizeof(ticks), "%u to %u", 1u << k, (2u << k) - 1);
		if (!c->silence[k])
			continue;
		if (!any)
			printf("%-12s %10s\n", "SILENT TICKS", "TIMES");
		any = true;
		printf("%-12s %10lld\n", ticks, (long long)c->silence[k]);
	}
	if (!any)
		puts("no member was silent for a tick");
	printf("%llu beats of each of %zu members beside %u busy processes: %lld suspicions; %s\n",
	       (unsigned long long)beats, json_array_size(json_object_get(c->first, "partitions")),
	       c->load_count, (long long)c->suspicions,
	       c->machine.violation[0] ? c->machine.violation : "nobody was removed");
}

static void print_json(const struct campaign *c, uint64_t beats)
{
	json_t *silences = json_array(), *all;

	for (size_t k = 0; k < APMP_DB_SILENCES; k++)
		json_array_append_new(
		    silences, json_pack("{s:i,s:I}", "ticks", 1 << k, "times", c->silence[k]));
	all = json_pack("{s:I,s:i,s:I,s:o,s:s}", "beats", (json_int_t)beats, "load",
			(int)c->load_count, "suspicions", c->suspicions, "silences", silences,
			"violation", c->machine.violation);
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

int chaos_quiet(const char *name, uint64_t beats, uint32_t load, bool json)
{
	struct campaign *c = calloc(1, sizeof(*c));
	bool begun, good = false;

	if (!c || machine_open(&c->machine, name)) {
		free(c);
		return 3;
	}
	c->first = machine_look(&c->machine);
	c->last = json_incref(c->first);
	begun = c->first && unharmed(c) && machine_moves(&c->machine, c->first);
	if (begun)
		good = start_load(c, load) && look_until(c, beats);
	else
		(void)machine_not_begun(&c->machine, "all partitions must be members that move",
					json);
	end_load(c);
	if (begun && c->last) {
		sum_up(c);
		if (json)
			print_json(c, beats);
		else
			print_text(c, beats);
	}
	machine_close(&c->machine);
	json_decref(c->first);
	json_decref(c->last);
	free(c);
	return good ? 0 : 1;
}
