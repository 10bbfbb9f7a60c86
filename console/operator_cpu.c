/*
 * operator_cpu.c - the operator's orders to CPUs that partitions have: migrate, start, stop,
 * deassign.
 *
 * What tree and HWRPBs rule out is refused here; the rest the instance decides (cpu_order.c).
 */
#include "console/operator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/cpu_order.h"
#include "shm/pal.h"
#include "shm/shared.h"

/* A CPU as a method names it, and who has it. */
struct wanted_cpu {
	uint32_t idx;
	struct apmp_tree_node node;
	struct partition *user, *owner; /* NULL: nobody */
};

static bool find_cpu(struct console *c, struct varlink_call *call, const json_t *parameters,
		     struct wanted_cpu *ret)
{
	json_int_t idx = json_integer_value(json_object_get(parameters, "cpu"));

	if (idx < 0 || idx >= (json_int_t)c->cpu_count ||
	    apmp_tree_cpu(&c->tw.tree, (uint32_t)idx, &ret->node)) {
		varlink_call_error(call, "NoSuchCpu", json_pack("{s:I}", "cpu", idx));
		return false;
	}
	ret->idx = (uint32_t)idx;
	ret->user = console_partition_of(c, ret->node.current_owner);
	ret->owner = console_partition_of(c, ret->node.owner);
	return true;
}

static void refuse(struct varlink_call *call, const char *reason)
{
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

static bool is_up(const struct partition *p)
{
	return p->pid && !p->fencing;
}

static void not_running(struct varlink_call *call, const struct partition *p)
{
	varlink_call_error(
	    call, "NotRunning",
	    json_pack("{s:s,s:s}", "partition", p->name, "state", console_state_text(p)));
}

static bool wants(const json_t *parameters, const char *flag)
{
	return json_is_true(json_object_get(parameters, flag));
}

/* Nothing that is no time is one: 0. */
static uint64_t wait_of(const json_t *parameters)
{
	json_int_t ms = json_integer_value(json_object_get(parameters, "wait_ms"));

	return ms > 0 ? (uint64_t)ms : 0;
}

/* Answers a dry run with what would be gone through. */
static void tell_steps(struct varlink_call *call, json_t *reply, const char *const lines[],
		       size_t count)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(steps, json_string(lines[i]));
	json_object_set_new(reply, "elapsed_ns", json_integer(0));
	json_object_set_new(reply, "steps", steps);
	varlink_call_reply(call, reply);
}

/* ---- migrate ---- */

/* Who has it already, or nobody: neither is a migration. */
static void cannot_migrate(struct varlink_call *call, const struct wanted_cpu *cpu,
			   const struct partition *to)
{
	char reason[160];

	if (!cpu->user && !cpu->owner) {
		varlink_call_error(call, "NotOwner",
				   json_pack("{s:i,s:s,s:n}", "cpu", (int)cpu->idx, "partition",
					     to->name, "owner"));
		return;
	}
	if (!cpu->user) /* it is his when he boots */
		snprintf(reason, sizeof(reason),
			 "CPU %u belongs to partition \"%s\", which has not booted with it; "
			 "`apmp cpu deassign %u` takes it from there",
			 cpu->idx, cpu->owner->name, cpu->idx);
	else
		snprintf(reason, sizeof(reason), "partition \"%s\" has CPU %u already",
			 cpu->user->name, cpu->idx);
	refuse(call, reason);
}

enum way { BY_PAL, BY_HALT, BY_DEASSIGN, WAYS };

static const char *const way_names[WAYS] = {"pal", "halt", "deassign"};

/* Default is PAL MIGRATE; false after answering. */
static bool find_way(struct varlink_call *call, const json_t *parameters, enum way *ret)
{
	const char *by = text_of(parameters, "by");

	*ret = BY_PAL;
	while (by && *ret < WAYS && strcmp(by, way_names[*ret]) != 0)
		(*ret)++;
	if (*ret == WAYS)
		varlink_call_invalid(call, "by");
	return *ret != WAYS;
}

static bool is_lent(const struct wanted_cpu *cpu)
{
	return cpu->user && cpu->owner && cpu->user != cpu->owner;
}

