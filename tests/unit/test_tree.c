/*
 * test_tree.c - reading the configuration tree: one that is right, and any that is not.  What is
 * wrong is written through the console's mapping, behind the back of shm/tree_write.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct apmp_tree tree; /* as a party sees it: mapped read-only, at another address */

static void setup(void)
{
	world_init(&w);
	tree = world_boot(&w, ALPHA)->tree;
}

static void teardown(void)
{
	world_fini(&w);
}

static struct gct_root_node *root(void)
{
	return (void *)w.tw.root;
}

static struct gct_node *raw(int32_t handle)
{
	return (void *)(w.tw.root + handle);
}

static int32_t *entry_of(_Atomic int32_t *array_off, uint32_t id)
{
	return (int32_t *)(void *)(w.tw.root + apmp_load_relaxed(array_off)) + id;
}

/* shows: TREE-01 */
START_TEST(init_refuses)
{
	struct gct_header *header = (void *)w.tree_base;
	struct apmp_tree t;

	ck_assert_int_eq(apmp_tree_init(&t, w.tree_base, w.tree_size), 0);
	ck_assert_int_eq(apmp_tree_init(&t, w.tree_base, w.tree_size - 1), -ENOSPC);
	ck_assert_int_eq(apmp_tree_init(&t, w.tree_base, 0), -ENOSPC);
	apmp_store_relaxed(&header->fingerprint, 0); /* not yet published */
	ck_assert_int_eq(apmp_tree_init(&t, w.tree_base, w.tree_size), -EBADMSG);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint64_t size[] = {0, 64, APMP_PAGE_SIZE + 8, UINT64_C(1) << 32};

		apmp_store_relaxed(&header->size, size[i]);
		apmp_store_relaxed(&header->fingerprint, apmp_fingerprint(size[i]));
		ck_assert_msg(apmp_tree_init(&t, w.tree_base, w.tree_size) == -EBADMSG,
			      "a pool of %llu bytes", (unsigned long long)size[i]);
	}
}
END_TEST

/* shows: TREE-15 */
START_TEST(level_at_rest)
{
	uint64_t before = 0, after = 0;

	ck_assert_int_eq(apmp_tree_level(&tree, &before), 0);
	apmp_update_begin(&w.up);
	after = 77;
	ck_assert_int_eq(apmp_tree_level(&tree, &after), -EAGAIN);
	ck_assert_uint_eq(after, 77);
	apmp_update_commit(&w.up);
	ck_assert_int_eq(apmp_tree_level(&tree, &after), 0);
	ck_assert_uint_eq(after, before + 1);
}
END_TEST

/* shows: TREE-02, TREE-03 */
START_TEST(handles_that_are_none)
{
	int32_t end = (int32_t)tree.size;
	const int32_t bad[] = {-64,
			       1,
			       32,
			       63,
			       end - 32,
			       end - 63,
			       end,
			       end + 64,
			       INT32_MAX,
			       INT32_MIN,
			       w.cpu[0] + 8,
			       apmp_load_relaxed(&root()->partitions),
			       apmp_load_relaxed(&root()->first_free)};
	struct apmp_tree_node node = {.handle = 4711};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(apmp_tree_node(&tree, bad[i], &node), -EBADMSG);
	ck_assert_int_eq(node.handle, 4711);
	ck_assert_int_eq(apmp_tree_node(&tree, w.cpu[3], &node), 0);
	ck_assert_int_eq(node.handle, w.cpu[3]);
	ck_assert_uint_eq(node.id, 3);
	ck_assert_uint_eq(node.type, GCT_CPU);
	ck_assert_uint_eq(node.size % GCT_ALIGN, 0);
	apmp_store_relaxed(&raw(w.cpu[3])->magic, 0);
	ck_assert_int_eq(apmp_tree_node(&tree, w.cpu[3], &node), -EBADMSG);
}
END_TEST

