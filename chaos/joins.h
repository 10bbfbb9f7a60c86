/*
 * joins.h - the campaign of starts and joins while others die and are cleaned up.
 */
#ifndef APMP_CHAOS_JOINS_H
#define APMP_CHAOS_JOINS_H

#include <stdbool.h>
#include <stdint.h>

/* Starts partitions of the machine (name, or NULL: APMP_MACHINE) until at least count have been
 * started, and kills and halts others meanwhile.  Returns the exit code: 0; 1 a violation, or not
 * begun; 3 no such machine. */
int chaos_joins(const char *name, uint64_t count, uint64_t seed, bool json);

#endif
