#ifndef APMP_CLI_START_PROGRAM_H
#define APMP_CLI_START_PROGRAM_H

/* The programs that do some of apmp's verbs: apmpd and apmp-chaos. */

#include "cli/command.h"

/* Becomes the program argv[0]: found beside our own, then where `make install` puts it, then in
 * PATH. Returns only when that failed, an exit code after saying so. */
int cli_become(const struct cli *cli, char **argv);

/*
 * Starts the box with argv, `apmpd up ...`, and makes one document of what it says: that the
 * machine is on as soon as it is, or why it is not. What it says on standard error comes there as
 * it is said. Returns its exit code when it has ended. machine is its name, NULL: not known.
 */
int cli_up_document(const struct cli *cli, char **argv, const char *machine);

#endif
