/* `apmp hardware add` and `apmp hardware remove`: components come into the box and leave it. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include "cli/several.h"
#include "cli/table.h"

/* ---- in ---- */

/* A number of an option that may be left out. */
static int add_number(const struct cli_args *args, const char *option, json_t *parameters)
{
	char *what = cli_text("--%s", option);
	json_int_t number;
	int code = CLI_DONE;

	if (cli_option(args, option)) {
		code = cli_number(args, what, cli_option(args, option), &number);
		if (code == CLI_DONE)
			json_object_set_new(parameters, option, json_integer(number));
	}
	free(what);
	return code;
}

/* What was put in has the id that the answer says; how is how it gets an owner. parameters are
 * stolen. */
static int add(struct cli *cli, const struct cli_args *args, json_t *parameters, const char *noun,
	       const char *how)
{
	json_t *answer;
	char *asked;
	int code = add_number(args, "sbb", parameters);

	if (code != CLI_DONE) {
		json_decref(parameters);
		return code;
	}
	asked = cli_text("putting %.*s into SBB %s", (int)strcspn(noun, " "), noun,
			 cli_option(args, "sbb"));
	code = cli_call_asked(cli, "HardwareAdd", parameters, asked, &answer);
	free(asked);
	if (code != CLI_DONE)
		return code;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%s %s is in the box and nobody's; `apmp %s` gives it to a partition\n",
		       noun, cli_string(answer, "id"), how);
	json_decref(answer);
	return CLI_DONE;
}

int cli_hardware_add_cpu(struct cli *cli, const struct cli_args *args)
{
	json_t *parameters = json_pack("{s:s}", "kind", "cpu");
	json_int_t id;
	int code = CLI_DONE;

	if (cli_option(args, "id")) {
		code = cli_number(args, "--id", cli_option(args, "id"), &id);
		if (code == CLI_DONE)
			json_object_set_new(parameters, "id", json_sprintf("%lld", (long long)id));
	}
	if (code == CLI_DONE)
		code = add_number(args, "type", parameters);
	if (code == CLI_DONE)
		code = add_number(args, "revision", parameters);
	if (cli_option(args, "secondary-only"))
		json_object_set_new(parameters, "primary", json_false());
	if (code == CLI_DONE)
		return add(cli, args, parameters, "CPU", "cpu assign");
	json_decref(parameters);
	return code;
}

int cli_hardware_add_bus(struct cli *cli, const struct cli_args *args)
{
	json_t *parameters = json_pack("{s:s}", "kind", "bus");

	if (cli_option(args, "id"))
		json_object_set_new(parameters, "id", json_string(cli_option(args, "id")));
	return add(cli, args, parameters, "bus", "bus assign");
}

int cli_hardware_add_memory(struct cli *cli, const struct cli_args *args)
{
	json_int_t size;
	int code = cli_bytes(args, "SIZE", args->args[0], &size);

	if (code != CLI_DONE)
		return code;
	return add(cli, args, json_pack("{s:s, s:I}", "kind", "memory", "size", size), "memory at",
		   "memory assign");
}

/* ---- out ---- */

static int take_out(struct cli_calls *calls, const char *kind, const char *noun, const char *id)
{
	char *asked = cli_text("taking %s %s out of the box", noun, id);
	json_t *parameters = json_pack("{s:s, s:s}", "kind", kind, "id", id), *answer;
	int code = cli_calls_make(calls, "HardwareRemove", parameters, asked, &answer);

	free(asked);
	if (code != CLI_DONE)
		return code;
	json_object_set_new(answer, "id", json_string(id));
	cli_did(calls, answer, cli_text("%s %s is out of the box", noun, id));
	return CLI_DONE;
}

static int take_out_cpu(struct cli_calls *calls, const char *word)
{
	return take_out(calls, "cpu", "CPU", word);
}

static int take_out_bus(struct cli_calls *calls, const char *word)
{
	return take_out(calls, "bus", "bus", word);
}

static int take_out_memory(struct cli_calls *calls, const char *word)
{
	return take_out(calls, "memory", "memory at", word);
}

static int check_pa(const struct cli_args *args, const char *word)
{
	json_int_t pa;

	return cli_bytes(args, "PA", word, &pa);
}

int cli_hardware_remove_cpu(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, cli_check_cpu, take_out_cpu);
}

int cli_hardware_remove_bus(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, NULL, take_out_bus);
}

int cli_hardware_remove_memory(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, check_pa, take_out_memory);
}
