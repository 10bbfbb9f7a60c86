/*
 * test_lock_kills.c - processes that take named locks are killed at any instruction, and fenced;
 * who is left goes on, and is told BROKEN whenever somebody died in the middle of his work.
 *
 * Three instances of the world, each a process of its own, and one more that looks at what is left:
 * segment, tree and futexes are shared.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

#define INSTANCES 3u
#define WORLDS	  60

/* What the lock protects: begun is raised first, ended last. */
struct protected
{
	uint64_t begun, ended;
	_Atomic uint64_t turns[INSTANCES];
	_Atomic uint32_t wrong; /* line of what was not so */
	_Atomic uint64_t broken;
};

static struct protected *shared;
static pid_t pid[INSTANCES];

static uint64_t host_now(struct apmp_env *env)
{
	struct timespec now;

	(void)env;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * MSEC + (uint64_t)now.tv_nsec;
}

/* A tick at most, as all who wait for a lock look again then. */
static int host_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		     uint64_t deadline_ns)
{
	const struct timespec tick = {.tv_nsec = 2 * MSEC};

	(void)env;
	(void)deadline_ns;
	(void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &tick, NULL, 0);
	return 0; /* the caller looks again */
}

static void host_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count)
{
	(void)env;
	(void)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static void pass_nothing(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	(void)point;
	(void)arg;
}

/* A CPU that does something else for a moment, so that deaths meet all of it. */
static void dawdle(uint64_t turn)
{
	if (turn % 7 == 0)
		(void)sched_yield();
}

static void must(bool held, uint32_t line)
{
	if (!held)
		atomic_store(&shared->wrong, line);
}

/* One turn under the lock. */
static void take_turn(struct apmp_locker *l, uint32_t lock, uint64_t turn)
{
	int got = apmp_lock_acquire(l, lock, APMP_NEVER);

	must(got >= 0, __LINE__);
	if (got == 0)
		must(shared->begun == shared->ended, __LINE__);
	if (got == 1) {
		atomic_fetch_add(&shared->broken, 1);
		shared->ended = shared->begun;
		must(apmp_lock_good(l, lock) == 0, __LINE__);
	}
	*(volatile uint64_t *)&shared->begun += 1;
	dawdle(turn);
	*(volatile uint64_t *)&shared->ended += 1;
	must(apmp_lock_release(l, lock) == 0, __LINE__);
}

static _Noreturn void instance(uint32_t id)
{
	struct apmp_locker *l = locker(&w.party[id]);
	char name[16];

	for (uint64_t turn = 0;; turn++) {
		uint32_t lock, other;

		/* Names come and go, under the table lock. */
		(void)snprintf(name, sizeof(name), "name-%u", (unsigned int)(turn % 5));
		must(apmp_lock_open(l, "x", 1, &lock) == 0, __LINE__);
		must(apmp_lock_open(l, name, 2, &other) == 0, __LINE__);
		take_turn(l, lock, turn);
		must(apmp_lock_close(l, other) == 0, __LINE__);
		if (turn % 3 == 0)
			must(apmp_lock_close(l, lock) == 0, __LINE__);
		atomic_fetch_add(&shared->turns[id], 1);
	}
}

static void start(uint32_t id)
{
	struct party *p = lock_member(id);

	p->env.point = pass_nothing;
	p->env.now = host_now;
	p->env.wait = host_wait;
	p->env.wake = host_wake;
}

/* Until each that is left has had so many more turns. */
static void wait_turns(uint32_t first, uint64_t count)
{
	for (uint32_t id = first; id < INSTANCES; id++) {
		uint64_t before = atomic_load(&shared->turns[id]);

		while (atomic_load(&shared->turns[id]) - before < count &&
		       !atomic_load(&shared->wrong))
			(void)sched_yield();
	}
}

static void kill_one(uint32_t id)
{
	int status;

	ck_assert_int_eq(kill(pid[id], SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid[id], &status, 0), pid[id]);
	/* From here on, and not before, its locks may be taken. */
	apmp_tree_set_fenced(&w.tw, id, apmp_identity_incarnation(w.party[id].env.self));
}

/* shows: COMM-04, MEM-16 */
START_TEST(killed_at_any_instruction)
{
	struct apmp_locker *l;

	shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	world_init(&w);
	for (uint32_t id = 0; id <= INSTANCES; id++)
		start(id);
	for (uint32_t id = 0; id < INSTANCES; id++) {
		pid[id] = fork();
		ck_assert_int_ge(pid[id], 0);
		if (pid[id] == 0)
			instance(id);
	}
	for (uint32_t id = 0; id < INSTANCES; id++) {
		wait_turns(id, 1 + (uint64_t)(_i + (int)id) % 5);
		kill_one(id);
	}
	ck_assert_msg(!atomic_load(&shared->wrong), "line %u: not so", atomic_load(&shared->wrong));
	ck_assert_uint_le(atomic_load(&shared->broken), INSTANCES);
	for (uint32_t id = 0; id < INSTANCES; id++)
		world_fence(&w, id);
	ck_assert_int_eq(party_run(&w.party[DELTA], party_work), 0);
	world_check_set(&w, BIT(DELTA));
	l = locker(&w.party[DELTA]);
	take_turn(l, opened(l, "x", 1), 1);
	ck_assert_uint_eq(atomic_load(&shared->wrong), 0);
	for (uint32_t i = 0; i < APMP_LOCK_COUNT; i++)
		ck_assert_uint_eq(apmp_load_relaxed(&lock_table()->lock[i].word), 0);
	world_fence(&w, DELTA);
	world_fini(&w);
	ck_assert_int_eq(munmap(shared, sizeof(*shared)), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lock_kills");
	TCase *tc = suite_case(suite, "lock_kills");

	tcase_add_loop_test(tc, killed_at_any_instruction, 0, WORLDS);
	return suite_run(suite);
}
