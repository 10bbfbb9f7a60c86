/*
 * test_configure_death.c - the console dies at every store of every kind of request, and the next
 * one finds the tree byte for byte as before or as after; and hot swap.
 */
#include <errno.h>
#include <string.h>

#include "shm/shared.h"
#include "tests/unit/asking.h"

/* A request as an operation that may be cut off at any point. */
struct operation {
	uint32_t op;
	int32_t by;
	uint64_t arg[3];
	const char *text;
};

static void commit(int err)
{
	ck_assert_msg(!err, "refused: %s", apmp_reason_info(got.reason)->name);
	apmp_update_commit_quietly(&e.up);
}

static void run(void *ctx)
{
	const struct operation *o = ctx;
	struct apmp_call_request request = {.op = o->op};

	memcpy(request.arg, o->arg, sizeof(request.arg));
	memcpy(request.text, o->text, strlen(o->text));
	commit(apmp_configure(&e.tw, &request, o->by, &got));
}

/* Dies everywhere; then it is done.  Returns the number of points. */
static uint64_t die(int32_t by, uint32_t op, int64_t arg0, int64_t arg1, uint64_t arg2,
		    const char *text)
{
	struct operation o = {.op = op,
			      .by = by,
			      .arg = {(uint64_t)arg0, (uint64_t)arg1, arg2},
			      .text = text ? text : ""};

	return estate_kill_everywhere(&e, run, &o);
}

static uint64_t die_taking(uint64_t pa, uint64_t granules, int32_t owner)
{
	return die(ADMIN, APMP_CALL_ASSIGN_MEMORY, (int64_t)pa, (int64_t)(granules * GRANULE),
		   (uint64_t)owner, NULL);
}

static uint64_t die_leaving(uint64_t pa, uint64_t granules, bool given_up)
{
	return die(ADMIN, APMP_CALL_DEASSIGN_MEMORY, (int64_t)pa, (int64_t)(granules * GRANULE),
		   given_up, NULL);
}

/* shows: TREE-22 */
START_TEST(software)
{
	int32_t community;

	(void)die(e.part[A], APMP_CALL_CREATE_COMMUNITY, 0, 0, 0, "new");
	community = (int32_t)got.ret[1];
	(void)die(e.part[A], APMP_CALL_CREATE_PARTITION, e.lab, 1, 0, "new");
	(void)die(ADMIN, APMP_CALL_SET_COMMUNITY, e.part[B], 0, 0, NULL);
	(void)die(ADMIN, APMP_CALL_SET_COMMUNITY, e.part[B], community, 0, NULL);
	(void)die(ADMIN, APMP_CALL_SET_COMMUNITY, e.part[B], 0, 0, NULL);
	(void)die_taking(estate_pa(&e, 3), 2, community);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], community);
	(void)die(ADMIN, APMP_CALL_DELETE_COMMUNITY, community, 0, 0, NULL);
	(void)die(ADMIN, APMP_CALL_CREATE_COMMUNITY, 0, 0, 0,
		  "newer"); /* from the lookaside list */
	ck_assert_int_eq((int32_t)got.ret[1], community);
	(void)die(e.part[A], APMP_CALL_SET_ID, 7, 0, 0, NULL);
	(void)die(e.part[A], APMP_CALL_LOCK_TREE, 0, 0, 0, NULL);
	(void)die(e.part[A], APMP_CALL_UNLOCK_TREE, 0, 0, 0, NULL);
}
END_TEST

/* shows: TREE-22, TREE-07 */
START_TEST(deletion)
{
	uint64_t pa = estate_pa(&e, 0);

	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[B]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.part[B]);
	for (uint64_t g = 0; g < 12; g += 3)
		take(APMP_REASON_NONE, 0, ADMIN, pa + g * GRANULE, 2, e.part[B], 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa + 2 * GRANULE, 1, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 16, e.part[B], 0);
	boot(B);
	ask(APMP_REASON_NONE, 0, e.part[B], APMP_CALL_LOCK_TREE, 0, 0, 0);
	estate_halt(&e, B);
	/* Two on the lookaside list, taken off from its end and its beginning. */
	(void)die(ADMIN, APMP_CALL_DELETE_PARTITION, e.part[B], 0, 0, NULL);
	(void)die(ADMIN, APMP_CALL_DELETE_PARTITION, e.part[F], 0, 0, NULL);
	(void)die(ADMIN, APMP_CALL_CREATE_PARTITION, 0, 0, 0, "one");
	ck_assert_uint_eq(got.ret[0], B);
	(void)die(ADMIN, APMP_CALL_CREATE_PARTITION, e.den, 1, 0, "two");
	ck_assert_uint_eq(got.ret[0], F);
}
END_TEST

