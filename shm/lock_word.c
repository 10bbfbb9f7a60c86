/*
 * lock_word.c - the word of a named lock, and of the table lock: taken, waited for, let go, and
 * taken from the dead [0272].
 *
 * WHAT      As db_lock.c: whatever stands there that is not 0 and not of somebody who lives and
 *           beats here or is a member is taken over by compare-and-swap.  Who breaks a lock takes
 *           it first, so that what he then writes of it can't meet the next holder; broken_by is
 *           written by holders only.
 * STATES    0 free; identity, locker: held; identity, locker 0: being broken by that instance;
 *           each | WAITERS: release must wake.
 * ORDERING  Taking (acquire) pairs with release's swap, and with the release of `fenced` in the
 *           tree when the holder is dead: what it wrote under the lock is seen.
 * CRASHES   named_broken: the word is the breaker's, who is dead then: the next breaks it again,
 *           and the data is BROKEN by that.  named_marked: the same.  named_freed: those who wait
 *           are not woken, and look at the next tick.
 * LIMITS    A waiter looks again at each tick, so that neither a death nor a wake-up that went to
 *           somebody who died keeps it.  No queue: waiters race.
 */
#include <errno.h>

#include "shm/lock_internal.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the futex word is the first half");

const _Atomic uint32_t *apmp__lock_futex(const _Atomic uint64_t *word)
{
	return (const _Atomic uint32_t *)word;
}

int apmp__lock_word_take(struct apmp_member *m, _Atomic uint64_t *word, uint64_t mine,
			 uint64_t *ret_seen)
{
	uint64_t seen = apmp_load_acquire(word);

	for (;;) {
		uint64_t holder = seen & ~APMP_LOCK_WAITERS;

		*ret_seen = seen;
		/* Our own word, which we did not write there, is somebody's stray store. */
		if (holder && holder != (mine & ~APMP_LOCK_WAITERS) &&
		    apmp__db_may_hold(m, apmp__db(m), apmp_lock_identity(holder)))
			return -EBUSY;
		/* Sequentially consistent: see ORDERING in lock.c. */
		if (atomic_compare_exchange_strong(word, &seen, mine | (seen & APMP_LOCK_WAITERS)))
			return holder ? 1 : 0;
	}
}

void apmp__lock_word_wait(struct apmp_member *m, struct apmp_locker *l, uint32_t waits_on,
			  _Atomic uint64_t *word, uint64_t seen, uint64_t deadline_ns)
{
	struct apmp_env *env = m->env;
	uint64_t tick_ns = env->now(env) + m->timing.tick_ns;

	if (!(seen & APMP_LOCK_WAITERS) && !apmp_cas(word, &seen, seen | APMP_LOCK_WAITERS))
		return;
	APMP_POINT_ARG(env, named_wait, seen & ~APMP_LOCK_WAITERS);
	if (l)
		atomic_store(&l->waits_on, waits_on); /* before the look at table: lock_gate.c */
	if (!l || atomic_load(&m->locks->table))
		(void)env->wait(env, apmp__lock_futex(word), (uint32_t)(seen | APMP_LOCK_WAITERS),
				deadline_ns < tick_ns ? deadline_ns : tick_ns);
	if (l)
		apmp_store_release(&l->waits_on, 0);
}

bool apmp__lock_word_release(struct apmp_member *m, _Atomic uint64_t *word, uint64_t mine)
{
	uint64_t seen = mine;

	while (!apmp_cas(word, &seen, 0))
		if ((seen & ~APMP_LOCK_WAITERS) != mine)
			return false;
	if (seen & APMP_LOCK_WAITERS)
		m->env->wake(m->env, apmp__lock_futex(word), 1);
	return true;
}

void apmp__lock_mark_broken(struct apmp_member *m, struct apmp_db_locks *table, uint32_t slot,
			    uint64_t lost)
{
	struct apmp_db_lock *lock = &table->lock[slot];

	APMP_POINT_ARG(m->env, named_broken, lost & ~APMP_LOCK_WAITERS);
	apmp_store_relaxed(&lock->broken_by, lost & ~APMP_LOCK_WAITERS);
	apmp_store_relaxed(&lock->broken_count, apmp_load_relaxed(&lock->broken_count) + 1);
	apmp__lock_broken_changed(table);
	apmp__lock_memory_add(m, table, slot);
	m->env->report(m->env, APMP_REPORT_NAMED_LOCK_BROKEN,
		       slot | (uint64_t)(apmp_identity_id(apmp_lock_identity(lost)) + 1) << 32);
}

void apmp__lock_break(struct apmp_member *m, struct apmp_db_locks *table, uint32_t slot,
		      uint64_t seen)
{
	_Atomic uint64_t *word = &table->lock[slot].word;
	uint64_t holder = seen & ~APMP_LOCK_WAITERS, ours = m->env->self;

	while (!apmp_cas(word, &seen, ours | (seen & APMP_LOCK_WAITERS)))
		if ((seen & ~APMP_LOCK_WAITERS) != holder)
			return; /* somebody else has taken it from the dead */
	apmp__lock_mark_broken(m, table, slot, holder);
	APMP_POINT_ARG(m->env, named_marked, slot);
	seen = ours;
	while (!apmp_cas(word, &seen, 0))
		if ((seen & ~APMP_LOCK_WAITERS) != ours)
			return; /* a stray store: the next to take it finds it BROKEN */
	APMP_POINT_ARG(m->env, named_freed, slot);
	m->env->wake(m->env, apmp__lock_futex(word), INT32_MAX);
}
