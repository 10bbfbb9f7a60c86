/* `apmp cpu migrate`: CPUs go from the partitions that have them to another one, while they run. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/several.h"
#include "cli/table.h"

static char *steps_line(const char *word, const json_t *answer)
{
	const json_t *steps = json_object_get(answer, "steps");
	char *text = cli_text("CPU %s would go from \"%s\" to \"%s\":", word,
			      cli_string(answer, "from"), cli_string(answer, "to"));

	for (size_t i = 0; i < json_array_size(steps); i++) {
		char *more = cli_text("%s\n  %zu. %s", text, i + 1,
				      json_string_value(json_array_get(steps, i)));

		free(text);
		text = more;
	}
	return text;
}

static char *moved_line(const struct cli_args *args, const char *word, const json_t *answer)
{
	const char *from = cli_string(answer, "from"), *to = cli_string(answer, "to");
	char *time = cli_duration_text(json_integer_value(json_object_get(answer, "elapsed_ns")));
	char *line =
	    cli_text("CPU %s went from \"%s\" to \"%s\" in %s%s", word, from, to, time,
		     cli_option(args, "loan") ? ", on loan: its owner stays the same" : "");

	free(time);
	return line;
}

static int migrate(struct cli_calls *calls, const char *word)
{
	const struct cli_args *args = calls->args;
	json_t *parameters, *answer;
	json_int_t cpu;
	int code = cli_number(args, "CPU", word, &cpu);

	if (code != CLI_DONE)
		return code;
	parameters = json_pack("{s:I, s:s}", "cpu", cpu, "to", cli_option(args, "to"));
	if (cli_option(args, "loan"))
		json_object_set_new(parameters, "loan", json_true());
	if (cli_option(args, "dry-run"))
		json_object_set_new(parameters, "dry_run", json_true());
	code = cli_calls_make(calls, "CpuMigrate", parameters, NULL, &answer);
	if (code != CLI_DONE)
		return code;
	json_object_set_new(answer, "cpu", json_integer(cpu));
	cli_did(calls, answer,
		cli_option(args, "dry-run") ? steps_line(word, answer)
					    : moved_line(args, word, answer));
	return CLI_DONE;
}

int cli_cpu_migrate(struct cli *cli, const struct cli_args *args)
{
	long long wait_ms = 0;
	int code = CLI_DONE;

	if (cli_option(args, "wait"))
		code = cli_time(args, "--wait", cli_option(args, "wait"), &wait_ms);
	return code == CLI_DONE ? cli_each(cli, args, wait_ms, cli_check_cpu, migrate) : code;
}
