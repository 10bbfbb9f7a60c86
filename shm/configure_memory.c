/*
 * configure_memory.c - fragments of memory get an owner and lose it [0092-0097].
 *
 * WHAT      A fragment may be a partition's (private) or a community's (shared).  Its subsystem and
 *           descriptor must allow it: a community's serve it and its partitions; a partition's,
 *           that partition alone.  Where nobody has the subsystem yet, the first fragment takes it
 *           along: for the community of its owner, else for its owner; and when the last fragment
 *           has gone, it is given up (apmp__tree_leave_subsystem), so that memory without an owner
 *           can be had by everybody.
 *           Which memory, where the request leaves it open: of a descriptor that the owner's domain
 *           has already (the others stay free for other domains), near its CPUs, in the smallest
 *           place that is large enough, at the lowest address.
 * LIMITS    A request is for one piece: memory that is not there in one piece takes several.
 */
#include "shm/configure_internal.h"
#include "shm/db_place.h"

#include <errno.h>

/* A request for memory that has been read. */
struct wish {
	struct apmp__owner to;
	uint32_t flags;
	uint64_t pa, size, align;
};

/* What has to be given to the wish's owner along with a fragment: `node` and what is bound to it,
 * to the owner `along`. */
struct place {
	enum apmp_reason reason; /* why not; APMP_REASON_NONE */
	int32_t about;
	struct apmp_tree_node node;
	bool takes_along;
	struct apmp__owner along;
};

static const struct gct_root_node *root_of(const struct apmp_tree *tree)
{
	return (const void *)tree->root;
}

static struct place no_place(enum apmp_reason reason, int32_t about)
{
	return (struct place){.reason = reason, .about = about};
}

/* Nobody has the subsystem: the owner's domain takes all of it. */
static struct place take_subsystem(struct apmp__asked *asked, const struct apmp_tree_node *sub,
				   const struct apmp__owner *to)
{
	struct place place = {.node = *sub, .takes_along = true};

	if (sub->current_owner)
		return no_place(APMP_REASON_OWNED, sub->current_owner);
	if (!apmp__owner_at(asked->tree, (uint64_t)to->domain, &place.along))
		return no_place(APMP_REASON_NOT_AN_OWNER, to->domain);
	if (apmp__fits(asked, sub, &place.along, GCT_NONE)) {
		place.reason = asked->ret->reason;
		place.about = asked->ret->about;
		*asked->ret = (struct apmp_configured){0};
	}
	return place;
}

