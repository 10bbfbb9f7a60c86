/*
 * update_exhaust.c - the console dies at every access of every kind of update, and so does the next
 * one at every access of its repair.
 *
 * WHAT      A dry run makes the request with nobody else there, counts the console's accesses and
 *           keeps what memory was after each update (the boundaries).  A request is a function of
 *           memory alone and readers store nothing, so access number k is the same in every run.
 *           Then, for each access: two instances read all the time, under the level protocol, with
 *           a seeded interleaving; the console ends in place of that access; the next one repairs;
 *           and it is asked again.
 *           Then, for each store of the request: the next console ends at each access of its
 *           repair, and one more repairs.  What a dead console has left is memory and nothing
 *           else, so all that die between two stores leave the same.
 * JUDGED    Once repaired, memory is the boundary before or the one after, byte for byte (levels
 *           aside, and what lies beyond first_free).  Asked again, a request that was taken back
 *           gives what it gives undisturbed.  Whoever reads a level that was at rest before and
 *           after has read a boundary, and never an older one than before; a reader at any other
 *           time gets an error at worst.  Who lives is alive at any time, in words of their own.
 * LIMITS    A console's private memory is not part of it: what it has answered is not known here
 *           (tests/system/test_storm.py).
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_update.h"
#include "shm/assert.h"

#define RESTART_MAX  8000u /* accesses of others, at most, until the next console begins */
#define RUN_BOUND_NS (2000 * SIM_MS)

enum phase { MAKING, REPAIRING, IDLE };

static struct {
	const struct update_request *request;
	struct update_image crash; /* what a dead console left */
	enum phase phase;
	uint64_t accesses[2]; /* of the console, in each phase */
	uint64_t kill_at[2];  /* 0: not */
	const struct sim_search *search;
	uint64_t run;	      /* number of this one */
	uint64_t *store_note; /* the dry run: where to note which accesses are stores */
	uint32_t store_count;
	uint32_t deaths;
	bool done, reading, leaving_crash;
} now;

#define STORES_MAX 8192u
static uint64_t stores[STORES_MAX];

/* --- the console --- */

void update_note(enum sim_op op)
{
	if (sim.current->idx != SIM_CONSOLE || now.phase == IDLE)
		return;
	now.accesses[now.phase]++;
	if (now.store_note && op != SIM_LOAD) {
		apmp_assert(now.store_count < STORES_MAX);
		now.store_note[now.store_count++] = now.accesses[now.phase];
	}
	if (now.accesses[now.phase] != now.kill_at[now.phase])
		return;
	now.deaths++;
	sim.console_kills++;
	sim.console_back_ns = sim.now_ns + sim_chance(RESTART_MAX) * sim.plan.cost_ns;
	sim.next_event_ns = sim.console_back_ns;
	sim_participant_end(sim.current);
}

/* What is in memory, named by a boundary. */
static const char *judge(uint32_t first, uint32_t last)
{
	const char *why = NULL;

	for (uint32_t b = first; b <= last && b < world.boundary_count; b++) {
		const char *differs = update_image_differs(&world.boundary[b]);

		if (!differs)
			return NULL;
		why = why ? why : differs;
	}
	return why;
}

/* The boundary that memory is at. */
static uint32_t boundary_now(void)
{
	uint32_t b = 0;

	while (b < world.boundary_count && update_image_differs(&world.boundary[b]))
		b++;
	return b;
}

static void make(void)
{
	now.phase = MAKING;
	now.request->make();
	now.phase = IDLE;
}

/* A request that was taken back before its first update was whole is asked again. */
static void ask_again(void)
{
	world.boundaries_passed = 0;
	now.kill_at[MAKING] = 0;
	make();
	sim_stores_drain(sim.current);
	if (judge(world.boundary_count - 1, world.boundary_count - 1))
		sim_finding("%s, asked again after a death: %s", now.request->name,
			    judge(world.boundary_count - 1, world.boundary_count - 1));
}

