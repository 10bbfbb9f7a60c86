/*
 * tree_checker.c - every invariant of a configuration tree at rest.
 *
 * WHAT      structure: from the root, each node once, links that agree, types below types, sizes;
 *             every byte of the used pool belongs to exactly one node, array or bitmap.
 *           software: arrays and nodes name each other, names are there and unique; deleted nodes
 *             stand on the lookaside list and nowhere else.
 *           owners: they exist; what is bound goes with its config node, or is a partition's of the
 *             community that has it [0192]; what needs an instance is no community's [0092].
 *           memory: fragments tile their descriptor, unowned neighbours are one, owners may have
 *             them [0096, 0097].
 */
#include "tests/unit/tree_checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/layout_gct.h"

#define NODES_MAX 8192u
#define IDS	  64u

static struct {
	const unsigned char *root;
	uint64_t size; /* from the root to the end of the pool */
	uint64_t used; /* first_free */
	unsigned char *claimed;
	int32_t node[NODES_MAX]; /* reachable ones */
	uint32_t count;
	jmp_buf wrong;
	char why[256];
} t;

__attribute__((format(printf, 1, 2), noreturn)) static void wrong(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(t.why, sizeof(t.why), format, list);
	va_end(list);
	longjmp(t.wrong, 1);
}

#define must(cond, ...)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			wrong(__VA_ARGS__);                                                        \
	} while (0)

static const struct gct_root_node *root_node(void)
{
	return (const void *)t.root;
}

static const struct gct_node *node_at(int32_t handle)
{
	must(handle >= 0 && handle % 64 == 0 && (uint64_t)handle + 64 <= t.used,
	     "handle %d is none", handle);
	const struct gct_node *n = (const void *)(t.root + handle);

	must(n->magic == GCT_MAGIC, "handle %d has no magic", handle);
	return n;
}

/* Bytes of the pool that this belongs to, and to nothing else. */
static void claim(int64_t off, uint64_t size, const char *what)
{
	size = (size + 63) / 64 * 64;
	must(off >= 0 && off % 64 == 0 && (uint64_t)off + size <= t.used,
	     "%s at %lld is outside of the used pool", what, (long long)off);
	for (uint64_t unit = (uint64_t)off / 64; unit < ((uint64_t)off + size) / 64; unit++) {
		must(!t.claimed[unit], "%s at %lld overlaps something", what, (long long)off);
		t.claimed[unit] = 1;
	}
}

static uint64_t size_for(const struct gct_node *n)
{
	if (n->node_flags & NODE_HW_TEMPLATE)
		return sizeof(struct gct_node);
	switch ((uint8_t)n->type) {
	case GCT_ROOT:
		return sizeof(struct gct_root_node);
	case GCT_COMMUNITY:
		return sizeof(struct gct_community_node);
	case GCT_PARTITION:
		return sizeof(struct gct_partition_node);
	case GCT_CPU:
		return sizeof(struct gct_cpu_node);
	case GCT_MEMORY_DESC:
		return sizeof(struct gct_mem_desc_node);
	default:
		return sizeof(struct gct_node);
	}
}

static int may_hang_below(const struct gct_node *n, const struct gct_node *parent)
{
	static const uint32_t parents[] = {
	    [GCT_ROOT] = 0,
	    [GCT_HW_ROOT] = 1u << GCT_ROOT,
	    [GCT_SW_ROOT] = 1u << GCT_ROOT,
	    [GCT_TEMPLATE_ROOT] = 1u << GCT_ROOT,
	    [GCT_COMMUNITY] = 1u << GCT_SW_ROOT,
	    [GCT_PARTITION] = 1u << GCT_SW_ROOT | 1u << GCT_COMMUNITY,
	    [GCT_SBB] = 1u << GCT_HW_ROOT,
	    [GCT_CPU] = 1u << GCT_SBB,
	    [GCT_MEMORY_SUB] = 1u << GCT_SBB,
	    [GCT_MEMORY_CTRL] = 1u << GCT_MEMORY_SUB,
	    [GCT_MEMORY_DESC] = 1u << GCT_MEMORY_SUB,
	    [GCT_IOP] = 1u << GCT_SBB,
	    [GCT_BUS] = 1u << GCT_IOP,
	    [GCT_IO_CTRL] = 1u << GCT_BUS,
	};

	if (n->node_flags & NODE_HW_TEMPLATE)
		return parent->type == GCT_TEMPLATE_ROOT && n->type >= GCT_SBB;
	return parents[n->type] >> parent->type & 1;
}

