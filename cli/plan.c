/* `apmp plan`: the difference between a machine file and the running machine. */
#include "cli/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/apply_record.h"
#include "cli/plan_diff.h"
#include "cli/plan_now.h"
#include "cli/table.h"

/* ---- making it ---- */

int plan_begin(struct cli *cli, const char *file, json_t **ret_want, struct machine *ret_machine,
	       struct varlink_client **ret_client)
{
	const char *named = cli->name ? cli->name : getenv("APMP_MACHINE");
	struct cli meant = *cli;
	json_t *want;
	int code = cli_machine_file(cli, file, &want);

	if (code != CLI_DONE)
		return code;
	if (!named || !*named)
		meant.name = json_string_value(json_object_get(want, "machine"));
	code = cli_connect(&meant, ret_machine, ret_client);
	if (code != CLI_DONE)
		json_decref(want);
	else
		*ret_want = want;
	return code;
}

/* Of one call: 0 with the answer, -errno, or 1 with the refusal. */
static int ask(struct varlink_client *client, const char *method, json_t **ret_answer,
	       struct varlink_reply *ret_error)
{
	struct varlink_reply reply = {0};
	int r = varlink_client_call(client, method, NULL, &reply);

	if (r == 0 && reply.error) {
		*ret_error = reply;
		return 1;
	}
	if (r == 0)
		*ret_answer = json_incref(reply.parameters);
	varlink_reply_fini(&reply);
	return r;
}

/* Those that were halted and have had no other life since. */
static void mark_resumed(const json_t *now, const json_t *resume)
{
	const json_t *partitions = json_object_get(now, "partitions");
	json_t *partition;
	size_t i;

	json_array_foreach(partitions, i, partition)
	{
		const json_t *incarnation =
		    json_object_get(resume, json_string_value(json_object_get(partition, "name")));

		if (incarnation &&
		    (json_is_null(incarnation) ||
		     json_equal(incarnation, json_object_get(partition, "incarnation"))))
			json_object_set_new(partition, "resume", json_true());
	}
}

int plan_make(struct varlink_client *client, const json_t *want, const json_t *resume,
	      json_t **ret_plan, struct varlink_reply *ret_error)
{
	json_t *tree, *status, *now, *a_plan;
	int r = ask(client, "Tree", &tree, ret_error);

	if (r)
		return r;
	r = ask(client, "Status", &status, ret_error);
	if (r) {
		json_decref(tree);
		return r;
	}
	now = plan_now(tree, json_object_get(status, "status"));
	mark_resumed(now, resume);
	a_plan = plan_diff(want, now);
	json_object_set(a_plan, "machine", json_object_get(now, "machine"));
	json_object_set(a_plan, "partitions", json_object_get(now, "partitions"));
	json_decref(tree);
	json_decref(status);
	json_decref(now);
	*ret_plan = a_plan;
	return 0;
}

/* ---- showing it ---- */

static void print_sentences(const char *heading, const json_t *sentences)
{
	const json_t *sentence;
	size_t i;

	if (json_array_size(sentences) > 0)
		printf("%s\n", heading);
	json_array_foreach(sentences, i, sentence) printf("  %s\n", json_string_value(sentence));
}

void plan_print_rest(const char *file, const json_t *a_plan)
{
	char *heading = cli_text("what needs a power cycle (apmp down, apmp up %s):", file);

	print_sentences("this can't be done to its end:", json_object_get(a_plan, "impossible"));
	print_sentences(heading, json_object_get(a_plan, "power_cycle"));
	print_sentences("besides:", json_object_get(a_plan, "notes"));
	free(heading);
}

static void print_steps(const struct cli *cli, const json_t *steps)
{
	struct table *table = table_create(">STEP COMMAND BECAUSE");
	const json_t *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		const char *because = json_string_value(json_object_get(step, "because"));

		table_cell(table, NULL, cli_text("%zu", i + 1));
		table_string(table, NULL, cli_string(step, "command"));
		table_string(table, NULL, because ? because : "");
	}
	table_print(table, cli);
}

void plan_print(const struct cli *cli, const struct machine *machine, const char *file,
		const json_t *a_plan)
{
	const json_t *steps = json_object_get(a_plan, "steps");
	const json_t *halts = json_object_get(a_plan, "halts");
	char *names = cli_names_text(halts);

	if (json_array_size(steps) == 0)
		printf("nothing to do: machine \"%s\" is what %s says\n", machine->name, file);
	else
		print_steps(cli, steps);
	if (json_array_size(halts) > 0)
		printf("\nthese run and are halted on the way: %s\n", names);
	plan_print_rest(file, a_plan);
	free(names);
}

int cli_plan(struct cli *cli, const struct cli_args *args)
{
	struct varlink_reply error = {0};
	struct varlink_client *client;
	struct machine machine;
	json_t *want, *resume, *a_plan;
	int r = plan_begin(cli, args->args[0], &want, &machine, &client);

	if (r != CLI_DONE)
		return r;
	resume = apply_record_read(&machine);
	r = plan_make(client, want, resume, &a_plan, &error);
	varlink_client_close(client);
	json_decref(want);
	json_decref(resume);
	if (r < 0)
		return cli_no_answer(cli, &machine, r);
	if (r > 0) {
		r = cli_refuse(cli, CLI_REFUSED, error.error, json_incref(error.parameters));
		varlink_reply_fini(&error);
		return r;
	}
	json_object_del(a_plan, "partitions");
	if (cli->json)
		cli_print_json(a_plan);
	else
		plan_print(cli, &machine, args->args[0], a_plan);
	json_decref(a_plan);
	return CLI_DONE;
}
