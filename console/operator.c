/*
 * operator.c - the operator's commands: the Varlink methods of org.apmp.machine.
 *
 * Each handler checks what it was given, does or begins it, and answers; what takes an instance's
 * doing is answered by lifecycle.c and cpu_order.c when it is done.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "console/operator.h"
#include "console/page_fault.h"
#include "shm/points.h"
#include "shm/shared.h"

static void no_such_partition(struct varlink_call *call, const char *name)
{
	varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
}

static void wrong_state(struct varlink_call *call, const char *error, const struct partition *p)
{
	varlink_call_error(
	    call, error,
	    json_pack("{s:s,s:s}", "partition", p->name, "state", console_state_text(p)));
}

static void on_status(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	varlink_call_reply(call, json_pack("{s:o}", "status", console_status(ctx)));
}

static void on_tree(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	varlink_call_reply(call, console_tree(ctx));
}

static void on_events(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	console_events_serve(ctx, call, parameters);
}

static void on_trace(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const json_t *who = json_object_get(parameters, "who"), *name;
	size_t i;

	json_array_foreach(who, i, name)
	{
		if (strcmp(json_string_value(name), "console") != 0 &&
		    strcmp(json_string_value(name), "box") != 0 &&
		    !console_partition(ctx, json_string_value(name))) {
			no_such_partition(call, json_string_value(name));
			return;
		}
	}
	console_trace(ctx, call, who);
}

static void boot_gone(void *ctx)
{
	struct partition *p = ctx;

	p->boot_call = NULL;
}

void console_boot_refused(struct varlink_call *call, const struct partition *p,
			  const struct boot_refusal *r)
{
	if (r->error == BOOT_RUNNING)
		wrong_state(call, "AlreadyRunning", p);
	else if (r->error == BOOT_MISSING || r->error == BOOT_NOT_ENOUGH)
		varlink_call_error(call, "NotEnough",
				   json_pack("{s:s,s:s,s:I,s:I}", "partition", p->name, "what",
					     r->what, "wanted", (json_int_t)r->wanted, "had",
					     (json_int_t)r->had));
	else
		varlink_call_error(call, "Host",
				   json_pack("{s:s,s:i,s:s}", "what", r->what, "errno", r->err,
					     "reason", r->text));
}

static void on_boot(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *name = text_of(parameters, "name");
	struct partition *p = console_partition(ctx, name);
	struct boot_refusal refusal;

	if (!p) {
		no_such_partition(call, name);
	} else if (console_boot(p, NULL, NULL, &refusal)) {
		console_boot_refused(call, p, &refusal);
	} else if (json_is_true(json_object_get(parameters, "wait"))) {
		p->boot_call = call;
		varlink_call_on_hangup(call, boot_gone, p);
	} else {
		varlink_call_reply(call, NULL);
	}
}

static void halt_gone(void *ctx)
{
	struct partition *p = ctx;

	p->halt_call = NULL;
}

/* Halt and crash: asked of the instance; answered when it has ended. */
static void ask_instance(struct varlink_call *call, const json_t *parameters, struct console *c,
			 enum hwrpb_end end)
{
	const char *name = text_of(parameters, "name");
	struct partition *p = console_partition(c, name);

	if (!p) {
		no_such_partition(call, name);
	} else if (!p->pid || p->fencing) {
		wrong_state(call, "NotRunning", p);
	} else if (p->halt_call) {
		varlink_call_error(call, "Busy",
				   json_pack("{s:s++}", "what", "partition \"", p->name, "\""));
	} else {
		/* Whoever waits for a request is answered by the end. */
		apmp_hwrpb_end(&c->env, p->hwrpb, end);
		p->halt_call = call;
		varlink_call_on_hangup(call, halt_gone, p);
	}
}

static void on_halt(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	ask_instance(call, parameters, ctx, HWRPB_END_HALT);
}

static void on_crash(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	ask_instance(call, parameters, ctx, HWRPB_END_CRASH);
}

/* Takes the partition away from its instance without asking, and boots it again: answered when that
 * has begun, or can't. */
static void on_reset(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *name = text_of(parameters, "name");
	struct partition *p = console_partition(ctx, name);

	if (!p) {
		no_such_partition(call, name);
	} else if (!console_identity(p)) {
		wrong_state(call, "NotRunning", p);
	} else {
		if (p->halt_call) /* an instance that does not answer is what a reset is for */
			varlink_call_error(
			    p->halt_call, "PartitionDied",
			    json_pack("{s:s,s:s}", "partition", p->name, "during", "halt"));
		p->boot_after_fence = true;
		p->halt_call = call;
		varlink_call_on_hangup(call, halt_gone, p);
		console_fence(p, FENCE_RESET);
	}
}

