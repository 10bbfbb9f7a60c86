/*
 * world.c - the machine that libapmp's tests run in.
 *
 * WHAT      The console's mappings of tree and shared memory are writable; each party maps the tree
 *           read-only and, through env.map, the shared memory at addresses of its own.  All is one
 *           thread: a party that waits lets the clock jump to its deadline, after on_wait had its
 *           chance to let others run.
 * DEATH     env.point jumps out of the operation: no instruction of it runs after the point, as
 *           after a SIGKILL.  Its mappings go, its interrupt lines and its stores stay.
 */
#include "tests/unit/world.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/configure.h"
#include "shm/intr.h"
#include "shm/ring.h"
#include "shm/service.h"
#include "shm/shared.h"

#define SHARED_SIZE (WORLD_RANGES * WORLD_RANGE_SIZE)

static struct party *party_of(struct apmp_env *env)
{
	return (struct party *)(void *)env;
}

static uint64_t env_now(struct apmp_env *env)
{
	return party_of(env)->world->now_ns;
}

static int env_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		    uint64_t deadline_ns)
{
	struct party *p = party_of(env);

	p->waits++;
	ck_assert_msg(p->waits < 100000, "a wait that never ends");
	if (p->on_wait)
		p->on_wait(p, word);
	if (apmp_load_acquire(word) != seen)
		return 0;
	ck_assert_msg(deadline_ns != APMP_NEVER, "waits for ever: nobody else runs");
	if (p->world->now_ns < deadline_ns)
		p->world->now_ns = deadline_ns;
	return -ETIMEDOUT;
}

static void env_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count)
{
	(void)word;
	(void)count;
	party_of(env)->wakes++;
}

static void env_point(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	struct party *p = party_of(env);

	ck_assert_msg(!p->ended, "%s passed by one that has ended", apmp_point_info(point)->name);
	if (p->trail_count < WORLD_TRAIL)
		p->trail[p->trail_count++] = point;
	if (p->on_point)
		p->on_point(p, point, arg);
	if (point == p->die_at && --p->die_nth == 0) {
		p->ended = true;
		longjmp(p->end, 1);
	}
}

static void env_report(struct apmp_env *env, uint32_t report, uint64_t about)
{
	struct party *p = party_of(env);

	ck_assert_uint_lt(report, 32);
	p->reports[report]++;
	p->report_about[report] = about;
}

/* Notes that [base, base + size) is mapped or reserved. */
static void note_mapping(struct party *p, void *base, uint64_t size)
{
	uint32_t slot = 0;

	while (slot < WORLD_MAPPINGS && p->mapping[slot].base)
		slot++;
	ck_assert_msg(slot < WORLD_MAPPINGS, "more mappings than an instance should need");
	p->mapping[slot] = (struct world_mapping){base, size};
}

/* The mapping that holds all of it. */
static struct world_mapping *mapping_of(struct party *p, const void *base, uint64_t size)
{
	for (uint32_t i = 0; i < WORLD_MAPPINGS; i++) {
		uint64_t off = (uint64_t)((uintptr_t)base - (uintptr_t)p->mapping[i].base);

		if (p->mapping[i].base && off < p->mapping[i].size &&
		    p->mapping[i].size - off >= size)
			return &p->mapping[i];
	}
	ck_abort_msg("not a mapping of its own");
}

static int map_shared(struct party *p, uint64_t pa, uint64_t size, void *at, void **ret_base)
{
	struct world *w = p->world;
	struct apmp_tree_fragment f;

	ck_assert(pa % APMP_PAGE_SIZE == 0 && size % APMP_PAGE_SIZE == 0 && size > 0);
	if (p->map_error && p->map_after-- == 0)
		return p->map_error;
	for (uint32_t r = 0; r < WORLD_RANGES; r++) {
		uint64_t off = pa - w->range_pa[r];
		void *base;

		if (pa < w->range_pa[r] || off >= WORLD_RANGE_SIZE || WORLD_RANGE_SIZE - off < size)
			continue;
		base = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0),
			    w->shared_fd, (off_t)(r * WORLD_RANGE_SIZE + off));
		ck_assert_ptr_ne(base, MAP_FAILED);
		*ret_base = base;
		return 0;
	}
	return apmp_tree_memory_at(&p->tree, pa, &f) ? -ENXIO : -EACCES;
}

