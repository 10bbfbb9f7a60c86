/* wish.c - the operator has a partition ask all members for CPUs [0235]. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/cpu_tables.h"
#include "console/operator.h"
#include "shm/cpu_wish.h"
#include "shm/shared.h"

static void refused(struct varlink_call *call, const struct partition *p, int err)
{
	char reason[160];

	if (err == -ENODEV)
		snprintf(reason, sizeof(reason),
			 "no member of the sharing set can spare a CPU that can run in \"%s\"",
			 p->name);
	else if (err == -ENOTCONN)
		snprintf(reason, sizeof(reason),
			 "partition \"%s\" is no member of a sharing set: there is nobody to ask",
			 p->name);
	else
		snprintf(reason, sizeof(reason), "%s", strerror(-err));
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

static bool has(const struct partition *p, uint32_t cpu_idx)
{
	struct apmp_tree_node cpu;

	return !apmp_tree_cpu(&p->console->tw.tree, cpu_idx, &cpu) &&
	       cpu.current_owner == p->handle;
}

/* How many came, and which: it has them now, and had not. */
static json_t *came_json(const struct partition *p, int came)
{
	struct console *c = p->console;
	json_t *cpus = json_array(), *waiting = json_array();

	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++) {
		if (!has(p, cpu) || apmp_cpu_bits_test(&p->wish.had, cpu))
			continue;
		json_array_append_new(cpus, json_integer(cpu));
		if (!console_starts_itself(c, p->id, cpu))
			json_array_append_new(waiting, json_integer(cpu));
	}
	return json_pack("{s:i,s:o,s:o}", "came", came, "cpus", cpus, "waiting", waiting);
}

void console_wish_look(struct partition *p)
{
	struct varlink_call *call = p->wish.call;
	int result;

	if (!p->wish.open || !apmp_hwrpb_request_answered(&p->hwrpb->wish, p->wish.seq, &result))
		return;
	p->wish.open = false;
	p->wish.call = NULL;
	if (call && result > 0)
		varlink_call_reply(call, came_json(p, result));
	else if (call)
		refused(call, p, result ? result : -EIO);
}

void console_wish_died(struct partition *p)
{
	struct varlink_call *call = p->wish.call;

	p->wish.open = false;
	p->wish.call = NULL;
	if (call)
		varlink_call_error(call, "PartitionDied",
				   json_pack("{s:s,s:s}", "partition", p->name, "during", "wish"));
}

static void caller_gone(void *ctx)
{
	struct partition *p = ctx;

	p->wish.call = NULL;
	/* Nobody waits for the CPUs any more; one that is on its way comes. */
	if (p->wish.open && apmp_hwrpb_request_take_back(&p->hwrpb->wish))
		p->wish.open = false;
}

void console_wish_take_back(struct partition *p)
{
	(void)!apmp_hwrpb_request_take_back(&p->hwrpb->wish);
}

static void on_cpu_wish(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	struct partition *p = console_wanted(c, call, parameters, "to");
	json_int_t count = json_integer_value(json_object_get(parameters, "count"));
	const uint64_t arg[2] = {(uint64_t)count};

	if (!p)
		return;
	if (count < 1 || count > APMP_WISH_MAX) {
		varlink_call_invalid(call, "count");
		return;
	}
	if (!p->pid || p->fencing) {
		varlink_call_error(
		    call, "NotRunning",
		    json_pack("{s:s,s:s}", "partition", p->name, "state", console_state_text(p)));
		return;
	}
	console_wish_look(p); /* whose report was lost */
	if (apmp_hwrpb_request(&c->env, p->hwrpb, &p->hwrpb->wish, HWRPB_REQUEST_WISH, arg,
			       &p->wish.seq)) {
		varlink_call_error(call, "Busy",
				   json_pack("{s:s++}", "what", "partition \"", p->name, "\""));
		return;
	}
	p->wish.had = (struct apmp_cpu_bits){0};
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		if (has(p, cpu))
			apmp_cpu_bits_set(&p->wish.had, cpu);
	p->wish.open = true;
	p->wish.call = call;
	varlink_call_on_hangup(call, caller_gone, p);
}

const struct console_method console_wish_methods[] = {
    {"CpuWish", on_cpu_wish},
    {NULL, NULL},
};
