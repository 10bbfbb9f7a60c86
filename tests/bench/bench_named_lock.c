/*
 * bench_named_lock.c - nanoseconds of a named lock, beside a robust process-shared pthread mutex:
 * wanted by nobody else; by two processes at once; and from the death of its holder until one that
 * waits for it has it.
 *
 * Each round runs each pair once, one after the other, and prints a line for each: name, ns of
 * ours, ns of the peer.  Two instances of the world of tests/unit, forked into processes of their
 * own: the segment, the tree and the futexes are shared as on a machine.
 */
#include <check.h>
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/wire/linux_env.h"
#include "tests/unit/lock_world.h"

#define ALONE	  200000u
#define CONTENDED 20000u

/* What the two processes tell each other. */
struct meeting {
	pthread_mutex_t mutex;
	pthread_barrier_t barrier;
	uint64_t protected;
	_Atomic uint64_t at_ns;
	_Atomic uint32_t holds;
};

static int rounds;
static uint32_t spins; /* env.spin */
static struct meeting *meeting;
static const _Atomic uint32_t unarmed;
static struct apmp_locker *l[2];
static uint32_t lock[2];

static void pass_nothing(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	(void)point;
	(void)arg;
}

static void ours_take(uint32_t who)
{
	if (apmp_lock_acquire(l[who], lock[who], APMP_NEVER) < 0)
		errx(1, "the named lock could not be had");
}

static void ours_release(uint32_t who)
{
	if (apmp_lock_release(l[who], lock[who]))
		errx(1, "the named lock was not held");
}

static void mutex_take(uint32_t who)
{
	int err = pthread_mutex_lock(&meeting->mutex);

	(void)who;
	if (err == EOWNERDEAD)
		err = pthread_mutex_consistent(&meeting->mutex);
	if (err)
		errx(1, "the mutex could not be had");
}

static void mutex_release(uint32_t who)
{
	(void)who;
	if (pthread_mutex_unlock(&meeting->mutex))
		errx(1, "the mutex was not held");
}

struct side {
	void (*take)(uint32_t who);
	void (*release)(uint32_t who);
	void (*holder_died)(uint32_t who); /* NULL: the kernel sees to it */
};

static double alone(const struct side *volatile s)
{
	uint64_t begin = apmp_linux_now(NULL);

	for (uint32_t i = 0; i < ALONE; i++) {
		s->take(0);
		s->release(0);
	}
	return (double)(apmp_linux_now(NULL) - begin) / ALONE;
}

static void count_up(const struct side *s, uint32_t who)
{
	(void)pthread_barrier_wait(&meeting->barrier);
	for (uint32_t i = 0; i < CONTENDED; i++) {
		s->take(who);
		meeting->protected ++;
		s->release(who);
	}
}

static pid_t in_process(void)
{
	pid_t pid = fork();

	if (pid < 0)
		errx(1, "no process can be made");
	return pid;
}

static void reap(pid_t pid, int signal)
{
	int status;

	if (waitpid(pid, &status, 0) != pid ||
	    (signal ? !WIFSIGNALED(status) || WTERMSIG(status) != signal : status))
		errx(1, "a process of the bench ended with status %#x", (unsigned int)status);
}

/* Mean of one turn of both. */
static double contended(const struct side *s)
{
	uint64_t before = meeting->protected, begin;
	pid_t pid = in_process();

	if (pid == 0) {
		count_up(s, 1);
		_exit(0);
	}
	begin = apmp_linux_now(NULL);
	count_up(s, 0);
	reap(pid, 0);
	begin = apmp_linux_now(NULL) - begin;
	if (meeting->protected - before != 2u * CONTENDED)
		errx(1, "two had the lock at once");
	return (double)begin / (2.0 * CONTENDED);
}

/* The tree says that the holder is fenced, and a member recovers what it held. */
static void recover(uint32_t who)
{
	struct apmp_db_locks *table = w.party[ALPHA].member.locks->segment;
	uint32_t slot = w.party[ALPHA].member.locks->open[lock[who] % APMP_LOCK_COUNT].slot;

	apmp_tree_set_fenced(&w.tw, BETA, apmp_identity_incarnation(w.party[BETA].env.self));
	apmp__lock_break(&w.party[ALPHA].member, table, slot, table->lock[slot].word);
}

