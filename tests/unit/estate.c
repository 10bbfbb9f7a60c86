/* estate.c - the machine that the tests of the configuration run on. */
#include "tests/unit/estate.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "shm/shared.h"

/* A copy of the tree up to first_free: what lies behind it is nobody's. */
struct estate_image {
	uint64_t used; /* bytes */
	unsigned char tree[];
};

static void env_point(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	struct estate *e = (void *)env;

	(void)point;
	(void)arg;
	if (++e->points == e->die_at)
		longjmp(e->end, 1);
}

static int32_t add(struct estate *e, int32_t parent, enum gct_node_type type, uint64_t id,
		   bool bound)
{
	struct apmp_tree_spec spec = {.parent = parent,
				      .type = type,
				      .id = id,
				      .flags = NODE_HARDWARE | NODE_HOTSWAP,
				      .config = bound ? parent : 0,
				      .affinity = parent};
	int32_t at = apmp_tree_add(&e->tw, &spec);

	ck_assert_int_gt(at, 0);
	return at;
}

static int32_t add_desc(struct estate *e, int32_t sub, uint32_t idx, uint64_t granules)
{
	struct apmp_tree_spec spec = {.parent = sub,
				      .type = GCT_MEMORY_DESC,
				      .id = idx,
				      .flags = NODE_HARDWARE | NODE_HOTSWAP,
				      .config = sub,
				      .affinity = estate_node(e, sub).parent};
	int32_t at =
	    apmp_tree_add_memory(&e->tw, &spec, estate_pa(e, idx), granules * APMP_GRANULE);

	ck_assert_int_gt(at, 0);
	return at;
}

static void add_hardware(struct estate *e)
{
	int32_t hw = apmp_tree_root(&e->tw, GCT_HW_ROOT);

	for (uint32_t s = 0; s < 3; s++) {
		e->sbb[s] = add(e, hw, GCT_SBB, s, false);
		for (uint32_t c = 0; c < 4 && s < 2; c++)
			e->cpu[4 * s + c] = add(e, e->sbb[s], GCT_CPU, 4 * s + c, false);
		e->sub[s] = add(e, e->sbb[s], GCT_MEMORY_SUB, s, false);
		e->ctrl[s] = add(e, e->sub[s], GCT_MEMORY_CTRL, s, true);
		if (s == 2)
			continue;
		e->iop[s] = add(e, e->sbb[s], GCT_IOP, s, false);
		for (uint32_t b = 2 * s; b < 2 * s + 2; b++) {
			e->bus[b] = add(e, e->iop[s], GCT_BUS, b, s == 1);
			e->device[b] = add(e, e->bus[b], GCT_IO_CTRL, b, true);
		}
	}
	apmp_store_relaxed(&((struct gct_node *)(void *)(e->tw.root + e->cpu[3]))->subtype,
			   GCT_CPU_SECONDARY_ONLY);
	e->desc[0] = add_desc(e, e->sub[0], 0, 16);
	e->desc[1] = add_desc(e, e->sub[0], 1, 8);
	e->desc[2] = add_desc(e, e->sub[1], 2, 16);
	e->desc[3] = add_desc(e, e->sub[2], 3, 8);
}

static void add_software(struct estate *e)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct apmp_tree_community c;
	struct apmp_tree_partition p;

	ck_assert_int_eq(apmp_tree_add_community(&e->tw, "lab"), 0);
	ck_assert_int_eq(apmp_tree_add_community(&e->tw, "den"), 1);
	ck_assert_int_eq(apmp_tree_community(&e->tw.tree, 0, &c), 0);
	e->lab = c.node.handle;
	ck_assert_int_eq(apmp_tree_community(&e->tw.tree, 1, &c), 0);
	e->den = c.node.handle;
	for (uint32_t id = 0; id < ESTATE_PARTITIONS; id++) {
		int32_t community = id <= C ? e->lab : id <= E ? e->den : 0;

		ck_assert_int_eq(
		    apmp_tree_add_partition(&e->tw, community, names[id], (id + 1) * 0x10000), id);
		ck_assert_int_eq(apmp_tree_partition(&e->tw.tree, id, &p), 0);
		e->part[id] = p.node.handle;
	}
}