static int env_map(struct apmp_env *env, uint64_t pa, uint64_t size, void **ret_base)
{
	struct party *p = party_of(env);
	int err = map_shared(p, pa, size, NULL, ret_base);

	if (!err)
		note_mapping(p, *ret_base, size);
	return err;
}

static int env_map_at(struct apmp_env *env, uint64_t pa, uint64_t size, void *at)
{
	struct party *p = party_of(env);
	void *base;

	(void)mapping_of(p, at, size);
	return map_shared(p, pa, size, at, &base);
}

static int env_reserve(struct apmp_env *env, uint64_t size, void **ret_base)
{
	*ret_base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(*ret_base, MAP_FAILED);
	note_mapping(party_of(env), *ret_base, size);
	return 0;
}

static void env_unmap(struct apmp_env *env, void *base, uint64_t size)
{
	struct party *p = party_of(env);
	struct world_mapping *m = mapping_of(p, base, size);
	unsigned char *begin = m->base, *end = begin + m->size, *cut = base;

	ck_assert_int_eq(munmap(base, size), 0);
	*m = (struct world_mapping){0};
	if (cut > begin)
		note_mapping(p, begin, (uint64_t)(cut - begin));
	if (cut + size < end)
		note_mapping(p, cut + size, (uint64_t)(end - cut) - size);
}

/* What a process leaves behind in the kernel when it ends: nothing. */
static void drop_mappings(struct party *p)
{
	for (uint32_t i = 0; i < WORLD_MAPPINGS; i++) {
		if (p->mapping[i].base)
			ck_assert_int_eq(munmap(p->mapping[i].base, p->mapping[i].size), 0);
		p->mapping[i].base = NULL;
	}
}

static int migrate_cpu(struct world *w, struct party *from, const uint64_t arg[APMP_CALL_ARGS])
{
	struct apmp_cpu_words words;
	struct apmp_tree_partition to;
	struct apmp_tree_node cpu;

	if (apmp_tree_cpu(&w->tw.tree, (uint32_t)arg[0], &cpu) ||
	    apmp_tree_partition(&w->tw.tree, (uint32_t)arg[1], &to))
		return -ENXIO;
	words = world_cpu_words(w, (uint32_t)arg[0]);
	apmp_cpu_depart(&w->tw, &cpu, from->hwrpb, from->id, &words, from->env.self);
	apmp_cpu_arrive(&w->tw, &cpu, w->party[to.id].hwrpb, to.id, to.node.handle,
			arg[2] & APMP_MIGRATE_LOAN, &words, w->party[to.id].env.self);
	apmp_hwrpb_startreq(&w->console.env, w->party[to.id].hwrpb, (uint32_t)arg[0]);
	apmp_store_release(words.arrival, 0);
	return 0;
}

/* A CPU that nobody uses any more is available to nobody, as console_configure.c has it. */
static void follow_cpu(struct world *w, struct party *by, int32_t handle)
{
	struct apmp_tree_node cpu;

	if (apmp_tree_node(&w->tw.tree, handle, &cpu) == 0 && cpu.type == GCT_CPU &&
	    !cpu.current_owner)
		apmp_hwrpb_set_flags(&w->up, by->hwrpb, by->id, (uint32_t)cpu.id, HWRPB_PA, 0);
}

/* What shm/configure.c decides. */
static int configure(struct world *w, struct party *by, struct apmp_call *call)
{
	struct apmp_tree_partition self;
	struct apmp_configured done;
	int err = apmp_tree_partition(&w->tw.tree, by->id, &self);

	ck_assert_int_eq(err, 0);
	err = apmp_configure(&w->tw, &call->request, self.node.handle, &done);
	if (apmp_update_open(&w->up)) {
		if (call->request.op == APMP_CALL_DEASSIGN)
			follow_cpu(w, by, (int32_t)call->request.arg[0]);
		apmp_update_commit(&w->up);
	}
	memcpy(call->reply.ret, done.ret, sizeof(call->reply.ret));
	return err;
}

