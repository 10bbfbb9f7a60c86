/*
 * apmp-chaos.c - campaigns of faults against a running machine, and the simulator.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chaos/check.h"
#include "chaos/console_kills.h"
#include "chaos/kills.h"

static void usage(FILE *out)
{
	fputs("usage: apmp chaos kills [--console] [--name MACHINE] [--count N] [--seed N] "
	      "[--json]\n"
	      "       apmp chaos sim [OPTION]...\n"
	      "       apmp check --live [--save FILE] | --dump FILE\n"
	      "\n"
	      "kills  ends members at random points of create, join, leave, tick and migrate,\n"
	      "       boots them again, and checks after each that no CPU is lost or has two\n"
	      "       owners and that the set is whole; prints where the kills landed\n"
	      "       --console: ends the console at random stores of changes of the\n"
	      "       configuration instead, and checks after each that the tree is as before\n"
	      "       or as after; for that a CPU, a bus and 4M of memory must be nobody's\n"
	      "sim    the same protocols under a seeded scheduler and a virtual clock;\n"
	      "       apmp chaos sim --help\n"
	      "\n"
	      "example: apmp chaos kills --count 100 --seed 7\n",
	      out);
}

/* The simulator is a program of its own, beside this one. */
static int exec_sim(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("apmp-sim"));
	char *slash;

	if (n < 0)
		return 1;
	path[n] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, "apmp-sim");
	execv(path, argv);
	fprintf(stderr, "apmp-chaos: %s: %s\n", path, strerror(errno));
	return 1;
}

static int kills(int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
						{"count", required_argument, NULL, 'c'},
						{"seed", required_argument, NULL, 's'},
						{"json", no_argument, NULL, 'j'},
						{"console", no_argument, NULL, 'C'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	uint64_t count = 100, seed = (uint64_t)time(NULL);
	const char *name = NULL;
	bool json = false, console = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			name = optarg;
			break;
		case 'c':
			count = strtoull(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			json = true;
			break;
		case 'C':
			console = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc || !count) {
		usage(stderr);
		return 2;
	}
	return console ? chaos_console_kills(name, count, seed, json)
		       : chaos_kills(name, count, seed, json);
}

/* What `apmp check --live` and `apmp check --dump` become. */
static int check(int argc, char **argv)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'}, {"live", no_argument, NULL, 'l'},
	    {"save", required_argument, NULL, 's'}, {"dump", required_argument, NULL, 'd'},
	    {"json", no_argument, NULL, 'j'},	    {NULL, 0, NULL, 0}};
	const char *name = NULL, *save = NULL, *dump = NULL;
	bool json = false, live = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			name = optarg;
			break;
		case 'l':
			live = true;
			break;
		case 's':
			save = optarg;
			break;
		case 'd':
			dump = optarg;
			break;
		case 'j':
			json = true;
			break;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc || live == (dump != NULL) || (save && !live)) {
		usage(stderr);
		return 2;
	}
	return live ? check_live(name, save, json) : check_dump(dump, json);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "sim") == 0)
		return exec_sim(argv + 1);
	if (argc > 1 && strcmp(argv[1], "kills") == 0)
		return kills(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	usage(stderr);
	return 2;
}