/* Whether a descriptor may have fragments of this owner [0096, 0097]. */
static struct place find_place(struct apmp__asked *asked, int32_t desc,
			       const struct apmp__owner *to)
{
	struct apmp_tree_node d, sub;
	struct place place = {0};
	struct apmp__owner owner;

	if (apmp_tree_node(asked->tree, desc, &d) || apmp_tree_node(asked->tree, d.parent, &sub))
		return no_place(APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if ((d.flags | sub.flags) & NODE_UNAVAILABLE)
		return no_place(APMP_REASON_UNAVAILABLE, desc);
	if (!sub.owner)
		return take_subsystem(asked, &sub, to);
	if (!d.owner) { /* it was released alone, or came in later: as the subsystem */
		if (d.current_owner)
			return no_place(APMP_REASON_OWNED, d.current_owner);
		place.node = d;
		place.takes_along = true;
		d.owner = sub.owner;
	}
	if (!apmp__owner_at(asked->tree, (uint64_t)d.owner, &owner))
		return no_place(APMP_REASON_DESCRIPTOR_UNSHARED, desc);
	place.along = owner;
	if (!owner.community && owner.handle != to->handle)
		return no_place(APMP_REASON_DESCRIPTOR_PRIVATE, desc);
	if (owner.community && owner.handle != to->domain) /* and so, by its chain, the subsystem */
		return no_place(APMP_REASON_DESCRIPTOR_UNSHARED, desc);
	return place;
}

/* Flags say for whom it is: base and console memory are private [0094]. */
static bool read_flags(struct wish *wish, uint64_t flags)
{
	const uint32_t kind = wish->to.community ? GCT_MEM_SHARED : GCT_MEM_PRIVATE;
	const uint32_t may =
	    kind | (wish->to.community ? 0 : (uint32_t)(GCT_MEM_BASE | GCT_MEM_CONSOLE));

	wish->flags = (uint32_t)flags | kind;
	return !(flags & ~(uint64_t)may);
}

static int read_wish(struct apmp__asked *asked, struct wish *wish)
{
	const struct gct_root_node *root = root_of(asked->tree);
	const uint64_t *arg = asked->request->arg;
	uint64_t least = apmp_load_relaxed(&root->min_alloc), unit = least;
	int err;

	*wish = (struct wish){
	    .pa = arg[0], .size = arg[1], .align = apmp_load_relaxed(&root->min_align)};
	if (!apmp__owner_at(asked->tree, arg[2] & UINT32_MAX, &wish->to))
		return apmp__refuse(asked, APMP_REASON_NOT_AN_OWNER, GCT_NONE);
	err = apmp__may_assign(asked, &wish->to);
	if (err)
		return err;
	if (!read_flags(wish, arg[2] >> 32))
		return apmp__refuse(asked, APMP_REASON_INVALID, GCT_NONE);
	if (wish->flags & GCT_MEM_BASE) {
		wish->align = apmp_load_relaxed(&root->base_align);
		least = apmp_load_relaxed(&root->base_alloc);
	}
	if (wish->size < least || wish->size % unit || wish->pa % wish->align)
		return apmp__refuse(asked, APMP_REASON_ALIGNMENT, GCT_NONE);
	return 0;
}

/* Memory that was asked for by its address. */
static int at_address(struct apmp__asked *asked, const struct wish *wish, struct place *ret_place,
		      struct apmp__tree_cut *ret_cut)
{
	struct apmp_tree_fragment f;

	if (apmp_tree_memory_at(asked->tree, wish->pa, &f))
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	*ret_place = find_place(asked, f.desc, &wish->to);
	if (ret_place->reason)
		return apmp__refuse(asked, ret_place->reason, ret_place->about);
	if (!apmp__tree_is_free(&f))
		return apmp__refuse(asked, APMP_REASON_OWNED, f.owner ? f.owner : f.current_owner);
	switch (apmp__tree_plan_cut(asked->tree, wish->pa, wish->size, wish->to.handle,
				    wish->to.community ? wish->to.handle : GCT_NONE, wish->flags,
				    ret_cut)) {
	case 0:
		return 0;
	case -ENOSPC:
		return apmp__refuse(asked, APMP_REASON_FRAGMENTS, f.desc);
	default: /* the fragment ends before */
		asked->ret->ret[0] = wish->size;
		asked->ret->ret[1] = f.size - (wish->pa - f.pa);
		return apmp__refuse(asked, APMP_REASON_NO_MEMORY, f.desc);
	}
}

/* Whether the owner has a CPU for which this descriptor's memory is best. */
static bool is_near(const struct apmp_tree *tree, const struct apmp_tree_node *desc, int32_t owner)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node cpu;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_CPU, &cpu) > 0)
		if (cpu.owner == owner && cpu.affinity == desc->affinity)
			return true;
	return false;
}

struct choice {
	int score;
	uint64_t pa, spare; /* bytes that the fragment has more */
	uint64_t largest;   /* that could be had anywhere */
	int32_t full;	    /* a descriptor that has room, but can't have more fragments */
};

/* Looks for the best place among one descriptor's fragments. */
static void choose_in(struct apmp__asked *asked, const struct wish *wish, int32_t desc, int score,
		      struct choice *best)
{
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(asked->tree, desc, i, &f) == 0; i++) {
		uint64_t skip = (wish->align - f.pa % wish->align) % wish->align;
		struct apmp__tree_cut cut;

		if (!apmp__tree_is_free(&f) || f.size <= skip)
			continue;
		if (f.size - skip > best->largest)
			best->largest = f.size - skip;
		if (f.size - skip < wish->size || score < best->score ||
		    (score == best->score && f.size - wish->size >= best->spare))
			continue;
		if (apmp__tree_plan_cut(asked->tree, f.pa + skip, wish->size, wish->to.handle,
					GCT_NONE, wish->flags, &cut)) {
			best->full = desc;
			continue;
		}
		best->score = score;
		best->pa = f.pa + skip;
		best->spare = f.size - wish->size;
	}
}

