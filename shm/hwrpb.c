/* hwrpb.c - the instance's side of its HWRPB: CPU sets and the operator's requests. */
#include "shm/hwrpb.h"

#include <errno.h>

#include "shm/shared.h"

int apmp_hwrpb_check(const struct hwrpb *h, uint64_t size)
{
	if (size < sizeof(*h))
		return -ENOSPC;
	if (apmp_load_acquire(&h->magic) != HWRPB_MAGIC ||
	    apmp_load_relaxed(&h->fingerprint) != apmp_fingerprint(sizeof(*h)) ||
	    apmp_load_relaxed(&h->slot_size) != sizeof(h->slot[0]) ||
	    apmp_load_relaxed(&h->slot_off) != offsetof(struct hwrpb, slot) ||
	    apmp_load_relaxed(&h->cpu_count) > APMP_MAX_CPUS ||
	    apmp_load_relaxed(&h->primary) >= apmp_load_relaxed(&h->cpu_count) ||
	    apmp_load_relaxed(&h->tick_ns) == 0)
		return -EBADMSG;
	return 0;
}

uint64_t apmp_hwrpb_flags(const struct hwrpb *h, uint32_t cpu_idx)
{
	if (cpu_idx >= APMP_MAX_CPUS || cpu_idx >= apmp_load_relaxed(&h->cpu_count))
		return 0;
	return apmp_load_acquire(&h->slot[cpu_idx].flags);
}

bool apmp_hwrpb_is_busy(const struct hwrpb *h, uint32_t cpu_idx)
{
	switch (apmp_load_acquire(&h->slot[cpu_idx].state)) {
	case HWRPB_CPU_STARTING:
	case HWRPB_CPU_CONFIGURED:
	case HWRPB_CPU_ACTIVE:
	case HWRPB_CPU_QUIESCED:
		return true;
	default:
		return false;
	}
}

int apmp_hwrpb_available(const struct apmp_tree *tree, const struct hwrpb *h,
			 struct apmp_cpu_bits *ret_cpus)
{
	struct apmp_cpu_bits cpus = {{0}};
	uint64_t before, after;
	int err = apmp_tree_level(tree, &before);

	for (uint32_t i = 0; i < APMP_MAX_CPUS; i++)
		if (apmp_hwrpb_flags(h, i) & HWRPB_PA)
			apmp_cpu_bits_set(&cpus, i);
	if (!err)
		err = apmp_tree_level(tree, &after);
	if (err || before != after)
		return -EAGAIN;
	*ret_cpus = cpus;
	return 0;
}

bool apmp_hwrpb_compatible(const struct hwrpb *h, uint32_t cpu_idx)
{
	const struct hwrpb_slot *slot = &h->slot[cpu_idx];
	const struct hwrpb_slot *primary = &h->slot[apmp_load_relaxed(&h->primary)];

	return apmp_hwrpb_flags(h, cpu_idx) & HWRPB_PP &&
	       apmp_load_relaxed(&slot->type) == apmp_load_relaxed(&primary->type) &&
	       apmp_load_relaxed(&slot->revision) == apmp_load_relaxed(&primary->revision);
}

void apmp_hwrpb_refresh_sets(struct hwrpb *h)
{
	struct apmp_cpu_bits potential = {{0}}, configure = {{0}}, active = {{0}};

	for (uint32_t i = 0; i < apmp_load_relaxed(&h->cpu_count); i++) {
		if (!apmp_hwrpb_compatible(h, i))
			continue;
		apmp_cpu_bits_set(&potential, i);
		if (!(apmp_hwrpb_flags(h, i) & HWRPB_PA))
			continue;
		apmp_cpu_bits_set(&configure, i);
		if (apmp_load_acquire(&h->slot[i].state) == HWRPB_CPU_ACTIVE)
			apmp_cpu_bits_set(&active, i);
	}
	apmp_copy_in(&h->potential, &potential, sizeof(potential));
	apmp_copy_in(&h->configure, &configure, sizeof(configure));
	apmp_copy_in(&h->active, &active, sizeof(active));
}

static uint64_t answer_to(uint32_t seq, int result)
{
	return (uint64_t)seq << 32 | (uint32_t)result;
}

int apmp_hwrpb_request_get(const struct hwrpb_request *r, struct apmp_hwrpb_request *ret_request)
{
	/* Acquires the arguments that the console stored before seq. */
	uint32_t seq = apmp_load_acquire(&r->seq);

	if (seq == apmp_load_relaxed(&r->answer) >> 32)
		return 0;
	*ret_request = (struct apmp_hwrpb_request){
	    .seq = seq,
	    .op = apmp_load_relaxed(&r->op),
	    .arg = {apmp_load_relaxed(&r->arg[0]), apmp_load_relaxed(&r->arg[1])}};
	return 1;
}

void apmp_hwrpb_request_done(struct hwrpb_request *r, uint32_t seq, int result)
{
	/* Acquired by apmp_hwrpb_request_answered. */
	apmp_store_release(&r->answer, answer_to(seq, result));
}

bool apmp_hwrpb_request_refused(struct hwrpb_request *r, uint32_t seq, int err)
{
	uint64_t begun = answer_to(seq, 0);

	return apmp_cas(&r->answer, &begun, answer_to(seq, err));
}
