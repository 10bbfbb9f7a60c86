/*
 * plan_diff.c - the steps that make a running machine what a machine file says.
 *
 * WHAT      Pure: two documents in, one out. First everything is decided: the fate of each
 *           partition, the way of each CPU and bus, what memory goes; and by that who must be
 *           halted. Then the steps are laid out in one order that holds for every change:
 *
 *               boots of who still uses what he lost    so that it is free
 *               CPUs migrate                            between partitions that run
 *               halts
 *               releases, deletions                     of partitions, then of communities
 *               hardware out, hardware in
 *               creations, communities
 *               assignments                             CPUs and buses, then memory near them
 *               rules of failover, autostart sets
 *               boots                                   of who was halted, and of who is new
 *
 *           Release before acquire, create before assign: so swaps, rings and renames need no
 *           thought of their own.
 * STATES    Nothing is taken from a partition that runs but a CPU that migrates, which needs two
 *           that run in one community, and is nobody's primary. All else halts it first.
 *           A CPU on loan whose owner changes goes home first, or its borrower is halted.
 * CRASHES   A plan that was cut off is made anew from what the machine is then. Only that a
 *           partition ran before it was halted is not in the machine: "resume" says it.
 * LIMITS    What a partition is given while it runs it may have only from its next boot on: the
 *           step's reply says so. Timing, fence and notice_exit are for a power cycle.
 */
#include "cli/plan_diff.h"

#include <stdlib.h>
#include <string.h>

#include "cli/plan_internal.h"

enum { BOOT_MEMORY = 4 << 20 }; /* least private memory that can boot (apmpd/machine_file.h) */

struct plan_fate *plan_fate(struct plan *plan, const char *name)
{
	const struct plan_partition *now = plan_find_partition(plan->now, name);

	return now ? &plan->fates[now - plan->now->partitions] : NULL;
}

void plan_halt(struct plan *plan, const char *name, char *text)
{
	struct plan_fate *fate = plan_runs(plan->now, name) ? plan_fate(plan, name) : NULL;

	if (fate) {
		char *before = fate->halted_for;

		fate->halted_for = before ? cli_text("%s, %s", before, text) : cli_text("%s", text);
		free(before);
	}
	free(text);
}

/* ---- what is decided: partitions ---- */

static void decide_fates(struct plan *plan)
{
	for (size_t i = 0; i < plan->now->partition_count; i++) {
		const struct plan_partition *now = &plan->now->partitions[i];
		struct plan_fate *fate = &plan->fates[i];

		fate->now = now;
		fate->want = plan_find_partition(plan->want, now->name);
		fate->moves = fate->want && !plan_same(fate->want->community, now->community);
		if (!fate->want)
			plan_halt(plan, now->name, cli_text("it is deleted"));
		else if (fate->moves && now->community)
			plan_halt(plan, now->name,
				  cli_text("it leaves community %s", now->community));
		else if (fate->moves)
			plan_halt(plan, now->name,
				  cli_text("it goes into community %s", fate->want->community));
	}
}

/* It still uses what is no more its own; only booting takes that from it [0102]. */
static void lets_go(struct plan *plan, const char *user)
{
	struct plan_fate *fate = plan_fate(plan, user);

	if (fate && fate->want) /* who is deleted lets go by that */
		fate->settles = true;
}

/* ---- CPUs ---- */

static const struct plan_cpu *primary_of(const struct plan *plan, const char *partition)
{
	for (int id = 0; id < PLAN_CPUS; id++)
		if (plan->now->cpus[id].is_primary &&
		    plan_same(plan->now->cpus[id].user, partition))
			return &plan->now->cpus[id];
	return NULL;
}

/* Whether its user can hand it to another partition, both running. */
static bool can_migrate(const struct plan *plan, const struct plan_cpu *cpu, const char *to)
{
	const struct plan_partition *user = plan_find_partition(plan->now, cpu->user);
	const struct plan_partition *target = plan_find_partition(plan->now, to);
	const struct plan_cpu *primary;

	if (!user || !target || user == target || !user->running || !target->running ||
	    cpu->is_primary || !user->community || !plan_same(user->community, target->community))
		return false;
	primary = primary_of(plan, to);
	return primary && primary->type == cpu->type && primary->revision == cpu->revision;
}