/* shows: TREE-22, TREE-11 */
START_TEST(components)
{
	(void)die(e.part[A], APMP_CALL_ASSIGN, e.iop[1], e.part[A], 0, NULL);
	boot(A);
	(void)die(e.part[A], APMP_CALL_REASSIGN, e.iop[1], e.part[B], 0, NULL);
	(void)die(ADMIN, APMP_CALL_REASSIGN, e.iop[1], e.lab, 0, NULL);
	(void)die(e.part[A], APMP_CALL_DEASSIGN, e.bus[2], 1, 0, NULL);
	(void)die(e.part[A], APMP_CALL_ASSIGN, e.bus[2], e.part[B], 0, NULL);
	(void)die(e.part[A], APMP_CALL_DEASSIGN, e.bus[2], 0, 0, NULL);
	(void)die(e.part[A], APMP_CALL_DEASSIGN, e.iop[1], 0, 0, NULL);
}
END_TEST

/* shows: TREE-22, TREE-18 */
START_TEST(memory)
{
	uint64_t pa = estate_pa(&e, 0);

	(void)die_taking(pa + 4 * GRANULE, 8, e.part[A]); /* its subsystem too; the middle of it */
	(void)die_taking(pa, 4, e.part[B]);		  /* a whole fragment */
	(void)die_leaving(pa + 6 * GRANULE, 2, true);	  /* the middle */
	(void)die_leaving(pa + 8 * GRANULE, 4, true);	  /* merges with both sides */
	boot(A);
	(void)die_leaving(pa + 5 * GRANULE, 1, false); /* stays in use */
	estate_halt(&e, A);
	(void)die_leaving(pa + 4 * GRANULE, 1, true);
	ck_assert_int_eq(
	    apmp_tree_set_apmpdb_info(&e.tw, 0, 0, (pa + 6 * GRANULE) / APMP_PAGE_SIZE | 8L << 32),
	    0);
	(void)die_taking(pa + 6 * GRANULE, 1, e.lab);
	(void)die_leaving(pa + 6 * GRANULE, 1, true); /* with the database */
	(void)die_leaving(pa, 4, true);
	estate_boot(&e, A);
	has(e.sub[0], 0, 0);
}
END_TEST

static void initialize(void *ctx)
{
	(void)ctx;
	apmp_update_begin(&e.up);
	(void)apmp_tree_partition_boot(&e.tw, A, "a");
	apmp_tree_initialize_owner(&e.tw, e.part[A]);
	apmp_update_commit_quietly(&e.up);
}

/* shows: TREE-22, TREE-12 */
START_TEST(initialization)
{
	uint64_t pa = estate_pa(&e, 0);

	for (uint64_t g = 0; g < 12; g += 3)
		take(APMP_REASON_NONE, 0, ADMIN, pa + g * GRANULE, 2, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 16, e.part[A], 0);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], e.part[A]);
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.lab);
	initialize(NULL);
	leave(APMP_REASON_NONE, 0, ADMIN, pa, 2, false);
	leave(APMP_REASON_NONE, 0, ADMIN, pa + 6 * GRANULE, 2, false);
	leave(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 2), 16, false);
	deassign(APMP_REASON_NONE, 0, ADMIN, e.cpu[0], false);
	deassign(APMP_REASON_NONE, 0, e.part[A], e.iop[1], false);
	assign(APMP_REASON_NONE, 0, ADMIN, e.cpu[1], e.part[A]);
	estate_halt(&e, A);
	(void)estate_kill_everywhere(&e, initialize, NULL);
	has(e.cpu[0], 0, 0);
	has(e.cpu[1], e.part[A], e.part[A]);
	has(e.iop[1], 0, 0);
	has(e.sub[1], 0, 0);
	has_memory(pa, 3, 0, 0);
}
END_TEST