static int env_call(struct apmp_env *env, struct apmp_call *call)
{
	struct party *p = party_of(env);
	struct world *w = p->world;
	const uint64_t *arg = call->request.arg;

	p->calls++;
	call->fd = -1;
	if (p->on_call)
		p->on_call(p, call);
	if (p->call_error)
		return p->call_error;
	switch (call->request.op) {
	case APMP_CALL_SET_APMPDB_INFO:
		call->reply.error =
		    (arg[2] ? apmp_tree_set_apmpdb_other : apmp_tree_set_apmpdb_info)(
			&w->tw, p->member.community_id, arg[0], arg[1]);
		break;
	case APMP_CALL_SET_ID:
	case APMP_CALL_RESET_BUSES:
	case APMP_CALL_DEASSIGN:
		call->reply.error = configure(w, p, call);
		break;
	case APMP_CALL_REMOVE_INSTANCE:
		ck_assert_uint_lt(apmp_identity_id(arg[0]), WORLD_PARTITIONS);
		ck_assert_uint_eq(party_identity(&w->party[apmp_identity_id(arg[0])]), arg[0]);
		world_fence(w, apmp_identity_id(arg[0]));
		break;
	case APMP_CALL_MIGRATE_CPU:
		call->reply.error = migrate_cpu(w, p, arg);
		break;
	default:
		ck_abort_msg("no such callback: %u", call->request.op);
	}
	return 0;
}

/* An environment, and a read-only mapping of the tree at an address of its own. */
static void party_init(struct party *p, struct world *w, uint32_t id)
{
	struct hwrpb *hwrpb = p->hwrpb;
	void *tree = mmap(NULL, w->tree_size, PROT_READ, MAP_SHARED, w->tree_fd, 0);

	ck_assert_ptr_ne(tree, MAP_FAILED);
	*p = (struct party){.world = w, .id = id, .hwrpb = hwrpb};
	p->env = (struct apmp_env){.now = env_now,
				   .wait = env_wait,
				   .wake = env_wake,
				   .call = env_call,
				   .map = env_map,
				   .reserve = env_reserve,
				   .map_at = env_map_at,
				   .unmap = env_unmap,
				   .point = env_point,
				   .report = env_report,
				   .lines = w->line,
				   .line_count = WORLD_CPUS};
	if (apmp_tree_init(&p->tree, tree, w->tree_size))
		p->tree.header = tree; /* not yet published */
}

static void party_fini(struct party *p)
{
	drop_mappings(p);
	if (p->tree.header)
		ck_assert_int_eq(munmap((void *)(uintptr_t)p->tree.header, p->world->tree_size), 0);
	p->tree.header = NULL;
}

static void *map_memfd(const char *name, uint64_t size, int *ret_fd)
{
	void *base;

	*ret_fd = memfd_create(name, MFD_CLOEXEC);
	ck_assert_int_ge(*ret_fd, 0);
	ck_assert_int_eq(ftruncate(*ret_fd, (off_t)size), 0);
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	ck_assert_ptr_ne(base, MAP_FAILED);
	return base;
}

static int32_t add_node(struct world *w, int32_t parent, enum gct_node_type type, uint64_t id,
			uint64_t flags)
{
	int32_t at = apmp_tree_add(
	    &w->tw, &(struct apmp_tree_spec){
			.parent = parent, .type = type, .id = id, .flags = NODE_HARDWARE | flags});

	ck_assert_int_gt(at, 0);
	return at;
}

