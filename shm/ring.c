/* ring.c - big brothers and little brothers, derived from the membership mask. */
#include "shm/ring.h"

#include "shm/shared.h"

uint32_t apmp_ring_little(uint64_t members, uint32_t id)
{
	uint64_t above = id >= 63 ? 0 : members & ~UINT64_C(0) << (id + 1);

	if (above)
		return (uint32_t)__builtin_ctzll(above);
	return members ? (uint32_t)__builtin_ctzll(members) : id;
}

uint32_t apmp_ring_big(uint64_t members, uint32_t id)
{
	uint64_t below = members & ((UINT64_C(1) << id) - 1);

	if (below)
		return 63u - (uint32_t)__builtin_clzll(below);
	return members ? 63u - (uint32_t)__builtin_clzll(members) : id;
}

bool apmp_ring_is_whole(const struct apmp_db *db, uint64_t members, uint32_t id)
{
	return apmp_load_relaxed(&db->node[id].little_brother) == apmp_ring_little(members, id) &&
	       apmp_load_relaxed(&db->node[id].big_brother) == apmp_ring_big(members, id);
}

static void set_brothers(struct apmp_db *db, uint64_t members, uint32_t id)
{
	apmp_store_release(&db->node[id].little_brother, apmp_ring_little(members, id));
	apmp_store_release(&db->node[id].big_brother, apmp_ring_big(members, id));
}

void apmp_ring_add(struct apmp_db *db, uint32_t id)
{
	uint64_t members = apmp_load_relaxed(&db->header.members);

	/* The new one assumes the duties before its big brother drops them: nobody is unwatched
	 * in between. */
	set_brothers(db, members, id);
	apmp_store_release(&db->node[apmp_ring_little(members, id)].big_brother, id);
	apmp_store_release(&db->node[apmp_ring_big(members, id)].little_brother, id);
}

void apmp_ring_remove(struct apmp_db *db, uint32_t id)
{
	uint64_t members = apmp_load_relaxed(&db->header.members);

	if (!members)
		return;
	set_brothers(db, members, apmp_ring_big(members, id));
	set_brothers(db, members, apmp_ring_little(members, id));
}

void apmp_ring_rebuild(struct apmp_db *db)
{
	uint64_t members = apmp_load_relaxed(&db->header.members);

	for (uint64_t left = members; left; left &= left - 1)
		set_brothers(db, members, (uint32_t)__builtin_ctzll(left));
}
