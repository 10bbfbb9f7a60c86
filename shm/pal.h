/*
 * pal.h - PAL MIGRATE and what a CPU does around it, in the instance [0290]-[0293].
 */
#ifndef APMP_SHM_PAL_H
#define APMP_SHM_PAL_H

#include "shm/hwrpb.h"

/* Step 2204: whether this CPU of ours may go to that partition now.
 * -EPERM it is not ours; -EBUSY it is the primary; -ENXIO no such partition or CPU;
 * -EHOSTDOWN nothing runs there; -EXDEV another community; -EALREADY it is there. */
APMP_CHECK int apmp_pal_validate(const struct apmp_tree *tree, uint32_t self_id, uint32_t cpu_idx,
				 uint32_t to_id);

/* Executed by the CPU itself, quiesced.  0: the CPU is gone from here; its thread must now call
 * apmp_pal_park and nothing else.  Otherwise it goes on here as before (step 2205), with the
 * errors of apmp_pal_validate or of the console's MIGRATE_CPU; -EIO: the execution word was not
 * ours, which says that two run on one CPU. */
APMP_CHECK int apmp_pal_migrate(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
				uint32_t self_id, uint32_t cpu_idx, uint32_t to_id, bool loan);

/* Console code of a CPU that is not running here: polls RXRDY until the primary sends START
 * [step 2306], takes the CPU's execution word and returns: execution goes on after the last
 * migrate instruction, or, on a new thread, begins as a secondary [step 2220].
 * -EIO: somebody else runs on the CPU; -ETIMEDOUT: the deadline passed. */
APMP_CHECK int apmp_pal_park(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx,
			     uint64_t deadline_ns);

#endif
