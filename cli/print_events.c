/* `apmp events`: what happened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/event_text.h"
#include "cli/find_machine.h"
#include "cli/table.h"

/* "17  123.456789  member.removed  alpha removed beta from the sharing set, incarnation 3" */
static void print_event(const json_t *event)
{
	const json_t *missed = json_object_get(event, "missed");
	json_int_t t_ns = json_integer_value(json_object_get(event, "t_ns"));
	char *text;

	if (missed) {
		printf("(%lld events missed: too slow)\n", (long long)json_integer_value(missed));
		return;
	}
	text = event_text(event);
	printf("%6lld %8lld.%06lld  %-22s %s\n",
	       (long long)json_integer_value(json_object_get(event, "seq")),
	       (long long)t_ns / 1000000000, (long long)t_ns / 1000 % 1000000,
	       cli_string(event, "kind"), text);
	free(text);
}

/* Prints the event of one reply; whether anybody wants another. */
static bool take_event(void *ctx, const struct varlink_reply *reply)
{
	const struct cli *cli = ctx;
	const json_t *event = json_object_get(reply->parameters, "event");

	if (json_object_size(event) > 0 && cli->json)
		cli_print_json(event);
	else if (json_object_size(event) > 0)
		print_event(event);
	/* Whoever reads the other end of a pipe wants each event when it happens. */
	fflush(stdout);
	return !ferror(stdout);
}

int cli_events(struct cli *cli, const struct cli_args *args)
{
	bool follow = cli_option(args, "follow");
	json_t *parameters = json_pack("{s:b}", "follow", follow);
	int r = CLI_DONE;

	if (cli_option(args, "since")) {
		json_int_t since;

		r = cli_number(args, "--since", cli_option(args, "since"), &since);
		json_object_set_new(parameters, "since", json_integer(since));
	}
	if (r == CLI_DONE)
		return cli_stream(cli, "Events", parameters, follow, take_event, cli);
	json_decref(parameters);
	return r;
}
