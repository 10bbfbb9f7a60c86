/*
 * plan_tables.c - where the CPUs of a partition that fails go, and which ones start by themselves.
 *
 * WHAT      Rules of failover and autostart sets change at once, also of partitions that run.  They
 *           are set when all partitions are there and stand in their communities, before any boots.
 *           What a deletion or a move to another community makes the console take out of the
 *           tables is not there any more for the comparison.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan_internal.h"

/* ---- targets, as a list of names ---- */

/* Whether the console leaves this target in the partition's rules until they are set. */
static bool is_left(struct plan *plan, const char *partition, const char *target)
{
	const struct plan_fate *mine = plan_fate(plan, partition), *its = plan_fate(plan, target);

	if (plan_same(partition, target))
		return true;
	return mine && its && its->want && !mine->moves && !its->moves;
}

/* The targets of a CPU ("*": of all that have no rule), a new reference; now: only those that are
 * left. */
static json_t *targets_of(struct plan *plan, const struct plan_partition *p, const char *cpu,
			  bool now)
{
	const json_t *names = p ? json_object_get(p->failover, cpu) : NULL, *one;
	json_t *list = json_array();
	size_t i;

	if (p && !names)
		names = json_object_get(p->failover, "*");
	if (json_is_string(names))
		json_array_append(list, (json_t *)(uintptr_t)names);
	json_array_foreach(names, i, one) json_array_append(list, (json_t *)(uintptr_t)one);
	for (i = json_array_size(list); p && now && i-- > 0;)
		if (!is_left(plan, p->name, json_string_value(json_array_get(list, i))))
			json_array_remove(list, i);
	return list;
}

/* ---- steps ---- */

/* "beta,gamma", "stay", "none" */
static char *targets_text(const struct plan_partition *p, const json_t *targets)
{
	char *text = cli_text("%s", json_array_size(targets) ? "" : "none");

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const char *name = json_string_value(json_array_get(targets, i));
		char *more = cli_text("%s%s%s", text, i ? "," : "",
				      plan_same(name, p->name) ? "stay" : name);

		free(text);
		text = more;
	}
	return text;
}

/* " 1 2", " all"; NULL cpus: all.  Freed by the caller. */
static char *cpus_text(const json_t *cpus)
{
	char *text = cli_text("%s", cpus ? "" : " all");

	for (size_t i = 0; i < json_array_size(cpus); i++) {
		char *more =
		    cli_text("%s %d", text, (int)json_integer_value(json_array_get(cpus, i)));

		free(text);
		text = more;
	}
	return text;
}

/* Steals targets and cpus (NULL: all). */
static void set_targets(struct plan *plan, const struct plan_partition *p, json_t *targets,
			json_t *cpus)
{
	char *to = targets_text(p, targets), *which = cpus_text(cpus);

	plan_step(
	    plan, "CpuFailover",
	    json_pack("{s:s, s:o, s:o*}", "partition", p->name, "targets", targets, "cpus", cpus),
	    "cpu failover %s%s %s", p->name, which, to);
	plan_because(plan, "the file has this rule of failover");
	free(to);
	free(which);
}

/* CPUs of the file from this one on that are to have the same targets and have others. */
static json_t *like(const struct plan *plan, json_t *is[], json_t *wanted[], int from)
{
	json_t *cpus = json_array(), *targets = wanted[from];

	for (int id = from; id < PLAN_CPUS; id++) {
		if (!plan->want->cpus[id].there || !json_equal(wanted[id], targets) ||
		    json_equal(is[id], targets))
			continue;
		json_array_append_new(cpus, json_integer(id));
		json_decref(is[id]);
		is[id] = json_incref(targets);
	}
	return cpus;
}

static void failover(struct plan *plan, const struct plan_partition *want,
		     const struct plan_partition *now)
{
	json_t *is[PLAN_CPUS + 1], *wanted[PLAN_CPUS + 1]; /* the last: all others */
	bool all;

	for (int id = 0; id <= PLAN_CPUS; id++) {
		char *cpu = id < PLAN_CPUS ? cli_text("%d", id) : cli_text("*");

		is[id] = targets_of(plan, now, cpu, true);
		wanted[id] = targets_of(plan, want, cpu, false);
		free(cpu);
	}
	all = !json_equal(is[PLAN_CPUS], wanted[PLAN_CPUS]);
	if (all)
		set_targets(plan, want, json_incref(wanted[PLAN_CPUS]), NULL);
	for (int id = 0; all && id < PLAN_CPUS; id++) {
		json_decref(is[id]);
		is[id] = json_incref(wanted[PLAN_CPUS]);
	}
	for (int id = 0; id < PLAN_CPUS; id++)
		if (plan->want->cpus[id].there && !json_equal(is[id], wanted[id]))
			set_targets(plan, want, json_incref(wanted[id]),
				    like(plan, is, wanted, id));
	for (int id = 0; id <= PLAN_CPUS; id++) {
		json_decref(is[id]);
		json_decref(wanted[id]);
	}
}

/* Whether the CPU starts by itself there; a list names those that do. */
static bool starts(const json_t *autostart, int id)
{
	const json_t *one;
	size_t i;

	if (!json_is_array(autostart))
		return true;
	json_array_foreach(autostart, i, one)
	{
		if (json_integer_value(one) == id)
			return true;
	}
	return false;
}

static void autostart(struct plan *plan, const struct plan_partition *want,
		      const struct plan_partition *now)
{
	json_t *cpus = json_is_array(want->autostart) ? json_deep_copy(want->autostart) : NULL;
	bool same = true;
	char *which;

	for (int id = 0; id < PLAN_CPUS; id++)
		same &= !plan->want->cpus[id].there ||
			starts(want->autostart, id) == starts(now ? now->autostart : NULL, id);
	which = cpus && !json_array_size(cpus) ? cli_text(" none") : cpus_text(cpus);
	if (same) {
		json_decref(cpus);
	} else {
		plan_step(plan, "CpuAutostart",
			  json_pack("{s:s, s:o*}", "partition", want->name, "cpus", cpus),
			  "cpu autostart %s%s", want->name, which);
		plan_because(plan, "the file has this autostart set");
	}
	free(which);
}

void plan_tables(struct plan *plan)
{
	for (size_t i = 0; i < plan->want->partition_count; i++) {
		const struct plan_partition *want = &plan->want->partitions[i];
		const struct plan_partition *now = plan_find_partition(plan->now, want->name);

		if (want->failover && (!now || now->failover))
			failover(plan, want, now);
		if (want->autostart && (!now || now->autostart))
			autostart(plan, want, now);
	}
}