/* Put aside until then. */
static void on_dump(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	if (!text_of(parameters, "name") || console_wanted(ctx, call, parameters, "name"))
		varlink_call_reply(call, NULL);
}

static void on_run(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	console_run(ctx, call, parameters);
}

static void on_console_port(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct partition *p = console_partition(ctx, text_of(parameters, "partition"));

	if (!p)
		no_such_partition(call, text_of(parameters, "partition"));
	else
		port_attach(p, call);
}

static void kill_gone(void *ctx)
{
	struct partition *p = ctx;

	p->kill_call = NULL;
}

/* A fault that strikes at once, by signal: the box sends it to the instance alone. */
static void strike(struct varlink_call *call, struct partition *p, const char *fault, int signal)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_SIGNAL, .id = p->id, .arg = {(uint64_t)signal}};
	struct apmp_box_event event;

	if (!p->pid) {
		wrong_state(call, "NotRunning", p);
		return;
	}
	if (box_link_call(&p->console->box, &request, NULL, 0, &event, NULL)) {
		wrong_state(call, "NotRunning", p);
		return;
	}
	console_event(p->console, "fault.injected", p, "{s:s}", "fault", fault);
	if (signal != SIGKILL || p->kill_call) {
		varlink_call_reply(call, NULL);
		return;
	}
	p->kill_call = call; /* answered when it is fenced: what comes next finds it dead */
	varlink_call_on_hangup(call, kill_gone, p);
}

/* Why a fault can't strike this party (no partition: the box, or the console) at that point; false:
 * it can. */
static bool never_strikes(struct varlink_call *call, const char *fault, const struct partition *p,
			  bool box, const char *point)
{
	uint32_t who = p ? APMP_PARTY_INSTANCE : box ? APMP_PARTY_BOX : APMP_PARTY_CONSOLE;
	uint32_t parties = apmp_point_parties(apmp_point_find(point));
	const char *other = parties & APMP_PARTY_INSTANCE  ? "instances pass"
			    : parties & APMP_PARTY_CONSOLE ? "the console passes"
							   : "the box passes";
	char name[64], reason[256];

	if (apmp_fault_find(fault) == APMP_FAULT_NONE)
		snprintf(
		    reason, sizeof(reason),
		    "%s strikes at once and not at a point: leave the point out, or kill there",
		    fault);
	else if (!(parties & who)) {
		snprintf(name, sizeof(name), p ? "partition \"%s\"" : "the %s",
			 p     ? p->name
			 : box ? "box"
			       : "console");
		snprintf(reason, sizeof(reason), "%s never passes %s: %s it", name, point, other);
	} else {
		return false;
	}
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
	return true;
}

/* What a fault is when it strikes at once; 0: there is no such fault. */
static int fault_signal(const char *fault)
{
	static const struct {
		const char *fault;
		int signal;
	} signals[] = {{"kill", SIGKILL},
		       {"stop", SIGSTOP},
		       {"cont", SIGCONT},
		       {"segv", SIGSEGV},
		       {"assert", SIGABRT}};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (strcmp(signals[i].fault, fault) == 0)
			return signals[i].signal;
	return 0;
}

/* A box that fails another way than by losing its power has no machine left that could tell. */
static void box_cannot_have(struct varlink_call *call, const char *fault)
{
	char reason[192];

	snprintf(reason, sizeof(reason),
		 "the box can't have the fault \"%s\", but kill alone: `apmp chaos inject %s` "
		 "strikes a partition%s",
		 fault, fault, strcmp(fault, "cont") == 0 ? "" : ", or the console");
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

static void on_inject(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const char *fault = text_of(parameters, "fault"), *point = text_of(parameters, "point");
	const char *name = text_of(parameters, "partition");
	struct partition *p = console_partition(c, name);
	const json_t *count = json_object_get(parameters, "count");
	json_int_t nth = json_is_integer(count) ? json_integer_value(count) : 1;
	bool box = !p && strcmp(name, "box") == 0;
	struct apmp_recorder *rec = p ? p->recorder : box ? console_box_recorder(c) : c->recorder;
	int signal = fault_signal(fault);

	if (console_inject_page(c, call, parameters))
		return;
	if (!p && !box && strcmp(name, "console") != 0)
		no_such_partition(call, name);
	else if (!signal)
		varlink_call_error(call, "NoSuchFault", json_pack("{s:s}", "fault", fault));
	else if (box && signal != SIGKILL)
		box_cannot_have(call, fault);
	else if (point && apmp_point_find(point) == APMP_P_NONE)
		varlink_call_error(call, "NoSuchPoint", json_pack("{s:s}", "point", point));
	else if (point && never_strikes(call, fault, p, box, point))
		return;
	else if (nth < 0 || nth > INT32_MAX || (!nth && !point))
		varlink_call_invalid(call, "count");
	else if (point && !nth) {
		apmp_recorder_arm(rec, apmp_point_find(point), 0);
		varlink_call_reply(call, NULL);
	} else if (point) {
		apmp_recorder_arm_fault(rec, apmp_point_find(point), (uint32_t)nth,
					apmp_fault_find(fault));
		console_event(c, "fault.injected", p, "{s:s,s:s,s:I}", "fault", fault, "point",
			      point, "count", nth);
		varlink_call_reply(call, NULL);
	} else if (p) {
		strike(call, p, fault, signal);
	} else if (box) {
		console_kill_box(c, call);
	} else if (signal == SIGCONT) {
		varlink_call_error(call, "Refused",
				   json_pack("{s:s}", "reason",
					     "the console is not stopped: it answers; the box ends "
					     "one that does not and starts another"));
	} else {
		console_event(c, "fault.injected", NULL, "{s:s}", "fault", fault);
		varlink_call_reply(call, NULL);
		raise(signal);
	}
}

/* How often a point was passed since power on, by all parties. */
static uint64_t passed(struct console *c, uint32_t point)
{
	uint64_t count = apmp_load_relaxed(&c->recorder->count[point]) +
			 apmp_load_relaxed(&console_box_recorder(c)->count[point]);

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists)
			count += apmp_load_relaxed(&c->partition[i].recorder->count[point]);
	return count;
}

