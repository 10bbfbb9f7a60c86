/* `apmp down` and `apmp list`: the life of whole machines. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/several.h"
#include "cli/table.h"

enum {
	ANSWER_S = 10, /* a console that hangs is killed after 3 s (shm/wire/box.h) and restarted */
	LIST_S = 1,    /* a living one answers in microseconds: `list` does without the others */
	OFF_S = 5,     /* a box that was told ends in some 100 ms, on a busy host in seconds */
	AGAIN_MS = 100,
};

/* A pidfd is readable when its process has ended. */
static bool ends_within(int box, int ms)
{
	return poll(&(struct pollfd){.fd = box, .events = POLLIN}, 1, ms) > 0;
}

/*
 * Asks the console to power off: 0 with its answer, 0 without one when the box has ended, which is
 * what was wanted; or -errno. Being cut off is no answer: a console that ended, or was killed
 * because it hung, is restarted, and the next one is asked again.
 */
static int ask_console(const struct machine *machine, int box, struct varlink_reply *reply)
{
	long long until = cli_now_ms() + ANSWER_S * 1000;

	for (;;) {
		long long left = until - cli_now_ms();
		unsigned seconds = left > 1000 ? (unsigned)(left / 1000) : 1;
		int r = cli_ask(machine, "PowerOff", seconds, reply);
		/* The control socket is removed a little before the box ends. */
		bool cut_off =
		    r == -EPIPE || r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT;

		if (r == 0 || ends_within(box, cut_off ? AGAIN_MS : 0))
			return 0;
		if (!cut_off || left <= 0)
			return r;
	}
}

static int still_on(const struct cli *cli, const struct machine *machine, int error)
{
	json_t *parameters =
	    json_pack("{s:s, s:s}", "machine", machine->name, "reason", strerror(-error));

	if (error == -ETIMEDOUT) /* it has the question, and will answer it */
		json_object_set_new(parameters, "seconds", json_integer(ANSWER_S));
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.StillOn", parameters);
}

/* It powers off in order, with its console's help if that answers. */
static int end_box(const struct cli *cli, int box)
{
	/* -ESRCH: it ended meanwhile, which is what was wanted. */
	if (syscall(SYS_pidfd_send_signal, box, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
		return cli_refuse(
		    cli, CLI_REFUSED, "org.apmp.cli.Host",
		    json_pack("{s:s, s:s}", "what", "ending the box", "reason", strerror(errno)));
	return CLI_DONE;
}

/* The console is asked to; if it can't, and only with --force, the box is told itself.  A bare
 * machine has none, and none is started for this. */
static int ask_power_off(struct cli *cli, const struct machine *machine, int box, bool force)
{
	struct varlink_reply reply = {0};
	int code = CLI_DONE, r;

	if (machine->bare)
		return end_box(cli, box);
	r = ask_console(machine, box, &reply);
	if (r == 0 && reply.error)
		code = cli_refuse(cli, CLI_REFUSED, reply.error, json_incref(reply.parameters));
	varlink_reply_fini(&reply);
	if (r == 0)
		return code;
	return force ? end_box(cli, box) : still_on(cli, machine, r);
}

int cli_down(struct cli *cli, const struct cli_args *args)
{
	struct machine machine;
	int box, code = cli_choose(cli, &machine);

	if (code != CLI_DONE)
		return code;
	box = cli_box_open(&machine);
	if (box < 0)
		return cli_refuse(cli, CLI_NO_MACHINE, "org.apmp.cli.DeadMachine",
				  json_pack("{s:s}", "machine", machine.name));
	/* A console that died between its answer and the box knew of it: the next one is told. */
	do
		code = ask_power_off(cli, &machine, box, cli_option(args, "force"));
	while (code == CLI_DONE && !ends_within(box, OFF_S * 1000));
	close(box);
	if (code == CLI_DONE && cli->json) {
		json_t *answer = json_pack("{s:s, s:s}", "machine", machine.name, "state", "off");

		cli_print_json(answer);
		json_decref(answer);
	} else if (code == CLI_DONE) {
		printf("machine \"%s\" is off\n", machine.name);
	}
	return code;
}

/* What one machine is; a console that doesn't answer leaves the number of partitions out. */
static json_t *describe(const struct machine *machine)
{
	json_t *entry = json_pack("{s:s, s:s}", "name", machine->name, "state",
				  !machine->on	  ? "dead"
				  : machine->bare ? "bare"
						  : "on");
	struct varlink_reply reply = {0};

	if (machine->on && !machine->bare && cli_ask(machine, "Status", LIST_S, &reply) == 0 &&
	    !reply.error) {
		const json_t *status = json_object_get(reply.parameters, "status");
		size_t count = json_array_size(json_object_get(status, "partitions"));

		json_object_set_new(entry, "partitions", json_integer((json_int_t)count));
	}
	varlink_reply_fini(&reply);
	if (machine->on)
		json_object_set_new(entry, "pid", json_integer(machine->box));
	return entry;
}

static void print_list(const struct cli *cli, const json_t *list)
{
	struct table *table = table_create("MACHINE STATE >PARTITIONS >BOX-PID");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		const char *state = cli_string(entry, "state");

		table_string(table, NULL, cli_string(entry, "name"));
		table_string(table, cli_state_color(state), state);
		table_cell(table, NULL, cli_number_text(entry, "partitions"));
		table_cell(table, NULL, cli_number_text(entry, "pid"));
	}
	table_print(table, cli);
}

int cli_list(struct cli *cli, const struct cli_args *args)
{
	struct machine *machines;
	int count = cli_machines(&machines);
	json_t *list = json_array();

	(void)args;
	for (int i = 0; i < count; i++)
		json_array_append_new(list, describe(&machines[i]));
	free(machines);
	if (cli->json)
		cli_print_json(list);
	else if (count == 0)
		printf("no machines; `apmp up FILE` starts one\n");
	else
		print_list(cli, list);
	json_decref(list);
	return CLI_DONE;
}