/* Steps of a migration until the CPU says that it goes: what its instance does. */
static void say_leaving(char (*line)[192], const struct wanted_cpu *cpu, enum way way)
{
	const char *from = cpu->user->name;
	bool halted =
	    apmp_load_relaxed(&cpu->user->hwrpb->slot[cpu->idx].state) == HWRPB_CPU_HALTED;

	if (halted) /* whatever way: by RX [0331] */
		snprintf(line[0], sizeof(line[0]), "%s: instance %s puts %s into RX of CPU %u",
			 way == BY_DEASSIGN ? "3202" : "3102, 3104", from,
			 way == BY_DEASSIGN ? "DEASSIGN" : "MIGRATE", cpu->idx);
	else
		snprintf(line[0], sizeof(line[0]), "904: instance %s quiesces CPU %u", from,
			 cpu->idx);
	if (halted)
		snprintf(line[1], sizeof(line[1]),
			 way == BY_DEASSIGN
			     ? "in instance %s CPU %u tells the console that it is deassigned"
			     : "3108, 2202, 2204: in instance %s CPU %u tells the console that it "
			       "goes",
			 from, cpu->idx);
	else
		snprintf(line[1], sizeof(line[1]),
			 way == BY_DEASSIGN
			     ? "3202, 3204, 2902: instance %s has CPU %u halt, deassigned"
			 : way == BY_HALT
			     ? "3002 to 3014: instance %s has CPU %u halt with HALT_MIGRATE; it "
			       "tells the console that it goes"
			     : "906, 2202, 2204: instance %s tells the console that CPU %u goes",
			 from, cpu->idx);
}

static void dry_migration(struct varlink_call *call, const struct wanted_cpu *cpu,
			  const struct partition *to, enum way way, bool loan)
{
	const char *from = cpu->user->name;
	/* Of one that is lent, already or by this, it stays the same. */
	const struct partition *owner = loan || is_lent(cpu) ? cpu->owner : to;
	char line[5][192];
	const char *lines[5] = {line[0], line[1], line[2], line[3], line[4]};

	snprintf(line[0], sizeof(line[0]), "%sask instance %s for CPU %u",
		 way == BY_DEASSIGN ? "" : "902: ", from, cpu->idx);
	say_leaving(&line[1], cpu, way);
	if (way == BY_DEASSIGN)
		snprintf(line[3], sizeof(line[3]),
			 "2904 to 2908, 3206 to 3214: tree and HWRPBs: CPU %u from %s to nobody, "
			 "then to %s",
			 cpu->idx, from, to->name);
	else
		snprintf(
		    line[3], sizeof(line[3]),
		    "908, 2206 to 2216: tree and HWRPBs: CPU %u from %s to %s; its owner %s %s",
		    cpu->idx, from, to->name, owner == cpu->owner ? "stays" : "is then",
		    owner ? owner->name : "nobody");
	snprintf(line[4], sizeof(line[4]), "910, 2302 to 2306: instance %s starts CPU %u", to->name,
		 cpu->idx);
	tell_steps(call, json_pack("{s:s,s:s}", "from", from, "to", to->name), lines, 5);
}

/* A CPU that comes for the first time in the receiver's life is another thread there. */
static bool has_room(struct varlink_call *call, struct partition *to, uint32_t cpu_idx)
{
	struct apmp_box_event event;
	int err;

	if (apmp_load_relaxed(&to->hwrpb->slot[cpu_idx].state)) /* 0: never seen there */
		return true;
	err = console_room(to->console, 1, &event);
	if (err != -EAGAIN && err != -ENOMEM)
		return true; /* what the box can't tell is found out by trying */
	varlink_call_error(call, "NotEnough",
			   json_pack("{s:s,s:s,s:I,s:I}", "partition", to->name, "what", event.text,
				     "wanted", (json_int_t)event.arg[0], "had",
				     (json_int_t)event.arg[1]));
	return false;
}

static void on_cpu_migrate(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	struct partition *to = console_wanted(c, call, parameters, "to");
	struct cpu_order o = {.ask.op = HWRPB_REQUEST_MIGRATE, .wait_ms = wait_of(parameters)};
	uint32_t how = wants(parameters, "loan") ? APMP_MIGRATE_LOAN : 0;
	struct wanted_cpu cpu;
	enum way way;
	int err;

	if (!to || !find_cpu(c, call, parameters, &cpu) || !find_way(call, parameters, &way))
		return;
	if (!cpu.user || cpu.user == to) {
		cannot_migrate(call, &cpu, to);
		return;
	}
	o.ask.from_id = cpu.user->id;
	o.ask.to_id = to->id;
	o.loan_ends = is_lent(&cpu) && cpu.owner == to;
	if (way == BY_DEASSIGN) {
		o.ask.op = HWRPB_REQUEST_DEASSIGN;
		o.assign = true;
	} else if (way == BY_HALT) {
		how |= APMP_MIGRATE_HALT;
	}
	err = apmp_cpu_may_migrate(&c->mover, o.ask.from_id, cpu.idx, o.ask.to_id);
	if (!is_up(cpu.user))
		not_running(call, cpu.user);
	else if (way == BY_DEASSIGN && (how & APMP_MIGRATE_LOAN))
		refuse(call, "a CPU that is deassigned has no owner who could lend it: leave out "
			     "--loan or --by deassign");
	else if (way == BY_DEASSIGN && is_lent(&cpu))
		console_order_refuse(call, cpu.idx, &o, c, -EPERM);
	else if (err)
		console_order_refuse(call, cpu.idx, &o, c, err);
	else if (wants(parameters, "dry_run"))
		dry_migration(call, &cpu, to, way, how & APMP_MIGRATE_LOAN);
	else if (has_room(call, to, cpu.idx))
		console_order(c, call, cpu.idx, &o, how);
}

