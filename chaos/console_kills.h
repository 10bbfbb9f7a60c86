/*
 * console_kills.h - the campaign of kills of the console.
 */
#ifndef APMP_CHAOS_CONSOLE_KILLS_H
#define APMP_CHAOS_CONSOLE_KILLS_H

#include <stdbool.h>
#include <stdint.h>

/* Kills the console of the machine (name, or NULL: APMP_MACHINE) at stores of the operator's
 * changes until it has died count times; prints where.  Returns the exit code: 0; 1 a violation, or
 * fewer than nine of ten attempts ended in a kill; 3 no such machine. */
int chaos_console_kills(const char *name, uint64_t count, uint64_t seed, bool json);

#endif
