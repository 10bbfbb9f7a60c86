/*
 * The console that the tests of wire and command line talk to.
 *
 * WHAT      PartitionBoot "never" is never answered; PartitionHalt "never" is answered when the
 *           caller of that was seen to hang up. PartitionBoot "later" is answered from the loop.
 *           PartitionHalt "forgetful" has the next PowerOff answered and not done.
 *           Events since FLOOD writes until the queue is full, and with follow ends when the
 *           caller has read that. CpuMigrate of CPU 0, 1, 2 is refused
 *           as primary, busy twice, and done. ConsolePort echoes. CPU 9, bus 9.9.9 and memory of
 *           the partition "full" are refused; any other partition is fine. What changes the
 *           configuration answers with its own parameters beside the reply that is declared.
 */
#include "tests/unit/mock_console.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/wire/varlink.h"

enum { FLOOD = 1000000, EVENT_BYTES = 1000 };

struct console {
	uv_loop_t loop;
	struct varlink_server *server;
	struct varlink_call *never, *waits, *later;
	uv_idle_t idle;
	uv_poll_t port;
	int port_fd;
	int busy;
	int hangups;
	bool forgets; /* the next PowerOff */
};

/* ---- methods ---- */

static bool refuse_unknown(struct varlink_call *call, const char *name)
{
	if (strncmp(name, "no-such", 7) != 0)
		return false;
	varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
	return true;
}

static const char *text(const json_t *parameters, const char *key)
{
	return json_string_value(json_object_get(parameters, key));
}

static json_t *load(const char *json)
{
	json_error_t error;
	json_t *value = json_loads(json, 0, &error);

	if (!value)
		fprintf(stderr, "mock: %s\n", error.text), abort();
	return value;
}

static void on_status(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	varlink_call_reply(
	    call,
	    load(
		"{\"status\": {\"machine\": \"mock\", \"state\": \"on\", \"backend\": \"affinity\","
		"\"partitions\": ["
		"{\"id\": 0, \"name\": \"alpha\", \"community\": \"lab\", \"state\": "
		"\"initialized\","
		" \"instance\": {\"state\": \"member\", \"incarnation\": 1, \"pid\": 4711},"
		" \"primary\": 0, \"cpus\": [0, 1, 2, 5], \"host_cpus\": \"0-1\","
		" \"memory\": 25165824},"
		"{\"id\": 1, \"name\": \"beta\", \"community\": \"lab\", \"state\": "
		"\"initialized\","
		" \"instance\": {\"state\": \"off\"}, \"primary\": 3, \"cpus\": [],"
		" \"host_cpus\": \"\", \"capacity\": 0.333, \"memory\": 1000}],"
		"\"cpus\": [{\"id\": 0, \"owner\": \"alpha\", \"current_owner\": \"beta\","
		"\"autostart\": true, \"failover\": [\"gamma\", \"beta\"],"
		" \"state\": \"active\", \"primary\": true, \"host_cpu\": 1},"
		"{\"id\": 4, \"owner\": null, \"current_owner\": null, \"state\": \"unassigned\","
		" \"primary\": false}],"
		"\"communities\": [{\"id\": 0, \"name\": \"lab\", \"members\": [\"alpha\", "
		"\"beta\"],"
		" \"sharing_set\": {\"state\": \"operational\", \"incarnation\": 1,"
		" \"apmpdb_pfn\": 16384, \"apmpdb_pages\": 64}}]}}"));
}

static void on_tree(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	varlink_call_reply(
	    call, load("{\"nodes\": ["
		       "{\"handle\": 64, \"parent\": 0, \"type\": \"root\", \"name\": \"mock\","
		       " \"flags\": [], \"owner\": null, \"current_owner\": null},"
		       "{\"handle\": 128, \"parent\": 64, \"type\": \"software_root\", \"id\": 0,"
		       " \"flags\": [], \"owner\": null, \"current_owner\": null},"
		       "{\"handle\": 192, \"parent\": 128, \"type\": \"partition\","
		       " \"name\": \"al\\\"pha\", \"flags\": [\"initialized\"],"
		       " \"owner\": \"mock\", \"current_owner\": \"mock\"},"
		       "{\"handle\": 256, \"parent\": 64, \"type\": \"cpu\", \"id\": 2,"
		       " \"flags\": [\"hardware\", \"primary\"],"
		       " \"owner\": \"alpha\", \"current_owner\": \"beta\"}],"
		       "\"levels\": {\"transient\": 7, \"current\": 7}}"));
}