/* ---- start and stop ---- */

/* A CPU of a partition that runs; false after answering. */
static bool in_use(struct varlink_call *call, const struct wanted_cpu *cpu)
{
	char reason[192];

	if (cpu->user && is_up(cpu->user))
		return true;
	if (cpu->user || cpu->owner) {
		not_running(call, cpu->user ? cpu->user : cpu->owner);
		return false;
	}
	snprintf(reason, sizeof(reason),
		 "CPU %u is nobody's; `apmp cpu assign %u --to PARTITION` gives it to a partition",
		 cpu->idx, cpu->idx);
	refuse(call, reason);
	return false;
}

static void start_or_stop(struct varlink_call *call, const json_t *parameters, struct console *c,
			  uint32_t op)
{
	bool start = op == HWRPB_REQUEST_START;
	struct cpu_order o = {.ask.op = op, .wait_ms = wait_of(parameters)};
	struct wanted_cpu cpu;
	char line[2][128];
	const char *lines[2] = {line[0], line[1]};
	uint32_t state;

	if (!find_cpu(c, call, parameters, &cpu) || !in_use(call, &cpu))
		return;
	o.ask.from_id = o.ask.to_id = cpu.user->id;
	state = apmp_load_relaxed(&cpu.user->hwrpb->slot[cpu.idx].state);
	if (state == (start ? HWRPB_CPU_ACTIVE : HWRPB_CPU_HALTED)) {
		console_order_refuse(call, cpu.idx, &o, c, -EALREADY);
	} else if (cpu.node.flags & NODE_PRIMARY) {
		console_order_refuse(call, cpu.idx, &o, c, -EBUSY);
	} else if (wants(parameters, "dry_run")) {
		snprintf(line[0], sizeof(line[0]),
			 start ? "instance %s puts START into RX of CPU %u"
			       : "instance %s has CPU %u quiesced and halted",
			 cpu.user->name, cpu.idx);
		snprintf(line[1], sizeof(line[1]),
			 start ? "CPU %u takes part in SMP"
			       : "CPU %u is in console mode, and polls RX",
			 cpu.idx);
		tell_steps(call, json_pack("{s:s}", "partition", cpu.user->name), lines, 2);
	} else {
		console_order(c, call, cpu.idx, &o, 0);
	}
}

static void on_cpu_start(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	start_or_stop(call, parameters, ctx, HWRPB_REQUEST_START);
}

static void on_cpu_stop(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	start_or_stop(call, parameters, ctx, HWRPB_REQUEST_STOP);
}

/* ---- deassign ---- */

/* The owner's instance runs on it: it gives it up.  Else the rules of the configuration hold:
 * what another one uses, or its primary. */
static void on_cpu_deassign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct cpu_order o = {.ask.op = HWRPB_REQUEST_DEASSIGN, .wait_ms = wait_of(parameters)};
	struct console *c = ctx;
	struct wanted_cpu cpu;

	if (!find_cpu(c, call, parameters, &cpu))
		return;
	if (!cpu.user || cpu.user != cpu.owner || !is_up(cpu.user)) {
		console_deassign(c, call, cpu.node.handle);
		return;
	}
	o.ask.from_id = o.ask.to_id = cpu.user->id;
	if (cpu.node.flags & NODE_PRIMARY)
		console_order_refuse(call, cpu.idx, &o, c, -EBUSY);
	else
		console_order(c, call, cpu.idx, &o, 0);
}

const struct console_method console_cpu_methods[] = {
    {"CpuMigrate", on_cpu_migrate},
    {"CpuStart", on_cpu_start},
    {"CpuStop", on_cpu_stop},
    {NULL, NULL},
};

const struct console_method console_cpu_changes[] = {
    {"CpuDeassign", on_cpu_deassign},
    {NULL, NULL},
};
