/*
 * `apmp completion`: what a shell asks for when somebody presses TAB.
 *
 * WHAT      The scripts of the shells (completion.bash, .zsh, .fish, built in as text) know nothing
 *           of apmp: they give the words of the line to `apmp completion words`, which answers from
 *           the table of verbs, and asks the machine for the names that live there. So what can be
 *           completed is what can be typed, in every shell, and never stale.
 * FORMAT    One candidate a line, a tab, what it is. ":files" and ":commands" stand for those: they
 *           are the shell's to list.
 * LIMITS    A machine is asked for ANSWER_S; one that is silent has no names. Nothing is ever said
 *           on standard error: it would be written into the line that somebody types.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/inject_fault.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "shm/points.h"

enum { ANSWER_S = 1 };

/* clang-format off */
#define SCRIPT(shell)                                                                             \
	extern const char cli_completion_##shell[];                                               \
	__asm__(".pushsection .rodata\n"                                                          \
		".globl cli_completion_" #shell "\n"                                              \
		"cli_completion_" #shell ":\n"                                                    \
		".incbin \"cli/completion." #shell "\"\n"                                         \
		".byte 0\n"                                                                       \
		".popsection\n")
/* clang-format on */

SCRIPT(bash);
SCRIPT(zsh);
SCRIPT(fish);

/* ---- the scripts ---- */

int cli_completion(struct cli *cli, const struct cli_args *args)
{
	static const struct {
		const char *shell, *script;
	} scripts[] = {{"bash", cli_completion_bash},
		       {"zsh", cli_completion_zsh},
		       {"fish", cli_completion_fish}};
	const char *shell = args->args[0];

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		if (strcmp(scripts[i].shell, shell) != 0)
			continue;
		if (cli->json) {
			json_t *document =
			    json_pack("{s:s, s:s}", "shell", shell, "script", scripts[i].script);

			cli_print_json(document);
			json_decref(document);
		} else {
			fputs(scripts[i].script, stdout);
		}
		return CLI_DONE;
	}
	return cli_usage(args, "there is completion for bash, zsh and fish, not for \"%s\"", shell);
}

/* ---- the line so far ---- */

struct line {
	struct cli cli;			   /* with the --name of the line */
	char **words;			   /* arguments of the line, the verb's words first */
	int count;			   /* of words */
	const struct cli_command *command; /* NULL: none yet */
	int verb_words;			   /* how many of words are its name */
	const struct cli_option *pending;  /* the next word is its value */
	bool dashes, rest;		   /* "--" was there; options are no longer ours */
	const char *last;		   /* the word that is being typed */
	const char *typed;		   /* the part of it that a candidate begins with */
	json_t *candidates;		   /* {word: what it is} */
};

static const struct cli_option *find_option(const struct line *line, const char *name,
					    size_t length)
{
	const struct cli_option *options = line->command ? line->command->options : cli_globals;

	for (int i = 0; i < CLI_GLOBALS; i++)
		if (strlen(cli_globals[i].name) == length &&
		    strncmp(cli_globals[i].name, name, length) == 0)
			return &cli_globals[i];
	for (int i = 0; line->command && i < CLI_OPTIONS_MAX && options[i].name; i++)
		if (strlen(options[i].name) == length &&
		    strncmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

static void take_value(struct line *line, const struct cli_option *option, const char *value)
{
	if (option == &cli_globals[CLI_GLOBAL_NAME])
		line->cli.name = value;
}

static void read_option(struct line *line, const char *word)
{
	size_t length = strcspn(word + 2, "=");
	const struct cli_option *option = find_option(line, word + 2, length);

	if (!option || !option->arg)
		return;
	if (word[2 + length])
		take_value(line, option, word + 2 + length + 1);
	else
		line->pending = option;
}

static void read_word(struct line *line, char *word)
{
	int own;

	if (line->pending) {
		take_value(line, line->pending, word);
		line->pending = NULL;
		return;
	}
	if (!line->rest && strcmp(word, "--") == 0) {
		line->dashes = line->rest = true;
		return;
	}
	if (!line->rest && strncmp(word, "--", 2) == 0) {
		read_option(line, word);
		return;
	}
	if (line->count == 0 && strcmp(word, "help") == 0)
		return;
	line->words[line->count++] = word;
	line->command = cli_find_command(line->count, line->words, &line->verb_words);
	own = line->command ? line->command->own_args : 0;
	line->rest |= own && line->count - line->verb_words > (own < 0 ? 0 : own);
}

/* ---- candidates ---- */

static void offer(struct line *line, const char *word, const char *about)
{
	if (strncmp(word, line->typed, strlen(line->typed)) == 0)
		json_object_set_new(line->candidates, word, json_string(about ? about : ""));
}

static void offer_options(struct line *line, const struct cli_option *options, int count)
{
	for (int i = 0; i < count && options[i].name; i++) {
		char *word = cli_text("--%s", options[i].name);

		offer(line, word, options[i].help);
		free(word);
	}
}

/* What the machine of the line says to a method: NULL when nobody answers. */
static json_t *ask(struct line *line, const char *method, const char *key)
{
	struct varlink_reply reply = {0};
	struct machine machine;
	json_t *answer = NULL;

	/* A bare one would get its console by being asked. */
	if (cli_choose(&line->cli, &machine) == CLI_DONE && !machine.bare &&
	    cli_ask(&machine, method, ANSWER_S, &reply) == 0 && !reply.error)
		answer = json_incref(json_object_get(reply.parameters, key));
	varlink_reply_fini(&reply);
	return answer;
}

/* The key of each object of a list, which may be a number, with what is said about it. */
static void offer_objects(struct line *line, const json_t *list, const char *key,
			  const char *about_key)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *object = json_array_get(list, i);
		const json_t *value = json_object_get(object, key);
		const char *about = json_string_value(json_object_get(object, about_key));
		char *word = json_is_string(value) ? cli_text("%s", json_string_value(value))
						   : cli_number_text(object, key);

		offer(line, word, about);
		free(word);
	}
}

