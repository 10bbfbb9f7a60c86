/*
 * tree.c - reading the configuration tree.
 *
 * WHAT      Copies nodes out of memory that only the console writes.  A reader never blocks the
 *           console; one that needs several nodes to agree reads the level before and after.
 * ORDERING  apmp_tree_init's acquire of fingerprint pairs with the release in
 *           apmp_tree_publish; apmp_tree_level's acquires pair with the releases of
 *           apmp_update_begin and _commit.  incarnation and fenced are words that stand alone.
 * LIMITS    Walks are bounded by the number of 64-byte units of the pool, so a looped sibling
 *           list ends with -EBADMSG.
 */
#include "shm/tree.h"

#include <errno.h>
#include <string.h>

#include "shm/shared.h"

#define TREE_MAGIC UINT64_C(0x545245455f524541)

int apmp_tree_init(struct apmp_tree *tree, const void *base, uint64_t size)
{
	const struct gct_header *header = base;
	uint64_t fingerprint, pool;

	if (size < sizeof(*header) + sizeof(struct gct_root_node))
		return -ENOSPC;
	fingerprint = apmp_load_acquire(&header->fingerprint);
	pool = apmp_load_relaxed(&header->size);
	if (!pool || pool % APMP_PAGE_SIZE || pool > INT32_MAX ||
	    fingerprint != apmp_fingerprint(pool))
		return -EBADMSG;
	if (pool > size)
		return -ENOSPC;
	*tree = (struct apmp_tree){.magic = TREE_MAGIC,
				   .header = header,
				   .root = (const unsigned char *)base + sizeof(*header),
				   .size = pool - sizeof(*header)};
	return 0;
}

static const struct gct_root_node *root_of(const struct apmp_tree *tree)
{
	return (const struct gct_root_node *)(const void *)tree->root;
}

/* Memory of size bytes at an offset from the root; NULL when it isn't all inside the pool. */
static const void *inside(const struct apmp_tree *tree, int64_t off, uint64_t size)
{
	if (off < 0 || off % 8 || (uint64_t)off > tree->size || tree->size - (uint64_t)off < size)
		return NULL;
	return tree->root + off;
}

/* The node at handle with at least min bytes; NULL when there is none. */
static const struct gct_node *node_at(const struct apmp_tree *tree, int32_t handle, uint64_t min)
{
	const struct gct_node *node;

	if (handle % (int32_t)GCT_ALIGN)
		return NULL;
	node = inside(tree, handle, min);
	if (!node || apmp_load_relaxed(&node->magic) != GCT_MAGIC ||
	    apmp_load_relaxed(&node->size) < min)
		return NULL;
	return node;
}

int apmp_tree_level(const struct apmp_tree *tree, uint64_t *ret_level)
{
	const struct gct_root_node *root = root_of(tree);
	uint64_t current;

	/* As the look afterwards: what was read before it stays before it. */
	atomic_thread_fence(memory_order_acquire);
	current = apmp_load_acquire(&root->current_level);
	if (apmp_load_acquire(&root->transient_level) != current)
		return -EAGAIN;
	*ret_level = current;
	return 0;
}

static void copy_node(const struct gct_node *from, int32_t handle, struct apmp_tree_node *to)
{
	*to = (struct apmp_tree_node){
	    .handle = handle,
	    .type = apmp_load_relaxed(&from->type),
	    .subtype = apmp_load_relaxed(&from->subtype),
	    .size = apmp_load_relaxed(&from->size),
	    .owner = apmp_load_relaxed(&from->owner),
	    .current_owner = apmp_load_relaxed(&from->current_owner),
	    .id = apmp_load_relaxed(&from->id),
	    .flags = apmp_load_relaxed(&from->node_flags),
	    .config = apmp_load_relaxed(&from->config),
	    .affinity = apmp_load_relaxed(&from->affinity),
	    .parent = apmp_load_relaxed(&from->parent),
	    .next_sib = apmp_load_relaxed(&from->next_sib),
	    .prev_sib = apmp_load_relaxed(&from->prev_sib),
	    .child = apmp_load_relaxed(&from->child),
	};
}