/* One node that was reached from its parent, after its sibling. */
static void check_node(int32_t handle, int32_t parent, int32_t prev)
{
	const struct gct_node *n = node_at(handle);

	must(n->type >= GCT_ROOT && n->type <= GCT_IO_CTRL, "node %d has type %u", handle, n->type);
	must(n->size == size_for(n), "node %d of type %u has size %u", handle, n->type, n->size);
	must(n->parent == parent, "node %d says its parent is %d, not %d", handle, n->parent,
	     parent);
	must(n->prev_sib == prev, "node %d has prev_sib %d, not %d", handle, n->prev_sib, prev);
	must(n->reserved == 0, "node %d is on a list", handle);
	must(handle <= root_node()->high_limit, "node %d is above high_limit", handle);
	must(!handle || may_hang_below(n, node_at(parent)), "node %d: type %u below type %u",
	     handle, n->type, node_at(parent)->type);
	must(t.count < NODES_MAX, "more nodes than can be");
	claim(handle, n->size, "node");
	t.node[t.count++] = handle;
}

/* Every node below the root, breadth first. */
static void check_structure(void)
{
	check_node(0, 0, 0);
	for (uint32_t i = 0; i < t.count; i++) {
		int32_t prev = 0;

		for (int32_t at = node_at(t.node[i])->child; at; at = node_at(at)->next_sib) {
			check_node(at, t.node[i], prev);
			prev = at;
		}
	}
}

static int is_reachable(int32_t handle)
{
	for (uint32_t i = 0; i < t.count; i++)
		if (t.node[i] == handle)
			return 1;
	return 0;
}

static const struct gct_node *nth(uint32_t i)
{
	return node_at(t.node[i]);
}

static int is_hardware(const struct gct_node *n)
{
	return n->type >= GCT_SBB && !(n->node_flags & NODE_HW_TEMPLATE);
}

static const char *name_of(const struct gct_node *n)
{
	return n->type == GCT_PARTITION
		   ? ((const struct gct_partition_node *)(const void *)n)->name
		   : ((const struct gct_community_node *)(const void *)n)->name;
}

static void check_ids(void)
{
	for (uint32_t i = 0; i < t.count; i++)
		for (uint32_t k = 0; k < i; k++)
			must(nth(i)->type != nth(k)->type || nth(i)->id != nth(k)->id ||
				 nth(i)->node_flags & NODE_HW_TEMPLATE ||
				 nth(k)->node_flags & NODE_HW_TEMPLATE || nth(i)->type < GCT_SBB,
			     "nodes %d and %d have one id", t.node[i], t.node[k]);
}

static const int32_t *array_at(int32_t off)
{
	must(off > 0 && (uint64_t)off + IDS * 4 <= t.used, "array at %d", off);
	return (const int32_t *)(const void *)(t.root + off);
}

