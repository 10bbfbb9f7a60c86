/*
 * cpu_order.c - what the operator asks of CPUs, from the request to its end.
 *
 * WHAT      The instance that has the CPU is asked in the CPU's slot, and decides [0150].  The end
 *           stands in memory, where a lost report takes nothing from it: a refusal as the answer
 *           to the request's number, success as the state of the CPU where it is to be.  Of a
 *           deassignment it is the callback by which the CPU becomes nobody's.
 * STATES    of a CPU: no order -> asked -> done | refused | an instance of it died.  One order at a
 *           time.  A CPU that is deassigned to be assigned elsewhere goes on as a migration.
 *           All orders of a partition are looked at with each of its reports: one that was lost
 *           found the channel full, so there are others behind it.
 * CRASHES   Orders die with the console, and who asked hears that.  The next one takes back what no
 *           instance has begun; the CPU does what was begun, and a refusal of that answers no
 *           number that is waited for.
 */
#include "console/cpu_order.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/failover.h"
#include "console/operator.h"
#include "shm/intr.h"
#include "shm/shared.h"

/* ---- the end ---- */

static void done(struct console *c, uint32_t cpu_idx, struct cpu_order *o, bool active,
		 uint64_t end_ns)
{
	struct varlink_call *call = o->call;
	json_int_t elapsed = (json_int_t)(end_ns - o->begin_ns);
	struct apmp_tree_node cpu = {0};
	const struct partition *owner;
	const char *from = c->partition[o->ask.from_id].name, *to = c->partition[o->ask.to_id].name;

	o->active = false;
	o->refused = 0;
	o->call = NULL;
	if (o->ask.op == HWRPB_REQUEST_MIGRATE)
		console_event(c, "cpu.migrated", &c->partition[o->ask.to_id], "{s:i,s:s,s:I}",
			      "cpu", (int)cpu_idx, "from", from, "elapsed_ns", elapsed);
	if (!call)
		return;
	if (o->ask.op != HWRPB_REQUEST_MIGRATE) {
		varlink_call_reply(
		    call, json_pack("{s:s,s:I}", "partition", from, "elapsed_ns", elapsed));
		return;
	}
	(void)!apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu); /* else it is nobody's */
	owner = console_partition_of(c, cpu.owner);
	varlink_call_reply(call, json_pack("{s:s,s:s,s:s?,s:I,s:b,s:b}", "from", from, "to", to,
					   "owner", owner ? owner->name : NULL, "elapsed_ns",
					   elapsed, "active", active, "loan_ended", o->loan_ends));
}

/* Whether it ends an order, that the CPU works, or waits in console mode, in this partition. */
static bool ends(const struct cpu_order *o, const struct partition *p, bool active)
{
	return o->active && p->id == o->ask.to_id && o->ask.op != HWRPB_REQUEST_DEASSIGN &&
	       o->ask.op != (active ? HWRPB_REQUEST_STOP : HWRPB_REQUEST_START);
}

/* A CPU works, or waits in console mode, in this partition: reported, or found so, then. */
static void came(struct partition *p, uint32_t cpu_idx, bool active, uint64_t then_ns)
{
	struct console *c = p->console;
	struct cpu_order *o = &c->order[cpu_idx];
	struct partition *from;
	uint32_t from_id = apmp_identity_id(apmp_swap(&c->state->source[cpu_idx], 0));

	from = from_id < APMP_MAX_PARTITIONS ? &c->partition[from_id] : NULL;
	if (from && !o->active) /* its console has died, or nobody of the operator's asked for it */
		console_event(c, "cpu.migrated", p, "{s:i,s:s}", "cpu", (int)cpu_idx, "from",
			      from->name);
	console_failover_came(p, cpu_idx);
	if (ends(o, p, active))
		done(c, cpu_idx, o, active, then_ns);
	if (!from || !from->exists)
		return;
	/* Now that nobody waits for it: the sender's host CPUs are fewer, and its primary sees that
	 * its CPUs are. */
	console_set_cpuset(from);
	apmp_intr_send(&c->env, apmp_load_relaxed(&from->hwrpb->primary), APMP_INTR_TREE);
}

