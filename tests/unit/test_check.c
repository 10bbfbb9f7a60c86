/*
 * test_check.c - the invariant checker: it finds nothing in a good machine, each thing that is
 * broken in it by the one check that is about it, and never crashes, whatever an image holds.
 */
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "shm/layout_intr.h"
#include "shm/layout_lock.h"
#include "shm/layout_recorder.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define TREE_PA	 (UINT64_C(1) << 47)
#define LINES_PA (TREE_PA + (UINT64_C(1) << 32))
#define HEAD	 offsetof(struct hwrpb, slot)

static struct world w;
static struct image good, now; /* one after the other */
static struct check check;
static struct findings findings;

/* ---- an image of the world ---- */

static void add(struct image *image, uint64_t pa, const void *data, uint64_t size)
{
	ck_assert_int_eq(image_add(image, pa, data, size), 0);
}

static void take(struct image *image)
{
	memset(image, 0, sizeof(*image));
	image->tree_pa = TREE_PA;
	image->lines_pa = LINES_PA;
	strcpy(image->machine, "world");
	image->t_ns = w.now_ns;
	add(image, TREE_PA, w.tree_base, w.tree_size);
	add(image, LINES_PA, w.line, sizeof(w.line));
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		add(image, WORLD_HWRPB_PA(id), w.party[id].hwrpb,
		    HEAD + WORLD_CPUS * sizeof(struct hwrpb_slot));
	for (uint32_t r = 0; r < WORLD_RANGES; r++)
		add(image, w.range_pa[r], w.shared + r * WORLD_RANGE_SIZE,
		    APMP_DB_MAX_PAGES * APMP_PAGE_SIZE);
}

/* Three members whose CPUs run. */
static void setup(void)
{
	world_init(&w);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_member(&w, id);
	(void)world_boot(&w, STRANGER);
	for (uint32_t cpu = 0; cpu < 5; cpu++) {
		struct party *p = &w.party[cpu / 2];

		w.line[cpu].runner = p->env.self;
		p->hwrpb->slot[cpu].state = HWRPB_CPU_ACTIVE;
	}
	world_ticks(&w, 3);
	take(&good);
	world_ticks(&w, 1);
	take(&now);
}

static void teardown(void)
{
	image_fini(&good);
	image_fini(&now);
	world_fini(&w);
}

/* ---- what a poke reaches ---- */

static void *at(uint64_t pa, uint64_t size)
{
	void *found_at = (void *)(uintptr_t)image_at(&now, pa, size);

	ck_assert_ptr_nonnull(found_at);
	return found_at;
}

static struct gct_header *header(void)
{
	return at(TREE_PA, sizeof(struct gct_header));
}

static void *node(int32_t handle)
{
	return at(TREE_PA + sizeof(struct gct_header) + (uint64_t)handle,
		  sizeof(struct gct_partition_node));
}

static struct gct_root_node *root(void)
{
	return node(0);
}

static struct gct_node *cpu(uint32_t idx)
{
	return node(w.cpu[idx]);
}

static struct gct_partition_node *partition(uint32_t id)
{
	const int32_t *array = node(root()->partitions);

	return node(array[id]);
}

static struct gct_community_node *lab(void)
{
	return node(w.lab);
}

static struct gct_mem_desc_node *desc(uint32_t idx)
{
	return node(w.desc[idx]);
}

static struct gct_mem_desc *fragment(uint32_t desc_idx, uint32_t idx)
{
	return (struct gct_mem_desc *)node(w.desc[desc_idx] + desc(desc_idx)->mem_frag) + idx;
}

static struct hwrpb *hwrpb(uint32_t id)
{
	return at(WORLD_HWRPB_PA(id), HEAD + WORLD_CPUS * sizeof(struct hwrpb_slot));
}

static struct apmp_intr_line *line(uint32_t idx)
{
	return (struct apmp_intr_line *)at(LINES_PA, sizeof(w.line)) + idx;
}

