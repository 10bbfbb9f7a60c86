/*
 * The command line of apmp: one table makes the commands, their options and all of the help.
 *
 * WHAT      `apmp [--name MACHINE] [--json] VERB ...`. A verb is one word or two ("cpu migrate").
 *           Global options may also stand behind the verb. Options and arguments may be mixed up to
 *           "--"; the command that `run` starts keeps its own options (own_args).
 * LIMITS    Options have long names only. Every command has at most CLI_OPTIONS_MAX of them.
 */
#include "cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/wire/varlink.h"

/* clang-format off */
static const struct cli_command commands[] = {
	{"up", "[FILE]", "power on the machine that FILE describes",
	 "apmp up examples/01-trio/machine.yaml", 0, 1, 0,
	 {{"foreground", NULL, "stay, and end with the machine"}}, cli_up},
	{"down", "", "power off", "apmp --name trio down", 0, 0, 0,
	 {{"force", NULL, "end the box itself if its console does not answer"}}, cli_down},
	{"list", "", "the machines of this user", "apmp list", 0, 0, 0, {{0}}, cli_list},
	{"check", "FILE", "look for mistakes in a machine file, all in one run",
	 "apmp check machine.yaml", 1, 1, 0, {{0}}, cli_check},
	{"doctor", "", "what this host offers, what of it is used, and why",
	 "apmp doctor", 0, 0, 0, {{"fix", NULL, "mend what can be mended"}}, cli_doctor},
	{"clean", "", "remove what dead machines left, and say what that was",
	 "apmp clean", 0, 0, 0, {{0}}, cli_clean},
	{"status", "", "partitions, instances, CPUs, memory, sharing sets",
	 "apmp status --json | jq '.partitions[].instance.state'", 0, 0, 0, {{0}}, cli_status},
	{"tree", "", "the configuration tree with owners and current owners",
	 "apmp tree --dot | dot -Tsvg > tree.svg", 0, 0, 0,
	 {{"dot", NULL, "as a graph for graphviz"}}, cli_tree},
	{"events", "", "what happened", "apmp events --since 40 --follow", 0, 0, 0,
	 {{"follow", NULL, "go on with what happens from now on"},
	  {"since", "N", "from event number N on"}}, cli_events},
	{"trace", "[PARTITION...]", "the flight recorders, merged by time",
	 "apmp trace alpha beta", 0, CLI_REST, 0, {{0}}, cli_trace},
	{"console", "PARTITION", "the serial port of a partition; ^] leaves it",
	 "apmp console alpha", 1, 1, 0, {{0}}, cli_console},
	{"partition boot", "PARTITION", "boot; returns when the instance is a member",
	 "apmp partition boot beta", 1, 1, 0,
	 {{"no-wait", NULL, "return when the boot was started"}}, cli_partition_boot},
	{"partition halt", "PARTITION", "let the instance leave and halt",
	 "apmp partition halt beta", 1, 1, 0, {{0}}, cli_partition_halt},
	{"partition crash", "PARTITION", "make the instance bugcheck",
	 "apmp partition crash beta", 1, 1, 0, {{0}}, cli_partition_crash},
	{"partition reset", "PARTITION", "take the partition away from its instance, unasked",
	 "apmp partition reset beta", 1, 1, 0, {{0}}, cli_partition_reset},
	{"cpu list", "", "CPUs with owner, current owner and host CPU", "apmp cpu list", 0, 0, 0,
	 {{0}}, cli_cpu_list},
	{"cpu migrate", "CPU...", "move CPUs to another partition",
	 "apmp cpu migrate 2 --to beta", 1, CLI_REST, 0,
	 {{"to", "PARTITION", "where they go"},
	  {"loan", NULL, "the owner stays, only the current owner changes"},
	  {"dry-run", NULL, "say the steps, do nothing"},
	  {"wait", "TIME", "try that long while a CPU is busy or bound: 500ms, 2s"}},
	 cli_cpu_migrate},
	{"run", "PARTITION -- COMMAND...",
	 "run a program in a partition: its CPUs, memory and fate",
	 "apmp run alpha -- make -j4", 2, CLI_REST, 1,
	 {{"detach", NULL, "leave it running with /dev/null, and print its process id"},
	  {"confined", NULL, "with the partition's own uid, where the box runs as root"}},
	 cli_run},
	{"chaos list", "", "the faults that can be injected", "apmp chaos list", 0, 0, 0, {{0}},
	 cli_chaos_list},
	{"chaos points", "", "the points where a fault can strike", "apmp chaos points", 0, 0, 0,
	 {{0}}, cli_chaos_points},
	{"chaos inject", "FAULT PARTITION", "inject a fault, at once or at a point",
	 "apmp chaos inject kill beta --at join_812:2", 2, 2, 0,
	 {{"at", "POINT[:N]", "when the partition passes POINT for the N-th time"}},
	 cli_chaos_inject},
	{"chaos", "kills|sim ...", "fault plans and campaigns: see apmp-chaos",
	 "apmp chaos run plan.yaml --seed 7", 0, CLI_REST, -1, {{0}}, cli_chaos},
};

