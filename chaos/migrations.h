/*
 * migrations.h - the storm of migrations, from all sides, while instances crash and boot.
 */
#ifndef APMP_CHAOS_MIGRATIONS_H
#define APMP_CHAOS_MIGRATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Until count CPUs have migrated and ten times as many samples were taken, on the machine of this
 * name (NULL: APMP_MACHINE).  Prints what came of it; json: one document.  Exit code: 0 no
 * violation, 1 a violation, 3 no such machine. */
int chaos_migrations(const char *name, uint64_t count, uint64_t seed, bool json);

#endif
