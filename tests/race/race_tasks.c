/* race_tasks.c - tasks that end at once are begun from several sides: the number that who begins
 * one gets is that of his own, though its place is soon another's. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "instance/instance.h"
#include "shm/intr.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define CPUS   2u
#define ROUNDS 3000u
#define STACKS (2 * TASKS_MAX * TASK_STACK_SIZE)

static struct instance in;
static struct apmp_intr_line line[CPUS];
static struct task_job *job = &in.tasks.job[0];
static _Atomic uint32_t over;

/* What the rest of the instance does for tasks. */
void instance_thread_is(uint32_t thread)
{
	(void)thread;
}

void instance_beacon(struct instance *instance, uint32_t idx)
{
	(void)instance;
	(void)idx;
}

__attribute__((noreturn)) void instance_crash_wait(struct instance *instance)
{
	(void)instance;
	abort(); /* nothing fails here */
}

/* The last task has ended. */
void instance_apps_ring(struct instance *instance)
{
	apmp_store_release(&over, 1);
	for (uint32_t i = 0; i < CPUS; i++)
		apmp_intr_send(&instance->env, i, APMP_INTR_WORK);
}

static void setup(void)
{
	in.env = (struct apmp_env){.now = apmp_linux_now,
				   .wait = apmp_linux_wait,
				   .wake = apmp_linux_wake,
				   .lines = line,
				   .line_count = CPUS};
	in.timing.tick_ns = 1000000;
	in.hwrpb = calloc(1, sizeof(*in.hwrpb));
	in.stacks = mmap(NULL, STACKS, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	in.recorder = calloc(1, sizeof(*in.recorder));
	ck_assert(in.hwrpb && in.recorder && in.stacks != MAP_FAILED);
	in.stacks_size = STACKS;
	apmp_store_relaxed(&in.hwrpb->cpu_count, CPUS);
	tasks_init(&in);
	*job = (struct task_job){.used = true, .output = -1, .name = "race"};
}

static int say_number(struct apmp_task *task, void *arg)
{
	apmp_store_release((_Atomic uint64_t *)arg, task->number);
	return 0;
}

static int end_at_once(struct apmp_task *task, void *arg)
{
	(void)task;
	(void)arg;
	return 0;
}

static int spawn_until_asked(struct apmp_task *task, void *arg)
{
	while (!apmp_task_should_end(task))
		if (apmp_task_spawn(task, end_at_once, arg)) /* all places are in use */
			(void)apmp_task_join(task);
	return apmp_task_join(task);
}

static uint64_t begin(apmp_task_function *function, void *arg)
{
	uint64_t number = 0;
	int err;

	do
		err = task_begin(&in, job, NULL, function, arg, 0, &number);
	while (err == -EAGAIN);
	ck_assert_int_eq(err, 0);
	return number;
}

/* The thread of programs. */
static void programs(void)
{
	(void)begin(spawn_until_asked, NULL);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		_Atomic uint64_t said = 0;
		uint64_t number = begin(say_number, (void *)(uintptr_t)&said);

		while (!apmp_load_acquire(&said))
			(void)sched_yield();
		ck_assert_uint_eq(number, apmp_load_relaxed(&said));
	}
	task_job_end(&in, job);
}

static void cpu_or_programs(uint32_t idx)
{
	if (idx == CPUS) {
		programs();
		return;
	}
	while (!apmp_load_acquire(&over))
		(void)instance_tasks_wait(&in, idx);
}

START_TEST(numbers_of_the_short_lived)
{
	threads_run(CPUS + 1, cpu_or_programs);
	ck_assert_uint_eq(instance_tasks_depth(&in), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race of tasks");
	TCase *tcase = suite_case(suite, "tasks");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, numbers_of_the_short_lived);
	return suite_run(suite);
}
