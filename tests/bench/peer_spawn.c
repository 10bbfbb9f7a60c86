/*
 * peer_spawn.c - the peer of a boot and of a death: processes that only hold memory.
 *
 * "start COUNT SIZE TOUCHED THREADS" forks and executes COUNT processes which each map SIZE bytes
 * of a memfd, touch TOUCHED of them, have THREADS threads and wait; the answer, when all are there,
 * is a line with their process ids.  Somebody else kills them; the next line is when the last of
 * their pidfds was readable, in ns of CLOCK_MONOTONIC.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 64u
#define PAGE	  4096u

static void *park(void *arg)
{
	(void)arg;
	for (;;)
		(void)pause();
	return NULL;
}

/* What is executed: argv is "hold" SIZE TOUCHED THREADS, standard output says that it is there. */
static int hold(char **argv)
{
	size_t size = strtoull(argv[2], NULL, 10), touched = strtoull(argv[3], NULL, 10);
	int threads = atoi(argv[4]), fd = memfd_create("peer", MFD_CLOEXEC);
	volatile char *base;
	pthread_t thread;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		err(1, "memfd of %zu bytes", size);
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		err(1, "mmap of %zu bytes", size);
	for (size_t at = 0; at < touched && at < size; at += PAGE)
		base[at] = 1;
	for (int i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, park, NULL))
			errx(1, "no thread");
	if (write(STDOUT_FILENO, "", 1) != 1)
		return 1;
	park(NULL);
	return 0;
}

static pid_t start_one(char *size, char *touched, char *threads, int there)
{
	char self[] = "/proc/self/exe", mode[] = "hold";
	char *argv[] = {self, mode, size, touched, threads, NULL};
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(there, STDOUT_FILENO) < 0)
		_exit(1);
	execv(self, argv);
	_exit(1);
}

static void start(unsigned count, char *size, char *touched, char *threads, pid_t *pids)
{
	int there[2];
	char byte;

	if (pipe2(there, O_CLOEXEC) < 0)
		err(1, "pipe");
	for (unsigned i = 0; i < count; i++)
		pids[i] = start_one(size, touched, threads, there[1]);
	close(there[1]);
	for (unsigned i = 0; i < count; i++)
		if (read(there[0], &byte, 1) != 1)
			errx(1, "a process did not start");
	close(there[0]);
	for (unsigned i = 0; i < count; i++)
		printf("%d%c", pids[i], i + 1 < count ? ' ' : '\n');
	(void)fflush(stdout);
}

/* Waits for the end of all; pidfds first, for they are readable before anybody has reaped. */
static void await_end(const pid_t *pids, unsigned count)
{
	struct timespec now;

	for (unsigned i = 0; i < count; i++) {
		struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pids[i], 0),
				     .events = POLLIN};

		if (end.fd < 0 || poll(&end, 1, -1) != 1)
			err(1, "pidfd of %d", pids[i]);
		close(end.fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%" PRIu64 "\n", (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	(void)fflush(stdout);
	for (unsigned i = 0; i < count; i++)
		if (waitpid(pids[i], NULL, 0) != pids[i])
			err(1, "waitpid");
}

int main(int argc, char **argv)
{
	char line[128], size[32], touched[32], threads[32];
	pid_t pids[COUNT_MAX];
	unsigned count;

	if (argc == 5 && strcmp(argv[1], "hold") == 0)
		return hold(argv);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "start %u %31s %31s %31s", &count, size, touched, threads) != 4 ||
		    count == 0 || count > COUNT_MAX)
			errx(2, "start COUNT SIZE TOUCHED THREADS, with 1 to %u processes",
			     COUNT_MAX);
		start(count, size, touched, threads, pids);
		await_end(pids, count);
	}
	return 0;
}
