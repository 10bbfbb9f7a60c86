/*
 * operator_debug.c - `apmp debug`: whose silence nobody counts, because a debugger may hold it.
 *
 * WHAT      gct_partition_node.debugged names one incarnation, so it ends with that life.  Watchers
 *           (shm/member_tick.c) then neither suspect nor fence it; callbacks.c refuses.
 * LIMITS    A fence that is under way when this is asked goes on; who was judged a moment before
 *           and has its bugcheck bit set, sees it when it goes on.  What ends is fenced all the
 *           same.
 */
#include "console/operator.h"

static void on_debug(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const char *name = text_of(parameters, "name");
	bool off = json_is_true(json_object_get(parameters, "off")), was;
	struct partition *p;
	uint64_t identity;

	if (!console_partition(c, name) && console_community(c, name)) {
		varlink_call_error(call, "Refused",
				   json_pack("{s:o}", "reason",
					     json_sprintf("\"%s\" is a community, and a debugger "
							  "holds a partition",
							  name)));
		return;
	}
	p = console_wanted(c, call, parameters, "name");
	if (!p)
		return;
	identity = console_identity(p);
	/* One that ended, and is left to the others to find by its silence, lives no more. */
	if (!identity || p->fencing || p->exit_status >= 0) {
		varlink_call_error(call, "NotRunning",
				   json_pack("{s:s,s:s}", "partition", p->name, "state",
					     console_state_name(console_state(p))));
		return;
	}
	was = apmp_tree_debugged(&c->tw.tree, identity);
	if (was == off) {
		apmp_tree_set_debugged(&c->tw, p->id,
				       off ? 0 : apmp_identity_incarnation(identity));
		if (off)
			console_event(c, "instance.debugged-no-more", p, NULL);
		else
			console_event(c, "instance.debugged", p, NULL);
	}
	varlink_call_reply(call, json_pack("{s:b}", "was", was));
}

const struct console_method console_debug_methods[] = {
    {"PartitionDebug", on_debug},
    {NULL, NULL},
};
