/* member_changes.c - who has become a member and who is one no more, for programs to be told. */
#include "shm/member_internal.h"

/* The member of this partition in the set; 0: none. */
static uint64_t present(struct apmp_member *m, struct apmp_db *db, uint64_t members, uint32_t id)
{
	uint64_t identity;

	if (!m->joined)
		return 0;
	if (apmp_load_acquire(&db->header.expected) >> id & 1)
		return m->known[id]; /* it comes over with the set */
	if (!(members >> id & 1))
		return 0;
	identity = apmp_load_acquire(&db->node[id].identity);
	/* For an odd block the set is re-formed; until then nothing has changed. */
	return apmp_identity_id(identity) == id ? identity : m->known[id];
}

/* In order; everybody else who is gone has died. */
static bool has_left(struct apmp_db *db, uint64_t identity)
{
	return apmp_load_relaxed(&db->node[apmp_identity_id(identity)].left) == identity;
}

uint32_t apmp_member_changes(struct apmp_member *m,
			     struct apmp_member_change ret_changes[2 * APMP_MAX_PARTITIONS])
{
	struct apmp_db *db = apmp__db(m);
	uint64_t members = db ? apmp_load_acquire(&db->header.members) : 0;
	uint64_t now[APMP_MAX_PARTITIONS];
	uint32_t count = 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		now[id] = present(m, db, members, id);
		if (m->known[id] == now[id] || !m->known[id])
			continue;
		ret_changes[count++] = (struct apmp_member_change){
		    m->known[id], false, m->joined && !has_left(db, m->known[id])};
		APMP_POINT_ARG(m->env, member_gone, m->known[id]);
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		if (m->known[id] != now[id] && now[id]) {
			ret_changes[count++] = (struct apmp_member_change){now[id], true, false};
			APMP_POINT_ARG(m->env, member_added, now[id]);
		}
		m->known[id] = now[id];
	}
	return count;
}
