/*
 * lock_memory.c - what an instance knows by itself of BROKEN locks, also of those that nobody has
 * open: so a set that is re-formed forgets none of them [0143, 0272].
 *
 * WHAT      A private copy of the slots that are BROKEN.  What this instance breaks it copies at
 *           once; what others break or declare good when the table's broken_changes has risen,
 *           which its clock looks at in each tick.  Whoever comes over enters it in the new table.
 * STATES    Of an entry: none -> BROKEN -> none, as the slot with its index says.  A slot that
 *           makes no sense says nothing: the copy is what it was.
 * LOCKS     The guard.  apmp__lock_memory_enter also with the table lock held.
 * ORDERING  broken_by is written before broken_changes rises.  A table that is made anew in place
 *           clears slots after the set's state has said so: what is read then is thrown away.
 * LIMITS    What another instance breaks is known here a tick later: until then it is lost with
 *           the one who broke it; what was declared good within that tick may be BROKEN again.
 *           With a mad writer a copy may be of what he wrote.  What a table has no room for is
 *           forgotten.  Who leaves forgets all, and so does a set without members.
 */
#include <string.h>

#include "shm/lock_internal.h"

static bool is_name(const char *name)
{
	return name[0] && strnlen(name, APMP_NAME_SIZE) < APMP_NAME_SIZE;
}

/* Whether it can be who died holding a lock; no partition is booted 2^32 times. */
static bool can_be_lost(uint64_t word)
{
	uint64_t identity = apmp_lock_identity(word);

	return word == APMP_LOCK_BY_REFORMING ||
	       (!(word & APMP_LOCK_WAITERS) && apmp_identity_id(identity) != APMP_NO_PARTITION &&
		apmp_identity_incarnation(identity) <= UINT32_MAX);
}

static struct apmp_lock_broken read_slot(const struct apmp_db_lock *lock)
{
	struct apmp_lock_broken read = {.by = apmp_load_acquire(&lock->broken_by),
					.rank = apmp_load_relaxed(&lock->rank)};

	apmp_copy_out(read.name, lock->name, sizeof(read.name));
	return read;
}

void apmp__lock_memory_add(struct apmp_member *m, const struct apmp_db_locks *table, uint32_t slot)
{
	struct apmp_lock_broken read = read_slot(&table->lock[slot]);

	if (!m->locks || !is_name(read.name) || !read.rank)
		return;
	apmp__lock_guard_take(m);
	m->locks->broken[slot] = read;
	apmp__lock_guard_release(m);
}

/* Until the table is superseded; one that we join is not. */
static void read_table(struct apmp_member *m, const struct apmp_db_locks *table, bool joins)
{
	struct apmp_lock_broken *broken = m->locks->broken;

	apmp__lock_guard_take(m);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_lock_broken read = read_slot(&table->lock[i]);

		atomic_thread_fence(memory_order_acquire);
		if (!joins && apmp__lock_superseded(m))
			break;
		if (is_name(read.name) && read.rank && (!read.by || can_be_lost(read.by)))
			broken[i] = read;
	}
	apmp__lock_guard_release(m);
}

void apmp__lock_memory_read(struct apmp_member *m, const struct apmp_db_locks *table)
{
	uint64_t changes = apmp_load_acquire(&table->broken_changes);

	if (changes == apmp_load_relaxed(&m->locks->broken_changes))
		return;
	read_table(m, table, false);
	apmp_store_relaxed(&m->locks->broken_changes, changes);
}

bool apmp__lock_memory_is_old(struct apmp_member *m)
{
	/* What is taken away stays mapped until the tick has ended: set_cell. */
	struct apmp_db_locks *table = m->locks ? atomic_load(&m->locks->table) : NULL;

	return table && apmp_load_relaxed(&table->broken_changes) !=
			    apmp_load_relaxed(&m->locks->broken_changes);
}

void apmp__lock_memory_clear(struct apmp_member *m)
{
	memset(m->locks->broken, 0, sizeof(m->locks->broken));
	apmp_store_relaxed(&m->locks->broken_changes,
			   UINT64_MAX); /* to be read, whatever the table says */
}

/* A slot for this name: -1 when there is none, or whoever came before has said what it is. */
static int32_t slot_for(struct apmp_db_locks *table, const char *name)
{
	int32_t empty = -1;

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		struct apmp_lock_broken read = read_slot(&table->lock[i]);

		if (strncmp(read.name, name, sizeof(read.name)) == 0)
			return -1;
		if (empty < 0 && !read.by && !apmp_load_acquire(&table->lock[i].openers))
			empty = (int32_t)i;
	}
	return empty;
}

void apmp__lock_memory_enter(struct apmp_member *m, struct apmp_db_locks *table)
{
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++) {
		const struct apmp_lock_broken *broken = &m->locks->broken[i];
		int32_t slot = broken->by ? slot_for(table, broken->name) : -1;

		if (slot < 0)
			continue;
		apmp_copy_in(table->lock[slot].name, broken->name, sizeof(broken->name));
		apmp_store_relaxed(&table->lock[slot].rank, broken->rank);
		apmp_store_relaxed(&table->lock[slot].broken_by, broken->by);
		apmp__lock_broken_changed(table);
	}
	/* From now on the indexes are those of this table. */
	apmp__lock_memory_clear(m);
	read_table(m, table, true);
}
