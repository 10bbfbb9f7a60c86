/* estate_model.c - the rules of the configuration, on arrays. */
#include "tests/unit/estate_model.h"

#include <check.h>
#include <string.h>

#include "shm/shared.h"

static int add(struct model *m, int32_t handle, int parent, bool bound)
{
	m->component[m->components] =
	    (struct model_component){.handle = handle,
				     .type = estate_node(m->e, handle).type,
				     .parent = parent,
				     .config = bound ? parent : -1};
	return m->components++;
}

void model_init(struct model *m, const struct estate *e)
{
	*m = (struct model){.e = e, .holder = -1};
	for (uint32_t s = 0; s < 3; s++) {
		int sbb = add(m, e->sbb[s], -1, false), sub, iop;

		for (uint32_t c = 4 * s; c < 4 * s + 4 && s < 2; c++)
			(void)add(m, e->cpu[c], sbb, false);
		sub = add(m, e->sub[s], sbb, false);
		(void)add(m, e->ctrl[s], sub, true);
		for (uint32_t d = 0; d < ESTATE_DESCS; d++)
			if (estate_node(e, e->desc[d]).parent == e->sub[s])
				(void)add(m, e->desc[d], sub, true);
		if (s == 2)
			continue;
		iop = add(m, e->iop[s], sbb, false);
		for (uint32_t b = 2 * s; b < 2 * s + 2; b++)
			(void)add(m, e->device[b], add(m, e->bus[b], iop, s == 1), true);
	}
	for (uint32_t id = 0; id < ESTATE_PARTITIONS; id++)
		m->part[id] = (struct model_software){.exists = true,
						      .handle = e->part[id],
						      .community = id <= C   ? e->lab
								   : id <= E ? e->den
									     : 0,
						      .name = {(char)('a' + id)}};
	m->comm[0] = (struct model_software){.exists = true, .handle = e->lab, .name = "lab"};
	m->comm[1] = (struct model_software){.exists = true, .handle = e->den, .name = "den"};
}

/* --- who is who --- */

static struct model_software *find(struct model_software *all, int32_t handle)
{
	for (uint32_t id = 0; handle && id < MODEL_IDS; id++)
		if (all[id].exists && all[id].handle == handle)
			return &all[id];
	return NULL;
}

static struct model_software *partition(struct model *m, uint64_t handle)
{
	return handle <= INT32_MAX ? find(m->part, (int32_t)handle) : NULL;
}

static struct model_software *community(struct model *m, uint64_t handle)
{
	return handle <= INT32_MAX ? find(m->comm, (int32_t)handle) : NULL;
}

static bool is_owner(struct model *m, uint64_t handle)
{
	return partition(m, handle) || community(m, handle);
}

static int32_t domain(struct model *m, int32_t owner)
{
	struct model_software *p = partition(m, (uint64_t)owner);

	return p && p->community ? p->community : owner;
}

static bool runs(struct model *m, int32_t owner)
{
	for (uint32_t id = 0; id < MODEL_IDS; id++)
		if (m->part[id].exists && m->part[id].initialized &&
		    (m->part[id].handle == owner || m->part[id].community == owner))
			return true;
	return false;
}

static bool may_release(struct model *m, int32_t by, int32_t owner)
{
	if (by == APMP_ADMINISTRATOR || by == owner)
		return true;
	if (domain(m, by) != domain(m, owner))
		return false;
	return community(m, (uint64_t)owner) || !runs(m, owner);
}

/* 1 the use ends, 0 it goes on, -1 it may not be ended. */
static int use_ends(struct model *m, int32_t by, int32_t user, bool given_up)
{
	if (!user || !runs(m, user))
		return 1;
	if (!given_up)
		return 0;
	return by == user || (by != APMP_ADMINISTRATOR && domain(m, by) == user) ? 1 : -1;
}

/* --- components --- */

static struct model_component *component(struct model *m, uint64_t handle)
{
	for (int i = 0; i < m->components; i++)
		if ((uint64_t)m->component[i].handle == handle)
			return &m->component[i];
	return NULL;
}

