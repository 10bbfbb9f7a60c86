/*
 * cpu_wish.c - a broadcast request for CPUs, and who serves it [0235].
 *
 * WHAT      Who wishes writes how many into its slot and interrupts all members.  One that can
 *           spare a CPU which is in the wisher's potential set claims the slot for that CPU and
 *           pushes it as any other; one that can't says no.  A claim is for one CPU, so no more can
 *           come than were asked for.
 * STATES    of `giver`: 0 -> a member and its CPU -> 0 again, each by compare-and-swap: by
 *             the wisher, when the CPU is its own (then it is counted first), or when the giver is
 *             fenced and it is not;
 *             the giver, when the CPU stays, has gone elsewhere, or comes when the wish is over.
 *           A wish is over when it is fulfilled, or nobody has claimed it and all members said no,
 *           but those that a debugger holds.
 * WRITERS   wish: its owner.  giver: see above.  no: a member its own bit, only under the number of
 *           the wish that it looked at.
 * ORDERING  wish after no (release, acquired by members).  giver 0 after wish (release), acquired
 *           by the compare-and-swap of the next one, who looks at the wish again.
 * CRASHES   The wisher: recovery clears its slot; the push is refused, or the CPU is the dead
 *           one's.  wish_claimed to wish_back: the wisher sees that the giver is fenced, and asks
 *           again; by then the console has decided where the CPU is.
 * LIMITS    A wish ends with its sharing set: in one that is formed anew nobody knows the claims.
 *           What comes to the wisher by another way does not count.
 *           A claim that is a stray store is freed by the wisher, or by whom it names, who is asked
 *           again and again; if it names a CPU of the wisher, one is counted that has not come.
 */
#include "shm/cpu_wish.h"

#include <errno.h>

#include "shm/member_internal.h"

#define COUNT(word)	    ((uint32_t)((word)&0xffu))
#define NUMBER(word)	    ((word) >> 8)
#define WORD(number, count) ((number) << 8 | (count))
/* The half of it under which members say no. */
#define TAG(number) ((number)&UINT64_C(0xffffffff))
/* Who gives a CPU, as it stands in a slot. */
static uint64_t claim_of(uint64_t identity, uint32_t cpu_idx)
{
	return apmp_identity_incarnation(identity) << 32 | (cpu_idx + UINT64_C(1)) << 16 |
	       (identity & APMP_IDENTITY_ID_MASK);
}

static uint32_t claimed_cpu(uint64_t claim)
{
	return (uint32_t)(claim >> 16 & 0xffffu) - 1u;
}

/* Whether it is of a life that there is. */
static bool claims(const struct apmp_member *m, uint64_t claim)
{
	uint32_t id = apmp_identity_id(claim);
	uint64_t present = id == APMP_NO_PARTITION ? 0 : apmp_tree_present(m->tree, id);

	return present && claim == claim_of(present, claimed_cpu(claim));
}

static uint64_t others(const struct apmp_member *m, struct apmp_db *db)
{
	return apmp_load_acquire(&db->header.members) & ~(UINT64_C(1) << m->id);
}

static void ask(struct apmp_member *m, struct apmp_db *db, uint64_t whom)
{
	for (; whom; whom &= whom - 1)
		apmp__interrupt(m, db, (uint32_t)__builtin_ctzll(whom), APMP_REASON_WISH, false);
}

/* Who has a CPU now; APMP_NO_PARTITION: it is on its way, nobody's, or there is none such.
 * -EAGAIN: an update is under way, in which it may be given, and which may be taken back. */
static int whose(const struct apmp_member *m, uint32_t cpu_idx, uint32_t *ret_id)
{
	uint64_t before, after;
	struct apmp_tree_node cpu;
	uint32_t id = APMP_NO_PARTITION;

	if (apmp_tree_level(m->tree, &before))
		return -EAGAIN;
	if (!apmp_tree_cpu(m->tree, cpu_idx, &cpu))
		id = apmp_tree_owner_id(m->tree, cpu.current_owner);
	if (apmp_tree_level(m->tree, &after) || before != after)
		return -EAGAIN;
	*ret_id = id;
	return 0;
}

/* ---- who wishes ---- */

/* Members that have said no to this wish. */
static uint64_t refused(struct apmp_db_cpu_sets *slot, uint64_t number)
{
	uint64_t who = 0;

	for (uint32_t w = 0; w < APMP_MAX_PARTITIONS / 32u; w++) {
		uint64_t no = apmp_load_acquire(&slot->no[w]);

		if (no >> 32 == TAG(number))
			who |= TAG(no) << 32 * w;
	}
	return who;
}

/* Members that have not said no yet.  Whom a debugger holds is not waited for. */
static uint64_t silent(struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint64_t number)
{
	uint64_t who = others(m, apmp__db(m)) & ~refused(slot, number);

	for (uint64_t left = who; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		if (apmp_tree_debugged(m->tree, apmp_tree_present(m->tree, id)))
			who &= ~(UINT64_C(1) << id);
	}
	return who;
}