/* One SBB: four CPUs, 16 MiB in one descriptor, an I/O processor with two buses. */
static void add_sbb(struct world *w, uint32_t sbb_idx)
{
	int32_t hw = apmp_tree_root(&w->tw, GCT_HW_ROOT);
	int32_t sbb = add_node(w, hw, GCT_SBB, sbb_idx, 0);
	int32_t memory, iop;

	for (uint32_t i = 0; i < 4; i++)
		w->cpu[sbb_idx * 4 + i] = add_node(w, sbb, GCT_CPU, sbb_idx * 4 + i, 0);
	memory = add_node(w, sbb, GCT_MEMORY_SUB, sbb_idx, 0);
	w->ctrl[sbb_idx] = apmp_tree_add(&w->tw, &(struct apmp_tree_spec){.parent = memory,
									  .type = GCT_MEMORY_CTRL,
									  .id = sbb_idx,
									  .config = memory});
	ck_assert_int_gt(w->ctrl[sbb_idx], 0);
	w->desc[sbb_idx] = apmp_tree_add_memory(
	    &w->tw,
	    &(struct apmp_tree_spec){
		.parent = memory, .type = GCT_MEMORY_DESC, .id = sbb_idx, .config = memory},
	    (sbb_idx + 1) * UINT64_C(0x40000000), 8 * APMP_GRANULE);
	ck_assert_int_gt(w->desc[sbb_idx], 0);
	w->sub[sbb_idx] = memory;
	iop = add_node(w, sbb, GCT_IOP, sbb_idx, 0);
	(void)add_node(w, iop, GCT_BUS, sbb_idx * 2, 0);
	(void)add_node(w, iop, GCT_BUS, sbb_idx * 2 + 1, 0);
}

static int32_t community_handle(struct world *w, const char *name)
{
	struct apmp_tree_community c;
	int id = apmp_tree_add_community(&w->tw, name);

	ck_assert_int_ge(id, 0);
	ck_assert_int_eq(apmp_tree_community(&w->tw.tree, (uint32_t)id, &c), 0);
	return c.node.handle;
}

static void add_partitions(struct world *w)
{
	static const struct {
		const char *name;
		uint32_t first_cpu, cpu_count;
	} plan[WORLD_PARTITIONS] = {{"alpha", 0, 2}, {"beta", 2, 2},	 {"gamma", 4, 1},
				    {"delta", 5, 1}, {"stranger", 6, 1}, {"lone", 7, 0}};

	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++) {
		int32_t community = id <= DELTA ? w->lab : id == STRANGER ? w->other : 0;
		struct apmp_tree_partition made;

		ck_assert_int_eq(
		    apmp_tree_add_partition(&w->tw, community, plan[id].name, WORLD_HWRPB_PA(id)),
		    (int)id);
		ck_assert_int_eq(apmp_tree_partition(&w->tw.tree, id, &made), 0);
		for (uint32_t i = 0; i < plan[id].cpu_count; i++) {
			int32_t cpu = w->cpu[plan[id].first_cpu + i];

			apmp_tree_set_owner(&w->tw, cpu, made.node.handle);
			apmp_tree_set_current_owner(&w->tw, cpu, made.node.handle);
			if (i == 0)
				apmp_tree_set_flags(&w->tw, cpu, 0, NODE_PRIMARY);
		}
	}
}

static void build_tree(struct world *w)
{
	const struct apmp_tree_limits limits = {.min_alloc = APMP_GRANULE,
						.min_align = APMP_GRANULE,
						.base_alloc = APMP_GRANULE,
						.base_align = APMP_GRANULE,
						.max_phys_address = UINT64_C(1) << 40,
						.mem_size = 16 * APMP_GRANULE,
						.max_fragments = 8,
						.max_desc = 2,
						.platform = "test"};

	apmp_tree_create(&w->tw, &w->up, w->tree_base, w->tree_size, &limits);
	add_sbb(w, 0);
	add_sbb(w, 1);
	w->lab = community_handle(w, "lab");
	w->other = community_handle(w, "other");
	for (uint32_t i = 0; i < 2; i++) { /* [0096]: what is shared is the community's */
		apmp_tree_set_owner(&w->tw, w->sub[i], w->lab);
		apmp_tree_set_current_owner(&w->tw, w->sub[i], w->lab);
	}
	for (uint32_t r = 0; r < WORLD_RANGES; r++)
		ck_assert_int_eq(apmp_tree_take_memory(&w->tw, w->desc[r], WORLD_RANGE_SIZE, w->lab,
						       GCT_MEM_SHARED, &w->range_pa[r]),
				 0);
	add_partitions(w);
	apmp_tree_publish(&w->tw);
}

