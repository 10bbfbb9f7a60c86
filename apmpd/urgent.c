/* Scheduling classes: what must not wait for programs that keep the host CPUs busy. */
#include "apmpd/urgent.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static int set(pid_t tid, int priority)
{
	struct sched_param param = {.sched_priority = priority};
	int policy = priority ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER;

	return sched_setscheduler(tid, policy, &param) < 0 ? -errno : 0;
}

int apmp_urgent_self(int priority)
{
	return set(0, priority);
}

int apmp_urgent_thread(pid_t pid, pid_t tid, int priority)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
	return access(path, F_OK) < 0 ? -ESRCH : set(tid, priority);
}
