/* `apmp cpu failover`, `apmp cpu autostart`: rules of a partition for its CPUs, which last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

static bool has(const json_t *cpus, json_int_t cpu)
{
	size_t i = 0;

	while (i < json_array_size(cpus) && json_integer_value(json_array_get(cpus, i)) != cpu)
		i++;
	return i < json_array_size(cpus);
}

/* The words from `first` to before `end` as numbers of CPUs; "all": NULL.  0 or CLI_USAGE. */
static int read_cpus(const struct cli_args *args, int first, int end, json_t **ret)
{
	json_int_t cpu = 0;

	*ret = NULL;
	if (end == first + 1 && strcmp(args->args[first], "all") == 0)
		return CLI_DONE;
	*ret = json_array();
	for (int i = first; i < end; i++) {
		const char *word = args->args[i];
		bool alone = strcmp(word, "all") == 0 || strcmp(word, "none") == 0;
		int code =
		    alone ? cli_usage(args, "\"%s\" stands alone, without numbers of CPUs", word)
			  : cli_number(args, "CPU", word, &cpu);

		if (code != CLI_DONE) {
			json_decref(*ret);
			return code;
		}
		if (!has(*ret, cpu))
			json_array_append_new(*ret, json_integer(cpu));
	}
	return CLI_DONE;
}

/* Why this name can't stand behind those of the list; NULL: it can.  The caller frees it. */
static char *misplaced(const json_t *list, const char *partition, const char *name)
{
	size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++)
		if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
			return strcmp(name, partition) == 0
				   ? cli_text("that CPUs stay is said twice")
				   : cli_text("\"%s\" is named twice", name);
	if (!*name)
		return cli_text("there is a target without a name");
	if (strcmp(name, "none") == 0)
		return cli_text("\"none\" stands alone");
	if (count && strcmp(json_string_value(json_array_get(list, count - 1)), partition) == 0)
		return cli_text("CPUs that stay go nowhere else: nothing stands behind that");
	return NULL;
}

/* "beta,gamma" as names; "stay": the partition itself; "none": nobody.  0 or CLI_USAGE. */
static int read_targets(const struct cli_args *args, const char *partition, const char *text,
			json_t **ret)
{
	bool more = strcmp(text, "none") != 0;
	char *wrong = NULL;

	*ret = json_array();
	while (more && !wrong) {
		size_t length = strcspn(text, ",");
		char *name = cli_text("%.*s", (int)length, text);
		const char *meant = strcmp(name, "stay") == 0 ? partition : name;

		wrong = misplaced(*ret, partition, meant);
		json_array_append_new(*ret, json_string(meant));
		free(name);
		more = text[length] == ',';
		text += length + more;
	}
	if (!wrong)
		return CLI_DONE;
	(void)cli_usage(args, "the targets make no sense: %s", wrong);
	free(wrong);
	json_decref(*ret);
	return CLI_USAGE;
}

/* "to beta, or gamma if that does not run"; the caller frees it. */
static char *targets_text(const json_t *targets, const char *partition, bool one)
{
	size_t count = json_array_size(targets);
	char *text = cli_text("%s", count ? "" : "nowhere else");

	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(targets, i));
		bool stays = strcmp(name, partition) == 0;
		char *more = i == 0 ? stays ? cli_text(one ? "it stays" : "each stays")
					    : cli_text("to %s", name)
				    : cli_text("%s, or %s if %s", text, stays ? "stays" : name,
					       i == 1 ? "that does not run" : "none of these runs");

		free(text);
		text = more;
	}
	return text;
}

/* What an answer adds to a rule by which CPUs go: the primary does not [0298]. */
static char *stays_text(const json_t *answer)
{
	const json_t *primary = json_object_get(answer, "primary");

	return primary ? cli_text("; CPU %lld, its primary, stays",
				  (long long)json_integer_value(primary))
		       : cli_text("%s", "");
}

/* One change; parameters and line are stolen.  The document is what was asked for and answered;
 * goes: by the rule CPUs go away. */
static int change(struct cli *cli, const char *method, json_t *parameters, const char *asked,
		  char *line, bool goes)
{
	json_t *answer;
	int code = cli_call_asked(cli, method, json_incref(parameters), asked, &answer);

	if (code == CLI_DONE) {
		char *stays = stays_text(goes ? answer : NULL);

		json_object_update(parameters, answer);
		if (cli->json)
			cli_print_json(parameters);
		else
			printf("%s%s\n", line, stays);
		free(stays);
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

/* The targets are one word: what stands before that are numbers, or "all". */
static int check_one_word(const struct cli_args *args)
{
	for (int i = 1; i < args->count - 1; i++) {
		const char *word = args->args[i];

		if (!strchr("0123456789", *word) && strcmp(word, "all") != 0)
			return cli_usage(args,
					 "targets are one word, with commas and no blanks between "
					 "them: \"%s,%s\"?",
					 word, args->args[i + 1]);
	}
	return CLI_DONE;
}

int cli_cpu_failover(struct cli *cli, const struct cli_args *args)
{
	const char *partition = args->args[0], *last = args->args[args->count - 1];
	char *which, *asked, *to;
	json_t *cpus, *targets;
	bool goes;
	int code = check_one_word(args);

	if (code == CLI_DONE)
		code = read_cpus(args, 1, args->count - 1, &cpus);
	if (code != CLI_DONE)
		return code;
	code = read_targets(args, partition, last, &targets);
	if (code != CLI_DONE) {
		json_decref(cpus);
		return code;
	}
	goes = json_array_size(targets) > 0 &&
	       strcmp(json_string_value(json_array_get(targets, 0)), partition) != 0;
	which = cpus_text(cpus);
	to = targets_text(targets, partition, json_array_size(cpus) == 1);
	asked = cli_text("failover of %s of \"%s\"", which, partition);
	code = change(
	    cli, "CpuFailover",
	    json_pack("{s:s, s:o, s:o*}", "partition", partition, "targets", targets, "cpus", cpus),
	    asked, cli_text("%s of \"%s\": when it fails, %s", which, partition, to), goes);
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
		 : cli_text("autostart set of \"%s\": %s", partition, which),
	    false);
	free(asked);
	free(which);
	return code;
}
