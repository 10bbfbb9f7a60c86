/* machine.c - calls and events of a running machine, for campaigns. */
#include "chaos/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "chaos/invariants.h"

/* No measure of anything: longer than this, and the campaign says that nothing goes on. */
#define HANG_GUARD_S 60

static int connect_to(const char *path, struct varlink_client **ret_client)
{
	struct timeval guard = {.tv_sec = HANG_GUARD_S};
	int err = varlink_client_connect(path, ret_client);

	if (!err)
		(void)setsockopt(varlink_client_fd(*ret_client), SOL_SOCKET, SO_RCVTIMEO, &guard,
				 sizeof(guard));
	return err;
}

int machine_connect(const struct machine *machine, struct varlink_client **ret_client)
{
	return connect_to(machine->control, ret_client);
}

/* The number of the newest event. */
static json_int_t newest_event(struct machine *machine)
{
	struct varlink_client *client;
	struct varlink_reply reply;
	json_int_t newest = 0;
	bool more = true;

	if (connect_to(machine->control, &client))
		return 0;
	if (varlink_client_send(client, "Events", NULL, VARLINK_MORE, NULL, 0))
		more = false;
	while (more && varlink_client_receive(client, &reply) == 0) {
		const json_t *event = json_object_get(reply.parameters, "event");
		json_int_t seq = json_integer_value(json_object_get(event, "seq"));

		newest = seq > newest ? seq : newest;
		more = reply.continues;
		varlink_reply_fini(&reply);
	}
	varlink_client_close(client);
	return newest;
}

int machine_find(struct machine *machine, const char *name)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	name = name ? name : getenv("APMP_MACHINE");
	*machine = (struct machine){.name = name};
	if (!name) {
		fprintf(stderr, "apmp-chaos: which machine? --name NAME, or APMP_MACHINE\n");
		return -EINVAL;
	}
	if (runtime)
		snprintf(machine->control, sizeof(machine->control), "%s/apmp/%s/control", runtime,
			 name);
	else
		snprintf(machine->control, sizeof(machine->control), "/tmp/apmp-%u/%s/control",
			 (unsigned)getuid(), name);
	return 0;
}

int machine_open(struct machine *machine, const char *name)
{
	int err = machine_find(machine, name);

	if (err)
		return err;
	err = connect_to(machine->control, &machine->client);
	if (!err)
		err = connect_to(machine->control, &machine->events);
	if (!err)
		err = varlink_client_send(
		    machine->events, "Events",
		    json_pack("{s:I,s:b}", "since", newest_event(machine) + 1, "follow", 1),
		    VARLINK_MORE, NULL, 0);
	if (err)
		fprintf(stderr, "apmp-chaos: no machine \"%s\": %s: %s\n", machine->name,
			machine->control, strerror(-err));
	return err;
}

void machine_close(struct machine *machine)
{
	varlink_client_close(machine->client);
	varlink_client_close(machine->events);
}

/* The parameters of a good reply; otherwise NULL, and the error's last name. */
static json_t *take_answer(int err, struct varlink_reply *reply, char *error)
{
	json_t *answer = NULL;

	snprintf(error, 64, "%s", err ? "silent" : "");
	if (err)
		return NULL;
	if (reply->error) {
		const char *dot = strrchr(reply->error, '.');

		snprintf(error, 64, "%s", dot ? dot + 1 : reply->error);
	} else {
		answer = json_incref(reply->parameters);
	}
	varlink_reply_fini(reply);
	return answer;
}

json_t *machine_call(struct machine *machine, const char *method, json_t *parameters, char *error)
{
	struct varlink_reply reply;
	int err = varlink_client_call(machine->client, method, parameters, &reply);

	return take_answer(err, &reply, error);
}

json_t *machine_status(struct machine *machine, char *error)
{
	json_t *answer = machine_call(machine, "Status", NULL, error);
	json_t *status = json_incref(json_object_get(answer, "status"));

	json_decref(answer);
	return status;
}

bool machine_violated(struct machine *machine, const char *what, const char *about)
{
	if (!machine->violation[0])
		snprintf(machine->violation, sizeof(machine->violation), "%s%s%s", what,
			 about[0] ? ": " : "", about);
	return false;
}

