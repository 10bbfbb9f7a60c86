/* Whether processes run user code any more, by the kernel's own word. */
#ifndef APMPD_EXITING_H
#define APMPD_EXITING_H

#include <stdbool.h>
#include <sys/types.h>

/* The task has passed the start of its end: what its death beacon says is true. */
bool apmp_exiting_begun(pid_t pid, pid_t tid);

/* The task has passed the start of its end and has no address space any more, so that neither it
 * nor the kernel on its behalf writes there; or it is gone.  A task that can't be looked at counts
 * as running.  tid is a thread of the process pid. */
bool apmp_exiting_task(pid_t pid, pid_t tid);

/* 1: every task of the process is like that.  It need not have been killed before: threads that
 * appear while this is being found out are found too.  0: it runs, or can't be looked at.
 * -ESRCH: there is no such process to be seen. */
__attribute__((warn_unused_result)) int apmp_exiting_process(pid_t pid);

/* The first thread of an instance that is ending, and is not reaped, gives way to all others: what
 * is left to do for it, the teardown of its address space, would else run in the class of the
 * thread that ended last, which may be a clock's and then keeps every other clock from a host CPU
 * for that long.  Best effort. */
void apmp_exiting_first_gives_way(pid_t pid);
/* Every thread of it, and what it has started. */
void apmp_exiting_gives_way(pid_t pid);
/* It runs like any other again: what it gave way to is done, and on a busy host it would not
 * end. */
void apmp_exiting_takes_turns(pid_t pid);

#endif
