/*
 * cpu_order.c - what the operator asks of CPUs, from the request to its end.
 *
 * WHAT      The instance that has the CPU is asked by its mailbox, and decides [0150].  That it has
 *           begun is its answer there; the end comes as a report, or, of a deassignment, as the
 *           callback by which the CPU becomes nobody's.
 * STATES    of a CPU: no order -> asked -> done | refused | an instance of it died.  One order at a
 *           time.  A CPU that is deassigned to be assigned elsewhere goes on as a migration.
 * CRASHES   Orders die with the console, and who asked hears that; the CPU does what its instance
 *           began.
 */
#include "console/cpu_order.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/failover.h"
#include "console/operator.h"
#include "shm/shared.h"

/* ---- the end ---- */

static json_int_t elapsed(struct console *c, const struct cpu_order *o)
{
	return (json_int_t)(c->env.now(&c->env) - o->begin_ns);
}

static void done(struct console *c, uint32_t cpu_idx, struct cpu_order *o, bool active)
{
	struct varlink_call *call = o->call;
	const char *from = c->partition[o->from].name, *to = c->partition[o->to].name;

	o->active = false;
	o->call = NULL;
	if (o->op == HWRPB_REQUEST_MIGRATE)
		console_event(c, "cpu.migrated", &c->partition[o->to], "{s:i,s:s,s:I}", "cpu",
			      (int)cpu_idx, "from", from, "elapsed_ns", elapsed(c, o));
	if (!call)
		return;
	if (o->op == HWRPB_REQUEST_MIGRATE)
		varlink_call_reply(call, json_pack("{s:s,s:s,s:I,s:b,s:b}", "from", from, "to", to,
						   "elapsed_ns", elapsed(c, o), "active", active,
						   "loan_ended", o->loan_ends));
	else
		varlink_call_reply(
		    call, json_pack("{s:s,s:I}", "partition", from, "elapsed_ns", elapsed(c, o)));
}

/* The partition where an order ends. */
static uint32_t end_of(const struct cpu_order *o)
{
	return o->op == HWRPB_REQUEST_MIGRATE ? o->to : o->from;
}

static bool works_in(const struct partition *p, uint32_t cpu_idx)
{
	return apmp_load_relaxed(&p->hwrpb->slot[cpu_idx].state) == HWRPB_CPU_ACTIVE;
}

/* Whether the CPU has come to where its order ends, whatever was told. */
static bool is_at_its_end(struct console *c, uint32_t cpu_idx, const struct cpu_order *o)
{
	uint32_t at = end_of(o), state;
	struct apmp_tree_node cpu;

	if (apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu))
		return true;
	if (o->op == HWRPB_REQUEST_DEASSIGN)
		return !cpu.owner;
	state = apmp_load_relaxed(&c->partition[at].hwrpb->slot[cpu_idx].state);
	return cpu.current_owner == c->partition[at].handle &&
	       ((state == HWRPB_CPU_ACTIVE && o->op != HWRPB_REQUEST_STOP) ||
		(state == HWRPB_CPU_HALTED && o->op != HWRPB_REQUEST_START));
}

/* Where it came from; APMP_NO_PARTITION: it was here, or that was told. */
static uint32_t arrived(struct partition *p, uint32_t cpu_idx)
{
	struct console *c = p->console;
	uint32_t from = apmp_identity_id(apmp_swap(&c->state->source[cpu_idx], 0));

	if (!c->order[cpu_idx].active && from < APMP_MAX_PARTITIONS)
		/* Its console has died, or nobody of the operator's asked for it. */
		console_event(c, "cpu.migrated", p, "{s:i,s:s}", "cpu", (int)cpu_idx, "from",
			      c->partition[from].name);
	return from;
}

static void failed(struct console *c, uint32_t cpu_idx, int err)
{
	struct cpu_order o = c->order[cpu_idx];

	c->order[cpu_idx].active = false;
	c->order[cpu_idx].call = NULL;
	console_event(c, "cpu.refused", &c->partition[o.from], "{s:i,s:s}", "cpu", (int)cpu_idx,
		      "reason", strerror(-err));
	if (o.call)
		console_order_refuse(o.call, cpu_idx, &o, c, err);
}

