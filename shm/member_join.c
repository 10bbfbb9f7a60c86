/*
 * member_join.c - joining a sharing set that functions, Figs. 8A and 8B [0137].
 *
 * WHAT      With the lock held and the dead removed, in the order of the figures.
 * CRASHES   Up to join_810 the joiner is in no mask: whoever takes the lock from the dead sets the
 *           state back and lets the services forget it.  From join_812 on it is a dead member.
 */
#include <errno.h>
#include <string.h>

#include "shm/member_internal.h"
#include "shm/ring.h"
#include "shm/service.h"

/* Step 802: whether another member has our instance name. */
static bool name_taken(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t others = apmp_load_relaxed(&db->header.members) & ~(UINT64_C(1) << m->id);
	char name[sizeof(db->node[0].name)];

	for (; others; others &= others - 1) {
		apmp_copy_out(name, db->node[__builtin_ctzll(others)].name, sizeof(name));
		if (strncmp(name, m->name, sizeof(name)) == 0)
			return true;
	}
	return false;
}

/* Steps 808 and 810. */
static int join_services(struct apmp_member *m, struct apmp_db *db)
{
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);
		int err = segment ? apmp_services[s]->join(m, segment) : -EBADMSG;

		if (err)
			return err;
	}
	return 0;
}

/* Gives up before step 812: the set goes on as if we had not come.  Who comes over keeps what it
 * holds, for the place where it will have joined. */
static int abandon(struct apmp_member *m, struct apmp_db *db, int err)
{
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT && !m->comes_over; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		if (segment)
			apmp_services[s]->leave(m, segment);
	}
	apmp_store_relaxed(&apmp__own_node(m, db)->state, APMP_NODE_LEFT);
	apmp_store_release(&db->header.state, APMP_DB_OPERATIONAL);
	return err;
}

/* The others look at the mask again. */
static void tell_members(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t others = apmp_load_relaxed(&db->header.members) & ~(UINT64_C(1) << m->id);

	for (; others; others &= others - 1)
		apmp__interrupt(m, db, (uint32_t)__builtin_ctzll(others), APMP_REASON_MEMBERS,
				false);
}

int apmp__db_join(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	struct apmp_db *db = apmp__db(m);
	uint64_t incarnation = apmp_load_relaxed(&db->header.incarnation);
	int err;

	if (name_taken(m, db))
		return -EEXIST;
	APMP_POINT(env, join_802);
	if (!m->comes_over)
		env->report(env, APMP_REPORT_JOINING, 0);
	apmp_store_relaxed(&db->header.actor, env->self);
	apmp_store_relaxed(&apmp__own_node(m, db)->state, APMP_NODE_JOINING);
	apmp_store_release(&db->header.state, APMP_DB_JOINING);
	APMP_POINT(env, join_804);
	err = apmp__db_map_continue(m);
	if (err)
		return abandon(m, db, err);
	db = apmp__db(m);
	APMP_POINT(env, join_806);
	err = join_services(m, db);
	if (err)
		return abandon(m, db, err);
	APMP_POINT(env, join_808);
	err = apmp__db_set_id(m, incarnation, false, &incarnation); /* [0264] */
	/* A set that was re-formed meanwhile may have been made before we had an ID, and then
	 * doesn't wait for us: nothing may be granted to us here. */
	if (!err && apmp__db_superseded(m, incarnation))
		err = -EREMCHG;
	if (err)
		return abandon(m, db, err);
	apmp__node_fill(m, db);
	APMP_POINT(env, join_810);
	apmp_fetch_or(&db->header.members, UINT64_C(1) << m->id);
	apmp_fetch_and(&db->header.expected, ~(UINT64_C(1) << m->id)); /* it has come over */
	APMP_POINT(env, join_812);
	apmp_ring_add(db, m->id);
	APMP_POINT(env, join_814);
	apmp_store_release(&apmp__own_node(m, db)->state, APMP_NODE_MEMBER);
	apmp_store_release(&db->header.state, APMP_DB_OPERATIONAL);
	apmp__db_is_member(m, incarnation);
	APMP_POINT(env, join_816);
	apmp__db_unlock(m);
	APMP_POINT(env, join_818);
	tell_members(m, db);
	if (!m->comes_over)
		env->report(env, APMP_REPORT_JOINED, env->self);
	return 0;
}
