/* hwrpb.c - the instance's side of its HWRPB: CPU slots and the operator's mailbox. */
#include "shm/hwrpb.h"

#include <errno.h>
#include <string.h>

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

bool apmp_hwrpb_message_is(const char *buffer, const char *word)
{
	char copy[HWRPB_MSG_SIZE];

	apmp_copy_out(copy, buffer, sizeof(copy));
	return memcmp(copy, word, strlen(word) + 1) == 0; /* our words are shorter than a buffer */
}

bool apmp_hwrpb_take_startreq(struct hwrpb *h, uint32_t cpu_idx)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	uint32_t state = apmp_load_acquire(&slot->state);

	/* Its thread is in PAL MIGRATE: not before it parks, or START would meet the old one. */
	if (state == HWRPB_CPU_QUIESCED || !apmp_load_relaxed(&slot->txrdy))
		return false;
	/* Acquires what the console stored in TX, and before that in the flags; other words than
	 * STARTREQ are taken too, and mean nothing. */
	if (!apmp_swap(&slot->txrdy, 0) || !apmp_hwrpb_message_is(slot->tx, HWRPB_MSG_STARTREQ))
		return false;
	/* One that a restarted console sent twice: the CPU runs here, or has left again. */
	return state != HWRPB_CPU_ACTIVE && apmp_load_acquire(&slot->flags) & HWRPB_PA;
}

void apmp_hwrpb_send_start(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	char word[HWRPB_MSG_SIZE] = HWRPB_MSG_START;

	apmp_copy_in(slot->rx, word, sizeof(word));
	/* Acquired by the CPU, which then reads RX. */
	apmp_store_release(&slot->rxrdy, 1);
	env->wake(env, &slot->rxrdy, INT32_MAX);
}

int apmp_hwrpb_request_get(const struct hwrpb *h, struct apmp_hwrpb_request *ret_request)
{
	const struct hwrpb_request *r = &h->request;
	/* Acquires the arguments that the console stored before seq. */
	uint32_t seq = apmp_load_acquire(&r->seq);

	if (seq == apmp_load_relaxed(&r->done))
		return 0;
	*ret_request = (struct apmp_hwrpb_request){.seq = seq, .op = apmp_load_relaxed(&r->op)};
	for (uint32_t i = 0; i < 3; i++)
		ret_request->arg[i] = apmp_load_relaxed(&r->arg[i]);
	return 1;
}

void apmp_hwrpb_request_done(struct hwrpb *h, uint32_t seq, int result)
{
	apmp_store_relaxed(&h->request.result, result);
	/* Acquired by the console: done == seq has its result. */
	apmp_store_release(&h->request.done, seq);
}
