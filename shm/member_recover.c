/*
 * member_recover.c - removing the dead from a sharing set, and validating what is left [0143].
 *
 * WHAT      The membership mask is the truth; node states, ring and service slots are derived from
 *           it and made to fit.  Every step may be done again, so a recoverer that dies is taken
 *           over by the next holder of the lock, who finds two dead.
 * WRITERS   The holder of the database lock.
 * CRASHES   recover_begin, recover_services: the dead is still in the mask, all is done again.
 *           recover_mask, recover_ring: state "recovering" makes the next holder rebuild the ring.
 *           recover_end: only the lock is left.
 *           A member whose block names nobody of its partition, and which lives, is not removed:
 *           its set is re-formed (member_reform.c).
 * LIMITS    Validation reads a word of every page; a page that fails would be a SIGBUS here, which
 *           a sealed and allocated memfd does not give.  What a tested bitmap says is looked at
 *           each time.
 */
#include "shm/lock_internal.h"
#include "shm/ring.h"
#include "shm/service.h"

#include <errno.h>

enum standing {
	STANDING_ALIVE = 1,
	STANDING_DEAD, /* known to run no more: may be removed */
	STANDING_ODD,  /* its block names nobody of its partition, and the partition lives */
};

static enum standing node_standing(struct apmp_member *m, struct apmp_db *db, uint32_t id)
{
	uint64_t identity = apmp_load_acquire(&db->node[id].identity);
	uint64_t present = apmp_tree_present(m->tree, id);

	if (identity == present && present)
		return STANDING_ALIVE;
	if (!present || (apmp_identity_id(identity) == id && identity < present &&
			 !apmp_tree_alive(m->tree, identity)))
		return STANDING_DEAD;
	return STANDING_ODD;
}

/* Who may still come over: ourselves as well, until we have. */
static uint64_t may_come(const struct apmp_member *m)
{
	return apmp__db_identified(m, true) | UINT64_C(1) << m->id;
}

bool apmp__db_needs_recovery(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t members = apmp_load_acquire(&db->header.members);

	uint64_t expected = apmp_load_acquire(&db->header.expected);

	if (apmp_load_acquire(&db->header.state) != APMP_DB_OPERATIONAL ||
	    apmp_load_relaxed(&db->header.crashing) ||
	    (expected && expected & (members | ~may_come(m))))
		return true;
	for (uint64_t left = members; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		if (node_standing(m, db, id) != STANDING_ALIVE ||
		    !apmp_ring_is_whole(db, members, id))
			return true;
	}
	return false;
}

static void recover_services(struct apmp_member *m, struct apmp_db *db, uint32_t id)
{
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		if (segment)
			apmp_services[s]->recover(m, segment, id);
	}
}

static void remove_dead(struct apmp_member *m, struct apmp_db *db, uint32_t id)
{
	struct apmp_env *env = m->env;
	struct apmp_db_header *h = &db->header;
	uint64_t identity = apmp_load_relaxed(&db->node[id].identity);

	apmp_store_relaxed(&h->crashing, identity);
	apmp_store_relaxed(&h->actor, env->self);
	apmp_store_release(&h->state, APMP_DB_RECOVERING);
	APMP_POINT_ARG(env, recover_begin, identity);
	recover_services(m, db, id);
	APMP_POINT(env, recover_services);
	/* At least once: before the mask forgets it; the console tells one life once. */
	if (apmp_identity_id(identity) == id) /* else the mask is garbage, and nobody was lost */
		env->report(env, APMP_REPORT_REMOVED, identity);
	apmp_store_relaxed(&db->node[id].state, APMP_NODE_REMOVED);
	apmp_fetch_add(&h->removed_count, 1); /* at least: twice when we die before the mask */
	apmp_store_relaxed(&h->validate, apmp_fetch_and(&h->members, ~(UINT64_C(1) << id)) &
					     ~(UINT64_C(1) << id));
	APMP_POINT(env, recover_mask);
}

void apmp__db_recover(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_env *env = m->env;
	uint64_t members = apmp_load_acquire(&db->header.members);
	uint64_t actor = apmp_load_relaxed(&db->header.actor);
	uint32_t actor_id = apmp_identity_id(actor);

	/* One that died while it joined is in no mask, but services may know it. */
	if (actor != env->self && actor_id != APMP_NO_PARTITION && actor_id != m->id &&
	    !(members >> actor_id & 1) && !apmp_tree_alive(m->tree, actor))
		recover_services(m, db, actor_id);
	for (; members; members &= members - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(members);

		if (node_standing(m, db, id) == STANDING_DEAD)
			remove_dead(m, db, id);
	}
	/* Who has died, or left, will not come over; who is a member has done so. */
	if (apmp_load_relaxed(&db->header.expected))
		apmp_fetch_and(&db->header.expected,
			       may_come(m) & ~apmp_load_relaxed(&db->header.members));
	apmp_ring_rebuild(db);
	APMP_POINT(env, recover_ring);
	apmp_store_relaxed(&db->header.crashing, 0);
	apmp_store_release(&db->header.state, apmp_load_relaxed(&db->header.members)
						  ? APMP_DB_OPERATIONAL
						  : APMP_DB_EMPTY);
	APMP_POINT(env, recover_end);
}

