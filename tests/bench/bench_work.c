/*
 * bench_work.c COUNT - so many processes that work as much as they may; for each line that it reads
 * it says how much they have done, and when: "WORK NS".
 * bench_work.c late  - a service: it sleeps 3 ms, works for 0.2 ms, and so on; for each line that it
 * reads it says how many microseconds its 99th percentile was late since the last one.
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
#include <time.h>
#include <unistd.h>

#define COUNT_MAX   1024
#define UNIT	    20000 /* turns of a loop */
#define SLEEP_NS    3000000
#define WORK_NS	    200000
#define SAMPLES_MAX 65536

static int64_t ns_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
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

/* Whether there is a line, which is taken; ends with the input. */
static int asked(int wait_ms)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	char c;

	if (poll(&in, 1, wait_ms) <= 0)
		return 0;
	do
		if (read(STDIN_FILENO, &c, 1) != 1)
			exit(0);
	while (c != '\n');
	return 1;
}

static void serve(void)
{
	static int64_t late[SAMPLES_MAX];
	const struct timespec nap = {.tv_nsec = SLEEP_NS};
	size_t count = 0;

	for (;;) {
		int64_t begin = ns_of(CLOCK_MONOTONIC), worked;

		nanosleep(&nap, NULL);
		worked = ns_of(CLOCK_THREAD_CPUTIME_ID);
		while (ns_of(CLOCK_THREAD_CPUTIME_ID) - worked < WORK_NS)
			;
		if (count < SAMPLES_MAX)
			late[count++] = ns_of(CLOCK_MONOTONIC) - begin - SLEEP_NS - WORK_NS;
		if (!asked(0))
			continue;
		qsort(late, count, sizeof(late[0]), compare);
		printf("%lld\n", (long long)late[count * 99 / 100] / 1000);
		fflush(stdout);
		count = 0;
	}
}

int main(int argc, char **argv)
{
	int count = argc == 2 ? atoi(argv[1]) : -1;
	/* A line of memory for each. */
	_Atomic uint64_t *done =
	    mmap(NULL, COUNT_MAX * 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (done == MAP_FAILED)
		err(1, "no memory");
	if (argc == 2 && strcmp(argv[1], "late") == 0)
		serve();
	if (count < 1 || count > COUNT_MAX)
		errx(2, "usage: bench_work COUNT | late");
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			work(&done[i * 8]);
	}
	for (;;) {
		uint64_t sum = 0;

		if (!asked(-1))
			continue;
		for (int i = 0; i < count; i++)
			sum += atomic_load_explicit(&done[i * 8], memory_order_relaxed);
		printf("%llu %lld\n", (unsigned long long)sum, (long long)ns_of(CLOCK_MONOTONIC));
		fflush(stdout);
	}
}