static json_t *event(json_int_t seq, size_t padding)
{
	char *pad = calloc(1, padding + 1);
	json_t *answer;

	memset(pad, 'x', padding);
	answer = json_pack("{s:{s:I, s:I, s:s, s:s}}", "event", "seq", seq, "t_ns",
			   (json_int_t)1500000 * seq, "kind", "member.joined", "partition",
			   padding ? pad : "alpha");
	free(pad);
	return answer;
}

static json_int_t flooded;

static void end_flood(void *call)
{
	varlink_call_reply(call, json_pack("{s:{s:I}}", "event", "missed", flooded));
}

static void flood(struct varlink_call *call, bool follow)
{
	int r;

	flooded = 0;
	do
		r = varlink_call_continue(call, event(flooded++, EVENT_BYTES));
	while (r == 0);
	if (r != -ENOBUFS || varlink_call_queued(call) < VARLINK_QUEUE_MAX ||
	    varlink_call_queued(call) > VARLINK_QUEUE_MAX + 2 * EVENT_BYTES)
		abort();
	if (follow)
		varlink_call_on_drained(call, end_flood, call);
	else
		end_flood(call);
}

static void on_hangup(void *ctx)
{
	struct console *console = ctx;

	console->never = NULL;
	console->hangups++;
	if (console->waits)
		varlink_call_reply(console->waits, NULL);
	console->waits = NULL;
}

static void on_events(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;
	json_int_t since = json_integer_value(json_object_get(parameters, "since"));

	if (varlink_call_more(call) && varlink_call_oneway(call))
		abort();
	if (!varlink_call_more(call)) {
		if (varlink_call_continue(call, event(0, 0)) != -EPROTO)
			abort();
		varlink_call_expected_more(call);
		return;
	}
	if (since == FLOOD) {
		flood(call, json_is_true(json_object_get(parameters, "follow")));
		return;
	}
	for (json_int_t seq = since; seq < since + 2; seq++)
		if (varlink_call_continue(call, event(seq, 0)) < 0)
			abort();
	if (!json_is_true(json_object_get(parameters, "follow"))) {
		varlink_call_reply(call, event(since + 2, 0));
		return;
	}
	console->never = call;
	varlink_call_on_hangup(call, on_hangup, console);
}

static void on_later(uv_idle_t *idle)
{
	struct console *console = idle->data;

	uv_idle_stop(idle);
	varlink_call_reply(console->later, json_pack("{s:s}", "was", "later"));
}

static void on_boot(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;
	const char *name = text(parameters, "name");

	if (refuse_unknown(call, name))
		return;
	if (strcmp(name, "never") == 0) {
		console->never = call;
		varlink_call_on_hangup(call, on_hangup, console);
	} else if (strcmp(name, "later") == 0) {
		console->later = call;
		uv_idle_start(&console->idle, on_later);
	} else {
		varlink_call_reply(call, NULL);
	}
}

static void on_halt(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;
	const char *name = text(parameters, "name");

	if (refuse_unknown(call, name))
		return;
	console->forgets = strcmp(name, "forgetful") == 0;
	if (strcmp(name, "never") == 0 && console->hangups == 0)
		console->waits = call;
	else
		varlink_call_reply(call, NULL);
}

static void on_crash(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)ctx;
	varlink_call_error(
	    call, "NotRunning",
	    json_pack("{s:s, s:s}", "partition", text(parameters, "name"), "state", "off"));
}