static void name_objects(struct world *w)
{
	apmp_update_init(&w->up, &w->console.env, &w->state->journal);
	apmp_update_object(&w->up, APMP_OBJECT_STATE, w->state, sizeof(*w->state));
	apmp_update_object(&w->up, APMP_OBJECT_TREE, w->tree_base, w->tree_size);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		apmp_update_object(&w->up, APMP_OBJECT_HWRPB(id), w->party[id].hwrpb,
				   sizeof(struct hwrpb));
}

void world_init(struct world *w)
{
	*w = (struct world){
	    .now_ns = MSEC,
	    .tree_size = apmp_tree_size(30, 2, 8),
	    .timing = {.tick_ns = 2 * MSEC, .stop_ns = 50 * MSEC, .suspect = 3},
	};
	w->tree_base = map_memfd("tree", w->tree_size, &w->tree_fd);
	w->shared = map_memfd("shared", SHARED_SIZE, &w->shared_fd);
	w->state = calloc(1, sizeof(*w->state));
	ck_assert_ptr_nonnull(w->state);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++) {
		struct hwrpb *hwrpb = aligned_alloc(APMP_CACHE_LINE, sizeof(*hwrpb));

		ck_assert_ptr_nonnull(hwrpb);
		memset(hwrpb, 0, sizeof(*hwrpb));
		w->party[id] = (struct party){.world = w, .id = id, .hwrpb = hwrpb};
	}
	party_init(&w->console, w, APMP_NO_PARTITION);
	name_objects(w);
	build_tree(w);
}

void world_restart_console(struct world *w)
{
	party_fini(&w->console);
	party_init(&w->console, w, APMP_NO_PARTITION);
	name_objects(w);
	ck_assert_int_eq(apmp_tree_adopt(&w->tw, &w->up, w->tree_base, w->tree_size), 0);
}

void world_fini(struct world *w)
{
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++) {
		struct party *p = &w->party[id];

		for (uint32_t i = 0; i < WORLD_MAPPINGS && !p->ended && !p->member.base; i++)
			ck_assert_msg(!p->mapping[i].base, "partition %u left a mapping", id);
		party_fini(p);
		free(p->hwrpb);
	}
	party_fini(&w->console);
	free(w->state);
	ck_assert_int_eq(munmap(w->tree_base, w->tree_size), 0);
	ck_assert_int_eq(munmap(w->shared, SHARED_SIZE), 0);
	close(w->tree_fd);
	close(w->shared_fd);
}

/* The HWRPB of the next life, its present CPUs, and the available ones that are its own. */
static void prepare_hwrpb(struct world *w, uint32_t id, int32_t handle, uint64_t identity)
{
	struct apmp_hwrpb_spec spec = {.pa = WORLD_HWRPB_PA(id),
				       .unique = identity,
				       .tick_ns = w->timing.tick_ns,
				       .stop_ns = w->timing.stop_ns,
				       .suspect = w->timing.suspect,
				       .cpu_count = WORLD_CPUS};
	struct apmp_tree_node cpu;

	for (uint32_t i = 0; i < WORLD_CPUS; i++) {
		ck_assert_int_eq(apmp_tree_node(&w->tw.tree, w->cpu[i], &cpu), 0);
		if (cpu.current_owner == handle && cpu.flags & NODE_PRIMARY)
			spec.primary = i;
	}
	apmp_hwrpb_prepare(w->party[id].hwrpb, &spec);
	for (uint32_t i = 0; i < WORLD_CPUS; i++) {
		ck_assert_int_eq(apmp_tree_node(&w->tw.tree, w->cpu[i], &cpu), 0);
		apmp_hwrpb_set_flags(&w->up, w->party[id].hwrpb, id, i, 0,
				     HWRPB_PP | (cpu.current_owner == handle ? HWRPB_PA : 0));
	}
}