static bool is_below(struct model *m, const struct model_component *c, int row)
{
	int above = c->parent;

	while (above >= 0 && above != row)
		above = m->component[above].parent;
	return above == row;
}

static bool is_bound(struct model *m, const struct model_component *c, int row)
{
	int above = c->config;

	while (above >= 0 && above != row)
		above = m->component[above].config;
	return above == row;
}

static bool needs_instance(const struct model_component *c)
{
	return c->type == GCT_CPU || c->type == GCT_MEMORY_CTRL;
}

static int desc_idx(struct model *m, int32_t handle)
{
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		if (m->e->desc[d] == handle)
			return d;
	return -1;
}

static uint32_t granules(struct model *m, int desc)
{
	(void)m;
	return desc % 2 ? 8 : 16;
}

/* Whether all that is in a descriptor may be there when it is the owner's (0: nobody's). */
static bool memory_fits(struct model *m, int32_t handle, int32_t owner)
{
	int d = desc_idx(m, handle);
	bool shared = community(m, (uint64_t)owner);

	for (uint32_t g = 0; g < granules(m, d); g++) {
		int32_t has[] = {m->granule[d][g].owner, m->granule[d][g].current};

		for (int i = 0; i < 2; i++)
			if (has[i] && (shared ? domain(m, has[i]) : has[i]) != owner)
				return false;
	}
	return true;
}

static bool chain_fits(struct model *m, const struct model_component *c, int32_t owner)
{
	for (int above = c->parent; c->config >= 0; above = m->component[above].parent) {
		int32_t theirs = m->component[above].owner;

		if (theirs != owner && theirs != domain(m, owner))
			return false;
		if (above == c->config)
			break;
	}
	return true;
}

static bool fits(struct model *m, const struct model_component *c, int32_t owner, int32_t from)
{
	bool shared = community(m, (uint64_t)owner);
	int row = (int)(c - m->component);

	if ((shared && needs_instance(c)) || !chain_fits(m, c, owner))
		return false;
	if (c->type == GCT_MEMORY_DESC && !memory_fits(m, c->handle, owner))
		return false;
	for (int i = 0; i < m->components; i++) {
		const struct model_component *d = &m->component[i];
		bool bound = is_bound(m, d, row), stays = shared && needs_instance(d);

		if (bound && !stays &&
		    ((d->owner && d->owner != from) || (d->current && d->current != from)))
			return false;
		if (is_below(m, d, row) && (!bound || stays) && shared && d->owner &&
		    domain(m, d->owner) != owner)
			return false;
		if (bound && d->type == GCT_MEMORY_DESC && !memory_fits(m, d->handle, owner))
			return false;
	}
	return true;
}

static void give(struct model *m, struct model_component *c, int32_t owner)
{
	bool shared = community(m, (uint64_t)owner);
	int row = (int)(c - m->component);

	for (int i = 0; i < m->components; i++) {
		struct model_component *d = &m->component[i];

		if (d != c && (!is_bound(m, d, row) || (shared && needs_instance(d))))
			continue;
		d->owner = owner;
		d->current = shared ? owner : 0;
	}
}

static bool may_give(struct model *m, int32_t by, int32_t owner)
{
	return by == APMP_ADMINISTRATOR || domain(m, by) == domain(m, owner);
}

static bool assign(struct model *m, int32_t by, uint64_t handle, uint64_t owner)
{
	struct model_component *c = component(m, handle);

	if (!c || !is_owner(m, owner) || !may_give(m, by, (int32_t)owner) || c->owner ||
	    c->current || !fits(m, c, (int32_t)owner, 0))
		return false;
	give(m, c, (int32_t)owner);
	return true;
}

