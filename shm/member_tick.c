/*
 * member_tick.c - the clock interrupt: beat, and watch the little brothers [0139-0142].
 *
 * WHAT      Each tick raises our heartbeat and compares that of the little brother with the last
 *           tick's.  A silent one is inactive after `suspect` ticks; then its little brother is
 *           watched too, up to APMP_WATCH_MAX; after `stop` it is judged dead and left to the
 *           primary to fence.  Silence only suspects: nothing is recovered here.
 *           Whom a debugger holds (gct_partition_node.debugged) becomes inactive, as it watches
 *           nobody meanwhile, but is neither suspected nor judged; the count begins anew when the
 *           debugger goes.
 *           Whoever holds the database lock is watched by all, since a joiner has no big brother.
 * WRITERS   The clock thread alone; dead[], judged_ns[] and dead_mask are handed to the primary.
 * ORDERING  beat_of before heartbeat (release); dead[] and judged_ns[] before dead_mask (release),
 *           acquired by apmp__fence_dead.
 * LIMITS    Time is counted in own ticks that were not late: who was itself kept from running, or
 *           slept with its host, suspects nobody for it.
 */
#include <errno.h>

#include "shm/lock_internal.h"
#include "shm/ring.h"

/* Patience with who comes over, as a multiple of `stop`: it needs the console twice before it beats
 * in the new range, and the console may just be restarting. */
#define EXPECTED_STOPS 4u

/* It beats, or is another life: what was judged and not yet acted on is taken back. */
static void begin(struct apmp_member *m, uint32_t id, uint64_t identity, uint64_t heartbeat)
{
	struct apmp_watch *w = &m->watch[id];

	apmp_fetch_and(&m->dead_mask, ~(UINT64_C(1) << id));
	if (w->identity == identity && w->heartbeat != heartbeat && !w->debugged &&
	    w->missed >= m->timing.suspect)
		m->env->report(m->env, APMP_REPORT_UNSUSPECTED, identity);
	w->identity = identity;
	w->heartbeat = heartbeat;
	w->missed = 0;
}

/* One more tick of silence. */
static void miss(struct apmp_member *m, uint32_t id, int *work)
{
	struct apmp_watch *w = &m->watch[id];

	/* Whom a debugger holds watches nobody meanwhile: inactive, but not suspected. */
	if (w->debugged && w->missed >= m->timing.suspect)
		return;
	w->missed++;
	if (w->debugged)
		return;
	if (w->missed == m->timing.suspect) {
		APMP_POINT_ARG(m->env, tick_suspect, id);
		m->env->report(m->env, APMP_REPORT_SUSPECTED, w->identity);
	}
	if ((uint64_t)w->missed * m->timing.tick_ns >= w->stop_ns) {
		apmp_store_relaxed(&m->dead[id], w->identity);
		apmp_store_relaxed(&m->judged_ns[id], m->last_tick_ns);
		apmp_fetch_or(&m->dead_mask, UINT64_C(1) << id);
		*work |= APMP_WORK_FENCE;
	}
}

/* One that was silent for some of our ticks, but not for long enough, beats again. */
static void count_silence(struct apmp_member *m, struct apmp_db *db, uint32_t missed)
{
	uint32_t class = 31u - (uint32_t)__builtin_clz(missed);
	_Atomic uint64_t *count =
	    &apmp__own_node(m, db)
		 ->silence[class < APMP_DB_SILENCES ? class : APMP_DB_SILENCES - 1];

	apmp_store_relaxed(count, apmp_load_relaxed(count) + 1);
}

/* Looks at one instance; true when it is inactive. */
static bool watch(struct apmp_member *m, struct apmp_db *db, uint32_t id, uint64_t identity,
		  uint64_t stop_ns, bool late, int *work)
{
	struct apmp_watch *w = &m->watch[id];
	uint64_t heartbeat = apmp_load_acquire(&db->node[id].heartbeat);
	bool debugged = apmp_tree_debugged(m->tree, identity);
	bool again = w->identity == identity && w->tick_no + 1 == m->tick_no;

	if (w->tick_no == m->tick_no && w->identity == identity)
		return w->missed >= m->timing.suspect; /* looked at already in this tick */
	w->tick_no = m->tick_no;
	/* When a debugger comes or goes, the silence is counted anew; also of one that has come
	 * over, and has not beaten in this range before. */
	if (!again || w->heartbeat != heartbeat || w->debugged != debugged ||
	    w->stop_ns != stop_ns) {
		if (again && w->missed && w->heartbeat != heartbeat)
			count_silence(m, db, w->missed);
		begin(m, id, identity, heartbeat);
		w->debugged = debugged;
		w->stop_ns = stop_ns;
		return false;
	}
	if (!late && apmp_tree_alive(m->tree, identity))
		miss(m, id, work);
	return w->missed >= m->timing.suspect;
}

