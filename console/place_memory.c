/*
 * place_memory.c - where memory for an owner is to be taken from [0092-0097].
 *
 * WHAT      A descriptor that has an owner serves only that one, or the partitions of that
 *           community; so one that the owner's community or itself has already is preferred, and
 *           the others stay free for owners of another kind; then one that is near, then one with
 *           much.
 */
#include "console/place_memory.h"

#include <errno.h>

#include "console/hardware.h"
#include "shm/assert.h"

/* What is being planned. */
struct plan {
	struct console *c;
	int32_t owner, community, near;
	struct console_piece *pieces;
	uint32_t count;
};

/* What of a free fragment is not planned for: pieces are taken from its beginning. */
static struct console_piece rest_of(const struct plan *p, const struct apmp_tree_fragment *f)
{
	struct console_piece rest = {.desc = f->desc, .pa = f->pa, .size = f->size};

	for (uint32_t i = 0; i < p->count; i++) {
		uint64_t end = p->pieces[i].pa + p->pieces[i].size;

		if (p->pieces[i].pa >= f->pa && p->pieces[i].pa < f->pa + f->size &&
		    end > rest.pa) {
			rest.size -= end - rest.pa;
			rest.pa = end;
		}
	}
	return rest;
}

/* The first free piece of at least so many bytes, else the largest. */
static struct console_piece piece_of(const struct plan *p, int32_t desc, uint64_t at_least)
{
	struct console_piece best = {.desc = desc};
	struct apmp_tree_fragment f;
	uint32_t count = 0;

	for (; apmp_tree_fragment(&p->c->tw.tree, desc, count, &f) == 0; count++) {
		struct console_piece rest = rest_of(p, &f);

		if (!f.owner && !f.current_owner && rest.size > best.size && best.size < at_least)
			best = rest;
	}
	/* Each piece may cut one fragment in two. */
	if (count + p->count + 1 > CONSOLE_MAX_FRAGMENTS)
		best.size = 0;
	return best;
}

static bool may_serve(const struct plan *p, const struct apmp_tree_node *desc)
{
	return !(desc->flags & NODE_UNAVAILABLE) && (!desc->owner || desc->owner == p->owner ||
						     (p->community && desc->owner == p->community));
}

/* The best piece of at least so many bytes; size 0: there is none. */
static struct console_piece find_piece(const struct plan *p, uint64_t at_least)
{
	struct console_piece best = {0};
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	int best_score = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&p->c->tw.tree, &walk, GCT_MEMORY_DESC, &node) > 0) {
		struct console_piece piece = piece_of(p, node.handle, at_least);
		int score = (node.owner ? 4 : 0) + (node.affinity == p->near ? 2 : 0) + 1;

		if (!may_serve(p, &node) || piece.size < at_least || score < best_score ||
		    (score == best_score && piece.size <= best.size))
			continue;
		best = piece;
		best_score = score;
	}
	return best;
}

static int32_t community_of(struct console *c, int32_t owner)
{
	struct apmp_tree_node node, above;

	apmp_assert(apmp_tree_node(&c->tw.tree, owner, &node) == 0 &&
		    apmp_tree_node(&c->tw.tree, node.parent, &above) == 0);
	if (node.type == GCT_COMMUNITY)
		return owner;
	return above.type == GCT_COMMUNITY ? above.handle : GCT_NONE;
}

int console_plan_memory(struct console *c, int32_t owner, int32_t near, uint64_t size,
			uint64_t first_min, struct console_piece ret_pieces[CONSOLE_PIECES],
			uint64_t *ret_had)
{
	struct plan p = {.c = c,
			 .owner = owner,
			 .community = community_of(c, owner),
			 .near = near,
			 .pieces = ret_pieces};
	uint64_t left = size;

	while (left > 0 && p.count < CONSOLE_PIECES) {
		struct console_piece piece = find_piece(&p, left);

		if (!piece.size) /* not in one piece */
			piece = find_piece(&p, first_min ? first_min : APMP_GRANULE);
		if (!piece.size)
			break;
		if (piece.size > left)
			piece.size = left;
		left -= piece.size;
		first_min = 0;
		ret_pieces[p.count++] = piece;
	}
	*ret_had = size - left;
	return left ? -ENOMEM : (int)p.count;
}
