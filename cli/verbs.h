#ifndef APMP_CLI_VERBS_H
#define APMP_CLI_VERBS_H

/* The table of verbs, which usage, help and completion are made from. */

#include <stdio.h>

#include "cli/command.h"

/* In the order of the help. One without name is a heading, its text in about. */
extern const struct cli_command cli_commands[];
extern const int cli_commands_count;

/* Options that every verb has; the first CLI_GLOBALS_BEHIND of them may also stand behind it. */
enum { CLI_GLOBAL_NAME, CLI_GLOBAL_JSON, CLI_GLOBAL_HELP, CLI_GLOBAL_VERSION, CLI_GLOBALS };
extern const struct cli_option cli_globals[CLI_GLOBALS];
enum { CLI_GLOBALS_BEHIND = CLI_GLOBAL_HELP + 1 };

/* Whether the option stands in the verb's arguments, and must be given. */
bool cli_is_required(const struct cli_command *command, const struct cli_option *option);

/* The verb of most words that words begin with; of how many. NULL: there is none. */
const struct cli_command *cli_find_command(int count, char *const *words, int *ret_count);

/* Whether the name of this verb goes on behind these words; then *ret_next is its next word, which
 * ends at a blank. */
bool cli_goes_on(const struct cli_command *command, int count, char *const *words,
		 const char **ret_next);

/* ---- help.c ---- */

/* "cpu migrate CPU... --to PARTITION"; all: with the options that may be left out. */
void cli_print_synopsis(FILE *out, const struct cli_command *command, bool all);

void cli_help_all(const struct cli *cli);
void cli_help_command(const struct cli *cli, const struct cli_command *command);
/* The verbs that go on behind these words; false if there are none. */
bool cli_help_family(const struct cli *cli, FILE *out, int count, char *const *words);

#endif