static void console_restarted(void *arg)
{
	const char *why;
	int err;

	(void)arg;
	now.accesses[REPAIRING] = 0;
	now.phase = REPAIRING;
	update_world_open(now.reading); /* else it would cost more than all the rest */
	err = apmp_tree_adopt(&sim.writer, &sim.update, sim.console_tree, sim.tree_size);
	if (!err)
		err = apmp_update_repair(&sim.update);
	now.phase = IDLE;
	sim_stores_drain(sim.current);
	why = judge(world.boundaries_passed, world.boundaries_passed + 1);
	if (err < 0)
		sim_finding("%s: the next console can't repair: %s", now.request->name,
			    strerror(-err));
	else if (why)
		sim_finding("%s: neither before nor after: %s", now.request->name, why);
	else if (boundary_now() == 0 && now.reading)
		ask_again();
	now.done = true;
	sim_participant_end(sim.current);
}

static void console_first(void *arg)
{
	(void)arg;
	make();
	now.done = true;
	sim_participant_end(sim.current);
}

void update_event(void)
{
	if (sim.console_back_ns <= sim.now_ns && !now.leaving_crash) {
		sim.console_back_ns = APMP_NEVER;
		now.kill_at[REPAIRING] = now.deaths > 1 ? 0 : now.kill_at[REPAIRING];
		sim_participant_begin(&sim.participant[SIM_CONSOLE], console_restarted, NULL);
	}
	if (now.leaving_crash)
		sim.over = now.deaths || now.done;
	if (now.done && sim_thread_of(&sim.instance[0], SIM_PRIMARY)->state == SIM_ENDED &&
	    sim_thread_of(&sim.instance[1], SIM_PRIMARY)->state == SIM_ENDED)
		sim.over = true;
	if (sim.now_ns > RUN_BOUND_NS) {
		sim_finding("%s: readers never find the tree at rest", now.request->name);
		sim.over = true;
	}
	sim.next_event_ns =
	    sim.console_back_ns < sim.now_ns + SIM_MS ? sim.console_back_ns : sim.now_ns + SIM_MS;
}

/* --- instances that read --- */

/* The boundary that a digest is of; boundary_count: of none. */
static uint32_t boundary_of(uint64_t digest, uint32_t from)
{
	uint32_t b = from;

	while (b < world.boundary_count && world.digest[b] != digest)
		b++;
	return b;
}

/* Reads all of the tree once.  True: it was at rest, and *ret_boundary says what was seen. */
static bool read_tree(const struct apmp_tree *tree, uint32_t *ret_boundary)
{
	uint64_t before, after, digest;
	int err;

	if (apmp_tree_level(tree, &before))
		return false;
	err = update_digest(tree, &digest);
	if (apmp_tree_level(tree, &after) || after != before)
		return false;
	if (err)
		sim_finding("%s: a reader of a tree at rest gets %s", now.request->name,
			    strerror(-err));
	*ret_boundary = boundary_of(digest, *ret_boundary);
	if (!err && *ret_boundary == world.boundary_count)
		sim_finding("%s: a reader of a tree at rest has read a torn one, or an old one",
			    now.request->name);
	return true;
}

static void reader(void *arg)
{
	struct sim_instance *in = arg;
	uint32_t boundary = 0;

	for (;;) {
		bool last = now.done, read = read_tree(&in->tree, &boundary);

		if (boundary == world.boundary_count || (last && read))
			sim_participant_end(sim.current);
	}
}

/* --- runs --- */

static void begin_run(const struct update_image *image, uint64_t seed)
{
	update_image_restore(image);
	sim.random.state = sim_mix(seed);
	sim.now_ns = SIM_MS;
	sim.next_event_ns = sim.now_ns;
	sim.console_back_ns = APMP_NEVER;
	sim.accesses = sim.switches = sim.hash = 0;
	sim.next_fault = APMP_NEVER;
	sim.findings = 0;
	sim.over = false;
	sim.reap = false;
	world.boundaries_passed = 0;
	now.done = false;
	now.deaths = 0;
	now.accesses[MAKING] = now.accesses[REPAIRING] = 0;
	sim.update.depth = 0; /* of a console that is gone */
}

static void count_run(void)
{
	totals.runs++;
	totals.console_kills += now.deaths;
	totals.hash += sim_mix(sim.hash);
	totals.failed += sim.findings != 0;
}

/* Whether this run is wanted, and of this process; counts it. */
static bool wanted(void)
{
	sim_exhaust_number = ++now.run;
	return now.search->first ? now.run == now.search->first
				 : now.run % now.search->workers == now.search->worker;
}

