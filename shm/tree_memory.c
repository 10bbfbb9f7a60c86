/*
 * tree_memory.c - memory descriptors: their fragments [0092-0097] and their bitmap of tested pages
 * [0277].
 *
 * WHAT      The fragments of a descriptor stand in its array in the order of their addresses and
 *           tile it: no gap, no overlap.  A fragment that is neither owned nor used has no such
 *           neighbour, so that what was cut up and given back is whole again.  Owned neighbours
 *           stay apart, also of one owner: each was granted as a piece and has a backing of its
 *           own.
 * LIMITS    max_fragments of a descriptor; a change of one descriptor takes at most 5 stores for
 *           each of its fragments (apmp__tree_change_cost).  Entries behind desc_count are stale.
 *           APMP_TREE_BITMAPS bytes of the pool are meant for bitmaps, one bit for each page of a
 *           descriptor that has a bad page; in all, 2 GiB of such descriptors.
 */
#include "shm/tree_internal.h"

#include <errno.h>
#include <string.h>

static struct gct_mem_desc_node *desc_at(const struct apmp_tree_writer *tw, int32_t desc)
{
	return (void *)apmp__tree_at(tw, desc);
}

static struct gct_mem_desc *fragments_of(const struct apmp_tree_writer *tw, int32_t desc)
{
	return (void *)(tw->root + desc + apmp_load_relaxed(&desc_at(tw, desc)->mem_frag));
}

static uint32_t count_of(const struct apmp_tree_writer *tw, int32_t desc)
{
	return apmp_load_relaxed(&desc_at(tw, desc)->mem_info.desc_count);
}

int32_t apmp_tree_add_memory(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec,
			     uint64_t pa, uint64_t size)
{
	const uint64_t array_size =
	    apmp_load_relaxed(&apmp__tree_root(tw)->max_fragments) * sizeof(struct gct_mem_desc);
	struct gct_mem_desc_node *d;
	struct gct_mem_desc *f;
	int32_t at, array;

	if (!apmp__tree_has_room(tw, sizeof(*d) + array_size))
		return -ENOSPC;
	at = apmp__tree_take_pool(tw, sizeof(*d));
	array = apmp__tree_take_pool(tw, array_size);
	apmp_assert(at > 0 && array > 0);
	/* Fresh from the pool: nobody can reach it before it is linked. */
	d = desc_at(tw, at);
	apmp_store_relaxed(&d->mem_info.base_pa, pa);
	apmp_store_relaxed(&d->mem_info.base_size, size);
	apmp_store_relaxed(&d->mem_info.desc_count, 1);
	apmp_store_relaxed(&d->mem_info.info_fill, 0);
	apmp_store_relaxed(&d->mem_frag, array - at);
	apmp_store_relaxed(&d->tested, 0);
	memset(d->fill, 0, sizeof(d->fill));
	f = fragments_of(tw, at);
	apmp_store_relaxed(&f->pa, pa);
	apmp_store_relaxed(&f->size, size);
	apmp_store_relaxed(&f->mem_owner, GCT_NONE);
	apmp_store_relaxed(&f->mem_current_owner, GCT_NONE);
	apmp_store_relaxed(&f->mem_flags, 0);
	apmp_store_relaxed(&f->mem_fill, 0);
	apmp__tree_link(tw, at, sizeof(*d), spec);
	return at;
}

int32_t apmp_tree_insert_memory(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec,
				uint64_t pa, uint64_t size)
{
	_Atomic uint64_t *mem_size = &apmp__tree_root(tw)->mem_size;
	int32_t at = apmp_tree_add_memory(tw, spec, pa, size);

	if (at > 0)
		apmp__tree_put64(tw, mem_size, apmp_load_relaxed(mem_size) + size);
	return at;
}

static struct apmp_tree_fragment fragment_at(const struct apmp_tree_writer *tw, int32_t desc,
					     uint32_t idx)
{
	struct apmp_tree_fragment f;
	int err = apmp_tree_fragment(&tw->tree, desc, idx, &f);

	apmp_assert(!err);
	return f;
}

/* Makes entry idx of the array this fragment; stores what is different. */
static void put_fragment(struct apmp_tree_writer *tw, int32_t desc, uint32_t idx,
			 const struct apmp_tree_fragment *f)
{
	struct gct_mem_desc *to = &fragments_of(tw, desc)[idx];
	uint32_t flags = apmp__tree_is_free(f) ? 0 : f->flags;

	if (apmp_load_relaxed(&to->pa) != f->pa)
		apmp__tree_put64(tw, &to->pa, f->pa);
	if (apmp_load_relaxed(&to->size) != f->size)
		apmp__tree_put64(tw, &to->size, f->size);
	if (apmp_load_relaxed(&to->mem_owner) != f->owner)
		apmp__tree_put_handle(tw, &to->mem_owner, f->owner);
	if (apmp_load_relaxed(&to->mem_current_owner) != f->current_owner)
		apmp__tree_put_handle(tw, &to->mem_current_owner, f->current_owner);
	if (apmp_load_relaxed(&to->mem_flags) != flags)
		apmp__tree_put32(tw, &to->mem_flags, flags);
}

