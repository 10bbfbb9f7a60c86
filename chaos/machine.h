/*
 * machine.h - a running machine as a campaign sees it: its console's methods and its events.
 */
#ifndef APMP_CHAOS_MACHINE_H
#define APMP_CHAOS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "shm/layout_common.h"
#include "shm/wire/varlink.h"

struct machine {
	struct varlink_client *client; /* calls */
	struct varlink_client *events; /* a stream from when the machine was opened */
	const char *name;
	char control[108];
	char violation[300]; /* what a campaign found wrong with it first; "" nothing */
};

/* Where the machine of this name (NULL: APMP_MACHINE) is reached.  -EINVAL after asking which. */
__attribute__((warn_unused_result)) int machine_find(struct machine *machine, const char *name);
/* Opens the machine of this name (NULL: APMP_MACHINE).  0, or -errno after saying why. */
__attribute__((warn_unused_result)) int machine_open(struct machine *machine, const char *name);
void machine_close(struct machine *machine);
/* One more connection to its console.  -errno. */
__attribute__((warn_unused_result)) int machine_connect(const struct machine *machine,
							struct varlink_client **ret_client);

/* Calls a method; parameters are stolen.  NULL: it was refused, and error (at least 64 bytes) has
 * the name of the error without its interface; or the machine is silent, and error is "silent". */
json_t *machine_call(struct machine *machine, const char *method, json_t *parameters, char *error);

/* What Status says; NULL and error as machine_call. */
json_t *machine_status(struct machine *machine, char *error);

/* Notes "what: about", or "what" when about is "", as the violation, if it is the first.  False. */
bool machine_violated(struct machine *machine, const char *what, const char *about);
/* What Status says; NULL: that there is none is the violation. */
json_t *machine_look(struct machine *machine);

/* What was refused, as an object with `error` (of org.apmp.cli) and `parameters` on standard
 * output; the sentence is said by the caller. */
void machine_print_error(const char *error, const char *reason);
/* Says that a campaign did not begin, why (the violation), and what it wants.  Exit code 1. */
int machine_not_begun(const struct machine *machine, const char *wants, bool json);
/* Whether no partition of this status is debugged or stopped: then it is the violation. */
bool machine_moves(struct machine *machine, const json_t *status);
/* Whether a campaign among several partitions can begin: there are so many, all move, and all that
 * must hold does; else that is the violation. */
bool machine_is_fit(struct machine *machine, const json_t *status, size_t partition_count);

/* The names of the partitions of this status; how many, at most APMP_MAX_PARTITIONS. */
uint32_t machine_partitions(const json_t *status,
			    char ret_names[APMP_MAX_PARTITIONS][APMP_NAME_SIZE]);

/* Begins a call whose answer comes later, on a connection of its own; NULL: can't. */
struct varlink_client *machine_begin(struct machine *machine, const char *method,
				     json_t *parameters);
/* Its answer: as machine_call.  Ends the connection. */
json_t *machine_end(struct varlink_client *client, char *error);

struct machine_wanted {
	const char *kind, *partition; /* partition NULL: any */
};

/* The next event that is one of the wanted; others are passed over.  NULL: none has come for longer
 * than a hang guard. */
json_t *machine_event(struct machine *machine, const struct machine_wanted *wanted, size_t count);

#endif