static void offer_partitions(struct line *line)
{
	json_t *status = ask(line, "Status", "status");
	const json_t *partitions = json_object_get(status, "partitions");

	for (size_t i = 0; i < json_array_size(partitions); i++) {
		const json_t *partition = json_array_get(partitions, i);

		offer(line, cli_string(partition, "name"),
		      cli_string(json_object_get(partition, "instance"), "state"));
	}
	json_decref(status);
}

static void offer_communities(struct line *line)
{
	json_t *status = ask(line, "Status", "status");

	offer_objects(line, json_object_get(status, "communities"), "name", NULL);
	json_decref(status);
}

/* Who has a flight recorder, or whom a fault may strike: pages are a community's. */
static void offer_parties(struct line *line)
{
	if (strcmp(line->command->name, "chaos inject") == 0 &&
	    cli_fault_strikes_pages(line->words[line->verb_words])) {
		offer_communities(line);
		return;
	}
	offer_partitions(line);
	offer(line, "console", "the console of the machine");
	offer(line, "box", "the box itself: a power failure");
}

static void offer_cpus(struct line *line)
{
	json_t *status = ask(line, "Status", "status");

	offer_objects(line, json_object_get(status, "cpus"), "id", "current_owner");
	json_decref(status);
}

static void offer_hardware(struct line *line, const char *kind, const char *key)
{
	json_t *hardware = ask(line, "HardwareList", "hardware");

	for (size_t i = json_array_size(hardware); i-- > 0;)
		if (kind && strcmp(cli_string(json_array_get(hardware, i), "kind"), kind) != 0)
			json_array_remove(hardware, i);
	offer_objects(line, hardware, key, kind ? "owner" : NULL);
	json_decref(hardware);
}

static void offer_buses(struct line *line)
{
	offer_hardware(line, "bus", "id");
}

static void offer_memory(struct line *line)
{
	offer_hardware(line, "memory", "id");
}

static void offer_sbbs(struct line *line)
{
	offer_hardware(line, NULL, "sbb");
}

static void offer_machines(struct line *line)
{
	struct machine *machines;
	int count = cli_machines(&machines);

	for (int i = 0; i < count; i++)
		offer(line, machines[i].name, machines[i].on ? "on" : "dead");
	free(machines);
}

static void offer_faults(struct line *line)
{
	for (int i = 0; i < CLI_FAULTS; i++)
		offer(line, cli_faults[i].name, cli_faults[i].about);
}

static void offer_points(struct line *line)
{
	for (uint32_t i = 1; i < APMP_P_COUNT; i++)
		offer(line, apmp_point_info(i)->name, apmp_point_info(i)->about);
}

static void offer_files(struct line *line)
{
	json_object_set_new(line->candidates, ":files", json_string(""));
}

/* Behind the command's own name stand its arguments, which we know nothing of. */
static void offer_commands(struct line *line)
{
	bool first = line->count - line->verb_words == line->command->own_args;

	json_object_set_new(line->candidates, first ? ":commands" : ":files", json_string(""));
}