static const struct cli_option globals[] = {
	{"name", "MACHINE", "the machine; else APMP_MACHINE, else the only one that runs"},
	{"json", NULL, "one JSON document, of streams one object per line"},
	{"help", NULL, "this"},
	{"version", NULL, "the version of apmp"},
};
/* clang-format on */

enum {
	COMMANDS = sizeof(commands) / sizeof(commands[0]),
	GLOBALS = sizeof(globals) / sizeof(globals[0]),
	GLOBAL_NAME = 0,
	GLOBAL_JSON = 1,
	GLOBAL_HELP = 2,
	GLOBAL_FIRST =
	    1000, /* getopt's value of the first global option; those of a command: 1... */
};

/* ---- help ---- */

static void help_options(const struct cli_option *options, int count)
{
	for (int i = 0; i < count && options[i].name; i++) {
		const char *arg = options[i].arg ? options[i].arg : "";
		int width = printf("  --%s %s", options[i].name, arg);

		printf("%*s%s\n", width < 22 ? 22 - width : 1, "", options[i].help);
	}
}

static void help_all(void)
{
	printf("usage: apmp [--name MACHINE] [--json] VERB ...\n\n"
	       "An adaptively partitioned multiprocessor on this host.\n\n");
	for (int i = 0; i < COMMANDS; i++) {
		int width = printf("  %s %s", commands[i].name, commands[i].args);

		printf("%*s%s\n", width < 40 ? 40 - width : 1, "", commands[i].about);
	}
	printf("\noptions:\n");
	help_options(globals, GLOBALS);
	printf("\n`apmp VERB --help` has the options of a verb and an example.\n"
	       "exit: 0 done, 1 refused or a check failed, 2 usage, 3 no such machine\n");
}

static void help_command(const struct cli_command *command)
{
	printf("usage: apmp %s%s%s%s\n\n%s\n", command->name,
	       command->options[0].name ? " [OPTIONS]" : "", *command->args ? " " : "",
	       command->args, command->about);
	if (command->options[0].name)
		printf("\noptions:\n");
	help_options(command->options, CLI_OPTIONS_MAX);
	printf("\nexample:\n  %s\n", command->example);
}

/* The commands that begin with a word; false if there are none. */
static bool help_family(FILE *out, const char *word)
{
	size_t length = strlen(word);
	bool found = false;

	for (int i = 0; i < COMMANDS; i++) {
		if (strncmp(commands[i].name, word, length) != 0 || commands[i].name[length] != ' ')
			continue;
		fprintf(out, "  apmp %s%s%s\n", commands[i].name, *commands[i].args ? " " : "",
			commands[i].args);
		found = true;
	}
	return found;
}

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
	va_list list;

	fprintf(stderr, "apmp: ");
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fprintf(stderr, "; see `apmp %s%s--help`\n", args ? args->command->name : "",
		args ? " " : "");
	return CLI_USAGE;
}

int cli_number(const struct cli_args *args, const char *what, const char *text, json_int_t *ret)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < 0)
		return cli_usage(args, "%s is a number, not \"%s\"", what, text);
	*ret = number;
	return CLI_DONE;
}

/* ---- reading the command line ---- */

static struct option getopt_option(const struct cli_option *option, int value)
{
	return (struct option){option->name, option->arg ? required_argument : no_argument, NULL,
			       value};
}

static void take_global(struct cli *cli, int which, bool *help)
{
	if (which == GLOBAL_NAME)
		cli->name = optarg;
	else if (which == GLOBAL_JSON)
		cli->json = true;
	else if (which == GLOBAL_HELP)
		*help = true;
	else
		printf("apmp %s\n", APMP_VERSION), exit(CLI_DONE);
}

static int option_mistake(const struct cli_args *args, int result, char **argv)
{
	return cli_usage(args, result == ':' ? "%s wants a value" : "there is no option %s",
			 argv[optind - 1]);
}

/* Global options, up to the verb at optind. */
static int read_globals(struct cli *cli, int argc, char **argv, bool *help)
{
	struct option table[GLOBALS + 1] = {0};
	int result;

	for (int i = 0; i < GLOBALS; i++)
		table[i] = getopt_option(&globals[i], GLOBAL_FIRST + i);
	optind = 0; /* glibc: begin anew */
	while ((result = getopt_long(argc, argv, "+:h", table, NULL)) != -1) {
		if (result == 'h')
			*help = true;
		else if (result < GLOBAL_FIRST)
			return option_mistake(NULL, result, argv);
		else
			take_global(cli, result - GLOBAL_FIRST, help);
	}
	return CLI_DONE;
}

