/* apmpd: the box of an adaptively partitioned multiprocessor.  Its command line; see apmpd.8. */
#include "apmpd/doctor.h"
#include "apmpd/doctor_fix.h"
#include "apmpd/leftover.h"
#include "apmpd/machine_file.h"
#include "apmpd/power.h"
#include "apmpd/rundir.h"
#include "apmpd/state_dir.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION	     "0.1"
#define DEFAULT_FILE "machine.yaml"

enum { DONE, REFUSED, USAGE };

struct arguments {
	const char *file; /* NULL: none was given */
	const char *name;
	struct apmp_power_how how;
	const char *user;
	bool json, fix, yes, state;
};

static void print_machine_file(const char *path, const struct machine *machine)
{
	size_t cpus = 0;

	for (size_t i = 0; i < machine->sbb_count; i++)
		cpus += machine->sbbs[i].cpu_count;
	printf("%s: machine \"%s\": %zu CPUs, %zu partitions, no mistakes\n", path,
	       machine->name.text, cpus, machine->partition_count);
}

static int print_json(json_t *json)
{
	int failed = !json || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0;

	putchar('\n');
	json_decref(json);
	return failed ? REFUSED : DONE;
}

/* The mistakes, or none and the machine: what `apmp plan` compares. */
static int print_checked(const struct machine_errors *errors, const struct machine *machine)
{
	json_t *said = apmp_machine_errors_to_json(errors);

	if (said && machine &&
	    json_object_set_new(said, "machine", apmp_machine_to_json(machine))) {
		json_decref(said);
		said = NULL;
	}
	return print_json(said);
}

static int check(const struct arguments *args)
{
	static struct machine_errors errors;
	struct machine *machine = NULL;
	int failed;

	if (!args->file) {
		fprintf(stderr, "apmpd: check wants the name of a machine file\n");
		return USAGE;
	}
	failed = apmp_machine_file_read(args->file, &errors, &machine) < 0;
	if (args->json && print_checked(&errors, machine) != DONE)
		failed = 1;
	else if (failed && !args->json)
		apmp_machine_errors_print(&errors, stderr);
	else if (!args->json)
		print_machine_file(args->file, machine);
	apmp_machine_free(machine);
	return failed ? REFUSED : DONE;
}

static int up(const struct arguments *args)
{
	static struct machine_errors errors;
	const char *file = args->file ? args->file : DEFAULT_FILE;
	struct machine *machine;
	int code;

	if (!args->file && access(DEFAULT_FILE, F_OK) < 0) {
		fprintf(stderr,
			"apmpd: up wants the name of a machine file; there is no " DEFAULT_FILE
			" here\n");
		return USAGE;
	}
	if (args->name && !apmp_name_valid(args->name)) {
		fprintf(stderr,
			"apmpd: \"%s\" is no name for a machine: small letters and digits, then "
			"also _ . -, at most %d characters\n",
			args->name, APMP_NAME_SIZE - 1);
		return USAGE;
	}
	if (apmp_machine_file_read(file, &errors, &machine) < 0) {
		apmp_machine_errors_print(&errors, stderr);
		return REFUSED;
	}
	if (args->name)
		snprintf(machine->name.text, sizeof(machine->name.text), "%s", args->name);
	code = apmp_power_on(machine, &args->how);
	apmp_machine_free(machine);
	return code;
}

/* What dead machines left and had not finished, and with --state what machines that are off keep.
 */
static int remove_all(const struct arguments *args, json_t *said)
{
	int removed = args->name ? apmp_leftover_clean(args->name, said) : apmp_clean_all(said);
	int more = removed >= 0 ? apmp_state_clean(args->name, args->state, said) : 0;

	if (!args->state && more < 0) /* where state is, and whether, is not asked for */
		more = 0;

	return more < 0 ? more : removed < 0 ? removed : removed + more;
}