/* Whoever uses it does so no more: is halted, or on loan it is called home. */
static int stop_cpu(struct plan *plan, int id, const char *to)
{
	const struct plan_cpu *cpu = &plan->now->cpus[id];
	bool lent = cpu->user && !plan_same(cpu->user, cpu->owner);
	bool home = lent && can_migrate(plan, cpu, cpu->owner);

	if (home && plan_same(to, cpu->user)) /* it works there: from home it can go there again */
		return PLAN_HOME | PLAN_MIGRATE;
	if (lent && !home)
		plan_halt(plan, cpu->user, cli_text("CPU %d leaves it", id));
	if (cpu->user) /* a loan that ends goes back to an owner that runs */
		plan_halt(plan, cpu->owner, cli_text("CPU %d leaves it", id));
	return home ? PLAN_HOME : 0;
}

static int way_of_cpu(struct plan *plan, int id)
{
	const struct plan_cpu *now = &plan->now->cpus[id], *want = &plan->want->cpus[id];
	const char *to = want->there ? want->owner : NULL;
	bool replaced = plan_cpu_replaced(plan, id);
	int way = 0;

	if (!now->there)
		return !want->there ? 0 : PLAN_ADD | (to ? PLAN_ASSIGN : 0);
	if (replaced || !want->there)
		way |= PLAN_REMOVE | (replaced ? PLAN_ADD : 0);
	else if (plan_same(now->owner, to))
		return 0;
	if (to && !replaced && now->owner && can_migrate(plan, now, to))
		return PLAN_MIGRATE;
	if (now->owner) {
		const struct plan_fate *owner = plan_fate(plan, now->owner);

		way |= stop_cpu(plan, id, replaced ? NULL : to);
		if (way & PLAN_MIGRATE)
			return way;
		if (!owner || owner->want) /* who is deleted lets go by that */
			way |= PLAN_RELEASE;
	} else {
		lets_go(plan, now->user);
	}
	return way | (to ? PLAN_ASSIGN : 0);
}

/* ---- buses ---- */

static int way_of_bus(struct plan *plan, const struct plan_bus *now)
{
	const struct plan_bus *want = plan_find_bus(plan->want, now->id);
	const struct plan_fate *owner = plan_fate(plan, now->owner);
	const char *to = want ? want->owner : NULL;
	int way = want ? 0 : PLAN_REMOVE;

	if (want && plan_same(now->owner, to))
		return 0;
	if (now->owner) {
		plan_halt(plan, now->user, cli_text("bus %s leaves it", now->id));
		if (!owner || owner->want)
			way |= PLAN_RELEASE;
	} else {
		lets_go(plan, now->user);
	}
	return way | (to ? PLAN_ASSIGN : 0);
}

/* ---- the rest of the machine ---- */

static void compare_setting(struct plan *plan, const char *what, const json_t *now,
			    const json_t *want)
{
	char *is, *wanted;

	if (!now || !want || json_equal(now, want))
		return;
	is = json_dumps(now, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	wanted = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	plan_say(plan->power_cycle, "%s is %s, and in the file %s", what, is, wanted);
	free(is);
	free(wanted);
}

/* As a machine file has it. */
static char *dumps_text(const json_t *dump)
{
	char *limit =
	    cli_size_text((unsigned long long)json_integer_value(json_object_get(dump, "limit")));
	char *text = json_is_object(dump)
			 ? cli_text("{limit: %s, keep: %lld}", limit,
				    (long long)json_integer_value(json_object_get(dump, "keep")))
			 : cli_text("no");

	free(limit);
	return text;
}

static void compare_dumps(struct plan *plan, const json_t *now, const json_t *want)
{
	char *is, *wanted;

	if (!now || !want || json_equal(now, want))
		return;
	is = dumps_text(now);
	wanted = dumps_text(want);
	plan_say(plan->power_cycle, "dump is %s, and in the file %s", is, wanted);
	free(is);
	free(wanted);
}

static void compare_settings(struct plan *plan)
{
	static const struct {
		const char *key, *what, *unit;
	} times[] = {{"tick_ns", "timing: tick", "ns"},
		     {"suspect", "timing: suspect", ""},
		     {"stop_ns", "timing: stop", "ns"}};
	const json_t *now = plan->now->document, *want = plan->want->document;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		const json_t *is = json_object_get(json_object_get(now, "timing"), times[i].key);
		const json_t *wanted =
		    json_object_get(json_object_get(want, "timing"), times[i].key);
		char *left = cli_duration_text(json_integer_value(is));
		char *right = cli_duration_text(json_integer_value(wanted));

		if (!*times[i].unit)
			compare_setting(plan, times[i].what, is, wanted);
		else if (is && wanted && !json_equal(is, wanted))
			plan_say(plan->power_cycle, "%s is %s, and in the file %s", times[i].what,
				 left, right);
		free(left);
		free(right);
	}
	compare_setting(plan, "fence", json_object_get(now, "fence"),
			json_object_get(want, "fence"));
	compare_setting(plan, "notice_exit", json_object_get(now, "notice_exit"),
			json_object_get(want, "notice_exit"));
	compare_dumps(plan, json_object_get(now, "dump"), json_object_get(want, "dump"));
}

