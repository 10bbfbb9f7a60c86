/*
 * `apmp cpu migrate`, `cpu start`, `cpu stop`: CPUs go from the partitions that have them to
 * another one, begin to work, and stop, while the partitions run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/several.h"
#include "cli/table.h"

/* What would be done, behind `begin`, which is freed. */
static char *steps_line(char *begin, const json_t *answer)
{
	const json_t *steps = json_object_get(answer, "steps");

	for (size_t i = 0; i < json_array_size(steps); i++) {
		char *more = cli_text("%s\n  %zu. %s", begin, i + 1,
				      json_string_value(json_array_get(steps, i)));

		free(begin);
		begin = more;
	}
	return begin;
}

/* Of a dry run nothing is done, and took no time: what would be is under its own key. */
static json_t *dry_entry(json_t *answer)
{
	json_object_set_new(answer, "dry_run", json_true());
	json_object_del(answer, "elapsed_ns");
	return answer;
}

static char *time_text(const json_t *answer)
{
	return cli_duration_text(json_integer_value(json_object_get(answer, "elapsed_ns")));
}

/* ---- migrate ---- */

static char *moved_line(const char *word, const json_t *answer)
{
	const char *from = cli_string(answer, "from"), *to = cli_string(answer, "to");
	const char *owner = json_string_value(json_object_get(answer, "owner"));
	char *time = time_text(answer), *stopped = cli_text("%s", ""), *loan, *line;

	if (json_is_true(json_object_get(answer, "loan_ended")))
		loan = cli_text("%s", ", its owner: the loan has ended");
	else if (owner && strcmp(owner, to) != 0)
		loan = cli_text(", on loan: its owner is \"%s\"", owner);
	else
		loan = cli_text("%s", "");

	if (json_is_false(json_object_get(answer, "active"))) {
		free(stopped);
		stopped = cli_text("; it is stopped there, `apmp cpu start %s` starts it", word);
	}
	line = cli_text("CPU %s went from \"%s\" to \"%s\" in %s%s%s", word, from, to, time, loan,
			stopped);
	free(loan);
	free(stopped);
	free(time);
	return line;
}

static int migrate(struct cli_calls *calls, const char *word)
{
	const struct cli_args *args = calls->args;
	const char *by = cli_option(args, "by");
	json_t *parameters, *answer;
	json_int_t cpu;
	int code = cli_number(args, "CPU", word, &cpu);

	if (code != CLI_DONE)
		return code;
	parameters =
	    json_pack("{s:I, s:s, s:s*}", "cpu", cpu, "to", cli_option(args, "to"), "by", by);
	if (cli_option(args, "loan"))
		json_object_set_new(parameters, "loan", json_true());
	if (cli_option(args, "dry-run"))
		json_object_set_new(parameters, "dry_run", json_true());
	code = cli_calls_make(calls, "CpuMigrate", parameters, NULL, &answer);
	if (code != CLI_DONE)
		return code;
	json_object_set_new(answer, "cpu", json_integer(cpu));
	if (cli_option(args, "dry-run"))
		cli_would(calls, dry_entry(answer),
			  steps_line(cli_text("CPU %s would go from \"%s\" to \"%s\":", word,
					      cli_string(answer, "from"), cli_string(answer, "to")),
				     answer));
	else
		cli_did(calls, answer, moved_line(word, answer));
	return CLI_DONE;
}

int cli_cpu_migrate(struct cli *cli, const struct cli_args *args)
{
	static const char *const ways[] = {"pal", "halt", "deassign"};
	const char *by = cli_option(args, "by");
	bool known = !by;

	for (size_t i = 0; !known && i < sizeof(ways) / sizeof(ways[0]); i++)
		known = strcmp(ways[i], by) == 0;
	if (!known)
		return cli_usage(args, "--by is pal, halt or deassign, not \"%s\"", by);
	return cli_each_cpu(cli, args, migrate);
}

/* ---- start and stop ---- */

static int order(struct cli_calls *calls, const char *word, const char *method, const char *will,
		 const char *does)
{
	const struct cli_args *args = calls->args;
	bool dry = cli_option(args, "dry-run");
	char *asked, *time, *line;
	json_t *answer;
	json_int_t cpu;
	int code = cli_number(args, "CPU", word, &cpu);

	if (code != CLI_DONE)
		return code;
	asked = cli_text("%s CPU %s", will, word);
	code = cli_calls_make(calls, method, json_pack("{s:I, s:b}", "cpu", cpu, "dry_run", dry),
			      asked, &answer);
	free(asked);
	if (code != CLI_DONE)
		return code;
	json_object_set_new(answer, "cpu", json_integer(cpu));
	time = time_text(answer);
	line = dry ? steps_line(cli_text("%s CPU %s in \"%s\":", will, word,
					 cli_string(answer, "partition")),
				answer)
		   : cli_text("CPU %s %s in \"%s\", %s later", word, does,
			      cli_string(answer, "partition"), time);
	free(time);
	if (dry)
		cli_would(calls, dry_entry(answer), line);
	else
		cli_did(calls, answer, line);
	return CLI_DONE;
}

static int start(struct cli_calls *calls, const char *word)
{
	return order(calls, word, "CpuStart", "starting", "works");
}

static int stop(struct cli_calls *calls, const char *word)
{
	return order(calls, word, "CpuStop", "stopping", "waits in console mode");
}

int cli_cpu_start(struct cli *cli, const struct cli_args *args)
{
	return cli_each_cpu(cli, args, start);
}

int cli_cpu_stop(struct cli *cli, const struct cli_args *args)
{
	return cli_each_cpu(cli, args, stop);
}
