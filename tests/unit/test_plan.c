/*
 * The planner: what single changes become, and random pairs of machines, done on a model whose
 * rules refuse whatever is out of order.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plan_diff.h"
#include "tests/unit/plan_model.h"
#include "tests/unit/suite.h"

enum { PAIRS = 50, ROUNDS = 24 }; /* a round is a process */

/* ---- single changes ---- */

/* alpha (running: CPUs 0, 1, 2; 8M; bus 0.0.0), beta (running: 3, 4; 8M; 0.0.1) and gamma (halted:
 * 5; 4M; 0.0.2) in lab, which shares 8M; nobody in shop. CPU 6, bus 0.0.3, 36M, and the 32M of SBB
 * 1 are nobody's. */
static const struct model trio = {
    .cpu = {{true, true, 0, 1, 0, 0},
	    {true, true, 0, 1, 0, 0},
	    {true, true, 0, 1, 0, 0},
	    {true, true, 0, 1, 1, 1},
	    {true, true, 1, 1, 1, 1},
	    {true, true, 1, 1, 2, MODEL_NONE},
	    {true, true, 1, 1, MODEL_NONE, MODEL_NONE}},
    .bus = {{true, 0, 0}, {true, 1, 1}, {true, 2, MODEL_NONE}, {true, MODEL_NONE, MODEL_NONE}},
    .piece = {{0, 1 << 30, 1 << 30, 8 << 20, 0, false, true},
	      {0, (1 << 30) + (8 << 20), 1 << 30, 8 << 20, 1, false, true},
	      {0, (1 << 30) + (16 << 20), 1 << 30, 4 << 20, 2, false, true},
	      {0, (1 << 30) + (20 << 20), 1 << 30, 8 << 20, 0, true, false},
	      {0, (1 << 30) + (28 << 20), 1 << 30, 36 << 20, MODEL_NONE, false, false},
	      {1, INT64_C(2) << 30, INT64_C(2) << 30, 32 << 20, MODEL_NONE, false, false}},
    .partition = {{true, true, true, false, 0, 0, 1},
		  {true, true, true, false, 0, 3, 1},
		  {true, false, false, false, 0, MODEL_NONE, 0}},
    .community = {true, true},
    .next_pa = INT64_C(3) << 30,
};

static struct model now, want;
static json_t *plan;

static void setup(void)
{
	now = want = trio;
}

static void teardown(void)
{
	json_decref(plan);
	plan = NULL;
}

static json_t *diff(const struct model *is, const struct model *wanted)
{
	json_t *file = model_file(wanted), *machine = model_now(is);
	json_t *answer = plan_diff(file, machine);

	ck_assert(answer && file && machine);
	json_decref(file);
	json_decref(machine);
	return answer;
}

static const json_t *steps_of(const json_t *a_plan)
{
	return json_object_get(a_plan, "steps");
}

/* Why step number i is one. */
static const char *because(size_t i)
{
	const char *text =
	    json_string_value(json_object_get(json_array_get(steps_of(plan), i), "because"));

	return text ? text : "";
}

/* The plan from now to want is these commands; doing it makes it so. */
static void expect_plan(const char *const *commands)
{
	char what[64];
	size_t i;

	plan = diff(&now, &want);
	for (i = 0; i < json_array_size(steps_of(plan)); i++) {
		const json_t *step = json_array_get(steps_of(plan), i);
		const char *command = json_string_value(json_object_get(step, "command"));
		const char *refused;

		ck_assert_msg(commands[i], "one more: %s", command);
		ck_assert_str_eq(command, commands[i]);
		ck_assert_msg(*because(i), "%s has no reason", command);
		refused = model_do(&now, step);
		ck_assert_msg(!refused, "%s: %s", command, refused);
	}
	ck_assert_msg(!commands[i], "not planned: %s", commands[i]);
	ck_assert_msg(model_is(&now, &want, what, sizeof(what)), "%s is not as wanted", what);
}

#define EXPECT_PLAN(...) expect_plan((const char *const[]){__VA_ARGS__, NULL})

static void expect_list(const char *key, const char *texts)
{
	char *is = json_dumps(json_object_get(plan, key), JSON_COMPACT);

	ck_assert_str_eq(is, texts);
	free(is);
}

