/*
 * check_database.c - the database of one community: place, header, pages, lock, members, ring.
 *
 * WHAT      First what must mean something in every state: place, lock.  Then, where the set has a
 *           partition that lives, the header; behind a header that is none nothing is looked at.
 *           While a living instance holds the lock the rest is in its hands: the community is
 *           marked unsettled, and only the lock itself says something.
 */
#include <inttypes.h>
#include <string.h>

#include "chaos/check.h"

#define LOCK_WAITERS UINT64_C(0x8000)

static const char *name(const struct check *c)
{
	return c->community_name[c->at];
}

static int32_t handle_of(const struct check *c)
{
	return (int32_t)((const unsigned char *)c->community[c->at] - c->tree.root);
}

/* One range of APMPDB_INFO's form; false after saying what is wrong. */
static bool range_holds(struct check *c, enum check_id id, uint64_t info)
{
	uint64_t pa = (info & UINT32_MAX) * APMP_PAGE_SIZE, pages = info >> 32;

	if (pages < APMP_DB_INITIAL_PAGES || pages > APMP_DB_MAX_PAGES ||
	    !check_shared(c, handle_of(c), pa, pages * APMP_PAGE_SIZE)) {
		found(c, id, "%" PRIu64 " pages at %#" PRIx64 " are no memory that \"%s\" shares",
		      pages, pa, name(c));
		return false;
	}
	for (uint32_t i = 0; i < APMP_DB_INITIAL_PAGES; i++)
		if (check_bad_page(c, pa + (uint64_t)i * APMP_PAGE_SIZE)) {
			found(c, id, "the page at %#" PRIx64 " is marked bad, \"%s\" has it",
			      pa + (uint64_t)i * APMP_PAGE_SIZE, name(c));
			return false;
		}
	return true;
}

static void check_other(struct check *c, uint64_t info, uint64_t other)
{
	const uint64_t pages = APMP_GRANULE / APMP_PAGE_SIZE;

	if (!other || !range_holds(c, CHECK_db_other, other))
		return;
	if ((other & UINT32_MAX) / pages == (info & UINT32_MAX) / pages)
		found(c, CHECK_db_other, "both ranges of \"%s\" are in the granule at %#" PRIx64,
		      name(c), (info & UINT32_MAX) / pages * APMP_GRANULE);
}

/* Partitions of the community that live, as a mask. */
static uint64_t living(const struct check *c)
{
	uint64_t mask = 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (check_initialized(c, id) && c->partition[id]->hd.parent == handle_of(c))
			mask |= UINT64_C(1) << id;
	return mask;
}

/* Whether nobody who lives holds the lock: what stands below it is not being changed. */
static bool at_rest(struct check *c, const struct apmp_db_header *h)
{
	uint64_t holder = h->lock & ~LOCK_WAITERS;
	uint32_t id = apmp_identity_id(holder);
	bool lives =
	    holder && check_alive(c, holder) && c->partition[id]->hd.parent == handle_of(c);

	if (lives)
		c->unsettled |= UINT64_C(1) << c->at;
	if (holder)
		found(c, CHECK_db_lock, "that of \"%s\" is held by %s%s", name(c),
		      check_life(c, holder).text, lives ? "" : ", who is dead or none of it");
	else if (h->lock)
		found(c, CHECK_db_lock, "somebody waits for that of \"%s\", which is free",
		      name(c));
	return !lives;
}

static bool header_holds(struct check *c, const struct apmp_db_header *h)
{
	if (h->fingerprint == apmp_fingerprint(sizeof(struct apmp_db)) &&
	    h->software_version == APMP_DB_SOFTWARE_VERSION && c->db.page_count &&
	    h->first_pfn == (c->db.info & UINT32_MAX) &&
	    h->members_off == offsetof(struct apmp_db_header, members))
		return true;
	found(c, CHECK_db_header,
	      "that of \"%s\" says fingerprint %#" PRIx64 ", version %u, %u pages from %#" PRIx64
	      " on, members at %u; it is at page %#" PRIx64,
	      name(c), (uint64_t)h->fingerprint, (unsigned)h->software_version,
	      (unsigned)h->page_count, (uint64_t)h->first_pfn, (unsigned)h->members_off,
	      c->db.info & UINT32_MAX);
	return false;
}

/* False: what lies in them can't be looked at. */
static bool pages_hold(struct check *c)
{
	const struct image_db *db = &c->db;

	if (db->list_odd) {
		found(c, CHECK_db_pages, "the PFN list of \"%s\" is none", name(c));
		return false;
	}
	for (uint32_t i = 0; i < db->page_count; i++) {
		uint64_t pa = db->pfn[i] * APMP_PAGE_SIZE;
		bool twice = false;

		for (uint32_t k = 0; k < i; k++)
			twice |= db->pfn[k] == db->pfn[i];
		if (!db->there[i] || twice || !check_shared(c, handle_of(c), pa, APMP_PAGE_SIZE) ||
		    check_bad_page(c, pa)) {
			found(c, CHECK_db_pages, "page %u of \"%s\" is at %#" PRIx64 ", %s", i,
			      name(c), pa,
			      twice		      ? "as another one"
			      : check_bad_page(c, pa) ? "which is marked bad"
						      : "where it shares none");
			return false;
		}
	}
	return true;
}

static void check_state(struct check *c, const struct apmp_db_header *h)
{
	uint32_t wanted = h->members ? APMP_DB_OPERATIONAL : APMP_DB_EMPTY;

	if (h->lock == 0 && h->state != wanted)
		found(c, CHECK_db_state, "\"%s\" is in state %u, with members %#" PRIx64, name(c),
		      (unsigned)h->state, (uint64_t)h->members);
	if (h->lock == 0 && h->crashing)
		found(c, CHECK_db_crashing, "%s is being removed from \"%s\" by nobody",
		      check_life(c, h->crashing).text, name(c));
	if (h->expected)
		found(c, CHECK_db_crashing,
		      "\"%s\" waits for members %#" PRIx64 " of the set before", name(c),
		      (uint64_t)h->expected);
}

