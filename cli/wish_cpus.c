/* `apmp cpu wish`: a partition asks all members of its sharing set for CPUs [0235]. */
#include <stdio.h>

#include "cli/several.h"
#include "cli/table.h"

static int wish(struct cli_calls *calls, const char *word)
{
	const char *to = cli_option(calls->args, "to");
	json_int_t count, came;
	json_t *answer;
	int code = cli_number(calls->args, "N", word, &count);

	if (code != CLI_DONE)
		return code;
	if (count < 1 || count > 255)
		return cli_usage(calls->args, "N is a number of CPUs from 1 to 255, not %s", word);
	code = cli_calls_make(calls, "CpuWish", json_pack("{s:I,s:s}", "count", count, "to", to),
			      NULL, &answer);
	if (code != CLI_DONE)
		return code;
	came = json_integer_value(json_object_get(answer, "came"));
	json_object_set_new(answer, "to", json_string(to));
	cli_did(calls, answer,
		came == count
		    ? cli_text("%lld %s to \"%s\"", (long long)came,
			       came == 1 ? "CPU came" : "CPUs came", to)
		    : cli_text("%lld of %lld CPUs came to \"%s\": nobody can spare another one",
			       (long long)came, (long long)count, to));
	return came == count ? CLI_DONE : CLI_REFUSED;
}

int cli_cpu_wish(struct cli *cli, const struct cli_args *args)
{
	long long wait_ms = 0;
	int code = CLI_DONE;

	if (cli_option(args, "wait"))
		code = cli_time(args, "--wait", cli_option(args, "wait"), &wait_ms);
	return code == CLI_DONE ? cli_each(cli, args, wait_ms, NULL, wish) : code;
}