static struct apmp_db *db(void)
{
	return at((lab()->apmpdb_info & UINT32_MAX) * APMP_PAGE_SIZE,
		  APMP_DB_MAX_PAGES * APMP_PAGE_SIZE);
}

static void *segment(uint32_t service)
{
	return (unsigned char *)db() + db()->header.segment[service].off;
}

static struct apmp_db_cpu_sets *cpu_sets(uint32_t id)
{
	return (struct apmp_db_cpu_sets *)segment(0) + id;
}

static struct apmp_db_locks *locks(void)
{
	return segment(1);
}

static struct apmp_db_lock *used_lock(uint32_t idx, const char *name)
{
	struct apmp_db_lock *lock = &locks()->lock[idx];

	lock->openers = BIT(ALPHA);
	lock->rank = 1;
	strcpy(lock->name, name);
	return lock;
}

static uint64_t life(uint32_t id)
{
	return party_identity(&w.party[id]);
}

/* A bitmap of tested pages for a descriptor, from the free pool; all good but one. */
static void mark_bad(uint64_t pa)
{
	struct gct_mem_desc_node *d = desc(pa >= w.range_pa[1] ? 1 : 0);
	uint64_t pages = d->mem_info.base_size / APMP_PAGE_SIZE;
	uint64_t page = (pa - d->mem_info.base_pa) / APMP_PAGE_SIZE;
	uint64_t size = (pages + 63) / 64 * 8;
	uint64_t *bits = node(root()->first_free);

	memset(bits, 0xff, size);
	bits[page / 64] &= ~(UINT64_C(1) << page % 64);
	d->tested = root()->first_free - (int32_t)((unsigned char *)d - (unsigned char *)root());
	root()->first_free += (int32_t)((size + 63) / 64 * 64);
	root()->available -= (int32_t)((size + 63) / 64 * 64);
}

static uint64_t db_page(uint32_t idx)
{
	return ((lab()->apmpdb_info & UINT32_MAX) + idx) * APMP_PAGE_SIZE;
}

/* The pages of the database from the second half on stand on a list, backwards. */
static uint64_t *list_pages(void)
{
	uint64_t pfn = lab()->apmpdb_info & UINT32_MAX, list = pfn + APMP_DB_MAX_PAGES - 1;
	uint64_t *entry = at(list * APMP_PAGE_SIZE, APMP_PAGE_SIZE);

	memset(entry, 0, APMP_PAGE_SIZE);
	for (uint32_t i = 0; i < db()->header.page_count; i++)
		entry[i] = pfn + i;
	db()->header.pfn_list = list | UINT64_C(1) << 32;
	return entry;
}

/* ---- the pokes: name, the check that must find it, what is done ---- */