/* shows: TREE-17, HWRPB-04 */
START_TEST(partition_by_id_and_hwrpb)
{
	struct apmp_tree_partition p, self;

	ck_assert_int_eq(apmp_tree_partition(&tree, ALPHA, &p), 0);
	ck_assert_str_eq(p.name, "alpha");
	ck_assert_str_eq(p.instance_name, "ALPHA");
	ck_assert_int_eq(p.community, w.lab);
	ck_assert_uint_eq(p.hwrpb, WORLD_HWRPB_PA(ALPHA));
	ck_assert_uint_eq(p.incarnation, 1);
	ck_assert_uint_eq(p.fenced, 0);
	ck_assert(p.node.flags & NODE_INITIALIZED);
	ck_assert_int_eq(apmp_tree_find_self(&tree, WORLD_HWRPB_PA(ALPHA), &self), 0);
	ck_assert_int_eq(self.node.handle, p.node.handle);
	ck_assert_int_eq(apmp_tree_partition(&tree, LONE, &p), 0);
	ck_assert_int_eq(p.community, GCT_NONE);
	ck_assert_uint_eq(p.incarnation, 0);
}
END_TEST

START_TEST(no_such_partition)
{
	static const uint32_t none[] = {WORLD_PARTITIONS, 63, 64, 65, UINT32_MAX};
	struct apmp_tree_partition p = {.id = 4711};
	struct apmp_tree_community c = {.id = 4711};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ck_assert_int_eq(apmp_tree_partition(&tree, none[i], &p), -ENOENT);
		ck_assert_int_eq(apmp_tree_community(&tree, none[i], &c), -ENOENT);
	}
	ck_assert_int_eq(apmp_tree_find_self(&tree, 0xdead000, &p), -ENOENT);
	ck_assert_uint_eq(p.id, 4711);
	ck_assert_uint_eq(c.id, 4711);
	apmp_store_relaxed(&root()->max_platform_partition, 2);
	ck_assert_int_eq(apmp_tree_partition(&tree, GAMMA, &p), -ENOENT);
	apmp_store_relaxed(&root()->max_platform_partition, UINT32_MAX);
	ck_assert_int_eq(apmp_tree_partition(&tree, 64, &p), -ENOENT);
}
END_TEST

/* Everything on the way to a partition or community that can be odd. */
static void spoil_software(int kind, _Atomic int32_t *array_off, uint32_t id)
{
	struct gct_node *node = raw(*entry_of(array_off, id));

	switch (kind) {
	case 0:
		apmp_store_relaxed(array_off, -64);
		break;
	case 1:
		apmp_store_relaxed(array_off, (int32_t)tree.size - 64);
		break;
	case 2:
		*entry_of(array_off, id) = w.cpu[0]; /* a node, but not of this type */
		break;
	case 3:
		*entry_of(array_off, id) = -4096;
		break;
	case 4:
		*entry_of(array_off, id) = *entry_of(array_off, id + 1); /* somebody else */
		break;
	case 5:
		apmp_store_relaxed(&node->type, GCT_CPU);
		break;
	case 6:
		apmp_store_relaxed(&node->size, 64); /* shorter than what it should be */
		break;
	default:
		apmp_store_relaxed(&node->id, UINT64_C(1) << 32 | id);
		break;
	}
}

START_TEST(spoilt_partition)
{
	struct apmp_tree_partition p;

	spoil_software(_i, &root()->partitions, ALPHA);
	ck_assert_int_eq(apmp_tree_partition(&tree, ALPHA, &p), -EBADMSG);
	ck_assert_int_eq(apmp_tree_find_self(&tree, WORLD_HWRPB_PA(ALPHA), &p), -EBADMSG);
}
END_TEST

START_TEST(spoilt_community)
{
	struct apmp_tree_community c;

	spoil_software(_i, &root()->communities, 0);
	ck_assert_int_eq(apmp_tree_community(&tree, 0, &c), -EBADMSG);
}
END_TEST

START_TEST(partition_without_parent)
{
	struct apmp_tree_partition p;

	apmp_store_relaxed(&raw(*entry_of(&root()->partitions, ALPHA))->parent, 3);
	ck_assert_int_eq(apmp_tree_partition(&tree, ALPHA, &p), -EBADMSG);
}
END_TEST

