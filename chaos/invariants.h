/*
 * invariants.h - what must hold of a machine at rest, whatever was done to it.
 */
#ifndef APMP_CHAOS_INVARIANTS_H
#define APMP_CHAOS_INVARIANTS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* Checks a status (INTERFACES: `status --json`) against the first one, in which the CPUs that have
 * an owner must have one ever after.  True when all holds; otherwise *ret_what, of size bytes, says
 * in a sentence what does not.  all_members: every partition must be a member. */
bool invariants_hold(const json_t *status, const json_t *first, bool all_members, char *ret_what,
		     size_t size);

/* The part of it about sharing sets, for a machine at rest of which not all are members. */
bool invariants_hold_sets(const json_t *status, char *ret_what, size_t size);

#endif
