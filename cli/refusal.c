/*
 * Errors as sentences for people.
 *
 * WHAT      One template per error name; {key} is filled from the error's parameters. What the
 *           console refuses has the names of the interface definition; what apmp itself can't do
 *           has names of org.apmp.cli, so that --json shows both the same way. An error without
 *           template (of a newer console) is printed with its parameters.
 */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "shm/wire/varlink.h"

#define OURS	VARLINK_MACHINE "."
#define SERVICE VARLINK_SERVICE "."
#define CLI	"org.apmp.cli."

/* clang-format off */
static const struct {
	const char *error;
	const char *sentence;
} sentences[] = {
	{OURS "NoSuchPartition",
	 "there is no partition \"{partition}\"; `apmp status` names those that are"},
	{OURS "NoSuchCpu", "there is no CPU {cpu}; `apmp cpu list` has those that are"},
	{OURS "NoSuchPoint", "there is no point \"{point}\"; `apmp chaos points` lists them"},
	{OURS "NoSuchFault", "there is no fault \"{fault}\"; `apmp chaos list` lists them"},
	{OURS "PrimaryCpu",
	 "CPU {cpu} is the primary of partition \"{partition}\" and a primary never migrates; "
	 "take another CPU of that partition"},
	{OURS "NotOwner",
	 "CPU {cpu} can't go to partition \"{partition}\": {owner} has it, and nobody else can "
	 "give it"},
	{OURS "Bound",
	 "something in partition \"{partition}\" needs CPU {cpu} and no other; end it, or wait for "
	 "it with --wait"},
	{OURS "AlreadyRunning", "partition \"{partition}\" is running already: it is {state}"},
	{OURS "NotRunning",
	 "partition \"{partition}\" is not running: it is {state}; "
	 "`apmp partition boot {partition}` starts it"},
	{OURS "NotEnough",
	 "not enough {what} for partition \"{partition}\": {wanted} wanted, {had} there"},
	{OURS "PartitionDied",
	 "partition \"{partition}\" ended during {during}; `apmp events` has how"},
	{OURS "Incompatible",
	 "partition \"{partition}\" can't use CPU {cpu}: it is of another type or revision"},
	{OURS "Refused", "{reason}"},
	{OURS "Busy", "another change of {what} is on its way; try again when it is done"},
	{OURS "Host", "the host refused {what}: {reason} (errno {errno})"},

	{SERVICE "InvalidParameter",
	 "the console does not accept the parameter \"{parameter}\" as it was given"},
	{SERVICE "InterfaceNotFound",
	 "the control socket is not that of a machine: it has no interface {interface}"},
	{SERVICE "MethodNotFound",
	 "the console does not know {method}: it is of another version than this apmp"},
	{SERVICE "MethodNotImplemented", "the console can't do {method} yet"},
	{SERVICE "ExpectedMore", "the console answers this with a stream only"},
	{SERVICE "PermissionDenied", "the console does not let this user do that"},

	{CLI "NoMachine", "no machine is running; `apmp up FILE` starts one"},
	{CLI "NoSuchMachine",
	 "no machine \"{machine}\" is running; `apmp list` shows those that are, "
	 "`apmp up FILE --name {machine}` starts it"},
	{CLI "DeadMachine",
	 "machine \"{machine}\" is dead: its box ended and left something behind; `apmp clean` "
	 "removes that"},
	{CLI "SeveralMachines",
	 "{count} machines are running ({machines}); name one with --name or APMP_MACHINE"},
	{CLI "BadName", "\"{machine}\" can't be the name of a machine"},
	{CLI "UnsafeDirectory",
	 "{directory} belongs to someone else or others can write it; remove it, or set "
	 "XDG_RUNTIME_DIR"},
	{CLI "NoAnswer", "the console of machine \"{machine}\" does not answer: {reason}"},
	{CLI "StillOn",
	 "machine \"{machine}\" could not be powered off: its console does not answer ({reason}); "
	 "`apmp --name {machine} down --force` ends its box"},
	{CLI "NoProgram",
	 "the program {program} can't be started: {reason}; it was looked for beside apmp, in "
	 "../libexec/apmp and in PATH"},
	{CLI "Lost", "the connection to the console was lost: {reason}; {consequence}"},
	{CLI "Host", "{what}: {reason}"},
	{CLI "NeedsRestart",
	 "partitions that run have to be halted for this ({partitions}): --restart lets it halt them "
	 "and boot them again; `apmp plan {file}` shows the steps"},
	{CLI "Stopped", "stopped: {signal}"},
};
/* clang-format on */

/* How a parameter looks in a sentence. NULL: it is not there. */
static char *render(const json_t *parameters, const char *key)
{
	const json_t *value = json_object_get(parameters, key);
	const char *what = json_string_value(json_object_get(parameters, "what"));
	bool bytes = what && strstr(what, "memory") && json_is_integer(value) &&
		     (strcmp(key, "wanted") == 0 || strcmp(key, "had") == 0);

	if (bytes)
		return cli_size_text((unsigned long long)json_integer_value(value));
	if (json_is_string(value))
		return cli_text("%s", json_string_value(value));
	if (json_is_null(value))
		return cli_text("nobody");
	return value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : cli_text("?");
}

static char *fill(const char *template, const json_t *parameters)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	while (out && *template) {
		size_t plain = strcspn(template, "{");
		size_t key_length = template[plain] ? strcspn(template + plain, "}") - 1 : 0;
		char key[32];
		char *value;

		fwrite(template, 1, plain, out);
		if (!template[plain])
			break;
		snprintf(key, sizeof(key), "%.*s", (int)key_length, template + plain + 1);
		value = render(parameters, key);
		fputs(value, out);
		free(value);
		template += plain + key_length + 2;
	}
	if (!out || fclose(out) != 0)
		cli_out_of_memory();
	return text;
}

char *cli_sentence(const char *error, const json_t *parameters)
{
	char *dump, *text;

	for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++)
		if (strcmp(sentences[i].error, error) == 0)
			return fill(sentences[i].sentence, parameters);
	dump = json_dumps(parameters, JSON_COMPACT);
	text = cli_text("the console refused: %s %s", error, dump ? dump : "");
	free(dump);
	return text;
}

int cli_refuse(const struct cli *cli, int code, const char *error, json_t *parameters)
{
	char *sentence = cli_sentence(error, parameters);

	fprintf(stderr, "apmp: %s\n", sentence);
	free(sentence);
	if (cli->json) {
		json_t *object = json_pack("{s:s, s:o}", "error", error, "parameters",
					   parameters ? parameters : json_object());

		cli_print_json(object);
		json_decref(object);
	} else {
		json_decref(parameters);
	}
	return code;
}
