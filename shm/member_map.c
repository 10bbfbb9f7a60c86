/*
 * member_map.c - choosing, mapping and unmapping the pages of the APMP database.
 *
 * WHAT      SHMEM_config_APMPDB [0280], DB_map_initial, DB_allocate, DB_map_continue and DB_unmap
 *           [0165-0170].  The database has another address in every instance.  Its initial piece is
 *           contiguous; the rest follows in the same granule, where bad pages are passed over and a
 *           PFN list says which are used.  What a joiner reads of that may be garbage: every page
 *           frame is checked before it is mapped.
 * WRITERS   The primary.  The clock uses what the private cell names; before something is unmapped
 *           the cell is changed and the primary waits until the clock is out of its tick.
 * LIMITS    A page is tested by its bit in the tree's bitmap, and one that nobody uses yet by two
 *           patterns in its first word: emulated memory goes bad by pages.  Where others live who
 *           may come over there is but the bitmap: they may use these pages still.
 */
#include <errno.h>

#include "shm/db_place.h"
#include "shm/lock_internal.h"
#include "shm/member_internal.h"
#include "shm/service.h"

#define PATTERN UINT64_C(0x5555555555555555)

static_assert(APMP_DB_MAX_PAGES + 1 <= APMP_GRANULE_PAGES, "the database and its PFN list fit");

uint32_t apmp__db_pages(void)
{
	uint32_t pages = APMP_DB_INITIAL_PAGES;

	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++)
		pages += (apmp_services[s]->size() + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE;
	return pages;
}

/* Good pages that a range must have: for the database and its PFN list. */
static uint32_t room(void)
{
	return apmp__db_pages() + 1;
}

int apmp__db_set_info(struct apmp_member *m, bool other, uint64_t old_info, uint64_t new_info)
{
	struct apmp_call call = {
	    .request = {.op = APMP_CALL_SET_APMPDB_INFO, .arg = {old_info, new_info, other}}};
	int err = m->env->call(m->env, &call);

	return err ? err : call.reply.error;
}

int apmp__db_choose(struct apmp_member *m, uint64_t but, uint64_t *ret_info)
{
	uint64_t other = apmp_tree_database(m->tree, m->community).other;
	int32_t desc;

	if (other && (!but || apmp_place_granule(other) != apmp_place_granule(but)) &&
	    apmp_place_test(m->tree, m->community, other, room(), &desc) == 0) {
		*ret_info = other;
		return 0;
	}
	return apmp_place_choose(m->tree, m->community, room(), but, ret_info);
}

/* Steps (2) to (6.5) once; -EAGAIN: another instance changed the field, begin at (2) again. */
static int config_once(struct apmp_member *m, uint64_t *ret_info, int32_t *ret_desc)
{
	struct apmp_tree_node community;
	uint64_t info, chosen;
	int err = apmp_tree_node(m->tree, m->community, &community);

	if (err)
		return err;
	info = apmp_tree_database(m->tree, m->community).info;
	if (info) {
		err = apmp_place_test(m->tree, m->community, info, room(), ret_desc);
		if (!err) {
			*ret_info = info;
			return apmp__db_set_info(m, false, info, info);
		}
	}
	/* Before (4) clears the field: a set is not given up where there is no place for it.  One
	 * may live in the granule of what was good once. */
	if (apmp_place_check(m->tree, m->community, info, ret_desc))
		err = apmp__db_choose(m, 0, &chosen);
	else
		err = apmp__db_choose(m, info, &chosen);
	if (err == -ENOMEM && info)
		err = apmp__db_choose(m, 0, &chosen);
	if (!err && info)
		err = apmp__db_set_info(m, false, info, 0);
	if (!err)
		err = apmp_place_check(m->tree, m->community, chosen, ret_desc);
	if (err)
		return err;
	*ret_info = chosen;
	return apmp__db_set_info(m, false, 0, chosen);
}

