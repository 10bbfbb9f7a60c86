/*
 * invariant.c - what must hold at each store to the database, and when all is quiet.
 *
 * ALWAYS    Each word is written by whom its W: in shm/layout_db.h allows; one holder of the lock,
 *           taken over only from the fenced; a fenced instance writes nothing; no living member is
 *           taken out of the mask but by itself; no set is created over living members; the set's
 *           incarnation rises; at each release of the lock the ring is that of the mask, and
 * services know members only; nobody is fenced who beat less than `stop` ago; no host pointer is
 *           stored; an update of the tree that a dead console left open is taken back wholly.
 * QUIET     Without faults, within a bounded time: members are exactly who lives, the lock is free,
 *           state operational, everybody validated, nothing asked is unanswered; each member that
 *           was lost by this set has been reported.
 * LIMITS    Who stood still between a look and the judgement that follows may judge late.
 * NOT HERE  Progress of single steps: scenario.c bounds the time to quiet.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/ring.h"
#include "shm/service.h"

#define WAITERS	    UINT64_C(0x8000) /* shm/db_lock.c */
#define PRINTED_MAX 20u
/* The console's journal lies in memory of its own. */
#define JOURNAL_OPEN (SIM_PRIVATE_KEY(SIM_MAX_INSTANCES) + offsetof(struct apmp_journal, open))
/* Clocks jitter and count own ticks, so silence may be a little shorter than `stop`. */
#define SILENCE_MIN(stop) ((stop) / 8 * 6)
/* The judgement follows within so many ticks of silence, or is too late. */
#define JUDGEMENT_TICKS 3u

bool sim_verbose, sim_trace;
void (*sim_print_replay)(FILE *out);

/* Where the database of the last set is, by the tree. */
struct apmp_db *sim_db(void)
{
	uint64_t pfn = (uint32_t)sim.community->apmpdb_info;

	return (void *)(sim_physical + (pfn ? pfn * APMP_PAGE_SIZE : SIM_SHARED_PA));
}

/* The granule of shared memory that a word lies in, which may hold a database from its first page
 * on; NULL: it is none of them. */
static struct sim_range *range_at(uint64_t key)
{
	return key >= SIM_SHARED_PA && key < SIM_PHYSICAL
		   ? &sim.range[(key - SIM_SHARED_PA) / APMP_GRANULE]
		   : NULL;
}

static struct apmp_db *db_of(const struct sim_range *range)
{
	return (void *)(sim_physical + SIM_SHARED_PA +
			(uint64_t)(range - sim.range) * APMP_GRANULE);
}

void sim_finding(const char *format, ...)
{
	va_list args;

	sim.findings++;
	if (totals.findings++ >= PRINTED_MAX)
		return;
	printf("finding: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n  seed %llu, access %llu, %.3f ms; replay: ", (unsigned long long)sim.plan.seed,
	       (unsigned long long)sim.accesses, (double)sim.now_ns / SIM_MS);
	sim_print_replay(stdout);
	printf("\n");
	fflush(stdout);
}

