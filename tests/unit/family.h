/* family.h - processes with threads, and the host CPUs that they are on. */
#ifndef APMP_TESTS_FAMILY_H
#define APMP_TESTS_FAMILY_H

#include <sched.h>
#include <sys/types.h>

#include "apmpd/cpuset.h"

/* The first two host CPUs that are ours; the second one is -1 if there is just one. */
cpu_set_t host_cpus(int *ret_first, int *ret_second);
cpu_set_t only(int cpu);
void assert_mask(pid_t tid, const cpu_set_t *wanted);
/* What the partition has by the back end's word. */
void assert_partition(struct apmp_cpuset *set, const char *name, const cpu_set_t *wanted);

/* A child that makes `children` children and a thread in each process; returns when all of them
 * are there.  They end when killed, or with us. */
struct family {
	pid_t first;
	pid_t members[8];
	pid_t threads[8];
	int count;
	int hold;
};

struct family family_make(int children);
void family_assert(const struct family *family, const cpu_set_t *wanted);
void family_end(struct family *family);

#endif
