/* `apmp cpu wish`: a partition asks all members of its sharing set for CPUs [0235]. */
#include <stdlib.h>

#include "cli/several.h"
#include "cli/table.h"

/* "CPUs 2-3", or how many if a console of another version does not say which. */
static char *which_came(const json_t *answer)
{
	const json_t *cpus = json_object_get(answer, "cpus");
	json_int_t came = json_integer_value(json_object_get(answer, "came"));
	char *numbers, *text;

	if (!json_array_size(cpus))
		return cli_text("%lld %s", (long long)came, came == 1 ? "CPU" : "CPUs");
	numbers = cli_numbers_text(cpus);
	text = cli_text("%s %s", json_array_size(cpus) == 1 ? "CPU" : "CPUs", numbers);
	free(numbers);
	return text;
}

/* Those that do not begin to work by themselves, as "; ..."; the caller frees it. */
static char *stopped_text(const json_t *answer)
{
	const json_t *waiting = json_object_get(answer, "waiting");
	char *text = cli_text("%s", "");

	for (size_t i = 0; i < json_array_size(waiting); i++) {
		char *more = cli_text("%s%s%lld", text, i ? " " : "",
				      (long long)json_integer_value(json_array_get(waiting, i)));

		free(text);
		text = more;
	}
	if (*text) {
		char *numbers = cli_numbers_text(waiting);
		bool one = json_array_size(waiting) == 1;
		char *more = cli_text("; %s %s %s stopped there, `apmp cpu start %s` starts %s",
				      one ? "CPU" : "CPUs", numbers, one ? "is" : "are", text,
				      one ? "it" : "them");

		free(numbers);
		free(text);
		text = more;
	}
	return text;
}

static char *came_line(const json_t *answer, const char *to)
{
	char *which = which_came(answer), *stopped = stopped_text(answer), *line;

	line = cli_text("%s came to \"%s\"%s", which, to, stopped);
	free(which);
	free(stopped);
	return line;
}

static int wish(struct cli_calls *calls, const char *word)
{
	const char *to = cli_option(calls->args, "to");
	json_int_t count, came;
	json_t *answer;
	char *asked;
	int code = cli_number(calls->args, "N", word, &count);

	if (code != CLI_DONE)
		return code;
	if (count < 1 || count > 255)
		return cli_usage(calls->args, "N is a number of CPUs from 1 to 255, not %s", word);
	asked = cli_text("CPUs for partition \"%s\"", to);
	code = cli_calls_make(calls, "CpuWish", json_pack("{s:I,s:s}", "count", count, "to", to),
			      asked, &answer);
	free(asked);
	if (code != CLI_DONE)
		return code;
	came = json_integer_value(json_object_get(answer, "came"));
	json_object_set_new(answer, "wanted", json_integer(count));
	json_object_set_new(answer, "to", json_string(to));
	cli_did(calls, answer, came_line(answer, to));
	return came == count ? CLI_DONE
			     : cli_refuse(calls->cli, CLI_REFUSED, "org.apmp.cli.FewerCpus",
					  json_pack("{s:I,s:I,s:s}", "came", came, "wanted", count,
						    "to", to));
}

int cli_cpu_wish(struct cli *cli, const struct cli_args *args)
{
	long long wait_ms = 0;
	int code = CLI_DONE;

	if (cli_option(args, "wait"))
		code = cli_time(args, "--wait", cli_option(args, "wait"), &wait_ms);
	return code == CLI_DONE ? cli_each(cli, args, wait_ms, NULL, wish) : code;
}
