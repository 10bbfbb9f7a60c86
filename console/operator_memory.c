/*
 * operator_memory.c - the administrator gives memory to partitions and communities, and takes it
 * back [0092-0097].
 *
 * WHAT      A piece is one request of shm/call.h.  What takes several is planned as a whole first,
 *           and taken back when one of them is refused all the same.
 */
#include <errno.h>
#include <stdio.h>

#include "console/hardware.h"
#include "console/operator.h"
#include "console/place_memory.h"
#include "shm/assert.h"

static uint64_t bytes_of(const json_t *parameters, const char *key)
{
	json_int_t bytes = json_integer_value(json_object_get(parameters, key));

	return bytes > 0 ? (uint64_t)bytes : 0;
}

static void no_memory(struct console *c, struct varlink_call *call, uint64_t wanted, uint64_t had)
{
	struct apmp_configured why = {.reason = APMP_REASON_NO_MEMORY, .ret = {wanted, had}};

	console_refused(c, call, &why, -ENOMEM);
}

static void refused_for(struct console *c, struct varlink_call *call, enum apmp_reason reason)
{
	struct apmp_configured why = {.reason = reason};

	console_refused(c, call, &why, -apmp_reason_info(reason)->err);
}

/* Fragments in the order of their addresses; idx counts them over all descriptors. */
struct fragments {
	struct console *c;
	struct apmp_tree_walk walk;
	struct apmp_tree_node desc;
	uint32_t idx;
	bool in_desc;
};

static struct fragments all_fragments(struct console *c)
{
	struct fragments all = {.c = c};

	apmp_tree_walk_init(&all.walk, 0);
	return all;
}

static bool next_fragment(struct fragments *all, struct apmp_tree_fragment *ret)
{
	struct apmp_tree *tree = &all->c->tw.tree;

	for (;;) {
		if (all->in_desc &&
		    apmp_tree_fragment(tree, all->desc.handle, all->idx++, ret) == 0)
			return true;
		all->in_desc =
		    apmp_tree_walk_type(tree, &all->walk, GCT_MEMORY_DESC, &all->desc) > 0;
		all->idx = 0;
		if (!all->in_desc)
			return false;
	}
}

static json_t *piece_json(uint64_t pa, uint64_t size)
{
	return json_pack("{s:I,s:I}", "pa", (json_int_t)pa, "size", (json_int_t)size);
}

/* ---- giving ---- */

/* What kind of memory the owner gets; a partition boots from its first that is large enough
 * [0097]. */
static uint32_t flags_for(struct console *c, int32_t owner, uint64_t size)
{
	struct fragments all = all_fragments(c);
	struct apmp_tree_fragment f;

	if (!console_partition_of(c, owner))
		return GCT_MEM_SHARED;
	while (next_fragment(&all, &f))
		if (f.owner == owner && f.flags & GCT_MEM_BASE)
			return GCT_MEM_PRIVATE;
	return GCT_MEM_PRIVATE | (size >= CONSOLE_BASE_ALLOC ? GCT_MEM_BASE : 0);
}

/* The SBB of its first CPU. */
static int32_t home_of(struct console *c, int32_t owner)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		if (n.owner == owner)
			return n.affinity;
	return GCT_NONE;
}

/* Takes back what was given so far: nobody uses it yet. */
static void undo(struct console *c, const struct console_piece *pieces, int count)
{
	for (int i = 0; i < count; i++) {
		struct apmp_call_request r = {.op = APMP_CALL_DEASSIGN_MEMORY,
					      .arg = {pieces[i].pa, pieces[i].size, 1}};
		struct apmp_configured done;

		(void)!console_configure(c, &r, APMP_ADMINISTRATOR, NULL, NULL, &done);
	}
}

static void give(struct console *c, struct varlink_call *call, int32_t owner, uint64_t flags,
		 const struct console_piece *pieces, int count)
{
	json_t *list = json_array();
	struct apmp_tree_fragment f;
	bool active = true;

	for (int i = 0; i < count; i++) {
		struct apmp_call_request r = {
		    .op = APMP_CALL_ASSIGN_MEMORY,
		    .arg = {pieces[i].pa, pieces[i].size, (uint32_t)owner | flags << 32}};
		struct apmp_configured done;

		if (!console_change(c, call, &r, &done)) {
			undo(c, pieces, i);
			json_decref(list);
			return;
		}
		flags &= ~(uint64_t)GCT_MEM_BASE;
		json_array_append_new(list, piece_json(pieces[i].pa, pieces[i].size));
		if (apmp_tree_memory_at(&c->tw.tree, pieces[i].pa, &f) || f.current_owner != owner)
			active = false;
	}
	console_reply_durably(c, call, json_pack("{s:b,s:o}", "active", active, "fragments", list));
}

static void on_assign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	uint64_t size = bytes_of(parameters, "size"), pa = bytes_of(parameters, "pa"), had;
	int32_t owner = console_wanted_owner(c, call, text_of(parameters, "to"));
	struct console_piece pieces[CONSOLE_PIECES] = {{.pa = pa, .size = size}};
	uint32_t flags;
	int count = 1;

	if (!owner)
		return;
	if (!size || size % APMP_GRANULE) {
		refused_for(c, call, APMP_REASON_ALIGNMENT);
		return;
	}
	flags = flags_for(c, owner, size);
	if (!json_object_get(parameters, "pa"))
		count = console_plan_memory(c, owner, home_of(c, owner), size,
					    flags & GCT_MEM_BASE ? CONSOLE_BASE_ALLOC : 0, pieces,
					    &had);
	else if (!pa) /* there is none; as an argument of the callback it means any */
		count = 0;
	if (!count)
		refused_for(c, call, APMP_REASON_NO_SUCH_NODE);
	else if (count < 0)
		no_memory(c, call, size, had);
	else
		give(c, call, owner, flags, pieces, count);
}