/* Everything but the bond to a config node. */
static bool may_leave(struct model *m, int32_t by, const struct model_component *c, bool given_up)
{
	int row = (int)(c - m->component);

	if (!c->owner || !may_release(m, by, c->owner) || use_ends(m, by, c->current, given_up) < 0)
		return false;
	for (int i = 0; i < m->components; i++) {
		const struct model_component *d = &m->component[i];

		if (is_bound(m, d, row) && ((d->owner && d->owner != c->owner) ||
					    use_ends(m, by, d->current, given_up) < 0))
			return false;
	}
	return true;
}

static bool deassign(struct model *m, int32_t by, uint64_t handle, bool given_up)
{
	struct model_component *c = component(m, handle);
	int row = (int)(c ? c - m->component : 0);

	if (!c || !may_leave(m, by, c, given_up) ||
	    (c->config >= 0 && !community(m, (uint64_t)m->component[c->config].owner)))
		return false;
	for (int i = 0; i < m->components; i++)
		if ((i == row || is_bound(m, &m->component[i], row)) &&
		    m->component[i].type == GCT_MEMORY_DESC &&
		    !memory_fits(m, m->component[i].handle, 0))
			return false;
	for (int i = 0; i < m->components; i++) {
		struct model_component *d = &m->component[i];

		if (i != row && !is_bound(m, d, row))
			continue;
		d->owner = 0;
		if (use_ends(m, by, d->current, given_up))
			d->current = 0;
	}
	return true;
}

static bool reassign(struct model *m, int32_t by, uint64_t handle, uint64_t owner)
{
	struct model_component *c = component(m, handle);

	if (!c || !is_owner(m, owner) || !may_leave(m, by, c, true) ||
	    !may_give(m, by, (int32_t)owner) || c->owner == (int32_t)owner ||
	    domain(m, c->owner) != domain(m, (int32_t)owner) ||
	    !fits(m, c, (int32_t)owner, c->owner))
		return false;
	give(m, c, (int32_t)owner);
	return true;
}

/* --- memory --- */

/* The descriptor and granule of an address; false: there is none. */
static bool locate(struct model *m, uint64_t pa, int *ret_desc, uint32_t *ret_granule)
{
	for (int d = 0; d < (int)ESTATE_DESCS; d++) {
		uint64_t off = pa - estate_pa(m->e, (uint32_t)d);

		if (pa >= estate_pa(m->e, (uint32_t)d) && off / APMP_GRANULE < granules(m, d)) {
			*ret_desc = d;
			*ret_granule = (uint32_t)(off / APMP_GRANULE);
			return true;
		}
	}
	return false;
}

/* Makes the granules a piece of their own; what was behind them in their old piece, too. */
static void set_piece(struct model *m, int d, uint32_t first, uint32_t count,
		      const struct model_granule *to)
{
	uint32_t old = m->granule[d][first].piece, after = ++m->pieces, own = ++m->pieces;

	for (uint32_t g = first + count; old && g < granules(m, d); g++)
		if (m->granule[d][g].piece == old)
			m->granule[d][g].piece = after;
	for (uint32_t g = first; g < first + count; g++) {
		m->granule[d][g] = *to;
		m->granule[d][g].piece = to->owner || to->current ? own : 0;
		m->granule[d][g].flags = to->owner || to->current ? to->flags : 0;
	}
}

/* Which component a fragment for this owner takes along: NULL none; false: it can't be there. */
static bool allows(struct model *m, int d, int32_t owner, struct model_component **ret_takes,
		   int32_t *ret_for)
{
	struct model_component *desc = component(m, (uint64_t)m->e->desc[d]);
	struct model_component *sub = &m->component[desc->parent];
	int32_t has = desc->owner;

	*ret_takes = NULL;
	if (!sub->owner) {
		*ret_takes = sub;
		*ret_for = domain(m, owner);
		return !sub->current && fits(m, sub, *ret_for, 0);
	}
	if (!has) {
		if (desc->current)
			return false;
		*ret_takes = desc;
		*ret_for = has = sub->owner;
	}
	if (community(m, (uint64_t)has))
		return has == domain(m, owner) && sub->owner == has;
	return has == owner;
}