void sim_say(const char *format, ...)
{
	va_list args;

	if (!sim_verbose && !sim_trace)
		return;
	printf("%10.3f ms %8llu  ", (double)sim.now_ns / SIM_MS, (unsigned long long)sim.accesses);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* --- at each store --- */

static const char *name_of(const struct sim_instance *in)
{
	return in->member ? in->member->name : "an instance";
}

struct sim_instance *sim_living(uint64_t identity)
{
	uint32_t id = apmp_identity_id(identity);
	struct sim_instance *in = id < sim.plan.instances ? &sim.instance[id] : NULL;

	return in && in->identity == identity && in->life != SIM_FENCED ? in : NULL;
}

/* Whether op on a word at off in a node block is allowed; as layout_db.h says. */
static bool node_rule(uint64_t off, bool own, bool holds, enum sim_op op)
{
	if (off < offsetof(struct apmp_db_node, heartbeat))
		return own || op == SIM_RMW;
	if (off < offsetof(struct apmp_db_node, identity) ||
	    (off >= offsetof(struct apmp_db_node, silence) &&
	     off < offsetof(struct apmp_db_node, name)))
		return own;
	switch (off) {
	case offsetof(struct apmp_db_node, identity):
	case offsetof(struct apmp_db_node, state):
	case offsetof(struct apmp_db_node, little_brother):
	case offsetof(struct apmp_db_node, big_brother):
		return holds;
	case offsetof(struct apmp_db_node, little_inactive_ns):
	case offsetof(struct apmp_db_node, validated):
		return own;
	default:
		return own && holds;
	}
}

static void *segment_of(struct apmp_db *db, enum apmp_service_idx service)
{
	return (unsigned char *)db + db->header.segment[service].off;
}

/* The service in whose segment a byte of the database lies, and where there; false: in none. */
static bool service_at(const struct apmp_db *db, uint64_t off, enum apmp_service_idx *ret_service,
		       uint64_t *ret_off)
{
	for (enum apmp_service_idx s = 0; s < APMP_SERVICE_COUNT; s++) {
		const struct apmp_db_segment *segment = &db->header.segment[s];

		if (off < segment->off || off - segment->off >= segment->size)
			continue;
		*ret_service = s;
		*ret_off = off - segment->off;
		return true;
	}
	return false;
}

static bool allowed(const struct sim_instance *in, const struct sim_range *range, uint64_t off,
		    enum sim_op op)
{
	bool holds = range->lock_holder == in->identity;
	struct apmp_db *db = db_of(range);
	enum apmp_service_idx service = APMP_SERVICE_COUNT;
	uint64_t node = off - sizeof(struct apmp_db_header);

	if (range->spoilt)
		return true; /* who has the lock is anybody's guess */
	if (off == offsetof(struct apmp_db_header, lock))
		return op == SIM_RMW;
	if (off == offsetof(struct apmp_db_header, validate))
		return holds || op == SIM_RMW;
	if (off < sizeof(struct apmp_db_header))
		return holds;
	if (off < sizeof(struct apmp_db))
		return node_rule(node % sizeof(struct apmp_db_node),
				 node / sizeof(struct apmp_db_node) == in->id, holds, op);
	if (holds)
		return true;
	if (service_at(db, off, &service, &off) && service == APMP_SERVICE_lock)
		return sim_locks_allowed(in, segment_of(db, APMP_SERVICE_lock), off, op);
	return service == APMP_SERVICE_cpu && off / sizeof(struct apmp_db_cpu_sets) == in->id;
}

static bool is_host_pointer(uint32_t size, uint64_t value)
{
	return size == sizeof(void *) && sim_in_arena((const void *)(uintptr_t)value);
}

/* Who lives and is a member of the set before is a member of the new one, or expected. */
static void check_nobody_lost(const struct sim_instance *in, const struct apmp_db_header *h)
{

	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		struct sim_instance *other = &sim.instance[id];

		if (other != in && sim_living(other->identity) && !other->start &&
		    other->member->joined && !other->leaving &&
		    !((h->members | h->expected) >> id & 1))
			sim_finding("%s has made a set that does not expect %s, who is a living "
				    "member",
				    name_of(in), name_of(other));
	}
}

static void check_creation(struct sim_instance *in, struct sim_range *range, uint64_t off,
			   uint64_t value)
{
	if (off == offsetof(struct apmp_db_header, state) && value == APMP_DB_INITIALIZING)
		range->creating = in->identity;
	if (off == offsetof(struct apmp_db_header, incarnation)) {
		/* Where a stray writer was, two may have got the lock. */
		if (!range->spoilt &&
		    (range->creating != in->identity || value <= range->last_incarnation))
			sim_finding("%s sets the set's incarnation to %llu after %llu%s",
				    name_of(in), (unsigned long long)value,
				    (unsigned long long)range->last_incarnation,
				    range->creating == in->identity ? "" : " without creating it");
		range->creating_incarnation = value;
	}
	if (off == offsetof(struct apmp_db_header, reformed_of))
		sim_locks_created(value != 0);
	if (off == offsetof(struct apmp_db_header, state) && value == APMP_DB_OPERATIONAL &&
	    range->creating == in->identity) {
		range->creating = 0;
		range->last_incarnation = range->creating_incarnation;
		check_nobody_lost(in, &db_of(range)->header);
	}
}

/* The tree as it is now comes back when the console dies before it commits. */
static void check_update_begins(void)
{
	sim_stores_drain(sim.current);
	memcpy(sim.tree_before, sim_physical + SIM_TREE_PA, sim.tree_size);
}

