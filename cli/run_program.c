/*
 * `apmp run`: a program in a partition.
 *
 * WHAT      Our standard input, output and error go along with the call, so the program reads and
 *           writes them itself; we only wait for its end and end as it did.
 *           With --json our standard output is the document's alone: the program then writes to
 *           our standard error in its place.
 * SIGNALS   None is caught: whatever ends us closes the connection, and then the console kills the
 *           program. So ^C, a closed terminal and kill -9 all do what is expected.
 * LIMITS    ^Z stops us and not the program, which goes on to read and write the terminal.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/find_machine.h"
#include "cli/table.h"

enum { EXIT_SIGNAL = 128 }; /* as shells say it */

static json_t *strings(char **words)
{
	json_t *array = json_array();

	for (; *words; words++) {
		/* A variable that is not UTF-8 has no place in JSON; arguments were looked at. */
		json_t *word = json_string(*words);

		if (word)
			json_array_append_new(array, word);
	}
	return array;
}

/* NULL: the name of this directory is not UTF-8. */
static json_t *run_parameters(const struct cli_args *args)
{
	char *cwd = getcwd(NULL, 0);
	json_t *parameters = json_pack(
	    "{s:s, s:o, s:o, s:s, s:b, s:b}", "partition", args->args[0], "argv",
	    strings(args->args + 1), "env", strings(environ), "cwd", cwd ? cwd : "/", "detach",
	    cli_option(args, "detach") != NULL, "confined", cli_option(args, "confined") != NULL);

	free(cwd);
	return parameters;
}

/* The last reply says how the program ended. */
static int ended(const struct cli *cli, const struct cli_args *args, const json_t *answer)
{
	const json_t *signal = json_object_get(answer, "signal");
	const json_t *exit_code = json_object_get(answer, "exit_code");
	const char *reason = json_string_value(json_object_get(answer, "reason"));

	if (cli->json)
		cli_print_json(answer);
	if (reason)
		fprintf(stderr,
			"apmp: %s in partition \"%s\" was ended: %s; `apmp events` has how, and if "
			"it failed `apmp dump %s` what it left\n",
			args->args[1], args->args[0], reason, args->args[0]);
	if (json_is_integer(signal) && json_integer_value(signal) > 0)
		return EXIT_SIGNAL + (int)json_integer_value(signal);
	if (json_is_integer(exit_code))
		return (int)json_integer_value(exit_code);
	return reason ? CLI_REFUSED : CLI_DONE;
}

static int detached(const struct cli *cli, const json_t *answer)
{
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%lld\n", (long long)json_integer_value(json_object_get(answer, "pid")));
	return CLI_DONE;
}

static int not_sent(const struct cli *cli, const struct cli_args *args,
		    const struct machine *machine, int error)
{
	if (error != -EMSGSIZE)
		return cli_no_answer(cli, machine, error);
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.TooLong",
			  json_pack("{s:s, s:s, s:i}", "program", args->args[1], "partition",
				    args->args[0], "most", VARLINK_MESSAGE_MAX));
}

static int lost(const struct cli *cli, int error)
{
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.Lost",
			  json_pack("{s:s, s:s}", "reason",
				    error == -EPIPE ? "it was closed" : strerror(-error),
				    "consequence", "how the program ended is not known"));
}

/* Waits for the last reply. */
static int wait_for_end(const struct cli *cli, const struct cli_args *args,
			struct varlink_client *client)
{
	for (;;) {
		struct varlink_reply reply = {0};
		bool continues;
		int r = varlink_client_receive(client, &reply);

		if (r == -EINTR)
			continue;
		if (r < 0)
			return lost(cli, r);
		continues = reply.continues;
		if (reply.error)
			r = cli_refuse(cli, CLI_REFUSED, reply.error,
				       json_incref(reply.parameters));
		else if (!continues && cli_option(args, "detach"))
			r = detached(cli, reply.parameters);
		else if (!continues)
			r = ended(cli, args, reply.parameters);
		varlink_reply_fini(&reply);
		if (!continues)
			return r;
	}
}

int cli_run(struct cli *cli, const struct cli_args *args)
{
	const int standard[] = {STDIN_FILENO, cli->json ? STDERR_FILENO : STDOUT_FILENO,
				STDERR_FILENO};
	bool detach = cli_option(args, "detach");
	json_t *parameters = run_parameters(args);
	struct varlink_client *client;
	struct machine machine;
	int r;

	if (!parameters)
		return cli_usage(args, "the name of this directory is not UTF-8 text");
	r = cli_connect(cli, &machine, &client);
	if (r != CLI_DONE) {
		json_decref(parameters);
		return r;
	}
	fflush(stdout);
	r = varlink_client_send(client, "Run", parameters, detach ? 0 : VARLINK_MORE, standard,
				detach ? 0 : 3);
	if (r == 0)
		(void)cli_await(&machine, client, -1);
	r = r < 0 ? not_sent(cli, args, &machine, r) : wait_for_end(cli, args, client);
	varlink_client_close(client);
	return r;
}
