/*
 * Memory of the machine in miniature: fragments of descriptors, each of which serves one community
 * with its partitions, or one partition that is in none [0096, 0097].
 */
#include "tests/unit/plan_model.h"

enum { DOMAIN_FREE = -1, DOMAIN_PARTITION = 100 };

int64_t model_owned(const struct model *m, int owner, bool shared)
{
	int64_t size = 0;

	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].owner == owner && m->piece[i].shared == shared)
			size += m->piece[i].size;
	return size;
}

static int domain_of(const struct model *m, int owner, bool shared)
{
	int community = shared ? owner : m->partition[owner].community;

	return community == MODEL_NONE ? DOMAIN_PARTITION + owner : community;
}

static int domain_served(const struct model *m, int64_t desc_pa)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size && m->piece[i].desc_pa == desc_pa &&
		    m->piece[i].owner != MODEL_NONE)
			return domain_of(m, m->piece[i].owner, m->piece[i].shared);
	return DOMAIN_FREE;
}

static struct model_piece *unused(struct model *m)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size == 0)
			return &m->piece[i];
	return NULL;
}

/* The part [pa, pa + size) of a piece becomes a piece of its own. */
static struct model_piece *cut(struct model *m, struct model_piece *piece, int64_t pa, int64_t size)
{
	int64_t end = piece->pa + piece->size;

	if (pa > piece->pa) {
		struct model_piece *front = unused(m);

		*front = *piece;
		front->size = pa - piece->pa;
		piece->base = false;
	}
	piece->pa = pa;
	piece->size = size;
	if (pa + size < end) {
		struct model_piece *back = unused(m);

		*back = *piece;
		back->pa = pa + size;
		back->size = end - back->pa;
		back->base = false;
	}
	return piece;
}

/* What nobody owns and touches becomes one. */
static void merge(struct model *m)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		for (int k = 0; k < MODEL_PIECES; k++) {
			struct model_piece *one = &m->piece[i], *next = &m->piece[k];

			if (one->size == 0 || next->size == 0 || one->owner != MODEL_NONE ||
			    next->owner != MODEL_NONE || one->desc_pa != next->desc_pa ||
			    one->pa + one->size != next->pa)
				continue;
			one->size += next->size;
			next->size = 0;
			k = -1;
		}
}

static void give(struct model *m, struct model_piece *piece, int owner, bool shared, bool base)
{
	piece->owner = owner;
	piece->shared = shared;
	piece->base = base;
	merge(m);
}

/* ---- giving ---- */

static bool may_serve(const struct model *m, const struct model_piece *piece, int domain)
{
	int served = domain_served(m, piece->desc_pa);

	return piece->size > 0 && piece->owner == MODEL_NONE &&
	       (served == DOMAIN_FREE || served == domain);
}

static bool has_base(const struct model *m, int owner)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size && m->piece[i].base && m->piece[i].owner == owner)
			return true;
	return false;
}

/* One that holds all of it, else the largest; rather where its domain is already. */
static struct model_piece *find(struct model *m, int domain, int64_t size, int64_t least)
{
	struct model_piece *best = NULL;
	int best_score = -1;

	for (int i = 0; i < MODEL_PIECES; i++) {
		struct model_piece *piece = &m->piece[i];
		int score = (piece->size >= size ? 4 : 0) +
			    (domain_served(m, piece->desc_pa) == domain ? 2 : 0) +
			    (best && piece->size > best->size);

		if (!may_serve(m, piece, domain) || piece->size < least || score <= best_score)
			continue;
		best = piece;
		best_score = score & ~1;
	}
	return best;
}

static const char *assign_anywhere(struct model *m, int64_t size, int owner, bool shared)
{
	bool base = !shared && !has_base(m, owner);
	struct model after = *m;

	while (size > 0) {
		int64_t least = base ? 2 * MODEL_UNIT : MODEL_UNIT;
		struct model_piece *piece = find(&after, domain_of(m, owner, shared), size, least);

		if (!piece)
			return "so much finds no place";
		piece = cut(&after, piece, piece->pa, piece->size < size ? piece->size : size);
		size -= piece->size;
		give(&after, piece, owner, shared, base);
		base = false;
	}
	*m = after;
	return NULL;
}

const char *model_assign(struct model *m, int64_t size, int64_t pa, int owner, bool shared)
{
	bool base = !shared && !has_base(m, owner);

	if (size <= 0 || size % MODEL_UNIT || (base && size < 2 * MODEL_UNIT))
		return "it is too small, or not whole units";
	if (!pa)
		return assign_anywhere(m, size, owner, shared);
	for (int i = 0; i < MODEL_PIECES; i++) {
		struct model_piece *piece = &m->piece[i];

		if (piece->pa > pa || piece->pa + piece->size < pa + size)
			continue;
		if (!may_serve(m, piece, domain_of(m, owner, shared)))
			return "it is owned, or its descriptor serves others";
		give(m, cut(m, piece, pa, size), owner, shared, base);
		return NULL;
	}
	return "there is no such memory in one piece";
}

/* ---- taking ---- */

static struct model_piece *last_piece(struct model *m, int owner, bool shared)
{
	struct model_piece *last = NULL;

	for (int i = 0; i < MODEL_PIECES; i++) {
		struct model_piece *piece = &m->piece[i];

		if (piece->size == 0 || piece->owner != owner || piece->shared != shared)
			continue;
		if (!last || (piece->base != last->base ? last->base : piece->pa > last->pa))
			last = piece;
	}
	return last;
}

static const char *release_at(struct model *m, int64_t size, int64_t pa, int owner, bool shared)
{
	for (int i = 0; i < MODEL_PIECES; i++) {
		struct model_piece *piece = &m->piece[i];

		if (piece->size == 0 || piece->owner != owner || piece->shared != shared ||
		    piece->pa > pa || piece->pa + piece->size < pa + size)
			continue;
		give(m, cut(m, piece, pa, size), MODEL_NONE, false, false);
		return NULL;
	}
	return "it has no such piece";
}

const char *model_release(struct model *m, int64_t size, int64_t pa, int owner, bool shared)
{
	if (pa)
		return release_at(m, size, pa, owner, shared);
	if (model_owned(m, owner, shared) < size)
		return "it has not so much";
	while (size > 0) {
		struct model_piece *piece = last_piece(m, owner, shared);
		int64_t take = piece->size < size ? piece->size : size;

		size -= take;
		give(m, cut(m, piece, piece->pa + piece->size - take, take), MODEL_NONE, false,
		     false);
	}
	return NULL;
}

/* ---- the box ---- */

void model_add_memory(struct model *m, int sbb, int64_t size)
{
	if (size == 0)
		return;
	*unused(m) = (struct model_piece){
	    .sbb = sbb, .pa = m->next_pa, .desc_pa = m->next_pa, .size = size, .owner = MODEL_NONE};
	m->next_pa += INT64_C(1) << 30;
}

const char *model_remove_memory(struct model *m, int64_t pa)
{
	bool found = false;

	if (domain_served(m, pa) != DOMAIN_FREE)
		return "some of it is owned";
	for (int i = 0; i < MODEL_PIECES; i++) {
		if (m->piece[i].size == 0 || m->piece[i].desc_pa != pa)
			continue;
		m->piece[i].size = 0;
		found = true;
	}
	return found ? NULL : "no such memory";
}

int64_t model_sbb_memory(const struct model *m, int sbb)
{
	int64_t size = 0;

	for (int i = 0; i < MODEL_PIECES; i++)
		size += m->piece[i].size && m->piece[i].sbb == sbb ? m->piece[i].size : 0;
	return size;
}
