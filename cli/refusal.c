/*
 * Errors as sentences for people, and as one JSON document for programs.
 *
 * WHAT      The sentences are templates (sentences.def); {key} is filled from the error's
 *           parameters. What the console refuses has the names of the interface definition; what
 *           apmp itself can't do has names of org.apmp.cli, so that --json shows both the same way.
 *           An error that no template fits says its reason, or is printed with its parameters.
 */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "shm/layout_common.h"
#include "shm/wire/varlink.h"

#define MACHINE VARLINK_MACHINE "."
#define SERVICE VARLINK_SERVICE "."
#define CLI	"org.apmp.cli."
#define ASKED	"{asked}: "

static const struct sentence {
	const char *error;
	const char *template;
} sentences[] = {
#define SENTENCE(error, template) {error, template},
#include "cli/sentences.def"
#undef SENTENCE
};

struct filling {
	const char *error, *asked;
	const json_t *parameters;
};

static const char *string_of(const struct filling *filling, const char *key)
{
	return json_string_value(json_object_get(filling->parameters, key));
}

/* ---- one parameter ---- */

/* "partition \"beta\"" and "beta" name the same partition; anything else is named by its owner. */
static char *partition_name(const struct filling *filling)
{
	static const char word[] = "partition ";
	const char *what = string_of(filling, "what"), *owner = string_of(filling, "owner");
	bool is_partition = what && strncmp(what, word, strlen(word)) == 0;
	const char *name = is_partition			   ? what + strlen(word)
			   : owner			   ? owner
			   : what && !strpbrk(what, " .:") ? what
							   : "";

	name += strspn(name, "\"");
	return *name ? cli_text("%.*s", (int)strcspn(name, "\""), name) : NULL;
}

/* What stood in the way, if that is a partition or a community: "partition \"beta\"". */
static char *holder(const struct filling *filling)
{
	const char *what = string_of(filling, "what");

	if (!what || (strncmp(what, "partition ", 10) != 0 && strncmp(what, "community ", 10) != 0))
		return NULL;
	return cli_text("%s", what);
}

/* States of the contract that are no words of a sentence. */
static const char *state_words(const char *state)
{
	static const struct {
		const char *state, *words;
	} known[] = {{"console", "halted, in its console"},
		     {"fence-pending", "being fenced, and a process of it does not end"},
		     {"member", "a member"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].state, state) == 0)
			return known[i].words;
	return state;
}

/* An amount that may be of bytes: what is wanted is rounded up, what is there down. */
static char *amount(const struct filling *filling, const char *key, json_int_t value)
{
	const char *what = string_of(filling, "what");
	bool bytes =
	    (what && strstr(what, "memory")) || strcmp(filling->error, MACHINE "NoMemory") == 0;

	return bytes && value >= 0
		   ? cli_size_about((unsigned long long)value, strcmp(key, "wanted") == 0)
		   : cli_text("%lld", (long long)value);
}

/* How a parameter looks in a sentence. NULL: it is not there. */
static char *render(const struct filling *filling, const char *key)
{
	static const char unit[] = "bytes of ";
	const json_t *value = json_object_get(filling->parameters, key);
	const char *text = json_string_value(value);

	if (strcmp(key, "asked") == 0)
		return filling->asked ? cli_text("%s", filling->asked) : NULL;
	if (strcmp(key, "partition_name") == 0)
		return partition_name(filling);
	if (strcmp(key, "holder") == 0)
		return holder(filling);
	if (strcmp(key, "granule") == 0)
		return cli_size_text(APMP_GRANULE);
	if (text && strcmp(key, "state") == 0)
		text = state_words(text);
	if (text && strcmp(key, "what") == 0 && strncmp(text, unit, strlen(unit)) == 0)
		text += strlen(unit);
	if (text)
		return cli_text("%s", text);
	if (json_is_integer(value) && (strcmp(key, "wanted") == 0 || strcmp(key, "had") == 0))
		return amount(filling, key, json_integer_value(value));
	return value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY)
					     : NULL;
}

/* ---- one sentence ---- */

/* NULL: a parameter that the template names is not there. */
static char *fill(const char *template, const struct filling *filling)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool complete = true;

	/* Who did not say what was wanted hears the rest. */
	if (!filling->asked && strncmp(template, ASKED, strlen(ASKED)) == 0)
		template += strlen(ASKED);
	while (out && complete && *template) {
		size_t plain = strcspn(template, "{");
		size_t length = strcspn(template + plain, "}");
		char key[32];
		char *value;

		fwrite(template, 1, plain, out);
		template += plain;
		if (!*template)
			break;
		snprintf(key, sizeof(key), "%.*s", (int)length - 1, template + 1);
		value = render(filling, key);
		complete = value != NULL;
		if (complete)
			fputs(value, out);
		free(value);
		template += length + 1;
	}
	if (!out || fclose(out) != 0)
		cli_out_of_memory();
	if (!complete)
		free(text);
	return complete ? text : NULL;
}

char *cli_sentence(const char *error, const json_t *parameters, const char *asked)
{
	const struct filling filling = {error, asked, parameters};
	const char *reason = string_of(&filling, "reason");
	char *dump, *text = NULL;

	for (size_t i = 0; !text && i < sizeof(sentences) / sizeof(sentences[0]); i++)
		if (strcmp(sentences[i].error, error) == 0)
			text = fill(sentences[i].template, &filling);
	if (text)
		return text;
	if (reason)
		return asked ? cli_text("%s: %s", asked, reason) : cli_text("%s", reason);
	dump = json_dumps(parameters, JSON_COMPACT);
	text = cli_text("the console refused: %s %s", error, dump ? dump : "");
	free(dump);
	return text;
}

int cli_refuse_asked(const struct cli *cli, int code, const char *error, json_t *parameters,
		     const char *asked)
{
	char *sentence = cli_sentence(error, parameters, asked);

	if (!cli->quiet && !cli->sentence_said)
		fprintf(stderr, "apmp: %s\n", sentence);
	free(sentence);
	if (cli->json && !cli->quiet) {
		json_t *object = json_pack("{s:s, s:o}", "error", error, "parameters",
					   parameters ? parameters : json_object());

		if (json_array_size(cli->would)) /* a dry run, which does nothing */
			json_object_set(object, "would", cli->would);
		else if (cli->done)
			json_object_set(object, "done", cli->done);
		cli_print_json(object);
		json_decref(object);
	} else {
		json_decref(parameters);
	}
	return code;
}

int cli_refuse(const struct cli *cli, int code, const char *error, json_t *parameters)
{
	return cli_refuse_asked(cli, code, error, parameters, NULL);
}