/* The others that a claim may be of. */
static uint64_t giver_of(const struct apmp_member *m, struct apmp_db *db, uint64_t claim)
{
	return claims(m, claim) ? others(m, db) & UINT64_C(1) << apmp_identity_id(claim) : 0;
}

/* Frees the slot of a claim that has come to its end: the CPU is here, or its giver died.  False:
 * it has not, or that can't be known now. */
static bool settle(struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint64_t claim,
		   struct apmp_wish *wish)
{
	uint32_t cpu_idx = claimed_cpu(claim), at;
	uint64_t giver = giver_of(m, apmp__db(m), claim);
	bool came;

	/* Behind the look at its giver: when that is fenced, where the CPU is has been decided. */
	if (whose(m, cpu_idx, &at))
		return false;
	came = at == m->id;
	if (!came && giver)
		return false;
	if (!came)
		APMP_POINT_ARG(m->env, wish_lost, apmp_identity_id(claim));
	if (came && wish->number && wish->wanted) {
		wish->came++;
		apmp_store_relaxed(&slot->wish, WORD(wish->number, --wish->wanted));
		APMP_POINT_ARG(m->env, wish_came, cpu_idx);
	}
	/* Acquired by the next one's.  When it fails the giver has just given it up himself. */
	(void)apmp_cas(&slot->giver, &claim, 0);
	return true;
}

int apmp_wish_begin(struct apmp_member *m, struct apmp_wish *wish, uint32_t count)
{
	struct apmp_db_cpu_sets *slot = apmp__cpu_slots(m);
	uint64_t giver;

	if (!count || count > APMP_WISH_MAX)
		return -EINVAL;
	if (wish->number)
		return -EALREADY;
	if (!slot)
		return -ENOTCONN;
	slot += m->id;
	giver = apmp_load_acquire(&slot->giver);
	if (giver && !settle(m, slot, giver, wish)) {
		/* Of a stray store: then it knows nothing of that. */
		ask(m, apmp__db(m), giver_of(m, apmp__db(m), giver));
		return -EAGAIN;
	}
	/* In the lower half too no two wishes of near lives are one. */
	wish->serial++;
	wish->number = apmp_identity_incarnation(m->env->self) << 16 | (wish->serial & 0xffffu);
	wish->wanted = count;
	wish->came = 0;
	wish->asked_ns = m->env->now(m->env);
	for (uint32_t w = 0; w < APMP_MAX_PARTITIONS / 32u; w++)
		apmp_store_relaxed(&slot->no[w], TAG(wish->number) << 32);
	/* Acquired by members. */
	apmp_store_release(&slot->wish, WORD(wish->number, count));
	APMP_POINT_ARG(m->env, wish_asked, count);
	ask(m, apmp__db(m), others(m, apmp__db(m)));
	return 0;
}

void apmp_wish_end(struct apmp_member *m, struct apmp_wish *wish)
{
	struct apmp_db_cpu_sets *slot = apmp__cpu_slots(m);

	if (slot && NUMBER(apmp_load_relaxed(&slot[m->id].wish)) == wish->number)
		apmp_store_release(&slot[m->id].wish, WORD(wish->number, 0));
	wish->number = 0;
}

bool apmp_wish_look(struct apmp_member *m, struct apmp_wish *wish)
{
	struct apmp_db_cpu_sets *slot = apmp__cpu_slots(m);
	uint64_t giver, waits_for, now = m->env->now(m->env);
	bool freed;

	if (!slot || NUMBER(apmp_load_relaxed(&slot[m->id].wish)) != wish->number) {
		wish->number = 0; /* the set was formed anew */
		return true;
	}
	slot += m->id;
	giver = apmp_load_acquire(&slot->giver);
	freed = giver && settle(m, slot, giver, wish);
	/* Refusals before the claim: who claims says no only after he has let go. */
	waits_for = silent(m, slot, wish->number);
	if (!wish->wanted || (!waits_for && !apmp_load_acquire(&slot->giver))) {
		apmp_wish_end(m, wish);
		return true;
	}
	/* Who saw the claim let the wish be; and a claim may have come and gone unseen, or be a
	 * stray store that its giver knows nothing of. */
	if (freed || now - wish->asked_ns >= m->timing.tick_ns) {
		wish->asked_ns = now;
		ask(m, apmp__db(m), waits_for | giver_of(m, apmp__db(m), giver));
	}
	return false;
}

/* ---- who gives ---- */

static void say_no(struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint32_t id,
		   uint64_t number)
{
	_Atomic uint64_t *no = &slot->no[m->id / 32];
	uint64_t seen = apmp_load_relaxed(no);

	if (id >= APMP_MAX_PARTITIONS)
		return;
	/* Under another number another wish stands there by now. */
	while (seen >> 32 == TAG(number) && !apmp_cas(no, &seen, seen | UINT64_C(1) << m->id % 32))
		;
	APMP_POINT_ARG(m->env, wish_no, id);
	ask(m, apmp__db(m), UINT64_C(1) << id);
}

