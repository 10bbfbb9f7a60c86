/*
 * kills.h - the campaign of random kills.
 */
#ifndef APMP_CHAOS_KILLS_H
#define APMP_CHAOS_KILLS_H

#include <stdbool.h>
#include <stdint.h>

/* Kills members of the machine (name, or NULL: APMP_MACHINE) until count have died; prints where
 * the kills landed.  Returns the exit code: 0; 1 a violation, or fewer than nine of ten kills
 * landed inside the named operation; 3 no such machine. */
int chaos_kills(const char *name, uint64_t count, uint64_t seed, bool json);

#endif
