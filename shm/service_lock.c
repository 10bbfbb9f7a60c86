/*
 * service_lock.c - service "lock": the segment of named locks, and what becomes of them when an
 * instance dies, leaves, or comes over to a re-formed set [0123, 0143, 0272].
 *
 * WHAT      What an instance has open and holds it also knows by itself (struct apmp_locks).  So
 *           a segment made anew is filled again by those who come over: a lock that its holder
 *           claims is as good as he left it; one that nobody claims is BROKEN: nobody can know.
 *           Where the segment is made anew in place, others use it still: apmp__lock_superseded
 *           tells them, and what they took of it meanwhile yields to a claim.
 * LOCKS     All but apmp__locks_work are called with the database lock held; the table lock is
 *           taken inside it.
 * CRASHES   Recovery of a lock: lock_word.c.  An opener's bit goes after its words, so who recovers
 *           next finds them again.
 * LIMITS    A set that is created because all members are gone remembers no broken lock.
 *           Of one that nobody claims, what a re-forming remembers: lock_memory.c.
 */
#include <errno.h>
#include <string.h>

#include "shm/lock_internal.h"
#include "shm/service.h"

static uint32_t size(void)
{
	return (uint32_t)sizeof(struct apmp_db_locks);
}

static void create(struct apmp_member *m, void *segment)
{
	struct apmp_db_locks *table = segment;
	static const _Alignas(uint64_t) char no_name[APMP_NAME_SIZE];

	/* In place somebody may just be opening a name, who has not seen that the set is being made
	 * anew: he is done with it then.  Whatever else stands there is nobody's. */
	(void)!apmp__lock_table_take(m, NULL, table, true);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_db_lock *lock = &table->lock[i];

		apmp_store_relaxed(&lock->openers, 0);
		/* Acquired by who takes it: he sees that the set is being made anew. */
		apmp_store_release(&lock->word, 0);
		/* Acquired by lock_memory.c, likewise. */
		apmp_store_release(&lock->broken_by, 0);
		apmp_store_relaxed(&lock->acquired_count, 0);
		apmp_store_relaxed(&lock->contended_count, 0);
		apmp_store_relaxed(&lock->broken_count, 0);
		apmp_store_relaxed(&lock->rank, 0);
		apmp_copy_in(lock->name, no_name, sizeof(no_name));
	}
	apmp_store_relaxed(&table->broken_changes, 0);
	if (apmp_swap(&table->table, 0) & APMP_LOCK_WAITERS)
		m->env->wake(m->env, apmp__lock_futex(&table->table), INT32_MAX);
}

/* Breaks what lives of this partition hold that are over, or all of them, and closes what they
 * have open. */
static void forget(struct apmp_member *m, struct apmp_db_locks *table, uint32_t id, bool all)
{
	uint64_t bit = UINT64_C(1) << id;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_db_lock *lock = &table->lock[i];
		uint64_t word = apmp_load_acquire(&lock->word);
		uint64_t identity = apmp_lock_identity(word);

		if (apmp_identity_id(identity) == id &&
		    (all || !apmp_tree_alive(m->tree, identity)))
			apmp__lock_break(m, table, i, word);
		if (apmp_load_relaxed(&lock->openers) & bit)
			apmp_fetch_and(&lock->openers, ~bit);
	}
}

static uint64_t expected(struct apmp_member *m)
{
	return apmp_load_acquire(&apmp__db(m)->header.expected) & ~(UINT64_C(1) << m->id);
}

/* Whether the word of a claim becomes ours.  Who has not come over yet had his at another time. */
static bool claim_word(struct apmp_member *m, _Atomic uint64_t *word, uint64_t ours)
{
	uint64_t seen = apmp_load_acquire(word);

	for (;;) {
		uint32_t id = apmp_identity_id(apmp_lock_identity(seen & ~APMP_LOCK_WAITERS));
		bool free = !(seen & ~APMP_LOCK_WAITERS) || (seen & ~APMP_LOCK_WAITERS) == ours;

		if (!free && (id == APMP_NO_PARTITION || !(expected(m) >> id & 1)))
			return false;
		if (apmp_cas(word, &seen, ours | (seen & APMP_LOCK_WAITERS)))
			return true;
	}
}

/* Enters in a segment that is new to us what the locker holds. */
static void claim(struct apmp_member *m, struct apmp_db_locks *table, struct apmp_locker *l)
{
	for (uint32_t i = 0; i < l->held_count; i++) {
		struct apmp_lock_open *open = &m->locks->open[l->held[i] % APMP_LOCK_COUNT];
		struct apmp_db_lock *lock = &table->lock[apmp_load_relaxed(&open->slot)];
		uint32_t bit = 1u << i;

		if (l->lost & bit)
			continue;
		if (apmp_load_relaxed(&open->number) != l->held[i]) {
			l->lost |= bit; /* there was no room for it */
		} else if (claim_word(m, &lock->word, l->word)) {
			apmp_store_relaxed(&lock->broken_by,
					   l->broken & bit ? APMP_LOCK_BY_REFORMING : 0);
			apmp__lock_broken_changed(table);
			APMP_POINT_ARG(m->env, named_claim, apmp_load_relaxed(&open->slot));
		} else {
			/* Two claim it: the later is told when it lets go. */
			l->lost |= bit;
			apmp_store_relaxed(&lock->broken_by, l->word);
			apmp__lock_broken_changed(table);
		}
	}
}