/* clang-format off */
#define POKES(X) \
	X(tree_fingerprint, tree_header, header()->fingerprint ^= 1) \
	X(tree_size, tree_header, header()->size += APMP_PAGE_SIZE) \
	X(first_free, tree_header, root()->first_free += 64) \
	X(magic, tree_nodes, cpu(1)->magic = 0) \
	X(size, tree_nodes, cpu(1)->size = 64) \
	X(type, tree_nodes, cpu(1)->type = 15) \
	X(child_outside, tree_nodes, cpu(1)->child = 1 << 30) \
	X(child_odd, tree_nodes, cpu(1)->child = 36) \
	X(parent, tree_links, cpu(1)->parent = w.cpu[0]) \
	X(prev, tree_links, cpu(1)->prev_sib = 0) \
	X(loop, tree_links, cpu(1)->next_sib = w.cpu[0]) \
	X(below, tree_links, node_type(cpu(2), GCT_BUS)) \
	X(update, tree_rest, root()->transient_level++) \
	X(array_entry, tree_arrays, ((int32_t *)node(root()->partitions))[DELTA] = 0) \
	X(array_other, tree_arrays, ((int32_t *)node(root()->communities))[0] = w.other) \
	X(no_array, tree_arrays, root()->partitions = -64) \
	X(nameless, tree_arrays, partition(BETA)->name[0] = '\0') \
	X(namesake, tree_arrays, strcpy(partition(BETA)->name, "alpha")) \
	X(same_id, tree_ids, desc(1)->hd.id = 0) \
	X(locked_by, tree_lock, root()->lock = 63) \
	X(locked_far, tree_lock, root()->lock = UINT64_C(1) << 40) \
	X(mem_size, memory_apart, root()->mem_size -= APMP_GRANULE) \
	X(min_alloc, memory_tiles, root()->min_alloc = 4 * APMP_GRANULE) \
	X(lookaside, tree_deleted, root()->lookaside = w.cpu[0]) \
	X(pool_gap, tree_pool, root()->first_free += 64; root()->available -= 64) \
	X(pool_twice, tree_pool, root()->platform_name = root()->bindings) \
	X(bindings, tree_pool, root()->bindings = -64) \
	X(owner_none, tree_owners, cpu(7)->owner = w.cpu[3]) \
	X(owner_lab, tree_owners, cpu(7)->current_owner = w.lab) \
	X(root_owned, tree_owners, root()->hd.owner = w.lab) \
	X(config, tree_bound, cpu(7)->config = w.cpu[3]) \
	X(unbound, tree_bound, \
	  ((struct gct_node *)node(w.ctrl[0]))->owner = partition_handle(STRANGER)) \
	X(gap, memory_tiles, fragment(0, 1)->pa += APMP_PAGE_SIZE) \
	X(short_, memory_tiles, fragment(0, 1)->size -= APMP_PAGE_SIZE) \
	X(too_many, memory_tiles, desc(0)->mem_info.desc_count = 1 << 20) \
	X(free_apart, memory_tiles, split_free()) \
	X(affinity, tree_bound, cpu(7)->affinity = w.cpu[3]) \
	X(no_descriptor, memory_owners, desc(1)->hd.owner = 0; lab()->apmpdb_other = 0) \
	X(other_descriptor, memory_owners, last_fragment(0)->mem_owner = partition_handle(LONE); \
		  last_fragment(0)->mem_flags = GCT_MEM_PRIVATE) \
	X(overlap, memory_apart, move_desc()) \
	X(private_, memory_owners, fragment(0, 1)->mem_owner = partition_handle(ALPHA)) \
	X(no_owner, memory_owners, fragment(0, 1)->mem_owner = w.cpu[0]) \
	X(fenced, life_order, partition(LONE)->fenced = 9) \
	X(undead, life_order, partition(DELTA)->hd.node_flags |= NODE_INITIALIZED) \
	X(no_primary, cpu_primary, cpu(4)->node_flags &= ~(uint64_t)NODE_PRIMARY) \
	X(two_primaries, cpu_primary, cpu(1)->node_flags |= NODE_PRIMARY) \
	X(other_primary, cpu_primary, hwrpb(ALPHA)->primary = 1) \
	X(unavailable, cpu_available, hwrpb(ALPHA)->slot[1].flags &= ~(uint64_t)HWRPB_PA) \
	X(two_have, cpu_available, hwrpb(BETA)->slot[1].flags |= HWRPB_PA) \
	X(runner, cpu_runner, line(7)->runner = life(ALPHA)) \
	X(nobody_runs, cpu_active, line(1)->runner = 0) \
	X(unique, hwrpb_header, hwrpb(BETA)->unique = life(ALPHA)) \
	X(hwrpb_magic, hwrpb_header, hwrpb(BETA)->magic = 0) \
	X(hwrpb_slots, hwrpb_header, hwrpb(BETA)->cpu_count = 1000) \
	X(hwrpb_place, hwrpb_header, partition(BETA)->hwrpb = WORLD_HWRPB_PA(GAMMA)) \
	X(active_only, hwrpb_sets, hwrpb(GAMMA)->active.word[0] = 16; \
		  cpu_sets(GAMMA)->active[0] = 16) \
	X(no_recorder, recorder_head, hwrpb(GAMMA)->recorder = LINES_PA) \
	X(no_shared, db_place, lab()->apmpdb_info = UINT64_C(64) << 32 | 3) \
	X(few_pages, db_place, \
		  lab()->apmpdb_info = (lab()->apmpdb_info & UINT32_MAX) | UINT64_C(1) << 32) \
	X(bad_place, db_place, mark_bad(db_page(2))) \
	X(no_other, db_other, lab()->apmpdb_other = UINT64_C(64) << 32 | 3) \
	X(same_granule, db_other, lab()->apmpdb_other = lab()->apmpdb_info) \
	X(db_fingerprint, db_header, db()->header.fingerprint++) \
	X(version, db_header, db()->header.software_version++) \
	X(first_pfn, db_header, db()->header.first_pfn++) \
	X(page_count, db_header, db()->header.page_count = 1) \
	X(all_pages, db_header, db()->header.page_count = UINT32_MAX) \
	X(members_off, db_header, db()->header.members_off = 0) \
	X(bad_page, db_pages, mark_bad(db_page(APMP_DB_INITIAL_PAGES))) \
	X(no_list, db_pages, db()->header.pfn_list = UINT64_C(1) << 32 | 3) \
	X(long_list, db_pages, db()->header.pfn_list = UINT64_C(99) << 32 | 3) \
	X(page_twice, db_pages, \
		  list_pages()[APMP_DB_INITIAL_PAGES] = db_page(0) / APMP_PAGE_SIZE) \
	X(page_nowhere, db_pages, list_pages()[APMP_DB_INITIAL_PAGES] = UINT64_MAX) \
	X(state, db_state, db()->header.state = APMP_DB_RECOVERING) \
	X(state_odd, db_state, db()->header.state = 77) \
	X(lock_dead, db_lock, db()->header.lock = apmp_identity(DELTA, 3)) \
	X(lock_garbage, db_lock, db()->header.lock = UINT64_MAX) \
	X(lock_living, db_lock, db()->header.lock = life(BETA)) \
	X(lock_waiters, db_lock, db()->header.lock = 0x8000) \
	X(member_none, db_members, db()->header.members |= BIT(63)) \
	X(member_dead, db_members, db()->header.members |= BIT(DELTA)) \
	X(member_fenced, db_members, partition(GAMMA)->fenced = 99; \
		  partition(GAMMA)->incarnation = 99; \
		  partition(GAMMA)->hd.node_flags = 0) \
	X(member_stranger, db_members, stranger()) \
	X(identity, db_nodes, db()->node[BETA].identity = life(ALPHA)) \
	X(identity_old, db_nodes, db()->node[BETA].identity += 1 << 16) \
	X(beat_of, db_nodes, db()->node[BETA].beat_of = 1) \
	X(node_state, db_nodes, db()->node[BETA].state = APMP_NODE_JOINING) \
	X(node_state_odd, db_nodes, db()->node[BETA].state = 1234) \
	X(no_name, db_names, db()->node[BETA].name[0] = '\0') \
	X(name_end, db_names, memset(db()->node[BETA].name, 'x', 128)) \
	X(name_twice, db_names, strcpy(db()->node[BETA].name, db()->node[ALPHA].name)) \
	X(outsider, db_others, db()->node[STRANGER].identity = life(STRANGER);\
		  db()->node[STRANGER].state = APMP_NODE_MEMBER) \
	X(id_field, db_id, partition(BETA)->id_field = 77) \
	X(no_id_field, db_id, partition(BETA)->id_field = 0) \
	X(last_id, db_id, lab()->apmpdb_id++) \
	X(little, db_ring, db()->node[ALPHA].little_brother = GAMMA) \
	X(big, db_ring, db()->node[ALPHA].big_brother = UINT32_MAX) \
	X(crashing, db_crashing, db()->header.crashing = life(BETA)) \
	X(expected, db_crashing, db()->header.expected = BIT(BETA)) \
	X(segment_off, db_segments, db()->header.segment[0].off = 64) \
	X(segment_end, db_segments, db()->header.segment[0].size = UINT32_MAX - 4095) \
	X(segment_early, db_segments, db()->header.segment[0].off = 0) \
	X(segment_none, db_segments, db()->header.segment[0].size = 0) \
	X(segment_more, db_segments, db()->header.service_mask |= BIT(7)) \
	X(segment_same, db_segments, \
		  db()->header.segment[1].off = db()->header.segment[0].off) \
	X(sets_of, db_cpus, cpu_sets(BETA)->identity = life(ALPHA)) \
	X(sets_left, db_cpus, cpu_sets(DELTA)->identity = apmp_identity(DELTA, 1)) \
	X(sets_other, db_cpus, cpu_sets(BETA)->potential[3] = 1) \
	X(table_dead, lock_table, locks()->table = apmp_identity(DELTA, 1)) \
	X(table_odd, lock_table, locks()->table = 0x8000) \
	X(lock_nobody, lock_words, used_lock(9, "a")->word = apmp_identity(DELTA, 1) | 128) \
	X(lock_not_open, lock_words, used_lock(9, "a")->word = life(BETA) | 128) \
	X(lock_wait_free, lock_words, used_lock(9, "a")->word = 0x8000) \
	X(lock_unused, lock_words, locks()->lock[5].word = life(BETA) | 256) \
	X(lock_opener, lock_openers, used_lock(9, "a")->openers |= BIT(DELTA)) \
	X(lock_rank, lock_names, used_lock(9, "a")->rank = 0) \
	X(lock_nameless, lock_names, used_lock(9, "a")->name[0] = '\0') \
	X(lock_name_end, lock_names, memset(used_lock(9, "a")->name, 'x', 32)) \
	X(lock_twice, lock_names, (void)used_lock(9, "a"); (void)used_lock(8, "a")) \
	X(silence, beat_rises, db()->node[BETA].heartbeat = beat_before(BETA)) \
	X(level, order_tree, root()->transient_level = root()->current_level = 1) \
	X(old_life, order_tree, then_partition(LONE)->incarnation = 2) \
	X(old_set, order_db, then_db()->header.incarnation++) \
	X(less_lost, order_db, then_db()->header.removed_count = 2)
