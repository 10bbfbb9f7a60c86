/*
 * image_fetch.c - an image of a running machine, through its console.
 *
 * WHAT      What is wanted follows from what was got: the tree says where HWRPBs and databases are,
 *           a database's header where its other pages are.  So the plan grows from answer to answer
 *           until an answer holds all that it leads to; that one is the image.  The plan of the
 *           last image is where the next one begins: then one round is enough.
 *           A console has fences to see to: what is more than CALL_BYTES takes several calls, and
 *           is then of several moments, one after the other.
 *           What the tree names comes before what words of instances lead to: these take nothing
 *           away from it.
 * LIMITS    FETCH_TRIES rounds.  What a garbled word leads to is bounded by IMAGE_PIECES_MAX, and
 *           each range by what its structure can have.  One for a flight recorder can hide
 *           another's recorder.
 */
#include <errno.h>

#include "shm/layout_intr.h"
#include "shm/layout_recorder.h"
#include "shm/wire/image_tree.h"

#define FETCH_TRIES   8u
#define GRANULE_PAGES (APMP_GRANULE / APMP_PAGE_SIZE)
#define CALL_BYTES    (UINT64_C(256) << 10) /* of one call: some ms of the console's time */

/* The first range from i on that meets this; count: none. */
static uint32_t meets(const struct image_plan *plan, uint32_t i, uint64_t pa, uint64_t size)
{
	while (i < plan->count &&
	       (pa >= plan->range[i].pa + plan->range[i].size || plan->range[i].pa >= pa + size))
		i++;
	return i;
}

static void want(struct image_plan *plan, uint64_t pa, uint64_t size)
{
	uint32_t i = meets(plan, 0, pa, size);

	if (i < plan->count) {
		/* Of two that begin alike the larger; else the first was there first. */
		if (plan->range[i].pa == pa && plan->range[i].size < size &&
		    meets(plan, i + 1, pa, size) == plan->count)
			plan->range[i].size = size;
		return;
	}
	if (plan->count < IMAGE_PIECES_MAX && pa <= INT64_MAX - size)
		plan->range[plan->count++] = (typeof(plan->range[0])){pa, size};
}

