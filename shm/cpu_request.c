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

/* The errno for which the CPU could not be started when it came last; 0. */
static int not_started(const struct hwrpb_slot *slot)
{
	uint64_t word = apmp_load_acquire(&slot->not_started);

	return word && word >> 32 == (uint32_t)arrivals(slot) ? refusal(-(int64_t)(uint32_t)word)
							      : 0;
}

/* Whether a request ends with what a CPU does where it was to be; which that is. */
static enum apmp_cpu_asked end_of(enum hwrpb_request_op op, const struct hwrpb_slot *slot)
{
	switch (slot ? apmp_load_acquire(&slot->state) : 0) {
	case HWRPB_CPU_ACTIVE:
		return op == HWRPB_REQUEST_MIGRATE || op == HWRPB_REQUEST_START ? APMP_CPU_WORKS
										: APMP_CPU_OPEN;
	case HWRPB_CPU_HALTED:
		return op == HWRPB_REQUEST_MIGRATE || op == HWRPB_REQUEST_STOP ? APMP_CPU_WAITS
									       : APMP_CPU_OPEN;
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
	bool there, came;
	int result;

	if (!from || apmp_tree_cpu(&m->tw->tree, r->cpu_idx, &cpu))
		return -EHOSTDOWN;
	there = apmp_tree_owner_id(&m->tw->tree, cpu.current_owner) == r->to_id;
	is = there ? end_of(r->op, to) : APMP_CPU_OPEN;
	came = r->op == HWRPB_REQUEST_MIGRATE && to && arrivals(to) != r->arrivals;
	if (came && not_started(to))
		return not_started(to);
	if (is != APMP_CPU_OPEN)
		return is;
	if (came) /* it is on its way into SMP; or has gone on, and may be in transit again */
		return there || !cpu.current_owner ? APMP_CPU_OPEN : APMP_CPU_ELSEWHERE;
	if (r->op == HWRPB_REQUEST_DEASSIGN && !cpu.owner)
		return APMP_CPU_ELSEWHERE;
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
