/*
 * hwrpb_write.h - the console's powers over HWRPBs.
 */
#ifndef APMP_SHM_HWRPB_WRITE_H
#define APMP_SHM_HWRPB_WRITE_H

#include "shm/hwrpb.h"
#include "shm/layout_console.h"
#include "shm/tree_write.h"

struct apmp_hwrpb_spec {
	uint64_t pa, unique, config_pa, intr_pa, recorder_pa;
	uint64_t tick_ns, stop_ns;
	uint32_t suspect, primary, cpu_count;
};

/* Makes the HWRPB for the next life of a partition; the slots' flags are set by the caller, in an
 * update with apmp_hwrpb_set_flags once a life has it.  No instance has it mapped yet. */
void apmp_hwrpb_prepare(struct hwrpb *h, const struct apmp_hwrpb_spec *spec);
/* Clearing HWRPB_PA drops what is in TX, too: also when the update is undone, for the CPU was the
 * partition's before. */
void apmp_hwrpb_set_flags(struct apmp_update *up, struct hwrpb *h, uint32_t partition_id,
			  uint32_t cpu_idx, uint64_t clear, uint64_t set);

/* Failover targets [0296] and autostart set [0233] as the console keeps them: for each life, and
 * when they change. */
void apmp_hwrpb_set_tables(struct hwrpb *h, const struct apmp_console_partition *kept);

/* Steps 2302 and 2304: STARTREQ into TX, TXRDY, interrupt to the primary. */
void apmp_hwrpb_startreq(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx);

/* Puts a request into its place, in a slot of h or h->wish, and interrupts the primary.  -EBUSY:
 * the one before has no answer yet.  *ret_seq is its number. */
APMP_CHECK int apmp_hwrpb_request(struct apmp_env *env, const struct hwrpb *h,
				  struct hwrpb_request *r, enum hwrpb_request_op op,
				  const uint64_t arg[2], uint32_t *ret_seq);
/* Whether the request of this number has an answer. */
APMP_CHECK bool apmp_hwrpb_request_answered(const struct hwrpb_request *r, uint32_t seq,
					    int *ret_result);
/* Nobody waits for it any more: it is answered with -EINVAL and nothing is done, unless the
 * instance has just begun it.  False: it has an answer, or there was none. */
APMP_CHECK bool apmp_hwrpb_request_take_back(struct hwrpb_request *r);
/* The instance is to end. */
void apmp_hwrpb_end(struct apmp_env *env, struct hwrpb *h, enum hwrpb_end end);

#endif
