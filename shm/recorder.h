/*
 * recorder.h - the flight recorder: what passed, and what the injector armed.
 */
#ifndef APMP_SHM_RECORDER_H
#define APMP_SHM_RECORDER_H

#include <stdbool.h>

#include "shm/layout_recorder.h"
#include "shm/points.h"
#include "shm/tree.h"

/* A new recorder; whoever made its memory calls this once. */
void apmp_recorder_init(struct apmp_recorder *rec);
/* Before each life of its party, by whoever begins that: how the one before has ended, and the
 * tasks that it had, are forgotten; what it has passed is not. */
void apmp_recorder_begin(struct apmp_recorder *rec);
/* -EBADMSG: not a recorder. */
APMP_CHECK int apmp_recorder_check(const struct apmp_recorder *rec, uint64_t size);

/* Records that a point was passed, at t_ns, by a thread.  A fault: the injector armed it for this
 * very passing, and it strikes the caller now. */
enum apmp_fault apmp_recorder_pass(struct apmp_recorder *rec, enum apmp_point point,
				   uint32_t thread, uint64_t arg, uint64_t t_ns);

/* Arms a point: the fault strikes at its nth passing from now (n >= 1; more than APMP_ARM_COUNT_MAX
 * is as good as never); 0 disarms. */
void apmp_recorder_arm_fault(struct apmp_recorder *rec, enum apmp_point point, uint32_t nth,
			     enum apmp_fault fault);
/* The same with APMP_FAULT_KILL. */
void apmp_recorder_arm(struct apmp_recorder *rec, enum apmp_point point, uint32_t nth);
/* The fault of this name that can strike at a point; APMP_FAULT_NONE. */
enum apmp_fault apmp_fault_find(const char *name);

/* One entry, checked. */
struct apmp_recorder_view {
	uint64_t seq, t_ns, arg;
	uint32_t point, thread;
};

/* Copies the entry with this sequence number (1 is the first ever).  -ENOENT: not yet written or
 * overwritten since; -EBADMSG: odd. */
APMP_CHECK int apmp_recorder_read(const struct apmp_recorder *rec, uint64_t seq,
				  struct apmp_recorder_view *ret_view);
/* Sequence number of the newest entry. */
uint64_t apmp_recorder_newest(const struct apmp_recorder *rec);

#endif