static void open_console(struct estate *e)
{
	e->env.point = env_point;
	apmp_update_init(&e->up, &e->env, &e->state->journal);
	apmp_update_object(&e->up, APMP_OBJECT_TREE, e->base, e->size);
}

void estate_init(struct estate *e, uint32_t max_fragments)
{
	const struct apmp_tree_limits limits = {.base_alloc = 2 * APMP_GRANULE,
						.base_align = 2 * APMP_GRANULE,
						.max_phys_address = UINT64_C(1) << 40,
						.mem_size = 48 * APMP_GRANULE,
						.max_fragments = max_fragments,
						.max_desc = 8,
						.platform = "estate"};

	*e = (struct estate){.size = apmp_tree_size(32, 8, max_fragments)};
	e->base = aligned_alloc(APMP_PAGE_SIZE, e->size);
	e->state = calloc(1, sizeof(*e->state));
	ck_assert(e->base && e->state);
	memset(e->base, 0, e->size);
	open_console(e);
	apmp_tree_create(&e->tw, &e->up, e->base, e->size, &limits);
	add_hardware(e);
	add_software(e);
	apmp_tree_publish(&e->tw);
	estate_check(e);
}

void estate_fini(struct estate *e)
{
	free(e->base);
	free(e->state);
}

struct apmp_tree_node estate_node(const struct estate *e, int32_t handle)
{
	struct apmp_tree_node n;

	ck_assert_int_eq(apmp_tree_node(&e->tw.tree, handle, &n), 0);
	return n;
}

uint64_t estate_pa(const struct estate *e, uint32_t desc_idx)
{
	(void)e;
	return (desc_idx + 1) * (UINT64_C(1) << 30);
}

struct apmp_tree_fragment estate_fragment(const struct estate *e, uint64_t pa)
{
	struct apmp_tree_fragment f;

	ck_assert_int_eq(apmp_tree_memory_at(&e->tw.tree, pa, &f), 0);
	return f;
}

void estate_boot(struct estate *e, uint32_t id)
{
	apmp_update_begin(&e->up);
	(void)apmp_tree_partition_boot(&e->tw, id, "x");
	apmp_tree_initialize_owner(&e->tw, e->part[id]);
	apmp_update_commit_quietly(&e->up);
	estate_check(e);
}

void estate_halt(struct estate *e, uint32_t id)
{
	struct apmp_tree_partition p;

	ck_assert_int_eq(apmp_tree_partition(&e->tw.tree, id, &p), 0);
	apmp_tree_set_fenced(&e->tw, id, p.incarnation);
	apmp_update_begin(&e->up);
	apmp_tree_set_flags(&e->tw, e->part[id], NODE_INITIALIZED, 0);
	apmp_tree_unlock(&e->tw, id);
	apmp_update_commit_quietly(&e->up);
	estate_check(e);
}

enum apmp_reason estate_ask(struct estate *e, int32_t by, uint32_t op, uint64_t arg0, uint64_t arg1,
			    uint64_t arg2, const char *text, struct apmp_configured *ret)
{
	struct apmp_call_request request = {.op = op, .arg = {arg0, arg1, arg2}};
	struct apmp_configured ignored;
	struct estate_image *before = estate_save(e);
	const struct apmp_reason_info *info;
	int err;

	if (!ret)
		ret = &ignored;
	if (text)
		memcpy(request.text, text, strnlen(text, sizeof(request.text)));
	err = apmp_configure(&e->tw, &request, by, ret);
	info = apmp_reason_info(ret->reason);
	ck_assert_int_eq(err, info ? -info->err : 0);
	if (err)
		ck_assert_msg(!apmp_update_open(&e->up) &&
				  !memcmp(e->base, before->tree, before->used),
			      "refused with %s, but stored something", info->name);
	if (apmp_update_open(&e->up))
		apmp_update_commit_quietly(&e->up);
	else if (!err)
		ck_assert_int_eq(memcmp(e->base, before->tree, before->used), 0);
	free(before);
	estate_check(e);
	return ret->reason;
}

