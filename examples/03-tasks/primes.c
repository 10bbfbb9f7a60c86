/*
 * primes.c - counts the primes below a number, with as many tasks as there are CPUs at its
 * beginning or as it is told: they take chunks off one counter, so those that have a CPU do the
 * work of those that have none.
 */
#include <apmp-task.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK	   4096u
#define TASKS_MOST 32u
#define LIMIT_MOST 100000000u

static uint32_t limit;
static _Atomic uint32_t next;	   /* chunk to be taken */
static _Atomic uint32_t found;	   /* primes so far */
static _Atomic uint64_t cpus_used; /* one bit for each of the first 64 */

static int is_prime(uint32_t n)
{
	if (n < 2 || n % 2 == 0)
		return n == 2;
	for (uint32_t d = 3; d <= n / d; d += 2)
		if (n % d == 0)
			return 0;
	return 1;
}

static int count(struct apmp_task *task, void *arg)
{
	uint32_t begin;

	(void)arg;
	while ((begin = atomic_fetch_add(&next, CHUNK)) < limit) {
		uint32_t end = limit - begin < CHUNK ? limit : begin + CHUNK;

		for (uint32_t n = begin; n < end; n++)
			found += (uint32_t)is_prime(n);
		cpus_used |= UINT64_C(1) << apmp_task_cpu(task) % 64;
		if (apmp_task_should_end(task))
			return 1;
	}
	return 0;
}

int apmp_task_main(struct apmp_task *task, int argc, char **argv)
{
	uint32_t tasks = argc > 2 ? (uint32_t)atoi(argv[2]) : apmp_task_cpu_count(task);

	limit = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	if (tasks < 1 || tasks > TASKS_MOST || limit > LIMIT_MOST) {
		apmp_task_print(task, "usage: primes.so [LIMIT [TASKS]]: below %u, with up to %u\n",
				LIMIT_MOST, TASKS_MOST);
		return 2;
	}
	for (uint32_t i = 1; i < tasks; i++)
		if (apmp_task_spawn(task, count, NULL))
			break; /* the others do its work */
	if (count(task, NULL) || apmp_task_join(task))
		return 1;
	apmp_task_print(task, "%u primes below %u\n", found, limit);
	return 0;
}