static void mark(void *ctx)
{
	int err;

	apmp_update_begin(&e.up);
	err = apmp_tree_mark_bad(&e.tw, e.desc[1], *(uint64_t *)ctx);
	ck_assert_int_eq(err, 0);
	apmp_update_commit_quietly(&e.up);
}

/* shows: TREE-21, TREE-22 */
START_TEST(tested_memory)
{
	uint64_t pa = estate_pa(&e, 1), last = 8 * GRANULE / APMP_PAGE_SIZE - 1,
		 pages[] = {5, last};

	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa), 1);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, pa - 1), -ENOENT);
	for (int i = 0; i < 2; i++)
		(void)estate_kill_everywhere(&e, mark, &pages[i]);
	for (uint64_t page = 0; page <= last; page++)
		ck_assert_int_eq(
		    apmp_tree_page_good(&e.tw.tree, pa + page * APMP_PAGE_SIZE + page % 4096),
		    page != 5 && page != last);
	ck_assert_int_eq(apmp_tree_page_good(&e.tw.tree, estate_pa(&e, 0) + 5 * APMP_PAGE_SIZE), 1);
	apmp_update_begin(&e.up);
	ck_assert_int_eq(apmp_tree_mark_bad(&e.tw, e.desc[1], last + 1), -ENOENT);
	ck_assert_int_eq(apmp_tree_mark_bad(&e.tw, e.desc[1], UINT64_MAX), -ENOENT);
	apmp_update_commit_quietly(&e.up);
}
END_TEST

/* --- hot swap --- */

struct insertion {
	struct apmp_tree_spec spec;
	uint64_t pa, size;
};

static void insert(void *ctx)
{
	const struct insertion *i = ctx;

	commit(apmp_hardware_insert(&e.tw, &i->spec, i->pa, i->size, &got));
}

static void pull(void *ctx)
{
	commit(apmp_hardware_remove(&e.tw, *(int32_t *)ctx, &got));
}

static void refused(enum apmp_reason want, int32_t about, int err)
{
	ck_assert_int_lt(err, 0);
	ck_assert_msg(got.reason == want, "%s instead of %s", apmp_reason_info(got.reason)->name,
		      apmp_reason_info(want)->name);
	ck_assert_int_eq(got.about, about);
	ck_assert(!apmp_update_open(&e.up));
	estate_check(&e);
}

/* shows: PLAT-14, TREE-07, TREE-22 */
START_TEST(cpu_comes_and_goes)
{
	struct insertion i = {.spec = {.parent = e.sbb[1],
				       .type = GCT_CPU,
				       .id = 9,
				       .flags = NODE_HOTSWAP,
				       .cpu_type = 5,
				       .cpu_revision = 6}};
	uint64_t type, revision;
	int32_t cpu;

	(void)estate_kill_everywhere(&e, insert, &i);
	cpu = (int32_t)got.ret[1];
	ck_assert_int_eq(apmp_tree_cpu_type(&e.tw.tree, cpu, &type, &revision), 0);
	ck_assert(type == 5 && revision == 6);
	ck_assert_uint_eq(estate_node(&e, cpu).flags, NODE_HOTSWAP | NODE_HARDWARE);
	refused(APMP_REASON_PRESENT, cpu, apmp_hardware_insert(&e.tw, &i.spec, 0, 0, &got));
	assign(APMP_REASON_NONE, 0, ADMIN, cpu, e.part[A]);
	refused(APMP_REASON_IN_USE, cpu, apmp_hardware_remove(&e.tw, cpu, &got));
	deassign(APMP_REASON_NONE, 0, ADMIN, cpu, true);
	(void)estate_kill_everywhere(&e, pull, &cpu);
	assign(APMP_REASON_UNAVAILABLE, cpu, ADMIN, cpu, e.part[A]);
	refused(APMP_REASON_UNAVAILABLE, cpu, apmp_hardware_remove(&e.tw, cpu, &got));
	/* Another one in its socket. */
	i.spec.subtype = GCT_CPU_SECONDARY_ONLY;
	i.spec.cpu_type = 7;
	(void)estate_kill_everywhere(&e, insert, &i);
	ck_assert_int_eq((int32_t)got.ret[1], cpu);
	ck_assert_uint_eq(estate_node(&e, cpu).subtype, GCT_CPU_SECONDARY_ONLY);
	ck_assert_uint_eq(estate_node(&e, cpu).type, GCT_CPU);
	ck_assert_int_eq(apmp_tree_cpu_type(&e.tw.tree, cpu, &type, &revision), 0);
	ck_assert_uint_eq(type, 7);
	ck_assert_int_eq(apmp_tree_cpu_type(&e.tw.tree, e.bus[0], &type, &revision), -EBADMSG);
	pull(&cpu);
	i.spec.parent = e.sbb[0]; /* nodes are not moved */
	refused(APMP_REASON_INVALID, cpu, apmp_hardware_insert(&e.tw, &i.spec, 0, 0, &got));
}
END_TEST

