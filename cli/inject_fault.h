#ifndef APMP_CLI_INJECT_FAULT_H
#define APMP_CLI_INJECT_FAULT_H

/* The faults that can be injected, as `apmp chaos list` shows them. */
struct cli_fault {
	const char *name, *about;
};

enum { CLI_FAULTS = 5 };
extern const struct cli_fault cli_faults[CLI_FAULTS];

#endif