int apmp_tree_node(const struct apmp_tree *tree, int32_t handle, struct apmp_tree_node *ret_node)
{
	const struct gct_node *node = node_at(tree, handle, sizeof(*node));

	if (!node)
		return -EBADMSG;
	copy_node(node, handle, ret_node);
	return 0;
}

/* The handle at index id of the partition or community array [0085]. */
static int indexed(const struct apmp_tree *tree, const _Atomic int32_t *array_off, uint32_t id,
		   int32_t *ret_handle)
{
	const struct gct_root_node *root = root_of(tree);
	const _Atomic int32_t *array;

	if (id >= APMP_MAX_PARTITIONS || id >= apmp_load_relaxed(&root->max_platform_partition))
		return -ENOENT;
	array = inside(tree, apmp_load_relaxed(array_off), sizeof(*array) * APMP_MAX_PARTITIONS);
	if (!array)
		return -EBADMSG;
	*ret_handle = apmp_load_relaxed(&array[id]);
	return *ret_handle == GCT_NONE ? -ENOENT : 0;
}

static const struct gct_partition_node *partition_at(const struct apmp_tree *tree, int32_t handle)
{
	const struct gct_partition_node *p =
	    (const void *)node_at(tree, handle, sizeof(struct gct_partition_node));

	return p && apmp_load_relaxed(&p->hd.type) == GCT_PARTITION ? p : NULL;
}

int apmp_tree_partition(const struct apmp_tree *tree, uint32_t id,
			struct apmp_tree_partition *ret_partition)
{
	const struct gct_partition_node *p;
	struct apmp_tree_node parent;
	int32_t handle;
	int err = indexed(tree, &root_of(tree)->partitions, id, &handle);

	if (err)
		return err;
	p = partition_at(tree, handle);
	if (!p || apmp_load_relaxed(&p->hd.id) != id ||
	    apmp_tree_node(tree, apmp_load_relaxed(&p->hd.parent), &parent))
		return -EBADMSG;
	copy_node(&p->hd, handle, &ret_partition->node);
	ret_partition->id = id;
	ret_partition->community = parent.type == GCT_COMMUNITY ? parent.handle : GCT_NONE;
	ret_partition->hwrpb = apmp_load_relaxed(&p->hwrpb);
	ret_partition->incarnation = apmp_load_relaxed(&p->incarnation);
	ret_partition->fenced = apmp_load_relaxed(&p->fenced);
	ret_partition->id_field = apmp_load_relaxed(&p->id_field);
	ret_partition->policy = apmp_load_relaxed(&p->policy);
	apmp_copy_out(ret_partition->name, p->name, sizeof(p->name));
	ret_partition->name[sizeof(p->name) - 1] = '\0';
	apmp_copy_out(ret_partition->instance_name, p->instance_name, sizeof(p->instance_name));
	ret_partition->instance_name[sizeof(p->instance_name) - 1] = '\0';
	return 0;
}

int apmp_tree_community(const struct apmp_tree *tree, uint32_t id,
			struct apmp_tree_community *ret_community)
{
	const struct gct_community_node *c;
	int32_t handle;
	int err = indexed(tree, &root_of(tree)->communities, id, &handle);

	if (err)
		return err;
	c = (const void *)node_at(tree, handle, sizeof(*c));
	if (!c || apmp_load_relaxed(&c->hd.type) != GCT_COMMUNITY ||
	    apmp_load_relaxed(&c->hd.id) != id)
		return -EBADMSG;
	copy_node(&c->hd, handle, &ret_community->node);
	ret_community->id = id;
	ret_community->apmpdb_info = apmp_load_acquire(&c->apmpdb_info);
	ret_community->apmpdb_other = apmp_load_relaxed(&c->apmpdb_other);
	ret_community->apmpdb_id = apmp_load_relaxed(&c->apmpdb_id);
	apmp_copy_out(ret_community->name, c->name, sizeof(c->name));
	ret_community->name[sizeof(c->name) - 1] = '\0';
	return 0;
}

struct apmp_tree_database apmp_tree_database(const struct apmp_tree *tree, int32_t community)
{
	const struct gct_community_node *c =
	    (const void *)node_at(tree, community, sizeof(struct gct_community_node));

