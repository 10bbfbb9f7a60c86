/* Scheduling classes: what must not wait for programs that keep the host CPUs busy.
 *
 * Where SCHED_FIFO can be had (shm/wire/box.h has the priorities), each is above the next: the
 * watch over death beacons, the clocks of instances, their CPUs with box and console; then
 * everything else, programs and tasks among it.  All of them only react to something, for
 * microseconds. */
#ifndef APMPD_URGENT_H
#define APMPD_URGENT_H

#include <stdbool.h>
#include <sys/types.h>

/* The calling thread; what it starts is as everything else.  priority 0: it is so again.
 * -EPERM. */
int apmp_urgent_self(int priority);

/* A thread that says itself that it is one of this process, which is not reaped: it is looked up.
 * -ESRCH: it is none; -EPERM. */
__attribute__((warn_unused_result)) int apmp_urgent_thread(pid_t pid, pid_t tid, int priority);

#endif
