/* check_order.c - what may change from one image to the next but one way, and what must. */
#include <inttypes.h>

#include "chaos/check.h"

/* A member as its own words show it. */
struct beat {
	uint64_t life, heartbeat;
	bool excused; /* a debugger holds it, or it was judged: its fence is under way */
};

/* The header of a community's database when it is one; NULL. */
static const struct apmp_db *database(const struct image *image,
				      const struct gct_community_node *community)
{
	const struct apmp_db *db =
	    community ? image_at(image, (community->apmpdb_info & UINT32_MAX) * APMP_PAGE_SIZE,
				 sizeof(*db))
		      : NULL;

	return db && db->header.fingerprint == apmp_fingerprint(sizeof(*db)) ? db : NULL;
}

/* False: the partition is no living member. */
static bool beat_of(const struct image *image, const struct image_tree *tree, uint32_t id,
		    struct beat *ret)
{
	const struct gct_partition_node *p = image_partition(tree, id);
	const struct gct_node *above = p ? image_node(tree, p->hd.parent) : NULL;
	uint64_t life = p && p->hd.node_flags & NODE_INITIALIZED ? image_present(p) : 0;
	const struct apmp_db *db;

	if (!life || !above || above->type != GCT_COMMUNITY)
		return false;
	db = database(image, (const void *)above);
	if (!db || !(db->header.members >> id & 1) || db->node[id].identity != life)
		return false;
	*ret = (struct beat){.life = life,
			     .heartbeat = db->node[id].heartbeat,
			     .excused =
				 p->debugged == p->incarnation || db->node[id].bugcheck_of == life};
	return true;
}

/* Whether it lived then and now and has not beaten in between. */
static bool silent(const struct image *now, const struct image_tree *now_tree,
		   const struct image *before, const struct image_tree *before_tree, uint32_t id)
{
	struct beat a, b;

	return beat_of(before, before_tree, id, &a) && beat_of(now, now_tree, id, &b) &&
	       a.life == b.life && a.heartbeat == b.heartbeat && !b.excused;
}

bool check_beaten(const struct image *image, const struct image *before)
{
	struct image_tree now_tree, before_tree;

	if (image_tree(image, &now_tree) || image_tree(before, &before_tree))
		return true;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (silent(image, &now_tree, before, &before_tree, id))
			return false;
	return true;
}

static void check_partitions(struct check *c, const struct image_tree *before)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct gct_partition_node *now = c->partition[id];
		const struct gct_partition_node *then = image_partition(before, id);

		if (!now || !then)
			continue;
		if (now->incarnation < then->incarnation || now->fenced < then->fenced)
			found(c, CHECK_order_tree,
			      "\"%s\" lived its life %" PRIu64 " with %" PRIu64
			      " fenced, and now %" PRIu64 " with %" PRIu64,
			      c->partition_name[id], (uint64_t)then->incarnation,
			      (uint64_t)then->fenced, (uint64_t)now->incarnation,
			      (uint64_t)now->fenced);
		if (silent(c->image, &c->tree, c->before, before, id))
			found(c, CHECK_beat_rises, "\"%s\" lives, is a member, and is silent",
			      c->partition_name[id]);
	}
}

static void check_sets(struct check *c, const struct image_tree *before)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct gct_community_node *then = image_community(before, id);
		const struct apmp_db *a = database(c->before, then);
		const struct apmp_db *b = database(c->image, c->community[id]);

		/* While somebody has the lock the words may be half made. */
		if (!a || !b || a->header.lock || b->header.lock ||
		    then->apmpdb_info != c->community[id]->apmpdb_info)
			continue;
		if (b->header.incarnation < a->header.incarnation ||
		    (b->header.incarnation == a->header.incarnation &&
		     b->header.removed_count < a->header.removed_count))
			found(c, CHECK_order_db,
			      "\"%s\" was set %" PRIu64 " with %" PRIu64
			      " lost, and is set %" PRIu64 " with %" PRIu64,
			      c->community_name[id], (uint64_t)a->header.incarnation,
			      (uint64_t)a->header.removed_count, (uint64_t)b->header.incarnation,
			      (uint64_t)b->header.removed_count);
	}
}

void check_order(struct check *c)
{
	struct image_tree before;

	if (image_tree(c->before, &before))
		return;
	if (image_root(&c->tree)->current_level < image_root(&before)->current_level)
		found(c, CHECK_order_tree,
		      "the configuration's level was %" PRIu64 ", and is %" PRIu64,
		      (uint64_t)image_root(&before)->current_level,
		      (uint64_t)image_root(&c->tree)->current_level);
	check_partitions(c, &before);
	check_sets(c, &before);
}
