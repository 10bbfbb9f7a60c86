#ifndef APMP_CLI_COMMAND_H
#define APMP_CLI_COMMAND_H

/* The command table of `apmp`, what a command is given, and how it says what went wrong. */

#include <stdbool.h>

#include <jansson.h>

/* Exit codes: a contract (INTERFACES.md). */
enum {
	CLI_DONE = 0,
	CLI_REFUSED = 1, /* refused, or a check failed */
	CLI_USAGE = 2,
	CLI_NO_MACHINE = 3,
};

enum {
	CLI_OPTIONS_MAX = 5,
	CLI_REST = 1 << 20, /* args_max of a command that takes any number */
};

/* What stands before the verb, or anywhere behind it. */
struct cli {
	const char *name; /* --name, NULL: not given */
	bool json;
	bool color;
};

struct cli_option {
	const char *name;
	const char *arg; /* what it takes, for the help; NULL: a flag */
	const char *help;
};

struct cli_args {
	const struct cli_command *command;
	const char *options[CLI_OPTIONS_MAX]; /* as in the command's table; a flag has "" */
	int count;
	char **args; /* ends with NULL; args[-1] is the (last) word of the verb */
};

struct cli_command {
	const char *name; /* "status", "partition boot" */
	const char *args; /* "PARTITION", for the help */
	const char *about;
	const char *example;
	int args_min, args_max;
	int own_args; /* not 0: options are ours up to this many arguments, the rest is a command */
	struct cli_option options[CLI_OPTIONS_MAX];
	int (*handler)(struct cli *cli, const struct cli_args *args);
};

/* All of `apmp`: returns its exit code. */
int cli_main(int argc, char **argv);

/* The value of an option ("" for a flag), NULL if it was not given. The name must be in the table.
 */
const char *cli_option(const struct cli_args *args, const char *name);

/* Says what is wrong with the command line, and where help is: CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage(const struct cli_args *args, const char *format,
						    ...);

/* A number of that option or argument, in its whole: 0, or CLI_USAGE after saying so. */
int cli_number(const struct cli_args *args, const char *what, const char *text, json_int_t *ret);

/* "500ms", "2s", "20us" of that option; a bare number is seconds: 0, or CLI_USAGE after saying so. */
int cli_time(const struct cli_args *args, const char *what, const char *text, long long *ret_ms);

/* ---- refusals (refusal.c) ---- */

/*
 * Prints an error as one sentence on standard error, and with --json as an object on standard
 * output. error is a full Varlink name, or one of refusal.c. parameters are stolen. Returns code.
 */
int cli_refuse(const struct cli *cli, int code, const char *error, json_t *parameters);

/* The sentence of an error; the caller frees it. */
char *cli_sentence(const char *error, const json_t *parameters);

/* ---- machine files (box_program.c) ---- */

/* A machine file as JSON (apmpd/machine_file.h), read by apmpd: 0; or CLI_REFUSED after saying every
 * mistake in it. A new reference. */
int cli_machine_file(const struct cli *cli, const char *file, json_t **ret_machine);

/* ---- the multiplexer (multiplexer.c) ---- */

/* Every console port of the machine in this terminal, until the user leaves or the machine is off. */
int cli_console_all(struct cli *cli);

/* ---- the commands ---- */

int cli_up(struct cli *cli, const struct cli_args *args);
int cli_down(struct cli *cli, const struct cli_args *args);
int cli_list(struct cli *cli, const struct cli_args *args);
int cli_check(struct cli *cli, const struct cli_args *args);
int cli_doctor(struct cli *cli, const struct cli_args *args);
int cli_clean(struct cli *cli, const struct cli_args *args);
int cli_status(struct cli *cli, const struct cli_args *args);
int cli_tree(struct cli *cli, const struct cli_args *args);
int cli_events(struct cli *cli, const struct cli_args *args);
int cli_plan(struct cli *cli, const struct cli_args *args);
int cli_apply(struct cli *cli, const struct cli_args *args);
int cli_trace(struct cli *cli, const struct cli_args *args);
int cli_console(struct cli *cli, const struct cli_args *args);
int cli_partition_boot(struct cli *cli, const struct cli_args *args);
int cli_partition_halt(struct cli *cli, const struct cli_args *args);
int cli_partition_crash(struct cli *cli, const struct cli_args *args);
int cli_partition_reset(struct cli *cli, const struct cli_args *args);
int cli_cpu_list(struct cli *cli, const struct cli_args *args);
int cli_cpu_migrate(struct cli *cli, const struct cli_args *args);
int cli_run(struct cli *cli, const struct cli_args *args);
int cli_chaos(struct cli *cli, const struct cli_args *args);
int cli_chaos_list(struct cli *cli, const struct cli_args *args);
int cli_chaos_points(struct cli *cli, const struct cli_args *args);
int cli_chaos_inject(struct cli *cli, const struct cli_args *args);

#endif
