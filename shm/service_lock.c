/*
 * service_lock.c - service "lock": the segment of named locks, and what becomes of them when an
 * instance dies, leaves, or comes over to a re-formed set [0123, 0143, 0272].
 *
 * WHAT      What an instance has open and holds it also knows by itself (struct apmp_locks).  So
 *           a segment made anew is filled again by those who come over: a lock that its holder
 *           claims is as good as he left it; one that nobody claims is BROKEN: nobody can know.
 * LOCKS     All but apmp__locks_work are called with the database lock held; the table lock is
 *           taken inside it.
 * CRASHES   Recovery of a lock: lock_word.c.  An opener's bit goes after its words, so who recovers
 *           next finds them again.
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
	static const char no_name[APMP_NAME_SIZE];

	(void)m;
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_db_lock *lock = &table->lock[i];

		apmp_store_relaxed(&lock->openers, 0);
		apmp_store_relaxed(&lock->word, 0);
		apmp_store_relaxed(&lock->broken_by, 0);
		apmp_store_relaxed(&lock->acquired_count, 0);
		apmp_store_relaxed(&lock->contended_count, 0);
		apmp_store_relaxed(&lock->broken_count, 0);
		apmp_store_relaxed(&lock->rank, 0);
		apmp_copy_in(lock->name, no_name, sizeof(no_name));
	}
	apmp_store_relaxed(&table->table, 0);
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

/* Enters in a segment that is new to us what the locker holds. */
static void claim(struct apmp_member *m, struct apmp_db_locks *table, struct apmp_locker *l)
{
	for (uint32_t i = 0; i < l->held_count; i++) {
		struct apmp_lock_open *open = &m->locks->open[l->held[i] % APMP_LOCK_COUNT];
		struct apmp_db_lock *lock = &table->lock[apmp_load_relaxed(&open->slot)];
		uint64_t seen = 0, bit = 1u << i;

		if (l->lost & bit)
			continue;
		if (open->number == l->held[i] && apmp_cas(&lock->word, &seen, l->word)) {
			apmp_store_relaxed(&lock->broken_by,
					   l->broken & bit ? APMP_LOCK_BY_REFORMING : 0);
			APMP_POINT_ARG(m->env, named_claim, apmp_load_relaxed(&open->slot));
			continue;
		}
		/* Two claim it: the later is told when it lets go. */
		l->lost |= (uint32_t)bit;
		apmp_store_relaxed(&lock->broken_by, l->word);
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
	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++)
		claim(m, table, &m->locks->locker[i]);
}

/* Whether members of the set before must still come over, besides ourselves. */
static bool others_expected(struct apmp_member *m)
{
	uint64_t expected = apmp_load_acquire(&apmp__db(m)->header.expected);

	return (expected & ~(UINT64_C(1) << m->id)) != 0;
}

static int join(struct apmp_member *m, void *segment)
{
	struct apmp_db_locks *table = segment;
	int err;

	forget(m, table, m->id, true);
	if (!m->locks)
		return 0;
	apmp__lockers_stop(m, LOCKS_SHUT);
	err = apmp__lock_table_take(m, NULL, table);
	if (err) {
		apmp__lockers_go(m, LOCKS_AWAY, NULL);
		return err;
	}
	reopen(m, table);
	apmp__lock_table_release(m, NULL, table);
	apmp__lockers_go(m, others_expected(m) ? LOCKS_CLAIMING : LOCKS_OPEN, table);
	return 0;
}

static void leave(struct apmp_member *m, void *segment)
{
	struct apmp_locks *locks = m->locks;

	apmp__lockers_stop(m, LOCKS_SHUT);
	forget(m, segment, m->id, true);
	if (!locks)
		return;
	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++)
		locks->locker[i].held_count = locks->locker[i].lost = 0;
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++)
		apmp_store_relaxed(&locks->open[i].number, 0);
	apmp__lockers_go(m, LOCKS_AWAY, NULL);
}

static void recover(struct apmp_member *m, void *segment, uint32_t id)
{
	forget(m, segment, id, false);
}

static bool is_name(const struct apmp_db_lock *lock)
{
	char name[APMP_NAME_SIZE];

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
	int err = 0;

	if (apmp__lock_table_take(m, NULL, table))
		return 0; /* judged dead: others will see */
	for (uint32_t i = 0; i < APMP_LOCK_COUNT && !err; i++)
		if (apmp_load_acquire(&table->lock[i].openers) && !makes_sense(&table->lock[i]))
			err = -EBADMSG;
	if (!err && m->locks)
		err = apmp__lock_entries_check(m, table);
	apmp__lock_table_release(m, NULL, table);
	return err;
}

/* Whether one of our lockers holds the lock by this word; none is inside. */
static bool is_held(const struct apmp_locks *locks, uint32_t slot, uint64_t word)
{
	uint32_t idx = apmp_lock_locker(word);
	const struct apmp_locker *l = idx ? &locks->locker[idx - 1] : NULL;

	for (uint32_t i = 0; l && i < l->held_count; i++)
		if (apmp_load_relaxed(&locks->open[l->held[i] % APMP_LOCK_COUNT].slot) == slot)
			return true;
	return false;
}

/* Lets go what names us and we don't hold: somebody's stray stores. */
static void free_strays(struct apmp_member *m)
{
	struct apmp_locks *locks = m->locks;
	struct apmp_db_locks *table = locks->segment;
	uint32_t state = apmp_load_relaxed(&locks->state);
	uint64_t word;

	apmp__lockers_stop(m, LOCKS_SHUT);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		word = apmp_load_acquire(&table->lock[i].word);
		if (apmp_lock_identity(word) == m->env->self && !is_held(locks, i, word)) {
			apmp_fetch_add(&locks->odd_count, 1);
			apmp__lock_break(m, table, i, word);
		}
	}
	word = apmp_load_acquire(&table->table);
	if (apmp_lock_identity(word) == m->env->self)
		(void)apmp__lock_word_release(m, &table->table, word & ~APMP_LOCK_WAITERS);
	apmp__lockers_go(m, state, table);
}

bool apmp__locks_claiming(struct apmp_member *m)
{
	return m->locks && apmp_load_acquire(&m->locks->state) == LOCKS_CLAIMING;
}

void apmp__locks_work(struct apmp_member *m, uint64_t reasons)
{
	if (apmp__locks_claiming(m) && !others_expected(m))
		apmp__lockers_go(m, LOCKS_OPEN, m->locks->segment);
	if (m->locks && m->locks->segment && reasons & APMP_REASON_LOCKS)
		free_strays(m);
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
