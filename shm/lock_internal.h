/*
 * lock_internal.h - what the lock*.c files and service "lock" share among themselves.
 */
#ifndef APMP_SHM_LOCK_INTERNAL_H
#define APMP_SHM_LOCK_INTERNAL_H

#include "shm/lock.h"
#include "shm/member_internal.h"

/* Whether lockers may use the segment: apmp_locks.state.  W: primary. */
enum {
	LOCKS_AWAY = 0, /* no member: nothing is mapped, nothing is held */
	LOCKS_MOVING,	/* nothing is mapped, what is held is known here; more is waited for */
	LOCKS_CLAIMING, /* what is held can be let go; nothing is granted [header.expected] */
	LOCKS_OPEN,
	LOCKS_SHUT /* the primary looks at what lockers hold: all wait, for a moment */
};

enum { LOCKER_OUT = 0, LOCKER_IN = 1 };

/* apmp_locker.waits_on besides slots */
#define WAITS_ON_TABLE (APMP_LOCK_COUNT + 1u)

/* lock_gate.c.  Begins to use the segment: 0 and the segment, NULL when state is AWAY, or MOVING
 * and it does not want to be granted anything.  -ETIMEDOUT: kept out till the deadline. */
APMP_CHECK int apmp__locker_enter_slowly(struct apmp_locker *l, bool grant, uint64_t deadline_ns,
					 struct apmp_db_locks **ret_table);
/* All lockers are out and stay out of the segment while the state is `state`: MOVING or SHUT. */
void apmp__lockers_stop(struct apmp_member *m, uint32_t state);
/* When they are: what they held and had open is so no more, and they go on without a set. */
void apmp__lockers_end(struct apmp_member *m);
/* Waits until the gate has changed, the deadline or the next tick. */
void apmp__locker_wait(struct apmp_locker *l, uint64_t deadline_ns);
/* The mapping is about to change: all are out until the service is joined again. */
void apmp__lockers_out(struct apmp_member *m);
/* They go on.  apmp_locks.segment is changed before, and only while all are out: who claims reads
 * it until this opens the gate. */
void apmp__lockers_go(struct apmp_member *m, uint32_t state);

static inline int apmp__locker_enter(struct apmp_locker *l, bool grant, uint64_t deadline_ns,
				     struct apmp_db_locks **ret_table)
{
	/* A full fence stands between this store and load, as between the primary's store of table
	 * and load of inside: either we see that we are kept out, or it sees that we are in.  It is
	 * half the cost of a lock, so where the primary can have it made for us, it does. */
	if (l->m->env->fence_all) {
		apmp_store_relaxed(&l->inside, LOCKER_IN);
		atomic_signal_fence(memory_order_seq_cst);
	} else {
		atomic_store(&l->inside, LOCKER_IN);
	}
	*ret_table = atomic_load(&l->m->locks->table);
	return *ret_table ? 0 : apmp__locker_enter_slowly(l, grant, deadline_ns, ret_table);
}

static inline void apmp__locker_leave(struct apmp_locker *l)
{
	apmp_store_release(&l->inside, LOCKER_OUT); /* acquired by the primary that waits for it */
	if (!apmp_load_relaxed(&l->m->locks->table))
		l->m->env->wake(l->m->env, &l->inside, 1);
}

/* Whether the segment is being made anew for another set than that which we are in: nothing is
 * granted here, and what is held is known to its holders alone. */
static inline bool apmp__lock_superseded(struct apmp_member *m)
{
	const struct apmp_db_header *h = &apmp__db(m)->header;

	return apmp_load_relaxed(&h->state) == APMP_DB_INITIALIZING ||
	       apmp_load_relaxed(&h->incarnation) != m->locks->incarnation;
}

/* lock_word.c.  One try to make the word ours: 0; 1 it was a dead holder's or made no sense;
 * -EBUSY somebody alive has it.  *ret_seen is what stood there. */
APMP_CHECK int apmp__lock_word_take(struct apmp_member *m, _Atomic uint64_t *word, uint64_t mine,
				    uint64_t *ret_seen);
/* Waits until the word is another than the one seen, the deadline or the next tick; a locker (NULL:
 * the primary) does so in waits_on, to be woken when it has to leave. */
void apmp__lock_word_wait(struct apmp_member *m, struct apmp_locker *l, uint32_t waits_on,
			  _Atomic uint64_t *word, uint64_t seen, uint64_t deadline_ns);
/* The half of a word that is waited on. */
const _Atomic uint32_t *apmp__lock_futex(const _Atomic uint64_t *word);
/* False: it was not ours, and is left alone. */
bool apmp__lock_word_release(struct apmp_member *m, _Atomic uint64_t *word, uint64_t mine);
/* Frees a lock that `seen` holds no more, as BROKEN, and wakes all who wait. */
void apmp__lock_break(struct apmp_member *m, struct apmp_db_locks *table, uint32_t slot,
		      uint64_t seen);
/* What the new holder of a lock of somebody lost does first. */
void apmp__lock_mark_broken(struct apmp_member *m, struct apmp_db_locks *table, uint32_t slot,
			    uint64_t lost);

/* lock_table.c.  The table lock, for a locker or (NULL) the primary.  -EAGAIN the locker has to
 * leave first, or would have to wait; -EREMCHG the set is elsewhere; -EBADMSG (the primary) the
 * word is a stray store; -EOWNERDEAD. */
APMP_CHECK int apmp__lock_table_take(struct apmp_member *m, struct apmp_locker *l,
				     struct apmp_db_locks *table, bool wait);
void apmp__lock_table_release(struct apmp_member *m, struct apmp_locker *l,
			      struct apmp_db_locks *table);
/* With the table lock held: the slot of the name, made when there is none, with our bit in its
 * openers.  -EEXIST it has another rank; -ENOSPC. */
APMP_CHECK int apmp__lock_slot_open(struct apmp_member *m, struct apmp_db_locks *table,
				    const struct apmp_lock_open *open, uint64_t broken_by);

/* Protects open[] and broken[] between the threads of one instance. */
void apmp__lock_guard_take(struct apmp_member *m);
void apmp__lock_guard_release(struct apmp_member *m);

/* lock_memory.c.  What became BROKEN by us, or by others (all slots, if any has changed). */
void apmp__lock_memory_add(struct apmp_member *m, const struct apmp_db_locks *table, uint32_t slot);
void apmp__lock_memory_read(struct apmp_member *m, const struct apmp_db_locks *table);
/* Enters it in a table made anew, with the table lock held; of names that are there says it
 * nothing. */
void apmp__lock_memory_enter(struct apmp_member *m, struct apmp_db_locks *table);
/* Whether there is something to read: the clock's, in its tick. */
bool apmp__lock_memory_is_old(struct apmp_member *m);
void apmp__lock_memory_clear(struct apmp_member *m);

/* Tells all that a broken_by has been written. */
static inline void apmp__lock_broken_changed(struct apmp_db_locks *table)
{
	apmp_fetch_add(&table->broken_changes, 1);
}

/* -EBADMSG: the segment does not say what this instance has open. */
APMP_CHECK int apmp__lock_entries_check(struct apmp_member *m, struct apmp_db_locks *table);

/* service_lock.c.  The primary's part, with the reasons of its node block that it has taken. */
void apmp__locks_work(struct apmp_member *m, uint64_t reasons);
/* Lockers are kept out till the primary sees that all have come. */
bool apmp__locks_claiming(struct apmp_member *m);

#endif