START_TEST(nothing_to_do)
{
	expect_plan((const char *const[]){NULL});
	expect_list("halts", "[]");
	expect_list("power_cycle", "[]");
}
END_TEST

/* Between two that run in one community nobody is halted. */
START_TEST(a_cpu_migrates)
{
	want.cpu[2].owner = 1;
	EXPECT_PLAN("apmp cpu migrate 2 --to beta");
	expect_list("halts", "[]");
	expect_list("steps", "[{\"method\":\"CpuMigrate\",\"parameters\":{\"cpu\":2,\"to\":"
			     "\"beta\"},\"command\":\"apmp cpu migrate 2 --to beta\","
			     "\"because\":\"in the file it is beta's\"}]");
}
END_TEST

/* What is to hold when a partition fails, and for CPUs that come, changes without a halt. */
static const struct {
	const char *want, *now, *commands[4];
} tables[] = {
    {"'failover': {}, 'autostart': 'all'", "'failover': {}, 'autostart': [0, 1, 2, 3]", {0}},
    {"'failover': {'1': 'b', '*': 'b'}", "'failover': {'*': ['b']}", {0}},
    {"'failover': {'1': 'b'}", "'failover': {}", {"apmp cpu failover a 1 b"}},
    {"'failover': {}", "'failover': {'1': ['b']}", {"apmp cpu failover a 1 none"}},
    {"'failover': {'*': ['b', 'c'], '0': 'c', '2': 'c', '3': 'a'}",
     "'failover': {}",
     {"apmp cpu failover a all b,c", "apmp cpu failover a 0 2 c", "apmp cpu failover a 3 stay"}},
    {"'failover': {'*': 'b', '2': []}",
     "'failover': {'*': ['c']}",
     {"apmp cpu failover a all b", "apmp cpu failover a 2 none"}},
    /* d is deleted, and leaves the rules with that. */
    {"'failover': {'*': 'b'}", "'failover': {'*': ['d', 'b']}", {"apmp partition delete d"}},
    {"'autostart': [1]", "'autostart': [0, 1, 2, 3]", {"apmp cpu autostart a 1"}},
    {"'autostart': []", "'autostart': [0]", {"apmp cpu autostart a none"}},
    {"'autostart': 'all'", "'autostart': [0]", {"apmp cpu autostart a all"}},
    {"'autostart': [2, 0]", "'autostart': [0, 2]", {0}},
    {"'boot': false", "'failover': {'*': ['b']}, 'autostart': [1]", {0}},
};

static json_t *tables_machine(const char *partition, const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "{'machine': 'm', 'communities': [{'name': 'l'}], 'hardware': [{'sbb': 0, 'cpus': "
		 "[{'id': 0}, {'id': 1}, {'id': 2}, {'id': 3}]}], 'partitions': [{'name': 'a', "
		 "'community': 'l', %s}, {'name': 'b', 'community': 'l'}, {'name': 'c', "
		 "'community': 'l'}%s]}",
		 partition, more);
	for (char *at = text; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	return json_loads(text, 0, NULL);
}

/* shows: FAIL-02, CPU-12 */
START_TEST(tables_change)
{
	bool deletes = strstr(tables[_i].now, "'d'") != NULL;
	json_t *file = tables_machine(tables[_i].want, "");
	json_t *machine = tables_machine(
	    tables[_i].now, deletes ? ", {'name': 'd', 'community': 'l', 'failover': {}}" : "");
	size_t count = 0;

	ck_assert(file && machine);
	plan = plan_diff(file, machine);
	json_decref(file);
	json_decref(machine);
	while (count < 4 && tables[_i].commands[count])
		count++;
	for (size_t i = 0; i < json_array_size(steps_of(plan)); i++) {
		const json_t *step = json_array_get(steps_of(plan), i);

		ck_assert_uint_lt(i, count);
		ck_assert_str_eq(json_string_value(json_object_get(step, "command")),
				 tables[_i].commands[i]);
	}
	ck_assert_uint_eq(json_array_size(steps_of(plan)), count);
	expect_list("halts", "[]");
	expect_list("power_cycle", "[]");
}
END_TEST

