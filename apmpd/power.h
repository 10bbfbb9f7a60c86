/* Power on: from a checked machine file to a running box. */
#ifndef APMPD_POWER_H
#define APMPD_POWER_H

#include "apmpd/machine_file.h"

#include <stdbool.h>

struct apmp_nvram_store;

struct apmp_power_how {
	bool foreground; /* the caller becomes the box */
	bool bare;	 /* without a console until somebody connects [0118] */
	bool fresh;	 /* NVRAM is not read */
};

/* `apmpd up`: checks that there is enough memory, removes what a dead machine of this name left,
 * takes its state directory and reads NVRAM, starts the box and waits for its word, which it
 * prints.  Everything inherited but standard input, output and error is closed.
 * Returns the exit code: 0 it is on (foreground: it was), 1 refused, with a sentence. */
int apmp_power_on(const struct machine *machine, const struct apmp_power_how *how);

/* Between power.c and box.c: becomes the box and returns when it is off: the exit code.
 * nvram: was opened, and is the box's.
 * word_fd: where the word goes; -1: standard output and error. */
int apmp_box_main(const struct machine *machine, const struct apmp_power_how *how,
		  struct apmp_nvram_store *nvram, int word_fd);

#endif
