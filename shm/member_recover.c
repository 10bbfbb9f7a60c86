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
 * LIMITS    Validation reads a word of every page; a page that fails would be a SIGBUS here, which
 *           a sealed and allocated memfd does not give.
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

bool apmp__db_needs_recovery(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t members = apmp_load_acquire(&db->header.members);

	if (apmp_load_acquire(&db->header.state) != APMP_DB_OPERATIONAL)
		return true;
	for (; members; members &= members - 1)
		if (node_standing(m, db, (uint32_t)__builtin_ctzll(members)) != STANDING_ALIVE)
			return true;
	return false;
}

static void recover_services(struct apmp_member *m, struct apmp_db *db, uint32_t id)
{
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, m->size, s);

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
	env->report(env, APMP_REPORT_REMOVED, identity);
	apmp_store_relaxed(&db->node[id].state, APMP_NODE_REMOVED);
	apmp_fetch_add(&h->removed_count, 1); /* at least: twice when we die before the mask */
	apmp_store_relaxed(&h->validate, apmp_fetch_and(&h->members, ~(UINT64_C(1) << id)) &
					     ~(UINT64_C(1) << id));
	APMP_POINT(env, recover_mask);
}

/* A member whose block somebody has written over can't be watched: it is fenced, then removed. */
static void quarantine(struct apmp_member *m, uint32_t id)
{
	m->odd_count++;
	if (id == m->id)
		return; /* the others see it too, and fence us */
	apmp_store_relaxed(&m->dead[id], apmp_tree_present(m->tree, id));
	apmp_store_relaxed(&m->judged_ns, m->env->now(m->env));
	apmp_fetch_or(&m->dead_mask, UINT64_C(1) << id);
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
		enum standing standing = node_standing(m, db, id);

		if (standing == STANDING_DEAD)
			remove_dead(m, db, id);
		else if (standing == STANDING_ODD)
			quarantine(m, id);
	}
	apmp_ring_rebuild(db);
	APMP_POINT(env, recover_ring);
	apmp_store_relaxed(&db->header.crashing, 0);
	apmp_store_release(&db->header.state, apmp_load_relaxed(&db->header.members)
						  ? APMP_DB_OPERATIONAL
						  : APMP_DB_EMPTY);
	APMP_POINT(env, recover_end);
}

/* Readings in a row; whoever sets the bit more often is mad, and the next tick goes on. */
#define VALIDATE_TRIES 8u

/* Every page of the database is still accessible [0143]. */
static void validate(struct apmp_member *m, struct apmp_db *db)
{
	const _Atomic uint64_t *word = (const _Atomic uint64_t *)(const void *)db;
	uint64_t bit = UINT64_C(1) << m->id;

	/* The bit goes first: a loss during the reading sets it again, and all is read again. */
	for (uint32_t i = 0; i < VALIDATE_TRIES; i++) {
		uint64_t removed;

		if (!(apmp_fetch_and(&db->header.validate, ~bit) & bit))
			return;
		removed = apmp_load_acquire(&db->header.removed_count);
		for (uint64_t off = 0; off < m->size; off += APMP_PAGE_SIZE)
			(void)apmp_load_relaxed(&word[off / sizeof(*word)]);
		apmp_store_relaxed(&apmp__own_node(m, db)->validated, removed);
		APMP_POINT(m->env, validate_pages);
	}
}

int apmp_member_work(struct apmp_member *m)
{
	struct apmp_db *db = apmp__db(m);
	uint64_t holder, reasons, bits = ~(uint64_t)APMP_REASON_BUGCHECK;
	int err;

	if (!db)
		return 0;
	if (apmp__bugchecked(m, db))
		return -EOWNERDEAD;
	apmp__fence_dead(m, db);
	if (!m->joined)
		return 0;
	reasons = apmp_fetch_and(&apmp__own_node(m, db)->reasons, ~bits);
	holder = apmp__db_lock_holder(db);
	if ((holder && !apmp_tree_alive(m->tree, holder)) ||
	    (!holder && apmp__db_needs_recovery(m, db))) {
		err = apmp__db_lock(m);
		if (err < 0)
			return err;
		if (err > 0 || apmp__db_needs_recovery(m, db))
			apmp__db_recover(m, db);
		apmp__db_unlock(m);
	}
	validate(m, db);
	apmp__locks_work(m, reasons);
	return 0;
}
