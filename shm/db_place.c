/* db_place.c - choosing and checking the ranges of the APMP database, by the tree alone. */
#include "shm/db_place.h"

#include <errno.h>

#include "shm/layout_db.h"

#define MAX_SHARED_RANGES 32u

/* Step (2): the shared memory array [0276].  Returns how many; -ENOMEM: there is none. */
static int shared_array(const struct apmp_tree *tree, int32_t community,
			struct apmp_tree_fragment array[MAX_SHARED_RANGES])
{
	int count = apmp_tree_shared_memory(tree, community, array, MAX_SHARED_RANGES);

	if (!count)
		return -ENOMEM;
	return count > (int)MAX_SHARED_RANGES ? (int)MAX_SHARED_RANGES : count;
}

static bool in_fragment(const struct apmp_tree_fragment *f, uint64_t pfn, uint64_t pages)
{
	uint64_t first = f->pa / APMP_PAGE_SIZE, end = first + f->size / APMP_PAGE_SIZE;

	return pfn >= first && pfn < end && end - pfn >= pages;
}

/* The fragment that holds all of the range; NULL. */
static const struct apmp_tree_fragment *holder(const struct apmp_tree_fragment *array, int count,
					       uint64_t info)
{
	uint64_t pfn = apmp_place_pfn(info), pages = apmp_place_pages(info);

	if (pages < APMP_DB_INITIAL_PAGES || pages > APMP_DB_INFO_PAGES ||
	    pfn % APMP_GRANULE_PAGES + pages > APMP_GRANULE_PAGES)
		return NULL;
	for (int i = 0; i < count; i++)
		if (in_fragment(&array[i], pfn, pages))
			return &array[i];
	return NULL;
}

int apmp_place_check(const struct apmp_tree *tree, int32_t community, uint64_t info,
		     int32_t *ret_desc)
{
	struct apmp_tree_fragment array[MAX_SHARED_RANGES];
	int count = shared_array(tree, community, array);
	const struct apmp_tree_fragment *f = count > 0 ? holder(array, count, info) : NULL;

	if (!f)
		return count == -EBADMSG ? count : -ENXIO;
	*ret_desc = f->desc;
	return 0;
}

/* The pages of one granule that a fragment has. */
struct granule {
	uint64_t base_pfn, limit; /* the fragment ends there, or the granule */
	uint64_t good[APMP_GRANULE_WORDS];
};

static int look_at(const struct apmp_tree *tree, const struct apmp_tree_fragment *f, uint64_t pfn,
		   struct granule *ret)
{
	uint64_t end = (f->pa + f->size) / APMP_PAGE_SIZE;

	ret->base_pfn = pfn / APMP_GRANULE_PAGES * APMP_GRANULE_PAGES;
	ret->limit = ret->base_pfn + APMP_GRANULE_PAGES;
	if (ret->limit > end)
		ret->limit = end;
	return apmp_tree_tested(tree, f->desc, ret->base_pfn * APMP_PAGE_SIZE, ret->good);
}

static bool is_good(const struct granule *g, uint64_t pfn)
{
	uint64_t idx = pfn - g->base_pfn;

	return g->good[idx / 64] >> idx % 64 & 1;
}

static bool has_room(const struct granule *g, uint64_t pfn, uint32_t room)
{
	uint32_t count = 0;

	for (; pfn < g->limit && count < room; pfn++)
		count += is_good(g, pfn);
	return count == room;
}

/* The page behind the highest numbered bad one of a run; pfn: all are good. */
static uint64_t behind_bad(const struct granule *g, uint64_t pfn, uint64_t pages)
{
	uint64_t next = pfn + pages;

	while (next > pfn && is_good(g, next - 1))
		next--;
	return next;
}

int apmp_place_test(const struct apmp_tree *tree, int32_t community, uint64_t info, uint32_t room,
		    int32_t *ret_desc)
{
	struct apmp_tree_fragment array[MAX_SHARED_RANGES];
	int count = shared_array(tree, community, array), err;
	const struct apmp_tree_fragment *f = count > 0 ? holder(array, count, info) : NULL;
	uint64_t pfn = apmp_place_pfn(info);
	struct granule g;

	if (!f)
		return count < 0 ? count : -ENXIO;
	err = look_at(tree, f, pfn, &g);
	if (err)
		return err;
	if (behind_bad(&g, pfn, apmp_place_pages(info)) != pfn || !has_room(&g, pfn, room))
		return -EIO;
	*ret_desc = f->desc;
	return 0;
}

/* Steps (6.1) to (6.4) for one element of the array; 0 or -ENOMEM, -EBADMSG. */
static int choose_in(const struct apmp_tree *tree, const struct apmp_tree_fragment *f,
		     uint32_t room, uint64_t but, uint64_t *ret_info)
{
	uint64_t pfn = f->pa / APMP_PAGE_SIZE;
	struct granule g;

	while (in_fragment(f, pfn, APMP_DB_INFO_PAGES)) {
		uint64_t next;
		int err = look_at(tree, f, pfn, &g);

		if (err)
			return err;
		if ((but && g.base_pfn * APMP_PAGE_SIZE == apmp_place_granule(but)) ||
		    g.limit - pfn < APMP_DB_INFO_PAGES || !has_room(&g, pfn, room)) {
			pfn = g.limit;
			continue;
		}
		next = behind_bad(&g, pfn, APMP_DB_INFO_PAGES);
		if (next == pfn) {
			*ret_info = pfn | (uint64_t)APMP_DB_INFO_PAGES << 32;
			return 0;
		}
		pfn = next;
	}
	return -ENOMEM;
}

int apmp_place_choose(const struct apmp_tree *tree, int32_t community, uint32_t room, uint64_t but,
		      uint64_t *ret_info)
{
	struct apmp_tree_fragment array[MAX_SHARED_RANGES];
	int count = shared_array(tree, community, array);
	const struct apmp_tree_fragment *taken =
	    but && count > 0 ? holder(array, count, but) : NULL;

	/* At first of another descriptor, whose memory does not fail with this one's [0125]. */
	for (int any = !taken; any < 2 && count > 0; any++) {
		for (int i = 0; i < count; i++) {
			int err = any || array[i].desc != taken->desc
				      ? choose_in(tree, &array[i], room, but, ret_info)
				      : -ENOMEM;

			if (err != -ENOMEM)
				return err;
		}
	}
	return count < 0 ? count : -ENOMEM;
}
