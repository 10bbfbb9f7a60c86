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

/* Whether the thread of a CPU (an id below cpu_count) is at something, and will see by itself that
 * its instance fails. */
bool apmp_hwrpb_is_busy(const struct hwrpb *h, uint32_t cpu_idx);

/* The CPUs that are available to us, as no console that dies now can take back.  -EAGAIN: an update
 * is under way, in which one may be coming [0189]. */
APMP_CHECK int apmp_hwrpb_available(const struct apmp_tree *tree, const struct hwrpb *h,
				    struct apmp_cpu_bits *ret_cpus);

/* Whether the type and revision of a CPU that is present are those of the primary [0224]. */
bool apmp_hwrpb_compatible(const struct hwrpb *h, uint32_t cpu_idx);

/* Makes the sets potential, configure and active from the slots [0224, 0232]; each is a subset of
 * the one before. */
void apmp_hwrpb_refresh_sets(struct hwrpb *h);

/* A request of the operator, copied out and checked. */
struct apmp_hwrpb_request {
	uint32_t seq, op;
	uint64_t arg[2];
};

/* 1: there is a request without an answer; 0: none. */
APMP_CHECK int apmp_hwrpb_request_get(const struct hwrpb_request *r,
				      struct apmp_hwrpb_request *ret_request);
/* Answers it: 0, about a CPU that it has begun; a count, or -errno.  The console looks when the
 * caller then reports. */
void apmp_hwrpb_request_done(struct hwrpb_request *r, uint32_t seq, int result);
/* What had begun comes to nothing: -errno.  False: another one was answered since, whose answer
 * stands. */
APMP_CHECK bool apmp_hwrpb_request_refused(struct hwrpb_request *r, uint32_t seq, int err);

#endif