/* Members that are living partitions of the community; the others are told. */
static uint64_t true_members(struct check *c, const struct apmp_db *db, uint64_t alive)
{
	uint64_t members = db->header.members;

	for (uint64_t left = members & ~alive; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		c->stamp = db->node[id].identity;
		if (c->partition[id])
			found(c, CHECK_db_members, "\"%s\" is a member of \"%s\", and %s",
			      c->partition_name[id], name(c),
			      check_initialized(c, id) ? "none of the community" : "does not live");
		else
			found(c, CHECK_db_members, "bit %u of \"%s\" is no partition's", id,
			      name(c));
		c->stamp = 0;
	}
	return members & alive;
}

static void check_names(struct check *c, const struct apmp_db *db, uint64_t members, uint32_t id)
{
	const char *own = db->node[id].name;

	if (!own[0] || !memchr(own, 0, sizeof(db->node[id].name)))
		found(c, CHECK_db_names, "member \"%s\" has none in \"%s\"", c->partition_name[id],
		      name(c));
	else
		for (uint64_t left = members & ((UINT64_C(1) << id) - 1); left; left &= left - 1) {
			uint32_t other = (uint32_t)__builtin_ctzll(left);

			if (strncmp(own, db->node[other].name, sizeof(db->node[id].name)) == 0)
				found(c, CHECK_db_names, "\"%s\" and \"%s\" have one",
				      c->partition_name[other], c->partition_name[id]);
		}
}

static void check_node(struct check *c, const struct apmp_db *db, uint32_t id)
{
	const struct apmp_db_node *n = &db->node[id];
	uint64_t life = check_initialized(c, id), id_field = c->partition[id]->id_field;

	if (n->identity != life || n->beat_of != life || n->state != APMP_NODE_MEMBER)
		found(c, CHECK_db_nodes,
		      "that of \"%s\" names %s, who is in state %u; it lives its life %" PRIu64,
		      c->partition_name[id], check_life(c, n->identity).text, (unsigned)n->state,
		      apmp_identity_incarnation(life));
	if (id_field != db->header.incarnation)
		found(c, CHECK_db_id, "that of \"%s\" is %" PRIu64 ", \"%s\" is set %" PRIu64,
		      c->partition_name[id], id_field, name(c), (uint64_t)db->header.incarnation);
}

/* Who lives and is no member must not say that it is. */
static void check_outsiders(struct check *c, const struct apmp_db *db)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct apmp_db_node *n = &db->node[id];

		if (!(db->header.members >> id & 1) && n->state == APMP_NODE_MEMBER &&
		    apmp_identity_id(n->identity) == id && check_alive(c, n->identity))
			found(c, CHECK_db_others,
			      "the block of \"%s\" says that it is a member of \"%s\"",
			      c->partition_name[id], name(c));
	}
}

/* The member after (step 1) or before (step 63) one, around the end. */
static uint32_t neighbour(uint64_t members, uint32_t id, uint32_t step)
{
	uint32_t at = id;

	do
		at = (at + step) % APMP_MAX_PARTITIONS;
	while (at != id && !(members >> at & 1));
	return at;
}

static void check_ring(struct check *c, const struct apmp_db *db, uint64_t members)
{
	for (uint64_t left = members; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);
		const struct apmp_db_node *n = &db->node[id];
		uint32_t little = neighbour(members, id, 1), big = neighbour(members, id, 63);

		if (n->little_brother != little || n->big_brother != big)
			found(c, CHECK_db_ring,
			      "\"%s\" watches %u and is watched by %u; by the mask these are %u "
			      "and %u",
			      c->partition_name[id], (unsigned)n->little_brother,
			      (unsigned)n->big_brother, little, big);
	}
}

static void check_members(struct check *c, const struct apmp_db *db, uint64_t alive)
{
	uint64_t members = c->members = true_members(c, db, alive);

	for (uint64_t left = members; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		c->stamp = check_initialized(c, id);
		check_node(c, db, id);
		check_names(c, db, members, id);
		c->stamp = 0;
	}
	check_outsiders(c, db);
	if (members == db->header.members) /* else who removes them mends the ring */
		check_ring(c, db, members);
}

void check_database(struct check *c, uint32_t community)
{
	const struct gct_community_node *node = c->community[community];
	const struct apmp_db *db = image_db_head(&c->db);
	uint64_t alive = living(c);
	bool place = range_holds(c, CHECK_db_place, node->apmpdb_info);

	check_other(c, node->apmpdb_info, node->apmpdb_other);
	if (!place || !alive) /* a place where nobody lives may hold anything */
		return;
	if (image_db(c->image, node->apmpdb_info, &c->db)) {
		found(c, CHECK_db_pages, "the first pages of \"%s\" are not in the image", name(c));
		return;
	}
	if (!at_rest(c, &db->header) || !header_holds(c, &db->header))
		return;
	check_state(c, &db->header);
	/* Where nobody is a member, whoever tried last to make a set may have used up more. */
	if (db->header.members & alive && node->apmpdb_id != db->header.incarnation)
		found(c, CHECK_db_id, "the last ID of \"%s\" is %" PRIu64 ", its set is %" PRIu64,
		      name(c), (uint64_t)node->apmpdb_id, (uint64_t)db->header.incarnation);
	check_members(c, db, alive);
	if (pages_hold(c))
		check_services(c);
}