/* A member that lives and whose block somebody has written over can't be watched. */
static bool has_odd_member(struct apmp_member *m, struct apmp_db *db)
{
	for (uint64_t left = apmp_load_acquire(&db->header.members); left; left &= left - 1)
		if (node_standing(m, db, (uint32_t)__builtin_ctzll(left)) == STANDING_ODD)
			return true;
	return false;
}

/* What the services say of their segments; enum apmp_db_fault, 0, or what the lock said. */
static int validate_services(struct apmp_member *m, struct apmp_db *db)
{
	int fault = 0, broken = apmp__db_lock(m);

	if (broken < 0)
		return broken;
	if (broken)
		apmp__db_recover(m, db);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT && !fault; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		if (!segment || apmp_services[s]->validate(m, segment))
			fault = APMP_DB_FAULT_SERVICE;
	}
	apmp__db_unlock(m);
	return fault;
}

/* Readings in a row; whoever sets the bit more often is mad, and the next tick goes on. */
#define VALIDATE_TRIES 8u

/* Every page of the database is still accessible, and what stands there can be so [0143].  As
 * validate_services. */
static int validate(struct apmp_member *m, struct apmp_db *db)
{
	const _Atomic uint64_t *word = (const _Atomic uint64_t *)(const void *)db;
	uint64_t bit = UINT64_C(1) << m->id;

	/* The bit goes first: a loss during the reading sets it again, and all is read again. */
	for (uint32_t i = 0; i < VALIDATE_TRIES; i++) {
		uint64_t removed;
		int fault;

		if (!(apmp_fetch_and(&db->header.validate, ~bit) & bit))
			return 0;
		removed = apmp_load_acquire(&db->header.removed_count);
		for (uint64_t off = 0; off < apmp_load_relaxed(&m->size); off += APMP_PAGE_SIZE)
			(void)apmp_load_relaxed(&word[off / sizeof(*word)]);
		fault = validate_services(m, db);
		if (fault)
			return fault;
		apmp_store_relaxed(&apmp__own_node(m, db)->validated, removed);
		APMP_POINT(m->env, validate_pages);
	}
	return 0;
}

/* Recovers if somebody has died.  As validate_services. */
static int recover(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t holder = apmp__db_lock_holder(db);
	int broken;
	bool odd;

	if ((!holder || apmp__db_may_hold(m, db, holder)) &&
	    (holder || !apmp__db_needs_recovery(m, db)))
		return 0;
	broken = apmp__db_lock(m);
	if (broken < 0)
		return broken;
	if (broken || apmp__db_needs_recovery(m, db))
		apmp__db_recover(m, db);
	odd = has_odd_member(m, db);
	apmp__db_unlock(m);
	return odd ? APMP_DB_FAULT_NODE : 0;
}

int apmp_member_work(struct apmp_member *m)
{
	struct apmp_db *db = apmp__db(m);
	uint64_t reasons;
	int fault;

	if (!db)
		return 0;
	if (apmp__bugchecked(m, db))
		return -EOWNERDEAD;
	if (m->joined && apmp__db_moved(m))
		return apmp__db_come_over(m);
	apmp__fence_dead(m, db);
	if (!m->joined)
		return 0;
	apmp__db_unlock_stray(m);
	reasons = apmp_fetch_and(&apmp__own_node(m, db)->reasons, APMP_REASON_BUGCHECK);
	m->is_wished = m->is_wished || reasons & APMP_REASON_WISH;
	fault = (int)apmp__db_fault(m, db);
	if (!fault)
		fault = recover(m, db);
	if (!fault)
		fault = validate(m, db);
	/* What looked odd may be a set that is being made anew by now. */
	if (fault == -EREMCHG || (fault > 0 && apmp__db_moved(m)))
		return apmp__db_come_over(m);
	if (fault)
		return fault > 0 ? apmp__db_reform(m, (uint32_t)fault) : fault;
	apmp__db_ensure_other(m); /* a page of it may have gone bad, which interrupts everybody */
	apmp__locks_work(m, reasons);
	return 0;
}
