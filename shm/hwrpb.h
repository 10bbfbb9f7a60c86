/*
 * hwrpb.h - what an instance does with its hardware restart parameter block.
 */
#ifndef APMP_SHM_HWRPB_H
#define APMP_SHM_HWRPB_H

#include "shm/env.h"
#include "shm/layout_hwrpb.h"
#include "shm/tree.h"

/* -EBADMSG: no HWRPB, or of another build; -ENOSPC: less mapped than it needs. */
APMP_CHECK int apmp_hwrpb_check(const struct hwrpb *h, uint64_t size);

/* A CPU's flags; 0 for a CPU id that the HWRPB has no slot for. */
uint64_t apmp_hwrpb_flags(const struct hwrpb *h, uint32_t cpu_idx);

/* The primary looks whether the CPU has sent STARTREQ [0293] and takes the message; false also
 * while the CPU is quiesced (the message stays) and when it runs here already (the message is
 * dropped). */
bool apmp_hwrpb_take_startreq(struct hwrpb *h, uint32_t cpu_idx);

/* Whether a message buffer, whose ready word the caller has acquired, holds this word. */
bool apmp_hwrpb_message_is(const char *buffer, const char *word);

/* The primary commands a CPU that polls RXRDY to begin operation. */
void apmp_hwrpb_send_start(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx);

/* A request of the operator, copied out and checked. */
struct apmp_hwrpb_request {
	uint32_t seq, op;
	uint64_t arg[3];
};

/* 1: there is a request without an answer; 0: none. */
APMP_CHECK int apmp_hwrpb_request_get(const struct hwrpb *h,
				      struct apmp_hwrpb_request *ret_request);
/* Answers it: 0 or -errno.  The console looks when the caller then reports or exits. */
void apmp_hwrpb_request_done(struct hwrpb *h, uint32_t seq, int result);

#endif
