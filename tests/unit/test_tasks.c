/*
 * test_tasks.c - the scheduler of an instance: CPUs are threads that come and go, tasks count.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/box.h"
#include "shm/wire/linux_env.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define CPUS	   4u
#define STACKS	   (4 * TASKS_MAX * TASK_STACK_SIZE)
#define TICK_MS	   1
#define DONE_VALUE 7

enum wish { STAY, LEAVE, COME, QUIT };

/* A CPU: what it is to do, and what it said last. */
struct test_cpu {
	pthread_t thread;
	_Atomic uint32_t wish;	 /* enum wish */
	_Atomic uint32_t answer; /* +1 with each wish */
	int err;		 /* of the last LEAVE */
};

static struct instance in;
static struct apmp_intr_line line[CPUS];
static struct test_cpu cpu[CPUS];
static struct task_job *job;
static pthread_t clock_thread;
static int clock_stops; /* an eventfd */
static _Atomic uint32_t flag;
static _Atomic uint64_t count[TASKS_MAX];

/* What a task does between two looks; the sanitizer lets signals in at calls of the C library. */
static inline __attribute__((always_inline)) void step(uint32_t me)
{
#if defined(__SANITIZE_THREAD__)
	static const char *volatile text = "a call";

	count[me] += strlen(text);
#else
	count[me]++;
#endif
}

/* What the rest of the instance does for tasks. */
void instance_thread_is(uint32_t thread)
{
	(void)thread;
}

void instance_beacon(struct instance *instance, uint32_t idx)
{
	ck_assert_uint_lt(idx - APMP_BEACON_TASK, TASKS_MAX);
	(void)instance;
}

__attribute__((noreturn)) void instance_crash_wait(struct instance *instance)
{
	(void)instance;
	abort(); /* nothing fails here */
}

void instance_apps_ring(struct instance *instance)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(instance->apps.bell, &one, sizeof(one)), sizeof(one));
}

/* ---- CPUs and the clock ---- */

static void obey(struct test_cpu *self, uint32_t idx, bool *ret_here)
{
	enum wish wish = apmp_load_acquire(&self->wish);

	if (wish == STAY)
		return;
	if (wish == LEAVE)
		self->err = instance_tasks_quiesce(&in, idx);
	*ret_here = wish == LEAVE ? self->err != 0 : true;
	apmp_store_relaxed(&self->wish, STAY);
	apmp_fetch_add(&self->answer, 1);
	threads_wake(NULL, &self->answer, 1);
}

static void *cpu_main(void *arg)
{
	struct test_cpu *self = arg;
	uint32_t idx = (uint32_t)(self - cpu);
	bool here = false;

	while (apmp_load_acquire(&self->wish) != QUIT) {
		obey(self, idx, &here);
		if (here)
			(void)instance_tasks_wait(&in, idx);
		else
			(void)apmp_intr_wait(&in.env, idx, APMP_NEVER);
	}
	if (here)
		ck_assert_int_eq(instance_tasks_quiesce(&in, idx), 0);
	return NULL;
}

static int tell(uint32_t idx, enum wish wish)
{
	uint32_t seen = apmp_load_acquire(&cpu[idx].answer);

	apmp_store_release(&cpu[idx].wish, wish);
	apmp_intr_send(&in.env, idx, APMP_INTR_WORK);
	while (wish != QUIT && apmp_load_acquire(&cpu[idx].answer) == seen)
		(void)threads_wait(NULL, &cpu[idx].answer, seen, APMP_NEVER);
	return cpu[idx].err;
}

/* The CPU takes part when this returns. */
static void come(uint32_t idx)
{
	(void)tell(idx, COME);
	while (!apmp_load_acquire(&in.tasks.cpu[idx].open))
		(void)sched_yield();
}

static int leave(uint32_t idx)
{
	return tell(idx, LEAVE);
}

static void *clock_main(void *arg)
{
	(void)arg;
	do
		instance_tasks_tick(&in);
	while (!poll(&(struct pollfd){.fd = clock_stops, .events = POLLIN}, 1, TICK_MS));
	return NULL;
}

