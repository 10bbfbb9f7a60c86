/*
 * lock.h - named locks of a sharing set: acquire, release, and what becomes of them when their
 * holder dies [0123, 0177, 0272].
 *
 * Who locks is a locker: one context of an instance, a thread of its own or a program that runs in
 * it.  A locker is used by one thread at a time; different lockers by any threads at any time,
 * beside the primary and the clock.  A lock is named by the number that opening it gave; numbers
 * are the instance's own, the same for all its lockers, and never used again.
 */
#ifndef APMP_SHM_LOCK_H
#define APMP_SHM_LOCK_H

#include <stdatomic.h>

#include "shm/layout_lock.h"
#include "shm/tree.h"

struct apmp_member;
struct apmp_db;

#define APMP_LOCKER_HELD 8u /* the most that one locker holds at a time */

/* One lock that this instance has open.  W: who holds the guard, or the primary with all lockers
 * kept out. */
struct apmp_lock_open {
	_Atomic uint32_t number; /* what the openers got; 0: not open */
	_Atomic uint32_t slot;	 /* in the segment */
	_Atomic uint32_t rank;
	uint32_t uses;			       /* opened so often */
	uint32_t last_number;		       /* of this entry, so that none is used again */
	_Alignas(8) char name[APMP_NAME_SIZE]; /* copied in words */
};

/* A lock that this instance knows to be BROKEN, or nothing of. */
struct apmp_lock_broken {
	uint64_t by; /* its broken_by; 0: it is not BROKEN */
	uint64_t rank;
	_Alignas(8) char name[APMP_NAME_SIZE];
};

struct apmp_locker {
	_Alignas(APMP_CACHE_LINE) _Atomic uint32_t inside; /* W: it, primary; uses the segment */
	_Atomic uint32_t taken; /* W: by compare-and-swap; 1: a context's */
	struct apmp_member *m;
	uint64_t word;			 /* what it writes in locks */
	_Atomic uint32_t waits_on;	 /* W: it.  R: primary; slot + 1, 0: does not wait */
	uint32_t held_count;		 /* W: it, when inside; and below */
	uint32_t held[APMP_LOCKER_HELD]; /* numbers of locks, in the order of their ranks */
	uint32_t lost;			 /* W: primary, with all kept out; bit for each in held */
	uint32_t broken;		 /* bit for each in held: was BROKEN, not declared good */
	uint32_t refused;		 /* W: it; tries in vain */
	uint32_t in_the_way; /* W: it; number of the lock that the last -EDEADLK was for */
	uint64_t watched;    /* W: it; APMP_LOCK_WAITERS since it began to watch what it wants */
};

/* The private part of service "lock" in one instance, in memory of the caller's. */
struct apmp_locks {
	/* lock_gate.c.  W: primary. */
	_Atomic(struct apmp_db_locks *) table; /* the segment, while locks are granted */
	struct apmp_db_locks *segment;	       /* the segment, while it is mapped */
	uint64_t incarnation;		       /* of the set that the segment belongs to */
	_Atomic uint32_t state;
	_Atomic uint32_t gate;	    /* rises when state has changed; who is kept out waits on it */
	_Atomic uint32_t guard;	    /* protects open[] between lockers */
	_Atomic uint32_t odd_count; /* times the segment made no sense */
	struct apmp_lock_open open[APMP_LOCK_COUNT];
	/* lock_memory.c.  W: who holds the guard, or the primary with all lockers kept out. */
	struct apmp_lock_broken broken[APMP_LOCK_COUNT]; /* by slot */
	_Atomic uint64_t broken_changes; /* W: primary; of the table when read.  R: clock */
	struct apmp_locker locker[APMP_LOCKER_COUNT];
};

/* Gives an instance its lockers, before it enters.  Without it the instance takes no named locks
 * itself, and recovers those of others nevertheless. */
void apmp_locks_init(struct apmp_member *m, struct apmp_locks *locks);

/* A locker for one context.  -ENFILE: all APMP_LOCKER_COUNT are in use; -ENOSYS: apmp_locks_init
 * was not called. */
APMP_CHECK int apmp_locker_init(struct apmp_member *m, struct apmp_locker **ret_locker);
/* Its context has ended, in an instance that lives: what it still holds is broken, then it is given
 * back.  To be called by the instance when nobody uses it any more [0272]. */
void apmp_locker_died(struct apmp_locker *l);

/* Opens the lock of this name, or makes it; opened twice it must be closed twice.  Rank is from 1;
 * who holds a lock may take only those of higher rank [0177].
 * -EINVAL no name, too long, or rank 0; -EEXIST others use the name with another rank; -ENOSPC all
 * APMP_LOCK_COUNT are open; -ENOTCONN the instance is no member; -EOWNERDEAD it was judged dead. */
APMP_CHECK int apmp_lock_open(struct apmp_locker *l, const char *name, uint32_t rank,
			      uint32_t *ret_lock);
/* The same, for who must wait for nobody.  -EAGAIN somebody opens one just now, or the set is being
 * re-formed. */
APMP_CHECK int apmp_lock_try_open(struct apmp_locker *l, const char *name, uint32_t rank,
				  uint32_t *ret_lock);
/* -EBUSY this locker, or the last that has it open here another one, holds it; -ESTALE it is not
 * open. */
APMP_CHECK int apmp_lock_close(struct apmp_locker *l, uint32_t lock);

/* Takes a lock; waits for it until the deadline (ns of env->now; 0: tries; APMP_NEVER), also while
 * the set is being re-formed.
 * 0; 1 BROKEN: a holder was lost, what the lock protects may be half done: so for every holder
 * until apmp_lock_good.
 * -ETIMEDOUT; -EAGAIN, of a try: nothing is granted to anybody here just now, held or not; -EDEADLK
 * it holds one of the same or higher rank, l->in_the_way [0177]; -EALREADY it holds this one;
 * -EMFILE it holds APMP_LOCKER_HELD; -ESTALE it is not open (or no more: the instance has left);
 * -ENOTCONN the instance is no member; -EOWNERDEAD this instance was judged dead: it must touch
 * nothing shared and end. */
APMP_CHECK int apmp_lock_acquire(struct apmp_locker *l, uint32_t lock, uint64_t deadline_ns);
/* For who waits for several locks in one thread: after a try that said -ETIMEDOUT, what to wait on
 * before the next one.  The word is for a futex alone: its memory may be gone at any time.  Whoever
 * waits tries again at each tick all the same.
 * -EAGAIN: it may be free now, or can't be looked at just now. */
APMP_CHECK int apmp_lock_watch(struct apmp_locker *l, uint32_t lock,
			       const _Atomic uint32_t **ret_word, uint32_t *ret_seen);
/* Lets go; BROKEN stays.  -EPERM this locker does not hold it; -ESTALE it was lost meanwhile (the
 * set was re-formed and another claimed it too, or somebody wrote over it): it is BROKEN, and not
 * held any more. */
APMP_CHECK int apmp_lock_release(struct apmp_locker *l, uint32_t lock);
/* The holder declares what it protects good again.  -EPERM, -ESTALE as release. */
APMP_CHECK int apmp_lock_good(struct apmp_locker *l, uint32_t lock);

#endif