static void decide(struct plan *plan)
{
	decide_fates(plan);
	plan_hardware_decide(plan);
	for (int id = 0; id < PLAN_CPUS; id++)
		plan->cpu_ways[id] = way_of_cpu(plan, id);
	for (size_t i = 0; i < plan->now->bus_count; i++)
		plan->bus_ways[i] = way_of_bus(plan, &plan->now->buses[i]);
	plan_memory_decide(plan);
	compare_settings(plan);
}

/* ---- steps: taking ---- */

static void halt(struct plan *plan, const char *name, const char *because)
{
	plan_step(plan, "PartitionHalt", json_pack("{s:s}", "name", name), "partition halt %s",
		  name);
	plan_because(plan, "%s", because);
}

static void boot(struct plan *plan, const char *name, const char *because)
{
	plan_step(plan, "PartitionBoot", json_pack("{s:s, s:b}", "name", name, "wait", 1),
		  "partition boot %s", name);
	plan_because(plan, "%s", because);
}

static void settle(struct plan *plan)
{
	static const char still_uses[] = "it still uses what was taken from it";

	for (size_t i = 0; i < plan->now->partition_count; i++) {
		const char *name = plan->now->partitions[i].name;

		if (!plan->fates[i].settles)
			continue;
		if (plan->now->partitions[i].running)
			halt(plan, name, still_uses);
		boot(plan, name, still_uses);
		if (!plan->now->partitions[i].running)
			halt(plan, name, still_uses);
		/* What was lent to it has gone home by now. */
		json_object_set_new(plan_last_step(plan), "again", json_true());
	}
}

/* Whose a CPU or a bus of the box is in the file: why the last step takes it, or gives it. */
static void because_owner(struct plan *plan, bool there, const char *owner)
{
	if (!there)
		plan_because(plan, "the file does not have it");
	else if (owner)
		plan_because(plan, "in the file it is %s's", owner);
	else
		plan_because(plan, "in the file it is nobody's");
}

static void migrate(struct plan *plan, int id, const char *to)
{
	plan_step(plan, "CpuMigrate", json_pack("{s:i, s:s}", "cpu", id, "to", to),
		  "cpu migrate %d --to %s", id, to);
}

static void migrations(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++) {
		if (plan->cpu_ways[id] & PLAN_HOME) {
			migrate(plan, id, plan->now->cpus[id].owner);
			plan_because(plan, "it is on loan, and its owner changes");
		}
		if (plan->cpu_ways[id] & PLAN_MIGRATE) {
			migrate(plan, id, plan->want->cpus[id].owner);
			because_owner(plan, true, plan->want->cpus[id].owner);
		}
	}
}

static void halts(struct plan *plan)
{
	for (size_t i = 0; i < plan->now->partition_count; i++)
		if (plan->fates[i].halted_for)
			halt(plan, plan->now->partitions[i].name, plan->fates[i].halted_for);
}