static void start_clock(void)
{
	clock_stops = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(pthread_create(&clock_thread, NULL, clock_main, NULL), 0);
}

static void stop_clock(void)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(clock_stops, &one, sizeof(one)), sizeof(one));
	ck_assert_int_eq(pthread_join(clock_thread, NULL), 0);
	close(clock_stops);
}

/* ---- the world ---- */

static void setup(void)
{
	in.env = (struct apmp_env){.now = apmp_linux_now,
				   .wait = apmp_linux_wait,
				   .wake = apmp_linux_wake,
				   .lines = line,
				   .line_count = CPUS};
	in.timing.tick_ns = TICK_MS * UINT64_C(1000000);
	in.hwrpb = calloc(1, sizeof(*in.hwrpb));
	in.stacks = mmap(NULL, STACKS, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	in.recorder = calloc(1, sizeof(*in.recorder));
	ck_assert(in.hwrpb && in.recorder && in.stacks != MAP_FAILED);
	in.stacks_size = STACKS;
	apmp_store_relaxed(&in.hwrpb->cpu_count, CPUS);
	in.apps.bell = eventfd(0, EFD_CLOEXEC);
	tasks_init(&in);
	job = &in.tasks.job[0];
	*job = (struct task_job){.used = true, .output = -1, .name = "test"};
	for (uint32_t i = 0; i < CPUS; i++)
		ck_assert_int_eq(pthread_create(&cpu[i].thread, NULL, cpu_main, &cpu[i]), 0);
}

static void teardown(void)
{
	for (uint32_t i = 0; i < CPUS; i++) {
		(void)tell(i, QUIT);
		ck_assert_int_eq(pthread_join(cpu[i].thread, NULL), 0);
	}
	close(in.apps.bell);
}

static void begin(apmp_task_function *function, uintptr_t arg)
{
	uint64_t number;

	ck_assert_int_eq(task_begin(&in, job, NULL, function, (void *)arg, 0, &number), 0);
}

/* Until no task of the job is left, which the bell says. */
static void await_end(void)
{
	uint64_t rings;

	ck_assert_int_eq(read(in.apps.bell, &rings, sizeof(rings)), sizeof(rings));
	ck_assert(apmp_load_acquire(&job->done));
	ck_assert_uint_eq(instance_tasks_depth(&in), 0);
}

static void await_count(uint32_t idx, uint64_t more)
{
	uint64_t seen = count[idx];

	while (count[idx] < seen + more)
		(void)sched_yield();
}

/* All that must hold whenever the lock is free.  The lock is taken. */
static void check_all(void)
{
	struct tasks *ts = &in.tasks;
	uint32_t ready = 0, running = 0, bound = 0, open = 0;

	for (struct task *t = ts->first; t; t = t->next, ready++) {
		ck_assert_int_eq(t->state, TASK_READY);
		ck_assert_uint_eq(t->baton, 0);
		ck_assert(t->next || t == ts->last);
		for (uint32_t i = 0; i < CPUS; i++)
			ck_assert_msg(!ts->cpu[i].open || ts->cpu[i].running ||
					  (t->bound && t->bound != i + 1),
				      "CPU %u is idle, and a task waits", i);
	}
	for (uint32_t i = 0; i < TASKS_MAX; i++) {
		struct task *t = &ts->task[i];

		running += t->state == TASK_RUNNING;
		bound += t->bound != 0;
		ck_assert((t->state == TASK_RUNNING) == (t->baton != 0));
		ck_assert(!t->baton || ts->cpu[t->baton - 1].running == i + 1);
	}
	for (uint32_t i = 0; i < CPUS; i++) {
		running -= ts->cpu[i].running != 0;
		bound -= ts->cpu[i].bound;
		open += ts->cpu[i].open;
	}
	ck_assert_uint_eq(running, 0);
	ck_assert_uint_eq(bound, 0);
	ck_assert_uint_eq(ts->ready, ready);
	ck_assert_uint_eq(ts->open_count, open);
}

static void check(void)
{
	pthread_mutex_lock(&in.tasks.lock);
	check_all();
	pthread_mutex_unlock(&in.tasks.lock);
}

/* ---- what tasks do ---- */

static int count_until_flag(struct apmp_task *task, void *arg)
{
	(void)task;
	while (!apmp_load_acquire(&flag))
		step((uint32_t)(uintptr_t)arg);
	return DONE_VALUE;
}

static int set_flag(struct apmp_task *task, void *arg)
{
	(void)task;
	(void)arg;
	apmp_store_release(&flag, 1);
	return 0;
}

static int block_signals(struct apmp_task *task, void *arg)
{
	sigset_t all;

	(void)task;
	(void)arg;
	sigfillset(&all);
	return pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static int spawn_blocked(struct apmp_task *task, void *arg)
{
	int err = block_signals(task, arg);

	if (!err)
		err = apmp_task_spawn(task, count_until_flag, arg);
	return err ? err : apmp_task_join(task);
}

/* As many steps as all do; whatever happens to it meanwhile. */
#define STEPS 20000u

static int count_steps(struct apmp_task *task, void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < STEPS; i++) {
		uint64_t seen = count[me];

		step(me);
		if (i % 512 == me)
			apmp_task_yield(task);
		if (count[me] <= seen)
			return 1;
	}
	return 0;
}

static int spawn_counters(struct apmp_task *task, void *arg)
{
	uintptr_t tasks = (uintptr_t)arg;

	for (uintptr_t i = 1; i <= tasks; i++)
		if (apmp_task_spawn(task, count_steps, (void *)i))
			return -1;
	return apmp_task_join(task);
}

/* ---- tests ---- */

START_TEST(test_all_are_run)
{
	come(0);
	begin(spawn_counters, 8);
	await_end();
	ck_assert_int_eq(job->value, 0);
	for (uint32_t i = 1; i <= 8; i++)
		ck_assert_uint_ge(count[i], STEPS);
	check();
}
END_TEST

START_TEST(test_none_runs_without_a_cpu)
{
	begin(count_until_flag, 0);
	begin(count_until_flag, 1);
	check();
	ck_assert_uint_eq(count[0], 0);
	come(1);
	await_count(0, 1000);
	ck_assert_uint_eq(count[1], 0); /* there is no clock, so it goes on */
	ck_assert_int_eq(leave(1), 0);
	count[0] = 0;
	come(2);
	await_count(1, 1000);
	ck_assert_uint_eq(count[0], 0);
	apmp_store_release(&flag, 1);
	await_end();
	ck_assert_int_eq(job->value, DONE_VALUE);
}
END_TEST

/* A thread serves task after task: what one does to its signals is not the next one's, nor that of
 * whom it has spawned. */
START_TEST(test_signals_that_another_blocked)
{
	come(0);
	begin(block_signals, 0);
	await_end();
	ck_assert_int_eq(job->value, 0);
	for (uint32_t i = 0; i < 2; i++) {
		*job = (struct task_job){.used = true, .output = -1, .name = "test"};
		apmp_store_release(&flag, 0);
		begin(i ? spawn_blocked : count_until_flag, 0);
		await_count(0, 1);
		ck_assert_int_eq(leave(0), 0);
		come(1);
		await_count(0, 1000);
		apmp_store_release(&flag, 1);
		await_end();
		ck_assert_int_eq(leave(1), 0);
		come(0);
	}
	ck_assert(in.tasks.task[1].has_thread && !in.tasks.task[2].has_thread);
}
END_TEST

static int count_deaf(struct apmp_task *task, void *arg)
{
	if (arg)
		(void)signal(SIGURG, SIG_IGN);
	else
		(void)block_signals(task, NULL);
	(void)count_until_flag(task, (void *)0);
	return (int)apmp_task_cpu(task);
}

/* The CPU leaves in any case; the task goes on without one until it wants something. */
START_TEST(test_one_that_blocks_the_interrupt)
{
	come(0);
	begin(count_deaf, 0);
	await_count(0, 1000);
	ck_assert_int_eq(leave(0), 0);
	check();
	ck_assert_int_eq(in.tasks.task[0].state, TASK_READY);
	await_count(0, 1000);
	apmp_store_release(&flag, 1);
	come(1);
	await_end();
	ck_assert_int_eq(job->value, 1);
	ck_assert_int_eq(leave(1), 0);
	check();
}
END_TEST

/* The same, but it gets another CPU before it has noticed. */
START_TEST(test_one_that_never_noticed)
{
	come(0);
	begin(count_deaf, 0);
	await_count(0, 1000);
	for (uint32_t i = 0; i < CPUS; i++) {
		come((i + 1) % CPUS);
		ck_assert_int_eq(leave(i), 0);
		check();
		ck_assert_uint_eq(in.tasks.task[0].baton, (i + 1) % CPUS + 1);
		await_count(0, 1000);
	}
	apmp_store_release(&flag, 1);
	await_end();
	ck_assert_int_eq(job->value, 0);
}
END_TEST

/* The handler is the instance's: the next one is interrupted, too. */
START_TEST(test_one_that_takes_the_signal)
{
	come(0);
	begin(count_deaf, 1);
	await_count(0, 1000);
	ck_assert_int_eq(leave(0), 0);
	ck_assert_uint_eq(in.tasks.task[0].baton, 0);
	come(0);
	await_count(0, 1000);
	start_clock();
	begin(set_flag, 0);
	await_end();
	stop_clock();
}
END_TEST

/* One that never yields, and one that waits for its turn behind it. */
START_TEST(test_preemption)
{
	start_clock();
	come(3);
	begin(count_until_flag, 0);
	await_count(0, 1);
	begin(set_flag, 0);
	await_end();
	stop_clock();
}
END_TEST

START_TEST(test_the_clock_waits_for_nobody)
{
	begin(count_until_flag, 0);
	come(0);
	begin(count_until_flag, 1);
	await_count(0, 1);
	pthread_mutex_lock(&in.tasks.lock);
	for (uint32_t i = 0; i < 2 * TASK_QUANTUM; i++)
		instance_tasks_tick(&in);
	pthread_mutex_unlock(&in.tasks.lock);
	await_count(1, 1);
	apmp_store_release(&flag, 1);
	await_end();
}
END_TEST

static int bind_to(struct apmp_task *task, void *arg)
{
	uint32_t to = (uint32_t)(uintptr_t)arg;

	if (apmp_task_bind(task, 3) != -ENODEV || apmp_task_bind(task, CPUS + 1000) != -ENODEV ||
	    apmp_task_bind(task, APMP_MAX_CPUS - 1) != -ENODEV)
		return 1;
	if (apmp_task_bind(task, to) || apmp_task_cpu(task) != to)
		return 2;
	(void)count_until_flag(task, (void *)0);
	if (apmp_task_cpu(task) != to || apmp_task_bind(task, APMP_TASK_ANY_CPU))
		return 3;
	return 0;
}

START_TEST(test_bound)
{
	come(0);
	come(1);
	begin(bind_to, 1);
	while (!instance_tasks_bound(&in, 1))
		(void)sched_yield();
	ck_assert_int_eq(leave(1), -ETXTBSY);
	ck_assert_int_eq(leave(0), 0);
	await_count(0, 1000);
	check();
	begin(count_until_flag, 1);
	ck_assert_uint_eq(count[1], 0);
	come(0); /* the one that is not bound */
	await_count(1, 1000);
	check();
	apmp_store_release(&flag, 1);
	await_end();
	ck_assert_int_eq(job->value, 0);
	ck_assert(!instance_tasks_bound(&in, 1));
	ck_assert_int_eq(leave(1), 0);
}
END_TEST

/* It waits for the CPU that it is bound to, also while others are idle. */
START_TEST(test_bound_waits)
{
	uint64_t number;

	ck_assert_int_eq(task_begin(&in, job, NULL, set_flag, NULL, 2 + 1, &number), -ENODEV);
	ck_assert_uint_eq(job->alive, 0);
	come(2);
	begin(count_until_flag, 0);
	ck_assert_int_eq(task_begin(&in, job, NULL, count_until_flag, (void *)1, 2 + 1, &number),
			 0);
	come(0);
	await_count(0, 1000);
	ck_assert_uint_eq(count[1], 0);
	check();
	start_clock();
	await_count(1, 1000); /* the other one has moved to CPU 0 */
	await_count(0, 1000);
	stop_clock();
	apmp_store_release(&flag, 1);
	await_end();
}
END_TEST

/* It leaves one child behind when arg is not 0, else waits for one that does and for another. */
static int leave_one(struct apmp_task *task, void *arg)
{
	if (arg)
		return apmp_task_spawn(task, count_until_flag, arg);
	(void)!apmp_task_spawn(task, count_until_flag, (void *)1);
	(void)!apmp_task_spawn(task, leave_one, (void *)2);
	return apmp_task_join(task);
}

/* Who ends before its child leaves the children of others alone: their parent waits for all. */
START_TEST(test_orphan)
{
	start_clock();
	come(0);
	begin(leave_one, 0);
	await_count(2, 1000);
	while (in.tasks.depth > 2) /* until who left it has ended */
		(void)sched_yield();
	apmp_store_release(&flag, 1);
	await_end();
	stop_clock();
	ck_assert_int_eq(job->value, 1); /* of its own two one has failed */
}
END_TEST

/* The CPU takes what stands behind it in the queue. */
START_TEST(test_one_behind_a_bound_one)
{
	uint64_t number;

	come(1);
	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(
		    task_begin(&in, job, NULL, count_until_flag, (void *)i, 1 + 1, &number), 0);
	begin(count_until_flag, 2);
	begin(count_until_flag, 3);
	for (uint32_t i = 2; i < 4; i++) {
		come(0);
		await_count(i, 1000);
		check();
		ck_assert_int_eq(leave(0), 0); /* and stands behind the other one */
		check();
	}
	ck_assert_uint_eq(count[1], 0);
	apmp_store_release(&flag, 1);
	await_end();
}
END_TEST

static int end_with(struct apmp_task *task, void *arg)
{
	apmp_task_exit(task, (int)(uintptr_t)arg);
}

static int family(struct apmp_task *task, void *arg)
{
	(void)arg;
	if (apmp_task_join(task)) /* nobody */
		return 1;
	if (apmp_task_spawn(task, end_with, (void *)3) || apmp_task_spawn(task, end_with, NULL) ||
	    apmp_task_spawn(task, end_with, (void *)4) || apmp_task_join(task) != 2)
		return 2;
	if (apmp_task_spawn(task, spawn_counters, (void *)3) || apmp_task_join(task))
		return 3;
	/* One that goes on when its parent has ended. */
	return apmp_task_spawn(task, count_until_flag, (void *)9) ? 4 : DONE_VALUE;
}

START_TEST(test_family)
{
	start_clock();
	come(0);
	come(1);
	begin(family, 0);
	await_count(9, 1000);
	while (!apmp_load_acquire(&job->ending)) /* its first task has ended */
		(void)sched_yield();
	check();
	apmp_store_release(&flag, 1);
	await_end();
	stop_clock();
	ck_assert_int_eq(job->value, DONE_VALUE);
}
END_TEST

static int asked(struct apmp_task *task, void *arg)
{
	(void)arg;
	apmp_store_release(&flag, 1);
	while (!apmp_task_should_end(task))
		step(0);
	return apmp_task_spawn(task, end_with, NULL) == -ECANCELED ? DONE_VALUE : 1;
}

START_TEST(test_asked_to_end)
{
	come(0);
	begin(asked, 0);
	while (!apmp_load_acquire(&flag))
		(void)sched_yield();
	task_job_end(&in, job);
	task_job_end(&in, job);
	await_end();
	ck_assert_int_eq(job->value, DONE_VALUE);
	ck_assert_uint_eq(in.tasks.ending, 0);
}
END_TEST

/* Its own instructions, as the loader finds them in a program. */
extern const char __start_task_text[], __stop_task_text[];

__attribute__((section("task_text"), noinline)) static int for_ever(struct apmp_task *task,
								    void *arg)
{
	(void)task;
	for (;;)
		step((uint32_t)(uintptr_t)arg);
	return 0;
}

/* One that does not listen, also while it waits for room in its output. */
static int write_for_ever(struct apmp_task *task, void *arg)
{
	static const char block[4096];

	(void)arg;
	while (!apmp_task_write(task, block, sizeof(block)))
		;
	return 0;
}

/* The thread sanitizer keeps signals back until a call, and while write(2) waits. */
#if defined(__SANITIZE_THREAD__)
#define MADE_TO_END 0
#else
#define MADE_TO_END 2
#endif

START_TEST(test_made_to_end)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	job->output = ends[1];
	job->text = (uintptr_t)__start_task_text;
	job->text_end = (uintptr_t)__stop_task_text;
	start_clock();
	come(0);
	begin(_i ? write_for_ever : for_ever, 0);
	if (_i)
		while (poll(&(struct pollfd){.fd = ends[1], .events = POLLOUT}, 1, 0))
			(void)sched_yield();
	else
		await_count(0, 1);
	task_job_end(&in, job);
	await_end();
	stop_clock();
	ck_assert_int_eq(job->value, TASK_VALUE_ENDED);
	ck_assert_uint_eq(job->grace, TASK_GRACE); /* and not before */
	close(ends[0]);
	close(ends[1]);
}
END_TEST

