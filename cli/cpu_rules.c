/* `apmp cpu failover`, `apmp cpu autostart`: rules of a partition for its CPUs, which last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

/* The words from `first` to before `end` as numbers of CPUs; "all": NULL.  0 or CLI_USAGE. */
static int read_cpus(const struct cli_args *args, int first, int end, json_t **ret)
{
	json_int_t cpu;

	*ret = NULL;
	if (end == first + 1 && strcmp(args->args[first], "all") == 0)
		return CLI_DONE;
	*ret = json_array();
	for (int i = first; i < end; i++) {
		int code = cli_number(args, "CPU", args->args[i], &cpu);

		if (code != CLI_DONE) {
			json_decref(*ret);
			return code;
		}
		json_array_append_new(*ret, json_integer(cpu));
	}
	return CLI_DONE;
}

/* "beta,gamma" as names; "stay": the partition itself; "none": nobody. */
static json_t *read_targets(const char *partition, const char *text)
{
	json_t *list = json_array();

	if (strcmp(text, "none") == 0)
		return list;
	while (*text) {
		size_t length = strcspn(text, ",");
		char *name = cli_text("%.*s", (int)length, text);

		json_array_append_new(list,
				      json_string(strcmp(name, "stay") == 0 ? partition : name));
		free(name);
		text += length + (text[length] == ',');
	}
	return list;
}

/* One change; parameters and line are stolen. */
static int change(struct cli *cli, const char *method, json_t *parameters, const char *asked,
		  char *line)
{
	json_t *answer;
	int code = cli_call_asked(cli, method, json_incref(parameters), asked, &answer);

	if (code == CLI_DONE) {
		if (cli->json)
			cli_print_json(parameters);
		else
			printf("%s\n", line);
		json_decref(answer);
	}
	json_decref(parameters);
	free(line);
	return code;
}

static char *cpus_text(const json_t *cpus)
{
	char *numbers = cpus ? cli_numbers_text(cpus) : NULL, *text;

	text = !cpus			    ? cli_text("all CPUs")
	       : json_array_size(cpus) == 1 ? cli_text("CPU %s", numbers)
					    : cli_text("CPUs %s", numbers);
	free(numbers);
	return text;
}

int cli_cpu_failover(struct cli *cli, const struct cli_args *args)
{
	const char *partition = args->args[0], *last = args->args[args->count - 1];
	char *which, *asked, *to;
	json_t *cpus, *targets;
	int code = read_cpus(args, 1, args->count - 1, &cpus);

	if (code != CLI_DONE)
		return code;
	targets = read_targets(partition, last);
	which = cpus_text(cpus);
	to = cli_names_text(targets);
	asked = cli_text("failover of %s of \"%s\"", which, partition);
	code = change(
	    cli, "CpuFailover",
	    json_pack("{s:s, s:o, s:o*}", "partition", partition, "targets", targets, "cpus", cpus),
	    asked,
	    strcmp(last, "none") == 0 || strcmp(last, "stay") == 0
		? cli_text("%s of \"%s\": when it fails, nowhere else", which, partition)
		: cli_text("%s of \"%s\": when it fails, to the first of %s that runs", which,
			   partition, to));
	free(asked);
	free(which);
	free(to);
	return code;
}

int cli_cpu_autostart(struct cli *cli, const struct cli_args *args)
{
	const char *partition = args->args[0];
	bool none = args->count == 2 && strcmp(args->args[1], "none") == 0;
	json_t *cpus = none ? json_array() : NULL;
	char *which, *asked;
	int code = none ? CLI_DONE : read_cpus(args, 1, args->count, &cpus);

	if (code != CLI_DONE)
		return code;
	which = cpus_text(cpus);
	asked = cli_text("the autostart set of \"%s\"", partition);
	code = change(
	    cli, "CpuAutostart", json_pack("{s:s, s:o*}", "partition", partition, "cpus", cpus),
	    asked,
	    none ? cli_text(
		       "autostart set of \"%s\": none; CPUs that come wait for `apmp cpu start`",
		       partition)
		 : cli_text("autostart set of \"%s\": %s", partition, which));
	free(asked);
	free(which);
	return code;
}
