/* `apmp chaos list`, `points` and `inject`: single faults; campaigns are apmp-chaos'. */
#include "cli/inject_fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"
#include "shm/points.h"

enum { ANSWER_S = 10 };

const struct cli_fault cli_faults[CLI_FAULTS] = {
    {"kill", "the partition's process ends at once (SIGKILL), as if its power went"},
    {"stop",
     "the partition's process stands still (SIGSTOP), as if it hung; a console that does so "
     "is found and restarted"},
    {"cont", "a partition that was stopped goes on (SIGCONT): late, and it must notice"},
    {"segv", "the partition's instance, or the console, stores to where there is no memory: it "
	     "fails, and knows it; without --at it is the signal alone, from outside"},
    {"assert", "an assertion of the partition's instance, or of the console, does not hold: it "
	       "fails, and knows it; without --at it is the signal alone, from outside"},
    {"page-bad", "a page of a community's shared memory fails: it is marked, and all are told"},
    {"garbage", "a page of a community's database is written over, and nobody is told"},
};

bool cli_fault_strikes_pages(const char *fault)
{
	return strcmp(fault, "page-bad") == 0 || strcmp(fault, "garbage") == 0;
}

static json_t *faults_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < CLI_FAULTS; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "fault", cli_faults[i].name,
						      "about", cli_faults[i].about));
	return list;
}

int cli_chaos_list(struct cli *cli, const struct cli_args *args)
{
	json_t *list = faults_json();

	(void)args;
	if (cli->json) {
		cli_print_json(list);
	} else {
		struct table *table = table_create("FAULT WHAT-HAPPENS");

		for (size_t i = 0; i < CLI_FAULTS; i++) {
			table_string(table, NULL, cli_faults[i].name);
			table_string(table, NULL, cli_faults[i].about);
		}
		table_print(table, cli);
	}
	json_decref(list);
	return CLI_DONE;
}

/* ---- points ---- */

static const struct {
	uint32_t party;
	const char *name;
} party_names[] = {
    {APMP_PARTY_INSTANCE, "instance"}, {APMP_PARTY_CONSOLE, "console"}, {APMP_PARTY_BOX, "box"}};

static json_t *parties_json(uint32_t point)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(party_names) / sizeof(party_names[0]); i++)
		if (apmp_point_parties(point) & party_names[i].party)
			json_array_append_new(list, json_string(party_names[i].name));
	return list;
}

/* All that this apmp knows of them; a machine is not needed for it. */
static json_t *points_json(void)
{
	json_t *points = json_array();

	for (uint32_t i = 1; i < APMP_P_COUNT; i++) {
		const struct apmp_point_info *info = apmp_point_info(i);

		json_array_append_new(points, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "name",
							info->name, "figure", info->figure, "about",
							info->about, "survivors", info->survivors,
							"repairer", info->repairer, "parties",
							parties_json(i)));
	}
	return points;
}

/* How often each was passed since power on, if there is a machine that can be asked. */
static void add_passed(const struct machine *machine, const json_t *points)
{
	struct varlink_reply reply = {0};
	const json_t *said;

	if (cli_ask(machine, "Points", ANSWER_S, &reply) < 0 || reply.error) {
		varlink_reply_fini(&reply);
		return;
	}
	said = json_object_get(reply.parameters, "points");
	for (size_t i = 0; i < json_array_size(said); i++) {
		const json_t *theirs = json_array_get(said, i);
		enum apmp_point point = apmp_point_find(cli_string(theirs, "name"));

		if (point != APMP_P_NONE) /* the console may be of another version */
			json_object_set(json_array_get(points, point - 1), "passed",
					json_object_get(theirs, "passed"));
	}
	varlink_reply_fini(&reply);
}

static void print_points(const struct cli *cli, const json_t *points)
{
	struct table *table = table_create("POINT PASSED-BY FIGURE ABOUT");

	for (size_t i = 0; i < json_array_size(points); i++) {
		const json_t *point = json_array_get(points, i);

		table_string(table, NULL, cli_string(point, "name"));
		table_cell(table, NULL, cli_names_text(json_object_get(point, "parties")));
		table_string(table, NULL, cli_string(point, "figure"));
		table_string(table, NULL, cli_string(point, "about"));
	}
	table_print(table, cli);
}

int cli_chaos_points(struct cli *cli, const struct cli_args *args)
{
	struct cli quiet = *cli;
	struct machine machine;
	json_t *points;
	int code;

	(void)args;
	/* Who names a machine wants to know of that one; else the list alone is an answer. */
	quiet.quiet = !cli->name;
	code = cli_choose(&quiet, &machine);
	if (code != CLI_DONE && cli->name)
		return code;
	points = points_json();
	if (code == CLI_DONE && !machine.bare)
		add_passed(&machine, points);
	if (cli->json)
		cli_print_json(points);
	else
		print_points(cli, points);
	json_decref(points);
	return CLI_DONE;
}

