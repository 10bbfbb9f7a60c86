/*
 * member_enter.c - becoming a member: the create or join decision, and leaving in order.
 *
 * WHAT      Decides under the database lock whether a functioning system is there [0132-0134]:
 *           a header of ours with the last ID that the community gave out, a state other than
 *           "initializing", and at least one member that the tree says is alive.  Where there is
 *           none, and yet others live who have that ID by the tree, the database is spoilt: the
 *           set is re-formed (member_reform.c).  "In transition" can't be seen with the lock held:
 *           whoever moved the state is dead then, and is recovered before the decision.
 * STATES    not mapped -> mapped (Fig. 6) -> locked -> has the ID -> member -> left, unmapped.
 * WRITERS   The ID field of our partition node [0262-0265] is set and cleared by callback with the
 *           lock held: who lives and has the ID of a set is in its mask, or holds its lock.
 * LIMITS    Builds that differ are refused before, at the HWRPB.
 * CRASHES   See member_create.c, member_join.c.  While leaving: leave_begin, leave_services a dead
 *           member; leave_mask, leave_ring a ring that is rebuilt; leave_end nothing.
 */
#include <errno.h>
#include <string.h>

#include "shm/member_internal.h"
#include "shm/ring.h"
#include "shm/service.h"

#define MEMBER_MAGIC UINT64_C(0x4d454d4245525f5f)

int apmp_member_init(struct apmp_member *m, struct apmp_env *env, const struct apmp_tree *tree,
		     uint64_t hwrpb_pa, const struct apmp_timing *timing,
		     const struct apmp_cpu_bits *cpu_sets)
{
	struct apmp_tree_partition self;
	struct apmp_tree_node community = {0};
	int err = apmp_tree_find_self(tree, hwrpb_pa, &self);

	if (!err && self.community)
		err = apmp_tree_node(tree, self.community, &community);
	if (err)
		return err;
	*m = (struct apmp_member){.magic = MEMBER_MAGIC,
				  .env = env,
				  .tree = tree,
				  .id = self.id,
				  .community = self.community,
				  .community_id = (uint32_t)community.id,
				  .timing = *timing,
				  .cpu_sets = cpu_sets};
	memcpy(m->name, self.instance_name, sizeof(m->name));
	return self.community ? 0 : -ENODEV;
}

/* Whether there is a system to join. */
static bool functioning(struct apmp_member *m, struct apmp_db *db)
{
	const struct apmp_db_header *h = &db->header;
	uint32_t state = apmp_load_acquire(&h->state);
	uint64_t members = apmp_load_acquire(&h->members), incarnation;

	if (apmp_load_relaxed(&h->fingerprint) != apmp_fingerprint(sizeof(*db)) ||
	    apmp_load_relaxed(&h->software_version) != APMP_DB_SOFTWARE_VERSION ||
	    apmp_load_relaxed(&h->first_pfn) != m->pa / APMP_PAGE_SIZE)
		return false;
	/* The last set of the community, or one that was given up; of which we know better. */
	incarnation = apmp_load_relaxed(&h->incarnation);
	if (incarnation != apmp_tree_database(m->tree, m->community).id || incarnation == m->spoilt)
		return false;
	if (state != APMP_DB_OPERATIONAL && state != APMP_DB_JOINING && state != APMP_DB_RECOVERING)
		return false;
	for (; members; members &= members - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(members);
		uint64_t identity = apmp_load_acquire(&db->node[id].identity);

		if (apmp_identity_id(identity) == id && apmp_tree_alive(m->tree, identity))
			return true;
	}
	return false;
}

/* Removes the dead before we join; their services' slots lie in the variable portion. */
static int recover_first(struct apmp_member *m)
{
	int err = apmp__db_map_continue(m);

	if (!err)
		apmp__db_recover(m, apmp__db(m));
	return err;
}

int apmp__db_set_id(struct apmp_member *m, uint64_t id, bool creating, uint64_t *ret_id)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_SET_ID, .arg = {id, creating}}};
	int err = m->env->call(m->env, &call);

	if (!err)
		err = call.reply.error;
	if (!err)
		*ret_id = call.reply.ret[0];
	return err;
}

/* We are of no set any more. */
static void clear_id(struct apmp_member *m)
{
	uint64_t id;

	/* Refused: the next boot clears it. */
	if (apmp_tree_id_field(m->tree, m->id))
		(void)!apmp__db_set_id(m, 0, false, &id);
}

/* There is no functioning system here.  Where others are members of one all the same, its
 * database is spoilt: then it is re-formed in another place, if there is one [0132]. */