static void put_count(struct apmp_tree_writer *tw, int32_t desc, uint32_t count)
{
	if (count_of(tw, desc) != count)
		apmp__tree_put32(tw, &desc_at(tw, desc)->mem_info.desc_count, count);
}

/* Whether both are free and the second follows the first at once: then the first takes it in. */
static bool merge(struct apmp_tree_fragment *first, const struct apmp_tree_fragment *second)
{
	if (!apmp__tree_is_free(first) || !apmp__tree_is_free(second))
		return false;
	first->size += second->size;
	return true;
}

/* The pieces of one fragment, merged among themselves. */
static void cut_up(struct apmp__tree_cut *cut, const struct apmp_tree_fragment *whole,
		   const struct apmp_tree_fragment *part)
{
	struct apmp_tree_fragment before = *whole, after = *whole;

	before.size = part->pa - whole->pa;
	after.pa = part->pa + part->size;
	after.size = whole->size - before.size - part->size;
	if (before.size)
		cut->piece[cut->count++] = before;
	if (!cut->count || !merge(&cut->piece[cut->count - 1], part))
		cut->piece[cut->count++] = *part;
	if (after.size && !merge(&cut->piece[cut->count - 1], &after))
		cut->piece[cut->count++] = after;
}

int apmp__tree_plan_cut(const struct apmp_tree *tree, uint64_t pa, uint64_t size, int32_t owner,
			int32_t current_owner, uint32_t flags, struct apmp__tree_cut *ret)
{
	struct apmp_tree_fragment whole, part, neighbour;
	const struct gct_root_node *root = (const void *)tree->root;
	uint32_t count;

	if (apmp_tree_memory_at(tree, pa, &whole) || !size || size > whole.size - (pa - whole.pa))
		return -ENOENT;
	part = whole;
	part.pa = pa;
	part.size = size;
	part.owner = owner;
	part.current_owner = current_owner;
	part.flags = flags;
	*ret = (struct apmp__tree_cut){.desc = whole.desc, .first = whole.idx, .last = whole.idx};
	cut_up(ret, &whole, &part);
	for (count = whole.idx; !apmp_tree_fragment(tree, whole.desc, count, &neighbour);)
		count++;
	if (whole.idx && !apmp_tree_fragment(tree, whole.desc, whole.idx - 1, &neighbour) &&
	    merge(&neighbour, &ret->piece[0])) {
		ret->piece[0] = neighbour;
		ret->first--;
	}
	if (!apmp_tree_fragment(tree, whole.desc, whole.idx + 1, &neighbour) &&
	    merge(&ret->piece[ret->count - 1], &neighbour))
		ret->last++;
	count = count - (ret->last - ret->first + 1) + ret->count;
	return count > apmp_load_relaxed(&root->max_fragments) ? -ENOSPC : 0;
}

void apmp__tree_cut(struct apmp_tree_writer *tw, const struct apmp__tree_cut *cut)
{
	uint32_t count = count_of(tw, cut->desc), gone = cut->last - cut->first + 1;
	struct apmp_tree_fragment f;

	/* The rest of the array makes room, or moves up, each entry before its place is taken. */
	if (cut->count > gone)
		put_count(tw, cut->desc, count + cut->count - gone);
	for (uint32_t n = count - cut->last - 1, i = 0; i < n && cut->count != gone; i++) {
		uint32_t from = cut->count > gone ? count - 1 - i : cut->last + 1 + i;

		f = fragment_at(tw, cut->desc, from);
		put_fragment(tw, cut->desc, from + cut->count - gone, &f);
	}
	for (uint32_t i = 0; i < cut->count; i++)
		put_fragment(tw, cut->desc, cut->first + i, &cut->piece[i]);
	put_count(tw, cut->desc, count + cut->count - gone);
}

int apmp_tree_set_fragment(struct apmp_tree_writer *tw, uint64_t pa, uint64_t size, int32_t owner,
			   bool current, uint32_t flags)
{
	struct apmp__tree_cut cut;
	struct apmp_tree_fragment f;
	int err = apmp_tree_memory_at(&tw->tree, pa, &f);

	if (err)
		return -ENOENT;
	err = apmp__tree_plan_cut(&tw->tree, pa, size, owner, current ? owner : f.current_owner,
				  flags, &cut);
	if (!err)
		apmp__tree_cut(tw, &cut);
	return err;
}