static void on_migrate(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;
	json_int_t cpu = json_integer_value(json_object_get(parameters, "cpu"));
	const char *to = text(parameters, "to");
	json_t *answer;

	if (refuse_unknown(call, to))
		return;
	if (cpu == 0) {
		varlink_call_error(call, "PrimaryCpu",
				   json_pack("{s:I, s:s}", "cpu", cpu, "partition", "alpha"));
		return;
	}
	if (cpu == 1 && console->busy++ < 2) {
		varlink_call_error(call, "Busy", json_pack("{s:s}", "what", "CPU 1"));
		return;
	}
	answer = json_pack("{s:s, s:s, s:I}", "from", "alpha", "to", to, "elapsed_ns",
			   (json_int_t)1250000);
	if (json_is_true(json_object_get(parameters, "dry_run")))
		json_object_set_new(answer, "steps", json_pack("[s, s]", "quiesce", "hand over"));
	varlink_call_reply(call, answer);
}

static void on_start(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)ctx;
	if (json_integer_value(json_object_get(parameters, "cpu")) == 0)
		varlink_call_error(call, "PrimaryCpu",
				   json_pack("{s:i, s:s}", "cpu", 0, "partition", "alpha"));
	else
		varlink_call_reply(call, json_pack("{s:s, s:I}", "partition", "alpha", "elapsed_ns",
						   (json_int_t)1250000));
}

static void on_rules(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)ctx;
	if (!refuse_unknown(call, text(parameters, "partition")))
		varlink_call_reply(call, NULL);
}

/* ---- the configuration ---- */

/* The parameters that came, so that a test sees them, and more. */
static json_t *echo(const json_t *parameters, json_t *more)
{
	json_t *answer = json_deep_copy(parameters);

	json_object_update(answer, more);
	json_decref(more);
	return answer;
}

static void on_create(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *name = text(parameters, "name");

	(void)ctx;
	if (strcmp(name, "alpha") == 0)
		varlink_call_error(call, "NameTaken",
				   json_pack("{s:s, s:n, s:s}", "what", "partition \"alpha\"",
					     "owner", "reason", "there is one already"));
	else
		varlink_call_reply(call, echo(parameters, json_pack("{s:i}", "id", 3)));
}

static void on_delete(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *name = text(parameters, "name");

	(void)ctx;
	if (refuse_unknown(call, name))
		return;
	if (strcmp(name, "alpha") == 0)
		varlink_call_error(call, "Initialized",
				   json_pack("{s:s, s:n, s:s}", "what", "partition \"alpha\"",
					     "owner", "reason", "it is initialized"));
	else
		varlink_call_reply(call, echo(parameters, json_object()));
}

static void on_membership(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)ctx;
	if (!refuse_unknown(call, text(parameters, "partition")))
		varlink_call_reply(call, echo(parameters, json_object()));
}

/* CPU 9 and bus 9.9.9 belong to beta, which runs. */
static void on_component(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	bool bus = json_object_get(parameters, "bus");
	bool theirs = bus ? strcmp(text(parameters, "bus"), "9.9.9") == 0
			  : json_integer_value(json_object_get(parameters, "cpu")) == 9;
	bool assign = json_object_get(parameters, "to");
	json_t *more;

	(void)ctx;
	if (theirs && bus && !assign) {
		varlink_call_error(
		    call, "Unowned",
		    json_pack("{s:s, s:s}", "what", "bus 9.9.9", "reason", "nobody owns it"));
		return;
	}
	if (theirs) {
		varlink_call_error(call, assign ? "Owned" : "PrimaryCpu",
				   json_pack("{s:s, s:s, s:s}", "what", "partition \"beta\"",
					     "owner", "lab", "reason", "it has an owner"));
		return;
	}
	more = assign ? json_pack("{s:b}", "active", strcmp(text(parameters, "to"), "alpha") != 0)
		      : json_pack("{s:b}", "in_use", true);
	varlink_call_reply(call, echo(parameters, more));
}

static void on_memory(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *to = text(parameters, "to");
	json_t *fragments = json_pack("[{s:I, s:I}, {s:I, s:I}]", "pa", (json_int_t)0x8000000,
				      "size", (json_int_t)16 << 20, "pa", (json_int_t)0xa000000,
				      "size", (json_int_t)8 << 20);

	(void)ctx;
	if (to && strcmp(to, "full") == 0) {
		json_decref(fragments);
		varlink_call_error(call, "NoMemory",
				   json_pack("{s:n, s:n, s:s, s:I, s:I}", "what", "owner", "reason",
					     "so much is not there", "wanted", (json_int_t)64 << 20,
					     "had", (json_int_t)5 << 19));
		return;
	}
	varlink_call_reply(call, echo(parameters, json_pack("{s:b, s:o}", to ? "active" : "in_use",
							    false, "fragments", fragments)));
}

