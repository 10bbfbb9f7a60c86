/*
 * crash.h - what an instance that fails leaves in its HWRPB, and where its CPUs go [0296, 0298].
 *
 * The writer's half is for signal handlers: nothing in it waits.  The reader's half is for whoever
 * reads the HWRPB afterwards, also out of a dump: everything in it is checked.
 */
#ifndef APMP_SHM_CRASH_H
#define APMP_SHM_CRASH_H

#include "shm/layout_hwrpb.h"
#include "shm/tree.h"

/* Copies of struct hwrpb_crash and struct hwrpb_context: see there. */
struct apmp_crash {
	uint32_t reason, thread, signal;
	uint64_t address, t_ns, image;
	char text[HWRPB_CRASH_TEXT]; /* printable, ends with NUL */
};

struct apmp_context {
	uint32_t thread, register_count, frame_count;
	uint64_t task, t_ns;
	uint64_t reg[HWRPB_REGISTERS];
	uint64_t frame[HWRPB_FRAMES];
	uint64_t program, program_end;
	char task_name[HWRPB_TASK_NAME]; /* printable, ends with NUL */
};

/* Step 2600.  The record is the first one's, and whole when this returns, whoever was the first.
 * *first, in private memory, is NULL in the beginning; the record that it points to then must stay
 * as it is.  Whether mine is the first. */
bool apmp_crash_write(struct hwrpb *h, const struct apmp_crash *_Atomic *first,
		      const struct apmp_crash *mine);
/* Step 2700.  The context of a CPU, whose id the HWRPB has, is the first one's: true, and then
 * apmp_context_finish must follow. */
APMP_CHECK bool apmp_context_begin(struct hwrpb *h, uint32_t cpu_idx);
void apmp_context_finish(struct hwrpb *h, uint32_t cpu_idx, const struct apmp_context *context);
/* Whether it is whole. */
APMP_CHECK bool apmp_context_saved(const struct hwrpb *h, uint32_t cpu_idx);

/* -ENOENT: nothing was written, or not all of it; -EBADMSG: it makes no sense. */
APMP_CHECK int apmp_crash_read(const struct hwrpb *h, struct apmp_crash *ret_crash);
/* As apmp_crash_read; -ENXIO: the HWRPB has no such CPU. */
APMP_CHECK int apmp_context_read(const struct hwrpb *h, uint32_t cpu_idx,
				 struct apmp_context *ret_context);
/* The name of a register by its place in reg, or NULL; the one that names the instruction. */
const char *apmp_context_register_name(uint32_t idx);
#if defined(__x86_64__)
#define APMP_CONTEXT_PC 16u
#else
#define APMP_CONTEXT_PC 22u
#endif

/* The text of enum hwrpb_crash_reason, or NULL. */
const char *apmp_crash_reason_text(uint32_t reason);

/* Steps 2702 and 2704: the next target of a CPU, from its word in hwrpb.failover; *place is 0
 * before the first one.  False: the CPU stays, for the targets end here or this one is self_id.
 * What is no partition id is passed over. */
APMP_CHECK bool apmp_failover_next(uint64_t targets, uint32_t self_id, uint32_t *place,
				   uint32_t *ret_id);

#endif
