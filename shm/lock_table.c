/*
 * lock_table.c - the names of locks: opening, making and closing them.
 *
 * WHAT      A slot is a name while its openers are not 0.  What is written into a slot before its
 *           first bit is nobody's: one word, openers, is the truth, and nothing has to be undone.
 * LOCKS     The table lock: finding and making slots, between instances.  The guard: open[] of one
 *           instance, between its lockers; taken inside the table lock, never the other way.
 * CRASHES   named_table: the table lock is held by the dead until somebody comes and takes it.
 *           named_slot: a slot that is free.  named_open: a dead opener, whose bit recovery clears.
 * LIMITS    A lock that was BROKEN when the last closed it stays so until its slot is needed.
 *           A word that a primary has waited for STRAY_STOPS times `stop`, of one who beats, is
 *           taken for a stray store, and the set is re-formed: so a locker that was kept from
 *           running for so long with the table lock costs time.
 */
#include <errno.h>
#include <string.h>

#include "shm/lock_internal.h"

/* The table lock is held for microseconds, by who runs at an ordinary priority. */
#define STRAY_STOPS	  16u
#define ASK_PRIMARY_TICKS 64u

static uint64_t table_word(struct apmp_member *m, const struct apmp_locker *l)
{
	return l ? l->word : m->env->self;
}

/* Our primary looks at its next tick whether the segment makes sense. */
static void ask_primary(struct apmp_member *m)
{
	apmp_fetch_or(&apmp__db(m)->header.validate, UINT64_C(1) << m->id);
}

/* Who must not wait comes again. */
static int not_now(struct apmp_member *m, struct apmp_locker *l)
{
	if (++l->refused % ASK_PRIMARY_TICKS == 0)
		ask_primary(m);
	return apmp__bugchecked(m, apmp__db(m)) ? -EOWNERDEAD : -EAGAIN;
}

/* Whether one word has stood for so many of our waits, about a tick each, that nobody can mean it.
 * A debugger may hold its holder for any time. */
static bool is_stray(const struct apmp_member *m, uint64_t seen, uint32_t nth)
{
	return (uint64_t)nth * m->timing.tick_ns >= STRAY_STOPS * m->timing.stop_ns &&
	       !apmp_tree_debugged(m->tree, apmp_lock_identity(seen));
}

/* Whether to go on waiting, for the nth time, for who holds the table lock: 0, or what the caller
 * says then. */
static int wait_table(struct apmp_member *m, struct apmp_locker *l, struct apmp_db_locks *table,
		      uint64_t seen, uint32_t nth)
{
	if (apmp__bugchecked(m, apmp__db(m)))
		return -EOWNERDEAD;
	if (l) {
		if (nth && nth % ASK_PRIMARY_TICKS == 0)
			ask_primary(m);
		apmp__lock_word_wait(m, l, WAITS_ON_TABLE, &table->table, seen, APMP_NEVER);
		return atomic_load(&m->locks->table) ? 0 : -EAGAIN;
	}
	if (apmp__db_moved(m))
		return -EREMCHG;
	if (is_stray(m, seen, nth))
		return -EBADMSG;
	/* Who joins holds the database lock, and has no little brother: its clock watches him. */
	apmp_store_relaxed(&m->waits_for, apmp_lock_identity(seen));
	apmp__lock_word_wait(m, l, WAITS_ON_TABLE, &table->table, seen, APMP_NEVER);
	apmp__fence_dead(m, apmp__db(m));
	return 0;
}

int apmp__lock_table_take(struct apmp_member *m, struct apmp_locker *l, struct apmp_db_locks *table,
			  bool wait)
{
	uint64_t ours = table_word(m, l), seen, before = 0;
	uint32_t waits = 0;
	int err = 0;

	while (!err && apmp__lock_word_take(m, &table->table, ours, &seen) == -EBUSY) {
		uint64_t holder = seen & ~APMP_LOCK_WAITERS;

		if (!wait)
			return not_now(m, l);
		waits = holder == before ? waits + 1 : 0;
		before = holder;
		err = wait_table(m, l, table, seen, waits);
		ours |= APMP_LOCK_WAITERS; /* others may wait still */
	}
	if (!l)
		apmp_store_relaxed(&m->waits_for, 0);
	if (!err)
		APMP_POINT(m->env, named_table);
	return err;
}

void apmp__lock_table_release(struct apmp_member *m, struct apmp_locker *l,
			      struct apmp_db_locks *table)
{
	if (!apmp__lock_word_release(m, &table->table, table_word(m, l)) && m->locks)
		apmp_fetch_add(&m->locks->odd_count, 1);
}

