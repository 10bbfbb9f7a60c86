/*
 * operator_configure.c - the administrator divides the machine: partitions, communities, CPUs,
 * buses.
 *
 * WHAT      Each method is one request of shm/call.h with the administrator as its author.  What it
 *           changed is answered when it is in non-volatile memory.
 */
#include "console/hardware.h"
#include "console/operator.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"

/* ---- what parameters name ---- */

struct partition *console_wanted(struct console *c, struct varlink_call *call,
				 const json_t *parameters, const char *key)
{
	const char *name = text_of(parameters, key);
	struct partition *p = console_partition(c, name);

	if (!p)
		varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
	return p;
}

int32_t console_community(struct console *c, const char *name)
{
	struct apmp_tree_community community;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_community(&c->tw.tree, id, &community) == 0 &&
		    strcmp(community.name, name) == 0)
			return community.node.handle;
	return GCT_NONE;
}

int32_t console_wanted_community(struct console *c, struct varlink_call *call, const char *name)
{
	int32_t community = console_community(c, name);

	if (!community)
		varlink_call_error(call, "NoSuchCommunity", json_pack("{s:s}", "community", name));
	return community;
}

int32_t console_wanted_owner(struct console *c, struct varlink_call *call, const char *name)
{
	const struct partition *p = console_partition(c, name);
	int32_t community = p ? GCT_NONE : console_community(c, name);

	if (!p && !community)
		varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
	return p ? p->handle : community;
}

int32_t console_wanted_cpu(struct console *c, struct varlink_call *call, const json_t *parameters)
{
	json_int_t id = json_integer_value(json_object_get(parameters, "cpu"));
	struct apmp_tree_node cpu;

	if (id >= 0 && id < (json_int_t)APMP_MAX_CPUS &&
	    apmp_tree_cpu(&c->tw.tree, (uint32_t)id, &cpu) == 0)
		return cpu.handle;
	varlink_call_error(call, "NoSuchCpu", json_pack("{s:I}", "cpu", id));
	return GCT_NONE;
}

int console_bus_id(const char *text, uint64_t *ret_id)
{
	uint64_t id = 0;

	for (int i = 0; i < 3; i++) {
		char *end;
		unsigned long part;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		part = strtoul(text, &end, 10);
		if (part > UINT16_MAX || *end != (i < 2 ? '.' : '\0'))
			return -EINVAL;
		id = id << 16 | part;
		text = end + 1;
	}
	*ret_id = id;
	return 0;
}

int32_t console_wanted_bus(struct console *c, struct varlink_call *call, const char *text)
{
	struct apmp_tree_node bus;
	uint64_t id;

	if (console_bus_id(text, &id) == 0 && console_find_hardware(c, GCT_BUS, id, &bus) == 0)
		return bus.handle;
	varlink_call_error(call, "NoSuchBus", json_pack("{s:s}", "bus", text));
	return GCT_NONE;
}

/* ---- carrying out and answering ---- */

/* Who has the node; NULL: nobody, or it is none. */
static int32_t owner_of(struct console *c, int32_t handle)
{
	struct apmp_tree_node n;

	if (!handle || apmp_tree_node(&c->tw.tree, handle, &n))
		return GCT_NONE;
	return n.owner ? n.owner : n.current_owner;
}

void console_refused(struct console *c, struct varlink_call *call,
		     const struct apmp_configured *why, int err)
{
	const struct apmp_reason_info *info = apmp_reason_info(why->reason);
	char what[64], owner[64];
	json_t *parameters;

	if (!info) {
		varlink_call_error(call, "Host",
				   json_pack("{s:s,s:i,s:s}", "what", "the change", "errno", -err,
					     "reason", strerror(-err)));
		return;
	}
	console_node_name(c, why->about, what, sizeof(what));
	console_name(c, owner_of(c, why->about), owner, sizeof(owner));
	if (why->reason == APMP_REASON_TEMPLATE) {
		varlink_call_error(call, info->varlink,
				   json_pack("{s:s,s:I,s:I}", "what", what, "wanted",
					     (json_int_t)why->ret[0], "had",
					     (json_int_t)why->ret[1]));
		return;
	}
	parameters = json_pack("{s:s*,s:s*,s:s}", "what", what[0] ? what : NULL, "owner",
			       owner[0] ? owner : NULL, "reason", info->text);
	if (why->reason == APMP_REASON_NO_MEMORY) {
		json_object_set_new(parameters, "wanted", json_integer((json_int_t)why->ret[0]));
		json_object_set_new(parameters, "had", json_integer((json_int_t)why->ret[1]));
	}
	varlink_call_error(call, info->varlink, parameters);
}