/* Why a CPU stays, as the end of a sentence. */
static void say_why(const struct console *c, uint32_t cpu_idx, const struct cpu_order *o, int err,
		    char *ret_text, size_t size)
{
	const struct partition *from = &c->partition[o->ask.from_id],
			       *to = &c->partition[o->ask.to_id];
	uint32_t task;

	switch (err) {
	case -EBUSY:
		snprintf(ret_text, size, "it is the primary");
		return;
	case -ETXTBSY:
		task = apmp_load_relaxed(&from->hwrpb->slot[cpu_idx].bound);
		if (task) /* it may have ended by now */
			snprintf(ret_text, size, "task %u is bound to it", task);
		else
			snprintf(ret_text, size, "a task is bound to it");
		return;
	case -ENOEXEC:
		snprintf(ret_text, size, "%s can't use its type or revision", to->name);
		return;
	case -EAGAIN:
		snprintf(ret_text, size, "another change of it is on its way");
		return;
	case -EHOSTDOWN:
		snprintf(ret_text, size, "%s is not running", to->name);
		return;
	case -EXDEV:
		snprintf(ret_text, size, "%s is in another community", to->name);
		return;
	case -EALREADY:
		snprintf(ret_text, size, "there is nothing to do with it any more");
		return;
	case -EPERM:
		snprintf(ret_text, size, "%s has it on loan, or no more", from->name);
		return;
	default:
		snprintf(ret_text, size, "%s", strerror(-err));
	}
}

static void failed(struct console *c, uint32_t cpu_idx, int err)
{
	struct cpu_order o = c->order[cpu_idx];
	char why[128];

	c->order[cpu_idx].active = false;
	c->order[cpu_idx].call = NULL;
	say_why(c, cpu_idx, &o, err, why, sizeof(why));
	c->order[cpu_idx].refused = err;
	if (!o.wait_ms || o.refused != err) /* who has time asks again and again */
		console_event(c, "cpu.refused", &c->partition[o.ask.from_id], "{s:i,s:s}", "cpu",
			      (int)cpu_idx, "reason", why);
	if (o.call)
		console_order_refuse(o.call, cpu_idx, &o, c, err);
}

/* Looks at what an order of the operator has come to. */
static void look(struct console *c, uint32_t cpu_idx)
{
	const struct cpu_order *o = &c->order[cpu_idx];
	int asked = apmp_cpu_asked(&c->mover, &o->ask);

	if (asked < 0)
		failed(c, cpu_idx, asked);
	else if (asked != APMP_CPU_OPEN && o->ask.op == HWRPB_REQUEST_DEASSIGN)
		console_order_deassigned(c, cpu_idx);
	else if (asked != APMP_CPU_OPEN)
		came(&c->partition[o->ask.to_id], cpu_idx, asked == APMP_CPU_WORKS,
		     c->env.now(&c->env));
}

void console_orders_look(struct partition *p)
{
	struct console *c = p->console;

	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		if (c->order[cpu].active &&
		    (c->order[cpu].ask.from_id == p->id || c->order[cpu].ask.to_id == p->id))
			look(c, cpu);
}

void console_order_reported(struct partition *p, uint32_t cpu_idx, bool active)
{
	uint64_t then_ns = p->console->env.now(&p->console->env);

	console_event(p->console, active ? "cpu.started" : "cpu.stopped", p, "{s:i}", "cpu",
		      (int)cpu_idx);
	came(p, cpu_idx, active, then_ns);
}

/* It is nobody's: it is given to who was named, and goes there at once. */
static void assign(struct console *c, uint32_t cpu_idx, struct cpu_order *o)
{
	struct apmp_call_request r = {.op = APMP_CALL_ASSIGN};
	struct partition *to = &c->partition[o->ask.to_id];
	struct varlink_call *call = o->call;
	struct apmp_configured result = {.reason = APMP_REASON_NO_SUCH_NODE};
	struct apmp_tree_node cpu = {.handle = GCT_NONE};
	int err = apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu);

	r.arg[0] = (uint64_t)cpu.handle;
	r.arg[1] = (uint64_t)to->handle;
	o->ask.op = HWRPB_REQUEST_MIGRATE; /* it is waited for as for one */
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

	if (!o->active || o->ask.op != HWRPB_REQUEST_DEASSIGN)
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

		if (!o->active || (died->id != o->ask.from_id && died->id != o->ask.to_id))
			continue;
		o->active = false;
		if (o->call)
			varlink_call_error(
			    o->call, "PartitionDied",
			    json_pack("{s:s,s:s}", "partition", died->name, "during",
				      o->ask.op == HWRPB_REQUEST_MIGRATE ? "migration" : "it"));
		o->call = NULL;
	}
}

