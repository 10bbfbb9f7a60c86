/*
 * check_memory.c - fragments: that they tile their descriptors, and whose they are [0092-0097].
 *
 * WHAT      A descriptor's fragments are what its memory is cut into: in order, without a gap, the
 *           free ones as large as can be.  Private memory is a partition's that owns the descriptor
 *           or is in the community that does; shared memory a community's that owns the subsystem.
 * LIMITS    Entries behind desc_count are stale and not looked at; nor is who uses memory
 *           (current_owner) until its next boot.
 */
#include <inttypes.h>

#include "chaos/check.h"

const struct gct_mem_desc *check_fragment(const struct check *c, const struct gct_mem_desc_node *d,
					  uint32_t idx)
{
	int64_t at = (const unsigned char *)d - c->tree.root + d->mem_frag;

	return idx < d->mem_info.desc_count && idx < image_root(&c->tree)->max_fragments
		   ? image_tree_at(&c->tree, at + (int64_t)(idx * sizeof(struct gct_mem_desc)),
				   sizeof(struct gct_mem_desc))
		   : NULL;
}

/* The next descriptor from node *at on; NULL: there is none. */
static const struct gct_mem_desc_node *next_descriptor(const struct check *c, uint32_t *at)
{
	while (*at < c->node_count) {
		const struct gct_node *n = image_node(&c->tree, c->node[(*at)++]);

		if (n->type == GCT_MEMORY_DESC && !(n->node_flags & NODE_HW_TEMPLATE))
			return (const void *)n;
	}
	return NULL;
}

static bool within(uint64_t pa, uint64_t size, uint64_t all_pa, uint64_t all_size)
{
	return pa >= all_pa && pa - all_pa <= all_size && all_size - (pa - all_pa) >= size;
}

const struct gct_mem_desc *check_shared(const struct check *c, int32_t community, uint64_t pa,
					uint64_t size)
{
	const struct gct_mem_desc_node *d;
	const struct gct_mem_desc *f;

	for (uint32_t at = 0; (d = next_descriptor(c, &at));)
		for (uint32_t i = 0; (f = check_fragment(c, d, i)); i++)
			if (f->mem_owner == community && f->mem_flags & GCT_MEM_SHARED &&
			    within(pa, size, f->pa, f->size))
				return f;
	return NULL;
}

bool check_bad_page(const struct check *c, uint64_t pa)
{
	const struct gct_mem_desc_node *d;

	for (uint32_t at = 0; (d = next_descriptor(c, &at));) {
		uint64_t page = (pa - d->mem_info.base_pa) / APMP_PAGE_SIZE;
		int64_t off = (const unsigned char *)d - c->tree.root + d->tested;
		const uint64_t *word;

		if (!d->tested || !within(pa, 1, d->mem_info.base_pa, d->mem_info.base_size) ||
		    page / 64 > c->tree.size / sizeof(*word))
			continue;
		word = image_tree_at(&c->tree, off + (int64_t)(page / 64 * sizeof(*word)),
				     sizeof(*word));
		return word && !(*word >> page % 64 & 1);
	}
	return false;
}

static bool is_free(const struct gct_mem_desc *f)
{
	return !f->mem_owner && !f->mem_current_owner;
}

/* Whether the owner may have a part of this descriptor [0096, 0097]: it has all of it, or is of the
 * community that has; what is shared has the subsystem, too. */
static bool may_have(const struct check *c, const struct gct_mem_desc_node *d,
		     const struct gct_node *owner, int32_t handle)
{
	const struct gct_node *sub = image_node(&c->tree, d->hd.parent);

	if (owner->type == GCT_COMMUNITY)
		return d->hd.owner == handle && sub->owner == handle;
	return d->hd.owner == handle || (d->hd.owner && owner->parent == d->hd.owner);
}

static void check_fragment_owner(struct check *c, const struct gct_mem_desc_node *d,
				 const struct gct_mem_desc *f)
{
	const struct gct_node *owner = f->mem_owner ? image_node(&c->tree, f->mem_owner) : NULL;
	bool shared = owner && owner->type == GCT_COMMUNITY;
	uint32_t kind = f->mem_flags & (GCT_MEM_SHARED | GCT_MEM_PRIVATE);

	if (f->mem_owner && !(owner && (shared || owner->type == GCT_PARTITION)))
		found(c, CHECK_memory_owners, "memory at %#" PRIx64 " is of node %" PRId32,
		      (uint64_t)f->pa, (int32_t)f->mem_owner);
	else if (owner ? kind != (shared ? GCT_MEM_SHARED : GCT_MEM_PRIVATE)
		       : is_free(f) && f->mem_flags)
		found(c, CHECK_memory_owners, "memory at %#" PRIx64 " of %s has flags %#x",
		      (uint64_t)f->pa, check_owner(c, f->mem_owner).text, f->mem_flags);
	else if (owner ? !may_have(c, d, owner, f->mem_owner) : !is_free(f) && !d->hd.owner)
		found(c, CHECK_memory_owners,
		      "memory at %#" PRIx64 " is of %s, in a descriptor of %s", (uint64_t)f->pa,
		      check_owner(c, f->mem_owner).text, check_owner(c, d->hd.owner).text);
}

static void check_descriptor(struct check *c, const struct gct_mem_desc_node *d)
{
	uint64_t at = d->mem_info.base_pa, end = at + d->mem_info.base_size;
	uint64_t unit = image_root(&c->tree)->min_alloc;
	const struct gct_mem_desc *f, *before = NULL;
	uint32_t i;

	unit = unit ? unit : 1;

	for (i = 0; (f = check_fragment(c, d, i)); i++) {
		if (f->pa != at || !f->size || f->size % unit || f->size > end - at) {
			found(c, CHECK_memory_tiles,
			      "%" PRIu64 " bytes at %#" PRIx64 " follow %#" PRIx64
			      " in memory that ends at %#" PRIx64,
			      (uint64_t)f->size, (uint64_t)f->pa, at, end);
			return;
		}
		check_fragment_owner(c, d, f);
		if (before && is_free(before) && is_free(f))
			found(c, CHECK_memory_tiles, "two free fragments meet at %#" PRIx64, at);
		at += f->size;
		before = f;
	}
	if (i != d->mem_info.desc_count || at != end)
		found(c, CHECK_memory_tiles,
		      "%u fragments end at %#" PRIx64
		      " in memory that has %u and ends at %#" PRIx64,
		      i, at, (unsigned)d->mem_info.desc_count, end);
}

static bool overlap(const struct gct_mem_info *a, const struct gct_mem_info *b)
{
	return a->base_pa < b->base_pa + b->base_size && b->base_pa < a->base_pa + a->base_size;
}

void check_memory(struct check *c)
{
	const struct gct_mem_desc_node *d, *other;
	uint64_t total = 0, wanted = image_root(&c->tree)->mem_size;

	for (uint32_t at = 0; (d = next_descriptor(c, &at));) {
		check_descriptor(c, d);
		total += d->hd.node_flags & NODE_UNAVAILABLE ? 0 : d->mem_info.base_size;
		for (uint32_t behind = at; (other = next_descriptor(c, &behind));)
			if (overlap(&d->mem_info, &other->mem_info))
				found(c, CHECK_memory_apart,
				      "descriptors at %#" PRIx64 " and %#" PRIx64 " overlap",
				      (uint64_t)d->mem_info.base_pa,
				      (uint64_t)other->mem_info.base_pa);
	}
	if (total != wanted)
		found(c, CHECK_memory_apart, "there are %" PRIu64 " bytes, the root says %" PRIu64,
		      total, wanted);
}
