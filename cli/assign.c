/*
 * `apmp cpu|bus assign|deassign`, `apmp memory assign|remove`: whose components and memory are,
 * lastingly [0099-0103].
 *
 * A partition gets or loses most of them when it boots the next time; what is printed says so, or
 * one would look for the CPU in vain.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/several.h"
#include "cli/table.h"

static const char *given_text(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "active"))
		   ? ""
		   : ", which gets it when it boots the next time";
}

static const char *taken_text(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "in_use"))
		   ? ", and still in use until who uses it boots or halts"
		   : "";
}

/* ---- CPUs and buses ---- */

struct component {
	const char *key, *noun; /* the parameter, and what people call it */
	const char *assign, *deassign;
};

static const struct component cpu_component = {"cpu", "CPU", "CpuAssign", "CpuDeassign"};
static const struct component bus_component = {"bus", "bus", "BusAssign", "BusDeassign"};

/* Numbers go as numbers; false: it should be one and is none. */
static int add_word(const struct cli_args *args, const struct component *component,
		    const char *word, json_t *parameters)
{
	json_int_t number;
	int code = CLI_DONE;

	if (component == &cpu_component) {
		code = cli_number(args, "CPU", word, &number);
		if (code == CLI_DONE)
			json_object_set_new(parameters, "cpu", json_integer(number));
	} else {
		json_object_set_new(parameters, component->key, json_string(word));
	}
	return code;
}

/* to NULL: nobody. */
static int give(struct cli_calls *calls, const struct component *component, const char *word,
		const char *to)
{
	json_t *parameters = to ? json_pack("{s:s}", "to", to) : json_object();
	char *asked = to ? cli_text("assigning %s %s to \"%s\"", component->noun, word, to)
			 : cli_text("deassigning %s %s", component->noun, word);
	json_t *answer = NULL;
	int code = add_word(calls->args, component, word, parameters);

	if (code == CLI_DONE)
		code = cli_calls_make(calls, to ? component->assign : component->deassign,
				      parameters, asked, &answer);
	else
		json_decref(parameters);
	if (code == CLI_DONE) {
		(void)add_word(calls->args, component, word, answer);
		cli_did(calls, answer,
			to ? cli_text("%s %s belongs to \"%s\"%s", component->noun, word, to,
				      given_text(answer))
			   : cli_text("%s %s is nobody's%s", component->noun, word,
				      taken_text(answer)));
	}
	free(asked);
	return code;
}

static int assign_cpu(struct cli_calls *calls, const char *word)
{
	return give(calls, &cpu_component, word, cli_option(calls->args, "to"));
}

static int deassign_cpu(struct cli_calls *calls, const char *word)
{
	return give(calls, &cpu_component, word, NULL);
}

static int assign_bus(struct cli_calls *calls, const char *word)
{
	return give(calls, &bus_component, word, cli_option(calls->args, "to"));
}

static int deassign_bus(struct cli_calls *calls, const char *word)
{
	return give(calls, &bus_component, word, NULL);
}

int cli_cpu_assign(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, cli_check_cpu, assign_cpu);
}

int cli_cpu_deassign(struct cli *cli, const struct cli_args *args)
{
	return cli_each_cpu(cli, args, deassign_cpu);
}

int cli_bus_assign(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, NULL, assign_bus);
}

int cli_bus_deassign(struct cli *cli, const struct cli_args *args)
{
	return cli_each(cli, args, 0, NULL, deassign_bus);
}

/* ---- memory ---- */

/* "16M at 0x8000000, 8M at 0xa000000" */
static char *pieces_text(const json_t *fragments)
{
	char *text = cli_text("%s", "");

	for (size_t i = 0; i < json_array_size(fragments); i++) {
		const json_t *fragment = json_array_get(fragments, i);
		json_int_t pa = json_integer_value(json_object_get(fragment, "pa"));
		char *size = cli_bytes_text(fragment, "size");
		char *more =
		    cli_text("%s%s%s at 0x%llx", text, i ? ", " : "", size, (unsigned long long)pa);

		free(size);
		free(text);
		text = more;
	}
	return text;
}

/* SIZE, --at and whose, as parameters of either method. */
static int memory_parameters(const struct cli_args *args, const char *whose, json_t **ret)
{
	json_int_t size, pa = -1;
	int code = cli_bytes(args, "SIZE", args->args[0], &size);

	if (code == CLI_DONE && cli_option(args, "at"))
		code = cli_bytes(args, "--at", cli_option(args, "at"), &pa);
	if (code != CLI_DONE)
		return code;
	*ret = json_pack("{s:I, s:s}", "size", size, whose, cli_option(args, whose));
	if (pa >= 0)
		json_object_set_new(*ret, "pa", json_integer(pa));
	return CLI_DONE;
}

/* The words of one direction, and its method. */
struct direction {
	const char *method, *option; /* --option names the partition or community */
	const char *wanted, *done;
	const char *(*note)(const json_t *answer);
};

static int memory(struct cli *cli, const struct cli_args *args, const struct direction *way)
{
	const char *whose = cli_option(args, way->option);
	json_t *parameters, *answer;
	char *text;
	int code = memory_parameters(args, way->option, &parameters);

	if (code != CLI_DONE)
		return code;
	text =
	    cli_text("%s %s of memory %s \"%s\"", way->wanted, args->args[0], way->option, whose);
	code = cli_call_asked(cli, way->method, parameters, text, &answer);
	free(text);
	if (code != CLI_DONE)
		return code;
	text = pieces_text(json_object_get(answer, "fragments"));
	if (cli->json)
		cli_print_json(answer);
	else
		printf("%s \"%s\"%s: %s\n", way->done, whose, way->note(answer), text);
	free(text);
	json_decref(answer);
	return CLI_DONE;
}

int cli_memory_assign(struct cli *cli, const struct cli_args *args)
{
	static const struct direction way = {"MemoryAssign", "to", "assigning", "memory for",
					     given_text};

	return memory(cli, args, &way);
}

int cli_memory_remove(struct cli *cli, const struct cli_args *args)
{
	static const struct direction way = {"MemoryDeassign", "from", "removing",
					     "memory taken from", taken_text};

	return memory(cli, args, &way);
}
