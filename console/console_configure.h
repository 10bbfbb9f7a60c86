/*
 * console_configure.h - a change of the configuration, for instances and the administrator alike
 * [0113-0116]: rules (shm/configure.h), the update, and what follows in the console.
 */
#ifndef APMP_CONSOLE_CONSOLE_CONFIGURE_H
#define APMP_CONSOLE_CONSOLE_CONFIGURE_H

#include "console/console.h"
#include "shm/configure.h"

/*
 * Carries out a request of the kinds CREATE_COMMUNITY to UNLOCK_TREE (shm/call.h).  by: the handle
 * of the partition that asks, or APMP_ADMINISTRATOR.
 *
 * within, when it isn't NULL, is called inside the update, just before its commit, with *ret filled
 * in: what it stores through c->update happens with the change or not at all.  A request that
 * changes nothing (LIMITS) and one that is refused don't call it.
 *
 * 0: done; *ret has what the callback returns and whether it is permanent: then the answer waits
 * for console_when_durable.
 * -errno of ret->reason: refused, nothing was changed.  With APMP_REASON_NONE the host refused:
 * what it said; of START_PARTITION the partition exists as before.
 */
APMP_CHECK int console_configure(struct console *c, const struct apmp_call_request *r, int32_t by,
				 void (*within)(void *ctx), void *ctx, struct apmp_configured *ret);

/* A permanent change of the console's own (hot swap): inside its update. */
void console_permanent(struct console *c);

/* Whether a partition holds the tree's lock [0085]; then *ret_why says so. */
bool console_tree_locked(struct console *c, struct apmp_configured *ret_why);

#endif