	if (!c || apmp_load_relaxed(&c->hd.type) != GCT_COMMUNITY)
		return (struct apmp_tree_database){0};
	return (struct apmp_tree_database){.info = apmp_load_acquire(&c->apmpdb_info),
					   .other = apmp_load_relaxed(&c->apmpdb_other),
					   .id = apmp_load_acquire(&c->apmpdb_id)};
}

/* No node has this handle: not a multiple of GCT_ALIGN. */
#define WALK_END (INT32_MIN + 1)

void apmp_tree_walk_init(struct apmp_tree_walk *walk, int32_t from)
{
	*walk = (struct apmp_tree_walk){.next = from, .left = UINT32_MAX};
}

int apmp_tree_walk(const struct apmp_tree *tree, struct apmp_tree_walk *walk,
		   struct apmp_tree_node *ret_node)
{
	struct apmp_tree_node up;

	if (walk->left == UINT32_MAX)
		walk->left = (uint32_t)(2 * tree->size / GCT_ALIGN); /* down and up again */
	if (walk->next == WALK_END)
		return 0;
	if (walk->left-- == 0 || apmp_tree_node(tree, walk->next, &up))
		return -EBADMSG;
	*ret_node = up;
	/* Child first, else sibling, else the nearest ancestor's sibling. */
	if (up.child) {
		walk->next = up.child;
		return 1;
	}
	while (!up.next_sib && up.handle) {
		if (walk->left-- == 0 || apmp_tree_node(tree, up.parent, &up))
			return -EBADMSG;
	}
	walk->next = up.handle && up.next_sib ? up.next_sib : WALK_END;
	return 1;
}

int apmp_tree_walk_type(const struct apmp_tree *tree, struct apmp_tree_walk *walk,
			enum gct_node_type type, struct apmp_tree_node *ret_node)
{
	struct apmp_tree_node node;
	int more;

	while ((more = apmp_tree_walk(tree, walk, &node)) > 0) {
		if (node.type == type && !(node.flags & NODE_HW_TEMPLATE)) {
			*ret_node = node;
			return 1;
		}
	}
	return more;
}

int32_t apmp_tree_find(const struct apmp_tree *tree, enum gct_node_type type, uint64_t id)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	int more;

	apmp_tree_walk_init(&walk, 0);
	while ((more = apmp_tree_walk_type(tree, &walk, type, &node)) > 0)
		if (node.id == id)
			return node.handle;
	return more < 0 ? more : -ENOENT;
}

int apmp_tree_cpu(const struct apmp_tree *tree, uint32_t id, struct apmp_tree_node *ret_node)
{
	int32_t handle = apmp_tree_find(tree, GCT_CPU, id);

	return handle < 0 ? handle : apmp_tree_node(tree, handle, ret_node);
}

int apmp_tree_cpu_type(const struct apmp_tree *tree, int32_t handle, uint64_t *ret_type,
		       uint64_t *ret_revision)
{
	const struct gct_cpu_node *cpu =
	    (const void *)node_at(tree, handle, sizeof(struct gct_cpu_node));

	if (!cpu || apmp_load_relaxed(&cpu->hd.type) != GCT_CPU)
		return -EBADMSG;
	*ret_type = apmp_load_relaxed(&cpu->cpu_type);
	*ret_revision = apmp_load_relaxed(&cpu->cpu_revision);
	return 0;
}

int apmp_tree_find_self(const struct apmp_tree *tree, uint64_t hwrpb_pa,
			struct apmp_tree_partition *ret_partition)
{
	struct apmp_tree_partition p;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		int err = apmp_tree_partition(tree, id, &p);

		if (err == -EBADMSG)
			return err;
		if (!err && p.hwrpb == hwrpb_pa) {
			*ret_partition = p;
			return 0;
		}
	}
	return -ENOENT;
}

int apmp_tree_fragment(const struct apmp_tree *tree, int32_t desc, uint32_t idx,
		       struct apmp_tree_fragment *ret_fragment)
{
	const struct gct_mem_desc_node *d =
	    (const void *)node_at(tree, desc, sizeof(struct gct_mem_desc_node));
	const struct gct_mem_desc *array;
	uint32_t count;