/* Names are cut at the end of their field. */
START_TEST(names_without_end)
{
	struct gct_partition_node *p = (void *)raw(*entry_of(&root()->partitions, ALPHA));
	struct gct_community_node *c = (void *)raw(w.lab);
	struct apmp_tree_partition partition;
	struct apmp_tree_community community;

	memset(p->name, 'x', sizeof(p->name));
	memset(p->instance_name, 'x', sizeof(p->instance_name));
	memset(c->name, 'x', sizeof(c->name));
	ck_assert_int_eq(apmp_tree_partition(&tree, ALPHA, &partition), 0);
	ck_assert_uint_eq(strlen(partition.name), sizeof(p->name) - 1);
	ck_assert_uint_eq(strlen(partition.instance_name), sizeof(p->instance_name) - 1);
	ck_assert_int_eq(apmp_tree_community(&tree, 0, &community), 0);
	ck_assert_uint_eq(strlen(community.name), sizeof(c->name) - 1);
}
END_TEST

/* shows: TREE-13 */
START_TEST(cpu_by_id)
{
	struct apmp_tree_node node = {.handle = 4711};

	for (uint32_t id = 0; id < WORLD_CPUS; id++) {
		ck_assert_int_eq(apmp_tree_cpu(&tree, id, &node), 0);
		ck_assert_int_eq(node.handle, w.cpu[id]); /* not the template's CPU 0 */
		ck_assert(node.flags & NODE_HARDWARE);
	}
	node.handle = 4711;
	ck_assert_int_eq(apmp_tree_cpu(&tree, WORLD_CPUS, &node), -ENOENT);
	apmp_store_relaxed(&raw(w.cpu[5])->next_sib, 1);
	ck_assert_int_eq(apmp_tree_cpu(&tree, 6, &node), -EBADMSG);
	ck_assert_int_eq(node.handle, 4711);
}
END_TEST

/* shows: TREE-04 */
START_TEST(walk_meets_each_node_once)
{
	static const uint32_t want[GCT_IO_CTRL + 1] = {
	    [GCT_ROOT] = 1,	   [GCT_HW_ROOT] = 1,
	    [GCT_SW_ROOT] = 1,	   [GCT_TEMPLATE_ROOT] = 1,
	    [GCT_COMMUNITY] = 2,   [GCT_PARTITION] = WORLD_PARTITIONS,
	    [GCT_SBB] = 2,	   [GCT_CPU] = WORLD_CPUS + 1,
	    [GCT_MEMORY_SUB] = 2,  [GCT_MEMORY_CTRL] = 2,
	    [GCT_MEMORY_DESC] = 3, [GCT_IOP] = 2,
	    [GCT_BUS] = 5};
	uint32_t met[GCT_IO_CTRL + 1] = {0};
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	int more;

	apmp_tree_walk_init(&walk, 0);
	while ((more = apmp_tree_walk(&tree, &walk, &node)) > 0) {
		ck_assert_uint_le(node.type, GCT_IO_CTRL);
		met[node.type]++;
	}
	ck_assert_int_eq(more, 0);
	ck_assert_int_eq(apmp_tree_walk(&tree, &walk, &node), 0);
	ck_assert_mem_eq(met, want, sizeof(want));
}
END_TEST

/* Follows a walk to its end; never for ever. */
static int walk_all(const struct apmp_tree *t)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	int more;

	apmp_tree_walk_init(&walk, 0);
	for (uint64_t i = 0; (more = apmp_tree_walk(t, &walk, &node)) > 0; i++)
		ck_assert_uint_lt(i, t->size / GCT_ALIGN * 2);
	return more;
}

START_TEST(walk_of_a_spoilt_tree)
{
	struct gct_node *cpu = raw(w.cpu[2]);

	switch (_i) {
	case 0: /* a loop of siblings */
		apmp_store_relaxed(&cpu->next_sib, w.cpu[0]);
		break;
	case 1: /* its own sibling */
		apmp_store_relaxed(&cpu->next_sib, w.cpu[2]);
		break;
	case 2: /* a child that is above */
		apmp_store_relaxed(&cpu->child, apmp_tree_root(&w.tw, GCT_HW_ROOT));
		break;
	case 3: /* its own parent */
		apmp_store_relaxed(&cpu->next_sib, 0);
		apmp_store_relaxed(&cpu->parent, w.cpu[2]);
		break;
	case 4:
		apmp_store_relaxed(&cpu->child, -64);
		break;
	case 5:
		apmp_store_relaxed(&cpu->next_sib, -64);
		break;
	case 6:
		apmp_store_relaxed(&cpu->next_sib, INT32_MIN);
		break;
	case 7:
		apmp_store_relaxed(&cpu->magic, 0);
		break;
	default:
		apmp_store_relaxed(&cpu->next_sib, 0);
		apmp_store_relaxed(&cpu->parent, (int32_t)tree.size);
		break;
	}
	ck_assert_int_eq(walk_all(&tree), -EBADMSG);
}
END_TEST