static void on_points(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	json_t *points = json_array();

	(void)parameters;
	for (uint32_t i = 1; i < APMP_P_COUNT; i++) {
		const struct apmp_point_info *info = apmp_point_info(i);

		json_array_append_new(points, json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "name",
							info->name, "figure", info->figure, "about",
							info->about, "survivors", info->survivors,
							"repairer", info->repairer, "passed",
							(json_int_t)passed(ctx, i)));
	}
	varlink_call_reply(call, json_pack("{s:o}", "points", points));
}

/* Written or not: the operator wants it off. */
static void off(void *ctx, int error)
{
	struct console *c = ctx;
	struct apmp_box_request request = {.op = APMP_BOX_OP_OFF};

	(void)error; /* told when it happened */
	box_link_post(&c->box, &request, NULL, NULL);
}

void console_power_off(struct console *c)
{
	if (c->going_off)
		return; /* asked again: it waits for NVRAM already */
	c->going_off = true;
	console_event(c, "machine.off", NULL, NULL);
	console_when_durable(c, off, c);
}

static void on_power_off(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	varlink_call_reply(call, NULL);
	console_power_off(ctx);
}

static int serve_methods(struct console *c, const struct console_method *methods)
{
	int err = 0;

	for (; methods->name && !err; methods++)
		err = varlink_server_method(c->server, methods->name, methods->handler, c);
	return err;
}

static int serve_settled(struct console *c, const struct console_method *methods)
{
	int err = 0;

	for (; methods->name && !err; methods++)
		err = console_serve_settled(c, methods, false);
	return err;
}

int console_serve(struct console *c, int listen_fd)
{
	static const struct console_method methods[] = {
	    {"Status", on_status},
	    {"Tree", on_tree},
	    {"Events", on_events},
	    {"Trace", on_trace},
	    {"PartitionHalt", on_halt},
	    {"PartitionCrash", on_crash},
	    {"Run", on_run},
	    {"ConsolePort", on_console_port},
	    {"Inject", on_inject},
	    {"Points", on_points},
	    {"PowerOff", on_power_off},
	    {NULL, NULL},
	};
	static const struct console_method boots[] = {
	    {"PartitionBoot", on_boot},
	    {"PartitionReset", on_reset},
	    {NULL, NULL},
	};
	static const struct console_method dump = {"PartitionDump", on_dump};
	static const struct console_method *const changes[] = {
	    boots, console_configure_methods, console_cpu_changes, console_memory_methods,
	    console_hardware_methods};
	int err = varlink_server_create(&c->loop, listen_fd, &c->server);

	if (!err)
		varlink_server_on_answer(c->server, console_served, c);
	if (!err)
		err = serve_methods(c, methods);
	if (!err)
		err = serve_methods(c, console_view_methods);
	if (!err)
		err = serve_methods(c, console_cpu_methods);
	if (!err)
		err = serve_methods(c, console_wish_methods);
	if (!err)
		err = serve_methods(c, console_tables_methods);
	if (!err)
		err = serve_methods(c, console_debug_methods);
	for (size_t i = 0; !err && i < sizeof(changes) / sizeof(changes[0]); i++)
		err = serve_settled(c, changes[i]);
	if (!err)
		err = console_serve_settled(c, &dump, true);
	return err;
}