/* clang-format on */

static void node_type(struct gct_node *n, uint8_t type)
{
	n->type = type;
	n->size = sizeof(struct gct_node);
}

static int32_t partition_handle(uint32_t id)
{
	return (int32_t)((unsigned char *)partition(id) - (unsigned char *)root());
}

static struct gct_mem_desc *last_fragment(uint32_t desc_idx)
{
	return fragment(desc_idx, desc(desc_idx)->mem_info.desc_count - 1);
}

/* The free rest of the first descriptor becomes two. */
static void split_free(void)
{
	struct gct_mem_desc *f = last_fragment(0);

	f[1] = f[0];
	f[0].size = APMP_GRANULE;
	f[1].pa = f[0].pa + APMP_GRANULE;
	f[1].size -= APMP_GRANULE;
	desc(0)->mem_info.desc_count++;
}

/* The second descriptor begins in the first. */
static void move_desc(void)
{
	uint64_t pa = desc(0)->mem_info.base_pa + 7 * APMP_GRANULE;

	desc(1)->mem_info.base_pa = pa;
	for (uint32_t i = 0; i < desc(1)->mem_info.desc_count; i++, pa += fragment(1, i - 1)->size)
		fragment(1, i)->pa = pa;
	lab()->apmpdb_other = 0;
}