static void check_array(int32_t off, uint8_t type)
{
	const int32_t *array = array_at(off);
	uint32_t in_array = 0, in_tree = 0;

	claim(off, IDS * sizeof(*array), "array");
	for (uint32_t id = 0; id < IDS; id++) {
		if (!array[id])
			continue;
		in_array++;
		must(id < root_node()->max_partition, "id %u is too large", id);
		must(is_reachable(array[id]), "id %u of type %u is not in the tree", id, type);
		must(node_at(array[id])->type == type && node_at(array[id])->id == id,
		     "entry %u of type %u names another node", id, type);
		must(!(node_at(array[id])->node_flags & NODE_UNAVAILABLE), "id %u is deleted", id);
		must(name_of(node_at(array[id]))[0] &&
			 memchr(name_of(node_at(array[id])), 0, APMP_NAME_SIZE),
		     "id %u of type %u has no name", id, type);
		for (uint32_t k = 0; k < id; k++)
			must(!array[k] || strcmp(name_of(node_at(array[k])),
						 name_of(node_at(array[id]))) != 0,
			     "ids %u and %u have one name", k, id);
	}
	for (uint32_t i = 0; i < t.count; i++)
		in_tree += nth(i)->type == type;
	must(in_array == in_tree, "%u nodes of type %u, %u in the array", in_tree, type, in_array);
}

static void check_lookaside(void)
{
	for (int32_t at = root_node()->lookaside; at; at = node_at(at)->reserved) {
		const struct gct_node *n = node_at(at);
		int is_partition = n->type == GCT_PARTITION;

		must(is_partition || n->type == GCT_COMMUNITY, "type %u on lookaside", n->type);
		must(n->size == size_for(n), "deleted node %d has size %u", at, n->size);
		claim(at, n->size, "deleted node"); /* also ends a loop */
		must(n->node_flags == NODE_UNAVAILABLE, "deleted node %d has flags %llx", at,
		     (unsigned long long)n->node_flags);
		must(!n->owner && !n->current_owner && !n->parent && !n->child && !n->next_sib &&
			 !n->prev_sib,
		     "deleted node %d is not alone", at);
		must(!name_of(n)[0], "deleted node %d has a name", at);
		must(n->id < IDS && !array_at(is_partition ? root_node()->partitions
							   : root_node()->communities)[n->id],
		     "deleted node %d: its id %llu is in use", at, (unsigned long long)n->id);
	}
}

static void check_pool(void)
{
	const struct gct_root_node *r = root_node();

	must((uint64_t)r->first_free + (uint64_t)r->available == t.size,
	     "first_free %d and available %d are not the pool", r->first_free, r->available);
	for (uint64_t unit = 0; unit < t.used / 64; unit++)
		must(t.claimed[unit], "pool at %llu belongs to nothing",
		     (unsigned long long)unit * 64);
}

/* The community that an owner is, or is in; itself when it is in none. */
static int32_t domain_of(int32_t owner)
{
	const struct gct_node *n = node_at(owner);

	if (n->type == GCT_PARTITION && node_at(n->parent)->type == GCT_COMMUNITY)
		return n->parent;
	return owner;
}

static int is_community(int32_t owner)
{
	return owner && node_at(owner)->type == GCT_COMMUNITY;
}

static void check_owner(int32_t owner, int32_t of)
{
	if (!owner)
		return;
	must(is_reachable(owner) &&
		 (node_at(owner)->type == GCT_COMMUNITY || node_at(owner)->type == GCT_PARTITION),
	     "node %d has owner %d, which is none", of, owner);
}

/* Whether an owner may have what is bound to, or a part of, what `above` has. */
static int fits(int32_t owner, int32_t above)
{
	return !owner || owner == above || (is_community(above) && domain_of(owner) == above);
}

static void check_config(int32_t handle)
{
	const struct gct_node *n = node_at(handle);
	int32_t above = n->parent, affinity = n->parent;

	while (above && above != n->config)
		above = node_at(above)->parent;
	must(above == n->config && above, "node %d: config %d is not above it", handle, n->config);
	while (affinity && affinity != n->affinity)
		affinity = node_at(affinity)->parent;
	must(affinity == n->affinity, "node %d: affinity %d is not above it", handle, n->affinity);
	if (node_at(n->config)->type == GCT_HW_ROOT)
		return;
	for (above = n->parent;; above = node_at(above)->parent) {
		must(fits(n->owner, node_at(above)->owner),
		     "node %d is %d's, node %d above it is %d's", handle, n->owner, above,
		     node_at(above)->owner);
		if (above == n->config)
			break;
	}
}

