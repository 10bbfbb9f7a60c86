/* Scheduling classes: what must not wait for programs that keep the host CPUs busy.
 *
 * The watch over death beacons and the clocks of instances have SCHED_FIFO where that can be had
 * (shm/wire/box.h has the priorities).  The CPUs of instances, box and console only react to
 * something, for microseconds at a time, but how often that is, others decide: these are normal
 * threads with a short slice, which Linux 6.12 and later lets run as soon as they wake up, and a
 * better nice value for older ones.  Each thread sees to that itself: by the number of one, which
 * may have ended, another's could be meant. */
#ifndef APMP_SHM_URGENT_H
#define APMP_SHM_URGENT_H

/* SCHED_FIFO for the calling thread; what it starts is as everything else.  -EPERM. */
int apmp_urgent_fifo(int priority);

/* The calling thread is to run when it wakes up; what it starts is as everything else.  Refused, it
 * is as good as the host is.  -EPERM. */
int apmp_urgent_self(void);

/* From now on the threads of this process may do so, also as another user.  -EPERM. */
int apmp_urgent_allow(void);

#endif
