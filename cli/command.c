/*
 * Reading the command line of apmp.
 *
 * WHAT      `apmp [--name MACHINE] [--json] VERB ...`. A verb is up to three words ("cpu migrate",
 *           "hardware add cpu"); the one of most words is meant. Global options may also stand
 *           behind it. Options and arguments may be mixed up to "--"; the command that `run` starts
 *           keeps its own options (own_args).
 * LIMITS    Options have long names only. Every verb has at most CLI_OPTIONS_MAX of them.
 */
#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/table.h"
#include "cli/verbs.h"
#include "shm/wire/varlink.h"

/* getopt's value of the first global option; those of a command are 1 and following. */
enum { GLOBAL_FIRST = 1000 };

/* What the global options ask for instead of a verb. */
struct asked {
	bool help, version;
};

/* ---- what commands ask ---- */

const char *cli_option(const struct cli_args *args, const char *name)
{
	for (int i = 0; i < CLI_OPTIONS_MAX && args->command->options[i].name; i++)
		if (strcmp(args->command->options[i].name, name) == 0)
			return args->options[i];
	fprintf(stderr, "apmp: option --%s is not in the table\n", name);
	abort();
}

int cli_usage(const struct cli_args *args, const char *format, ...)
{
	struct cli cli = *args->cli;
	const char *verb = args->command ? args->command->name : args->family ? args->family : "";
	json_t *parameters;
	va_list list;

	cli.json |= cli.json_ahead;
	va_start(list, format);
	parameters = json_pack("{s:o, s:o}", "reason", json_vsprintf(format, list), "help",
			       json_sprintf("apmp %s%s--help", verb, *verb ? " " : ""));
	va_end(list);
	/* A word of the command line that is no UTF-8 has no place in JSON. */
	if (!parameters)
		parameters = json_pack("{s:s, s:s}", "reason",
				       "a word of the command line is not UTF-8 text", "help",
				       "apmp --help");
	return cli_refuse(&cli, CLI_USAGE, "org.apmp.cli.Usage", parameters);
}

int cli_number(const struct cli_args *args, const char *what, const char *text, json_int_t *ret)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (end == text || *end || *text == '-')
		return cli_usage(args, "%s is a number, not \"%s\"", what, text);
	if (errno)
		return cli_usage(args, "%s is a number up to %lld; %s is more", what, LLONG_MAX,
				 text);
	*ret = number;
	return CLI_DONE;
}

int cli_bytes(const struct cli_args *args, const char *what, const char *text, json_int_t *ret)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	unsigned long long number;
	unsigned shift = 0;

	errno = 0;
	number = strtoull(text, &end, 0);
	unit = *end && end[1] == 0 ? strchr(units, *end) : NULL;
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if (errno || end == text || (*end && !unit) || *text == '-' ||
	    number > (unsigned long long)INT64_MAX >> shift)
		return cli_usage(args, "%s is a number of bytes as 24M or 0x1000000, not \"%s\"",
				 what, text);
	*ret = (json_int_t)(number << shift);
	return CLI_DONE;
}

int cli_time(const struct cli_args *args, const char *what, const char *text, long long *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"", 1e3}, {"s", 1e3}, {"ms", 1}, {"us", 1e-3}};
	char *unit;
	double value = strtod(text, &unit);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (unit == text || strcmp(unit, units[i].unit) != 0 || !(value >= 0) ||
		    value > 1e9)
			continue;
		*ret_ms = (long long)(value * units[i].ms);
		return CLI_DONE;
	}
	return cli_usage(args, "%s is a time as 500ms or 2s, not \"%s\"", what, text);
}

/* ---- reading the command line ---- */

static struct option getopt_option(const struct cli_option *option, int value)
{
	return (struct option){option->name, option->arg ? required_argument : no_argument, NULL,
			       value};
}

static void take_global(struct cli *cli, int which, struct asked *asked)
{
	if (which == CLI_GLOBAL_NAME)
		cli->name = optarg;
	else if (which == CLI_GLOBAL_JSON)
		cli->json = true;
	else if (which == CLI_GLOBAL_HELP)
		asked->help = true;
	else
		asked->version = true;
}