static void on_memory_list(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	varlink_call_reply(
	    call, load("{\"fragments\": ["
		       "{\"pa\": 0, \"size\": 25165824, \"owner\": \"alpha\","
		       " \"current_owner\": \"beta\", \"kind\": \"private\", \"base\": true,"
		       " \"sbb\": 0, \"available\": true},"
		       "{\"pa\": 25165824, \"size\": 2097152, \"owner\": null,"
		       " \"current_owner\": null, \"kind\": \"unowned\", \"base\": false,"
		       " \"sbb\": 0, \"available\": true}]}"));
}

static void on_hardware_list(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	varlink_call_reply(
	    call, load("{\"hardware\": ["
		       "{\"kind\": \"cpu\", \"id\": \"0\", \"sbb\": 0, \"owner\": \"alpha\","
		       " \"current_owner\": \"alpha\", \"available\": true, \"hotswap\": true},"
		       "{\"kind\": \"bus\", \"id\": \"0.0.0\", \"sbb\": 0, \"owner\": null,"
		       " \"current_owner\": null, \"available\": true, \"hotswap\": true},"
		       "{\"kind\": \"bus\", \"id\": \"1.0.0\", \"sbb\": 1, \"owner\": null,"
		       " \"current_owner\": null, \"available\": false, \"hotswap\": true},"
		       "{\"kind\": \"memory\", \"id\": \"0x8000000\", \"sbb\": 0,"
		       " \"owner\": null, \"current_owner\": null, \"available\": true,"
		       " \"hotswap\": false}]}"));
}

static void on_hardware_add(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *id = text(parameters, "id");

	(void)ctx;
	if (id && strcmp(id, "0") == 0)
		varlink_call_error(call, "Present",
				   json_pack("{s:s, s:n, s:s}", "what", "CPU 0", "owner", "reason",
					     "such a component is there already"));
	else
		varlink_call_reply(call, echo(parameters, json_pack("{s:s}", "id", id ? id : "6")));
}

static void on_hardware_remove(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)ctx;
	if (strcmp(text(parameters, "id"), "9") == 0)
		varlink_call_error(call, "InUse",
				   json_pack("{s:s, s:s, s:s}", "what", "CPU 9", "owner", "beta",
					     "reason", "somebody owns it"));
	else
		varlink_call_reply(call, echo(parameters, json_object()));
}

static void on_points(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	varlink_call_reply(call, load("{\"points\": [{\"name\": \"join_812\", \"passed\": 17},"
				      "{\"name\": \"of_another_version\", \"passed\": 1}]}"));
}

/* ---- programs, ports, faults ---- */

static void write_text(int fd, const char *bytes)
{
	if (write(fd, bytes, strlen(bytes)) < 0)
		abort();
}