/* ---- refusals ---- */

/* The CPU, and whose doing its order waits for: the receiver's as soon as the CPU is there. */
static json_t *awaited(struct console *c, uint32_t cpu_idx, const struct cpu_order *o)
{
	const struct partition *by = &c->partition[o->ask.from_id],
			       *to = &c->partition[o->ask.to_id];
	struct apmp_tree_node cpu;

	if (apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu) == 0 && cpu.current_owner == to->handle)
		by = to;
	return json_pack("{s:i,s:s}", "cpu", (int)cpu_idx, "partition", by->name);
}

static void busy(struct varlink_call *call, struct console *c, uint32_t cpu_idx,
		 const struct cpu_order *o)
{
	varlink_call_error(call, "Busy", awaited(c, cpu_idx, o));
}

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
	const struct partition *from = &c->partition[o->ask.from_id],
			       *to = &c->partition[o->ask.to_id];
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
		busy(call, c, cpu_idx, o);
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
	case -ENOMEM: /* of where it is then */
		snprintf(text, sizeof(text), "partition \"%s\" has CPU %u and can't start it: %s",
			 to->name, cpu_idx, strerror(-err));
		refuse_text(call, text);
		return;
	case -EPERM:
		snprintf(
		    text, sizeof(text),
		    o->ask.op == HWRPB_REQUEST_DEASSIGN
			? "partition \"%s\" can't give up CPU %u: it has it on loan; migrate it "
			  "to its owner first"
			: "partition \"%s\" does not have CPU %u any more",
		    from->name, cpu_idx);
		refuse_text(call, text);
		return;
	case -EALREADY:
		snprintf(text, sizeof(text), "CPU %u %s in partition \"%s\" already", cpu_idx,
			 o->ask.op == HWRPB_REQUEST_STOP    ? "is stopped"
			 : o->ask.op == HWRPB_REQUEST_START ? "works"
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
	if (o->active && apmp_cpu_take_back(&o->console->mover, &o->ask))
		o->active = false;
}

/* The time that who asked has for it is over: he hears whether it goes on. */
static void on_late(uv_timer_t *timer)
{
	struct console *c = timer->data;
	uint32_t cpu_idx = (uint32_t)(timer - c->order_timer);
	struct cpu_order *o = &c->order[cpu_idx];
	struct varlink_call *call;

	if (o->active)
		look(c, cpu_idx);
	call = o->active ? o->call : NULL;
	if (!call)
		return;
	o->call = NULL;
	o->active = !apmp_cpu_take_back(&c->mover, &o->ask);
	varlink_call_error(call, o->active ? "Unfinished" : "NotBegun", awaited(c, cpu_idx, o));
}

void console_orders_init(struct console *c)
{
	for (uint32_t cpu = 0; cpu < APMP_MAX_CPUS; cpu++) {
		(void)uv_timer_init(&c->loop, &c->order_timer[cpu]); /* refuses nothing */
		c->order_timer[cpu].data = c;
	}
}

/* Whether the CPU is free for an order; else that is answered. */
static bool is_free(struct console *c, struct varlink_call *call, uint32_t cpu_idx)
{
	struct cpu_order *o = &c->order[cpu_idx];

	if (o->active)
		look(c, cpu_idx);
	if (o->active)
		busy(call, c, cpu_idx, o);
	return !o->active;
}

void console_order(struct console *c, struct varlink_call *call, uint32_t cpu_idx,
		   const struct cpu_order *wanted, uint32_t how)
{
	struct cpu_order *o = &c->order[cpu_idx];
	int refused = o->refused;

	if (!is_free(c, call, cpu_idx))
		return;
	*o = *wanted;
	o->refused = refused;
	o->console = c;
	o->ask.cpu_idx = cpu_idx;
	o->begin_ns = c->env.now(&c->env);
	if (apmp_cpu_ask(&c->mover, &o->ask, how)) {
		busy(call, c, cpu_idx, o); /* with what was taken back, and not heard yet */
		return;
	}
	o->active = true;
	o->call = call;
	varlink_call_on_hangup(call, caller_gone, o);
	if (o->wait_ms)
		(void)uv_timer_start(&c->order_timer[cpu_idx], on_late, o->wait_ms, 0);
	else
		(void)uv_timer_stop(&c->order_timer[cpu_idx]); /* that of an order before */
}