static void make_table(const struct cli_command *command, struct option *table)
{
	for (int i = 0; i < CLI_OPTIONS_MAX && command->options[i].name; i++)
		*table++ = getopt_option(&command->options[i], 1 + i);
	for (int i = 0; i <= GLOBAL_HELP; i++)
		*table++ = getopt_option(&globals[i], GLOBAL_FIRST + i);
}

/*
 * Options and arguments of a command; argv[0] is its (last) word. getopt stops at each argument
 * (no permutation of its own, or it would reach into the command of `run`); they are gathered at
 * the front of argv, over what was read already.
 */
static int read_command(struct cli *cli, struct cli_args *args, int argc, char **argv, bool *help)
{
	const struct cli_command *command = args->command;
	int own = command->own_args ? command->own_args : argc;
	struct option table[CLI_OPTIONS_MAX + GLOBALS + 1] = {0};

	make_table(command, table);
	args->args = argv + 1;
	optind = 0;
	while (own >= 0) {
		int result = getopt_long(argc, argv, "+:h", table, NULL);

		if (result == 'h')
			*help = true;
		else if (result >= GLOBAL_FIRST)
			take_global(cli, result - GLOBAL_FIRST, help);
		else if (result >= 1 && result <= CLI_OPTIONS_MAX)
			args->options[result - 1] = optarg ? optarg : "";
		else if (result != -1)
			return option_mistake(args, result, argv);
		else if (optind >= argc || !strcmp(argv[optind - 1], "--") || args->count == own)
			break;
		else
			args->args[args->count++] = argv[optind++];
	}
	for (int i = own >= 0 ? optind : 1; i < argc; i++)
		args->args[args->count++] = argv[i];
	args->args[args->count] = NULL;
	return CLI_DONE;
}

/* The command that argv begins with, and of how many words its name is. */
static const struct cli_command *find_command(int argc, char **argv, int *ret_words)
{
	for (int i = 0; i < COMMANDS; i++) {
		const char *name = commands[i].name;
		const char *blank = strchr(name, ' ');
		size_t length = blank ? (size_t)(blank - name) : strlen(name);

		if (strncmp(argv[0], name, length) != 0 || argv[0][length])
			continue;
		if (blank && (argc < 2 || strcmp(argv[1], blank + 1) != 0))
			continue;
		*ret_words = blank ? 2 : 1;
		return &commands[i];
	}
	return NULL;
}

static bool is_help(const char *word)
{
	return word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0);
}

/* The verb is no command, or only the first word of some: then those are shown. */
static int no_command(const char *verb, const char *next)
{
	bool wanted = is_help(next);
	bool alone = wanted || !next;

	if (wanted && help_family(stdout, verb))
		return CLI_DONE;
	fprintf(stderr, "apmp: there is no verb \"%s%s%s\"; `apmp --help` lists them\n", verb,
		alone ? "" : " ", alone ? "" : next);
	help_family(stderr, verb);
	return CLI_USAGE;
}

static int run_command(struct cli *cli, int argc, char **argv, bool help)
{
	struct cli_args args = {0};
	int words, code;

	args.command = find_command(argc, argv, &words);
	if (!args.command || (args.command->own_args < 0 && is_help(argv[1])))
		return no_command(argv[0], argv[1]);
	code = read_command(cli, &args, argc - words + 1, argv + words - 1, &help);
	if (code != CLI_DONE)
		return code;
	if (help) {
		help_command(args.command);
		return CLI_DONE;
	}
	if (args.count < args.command->args_min)
		return cli_usage(&args, "%s wants %s", args.command->name, args.command->args);
	if (args.count > args.command->args_max)
		return cli_usage(&args, "\"%s\" is too much", args.args[args.command->args_max]);
	return args.command->handler(cli, &args);
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
	bool help = false;
	int code;

	opterr = 0;
	code = read_globals(&cli, argc, argv, &help);
	if (code != CLI_DONE)
		return code;
	argc -= optind;
	argv += optind;
	if (argc > 1 && strcmp(argv[0], "help") == 0) {
		help = true;
		argc--;
		argv++;
	}
	if (argc == 0 || strcmp(argv[0], "help") == 0) {
		help_all();
		return argc > 0 || help ? CLI_DONE : CLI_USAGE;
	}
	code = run_command(&cli, argc, argv, help);
	if (fflush(stdout) != 0 && code == CLI_DONE) {
		fprintf(stderr, "apmp: can't write to standard output: %s\n", strerror(errno));
		code = CLI_REFUSED;
	}
	return code;
}