static void on_run(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const json_t *argv = json_object_get(parameters, "argv");
	const char *program = json_string_value(json_array_get(argv, 0));
	json_t *pid = json_pack("{s:i}", "pid", 4711);
	int fds[VARLINK_FDS_MAX];
	int count = varlink_call_take_fds(call, fds, VARLINK_FDS_MAX);

	(void)ctx;
	if (count == 3) {
		char line[64] = "";

		if (strcmp(program, "cat") == 0 && read(fds[0], line, sizeof(line) - 1) > 0)
			write_text(fds[1], line);
		write_text(fds[1], program);
		write_text(fds[2], "grumble\n");
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (varlink_call_more(call) && varlink_call_oneway(call))
		abort();
	if (!varlink_call_more(call)) {
		json_object_set_new(pid, "fds", json_integer(count));
		varlink_call_reply(call, pid);
		return;
	}
	if (varlink_call_continue(call, pid) < 0)
		return;
	if (strcmp(program, "signal") == 0)
		varlink_call_reply(call, json_pack("{s:i}", "signal", 9));
	else if (strcmp(program, "reset") == 0)
		varlink_call_reply(call, json_pack("{s:i, s:s}", "signal", 9, "reason",
						   "the partition was reset"));
	else
		varlink_call_reply(call, json_pack("{s:i}", "exit_code", 7));
}

static void on_port_closed(uv_handle_t *handle)
{
	struct console *console = handle->data;

	close(console->port_fd);
}

static void on_port(uv_poll_t *poll, int status, int events)
{
	struct console *console = poll->data;
	char bytes[4096];
	ssize_t size = status < 0 ? 0 : read(console->port_fd, bytes, sizeof(bytes));

	(void)events;
	if (size > 0 && !memchr(bytes, '!', (size_t)size) &&
	    send(console->port_fd, bytes, (size_t)size, MSG_NOSIGNAL) == size)
		return;
	uv_close((uv_handle_t *)poll, on_port_closed);
}

static void on_console_port(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;

	if (refuse_unknown(call, text(parameters, "partition")))
		return;
	if (varlink_call_upgrade(call, NULL, &console->port_fd) < 0)
		return;
	uv_poll_init(&console->loop, &console->port, console->port_fd);
	console->port.data = console;
	uv_poll_start(&console->port, UV_READABLE, on_port);
}

static void on_inject(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const char *point = text(parameters, "point");

	(void)ctx;
	if (refuse_unknown(call, text(parameters, "partition")))
		return;
	if (point && strcmp(point, "nowhere") == 0)
		varlink_call_error(call, "NoSuchPoint", json_pack("{s:s}", "point", point));
	else
		varlink_call_reply(call, json_incref((json_t *)(uintptr_t)parameters));
}

/* One piece, for a single party. */
static json_t *traced(const char *who)
{
	if (strcmp(who, "alpha") == 0)
		return load("{\"entries\": [{\"t_ns\": 1000, \"who\": \"alpha\","
			    "\"thread\": 0, \"point\": \"join_812\","
			    "\"figure\": \"8A 812\", \"arg\": 16},"
			    "{\"t_ns\": 4000, \"who\": \"alpha\","
			    "\"thread\": 0, \"point\": \"join_814\","
			    "\"figure\": \"8A 814\", \"arg\": 16}]}");
	if (strcmp(who, "beta") == 0)
		return load("{\"entries\": [{\"t_ns\": 3500, \"who\": \"beta\","
			    "\"thread\": 3, \"point\": \"join_813\","
			    "\"figure\": \"8A 813\", \"arg\": 0}]}");
	return load("{\"entries\": []}");
}

/* In pieces, for an answer would take a console too long. */
static void on_trace(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	static const char *const all[] = {"alpha", "beta", "console", "box"};
	const json_t *who = json_object_get(parameters, "who");
	size_t count = json_array_size(who), i;
	int err = 0;

	(void)ctx;
	for (i = 0; !err && i < (count ? count : sizeof(all) / sizeof(all[0])); i++)
		err = varlink_call_continue(
		    call, traced(count ? json_string_value(json_array_get(who, i)) : all[i]));
	if (!err)
		varlink_call_reply(call, load("{\"entries\": []}"));
	else
		varlink_call_expected_more(call);
}

static void on_power_off(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *console = ctx;

	(void)parameters;
	varlink_call_reply(call, NULL);
	if (console->forgets) {
		console->forgets = false;
		return;
	}
	varlink_server_destroy(console->server);
	uv_close((uv_handle_t *)&console->idle, NULL);
}

/* ---- the process ---- */

static const struct {
	const char *name;
	varlink_handler *handler;
} methods[] = {
    {"Status", on_status},
    {"Tree", on_tree},
    {"Events", on_events},
    {"PartitionBoot", on_boot},
    {"PartitionHalt", on_halt},
    {"PartitionCrash", on_crash},
    {"CpuMigrate", on_migrate},
    {"CpuStart", on_start},
    {"CpuStop", on_start},
    {"CpuFailover", on_rules},
    {"CpuAutostart", on_rules},
    {"Run", on_run},
    {"ConsolePort", on_console_port},
    {"Inject", on_inject},
    {"Trace", on_trace},
    {"PowerOff", on_power_off},
    {"PartitionCreate", on_create},
    {"PartitionDelete", on_delete},
    {"PartitionSet", on_delete},
    {"CommunityCreate", on_create},
    {"CommunityDelete", on_delete},
    {"CommunityAdd", on_membership},
    {"CommunityRemove", on_membership},
    {"CpuAssign", on_component},
    {"CpuDeassign", on_component},
    {"BusAssign", on_component},
    {"BusDeassign", on_component},
    {"MemoryAssign", on_memory},
    {"MemoryDeassign", on_memory},
    {"MemoryList", on_memory_list},
    {"HardwareList", on_hardware_list},
    {"HardwareAdd", on_hardware_add},
    {"HardwareRemove", on_hardware_remove},
    {"Points", on_points},
};

static int serve(int listen_fd)
{
	struct console console = {0};

	uv_loop_init(&console.loop);
	uv_idle_init(&console.loop, &console.idle);
	console.idle.data = &console;
	if (varlink_server_create(&console.loop, listen_fd, &console.server) < 0)
		return 1;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (varlink_server_method(console.server, methods[i].name, methods[i].handler,
					  &console) < 0)
			return 2;
	uv_run(&console.loop, UV_RUN_DEFAULT);
	/* Anything that was not closed shows here, what was not freed in asan's report. */
	return uv_loop_close(&console.loop) < 0 ? 3 : 0;
}

static void write_pid(const char *directory, const char *name)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	unsigned long long start = 0;
	char path[160], stat[1024] = "";
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	const char *field;

	if (read(fd, stat, sizeof(stat) - 1) <= 0)
		abort();
	close(fd);
	field = strrchr(stat, ')');
	for (int i = 2; i < 22; i++)
		field = strchr(field + 1, ' ');
	start = strtoull(field + 1, NULL, 10);
	snprintf(path, sizeof(path), "%s/apmp/%s/pid", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0)
		abort();
	dprintf(fd, "%d %llu\n", getpid(), start);
}