static bool is_free(struct model *m, int d, uint32_t first, uint64_t count)
{
	if (first + count > granules(m, d))
		return false;
	for (uint32_t g = first; g < first + count; g++)
		if (m->granule[d][g].owner || m->granule[d][g].current)
			return false;
	return true;
}

static bool assign_memory(struct model *m, int32_t by, const uint64_t arg[3],
			  const struct apmp_configured *ret)
{
	int32_t owner = (int32_t)(uint32_t)arg[2], along;
	uint64_t flags = arg[2] >> 32, pa = arg[0], step = flags & GCT_MEM_BASE ? 2 : 1;
	uint64_t count = arg[1] / APMP_GRANULE;
	bool shared = community(m, (uint64_t)owner);
	struct model_component *takes;
	uint32_t g;
	int d;

	if (!is_owner(m, arg[2] & UINT32_MAX) || !may_give(m, by, owner) ||
	    flags & ~(shared ? 4ull : 11ull) || count < step || arg[1] % APMP_GRANULE ||
	    pa % (step * APMP_GRANULE))
		return false;
	if (!pa) { /* anywhere: there is a place, or none */
		for (d = 0; d < (int)ESTATE_DESCS && ret->reason; d++)
			for (g = 0; g < granules(m, d); g += (uint32_t)step)
				ck_assert_msg(!allows(m, d, owner, &takes, &along) ||
						  !is_free(m, d, g, count),
					      "there is memory at granule %u of %d", g, d);
		pa = ret->ret[0];
		if (ret->reason)
			return false;
	}
	if (!locate(m, pa, &d, &g) || count > MODEL_GRANULES || !is_free(m, d, g, count) ||
	    !allows(m, d, owner, &takes, &along))
		return false;
	if (takes)
		give(m, takes, along);
	set_piece(m, d, g, (uint32_t)count,
		  &(struct model_granule){.owner = owner,
					  .current = shared ? owner : 0,
					  .flags = (uint32_t)flags | (shared ? 4 : 2)});
	return true;
}

/* When all of a subsystem's memory is free, and nobody has or uses a part of it for himself. */
static void leave_subsystem(struct model *m, int d, int32_t by)
{
	int sub = component(m, (uint64_t)m->e->desc[d])->parent;
	int32_t owner = m->component[sub].owner;

	for (int i = 0; i < m->components; i++) {
		const struct model_component *c = &m->component[i];
		int own = desc_idx(m, c->handle);

		if (i != sub && !is_below(m, c, sub))
			continue;
		if ((c->owner && c->owner != owner) ||
		    (c->current && c->current != by && partition(m, (uint64_t)c->current) &&
		     runs(m, c->current)) ||
		    (own >= 0 && !is_free(m, own, 0, granules(m, own))))
			return;
	}
	for (int i = 0; i < m->components; i++)
		if (i == sub || is_below(m, &m->component[i], sub))
			m->component[i].owner = m->component[i].current = 0;
}

static bool deassign_memory(struct model *m, int32_t by, const uint64_t arg[3])
{
	uint64_t count = arg[1] / APMP_GRANULE;
	struct model_granule to;
	uint32_t first;
	int d, ends;

	if (!count || arg[1] % APMP_GRANULE || arg[0] % APMP_GRANULE ||
	    !locate(m, arg[0], &d, &first) || count > granules(m, d) - first)
		return false;
	to = m->granule[d][first];
	for (uint32_t g = first; g < first + count; g++)
		if (m->granule[d][g].piece != to.piece)
			return false;
	if (!to.owner || !may_release(m, by, to.owner))
		return false;
	ends = use_ends(m, by, to.current, arg[2] != 0);
	if (ends < 0)
		return false;
	to.owner = 0;
	if (ends)
		to.current = 0;
	set_piece(m, d, first, (uint32_t)count, &to);
	if (ends)
		leave_subsystem(m, d, by);
	return true;
}

/* --- software --- */

