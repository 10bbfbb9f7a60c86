/* `apmp status` and `apmp cpu list`: the machine as it is now. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

static void state(struct table *table, const char *text)
{
	table_string(table, cli_state_color(text), text);
}

/* A partition without a living instance has no incarnation. */
static char *incarnation(const json_t *instance)
{
	bool none = json_integer_value(json_object_get(instance, "incarnation")) == 0;

	return none ? cli_text("-") : cli_number_text(instance, "incarnation");
}

/* Of its CPUs, in host CPUs. */
static char *capacity(const json_t *partition)
{
	return cli_text("%.2f", json_number_value(json_object_get(partition, "capacity")));
}

static void print_partitions(const struct cli *cli, const json_t *partitions)
{
	struct table *table =
	    table_create(">ID PARTITION STATE INSTANCE >INCARNATION >PRIMARY CPUS "
			 "HOST-CPUS >CAPACITY >MEMORY COMMUNITY");

	for (size_t i = 0; i < json_array_size(partitions); i++) {
		const json_t *partition = json_array_get(partitions, i);
		const json_t *instance = json_object_get(partition, "instance");

		table_cell(table, NULL, cli_number_text(partition, "id"));
		table_string(table, NULL, cli_string(partition, "name"));
		table_string(table, NULL, cli_string(partition, "state"));
		state(table, cli_string(instance, "state"));
		table_cell(table, NULL, incarnation(instance));
		table_cell(table, NULL, cli_number_text(partition, "primary"));
		table_cell(table, NULL, cli_numbers_text(json_object_get(partition, "cpus")));
		table_string(table, NULL, cli_string(partition, "host_cpus"));
		table_cell(table, NULL, capacity(partition));
		table_cell(table, NULL, cli_bytes_text(partition, "memory"));
		table_string(table, NULL, cli_string(partition, "community"));
	}
	table_print(table, cli);
}

/* Where it goes when that fails: its targets in their order, "-" without one; the caller frees
 * it. */
static char *failover(const json_t *cpu)
{
	const json_t *names = json_object_get(cpu, "failover"), *name;
	const char *own = json_string_value(json_object_get(cpu, "current_owner"));
	json_t *words;
	char *text;
	size_t i;

	if (json_is_true(json_object_get(cpu, "primary"))) /* whatever its rule */
		return cli_text("stays");
	words = json_array();
	if (!own) /* then the rules are its owner's */
		own = cli_string(cpu, "owner");
	json_array_foreach(names, i, name)
	{
		const char *word = json_string_value(name);

		json_array_append_new(words,
				      json_string(word && strcmp(word, own) == 0 ? "stays" : word));
	}
	text = json_array_size(words) ? cli_names_text(words) : cli_text("-");
	json_decref(words);
	return text;
}

static void print_cpus(const struct cli *cli, const json_t *cpus)
{
	struct table *table = table_create(">CPU OWNER CURRENT-OWNER STATE PRIMARY >HOST-CPU "
					   "AUTOSTART FAILOVER");

	for (size_t i = 0; i < json_array_size(cpus); i++) {
		const json_t *cpu = json_array_get(cpus, i);
		bool primary = json_is_true(json_object_get(cpu, "primary"));

		table_cell(table, NULL, cli_number_text(cpu, "id"));
		table_string(table, NULL, cli_string(cpu, "owner"));
		table_string(table, NULL, cli_string(cpu, "current_owner"));
		state(table, cli_string(cpu, "state"));
		table_string(table, NULL, primary ? "primary" : "-");
		table_cell(table, NULL, cli_number_text(cpu, "host_cpu"));
		table_string(table, NULL,
			     json_is_true(json_object_get(cpu, "autostart"))	? "yes"
			     : json_is_false(json_object_get(cpu, "autostart")) ? "no"
										: "-");
		table_cell(table, NULL, failover(cpu));
	}
	table_print(table, cli);
}

static void print_communities(const struct cli *cli, const json_t *communities)
{
	struct table *table =
	    table_create(">ID COMMUNITY SHARING-SET >INCARNATION >DB-PFN >DB-PAGES MEMBERS");

	for (size_t i = 0; i < json_array_size(communities); i++) {
		const json_t *community = json_array_get(communities, i);
		const json_t *set = json_object_get(community, "sharing_set");

		table_cell(table, NULL, cli_number_text(community, "id"));
		table_string(table, NULL, cli_string(community, "name"));
		state(table, cli_string(set, "state"));
		table_cell(table, NULL, cli_number_text(set, "incarnation"));
		table_cell(table, NULL, cli_number_text(set, "apmpdb_pfn"));
		table_cell(table, NULL, cli_number_text(set, "apmpdb_pages"));
		table_cell(table, NULL, cli_names_text(json_object_get(community, "members")));
	}
	table_print(table, cli);
}

static void print_memory(const struct cli *cli, const json_t *memory)
{
	struct table *table = table_create("MEMORY-OF KIND >SIZE");

	for (size_t i = 0; i < json_array_size(memory); i++) {
		const json_t *one = json_array_get(memory, i);

		table_string(table, NULL, cli_string(one, "owner"));
		table_string(table, NULL, cli_string(one, "kind"));
		table_cell(table, NULL, cli_bytes_text(one, "size"));
	}
	table_print(table, cli);
}

