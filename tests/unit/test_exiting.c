/* Whether a process runs user code any more, by the kernel's word. */
#include "apmpd/exiting.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

struct shared {
	_Atomic uint32_t go, ready;
};

static struct shared *shared;

static void make_shared(void)
{
	shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(shared != MAP_FAILED);
}

static void until_ready(uint32_t count)
{
	while (atomic_load(&shared->ready) < count)
		(void)sched_yield();
}

static void *park(void *arg)
{
	(void)arg;
	atomic_fetch_add(&shared->ready, 1);
	for (;;)
		pause();
	return NULL;
}

static void *spin(void *arg)
{
	(void)arg;
	atomic_fetch_add(&shared->ready, 1);
	for (;;)
		;
	return NULL;
}

/* A process of two threads more, which do this. */
static pid_t start(void *(*what)(void *arg))
{
	pthread_t thread;
	pid_t pid;

	make_shared();
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2; i++)
			if (pthread_create(&thread, NULL, what, NULL))
				_exit(1);
		(void)what(NULL);
	}
	until_ready(3);
	return pid;
}

static void until_zombie(pid_t pid)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void reap(pid_t pid)
{
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(who_runs)
{
	pid_t pid = start(_i ? spin : park);

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(apmp_exiting_process(pid), 0);
	ck_assert(!apmp_exiting_task(pid, pid));
	kill(pid, SIGSTOP);
	ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
	ck_assert_int_eq(apmp_exiting_process(pid), 0);
	kill(pid, SIGKILL);
	reap(pid);
}
END_TEST

/* shows: DB-10 */
START_TEST(who_was_killed)
{
	pid_t pid = start(_i ? spin : park);

	kill(pid, SIGKILL);
	while (apmp_exiting_process(pid) == 0)
		; /* by itself, without being reaped */
	until_zombie(pid);
	ck_assert_int_eq(apmp_exiting_process(pid), 1);
	ck_assert(apmp_exiting_task(pid, pid));
	apmp_exiting_gives_way(pid); /* harmless when it is over */
	reap(pid);
	ck_assert_int_eq(apmp_exiting_process(pid), -ESRCH);
	ck_assert(apmp_exiting_task(pid, pid));
}
END_TEST

/* The first thread has ended and is a zombie; the process goes on. */
START_TEST(whose_first_thread_ended)
{
	pthread_t thread;
	pid_t pid;

	make_shared();
	pid = fork();
	if (pid == 0) {
		if (pthread_create(&thread, NULL, park, NULL))
			_exit(1);
		syscall(SYS_exit, 0);
	}
	until_ready(1);
	while (!apmp_exiting_task(pid, pid))
		;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(apmp_exiting_process(pid), 0);
	kill(pid, SIGKILL);
	while (apmp_exiting_process(pid) == 0)
		;
	reap(pid);
}
END_TEST

static void *relay(void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)arg;
	atomic_fetch_add(&shared->ready, 1);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, relay, NULL))
		_exit(1);
	return NULL;
}

/* One thread makes the next and ends, all the time: there is always one that runs, and each listing
 * may stop short. */
START_TEST(whose_threads_take_turns)
{
	pid_t pid;

	make_shared();
	pid = fork();
	if (pid == 0) {
		(void)relay(NULL);
		syscall(SYS_exit, 0);
	}
	until_ready(100);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(apmp_exiting_process(pid), 0);
	kill(pid, SIGKILL);
	while (apmp_exiting_process(pid) == 0)
		;
	reap(pid);
}
END_TEST

/* It stores into shared memory as fast as it can: after the kernel's word, never again.
 * shows: DB-10 */
START_TEST(who_is_exiting_stores_no_more)
{
	for (int i = 0; i < 40; i++) {
		uint32_t seen;
		pid_t pid;

		make_shared();
		pid = fork();
		if (pid == 0)
			for (;;)
				atomic_fetch_add(&shared->go, 1);
		while (!atomic_load(&shared->go))
			(void)sched_yield();
		kill(pid, SIGKILL);
		while (apmp_exiting_process(pid) == 0)
			;
		seen = atomic_load(&shared->go);
		reap(pid);
		ck_assert_uint_eq(atomic_load(&shared->go), seen);
		munmap(shared, sizeof(*shared));
	}
}
END_TEST

/* vfork: the parent sleeps in the kernel while the child uses its memory; each for itself. */
START_TEST(a_child_that_shares_memory)
{
	pid_t pid;

	make_shared();
	pid = fork();
	if (pid == 0) {
		/* A child that shares memory is what it is about. */
		/* NOLINTBEGIN(clang-analyzer-*) */
		pid_t child = vfork();

		if (child == 0) {
			atomic_store(&shared->go, (uint32_t)getpid());
			for (;;)
				pause();
		}
		/* NOLINTEND(clang-analyzer-*) */
		_exit(0);
	}
	while (!atomic_load(&shared->go))
		(void)sched_yield();
	kill(pid, SIGKILL);
	while (apmp_exiting_process(pid) == 0)
		;
	ck_assert_int_eq(apmp_exiting_process((pid_t)atomic_load(&shared->go)), 0);
	kill((pid_t)atomic_load(&shared->go), SIGKILL);
	reap(pid);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exiting");
	TCase *tc = suite_case(suite, "exiting");

	tcase_add_loop_test(tc, who_runs, 0, 2);
	tcase_add_loop_test(tc, who_was_killed, 0, 2);
	tcase_add_test(tc, whose_first_thread_ended);
	tcase_add_test(tc, whose_threads_take_turns);
	tcase_add_test(tc, who_is_exiting_stores_no_more);
	tcase_add_test(tc, a_child_that_shares_memory);
	return suite_run(suite);
}
