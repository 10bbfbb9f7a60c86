/*
 * lock.c - named locks: acquire and release [0177, 0272].
 *
 * WHAT      An acquire that nobody contends is one compare-and-swap of the word and stores to its
 *           line; a release the same.  Where env has no fence_all each is one exchange more.
 * STATES    Of a word: lock_word.c.  Of a lock: good, or BROKEN while broken_by is not 0; so for
 *           every holder until one declares it good.
 * LOCKS     Ranks rise: who holds a lock takes only those of higher rank.  Database lock and table
 *           lock are taken in this order, and no named lock by who holds one of them.
 * ORDERING  See lock_word.c; inside: lock_gate.c.  An entry of open[] is closed by clearing its
 *           number, then looking at the word; a locker takes the word, then looks at the number
 *           again (sequentially consistent): one of them sees the other.
 * CRASHES   named_acquired, named_release, named_good: a lock held by the dead.  named_wait: a
 *           WAITERS bit, which costs one wake.  Of a program: its instance calls apmp_locker_died.
 * LIMITS    A number repeats after 2^24 openings of one entry.
 * NOT HERE  Names (lock_table.c); death, leaving and re-forming (service_lock.c).
 */
#include "shm/lock.h"

#include <errno.h>

#include "shm/assert.h"
#include "shm/lock_internal.h"

/* Ticks of waiting, and tries in vain, after which the holder is asked whether it knows that it
 * holds the lock. */
#define ASK_AFTER_TICKS 8u
#define ASK_AFTER_TRIES 64u

static struct apmp_lock_open *entry_of(struct apmp_locker *l, uint32_t lock)
{
	return &l->m->locks->open[lock % APMP_LOCK_COUNT];
}

/* Where the lock is in held[]; held_count when it is not there. */
static uint32_t find_held(const struct apmp_locker *l, uint32_t lock)
{
	uint32_t i = 0;

	while (i < l->held_count && l->held[i] != lock)
		i++;
	return i;
}

/* Whether the locker may take one of this rank beside what it holds. */
static int check_rank(struct apmp_locker *l, uint32_t lock, uint32_t rank)
{
	uint32_t last = l->held[l->held_count - 1];

	if (find_held(l, lock) < l->held_count)
		return -EALREADY;
	if (rank <= apmp_load_relaxed(&entry_of(l, last)->rank)) {
		l->in_the_way = last;
		return -EDEADLK;
	}
	return l->held_count < APMP_LOCKER_HELD ? 0 : -EMFILE;
}

/* The word is ours: 0, or 1 BROKEN; -EAGAIN, -ESTALE: not any more. */
static int hold(struct apmp_locker *l, struct apmp_db_lock *shared, uint32_t lock)
{
	uint32_t i = l->held_count;
	int broken;

	if (apmp__lock_superseded(l->m)) {
		(void)apmp__lock_word_release(l->m, &shared->word, l->word);
		return -EAGAIN;
	}
	if (atomic_load(&entry_of(l, lock)->number) != lock) { /* closed by another locker */
		(void)apmp__lock_word_release(l->m, &shared->word, l->word);
		return -ESTALE;
	}
	broken = apmp_load_relaxed(&shared->broken_by) != 0;
	l->held[i] = lock;
	l->broken = (l->broken & ~(1u << i)) | (uint32_t)broken << i;
	l->held_count = i + 1;
	apmp_store_relaxed(&shared->acquired_count, apmp_load_relaxed(&shared->acquired_count) + 1);
	APMP_POINT_ARMED(l->m->env, named_acquired, lock % APMP_LOCK_COUNT);
	return broken;
}

/* One try, with ours to be written.  -EBUSY: *ret_seen stands there; -EAGAIN: nothing is granted
 * until the primary has come over. */
static int try(struct apmp_locker *l, struct apmp_db_locks *table, uint32_t lock, uint64_t ours,
	       uint64_t *ret_seen)
{
	struct apmp_lock_open *open = entry_of(l, lock);
	struct apmp_db_lock *shared;
	uint64_t seen = 0;
	uint32_t slot;
	int err;

	if (lock == 0 || apmp_load_acquire(&open->number) != lock)
		return -ESTALE;
	if (l->held_count) {
		err = check_rank(l, lock, apmp_load_relaxed(&open->rank));
		if (err)
			return err;
	}
	if (apmp__bugchecked(l->m, apmp__db(l->m)))
		return -EOWNERDEAD;
	slot = apmp_load_relaxed(&open->slot); /* after its number: open_entry */
	shared = &table->lock[slot];
	/* Sequentially consistent: see ORDERING. */
	if (!atomic_compare_exchange_strong(&shared->word, &seen, ours)) {
		err = apmp__lock_word_take(l->m, &shared->word, ours, ret_seen);
		if (err < 0)
			return err;
		if (err > 0)
			apmp__lock_mark_broken(l->m, table, slot, *ret_seen);
	}
	return hold(l, shared, lock);
}

