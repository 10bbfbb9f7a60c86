/* The help of apmp, for people and with --json for programs: all of it from the table of verbs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "cli/verbs.h"

enum { VERB_WIDTH = 38, OPTION_WIDTH = 24 };

static bool is_option(const struct cli_option *options, int i, int count)
{
	return i < count && options[i].name;
}

void cli_print_synopsis(FILE *out, const struct cli_command *command, bool all)
{
	const struct cli_option *options = command->options;
	const char *own = strstr(command->args, " -- "); /* behind it no option is apmp's */
	size_t length = own ? (size_t)(own - command->args) : strlen(command->args);

	fprintf(out, "%s%s%.*s", command->name, *command->args ? " " : "", (int)length,
		command->args);
	for (int i = 0; is_option(options, i, CLI_OPTIONS_MAX); i++) {
		const char *arg = options[i].arg;

		if (all && !cli_is_required(command, &options[i]))
			fprintf(out, " [--%s%s%s]", options[i].name, arg ? " " : "",
				arg ? arg : "");
	}
	fputs(own ? own : "", out);
}

static char *synopsis(const struct cli_command *command, bool all)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out)
		cli_print_synopsis(out, command, all);
	if (!out || fclose(out) != 0)
		cli_out_of_memory();
	return text;
}

/* ---- for people ---- */

static void print_options(const struct cli_option *options, int count)
{
	for (int i = 0; is_option(options, i, count); i++) {
		const char *arg = options[i].arg ? options[i].arg : "";
		int width = printf("  --%s %s", options[i].name, arg);

		printf("%*s%s\n", width < OPTION_WIDTH ? OPTION_WIDTH - width : 1, "",
		       options[i].help);
	}
}

static void print_line(FILE *out, const struct cli_command *command, const char *indent)
{
	char *text = synopsis(command, false);
	int width = fprintf(out, "%s%s", indent, text);

	free(text);
	/* What is too wide for its column has its text on a line of its own. */
	if (width >= VERB_WIDTH) {
		fprintf(out, "\n");
		width = 0;
	}
	fprintf(out, "%*s%s\n", VERB_WIDTH - width, "", command->about);
}

static void print_all(void)
{
	printf("usage: apmp [--name MACHINE] [--json] VERB ...\n\n"
	       "An adaptively partitioned multiprocessor on this host.\n");
	for (int i = 0; i < cli_commands_count; i++) {
		if (cli_commands[i].name)
			print_line(stdout, &cli_commands[i], "  ");
		else
			printf("\n%s:\n", cli_commands[i].about);
	}
	printf("\noptions:\n");
	print_options(cli_globals, CLI_GLOBALS);
	printf("\n`apmp VERB --help` has the options of a verb and an example.\n"
	       "exit: 0 done, 1 refused or a check failed, 2 usage, 3 no such machine\n");
}

static void print_command(const struct cli_command *command)
{
	printf("usage: apmp ");
	cli_print_synopsis(stdout, command, true);
	printf("\n\n%s\n", command->about);
	if (command->options[0].name)
		printf("\noptions:\n");
	print_options(command->options, CLI_OPTIONS_MAX);
	printf("\nexample:\n  %s\n", command->example);
}

/* ---- for programs ---- */

/* command NULL: the global ones. */
static json_t *options_json(const struct cli_command *command, const struct cli_option *options,
			    int count)
{
	json_t *list = json_array();

	for (int i = 0; is_option(options, i, count); i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s?, s:b, s:s}", "name", options[i].name,
						"arg", options[i].arg, "required",

						command && cli_is_required(command, &options[i]),
						"help", options[i].help));
	return list;
}

static json_t *command_json(const struct cli_command *command)
{
	char *text = synopsis(command, true);
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "verb", command->name, "args",
				   command->args, "usage", text, "about", command->about, "example",
				   command->example, "options",
				   options_json(command, command->options, CLI_OPTIONS_MAX));

	free(text);
	return object;
}

/* The verbs that begin with these words. */
static json_t *commands_json(int count, char *const *words)
{
	json_t *list = json_array();

	for (int i = 0; i < cli_commands_count; i++) {
		const char *next;

		if (cli_goes_on(&cli_commands[i], count, words, &next))
			json_array_append_new(list, command_json(&cli_commands[i]));
	}
	return list;
}

static void print_document(json_t *document)
{
	cli_print_json(document);
	json_decref(document);
}

/* ---- either ---- */

void cli_help_all(const struct cli *cli)
{
	if (cli->json)
		print_document(json_pack("{s:o, s:o}", "options",
					 options_json(NULL, cli_globals, CLI_GLOBALS), "verbs",
					 commands_json(0, NULL)));
	else
		print_all();
}

void cli_help_command(const struct cli *cli, const struct cli_command *command)
{
	if (cli->json)
		print_document(command_json(command));
	else
		print_command(command);
}

bool cli_help_family(const struct cli *cli, FILE *out, int count, char *const *words)
{
	bool found = false;
	const char *next;

	if (cli->json && out == stdout) {
		json_t *list = commands_json(count, words);

		found = json_array_size(list) > 0;
		if (found)
			cli_print_json(list);
		json_decref(list);
		return found;
	}
	for (int i = 0; i < cli_commands_count; i++) {
		if (!cli_goes_on(&cli_commands[i], count, words, &next))
			continue;
		print_line(out, &cli_commands[i], "  apmp ");
		found = true;
	}
	return found;
}