static bool is_name(const char *name)
{
	size_t length = strnlen(name, APMP_CALL_TEXT);

	return length > 0 && length < APMP_NAME_SIZE &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length &&
	       strcspn(name, "._-") > 0;
}

static bool create(struct model_software *all, const struct apmp_call_request *r,
		   const struct apmp_configured *ret, int32_t community_handle)
{
	uint32_t id = 0;

	for (uint32_t i = 0; i < MODEL_IDS; i++)
		if (all[i].exists && strcmp(all[i].name, r->text) == 0)
			return false;
	while (id < MODEL_IDS && all[id].exists)
		id++;
	if (!is_name(r->text) || id == MODEL_IDS)
		return false;
	ck_assert_uint_eq(ret->ret[0], id);
	ck_assert(!all[id].handle || all[id].handle == (int32_t)ret->ret[1]);
	all[id] = (struct model_software){
	    .exists = true, .handle = (int32_t)ret->ret[1], .community = community_handle};
	memcpy(all[id].name, r->text, APMP_NAME_SIZE);
	return true;
}

/* Everything of an owner that is no more. */
static void strip(struct model *m, int32_t owner)
{
	bool freed[ESTATE_DESCS] = {false};

	for (int i = 0; i < m->components; i++) {
		if (m->component[i].owner == owner)
			m->component[i].owner = 0;
		if (m->component[i].current == owner)
			m->component[i].current = 0;
	}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		for (uint32_t g = 0; g < granules(m, d); g++) {
			struct model_granule *at = &m->granule[d][g];
			bool was = at->owner || at->current;

			at->owner = at->owner == owner ? 0 : at->owner;
			at->current = at->current == owner ? 0 : at->current;
			if (was && !at->owner && !at->current) {
				*at = (struct model_granule){0};
				freed[d] = true;
			}
		}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		if (freed[d])
			leave_subsystem(m, d, owner);
}

static bool delete_community(struct model *m, int32_t by, uint64_t handle)
{
	struct model_software *c = community(m, handle);
	bool owns = false;

	if (!c)
		return false;
	for (uint32_t id = 0; id < MODEL_IDS; id++)
		if (m->part[id].exists && m->part[id].community == c->handle)
			return false;
	for (int i = 0; i < m->components; i++)
		owns = owns || m->component[i].owner == c->handle ||
		       m->component[i].current == c->handle;
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		for (uint32_t g = 0; g < granules(m, d); g++)
			owns = owns || m->granule[d][g].owner == c->handle ||
			       m->granule[d][g].current == c->handle;
	if (owns && by != APMP_ADMINISTRATOR)
		return false;
	strip(m, c->handle);
	c->exists = false;
	return true;
}

static bool delete_partition(struct model *m, int32_t by, uint64_t handle)
{
	struct model_software *p = partition(m, handle);

	if (!p || p->initialized || !may_give(m, by, p->handle))
		return false;
	strip(m, p->handle);
	p->exists = false;
	if (m->holder == p - m->part)
		m->holder = -1;
	return true;
}

static bool create_partition(struct model *m, int32_t by, const struct apmp_call_request *r,
			     const struct apmp_configured *ret)
{
	struct model_software *c = community(m, r->arg[0]);

	if (r->arg[1] > 1 || (r->arg[0] && !c) || (c && !may_give(m, by, c->handle)))
		return false;
	return create(m->part, r, ret, c ? c->handle : 0);
}

static bool set_community(struct model *m, int32_t by, uint64_t handle, uint64_t to)
{
	struct model_software *p = partition(m, handle), *c = community(m, to);

	if (!p || (to && !c) || by != APMP_ADMINISTRATOR || p->initialized || !p->community == !c)
		return false;
	for (int i = 0; i < m->components && p->community; i++) {
		const struct model_component *x = &m->component[i];
		int d = desc_idx(m, x->handle);

		if (x->config >= 0 && m->component[x->config].owner == p->community &&
		    (x->owner == p->handle || x->current == p->handle))
			return false;
		for (uint32_t g = 0; d >= 0 && x->owner == p->community && g < granules(m, d); g++)
			if (m->granule[d][g].owner == p->handle ||
			    m->granule[d][g].current == p->handle)
				return false;
	}
	p->community = c ? c->handle : 0;
	return true;
}