	if (!d || apmp_load_relaxed(&d->hd.type) != GCT_MEMORY_DESC)
		return -EBADMSG;
	count = apmp_load_relaxed(&d->mem_info.desc_count);
	if (idx >= count)
		return -ENOENT;
	if (count > apmp_load_relaxed(&root_of(tree)->max_fragments))
		return -EBADMSG;
	array = inside(tree, (int64_t)desc + apmp_load_relaxed(&d->mem_frag),
		       (uint64_t)count * sizeof(*array));
	if (!array)
		return -EBADMSG;
	*ret_fragment = (struct apmp_tree_fragment){
	    .desc = desc,
	    .idx = idx,
	    .pa = apmp_load_relaxed(&array[idx].pa),
	    .size = apmp_load_relaxed(&array[idx].size),
	    .owner = apmp_load_relaxed(&array[idx].mem_owner),
	    .current_owner = apmp_load_relaxed(&array[idx].mem_current_owner),
	    .flags = apmp_load_relaxed(&array[idx].mem_flags),
	};
	return 0;
}

/* Calls visit for each fragment until it says true; 1 stopped, 0 went through, -EBADMSG. */
static int each_fragment(const struct apmp_tree *tree,
			 bool (*visit)(void *ctx, const struct apmp_tree_fragment *f), void *ctx)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	struct apmp_tree_fragment f;
	int more;

	apmp_tree_walk_init(&walk, 0);
	while ((more = apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &node)) > 0) {
		for (uint32_t i = 0; (more = apmp_tree_fragment(tree, node.handle, i, &f)) == 0;
		     i++)
			if (visit(ctx, &f))
				return 1;
		if (more != -ENOENT)
			return more;
	}
	return more;
}

struct shared_memory_ctx {
	int32_t community;
	struct apmp_tree_fragment *fragments;
	uint32_t max, count;
};

static bool visit_shared(void *ctx, const struct apmp_tree_fragment *f)
{
	struct shared_memory_ctx *c = ctx;

	if (f->owner != c->community || !(f->flags & GCT_MEM_SHARED))
		return false;
	if (c->count < c->max)
		c->fragments[c->count] = *f;
	c->count++;
	return false;
}

int apmp_tree_shared_memory(const struct apmp_tree *tree, int32_t community,
			    struct apmp_tree_fragment *fragments, uint32_t max)
{
	struct shared_memory_ctx ctx = {community, fragments, max, 0};
	int err = each_fragment(tree, visit_shared, &ctx);

	return err < 0 ? err : (int)ctx.count;
}

struct memory_at_ctx {
	uint64_t pa;
	struct apmp_tree_fragment found;
};

static bool visit_memory_at(void *ctx, const struct apmp_tree_fragment *f)
{
	struct memory_at_ctx *c = ctx;

	c->found = *f;
	return c->pa >= f->pa && c->pa - f->pa < f->size;
}

int apmp_tree_memory_at(const struct apmp_tree *tree, uint64_t pa,
			struct apmp_tree_fragment *ret_fragment)
{
	struct memory_at_ctx ctx = {.pa = pa};
	int found = each_fragment(tree, visit_memory_at, &ctx);

	if (found <= 0)
		return found ? found : -ENOENT;
	*ret_fragment = ctx.found;
	return 0;
}

int apmp_tree_page_good(const struct apmp_tree *tree, uint64_t pa)
{
	const struct gct_mem_desc_node *d;
	const _Atomic uint64_t *word;
	struct apmp_tree_fragment f;
	uint64_t base, page;
	int32_t tested;
	int err = apmp_tree_memory_at(tree, pa, &f);

	if (err)
		return err;
	d = (const void *)node_at(tree, f.desc, sizeof(*d));
	if (!d)
		return -EBADMSG;
	tested = apmp_load_relaxed(&d->tested);
	base = apmp_load_relaxed(&d->mem_info.base_pa);
	if (pa < base)
		return -EBADMSG;
	if (!tested)
		return 1;
	page = (pa - base) / APMP_PAGE_SIZE;
	if (page / 64 > tree->size / sizeof(*word))
		return -EBADMSG;
	word = inside(tree, (int64_t)f.desc + tested + (int64_t)(page / 64 * sizeof(*word)),
		      sizeof(*word));
	return word ? (int)(apmp_load_relaxed(word) >> page % 64 & 1) : -EBADMSG;
}