void sim_check_write(uint64_t key, uint32_t size, enum sim_op op, uint64_t value)
{
	struct sim_instance *in = sim.current->in;
	struct sim_range *range = range_at(key);
	uint64_t off = key % APMP_GRANULE;
	char name[64];

	if (sim_trace && sim_verbose)
		sim_say("%s %s %s %u = %#llx", in ? name_of(in) : "console",
			op == SIM_RMW ? "rmw  " : "store", sim_key_name(key, name, sizeof(name)),
			size, (unsigned long long)value);
	if (in && in->life == SIM_FENCED)
		sim_finding("%s is fenced and writes %s", name_of(in),
			    sim_key_name(key, name, sizeof(name)));
	if (key < SIM_PHYSICAL && is_host_pointer(size, value))
		sim_finding("a host pointer is stored in %s",
			    sim_key_name(key, name, sizeof(name)));
	if (key == JOURNAL_OPEN && value && sim.tree_before) /* of updates alone: see there */
		check_update_begins();
	sim_check_cpu_write(key, op, value);
	if (!range)
		return;
	if (!in || !allowed(in, range, off, op))
		sim_finding("%s must not write %s: lock holder is %#llx",
			    in ? name_of(in) : "the console", sim_key_name(key, name, sizeof(name)),
			    (unsigned long long)range->lock_holder);
	else
		check_creation(in, range, off, value);
}

/* The identity in a partition's slot of service "cpu". */
static uint64_t service_identity(struct apmp_db *db, uint32_t id)
{
	const struct apmp_db_cpu_sets *slot = segment_of(db, APMP_SERVICE_cpu);

	return slot[id].identity;
}

/* At a release by its holder the database is whole. */
static void check_released(const struct sim_instance *in, struct apmp_db *db)
{
	uint64_t members = db->header.members;
	uint32_t state = db->header.state;

	/* A set that another has replaced is left as it is. */
	if (sim.spoils && (db != sim_db() || db->header.incarnation != sim.community->apmpdb_id))
		return;
	if (state != (members ? APMP_DB_OPERATIONAL : APMP_DB_EMPTY))
		sim_finding("%s releases the lock with members %#llx in state %u", name_of(in),
			    (unsigned long long)members, state);
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		if (!(members >> id & 1) && service_identity(db, id))
			sim_finding(
			    "%s releases the lock, p%u is no member, but service cpu has it",
			    name_of(in), id);
	for (uint64_t left = members; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		if (apmp_identity_id(db->node[id].identity) != id)
			sim_finding("%s releases the lock, member %u has identity %#llx",
				    name_of(in), id, (unsigned long long)db->node[id].identity);
		if (db->node[id].little_brother != apmp_ring_little(members, id) ||
		    db->node[id].big_brother != apmp_ring_big(members, id))
			sim_finding("%s releases the lock, members %#llx, but %u has little "
				    "brother %u and big brother %u",
				    name_of(in), (unsigned long long)members, id,
				    db->node[id].little_brother, db->node[id].big_brother);
	}
}

static void check_lock(struct sim_instance *in, struct sim_range *range, uint64_t old,
		       uint64_t value)
{
	old &= ~WAITERS;
	value &= ~WAITERS;
	if (old == value)
		return;
	if (range->spoilt) {
		range->lock_holder = value;
		return;
	}
	if (value == 0) {
		if (old != in->identity)
			sim_finding("%s releases the lock of %#llx", name_of(in),
				    (unsigned long long)old);
		check_released(in, db_of(range));
	} else if (value != in->identity || sim_living(old)) {
		sim_finding("%s puts %#llx into the lock that %#llx holds, who lives", name_of(in),
			    (unsigned long long)value, (unsigned long long)old);
	}
	range->lock_holder = value;
	if (value)
		sim_fault_lock_taken();
}

/* Whether an instance has been silent long enough to be taken for dead, or was just now. */
static bool silent(const struct sim_instance *in)
{
	return sim.now_ns - in->last_beat_ns >= SILENCE_MIN(sim.plan.timing.stop_ns) ||
	       in->last_silence_end_ns + JUDGEMENT_TICKS * sim.plan.timing.tick_ns > sim.now_ns;
}

/* Whether it stood still just now: between its look and its judgement, perhaps. */
static bool stood_still(const struct sim_instance *in)
{
	return in->stalled_until_ns + JUDGEMENT_TICKS * sim.plan.timing.tick_ns > sim.now_ns;
}