/* A partition of another community that lives says that it is a member here. */
static void stranger(void)
{
	db()->header.members |= BIT(STRANGER);
	db()->node[STRANGER].identity = life(STRANGER);
}

/* In the image before. */
static struct apmp_db *then_db(void)
{
	return (void *)(uintptr_t)image_at(&good, db_page(0), sizeof(struct apmp_db));
}

static struct gct_partition_node *then_partition(uint32_t id)
{
	return (void *)(uintptr_t)image_at(
	    &good, TREE_PA + sizeof(struct gct_header) + (uint64_t)partition_handle(id),
	    sizeof(struct gct_partition_node));
}

static uint64_t beat_before(uint32_t id)
{
	return then_db()->node[id].heartbeat;
}

static const struct {
	const char *name;
	enum check_id check;
} pokes[] = {
#define X(name, check, ...) {#name, CHECK_##check},
    POKES(X)
#undef X
};

#define POKE_COUNT ((int)(sizeof(pokes) / sizeof(pokes[0])))

static void poke(int idx)
{
	int n = 0;
#define X(name, check, ...)                                                                        \
	if (n++ == idx) {                                                                          \
		__VA_ARGS__;                                                                       \
		return;                                                                            \
	}
	POKES(X)
#undef X
}

static void judge(const struct image *before)
{
	ck_assert_int_eq(check_image(&now, before, &check, &findings), 0);
}