static int write_all(struct apmp_task *task, void *arg)
{
	(void)arg;
	if (apmp_task_print(task, "%s %d\n", "hello", 1))
		return 1;
	apmp_store_release(&flag, 1);
	return apmp_task_write(task, "x", 1);
}

START_TEST(test_write)
{
	char said[16] = "";
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	job->output = ends[1];
	come(0);
	begin(write_all, 0);
	await_end();
	ck_assert_int_eq(job->value, 0);
	ck_assert_int_eq(read(ends[0], said, sizeof(said) - 1), 9);
	ck_assert_str_eq(said, "hello 1\nx");
	close(ends[0]); /* nobody reads any more: an error, and no signal */
	*job = (struct task_job){.used = true, .output = ends[1]};
	begin(write_all, 0);
	await_end();
	ck_assert_int_eq(job->value, 1);
	close(ends[1]);
}
END_TEST

START_TEST(test_no_place_and_no_room)
{
	uint64_t number;
	uint32_t begun = 0;
	int err;

	in.stacks_size = _i ? STACKS : 2 * (3 * TASK_STACK_SIZE) + TASK_STACK_SIZE / 2;
	while (!(err = task_begin(&in, job, NULL, count_until_flag, (void *)(uintptr_t)begun, 0,
				  &number)))
		begun++;
	ck_assert_int_eq(err, _i ? -EAGAIN : -ENOMEM);
	ck_assert_uint_eq(begun, _i ? TASKS_MAX : 3);
	ck_assert_uint_eq(instance_tasks_depth(&in), begun);
	apmp_store_release(&flag, 1);
	come(0);
	await_end();
	/* There is room again, in the places of those that have ended. */
	*job = (struct task_job){.used = true, .output = -1};
	ck_assert_int_eq(leave(0), 0);
	for (uint32_t i = 0; i < begun; i++)
		begin(set_flag, 0);
	come(0);
	await_end();
	ck_assert_uint_eq(in.stacks_used, begun * TASK_STACK_SIZE);
}
END_TEST