START_TEST(a_primary_does_not_migrate)
{
	want.cpu[0].owner = 1;
	EXPECT_PLAN("apmp partition halt alpha", "apmp cpu deassign 0",
		    "apmp cpu assign 0 --to beta", "apmp partition boot alpha");
	expect_list("halts", "[\"alpha\"]");
	ck_assert_str_eq(because(0), "CPU 0 leaves it");
	ck_assert_str_eq(because(1), "in the file it is beta's");
	ck_assert_str_eq(because(2), "in the file it is beta's");
	ck_assert_str_eq(because(3), "it was running");
}
END_TEST

START_TEST(a_cpu_of_another_type_does_not_migrate)
{
	now.cpu[2].type = want.cpu[2].type = 2;
	want.cpu[2].owner = 1;
	EXPECT_PLAN("apmp partition halt alpha", "apmp cpu deassign 2",
		    "apmp cpu assign 2 --to beta", "apmp partition boot alpha");
}
END_TEST

START_TEST(a_cpu_goes_where_nothing_runs)
{
	want.cpu[2].owner = 2;
	EXPECT_PLAN("apmp partition halt alpha", "apmp cpu deassign 2",
		    "apmp cpu assign 2 --to gamma", "apmp partition boot alpha");
}
END_TEST

START_TEST(what_is_free_is_given_without_a_halt)
{
	want.cpu[6].owner = 0;
	want.bus[3].owner = 0;
	want.piece[4].size -= 4 << 20;
	want.piece[0].size += 4 << 20;
	EXPECT_PLAN("apmp cpu assign 6 --to alpha", "apmp bus assign 0.0.3 --to alpha",
		    "apmp memory assign 4M --to alpha");
}
END_TEST

/* A loan is a matter of the day; but an owner's CPU that goes elsewhere must come home, or its
 * borrower is halted. */
START_TEST(cpus_on_loan)
{
	now.cpu[2].user = 1;
	plan = diff(&now, &want);
	ck_assert_uint_eq(json_array_size(steps_of(plan)), 0);
	json_decref(plan);
	want.cpu[2].owner = 1;
	EXPECT_PLAN("apmp cpu migrate 2 --to alpha", "apmp cpu migrate 2 --to beta");
}
END_TEST

START_TEST(a_cpu_on_loan_whose_owner_is_down)
{
	now.cpu[2].user = 1;
	now.partition[0].running = false;
	want.cpu[2].owner = MODEL_NONE;
	EXPECT_PLAN("apmp partition halt beta", "apmp cpu deassign 2", "apmp partition boot beta");
}
END_TEST

START_TEST(two_exchange_their_buses)
{
	want.bus[0].owner = 1;
	want.bus[1].owner = 0;
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition halt beta",
		    "apmp bus deassign 0.0.0", "apmp bus deassign 0.0.1",
		    "apmp bus assign 0.0.0 --to beta", "apmp bus assign 0.0.1 --to alpha",
		    "apmp partition boot alpha", "apmp partition boot beta");
}
END_TEST

/* gamma was not running, and isn't booted. */
START_TEST(memory_goes_from_one_to_the_other)
{
	want.piece[0].size = 4 << 20;
	want.piece[2].size = 8 << 20;
	EXPECT_PLAN("apmp partition halt alpha", "apmp memory remove 4M --from alpha",
		    "apmp memory assign 4M --to gamma", "apmp partition boot alpha");
}
END_TEST

START_TEST(shared_memory_shrinks)
{
	want.piece[3].size = 4 << 20;
	want.piece[4].size += 4 << 20;
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition halt beta",
		    "apmp memory remove 4M --from lab", "apmp partition boot alpha",
		    "apmp partition boot beta");
}
END_TEST

START_TEST(into_another_community)
{
	want.partition[1].community = 1;
	EXPECT_PLAN("apmp partition halt beta", "apmp memory remove 8M --from beta",
		    "apmp community remove lab beta", "apmp community add shop beta",
		    "apmp memory assign 8M --to beta --at 0x80000000", "apmp partition boot beta");
}
END_TEST

