/* Scheduling classes: what must not wait for programs that keep the host CPUs busy.
 *
 * The watch over death beacons and the clocks of instances have SCHED_FIFO where that can be had
 * (shm/wire/box.h has the priorities).  The CPUs of instances, box and console only react to
 * something, for microseconds at a time, but how often that is, others decide: these are normal
 * threads with a short slice, which Linux 6.12 and later lets run as soon as they wake up, and a
 * better nice value for older ones. */
#ifndef APMPD_URGENT_H
#define APMPD_URGENT_H

#include <sys/types.h>

/* SCHED_FIFO for the calling thread; what it starts is as everything else.  -EPERM. */
int apmp_urgent_fifo(int priority);

/* The calling thread is to run when it wakes up; what it starts is as everything else.  Refused, it
 * is as good as the host is.  -EPERM. */
int apmp_urgent_self(void);

/* The same for a thread that says itself that it is one of this process, which is not reaped: it is
 * looked up.  -ESRCH: it is none; -EPERM. */
__attribute__((warn_unused_result)) int apmp_urgent_thread(pid_t pid, pid_t tid);

#endif
