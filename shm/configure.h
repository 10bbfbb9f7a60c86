/*
 * configure.h - the rules of the configuration [0060-0063, 0077-0079, 0092-0103, 0113-0117,
 * 0192-0195], as one function over requests: who may change what, and why not.
 *
 * Only the console calls it, for the callbacks of instances and for the administrator alike.
 */
#ifndef APMP_SHM_CONFIGURE_H
#define APMP_SHM_CONFIGURE_H

#include "shm/call.h"
#include "shm/tree_write.h"

enum apmp_reason {
	APMP_REASON_NONE = 0,
#define X(name, number, err, varlink, text) APMP_REASON_##name = number,
#include "shm/reasons.def"
#undef X
	APMP_REASON_COUNT
};

struct apmp_reason_info {
	int err;	     /* positive errno */
	const char *varlink; /* name of the Varlink error */
	const char *name;    /* as in shm/reasons.def: "NOT_OWNER" */
	const char *text;    /* a sentence without its full stop */
};

/* NULL: no such reason. */
const struct apmp_reason_info *apmp_reason_info(uint32_t reason);

/* by: a partition's handle, or the administrator, who is not bound to one community but takes
 * nothing from an initialized partition either. */
#define APMP_ADMINISTRATOR INT32_C(-1)

struct apmp_configured {
	uint32_t reason; /* enum apmp_reason; APMP_REASON_NONE: done */
	int32_t about;	 /* handle of the node that stood in the way, or GCT_NONE */
	uint64_t ret[2]; /* what the callback returns (shm/call.h); NO_MEMORY: wanted, had */
	bool permanent;	 /* it changed what non-volatile memory holds [0065] */
};

/*
 * Checks a request of the kinds CREATE_COMMUNITY to RESET_BUSES (shm/call.h), and makes the change.
 *
 * 0: the change is made and its update still open: the caller adds at most APMP_UPDATE_SPARE stores
 * of its own and commits.  After CREATE_PARTITION one of them is apmp_tree_set_hwrpb.
 * -errno of the reason: refused; nothing was stored, and no update is open.
 * Requests that change nothing (LIMITS; START_PARTITION, which only says whether it may be booted)
 * give 0 and leave no update open: apmp_update_open says which.
 */
APMP_CHECK int apmp_configure(struct apmp_tree_writer *tw, const struct apmp_call_request *request,
			      int32_t by, struct apmp_configured *ret);

/*
 * Hot swap by the administrator [0074], in the same manner.  What comes in: spec as for
 * apmp_tree_add, of a memory descriptor also its range; ret->ret[1] is its handle, the old one when
 * it was there before.  Reasons: LOCKED, NO_SUCH_NODE (the parent), UNAVAILABLE (the parent),
 * INVALID (no such type below such a parent; or it was there before, elsewhere or of another size),
 * PRESENT, ALIGNMENT, TOO_MANY, POOL.
 * What goes out: LOCKED, NO_SUCH_NODE, UNAVAILABLE, NOT_HOTSWAP, IN_USE.
 */
APMP_CHECK int apmp_hardware_insert(struct apmp_tree_writer *tw, const struct apmp_tree_spec *spec,
				    uint64_t pa, uint64_t size, struct apmp_configured *ret);
APMP_CHECK int apmp_hardware_remove(struct apmp_tree_writer *tw, int32_t handle,
				    struct apmp_configured *ret);

/* Whether a partition has what the template asks for [0079]: owned, in the box, and used by nobody
 * else.  0, or -ENODEV with what is missing. */
struct apmp_missing {
	uint8_t type, subtype;
	uint64_t wanted, had; /* pieces; of memory bytes of its largest base segment [0085] */
};
APMP_CHECK int apmp_template_check(const struct apmp_tree *tree, int32_t partition,
				   struct apmp_missing *ret);

#endif