/* What a word in capitals stands for; those that are not here can't be foreseen. */
static const struct {
	const char *placeholder;
	void (*offer)(struct line *line);
} sources[] = {{"PARTITION", offer_partitions},
	       {"PARTY", offer_parties},
	       {"COMMUNITY", offer_communities},
	       {"TARGET", offer_partitions},
	       {"CPU", offer_cpus},
	       {"BUS", offer_buses},
	       {"PA", offer_memory},
	       {"SBB", offer_sbbs},
	       {"MACHINE", offer_machines},
	       {"FAULT", offer_faults},
	       {"POINT", offer_points},
	       {"FILE", offer_files},
	       {"COMMAND", offer_commands}};

/* "PARTITION|COMMUNITY", "yes|no", "[FILE]", "POINT[:N]", "--": each alternative of it. */
static void offer_placeholder(struct line *line, const char *text)
{
	if (strncmp(text, "--", 2) == 0) {
		offer(line, "--", "the command follows");
		return;
	}
	for (text += *text == '['; *text && *text != ' ';) {
		size_t length = strcspn(text, "|[]. ");
		char *name = cli_text("%.*s", (int)length, text);

		if (islower((unsigned char)*name))
			offer(line, name, "");
		for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
			if (strcmp(sources[i].placeholder, name) == 0)
				sources[i].offer(line);
		free(name);
		text += length;
		if (*text != '|')
			break;
		text++;
	}
}

/* Whether the argument, as its verb's table has it, may be repeated. */
static bool is_repeated(const char *argument)
{
	return strncmp(argument + strcspn(argument, " ."), "...", 3) == 0;
}

/* What may stand as argument number index of a verb: behind one that may be repeated also what
 * follows it.  Options that must be given stand behind the arguments. */
static void offer_argument(struct line *line)
{
	int index = line->count - line->verb_words + line->dashes;
	const char *at = line->command->args, *next;
	bool repeated = false;

	for (int i = 0; at && *at && i <= index; i++, at = next ? next + 1 : NULL) {
		next = strchr(at, ' ');
		if (strncmp(at, "--", 2) == 0 && isalpha((unsigned char)at[2]))
			break;
		repeated |= is_repeated(at);
		if (i == index || repeated)
			offer_placeholder(line, at);
	}
	/* What stands there already is not wanted a second time. */
	for (int i = line->verb_words; i < line->count; i++)
		json_object_del(line->candidates, line->words[i]);
}

static void offer_verbs(struct line *line)
{
	for (int i = 0; i < cli_commands_count; i++) {
		const char *next;
		char *word;

		if (!cli_goes_on(&cli_commands[i], line->count, line->words, &next))
			continue;
		word = cli_text("%.*s", (int)strcspn(next, " "), next);
		/* Of a word that several verbs begin with, none of them is what it is about. */
		offer(line, word, strchr(next, ' ') ? "" : cli_commands[i].about);
		free(word);
	}
}

static void offer_last(struct line *line)
{
	const char *equals = strchr(line->last, '=');
	const struct cli_option *option = line->pending;

	line->typed = line->last;
	if (!option && !line->rest && strncmp(line->last, "--", 2) == 0 && equals) {
		option = find_option(line, line->last + 2, (size_t)(equals - line->last) - 2);
		line->typed = equals + 1;
	}
	if (option && option->arg)
		offer_placeholder(line, option->arg);
	if (option || line->typed != line->last)
		return;
	if (!line->rest && *line->last == '-') {
		if (line->command)
			offer_options(line, line->command->options, CLI_OPTIONS_MAX);
		offer_options(line, cli_globals, line->command ? CLI_GLOBALS_BEHIND : CLI_GLOBALS);
	}
	if (!line->rest)
		offer_verbs(line);
	if (line->command)
		offer_argument(line);
}

static void print_candidates(const struct line *line)
{
	const char *word;
	json_t *about;

	json_object_foreach(line->candidates, word, about)
	{
		bool directive = *word == ':';

		/* A value behind "--option=" is a part of that word. */
		printf("%.*s%s%s%s\n", directive ? 0 : (int)(line->typed - line->last), line->last,
		       word, directive ? "" : "\t", json_string_value(about));
	}
}

int cli_completion_words(struct cli *cli, const struct cli_args *args)
{
	struct line line = {.cli = *cli, .last = "", .candidates = json_object()};

	line.cli.quiet = true;
	line.words = calloc((size_t)args->count + 1, sizeof(*line.words));
	if (!line.words)
		cli_out_of_memory();
	for (int i = 0; i + 1 < args->count; i++)
		read_word(&line, args->args[i]);
	if (args->count > 0)
		line.last = args->args[args->count - 1];
	offer_last(&line);
	if (cli->json)
		cli_print_json(line.candidates);
	else
		print_candidates(&line);
	json_decref(line.candidates);
	free(line.words);
	return CLI_DONE;
}