void console_order_reported(struct partition *p, uint32_t report, uint32_t cpu_idx, int err)
{
	struct console *c = p->console;
	struct cpu_order *o = &c->order[cpu_idx];
	bool active = report == APMP_REPORT_CPU_ACTIVE;
	uint32_t from;

	if (report == APMP_REPORT_CPU_REFUSED) {
		if (o->active && (p->id == o->from || p->id == o->to))
			failed(c, cpu_idx, err ? -err : -EIO);
		return;
	}
	if (active)
		console_event(c, "cpu.started", p, "{s:i}", "cpu", (int)cpu_idx);
	else
		console_event(c, "cpu.stopped", p, "{s:i}", "cpu", (int)cpu_idx);
	from = arrived(p, cpu_idx);
	console_failover_came(p, cpu_idx);
	if (o->active && p->id == end_of(o) &&
	    o->op != (active ? HWRPB_REQUEST_STOP : HWRPB_REQUEST_START) &&
	    o->op != HWRPB_REQUEST_DEASSIGN)
		done(c, cpu_idx, o, active);
	/* Now that nobody waits for it: the sender's host CPUs are fewer. */
	if (from < APMP_MAX_PARTITIONS && c->partition[from].exists)
		console_set_cpuset(&c->partition[from]);
}

/* It is nobody's: it is given to who was named, and goes there at once. */
static void assign(struct console *c, uint32_t cpu_idx, struct cpu_order *o)
{
	struct apmp_call_request r = {.op = APMP_CALL_ASSIGN};
	struct partition *to = &c->partition[o->to];
	struct varlink_call *call = o->call;
	struct apmp_configured result = {.reason = APMP_REASON_NO_SUCH_NODE};
	struct apmp_tree_node cpu = {.handle = GCT_NONE};
	int err = apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu);

	r.arg[0] = (uint64_t)cpu.handle;
	r.arg[1] = (uint64_t)to->handle;
	o->op = HWRPB_REQUEST_MIGRATE; /* it is waited for as for one */
	if (!err)
		err = console_configure(c, &r, APMP_ADMINISTRATOR, NULL, NULL, &result);
	if (!err)
		err = apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu);
	if (!err && cpu.current_owner == to->handle)
		return;
	o->active = false;
	o->call = NULL;
	if (!call)
		return;
	if (err)
		console_refused(c, call, &result, err);
	else
		varlink_call_error(
		    call, "PartitionDied",
		    json_pack("{s:s,s:s}", "partition", to->name, "during", "migration"));
}

void console_order_deassigned(struct console *c, uint32_t cpu_idx)
{
	struct cpu_order *o = &c->order[cpu_idx];

	if (!o->active || o->op != HWRPB_REQUEST_DEASSIGN)
		return;
	if (o->assign) {
		assign(c, cpu_idx, o);
		return;
	}
	o->active = false;
	if (o->call)
		console_reply_durably(c, o->call, json_pack("{s:b}", "in_use", 0));
	o->call = NULL;
}

void console_orders_died(struct partition *died)
{
	struct console *c = died->console;

	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++) {
		struct cpu_order *o = &c->order[cpu];

		if (!o->active || (died->id != o->from && died->id != o->to))
			continue;
		o->active = false;
		if (o->call)
			varlink_call_error(
			    o->call, "PartitionDied",
			    json_pack("{s:s,s:s}", "partition", died->name, "during",
				      o->op == HWRPB_REQUEST_MIGRATE ? "migration" : "it"));
		o->call = NULL;
	}
}

/* ---- refusals ---- */

