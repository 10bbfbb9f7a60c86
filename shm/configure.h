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
	const char *name;    /* lower case, as "not_owner" */
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
 * Checks a request of the kinds CREATE_COMMUNITY to UNLOCK_TREE (shm/call.h), and makes the change.
 *
 * 0: the change is made and its update still open: the caller adds stores of its own and commits.
 * -errno of the reason: refused; nothing was stored, and no update is open.
 * Requests that only read (LIMITS) give 0 and leave no update open: apmp_update_open says which.
 */
APMP_CHECK int apmp_configure(struct apmp_tree_writer *tw, const struct apmp_call_request *request,
			      int32_t by, struct apmp_configured *ret);

/* Whether a partition has what the template asks for [0079].  0, or -ENODEV with what is missing. */
struct apmp_missing {
	uint8_t type, subtype;
	uint64_t wanted, had; /* pieces; of memory bytes of base memory [0097] */
};
APMP_CHECK int apmp_template_check(const struct apmp_tree *tree, int32_t partition,
				   struct apmp_missing *ret);

#endif
