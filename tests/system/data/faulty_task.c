/* faulty_task.c - a task for test_crash.py: its children keep all CPUs busy; then it stores to
 * where there is no memory ("store"), calls itself until its stack is used up ("deep"), aborts, or
 * keeps the lock of stderr ("hold").
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instance/task/apmp-task.h"

static volatile uint64_t count;

static int busy(struct apmp_task *task, void *arg)
{
	(void)arg;
	while (!apmp_task_should_end(task))
		count++;
	return 0;
}

static int deep(volatile char *above)
{
	volatile char here[512];

	here[0] = above[0];
	return deep(here) + here[0];
}

int apmp_task_main(struct apmp_task *task, int argc, char **argv)
{
	volatile int *volatile nowhere = (int *)(uintptr_t)16;
	char first = 0;

	for (uint32_t i = 1; i < apmp_task_cpu_count(task); i++)
		if (apmp_task_spawn(task, busy, NULL))
			return 1;
	for (int i = 0; i < 100; i++)
		apmp_task_yield(task);
	if (argc > 1 && strcmp(argv[1], "deep") == 0)
		return deep(&first);
	if (argc > 1 && strcmp(argv[1], "abort") == 0)
		abort();
	if (argc > 1 && strcmp(argv[1], "hold") == 0) {
		flockfile(stderr);
		(void)apmp_task_print(task, "held\n");
		return busy(task, NULL);
	}
	*nowhere = 1;
	return 0;
}
