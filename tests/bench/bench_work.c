/*
 * bench_work.c COUNT - so many processes that work as much as they may.  For each line that it
 * reads, "MS", it says how much they have done in the next so many milliseconds: "WORK NS".
 * bench_work.c late  - a service: it waits for 3 ms, works for 0.2 ms, and so on; for each line
 * that it reads it says how many nanoseconds its 99th percentile was late since the last one.
 */
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX   1024
#define UNIT	    20000 /* turns of a loop */
#define NS	    INT64_C(1000000000)
#define PAUSE_NS    3000000
#define WORK_NS	    200000
#define SAMPLES_MAX 65536

static int64_t ns_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

__attribute__((noreturn)) static void work(_Atomic uint64_t *done)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (volatile int i = 0; i < UNIT; i++)
			;
		atomic_fetch_add_explicit(done, 1, memory_order_relaxed);
	}
}

static void wait_for(int timer, int64_t ns)
{
	struct itimerspec once = {.it_value = {ns / NS, ns % NS}};
	uint64_t expired;

	if (timerfd_settime(timer, 0, &once, NULL) < 0 ||
	    read(timer, &expired, sizeof(expired)) < 0)
		err(1, "timer");
}

/* A number that stands on a line; -1 if there is no line.  Ends with the input. */
static long asked(int wait_ms)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	char line[32];
	size_t length = 0;

	if (poll(&in, 1, wait_ms) <= 0)
		return -1;
	do
		if (read(STDIN_FILENO, &line[length], 1) != 1)
			exit(0);
	while (line[length] != '\n' && ++length < sizeof(line) - 1);
	line[length] = '\0';
	return atol(line);
}

static void serve(int timer)
{
	static int64_t late[SAMPLES_MAX];
	size_t count = 0;

	for (;;) {
		int64_t begin = ns_of(CLOCK_MONOTONIC), worked;

		wait_for(timer, PAUSE_NS);
		worked = ns_of(CLOCK_THREAD_CPUTIME_ID);
		while (ns_of(CLOCK_THREAD_CPUTIME_ID) - worked < WORK_NS)
			;
		if (count < SAMPLES_MAX)
			late[count++] = ns_of(CLOCK_MONOTONIC) - begin - PAUSE_NS - WORK_NS;
		if (asked(0) < 0)
			continue;
		qsort(late, count, sizeof(late[0]), compare);
		printf("%lld\n", (long long)late[count * 99 / 100]);
		fflush(stdout);
		count = 0;
	}
}

static uint64_t sum_of(const _Atomic uint64_t *done, int count)
{
	uint64_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += atomic_load_explicit(&done[i * 8], memory_order_relaxed);
	return sum;
}

int main(int argc, char **argv)
{
	int count = argc == 2 ? atoi(argv[1]) : -1, timer = timerfd_create(CLOCK_MONOTONIC, 0);
	/* A line of memory for each. */
	_Atomic uint64_t *done =
	    mmap(NULL, COUNT_MAX * 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (done == MAP_FAILED || timer < 0)
		err(1, "no memory or no timer");
	if (argc == 2 && strcmp(argv[1], "late") == 0)
		serve(timer);
	if (count < 0 || count > COUNT_MAX)
		errx(2, "usage: bench_work COUNT | late");
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			work(&done[i * 8]);
	}
	for (;;) {
		long ms = asked(-1);
		uint64_t before = sum_of(done, count);
		int64_t begin = ns_of(CLOCK_MONOTONIC);

		wait_for(timer, ms * (NS / 1000));
		printf("%llu %lld\n", (unsigned long long)(sum_of(done, count) - before),
		       (long long)(ns_of(CLOCK_MONOTONIC) - begin));
		fflush(stdout);
	}
}
