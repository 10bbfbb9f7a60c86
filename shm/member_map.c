/*
 * member_map.c - choosing, mapping and unmapping the pages of the APMP database.
 *
 * WHAT      DB_map_initial, DB_allocate and DB_map_continue (one function here: the pages are
 *           contiguous, so creator and joiner map the same run), DB_unmap [0165-0170], and
 *           SHMEM_config_APMPDB [0280].  The database has another address in every instance.
 * WRITERS   The primary.  The clock uses what the private cell names; before something is unmapped
 *           the cell is changed and the primary waits until the clock is out of its tick.
 * LIMITS    Every page of a memfd is good, so there are no tested-memory bitmaps and steps (6.2)
 *           and (6.4) always go on with the first range that is large enough.
 */
#include <errno.h>

#include "shm/lock_internal.h"

#define MAX_SHARED_RANGES 32u

/* Whether the run of pages lies in one of the ranges. */
static bool in_ranges(const struct apmp_tree_fragment *range, uint32_t count, uint64_t pfn,
		      uint64_t pages)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t first = range[i].pa / APMP_PAGE_SIZE;
		uint64_t end = first + range[i].size / APMP_PAGE_SIZE;

		if (pfn >= first && pfn < end && end - pfn >= pages)
			return true;
	}
	return false;
}

static int set_info(struct apmp_member *m, uint64_t old_info, uint64_t new_info)
{
	struct apmp_call call = {
	    .request = {.op = APMP_CALL_SET_APMPDB_INFO, .thread = 0, .arg = {old_info, new_info}}};
	int err = m->env->call(m->env, &call);

	return err ? err : call.reply.error;
}

/* Steps (2) to (6.5) once; -EAGAIN: another instance changed the field, begin at (2) again. */
static int config_once(struct apmp_member *m, uint64_t *ret_info)
{
	struct apmp_tree_fragment range[MAX_SHARED_RANGES];
	struct apmp_tree_community c;
	int count = apmp_tree_shared_memory(m->tree, m->community, range, MAX_SHARED_RANGES);
	int err;

	if (count <= 0)
		return count ? count : -ENOMEM;
	if (count > (int)MAX_SHARED_RANGES)
		count = (int)MAX_SHARED_RANGES;
	err = apmp_tree_community(m->tree, m->community_id, &c);
	if (err)
		return err;
	if (c.apmpdb_info) {
		uint64_t pages = c.apmpdb_info >> 32;

		if (pages > APMP_DB_INITIAL_PAGES && pages <= APMP_DB_MAX_PAGES &&
		    in_ranges(range, (uint32_t)count, (uint32_t)c.apmpdb_info, pages)) {
			*ret_info = c.apmpdb_info;
			return 0;
		}
		err = set_info(m, c.apmpdb_info, 0);
		if (err)
			return err;
	}
	for (int i = 0; i < count; i++) {
		if (range[i].size < (uint64_t)APMP_DB_MAX_PAGES * APMP_PAGE_SIZE)
			continue;
		*ret_info = range[i].pa / APMP_PAGE_SIZE | (uint64_t)APMP_DB_MAX_PAGES << 32;
		return set_info(m, 0, *ret_info);
	}
	return -ENOMEM;
}

int apmp__db_config(struct apmp_member *m, uint64_t *ret_pfn, uint32_t *ret_pages)
{
	uint64_t info = 0;
	int err = -EAGAIN;

	for (uint32_t i = 0; i < APMP_ENTER_TRIES && err == -EAGAIN; i++)
		err = config_once(m, &info);
	if (err)
		return err;
	*ret_pfn = (uint32_t)info;
	*ret_pages = (uint32_t)(info >> 32);
	return 0;
}

/* Names another mapping in the private cell and waits until the clock has left the old one. */
static void set_cell(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_env *env = m->env;
	uint32_t in_tick;

	/* Sequentially consistent with the tick's store of in_tick and load of cell: either the
	 * clock sees the new cell, or we see that it is in its tick. */
	atomic_store(&m->cell, db);
	apmp__lockers_out(m);
	while ((in_tick = atomic_load(&m->in_tick)) != APMP_TICK_OUT) {
		if (in_tick == APMP_TICK_IN &&
		    !atomic_compare_exchange_strong(&m->in_tick, &in_tick, APMP_TICK_AWAITED))
			continue;
		(void)env->wait(env, &m->in_tick, APMP_TICK_AWAITED,
				env->now(env) + m->timing.tick_ns);
	}
}

int apmp__db_map_initial(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	struct apmp_db_node *own;
	uint64_t pfn;
	uint32_t pages;
	void *base;
	int err = apmp__db_config(m, &pfn, &pages);

	if (!err)
		err = env->map(env, pfn * APMP_PAGE_SIZE,
			       (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE, &base);
	if (err)
		return err;
	m->base = base;
	m->size = (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE;
	m->pa = pfn * APMP_PAGE_SIZE;
	APMP_POINT(env, map_602);
	own = apmp__own_node(m, base);
	/* We were judged dead while we were out: the bit must not be lost below. */
	if (apmp__bugchecked(m, base)) {
		env->unmap(env, base, m->size);
		m->base = NULL;
		m->size = 0;
		return -EOWNERDEAD;
	}
	apmp_store_relaxed(&own->reasons, 0);
	/* Garbage above our identity would keep fencers from naming us. */
	if (apmp_load_relaxed(&own->bugcheck_of) > env->self)
		apmp_store_relaxed(&own->bugcheck_of, 0);
	APMP_POINT(env, map_604);
	apmp_store_relaxed(&own->beat_of, 0);
	apmp_store_relaxed(&own->heartbeat, 0);
	apmp_store_release(&own->beat_of, env->self);
	APMP_POINT(env, map_606);
	set_cell(m, base);
	APMP_POINT(env, map_608);
	return 0;
}

int apmp__db_map_whole(struct apmp_member *m, uint32_t pages)
{
	struct apmp_env *env = m->env;
	uint64_t size = (uint64_t)pages * APMP_PAGE_SIZE;
	void *initial = m->base, *base;
	uint64_t initial_size = m->size;
	int err;

	if (size == m->size)
		return 0;
	err = env->map(env, m->pa, size, &base);
	if (err)
		return err;
	m->base = base;
	m->size = size;
	set_cell(m, base);
	env->unmap(env, initial, initial_size);
	return 0;
}

void apmp__db_unmap(struct apmp_member *m)
{
	void *base = m->base;

	set_cell(m, NULL);
	apmp_store_relaxed(&m->dead_mask, 0); /* judgements of a life as a member that is over */
	m->base = NULL;
	if (base)
		m->env->unmap(m->env, base, m->size);
	m->size = 0;
}
