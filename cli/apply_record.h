#ifndef APMP_CLI_APPLY_RECORD_H
#define APMP_CLI_APPLY_RECORD_H

/*
 * Whom an apply boots in the end, in the file `apply` of the machine's run directory: what the
 * machine itself does not tell an apply that goes on where another one was cut off. It goes with
 * the machine's power.
 *
 * The record is an object: names of partitions, each with the incarnation that it had before it was
 * halted, or null when there was no such partition yet.
 */

#include "cli/find_machine.h"

/* What stands there, a new reference; an empty object when there is nothing, or nothing that makes
 * sense. */
json_t *apply_record_read(const struct machine *machine);

/* Takes the lock that keeps a second apply out: the descriptor. -EWOULDBLOCK: there is one; -errno
 * of open(). Closing it lets go. */
int apply_record_lock(const struct machine *machine);

/* Adds those that the steps of the plan boot to the record, and writes it. A record that can't be
 * written is missed by nobody but an apply that was cut off. */
void apply_record_write(int fd, json_t *record, const json_t *a_plan);
void apply_record_clear(int fd);

#endif