static struct gct_mem_desc_node *desc(uint32_t idx)
{
	return (void *)raw(w.desc[idx]);
}

/* shows: TREE-18 */
START_TEST(fragments)
{
	struct apmp_tree_fragment f = {.desc = 4711};

	ck_assert_int_eq(apmp_tree_fragment(&tree, w.desc[0], 2, &f), -ENOENT);
	ck_assert_int_eq(apmp_tree_fragment(&tree, w.desc[0], UINT32_MAX, &f), -ENOENT);
	ck_assert_int_eq(apmp_tree_fragment(&tree, w.cpu[0], 0, &f), -EBADMSG);
	ck_assert_int_eq(apmp_tree_fragment(&tree, 3, 0, &f), -EBADMSG);
	ck_assert_int_eq(f.desc, 4711);
	ck_assert_int_eq(apmp_tree_fragment(&tree, w.desc[0], 0, &f), 0);
	ck_assert_uint_eq(f.pa, w.range_pa[0]);
	ck_assert_uint_eq(f.size, WORLD_RANGE_SIZE);
	ck_assert_int_eq(f.owner, w.lab);
	ck_assert_uint_eq(f.flags, GCT_MEM_SHARED);
	ck_assert_int_eq(apmp_tree_fragment(&tree, w.desc[0], 1, &f), 0);
	ck_assert_uint_eq(f.pa, w.range_pa[0] + WORLD_RANGE_SIZE);
	ck_assert_int_eq(f.owner, GCT_NONE);
}
END_TEST

START_TEST(spoilt_descriptor)
{
	struct apmp_tree_fragment f;

	switch (_i) {
	case 0:
		apmp_store_relaxed(&desc(0)->mem_info.desc_count, 9); /* max_fragments is 8 */
		break;
	case 1:
		apmp_store_relaxed(&desc(0)->mem_info.desc_count, UINT32_MAX);
		apmp_store_relaxed(&root()->max_fragments, UINT32_MAX);
		break;
	case 2:
		apmp_store_relaxed(&desc(0)->mem_frag, INT32_MIN);
		break;
	case 3:
		apmp_store_relaxed(&desc(0)->mem_frag, INT32_MAX);
		break;
	case 4:
		apmp_store_relaxed(&desc(0)->mem_frag, 4);
		break;
	default:
		apmp_store_relaxed(&desc(0)->mem_frag, (int32_t)tree.size - w.desc[0] - 16);
		break;
	}
	ck_assert_int_eq(apmp_tree_fragment(&tree, w.desc[0], 0, &f), -EBADMSG);
	ck_assert_int_eq(apmp_tree_shared_memory(&tree, w.lab, &f, 1), -EBADMSG);
	ck_assert_int_eq(apmp_tree_memory_at(&tree, w.range_pa[1], &f), -EBADMSG);
}
END_TEST

/* shows: MEM-08 */
START_TEST(shared_memory_of_a_community)
{
	struct apmp_tree_fragment f[3] = {{.desc = 1}, {.desc = 2}, {.desc = 3}};

	ck_assert_int_eq(apmp_tree_shared_memory(&tree, w.lab, f, 0), 2);
	ck_assert_int_eq(f[0].desc, 1);
	ck_assert_int_eq(apmp_tree_shared_memory(&tree, w.lab, f, 1), 2);
	ck_assert_int_eq(f[0].desc, w.desc[0]);
	ck_assert_int_eq(f[1].desc, 2);
	ck_assert_int_eq(apmp_tree_shared_memory(&tree, w.lab, f, 3), 2);
	ck_assert_uint_eq(f[1].pa, w.range_pa[1]);
	ck_assert_int_eq(f[2].desc, 3);
	ck_assert_int_eq(apmp_tree_shared_memory(&tree, w.other, f, 3), 0);
}
END_TEST

