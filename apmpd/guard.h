/* The guard: waits for the end of the box and kills everything the box has started. */
#ifndef APMPD_GUARD_H
#define APMPD_GUARD_H

#include <sys/types.h>

#define APMP_GUARD_NAME "apmp-guard"

/* Forks the guard; to be called first of all: before any thread, libuv loop or child.
 *
 * machine   its name
 * rundir    its run directory (absolute path), which the guard removes in the end
 * mark      what stands in the environment of everything the box starts, after "APMP_BOX="
 *           (apmp_mark_make())
 * ret_fd    the box's end of the pipe, close-on-exec; keep it open for the life of the box
 * ret_pid   the guard, a child of the box
 *
 * The guard is in a session of its own, ignores the terminal's signals, is called APMP_GUARD_NAME,
 * and holds nothing but its end of the pipe and the run directory (by which a cleaner knows whose
 * guard it is: see leftover.c).
 *
 * If it dies, the box's end of the pipe reports POLLERR.
 *
 * -EMFILE, -ENFILE: no descriptor; -EAGAIN, -ENOMEM: no process; -ECHILD:
 * the guard ended at once. */
__attribute__((warn_unused_result)) int apmp_guard_start(const char *machine, const char *rundir,
							 const char *mark, int *ret_fd,
							 pid_t *ret_pid);

/* Orderly power off: the box has cleaned up itself.  Ends the guard, also one that somebody has
 * stopped, closes fd, and reaps it (libuv leaves children alone that it did not start).
 * -ECHILD: it can't be waited for: it was reaped already. */
__attribute__((warn_unused_result)) int apmp_guard_dismiss(int fd, pid_t pid);

#endif
