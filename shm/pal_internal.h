/*
 * pal_internal.h - what PAL MIGRATE and console code of a CPU share.
 */
#ifndef APMP_SHM_PAL_INTERNAL_H
#define APMP_SHM_PAL_INTERNAL_H

#include "shm/pal.h"

/* A CPU, and the instance that it belongs to. */
struct apmp__pal {
	struct apmp_env *env;
	const struct apmp_tree *tree;
	struct hwrpb *h;
	struct hwrpb_slot *slot;
	uint32_t self_id, cpu_idx;
};

/* Step 2202: the thread keeps the hardware state, the execution word is given up.  -EIO. */
APMP_CHECK int apmp__pal_save(const struct apmp__pal *p);
/* Steps 2204 to 2216, the latter the console's, of a CPU that is quiesced and runs nothing.  0: it
 * is gone.  Errors as of apmp_pal_migrate but -EIO. */
APMP_CHECK int apmp__pal_leave(const struct apmp__pal *p, uint32_t to_id, uint32_t how);
/* A callback by which a CPU that is quiesced leaves.  0: it has left, whatever was answered:
 * a console that has died over it has made the change, and the next one says something else. */
APMP_CHECK int apmp__pal_ask(const struct apmp__pal *p, struct apmp_call *call);

#endif