/* Gives a claim up, if it still stands; the others may have let the wish be because of it. */
static void give_back(struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint64_t claim)
{
	if (apmp_cas(&slot->giver, &claim, 0))
		ask(m, apmp__db(m), others(m, apmp__db(m)));
}

static void refuse(struct apmp_member *m, struct apmp_db_cpu_sets *slot, struct apmp_gift *gift,
		   bool no)
{
	APMP_POINT_ARG(m->env, wish_back, gift->cpu_idx);
	if (no)
		say_no(m, slot, apmp_identity_id(gift->wisher), gift->number);
	give_back(m, slot, gift->claim);
	gift->wisher = 0;
}

/* What became of the CPU that we give. */
static void follow(struct apmp_member *m, struct apmp_db_cpu_sets *slots, struct apmp_gift *gift,
		   const struct apmp_giver *giver)
{
	uint32_t to = apmp_identity_id(gift->wisher), at;
	struct apmp_db_cpu_sets *slot = &slots[to];
	uint64_t wish = apmp_load_acquire(&slot->wish);

	if (apmp_load_acquire(&slot->giver) != gift->claim ||
	    apmp_load_acquire(&slot->identity) != gift->wisher) {
		gift->wisher = 0; /* it has come, or there is no such wish any more */
	} else if (whose(m, gift->cpu_idx, &at)) {
		return; /* again at the next tick */
	} else if (at == to && (NUMBER(wish) != gift->number || !COUNT(wish))) {
		give_back(m, slot, gift->claim); /* nobody counts it */
		gift->wisher = 0;
	} else if (at == m->id ? giver->stays(giver->ctx, gift->cpu_idx)
			       : at != to && at != APMP_NO_PARTITION) {
		refuse(m, slot, gift, at == m->id);
	}
}

/* Whether this member is to look for a CPU for this wish. */
static bool is_asked(const struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint64_t wish,
		     uint64_t identity, uint32_t id)
{
	return COUNT(wish) && apmp_identity_id(identity) == id &&
	       apmp_tree_alive(m->tree, identity) && !apmp_load_relaxed(&slot->giver) &&
	       !(refused(slot, NUMBER(wish)) >> m->id & 1);
}

/* The slot is claimed.  False: for a wish that is over by now. */
static bool give(struct apmp_member *m, struct apmp_db_cpu_sets *slot, struct apmp_gift *gift,
		 const struct apmp_giver *giver)
{
	uint64_t wish = apmp_load_acquire(&slot->wish);

	APMP_POINT_ARG(m->env, wish_claimed, gift->cpu_idx);
	if (NUMBER(wish) != gift->number || !COUNT(wish) ||
	    apmp_load_acquire(&slot->identity) != gift->wisher)
		return false;
	if (giver->give(giver->ctx, gift->cpu_idx, apmp_identity_id(gift->wisher)))
		refuse(m, slot, gift, true);
	else
		APMP_POINT_ARG(m->env, wish_given, gift->cpu_idx);
	return true;
}

static void serve(struct apmp_member *m, struct apmp_db_cpu_sets *slot, uint32_t id,
		  struct apmp_gift *gift, const struct apmp_giver *giver)
{
	uint64_t identity = apmp_load_acquire(&slot->identity), free = 0;
	uint64_t wish = apmp_load_acquire(&slot->wish), claim = apmp_load_relaxed(&slot->giver);
	struct apmp_cpu_bits potential;

	if (claims(m, claim) && apmp_identity_id(claim) == m->id)
		give_back(m, slot, claim); /* of a stray store: we give this one nothing */
	if (!is_asked(m, slot, wish, identity, id))
		return;
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		potential.word[w] = apmp_load_relaxed(&slot->potential[w]);
	if (giver->spare(giver->ctx, &potential, &gift->cpu_idx)) {
		say_no(m, slot, id, NUMBER(wish));
		return;
	}
	gift->wisher = identity;
	gift->number = NUMBER(wish);
	gift->claim = claim_of(m->env->self, gift->cpu_idx);
	if (!apmp_cas(&slot->giver, &free, gift->claim)) {
		gift->wisher = 0;
	} else if (!give(m, slot, gift, giver)) {
		give_back(m, slot, gift->claim);
		gift->wisher = 0;
	}
}

void apmp_gift_look(struct apmp_member *m, struct apmp_gift *gift, const struct apmp_giver *giver)
{
	struct apmp_db_cpu_sets *slots = apmp__cpu_slots(m);
	uint64_t left;

	if (!slots) {
		gift->wisher = 0;
		return;
	}
	if (gift->wisher)
		follow(m, slots, gift, giver);
	if (gift->wisher || !m->is_wished)
		return;
	m->is_wished = false;
	for (left = others(m, apmp__db(m)); left && !gift->wisher; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);

		serve(m, &slots[id], id, gift, giver);
	}
	m->is_wished = left; /* they have their turn when this one is served */
}