/* What it takes to start. */
static bool start_partition(struct model *m, int32_t by, uint64_t handle)
{
	struct model_software *p = partition(m, handle);
	bool cpu = false, bus = false, base = false;

	if (!p || p->initialized || !may_give(m, by, p->handle))
		return false;
	for (int i = 0; i < m->components; i++) {
		const struct model_component *c = &m->component[i];
		bool usable = c->owner == p->handle && (!c->current || c->current == p->handle);

		cpu = cpu || (usable && c->type == GCT_CPU && c->handle != m->e->cpu[3]);
		bus = bus || (usable && c->type == GCT_BUS);
	}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		for (uint32_t g = 0; g + 1 < granules(m, d); g++) {
			const struct model_granule *at = &m->granule[d][g];

			base = base || (at->owner == p->handle && at->flags & GCT_MEM_BASE &&
					at->piece == at[1].piece &&
					(!at->current || at->current == p->handle));
		}
	return cpu && bus && base;
}

static bool lock_tree(struct model *m, int32_t by)
{
	struct model_software *p = partition(m, (uint64_t)by);

	if (by == APMP_ADMINISTRATOR || m->holder >= 0)
		return false;
	m->holder = (int)(p - m->part);
	return true;
}

static bool unlock_tree(struct model *m, int32_t by)
{
	if (by == APMP_ADMINISTRATOR || m->holder < 0 || m->part[m->holder].handle != by)
		return false;
	m->holder = -1;
	return true;
}

bool model_ask(struct model *m, int32_t by, const struct apmp_call_request *r,
	       const struct apmp_configured *ret)
{
	const uint64_t *arg = r->arg;

	if (by != APMP_ADMINISTRATOR && !partition(m, (uint64_t)by))
		return false;
	if (m->holder >= 0 && m->part[m->holder].handle != by && r->op != APMP_CALL_LOCK_TREE &&
	    r->op != APMP_CALL_UNLOCK_TREE && r->op != APMP_CALL_LIMITS &&
	    r->op != APMP_CALL_SET_ID)
		return false;
	switch (r->op) {
	case APMP_CALL_CREATE_COMMUNITY:
		return create(m->comm, r, ret, 0);
	case APMP_CALL_DELETE_COMMUNITY:
		return delete_community(m, by, arg[0]);
	case APMP_CALL_CREATE_PARTITION:
		return create_partition(m, by, r, ret);
	case APMP_CALL_DELETE_PARTITION:
		return delete_partition(m, by, arg[0]);
	case APMP_CALL_START_PARTITION:
		return start_partition(m, by, arg[0]);
	case APMP_CALL_SET_COMMUNITY:
		return set_community(m, by, arg[0], arg[1]);
	case APMP_CALL_ASSIGN:
		return assign(m, by, arg[0], arg[1]);
	case APMP_CALL_DEASSIGN:
		return deassign(m, by, arg[0], arg[1] != 0);
	case APMP_CALL_REASSIGN:
		return reassign(m, by, arg[0], arg[1]);
	case APMP_CALL_ASSIGN_MEMORY:
		return assign_memory(m, by, arg, ret);
	case APMP_CALL_DEASSIGN_MEMORY:
		return deassign_memory(m, by, arg);
	case APMP_CALL_LIMITS:
		return arg[0] >= APMP_LIMIT_MIN_ALLOC && arg[0] <= APMP_LIMIT_MAX_PHYS_ADDRESS;
	case APMP_CALL_SET_ID:
		return by != APMP_ADMINISTRATOR &&
		       (!arg[1] || partition(m, (uint64_t)by)->community);
	case APMP_CALL_LOCK_TREE:
		return lock_tree(m, by);
	case APMP_CALL_UNLOCK_TREE:
		return unlock_tree(m, by);
	default:
		return false;
	}
}

