/* A folder of one machine that one process at a time holds: the run directory (rundir.h), the state
 * directory (state_dir.h).  It is ours, 0700, no symbolic link, in a base folder that is the same,
 * and has a file
 *
 *   pid       "PID STARTTIME\n" of the holder, which keeps an open file description write lock on
 *             it for its life: who can lock it knows that the holder is dead
 */
#ifndef APMPD_FOLDER_H
#define APMPD_FOLDER_H

#include "shm/name.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define APMP_FOLDER_MAGIC 0x61466f6cu

struct apmp_folder {
	uint32_t magic;
	int dir_fd;
	int pid_fd;	     /* holds the lock */
	char path[PATH_MAX]; /* absolute */
	char machine[APMP_NAME_SIZE];
};

struct apmp_folder_kind {
	const char *variable; /* of the environment, by which a person puts it elsewhere */
	/* Makes and opens the folder that holds those of all machines of this user.  ret_path is
	 * its path, ret_error (for every error) a sentence.  -ESTALE: it was just removed. */
	int (*open_base)(char *ret_path, size_t path_size, char *ret_error, size_t error_size,
			 int *ret_fd);
};

/* Makes and locks the folder of a machine, and writes its pid file.  While somebody cleans up after
 * a dead box of this name, it waits for that (at most APMP_FOLDER_WAIT_MS).
 *
 * ret_error: one sentence with what stood in the way (for every error).
 * ret_holder: with -EBUSY the process id of the living holder (0: not known).  May be NULL.
 *
 * -EINVAL: not a machine name; -EBUSY: a box of this name is alive, or what it left is still being
 * removed; -EPERM: a folder belongs to somebody else or lets others in; -ENOTDIR, -ELOOP: is no
 * folder; -ENAMETOOLONG; -errno. */
__attribute__((warn_unused_result)) int apmp_folder_open(const struct apmp_folder_kind *kind,
							 const char *machine,
							 struct apmp_folder *ret, char *ret_error,
							 size_t error_size, pid_t *ret_holder);

/* Long enough for killing whatever can be killed; in other words "it hangs". */
#define APMP_FOLDER_WAIT_MS 5000

/* Locks the folder of a dead box in order to clean it: makes nothing, writes nothing.  path is
 * absolute; checked like above.  Another cleaner is waited for at most wait_ms.  Errors and
 * ret_error like above, and -ENOENT: there is none. */
__attribute__((warn_unused_result)) int apmp_folder_seize(const struct apmp_folder_kind *kind,
							  const char *path, int wait_ms,
							  struct apmp_folder *ret, char *ret_error,
							  size_t error_size);

/* The calling process, which inherited the lock, names itself as the holder.  -errno. */
__attribute__((warn_unused_result)) int apmp_folder_take_over(const struct apmp_folder *folder);

/* Lets go of the lock (unless a fork holds it as well); removes nothing. */
void apmp_folder_close(struct apmp_folder *folder);

/* Removes all that is in it but the pid file, while the lock is held.  -errno. */
__attribute__((warn_unused_result)) int apmp_folder_empty(struct apmp_folder *folder);

/* Removes the pid file, and the folder if there is nothing else in it, while the lock is held; then
 * close.  -errno. */
__attribute__((warn_unused_result)) int apmp_folder_remove(struct apmp_folder *folder);

/* Process id of the living box that is named in the pid file of an open folder, else 0. */
pid_t apmp_folder_holder(int dir_fd);

/* For open_base(): the folder above the base may be somebody else's only if that is root, and let
 * `others` (bits of a mode) write only if it is sticky.  -EPERM; -errno. */
__attribute__((warn_unused_result)) int apmp_folder_check_parent(int fd, const char *path,
								 const char *variable,
								 mode_t others, char *ret_error,
								 size_t error_size);

/* For open_base(): opens (and makes, if wanted) a folder of ours in the folder `at`.
 * -ESTALE: made, or `at` itself, and removed by the last machine's end meanwhile; -EPERM: it is
 * not private; -ENOTDIR, -ELOOP: is no folder; -errno. */
__attribute__((warn_unused_result)) int
apmp_folder_open_ours(int at, const char *name, const char *path, const char *variable, bool make,
		      char *ret_error, size_t error_size, int *ret_fd);

#endif
