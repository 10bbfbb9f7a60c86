/*
 * apmp_sim.c - command line of the simulator, and the sums over its runs.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

static struct {
	uint64_t first_seed, last_seed;
	uint32_t instances; /* 0: as the seed wants */
	double kill_rate;   /* < 0: as the seed wants */
	int policy, memory; /* < 0: as the seed wants */
	enum apmp_point at;
	uint64_t at_nth;
	enum sim_operation exhaust;
	uint64_t exhaust_only;
	bool json, twice;
} options = {1, 100, 0, -1, -1, -1, APMP_P_NONE, 1, SIM_OP_NONE, 0, false, false};

static const char usage[] =
    "usage: apmp-sim [OPTION]...\n"
    "Instances of a simulated machine create, join, leave, die, recover and boot again, under a\n"
    "scheduler that a seed decides.  Each access to shared memory is a place to switch or to die.\n"
    "\n"
    "  --seed A[..B]          the run of seed A, or of all seeds from A to B (1..100)\n"
    "  --instances N          2 to 8 (as the seed wants)\n"
    "  --kill-rate X          faults in 10000 shared accesses, 0 none (2)\n"
    "  --policy random|pct    who runs next (as the seed wants)\n"
    "  --memory sc|weak       whether stores may be seen late and out of order (as the seed "
    "wants)\n"
    "  --at POINT[:N]         an instance dies at the Nth passing of a point, and nothing else\n"
    "  --exhaust-kills OP[:K] one run for each access of create, join, leave, tick or recover, "
    "with\n"
    "                         a death in its place; or only the Kth.  OP update: the console dies\n"
    "                         in each kind of update of the tree, and in its repair.  nvram: for "
    "each step of a\n"
    "                         write of NVRAM, also with its host, on a disk that loses and tears\n"
    "  --twice                each run a second time: the same trace or a finding\n"
    "  --verbose              tell faults, boots and fences; --trace tells points and reports;\n"
    "                         both together tell each store\n"
    "  --json                 sums as one JSON document\n"
    "\n"
    "Example: apmp-sim --seed 1..2000; apmp-sim --exhaust-kills join --instances 2 --seed 7\n"
    "Exit: 0 nothing found, 1 a finding, 2 usage.  APMP_POINTS_DIR: where to write the points\n"
    "that were passed, as sim.json or sim-OP.json.\n";

static void replay(FILE *out)
{
	fprintf(out, "apmp-sim --seed %llu", (unsigned long long)sim.plan.seed);
	if (options.instances)
		fprintf(out, " --instances %u", options.instances);
	if (options.kill_rate >= 0)
		fprintf(out, " --kill-rate %g", options.kill_rate);
	if (options.policy >= 0)
		fprintf(out, " --policy %s", options.policy ? "pct" : "random");
	if (options.memory >= 0)
		fprintf(out, " --memory %s", options.memory ? "weak" : "sc");
	if (options.at)
		fprintf(out, " --at %s:%llu", apmp_point_info(options.at)->name,
			(unsigned long long)options.at_nth);
	if (options.exhaust)
		fprintf(out, " --exhaust-kills %s", sim_operation_names[options.exhaust]);
	if (sim_exhaust_number)
		fprintf(out, ":%llu", (unsigned long long)sim_exhaust_number);
	fprintf(out, " --verbose");
}

/* --- what the instrumented code may run into --- */

void apmp_panic(const char *file, int line, const char *what)
{
	struct sim_instance *in = sim.current ? sim.current->in : NULL;

	sim_finding("%s: assertion failed at %s:%d: %s",
		    in && in->member ? in->member->name : "the console", file, line, what);
	sim.over = true;
	if (sim.current)
		coroutine_leave();
	exit(1);
}

/* A wild access: nothing can go on, but the seed must be known. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	struct sim_instance *in = sim.current ? sim.current->in : NULL;

	(void)context;
	sim_finding("%s: %s at address %p%s", in && in->member ? in->member->name : "the console",
		    strsignal(number), info->si_addr,
		    sim_in_arena(info->si_addr) ? ", where nothing is mapped any more" : "");
	printf("sim: %llu runs, %llu findings\n%llu passed, %llu failed\n",
	       (unsigned long long)totals.runs + 1, (unsigned long long)totals.findings,
	       (unsigned long long)(totals.runs - totals.failed),
	       (unsigned long long)totals.failed + 1);
	fflush(stdout);
	_exit(1);
}

static void catch_faults(void)
{
	static unsigned char stack[64 << 10];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_sigaction = on_fault,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};

	apmp_assert(sigaltstack(&alternate, NULL) == 0);
	apmp_assert(sigaction(SIGSEGV, &action, NULL) == 0);
	apmp_assert(sigaction(SIGBUS, &action, NULL) == 0);
}

/* --- options --- */