void apmp__lock_guard_take(struct apmp_member *m)
{
	_Atomic uint32_t *guard = &m->locks->guard;
	uint32_t free = 0;

	while (!apmp_cas(guard, &free, 1)) {
		(void)m->env->wait(m->env, guard, 1, m->env->now(m->env) + m->timing.tick_ns);
		free = 0;
	}
}

void apmp__lock_guard_release(struct apmp_member *m)
{
	apmp_store_release(&m->locks->guard, 0);
	m->env->wake(m->env, &m->locks->guard, 1);
}

static bool has_name(const struct apmp_db_lock *lock, const char *name)
{
	_Alignas(uint64_t) char copy[APMP_NAME_SIZE];

	apmp_copy_out(copy, lock->name, sizeof(copy));
	return strncmp(copy, name, sizeof(copy)) == 0;
}

/* The slot with this name, or the best one for it: free, and if can be no memory of a broken lock.
 * -ENOSPC. */
static int find_slot(struct apmp_db_locks *table, const char *name)
{
	int forgotten = -ENOSPC, empty = -ENOSPC;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_db_lock *lock = &table->lock[i];
		bool used = apmp_load_acquire(&lock->openers) != 0;
		bool broken = apmp_load_relaxed(&lock->broken_by) != 0;

		if ((used || broken) && has_name(lock, name))
			return (int)i;
		if (!used && broken && forgotten < 0)
			forgotten = (int)i;
		if (!used && !broken && empty < 0)
			empty = (int)i;
	}
	return empty >= 0 ? empty : forgotten;
}

int apmp__lock_slot_open(struct apmp_member *m, struct apmp_db_locks *table,
			 const struct apmp_lock_open *open, uint64_t broken_by)
{
	uint64_t bit = UINT64_C(1) << m->id;
	int slot = find_slot(table, open->name);
	uint32_t rank = apmp_load_relaxed(&open->rank);
	struct apmp_db_lock *lock;

	if (slot < 0)
		return slot;
	lock = &table->lock[slot];
	if (apmp_load_acquire(&lock->openers)) {
		if (apmp_load_relaxed(&lock->rank) != rank)
			return -EEXIST;
	} else {
		bool known = has_name(lock, open->name) && apmp_load_relaxed(&lock->broken_by);
		bool changes = !known && (broken_by || apmp_load_relaxed(&lock->broken_by));

		if (changes)
			apmp_store_relaxed(&lock->broken_by, broken_by);
		apmp_copy_in(lock->name, open->name, sizeof(lock->name));
		apmp_store_relaxed(&lock->rank, rank);
		apmp_store_relaxed(&lock->word, 0);
		apmp_store_relaxed(&lock->acquired_count, 0);
		apmp_store_relaxed(&lock->contended_count, 0);
		apmp_store_relaxed(&lock->broken_count, 0);
		if (changes)
			apmp__lock_broken_changed(table);
		APMP_POINT_ARG(m->env, named_slot, slot);
	}
	/* Acquired by whoever finds the name. */
	apmp_fetch_or(&lock->openers, bit);
	APMP_POINT_ARG(m->env, named_open, slot);
	return slot;
}

/* The entry of this name, or a free one; NULL: there is none. */
static struct apmp_lock_open *find_entry(struct apmp_locks *locks, const char *name)
{
	struct apmp_lock_open *empty = NULL;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_lock_open *open = &locks->open[i];

		if (!apmp_load_relaxed(&open->number)) {
			if (!empty)
				empty = open;
		} else if (strncmp(open->name, name, sizeof(open->name)) == 0) {
			return open;
		}
	}
	return empty;
}

/* With table lock and guard held. */
static int open_entry(struct apmp_member *m, struct apmp_db_locks *table, const char *name,
		      uint32_t rank, uint32_t *ret_lock)
{
	struct apmp_lock_open *open = find_entry(m->locks, name);
	int slot;

	if (!open)
		return -ENOSPC;
	if (!apmp_load_relaxed(&open->number)) {
		memset(open->name, 0, sizeof(open->name));
		memcpy(open->name, name, strlen(name));
		apmp_store_relaxed(&open->rank, rank);
		slot = apmp__lock_slot_open(m, table, open, 0);
		if (slot < 0)
			return slot;
		apmp_store_relaxed(&open->slot, (uint32_t)slot);
		open->uses = 0;
		if (!open->last_number)
			open->last_number = (uint32_t)(open - m->locks->open);
		open->last_number += APMP_LOCK_COUNT;
		if (!open->last_number) /* they have come round; 0 is no lock's */
			open->last_number = APMP_LOCK_COUNT;
		/* Acquired by who takes the lock. */
		apmp_store_release(&open->number, open->last_number);
	} else if (apmp_load_relaxed(&open->rank) != rank) {
		return -EEXIST;
	}
	open->uses++;
	*ret_lock = open->last_number;
	return 0;
}