static void releases(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++) {
		const struct plan_cpu *want = &plan->want->cpus[id];

		if (!(plan->cpu_ways[id] & PLAN_RELEASE))
			continue;
		plan_step(plan, "CpuDeassign", json_pack("{s:i}", "cpu", id), "cpu deassign %d",
			  id);
		if (plan_cpu_replaced(plan, id))
			plan_because(plan, "the file has another CPU %d", id);
		else
			because_owner(plan, want->there, want->owner);
	}
	for (size_t i = 0; i < plan->now->bus_count; i++) {
		const char *id = plan->now->buses[i].id;
		const struct plan_bus *want = plan_find_bus(plan->want, id);

		if (!(plan->bus_ways[i] & PLAN_RELEASE))
			continue;
		plan_step(plan, "BusDeassign", json_pack("{s:s}", "bus", id), "bus deassign %s",
			  id);
		because_owner(plan, want, want ? want->owner : NULL);
	}
	plan_memory_release(plan);
}

static void because_community(struct plan *plan, const struct plan_partition *want)
{
	if (want->community)
		plan_because(plan, "in the file it is in community %s", want->community);
	else
		plan_because(plan, "in the file it is in no community");
}

static void leave_community(struct plan *plan, const struct plan_partition *partition)
{
	plan_step(
	    plan, "CommunityRemove",
	    json_pack("{s:s, s:s}", "name", partition->community, "partition", partition->name),
	    "community remove %s %s", partition->community, partition->name);
}

static void deletions(struct plan *plan)
{
	for (size_t i = 0; i < plan->now->partition_count; i++) {
		const struct plan_partition *now = &plan->now->partitions[i];

		if (!plan->fates[i].want) {
			plan_step(plan, "PartitionDelete", json_pack("{s:s}", "name", now->name),
				  "partition delete %s", now->name);
			plan_because(plan, "the file does not have it");
		} else if (plan->fates[i].moves && now->community) {
			leave_community(plan, now);
			because_community(plan, plan->fates[i].want);
		}
	}
	for (size_t i = 0; i < plan->now->community_count; i++) {
		const char *name = plan->now->communities[i].name;

		if (plan_find_community(plan->want, name))
			continue;
		plan_step(plan, "CommunityDelete", json_pack("{s:s}", "name", name),
			  "community delete %s", name);
		plan_because(plan, "the file does not have it");
	}
}

/* ---- steps: giving ---- */

static void create_partition(struct plan *plan, const struct plan_partition *want)
{
	char *community =
	    want->community ? cli_text(" --community %s", want->community) : cli_text("%s", "");

	plan_step(plan, "PartitionCreate",
		  json_pack("{s:s, s:s*, s:b}", "name", want->name, "community", want->community,
			    "boot", want->boot),
		  "partition create %s%s%s", want->name, community, want->boot ? " --boot" : "");
	plan_because(plan, "the machine does not have it");
	free(community);
}

static void creations(struct plan *plan)
{
	for (size_t i = 0; i < plan->want->community_count; i++) {
		const char *name = plan->want->communities[i].name;

		if (plan_find_community(plan->now, name))
			continue;
		plan_step(plan, "CommunityCreate", json_pack("{s:s}", "name", name),
			  "community create %s", name);
		plan_because(plan, "the machine does not have it");
	}
	for (size_t i = 0; i < plan->want->partition_count; i++) {
		const struct plan_partition *want = &plan->want->partitions[i];
		const struct plan_fate *fate = plan_fate(plan, want->name);

		if (!fate) {
			create_partition(plan, want);
		} else if (fate->moves && want->community) {
			plan_step(plan, "CommunityAdd",
				  json_pack("{s:s, s:s}", "name", want->community, "partition",
					    want->name),
				  "community add %s %s", want->community, want->name);
			because_community(plan, want);
		}
		if (fate && fate->now->boot_known && fate->now->boot != want->boot) {
			plan_step(plan, "PartitionSet",
				  json_pack("{s:s, s:b}", "name", want->name, "boot", want->boot),
				  "partition set %s --boot %s", want->name,
				  want->boot ? "yes" : "no");
			plan_because(plan, "in the file it has boot: %s",
				     want->boot ? "yes" : "no");
		}
	}
}

