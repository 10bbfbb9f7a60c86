/* Scheduling classes: what must not wait for programs that keep the host CPUs busy. */
#include "apmpd/urgent.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
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

static int make_urgent(pid_t tid)
{
	struct attributes attr = {.size = sizeof(attr),
				  .policy = SCHED_OTHER,
				  .flags = FLAG_RESET_ON_FORK,
				  .nice = NICE,
				  .runtime = SLICE_NS};

	return syscall(SYS_sched_setattr, tid, &attr, 0) < 0 ? -errno : 0;
}

int apmp_urgent_self(void)
{
	return make_urgent(0);
}

int apmp_urgent_thread(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
	return access(path, F_OK) < 0 ? -ESRCH : make_urgent(tid);
}
