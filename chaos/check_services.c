/*
 * check_services.c - segments of the services: where they are, CPU sets, named locks.
 *
 * WHAT      Where the segments lie in one another nothing in them is looked at.  A slot of service
 *           "cpu" is its member's copy of the sets in its HWRPB.  Of a named lock the word is the
 *           truth; a slot is in use while somebody has it open, and its name is a memory otherwise.
 * LIMITS    Locks change hands without the database lock: a finding about one is of the acquisition
 *           that its counter shows, and goes with it.  Ranks are looked at, not their order: what a
 *           locker holds besides is its own.
 */
#include <inttypes.h>
#include <string.h>

#include "chaos/check.h"
#include "shm/layout_lock.h"

/* Places in the header's table of segments. */
enum { SEGMENT_CPU, SEGMENT_LOCK };

static const char *name(const struct check *c)
{
	return c->community_name[c->at];
}

/* A service's segment, of at least so many bytes; NULL: there is none. */
static const void *segment(const struct check *c, uint32_t idx, uint64_t size)
{
	const struct apmp_db_header *h = &image_db_head(&c->db)->header;

	return h->service_mask >> idx & 1 && h->segment[idx].size >= size
		   ? image_db_at(&c->db, h->segment[idx].off, size)
		   : NULL;
}

static bool segments_hold(struct check *c)
{
	const struct apmp_db_header *h = &image_db_head(&c->db)->header;
	uint64_t end = (uint64_t)c->db.page_count * APMP_PAGE_SIZE;
	uint64_t used[APMP_DB_MAX_PAGES] = {0};

	for (uint32_t s = 0; s < APMP_DB_MAX_SERVICES; s++) {
		uint64_t off = h->segment[s].off, size = h->segment[s].size;
		bool wanted = h->service_mask >> s & 1, odd;

		odd = wanted != (size > 0) ||
		      (size && (off % APMP_PAGE_SIZE || size % APMP_PAGE_SIZE ||
				off < (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE ||
				off > end || end - off < size));
		for (uint64_t at = off; !odd && at < off + size; at += APMP_PAGE_SIZE)
			odd = used[at / APMP_PAGE_SIZE]++ > 0;
		if (odd) {
			found(c, CHECK_db_segments,
			      "that of service %u in \"%s\": %" PRIu64 " bytes at %" PRIu64
			      " of %" PRIu64,
			      s, name(c), size, off, end);
			return false;
		}
	}
	return true;
}

/* ---- service "cpu" ---- */

static bool same(const _Atomic uint64_t *words, const struct apmp_cpu_bits *bits)
{
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		if (words[w] != bits->word[w])
			return false;
	return true;
}

static void check_cpu_sets(struct check *c)
{
	const struct apmp_db *db = image_db_head(&c->db);
	const struct apmp_db_cpu_sets *sets =
	    segment(c, SEGMENT_CPU, sizeof(*sets) * APMP_MAX_PARTITIONS);

	for (uint32_t id = 0; sets && id < APMP_MAX_PARTITIONS; id++) {
		const struct apmp_db_cpu_sets *own = &sets[id];
		bool member = c->members >> id & 1;
		uint64_t life = check_initialized(c, id);
		const struct hwrpb *h = check_hwrpb(c, id);

		if (!member && db->header.members >> id & 1) /* told already, not yet removed */
			continue;
		if (own->identity != (member ? life : 0))
			found(c, CHECK_db_cpus, "those of number %u in \"%s\" are of %s", id,
			      name(c), check_life(c, own->identity).text);
		else if (member && h &&
			 !(same(own->potential, &h->potential) &&
			   same(own->configure, &h->configure) && same(own->active, &h->active) &&
			   same(own->autostart, &h->autostart)))
			found(c, CHECK_db_cpus, "those of \"%s\" are not those of its HWRPB",
			      c->partition_name[id]);
	}
}

/* ---- service "lock" ---- */

/* Whether a word names a living member. */
static bool is_members(const struct check *c, uint64_t word)
{
	uint64_t identity = apmp_lock_identity(word);
	uint32_t id = apmp_identity_id(identity);

	return id != APMP_NO_PARTITION && check_alive(c, identity) &&
	       image_db_head(&c->db)->header.members >> id & 1;
}

static void check_word(struct check *c, const struct apmp_db_lock *lock, const char *lock_name)
{
	uint64_t word = lock->word, holder = apmp_lock_identity(word);

	if (!word)
		return;
	if (!holder)
		found(c, CHECK_lock_words, "\"%s\" in \"%s\" is free, its word is %#" PRIx64,
		      lock_name, name(c), word);
	else if (!is_members(c, word))
		found(c, CHECK_lock_words,
		      "\"%s\" in \"%s\" is held by %s, who is no living member", lock_name, name(c),
		      check_life(c, holder).text);
	else if (!(lock->openers >> apmp_identity_id(holder) & 1))
		found(c, CHECK_lock_words, "\"%s\" in \"%s\" is held by %s, who has it not open",
		      lock_name, name(c), check_life(c, holder).text);
}

static void check_lock(struct check *c, const struct apmp_db_locks *locks, uint32_t idx)
{
	const struct apmp_db_lock *lock = &locks->lock[idx];
	uint64_t strangers = lock->openers & ~image_db_head(&c->db)->header.members;
	char lock_name[APMP_NAME_SIZE];

	c->stamp = lock->acquired_count;
	IMAGE_NAME(lock->name, lock_name);
	check_word(c, lock, lock_name);
	if (strangers)
		found(c, CHECK_lock_openers,
		      "\"%s\" in \"%s\" is open in %#" PRIx64 ", who are no members", lock_name,
		      name(c), strangers);
	if (lock->openers &&
	    (!lock->rank || !lock->name[0] || !memchr(lock->name, 0, sizeof(lock->name))))
		found(c, CHECK_lock_names,
		      "lock %u in \"%s\" is open, and has name \"%s\" and rank %u", idx, name(c),
		      lock_name, (unsigned)lock->rank);
	for (uint32_t k = 0; lock->openers && k < idx; k++)
		if (locks->lock[k].openers &&
		    strncmp(locks->lock[k].name, lock->name, sizeof(lock->name)) == 0)
			found(c, CHECK_lock_names, "locks %u and %u in \"%s\" are called \"%s\"", k,
			      idx, name(c), lock_name);
	c->stamp = 0;
}

static void check_locks(struct check *c)
{
	const struct apmp_db_locks *locks = segment(c, SEGMENT_LOCK, sizeof(*locks));

	if (!locks)
		return;
	if (locks->table && !is_members(c, locks->table))
		found(c, CHECK_lock_table, "that of \"%s\" is held by %s", name(c),
		      check_life(c, apmp_lock_identity(locks->table)).text);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++)
		check_lock(c, locks, i);
}

void check_services(struct check *c)
{
	if (!segments_hold(c))
		return;
	check_cpu_sets(c);
	check_locks(c);
}
