/* lock_world.c - parties of the world that take named locks. */
#include "tests/unit/lock_world.h"

#include <check.h>
#include <string.h>

#include "shm/service.h"

struct world w;
struct apmp_locks locks[WORLD_PARTITIONS];

struct party *lock_boot(uint32_t id)
{
	struct party *p = world_boot(&w, id);

	apmp_locks_init(&p->member, &locks[id]);
	return p;
}

struct party *lock_member(uint32_t id)
{
	struct party *p = lock_boot(id);

	ck_assert_int_eq(party_run(p, party_enter), 0);
	return p;
}

struct apmp_locker *locker(struct party *p)
{
	struct apmp_locker *l;

	ck_assert_int_eq(apmp_locker_init(&p->member, &l), 0);
	return l;
}

uint32_t opened(struct apmp_locker *l, const char *name, uint32_t rank)
{
	uint32_t lock;

	ck_assert_int_eq(apmp_lock_open(l, name, rank, &lock), 0);
	return lock;
}

struct apmp_db_locks *lock_table(void)
{
	struct apmp_db *db = world_db(&w);
	uint64_t size = (uint64_t)apmp_load_relaxed(&db->header.page_count) * APMP_PAGE_SIZE;

	return apmp_service_segment(db, size, APMP_SERVICE_lock);
}

struct apmp_db_lock *slot_of(const char *name)
{
	struct apmp_db_locks *table = lock_table();

	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++)
		if (apmp_load_relaxed(&table->lock[i].openers) &&
		    strcmp(table->lock[i].name, name) == 0)
			return &table->lock[i];
	return NULL;
}

uint64_t word_of(const char *name)
{
	return apmp_load_relaxed(&slot_of(name)->word);
}