/* A living holder may not know of it: the word is somebody's stray store.  Its primary looks. */
static void ask_holder(struct apmp_member *m, uint64_t word)
{
	struct apmp_db *db = apmp__db(m);
	uint32_t id = apmp_identity_id(apmp_lock_identity(word));

	if (id != APMP_NO_PARTITION)
		apmp_fetch_or(&db->node[id].reasons, APMP_REASON_LOCKS);
}

/* Looks at the word for a while: a holder that runs on another CPU is soon done. */
static bool spin(const struct apmp_locker *l, const _Atomic uint64_t *word)
{
	for (uint32_t i = l->m->env->spin; i > 0; i--) {
		if (apmp_load_relaxed(word) == 0)
			return true;
		apmp_relax();
	}
	return false;
}

/* Waits for the nth time for a lock with this in its word.  True: it slept. */
static bool wait_for(struct apmp_locker *l, struct apmp_db_locks *table, uint32_t lock,
		     uint64_t seen, uint64_t deadline_ns, uint32_t nth)
{
	uint32_t slot = apmp_load_relaxed(&entry_of(l, lock)->slot);
	_Atomic uint64_t *word = &table->lock[slot].word;

	if (nth == 1)
		apmp_fetch_add(&table->lock[slot].contended_count, 1);
	if (spin(l, word))
		return false;
	if (nth % ASK_AFTER_TICKS == 0)
		ask_holder(l->m, seen);
	apmp__lock_word_wait(l->m, l, slot + 1, word, seen, deadline_ns);
	return true;
}

int apmp_lock_acquire(struct apmp_locker *l, uint32_t lock, uint64_t deadline_ns)
{
	uint64_t ours = l->word | l->watched, seen = 0;
	uint32_t waits = 0;

	for (;;) {
		struct apmp_db_locks *table;
		int got = apmp__locker_enter(l, true, deadline_ns, &table);
		bool again;

		if (got)
			return deadline_ns ? got : -EAGAIN;
		got = table ? try(l, table, lock, ours, &seen) : -ENOTCONN;
		again = (got == -EBUSY || got == -EAGAIN) && deadline_ns &&
			l->m->env->now(l->m->env) < deadline_ns;
		/* Others may sleep still: release must wake them. */
		if (got == -EBUSY && again && wait_for(l, table, lock, seen, deadline_ns, ++waits))
			ours |= APMP_LOCK_WAITERS;
		if (got == -EBUSY && !again && ++l->refused % ASK_AFTER_TRIES == 0)
			ask_holder(l->m, seen);
		apmp__locker_leave(l);
		if (again && got == -EAGAIN)
			apmp__locker_wait(l, deadline_ns);
		if (again)
			continue;
		if (got == -EBUSY || got == -EAGAIN)
			return got == -EAGAIN && !deadline_ns ? -EAGAIN : -ETIMEDOUT;
		l->watched = 0;
		return got;
	}
}

/* Marks the word as waited for; false: nobody has it now. */
static bool mark_waiters(_Atomic uint64_t *word, uint64_t *ret_seen)
{
	uint64_t seen = apmp_load_relaxed(word);

	while (seen && !(seen & APMP_LOCK_WAITERS))
		if (apmp_cas(word, &seen, seen | APMP_LOCK_WAITERS))
			seen |= APMP_LOCK_WAITERS;
	*ret_seen = seen;
	return seen;
}

int apmp_lock_watch(struct apmp_locker *l, uint32_t lock, const _Atomic uint32_t **ret_word,
		    uint32_t *ret_seen)
{
	struct apmp_lock_open *open = entry_of(l, lock);
	struct apmp_db_locks *table;
	struct apmp_db_lock *shared;
	uint64_t seen;
	int err = -EAGAIN;

	if (apmp__locker_enter(l, true, 0, &table))
		return -EAGAIN;
	if (table && apmp_load_acquire(&open->number) == lock) {
		shared = &table->lock[apmp_load_relaxed(&open->slot)];
		if (mark_waiters(&shared->word, &seen)) {
			APMP_POINT_ARMED(l->m->env, named_wait, seen & ~APMP_LOCK_WAITERS);
			if (!l->watched)
				apmp_fetch_add(&shared->contended_count, 1);
			l->watched = APMP_LOCK_WAITERS;
			*ret_word = apmp__lock_futex(&shared->word);
			*ret_seen = (uint32_t)seen;
			err = 0;
		}
	}
	apmp__locker_leave(l);
	return err;
}

