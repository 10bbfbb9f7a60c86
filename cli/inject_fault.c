/* `apmp chaos list`, `points` and `inject`: single faults; campaigns are apmp-chaos'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

static const struct {
	const char *name, *about;
} faults[] = {
    {"kill", "the partition's process ends at once (SIGKILL), as if its power went"},
    {"stop",
     "the partition's process stands still (SIGSTOP), as if it hung; a console that does so "
     "is found and restarted"},
    {"cont", "a partition that was stopped goes on (SIGCONT): late, and it must notice"},
};

int cli_chaos_list(struct cli *cli, const struct cli_args *args)
{
	json_t *list = json_array();
	struct table *table = table_create("FAULT WHAT-HAPPENS");

	(void)args;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		table_string(table, NULL, faults[i].name);
		table_string(table, NULL, faults[i].about);
		json_array_append_new(list, json_pack("{s:s, s:s}", "fault", faults[i].name,
						      "about", faults[i].about));
	}
	if (cli->json)
		cli_print_json(list);
	else
		table_print(table, cli);
	json_decref(list);
	return CLI_DONE;
}

int cli_chaos_points(struct cli *cli, const struct cli_args *args)
{
	const json_t *points;
	struct table *table;
	json_t *answer;
	int code = cli_call(cli, "Points", NULL, &answer);

	(void)args;
	if (code != CLI_DONE)
		return code;
	points = json_object_get(answer, "points");
	if (cli->json) {
		cli_print_json(points);
		json_decref(answer);
		return CLI_DONE;
	}
	table = table_create("POINT FIGURE ABOUT");
	for (size_t i = 0; i < json_array_size(points); i++) {
		const json_t *point = json_array_get(points, i);

		table_string(table, NULL, cli_string(point, "name"));
		table_string(table, NULL, cli_string(point, "figure"));
		table_string(table, NULL, cli_string(point, "about"));
	}
	table_print(table, cli);
	json_decref(answer);
	return CLI_DONE;
}

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

int cli_chaos_inject(struct cli *cli, const struct cli_args *args)
{
	const char *at = cli_option(args, "at");
	json_t *parameters =
	    json_pack("{s:s, s:s}", "fault", args->args[0], "partition", args->args[1]);
	json_t *answer;
	char *whom;
	int code = at ? add_point(args, at, parameters) : CLI_DONE;

	if (code != CLI_DONE) {
		json_decref(parameters);
		return code;
	}
	code = cli_call(cli, "Inject", parameters, &answer);
	if (code != CLI_DONE)
		return code;
	whom = strcmp(args->args[1], "console") == 0 ? cli_text("the console")
						     : cli_text("partition \"%s\"", args->args[1]);
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