static int clean(const struct arguments *args)
{
	json_t *said = json_array(), *sentence;
	int removed = remove_all(args, said);
	size_t i;

	if (removed == -EBUSY && args->name && json_array_size(said) == 0)
		json_array_append_new(said, json_sprintf("machine \"%s\" is on", args->name));
	if (args->json)
		return print_json(json_pack("{s:i, s:b, s:o}", "removed", removed < 0 ? 0 : removed,
					    "complete", removed >= 0, "said", said)) == DONE &&
			       removed >= 0
			   ? DONE
			   : REFUSED;
	json_array_foreach(said, i, sentence)
	    fprintf(removed < 0 ? stderr : stdout, "%s%s\n", removed < 0 ? "apmp: " : "",
		    json_string_value(sentence));
	if (removed < 0 && json_array_size(said) == 0)
		fprintf(stderr, "apmp: cannot clean: %s\n", strerror(-removed));
	json_decref(said);
	if (removed < 0)
		return REFUSED;
	if (removed == 0)
		printf("nothing was left behind\n");
	return DONE;
}

static int doctor(const struct arguments *args)
{
	json_t *fixes = NULL;
	int code, error = 0;

	if ((args->yes || args->user) && !args->fix) {
		fprintf(stderr, "apmpd: doctor: --yes and --user want --fix\n");
		return USAGE;
	}
	if (args->fix)
		error = apmp_doctor_fix(args->yes, args->user, &fixes);
	code = apmp_doctor(stdout, args->json, fixes);
	json_decref(fixes);
	return error ? REFUSED : code;
}

static const struct {
	const char *name;
	int (*run)(const struct arguments *args);
	const char *options; /* of getopt: those that this verb knows */
	bool takes_file;
	const char *help;
} verbs[] = {
    {"up", up, "bfnF", true,
     "up [FILE] [--name N] [--bare] [--foreground] [--fresh]  power on a machine"},
    {"check", check, "j", true, "check FILE [--json]                  all mistakes of a file"},
    {"doctor", doctor, "juxy", false,
     "doctor [--json] [--fix [--yes] [--user U]]  what this host offers"},
    {"clean", clean, "jnS", false, "clean [--name N] [--state] [--json]  what dead machines left"},
};

#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static void help(FILE *out)
{
	fprintf(out, "usage:\n");
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(out, "  apmpd %s\n", verbs[i].help);
	fprintf(out, "example:\n  apmpd up examples/01-trio/machine.yaml --foreground\n");
}

static int usage(const char *verb, const char *what)
{
	fprintf(stderr, "apmpd: %s%s%s\n", verb, *verb ? ": " : "", what);
	help(stderr);
	return USAGE;
}

/* One option; whether the verb knows it. */
static bool take(struct arguments *args, int option, const char *known)
{
	if (!strchr(known, option))
		return false;
	args->json |= option == 'j';
	args->fix |= option == 'x';
	args->yes |= option == 'y';
	args->state |= option == 'S';
	args->how.bare |= option == 'b';
	args->how.foreground |= option == 'f';
	args->how.fresh |= option == 'F';
	if (option == 'n')
		args->name = optarg;
	if (option == 'u')
		args->user = optarg;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'}, {"json", no_argument, NULL, 'j'},
	    {"bare", no_argument, NULL, 'b'},	    {"foreground", no_argument, NULL, 'f'},
	    {"fresh", no_argument, NULL, 'F'},	    {"fix", no_argument, NULL, 'x'},
	    {"yes", no_argument, NULL, 'y'},	    {"user", required_argument, NULL, 'u'},
	    {"state", no_argument, NULL, 'S'},	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},    {0}};
	const char *verb = argc > 1 ? argv[1] : "";
	static char name[] = "apmpd";
	struct arguments args = {0};
	size_t v = 0;
	int option;

	if (strcmp(verb, "--version") == 0)
		return printf("apmpd " VERSION "\n") < 0;
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)
		return help(stdout), DONE;
	while (v < VERB_COUNT && strcmp(verb, verbs[v].name) != 0)
		v++;
	if (v == VERB_COUNT)
		return usage("", *verb ? "there is no such verb" : "a verb is wanted");
	argv[0] = name; /* what getopt calls us in what it says */
	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'h')
			return help(stdout), DONE;
		if (option == '?') /* getopt has said what is wrong */
			return help(stderr), USAGE;
		if (!take(&args, option, verbs[v].options))
			return usage(verb, "it has no such option");
	}
	if (argc - optind > (verbs[v].takes_file ? 1 : 0))
		return usage(verb, "there is an argument too many");
	args.file = argv[optind];
	return verbs[v].run(&args);
}
