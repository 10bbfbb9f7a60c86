/*
 * lock_gate.c - lockers use the segment while the primary maps, moves and leaves.
 *
 * WHAT      A locker says that it is inside before it looks where the segment is; the primary takes
 *           the segment away and then waits for who is inside, as set_cell does with the clock.
 * STATES    AWAY -join-> SHUT -> OPEN, or CLAIMING until all of a re-formed set have come -> OPEN;
 *           -mapping given up-> MOVING -join-> SHUT; -leave-> AWAY.  The primary moves all.
 * ORDERING  A full fence on both sides between the store of one's own word and the look at the
 *           other's (table, inside); a locker's may be made by env.fence_all.  What lockers hold is
 *           private and plain: written inside, read by the primary when all are out.
 * LIMITS    A locker that goes out just when the primary begins to wait may not see that it has to
 *           wake it: the primary looks again at the next tick.
 */
#include <errno.h>

#include "shm/lock_internal.h"

/* Until the gate is another than the one seen. */
static void wait_gate(struct apmp_locker *l, uint32_t seen, uint64_t deadline_ns)
{
	struct apmp_env *env = l->m->env;
	uint64_t tick_ns = env->now(env) + l->m->timing.tick_ns;

	(void)env->wait(env, &l->m->locks->gate, seen,
			deadline_ns < tick_ns ? deadline_ns : tick_ns);
}

void apmp__locker_wait(struct apmp_locker *l, uint64_t deadline_ns)
{
	wait_gate(l, apmp_load_acquire(&l->m->locks->gate), deadline_ns);
}

int apmp__locker_enter_slowly(struct apmp_locker *l, bool grant, uint64_t deadline_ns,
			      struct apmp_db_locks **ret_table)
{
	struct apmp_locks *locks = l->m->locks;
	struct apmp_env *env = l->m->env;

	for (;;) {
		uint32_t gate = apmp_load_acquire(&locks->gate);
		uint32_t state;

		atomic_store(&l->inside, LOCKER_IN);
		state = atomic_load(&locks->state);
		if (state == LOCKS_OPEN || (state == LOCKS_CLAIMING && !grant)) {
			*ret_table = locks->segment;
			return 0;
		}
		if (state == LOCKS_AWAY || (state == LOCKS_MOVING && !grant)) {
			*ret_table = NULL;
			return 0;
		}
		apmp__locker_leave(l);
		if (env->now(env) >= deadline_ns)
			return -ETIMEDOUT;
		wait_gate(l, gate, deadline_ns);
	}
}

/* Wakes it when it waits for a lock, which it need not get first. */
static void wake_waiting(struct apmp_member *m, const struct apmp_locker *l)
{
	struct apmp_db_locks *segment = m->locks->segment;
	uint32_t on = apmp_load_acquire(&l->waits_on);
	const _Atomic uint64_t *word = NULL;

	if (!segment)
		return;
	if (on == WAITS_ON_TABLE)
		word = &segment->table;
	else if (on)
		word = &segment->lock[on - 1].word;
	if (word)
		m->env->wake(m->env, (const _Atomic uint32_t *)word, INT32_MAX);
}

void apmp__lockers_stop(struct apmp_member *m, uint32_t state)
{
	struct apmp_locks *locks = m->locks;
	struct apmp_env *env = m->env;

	if (!locks)
		return;
	atomic_store(&locks->state, state);
	atomic_store(&locks->table, NULL);
	if (env->fence_all)
		env->fence_all(env);
	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++) {
		struct apmp_locker *l = &locks->locker[i];

		while (atomic_load(&l->inside) == LOCKER_IN) {
			wake_waiting(m, l);
			(void)env->wait(env, &l->inside, LOCKER_IN,
					env->now(env) + m->timing.tick_ns);
		}
	}
	if (state != LOCKS_SHUT)
		locks->segment = NULL;
}

void apmp__lockers_go(struct apmp_member *m, uint32_t state)
{
	struct apmp_locks *locks = m->locks;

	if (!locks)
		return;
	atomic_store(&locks->state, state);
	atomic_store(&locks->table, state == LOCKS_OPEN ? locks->segment : NULL);
	apmp_fetch_add(&locks->gate, 1);
	m->env->wake(m->env, &locks->gate, INT32_MAX);
}

void apmp__lockers_end(struct apmp_member *m)
{
	struct apmp_locks *locks = m->locks;

	for (uint32_t i = 0; i < APMP_LOCKER_COUNT; i++)
		locks->locker[i].held_count = locks->locker[i].lost = locks->locker[i].broken = 0;
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++)
		apmp_store_relaxed(&locks->open[i].number, 0);
	locks->segment = NULL;
	apmp__lockers_go(m, LOCKS_AWAY);
}

void apmp__lockers_out(struct apmp_member *m)
{
	if (!m->locks || apmp_load_relaxed(&m->locks->state) == LOCKS_AWAY)
		return;
	/* Who is still a member goes where the set has been re-formed. */
	if (m->joined || m->comes_over) {
		apmp__lockers_stop(m, LOCKS_MOVING);
	} else {
		apmp__lockers_stop(m, LOCKS_SHUT);
		apmp__lockers_end(m);
	}
}