static void assignments(struct plan *plan)
{
	for (int id = 0; id < PLAN_CPUS; id++)
		if (plan->cpu_ways[id] & PLAN_ASSIGN) {
			plan_step(
			    plan, "CpuAssign",
			    json_pack("{s:i, s:s}", "cpu", id, "to", plan->want->cpus[id].owner),
			    "cpu assign %d --to %s", id, plan->want->cpus[id].owner);
			because_owner(plan, true, plan->want->cpus[id].owner);
		}
	for (size_t i = 0; i < plan->want->bus_count; i++) {
		const struct plan_bus *want = &plan->want->buses[i];
		const struct plan_bus *now = plan_find_bus(plan->now, want->id);

		if (now ? plan->bus_ways[now - plan->now->buses] & PLAN_ASSIGN
			: want->owner != NULL) {
			plan_step(plan, "BusAssign",
				  json_pack("{s:s, s:s}", "bus", want->id, "to", want->owner),
				  "bus assign %s --to %s", want->id, want->owner);
			because_owner(plan, true, want->owner);
		}
	}
	plan_memory_assign(plan);
}

/* What it lacks for booting in the file; NULL: nothing. */
static const char *lacks(const struct plan *plan, const struct plan_partition *want)
{
	bool cpu = false, bus = false;

	for (int id = 0; id < PLAN_CPUS; id++)
		cpu |= plan->want->cpus[id].can_be_primary &&
		       plan_same(plan->want->cpus[id].owner, want->name);
	for (size_t i = 0; i < plan->want->bus_count; i++)
		bus |= plan_same(plan->want->buses[i].owner, want->name);
	if (!cpu)
		return "a CPU that may be primary";
	if (!bus)
		return "a bus";
	return want->memory < BOOT_MEMORY ? "memory (4M)" : NULL;
}

static void boots(struct plan *plan)
{
	for (size_t i = 0; i < plan->want->partition_count; i++) {
		const struct plan_partition *want = &plan->want->partitions[i];
		const struct plan_fate *fate = plan_fate(plan, want->name);
		const char *lacking = lacks(plan, want);

		if (fate ? !fate->halted_for && (!fate->now->resume || fate->now->running)
			 : !want->boot)
			continue;
		if (lacking)
			plan_say(plan->notes, "partition %s stays halted: in the file it lacks %s",
				 want->name, lacking);
		else
			boot(plan, want->name,
			     !fate		? "in the file it has boot: yes"
			     : fate->halted_for ? "it was running"
						: "it was running before an apply halted it");
	}
}

/* ---- all of it ---- */

static json_t *halted_names(const struct plan *plan)
{
	json_t *names = json_array();

	for (size_t i = 0; i < plan->now->partition_count; i++)
		if (plan->now->partitions[i].running &&
		    (plan->fates[i].halted_for || plan->fates[i].settles))
			json_array_append_new(names, json_string(plan->now->partitions[i].name));
	return names;
}

static void *list(size_t count, size_t size)
{
	void *memory = calloc(count + 1, size);

	if (!memory)
		cli_out_of_memory();
	return memory;
}

json_t *plan_diff(const json_t *want, const json_t *now)
{
	struct plan plan = {.want = plan_side_create(want),
			    .now = plan_side_create(now),
			    .steps = json_array(),
			    .impossible = json_array(),
			    .power_cycle = json_array(),
			    .notes = json_array()};
	json_t *answer;

	plan_side_divide_as(plan.want, plan.now);
	plan.fates = list(plan.now->partition_count, sizeof(*plan.fates));
	plan.memory_goes = list(plan.now->memory_count, sizeof(*plan.memory_goes));
	plan.bus_ways = list(plan.now->bus_count, sizeof(*plan.bus_ways));
	decide(&plan);
	settle(&plan);
	migrations(&plan);
	halts(&plan);
	releases(&plan);
	deletions(&plan);
	plan_hardware_remove(&plan);
	plan_hardware_add(&plan);
	creations(&plan);
	assignments(&plan);
	plan_tables(&plan);
	boots(&plan);
	answer = json_pack("{s:o, s:o, s:o, s:o, s:o}", "steps", plan.steps, "halts",
			   halted_names(&plan), "impossible", plan.impossible, "power_cycle",
			   plan.power_cycle, "notes", plan.notes);
	for (size_t i = 0; i < plan.now->partition_count; i++)
		free(plan.fates[i].halted_for);
	free(plan.fates);
	free(plan.memory_goes);
	free(plan.bus_ways);
	plan_memory_end(&plan);
	plan_side_destroy(plan.want);
	plan_side_destroy(plan.now);
	return answer;
}
