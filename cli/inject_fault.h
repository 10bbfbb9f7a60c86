#ifndef APMP_CLI_INJECT_FAULT_H
#define APMP_CLI_INJECT_FAULT_H

#include <stdbool.h>

/* The faults that can be injected, as `apmp chaos list` shows them. */
struct cli_fault {
	const char *name, *about;
};

enum { CLI_FAULTS = 7 };
extern const struct cli_fault cli_faults[CLI_FAULTS];

/* Whether it strikes a page of a community's memory; the others strike parties. */
bool cli_fault_strikes_pages(const char *fault);

#endif
