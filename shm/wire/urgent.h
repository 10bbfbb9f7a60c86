/* Scheduling classes: what must not wait for programs that keep the host CPUs busy.
 *
 * The watch over death beacons and the clocks of instances have SCHED_FIFO where that can be had
 * (shm/wire/box.h has the priorities).  The CPUs of instances, box and console only react to
 * something, for microseconds at a time, but how often that is, others decide: these are normal
 * threads with a short slice, which Linux 6.12 and later lets run as soon as they wake up, and a
 * better nice value for older ones.  They are made with that, and what is made beside them gives
 * it up by itself: the number of a thread may be another's when somebody else sets something for
 * it. */
#ifndef APMP_SHM_URGENT_H
#define APMP_SHM_URGENT_H

#include <stdbool.h>
#include <sys/types.h>

/* SCHED_FIFO for the calling thread (pid 0), or the first thread of a process that is not reaped;
 * what it starts is as everything else.  -EPERM; -ESRCH. */
int apmp_urgent_fifo(pid_t pid, int priority);

/* The calling thread is to run when it wakes up; what it starts is too (hand_on), or is as
 * everything else.  Refused, it is as good as the host is.  -EPERM. */
int apmp_urgent_self(bool hand_on);

/* The calling thread is as everything else, and what it starts. */
void apmp_urgent_no_more(void);

#endif