/* Until the process sleeps in the kernel, where it waits for the lock alone. */
static void wait_asleep(pid_t pid)
{
	char path[32], state = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (state != 'S') {
		FILE *stat = fopen(path, "re");

		if (!stat || fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
			errx(1, "%s can't be read", path);
		(void)fclose(stat);
	}
}

/* From the kill to the waiter's return, with the holder reaped between them on our side. */
static double recovery(const struct side *s)
{
	pid_t holder, waiter;
	uint64_t begin;

	atomic_store(&meeting->holds, 0);
	holder = in_process();
	if (holder == 0) {
		s->take(1);
		atomic_store(&meeting->holds, 1);
		for (;;)
			pause();
	}
	while (!atomic_load(&meeting->holds))
		(void)sched_yield();
	waiter = in_process();
	if (waiter == 0) {
		atomic_store(&meeting->holds, 2);
		s->take(0);
		atomic_store(&meeting->at_ns, apmp_linux_now(NULL));
		s->release(0);
		_exit(0);
	}
	while (atomic_load(&meeting->holds) != 2)
		(void)sched_yield();
	wait_asleep(waiter);
	begin = apmp_linux_now(NULL);
	(void)kill(holder, SIGKILL);
	reap(holder, SIGKILL);
	if (s->holder_died)
		s->holder_died(0);
	reap(waiter, 0);
	return (double)(atomic_load(&meeting->at_ns) - begin);
}

static void make_world(void)
{
	world_init(&w);
	for (uint32_t id = ALPHA; id <= BETA; id++) {
		struct party *p = lock_member(id);

		p->env.point = pass_nothing;
		p->env.armed = &unarmed;
		p->env.now = apmp_linux_now;
		p->env.wait = apmp_linux_wait;
		p->env.wake = apmp_linux_wake;
		p->env.spin = spins;
		if (apmp_linux_has_fence_all())
			p->env.fence_all = apmp_linux_fence_all;
		l[id] = locker(p);
		lock[id] = opened(l[id], "bench", 1);
	}
}

static void make_meeting(void)
{
	pthread_mutexattr_t attr;
	pthread_barrierattr_t both;

	meeting =
	    mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (meeting == MAP_FAILED)
		errx(1, "no shared memory");
	if (pthread_mutexattr_init(&attr) ||
	    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) ||
	    pthread_mutex_init(&meeting->mutex, &attr) || pthread_barrierattr_init(&both) ||
	    pthread_barrierattr_setpshared(&both, PTHREAD_PROCESS_SHARED) ||
	    pthread_barrier_init(&meeting->barrier, &both, 2))
		errx(1, "no robust mutex");
}

/* The world can be made only where libcheck runs. */
START_TEST(measure)
{
	static const struct side ours = {ours_take, ours_release, recover};
	static const struct side peer = {mutex_take, mutex_release, NULL};
	double a, b;

	make_meeting();
	while (rounds-- > 0) {
		make_world();
		a = alone(&ours), b = alone(&peer);
		printf("named-lock %.2f %.2f\n", a, b);
		a = contended(&ours), b = contended(&peer);
		printf("named-lock-contended %.2f %.2f\n", a, b);
		a = recovery(&ours), b = recovery(&peer);
		printf("named-lock-recovery %.0f %.0f\n", a, b);
		(void)fflush(stdout);
		world_fence(&w, BETA);
		world_fence(&w, ALPHA);
		world_fini(&w);
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("bench");
	TCase *tc = tcase_create("bench");
	SRunner *runner;
	int failed;

	rounds = argc >= 2 ? atoi(argv[1]) : 0;
	spins = argc >= 3 ? (uint32_t)atoi(argv[2]) : 0;
	if (rounds < 1 || argc > 3)
		errx(2, "usage: bench_named_lock ROUNDS [SPIN]");
	tcase_add_test(tc, measure);
	tcase_set_timeout(tc, 0);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
