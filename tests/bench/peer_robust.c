/*
 * peer_robust.c - the peer of a death that others see: how soon the kernel tells of one at all.
 *
 * "kill TOUCHED THREADS" starts a process that has touched so many bytes of a memfd and has so many
 * threads, each with a robust futex; kills it; and answers with two numbers, in ns since the kill:
 * when the last of the futexes was released, and when waitpid() returned.
 */
#include <err.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 16u
#define PAGE	    4096u

static _Atomic uint32_t *word;

static struct thread {
	struct robust_list_head head;
	struct robust_list entry;
	unsigned idx;
} threads[THREADS_MAX];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *hold(void *arg)
{
	struct thread *t = arg;

	t->entry.next = &t->head.list;
	t->head.list.next = &t->entry;
	t->head.futex_offset = (long)((uintptr_t)&word[t->idx] - (uintptr_t)&t->entry);
	if (syscall(SYS_set_robust_list, &t->head, sizeof(t->head)) < 0)
		_exit(1);
	atomic_store(&word[t->idx], (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS);
	(void)syscall(SYS_futex, &word[t->idx], FUTEX_WAKE, 1);
	for (;;)
		(void)pause();
	return NULL;
}

static void be_the_victim(size_t touched, unsigned count)
{
	int fd = memfd_create("peer", MFD_CLOEXEC);
	volatile char *base;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || ftruncate(fd, (off_t)(touched + PAGE)) < 0)
		_exit(1);
	base = mmap(NULL, touched + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		_exit(1);
	for (size_t at = 0; at < touched; at += PAGE)
		base[at] = 1;
	for (unsigned i = 0; i < count; i++)
		threads[i].idx = i;
	for (unsigned i = 1; i < count; i++)
		if (pthread_create(&thread, NULL, hold, &threads[i]))
			_exit(1);
	(void)hold(&threads[0]);
}

static void kill_one(size_t touched, unsigned count)
{
	uint32_t lit[THREADS_MAX];
	uint64_t begin, released;
	pid_t pid;

	for (unsigned i = 0; i < count; i++)
		atomic_store(&word[i], 0);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0)
		be_the_victim(touched, count);
	for (unsigned i = 0; i < count; i++)
		while (!(lit[i] = atomic_load(&word[i])))
			(void)syscall(SYS_futex, &word[i], FUTEX_WAIT, 0, NULL);
	begin = now_ns();
	kill(pid, SIGKILL);
	for (unsigned i = 0; i < count; i++)
		while (atomic_load(&word[i]) == lit[i])
			(void)syscall(SYS_futex, &word[i], FUTEX_WAIT, lit[i], NULL);
	released = now_ns();
	if (waitpid(pid, NULL, 0) != pid)
		err(1, "waitpid");
	printf("%" PRIu64 " %" PRIu64 "\n", released - begin, now_ns() - begin);
	(void)fflush(stdout);
}

int main(void)
{
	char line[128];
	unsigned count;
	size_t touched;

	word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (word == MAP_FAILED)
		err(1, "mmap");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "kill %zu %u", &touched, &count) != 2 || !count ||
		    count > THREADS_MAX)
			errx(2, "kill TOUCHED THREADS, with 1 to %u threads", THREADS_MAX);
		kill_one(touched, count);
	}
	return 0;
}