/* ---- taking back ---- */

/* The last piece of the owner's that is below the limit, base memory or not. */
static bool last_piece(struct console *c, int32_t owner, bool base, uint64_t below,
		       struct apmp_tree_fragment *ret)
{
	struct fragments all = all_fragments(c);
	struct apmp_tree_fragment f;
	bool found = false;

	while (next_fragment(&all, &f)) {
		if (f.owner != owner || !!(f.flags & GCT_MEM_BASE) != base || f.pa >= below ||
		    (found && f.pa < ret->pa))
			continue;
		*ret = f;
		found = true;
	}
	return found;
}

/* Plans what is given back: from the end, the memory it boots from last; the piece that has to be
 * cut comes first, since it alone may be refused. */
static int plan_return(struct console *c, int32_t owner, uint64_t size,
		       struct console_piece pieces[CONSOLE_PIECES], uint64_t *ret_had)
{
	struct console_piece cut;
	uint64_t left = size;
	int count = 0;

	for (int base = 0; base < 2; base++) {
		struct apmp_tree_fragment f = {.pa = UINT64_MAX};

		while (left > 0 && count < (int)CONSOLE_PIECES &&
		       last_piece(c, owner, base, f.pa, &f)) {
			uint64_t take = f.size < left ? f.size : left;

			pieces[count++] =
			    (struct console_piece){.pa = f.pa + f.size - take, .size = take};
			left -= take;
		}
	}
	*ret_had = size - left;
	if (left)
		return -ENOMEM;
	cut = pieces[count - 1];
	pieces[count - 1] = pieces[0];
	pieces[0] = cut;
	return count;
}

/* Whether an instance may be using what this owner has. */
static bool is_used(struct console *c, int32_t owner)
{
	struct apmp_tree_partition self;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists && console_running(&c->partition[i]) &&
		    apmp_tree_partition(&c->tw.tree, i, &self) == 0 &&
		    (self.node.handle == owner || self.community == owner))
			return true;
	return false;
}

static void take(struct console *c, struct varlink_call *call, int32_t owner,
		 const struct console_piece *pieces, int count)
{
	json_t *list = json_array();
	struct apmp_tree_fragment f;
	bool in_use = false, used = is_used(c, owner);

	for (int i = 0; i < count; i++) {
		struct apmp_call_request r = {.op = APMP_CALL_DEASSIGN_MEMORY,
					      .arg = {pieces[i].pa, pieces[i].size, !used}};
		struct apmp_configured done;

		if (!console_change(c, call, &r, &done)) {
			json_decref(list);
			return;
		}
		json_array_append_new(list, piece_json(pieces[i].pa, pieces[i].size));
		if (apmp_tree_memory_at(&c->tw.tree, pieces[i].pa, &f) == 0 && f.current_owner)
			in_use = true;
	}
	console_reply_durably(c, call, json_pack("{s:b,s:o}", "in_use", in_use, "fragments", list));
}

static void on_deassign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	uint64_t size = bytes_of(parameters, "size"), pa = bytes_of(parameters, "pa"), had;
	int32_t owner = console_wanted_owner(c, call, text_of(parameters, "from"));
	struct console_piece pieces[CONSOLE_PIECES];
	struct apmp_tree_fragment f;
	int count = 1;

	if (!owner)
		return;
	if (!size || size % APMP_GRANULE) {
		refused_for(c, call, APMP_REASON_ALIGNMENT);
		return;
	}
	pieces[0] = (struct console_piece){.pa = pa, .size = size};
	if (json_object_get(parameters, "pa")) {
		had = apmp_tree_memory_at(&c->tw.tree, pa, &f) == 0 && f.owner == owner
			  ? f.size - (pa - f.pa)
			  : 0;
		if (had < size)
			count = -ENOMEM;
	} else {
		count = plan_return(c, owner, size, pieces, &had);
	}
	if (count < 0)
		no_memory(c, call, size, had);
	else
		take(c, call, owner, pieces, count);
}

/* ---- the list ---- */

static json_t *fragment_json(struct console *c, const struct apmp_tree_node *desc,
			     const struct apmp_tree_fragment *f)
{
	char owner[64], user[64];
	struct apmp_tree_node sbb;

	console_name(c, f->owner, owner, sizeof(owner));
	console_name(c, f->current_owner, user, sizeof(user));
	apmp_assert(apmp_tree_node(&c->tw.tree, desc->affinity, &sbb) == 0);
	return json_pack("{s:I,s:I,s:s?,s:s?,s:s,s:b,s:I,s:b}", "pa", (json_int_t)f->pa, "size",
			 (json_int_t)f->size, "owner", owner[0] ? owner : NULL, "current_owner",
			 user[0] ? user : NULL, "kind",
			 f->flags & GCT_MEM_SHARED    ? "shared"
			 : f->flags & GCT_MEM_PRIVATE ? "private"
						      : "unowned",
			 "base", (f->flags & GCT_MEM_BASE) != 0, "sbb", (json_int_t)sbb.id,
			 "available", !(desc->flags & NODE_UNAVAILABLE));
}

static void on_list(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct fragments all = all_fragments(ctx);
	json_t *list = json_array();
	struct apmp_tree_fragment f;

	(void)parameters;
	while (next_fragment(&all, &f))
		json_array_append_new(list, fragment_json(ctx, &all.desc, &f));
	varlink_call_reply(call, json_pack("{s:o}", "fragments", list));
}

const struct console_method console_memory_methods[] = {
    {"MemoryAssign", on_assign},
    {"MemoryDeassign", on_deassign},
    {"MemoryList", on_list},
    {NULL, NULL},
};