/* shop needs 40M in one domain: the 32M of SBB 1 are too small, so lab goes there. */
START_TEST(a_descriptor_has_to_serve_others)
{
	want.piece[4].size -= 36 << 20;
	want.piece[5].size -= 28 << 20;
	want.piece[6] = (struct model_piece){0, 0, 0, 36 << 20, 1, true, false};
	want.piece[7] = (struct model_piece){1, 0, 0, 28 << 20, 0, true, false};
	want.piece[3].owner = MODEL_NONE;
	want.piece[3].shared = false;
	plan = diff(&now, &want);
	expect_list("impossible",
		    "[\"not all memory finds a place: the memory of an SBB serves one "
		    "community, or one partition that is in none\"]");
	json_decref(plan);
	want = trio;
	want.partition[0].there = want.partition[1].there = false;
	for (int i = 0; i < 4; i++)
		want.cpu[i].owner = MODEL_NONE;
	want.cpu[4].owner = want.bus[0].owner = want.bus[1].owner = MODEL_NONE;
	want.piece[0].owner = want.piece[1].owner = 1;
	want.piece[0].shared = want.piece[1].shared = true;
	want.piece[4].size -= 24 << 20;
	want.piece[6] = (struct model_piece){0, 0, 0, 24 << 20, 1, true, false};
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition halt beta",
		    "apmp memory remove 8M --from lab --at 0x41400000",
		    "apmp memory remove 4M --from gamma --at 0x41000000",
		    "apmp partition delete alpha", "apmp partition delete beta",
		    "apmp memory assign 4M --to gamma --at 0x80000000",
		    "apmp memory assign 8M --to lab --at 0x80400000",
		    "apmp memory assign 40M --to shop --at 0x40000000");
}
END_TEST

/* To the planner a partition is its name: another name is another partition. */
START_TEST(another_name)
{
	want.partition[3] = want.partition[1];
	want.partition[1].there = false;
	want.cpu[3].owner = want.cpu[4].owner = want.bus[1].owner = want.piece[1].owner = 3;
	EXPECT_PLAN("apmp partition halt beta", "apmp partition delete beta",
		    "apmp partition create delta --community lab --boot",
		    "apmp cpu assign 3 --to delta", "apmp cpu assign 4 --to delta",
		    "apmp bus assign 0.0.1 --to delta", "apmp memory assign 8M --to delta",
		    "apmp partition boot delta");
}
END_TEST

START_TEST(a_community_ends_and_one_begins)
{
	want.community[1] = false;
	want.community[2] = true;
	want.partition[2].community = 2;
	EXPECT_PLAN("apmp memory remove 4M --from gamma", "apmp community remove lab gamma",
		    "apmp community delete shop", "apmp community create plant",
		    "apmp community add plant gamma",
		    "apmp memory assign 4M --to gamma --at 0x80000000");
}
END_TEST

START_TEST(what_boots_at_power_on)
{
	want.partition[0].boot = false;
	want.partition[2].boot = true;
	EXPECT_PLAN("apmp partition set alpha --boot no", "apmp partition set gamma --boot yes");
}
END_TEST

START_TEST(hardware)
{
	now.bus[2].owner = want.bus[2].owner = MODEL_NONE;
	want.cpu[6].there = want.bus[3].there = want.bus[2].there = false;
	want.cpu[7] = (struct model_cpu){true, false, 1, 2, 0, 0};
	want.bus[4] = (struct model_bus){true, 0, 0};
	want.piece[5].size = 96 << 20;
	EXPECT_PLAN("apmp hardware remove cpu 6", "apmp hardware remove bus 0.0.3",
		    "apmp hardware remove bus 0.0.2",
		    "apmp hardware add cpu --sbb 1 --id 7 --type 2 --secondary-only",
		    "apmp hardware add bus --sbb 1 --id 1.0.0",
		    "apmp hardware add memory 64M --sbb 1", "apmp cpu assign 7 --to alpha",
		    "apmp bus assign 1.0.0 --to alpha");
}
END_TEST