struct party *world_boot(struct world *w, uint32_t id)
{
	static const char *const names[WORLD_PARTITIONS] = {"ALPHA", "BETA",	 "GAMMA",
							    "DELTA", "STRANGER", "LONE"};
	struct party *p = &w->party[id];
	struct apmp_tree_partition self;
	uint64_t incarnation;

	if (p->env.self)
		world_fence(w, id);
	party_fini(p);
	party_init(p, w, id);
	ck_assert_int_eq(apmp_tree_partition(&w->tw.tree, id, &self), 0);
	apmp_update_begin(&w->up);
	incarnation = apmp_tree_partition_boot(&w->tw, id, names[id]);
	p->env.self = apmp_identity(id, incarnation);
	prepare_hwrpb(w, id, self.node.handle, p->env.self);
	apmp_copy_out(&p->cpu_sets[3], &p->hwrpb->autostart, sizeof(p->cpu_sets[3]));
	apmp_update_commit(&w->up);
	if (id <= STRANGER)
		ck_assert_int_eq(apmp_member_init(&p->member, &p->env, &p->tree, WORLD_HWRPB_PA(id),
						  &w->timing, p->cpu_sets),
				 0);
	return p;
}

struct party *world_member(struct world *w, uint32_t id)
{
	struct party *p = world_boot(w, id);

	ck_assert_int_eq(party_run(p, party_enter), 0);
	return p;
}

void world_fence(struct world *w, uint32_t id)
{
	struct party *p = &w->party[id];

	p->ended = true;
	drop_mappings(p);
	apmp_tree_set_fenced(&w->tw, id, apmp_identity_incarnation(p->env.self));
}

void world_tick(struct world *w)
{
	w->now_ns += w->timing.tick_ns;
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++) {
		struct party *p = &w->party[id];
		int work = p->env.self && !p->ended && !p->hung ? party_run(p, party_tick) : 0;

		if (work > 0 && work != PARTY_DIED)
			work = party_run(p, party_work);
		if (work == -EOWNERDEAD)
			p->bugchecked = p->ended = true;
		else
			ck_assert_msg(work >= 0, "partition %u: %s", id, strerror(-work));
	}
}

void world_ticks(struct world *w, uint32_t count)
{
	while (count-- > 0)
		world_tick(w);
}

int party_run(struct party *p, int (*operation)(struct party *p))
{
	ck_assert_msg(!p->ended, "partition %u has ended", p->id);
	if (setjmp(p->end)) {
		drop_mappings(p);
		return PARTY_DIED;
	}
	return operation(p);
}

void party_arm(struct party *p, enum apmp_point point, uint32_t nth)
{
	p->die_at = point;
	p->die_nth = nth;
}

int party_enter(struct party *p)
{
	return apmp_member_enter(&p->member);
}

int party_leave(struct party *p)
{
	return apmp_member_leave(&p->member);
}

int party_work(struct party *p)
{
	return apmp_member_work(&p->member);
}

int party_tick(struct party *p)
{
	return apmp_member_tick(&p->member);
}

uint32_t party_passed(const struct party *p, enum apmp_point point)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->trail_count; i++)
		count += p->trail[i] == point;
	return count;
}

struct apmp_db *party_db(struct party *p)
{
	return apmp_load_relaxed(&p->member.cell);
}

uint64_t party_identity(const struct party *p)
{
	return p->env.self;
}

struct apmp_cpu_words world_cpu_words(struct world *w, uint32_t cpu_idx)
{
	return (struct apmp_cpu_words){.transit = &w->state->transit[cpu_idx],
				       .arrival = &w->state->arrival[cpu_idx]};
}

static struct world *world_of(struct apmp_cpu_mover *m)
{
	return (struct world *)(void *)((unsigned char *)m->tw - offsetof(struct world, tw));
}

static struct hwrpb *mover_hwrpb(struct apmp_cpu_mover *m, uint32_t id)
{
	return id < WORLD_PARTITIONS ? world_of(m)->party[id].hwrpb : NULL;
}

static uint64_t mover_life(struct apmp_cpu_mover *m, uint32_t id)
{
	return id < WORLD_PARTITIONS ? apmp_tree_present(&m->tw->tree, id) : 0;
}

