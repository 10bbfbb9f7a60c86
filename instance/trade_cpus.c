/*
 * trade_cpus.c - CPUs that this instance gives to others, and those that it asks for.
 *
 * WHAT      The primary does it all, at its interrupts: it answers what programs ask (app_cpus.c)
 *           and what the operator wishes, serves the wishes of other members (shm/cpu_wish.c), and
 *           decides by spare_cpu() which CPU goes.  How a CPU goes is cpu.c's.
 * STATES    of an ask: asked -> done, at once; or -> busy -> done, when its CPU is there or was
 *           refused, or its wish is over.  One wish at a time is open; the others wait: the
 *           operator's first, then those of programs in the order in which they came.
 * WRITERS   The primary.
 * LIMITS    Who has a wish open itself gives nothing: two that wish would trade their CPUs.
 */
#include <errno.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

/* ---- which CPU ---- */

/* We have ordered it to go, and have not seen yet what became of that. */
static bool is_going(const struct instance *in, uint32_t cpu_idx)
{
	if (in->trade.gift.wisher && in->trade.gift.cpu_idx == cpu_idx)
		return true;
	for (uint32_t i = 0; i < APP_ASKS; i++) {
		const struct app_ask *ask = &in->apps.ask[i];

		if (apmp_load_relaxed(&ask->state) == APP_ASK_BUSY && ask->op == APMP_APP_GIVE &&
		    ask->cpu_idx == cpu_idx)
			return true;
	}
	return false;
}

/* In SMP, and without an order. */
static bool is_at_work(const struct instance *in, uint32_t cpu_idx)
{
	/* Acquires the state from before the order was taken. */
	return apmp_load_acquire(&in->cpu[cpu_idx].order) == CPU_ORDER_NONE &&
	       apmp_load_acquire(&in->hwrpb->slot[cpu_idx].state) == HWRPB_CPU_ACTIVE;
}

/* Ours, and its order has ended. */
static bool is_back(const struct instance *in, uint32_t cpu_idx)
{
	uint32_t order = apmp_load_acquire(&in->cpu[cpu_idx].order);
	uint32_t state = apmp_load_acquire(&in->hwrpb->slot[cpu_idx].state);

	return order == CPU_ORDER_NONE && (state == HWRPB_CPU_ACTIVE || state == HWRPB_CPU_HALTED);
}

/* One at work that can run where these can, is not the primary, and has no task bound to it: the
 * last one, as the first ones stay longest.  -ENODEV. */
static int movable_cpu(struct instance *in, const struct apmp_cpu_bits *potential,
		       uint32_t *ret_cpu)
{
	for (uint32_t i = apmp_load_relaxed(&in->hwrpb->cpu_count); i-- > 0;)
		if (apmp_cpu_bits_test(potential, i) && i != in->primary &&
		    apmp_hwrpb_flags(in->hwrpb, i) & HWRPB_PA && is_at_work(in, i) &&
		    !is_going(in, i) && !instance_tasks_bound(in, i)) {
			*ret_cpu = i;
			return 0;
		}
	return -ENODEV;
}

/* The policy towards who asks all: a CPU goes when there are more than there is work for. */
static int spare_cpu(void *ctx, const struct apmp_cpu_bits *potential, uint32_t *ret_cpu)
{
	struct instance *in = ctx;
	struct apmp_cpu_bits active;
	uint32_t count = 0;

	apmp_copy_out(&active, &in->hwrpb->active, sizeof(active));
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		count += (uint32_t)__builtin_popcountll(active.word[w]);
	if (in->trade.wish.number || count <= instance_tasks_depth(in))
		return -ENODEV;
	return movable_cpu(in, potential, ret_cpu);
}

/* ---- a CPU goes ---- */

static int order_away(struct instance *in, uint32_t cpu_idx, uint32_t to_id, uint32_t how)
{
	int err = apmp_pal_validate(&in->tree, in->id, cpu_idx, to_id);

	apmp_store_relaxed(&in->cpu[cpu_idx].refusal, 0);
	return err ? err : instance_cpu_order(in, cpu_idx, CPU_ORDER_MIGRATE, to_id, how, 0);
}

static int give_cpu(void *ctx, uint32_t cpu_idx, uint32_t to_id)
{
	return order_away(ctx, cpu_idx, to_id, 0);
}

static bool stays(void *ctx, uint32_t cpu_idx)
{
	return is_back(ctx, cpu_idx);
}

/* ---- what programs ask ---- */

static void done(struct instance *in, struct app_ask *ask, int32_t result)
{
	ask->result = result;
	/* Acquired by app_cpus_look. */
	apmp_store_release(&ask->state, APP_ASK_DONE);
	instance_apps_ring(in);
}

/* Where a CPU would go: the member's potential set, of the global copy [0235].  -ENOTCONN. */
static int potential_of(struct instance *in, struct app_ask *ask, struct apmp_cpu_bits *ret_set)
{
	uint32_t count = apmp_member_loads(&in->member, ask->load);

	for (uint32_t i = 0; i < count; i++)
		if (apmp_identity_id(ask->load[i].identity) == ask->to_id) {
			*ret_set = ask->load[i].potential;
			return 0;
		}
	return -ENOTCONN;
}