START_TEST(a_memory_descriptor_leaves_the_box)
{
	want.piece[4].size = 0; /* 28M are left, all owned */
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition halt beta",
		    "apmp memory remove 8M --from lab --at 0x41400000",
		    "apmp memory remove 8M --from alpha --at 0x40000000",
		    "apmp memory remove 8M --from beta --at 0x40800000",
		    "apmp memory remove 4M --from gamma --at 0x41000000",
		    "apmp hardware remove memory 0x40000000",
		    "apmp hardware add memory 28M --sbb 0", "apmp memory assign 8M --to lab",
		    "apmp memory assign 8M --to alpha", "apmp memory assign 8M --to beta",
		    "apmp memory assign 4M --to gamma", "apmp partition boot alpha",
		    "apmp partition boot beta");
}
END_TEST

/* 4M of alpha's 12M could stay where they are; but it boots from one piece. */
START_TEST(what_a_partition_boots_from_is_whole)
{
	now.piece[5].size -= 4 << 20;
	now.piece[5].pa += 4 << 20;
	now.piece[6] =
	    (struct model_piece){1, INT64_C(2) << 30, INT64_C(2) << 30, 4 << 20, 0, false, false};
	want = now;
	want.piece[4].size = 0;
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition halt beta",
		    "apmp memory remove 8M --from lab --at 0x41400000",
		    "apmp memory remove 8M --from alpha --at 0x40000000",
		    "apmp memory remove 4M --from alpha",
		    "apmp memory remove 8M --from beta --at 0x40800000",
		    "apmp memory remove 4M --from gamma --at 0x41000000",
		    "apmp hardware remove memory 0x40000000",
		    "apmp hardware add memory 28M --sbb 0", "apmp memory assign 8M --to lab",
		    "apmp memory assign 12M --to alpha", "apmp memory assign 8M --to beta",
		    "apmp memory assign 4M --to gamma", "apmp partition boot alpha",
		    "apmp partition boot beta");
}
END_TEST

START_TEST(a_cpu_is_replaced)
{
	want.cpu[2].type = 2;
	EXPECT_PLAN("apmp partition halt alpha", "apmp cpu deassign 2",
		    "apmp hardware remove cpu 2", "apmp hardware add cpu --sbb 0 --id 2 --type 2",
		    "apmp cpu assign 2 --to alpha", "apmp partition boot alpha");
}
END_TEST

START_TEST(who_can_not_boot_stays_halted)
{
	want.bus[0].owner = MODEL_NONE;
	EXPECT_PLAN("apmp partition halt alpha", "apmp bus deassign 0.0.0");
	expect_list("notes", "[\"partition alpha stays halted: in the file it lacks a bus\"]");
}
END_TEST

/* CPU 2 was taken from alpha while it ran: only its next boot lets go of it. */
/* What a file does not divide, commands do [0064]: the file says nothing against it. */
START_TEST(a_file_that_divides_nothing)
{
	json_t *file = model_file(&want), *machine = model_now(&now);

	json_object_set_new(file, "partitions", json_array());
	json_object_set_new(file, "communities", json_array());
	plan = plan_diff(file, machine);
	ck_assert_uint_eq(json_array_size(steps_of(plan)), 0);
	json_decref(file);
	json_decref(machine);
}
END_TEST

START_TEST(who_still_uses_what_he_lost)
{
	now.cpu[2].owner = MODEL_NONE;
	want.cpu[2].owner = 1;
	EXPECT_PLAN("apmp partition halt alpha", "apmp partition boot alpha",
		    "apmp cpu assign 2 --to beta");
	expect_list("halts", "[\"alpha\"]");
	ck_assert(json_is_true(json_object_get(json_array_get(steps_of(plan), 1), "again")));
}
END_TEST