/* The little brother, and while each is inactive the one behind it.  Returns how many. */
static uint32_t watch_brothers(struct apmp_member *m, struct apmp_db *db, bool late, int *work)
{
	struct apmp_db_node *own = apmp__own_node(m, db);
	uint32_t id = apmp_load_acquire(&own->little_brother), count = 0;

	while (count < APMP_WATCH_MAX && id != m->id && id < APMP_MAX_PARTITIONS) {
		uint64_t identity = apmp_load_acquire(&db->node[id].identity);
		bool inactive;

		/* Odd, or fenced already: for the primary to find out under the lock. */
		if (apmp_identity_id(identity) != id || !apmp_tree_alive(m->tree, identity)) {
			*work |= APMP_WORK_RECOVER;
			return count;
		}
		inactive = watch(m, db, id, identity, m->timing.stop_ns, late, work);
		if (count++ == 0)
			apmp_store_relaxed(&own->little_inactive_ns,
					   m->watch[id].missed * m->timing.tick_ns);
		if (!inactive)
			break;
		id = apmp_load_acquire(&db->node[id].little_brother);
	}
	return count;
}

/* A dead lock holder keeps everybody out, member or not: all look. */
static void watch_lock_holder(struct apmp_member *m, struct apmp_db *db, uint64_t holder, bool late,
			      int *work)
{
	uint32_t id = apmp_identity_id(holder);

	if (holder == m->env->self)
		*work |= APMP_WORK_RECOVER; /* of a stray store, if the primary doesn't hold it */
	if (!holder || holder == m->env->self || id == APMP_NO_PARTITION)
		return;
	if (!apmp__db_may_hold(m, db, holder))
		*work |= APMP_WORK_RECOVER;
	else if (m->watch[id].tick_no != m->tick_no) /* not just watched as a brother */
		(void)watch(m, db, id, holder, m->timing.stop_ns, late, work);
}

/* Who has not yet come over to a set that was re-formed beats nowhere that we can see, until the
 * console has mapped it the new range.  Each is watched by who would be its big brother. */
static void watch_expected(struct apmp_member *m, struct apmp_db *db, bool late, int *work)
{
	uint64_t expected = apmp_load_acquire(&db->header.expected);
	uint64_t members = apmp_load_acquire(&db->header.members);

	for (; expected; expected &= expected - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(expected);
		uint64_t identity = apmp_tree_present(m->tree, id);

		if (!identity || !apmp_tree_id_field(m->tree, id) || members >> id & 1)
			*work |= APMP_WORK_RECOVER; /* it will not come, or has */
		else if (apmp_ring_big(members, id) == m->id)
			(void)watch(m, db, id, identity, EXPECTED_STOPS * m->timing.stop_ns, late,
				    work);
	}
}

/* Words that only the lock's holder leaves otherwise, seen while nobody holds it. */
static bool is_unfinished(struct apmp_member *m, struct apmp_db *db)
{
	return !apmp__db_lock_holder(db) &&
	       (apmp_load_acquire(&db->header.state) != APMP_DB_OPERATIONAL ||
		apmp_load_relaxed(&db->header.crashing) ||
		!apmp_ring_is_whole(db, apmp_load_acquire(&db->header.members), m->id));
}

static int tick(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_env *env = m->env;
	struct apmp_db_node *own = apmp__own_node(m, db);
	uint64_t now = env->now(env);
	bool late = m->last_tick_ns && now - m->last_tick_ns > 2 * m->timing.tick_ns;
	int work = 0;

	if (apmp__bugchecked(m, db))
		return -EOWNERDEAD;
	m->last_tick_ns = now;
	m->tick_no++;
	if (apmp_load_relaxed(&own->beat_of) != env->self)
		apmp_store_release(&own->beat_of, env->self);
	apmp_store_release(&own->heartbeat, apmp_load_relaxed(&own->heartbeat) + 1);
	APMP_POINT(env, tick_beat);
	if (apmp__db_moved(m))
		return APMP_WORK_RECOVER; /* nobody is judged by what the set has given up */
	if (apmp_load_acquire(&m->watching)) {
		uint32_t count;

		if (apmp__db_odd(m, db))
			return APMP_WORK_RECOVER;
		apmp__cpu_publish_depth(m, db);
		count = watch_brothers(m, db, late, &work);
		watch_expected(m, db, late, &work);
		APMP_POINT_ARG(env, tick_watch, count);
		/* A bugcheck bit that is still there was for an earlier life. */
		if (apmp_load_relaxed(&own->reasons) & ~(uint64_t)APMP_REASON_BUGCHECK ||
		    apmp_load_relaxed(&db->header.validate) >> m->id & 1 ||
		    apmp__locks_claiming(m) || apmp__lock_memory_is_old(m) || is_unfinished(m, db))
			work |= APMP_WORK_RECOVER;
	}
	/* Last: they may have been watched as brothers. */
	watch_lock_holder(m, db, apmp__db_lock_holder(db), late, &work);
	/* Who joins has no little brother, and keeps all others who could look from joining. */
	watch_lock_holder(m, db, apmp_load_relaxed(&m->waits_for), late, &work);
	return work;
}

int apmp_member_tick(struct apmp_member *m)
{
	struct apmp_db *db;
	int work = 0;

	atomic_store(&m->in_tick, APMP_TICK_IN); /* see set_cell in member_map.c */
	db = atomic_load(&m->cell);
	if (db)
		work = tick(m, db);
	if (atomic_exchange(&m->in_tick, APMP_TICK_OUT) == APMP_TICK_AWAITED)
		m->env->wake(m->env, &m->in_tick, 1);
	return work;
}
