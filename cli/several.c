/* Commands that do the same with several things. */
#include "cli/several.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/table.h"

/* While something is busy or bound nobody says when that ends: it is tried again this often. */
enum { AGAIN_MS = 20 };
/* The last try has this long for its answer. */
enum { ANSWER_MS = 100 };

long long cli_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

bool cli_may_pass(const char *error)
{
	static const char *const passing[] = {"Busy", "Bound", "Locked"};
	size_t length = strlen(VARLINK_MACHINE ".");

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (strncmp(error, VARLINK_MACHINE ".", length) == 0 &&
		    strcmp(error + length, passing[i]) == 0)
			return true;
	return false;
}

/* Refused for good, which is said with how long was waited; parameters are stolen. */
static int refuse(const struct cli_calls *calls, const char *error, json_t *parameters,
		  const char *asked)
{
	char *waited = calls->wait_ms ? cli_duration_text(calls->wait_ms * 1000000) : NULL;

	if (waited)
		json_object_set_new(parameters, "waited", json_string(waited));
	free(waited);
	return cli_refuse_asked(calls->cli, CLI_REFUSED, error, parameters, asked);
}

/* An order to a CPU is ended by the console when its time is over, which says how far it came. */
static json_t *with_wait(const struct cli_calls *calls, json_t *parameters, long long ms)
{
	json_t *copy = json_copy(parameters);

	if (calls->wait_ms && json_object_get(parameters, "cpu"))
		json_object_set_new(copy, "wait_ms", json_integer(ms));
	return copy;
}

/* One try, answered until then: 0, *ret_again or an exit code. */
static int try_call(struct cli_calls *calls, const char *method, json_t *parameters,
		    const char *asked, long long until, bool *ret_again, json_t **ret_answer)
{
	struct varlink_reply reply = {0};
	long long now = cli_now_ms(), limit = now + ANSWER_MS > until ? now + ANSWER_MS : until;
	bool last = now >= until;
	int r = cli_machine_call(&calls->machine, calls->client, method,
				 with_wait(calls, parameters, limit - now),
				 calls->wait_ms ? limit + ANSWER_MS : -1, &reply);

	*ret_again = false;
	if (r == -ETIMEDOUT)
		return refuse(calls, "org.apmp.cli.TooLate", json_object(), asked);
	if (r < 0)
		return cli_no_answer(calls->cli, &calls->machine, r);
	if (reply.error && !last && cli_may_pass(reply.error))
		*ret_again = true;
	else if (reply.error)
		r = refuse(calls, reply.error, json_incref(reply.parameters), asked);
	else
		*ret_answer = json_incref(reply.parameters);
	varlink_reply_fini(&reply);
	return r;
}

int cli_calls_make(struct cli_calls *calls, const char *method, json_t *parameters,
		   const char *asked, json_t **ret_answer)
{
	long long until = cli_now_ms() + calls->wait_ms;
	bool again;
	int code;

	do {
		code = try_call(calls, method, parameters, asked, until, &again, ret_answer);
		if (again)
			poll(NULL, 0, AGAIN_MS);
	} while (again);
	json_decref(parameters);
	return code;
}

static void did(struct cli_calls *calls, json_t *list, json_t *entry, char *line)
{
	json_array_append_new(list, entry);
	if (!calls->cli->json) {
		printf("%s\n", line);
		fflush(stdout); /* in its order with what is said on standard error */
	}
	free(line);
}

void cli_did(struct cli_calls *calls, json_t *entry, char *line)
{
	did(calls, calls->cli->done, entry, line);
}

void cli_would(struct cli_calls *calls, json_t *entry, char *line)
{
	did(calls, calls->cli->would, entry, line);
}

/* The words from number `from` on were not tried, for the one before was refused. */
static void say_not_tried(const struct cli_args *args, int from)
{
	if (from >= args->count)
		return;
	fprintf(stderr, "apmp: not tried after that:");
	for (int i = from; i < args->count; i++)
		fprintf(stderr, " %s", args->args[i]);
	fprintf(stderr, "\n");
}

static void print_done(const struct cli *cli)
{
	bool dry = json_array_size(cli->would) > 0;
	json_t *document = dry ? json_pack("{s:b, s:O}", "dry_run", 1, "would", cli->would)
			       : json_pack("{s:O}", "done", cli->done);

	cli_print_json(document);
	json_decref(document);
}

int cli_check_cpu(const struct cli_args *args, const char *word)
{
	json_int_t cpu;

	return cli_number(args, "CPU", word, &cpu);
}

int cli_each(struct cli *cli, const struct cli_args *args, long long wait_ms,
	     int (*check)(const struct cli_args *args, const char *word), cli_one *one)
{
	struct cli_calls calls = {.cli = cli, .args = args, .wait_ms = wait_ms};
	int code = CLI_DONE, tried = 0;

	for (int i = 0; check && code == CLI_DONE && i < args->count; i++)
		code = check(args, args->args[i]);
	if (code == CLI_DONE)
		code = cli_connect(cli, &calls.machine, &calls.client);
	if (code != CLI_DONE)
		return code;
	cli->done = json_array();
	cli->would = json_array();
	while (code == CLI_DONE && tried < args->count)
		code = one(&calls, args->args[tried++]);
	if (code != CLI_DONE)
		say_not_tried(args, tried);
	else if (cli->json)
		print_done(cli);
	json_decref(cli->done);
	json_decref(cli->would);
	cli->done = cli->would = NULL;
	varlink_client_close(calls.client);
	return code;
}

int cli_each_cpu(struct cli *cli, const struct cli_args *args, cli_one *one)
{
	long long wait_ms = 0;
	int code = CLI_DONE;

	if (cli_option(args, "wait"))
		code = cli_time(args, "--wait", cli_option(args, "wait"), &wait_ms);
	return code == CLI_DONE ? cli_each(cli, args, wait_ms, cli_check_cpu, one) : code;
}
