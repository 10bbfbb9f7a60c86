#ifndef APMP_CLI_SEVERAL_H
#define APMP_CLI_SEVERAL_H

/* Commands that do the same with several things, one call each, until one is refused. */

#include "cli/find_machine.h"

struct cli_calls {
	struct cli *cli;
	const struct cli_args *args;
	struct machine machine;
	struct varlink_client *client;
	/* How long a call is tried again that is refused as busy or bound, and may wait for its
	 * answer; 0: it is tried once, and its answer awaited. */
	long long wait_ms;
};

/* What is done with one word of the command line: an exit code. */
typedef int cli_one(struct cli_calls *calls, const char *word);

/*
 * Checks every word (check may be NULL), connects, then does `one` for each word up to the first
 * one that is refused; says which ones were not tried. With --json prints the one document, whose
 * `done` has what cli_did() was given. Returns the exit code.
 */
int cli_each(struct cli *cli, const struct cli_args *args, long long wait_ms,
	     int (*check)(const struct cli_args *args, const char *word), cli_one *one);

/* The same for CPUs, which wait as long as --wait says. */
int cli_each_cpu(struct cli *cli, const struct cli_args *args, cli_one *one);

/* Milliseconds of CLOCK_MONOTONIC. */
long long cli_now_ms(void);

/* Whether the error ends by itself, so that it is worth to try again. */
bool cli_may_pass(const char *error);

/* For cli_each(): the word is the number of a CPU. */
int cli_check_cpu(const struct cli_args *args, const char *word);

/* One call; parameters are stolen. 0 with the answer, or an exit code after saying why not. */
int cli_calls_make(struct cli_calls *calls, const char *method, json_t *parameters,
		   const char *asked, json_t **ret_answer);

/* One thing is done: its entry of the document with --json, else a line for people. Both are
 * stolen. */
void cli_did(struct cli_calls *calls, json_t *entry, char *line);

/* The same of what would be done: it stands under `would` and not under `done`. */
void cli_would(struct cli_calls *calls, json_t *entry, char *line);

#endif
