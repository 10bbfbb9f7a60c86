/*
 * lock_world.h - the world of world.h whose parties take named locks.
 */
#ifndef APMP_TESTS_LOCK_WORLD_H
#define APMP_TESTS_LOCK_WORLD_H

#include "shm/lock_internal.h"
#include "tests/unit/world.h"

extern struct world w;
extern struct apmp_locks locks[WORLD_PARTITIONS];

/* Boots a partition that can lock; as a member. */
struct party *lock_boot(uint32_t id);
struct party *lock_member(uint32_t id);
/* One more locker of a party. */
struct apmp_locker *locker(struct party *p);
/* Opens a name, which must go well. */
uint32_t opened(struct apmp_locker *l, const char *name, uint32_t rank);

/* The segment as the console would see it, in the first range. */
struct apmp_db_locks *lock_table(void);
/* The slot of a name that somebody has open; NULL: nobody. */
struct apmp_db_lock *slot_of(const char *name);
uint64_t word_of(const char *name);

#endif
