/*
 * apmp-balance - an example of a policy: gives CPUs of its partition to busier partitions.
 *
 * It is started in each partition that takes part.  What "busy" means is how many tasks of the
 * instance's scheduler, and threads of its other programs, run or could for each CPU that works
 * there.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instance/app/connect.h"
#include "instance/balance/decide.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

struct balancer {
	struct apmp_app_cpus *cpus;
	struct balance balance;
	int interval_ms;
	unsigned long count; /* looks, then it ends; 0: as long as its partition lives */
	bool dry_run;
};

static const char usage[] = "usage: apmp-balance [--interval TIME] [--looks N] [--margin TASKS] "
			    "[--count N] [--dry-run]\n";

static const char options_text[] =
    "\n"
    "Gives a CPU of its partition to the busiest one of the sharing set, while that is busier.\n"
    "\n"
    "options:\n"
    "  --interval TIME  between two looks, from 1ms to 3600s: 200ms, 2s; a bare number is s (1s)\n"
    "  --looks N        so many looks in a row must see the same before a CPU goes (3)\n"
    "  --margin TASKS   by so many tasks per CPU the receiver must be busier (0.5)\n"
    "  --count N        end after so many looks (as long as the partition runs)\n"
    "  --dry-run        say what it would do, and do nothing\n"
    "  --help           this\n";

static int complain(const char *sentence)
{
	fprintf(stderr, "apmp-balance: %s\n", sentence);
	return REFUSED;
}

/* "500ms" or "2s". */
static bool read_interval(const char *text, int *ret_ms)
{
	char *unit;
	double value = strtod(text, &unit);

	if (unit != text && strcmp(unit, "ms") == 0)
		value /= 1000;
	else if (unit == text || (*unit && strcmp(unit, "s") != 0))
		value = -1;
	if (!(value >= 0.001 && value <= 3600)) {
		fprintf(stderr,
			"apmp-balance: --interval is a time from 1ms to 3600s, not \"%s\"\n", text);
		return false;
	}
	*ret_ms = (int)(value * 1000);
	return true;
}

static bool read_number(const char *option, const char *text, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && *ret >= 1 && *ret <= UINT32_MAX)
		return true;
	fprintf(stderr, "apmp-balance: --%s is a number from 1 to %u, not \"%s\"\n", option,
		UINT32_MAX, text);
	return false;
}

static bool read_margin(const char *text, double *ret_margin)
{
	char *end;

	*ret_margin = strtod(text, &end);
	if (end != text && !*end && *ret_margin >= 0 && *ret_margin <= 1e6)
		return true;
	fprintf(
	    stderr,
	    "apmp-balance: --margin is how many tasks per CPU more are worth a CPU, not \"%s\"\n",
	    text);
	return false;
}

static bool read_option(struct balancer *b, int option)
{
	unsigned long looks;

	switch (option) {
	case 'i':
		return read_interval(optarg, &b->interval_ms);
	case 'l':
		if (!read_number("looks", optarg, &looks))
			return false;
		b->balance.looks = (uint32_t)looks;
		return true;
	case 'm':
		return read_margin(optarg, &b->balance.margin);
	case 'c':
		return read_number("count", optarg, &b->count);
	case 'd':
		return b->dry_run = true;
	default:
		fputs(usage, stderr); /* getopt has said what is wrong */
		return false;
	}
}

static bool read_arguments(struct balancer *b, int argc, char **argv)
{
	static const struct option options[] = {
	    {"interval", required_argument, NULL, 'i'},
	    {"looks", required_argument, NULL, 'l'},
	    {"margin", required_argument, NULL, 'm'},
	    {"count", required_argument, NULL, 'c'},
	    {"dry-run", no_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s%s", usage, options_text);
			exit(DONE);
		}
		if (!read_option(b, option))
			return false;
	}
	if (optind == argc)
		return true;
	fprintf(stderr, "apmp-balance: it takes no \"%s\"\n%s", argv[optind], usage);
	return false;
}

static void print_side(const struct apmp_app_load *load)
{
	printf("%s (%.2g tasks per CPU, %u CPU%s)", load->partition.name, balance_pressure(load),
	       load->cpu_count, load->cpu_count == 1 ? "" : "s");
}

/* What was decided, and what became of it, on one line.  -EPIPE: the partition has ended. */
static int give(struct balancer *b, const struct apmp_app_load *from,
		const struct apmp_app_load *to)
{
	uint32_t cpu = 0;
	int err = b->dry_run
		      ? 0
		      : apmp_app_cpus_give(b->cpus, APMP_APP_ANY_CPU, to->partition.id, 0, &cpu);

	print_side(from);
	if (b->dry_run)
		printf(" would give a CPU to ");
	else if (err)
		printf(" would give a CPU to ");
	else
		printf(" gives CPU %u to ", cpu);
	print_side(to);
	if (err)
		printf(", but %s", apmp_app_cpus_sentence(b->cpus));
	printf("\n");
	return err == -EPIPE ? err : 0;
}

static int look(struct balancer *b)
{
	struct apmp_app_load load[APMP_APP_PARTITIONS];
	int count = apmp_app_cpus_load(b->cpus, load), self = 0, to;

	if (count == -ENOTCONN || count == -EBUSY)
		return 0; /* that passes */
	if (count < 0)
		return count;
	to = balance_look(&b->balance, load, count);
	while (self < count && !load[self].self)
		self++;
	return to < 0 ? 0 : give(b, &load[self], &load[to]);
}

/* Until its partition ends, nobody reads what it prints, or it has looked often enough. */
static int balance(struct balancer *b)
{
	struct pollfd fd = {.fd = apmp_app_cpus_fd(b->cpus), .events = POLLIN};

	for (unsigned long i = 0; !b->count || i < b->count; i++) {
		int err;

		if (poll(&fd, 1, b->interval_ms) > 0)
			return complain(apmp_app_explain(-EPIPE));
		err = look(b);
		if (err)
			return complain(apmp_app_explain(err));
		if (fflush(stdout) < 0)
			return REFUSED;
	}
	return DONE;
}

int main(int argc, char **argv)
{
	struct balancer b = {.interval_ms = 1000, .balance = {.margin = 0.5, .looks = 3}};
	int err, code;

	apmp__app_keep_standard();
	if (!read_arguments(&b, argc, argv))
		return USAGE;
	err = apmp_app_cpus_open(&b.cpus);
	if (err)
		return complain(apmp_app_explain(err));
	code = balance(&b);
	apmp_app_cpus_close(b.cpus);
	return code;
}
