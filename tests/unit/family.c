/* family.c - processes with threads, and the host CPUs that they are on. */
#include "tests/unit/family.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

cpu_set_t host_cpus(int *ret_first, int *ret_second)
{
	cpu_set_t all;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	*ret_first = *ret_second = -1;
	for (int cpu = 0; cpu < CPU_SETSIZE && *ret_second < 0; cpu++)
		if (CPU_ISSET(cpu, &all)) {
			if (*ret_first < 0)
				*ret_first = cpu;
			else
				*ret_second = cpu;
		}
	return all;
}

cpu_set_t only(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return set;
}

void assert_mask(pid_t tid, const cpu_set_t *wanted)
{
	char has[APMP_CPUSET_TEXT_SIZE], should[APMP_CPUSET_TEXT_SIZE];
	cpu_set_t mask;

	ck_assert_int_eq(sched_getaffinity(tid, sizeof(mask), &mask), 0);
	ck_assert_int_eq(apmp_cpuset_format(&mask, has, sizeof(has)), 0);
	ck_assert_int_eq(apmp_cpuset_format(wanted, should, sizeof(should)), 0);
	ck_assert_str_eq(has, should);
}

void assert_partition(struct apmp_cpuset *set, const char *name, const cpu_set_t *wanted)
{
	cpu_set_t has;

	ck_assert_int_eq(apmp_cpuset_partition_get(set, name, &has), 0);
	ck_assert(CPU_EQUAL(&has, wanted));
}

static void *wait_forever(void *argument)
{
	int *wires = argument;
	pid_t ids[2] = {getpid(), (pid_t)syscall(SYS_gettid)};
	char c;

	if (write(wires[1], ids, sizeof(ids)) != sizeof(ids) || read(wires[2], &c, 1) < 0)
		_exit(1);
	_exit(0);
}

struct family family_make(int children)
{
	struct family family = {.count = children + 1};
	int report[2], hold[2], wires[3];
	pthread_t thread;

	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
	family.first = fork();
	ck_assert_int_ge(family.first, 0);
	if (family.first == 0) {
		close(hold[1]);
		wires[1] = report[1];
		wires[2] = hold[0];
		for (int i = 0; i < children; i++)
			if (fork() == 0)
				break;
		pthread_create(&thread, NULL, wait_forever, wires);
		pthread_join(thread, NULL);
	}
	close(report[1]);
	close(hold[0]);
	family.hold = hold[1];
	for (int i = 0; i < family.count; i++) {
		pid_t ids[2];

		ck_assert_int_eq(read(report[0], ids, sizeof(ids)), sizeof(ids));
		family.members[i] = ids[0];
		family.threads[i] = ids[1];
	}
	close(report[0]);
	return family;
}

void family_assert(const struct family *family, const cpu_set_t *wanted)
{
	for (int i = 0; i < family->count; i++) {
		assert_mask(family->members[i], wanted);
		assert_mask(family->threads[i], wanted);
	}
}

void family_end(struct family *family)
{
	close(family->hold);
	ck_assert_int_eq(waitpid(family->first, NULL, 0), family->first);
}
