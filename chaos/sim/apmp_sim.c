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
	struct sim_search search;
	uint64_t length_ms; /* 0: as the seed wants */
	uint32_t depth;	    /* 0: as the seed wants */
	bool json, twice;
} options = {.first_seed = 1,
	     .last_seed = 100,
	     .kill_rate = -1,
	     .policy = -1,
	     .memory = -1,
	     .at_nth = 1,
	     .search = {.stride = 1, .workers = 1}};

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
    "  --depth D              policy pct: bugs of D ordered events, 1 to 5 (as the seed wants)\n"
    "  --length MS            of virtual time with faults (as the seed wants)\n"
    "  --exhaust-kills OP[:I[.J]]\n"
    "                         one run for each access of create, join, leave, tick, fence,\n"
    "                         recover, acquire or release, with a death in its place; or only the\n"
    "                         Ith.  OP migrate, halt, rx, deassign, failover, crash: for each\n"
    "                         access until a CPU is where it shall be, one each with a death of\n"
    "                         its source, its receiver and the console.  OP update: the console "
    "dies in each kind "
    "of update of the "
    "tree, and in its repair.\n"
    "                         nvram: for each step of a write of NVRAM, also with its host, on a\n"
    "                         disk that loses and tears\n"
    "  --pairs                after each such death, one more run for each store of whoever "
    "repairs,\n"
    "                         with his death in its place\n"
    "  --exhaust-switches OP[:I[.J]]\n"
    "                         participants run until they wait, but for a switch before each "
    "access\n"
    "                         of join-join, join-death, leave-suspicion or lock-death, and, for "
    "each\n"
    "                         of these, a second one before each later access\n"
    "  --stride N             of the runs with a second death or switch, every Nth\n"
    "  --workers N            processes that share the work\n"
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
	if (options.length_ms)
		fprintf(out, " --length %llu", (unsigned long long)options.length_ms);
	if (options.depth)
		fprintf(out, " --depth %u", options.depth);
	if (options.exhaust)
		fprintf(out, "%s --exhaust-%s %s",
			options.search.pairs && !sim_is_preemption(options.exhaust) ? " --pairs"
										    : "",
			sim_is_preemption(options.exhaust) ? "switches" : "kills",
			sim_operation_names[options.exhaust]);
	if (sim_exhaust_number)
		fprintf(out, ":%llu", (unsigned long long)sim_exhaust_number);
	if (sim_exhaust_second)
		fprintf(out, ".%llu", (unsigned long long)sim_exhaust_second);
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

/* OP[:I[.J]] */
static void parse_exhaust(const char *option, char *text, bool switches)
{
	char *colon = strchr(text, ':');
	const char *rest = "";

	if (colon) {
		*colon = '\0';
		options.search.first = number(option, colon + 1, &rest);
		if (*rest == '.')
			options.search.second = number(option, rest + 1, &rest);
	}
	if (*rest)
		refuse(option, rest, "I or I.J behind the colon");
	for (enum sim_operation op = SIM_OP_CREATE; op < SIM_OP_COUNT; op++)
		if (sim_is_preemption(op) == switches && strcmp(text, sim_operation_names[op]) == 0)
			options.exhaust = op;
	if (!options.exhaust)
		refuse(option, text,
		       switches ? "join-join, join-death, leave-suspicion or lock-death"
				: "create, join, leave, tick, fence, recover, acquire, release, "
				  "migrate, halt, rx, deassign, failover, crash, update or nvram");
	options.search.pairs |= switches || options.search.second;
}

/* A number from low to high. */
static uint64_t parse_number(const char *option, const char *text, uint64_t low, uint64_t high)
{
	const char *rest;
	uint64_t n = number(option, text, &rest);
	char wanted[64];

	if (*rest || n < low || n > high) {
		snprintf(wanted, sizeof(wanted), "a number from %llu to %llu",
			 (unsigned long long)low, (unsigned long long)high);
		refuse(option, text, wanted);
	}
	return n;
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
					      {"exhaust-switches", 1, NULL, 'x'},
					      {"pairs", 0, NULL, '+'},
					      {"stride", 1, NULL, 'n'},
					      {"workers", 1, NULL, 'w'},
					      {"depth", 1, NULL, 'd'},
					      {"length", 1, NULL, 'l'},
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
			options.instances =
			    (uint32_t)parse_number("instances", optarg, 2, SIM_MAX_INSTANCES);
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
			parse_exhaust("exhaust-kills", optarg, false);
			break;
		case 'x':
			parse_exhaust("exhaust-switches", optarg, true);
			break;
		case '+':
			options.search.pairs = true;
			break;
		case 'n':
			options.search.stride = parse_number("stride", optarg, 1, 1000000);
			break;
		case 'w':
			options.search.workers = (uint32_t)parse_number("workers", optarg, 1, 64);
			break;
		case 'd':
			options.depth = (uint32_t)parse_number("depth", optarg, 1, SIM_DEPTH_MAX);
			break;
		case 'l':
			options.length_ms = parse_number("length", optarg, 1, 1000000);
			break;
		case 'v':
			sim_verbose = true;
			break;
		case 't':
			sim_trace = true;
			break;
		case '2':
			options.twice = options.search.twice = true;
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
	if (!options.exhaust && (options.search.pairs || options.search.stride > 1)) {
		fprintf(
		    stderr,
		    "apmp-sim: --%s says which second deaths to try: it wants --exhaust-kills%s\n",
		    options.search.pairs ? "pairs" : "stride",
		    options.search.pairs ? "" : " or --exhaust-switches");
		exit(2);
	}
}

/* --- runs --- */

/* Policy pct wants to know how long the run is: a run of depth 1 tells. */
static void choose_changes(struct sim_plan *plan)
{
	struct sim_random r = {sim_mix(plan->seed ^ 0x70637464)};
	uint32_t depth = plan->depth;
	uint64_t accesses;

	plan->depth = 1;
	sim_run(plan);
	accesses = sim.accesses;
	plan->depth = depth;
	for (uint32_t i = 0; i + 1 < depth; i++)
		plan->change[i] = 1 + sim_random_below(&r, accesses);
	totals.pct_runs[depth]++;
	totals.pct_threads[depth] += plan->instances * (SIM_CPU + plan->cpus) + 1;
	totals.pct_accesses[depth] += accesses;
}

static void run(struct sim_plan *plan)
{
	uint64_t hash, accesses;

	if (plan->policy == SIM_POLICY_PCT)
		choose_changes(plan);
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
	if (options.length_ms)
		plan.chaos_ns = options.length_ms * SIM_MS;
	if (options.depth)
		plan.depth = options.depth;
	if (options.exhaust)
		sim_exhaust(&plan, options.exhaust, &options.search);
	else if (seed % options.search.workers == options.search.worker)
		run(&plan);
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
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		coroutine_make(&sim.participant[i].co);
	options.search.worker = sim_workers_begin(options.search.workers);
	catch_faults();
	for (uint64_t seed = options.first_seed; seed <= options.last_seed; seed++)
		run_seed(seed);
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		coroutine_free(&sim.participant[i].co);
	sim_workers_gather();
	seconds = now_seconds() - began;
	sim_sums_points(options.exhaust);
	if (options.json)
		sim_sums_json(seconds);
	else
		sim_sums_text(seconds);
	return totals.failed ? 1 : 0;
}