/* SHMEM_config_APMPDB [0280]. */
static int config(struct apmp_member *m, uint64_t *ret_info, int32_t *ret_desc)
{
	int err = -EAGAIN;

	for (uint32_t i = 0; i < APMP_ENTER_TRIES && err == -EAGAIN; i++)
		err = config_once(m, ret_info, ret_desc);
	return err;
}

/* Names another mapping in the private cell and waits until the clock has left the old one. */
static void set_cell(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_env *env = m->env;
	uint32_t in_tick;

	apmp__lockers_out(m); /* before: who is inside uses what the cell names, too */
	/* Sequentially consistent with the tick's store of in_tick and load of cell: either the
	 * clock sees the new cell, or we see that it is in its tick. */
	atomic_store(&m->cell, db);
	while ((in_tick = atomic_load(&m->in_tick)) != APMP_TICK_OUT) {
		if (in_tick == APMP_TICK_IN &&
		    !atomic_compare_exchange_strong(&m->in_tick, &in_tick, APMP_TICK_AWAITED))
			continue;
		(void)env->wait(env, &m->in_tick, APMP_TICK_AWAITED,
				env->now(env) + m->timing.tick_ns);
	}
}

/* Our own block becomes fit for others to see, and for the clock to beat in (Fig. 6). */
static int prepare_node(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_env *env = m->env;
	struct apmp_db_node *own = apmp__own_node(m, db);

	/* We were judged dead while we were out: the bit must not be lost below. */
	if (apmp__bugchecked(m, db))
		return -EOWNERDEAD;
	apmp_store_relaxed(&own->reasons, 0);
	/* Garbage above our identity would keep fencers from naming us. */
	if (apmp_load_relaxed(&own->bugcheck_of) > env->self)
		apmp_store_relaxed(&own->bugcheck_of, 0);
	APMP_POINT(env, map_604);
	/* Where a set is made anew in place we beat already, and hold locks by it. */
	if (apmp_load_relaxed(&own->beat_of) != env->self) {
		apmp_store_relaxed(&own->beat_of, 0);
		apmp_store_relaxed(&own->heartbeat, 0);
		apmp_store_release(&own->beat_of, env->self);
	}
	APMP_POINT(env, map_606);
	return 0;
}

/* From here on the clock uses this mapping; what was mapped before is unmapped. */
static void switch_to(struct apmp_member *m, void *base, uint64_t size)
{
	void *before = m->base;
	uint64_t before_size = apmp_load_relaxed(&m->size);

	set_cell(m, base);
	m->base = base;
	apmp_store_relaxed(&m->size, size);
	if (before)
		m->env->unmap(m->env, before, before_size);
}