START_TEST(test_what_is_below_a_stack)
{
	unsigned char *below, byte;

	come(0);
	begin(set_flag, 0);
	await_end();
	below = in.tasks.task[0].stack - APMP_INSTANCE_STACK_GAP;
	ck_assert_ptr_ne(in.tasks.task[0].stack, in.stacks);
	for (uint64_t off = 0; off < APMP_INSTANCE_STACK_GAP; off += APMP_INSTANCE_STACK_GAP / 8) {
		struct iovec from = {below + off, 1}, to = {&byte, 1};

		ck_assert_int_eq(process_vm_readv(getpid(), &to, 1, &from, 1, 0), -1);
		ck_assert_int_eq(errno, EFAULT);
	}
	/* Its memory is the partition's all the same. */
	in.tasks.task[0].stack[0] = 7;
	ck_assert_uint_eq(in.stacks[0], 7);
}
END_TEST

START_TEST(test_what_runs_where)
{
	struct instance_task_on on;

	ck_assert(!instance_tasks_on(&in, 0, &on));
	come(0);
	begin(count_until_flag, 0);
	ck_assert(instance_tasks_on(&in, 0, &on));
	ck_assert_uint_eq(on.number, 1);
	ck_assert_str_eq(on.name, "test");
	ck_assert_int_gt(on.tid, 0);
	ck_assert_int_ne(on.tid, gettid());
	apmp_store_release(&flag, 1);
	await_end();
	ck_assert(!instance_tasks_on(&in, 0, &on));
}
END_TEST