static void refuse_text(struct varlink_call *call, const char *reason)
{
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

static void refuse_bound(struct varlink_call *call, uint32_t cpu_idx, const struct partition *from)
{
	json_t *about = json_pack("{s:i,s:s}", "cpu", (int)cpu_idx, "partition", from->name);
	uint32_t task = apmp_load_relaxed(&from->hwrpb->slot[cpu_idx].bound);

	if (task) /* it may have ended by now */
		json_object_set_new(about, "task", json_integer(task));
	varlink_call_error(call, "Bound", about);
}

void console_order_refuse(struct varlink_call *call, uint32_t cpu_idx, const struct cpu_order *o,
			  struct console *c, int err)
{
	const struct partition *from = &c->partition[o->from], *to = &c->partition[o->to];
	char text[256];

	switch (err) {
	case -EBUSY:
		varlink_call_error(
		    call, "PrimaryCpu",
		    json_pack("{s:i,s:s}", "cpu", (int)cpu_idx, "partition", from->name));
		return;
	case -ETXTBSY:
		refuse_bound(call, cpu_idx, from);
		return;
	case -ENOEXEC:
		varlink_call_error(
		    call, "Incompatible",
		    json_pack("{s:i,s:s}", "cpu", (int)cpu_idx, "partition", to->name));
		return;
	case -EAGAIN:
		varlink_call_error(call, "Busy", json_pack("{s:s}", "what", "the same CPU"));
		return;
	case -EHOSTDOWN:
		varlink_call_error(
		    call, "NotRunning",
		    json_pack("{s:s,s:s}", "partition", to->name, "state", console_state_text(to)));
		return;
	case -EXDEV:
		refuse_text(call, "the partitions are in different communities: only partitions of "
				  "one community trade CPUs");
		return;
	case -EPERM:
		snprintf(
		    text, sizeof(text),
		    o->op == HWRPB_REQUEST_DEASSIGN
			? "partition \"%s\" can't give up CPU %u: it has it on loan; migrate it "
			  "to its owner first"
			: "partition \"%s\" does not have CPU %u any more",
		    from->name, cpu_idx);
		refuse_text(call, text);
		return;
	case -EALREADY:
		snprintf(text, sizeof(text), "CPU %u %s in partition \"%s\" already", cpu_idx,
			 o->op == HWRPB_REQUEST_STOP	? "is stopped"
			 : o->op == HWRPB_REQUEST_START ? "works"
							: "is",
			 to->name);
		refuse_text(call, text);
		return;
	default:
		snprintf(text, sizeof(text), "partition \"%s\" does not do it with CPU %u: %s",
			 from->name, cpu_idx, strerror(-err));
		refuse_text(call, text);
	}
}

/* ---- the request ---- */

static void caller_gone(void *ctx)
{
	struct cpu_order *o = ctx;

	o->call = NULL;
	/* Not begun yet, by an instance that may be stopped: it is not to happen later. */
	if (o->active && apmp_hwrpb_request_take_back(o->hwrpb, o->seq))
		o->active = false;
}

/* Whether the CPU is free for an order; else that is answered. */
static bool is_free(struct console *c, struct varlink_call *call, uint32_t cpu_idx)
{
	struct cpu_order *o = &c->order[cpu_idx];

	/* Done, and its report was lost. */
	if (o->active && is_at_its_end(c, cpu_idx, o)) {
		if (o->op == HWRPB_REQUEST_DEASSIGN)
			console_order_deassigned(c, cpu_idx);
		else
			done(c, cpu_idx, o, works_in(&c->partition[end_of(o)], cpu_idx));
	}
	if (o->active)
		varlink_call_error(call, "Busy", json_pack("{s:s}", "what", "the same CPU"));
	return !o->active;
}

void console_order(struct console *c, struct varlink_call *call, uint32_t cpu_idx,
		   const struct cpu_order *wanted, uint32_t how)
{
	const uint64_t arg[3] = {cpu_idx, wanted->to, how};
	struct partition *from = &c->partition[wanted->from];
	struct cpu_order *o = &c->order[cpu_idx];

	if (!is_free(c, call, cpu_idx))
		return;
	*o = *wanted;
	o->hwrpb = from->hwrpb;
	o->begin_ns = c->env.now(&c->env);
	console_wish_look(from); /* the answer stands where the next one will */
	if (apmp_hwrpb_request(&c->env, from->hwrpb, o->op, arg, &o->seq)) {
		varlink_call_error(call, "Busy", json_pack("{s:s}", "what", "the same partition"));
		return;
	}
	o->active = true;
	o->call = call;
	varlink_call_on_hangup(call, caller_gone, o);
}
