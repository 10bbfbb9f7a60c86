/*
 * hwrpb_write.h - the console's powers over HWRPBs, and over CPUs on their way.
 */
#ifndef APMP_SHM_HWRPB_WRITE_H
#define APMP_SHM_HWRPB_WRITE_H

#include "shm/hwrpb.h"
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

/* Steps 2302 and 2304: STARTREQ into TX, TXRDY, interrupt to the primary. */
void apmp_hwrpb_startreq(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx);

/* Puts a request into the mailbox and interrupts the primary.  -EBUSY: the last one has no answer
 * yet.  *ret_seq is what request.done will be. */
APMP_CHECK int apmp_hwrpb_request(struct apmp_env *env, struct hwrpb *h, uint32_t op,
				  const uint64_t arg[3], uint32_t *ret_seq);
/* HALT or CRASH, also in place of a request that has no answer yet: behind it nothing is left to be
 * done. */
void apmp_hwrpb_request_end(struct apmp_env *env, struct hwrpb *h, uint32_t op);
/* Nobody waits for this one any more: it is answered with -EINVAL and nothing is done, unless the
 * instance has just begun it.  False: it has an answer, or another one stands there. */
APMP_CHECK bool apmp_hwrpb_request_take_back(struct hwrpb *h, uint32_t seq);

/* A CPU's two words in struct apmp_console_state, which change in the same updates. */
struct apmp_cpu_words {
	_Atomic uint64_t *transit; /* identity that migrates it, 0 once it has arrived */
	_Atomic uint64_t *arrival; /* identity that is owed a STARTREQ, 0 once it was sent */
	void (*within)(void *ctx); /* called inside the update of its arrival; may be NULL */
	void *ctx;
};

/* A migration's two halves in the tree and both HWRPBs, each one update [0189].
 * Steps 2206 to 2210: current_owner and available are cleared, the CPU is in transit. */
void apmp_cpu_depart(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *from, uint32_t from_id, const struct apmp_cpu_words *words,
		     uint64_t identity);
/* Steps 2212 to 2216: available there, current_owner is the receiver; owner too unless a loan.
 * owed: the receiver's identity, which a STARTREQ must follow; 0 when the CPU never left it. */
void apmp_cpu_arrive(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *to, uint32_t to_id, int32_t to_handle, bool loan,
		     const struct apmp_cpu_words *words, uint64_t owed);

#endif