/* Opens again what we have open.  What can't be is closed: its number is known no more. */
static void reopen(struct apmp_member *m, struct apmp_db_locks *table)
{
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_lock_open *open = &m->locks->open[i];
		int slot;

		if (!apmp_load_relaxed(&open->number))
			continue;
		slot = apmp__lock_slot_open(m, table, open, APMP_LOCK_BY_REFORMING);
		if (slot < 0)
			apmp_store_relaxed(&open->number, 0);
		else
			apmp_store_relaxed(&open->slot, (uint32_t)slot);
	}
}

/* Whether one of our lockers holds the lock by this word; none is inside. */
static bool is_held(const struct apmp_locks *locks, uint32_t slot, uint64_t word)
{
	uint32_t idx = apmp_lock_locker(word);
	const struct apmp_locker *l =
	    idx && idx <= APMP_LOCKER_COUNT ? &locks->locker[idx - 1] : NULL;

	for (uint32_t i = 0; l && i < l->held_count; i++)
		if (apmp_load_relaxed(&locks->open[l->held[i] % APMP_LOCK_COUNT].slot) == slot)
			return true;
	return false;
}

/* Lets go what names us and we don't hold: somebody's stray stores.  No locker is inside. */
static void free_strays(struct apmp_member *m, struct apmp_db_locks *table)
{
	uint64_t word;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		word = apmp_load_acquire(&table->lock[i].word);
		if (apmp_lock_identity(word) != m->env->self || is_held(m->locks, i, word))
			continue;
		apmp_fetch_add(&m->locks->odd_count, 1);
		apmp__lock_break(m, table, i, word);
	}
	word = apmp_load_acquire(&table->table);
	if (apmp_lock_identity(word) == m->env->self)
		(void)apmp__lock_word_release(m, &table->table, word & ~APMP_LOCK_WAITERS);
}

/* Nothing is granted before we are a member: apmp__locks_work. */
static int join(struct apmp_member *m, void *segment)
{
	struct apmp_db_locks *table = segment;
	int err;

	forget(m, table, m->id, !m->locks);
	if (!m->locks)
		return 0;
	apmp__lockers_stop(m, LOCKS_SHUT);
	err = apmp__lock_table_take(m, NULL, table, true);
	if (err) { /* what is held is known, for another try */
		m->locks->segment = NULL;
		apmp__lockers_go(m, LOCKS_MOVING);
		return err;
	}
	m->locks->incarnation = apmp_load_relaxed(&apmp__db(m)->header.incarnation);
	reopen(m, table);
	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++)
		claim(m, table, &m->locks->locker[i]);
	if (!m->comes_over) /* what was BROKEN in another set is nothing in this one */
		apmp__lock_memory_clear(m);
	apmp__lock_memory_enter(m, table);
	apmp__lock_table_release(m, NULL, table);
	free_strays(m, table);
	m->locks->segment = table;
	apmp__lockers_go(m, LOCKS_CLAIMING);
	return 0;
}

static void leave(struct apmp_member *m, void *segment)
{
	apmp__lockers_stop(m, LOCKS_SHUT);
	forget(m, segment, m->id, true);
	if (m->locks)
		apmp__lockers_end(m);
}

static void recover(struct apmp_member *m, void *segment, uint32_t id)
{
	forget(m, segment, id, false);
}

static bool is_name(const struct apmp_db_lock *lock)
{
	_Alignas(uint64_t) char name[APMP_NAME_SIZE];

	apmp_copy_out(name, lock->name, sizeof(name));
	return name[0] && strnlen(name, sizeof(name)) < sizeof(name);
}

/* Whether what a slot in use says of itself can be. */
static bool makes_sense(const struct apmp_db_lock *lock)
{
	uint64_t word = apmp_load_relaxed(&lock->word) & ~APMP_LOCK_WAITERS;

	return is_name(lock) && apmp_load_relaxed(&lock->rank) &&
	       (!word || apmp_identity_id(apmp_lock_identity(word)) != APMP_NO_PARTITION);
}

static int validate(struct apmp_member *m, void *segment)
{
	struct apmp_db_locks *table = segment;
	int err = apmp__lock_table_take(m, NULL, table, true);

	if (err) /* judged dead, or elsewhere by now: others will see */
		return err == -EBADMSG ? err : 0;
	for (uint32_t i = 0; i < APMP_LOCK_COUNT && !err; i++)
		if (apmp_load_acquire(&table->lock[i].openers) && !makes_sense(&table->lock[i]))
			err = -EBADMSG;
	if (!err && m->locks)
		err = apmp__lock_entries_check(m, table);
	apmp__lock_table_release(m, NULL, table);
	return err;
}

const struct apmp_service apmp_service_lock = {
    .name = "lock",
    .size = size,
    .create = create,
    .join = join,
    .leave = leave,
    .recover = recover,
    .validate = validate,
};

bool apmp__locks_claiming(struct apmp_member *m)
{
	return m->locks && apmp_load_acquire(&m->locks->state) == LOCKS_CLAIMING;
}

void apmp__locks_work(struct apmp_member *m, uint64_t reasons)
{
	struct apmp_db_header *h = &apmp__db(m)->header;
	struct apmp_locks *locks = m->locks;

	if (apmp__locks_claiming(m) && !expected(m)) {
		apmp__lockers_go(m, LOCKS_OPEN);
		/* In place, who had not come over may have opened a name where we did. */
		if (apmp_load_relaxed(&h->reformed_of))
			apmp_fetch_or(&h->validate, UINT64_C(1) << m->id);
	}
	if (locks && locks->segment)
		apmp__lock_memory_read(m, locks->segment);
	if (locks && locks->segment && reasons & APMP_REASON_LOCKS) {
		uint32_t state = apmp_load_relaxed(&locks->state);

		apmp__lockers_stop(m, LOCKS_SHUT);
		free_strays(m, locks->segment);
		apmp__lockers_go(m, state);
	}
}