/* Chooses the address of memory that may be anywhere. */
static int choose(struct apmp__asked *asked, struct wish *wish)
{
	struct choice best = {.spare = UINT64_MAX};
	struct apmp_tree_walk walk;
	struct apmp_tree_node desc;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(asked->tree, &walk, GCT_MEMORY_DESC, &desc) > 0) {
		struct place place = find_place(asked, desc.handle, &wish->to);
		bool near = is_near(asked->tree, &desc, wish->to.handle);

		if (!place.reason)
			choose_in(asked, wish, desc.handle,
				  (place.takes_along ? 1 : 4) + (near ? 2 : 0), &best);
	}
	wish->pa = best.pa;
	if (best.score)
		return 0;
	if (best.full)
		return apmp__refuse(asked, APMP_REASON_FRAGMENTS, best.full);
	asked->ret->ret[0] = wish->size;
	asked->ret->ret[1] = best.largest;
	return apmp__refuse(asked, APMP_REASON_NO_MEMORY, GCT_NONE);
}

int apmp__assign_memory(struct apmp__asked *asked)
{
	struct apmp__tree_cut cut = {0};
	struct place place = {0};
	struct wish wish;
	int err = read_wish(asked, &wish);

	if (!err && !wish.pa)
		err = choose(asked, &wish);
	if (!err)
		err = at_address(asked, &wish, &place, &cut);
	if (err)
		return err;
	apmp_update_begin(asked->tw->up);
	if (place.takes_along)
		apmp__give(asked, &place.node, &place.along);
	apmp__tree_cut(asked->tw, &cut);
	asked->ret->ret[0] = wish.pa;
	return 0;
}

/* Whether a range of the community's database [0086, 0125], or the rest of its granule, lies in
 * this memory. */
static bool holds_range(uint64_t info, uint64_t pa, uint64_t size)
{
	uint64_t first = apmp_place_granule(info);
	uint64_t end = (apmp_place_pfn(info) + apmp_place_pages(info)) * APMP_PAGE_SIZE;

	if (end < first + APMP_GRANULE)
		end = first + APMP_GRANULE;
	return info && first < pa + size && pa < end;
}

/* The database of a community is not taken from under its members.  ret_holds: for each of the two
 * ranges, whether it goes with this memory. */
static int check_database(struct apmp__asked *asked, const struct apmp_tree_fragment *f,
			  uint64_t pa, uint64_t size, bool ret_holds[2])
{
	struct apmp_tree_database db;
	struct apmp__owner owner;

	ret_holds[0] = ret_holds[1] = false;
	if (!apmp__owner_at(asked->tree, (uint64_t)f->owner, &owner) || !owner.community)
		return 0;
	db = apmp_tree_database(asked->tree, f->owner);
	ret_holds[0] = holds_range(db.info, pa, size);
	ret_holds[1] = holds_range(db.other, pa, size);
	if ((ret_holds[0] || ret_holds[1]) && owner.initialized)
		return apmp__refuse(asked, APMP_REASON_IN_USE, f->owner);
	return 0;
}

int apmp__deassign_memory(struct apmp__asked *asked)
{
	const uint64_t *arg = asked->request->arg,
		       unit = apmp_load_relaxed(&root_of(asked->tree)->min_alloc);
	struct apmp_tree_fragment f;
	struct apmp__tree_cut cut;
	bool database[2];
	int ends, err;

	if (!arg[1] || arg[1] % unit || arg[0] % unit)
		return apmp__refuse(asked, APMP_REASON_ALIGNMENT, GCT_NONE);
	if (apmp_tree_memory_at(asked->tree, arg[0], &f))
		return apmp__refuse(asked, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	if (!f.owner)
		return apmp__refuse(asked, APMP_REASON_UNOWNED, f.desc);
	err = apmp__may_release(asked, f.owner);
	if (!err)
		err = check_database(asked, &f, arg[0], arg[1], database);
	if (err)
		return err;
	ends = apmp__use_ends(asked, f.current_owner, arg[2] != 0);
	if (ends < 0)
		return ends;
	err = apmp__tree_plan_cut(asked->tree, arg[0], arg[1], GCT_NONE,
				  ends ? GCT_NONE : f.current_owner, f.flags, &cut);
	if (err)
		return apmp__refuse(
		    asked, err == -ENOSPC ? APMP_REASON_FRAGMENTS : APMP_REASON_INVALID, f.desc);
	apmp_update_begin(asked->tw->up);
	apmp__tree_cut(asked->tw, &cut);
	for (int other = 0; other < 2; other++)
		if (database[other])
			apmp__tree_clear_database(asked->tw, f.owner, other);
	if (ends)
		apmp__tree_leave_subsystem(asked->tw, f.desc, asked->by);
	asked->ret->ret[0] = !ends;
	return 0;
}