static uint64_t no_targets(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	(void)m;
	(void)id;
	(void)cpu_idx;
	return 0;
}

static int host_agrees(struct apmp_cpu_mover *m, uint32_t id, uint32_t more)
{
	(void)m;
	(void)id;
	(void)more;
	return 0;
}

struct apmp_cpu_mover world_mover(struct world *w)
{
	return (struct apmp_cpu_mover){.tw = &w->tw,
				       .cpu_count = WORLD_CPUS,
				       .transit = w->state->transit,
				       .arrival = w->state->arrival,
				       .source = w->state->source,
				       .hwrpb = mover_hwrpb,
				       .life = mover_life,
				       .targets = no_targets,
				       .host_cpus = host_agrees};
}

uint64_t world_pfn(struct world *w)
{
	uint64_t pfn = apmp_tree_database(&w->tw.tree, w->lab).info & UINT32_MAX;

	return pfn ? pfn : w->range_pa[0] / APMP_PAGE_SIZE;
}

struct apmp_db *world_db(struct world *w)
{
	uint64_t pa = world_pfn(w) * APMP_PAGE_SIZE;
	uint32_t r = pa >= w->range_pa[1] && pa < w->range_pa[1] + WORLD_RANGE_SIZE;

	ck_assert(pa - w->range_pa[r] < WORLD_RANGE_SIZE);
	return (struct apmp_db *)(void *)(w->shared + r * WORLD_RANGE_SIZE + pa - w->range_pa[r]);
}

static void check_member(struct world *w, struct apmp_db *db, uint64_t members, uint32_t id)
{
	const struct apmp_db_node *node = &db->node[id];

	ck_assert_uint_eq(apmp_load_relaxed(&node->identity), party_identity(&w->party[id]));
	ck_assert_uint_eq(apmp_tree_id_field(&w->tw.tree, id),
			  apmp_load_relaxed(&db->header.incarnation));
	ck_assert_uint_eq(apmp_load_relaxed(&node->state), APMP_NODE_MEMBER);
	ck_assert_uint_eq(apmp_load_relaxed(&node->little_brother), apmp_ring_little(members, id));
	ck_assert_uint_eq(apmp_load_relaxed(&node->big_brother), apmp_ring_big(members, id));
	ck_assert_str_eq(node->name, w->party[id].member.name);
	ck_assert(w->party[id].member.joined);
}

void world_check_set(struct world *w, uint64_t members)
{
	struct apmp_db *db = world_db(w), *whole = db;
	struct apmp_db_header *h = &db->header;
	const struct apmp_db_cpu_sets *slot;

	if (members) /* its pages may be scattered: a member has mapped them in their order */
		whole = party_db(&w->party[__builtin_ctzll(members)]);
	slot = apmp_service_segment(
	    whole, (uint64_t)apmp_load_relaxed(&h->page_count) * APMP_PAGE_SIZE, APMP_SERVICE_cpu);

	ck_assert_uint_eq(apmp_load_relaxed(&h->lock), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->state),
			  members ? APMP_DB_OPERATIONAL : APMP_DB_EMPTY);
	ck_assert_uint_eq(apmp_load_relaxed(&h->members), members);
	ck_assert_uint_eq(apmp_load_relaxed(&h->crashing), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->fingerprint), apmp_fingerprint(sizeof(*db)));
	ck_assert_uint_eq(apmp_load_relaxed(&h->members_off),
			  offsetof(struct apmp_db_header, members));
	ck_assert_uint_eq(apmp_load_relaxed(&h->first_pfn), world_pfn(w));
	ck_assert_uint_eq(apmp_load_relaxed(&h->expected), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->incarnation),
			  apmp_tree_database(&w->tw.tree, w->lab).id);
	ck_assert_ptr_nonnull(slot);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		bool member = members >> id & 1;

		if (member)
			check_member(w, db, members, id);
		ck_assert_msg(apmp_load_relaxed(&slot[id].identity) ==
				  (member ? party_identity(&w->party[id]) : 0),
			      "service cpu: slot of partition %u", id);
	}
}