int apmp__db_map_initial(struct apmp_member *m)
{
	const uint64_t size = (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE;
	struct apmp_env *env = m->env;
	uint64_t info = 0, pa;
	int32_t desc = 0;
	void *base;
	int err = config(m, &info, &desc);

	if (err)
		return err;
	pa = apmp_place_pfn(info) * APMP_PAGE_SIZE;
	err = env->map(env, pa, size, &base);
	if (err)
		return err;
	APMP_POINT(env, map_602);
	err = prepare_node(m, base);
	if (err) {
		env->unmap(env, base, size);
		return err;
	}
	apmp_store_relaxed(&m->info, info);
	m->desc = desc;
	m->pa = pa;
	m->page_count = 0;
	switch_to(m, base, size);
	APMP_POINT(env, map_608);
	return 0;
}

static bool is_contiguous(const uint64_t *pfn, uint32_t count)
{
	return pfn[count - 1] - pfn[0] == count - 1;
}

/* Maps page frames in this order, by runs. */
static int map_frames(struct apmp_env *env, const uint64_t *pfn, uint32_t count, void **ret_base)
{
	const uint64_t size = (uint64_t)count * APMP_PAGE_SIZE;
	unsigned char *at;
	int err;

	if (is_contiguous(pfn, count))
		return env->map(env, pfn[0] * APMP_PAGE_SIZE, size, ret_base);
	err = env->reserve(env, size, ret_base);
	if (err)
		return err;
	at = *ret_base;
	for (uint32_t first = 0, next; first < count && !err; first = next) {
		uint64_t length;

		for (next = first + 1; next < count && pfn[next] == pfn[next - 1] + 1;)
			next++;
		length = (uint64_t)(next - first) * APMP_PAGE_SIZE;
		err = env->map_at(env, pfn[first] * APMP_PAGE_SIZE, length, at);
		at += length;
	}
	if (err)
		env->unmap(env, *ret_base, size);
	return err;
}

/* Whether a page that nobody uses yet holds what is written there. */
static bool passes_test(void *page)
{
	_Atomic uint64_t *word = page;

	apmp_store_release(word, PATTERN);
	if (apmp_load_acquire(word) != PATTERN)
		return false;
	apmp_store_release(word, ~PATTERN);
	if (apmp_load_acquire(word) != ~PATTERN)
		return false;
	apmp_store_release(word, 0); /* no pattern is left, that could be taken for something */
	return true;
}

/* The first good page frames from the initial piece on.  -EREMCHG: not even that is good by now;
 * -ENOMEM: too few in this granule. */
static int take_good(const struct apmp_member *m, const uint64_t good[APMP_GRANULE_WORDS],
		     uint32_t count, uint64_t *ret_pfn)
{
	const uint64_t first = m->pa / APMP_PAGE_SIZE;
	uint64_t pfn = first;
	uint32_t n = 0;

	for (; n < count && pfn / APMP_GRANULE_PAGES == first / APMP_GRANULE_PAGES; pfn++)
		if (good[pfn % APMP_GRANULE_PAGES / 64] >> pfn % 64 & 1)
			ret_pfn[n++] = pfn;
		else if (n < APMP_DB_INITIAL_PAGES)
			return -EREMCHG;
	return n < count ? -ENOMEM : 0;
}

/* The first page behind the initial piece that fails its test; count: none does. */
static uint32_t first_failing(void *base, uint32_t count)
{
	uint32_t page = APMP_DB_INITIAL_PAGES;

	while (page < count && passes_test((unsigned char *)base + page * APMP_PAGE_SIZE))
		page++;
	return page;
}

/* The PFN list; nothing where the pages are contiguous. */
static int write_list(struct apmp_member *m, const uint64_t *pfn, uint32_t count)
{
	struct apmp_db_pfn_list *list;
	void *base;
	int err;

	m->pfn_list = 0;
	if (is_contiguous(pfn, count))
		return 0;
	err = m->env->map(m->env, pfn[count] * APMP_PAGE_SIZE, sizeof(*list), &base);
	if (err)
		return err;
	list = base;
	for (uint32_t i = 0; i < APMP_PAGE_SIZE / sizeof(list->pfn[0]); i++)
		apmp_store_relaxed(&list->pfn[i], i < count ? pfn[i] : 0);
	m->env->unmap(m->env, base, sizeof(*list));
	m->pfn_list = pfn[count] | UINT64_C(1) << 32;
	return 0;
}

static void use_frames(struct apmp_member *m, const uint64_t *pfn, uint32_t count, void *base)
{
	for (uint32_t i = 0; i < count; i++)
		m->pfn[i] = pfn[i];
	m->page_count = count;
	switch_to(m, base, (uint64_t)count * APMP_PAGE_SIZE);
}

int apmp__db_allocate(struct apmp_member *m, uint32_t pages, bool used)
{
	uint64_t good[APMP_GRANULE_WORDS], pfn[APMP_DB_MAX_PAGES + 1];
	void *base;
	int err = apmp_tree_tested(m->tree, m->desc, apmp_place_granule(m->info), good);

	while (!err) {
		uint32_t failing;

		err = take_good(m, good, pages + 1, pfn);
		if (!err)
			err = map_frames(m->env, pfn, pages, &base);
		if (err)
			break;
		failing = used ? pages : first_failing(base, pages);
		if (failing == pages) {
			err = write_list(m, pfn, pages);
			if (!err)
				use_frames(m, pfn, pages, base);
			else
				m->env->unmap(m->env, base, (uint64_t)pages * APMP_PAGE_SIZE);
			return err;
		}
		m->env->unmap(m->env, base, (uint64_t)pages * APMP_PAGE_SIZE);
		m->env->report(m->env, APMP_REPORT_PAGE_BAD, pfn[failing]);
		good[pfn[failing] % APMP_GRANULE_PAGES / 64] &= ~(UINT64_C(1) << pfn[failing] % 64);
	}
	return err;
}

/* Whether these can be the page frames of this database: garbage must not be mapped. */
static bool frames_are_sane(const struct apmp_member *m, const uint64_t *pfn, uint32_t count)
{
	const uint64_t first = m->pa / APMP_PAGE_SIZE;

	for (uint32_t i = 0; i < count; i++)
		if (pfn[i] / APMP_GRANULE_PAGES != first / APMP_GRANULE_PAGES ||
		    (i < APMP_DB_INITIAL_PAGES && pfn[i] != first + i) ||
		    (i && pfn[i] <= pfn[i - 1]))
			return false;
	return true;
}

/* Copies the PFN list out; -EBADMSG: it is none. */
static int read_list(struct apmp_member *m, uint64_t pfn_list, uint32_t count, uint64_t *ret_pfn)
{
	const uint64_t list_pfn = pfn_list & UINT32_MAX;
	struct apmp_db_pfn_list *list;
	void *base;
	int err;

	if (pfn_list >> 32 != 1 ||
	    list_pfn / APMP_GRANULE_PAGES != m->pa / APMP_PAGE_SIZE / APMP_GRANULE_PAGES)
		return -EBADMSG;
	err = m->env->map(m->env, list_pfn * APMP_PAGE_SIZE, sizeof(*list), &base);
	if (err)
		return err;
	list = base;
	for (uint32_t i = 0; i < APMP_PAGE_SIZE / sizeof(list->pfn[0]); i++) {
		uint64_t pfn = apmp_load_relaxed(&list->pfn[i]);

		if (i < count)
			ret_pfn[i] = pfn;
		if (i < count ? pfn == list_pfn : pfn != 0)
			err = -EBADMSG;
	}
	m->env->unmap(m->env, base, sizeof(*list));
	return err;
}

int apmp__db_map_continue(struct apmp_member *m)
{
	const struct apmp_db_header *h = &apmp__db(m)->header;
	const uint64_t pfn_list = apmp_load_relaxed(&h->pfn_list);
	const uint32_t count = apmp__db_pages();
	uint64_t pfn[APMP_DB_MAX_PAGES];
	void *base;
	int err = 0;

	if (m->page_count)
		return 0;
	if (apmp_load_relaxed(&h->page_count) != count || count <= APMP_DB_INITIAL_PAGES ||
	    count > APMP_DB_MAX_PAGES)
		return -EBADMSG;
	if (pfn_list)
		err = read_list(m, pfn_list, count, pfn);
	else
		for (uint32_t i = 0; i < count; i++)
			pfn[i] = m->pa / APMP_PAGE_SIZE + i;
	if (!err && !frames_are_sane(m, pfn, count))
		err = -EBADMSG;
	if (!err)
		err = map_frames(m->env, pfn, count, &base);
	if (err)
		return err;
	m->pfn_list = pfn_list;
	use_frames(m, pfn, count, base);
	return 0;
}

void apmp__db_unmap(struct apmp_member *m)
{
	apmp_store_relaxed(&m->dead_mask, 0); /* judgements of a life as a member that is over */
	switch_to(m, NULL, 0);
}
