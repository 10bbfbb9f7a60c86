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
 * WRITERS   The clock thread alone; dead[] and dead_mask are handed to the primary, which adds to
 *           them only whom it quarantines.
 * ORDERING  beat_of before heartbeat (release); dead[] before dead_mask (release), acquired by
 *           apmp__fence_dead.
 * LIMITS    Time is counted in own ticks that were not late: who was itself kept from running, or
 *           slept with its host, suspects nobody for it.
 */
#include <errno.h>

#include "shm/lock_internal.h"

/* One that was silent for some of our ticks, but not for long enough, beats again. */
static void count_silence(struct apmp_member *m, struct apmp_db *db, uint32_t missed)
{
	uint32_t class = 31u - (uint32_t)__builtin_clz(missed);
	_Atomic uint64_t *count =
	    &apmp__own_node(m, db)
		 ->silence[class < APMP_DB_SILENCES ? class : APMP_DB_SILENCES - 1];

	apmp_store_relaxed(count, apmp_load_relaxed(count) + 1);
}

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
	if ((uint64_t)w->missed * m->timing.tick_ns >= m->timing.stop_ns) {
		apmp_store_relaxed(&m->dead[id], w->identity);
		apmp_store_relaxed(&m->judged_ns, m->last_tick_ns);
		apmp_fetch_or(&m->dead_mask, UINT64_C(1) << id);
		*work |= APMP_WORK_FENCE;
	}
}

/* Looks at one instance; true when it is inactive. */
static bool watch(struct apmp_member *m, struct apmp_db *db, uint32_t id, uint64_t identity,
		  bool late, int *work)
{
	struct apmp_watch *w = &m->watch[id];
	uint64_t heartbeat = apmp_load_acquire(&db->node[id].heartbeat);
	bool debugged = apmp_tree_debugged(m->tree, identity);
	bool again = w->identity == identity && w->tick_no + 1 == m->tick_no;

	if (w->tick_no == m->tick_no && w->identity == identity)
		return w->missed >= m->timing.suspect; /* looked at already in this tick */
	w->tick_no = m->tick_no;
	/* When a debugger comes or goes, the silence is counted anew. */
	if (!again || w->heartbeat != heartbeat || w->debugged != debugged) {
		if (again && w->heartbeat != heartbeat && w->missed && !w->debugged)
			count_silence(m, db, w->missed);
		begin(m, id, identity, heartbeat);
		w->debugged = debugged;
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
		inactive = watch(m, db, id, identity, late, work);
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
static void watch_lock_holder(struct apmp_member *m, struct apmp_db *db, bool late, int *work)
{
	uint64_t holder = apmp__db_lock_holder(db);
	uint32_t id = apmp_identity_id(holder);

	if (!holder || holder == m->env->self || id == APMP_NO_PARTITION)
		return;
	if (!apmp_tree_alive(m->tree, holder))
		*work |= APMP_WORK_RECOVER;
	else if (m->watch[id].tick_no != m->tick_no) /* not just watched as a brother */
		(void)watch(m, db, id, holder, late, work);
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
	/* A member writes its own identity and nobody else does: the set was made anew without us.
	 * Watching is read on both sides, as the primary may be joining or leaving: it can't leave
	 * and join again while we are in a tick (set_cell). */
	if (apmp_load_acquire(&m->watching) && apmp_load_acquire(&own->identity) != env->self &&
	    apmp_load_acquire(&m->watching))
		return -EOWNERDEAD;
	m->last_tick_ns = now;
	m->tick_no++;
	if (apmp_load_relaxed(&own->beat_of) != env->self)
		apmp_store_release(&own->beat_of, env->self);
	apmp_store_release(&own->heartbeat, apmp_load_relaxed(&own->heartbeat) + 1);
	APMP_POINT(env, tick_beat);
	if (apmp_load_acquire(&m->watching)) {
		uint32_t count = watch_brothers(m, db, late, &work);

		APMP_POINT_ARG(env, tick_watch, count);
		/* A bugcheck bit that is still there was for an earlier life. */
		if (apmp_load_relaxed(&own->reasons) & ~(uint64_t)APMP_REASON_BUGCHECK ||
		    apmp_load_relaxed(&db->header.validate) >> m->id & 1 || apmp__locks_claiming(m))
			work |= APMP_WORK_RECOVER;
	}
	watch_lock_holder(m, db, late, &work); /* last: it may have been watched as a brother */
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
