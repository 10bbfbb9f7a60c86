/*
 * hwrpb_write.c - the console's stores into HWRPBs.
 *
 * CRASHES   con_2302: the message stands; a console that is restarted sends it again, and the
 *           receiver drops the second.
 */
#include "shm/hwrpb_write.h"

#include <errno.h>
#include <string.h>

#include "shm/intr.h"
#include "shm/shared.h"

void apmp_hwrpb_prepare(struct hwrpb *h, const struct apmp_hwrpb_spec *spec)
{
	uint64_t boots = apmp_load_relaxed(&h->boot_count) + 1;
	_Atomic uint64_t *word = (void *)h;
	struct apmp_cpu_bits all;
	const size_t used =
	    offsetof(struct hwrpb, saved) + spec->cpu_count * sizeof(struct hwrpb_context);

	memset(&all, 0xff, sizeof(all));
	apmp_store_relaxed(&h->magic, 0);
	for (size_t i = 0; i < used / sizeof(*word); i++)
		if (&word[i] != &h->boot_count)
			apmp_store_relaxed(&word[i], 0);
	apmp_store_relaxed(&h->fingerprint, apmp_fingerprint(sizeof(*h)));
	apmp_store_relaxed(&h->pa, spec->pa);
	apmp_store_relaxed(&h->unique, spec->unique);
	apmp_store_relaxed(&h->config, spec->config_pa);
	apmp_store_relaxed(&h->intr, spec->intr_pa);
	apmp_store_relaxed(&h->recorder, spec->recorder_pa);
	apmp_store_relaxed(&h->tick_ns, spec->tick_ns);
	apmp_store_relaxed(&h->stop_ns, spec->stop_ns);
	apmp_store_relaxed(&h->suspect, spec->suspect);
	apmp_store_relaxed(&h->primary, spec->primary);
	apmp_store_relaxed(&h->cpu_count, spec->cpu_count);
	apmp_store_relaxed(&h->slot_size, sizeof(h->slot[0]));
	apmp_store_relaxed(&h->slot_off, offsetof(struct hwrpb, slot));
	apmp_store_relaxed(&h->boot_count, boots);
	apmp_copy_in(&h->autostart, &all, sizeof(all));
	/* Acquired by apmp_hwrpb_check. */
	apmp_store_release(&h->magic, HWRPB_MAGIC);
}

void apmp_hwrpb_set_flags(struct apmp_update *up, struct hwrpb *h, uint32_t partition_id,
			  uint32_t cpu_idx, uint64_t clear, uint64_t set)
{
	_Atomic uint64_t *flags = &h->slot[cpu_idx].flags;

	apmp_update_store64(up, APMP_OBJECT_HWRPB(partition_id), flags,
			    (apmp_load_relaxed(flags) & ~clear) | set);
	/* A STARTREQ of the time that ends: it must not meet the CPU's next arrival half made. */
	if (clear & HWRPB_PA)
		apmp_store_relaxed(&h->slot[cpu_idx].txrdy, 0);
}

void apmp_hwrpb_set_tables(struct hwrpb *h, const struct apmp_console_partition *kept)
{
	struct apmp_cpu_bits autostart = {{0}};

	for (uint32_t cpu = 0; cpu < APMP_MAX_CPUS; cpu++) { /* also those that are not here yet */
		apmp_store_relaxed(&h->failover[cpu], apmp_load_relaxed(&kept->failover[cpu]));
		if (!(apmp_load_relaxed(&kept->no_autostart[cpu / 64]) >> cpu % 64 & 1))
			apmp_cpu_bits_set(&autostart, cpu);
	}
	apmp_copy_in(&h->autostart, &autostart, sizeof(autostart));
}

void apmp_hwrpb_startreq(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	char word[HWRPB_MSG_SIZE] = HWRPB_MSG_STARTREQ;

	apmp_copy_in(slot->tx, word, sizeof(word));
	apmp_fetch_add(&slot->arrivals, 1);
	/* Acquired by apmp_hwrpb_take_startreq; a swap, so that a CPU which left console code
	 * before it, and found nothing in TX, has done so for the primary too (pal.c). */
	(void)apmp_swap(&slot->txrdy, 1);
	APMP_POINT_ARG(env, con_2302, cpu_idx);
	apmp_intr_send(env, apmp_load_relaxed(&h->primary), APMP_INTR_TXRDY);
	APMP_POINT_ARG(env, con_2304, cpu_idx);
}

static void interrupt(struct apmp_env *env, const struct hwrpb *h)
{
	apmp_intr_send(env, apmp_load_relaxed(&h->primary), APMP_INTR_REQUEST);
}

int apmp_hwrpb_request(struct apmp_env *env, const struct hwrpb *h, struct hwrpb_request *r,
		       enum hwrpb_request_op op, const uint64_t arg[2], uint32_t *ret_seq)
{
	uint32_t seq = apmp_load_relaxed(&r->seq);
	int result;

	if (!apmp_hwrpb_request_answered(r, seq, &result))
		return -EBUSY;
	apmp_store_relaxed(&r->op, op);
	apmp_store_relaxed(&r->arg[0], arg[0]);
	apmp_store_relaxed(&r->arg[1], arg[1]);
	/* Acquired by apmp_hwrpb_request_get. */
	apmp_store_release(&r->seq, seq + 1);
	*ret_seq = seq + 1;
	interrupt(env, h);
	return 0;
}

bool apmp_hwrpb_request_answered(const struct hwrpb_request *r, uint32_t seq, int *ret_result)
{
	/* Acquires what the instance did before it. */
	uint64_t answer = apmp_load_acquire(&r->answer);

	if (answer >> 32 != seq)
		return false;
	*ret_result = (int32_t)(uint32_t)answer;
	return true;
}

bool apmp_hwrpb_request_take_back(struct hwrpb_request *r)
{
	int result;

	if (apmp_hwrpb_request_answered(r, apmp_load_relaxed(&r->seq), &result))
		return false;
	apmp_store_relaxed(&r->op, HWRPB_REQUEST_NONE);
	return true;
}

void apmp_hwrpb_end(struct apmp_env *env, struct hwrpb *h, enum hwrpb_end end)
{
	apmp_store_relaxed(&h->end, end);
	interrupt(env, h);
}