START_TEST(what_needs_a_power_cycle)
{
	json_t *file = model_file(&want), *machine = model_now(&now);
	json_t *disks = json_object_get(
	    json_array_get(
		json_object_get(
		    json_array_get(
			json_object_get(json_array_get(json_object_get(file, "hardware"), 0),
					"iops"),
			0),
		    "buses"),
		0),
	    "disks");

	json_array_append_new(disks, json_string("d0"));
	json_object_set_new(
	    file, "timing",
	    json_pack("{s:i, s:i, s:i}", "tick_ns", 2000000, "suspect", 3, "stop_ns", 50000000));
	json_object_set_new(
	    machine, "timing",
	    json_pack("{s:i, s:i, s:i}", "tick_ns", 5000000, "suspect", 4, "stop_ns", 50000000));
	json_object_set_new(file, "fence", json_string("bugcheck"));
	json_object_set_new(machine, "fence", json_string("kill"));
	json_object_set_new(file, "notice_exit", json_true());
	json_object_set_new(file, "dump", json_null());
	json_object_set_new(machine, "dump", json_pack("{s:i, s:i}", "limit", 64 << 20, "keep", 3));
	plan = plan_diff(file, machine);
	ck_assert_uint_eq(json_array_size(steps_of(plan)), 0);
	expect_list("power_cycle", "[\"bus 0.0.0 has 0 disks, and in the file 1\","
				   "\"timing: tick is 5 ms, and in the file 2 ms\","
				   "\"timing: suspect is 4, and in the file 3\","
				   "\"fence is \\\"kill\\\", and in the file \\\"bugcheck\\\"\","
				   "\"dump is {limit: 64M, keep: 3}, and in the file no\"]");
	json_decref(file);
	json_decref(machine);
}
END_TEST

/* ---- random pairs ---- */

struct pair {
	struct model now, want;
	bool runs[MODEL_NAMES]; /* in the end */
};

static bool divides(const struct model *m)
{
	for (int i = 0; i < MODEL_NAMES; i++)
		if (m->partition[i].there)
			return true;
	for (int i = 0; i < MODEL_COMMUNITIES; i++)
		if (m->community[i])
			return true;
	return false;
}

/* seed: another one, until the file divides the machine. */
static void random_pair(struct pair *pair, uint64_t seed)
{
	model_random(&pair->now, true, &seed);
	model_random(&pair->want, false, &seed);
	if (model_draw(&seed, 2)) { /* the same box, dealt anew */
		struct model_piece box[MODEL_PIECES];

		memcpy(box, pair->now.piece, sizeof(box));
		pair->want = pair->now;
		for (int i = 0; i < MODEL_CPUS; i++)
			pair->want.cpu[i].owner = MODEL_NONE;
		for (int i = 0; i < MODEL_BUSES; i++)
			pair->want.bus[i].owner = MODEL_NONE;
		for (int i = 0; i < MODEL_PIECES; i++) {
			pair->want.piece[i].owner = MODEL_NONE;
			pair->want.piece[i].shared = false;
		}
		model_redeal(&pair->want, &seed);
	}
	if (!divides(&pair->want)) {
		random_pair(pair, seed + 1000003);
		return;
	}
	model_use(&pair->now, &seed);
	for (int i = 0; i < MODEL_NAMES; i++)
		pair->runs[i] = model_bootable(&pair->want, i) &&
				(pair->now.partition[i].there ? pair->now.partition[i].running
							      : pair->want.partition[i].boot);
}

/* As cli/apply.c does: whom the plan boots is remembered, for the one after a plan that was cut
 * off. */
static void remember(struct model *m, const json_t *a_plan)
{
	const json_t *step;
	size_t i;

	json_array_foreach(steps_of(a_plan), i, step)
	{
		const char *name =
		    json_string_value(json_object_get(json_object_get(step, "parameters"), "name"));

		for (int k = 0; k < MODEL_NAMES; k++)
			if (strcmp(json_string_value(json_object_get(step, "method")),
				   "PartitionBoot") == 0 &&
			    strcmp(name, model_partition_name[k]) == 0)
				m->partition[k].resume = true;
	}
}

/* Plans, and does the first so many steps; how many there were. None is ever refused: releases
 * stand before acquisitions, creations before assignments. As cli/apply.c does, what is to be
 * planned again is. */
