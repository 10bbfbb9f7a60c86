/*
 * layout_lock.h - the segment of service "lock": locks with a name, which a death can't break
 * [0123, 0177, 0272].
 *
 * A lock's truth is its word: who holds it, or 0.  A slot is in use while somebody has it open.
 */
#ifndef APMP_SHM_LAYOUT_LOCK_H
#define APMP_SHM_LAYOUT_LOCK_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#ifndef APMP_LOCK_COUNT /* the simulator has fewer: it dies at each access to each of them */
#define APMP_LOCK_COUNT	  256u
#define APMP_LOCKER_COUNT 255u /* of an instance; their numbers begin with 1 */
#endif

/*
 * A lock word: the holder's identity, and between partition id and WAITERS which locker of that
 * instance it is; 0 there is the instance itself, which is breaking the lock of somebody dead.
 */
#define APMP_LOCK_WAITERS      UINT64_C(0x8000) /* somebody waits: release must wake */
#define APMP_LOCK_LOCKER_MASK  UINT64_C(0x7f80)
#define APMP_LOCK_LOCKER_SHIFT 7u

static_assert(APMP_MAX_PARTITIONS < 1u << APMP_LOCK_LOCKER_SHIFT, "ids leave the bits free");
static_assert(APMP_LOCKER_COUNT << APMP_LOCK_LOCKER_SHIFT <= APMP_LOCK_LOCKER_MASK, "lockers fit");

static inline uint64_t apmp_lock_word(uint64_t identity, uint32_t locker)
{
	return identity | (uint64_t)locker << APMP_LOCK_LOCKER_SHIFT;
}

/* The identity in a lock word; it may be garbage. */
static inline uint64_t apmp_lock_identity(uint64_t word)
{
	return word & ~(APMP_LOCK_WAITERS | APMP_LOCK_LOCKER_MASK);
}

static inline uint32_t apmp_lock_locker(uint64_t word)
{
	return (uint32_t)((word & APMP_LOCK_LOCKER_MASK) >> APMP_LOCK_LOCKER_SHIFT);
}

/* In broken_by: the set was re-formed, and nobody who came over held it; nobody can know. */
#define APMP_LOCK_BY_REFORMING APMP_LOCK_WAITERS

struct apmp_db_lock {
	/* line 0: what acquire and release touch */
	/* W: by compare-and-swap, lock_word.c.  R: all; the futex word is its low half. */
	_Atomic uint64_t word;
	/* 0: what the lock protects is good; otherwise the word of who died or left holding it.
	 * W: holder.  R: members. */
	_Atomic uint64_t broken_by;
	_Atomic uint64_t acquired_count; /* W: holder.  R: tools */
	_Atomic uint64_t broken_count;	 /* W: holder.  R: tools; times a holder was lost */
	uint64_t word_fill[4];		 /* W: nobody.  R: nobody */
	/* line 1: what it is; name and rank stand while somebody has it open */
	/* Bit per partition id that has it open; 0: the slot is free, name and broken_by a memory.
	 * W: opener sets its bit under the table lock, clears it; recoverer clears.  R: all. */
	_Atomic uint64_t openers;
	_Atomic uint64_t contended_count; /* W: who has to wait, +1.  R: tools */
	_Atomic uint32_t rank;	   /* W: first opener, before its bit.  R: members; from 1 [0177] */
	uint32_t rank_fill;	   /* W: nobody.  R: nobody */
	char name[APMP_NAME_SIZE]; /* W: first opener, before its bit.  R: members */
	uint64_t fill;		   /* W: nobody.  R: nobody */
};

static_assert(offsetof(struct apmp_db_lock, openers) == 64, "lines");
static_assert(sizeof(struct apmp_db_lock) == 128, "lines");

struct apmp_db_locks {
	/* The table lock: who holds it finds names and opens slots.
	 * W: by compare-and-swap, as a lock's word.  R: all. */
	_Atomic uint64_t table;
	/* W: who has written a broken_by, +1.  R: members, who keep a copy: lock_memory.c */
	_Atomic uint64_t broken_changes;
	uint64_t table_fill[6];			   /* W: nobody.  R: nobody */
	struct apmp_db_lock lock[APMP_LOCK_COUNT]; /* W: see there.  R: see there */
};

static_assert(sizeof(struct apmp_db_locks) == 64 + 128 * APMP_LOCK_COUNT, "lines");

#pragma GCC diagnostic pop
#endif
