/*
 * member_reform.c - a sharing set whose database has gone bad is formed anew in another place, and
 * nobody dies of it [0125, 0132, 0143].
 *
 * WHAT      Two words of the tree decide where the set lives: APMPDB_INFO says which range, and
 *           apmpdb_id which set, as the last ID that was given out.  A header that has another
 *           incarnation than that is no set, whatever it looks like: so one that was given up
 *           never comes back.
 * STATES    A member that finds its database odd gives it up: it moves APMPDB_INFO, by
 *           compare-and-set, to the other range, or to one chosen anew; apmpdb_id rises with it.
 *           Where there is no other range the set is made anew in place, and its ID rises.
 *           Each member sees at its next tick that one of the words is not its own: from then on
 *           it judges nobody by the old range, and its primary comes over: maps the new range, lets
 *           its clock beat there, and enters as if it came for the first time.  Who takes the lock
 *           first creates; `expected` are the others that live and have an ID.  Each clears its bit
 *           when it has joined; of who dies or leaves instead it is cleared by recovery.
 * WRITERS   The primary; apmp__db_moved and apmp__db_odd are the clock's too.
 * CRASHES   reform_chosen: nothing has happened.  reform_decided, reform_over: the others come over
 *           all the same, and what is silent in the new range is fenced.
 * LIMITS    A range that is spoilt again and again is given up again and again, by each member at
 *           most once in the `stop` time: a mad writer costs time, not lives.  Where not even one
 *           good range is left, a bad page is told once and used on, also when memory comes later.
 */
#include <errno.h>

#include "shm/db_place.h"
#include "shm/member_internal.h"
#include "shm/service.h"

bool apmp__db_superseded(const struct apmp_member *m, uint64_t incarnation)
{
	struct apmp_tree_database db = apmp_tree_database(m->tree, m->community);

	return db.info != apmp_load_relaxed(&m->info) || (incarnation && db.id != incarnation);
}

bool apmp__db_moved(const struct apmp_member *m)
{
	return apmp__db_superseded(m, apmp_load_relaxed(&m->incarnation));
}

bool apmp__db_odd(struct apmp_member *m, struct apmp_db *db)
{
	const struct apmp_db_header *h = &db->header;

	return apmp_load_relaxed(&h->fingerprint) != apmp_fingerprint(sizeof(*db)) ||
	       apmp_load_relaxed(&h->incarnation) != apmp_load_relaxed(&m->incarnation) ||
	       !(apmp_load_acquire(&h->members) >> m->id & 1) ||
	       apmp_load_acquire(&apmp__own_node(m, db)->identity) != m->env->self;
}

/* Words of the header that nobody changes while the set lives. */
static bool header_is_odd(struct apmp_member *m, struct apmp_db *db)
{
	const struct apmp_db_header *h = &db->header;
	uint32_t page = APMP_DB_INITIAL_PAGES;

	for (uint32_t s = 0; s < APMP_SERVICE_COUNT; s++) {
		uint32_t size = apmp_load_relaxed(&h->segment[s].size);

		if (!apmp_service_segment(db, apmp_load_relaxed(&m->size), s) ||
		    apmp_load_relaxed(&h->segment[s].off) != page * APMP_PAGE_SIZE)
			return true;
		page += size / APMP_PAGE_SIZE;
	}
	return apmp_load_relaxed(&h->software_version) != APMP_DB_SOFTWARE_VERSION ||
	       apmp_load_relaxed(&h->members_off) != offsetof(struct apmp_db_header, members) ||
	       apmp_load_relaxed(&h->first_pfn) != m->pa / APMP_PAGE_SIZE ||
	       apmp_load_relaxed(&h->page_count) != m->page_count ||
	       apmp_load_relaxed(&h->pfn_list) != m->pfn_list;
}

/* A page of ours that the tree says is bad; 0: none. */
static uint64_t bad_page(struct apmp_member *m)
{
	uint64_t good[APMP_GRANULE_WORDS], all = UINT64_MAX;

	if (apmp_tree_tested(m->tree, m->desc, apmp_place_granule(m->info), good))
		return 0; /* a tree in the middle of an update */
	for (uint32_t i = 0; i < APMP_GRANULE_WORDS; i++)
		all &= good[i];
	for (uint32_t i = 0; i < m->page_count && all != UINT64_MAX; i++)
		if (!(good[m->pfn[i] % APMP_GRANULE_PAGES / 64] >> m->pfn[i] % 64 & 1))
			return m->pfn[i];
	return 0;
}

uint32_t apmp__db_fault(struct apmp_member *m, struct apmp_db *db)
{
	const struct apmp_db_node *own = apmp__own_node(m, db);
	uint64_t page = m->no_place ? 0 : bad_page(m);

	if (page) {
		m->env->report(m->env, APMP_REPORT_PAGE_BAD, page);
		return APMP_DB_FAULT_PAGE;
	}
	if (apmp_load_acquire(&own->identity) != m->env->self ||
	    apmp_load_relaxed(&own->state) != APMP_NODE_MEMBER)
		return APMP_DB_FAULT_NODE;
	return apmp__db_odd(m, db) || header_is_odd(m, db) ? APMP_DB_FAULT_HEADER : 0;
}