/* shows: PLAT-14, TREE-22 */
START_TEST(memory_comes_and_goes)
{
	struct gct_root_node *r = root();
	uint64_t pa = estate_pa(&e, 8);
	struct insertion i = {.spec = {.parent = e.sub[2],
				       .type = GCT_MEMORY_DESC,
				       .id = pa,
				       .flags = NODE_HOTSWAP,
				       .config = e.sub[2],
				       .affinity = e.sbb[2]},
			      .pa = pa,
			      .size = 4 * GRANULE};
	int32_t desc;

	take(APMP_REASON_NONE, 0, ADMIN, estate_pa(&e, 3), 1, e.part[D], 0);
	(void)estate_kill_everywhere(&e, insert, &i);
	desc = (int32_t)got.ret[1];
	ck_assert_uint_eq(apmp_load_relaxed(&r->mem_size), 52 * GRANULE);
	has(desc, 0, 0);
	take(APMP_REASON_DESCRIPTOR_UNSHARED, desc, ADMIN, pa, 1, e.part[A], 0);
	take(APMP_REASON_NONE, 0, ADMIN, pa, 1, e.part[E], 0);
	has(desc, e.den, e.den); /* as its subsystem */
	refused(APMP_REASON_IN_USE, desc, apmp_hardware_remove(&e.tw, desc, &got));
	leave(APMP_REASON_NONE, 0, ADMIN, pa, 1, true);
	has(desc, e.den, e.den); /* the other descriptor is in use */
	(void)estate_kill_everywhere(&e, pull, &desc);
	has(desc, 0, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&r->mem_size), 48 * GRANULE);
	take(APMP_REASON_UNAVAILABLE, desc, ADMIN, pa, 1, e.part[E], 0);
	i.size = 8 * GRANULE;
	refused(APMP_REASON_PRESENT, desc, apmp_hardware_insert(&e.tw, &i.spec, pa, i.size, &got));
	i.size = 4 * GRANULE;
	(void)estate_kill_everywhere(&e, insert, &i);
	ck_assert_int_eq((int32_t)got.ret[1], desc);
	ck_assert_uint_eq(apmp_load_relaxed(&r->mem_size), 52 * GRANULE);
}
END_TEST