/* shows: CPU-15 */
START_TEST(test_comings_and_goings)
{
	bool here[CPUS] = {true};
	uint32_t here_count = 1, moves;

	srandom((unsigned)_i);
	start_clock();
	come(0);
	for (uintptr_t i = 0; i < 6; i++)
		begin(count_until_flag, i);
	for (moves = 0; moves < 1000; moves++) {
		uint32_t idx = (uint32_t)random() % CPUS;

		if (here[idx] && here_count == 1)
			continue;
		here[idx] = !here[idx];
		here_count += here[idx] ? 1 : -1u;
		if (here[idx])
			come(idx);
		else
			ck_assert_int_eq(leave(idx), 0);
		check();
	}
	ck_assert_uint_eq(instance_tasks_depth(&in), 6);
	for (uint32_t i = 0; i < 6; i++)
		await_count(i, 1); /* nobody is lost */
	for (uint32_t i = 0; i < CPUS; i++)
		if (here[i])
			ck_assert_int_eq(leave(i), 0);
	for (uint32_t i = 0; i < 6; i++)
		count[TASKS_MAX - 1 - i] = count[i];
	come(1); /* another one than those: it alone lets them go on */
	ck_assert_int_eq(leave(1), 0);
	apmp_store_release(&flag, 1);
	come(2);
	await_end();
	stop_clock();
}
END_TEST

