/* `apmp partition ...` and `apmp cpu migrate`: what changes a machine that runs. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/find_machine.h"
#include "cli/table.h"

/* ---- partitions ---- */

/* Calls a method for a partition; says in one word what is true afterwards. */
static int partition(struct cli *cli, const struct cli_args *args, const char *method, bool wait,
		     const char *outcome)
{
	json_t *parameters = json_pack("{s:s}", "name", args->args[0]);
	json_t *answer;
	int code;

	if (wait)
		json_object_set_new(parameters, "wait", json_true());
	code = cli_call(cli, method, parameters, &answer);
	if (code != CLI_DONE)
		return code;
	if (cli->json)
		cli_print_json(answer);
	else
		printf("partition \"%s\" %s\n", args->args[0], outcome);
	json_decref(answer);
	return CLI_DONE;
}

int cli_partition_boot(struct cli *cli, const struct cli_args *args)
{
	bool wait = !cli_option(args, "no-wait");

	return partition(cli, args, "PartitionBoot", wait, wait ? "is a member" : "is booting");
}

int cli_partition_halt(struct cli *cli, const struct cli_args *args)
{
	return partition(cli, args, "PartitionHalt", false, "is halted");
}

int cli_partition_crash(struct cli *cli, const struct cli_args *args)
{
	return partition(cli, args, "PartitionCrash", false, "was told to crash");
}

int cli_partition_reset(struct cli *cli, const struct cli_args *args)
{
	return partition(cli, args, "PartitionReset", false, "is reset");
}

/* ---- CPUs ---- */

/* While a CPU is busy or bound nobody says when that ends: it is tried again this often. */
enum { AGAIN_MS = 20 };

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* "500ms", "2s", "20us"; a bare number is seconds. 0, or CLI_USAGE after saying so. */
static int read_time(const struct cli_args *args, const char *text, long long *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"", 1e3}, {"s", 1e3}, {"ms", 1}, {"us", 1e-3}};
	char *unit;
	double value = strtod(text, &unit);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (unit == text || strcmp(unit, units[i].unit) != 0 || !(value >= 0) ||
		    value > 1e9)
			continue;
		*ret_ms = (long long)(value * units[i].ms);
		return CLI_DONE;
	}
	return cli_usage(args, "--wait is a time as 500ms or 2s, not \"%s\"", text);
}

static bool may_pass(const char *error)
{
	return strcmp(error, VARLINK_MACHINE ".Busy") == 0 ||
	       strcmp(error, VARLINK_MACHINE ".Bound") == 0;
}

static json_t *migrate_parameters(const struct cli_args *args, json_int_t cpu)
{
	json_t *parameters = json_pack("{s:I, s:s}", "cpu", cpu, "to", cli_option(args, "to"));

	if (cli_option(args, "loan"))
		json_object_set_new(parameters, "loan", json_true());
	if (cli_option(args, "dry-run"))
		json_object_set_new(parameters, "dry_run", json_true());
	return parameters;
}

static void print_migrated(const struct cli *cli, const struct cli_args *args, json_int_t cpu,
			   json_t *answer)
{
	const json_t *steps = json_object_get(answer, "steps");
	char *time = cli_duration_text(json_integer_value(json_object_get(answer, "elapsed_ns")));

	if (cli->json) {
		json_object_set_new(answer, "cpu", json_integer(cpu));
		cli_print_json(answer);
	} else if (cli_option(args, "dry-run")) {
		printf("CPU %lld would go from \"%s\" to \"%s\":\n", (long long)cpu,
		       cli_string(answer, "from"), cli_string(answer, "to"));
		for (size_t i = 0; i < json_array_size(steps); i++)
			printf("  %zu. %s\n", i + 1, json_string_value(json_array_get(steps, i)));
	} else {
		printf("CPU %lld went from \"%s\" to \"%s\" in %s\n", (long long)cpu,
		       cli_string(answer, "from"), cli_string(answer, "to"), time);
	}
	free(time);
}

/* One CPU, tried until `until`. */
static int migrate(struct cli *cli, const struct cli_args *args, const struct machine *machine,
		   struct varlink_client *client, json_int_t cpu, long long until)
{
	for (;;) {
		struct varlink_reply reply = {0};
		int r = cli_machine_call(machine, client, "CpuMigrate",
					 migrate_parameters(args, cpu), &reply);
		bool again = r == 0 && reply.error && may_pass(reply.error) && now_ms() < until;

		if (r < 0)
			return cli_no_answer(cli, machine, r);
		if (reply.error && !again)
			r = cli_refuse(cli, CLI_REFUSED, reply.error,
				       json_incref(reply.parameters));
		else if (!reply.error)
			print_migrated(cli, args, cpu, reply.parameters);
		varlink_reply_fini(&reply);
		if (!again)
			return r;
		poll(NULL, 0, AGAIN_MS);
	}
}

int cli_cpu_migrate(struct cli *cli, const struct cli_args *args)
{
	struct varlink_client *client;
	struct machine machine;
	long long wait_ms = 0;
	json_int_t cpu;
	int code = CLI_DONE;

	if (!cli_option(args, "to"))
		return cli_usage(args, "cpu migrate wants --to PARTITION");
	if (cli_option(args, "wait"))
		code = read_time(args, cli_option(args, "wait"), &wait_ms);
	/* All of them are read before the first one moves. */
	for (int i = 0; code == CLI_DONE && i < args->count; i++)
		code = cli_number(args, "CPU", args->args[i], &cpu);
	if (code == CLI_DONE)
		code = cli_connect(cli, &machine, &client);
	if (code != CLI_DONE)
		return code;
	for (int i = 0; code == CLI_DONE && i < args->count; i++) {
		code = cli_number(args, "CPU", args->args[i], &cpu);
		if (code == CLI_DONE)
			code = migrate(cli, args, &machine, client, cpu, now_ms() + wait_ms);
	}
	varlink_client_close(client);
	return code;
}