/* --- lives --- */

static int32_t next_user(struct model *m, const struct model_software *p, int32_t owner,
			 int32_t current, bool first)
{
	(void)m;
	if (!owner)
		return current == p->handle || (first && p->community && current == p->community)
			   ? 0
			   : current;
	if (current)
		return current;
	return owner == p->handle || (p->community && owner == p->community) ? owner : 0;
}

void model_boot(struct model *m, uint32_t id)
{
	struct model_software *p = &m->part[id];
	bool first = !p->community || !runs(m, p->community), freed[ESTATE_DESCS] = {false};

	p->initialized = true;
	for (int i = 0; i < m->components; i++) {
		struct model_component *c = &m->component[i];

		c->current = next_user(m, p, c->owner, c->current, first);
	}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		for (uint32_t g = 0; g < granules(m, d); g++) {
			struct model_granule *at = &m->granule[d][g];
			bool was = at->owner || at->current;

			at->current = next_user(m, p, at->owner, at->current, first);
			if (was && !at->owner && !at->current) {
				*at = (struct model_granule){0};
				freed[d] = true;
			}
		}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		if (freed[d])
			leave_subsystem(m, d, p->handle);
}

void model_halt(struct model *m, uint32_t id)
{
	m->part[id].initialized = false;
	if (m->holder == (int)id)
		m->holder = -1;
}

/* --- is it so? --- */

static void compare_memory(const struct model *m, int d)
{
	for (uint32_t i = 0, g = 0;; i++) {
		struct apmp_tree_fragment f;

		if (apmp_tree_fragment(&m->e->tw.tree, m->e->desc[d], i, &f))
			return;
		for (uint64_t left = f.size / APMP_GRANULE; left > 0; left--, g++) {
			const struct model_granule *at = &m->granule[d][g];

			ck_assert_msg(f.owner == at->owner && f.current_owner == at->current &&
					  f.flags == at->flags,
				      "granule %u of %d: owner %d, user %d, flags %x; should be "
				      "%d, %d, %x",
				      g, d, f.owner, f.current_owner, f.flags, at->owner,
				      at->current, at->flags);
			ck_assert_msg((left == 1) ==
					  (g + 1 == granules((struct model *)(uintptr_t)m, d) ||
					   at->piece != at[1].piece),
				      "granule %u of %d: a fragment ends, or does not", g, d);
		}
	}
}

void model_compare(const struct model *m)
{
	const struct gct_root_node *root = (const void *)m->e->tw.root;

	for (int i = 0; i < m->components; i++) {
		const struct model_component *c = &m->component[i];
		struct apmp_tree_node n = estate_node(m->e, c->handle);

		ck_assert_msg(n.owner == c->owner && n.current_owner == c->current,
			      "node %d: owner %d, user %d; should be %d, %d", c->handle, n.owner,
			      n.current_owner, c->owner, c->current);
	}
	for (int d = 0; d < (int)ESTATE_DESCS; d++)
		compare_memory(m, d);
	for (uint32_t id = 0; id < MODEL_IDS; id++) {
		struct apmp_tree_partition p;
		struct apmp_tree_community c;

		ck_assert_int_eq(!apmp_tree_partition(&m->e->tw.tree, id, &p), m->part[id].exists);
		ck_assert_int_eq(!apmp_tree_community(&m->e->tw.tree, id, &c), m->comm[id].exists);
		if (m->comm[id].exists)
			ck_assert_str_eq(c.name, m->comm[id].name);
		if (!m->part[id].exists)
			continue;
		ck_assert_str_eq(p.name, m->part[id].name);
		ck_assert_int_eq(p.community, m->part[id].community);
		ck_assert_int_eq(!!(p.node.flags & NODE_INITIALIZED), m->part[id].initialized);
	}
	ck_assert_int_eq((int64_t)apmp_load_relaxed(&root->lock), m->holder);
}