START_TEST(a_good_machine)
{
	judge(&good);
	ck_assert_msg(findings.count == 0, "%s: %s", check_infos[findings.finding[0].check].id,
		      findings.finding[0].what);
	ck_assert(check_beaten(&now, &good));
}
END_TEST

START_TEST(each_violation_is_found)
{
	poke(_i);
	judge(&good);
	ck_assert_msg(findings.count > 0, "%s is not found", pokes[_i].name);
	for (uint32_t i = 0; i < findings.count; i++)
		ck_assert_msg(findings.finding[i].check == pokes[_i].check, "%s: by %s: %s",
			      pokes[_i].name, check_infos[findings.finding[i].check].id,
			      findings.finding[i].what);
}
END_TEST

/* Where nobody of the community lives its ranges are nobody's: they may be bad. */
START_TEST(ranges_of_nobody)
{
	mark_bad(db_page(2));
	lab()->apmpdb_other = lab()->apmpdb_info;
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		partition(id)->hd.node_flags &= ~(uint64_t)NODE_INITIALIZED;
	judge(&good);
	for (uint32_t i = 0; i < findings.count; i++) {
		ck_assert_int_ne(findings.finding[i].check, CHECK_db_place);
		ck_assert_int_ne(findings.finding[i].check, CHECK_db_other);
	}
}
END_TEST

/* Every check has a poke: else it may never have found anything. */
START_TEST(each_check_is_tried)
{
	for (enum check_id id = 0; id < CHECK_COUNT; id++) {
		bool tried = false;

		for (int i = 0; i < POKE_COUNT; i++)
			tried |= pokes[i].check == id;
		ck_assert_msg(tried, "%s", check_infos[id].id);
	}
}
END_TEST

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#define FUZZ_ROUNDS 100

/* Words that lead somewhere: small numbers, handles, addresses, all ones. */
static uint64_t odd_word(uint64_t *seed)
{
	switch (next_random(seed) % 6) {
	case 0:
		return next_random(seed) % 128;
	case 1:
		return next_random(seed) % w.tree_size / 64 * 64;
	case 2:
		return w.range_pa[0] + next_random(seed) % WORLD_RANGE_SIZE;
	case 3:
		return UINT64_MAX >> next_random(seed) % 64;
	case 4:
		return UINT64_C(1) << next_random(seed) % 64;
	default:
		return next_random(seed);
	}
}

/* Some words, anywhere where a structure is. */
static void spoil(uint64_t *seed, uint32_t words)
{
	while (words-- > 0) {
		struct image_piece *piece = &now.piece[next_random(seed) % now.count];
		uint64_t room = piece->size < 40960 ? piece->size : 40960;
		uint64_t word = odd_word(seed);

		memcpy(piece->data + next_random(seed) % (room / 4 - 1) * 4, &word,
		       next_random(seed) % 2 ? 8 : 4);
	}
}

