/* The run directory of a machine: $XDG_RUNTIME_DIR/apmp/MACHINE/, else /tmp/apmp-UID/MACHINE/.
 *
 *   pid       "PID STARTTIME\n" of the box, which holds an open-file-description write lock on it
 *             for its life: who can lock it knows that the box is dead
 *   control   the listening socket (Varlink)
 *   cgroup    path of the machine's cpuset group, where there is one
 *   uids      first of the uids of its partitions, where they have some
 *   ...       logs and whatever the box puts there
 */
#ifndef APMPD_RUNDIR_H
#define APMPD_RUNDIR_H

#include "shm/name.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define APMP_RUNDIR_MAGIC 0x61526e44u

struct apmp_rundir {
	uint32_t magic;
	int dir_fd;
	int pid_fd;	     /* holds the lock */
	char path[PATH_MAX]; /* absolute */
	char machine[APMP_NAME_SIZE];
};

/* The folder that holds all machines of this user.  Creates nothing.
 * -ENAMETOOLONG; -EINVAL: XDG_RUNTIME_DIR is not absolute. */
__attribute__((warn_unused_result)) int apmp_rundir_base(char *ret_path, size_t path_size);

/* Makes and locks the run directory, and writes its pid file.  Every folder on the way that is
 * ours is 0700, owned by us and no symbolic link, or is refused.  While somebody cleans up after a
 * dead box of this name, it waits for that (at most APMP_RUNDIR_WAIT_MS).
 *
 * ret_error: one sentence with what stood in the way (for every error).
 * ret_holder: with -EBUSY the process id of the living box (0: not known).  May be NULL.
 *
 * -EINVAL: not a machine name; -EBUSY: a box of this name is alive, or what it left is still being
 * removed; -EPERM: a folder belongs to somebody else or lets others in; -ENOTDIR, -ELOOP: is no
 * folder; -ENAMETOOLONG; -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_open(const char *machine,
							 struct apmp_rundir *ret, char *ret_error,
							 size_t error_size, pid_t *ret_holder);

/* Long enough for killing whatever can be killed; in other words "it hangs". */
#define APMP_RUNDIR_WAIT_MS 5000

/* Locks the run directory of a dead box in order to clean it: makes nothing, writes nothing.
 * path is absolute; checked like above.  Another cleaner is waited for at most wait_ms.
 * Errors and ret_error like above, and -ENOENT: there is no such directory. */
__attribute__((warn_unused_result)) int apmp_rundir_seize(const char *path, int wait_ms,
							  struct apmp_rundir *ret, char *ret_error,
							  size_t error_size);

/* Lets go of the lock; removes nothing. */
void apmp_rundir_close(struct apmp_rundir *rundir);

/* Removes the directory with everything in it, while the lock is held; then close.  -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_remove(struct apmp_rundir *rundir);

/* Whether a box of this name is alive: 1 and its process id, else 0 (also: no such directory).
 * -errno: can't be told. */
__attribute__((warn_unused_result)) int apmp_rundir_alive(const char *machine, pid_t *ret_pid);

/* Makes the listening socket `control`, mode 0600, close-on-exec, non-blocking.  It is bound
 * through /proc/self/fd, so the length of the path does not matter here (a client with a longer
 * path than sun_path has must come the same way).  A socket of a dead box is replaced.
 * -errno of socket(), bind(), listen(). */
__attribute__((warn_unused_result)) int apmp_rundir_listen(const struct apmp_rundir *rundir,
							   int *ret_fd);

/* Writes a small file anew and renames it into place (no fsync: a run directory does not outlive
 * the host).  -EINVAL: name is empty, too long or has a slash; -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_write(const struct apmp_rundir *rundir,
							  const char *name, const char *text);

/* Reads such a file, without its final newline.  -ENOENT; -ENAMETOOLONG: text_size is too small;
 * -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_read(const struct apmp_rundir *rundir,
							 const char *name, char *ret_text,
							 size_t text_size);

/* RUNDIR/name as a path.  -ENAMETOOLONG. */
__attribute__((warn_unused_result)) int apmp_rundir_path(const struct apmp_rundir *rundir,
							 const char *name, char *ret_path,
							 size_t path_size);

#endif