/* What is used of the pool, in whole pages. */
static void want_tree(struct image_plan *plan, const struct image *image)
{
	struct image_tree tree;
	uint64_t used = sizeof(struct gct_header) + sizeof(struct gct_root_node);

	if (image_tree(image, &tree) == 0 && image_root(&tree)->first_free > 0 &&
	    (uint64_t)image_root(&tree)->first_free < IMAGE_BYTES_MAX / 2)
		used = sizeof(struct gct_header) + (uint64_t)image_root(&tree)->first_free;
	want(plan, image->tree_pa, (used + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE);
}

/* Block and slots of a partition. */
static void want_hwrpb(struct image_plan *plan, const struct image *image,
		       const struct gct_partition_node *p)
{
	const uint64_t head = offsetof(struct hwrpb, slot);
	const struct hwrpb *h = image_at(image, p->hwrpb, head);
	uint64_t cpus = h && h->cpu_count <= APMP_MAX_CPUS ? h->cpu_count : 0;

	if (p->hwrpb % 8 == 0)
		want(plan, p->hwrpb, head + cpus * sizeof(struct hwrpb_slot));
}

/* The head of its flight recorder. */
static void want_recorder(struct image_plan *plan, const struct image *image,
			  const struct gct_partition_node *p)
{
	const struct hwrpb *h = image_at(image, p->hwrpb, offsetof(struct hwrpb, slot));

	if (h && h->recorder && h->recorder % 8 == 0)
		want(plan, h->recorder, offsetof(struct apmp_recorder, arm));
}

/* The initial piece at one range. */
static void want_db(struct image_plan *plan, uint64_t info)
{
	if (info)
		want(plan, (info & UINT32_MAX) * APMP_PAGE_SIZE,
		     (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE);
}

/* A page of the database: none is outside of its granule. */
static void want_page(struct image_plan *plan, uint64_t info, uint64_t pfn)
{
	if (pfn / GRANULE_PAGES == (info & UINT32_MAX) / GRANULE_PAGES)
		want(plan, pfn * APMP_PAGE_SIZE, APMP_PAGE_SIZE);
}

/* Its other pages; contiguous ones in one piece. */
static void want_db_rest(struct image_plan *plan, const struct image *image, uint64_t info)
{
	static _Thread_local struct image_db db;
	const struct apmp_db_header *h = &image_db_head(&db)->header;
	uint64_t first = info & UINT32_MAX, left = GRANULE_PAGES - first % GRANULE_PAGES;

	if (!info || image_db(image, info, &db) || !db.page_count)
		return;
	if (!h->pfn_list) {
		want(plan, first * APMP_PAGE_SIZE,
		     (db.page_count < left ? db.page_count : left) * APMP_PAGE_SIZE);
		return;
	}
	want_page(plan, info, h->pfn_list & UINT32_MAX);
	for (uint32_t i = APMP_DB_INITIAL_PAGES; i < db.page_count && !db.list_odd; i++)
		want_page(plan, info, db.pfn[i]);
}

/* At first what the tree names, then what words lead to that others than the console write. */
static void want_all(struct image_plan *plan, const struct image *image, unsigned what)
{
	struct image_tree tree;

	want_tree(plan, image);
	if (image_tree(image, &tree))
		return;
	if (what & IMAGE_CPUS)
		want(plan, image->lines_pa, APMP_INTR_SIZE);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct gct_partition_node *p = image_partition(&tree, id);
		const struct gct_community_node *c = image_community(&tree, id);

		if (p && what & IMAGE_CPUS)
			want_hwrpb(plan, image, p);
		if (c && what & IMAGE_DATABASES) {
			want_db(plan, c->apmpdb_info);
			want_db(plan, c->apmpdb_other);
		}
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS && what & IMAGE_DATABASES; id++) {
		const struct gct_community_node *c = image_community(&tree, id);

		if (c) {
			want_db_rest(plan, image, c->apmpdb_info);
			want_db_rest(plan, image, c->apmpdb_other);
		}
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS && what & IMAGE_CPUS; id++) {
		const struct gct_partition_node *p = image_partition(&tree, id);

		if (p)
			want_recorder(plan, image, p);
	}
}

/* Whether everything wanted was asked for. */
static bool holds(const struct image_plan *asked, const struct image_plan *wanted)
{
	for (uint32_t i = 0; i < wanted->count; i++) {
		bool found = false;

		for (uint32_t k = 0; k < asked->count && !found; k++)
			found = wanted->range[i].pa >= asked->range[k].pa &&
				wanted->range[i].pa + wanted->range[i].size <=
				    asked->range[k].pa + asked->range[k].size;
		if (!found)
			return false;
	}
	return true;
}

/* Ranges of the plan from *at on, as many as one call may take; *at is then behind them. */
static json_t *next_ranges(const struct image_plan *plan, uint32_t *at)
{
	json_t *ranges = json_array();
	uint64_t bytes = 0;

	do {
		bytes += plan->range[*at].size;
		json_array_append_new(ranges,
				      json_pack("{s:I,s:I}", "pa", (json_int_t)plan->range[*at].pa,
						"size", (json_int_t)plan->range[*at].size));
	} while (++*at < plan->count && bytes + plan->range[*at].size <= CALL_BYTES);
	return ranges;
}

/* One call; ranges are stolen. */
static int ask(struct varlink_client *client, json_t *ranges, struct image *ret,
	       struct varlink_reply *reply)
{
	int err =
	    varlink_client_call(client, "Memory", json_pack("{s:o}", "ranges", ranges), reply);

	if (err)
		return err;
	if (reply->error)
		return -EREMOTEIO;
	err = json_integer_value(json_object_get(reply->parameters, "layout")) ==
		      (json_int_t)image_layout()
		  ? image_read(reply->parameters, ret)
		  : -EPROTO;
	varlink_reply_fini(reply);
	return err;
}

/* All of the plan; with an empty one only where things are. */
static int ask_all(struct varlink_client *client, const struct image_plan *plan, struct image *ret,
		   struct varlink_reply *reply)
{
	uint32_t at = 0;
	int err = ask(client, plan->count ? next_ranges(plan, &at) : json_array(), ret, reply);

	while (!err && at < plan->count) {
		struct image more;

		err = ask(client, next_ranges(plan, &at), &more, reply);
		if (!err)
			image_join(ret, &more);
		else
			image_fini(ret);
	}
	return err;
}

int image_fetch(struct varlink_client *client, unsigned what, struct image_plan *plan,
		struct image *ret_image, struct varlink_reply *ret_reply)
{
	struct image_plan wanted;

	for (uint32_t i = 0; i < FETCH_TRIES; i++) {
		struct image image;
		int err = ask_all(client, plan, &image, ret_reply);

		if (err)
			return err;
		wanted = (struct image_plan){0};
		want_all(&wanted, &image, what);
		if (holds(plan, &wanted)) {
			*ret_image = image;
			return 0;
		}
		image_fini(&image);
		*plan = wanted;
	}
	return -EAGAIN;
}