int apmp_tree_tested(const struct apmp_tree *tree, int32_t desc, uint64_t granule_pa,
		     uint64_t ret_good[APMP_GRANULE_WORDS])
{
	const struct gct_mem_desc_node *d =
	    (const void *)node_at(tree, desc, sizeof(struct gct_mem_desc_node));
	const _Atomic uint64_t *map = NULL;
	uint64_t base, size;
	int32_t tested;

	if (!d || apmp_load_relaxed(&d->hd.type) != GCT_MEMORY_DESC)
		return -EBADMSG;
	base = apmp_load_relaxed(&d->mem_info.base_pa);
	size = apmp_load_relaxed(&d->mem_info.base_size);
	tested = apmp_load_relaxed(&d->tested);
	if (granule_pa < base || (granule_pa - base) % APMP_GRANULE || size < APMP_GRANULE ||
	    granule_pa - base > size - APMP_GRANULE)
		return -EBADMSG;
	if (tested) {
		int64_t off = (int64_t)((granule_pa - base) / APMP_PAGE_SIZE / 8);

		map = inside(tree, (int64_t)desc + tested + off, APMP_GRANULE_WORDS * sizeof(*map));
		if (!map)
			return -EBADMSG;
	}
	for (uint32_t i = 0; i < APMP_GRANULE_WORDS; i++)
		ret_good[i] = map ? apmp_load_relaxed(&map[i]) : UINT64_MAX;
	return 0;
}

/* The partition node of this id; NULL when there is none. */
static const struct gct_partition_node *partition_by_id(const struct apmp_tree *tree, uint32_t id)
{
	int32_t handle;

	if (id == APMP_NO_PARTITION || indexed(tree, &root_of(tree)->partitions, id, &handle))
		return NULL;
	return partition_at(tree, handle);
}

bool apmp_tree_alive(const struct apmp_tree *tree, uint64_t identity)
{
	const struct gct_partition_node *p = partition_by_id(tree, apmp_identity_id(identity));
	uint64_t incarnation = apmp_identity_incarnation(identity);

	return p && incarnation && incarnation <= apmp_load_relaxed(&p->incarnation) &&
	       apmp_load_acquire(&p->fenced) < incarnation;
}

bool apmp_tree_debugged(const struct apmp_tree *tree, uint64_t identity)
{
	const struct gct_partition_node *p = partition_by_id(tree, apmp_identity_id(identity));
	uint64_t incarnation = apmp_identity_incarnation(identity);

	return p && incarnation && apmp_load_acquire(&p->debugged) == incarnation;
}

uint64_t apmp_tree_present(const struct apmp_tree *tree, uint32_t id)
{
	const struct gct_partition_node *p = partition_by_id(tree, id);
	uint64_t incarnation = p ? apmp_load_relaxed(&p->incarnation) : 0;

	return p && apmp_load_acquire(&p->fenced) < incarnation ? apmp_identity(id, incarnation)
								: 0;
}

uint64_t apmp_tree_id_field(const struct apmp_tree *tree, uint32_t id)
{
	const struct gct_partition_node *p = partition_by_id(tree, id);

	return p ? apmp_load_relaxed(&p->id_field) : 0;
}

uint32_t apmp_tree_owner_id(const struct apmp_tree *tree, int32_t handle)
{
	const struct gct_partition_node *p = handle ? partition_at(tree, handle) : NULL;
	uint64_t id = p ? apmp_load_relaxed(&p->hd.id) : APMP_NO_PARTITION;

	return id < APMP_MAX_PARTITIONS ? (uint32_t)id : APMP_NO_PARTITION;
}

const char *apmp_tree_type_name(uint8_t type)
{
	static const char *const names[] = {
#define X(name, value, text) [value] = text,
	    GCT_NODE_TYPES(X)
#undef X
	};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;
}