/* Results are right whatever comes and goes meanwhile. */
START_TEST(test_results_under_migrations)
{
	uint32_t moves = 0;

	start_clock();
	come(0);
	begin(spawn_counters, 12);
	while (!apmp_load_acquire(&job->done)) {
		uint32_t idx = 1 + moves++ % (CPUS - 1);

		come(idx);
		ck_assert_int_eq(leave(idx), 0);
	}
	await_end();
	stop_clock();
	ck_assert_int_eq(job->value, 0);
	for (uint32_t i = 1; i <= 12; i++)
		ck_assert_uint_ge(count[i], STEPS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tasks");
	TCase *tc = suite_case(suite, "tasks");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_all_are_run);
	tcase_add_test(tc, test_none_runs_without_a_cpu);
	tcase_add_test(tc, test_signals_that_another_blocked);
	tcase_add_test(tc, test_one_that_blocks_the_interrupt);
	tcase_add_test(tc, test_one_that_never_noticed);
	tcase_add_test(tc, test_one_that_takes_the_signal);
	tcase_add_test(tc, test_preemption);
	tcase_add_test(tc, test_the_clock_waits_for_nobody);
	tcase_add_test(tc, test_bound);
	tcase_add_test(tc, test_bound_waits);
	tcase_add_test(tc, test_one_behind_a_bound_one);
	tcase_add_test(tc, test_orphan);
	tcase_add_test(tc, test_family);
	tcase_add_test(tc, test_asked_to_end);
	tcase_add_loop_test(tc, test_made_to_end, 0, MADE_TO_END);
	tcase_add_test(tc, test_write);
	tcase_add_loop_test(tc, test_no_place_and_no_room, 0, 2);
	tcase_add_test(tc, test_what_is_below_a_stack);
	tcase_add_test(tc, test_what_runs_where);
	tcase_add_loop_test(tc, test_comings_and_goings, 1, 3);
	tcase_add_test(tc, test_results_under_migrations);
	return suite_run(suite);
}