START_TEST(no_image_crashes_it)
{
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)_i + 1);

	for (int round = 0; round < FUZZ_ROUNDS; round++) {
		spoil(&seed, 1 + (uint32_t)(next_random(&seed) % 4));
		judge(&good);
		(void)check_beaten(&good, &now);
		image_fini(&now);
		take(&now);
	}
}
END_TEST

/* A partition, by its flags a template, at the end of what is there.  shows: nothing is read behind
 * the copy; asan sees it. */
START_TEST(a_node_is_all_there)
{
	struct image image = {.tree_pa = TREE_PA};
	uint64_t head = sizeof(struct gct_header) + sizeof(struct gct_root_node);
	uint64_t array = APMP_MAX_PARTITIONS * sizeof(int32_t);
	uint64_t size = head + array + sizeof(struct gct_node);
	unsigned char *bytes = calloc(1, size);
	struct gct_root_node *r = (void *)(bytes + sizeof(struct gct_header));
	struct gct_node *n = (void *)(bytes + head + array);
	struct image_tree tree;

	r->partitions = (int32_t)sizeof(*r);
	*(int32_t *)(void *)(bytes + head) = (int32_t)(sizeof(*r) + array);
	n->magic = GCT_MAGIC;
	n->type = GCT_PARTITION;
	n->size = sizeof(*n);
	n->node_flags = NODE_HW_TEMPLATE;
	add(&image, TREE_PA, bytes, size);
	ck_assert_int_eq(image_tree(&image, &tree), 0);
	ck_assert_ptr_null(image_partition(&tree, 0));
	image_fini(&image);
	free(bytes);
}
END_TEST

START_TEST(noise_gives_findings)
{
	uint64_t seed = (uint64_t)_i + 1;

	for (uint32_t i = 0; i < now.count; i++)
		for (uint64_t at_byte = 0; at_byte < now.piece[i].size; at_byte++)
			now.piece[i].data[at_byte] = (unsigned char)next_random(&seed);
	judge(&good);
	ck_assert_uint_gt(findings.count, 0);
	/* Behind a header that is right. */
	header()->size = w.tree_size;
	header()->fingerprint = apmp_fingerprint(w.tree_size);
	judge(&good);
	ck_assert_uint_gt(findings.count, 0);
}
END_TEST

/* A piece that is not there is a finding, not a fault. */
START_TEST(a_piece_is_missing)
{
	for (uint32_t i = 0; i < now.count; i++) {
		struct image_piece piece = now.piece[i];

		now.piece[i].pa = UINT64_C(1) << 60;
		judge(&good);
		now.piece[i] = piece;
		ck_assert_msg(findings.count > 0 || piece.pa == w.range_pa[1] ||
				  piece.pa == WORLD_HWRPB_PA(DELTA) ||
				  piece.pa == WORLD_HWRPB_PA(STRANGER) ||
				  piece.pa == WORLD_HWRPB_PA(LONE),
			      "piece %u", i);
	}
}
END_TEST

/* ---- documents ---- */

START_TEST(a_dump_is_what_was_saved)
{
	struct image both[2] = {good, now}, read[2];
	json_t *document = image_document(both, 2);
	const char *why;

	ck_assert_int_eq(image_undocument(document, read, 2, &why), 2);
	for (uint32_t n = 0; n < 2; n++) {
		ck_assert_uint_eq(read[n].count, both[n].count);
		ck_assert_uint_eq(read[n].t_ns, both[n].t_ns);
		ck_assert_str_eq(read[n].machine, "world");
		for (uint32_t i = 0; i < read[n].count; i++)
			ck_assert_mem_eq(
			    image_at(&read[n], both[n].piece[i].pa, both[n].piece[i].size),
			    both[n].piece[i].data, both[n].piece[i].size);
		image_fini(&read[n]);
	}
	ck_assert_int_lt(image_undocument(document, read, 1, &why), 0); /* more than wanted */
	json_decref(document);
}
END_TEST