int apmp_tree_take_memory(struct apmp_tree_writer *tw, int32_t desc, uint64_t size, int32_t owner,
			  uint32_t flags, uint64_t *ret_pa)
{
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(&tw->tree, desc, i, &f) == 0; i++) {
		if (!apmp__tree_is_free(&f) || f.size < size ||
		    apmp_tree_set_fragment(tw, f.pa, size, owner, true, flags))
			continue; /* one of just this size, which needs no cut, may follow */
		*ret_pa = f.pa;
		return 0;
	}
	return -ENOSPC;
}

uint64_t apmp__tree_change_cost(const struct apmp_tree *tree, int32_t desc)
{
	struct apmp_tree_fragment f;
	uint32_t count = 0;

	while (apmp_tree_fragment(tree, desc, count, &f) == 0)
		count++;
	return 5 * (uint64_t)count + 1;
}

bool apmp__tree_change_fragments(struct apmp_tree_writer *tw, int32_t desc,
				 void (*change)(void *ctx, struct apmp_tree_fragment *f), void *ctx)
{
	uint32_t count = count_of(tw, desc), to = 0;
	struct apmp_tree_fragment last = {0}, f;
	bool freed = false;

	for (uint32_t from = 0; from < count; from++) {
		bool was_free;

		f = fragment_at(tw, desc, from);
		was_free = apmp__tree_is_free(&f);
		change(ctx, &f);
		freed = freed || (apmp__tree_is_free(&f) && !was_free);
		if (from && merge(&last, &f))
			continue;
		if (from)
			put_fragment(tw, desc, to++, &last);
		last = f;
	}
	put_fragment(tw, desc, to++, &last);
	put_count(tw, desc, to);
	return freed;
}

/* Whether nothing at or below a subsystem is anybody's but for what its owner was given with it,
 * and no initialized partition other than `by` uses it. */
static bool is_deserted(const struct apmp_tree *tree, const struct apmp_tree_node *sub, int32_t by)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n, user;
	struct apmp_tree_fragment f;

	apmp_tree_walk_init(&walk, sub->handle);
	while (apmp_tree_walk(tree, &walk, &n) > 0 &&
	       apmp__tree_is_below(tree, n.handle, sub->handle)) {
		if (n.owner && n.owner != sub->owner)
			return false;
		if (n.current_owner && n.current_owner != by &&
		    (apmp_tree_node(tree, n.current_owner, &user) ||
		     (user.type == GCT_PARTITION && user.flags & NODE_INITIALIZED)))
			return false;
		for (uint32_t i = 0;
		     n.type == GCT_MEMORY_DESC && apmp_tree_fragment(tree, n.handle, i, &f) == 0;
		     i++)
			if (!apmp__tree_is_free(&f))
				return false;
	}
	return true;
}

void apmp__tree_leave_subsystem(struct apmp_tree_writer *tw, int32_t desc, int32_t by)
{
	struct apmp_tree_node n, sub;
	struct apmp_tree_walk walk;

	if (apmp_tree_node(&tw->tree, desc, &n) || apmp_tree_node(&tw->tree, n.parent, &sub) ||
	    sub.type != GCT_MEMORY_SUB || !is_deserted(&tw->tree, &sub, by))
		return;
	apmp_tree_walk_init(&walk, sub.handle);
	while (apmp_tree_walk(&tw->tree, &walk, &n) > 0 &&
	       apmp__tree_is_below(&tw->tree, n.handle, sub.handle))
		apmp__tree_put_owners(tw, n.handle, GCT_NONE, GCT_NONE);
}

/* All pages are good; what lies behind the last page is not a page. */
static void fill_bitmap(_Atomic uint64_t *map, uint64_t words, uint64_t pages)
{
	for (uint64_t i = 0; i < words; i++) {
		uint64_t left = pages - i * 64;

		apmp_store_relaxed(&map[i], left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX);
	}
}

int apmp_tree_mark_bad(struct apmp_tree_writer *tw, int32_t desc, uint64_t page_idx)
{
	struct gct_mem_desc_node *d = desc_at(tw, desc);
	uint64_t pages = apmp_load_relaxed(&d->mem_info.base_size) / APMP_PAGE_SIZE;
	uint64_t words = (pages + 63) / 64;
	int32_t off = apmp_load_relaxed(&d->tested);
	_Atomic uint64_t *map;

	if (page_idx >= pages)
		return -ENOENT;
	if (!off) {
		int32_t at = apmp__tree_take_pool(tw, words * sizeof(*map));

		if (at < 0)
			return at;
		/* Nobody can reach it before the next store. */
		fill_bitmap((void *)(tw->root + at), words, pages);
		off = at - desc;
		apmp__tree_put_handle(tw, &d->tested, off);
	}
	map = (void *)(tw->root + desc + off);
	apmp__tree_put64(tw, &map[page_idx / 64],
			 apmp_load_relaxed(&map[page_idx / 64]) & ~(UINT64_C(1) << page_idx % 64));
	return 0;
}
