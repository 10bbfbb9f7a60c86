/* Scheduling classes: what must not wait for programs that keep the host CPUs busy. */
#include "shm/wire/urgent.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's (linux/sched/types.h can't be included beside sched.h). */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

#define FLAG_RESET_ON_FORK 1

/* The shortest that the kernel takes. */
#define SLICE_NS 100000
#define NICE	 (-10)

int apmp_urgent_fifo(int priority)
{
	struct sched_param param = {.sched_priority = priority};

	return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) < 0 ? -errno : 0;
}

int apmp_urgent_self(void)
{
	struct attributes attr = {.size = sizeof(attr),
				  .policy = SCHED_OTHER,
				  .flags = FLAG_RESET_ON_FORK,
				  .nice = NICE,
				  .runtime = SLICE_NS};

	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 ? -errno : 0;
}

int apmp_urgent_allow(void)
{
	struct rlimit most = {20 - NICE, 20 - NICE}; /* as RLIMIT_NICE has it */

	return setrlimit(RLIMIT_NICE, &most) < 0 ? -errno : 0;
}