START_TEST(bad_insertions)
{
	struct apmp_tree_spec desc = {
	    .parent = e.sub[0], .type = GCT_MEMORY_DESC, .id = 77, .config = e.sub[0]};
	struct apmp_tree_spec cpu = {.parent = e.sbb[0], .type = GCT_CPU, .id = APMP_MAX_CPUS};
	uint64_t pa = estate_pa(&e, 7);

	refused(APMP_REASON_TOO_MANY, 0, apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	cpu.id = 20;
	cpu.parent = e.lab;
	refused(APMP_REASON_NO_SUCH_NODE, 0, apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	cpu.parent = e.iop[0];
	refused(APMP_REASON_INVALID, e.iop[0], apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	cpu.type = GCT_PARTITION;
	refused(APMP_REASON_INVALID, e.iop[0], apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	cpu.type = GCT_CPU;
	cpu.parent = e.sbb[0] + 8;
	refused(APMP_REASON_NO_SUCH_NODE, 0, apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	refused(APMP_REASON_ALIGNMENT, 0, apmp_hardware_insert(&e.tw, &desc, pa, 1, &got));
	refused(APMP_REASON_ALIGNMENT, 0, apmp_hardware_insert(&e.tw, &desc, pa, 0, &got));
	refused(APMP_REASON_ALIGNMENT, 0, apmp_hardware_insert(&e.tw, &desc, 0, GRANULE, &got));
	refused(APMP_REASON_ALIGNMENT, 0,
		apmp_hardware_insert(&e.tw, &desc, UINT64_C(1) << 40, GRANULE, &got));
	refused(APMP_REASON_ALIGNMENT, 0,
		apmp_hardware_insert(&e.tw, &desc, pa, UINT64_MAX - GRANULE + 1, &got));
	refused(APMP_REASON_PRESENT, e.desc[3],
		apmp_hardware_insert(&e.tw, &desc, estate_pa(&e, 3) + GRANULE, GRANULE, &got));
	for (uint32_t i = 0; i < 4; i++) {
		desc.id = 100 + i;
		commit(apmp_hardware_insert(&e.tw, &desc, pa + i * GRANULE, GRANULE, &got));
	}
	desc.id = 104;
	refused(APMP_REASON_TOO_MANY, 0,
		apmp_hardware_insert(&e.tw, &desc, pa + 4 * GRANULE, GRANULE, &got));
	boot(A);
	ask(APMP_REASON_NONE, 0, e.part[A], APMP_CALL_LOCK_TREE, 0, 0, 0);
	cpu.parent = e.sbb[0];
	refused(APMP_REASON_LOCKED, e.part[A], apmp_hardware_insert(&e.tw, &cpu, 0, 0, &got));
	refused(APMP_REASON_LOCKED, e.part[A], apmp_hardware_remove(&e.tw, e.cpu[0], &got));
}
END_TEST

/* A descriptor of the community, cut into as many fragments as there may be: A's and B's, with
 * holes between them. */
static void cut_up(uint64_t pa, uint64_t pieces)
{
	struct apmp_tree_spec spec = {
	    .parent = e.sub[0], .type = GCT_MEMORY_DESC, .id = pa, .config = e.sub[0]};

	commit(apmp_hardware_insert(&e.tw, &spec, pa, 2 * pieces * GRANULE, &got));
	apmp_update_begin(&e.up);
	apmp_tree_set_owner(&e.tw, (int32_t)got.ret[1], e.lab);
	apmp_update_commit_quietly(&e.up);
	for (uint64_t i = 0; i < pieces; i++) {
		apmp_update_begin(&e.up);
		ck_assert_int_eq(apmp_tree_set_fragment(&e.tw, pa + 2 * i * GRANULE, GRANULE,
							e.part[i % 2 ? B : A], true,
							GCT_MEM_PRIVATE),
				 0);
		apmp_update_commit_quietly(&e.up);
	}
	estate_check(&e);
}

/* In how many descriptors A still uses memory. */
static int uses(uint64_t pa, uint64_t step)
{
	int count = 0;

	for (uint64_t d = 0; d < 4; d++)
		count += estate_fragment(&e, pa + d * step).current_owner == e.part[A];
	return count;
}

/* More than one update can hold is refused, or left for the next time; never half done. */
START_TEST(more_than_an_update_holds)
{
	const uint64_t pa = UINT64_C(64) << 30, step = UINT64_C(4) << 30;
	const uint64_t pieces = APMP_TREE_FRAGMENTS_MAX / 2 - 1;

	estate_fini(&e);
	estate_init(&e, APMP_TREE_FRAGMENTS_MAX);
	assign(APMP_REASON_NONE, 0, ADMIN, e.sub[0], e.lab);
	boot(A);
	for (uint64_t d = 0; d < 4; d++) {
		cut_up(pa + d * step, pieces);
		for (uint64_t i = 0; i < pieces; i += 2)
			leave(APMP_REASON_NONE, 0, ADMIN, pa + d * step + 2 * i * GRANULE, 1,
			      false);
	}
	estate_halt(&e, A);
	ask(APMP_REASON_TOO_MUCH, e.part[A], ADMIN, APMP_CALL_DELETE_PARTITION, (uint64_t)e.part[A],
	    0, 0);
	ck_assert_int_eq(uses(pa, step), 4);
	initialize(NULL);
	ck_assert_int_ge(uses(pa, step), 1);
	ck_assert_int_le(uses(pa, step), 3);
	estate_halt(&e, A);
	initialize(NULL);
	ck_assert_int_eq(uses(pa, step), 0);
	estate_halt(&e, A);
	ask(APMP_REASON_NONE, 0, ADMIN, APMP_CALL_DELETE_PARTITION, (uint64_t)e.part[A], 0, 0);
}
END_TEST

/* The pool comes to its end before the machine has as many CPUs as it may. */
START_TEST(pool_is_bounded)
{
	struct apmp_tree_spec spec = {.parent = e.bus[0], .type = GCT_IO_CTRL, .config = e.bus[0]};
	int err = 0;

	for (spec.id = 100; !err; spec.id++) {
		err = apmp_hardware_insert(&e.tw, &spec, 0, 0, &got);
		if (!err)
			apmp_update_commit_quietly(&e.up);
		ck_assert_uint_lt(spec.id, 100 + 2 * APMP_TREE_NODES_MAX);
	}
	ck_assert(got.reason == APMP_REASON_POOL || got.reason == APMP_REASON_TOO_MANY);
	estate_check(&e);
}
END_TEST

/* A component takes along what has no power of its own, and brings it back [0074].
 * shows: PLAT-14 */
START_TEST(power_goes_by_the_tree)
{
	struct insertion i = {.spec = {.parent = e.sbb[1],
				       .type = GCT_IOP,
				       .id = 1,
				       .flags = NODE_HOTSWAP | NODE_HARDWARE,
				       .affinity = e.sbb[1]}};

	apmp_update_begin(&e.up);
	apmp_tree_set_flags(&e.tw, e.device[2], NODE_HOTSWAP, 0);
	apmp_tree_set_flags(&e.tw, e.bus[2], NODE_HOTSWAP, 0);
	apmp_update_commit_quietly(&e.up);
	refused(APMP_REASON_NOT_HOTSWAP, e.bus[2], apmp_hardware_remove(&e.tw, e.bus[2], &got));
	refused(APMP_REASON_NO_SUCH_NODE, 0, apmp_hardware_remove(&e.tw, e.lab, &got));
	refused(APMP_REASON_NO_SUCH_NODE, 0, apmp_hardware_remove(&e.tw, -64, &got));
	assign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], e.lab);
	refused(APMP_REASON_IN_USE, e.iop[1], apmp_hardware_remove(&e.tw, e.iop[1], &got));
	deassign(APMP_REASON_NONE, 0, ADMIN, e.iop[1], true);
	(void)estate_kill_everywhere(&e, pull, &e.iop[1]);
	for (int b = 2; b < 4; b++)
		ck_assert(estate_node(&e, e.device[b]).flags & NODE_UNAVAILABLE);
	refused(APMP_REASON_UNAVAILABLE, e.iop[1],
		apmp_hardware_insert(
		    &e.tw,
		    &(struct apmp_tree_spec){
			.parent = e.iop[1], .type = GCT_BUS, .id = 3, .config = e.iop[1]},
		    0, 0, &got));
	(void)estate_kill_everywhere(&e, insert, &i);
	ck_assert_int_eq((int32_t)got.ret[1], e.iop[1]);
	ck_assert(!(estate_node(&e, e.device[2]).flags & NODE_UNAVAILABLE));
	ck_assert(estate_node(&e, e.bus[3]).flags & NODE_UNAVAILABLE); /* it has its own switch */
	ck_assert_int_eq(apmp_tree_find(&e.tw.tree, GCT_BUS, 3), e.bus[3]);
	ck_assert_int_eq(apmp_tree_find(&e.tw.tree, GCT_BUS, 99), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("configure_death");
	TCase *tc = asking_case(suite, "death"), *swap = asking_case(suite, "swap");

	tcase_add_test(tc, software);
	tcase_add_test(tc, deletion);
	tcase_add_test(tc, components);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, initialization);
	tcase_add_test(tc, tested_memory);
	tcase_add_test(swap, cpu_comes_and_goes);
	tcase_add_test(swap, memory_comes_and_goes);
	tcase_add_test(swap, bad_insertions);
	tcase_add_test(swap, more_than_an_update_holds);
	tcase_add_test(swap, pool_is_bounded);
	tcase_add_test(swap, power_goes_by_the_tree);
	return suite_run(suite);
}