json_t *machine_look(struct machine *machine)
{
	char error[64];
	json_t *status = machine_status(machine, error);

	if (!status)
		machine_violated(machine, "no status", error);
	return status;
}

void machine_print_error(const char *error, const char *reason)
{
	/* A file's name may be any bytes: then there is no reason. */
	json_t *object =
	    json_pack("{s:o,s:{s:o?}}", "error", json_sprintf("org.apmp.cli.%s", error),
		      "parameters", "reason", json_string(reason));

	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

int machine_not_begun(const struct machine *machine, const char *wants, bool json)
{
	char reason[512];

	snprintf(reason, sizeof(reason), "not begun: %s; %s", machine->violation, wants);
	fprintf(stderr, "apmp-chaos: %s\n", reason);
	if (json)
		machine_print_error("NotBegun", reason);
	return 1;
}

/* A process that SIGSTOP, or a debugger, holds. */
static bool stands_still(json_int_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'T' || state == 't';
}

bool machine_moves(struct machine *machine, const json_t *status)
{
	const json_t *item, *health = json_object_get(status, "health");
	size_t i;

	json_array_foreach(json_object_get(health, "debugged"), i, item)
	{
		const char *name = json_string_value(item);

		return machine_violated(machine, name,
					"is debugged, so that its silence does not count");
	}
	json_array_foreach(json_object_get(status, "partitions"), i, item)
	{
		const json_t *pid = json_object_get(json_object_get(item, "instance"), "pid");

		if (json_is_integer(pid) && stands_still(json_integer_value(pid)))
			return machine_violated(machine,
						json_string_value(json_object_get(item, "name")),
						"is stopped");
	}
	return true;
}

bool machine_is_fit(struct machine *machine, const json_t *status, size_t partition_count)
{
	char what[200];

	if (partition_count < 2)
		return machine_violated(machine, "it has one partition", "at least two are needed");
	if (!machine_moves(machine, status))
		return false;
	return invariants_hold(status, status, true, what, sizeof(what)) ||
	       machine_violated(machine, what, "");
}

uint32_t machine_partitions(const json_t *status,
			    char ret_names[APMP_MAX_PARTITIONS][APMP_NAME_SIZE])
{
	const json_t *p;
	uint32_t count = 0;
	size_t i;

	json_array_foreach(json_object_get(status, "partitions"), i, p)
	{
		if (count == APMP_MAX_PARTITIONS)
			break;
		snprintf(ret_names[count++], APMP_NAME_SIZE, "%s",
			 json_string_value(json_object_get(p, "name")));
	}
	return count;
}

struct varlink_client *machine_begin(struct machine *machine, const char *method,
				     json_t *parameters)
{
	struct varlink_client *client;

	if (connect_to(machine->control, &client)) {
		json_decref(parameters);
		return NULL;
	}
	if (varlink_client_send(client, method, parameters, 0, NULL, 0)) {
		varlink_client_close(client);
		return NULL;
	}
	return client;
}

json_t *machine_end(struct varlink_client *client, char *error)
{
	struct varlink_reply reply;
	int err = varlink_client_receive(client, &reply);
	json_t *answer = take_answer(err, &reply, error);

	varlink_client_close(client);
	return answer;
}

static bool is_event(const json_t *event, const struct machine_wanted *wanted)
{
	const char *kind = json_string_value(json_object_get(event, "kind"));
	const char *partition = json_string_value(json_object_get(event, "partition"));

	return kind && strcmp(kind, wanted->kind) == 0 &&
	       (!wanted->partition || (partition && strcmp(partition, wanted->partition) == 0));
}

json_t *machine_event(struct machine *machine, const struct machine_wanted *wanted, size_t count)
{
	time_t guard = time(NULL) + HANG_GUARD_S;
	struct varlink_reply reply;

	while (time(NULL) < guard && varlink_client_receive(machine->events, &reply) == 0) {
		json_t *event = json_object_get(reply.parameters, "event");
		bool found = false;

		for (size_t i = 0; i < count; i++)
			found = found || is_event(event, &wanted[i]);

		if (found)
			json_incref(event);
		varlink_reply_fini(&reply);
		if (found)
			return event;
	}
	return NULL;
}
