/*
 * spin.c - a steady load: each task does as much work as its CPU lets it, and once a second the
 * program prints how much that was.
 */
#include <apmp-task.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define TASKS_MOST 32u

static _Atomic uint64_t work; /* in thousands of steps */

/* Never yields: what takes its CPU is the end of its quantum. */
static void spin_a_little(void)
{
	volatile uint32_t x = 1;

	for (int i = 0; i < 1000; i++)
		x = x * 1103515245u + 12345u;
	work++;
}

static int spin(struct apmp_task *task, void *arg)
{
	(void)arg;
	while (!apmp_task_should_end(task))
		spin_a_little();
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Spins too, and looks at the clock now and then. */
static int spin_and_print(struct apmp_task *task)
{
	double before = now();

	while (!apmp_task_should_end(task)) {
		double seconds = now() - before;

		spin_a_little();
		if (seconds < 1)
			continue;
		if (apmp_task_print(task, "%.0f thousand steps per second on %u CPUs\n",
				    (double)atomic_exchange(&work, 0) / seconds,
				    apmp_task_cpu_count(task)))
			return 1;
		before = now();
	}
	return 0;
}

int apmp_task_main(struct apmp_task *task, int argc, char **argv)
{
	int tasks = argc > 1 ? atoi(argv[1]) : (int)apmp_task_cpu_count(task);

	if (tasks < 1 || tasks > (int)TASKS_MOST) {
		apmp_task_print(task, "usage: spin.so [TASKS]: up to %u\n", TASKS_MOST);
		return 2;
	}
	for (int i = 1; i < tasks; i++)
		if (apmp_task_spawn(task, spin, NULL))
			return 1;
	return spin_and_print(task);
}