/* -EAGAIN: the primary goes over to another set; without wait also: somebody has the table lock,
 * or lockers are kept out. */
static int try_open(struct apmp_locker *l, const char *name, uint32_t rank, bool wait,
		    uint32_t *ret_lock)
{
	struct apmp_member *m = l->m;
	struct apmp_db_locks *table;
	int err = apmp__locker_enter(l, true, wait ? APMP_NEVER : 0, &table);

	if (err)
		return -EAGAIN;
	err = table ? apmp__lock_table_take(m, l, table, wait) : -ENOTCONN;
	if (!err) {
		apmp__lock_guard_take(m);
		err =
		    apmp__lock_superseded(m) ? -EAGAIN : open_entry(m, table, name, rank, ret_lock);
		apmp__lock_guard_release(m);
		if (err == -ENOSPC) /* is it full, or garbage? */
			ask_primary(m);
		apmp__lock_table_release(m, l, table);
	}
	apmp__locker_leave(l);
	return err;
}

static bool is_name(const char *name)
{
	return name && name[0] && strnlen(name, APMP_NAME_SIZE) < APMP_NAME_SIZE;
}

int apmp_lock_open(struct apmp_locker *l, const char *name, uint32_t rank, uint32_t *ret_lock)
{
	int err;

	if (!is_name(name) || rank == 0)
		return -EINVAL;
	while ((err = try_open(l, name, rank, true, ret_lock)) == -EAGAIN)
		apmp__locker_wait(l, APMP_NEVER);
	return err;
}

int apmp_lock_try_open(struct apmp_locker *l, const char *name, uint32_t rank, uint32_t *ret_lock)
{
	return is_name(name) && rank ? try_open(l, name, rank, false, ret_lock) : -EINVAL;
}

/* What we have open is where we know it to be. */
int apmp__lock_entries_check(struct apmp_member *m, struct apmp_db_locks *table)
{
	int err = 0;

	apmp__lock_guard_take(m);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT && !err; i++) {
		struct apmp_lock_open *open = &m->locks->open[i];
		struct apmp_db_lock *lock = &table->lock[apmp_load_relaxed(&open->slot)];

		if (apmp_load_relaxed(&open->number) &&
		    (!has_name(lock, open->name) ||
		     apmp_load_relaxed(&lock->rank) != apmp_load_relaxed(&open->rank) ||
		     !(apmp_load_relaxed(&lock->openers) >> m->id & 1)))
			err = -EBADMSG;
	}
	apmp__lock_guard_release(m);
	return err;
}

/* The last use of it here.  -EBUSY: a locker of ours holds it.  Whom our primary breaks it for has
 * his bit in openers until that is done, and the slot is not free before. */
static int close_entry(struct apmp_member *m, struct apmp_db_locks *table,
		       struct apmp_lock_open *open)
{
	struct apmp_db_lock *lock;
	uint64_t bit = UINT64_C(1) << m->id, word, others;
	uint32_t number = open->last_number;

	/* Sequentially consistent: see ORDERING in lock.c. */
	atomic_store(&open->number, 0);
	if (!table)
		return 0;
	lock = &table->lock[apmp_load_relaxed(&open->slot)];
	others = atomic_load(&lock->openers) & ~bit; /* before the word: it is freed first */
	word = atomic_load(&lock->word);
	if (apmp_lock_identity(word) == m->env->self && (apmp_lock_locker(word) || !others)) {
		apmp_store_release(&open->number, number);
		return -EBUSY;
	}
	apmp_fetch_and(&lock->openers, ~bit);
	return 0;
}

int apmp_lock_close(struct apmp_locker *l, uint32_t lock)
{
	struct apmp_lock_open *open = &l->m->locks->open[lock % APMP_LOCK_COUNT];
	struct apmp_db_locks *table;
	int err = apmp__locker_enter(l, false, APMP_NEVER, &table);

	for (uint32_t i = 0; i < l->held_count && !err; i++)
		if (l->held[i] == lock)
			err = -EBUSY;
	if (!err) {
		apmp__lock_guard_take(l->m);
		if (apmp_load_relaxed(&open->number) != lock || lock == 0)
			err = -ESTALE;
		else if (open->uses == 1)
			err = close_entry(l->m, table, open);
		if (!err)
			open->uses--;
		apmp__lock_guard_release(l->m);
	}
	apmp__locker_leave(l);
	return err;
}
