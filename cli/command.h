#ifndef APMP_CLI_COMMAND_H
#define APMP_CLI_COMMAND_H

/* What a command of `apmp` is, what it is given, and how it says what went wrong. */

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
	CLI_OPTIONS_MAX = 16,
	CLI_REST = 1 << 20, /* args_max of a command that takes any number */
};

/* What stands before the verb, or anywhere behind it. */
struct cli {
	const char *name; /* --name, NULL: not given */
	bool json;
	bool json_ahead; /* --json stands somewhere: what is wrong before it is read is JSON, too */
	bool color;
	bool quiet;	    /* refusals are not printed */
	bool sentence_said; /* only their document is printed: standard error has the sentence */
	/* By a command that does several things: done, and of a dry run would be; they stand in its
	 * one document. */
	json_t *done, *would;
};

struct cli_option {
	const char *name;
	const char *arg; /* what it takes; NULL: a flag */
	const char *help;
};

struct cli_args {
	const struct cli *cli;
	const struct cli_command *command; /* NULL: not known yet */
	const char *family;		   /* words that verbs begin with, of which none is meant */
	const char *options[CLI_OPTIONS_MAX]; /* as in the command's table; a flag has "" */
	int count;
	char **args; /* ends with NULL; args[-1] is the (last) word of the verb */
};

/*
 * Words in capitals say what stands there, to people and to the completion: "PARTITION" is a name,
 * "yes|no" one of these two, "[FILE]" may be left out, "CPU..." is one or more. An option that
 * stands there ("--to PARTITION") must be given.
 */
struct cli_command {
	const char *name; /* "status", "partition boot", "hardware add cpu" */
	const char *args; /* "COMMUNITY PARTITION", "CPU... --to PARTITION" */
	const char *about;
	const char *example;
	int args_min, args_max;
	int own_args; /* not 0: options are ours up to this many arguments, -1: up to the first */
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

/* "24M", "0x1000000": bytes, K, M and G are powers of 1024. 0, or CLI_USAGE after saying so. */
int cli_bytes(const struct cli_args *args, const char *what, const char *text, json_int_t *ret);

/* "500ms", "2s", "20us"; a bare number is seconds. 0, or CLI_USAGE after saying so. */
int cli_time(const struct cli_args *args, const char *what, const char *text, long long *ret_ms);

/* ---- refusals (refusal.c) ---- */

/*
 * Prints an error as one sentence on standard error, and with --json as an object on standard
 * output. error is a full Varlink name, or one of sentences.def. asked is what was wanted, as
 * "assigning CPU 3 to \"beta\"", or NULL. parameters are stolen. Returns code.
 */
int cli_refuse_asked(const struct cli *cli, int code, const char *error, json_t *parameters,
		     const char *asked);
int cli_refuse(const struct cli *cli, int code, const char *error, json_t *parameters);

/* The sentence of an error; the caller frees it. */
char *cli_sentence(const char *error, const json_t *parameters, const char *asked);

/* ---- machine files (read_machine_file.c) ---- */

/* A machine file as JSON (apmpd/machine_file.h), read by apmpd: 0; or CLI_REFUSED after saying
 * every mistake in it. A new reference. */
int cli_machine_file(const struct cli *cli, const char *file, json_t **ret_machine);

/* ---- the multiplexer (multiplexer.c) ---- */

/* Every console port of the machine in this terminal, until the user leaves or the machine is
 * off. */
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
int cli_debug(struct cli *cli, const struct cli_args *args);
int cli_partition_crash(struct cli *cli, const struct cli_args *args);
int cli_partition_reset(struct cli *cli, const struct cli_args *args);
int cli_partition_create(struct cli *cli, const struct cli_args *args);
int cli_partition_delete(struct cli *cli, const struct cli_args *args);
int cli_partition_set(struct cli *cli, const struct cli_args *args);
int cli_community_create(struct cli *cli, const struct cli_args *args);
int cli_community_delete(struct cli *cli, const struct cli_args *args);
int cli_community_add(struct cli *cli, const struct cli_args *args);
int cli_community_remove(struct cli *cli, const struct cli_args *args);
int cli_cpu_list(struct cli *cli, const struct cli_args *args);
int cli_cpu_migrate(struct cli *cli, const struct cli_args *args);
int cli_cpu_start(struct cli *cli, const struct cli_args *args);
int cli_cpu_stop(struct cli *cli, const struct cli_args *args);
int cli_cpu_failover(struct cli *cli, const struct cli_args *args);
int cli_cpu_autostart(struct cli *cli, const struct cli_args *args);
int cli_cpu_wish(struct cli *cli, const struct cli_args *args);
int cli_cpu_assign(struct cli *cli, const struct cli_args *args);
int cli_cpu_deassign(struct cli *cli, const struct cli_args *args);
int cli_bus_list(struct cli *cli, const struct cli_args *args);
int cli_bus_assign(struct cli *cli, const struct cli_args *args);
int cli_bus_deassign(struct cli *cli, const struct cli_args *args);
int cli_memory_list(struct cli *cli, const struct cli_args *args);
int cli_memory_assign(struct cli *cli, const struct cli_args *args);
int cli_memory_remove(struct cli *cli, const struct cli_args *args);
int cli_hardware_list(struct cli *cli, const struct cli_args *args);
int cli_hardware_add_cpu(struct cli *cli, const struct cli_args *args);
int cli_hardware_add_bus(struct cli *cli, const struct cli_args *args);
int cli_hardware_add_memory(struct cli *cli, const struct cli_args *args);
int cli_hardware_remove_cpu(struct cli *cli, const struct cli_args *args);
int cli_hardware_remove_bus(struct cli *cli, const struct cli_args *args);
int cli_hardware_remove_memory(struct cli *cli, const struct cli_args *args);
int cli_db_show(struct cli *cli, const struct cli_args *args);
int cli_lock_list(struct cli *cli, const struct cli_args *args);
int cli_dump(struct cli *cli, const struct cli_args *args);
int cli_analyze(struct cli *cli, const struct cli_args *args);
int cli_run(struct cli *cli, const struct cli_args *args);
int cli_chaos_campaign(struct cli *cli, const struct cli_args *args);
int cli_chaos_sim(struct cli *cli, const struct cli_args *args);
int cli_chaos_list(struct cli *cli, const struct cli_args *args);
int cli_chaos_points(struct cli *cli, const struct cli_args *args);
int cli_chaos_inject(struct cli *cli, const struct cli_args *args);
int cli_completion(struct cli *cli, const struct cli_args *args);
int cli_completion_words(struct cli *cli, const struct cli_args *args);

#endif
