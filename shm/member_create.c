/*
 * member_create.c - creating a sharing set, Figs. 7A and 7B [0135].
 *
 * WHAT      Writes the whole database anew, with the lock held.  Nothing of what is found is used.
 *           The incarnation is the ID that the console gives out [0263]; from then on no member of
 *           a set before takes this memory for its own.
 * CRASHES   At create_263 and _id there is no set with the last ID: the next to enter creates.
 *           At every point from create_702 to _714 state is "initializing" and the lock is the dead
 *           creator's: not a functioning system, so the next to enter creates again from the start.
 *           From create_716 on it is an operational set of one dead member: the same.
 * NOT HERE  The decision (member_enter.c).
 */
#include <errno.h>

#include "shm/lock_internal.h"
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
	for (uint32_t i = 0; i < APMP_DB_SILENCES; i++)
		apmp_store_relaxed(&own->silence[i], 0);
	apmp_store_relaxed(&own->little_brother, m->id);
	apmp_store_relaxed(&own->big_brother, m->id);
	/* Acquired by whoever reads who this member is. */
	apmp_store_release(&own->identity, m->env->self);
}

void apmp__db_is_member(struct apmp_member *m, uint64_t incarnation)
{
	apmp_store_relaxed(&m->incarnation, incarnation);
	m->joined = true;
	/* The clock that acquires it compares the incarnation with what it reads. */
	apmp_store_release(&m->watching, 1);
	apmp__locks_work(m, 0);
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

/* I/O of those who died with the set's ID may still be under way: their buses are reset [0263]. */
static int reset_buses(struct apmp_member *m)
{
	for (uint64_t left = apmp__db_identified(m, false); left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);
		struct apmp_call call = {.request = {.op = APMP_CALL_RESET_BUSES, .arg = {id}}};
		int err = m->env->call(m->env, &call);

		if (!err)
			err = call.reply.error;
		if (err && err != -EBUSY) /* it has just booted, and that clears the ID too */
			return err;
		APMP_POINT_ARG(m->env, create_263, id);
	}
	return 0;
}

/* Which set this one replaces: its incarnation, 0 none.  Then `expected` come over from it. */
static uint64_t replaced(struct apmp_member *m, uint64_t expected)
{
	uint64_t last = m->comes_over ? m->came_from : 0;

	for (; expected; expected &= expected - 1) {
		uint64_t id = apmp_tree_id_field(m->tree, (uint32_t)__builtin_ctzll(expected));

		if (id > last)
			last = id;
	}
	return last;
}

int apmp__db_create(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	struct apmp_db *db = apmp__db(m);
	uint32_t length[APMP_SERVICE_COUNT], pages;
	uint64_t incarnation, expected, before;
	int err = reset_buses(m);

	/* From here on no member takes what stands here for its set. */
	if (!err)
		err = apmp__db_set_id(m, 0, true, &incarnation);
	if (err)
		return err;
	APMP_POINT_ARG(env, create_id, incarnation);
	expected = apmp__db_identified(m, true);
	before = replaced(m, expected);
	if (!m->comes_over)
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
	err = apmp__db_allocate(m, pages, expected != 0);
	if (err)
		return err;
	db = apmp__db(m);
	APMP_POINT(env, create_706);
	place_services(db, length);
	APMP_POINT(env, create_708);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		if (!segment)
			return -EBADMSG; /* somebody else writes here */
		apmp_services[s]->create(m, segment);
	}
	APMP_POINT(env, create_710);
	/* Another creates too: somebody has written over the lock.  The last ID is the set's. */
	if (apmp__db_superseded(m, incarnation))
		return -EREMCHG;
	fill_header(m, db, incarnation, pages);
	apmp_store_relaxed(&db->header.expected, expected);
	apmp_store_relaxed(&db->header.reformed_of, before);
	APMP_POINT(env, create_712);
	apmp_ring_rebuild(db);
	APMP_POINT(env, create_714);
	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		void *segment = apmp_service_segment(db, apmp_load_relaxed(&m->size), s);

		err = segment ? apmp_services[s]->join(m, segment) : -EBADMSG;
		if (err)
			return err;
	}
	apmp_store_relaxed(&db->header.fingerprint, apmp_fingerprint(sizeof(*db)));
	apmp_store_release(&apmp__own_node(m, db)->state, APMP_NODE_MEMBER);
	/* Acquired by whoever asks whether the set functions. */
	apmp_store_release(&db->header.state, APMP_DB_OPERATIONAL);
	apmp__db_is_member(m, incarnation);
	APMP_POINT(env, create_716);
	apmp__db_unlock(m);
	APMP_POINT(env, create_718);
	env->report(env, before ? APMP_REPORT_REFORMED : APMP_REPORT_CREATED, incarnation);
	if (!m->comes_over)
		env->report(env, APMP_REPORT_JOINED, env->self);
	apmp__db_ensure_other(m);
	return 0;
}
