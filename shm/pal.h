/*
 * pal.h - PAL MIGRATE, HALT, console code and failover of a CPU, in the instance [0290]-[0293],
 * [0296]-[0300], [0312]-[0313], [0327]-[0335].
 */
#ifndef APMP_SHM_PAL_H
#define APMP_SHM_PAL_H

#include "shm/hwrpb.h"

/* Steps 2204 and 3014: whether this CPU of ours may go to that partition now.
 * -EPERM it is not ours; -EBUSY it is the primary; -ENXIO no such partition or CPU;
 * -EHOSTDOWN nothing runs there; -EXDEV another community; -EALREADY it is there. */
APMP_CHECK int apmp_pal_validate(const struct apmp_tree *tree, uint32_t self_id, uint32_t cpu_idx,
				 uint32_t to_id);

/* Step 904, by the CPU itself: it runs nothing of its instance any more, and is about to leave. */
void apmp_pal_quiesce(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx);

/* Executed by the CPU itself, quiesced; how: APMP_MIGRATE_*.  0: the CPU is gone from here; its
 * thread must now call apmp_pal_console and nothing else.  Otherwise it goes on here as before
 * (step 2205), with the errors of apmp_pal_validate or of the console's MIGRATE_CPU; -EIO: the
 * execution word was not ours, which says that two run on one CPU. */
APMP_CHECK int apmp_pal_migrate(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
				uint32_t self_id, uint32_t cpu_idx, uint32_t to_id, uint32_t how);

/* HALT, executed by the CPU itself, quiesced: it enters console code, which does what it was halted
 * for [0312, 0328].  0: its thread must now call apmp_pal_console and nothing else; -EIO: as above.
 * The first stays in console mode; the second has HALT_MIGRATE and where to in REASON_FOR_HALT, how
 * as above; the third DEASSIGN in HALT_REQUESTED.  When that is refused the CPU stays in console
 * mode, and has said so (apmp_hwrpb_take_startreq). */
APMP_CHECK int apmp_pal_halt(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx);
APMP_CHECK int apmp_pal_halt_migrate(struct apmp_env *env, const struct apmp_tree *tree,
				     struct hwrpb *h, uint32_t self_id, uint32_t cpu_idx,
				     uint32_t to_id, uint32_t how);
APMP_CHECK int apmp_pal_halt_deassign(struct apmp_env *env, const struct apmp_tree *tree,
				      struct hwrpb *h, uint32_t self_id, uint32_t cpu_idx);

/* Console code of a CPU that does not run here: sleeps on RXRDY and obeys the primary [0331].  0:
 * it was told to START, is ours and has the execution word; a thread that was here before goes on
 * after its last migrate instruction or HALT, a new one begins as a secondary [step 2220].
 * -EIO: somebody else runs on the CPU; -ETIMEDOUT: the deadline passed. */
APMP_CHECK int apmp_pal_console(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
				uint32_t self_id, uint32_t cpu_idx, uint64_t deadline_ns);

/* Fig. 27 from step 2702, executed by the CPU itself, whose context is saved: it goes to the first
 * of its failover targets that takes it, as a loan: its permanent owner is what it was [0300].  The
 * id of that partition; APMP_NO_PARTITION: none does, or it is told to stay, and it is in console
 * mode.  Its thread must not do anything more. */
APMP_CHECK uint32_t apmp_pal_fail_over(struct apmp_env *env, const struct apmp_tree *tree,
				       struct hwrpb *h, uint32_t self_id, uint32_t cpu_idx);
/* Step 2608, by the primary: a CPU in console mode is told to go to its next target from *place on,
 * 0 before the first one.  False: it has none any more. */
APMP_CHECK bool apmp_pal_send_stopped(struct apmp_env *env, const struct apmp_tree *tree,
				      struct hwrpb *h, uint32_t self_id, uint32_t cpu_idx,
				      uint32_t *place, uint32_t *ret_to_id);

#endif
