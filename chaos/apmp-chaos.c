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
#include "chaos/joins.h"
#include "chaos/kills.h"
#include "chaos/migrations.h"
#include "chaos/quiet.h"

static void usage(FILE *out)
{
	fputs("usage: apmp chaos kills [--console] [--name MACHINE] [--count N] [--seed N] "
	      "[--json]\n"
	      "       apmp chaos joins [--name MACHINE] [--count N] [--seed N] [--json]\n"
	      "       apmp chaos migrations [--name MACHINE] [--count N] [--seed N] [--json]\n"
	      "       apmp chaos quiet [--name MACHINE] [--count N] [--load N] [--json]\n"
	      "       apmp chaos sim [OPTION]...\n"
	      "       apmp check --live [--save FILE] | --dump FILE\n"
	      "\n"
	      "kills  ends members at random points of create, join, leave, tick and migrate,\n"
	      "       boots them again, and checks after each that no CPU is lost or has two\n"
	      "       owners and that the set is whole; prints where the kills landed\n"
	      "       --console: ends the console at random stores of changes of the\n"
	      "       configuration instead, and checks after each that the tree is as before\n"
	      "       or as after; for that a CPU, a bus and 4M of memory must be nobody's\n"
	      "joins  starts partitions, at least N, while others are killed and leave, and\n"
	      "       checks that whoever was not killed is a member and that the set is whole\n"
	      "migrations  has several operators move CPUs at random, N times in all, while\n"
	      "       instances end and boot; samples from outside that no CPU has two owners,\n"
	      "       and none no owner but while it is in transit\n"
	      "quiet  looks on until each member has beaten N times, beside --load busy processes\n"
	      "       for each host CPU, and checks that nobody was removed; prints how long\n"
	      "       members were silent\n"
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

struct arguments {
	const char *name;
	uint64_t count, seed;
	uint32_t load;
	bool json, console;
};

/* 0; 1: help was asked for; -EINVAL. */
static int parse(int argc, char **argv, struct arguments *ret)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'}, {"count", required_argument, NULL, 'c'},
	    {"seed", required_argument, NULL, 's'}, {"load", required_argument, NULL, 'l'},
	    {"json", no_argument, NULL, 'j'},	    {"console", no_argument, NULL, 'C'},
	    {"help", no_argument, NULL, 'h'},	    {NULL, 0, NULL, 0}};
	int option;

	*ret = (struct arguments){.count = 100, .seed = (uint64_t)time(NULL)};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			ret->name = optarg;
			break;
		case 'c':
			ret->count = strtoull(optarg, NULL, 10);
			break;
		case 's':
			ret->seed = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			ret->load = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			ret->json = true;
			break;
		case 'C':
			ret->console = true;
			break;
		case 'h':
			return 1;
		default:
			return -EINVAL;
		}
	}
	return optind < argc || !ret->count ? -EINVAL : 0;
}

static int kills(const struct arguments *a)
{
	return a->console ? chaos_console_kills(a->name, a->count, a->seed, a->json)
			  : chaos_kills(a->name, a->count, a->seed, a->json);
}

static int joins(const struct arguments *a)
{
	return chaos_joins(a->name, a->count, a->seed, a->json);
}

static int quiet(const struct arguments *a)
{
	return chaos_quiet(a->name, a->count, a->load, a->json);
}

static int migrations(const struct arguments *a)
{
	return chaos_migrations(a->name, a->count, a->seed, a->json);
}

static const struct {
	const char *name;
	int (*run)(const struct arguments *a);
} campaigns[] = {{"kills", kills}, {"joins", joins}, {"migrations", migrations}, {"quiet", quiet}};

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
	struct arguments arguments;
	int wrong;

	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "sim") == 0)
		return exec_sim(argv + 1);
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; i < sizeof(campaigns) / sizeof(campaigns[0]) && argc > 1; i++) {
		if (strcmp(argv[1], campaigns[i].name) != 0)
			continue;
		wrong = parse(argc - 1, argv + 1, &arguments);
		if (!wrong)
			return campaigns[i].run(&arguments);
		usage(wrong > 0 ? stdout : stderr);
		return wrong > 0 ? 0 : 2;
	}
	usage(stderr);
	return 2;
}
