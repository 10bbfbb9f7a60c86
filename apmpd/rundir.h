/* The run directory of a machine: $XDG_RUNTIME_DIR/apmp/MACHINE/, else /tmp/apmp-UID/MACHINE/.
 *
 *   pid       the box, which holds a lock on it (folder.h)
 *   control   the listening socket (Varlink)
 *   cgroup    path of the machine's cpuset group, where there is one
 *   bare      there is no console yet, and whoever connects would make one
 *   uids      first of the uids of its partitions, where they have some
 *   ...       logs and whatever the box puts there
 */
#ifndef APMPD_RUNDIR_H
#define APMPD_RUNDIR_H

#include "apmpd/folder.h"

/* The folder that holds all machines of this user.  Creates nothing.
 * -ENAMETOOLONG; -EINVAL: XDG_RUNTIME_DIR is not absolute. */
__attribute__((warn_unused_result)) int apmp_rundir_base(char *ret_path, size_t path_size);

/* Makes and locks the run directory, and writes its pid file.  Errors and outputs are those of
 * apmp_folder_open(). */
__attribute__((warn_unused_result)) int apmp_rundir_open(const char *machine,
							 struct apmp_folder *ret, char *ret_error,
							 size_t error_size, pid_t *ret_holder);

/* Locks the run directory of a dead box in order to clean it.  Errors and outputs are those of
 * apmp_folder_seize(). */
__attribute__((warn_unused_result)) int apmp_rundir_seize(const char *path, int wait_ms,
							  struct apmp_folder *ret, char *ret_error,
							  size_t error_size);

/* Lets go of the lock; removes nothing. */
void apmp_rundir_close(struct apmp_folder *rundir);

/* Removes the directory with everything in it, while the lock is held; then close.  -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_remove(struct apmp_folder *rundir);

/* Whether a box of this name is alive: 1 and its process id, else 0 (also: no such directory).
 * -errno: can't be told. */
__attribute__((warn_unused_result)) int apmp_rundir_alive(const char *machine, pid_t *ret_pid);

/* Makes the listening socket `control`, mode 0600, close-on-exec, non-blocking.  It is bound
 * through /proc/self/fd, so the length of the path does not matter here (a client with a longer
 * path than sun_path has must come the same way).  A socket of a dead box is replaced.
 * -errno of socket(), bind(), listen(). */
__attribute__((warn_unused_result)) int apmp_rundir_listen(const struct apmp_folder *rundir,
							   int *ret_fd);

/* Writes a small file anew and renames it into place (no fsync: a run directory does not outlive
 * the host).  -EINVAL: name is empty, too long or has a slash; -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_write(const struct apmp_folder *rundir,
							  const char *name, const char *text);

/* Reads such a file, without its final newline.  -ENOENT; -ENAMETOOLONG: text_size is too small;
 * -errno. */
__attribute__((warn_unused_result)) int apmp_rundir_read(const struct apmp_folder *rundir,
							 const char *name, char *ret_text,
							 size_t text_size);

/* RUNDIR/name as a path.  -ENAMETOOLONG. */
__attribute__((warn_unused_result)) int apmp_rundir_path(const struct apmp_folder *rundir,
							 const char *name, char *ret_path,
							 size_t path_size);

#endif