static int create_or_give_up(struct apmp_member *m)
{
	int err = apmp__db_lives_elsewhere(m) ? apmp__db_give_up(m) : -ENOMEM;

	if (!err)
		return -EREMCHG;
	return err == -ENOMEM ? apmp__db_create(m) : err;
}

/* One try of the decision.  -EAGAIN: start over [step 810]; -EREMCHG: in another place. */
static int enter_once(struct apmp_member *m)
{
	struct apmp_db *db;
	int err, broken = apmp__db_lock(m);

	if (broken < 0)
		return broken;
	db = apmp__db(m);
	m->page_count = 0; /* nothing beyond the initial piece is known of the set yet */
	if (!functioning(m, db)) {
		err = create_or_give_up(m);
	} else {
		err = broken || apmp__db_needs_recovery(m, db) ? recover_first(m) : 0;
		if (!err)
			err = apmp__db_join(m);
		if (err == -EBADMSG)
			m->spoilt = apmp_load_relaxed(&apmp__db(m)->header.incarnation);
	}
	if (!err)
		return 0;
	if (!m->comes_over) /* who comes over is waited for as long as it has one */
		clear_id(m);
	apmp__db_unlock(m);
	return err;
}

/* Maps, and decides until it is decided. */
static int enter(struct apmp_member *m)
{
	int err = -EREMCHG;

	for (uint32_t i = 0; i < APMP_ENTER_TRIES; i++) {
		if (err == -EREMCHG) {
			err = apmp__db_map_initial(m);
			if (err)
				return err;
		}
		err = enter_once(m);
		if (err != -EAGAIN && err != -EBADMSG && err != -EREMCHG)
			return err;
	}
	return err == -EREMCHG ? -EAGAIN : err;
}

int apmp__db_enter(struct apmp_member *m)
{
	int err = enter(m);

	if (!err)
		return 0;
	if (m->base) {
		m->env->report(m->env, APMP_REPORT_JOIN_FAILED, (uint64_t)-err);
		m->comes_over = false; /* what it held it has lost */
		apmp__db_unmap(m);
	}
	if (err != -EOWNERDEAD)
		clear_id(m);
	return err;
}

int apmp_member_enter(struct apmp_member *m)
{
	return m->joined ? -EALREADY : apmp__db_enter(m);
}

/* Locks and makes whole what we leave; comes over before, when the set is elsewhere. */
static int lock_to_leave(struct apmp_member *m)
{
	int err = -EREMCHG;

	for (uint32_t i = 0; i < APMP_ENTER_TRIES && err == -EREMCHG; i++) {
		err = apmp__db_lock(m);
		if (err == -EREMCHG) {
			int over = apmp__db_come_over(m);

			if (over)
				return over;
			if (!m->joined)
				return -ENOTCONN;
		}
	}
	if (err > 0 || (!err && apmp__db_needs_recovery(m, apmp__db(m)))) {
		apmp__db_recover(m, apmp__db(m));
		err = 0;
	}
	return err;
}

int apmp_member_leave(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	struct apmp_db *db;
	int err;

	if (!m->joined)
		return -ENOTCONN;
	err = lock_to_leave(m);
	if (err)
		return err;
	db = apmp__db(m);
	env->report(env, APMP_REPORT_LEAVING, 0);
	apmp_store_release(&apmp__own_node(m, db)->state, APMP_NODE_LEAVING);
	APMP_POINT(env, leave_begin);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		if (segment)
			apmp_services[s]->leave(m, segment);
	}
	APMP_POINT(env, leave_services);
	/* Before the mask forgets us, or we would be taken for dead; acquired with it. */
	apmp_store_relaxed(&apmp__own_node(m, db)->left, env->self);
	/* Before the mask: whoever lives and has the ID of a set is in its mask, or holds the
	 * lock. */
	clear_id(m);
	if (apmp_fetch_and(&db->header.members, ~(UINT64_C(1) << m->id)) == UINT64_C(1) << m->id)
		apmp_store_release(&db->header.state, APMP_DB_EMPTY);
	APMP_POINT(env, leave_mask);
	apmp_ring_remove(db, m->id);
	APMP_POINT(env, leave_ring);
	apmp_store_release(&m->watching, 0);
	apmp_store_relaxed(&m->incarnation, 0);
	m->joined = false;
	apmp_store_release(&apmp__own_node(m, db)->state, APMP_NODE_LEFT);
	apmp__db_unlock(m);
	APMP_POINT(env, leave_end);
	apmp__db_unmap(m);
	env->report(env, APMP_REPORT_LEFT, env->self);
	return 0;
}