static int option_mistake(const struct cli_args *args, int result, char **argv)
{
	const char *word = argv[optind - 1];

	/* optopt is the letter of a short option, the value of a long one, 0 of one unknown. */
	if (result == '?' && optopt > ' ' && optopt < 0x7f)
		return cli_usage(args, "there is no option -%c", optopt);
	if (result == '?' && optopt)
		return cli_usage(args, "%.*s takes no value", (int)strcspn(word, "="), word);
	return cli_usage(args, result == ':' ? "%s wants a value" : "there is no option %s", word);
}

/* Global options, up to the verb at optind. */
static int read_globals(struct cli *cli, int argc, char **argv, struct asked *asked)
{
	const struct cli_args none = {.cli = cli};
	struct option table[CLI_GLOBALS + 1] = {0};
	int result;

	for (int i = 0; i < CLI_GLOBALS; i++)
		table[i] = getopt_option(&cli_globals[i], GLOBAL_FIRST + i);
	optind = 0; /* glibc: begin anew */
	while ((result = getopt_long(argc, argv, "+:h", table, NULL)) != -1) {
		if (result == 'h')
			asked->help = true;
		else if (result < GLOBAL_FIRST)
			return option_mistake(&none, result, argv);
		else
			take_global(cli, result - GLOBAL_FIRST, asked);
	}
	return CLI_DONE;
}

static void make_table(const struct cli_command *command, struct option *table)
{
	for (int i = 0; i < CLI_OPTIONS_MAX && command->options[i].name; i++)
		*table++ = getopt_option(&command->options[i], 1 + i);
	for (int i = 0; i < CLI_GLOBALS_BEHIND; i++)
		*table++ = getopt_option(&cli_globals[i], GLOBAL_FIRST + i);
}

/*
 * Options and arguments of a command; argv[0] is its (last) word. getopt stops at each argument
 * (no permutation of its own, or it would reach into the command of `run`); they are gathered at
 * the front of argv, over what was read already.
 */
static int read_command(struct cli *cli, struct cli_args *args, int argc, char **argv,
			struct asked *asked)
{
	const struct cli_command *command = args->command;
	int own = command->own_args < 0 ? 0 : command->own_args ? command->own_args : argc;
	struct option table[CLI_OPTIONS_MAX + CLI_GLOBALS + 1] = {0};

	make_table(command, table);
	args->args = argv + 1;
	optind = 0;
	for (;;) {
		int result = getopt_long(argc, argv, "+:h", table, NULL);

		if (result == 'h')
			asked->help = true;
		else if (result >= GLOBAL_FIRST)
			take_global(cli, result - GLOBAL_FIRST, asked);
		else if (result >= 1 && result <= CLI_OPTIONS_MAX)
			args->options[result - 1] = optarg ? optarg : "";
		else if (result != -1)
			return option_mistake(args, result, argv);
		else if (optind >= argc || !strcmp(argv[optind - 1], "--") || args->count == own)
			break;
		else
			args->args[args->count++] = argv[optind++];
	}
	for (int i = optind; i < argc; i++)
		args->args[args->count++] = argv[i];
	args->args[args->count] = NULL;
	return CLI_DONE;
}

/* JSON is UTF-8: a word that is not would be left out of a call, which then means something
 * else. */
static bool is_text(const char *word)
{
	json_t *text = json_string(word);

	json_decref(text);
	return text;
}

static bool all_text(const struct cli_args *args)
{
	bool text = true;

	/* The names of files are bytes, and words for other programs are theirs to judge. */
	if (args->command->own_args < 0 || strstr(args->command->args, "FILE"))
		return true;
	for (int i = 0; i < args->count; i++)
		text = text && is_text(args->args[i]);
	for (int i = 0; i < CLI_OPTIONS_MAX; i++)
		text = text && (!args->options[i] || is_text(args->options[i]));
	return text;
}

static int check_command(const struct cli_args *args)
{
	const struct cli_command *command = args->command;

	if (args->count < command->args_min)
		return cli_usage(args, "%s wants %s", command->name, command->args);
	if (!all_text(args))
		return cli_usage(args, "a word of the command line is not UTF-8 text");
	if (args->count > command->args_max)
		return cli_usage(args, "\"%s\" is too much", args->args[command->args_max]);
	for (int i = 0; i < CLI_OPTIONS_MAX && command->options[i].name; i++)
		if (cli_is_required(command, &command->options[i]) && !args->options[i])
			return cli_usage(args, "%s wants --%s %s", command->name,
					 command->options[i].name, command->options[i].arg);
	return CLI_DONE;
}

