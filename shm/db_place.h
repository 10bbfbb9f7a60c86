/*
 * db_place.h - where in a community's shared memory its APMP database may lie [0125, 0273-0280].
 *
 * A range is APMP_DB_INFO_PAGES pages as APMPDB_INFO describes them, and what follows them in the
 * same granule: memory changes hands by granules, so the granule is what is protected.
 */
#ifndef APMP_SHM_DB_PLACE_H
#define APMP_SHM_DB_PLACE_H

#include "shm/tree.h"

/* What a word in the form of APMPDB_INFO says [0275]. */
static inline uint64_t apmp_place_pfn(uint64_t info)
{
	return info & UINT32_MAX;
}

static inline uint64_t apmp_place_pages(uint64_t info)
{
	return info >> 32;
}

/* Base of its granule. */
static inline uint64_t apmp_place_granule(uint64_t info)
{
	return apmp_place_pfn(info) / APMP_GRANULE_PAGES * APMP_GRANULE;
}

/* Whether all of these pages are shared memory of the community, in one granule, and as many as
 * the initial piece needs.  0, with the memory descriptor; -ENXIO: they are not; -EBADMSG. */
APMP_CHECK int apmp_place_check(const struct apmp_tree *tree, int32_t community, uint64_t info,
				int32_t *ret_desc);

/* Besides: none of them is marked bad, and `room` good pages lie between the first and the end of
 * the granule.  -EIO: not so. */
APMP_CHECK int apmp_place_test(const struct apmp_tree *tree, int32_t community, uint64_t info,
			       uint32_t room, int32_t *ret_desc);

/* Steps (5) to (6.5) [0280]: the first range with that room.  Not in the granule of `but`, and of
 * another memory descriptor than that one where there is one; 0: anywhere.
 * -ENOMEM: there is none; -EBADMSG. */
APMP_CHECK int apmp_place_choose(const struct apmp_tree *tree, int32_t community, uint32_t room,
				 uint64_t but, uint64_t *ret_info);

#endif