uint64_t apmp__db_identified(const struct apmp_member *m, bool living)
{
	struct apmp_tree_partition p;
	uint64_t mask = 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		bool lives = apmp_tree_present(m->tree, id) != 0;

		/* A boot clears the ID before the new life begins. */
		atomic_thread_fence(memory_order_acquire);
		if (id != m->id && lives == living && apmp_tree_id_field(m->tree, id) &&
		    apmp_tree_partition(m->tree, id, &p) == 0 && p.community == m->community)
			mask |= UINT64_C(1) << id;
	}
	return mask;
}

bool apmp__db_lives_elsewhere(const struct apmp_member *m)
{
	uint64_t last = apmp_tree_database(m->tree, m->community).id;

	for (uint64_t left = apmp__db_identified(m, true); left; left &= left - 1)
		if (apmp_tree_id_field(m->tree, (uint32_t)__builtin_ctzll(left)) == last)
			return true;
	return false;
}

int apmp__db_give_up(struct apmp_member *m)
{
	uint64_t info = apmp_load_relaxed(&m->info), chosen;
	int err = apmp__db_choose(m, info, &chosen);

	if (err)
		return err;
	APMP_POINT_ARG(m->env, reform_chosen, chosen);
	m->left = info;
	err = apmp__db_set_info(m, false, info, chosen);
	if (!err)
		APMP_POINT_ARG(m->env, reform_decided, chosen);
	return err == -EAGAIN ? 0 : err; /* somebody else was faster */
}

void apmp__db_ensure_other(struct apmp_member *m)
{
	const uint64_t info = apmp_load_relaxed(&m->info);
	const uint64_t other = apmp_tree_database(m->tree, m->community).other;
	const uint32_t room = apmp__db_pages() + 1;
	uint64_t granule = apmp_place_granule(info), chosen = 0;
	int err = -ENXIO;
	int32_t desc;

	if (other && apmp_place_granule(other) != granule)
		err = apmp_place_test(m->tree, m->community, other, room, &desc);
	if (!err || err == -EBADMSG) /* in the middle of an update, whose end interrupts us */
		return;
	if (m->left && apmp_place_granule(m->left) != granule &&
	    apmp_place_test(m->tree, m->community, m->left, room, &desc) == 0) {
		chosen = m->left;
	} else {
		err = apmp_place_choose(m->tree, m->community, room, info, &chosen);
		if (err == -EBADMSG)
			return;
		chosen = err ? 0 : chosen;
	}
	/* Refused: another member has just done it, or the next one will. */
	if (chosen != other)
		(void)!apmp__db_set_info(m, true, other, chosen);
}

int apmp__db_come_over(struct apmp_member *m)
{
	struct apmp_env *env = m->env;
	int err;

	apmp_store_release(&m->watching, 0);
	apmp_store_relaxed(&m->dead_mask, 0); /* judged by what is given up */
	m->came_from = apmp_load_relaxed(&m->incarnation);
	apmp_store_relaxed(&m->incarnation, 0);
	m->joined = false;
	m->comes_over = true;
	APMP_POINT_ARG(env, reform_over, apmp_load_relaxed(&m->info));
	err = apmp__db_enter(m);
	m->comes_over = false;
	return err == -EOWNERDEAD ? err : 0; /* else it was reported, and we run alone */
}

/* Whether a set can be made without this page: anywhere, also around it. */
static bool has_place(struct apmp_member *m)
{
	const uint64_t info = apmp_load_relaxed(&m->info);
	uint64_t chosen;
	int32_t desc;

	return apmp_place_test(m->tree, m->community, info, apmp__db_pages() + 1, &desc) == 0 ||
	       apmp__db_choose(m, 0, &chosen) == 0;
}

int apmp__db_reform(struct apmp_member *m, uint32_t fault)
{
	struct apmp_env *env = m->env;
	uint64_t now = env->now(env);
	int err;

	if (m->reformed_ns && now - m->reformed_ns < m->timing.stop_ns) {
		/* At the next tick we look at everything again. */
		apmp_fetch_or(&apmp__db(m)->header.validate, UINT64_C(1) << m->id);
		return 0;
	}
	m->reformed_ns = now;
	m->odd_count++;
	env->report(env, APMP_REPORT_DB_ODD, fault);
	m->no_place = fault == APMP_DB_FAULT_PAGE && !has_place(m);
	if (m->no_place)
		return 0;
	m->spoilt = apmp_load_relaxed(&m->incarnation);
	err = apmp__db_give_up(m);
	if (err && err != -ENOMEM)
		return 0; /* the console is away or refuses: again at a later tick */
	return apmp__db_come_over(m);
}