__attribute__((noreturn)) static void refuse(const char *option, const char *value,
					     const char *wanted)
{
	fprintf(stderr, "apmp-sim: --%s %s: expected %s; see apmp-sim --help\n", option, value,
		wanted);
	exit(2);
}

/* The number at text, up to end; *ret_rest is what follows. */
static uint64_t number(const char *option, const char *text, const char **ret_rest)
{
	char *rest;
	uint64_t n = strtoull(text, &rest, 10);

	if (rest == text || *text == '-')
		refuse(option, text, "a number");
	*ret_rest = rest;
	return n;
}

static void parse_seed(const char *text)
{
	const char *rest;

	options.first_seed = options.last_seed = number("seed", text, &rest);
	if (strncmp(rest, "..", 2) == 0)
		options.last_seed = number("seed", rest + 2, &rest);
	if (*rest || options.last_seed < options.first_seed)
		refuse("seed", text, "A or A..B, A not above B");
}

/* Splits NAME:N; N is otherwise when it is left out. */
static uint64_t parse_colon(const char *option, char *text, uint64_t otherwise)
{
	char *colon = strchr(text, ':');
	const char *rest;
	uint64_t n;

	if (!colon)
		return otherwise;
	*colon = '\0';
	n = number(option, colon + 1, &rest);
	if (*rest || !n)
		refuse(option, colon + 1, "a number from 1 behind the colon");
	return n;
}

static void parse_at(char *text)
{
	options.at_nth = parse_colon("at", text, 1);
	options.at = apmp_point_find(text);
	if (!options.at)
		refuse("at", text, "the name of a point (shm/points.def)");
}

static void parse_exhaust(char *text)
{
	options.exhaust_only = parse_colon("exhaust-kills", text, 0);
	for (enum sim_operation op = SIM_OP_CREATE; op <= SIM_OP_NVRAM; op++)
		if (strcmp(text, sim_operation_names[op]) == 0)
			options.exhaust = op;
	if (!options.exhaust)
		refuse("exhaust-kills", text,
		       "create, join, leave, tick, recover, update or nvram");
}

/* Index of text among two words. */
static int parse_word(const char *option, const char *text, const char *zero, const char *one)
{
	if (strcmp(text, zero) != 0 && strcmp(text, one) != 0) {
		fprintf(stderr, "apmp-sim: --%s %s: expected %s or %s\n", option, text, zero, one);
		exit(2);
	}
	return strcmp(text, one) == 0;
}

static void parse_instances(const char *text)
{
	const char *rest;
	uint64_t n = number("instances", text, &rest);

	if (*rest || n < 2 || n > SIM_MAX_INSTANCES)
		refuse("instances", text, "2 to 8");
	options.instances = (uint32_t)n;
}