bool console_change(struct console *c, struct varlink_call *call, const struct apmp_call_request *r,
		    struct apmp_configured *ret)
{
	int err = console_configure(c, r, APMP_ADMINISTRATOR, NULL, NULL, ret);

	if (err)
		console_refused(c, call, ret, err);
	return !err;
}

struct durable_reply {
	struct console *console;
	struct varlink_call *call;
	json_t *parameters;
};

static void caller_gone(void *ctx)
{
	struct durable_reply *reply = ctx;

	console_durable_forget(reply->console, reply);
	json_decref(reply->parameters);
	free(reply);
}

static void on_durable(void *ctx, int error)
{
	struct durable_reply *reply = ctx;
	const struct apmp_reason_info *info = apmp_reason_info(APMP_REASON_STORAGE);

	if (error)
		varlink_call_error(reply->call, info->varlink,
				   json_pack("{s:s,s:s+++}", "what", "nvram", "reason", info->text,
					     " (", strerror(-error), ")"));
	else
		varlink_call_reply(reply->call, json_incref(reply->parameters));
	json_decref(reply->parameters);
	free(reply);
}

void console_reply_durably(struct console *c, struct varlink_call *call, json_t *parameters)
{
	struct durable_reply *reply = calloc(1, sizeof(*reply));

	apmp_assert(reply);
	*reply = (struct durable_reply){
	    .console = c, .call = call, .parameters = parameters ? parameters : json_object()};
	varlink_call_on_hangup(call, caller_gone, reply);
	console_when_durable(c, on_durable, reply);
}

/* The common end of a method: carried out, or refused. */
static void change(struct console *c, struct varlink_call *call, const struct apmp_call_request *r)
{
	struct apmp_configured done;

	if (console_change(c, call, r, &done))
		console_reply_durably(c, call, NULL);
}

static void create(struct console *c, struct varlink_call *call, struct apmp_call_request *r,
		   const char *name)
{
	struct apmp_configured done;

	snprintf(r->text, sizeof(r->text), "%s", name); /* one cut off here is too long anyway */
	if (console_change(c, call, r, &done))
		console_reply_durably(c, call, json_pack("{s:I}", "id", (json_int_t)done.ret[0]));
}

/* ---- partitions and communities ---- */

static void on_partition_create(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *community = text_of(parameters, "community");
	struct apmp_call_request r = {
	    .op = APMP_CALL_CREATE_PARTITION,
	    .arg = {0, json_is_true(json_object_get(parameters, "boot"))}};
	int32_t handle = community ? console_wanted_community(ctx, call, community) : GCT_NONE;

	if (community && !handle)
		return;
	r.arg[0] = (uint64_t)handle;
	create(ctx, call, &r, text_of(parameters, "name"));
}

static void on_partition_delete(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const struct partition *p = console_wanted(ctx, call, parameters, "name");
	struct apmp_call_request r = {.op = APMP_CALL_DELETE_PARTITION};

	if (!p)
		return;
	r.arg[0] = (uint64_t)p->handle;
	change(ctx, call, &r);
}

static void on_partition_set(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const struct partition *p = console_wanted(c, call, parameters, "name");
	const json_t *boot = json_object_get(parameters, "boot");
	struct apmp_tree_partition self;
	struct apmp_configured why;

	if (!p)
		return;
	if (console_tree_locked(c, &why)) {
		console_refused(c, call, &why, -EAGAIN);
		return;
	}
	apmp_assert(apmp_tree_partition(&c->tw.tree, p->id, &self) == 0);
	self.policy &= ~(uint64_t)GCT_POLICY_BOOT;
	if (json_is_boolean(boot)) {
		apmp_update_begin(&c->update);
		apmp_tree_set_policy(&c->tw, p->id,
				     self.policy | (json_is_true(boot) ? GCT_POLICY_BOOT : 0));
		console_permanent(c);
		apmp_update_commit(&c->update);
		console_event(c, "tree.changed", NULL, "{s:s,s:s,s:s}", "change", "set_partition",
			      "what", p->name, "by", "administrator");
	}
	console_reply_durably(c, call, NULL);
}