/* shows: MEM-08 */
START_TEST(memory_at_an_address)
{
	struct apmp_tree_fragment f = {.desc = 4711};
	uint64_t end = w.range_pa[0] + WORLD_RANGE_SIZE;

	ck_assert_int_eq(apmp_tree_memory_at(&tree, w.range_pa[0] - 1, &f), -ENOENT);
	ck_assert_int_eq(apmp_tree_memory_at(&tree, UINT64_MAX, &f), -ENOENT);
	ck_assert_int_eq(f.desc, 4711);
	ck_assert_int_eq(apmp_tree_memory_at(&tree, end - 1, &f), 0);
	ck_assert_uint_eq(f.idx, 0);
	ck_assert_int_eq(apmp_tree_memory_at(&tree, end, &f), 0);
	ck_assert_uint_eq(f.idx, 1);
	ck_assert_int_eq(apmp_tree_memory_at(&tree, w.range_pa[1], &f), 0);
	ck_assert_int_eq(f.desc, w.desc[1]);
}
END_TEST

/* shows: HWRPB-01, TREE-17 */
START_TEST(who_is_alive)
{
	uint64_t first = party_identity(&w.party[ALPHA]), second;

	ck_assert(apmp_tree_alive(&tree, first));
	ck_assert_uint_eq(apmp_tree_present(&tree, ALPHA), first);
	ck_assert(!apmp_tree_alive(&tree, apmp_identity(ALPHA, 2))); /* not yet */
	ck_assert(!apmp_tree_alive(&tree, apmp_identity(BETA, 1)));  /* never booted */
	ck_assert_uint_eq(apmp_tree_present(&tree, BETA), 0);
	world_fence(&w, ALPHA);
	ck_assert(!apmp_tree_alive(&tree, first));
	ck_assert_uint_eq(apmp_tree_present(&tree, ALPHA), 0);
	second = party_identity(world_boot(&w, ALPHA));
	tree = w.party[ALPHA].tree;
	ck_assert_uint_ne(first, second);
	ck_assert(!apmp_tree_alive(&tree, first));
	ck_assert(apmp_tree_alive(&tree, second));
	ck_assert_uint_eq(apmp_tree_present(&tree, ALPHA), second);
}
END_TEST

START_TEST(identities_that_are_none)
{
	/* Nobody, no incarnation, partition 64, partition -1, all ones. */
	static const uint64_t none[] = {0, 1, 0x8000, 0x10041, 0x10000, 0x17fff, UINT64_MAX};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!apmp_tree_alive(&tree, none[i]), "%llx lives",
			      (unsigned long long)none[i]);
	ck_assert_uint_eq(apmp_tree_present(&tree, APMP_NO_PARTITION), 0);
	ck_assert_uint_eq(apmp_tree_present(&tree, 64), 0);
	*entry_of(&root()->partitions, ALPHA) = w.cpu[0];
	ck_assert(!apmp_tree_alive(&tree, party_identity(&w.party[ALPHA])));
	ck_assert_uint_eq(apmp_tree_present(&tree, ALPHA), 0);
}
END_TEST