/* One word of it changed: it is refused, and says why. */
START_TEST(a_changed_dump_is_refused)
{
	json_t *document = image_document(&now, 1), *image, *piece;
	struct image read;
	const char *why = NULL;

	image = json_array_get(json_object_get(document, "images"), 0);
	piece = json_array_get(json_object_get(image, "ranges"), 1);
	switch (_i) {
	case 0:
		json_object_set_new(document, "apmp_dump", json_integer(2));
		break;
	case 1:
		json_object_set_new(document, "layout", json_integer(7));
		break;
	case 2:
		json_object_set_new(piece, "data", json_string("AAAA"));
		break;
	case 3:
		json_object_set_new(document, "images", json_array());
		break;
	case 4:
		json_object_del(document, "checksum");
		break;
	default:
		json_object_set_new(document, "images", json_string("none"));
	}
	ck_assert_int_lt(image_undocument(document, &read, 1, &why), 0);
	ck_assert_ptr_nonnull(why);
	json_decref(document);
}
END_TEST

/* Pieces that are none, under whatever else is right. */
START_TEST(odd_pieces_are_refused)
{
	static const char *const odd[] = {
	    "{'machine': 'm', 'ranges': [{'pa': -8, 'size': 8, 'data': 'AAAAAAAAAAA='}]}",
	    "{'machine': 'm', 'ranges': [{'pa': 8, 'size': 9, 'data': 'AAAAAAAAAAAA'}]}",
	    "{'machine': 'm', 'ranges': [{'pa': 8, 'size': 8, 'data': 'AAAAAAAAAAAA'}]}",
	    "{'machine': 'm', 'ranges': [{'pa': 8, 'size': 8, 'data': 'AAAAAAAAAA!='}]}",
	    "{'machine': 'm', 'ranges': [{'pa': 8, 'size': 8, 'data': 3}]}",
	    ("{'machine': 'm', 'ranges': [{'pa': 8, 'size': 8, 'data': 'AAAAAAAAAAA='},"
	     " {'pa': 8, 'size': 8, 'data': 'AAAAAAAAAAA='}]}"),
	    "{'machine': 'm', 'ranges': [{'pa': 8, 'size': 9223372036854775800, 'data': ''}]}",
	    "{'machine': 'm', 'ranges': 3}",
	    "{'ranges': []}",
	    "[]",
	};
	char text[256];
	struct image read;
	json_t *object;

	snprintf(text, sizeof(text), "%s", odd[_i]);
	for (char *quote = text; (quote = strchr(quote, '\''));)
		*quote = '"';
	object = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(object);
	ck_assert_int_lt(image_read(object, &read), 0);
	json_decref(object);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("check");
	TCase *judged = suite_case(s, "judged"), *kept = suite_case(s, "kept");

	tcase_add_checked_fixture(judged, setup, teardown);
	tcase_add_test(judged, a_good_machine);
	tcase_add_loop_test(judged, each_violation_is_found, 0, POKE_COUNT);
	tcase_add_test(judged, ranges_of_nobody);
	tcase_add_test(judged, each_check_is_tried);
	tcase_add_loop_test(judged, no_image_crashes_it, 0, 8);
	tcase_add_loop_test(judged, noise_gives_findings, 0, 8);
	tcase_add_test(judged, a_node_is_all_there);
	tcase_add_test(judged, a_piece_is_missing);
	tcase_add_checked_fixture(kept, setup, teardown);
	tcase_add_test(kept, a_dump_is_what_was_saved);
	tcase_add_loop_test(kept, a_changed_dump_is_refused, 0, 6);
	tcase_add_loop_test(kept, odd_pieces_are_refused, 0, 10);
	return suite_run(s);
}