static void on_community_create(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct apmp_call_request r = {.op = APMP_CALL_CREATE_COMMUNITY};

	create(ctx, call, &r, text_of(parameters, "name"));
}

static void on_community_delete(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	int32_t community = console_wanted_community(ctx, call, text_of(parameters, "name"));
	struct apmp_call_request r = {.op = APMP_CALL_DELETE_COMMUNITY,
				      .arg = {(uint64_t)community}};

	if (community)
		change(ctx, call, &r);
}

static void on_community_add(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const struct partition *p = console_wanted(ctx, call, parameters, "partition");
	int32_t community =
	    p ? console_wanted_community(ctx, call, text_of(parameters, "name")) : GCT_NONE;
	struct apmp_call_request r = {.op = APMP_CALL_SET_COMMUNITY};

	if (!community)
		return;
	r.arg[0] = (uint64_t)p->handle;
	r.arg[1] = (uint64_t)community;
	change(ctx, call, &r);
}

static void on_community_remove(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const struct partition *p = console_wanted(c, call, parameters, "partition");
	const char *name = text_of(parameters, "name");
	int32_t community = p ? console_wanted_community(c, call, name) : GCT_NONE;
	struct apmp_call_request r = {.op = APMP_CALL_SET_COMMUNITY};
	struct apmp_tree_partition self;
	char reason[128];

	if (!community)
		return;
	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || self.community != community) {
		snprintf(reason, sizeof(reason), "partition \"%s\" is not in community \"%s\"",
			 p->name, name);
		varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
		return;
	}
	r.arg[0] = (uint64_t)p->handle;
	change(c, call, &r);
}

/* ---- CPUs and buses ---- */

static void assign(struct console *c, struct varlink_call *call, int32_t handle,
		   const struct partition *to)
{
	struct apmp_call_request r = {.op = APMP_CALL_ASSIGN,
				      .arg = {(uint64_t)handle, (uint64_t)to->handle}};
	struct apmp_configured done;
	struct apmp_tree_node n;

	if (!console_change(c, call, &r, &done))
		return;
	apmp_assert(apmp_tree_node(&c->tw.tree, handle, &n) == 0);
	console_reply_durably(c, call, json_pack("{s:b}", "active", n.current_owner == to->handle));
}

void console_deassign(struct console *c, struct varlink_call *call, int32_t handle)
{
	struct apmp_call_request r = {.op = APMP_CALL_DEASSIGN, .arg = {(uint64_t)handle}};
	const struct partition *user;
	struct apmp_configured done;
	struct apmp_tree_node n;

	apmp_assert(apmp_tree_node(&c->tw.tree, handle, &n) == 0);
	user = console_partition_of(c, n.current_owner);
	r.arg[1] = !user || !console_running(user);
	if (!console_change(c, call, &r, &done))
		return;
	apmp_assert(apmp_tree_node(&c->tw.tree, handle, &n) == 0);
	console_reply_durably(c, call, json_pack("{s:b}", "in_use", n.current_owner != GCT_NONE));
}

static void on_cpu_assign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const struct partition *to = console_wanted(ctx, call, parameters, "to");
	int32_t cpu = to ? console_wanted_cpu(ctx, call, parameters) : GCT_NONE;

	if (cpu)
		assign(ctx, call, cpu, to);
}

static void on_bus_assign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const struct partition *to = console_wanted(ctx, call, parameters, "to");
	int32_t bus = to ? console_wanted_bus(ctx, call, text_of(parameters, "bus")) : GCT_NONE;

	if (bus)
		assign(ctx, call, bus, to);
}

static void on_bus_deassign(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	int32_t bus = console_wanted_bus(ctx, call, text_of(parameters, "bus"));

	if (bus)
		console_deassign(ctx, call, bus);
}

const struct console_method console_configure_methods[] = {
    {"PartitionCreate", on_partition_create},
    {"PartitionDelete", on_partition_delete},
    {"PartitionSet", on_partition_set},
    {"CommunityCreate", on_community_create},
    {"CommunityDelete", on_community_delete},
    {"CommunityAdd", on_community_add},
    {"CommunityRemove", on_community_remove},
    {"CpuAssign", on_cpu_assign},
    {"BusAssign", on_bus_assign},
    {"BusDeassign", on_bus_deassign},
    {NULL, NULL},
};
