/* sums.c - what all runs come to, over several processes, as text and as JSON. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

struct sim_totals totals;

static struct sim_totals *of_worker; /* shared; NULL: there are no others */
static pid_t *pid;
static uint32_t worker_count, own_number;

uint32_t sim_workers_begin(uint32_t count)
{
	if (count <= 1)
		return 0;
	worker_count = count;
	of_worker = mmap(NULL, count * sizeof(totals), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = calloc(count, sizeof(*pid));
	apmp_assert(of_worker != MAP_FAILED && pid);
	fflush(stdout);
	for (uint32_t w = 1; w < count; w++) {
		pid[w] = fork();
		apmp_assert(pid[w] >= 0);
		if (pid[w] == 0) {
			own_number = w;
			sim_arena_open(); /* physical memory of its own */
			return w;
		}
	}
	return 0;
}

static void add(struct sim_totals *sum, const struct sim_totals *more)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

void sim_workers_gather(void)
{
	if (!of_worker)
		return;
	of_worker[own_number] = totals;
	if (own_number) {
		fflush(stdout);
		_exit(0);
	}
	for (uint32_t w = 1; w < worker_count; w++) {
		int status;

		if (waitpid(pid[w], &status, 0) != pid[w] || status != 0)
			of_worker[w].failed++; /* it has said why */
		add(&totals, &of_worker[w]);
	}
	free(pid);
	pid = NULL;
}

void sim_sums_points(enum sim_operation op)
{
	const char *dir = getenv("APMP_POINTS_DIR"), *comma = "";
	char path[4096];
	FILE *out;

	if (!dir)
		return;
	/* A file for each way to run it, so that none takes away what another has shown. */
	if (snprintf(path, sizeof(path), "%s/sim%s%s.json", dir, op ? "-" : "",
		     sim_operation_names[op]) >= (int)sizeof(path))
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

/* What policy pct promises for a bug that needs d ordered events, in one run. */
static void print_guarantee(uint32_t d)
{
	double n = (double)totals.pct_threads[d] / (double)totals.pct_runs[d];
	double k = (double)totals.pct_accesses[d] / (double)totals.pct_runs[d], p = 1 / n;

	for (uint32_t i = 1; i < d; i++)
		p /= k;
	printf("pct depth %u: %llu runs, on average %.0f threads and %.0f accesses: each finds a "
	       "bug of that depth with probability 1/(n k^%u) = %.1e or more\n",
	       d, (unsigned long long)totals.pct_runs[d], n, k, d - 1, p);
}

/* All workers', since the hosts are noisy. */
static double cpu_seconds(void)
{
	double sum = 1e-6; /* nothing divides by 0 */

	for (int who = RUSAGE_SELF; who >= RUSAGE_CHILDREN; who--) {
		struct rusage used;

		apmp_assert(getrusage(who, &used) == 0);
		sum += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	}
	return sum;
}

void sim_sums_text(double seconds)
{
	const double virtual_s = (double)totals.virtual_ns / 1e9, cpu_s = cpu_seconds();

	if (totals.kills)
		printf("kills by the last point that the thread had passed:\n");
	for (uint32_t p = 0; p < APMP_P_COUNT; p++)
		if (totals.kills_after[p])
			printf("  %-18s %6llu\n", kill_name(p),
			       (unsigned long long)totals.kills_after[p]);
	printf("%llu kills, %llu crashes, %llu stalls, %llu deaths of the console, %llu pages "
	       "spoilt, %llu times a CPU came\n",
	       (unsigned long long)totals.kills, (unsigned long long)totals.crashes,
	       (unsigned long long)totals.stalls, (unsigned long long)totals.console_kills,
	       (unsigned long long)totals.spoils, (unsigned long long)totals.moved);
	printf(
	    "%llu shared accesses, %llu switches, %.1f s of virtual time in %.1f s: %.1f million "
	    "accesses/s, ratio %.0f; of CPU time %.1f s: %.1f million/s, ratio %.0f\n",
	    (unsigned long long)totals.accesses, (unsigned long long)totals.switches, virtual_s,
	    seconds, (double)totals.accesses / seconds / 1e6, virtual_s / seconds, cpu_s,
	    (double)totals.accesses / cpu_s / 1e6, virtual_s / cpu_s);
	for (uint32_t d = 1; d <= SIM_DEPTH_MAX; d++)
		if (totals.pct_runs[d])
			print_guarantee(d);
	if (totals.pairs)
		printf("%llu runs with a second one, %llu left out by the stride\n",
		       (unsigned long long)totals.pairs, (unsigned long long)totals.skipped_pairs);
	printf("trace hash %016llx\n", (unsigned long long)totals.hash);
	printf("sim: %llu runs, %llu findings\n", (unsigned long long)totals.runs,
	       (unsigned long long)totals.findings);
	printf("%llu passed, %llu failed\n", (unsigned long long)(totals.runs - totals.failed),
	       (unsigned long long)totals.failed);
}

void sim_sums_json(double seconds)
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
