/* `apmp events`: what happened. */
#include <errno.h>
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

/* Prints the events of one reply; whether more will come. */
static bool take_event(const struct cli *cli, const struct varlink_reply *reply)
{
	const json_t *event = json_object_get(reply->parameters, "event");

	if (json_object_size(event) > 0 && cli->json)
		cli_print_json(event);
	else if (json_object_size(event) > 0)
		print_event(event);
	/* Whoever reads the other end of a pipe wants each event when it happens. */
	fflush(stdout);
	return reply->continues && !ferror(stdout);
}

int cli_events(struct cli *cli, const struct cli_args *args)
{
	json_t *parameters = json_object();
	struct varlink_client *client;
	struct machine machine;
	bool more = true;
	int r = CLI_DONE;

	if (cli_option(args, "since")) {
		json_int_t since;

		r = cli_number(args, "--since", cli_option(args, "since"), &since);
		json_object_set_new(parameters, "since", json_integer(since));
	}
	if (cli_option(args, "follow"))
		json_object_set_new(parameters, "follow", json_true());
	if (r == CLI_DONE)
		r = cli_connect(cli, &machine, &client);
	if (r != CLI_DONE) {
		json_decref(parameters);
		return r;
	}
	r = varlink_client_send(client, "Events", parameters, VARLINK_MORE, NULL, 0);
	if (r == 0)
		(void)cli_await(&machine, client, -1);
	while (r == 0 && more) {
		struct varlink_reply reply = {0};

		r = varlink_client_receive(client, &reply);
		if (r == -EINTR)
			r = 0;
		else if (r == 0 && reply.error)
			r = cli_refuse(cli, CLI_REFUSED, reply.error,
				       json_incref(reply.parameters));
		else if (r == 0)
			more = take_event(cli, &reply);
		varlink_reply_fini(&reply);
	}
	varlink_client_close(client);
	/* The power going off ends every stream: for one that follows, that is its end. */
	if (r == -EPIPE && cli_option(args, "follow"))
		return CLI_DONE;
	return r < 0 ? cli_no_answer(cli, &machine, r) : r;
}