/* ---- faults at points ---- */

/* "join_812:3" is the third time. */
static int add_point(const struct cli_args *args, const char *at, json_t *parameters)
{
	const char *colon = strchr(at, ':');
	size_t length = colon ? (size_t)(colon - at) : strlen(at);
	json_int_t count;
	int code;

	json_object_set_new(parameters, "point", json_stringn(at, length));
	if (!colon)
		return CLI_DONE;
	code = cli_number(args, "N of --at POINT:N", colon + 1, &count);
	if (code == CLI_DONE)
		json_object_set_new(parameters, "count", json_integer(count));
	return code;
}

static char *party_text(const char *name)
{
	if (strcmp(name, "console") == 0 || strcmp(name, "box") == 0)
		return cli_text("the %s", name);
	return cli_text("partition \"%s\"", name);
}

/* Which page, of the database or of all memory: --page N, --pfn N. */
static int add_page(const struct cli_args *args, json_t *parameters)
{
	static const char *const options[] = {"page", "pfn"};
	json_t *arg = json_object();
	int code = CLI_DONE;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && code == CLI_DONE; i++) {
		const char *text = cli_option(args, options[i]);
		json_int_t number;

		if (!text)
			continue;
		code = cli_number(args, i ? "PFN of --pfn" : "N of --page", text, &number);
		if (code == CLI_DONE)
			json_object_set_new(arg, options[i], json_integer(number));
	}
	json_object_set_new(parameters, "arg", arg);
	return code;
}

/* An option that has nothing to say about this fault was meant for another one. */
static int check_options(const struct cli_args *args)
{
	bool page = cli_option(args, "page"), pfn = cli_option(args, "pfn");

	if ((page || pfn) && !cli_fault_strikes_pages(args->args[0]))
		return cli_usage(args, "--%s goes with page-bad and garbage, not with %s",
				 page ? "page" : "pfn", args->args[0]);
	if (page && pfn)
		return cli_usage(args, "--page and --pfn each name a page: give one of them");
	if ((page || pfn) && cli_option(args, "at"))
		return cli_usage(args, "%s strikes at once and not at a point: leave --at out",
				 args->args[0]);
	return CLI_DONE;
}

/* Ends the box: with its answer, or before it, the connection is closed. */
static int fail_power(struct cli *cli, json_t *parameters)
{
	struct varlink_reply reply = {0};
	struct machine machine;
	int r = cli_exchange(cli, "Inject", parameters, &machine, &reply);

	if (r > 0)
		return r;
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return cli_no_answer(cli, &machine, r);
	r = reply.error ? cli_refuse(cli, CLI_REFUSED, reply.error, json_incref(reply.parameters))
			: CLI_DONE;
	varlink_reply_fini(&reply);
	if (r == CLI_DONE && cli->json) {
		parameters = json_pack("{s:s, s:s}", "machine", machine.name, "state", "off");
		cli_print_json(parameters);
		json_decref(parameters);
	} else if (r == CLI_DONE) {
		printf(
		    "fault kill struck the box: machine \"%s\" has lost its power; `apmp up FILE` "
		    "goes on with the configuration that its non-volatile memory has\n",
		    machine.name);
	}
	return r;
}

/* Whom the fault struck. */
static char *struck_text(const struct cli_args *args)
{
	if (cli_fault_strikes_pages(args->args[0]))
		return cli_text("community \"%s\"", args->args[1]);
	return party_text(args->args[1]);
}

int cli_chaos_inject(struct cli *cli, const struct cli_args *args)
{
	const char *at = cli_option(args, "at");
	json_t *answer, *parameters;
	char *whom;
	int code = check_options(args);

	if (code != CLI_DONE)
		return code;
	parameters = json_pack("{s:s, s:s}", "fault", args->args[0], "partition", args->args[1]);
	code = at ? add_point(args, at, parameters) : add_page(args, parameters);
	if (code != CLI_DONE) {
		json_decref(parameters);
		return code;
	}
	if (!at && strcmp(args->args[0], "kill") == 0 && strcmp(args->args[1], "box") == 0)
		return fail_power(cli, parameters);
	code = cli_call(cli, "Inject", parameters, &answer);
	if (code != CLI_DONE)
		return code;
	whom = struck_text(args);
	if (cli->json)
		cli_print_json(answer);
	else if (at && strstr(at, ":0") && strtol(strchr(at, ':') + 1, NULL, 10) == 0)
		printf("fault %s is disarmed: %s passes %.*s unharmed\n", args->args[0], whom,
		       (int)strcspn(at, ":"), at);
	else if (at)
		printf("fault %s is armed: it strikes %s at %s\n", args->args[0], whom, at);
	else
		printf("fault %s struck %s\n", args->args[0], whom);
	free(whom);
	json_decref(answer);
	return CLI_DONE;
}
