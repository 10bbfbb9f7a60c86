/*
 * db_lock.c - the lock under which the database is created, joined, left and repaired [0133].
 *
 * WHAT      One word with the identity of its holder.  It needs no initialization: whatever stands
 *           there, if it is not the identity of somebody alive by the tree who beats in this
 *           database or is a member, the next one takes the word over by compare-and-swap.  So
 *           garbage, a dead creator and a free lock are alike.
 * STATES    0 free; identity held; identity | WAITERS held, and release must wake.
 * ORDERING  Taking it (acquire) pairs with release's swap; taking it over pairs with the release of
 *           `fenced` in the tree, which is written when the dead holder runs no code any more.
 *           Who locks has said in beat_of that it beats here before: prepare_node, whose stores
 *           come before the word's; who acquires the word sees them.
 * CRASHES   lock_acquired, lock_release: held by the dead until somebody comes, who gets 1 and
 *           must recover.  lock_wait: nothing is left but a WAITERS bit, which costs one wake.
 * LIMITS    A waiter looks again at each tick, so a holder's death is seen at the latest one tick
 *           after its fence, whoever else waits.  No queue: waiters race.
 *           A stray store into beat_of of who holds it and is no member yet makes it nobody's until
 *           that one's clock has put it right, at its next tick: it may be taken from the living
 *           meanwhile.  Of two that create then who has the last ID goes on (member_create.c); what
 *           two have done to one set is found unfinished or odd, and is recovered or re-formed.
 */
#include <errno.h>

#include "shm/assert.h"
#include "shm/member_internal.h"

#define WAITERS UINT64_C(0x8000)

static_assert((APMP_IDENTITY_ID_MASK & 0x8000u) == 0, "the bit is free in an identity");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the futex word is the first half");

/* The half of the lock that a futex can wait on: partition, WAITERS, low incarnation bits. */
static const _Atomic uint32_t *futex_half(struct apmp_db *db)
{
	return (const _Atomic uint32_t *)&db->header.lock;
}

uint64_t apmp__db_lock_holder(const struct apmp_db *db)
{
	return apmp_load_acquire(&db->header.lock) & ~WAITERS;
}

bool apmp__db_may_hold(const struct apmp_member *m, const struct apmp_db *db, uint64_t identity)
{
	const struct apmp_db_node *node;

	if (!apmp_tree_alive(m->tree, identity))
		return false;
	/* A joiner beats before it locks; a member is still one when garbage stands in beat_of. */
	node = &db->node[apmp_identity_id(identity)];
	return apmp_load_relaxed(&node->beat_of) == identity ||
	       apmp_load_relaxed(&node->identity) == identity;
}

/* Waits for a living holder, until it releases, dies or the next tick. */
static void wait_for(struct apmp_member *m, struct apmp_db *db, uint64_t word)
{
	struct apmp_env *env = m->env;

	if (!(word & WAITERS) && !apmp_cas(&db->header.lock, &word, word | WAITERS))
		return;
	APMP_POINT_ARG(env, lock_wait, word & ~WAITERS);
	(void)env->wait(env, futex_half(db), (uint32_t)(word | WAITERS),
			env->now(env) + m->timing.tick_ns); /* looks again in any case */
	apmp__fence_dead(m, db); /* the clock may have judged the holder dead */
}

int apmp__db_lock(struct apmp_member *m)
{
	struct apmp_db *db = apmp__db(m);
	struct apmp_env *env = m->env;

	for (;;) {
		uint64_t word = apmp_load_acquire(&db->header.lock);
		uint64_t holder = word & ~WAITERS;

		if (apmp__bugchecked(m, db))
			return -EOWNERDEAD;
		if (apmp__db_moved(m))
			return -EREMCHG;
		apmp_assert(!m->locked);
		/* Our own identity, which we did not write there, is somebody's stray store. */
		if (holder && holder != env->self && apmp__db_may_hold(m, db, holder)) {
			wait_for(m, db, word);
			continue;
		}
		if (!apmp_cas(&db->header.lock, &word, env->self | (word & WAITERS)))
			continue;
		m->locked = true;
		if (!holder) {
			APMP_POINT(env, lock_acquired);
			return 0;
		}
		APMP_POINT_ARG(env, lock_broken, holder);
		env->report(env, APMP_REPORT_LOCK_BROKEN, holder);
		return 1;
	}
}

/* Whether our identity stood there. */
static bool release(struct apmp_member *m, struct apmp_db *db)
{
	uint64_t word = apmp_load_relaxed(&db->header.lock);

	while ((word & ~WAITERS) == m->env->self) {
		if (!apmp_cas(&db->header.lock, &word, 0))
			continue;
		if (word & WAITERS)
			m->env->wake(m->env, futex_half(db), INT32_MAX);
		return true;
	}
	return false;
}

void apmp__db_unlock(struct apmp_member *m)
{
	APMP_POINT(m->env, lock_release);
	m->locked = false;
	/* Somebody else's store may stand there: then it is not ours to release. */
	if (!release(m, apmp__db(m)))
		m->odd_count++;
}

void apmp__db_unlock_stray(struct apmp_member *m)
{
	if (!m->locked && release(m, apmp__db(m)))
		m->odd_count++;
}