/* ---- no such verb ---- */

static bool is_option(const char *word)
{
	return *word == '-';
}

static bool asks_help(const char *word)
{
	return word && (strncmp(word, "--help", 6) == 0 || strcmp(word, "-h") == 0);
}

/* How many of the words some verbs begin with. */
static int known_words(int count, char **words)
{
	const char *next;
	int known = 0;

	for (int i = 0; known < count && i < cli_commands_count; i++)
		while (known < count && cli_goes_on(&cli_commands[i], known + 1, words, &next))
			known++;
	return known;
}

/* The words joined by blanks; the caller frees it. */
static char *joined(int count, char **words)
{
	char *text = cli_text("%s", count > 0 ? words[0] : "");

	for (int i = 1; i < count; i++) {
		char *more = cli_text("%s %s", text, words[i]);

		free(text);
		text = more;
	}
	return text;
}

/* The words are no verb, or only the first ones of some: then those are shown. */
static int no_command(const struct cli *read, int argc, char **argv, bool help)
{
	struct cli cli = *read;
	struct cli_args none = {.cli = &cli};
	int words = 0, known;
	char *said, *family;

	cli.json |= cli.json_ahead;
	while (words < argc && !is_option(argv[words]))
		words++;
	known = known_words(words, argv);
	help |= known == words && asks_help(argv[words]);
	if (help && known == words && cli_help_family(&cli, stdout, known, argv))
		return CLI_DONE;
	said = joined(known < words ? known + 1 : known, argv);
	none.family = family = joined(known, argv);
	if (known > 0 && known == words && words + 1 < argc && !is_option(argv[argc - 1]))
		cli_usage(
		    &none,
		    "%s stands in the midst of a verb; options stand before all of its words, or "
		    "behind them",
		    argv[words]);
	else if (known == words)
		cli_usage(&none, "%s wants one of these verbs", said);
	else
		cli_usage(&none, "there is no verb \"%s\"", said);
	free(said);
	free(family);
	/* Who has said nothing wrong sees what may follow; others are told where that stands. */
	if (known > 0 && known == words)
		cli_help_family(&cli, stderr, known, argv);
	return CLI_USAGE;
}

/* ---- the whole ---- */

static int run_command(struct cli *cli, int argc, char **argv, struct asked *asked)
{
	struct cli_args args = {.cli = cli};
	int words, code;

	args.command = cli_find_command(argc, argv, &words);
	if (!args.command)
		return no_command(cli, argc, argv, asked->help);
	code = read_command(cli, &args, argc - words + 1, argv + words - 1, asked);
	if (code != CLI_DONE)
		return code;
	if (asked->help) {
		cli_help_command(cli, args.command);
		if (!cli->json)
			cli_help_family(cli, stdout, words, argv);
		return CLI_DONE;
	}
	code = check_command(&args);
	return code == CLI_DONE ? args.command->handler(cli, &args) : code;
}

/* Whether --json stands among what may be options of ours. */
static bool json_ahead(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

static int print_version(const struct cli *cli)
{
	json_t *version = json_pack("{s:s}", "version", APMP_VERSION);

	if (cli->json)
		cli_print_json(version);
	else
		printf("apmp %s\n", APMP_VERSION);
	json_decref(version);
	return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct cli_args none = {.cli = cli};
	struct asked asked = {0};
	int code = read_globals(cli, argc, argv, &asked);

	if (code != CLI_DONE)
		return code;
	argc -= optind;
	argv += optind;
	if (asked.version)
		return print_version(cli);
	if (argc > 1 && strcmp(argv[0], "help") == 0) {
		asked.help = true;
		argc--;
		argv++;
	}
	if (argc > 0 && strcmp(argv[0], "help") != 0)
		return run_command(cli, argc, argv, &asked);
	if (argc == 0 && !asked.help && cli->json)
		return cli_usage(&none, "a verb is wanted");
	cli_help_all(cli);
	return argc > 0 || asked.help ? CLI_DONE : CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
			  .json_ahead = json_ahead(argc, argv)};
	int code;

	opterr = 0;
	code = run(&cli, argc, argv);
	if (fflush(stdout) != 0 && code == CLI_DONE) {
		fprintf(stderr, "apmp: can't write to standard output: %s\n", strerror(errno));
		code = CLI_REFUSED;
	}
	return code;
}
