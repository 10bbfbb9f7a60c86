/*
 * quiet.h - the campaign in which nothing may happen.
 */
#ifndef APMP_CHAOS_QUIET_H
#define APMP_CHAOS_QUIET_H

#include <stdbool.h>
#include <stdint.h>

/* Looks at the machine (name, or NULL: APMP_MACHINE) until each of its members has beaten `beats`
 * times, with `load` busy processes for each host CPU beside it; prints how long members were
 * silent. Returns the exit code: 0; 1 somebody was removed, or ended; 3 no such machine. */
int chaos_quiet(const char *name, uint64_t beats, uint32_t load, bool json);

#endif