static size_t do_steps(struct pair *pair, size_t count, uint64_t seed)
{
	json_t *a_plan = diff(&pair->now, &pair->want);
	size_t i, steps = json_array_size(steps_of(a_plan));
	bool again = false;

	remember(&pair->now, a_plan);
	for (i = 0; i < steps && i < count && !again; i++) {
		const json_t *step = json_array_get(steps_of(a_plan), i);
		const char *refused = model_do(&pair->now, step);

		ck_assert_msg(!refused, "seed %llu: step %zu, %s: %s", (unsigned long long)seed,
			      i + 1, json_string_value(json_object_get(step, "command")), refused);
		again = json_is_true(json_object_get(step, "again"));
	}
	json_decref(a_plan);
	return again ? do_steps(pair, SIZE_MAX, seed) : steps;
}

static void expect_done(struct pair *pair, uint64_t seed)
{
	char what[64];

	ck_assert_msg(model_is(&pair->now, &pair->want, what, sizeof(what)), "seed %llu: %s",
		      (unsigned long long)seed, what);
	for (int i = 0; i < MODEL_NAMES; i++)
		ck_assert_msg(!pair->now.partition[i].there ||
				  pair->now.partition[i].running == pair->runs[i],
			      "seed %llu: %s runs: %d", (unsigned long long)seed,
			      model_partition_name[i], pair->now.partition[i].running);
	ck_assert_msg(do_steps(pair, 0, seed) == 0, "seed %llu: there is more to do",
		      (unsigned long long)seed);
}

/* As the file says in the end, what ran runs, and there is nothing more to do. */
START_TEST(random_machines)
{
	for (uint64_t seed = (uint64_t)_i * PAIRS; seed < (uint64_t)(_i + 1) * PAIRS; seed++) {
		struct pair pair;

		random_pair(&pair, seed);
		(void)do_steps(&pair, SIZE_MAX, seed);
		expect_done(&pair, seed);
	}
}
END_TEST

/* The same with a plan that is cut off, anywhere and more than once. */
START_TEST(random_machines_cut_off)
{
	for (uint64_t seed = (uint64_t)_i * PAIRS; seed < (uint64_t)(_i + 1) * PAIRS; seed++) {
		uint64_t where = seed;
		struct pair pair;

		random_pair(&pair, seed);
		for (int cut = 0; cut < 2; cut++)
			(void)do_steps(&pair, model_draw(&where, 24), seed);
		(void)do_steps(&pair, SIZE_MAX, seed);
		expect_done(&pair, seed);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");
	TCase *single = suite_case(suite, "single changes"), *random = suite_case(suite, "random");

	tcase_add_checked_fixture(single, setup, teardown);
	tcase_add_test(single, nothing_to_do);
	tcase_add_test(single, a_cpu_migrates);
	tcase_add_loop_test(single, tables_change, 0, (int)(sizeof(tables) / sizeof(tables[0])));
	tcase_add_test(single, a_primary_does_not_migrate);
	tcase_add_test(single, a_cpu_of_another_type_does_not_migrate);
	tcase_add_test(single, a_cpu_goes_where_nothing_runs);
	tcase_add_test(single, what_is_free_is_given_without_a_halt);
	tcase_add_test(single, cpus_on_loan);
	tcase_add_test(single, a_cpu_on_loan_whose_owner_is_down);
	tcase_add_test(single, two_exchange_their_buses);
	tcase_add_test(single, memory_goes_from_one_to_the_other);
	tcase_add_test(single, shared_memory_shrinks);
	tcase_add_test(single, into_another_community);
	tcase_add_test(single, a_descriptor_has_to_serve_others);
	tcase_add_test(single, another_name);
	tcase_add_test(single, a_community_ends_and_one_begins);
	tcase_add_test(single, what_boots_at_power_on);
	tcase_add_test(single, hardware);
	tcase_add_test(single, a_memory_descriptor_leaves_the_box);
	tcase_add_test(single, what_a_partition_boots_from_is_whole);
	tcase_add_test(single, a_cpu_is_replaced);
	tcase_add_test(single, who_can_not_boot_stays_halted);
	tcase_add_test(single, who_still_uses_what_he_lost);
	tcase_add_test(single, a_file_that_divides_nothing);
	tcase_add_test(single, what_needs_a_power_cycle);
	tcase_add_loop_test(random, random_machines, 0, ROUNDS);
	tcase_add_loop_test(random, random_machines_cut_off, 0, ROUNDS);
	return suite_run(suite);
}