struct estate_image *estate_save(const struct estate *e)
{
	struct gct_root_node *root = (void *)e->tw.root;
	uint64_t used = sizeof(struct gct_header) + (uint64_t)apmp_load_relaxed(&root->first_free);
	struct estate_image *image = malloc(sizeof(*image) + used);

	ck_assert_ptr_nonnull(image);
	image->used = used;
	memcpy(image->tree, e->base, used);
	return image;
}

void estate_restore(struct estate *e, const struct estate_image *saved)
{
	memcpy(e->base, saved->tree, saved->used);
	open_console(e);
	ck_assert_int_eq(apmp_tree_adopt(&e->tw, &e->up, e->base, e->size), 0);
}

struct estate_image *estate_image(const struct estate *e)
{
	struct estate_image *image = estate_save(e);
	struct gct_root_node *root = (void *)(image->tree + sizeof(struct gct_header));

	apmp_store_relaxed(&root->transient_level, 0);
	apmp_store_relaxed(&root->current_level, 0);
	return image;
}

bool estate_is_like(const struct estate *e, const struct estate_image *image)
{
	struct estate_image *now = estate_image(e);
	bool same = now->used == image->used && !memcmp(now->tree, image->tree, now->used);

	free(now);
	return same;
}

bool estate_run(struct estate *e, void (*operation)(void *ctx), void *ctx, uint64_t die_at,
		const struct estate_image *before, const struct estate_image *after)
{
	bool committed;
	uint64_t level;
	int err;

	e->points = 0;
	e->die_at = die_at;
	if (!setjmp(e->end)) {
		operation(ctx);
		e->die_at = 0;
		return false;
	}
	e->die_at = 0;
	ck_assert(before && after);
	committed = !apmp_load_relaxed(&e->state->journal.open);
	open_console(e);
	ck_assert_int_eq(apmp_tree_adopt(&e->tw, &e->up, e->base, e->size), 0);
	err = apmp_update_repair(&e->up);
	ck_assert_int_ge(err, 0);
	ck_assert_msg(estate_is_like(e, committed ? after : before),
		      "died at point %llu: not as %s the update", (unsigned long long)die_at,
		      committed ? "after" : "before");
	ck_assert_int_eq(apmp_tree_level(&e->tw.tree, &level), 0);
	estate_check(e);
	return true;
}

uint64_t estate_kill_everywhere(struct estate *e, void (*operation)(void *ctx), void *ctx)
{
	struct estate_image *saved = estate_save(e), *before = estate_image(e), *after;
	uint64_t count;

	ck_assert(!estate_run(e, operation, ctx, 0, NULL, NULL));
	count = e->points;
	ck_assert_uint_ge(count, 3);
	after = estate_image(e);
	ck_assert(!estate_is_like(e, before));
	for (uint64_t at = 1; at <= count; at++) {
		estate_restore(e, saved);
		ck_assert(estate_run(e, operation, ctx, at, before, after));
		/* The next console can do it. */
		if (estate_is_like(e, before))
			ck_assert(!estate_run(e, operation, ctx, 0, NULL, NULL));
		ck_assert(estate_is_like(e, after));
	}
	free(saved);
	free(before);
	free(after);
	return count;
}

void estate_check(const struct estate *e)
{
	static struct check check;
	static struct findings findings;
	struct image image = {0};

	ck_assert_int_eq(image_add(&image, 0, e->base, e->size), 0);
	ck_assert_int_eq(check_image(&image, NULL, &check, &findings), 0);
	for (uint32_t i = 0; i < findings.count; i++)
		ck_assert_msg(findings.finding[i].check > CHECK_memory_owners, "the tree: %s: %s",
			      check_infos[findings.finding[i].check].id, findings.finding[i].what);
	image_fini(&image);
}
