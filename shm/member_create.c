/*
 * member_create.c - creating a sharing set, Figs. 7A and 7B [0135].
 *
 * WHAT      Writes the whole database anew, with the lock held.  Nothing of what is found is used
 *           but the incarnation count, and that only if the header was one of ours.
 * CRASHES   At every point from create_702 to _714 state is "initializing" and the lock is the dead
 *           creator's: not a functioning system, so the next to enter creates again from the start.
 *           From create_716 on it is an operational set of one dead member: the same.
 * NOT HERE  The decision (member_enter.c).
 */
#include <errno.h>

#include "shm/member_internal.h"
#include "shm/ring.h"
#include "shm/service.h"

/* Steps 704 and 708: sizes, then offsets.  Returns the pages of the whole database. */
static uint32_t size_services(struct apmp_db *db, uint32_t length[APMP_SERVICE_COUNT])
{
	uint32_t pages = APMP_DB_INITIAL_PAGES;

	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		length[s] = (apmp_services[s]->size() + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE;
		pages += length[s];
		apmp_store_relaxed(&db->header.segment[s].size, length[s] * APMP_PAGE_SIZE);
	}
	return pages;
}

static void place_services(struct apmp_db *db, const uint32_t length[APMP_SERVICE_COUNT])
{
	uint32_t page = APMP_DB_INITIAL_PAGES;

	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		apmp_store_relaxed(&db->header.segment[s].off, page * APMP_PAGE_SIZE);
		page += length[s];
	}
	for (uint32_t s = APMP_SERVICE_COUNT; s < APMP_DB_MAX_SERVICES; s++) {
		apmp_store_relaxed(&db->header.segment[s].off, 0);
		apmp_store_relaxed(&db->header.segment[s].size, 0);
	}
}

/* Node blocks of others may be mapped by others at this moment: they own their first two lines
 * (reasons, heartbeat), which are left alone. */
static void clear_nodes(struct apmp_member *m, struct apmp_db *db)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct apmp_db_node *node = &db->node[id];

		if (id == m->id)
			continue;
		apmp_store_relaxed(&node->identity, 0);
		apmp_store_relaxed(&node->state, 0);
		apmp_store_relaxed(&node->little_brother, id);
		apmp_store_relaxed(&node->big_brother, id);
	}
}

void apmp__node_fill(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_db_node *own = apmp__own_node(m, db);

	apmp_copy_in(own->name, m->name, sizeof(own->name));
	apmp_store_relaxed(&own->software_version, APMP_DB_SOFTWARE_VERSION);
	apmp_store_relaxed(&own->since_ns, m->env->now(m->env));
	apmp_store_relaxed(&own->little_inactive_ns, 0);
	apmp_store_relaxed(&own->little_brother, m->id);
	apmp_store_relaxed(&own->big_brother, m->id);
	/* Acquired by whoever reads who this member is. */
	apmp_store_release(&own->identity, m->env->self);
}

/* Step 712: sole member, next incarnation, creation parameters. */
static void fill_header(struct apmp_member *m, struct apmp_db *db, uint64_t incarnation,
			uint32_t pages)
{
	struct apmp_db_header *h = &db->header;

	apmp_store_relaxed(&h->members_off, (uint32_t)offsetof(struct apmp_db_header, members));
	apmp_store_relaxed(&h->page_count, pages);
	apmp_store_relaxed(&h->first_pfn, m->pa / APMP_PAGE_SIZE);
	apmp_store_relaxed(&h->pfn_list, m->pfn_list);
	apmp_store_relaxed(&h->crashing, 0);
	apmp_store_relaxed(&h->removed_count, 0);
	apmp_store_relaxed(&h->validate, 0);
	apmp_store_relaxed(&h->service_mask, (UINT64_C(1) << APMP_SERVICE_COUNT) - 1);
	apmp_store_relaxed(&h->incarnation, incarnation);
	apmp_store_relaxed(&h->creation_ns, m->env->now(m->env));
	apmp_store_relaxed(&h->creator, m->env->self);
	apmp_store_relaxed(&h->software_version, APMP_DB_SOFTWARE_VERSION);
	apmp__node_fill(m, db);
	apmp_store_release(&h->members, UINT64_C(1) << m->id);
}

int apmp__db_create(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	struct apmp_db *db = apmp__db(m);
	uint32_t length[APMP_SERVICE_COUNT], pages;
	bool ours = apmp_load_relaxed(&db->header.fingerprint) == apmp_fingerprint(sizeof(*db));
	uint64_t incarnation = ours ? apmp_load_relaxed(&db->header.incarnation) + 1 : 1;
	int err;

	env->report(env, APMP_REPORT_CREATING, 0);
	apmp_store_release(&db->header.state, APMP_DB_INITIALIZING);
	apmp_store_relaxed(&db->header.actor, env->self);
	apmp_store_relaxed(&db->header.members, 0);
	apmp_store_relaxed(&apmp__own_node(m, db)->state, APMP_NODE_INITIALIZING);
	clear_nodes(m, db);
	APMP_POINT(env, create_702);
	pages = size_services(db, length);
	APMP_POINT(env, create_704);
	if (pages > APMP_DB_MAX_PAGES)
		return -ENOMEM;
	err = apmp__db_allocate(m, pages);
	if (err)
		return err;
	db = apmp__db(m);
	APMP_POINT(env, create_706);
	place_services(db, length);
	APMP_POINT(env, create_708);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, m->size, s);

		if (!segment)
			return -EBADMSG; /* somebody else writes here */
		apmp_services[s]->create(m, segment);
	}
	APMP_POINT(env, create_710);
	fill_header(m, db, incarnation, pages);
	APMP_POINT(env, create_712);
	apmp_ring_rebuild(db);
	APMP_POINT(env, create_714);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, m->size, s);

		err = segment ? apmp_services[s]->join(m, segment) : -EBADMSG;
		if (err)
			return err;
	}
	apmp_store_relaxed(&db->header.fingerprint, apmp_fingerprint(sizeof(*db)));
	apmp_store_release(&apmp__own_node(m, db)->state, APMP_NODE_MEMBER);
	/* Acquired by whoever asks whether the set functions. */
	apmp_store_release(&db->header.state, APMP_DB_OPERATIONAL);
	m->joined = true;
	apmp_store_release(&m->watching, 1);
	APMP_POINT(env, create_716);
	apmp__db_unlock(m);
	APMP_POINT(env, create_718);
	env->report(env, APMP_REPORT_CREATED, incarnation);
	env->report(env, APMP_REPORT_JOINED, env->self);
	return 0;
}
