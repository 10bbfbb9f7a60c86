/* Scheduling classes: what must not wait for programs that keep the host CPUs busy. */
#include "shm/wire/urgent.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
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

int apmp_urgent_fifo(pid_t pid, int priority)
{
	struct sched_param param = {.sched_priority = priority};

	return sched_setscheduler(pid, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) < 0 ? -errno : 0;
}

static int set(int nice, uint64_t slice_ns, uint64_t flags)
{
	struct attributes attr = {.size = sizeof(attr),
				  .policy = SCHED_OTHER,
				  .flags = flags,
				  .nice = nice,
				  .runtime = slice_ns};

	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 ? -errno : 0;
}

int apmp_urgent_self(bool hand_on)
{
	return set(NICE, SLICE_NS, hand_on ? 0 : FLAG_RESET_ON_FORK);
}

void apmp_urgent_no_more(void)
{
	(void)!set(0, 0, 0); /* to have less is allowed to everybody */
}