static void check_component(int32_t handle)
{
	const struct gct_node *n = node_at(handle);

	check_owner(n->owner, handle);
	check_owner(n->current_owner, handle);
	must(!(n->node_flags & NODE_UNAVAILABLE) || (!n->owner && !n->current_owner),
	     "node %d is not in the box and has an owner", handle);
	if (n->type == GCT_CPU || n->type == GCT_MEMORY_CTRL)
		must(!is_community(n->owner) && !is_community(n->current_owner),
		     "node %d of type %u is a community's", handle, n->type);
	must(!(n->node_flags & NODE_PRIMARY) || n->type == GCT_CPU, "node %d is primary", handle);
	check_config(handle);
}

static const struct gct_mem_desc_node *desc_at(int32_t handle)
{
	return (const void *)node_at(handle);
}

static void check_fragment(int32_t desc, const struct gct_mem_desc *f)
{
	const struct gct_node *d = node_at(desc), *sub = node_at(d->parent);
	const struct gct_root_node *r = root_node();
	int free = !f->mem_owner && !f->mem_current_owner;
	unsigned long long pa = f->pa;

	must(f->size && f->size % r->min_alloc == 0 && f->pa % r->min_align == 0,
	     "fragment %llx of %llx bytes", pa, (unsigned long long)f->size);
	check_owner(f->mem_owner, desc);
	check_owner(f->mem_current_owner, desc);
	must(free || d->owner, "fragment %llx is somebody's, its descriptor nobody's", pa);
	must(!free || !f->mem_flags, "free fragment %llx has flags %x", pa, f->mem_flags);
	if (!f->mem_owner)
		return;
	if (is_community(f->mem_owner)) {
		must(f->mem_flags == GCT_MEM_SHARED, "fragment %llx has flags %x", pa,
		     f->mem_flags);
		must(d->owner == f->mem_owner && sub->owner == f->mem_owner,
		     "fragment %llx is shared in memory that is not the community's", pa);
		return;
	}
	must(f->mem_flags & GCT_MEM_PRIVATE && !(f->mem_flags & GCT_MEM_SHARED),
	     "fragment %llx has flags %x", pa, f->mem_flags);
	must(fits(f->mem_owner, d->owner), "fragment %llx is %d's, its descriptor %d's", pa,
	     f->mem_owner, d->owner);
}

static void check_memory(int32_t handle)
{
	const struct gct_mem_desc_node *d = desc_at(handle);
	const struct gct_mem_desc *f = (const void *)(t.root + handle + d->mem_frag);
	uint64_t at = d->mem_info.base_pa, pages = d->mem_info.base_size / APMP_PAGE_SIZE;

	claim((int64_t)handle + d->mem_frag, root_node()->max_fragments * sizeof(*f), "fragments");
	if (d->tested)
		claim((int64_t)handle + d->tested, (pages + 63) / 64 * 8, "bitmap");
	must(d->mem_info.desc_count >= 1 && d->mem_info.desc_count <= root_node()->max_fragments,
	     "descriptor %d has %u fragments", handle, d->mem_info.desc_count);
	for (uint32_t i = 0; i < d->mem_info.desc_count; i++) {
		must(f[i].pa == at, "fragment %u of %d begins at %llx, not %llx", i, handle,
		     (unsigned long long)f[i].pa, (unsigned long long)at);
		check_fragment(handle, &f[i]);
		must(!i || f[i].mem_owner || f[i].mem_current_owner || f[i - 1].mem_owner ||
			 f[i - 1].mem_current_owner,
		     "fragments %u and %u of %d are free and apart", i - 1, i, handle);
		at += f[i].size;
	}
	must(at == d->mem_info.base_pa + d->mem_info.base_size, "fragments of %d end at %llx",
	     handle, (unsigned long long)at);
}