/* Drops bit i, those above move down. */
static uint32_t without_bit(uint32_t bits, uint32_t i)
{
	uint32_t below = (1u << i) - 1;

	return (bits & below) | (bits >> 1 & ~below);
}

/* Takes the lock out of held[]; true when it had been lost. */
static bool forget_held(struct apmp_locker *l, uint32_t i)
{
	bool lost = l->lost >> i & 1;

	l->held_count--;
	for (uint32_t j = i; j < l->held_count; j++)
		l->held[j] = l->held[j + 1];
	l->lost = without_bit(l->lost, i);
	l->broken = without_bit(l->broken, i);
	return lost;
}

/* Enters, to do something with a lock that is held: held[*ret_i].  -EPERM: it is not. */
static int enter_held(struct apmp_locker *l, uint32_t lock, struct apmp_db_locks **ret_table,
		      uint32_t *ret_i)
{
	int err = apmp__locker_enter(l, false, APMP_NEVER, ret_table);

	*ret_i = find_held(l, lock);
	return !err && *ret_i == l->held_count ? -EPERM : err;
}

int apmp_lock_release(struct apmp_locker *l, uint32_t lock)
{
	struct apmp_db_locks *table;
	struct apmp_db_lock *shared;
	uint32_t i;
	int err = enter_held(l, lock, &table, &i);

	if (!err && forget_held(l, i))
		err = -ESTALE;
	if (!err && table) {
		shared = &table->lock[apmp_load_relaxed(&entry_of(l, lock)->slot)];
		APMP_POINT_ARMED(l->m->env, named_release, lock % APMP_LOCK_COUNT);
		if (!apmp__lock_word_release(l->m, &shared->word, l->word) &&
		    !apmp__lock_superseded(l->m)) {
			apmp_fetch_add(&l->m->locks->odd_count, 1);
			err = -ESTALE;
		}
	}
	apmp__locker_leave(l);
	return err;
}

int apmp_lock_good(struct apmp_locker *l, uint32_t lock)
{
	struct apmp_db_locks *table;
	struct apmp_db_lock *shared;
	uint32_t i;
	int err = enter_held(l, lock, &table, &i);

	if (!err && l->lost >> i & 1)
		err = -ESTALE;
	if (!err) {
		l->broken &= ~(1u << i);
		if (table) {
			shared = &table->lock[apmp_load_relaxed(&entry_of(l, lock)->slot)];
			/* Sequentially consistent: this store, then the look whether the slot is
			 * ours still.  If another lock's, which is being made anew in place, it
			 * stays BROKEN: nothing is granted there before we have come over. */
			atomic_store(&shared->broken_by, 0);
			if (apmp__lock_superseded(l->m))
				apmp_store_relaxed(&shared->broken_by, APMP_LOCK_BY_REFORMING);
			apmp__lock_broken_changed(table);
			APMP_POINT_ARMED(l->m->env, named_good, lock % APMP_LOCK_COUNT);
		}
	}
	apmp__locker_leave(l);
	return err;
}

void apmp_locks_init(struct apmp_member *m, struct apmp_locks *locks)
{
	*locks = (struct apmp_locks){.state = LOCKS_AWAY};
	m->locks = locks;
}

int apmp_locker_init(struct apmp_member *m, struct apmp_locker **ret_locker)
{
	if (!m->locks)
		return -ENOSYS;
	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++) {
		struct apmp_locker *l = &m->locks->locker[i];
		uint32_t free = 0;

		if (apmp_load_relaxed(&l->taken) || !apmp_cas(&l->taken, &free, 1))
			continue;
		l->m = m;
		l->word = apmp_lock_word(m->env->self, i + 1);
		l->watched = 0;
		*ret_locker = l;
		return 0;
	}
	return -ENFILE;
}

void apmp_locker_died(struct apmp_locker *l)
{
	struct apmp_db_locks *table;
	int err = apmp__locker_enter(l, false, APMP_NEVER, &table);

	apmp_assert(!err);
	while (l->held_count) {
		uint32_t i = l->held_count - 1;
		uint32_t slot = apmp_load_relaxed(&entry_of(l, l->held[i])->slot);

		if (!forget_held(l, i) && table)
			apmp__lock_break(l->m, table, slot, l->word);
	}
	apmp__locker_leave(l);
	apmp_store_release(&l->taken, 0); /* acquired by the next to take it */
}