START_TEST(owners_and_words)
{
	struct apmp_tree_node node;

	ck_assert_int_eq(apmp_tree_cpu(&tree, 3, &node), 0);
	ck_assert_uint_eq(apmp_tree_owner_id(&tree, node.owner), BETA);
	ck_assert_uint_eq(apmp_tree_owner_id(&tree, GCT_NONE), APMP_NO_PARTITION);
	ck_assert_uint_eq(apmp_tree_owner_id(&tree, w.lab), APMP_NO_PARTITION);
	ck_assert_uint_eq(apmp_tree_owner_id(&tree, -64), APMP_NO_PARTITION);
	apmp_store_relaxed(&raw(node.owner)->id, 64);
	ck_assert_uint_eq(apmp_tree_owner_id(&tree, node.owner), APMP_NO_PARTITION);
	ck_assert_str_eq(apmp_tree_type_name(GCT_CPU), "cpu");
	ck_assert_str_eq(apmp_tree_type_name(GCT_IO_CTRL), "device_controller");
	ck_assert_ptr_null(apmp_tree_type_name(0));
	ck_assert_ptr_null(apmp_tree_type_name(GCT_IO_CTRL + 1));
	ck_assert_ptr_null(apmp_tree_type_name(255));
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Reads all there is to read, and only cares that it ends. */
static void read_everything(const struct apmp_tree *t)
{
	struct apmp_tree_partition p;
	struct apmp_tree_community c;
	struct apmp_tree_fragment f[4];
	struct apmp_tree_node node;
	int found = 0;

	found += walk_all(t) == 0;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		found += apmp_tree_partition(t, id, &p) == 0;
		found += apmp_tree_community(t, id, &c) == 0;
		found += apmp_tree_alive(t, apmp_identity(id, 1));
	}
	found += apmp_tree_cpu(t, 7, &node) == 0;
	found += apmp_tree_shared_memory(t, w.lab, f, 4) == 2;
	found += apmp_tree_memory_at(t, w.range_pa[1], f) == 0;
	found += apmp_tree_find_self(t, WORLD_HWRPB_PA(LONE), &p) == 0;
	ck_assert_int_ge(found, 0);
}

/* A mad console: words of the tree are anything.  The copy ends where its memory ends, so that a
 * read behind it is seen by the address sanitizer. */
START_TEST(noise)
{
	uint32_t seed = (uint32_t)_i + 1;
	unsigned char *copy = malloc(w.tree_size);
	uint32_t used = (uint32_t)apmp_load_relaxed(&root()->first_free);
	struct apmp_tree t;

	ck_assert_ptr_nonnull(copy);
	for (int round = 0; round < 100; round++) {
		memcpy(copy, w.tree_base, w.tree_size);
		ck_assert_int_eq(apmp_tree_init(&t, copy, w.tree_size), 0);
		for (int words = 0; words < 20; words++) {
			uint32_t off = next_random(&seed) % (used / 4) * 4;
			uint32_t value = next_random(&seed);

			/* Half of them look like handles. */
			if (value & 1)
				value = value % used & ~(GCT_ALIGN - 1);
			memcpy(copy + sizeof(struct gct_header) + off, &value, sizeof(value));
		}
		read_everything(&t);
	}
	free(copy);
}
END_TEST

static void tests_of_nodes(TCase *tc)
{
	tcase_add_test(tc, init_refuses);
	tcase_add_test(tc, level_at_rest);
	tcase_add_test(tc, handles_that_are_none);
	tcase_add_test(tc, partition_by_id_and_hwrpb);
	tcase_add_test(tc, no_such_partition);
	tcase_add_test(tc, names_without_end);
	tcase_add_test(tc, cpu_by_id);
	tcase_add_test(tc, walk_meets_each_node_once);
	tcase_add_test(tc, fragments);
	tcase_add_test(tc, shared_memory_of_a_community);
	tcase_add_test(tc, memory_at_an_address);
	tcase_add_test(tc, who_is_alive);
	tcase_add_test(tc, identities_that_are_none);
	tcase_add_test(tc, owners_and_words);
}

int main(void)
{
	Suite *suite = suite_create("tree");
	TCase *right = suite_case(suite, "right"), *spoilt = suite_case(suite, "spoilt");

	tcase_add_checked_fixture(right, setup, teardown);
	tcase_add_checked_fixture(spoilt, setup, teardown);
	tests_of_nodes(right);
	tcase_add_loop_test(spoilt, spoilt_partition, 0, 8);
	tcase_add_loop_test(spoilt, spoilt_community, 0, 8);
	tcase_add_test(spoilt, partition_without_parent);
	tcase_add_loop_test(spoilt, walk_of_a_spoilt_tree, 0, 9);
	tcase_add_loop_test(spoilt, spoilt_descriptor, 0, 6);
	tcase_add_loop_test(spoilt, noise, 0, 20);
	return suite_run(suite);
}
