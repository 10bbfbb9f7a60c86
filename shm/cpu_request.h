/*
 * cpu_request.h - what the console asks an instance to do with a CPU, and how that ends [0150].
 *
 * Only the console calls this.  A request is one of its life: a number that is not asked for any
 * more means nothing to the next one.
 */
#ifndef APMP_SHM_CPU_REQUEST_H
#define APMP_SHM_CPU_REQUEST_H

#include "shm/cpu_move.h"

struct apmp_cpu_request {
	enum hwrpb_request_op op; /* MIGRATE, START, STOP, DEASSIGN */
	uint32_t cpu_idx;
	uint32_t from_id; /* who has it, and is asked */
	uint32_t to_id;	  /* where it is to be in the end: of MIGRATE another one */
	uint32_t seq;
	uint64_t arrivals; /* with which it had come there when this was asked */
};

/* Asks; how: APMP_MIGRATE_*.  Fills in seq and arrivals.  -EBUSY: the CPU's request before has no
 * answer yet; -EHOSTDOWN: there is no partition from_id. */
APMP_CHECK int apmp_cpu_ask(struct apmp_cpu_mover *m, struct apmp_cpu_request *r, uint32_t how);

enum apmp_cpu_asked {
	APMP_CPU_OPEN = 0,	/* no end yet */
	APMP_CPU_WORKS = 1,	/* it is in SMP where it was to be */
	APMP_CPU_WAITS = 2,	/* it is there, in console mode */
	APMP_CPU_ELSEWHERE = 3, /* it was there and has gone on; of DEASSIGN: it is nobody's */
};

/* How it has ended, by what stands in memory: enum apmp_cpu_asked, or a refusal, of either
 * partition: -errno of instance_cpu_order, of PAL MIGRATE or DEASSIGN; -EIO: none that makes sense;
 * -EHOSTDOWN: there is no partition from_id any more, or no such CPU. */
APMP_CHECK int apmp_cpu_asked(struct apmp_cpu_mover *m, const struct apmp_cpu_request *r);

/* Nobody waits for its end any more.  False: the instance has begun it; then it has an end. */
APMP_CHECK bool apmp_cpu_take_back(struct apmp_cpu_mover *m, const struct apmp_cpu_request *r);
/* What a dead console has asked of a partition, and nobody has begun. */
void apmp_cpu_take_back_all(struct apmp_cpu_mover *m, uint32_t id);

#endif
