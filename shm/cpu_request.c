/*
 * cpu_request.c - the console asks an instance to do something with a CPU, and sees how that ends.
 *
 * No end needs a report: a refusal is the answer to the request's number, and success the state of
 * the CPU.  That a CPU which migrates has arrived is known by the number of its arrivals, also when
 * it has gone on, or back, meanwhile; that it could not be started there, by the same number.
 */
#include "shm/cpu_request.h"

#include <errno.h>

#include "shm/shared.h"

static struct hwrpb_slot *slot_of(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	struct hwrpb *h = m->hwrpb(m, id);

	return h ? &h->slot[cpu_idx] : NULL;
}

/* There may be no such partition, where nothing arrives. */
static uint64_t arrivals(const struct hwrpb_slot *to)
{
	return to ? apmp_load_relaxed(&to->arrivals) : 0;
}

int apmp_cpu_ask(struct apmp_cpu_mover *m, struct apmp_cpu_request *r, uint32_t how)
{
	const uint64_t arg[2] = {r->to_id, how};
	struct hwrpb_slot *from = slot_of(m, r->from_id, r->cpu_idx);

	if (!from)
		return -EHOSTDOWN;
	r->arrivals = arrivals(slot_of(m, r->to_id, r->cpu_idx));
	return apmp_hwrpb_request(m->tw->up->env, m->hwrpb(m, r->from_id), &from->request, r->op,
				  arg, &r->seq);
}

/* An instance may say anything. */
static int refusal(int64_t result)
{
	return result < 0 && result >= -4095 ? (int)result : -EIO;
}

/* It has come to where it was to go; `is`: what it does there. */
static int arrived(const struct apmp_tree_node *cpu, bool there, const struct hwrpb_slot *to,
		   enum apmp_cpu_asked is)
{
	/* Acquires the errno's number with it: they are one word. */
	uint64_t not_started = apmp_load_acquire(&to->not_started);

	if (not_started && not_started >> 32 == (uint32_t)arrivals(to))
		return refusal(-(int64_t)(uint32_t)not_started);
	if (there)
		return is;
	return cpu->current_owner ? APMP_CPU_ELSEWHERE : APMP_CPU_OPEN; /* in transit again */
}

/* What a CPU does in a partition, if that has it. */
static enum apmp_cpu_asked what_it_does(const struct hwrpb_slot *slot)
{
	switch (slot ? apmp_load_acquire(&slot->state) : 0) {
	case HWRPB_CPU_ACTIVE:
		return APMP_CPU_WORKS;
	case HWRPB_CPU_HALTED:
		return APMP_CPU_WAITS;
	default:
		return APMP_CPU_OPEN;
	}
}

int apmp_cpu_asked(struct apmp_cpu_mover *m, const struct apmp_cpu_request *r)
{
	struct hwrpb_slot *from = slot_of(m, r->from_id, r->cpu_idx);
	struct hwrpb_slot *to = slot_of(m, r->to_id, r->cpu_idx);
	struct apmp_tree_node cpu;
	enum apmp_cpu_asked is;
	int result;
	bool there;

	if (!from || apmp_tree_cpu(&m->tw->tree, r->cpu_idx, &cpu))
		return -EHOSTDOWN;
	there = apmp_tree_owner_id(&m->tw->tree, cpu.current_owner) == r->to_id;
	is = what_it_does(to);
	if (r->op == HWRPB_REQUEST_MIGRATE && to && arrivals(to) != r->arrivals)
		return arrived(&cpu, there, to, is);
	if (r->op == HWRPB_REQUEST_DEASSIGN && !cpu.owner)
		return APMP_CPU_ELSEWHERE;
	if (there && ((r->op == HWRPB_REQUEST_START && is == APMP_CPU_WORKS) ||
		      (r->op == HWRPB_REQUEST_STOP && is == APMP_CPU_WAITS)))
		return is;
	if (apmp_hwrpb_request_answered(&from->request, r->seq, &result) && result)
		return refusal(result);
	return APMP_CPU_OPEN;
}

bool apmp_cpu_take_back(struct apmp_cpu_mover *m, const struct apmp_cpu_request *r)
{
	struct hwrpb_slot *from = slot_of(m, r->from_id, r->cpu_idx);

	return !from || apmp_hwrpb_request_take_back(&from->request);
}

void apmp_cpu_take_back_all(struct apmp_cpu_mover *m, uint32_t id)
{
	for (uint32_t cpu = 0; cpu < m->cpu_count; cpu++)
		(void)!apmp_hwrpb_request_take_back(&m->hwrpb(m, id)->slot[cpu].request);
}