void sim_check_beat(struct sim_instance *in)
{
	if (sim.now_ns - in->last_beat_ns >= SILENCE_MIN(sim.plan.timing.stop_ns))
		in->last_silence_end_ns = sim.now_ns;
	in->last_beat_ns = sim.now_ns;
	/* One beat may be under way when it is told. */
	if (in->told == in->identity && ++in->beats_since_told == 2 && !sim.spoils)
		sim_finding("%s was told that it was judged dead, and goes on", name_of(in));
}

/* Whom the bugcheck word names is judged; whom word and bit name is told, and must end. */
static void check_judgement(struct sim_instance *by, struct apmp_db *db, uint64_t off,
			    uint64_t value)
{
	struct apmp_db_node *node = &db->node[off / sizeof(*node)];
	struct sim_instance *in = sim_living(node->bugcheck_of);

	if (!in)
		return;
	if (node->reasons & APMP_REASON_BUGCHECK)
		in->told = in->identity;
	if (off % sizeof(*node) != offsetof(struct apmp_db_node, bugcheck_of) ||
	    value != in->identity)
		return;
	sim_say("%s judges %s dead, silent for %.1f ms", name_of(by), name_of(in),
		(double)(sim.now_ns - in->last_beat_ns) / SIM_MS);
	if (in->life == SIM_ALIVE && !silent(in) && !stood_still(by))
		sim_finding("%s judges %s dead, who beat %.1f ms ago", name_of(by), name_of(in),
			    (double)(sim.now_ns - in->last_beat_ns) / SIM_MS);
	in->judged = value;
}

static void check_gone(const struct sim_instance *in, const struct apmp_db *db, uint64_t gone)
{
	for (; gone; gone &= gone - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(gone);
		struct sim_instance *lost = sim_living(db->node[id].identity);

		if (lost && lost != in)
			sim_finding("%s takes %s out of the members, who lives", name_of(in),
				    name_of(lost));
	}
}

void sim_check_rmw(uint64_t key, uint64_t old, uint64_t value)
{
	struct sim_instance *in = sim.current->in;
	struct sim_range *range = range_at(key);
	uint64_t off = key % APMP_GRANULE, segment_off;
	enum apmp_service_idx service;
	struct apmp_db *db;

	sim_check_runner(key, old, value);
	if (!in || !range)
		return;
	db = db_of(range);
	if (off == offsetof(struct apmp_db_header, lock))
		check_lock(in, range, old, value);
	else if (off == offsetof(struct apmp_db_header, members) && !range->spoilt)
		check_gone(in, db, old & ~value);
	else if (off >= sizeof(struct apmp_db_header) && off < sizeof(struct apmp_db))
		check_judgement(in, db, off - sizeof(struct apmp_db_header), value);
	else if (off >= sizeof(struct apmp_db) && !range->spoilt &&
		 service_at(db, off, &service, &segment_off) && service == APMP_SERVICE_lock)
		sim_locks_rmw(in, segment_of(db, service), segment_off, old, value);
}

/* --- at a fence, at a report --- */

void sim_check_fence(struct sim_instance *in, uint64_t by)
{
	sim_say("%s is fenced by %#llx, silent for %.1f ms", name_of(in), (unsigned long long)by,
		(double)(sim.now_ns - in->last_beat_ns) / SIM_MS);
	if (in->judged != in->identity)
		sim_finding("%s is fenced by %#llx, who has not judged it before", name_of(in),
			    (unsigned long long)by);
}

void sim_check_bugcheck(struct sim_instance *in)
{
	if (in->judged != in->identity)
		sim_finding("%s ends as if judged dead, and nobody did", name_of(in));
}

void sim_check_lost(struct sim_instance *in)
{
	struct apmp_db *db = sim_db();

	if (db->header.state != APMP_DB_INITIALIZING && db->header.members >> in->id & 1 &&
	    db->node[in->id].identity == in->identity)
		in->lost_in[apmp_identity_incarnation(in->identity)] = db->header.incarnation;
}

void sim_check_report(struct sim_instance *by, uint32_t report, uint64_t about)
{
	uint32_t id = apmp_identity_id(about);
	uint64_t incarnation = apmp_identity_incarnation(about);

	if (sim_trace)
		sim_say("%s reports %u about %#llx", name_of(by), report,
			(unsigned long long)about);
	if (report != APMP_REPORT_REMOVED)
		return;
	if (id >= sim.plan.instances || incarnation >= SIM_LIVES)
		sim_finding("%s reports the removal of %#llx, who never was", name_of(by),
			    (unsigned long long)about);
	else if (sim_living(about))
		sim_finding("%s reports the removal of %#llx, who lives", name_of(by),
			    (unsigned long long)about);
	else
		sim.instance[id].reported[incarnation] = true;
}