void mock_start(struct mock *mock, const char *name, const struct mock *beside)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ready[2];
	char byte, path[128];

	snprintf(mock->directory, sizeof(mock->directory), "%s",
		 beside ? beside->directory : "/tmp/apmp-mock-XXXXXX");
	ck_assert(beside || mkdtemp(mock->directory));
	snprintf(mock->name, sizeof(mock->name), "%s", name);
	snprintf(path, sizeof(path), "%s/apmp", mock->directory);
	ck_assert(mkdir(path, 0700) == 0 || beside);
	snprintf(path, sizeof(path), "%s/apmp/%s", mock->directory, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(mock->control, sizeof(mock->control), "%s/control", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", mock->control);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(mock->control, 0666), 0);
	ck_assert_int_eq(listen(fd, 256), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	fflush(NULL);
	mock->pid = fork();
	if (mock->pid == 0) {
		close(ready[0]);
		signal(SIGTERM, SIG_DFL); /* libcheck's own would end the test */
		write_pid(mock->directory, name);
		write_text(ready[1], "r");
		exit(serve(fd));
	}
	close(ready[1]);
	close(fd);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

void mock_wait(struct mock *mock)
{
	int status;

	ck_assert_int_eq(waitpid(mock->pid, &status, 0), mock->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the mock ended with %#x",
		      status);
	mock->pid = 0;
}

void mock_stop(struct mock *mock)
{
	struct varlink_reply reply;
	struct varlink_client *client;
	char path[160];

	if (mock->pid) {
		ck_assert_int_eq(varlink_client_connect(mock->control, &client), 0);
		ck_assert_int_eq(varlink_client_call(client, "PowerOff", NULL, &reply), 0);
		varlink_reply_fini(&reply);
		varlink_client_close(client);
		mock_wait(mock);
	}
	unlink(mock->control);
	snprintf(path, sizeof(path), "%s/apmp/%s/pid", mock->directory, mock->name);
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path);
	*strrchr(path, '/') = 0;
	/* The last of those beside each other takes the directories along. */
	if (rmdir(path) == 0)
		rmdir(mock->directory);
}