/* One line of health; good is green, the rest red. text is freed. */
static void print_line(const struct cli *cli, const char *what, bool good, char *text)
{
	const char *color = cli_state_color(good ? "on" : "dead");

	printf("%-14s %s%s%s\n", what, cli->color ? color : "", text, cli->color ? "\033[0m" : "");
	free(text);
}

/* Partitions that lack what a boot needs [0079]. */
static void print_held(const struct cli *cli, const json_t *partitions)
{
	for (size_t i = 0; i < json_array_size(partitions); i++) {
		const json_t *partition = json_array_get(partitions, i);
		const json_t *missing = json_object_get(partition, "missing");
		bool bytes = strcmp(cli_string(missing, "what"), "bytes of memory") == 0;
		char *wanted =
		    bytes ? cli_bytes_text(missing, "wanted") : cli_number_text(missing, "wanted");
		char *had =
		    bytes ? cli_bytes_text(missing, "had") : cli_number_text(missing, "had");

		if (missing)
			print_line(cli, "held", false,
				   cli_text("%s: %s %s wanted, %s there",
					    cli_string(partition, "name"), wanted,
					    bytes ? "of memory" : cli_string(missing, "what"),
					    had));
		free(wanted);
		free(had);
	}
}

/* Where several CPUs stand on one host CPU. */
static char *enforcement(const json_t *shares)
{
	if (json_is_true(json_object_get(shares, "enforced")))
		return cli_text("programs get the capacity of their partition");
	return cli_text("programs get what the host gives them, not the capacity of their "
			"partition: %s",
			cli_string(shares, "why"));
}

static void print_health(const struct cli *cli, const json_t *health)
{
	const json_t *console = json_object_get(health, "console");
	const json_t *nvram = json_object_get(health, "nvram");
	const json_t *pending = json_object_get(health, "fence_pending");
	const json_t *shares = json_object_get(health, "capacity");
	json_int_t restarts = json_integer_value(json_object_get(console, "restarts"));
	const char *last = json_string_value(json_object_get(console, "last"));
	const char *state = cli_string(nvram, "state");

	print_line(cli, "console", restarts == 0,
		   restarts == 0
		       ? cli_text("never restarted")
		       : cli_text("restarted %lld time%s%s%s", (long long)restarts,
				  restarts == 1 ? "" : "s",
				  last ? "; how the last one ended: " : "", last ? last : ""));
	print_line(cli, "NVRAM", strcmp(state, "failed") != 0,
		   cli_text("%s; at power on: %s", state, cli_string(nvram, "power_on")));
	if (json_is_true(json_object_get(shares, "shared")))
		print_line(cli, "shared CPUs", json_is_true(json_object_get(shares, "enforced")),
			   enforcement(shares));
	if (json_array_size(json_object_get(health, "debugged")) > 0)
		print_line(cli, "debugged", true,
			   cli_names_text(json_object_get(health, "debugged")));
	if (json_array_size(json_object_get(health, "one_range")) > 0)
		print_line(cli, "no second range", false,
			   cli_names_text(json_object_get(health, "one_range")));
	print_line(cli, "fence pending", json_array_size(pending) == 0,
		   json_array_size(pending) == 0 ? cli_text("nobody") : cli_names_text(pending));
}

/* Who has failed since power on and left a dump. */
static void print_dumped(const struct cli *cli, const json_t *partitions)
{
	json_t *names = json_array();
	const json_t *partition;
	char *text;
	size_t i;

	json_array_foreach(partitions, i, partition)
	{
		if (json_object_get(json_object_get(partition, "instance"), "dumped"))
			json_array_append(names, json_object_get(partition, "name"));
	}
	if (json_array_size(names)) {
		text = cli_names_text(names);
		print_line(cli, "dumps", true, cli_text("of %s; `apmp dump` lists them", text));
		free(text);
	}
	json_decref(names);
}

static void print_status(const struct cli *cli, const json_t *status)
{
	printf("machine %s is %s, partitions are kept apart by %s\n\n",
	       cli_string(status, "machine"), cli_string(status, "state"),
	       cli_string(status, "backend"));
	print_partitions(cli, json_object_get(status, "partitions"));
	putchar('\n');
	print_cpus(cli, json_object_get(status, "cpus"));
	putchar('\n');
	print_communities(cli, json_object_get(status, "communities"));
	putchar('\n');
	print_memory(cli, json_object_get(status, "memory"));
	putchar('\n');
	print_health(cli, json_object_get(status, "health"));
	print_dumped(cli, json_object_get(status, "partitions"));
	print_held(cli, json_object_get(status, "partitions"));
}

int cli_status(struct cli *cli, const struct cli_args *args)
{
	json_t *answer;
	const json_t *status;
	int code = cli_call(cli, "Status", NULL, &answer);

	(void)args;
	if (code != CLI_DONE)
		return code;
	status = json_object_get(answer, "status");
	if (cli->json)
		cli_print_json(status);
	else
		print_status(cli, status);
	json_decref(answer);
	return CLI_DONE;
}

int cli_cpu_list(struct cli *cli, const struct cli_args *args)
{
	json_t *answer;
	const json_t *cpus;
	int code = cli_call(cli, "Status", NULL, &answer);

	(void)args;
	if (code != CLI_DONE)
		return code;
	cpus = json_object_get(json_object_get(answer, "status"), "cpus");
	if (cli->json)
		cli_print_json(cpus);
	else
		print_cpus(cli, cpus);
	json_decref(answer);
	return CLI_DONE;
}