static void begin_readers(void)
{
	now.reading = true;
	for (uint32_t i = 0; i < 2; i++)
		sim_participant_begin(sim_thread_of(&sim.instance[i], SIM_PRIMARY), reader,
				      &sim.instance[i]);
}

/* The request undisturbed: its boundaries, its accesses. */
static void dry_run(void)
{
	world.boundary_count = 0;
	world.noting = true;
	update_boundary();
	now.store_note = stores;
	now.store_count = 0;
	now.kill_at[MAKING] = now.kill_at[REPAIRING] = 0;
	now.reading = false;
	begin_run(&world.boundary[0], sim.plan.seed);
	sim_participant_begin(&sim.participant[SIM_CONSOLE], console_first, NULL);
	sim_schedule();
	now.store_note = NULL;
	world.noting = false;
	if (apmp_update_open(&sim.update) || world.boundary_count < 2 ||
	    update_image_differs(&world.boundary[world.boundary_count - 1]))
		sim_finding("%s has not made its update", now.request->name);
	for (uint32_t b = 0; b < world.boundary_count; b++) {
		update_image_restore(&world.boundary[b]);
		if (update_digest(&sim.writer.tree, &world.digest[b]))
			sim_finding("%s: boundary %u can't be read", now.request->name, b);
	}
	if (!now.search->worker)
		count_run();
}

/* Dies at each access, read by two. */
static void kill_everywhere(void)
{
	uint64_t count = now.accesses[MAKING];

	for (uint64_t k = 1; k <= count; k++) {
		if (!wanted())
			continue;
		now.kill_at[MAKING] = k;
		now.kill_at[REPAIRING] = 0;
		begin_run(&world.boundary[0], sim.plan.seed + k);
		begin_readers();
		sim_participant_begin(&sim.participant[SIM_CONSOLE], console_first, NULL);
		sim_schedule();
		if (now.deaths != 1)
			sim_finding("%s: no console died at access %llu", now.request->name,
				    (unsigned long long)k);
		count_run();
	}
}

/* The memory that a console left which died after its store number s. */
static uint32_t leave_crash(uint32_t s)
{
	now.reading = false;
	now.kill_at[MAKING] = stores[s] + 1;
	now.kill_at[REPAIRING] = 0;
	begin_run(&world.boundary[0], sim.plan.seed);
	sim_participant_begin(&sim.participant[SIM_CONSOLE], console_first, NULL);
	now.leaving_crash = true;
	sim_schedule();
	now.leaving_crash = false;
	update_image_save(&now.crash);
	return world.boundaries_passed;
}

static void kill_repair_everywhere(void)
{
	uint32_t passed;

	for (uint32_t s = 0; s < now.store_count; s++) {
		passed = leave_crash(s);
		for (uint64_t j = 0, count = 1; j <= count; j++) {
			bool is_wanted = wanted();

			if (j && !is_wanted) /* the first tells how many there are */
				continue;
			now.kill_at[REPAIRING] = j;
			begin_run(&now.crash, sim.plan.seed);
			world.boundaries_passed = passed;
			now.deaths = 1;
			sim.console_back_ns = sim.now_ns;
			sim_schedule();
			if (is_wanted)
				count_run();
			if (!j)
				count = now.accesses[REPAIRING];
		}
	}
}

static void exhaust(const struct update_request *request)
{
	now.request = request;
	sim_arena_reset(false);
	now.phase = IDLE;
	update_world_begin();
	if (!now.crash.tree)
		update_image_make(&now.crash);
	if (request->prepare)
		request->prepare();
	for (uint32_t i = 0; i < 2; i++) {
		int err =
		    apmp_tree_init(&sim.instance[i].tree,
				   sim_arena_map(SIM_TREE_PA, sim.tree_size, false), sim.tree_size);

		apmp_assert(!err);
	}
	dry_run();
	kill_everywhere();
	kill_repair_everywhere();
}

void update_exhaust(const struct sim_plan *plan, const struct sim_search *wanted)
{
	now.run = 0;
	now.search = wanted;
	for (uint32_t r = 0; r < update_request_count; r++) {
		sim_begin(plan);
		sim.plan.noting = SIM_NOTING_FIRST;
		exhaust(&update_requests[r]);
	}
	if (update_never_made()) {
		sim_finding("no request here makes %s", update_never_made());
		totals.failed++;
	}
	sim_exhaust_number = 0;
}