/* Descriptors don't overlap, and what is in the box is as much as the root says. */
static void check_all_memory(void)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < t.count; i++) {
		const struct gct_mem_info *a, *b;

		if (nth(i)->type != GCT_MEMORY_DESC || !is_hardware(nth(i)))
			continue;
		check_memory(t.node[i]);
		a = &desc_at(t.node[i])->mem_info;
		total += nth(i)->node_flags & NODE_UNAVAILABLE ? 0 : a->base_size;
		for (uint32_t k = 0; k < i; k++) {
			if (nth(k)->type != GCT_MEMORY_DESC || !is_hardware(nth(k)))
				continue;
			b = &desc_at(t.node[k])->mem_info;
			must(a->base_pa >= b->base_pa + b->base_size ||
				 b->base_pa >= a->base_pa + a->base_size,
			     "descriptors %d and %d overlap", t.node[i], t.node[k]);
		}
	}
	must(total == root_node()->mem_size, "mem_size is %llx, there is %llx",
	     (unsigned long long)root_node()->mem_size, (unsigned long long)total);
}

static void check_software(int32_t handle)
{
	const struct gct_partition_node *p = (const void *)node_at(handle);

	must(p->hd.owner == p->hd.parent && !p->hd.current_owner, "software node %d is %d's",
	     handle, p->hd.owner);
	if (p->hd.type == GCT_PARTITION)
		must(p->fenced <= p->incarnation, "partition %d: fenced before it lived", handle);
	else
		must(!(p->hd.node_flags & NODE_INITIALIZED), "community %d is initialized", handle);
}

static void check_root(void)
{
	const struct gct_root_node *r = root_node();
	const struct gct_binding *b = (const void *)(t.root + r->bindings);
	uint32_t count = 0;

	must(r->transient_level == r->current_level, "an update is under way");
	must(r->lock == UINT64_MAX || (r->lock < IDS && array_at(r->partitions)[r->lock]),
	     "the lock is held by %llx", (unsigned long long)r->lock);
	must(r->primary_instance >= -1 && r->primary_instance < (int32_t)IDS, "primary_instance");
	claim(r->platform_name, APMP_NAME_SIZE, "platform name");
	while (b[count].node_type && count < 2 * GCT_IO_CTRL)
		count++;
	claim(r->bindings, (count + 1) * sizeof(*b), "bindings");
}

static void check_all(void)
{
	const struct gct_root_node *r = root_node();

	check_structure();
	check_ids();
	check_root();
	check_array(r->partitions, GCT_PARTITION);
	check_array(r->communities, GCT_COMMUNITY);
	check_lookaside();
	for (uint32_t i = 0; i < t.count; i++) {
		if (is_hardware(nth(i)))
			check_component(t.node[i]);
		else if (nth(i)->type == GCT_PARTITION || nth(i)->type == GCT_COMMUNITY)
			check_software(t.node[i]);
		else
			must(!nth(i)->owner && !nth(i)->current_owner, "node %d has an owner",
			     t.node[i]);
	}
	check_all_memory();
	check_pool();
}

const char *tree_check(const void *base, uint64_t size)
{
	const struct gct_header *h = base;

	t.root = (const unsigned char *)base + sizeof(*h);
	t.size = size - sizeof(*h);
	t.count = 0;
	t.used = (uint64_t)root_node()->first_free;
	if (h->size != size || h->fingerprint != apmp_fingerprint(size) || t.used > t.size)
		return "the header is none of a tree of this size";
	t.claimed = calloc(t.size / 64 + 1, 1);
	if (!t.claimed)
		return "no memory";
	t.why[0] = '\0';
	if (!setjmp(t.wrong))
		check_all();
	free(t.claimed);
	return t.why[0] ? t.why : NULL;
}