/* 0: it has been ordered to go. */
static int begin_give(struct instance *in, struct app_ask *ask)
{
	struct apmp_cpu_bits potential;
	int err = ask->to_id == in->id ? -EALREADY : potential_of(in, ask, &potential);

	if (err)
		return err;
	if (ask->cpu_idx == UINT32_MAX) {
		err = movable_cpu(in, &potential, &ask->cpu_idx);
		if (err)
			return err;
	}
	if (ask->cpu_idx >= APMP_MAX_CPUS ||
	    !(apmp_hwrpb_flags(in->hwrpb, ask->cpu_idx) & HWRPB_PA))
		return -EPERM;
	if (!apmp_cpu_bits_test(&potential, ask->cpu_idx))
		return -ENOEXEC;
	if (ask->cpu_idx != in->primary &&
	    (!is_at_work(in, ask->cpu_idx) || is_going(in, ask->cpu_idx)))
		return -EAGAIN;
	return order_away(in, ask->cpu_idx, ask->to_id, ask->how);
}

/* By its order: whose it is by now says nothing of that, it may be nobody's. */
static void follow_give(struct instance *in, struct app_ask *ask)
{
	const struct cpu *cpu = &in->cpu[ask->cpu_idx];

	/* Acquires that it has left, or why it stays. */
	if (apmp_load_acquire(&cpu->order) == CPU_ORDER_NONE)
		done(in, ask, apmp_load_relaxed(&cpu->refusal));
}

static void begin_ask(struct instance *in, struct app_ask *ask)
{
	int err = 0;

	if (ask->op == APMP_APP_LOADS) {
		done(in, ask, (int32_t)apmp_member_loads(&in->member, ask->load));
		return;
	}
	if (ask->op == APMP_APP_GIVE)
		err = begin_give(in, ask);
	if (err)
		done(in, ask, err);
	else
		apmp_store_relaxed(&ask->state, APP_ASK_BUSY);
}

/* ---- wishes ---- */

static void wish_is_over(struct instance *in, int32_t result)
{
	struct trade *t = &in->trade;

	if (t->wisher) {
		done(in, t->wisher, result);
	} else {
		apmp_hwrpb_request_done(&in->hwrpb->wish, t->request, result);
		in->env.report(&in->env, APMP_REPORT_WISHED, 0);
		t->request = 0;
	}
	t->wisher = NULL;
}

/* Whoever comes first of those whose wish waits. */
static struct app_ask *next_wisher(struct instance *in)
{
	struct app_ask *first = NULL;

	for (uint32_t i = 0; i < APP_ASKS; i++) {
		struct app_ask *ask = &in->apps.ask[i];

		if (apmp_load_relaxed(&ask->state) == APP_ASK_BUSY && ask->op == APMP_APP_WISH &&
		    (!first || ask->arrival < first->arrival))
			first = ask;
	}
	return first;
}

/* Opens the next wish, if one waits and none is open. */
static void next_wish(struct instance *in)
{
	struct trade *t = &in->trade;
	int err;

	while (!t->wish.number) {
		struct app_ask *next = t->request ? NULL : next_wisher(in);

		if (!t->request && !next)
			return;
		err = apmp_wish_begin(&in->member, &t->wish, next ? next->count : t->request_count);
		if (err == -EAGAIN)
			return; /* who served the last one is not done; at the next tick */
		t->wisher = next;
		if (err)
			wish_is_over(in, err);
	}
}

void instance_trade_look(struct instance *in)
{
	struct trade *t = &in->trade;
	bool left = t->wisher && apmp_load_relaxed(&t->wisher->left);

	if (!t->wish.number)
		return;
	if (left)
		apmp_wish_end(&in->member, &t->wish);
	if (left || apmp_wish_look(&in->member, &t->wish))
		wish_is_over(in, t->wish.came ? (int32_t)t->wish.came : -ENODEV);
}

/* The operator's, which is answered when it is over, or when he takes it back. */
static void look_at_request(struct instance *in)
{
	struct trade *t = &in->trade;
	struct apmp_hwrpb_request r;

	if (!apmp_hwrpb_request_get(&in->hwrpb->wish, &r))
		return;
	if (r.op != HWRPB_REQUEST_WISH) {
		if (t->request && !t->wisher)
			apmp_wish_end(&in->member, &t->wish);
		t->request = 0;
		apmp_hwrpb_request_done(&in->hwrpb->wish, r.seq, -EINVAL);
	} else if (!t->request) {
		t->request = r.seq;
		t->request_count = r.arg[0] <= APMP_WISH_MAX ? (uint32_t)r.arg[0] : 0;
	}
}

/* ---- all of it ---- */

/* True: some are not done. */
static bool look_at_asks(struct instance *in)
{
	bool busy = false;

	for (uint32_t i = 0; i < APP_ASKS; i++) {
		struct app_ask *ask = &in->apps.ask[i];
		/* Acquires what is asked. */
		uint32_t state = apmp_load_acquire(&ask->state);

		if (state == APP_ASK_ASKED)
			begin_ask(in, ask);
		else if (state == APP_ASK_BUSY && ask->op == APMP_APP_GIVE)
			follow_give(in, ask);
		else if (state == APP_ASK_BUSY && ask != in->trade.wisher &&
			 apmp_load_relaxed(&ask->left))
			done(in, ask, -ENODEV); /* its turn has not come, and nobody wants it */
		busy = busy || apmp_load_relaxed(&ask->state) == APP_ASK_BUSY;
	}
	return busy;
}

void instance_trade(struct instance *in)
{
	const struct apmp_giver giver = {
	    .ctx = in, .spare = spare_cpu, .give = give_cpu, .stays = stays};
	struct trade *t = &in->trade;
	bool busy = apmp_load_relaxed(&in->apps.asks) && look_at_asks(in);

	look_at_request(in);
	next_wish(in);
	apmp_gift_look(&in->member, &t->gift, &giver);
	apmp_store_relaxed(&t->busy, busy || t->request || t->gift.wisher || in->member.is_wished);
}
