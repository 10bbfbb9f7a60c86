/* The commands that the box program (apmpd) or the injector (apmp-chaos) does itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/start_program.h"
#include "cli/table.h"

enum { WORDS_MAX = 64 };

struct words {
	char *argv[WORDS_MAX + 1];
	int count;
};

static void add(struct words *words, char *word)
{
	if (words->count < WORDS_MAX)
		words->argv[words->count++] = word;
}

/* PROGRAM VERB ARGS... with the options that were given; of "chaos kills" the verb is "kills". */
static void program_words(struct words *words, const char *program, const struct cli *cli,
			  const struct cli_args *args, const char *name, bool json)
{
	const struct cli_option *options = args->command->options;
	const char *blank = strrchr(args->command->name, ' ');

	add(words, cli_text("%s", program));
	add(words, cli_text("%s", blank ? blank + 1 : args->command->name));
	for (int i = 0; i < args->count; i++)
		add(words, args->args[i]);
	for (int i = 0; i < CLI_OPTIONS_MAX && options[i].name; i++) {
		if (!args->options[i])
			continue;
		add(words, cli_text("--%s", options[i].name));
		if (options[i].arg)
			add(words, cli_text("%s", args->options[i]));
	}
	if (name) {
		add(words, cli_text("--name"));
		add(words, cli_text("%s", name));
	}
	if (json && cli->json)
		add(words, cli_text("--json"));
}

/* Those of the box, and the machine that they are about. */
static void box_words(struct words *words, const struct cli *cli, const struct cli_args *args,
		      bool named, bool json)
{
	const char *name = cli->name ? cli->name : cli_wanted_name(cli);

	program_words(words, "apmpd", cli, args, named ? name : NULL, json);
}

static int start_box(const struct cli *cli, const struct cli_args *args, bool named)
{
	struct words words = {0};

	box_words(&words, cli, args, named, true);
	return cli_become(cli, words.argv);
}

int cli_up(struct cli *cli, const struct cli_args *args)
{
	struct words words = {0};

	box_words(&words, cli, args, true, false);
	return cli->json ? cli_up_document(cli, words.argv, cli_wanted_name(cli))
			 : cli_become(cli, words.argv);
}

/* A machine file is the box's to read; memory is the injector's to judge. */
int cli_check(struct cli *cli, const struct cli_args *args)
{
	bool live = cli_option(args, "live"), dump = cli_option(args, "dump");
	struct words words = {0};
	struct machine machine;
	int code;

	if (args->count + live + dump != 1)
		return cli_usage(args, "check wants one of FILE, --live and --dump FILE");
	if (cli_option(args, "save") && !live)
		return cli_usage(args, "--save goes with --live");
	if (args->count)
		return start_box(cli, args, false);
	if (live) {
		code = cli_choose(cli, &machine);
		if (code != CLI_DONE)
			return code;
	}
	program_words(&words, "apmp-chaos", cli, args, live ? machine.name : NULL, true);
	return cli_become(cli, words.argv);
}

int cli_doctor(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, args, false);
}

int cli_clean(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, args, true);
}

/* Numbers of its options; of the seed 0 is one, too. */
static int check_numbers(const struct cli_args *args)
{
	const struct cli_option *options = args->command->options;
	int code = CLI_DONE;

	for (int i = 0; i < CLI_OPTIONS_MAX && options[i].name && code == CLI_DONE; i++) {
		json_int_t number = 1;
		char *what = cli_text("%s of --%s", options[i].arg, options[i].name);

		if (options[i].arg && args->options[i])
			code = cli_number(args, what, args->options[i], &number);
		if (code == CLI_DONE && !number && strcmp(options[i].name, "count") == 0)
			code = cli_usage(args, "%s is at least 1", what);
		free(what);
	}
	return code;
}

int cli_chaos_campaign(struct cli *cli, const struct cli_args *args)
{
	struct words words = {0};
	struct machine machine;
	int code = check_numbers(args);

	if (code == CLI_DONE)
		code = cli_choose(cli, &machine);
	if (code != CLI_DONE)
		return code;
	program_words(&words, "apmp-chaos", cli, args, machine.name, true);
	return cli_become(cli, words.argv);
}

/* It needs no machine. */
int cli_chaos_sim(struct cli *cli, const struct cli_args *args)
{
	struct words words = {0};

	program_words(&words, "apmp-chaos", cli, args, NULL, true);
	return cli_become(cli, words.argv);
}