/* --- the tree --- */

static struct gct_root_node *tree_root(unsigned char *tree)
{
	return (void *)(tree + sizeof(struct gct_header));
}

void sim_check_repaired(bool was_open)
{
	struct gct_root_node *root = tree_root(sim_physical + SIM_TREE_PA);
	struct gct_root_node *before = tree_root(sim.tree_before);

	sim_stores_drain(sim.current);
	if (root->current_level != root->transient_level)
		sim_finding("the console has repaired the tree, but level %llu is not %llu",
			    (unsigned long long)root->current_level,
			    (unsigned long long)root->transient_level);
	/* The levels never go back. */
	before->current_level = root->current_level;
	before->transient_level = root->transient_level;
	if (was_open && memcmp(sim_physical + SIM_TREE_PA, sim.tree_before, sim.tree_size) != 0)
		sim_finding("an update of the tree was open, and is not wholly taken back");
	sim_check_owners();
}

/* --- in the end --- */

static uint64_t living_mask(void)
{
	uint64_t mask = 0;

	for (uint32_t id = 0; id < sim.plan.instances; id++)
		if (sim.instance[id].life == SIM_ALIVE)
			mask |= UINT64_C(1) << id;
	return mask;
}

static const char *unsettled_instance(struct sim_instance *in)
{
	if (in->start || in->exit_noticed || in->boot_wanted || in->request.pending)
		return "the console has not done what it was asked";
	if (in->stalled_until_ns > sim.now_ns)
		return "an instance still stands still";
	for (enum sim_thread t = SIM_PRIMARY; t < SIM_THREADS; t++)
		if (in->life == SIM_DYING && sim_thread_of(in, t)->state != SIM_ENDED)
			return "a killed process still runs";
	if (in->life == SIM_ALIVE && in->leaving)
		return "an instance is leaving";
	if (in->life == SIM_ALIVE && !in->member->joined)
		return "an instance that lives is not a member";
	if (in->life == SIM_ALIVE && in->acquires)
		return "a thread waits for a named lock";
	if (in->life == SIM_ALIVE && sim.plan.locks && !sim_locks_rest(in))
		return "a thread has not got the named locks that nobody holds";
	return NULL;
}

const char *sim_unsettled(void)
{
	struct apmp_db_header *h = &sim_db()->header;
	uint64_t mask = living_mask();
	const char *why;

	if (sim.participant[SIM_CONSOLE].state == SIM_ENDED)
		return "the console is away";
	if (sim_cpus_unsettled())
		return sim_cpus_unsettled();
	for (uint32_t id = 0; id < sim.plan.instances; id++) {
		why = unsettled_instance(&sim.instance[id]);
		if (why)
			return why;
	}
	if (!mask)
		return NULL; /* nobody is left to settle anything */
	if (h->lock & ~WAITERS)
		return "the lock is held";
	if (h->members != mask)
		return "the members are not those who live";
	if (h->state != APMP_DB_OPERATIONAL)
		return "the set is not operational";
	if (h->expected)
		return "a member of the set before is still expected";
	if (h->incarnation != sim.community->apmpdb_id)
		return "the set is not the last that the console gave an ID";
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		if (mask >> id & 1 && sim.instance[id].member->incarnation != h->incarnation)
			return "a member is of another set";
	if (h->validate & mask)
		return "a member has not validated the database";
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		if (mask >> id & 1 &&
		    (sim_db()->node[id].little_brother != apmp_ring_little(mask, id) ||
		     sim_db()->node[id].big_brother != apmp_ring_big(mask, id)))
			return "the ring is not that of the members";
	return NULL;
}

void sim_check_end(void)
{
	uint64_t set = sim_db()->header.incarnation, level;

	sim_check_owners();
	if (apmp_tree_level(&sim.writer.tree, &level))
		sim_finding("an update of the tree is open, and nobody is there to finish it");
	for (uint32_t id = 0; id < sim.plan.instances; id++)
		for (uint32_t life = 1; life < SIM_LIVES; life++)
			if (sim.instance[id].lost_in[life] == set && !sim.spoils &&
			    !sim.instance[id].reported[life])
				sim_finding("set %llu lost its member p%u-%u, and nobody said so",
					    (unsigned long long)set, id, life);
}
