/*
 * update.c - all or nothing for the console's changes of tree and HWRPBs [0117, 0189].
 *
 * WHAT      An undo journal.  Before each store, what stood there is written down; one word,
 *           journal->open, decides: while it is 1 everything is taken back by the next console,
 *           once it is 0 everything stands.  This is "a recorded intent that the repairer undoes".
 * STATES    closed -> open (begin) -> closed (commit, abort or the next console's repair).
 * WRITERS   The console only, one thread.
 * ORDERING  Each entry is released by count before the store that it covers is made (release);
 *           commit's release of open is acquired by repair.  A reader acquires current_level.
 * CRASHES   update_begin, update_store: open is 1, repair undoes.  update_commit: open is 0 and
 *           the levels differ, repair brings current_level up.  update_end: nothing is missing
 *           but interrupts, which the next console sends to all.
 * LIMITS    APMP_JOURNAL_ENTRIES stores in one update; more is our own bug and asserted.
 */
#include "shm/update.h"

#include <errno.h>

#include "shm/assert.h"
#include "shm/intr.h"
#include "shm/shared.h"

#define UPDATE_MAGIC UINT64_C(0x5550444154455f5f)

static struct gct_root_node *root_of(struct apmp_update *up)
{
	return (void *)(up->object[APMP_OBJECT_TREE].base + sizeof(struct gct_header));
}

void apmp_update_init(struct apmp_update *up, struct apmp_env *env, struct apmp_journal *journal)
{
	*up = (struct apmp_update){.magic = UPDATE_MAGIC, .env = env, .journal = journal};
}

void apmp_update_object(struct apmp_update *up, uint32_t object, void *base, uint64_t size)
{
	apmp_assert(object < APMP_OBJECT_COUNT);
	up->object[object].base = base;
	up->object[object].size = size;
}

/* Where an entry's field is; NULL when it is nowhere. */
static void *field_of(struct apmp_update *up, const struct apmp_journal_entry *entry)
{
	uint32_t object = apmp_load_relaxed(&entry->object);
	uint32_t width = apmp_load_relaxed(&entry->width);
	uint64_t off = apmp_load_relaxed(&entry->off);

	if (object >= APMP_OBJECT_COUNT || !up->object[object].base || (width != 4 && width != 8) ||
	    off % width || off > up->object[object].size || up->object[object].size - off < width)
		return NULL;
	return up->object[object].base + off;
}

/* Takes back the journal's stores, last first, and closes it. */
static void undo(struct apmp_update *up, uint32_t count)
{
	struct apmp_journal *j = up->journal;

	while (count > 0) {
		struct apmp_journal_entry *entry = &j->entry[--count];
		uint64_t old = apmp_load_relaxed(&entry->old);
		void *field = field_of(up, entry);

		apmp_assert(field);
		if (apmp_load_relaxed(&entry->width) == 4)
			apmp_store_release((_Atomic uint32_t *)field, (uint32_t)old);
		else
			apmp_store_release((_Atomic uint64_t *)field, old);
	}
	apmp_store_release(&j->open, 0);
}

/* current_level follows, so that readers go on. */
static void settle(struct apmp_update *up)
{
	struct gct_root_node *root = root_of(up);

	/* Readers acquire it and then see every store of the update. */
	apmp_store_release(&root->current_level, apmp_load_relaxed(&root->transient_level));
}

int apmp_update_repair(struct apmp_update *up)
{
	struct apmp_journal *j = up->journal;
	uint32_t open = apmp_load_acquire(&j->open);
	uint32_t count = apmp_load_acquire(&j->count);

	if (open > 1 || count > APMP_JOURNAL_ENTRIES)
		return -EBADMSG;
	if (!open)
		count = 0;
	for (uint32_t i = 0; i < count; i++)
		if (!field_of(up, &j->entry[i]))
			return -EBADMSG;
	undo(up, count);
	settle(up);
	return (int)count;
}

void apmp_update_begin(struct apmp_update *up)
{
	struct gct_root_node *root = root_of(up);

	apmp_assert(up->magic == UPDATE_MAGIC && up->depth == 0);
	up->depth = 1;
	apmp_store_relaxed(&up->journal->count, 0);
	apmp_store_release(&up->journal->open, 1);
	apmp_fetch_add(&root->transient_level, 1);
	APMP_POINT(up->env, update_begin);
}

uint64_t apmp_update_room(const struct apmp_update *up)
{
	uint64_t used = up->depth ? apmp_load_relaxed(&up->journal->count) : 0;

	used += APMP_UPDATE_SPARE;
	return used < APMP_JOURNAL_ENTRIES ? APMP_JOURNAL_ENTRIES - used : 0;
}

/* Writes down what stands at field, before it changes. */
static void note(struct apmp_update *up, uint32_t object, const void *field, uint32_t width,
		 uint64_t old)
{
	struct apmp_journal *j = up->journal;
	uint32_t count = apmp_load_relaxed(&j->count);
	uint64_t off = (uint64_t)((const unsigned char *)field - up->object[object].base);

	apmp_assert(up->depth == 1 && count < APMP_JOURNAL_ENTRIES);
	apmp_store_relaxed(&j->entry[count].object, object);
	apmp_store_relaxed(&j->entry[count].width, width);
	apmp_store_relaxed(&j->entry[count].off, off);
	apmp_store_relaxed(&j->entry[count].old, old);
	apmp_assert(field_of(up, &j->entry[count]) == field);
	/* Acquired by repair: an entry that is counted is whole. */
	apmp_store_release(&j->count, count + 1);
}

void apmp_update_store32(struct apmp_update *up, uint32_t object, _Atomic uint32_t *field,
			 uint32_t value)
{
	note(up, object, field, 4, apmp_load_relaxed(field));
	apmp_store_release(field, value);
	APMP_POINT_ARG(up->env, update_store, apmp_load_relaxed(&up->journal->count));
}

void apmp_update_store64(struct apmp_update *up, uint32_t object, _Atomic uint64_t *field,
			 uint64_t value)
{
	note(up, object, field, 8, apmp_load_relaxed(field));
	apmp_store_release(field, value);
	APMP_POINT_ARG(up->env, update_store, apmp_load_relaxed(&up->journal->count));
}

void apmp_update_store_handle(struct apmp_update *up, _Atomic int32_t *field, int32_t value)
{
	/* Same bytes: a signed and an unsigned atomic of one width have one representation. */
	apmp_update_store32(up, APMP_OBJECT_TREE, (_Atomic uint32_t *)field, (uint32_t)value);
}

void apmp_update_commit(struct apmp_update *up)
{
	apmp_update_commit_quietly(up);
	apmp_intr_all(up->env, APMP_INTR_TREE);
}

void apmp_update_commit_quietly(struct apmp_update *up)
{
	apmp_assert(up->magic == UPDATE_MAGIC && up->depth == 1);
	up->depth = 0;
	/* The commit: acquired by the next console's repair. */
	apmp_store_release(&up->journal->open, 0);
	APMP_POINT(up->env, update_commit);
	settle(up);
	APMP_POINT(up->env, update_end);
}

void apmp_update_abort(struct apmp_update *up)
{
	apmp_assert(up->magic == UPDATE_MAGIC && up->depth == 1);
	up->depth = 0;
	undo(up, apmp_load_relaxed(&up->journal->count));
	settle(up);
}