static void parse_rate(const char *text)
{
	char *rest;

	options.kill_rate = strtod(text, &rest);
	if (*rest || rest == text || options.kill_rate < 0)
		refuse("kill-rate", text, "a number from 0");
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {{"seed", 1, NULL, 's'},
					      {"instances", 1, NULL, 'i'},
					      {"kill-rate", 1, NULL, 'k'},
					      {"policy", 1, NULL, 'p'},
					      {"memory", 1, NULL, 'm'},
					      {"at", 1, NULL, 'a'},
					      {"exhaust-kills", 1, NULL, 'e'},
					      {"verbose", 0, NULL, 'v'},
					      {"trace", 0, NULL, 't'},
					      {"twice", 0, NULL, '2'},
					      {"json", 0, NULL, 'j'},
					      {"help", 0, NULL, 'h'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's':
			parse_seed(optarg);
			break;
		case 'i':
			parse_instances(optarg);
			break;
		case 'k':
			parse_rate(optarg);
			break;
		case 'p':
			options.policy = parse_word("policy", optarg, "random", "pct");
			break;
		case 'm':
			options.memory = parse_word("memory", optarg, "sc", "weak");
			break;
		case 'a':
			parse_at(optarg);
			break;
		case 'e':
			parse_exhaust(optarg);
			break;
		case 'v':
			sim_verbose = true;
			break;
		case 't':
			sim_trace = true;
			break;
		case '2':
			options.twice = true;
			break;
		case 'j':
			options.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind < argc)
		refuse("", argv[optind], "options only");
}

/* --- runs and sums --- */

static void run(const struct sim_plan *plan)
{
	uint64_t hash, accesses;

	sim_run(plan);
	if (!options.twice)
		return;
	hash = sim.hash;
	accesses = sim.accesses;
	sim_run(plan);
	if (sim.hash == hash && sim.accesses == accesses)
		return;
	totals.failed += !sim.findings;
	sim_finding("the same seed gave another trace: %016llx after %llu accesses, then %016llx",
		    (unsigned long long)hash, (unsigned long long)accesses,
		    (unsigned long long)sim.hash);
}

static void run_seed(uint64_t seed)
{
	struct sim_plan plan;

	sim_plan_random(&plan, seed);
	if (options.instances)
		plan.instances = options.instances;
	if (options.kill_rate >= 0)
		plan.kill_rate = options.kill_rate;
	if (options.policy >= 0)
		plan.policy = options.policy ? SIM_POLICY_PCT : SIM_POLICY_RANDOM;
	if (options.memory >= 0)
		plan.weak = options.memory;
	if (options.at) {
		plan.at = options.at;
		plan.at_nth = options.at_nth;
		plan.kill_rate = 0;
	}
	if (options.exhaust)
		sim_exhaust(&plan, options.exhaust, options.exhaust_only);
	else
		run(&plan);
}

static void write_points(void)
{
	const char *dir = getenv("APMP_POINTS_DIR"), *comma = "";
	char path[4096];
	FILE *out;

	if (!dir)
		return;
	/* A file for each way to run it, so that none takes away what another has shown. */
	if (snprintf(path, sizeof(path), "%s/sim%s%s.json", dir, options.exhaust ? "-" : "",
		     sim_operation_names[options.exhaust]) >= (int)sizeof(path))
		return;
	out = fopen(path, "w");
	if (!out) {
		perror(path);
		exit(1);
	}
	fputc('{', out);
	for (uint32_t p = 1; p < APMP_P_COUNT; p++) {
		if (!totals.passed[p])
			continue;
		fprintf(out, "%s\"%s\": %llu", comma, apmp_point_info(p)->name,
			(unsigned long long)totals.passed[p]);
		comma = ", ";
	}
	fputs("}\n", out);
	if (fclose(out)) {
		perror(path);
		exit(1);
	}
}

static const char *kill_name(uint32_t point)
{
	return point ? apmp_point_info(point)->name : "(none yet)";
}

static void print_text(double seconds)
{
	if (totals.kills)
		printf("kills by the last point that the thread had passed:\n");
	for (uint32_t p = 0; p < APMP_P_COUNT; p++)
		if (totals.kills_after[p])
			printf("  %-18s %6llu\n", kill_name(p),
			       (unsigned long long)totals.kills_after[p]);
	printf("%llu kills, %llu stalls, %llu deaths of the console\n",
	       (unsigned long long)totals.kills, (unsigned long long)totals.stalls,
	       (unsigned long long)totals.console_kills);
	printf("%llu shared accesses, %.1f million/s, %llu switches; %.1f s of virtual time in "
	       "%.1f s, ratio %.1f\n",
	       (unsigned long long)totals.accesses, (double)totals.accesses / seconds / 1e6,
	       (unsigned long long)totals.switches, (double)totals.virtual_ns / 1e9, seconds,
	       (double)totals.virtual_ns / 1e9 / seconds);
	printf("trace hash %016llx\n", (unsigned long long)totals.hash);
	printf("sim: %llu runs, %llu findings\n", (unsigned long long)totals.runs,
	       (unsigned long long)totals.findings);
	printf("%llu passed, %llu failed\n", (unsigned long long)(totals.runs - totals.failed),
	       (unsigned long long)totals.failed);
}

static void print_json(double seconds)
{
	const char *comma = "";

	printf(
	    "{\"runs\": %llu, \"failed\": %llu, \"findings\": %llu, \"accesses\": %llu, "
	    "\"switches\": %llu, \"virtual_ns\": %llu, \"seconds\": %.3f, \"kills\": %llu, "
	    "\"stalls\": %llu, \"console_kills\": %llu, \"hash\": \"%016llx\", \"kills_after\": {",
	    (unsigned long long)totals.runs, (unsigned long long)totals.failed,
	    (unsigned long long)totals.findings, (unsigned long long)totals.accesses,
	    (unsigned long long)totals.switches, (unsigned long long)totals.virtual_ns, seconds,
	    (unsigned long long)totals.kills, (unsigned long long)totals.stalls,
	    (unsigned long long)totals.console_kills, (unsigned long long)totals.hash);
	for (uint32_t p = 0; p < APMP_P_COUNT; p++) {
		if (!totals.kills_after[p])
			continue;
		printf("%s\"%s\": %llu", comma, kill_name(p),
		       (unsigned long long)totals.kills_after[p]);
		comma = ", ";
	}
	printf("}}\n");
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double began = now_seconds(), seconds;

	parse(argc, argv);
	sim_print_replay = replay;
	if (!options.json)
		printf("apmp-sim: seeds %llu to %llu\n", (unsigned long long)options.first_seed,
		       (unsigned long long)options.last_seed);
	sim_arena_open();
	catch_faults();
	for (uint64_t seed = options.first_seed; seed <= options.last_seed; seed++)
		run_seed(seed);
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		coroutine_free(&sim.participant[i].co);
	seconds = now_seconds() - began;
	write_points();
	if (options.json)
		print_json(seconds);
	else
		print_text(seconds);
	return totals.failed ? 1 : 0;
}
