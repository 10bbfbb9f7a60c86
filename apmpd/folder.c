/* A folder of one machine, held by one process at a time.
 *
 * WHAT     One folder for each machine of a user, in a base folder of them all.  Its pid file is
 *          locked with an open file description lock, which the kernel lets go when the holder
 *          ends, however it ends.  So "is it alive?" is asked of the kernel; the number in the file
 *          only names the holder.
 * STATES   absent -> made -> locked (a box lives, or somebody cleans) -> unlocked (dead)
 *          -> locked by the cleaner -> absent.  Only the holder of the lock changes anything.
 * CRASHES  Between making the folder and writing the pid file: a folder of a dead machine, taken
 *          over or cleaned by the next one.  While removing: the pid file goes last, so whatever
 *          is left can still be locked and cleaned.
 * ORDERING Who gets the lock may hold it on a file that its last holder removed meanwhile; the
 *          file is looked up once more under the lock, and the attempt made anew if it differs.
 * LIMITS   Others of the same uid can remove the folder under a living box.
 */
#include "apmpd/folder.h"

#include "apmpd/process_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define DEPTH_MAX  8
#define LOOK_AGAIN 10 /* ms: how soon a new box notices that the cleaning is done */

/* Whether nobody else can put something into this folder, or rename what is in it. */
static int check_private(int fd, const char *path, const char *variable, char *ret_error,
			 size_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid()) {
		snprintf(ret_error, size,
			 "%s belongs to uid %u, not to us (uid %u): remove it or "
			 "set %s to a folder of your own",
			 path, (unsigned)st.st_uid, (unsigned)geteuid(), variable);
		return -EPERM;
	}
	if (st.st_mode & 077) {
		snprintf(ret_error, size, "%s has mode %03o and lets others in: chmod 700 it", path,
			 (unsigned)st.st_mode & 0777);
		return -EPERM;
	}
	return 0;
}

int apmp_folder_check_parent(int fd, const char *path, const char *variable, mode_t others,
			     char *ret_error, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		snprintf(ret_error, size,
			 "%s belongs to uid %u, not to us (uid %u): unset "
			 "%s or set it to a folder of your own",
			 path, (unsigned)st.st_uid, (unsigned)geteuid(), variable);
		return -EPERM;
	}
	if ((st.st_mode & others) && !(st.st_mode & S_ISVTX)) {
		snprintf(ret_error, size, "%s has mode %04o and lets others write: chmod 700 it",
			 path, (unsigned)st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

int apmp_folder_open_ours(int at, const char *name, const char *path, const char *variable,
			  bool make, char *ret_error, size_t size, int *ret_fd)
{
	int fd, error;

	if (make && mkdirat(at, name, 0700) < 0 && errno != EEXIST) {
		error = -errno;
		snprintf(ret_error, size, "cannot make %s: %s", path, strerror(-error));
		return error == -ENOENT ? -ESTALE : error;
	}
	fd = openat(at, name, DIR_FLAGS);
	if (fd < 0 && errno == ENOENT && make)
		return -ESTALE;
	if (fd < 0) {
		/* O_NOFOLLOW with O_DIRECTORY says ENOTDIR of a symbolic link. */
		error = -errno;
		snprintf(ret_error, size, "cannot use %s as a folder: %s%s", path, strerror(-error),
			 error == -ENOTDIR ? " (or a symbolic link)" : "");
		return error;
	}
	error = check_private(fd, path, variable, ret_error, size);
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static int read_holder(int dir_fd, pid_t *ret_pid, uint64_t *ret_starttime)
{
	char text[64];
	int fd = openat(dir_fd, "pid", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ENODATA;
	text[n] = '\0';
	return sscanf(text, "%d %" SCNu64, ret_pid, ret_starttime) == 2 ? 0 : -ENODATA;
}

pid_t apmp_folder_holder(int dir_fd)
{
	uint64_t starttime;
	pid_t pid;

	if (read_holder(dir_fd, &pid, &starttime) < 0 || !apmp_process_alive(pid, starttime))
		return 0;
	return pid;
}

/* One attempt at the lock.  -EAGAIN: held by somebody; -ESTALE: the file was removed meanwhile. */
static int lock_once(int dir_fd, int *ret_fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(dir_fd, "pid", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat ours, there;
	int error;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		error = errno == EACCES ? -EAGAIN : -errno;
		close(fd);
		return error;
	}
	if (fstat(fd, &ours) < 0 || fstatat(dir_fd, "pid", &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    ours.st_ino != there.st_ino) {
		close(fd);
		return -ESTALE;
	}
	*ret_fd = fd;
	return 0;
}

/* The lock of the open folder.  A cleaner that holds it is waited for; a living box is not. */
static int lock_folder(struct apmp_folder *folder, int wait_ms, char *ret_error, size_t size,
		       pid_t *ret_holder)
{
	int64_t deadline_ms = apmp_process_now_ms() + wait_ms;
	pid_t holder = 0;
	int error;

	while ((error = lock_once(folder->dir_fd, &folder->pid_fd)) == -EAGAIN) {
		holder = apmp_folder_holder(folder->dir_fd);
		if (holder || apmp_process_now_ms() >= deadline_ms)
			break;
		/* There is no event for "an open file description lock was let go" that
		 * could be waited for with a deadline. */
		poll(NULL, 0, LOOK_AGAIN);
	}
	if (error == -EAGAIN && holder)
		snprintf(ret_error, size,
			 "machine \"%s\" is running already: process %d holds "
			 "%s/pid (end it with: apmp --name %s down)",
			 folder->machine, holder, folder->path, folder->machine);
	else if (error == -EAGAIN)
		snprintf(ret_error, size,
			 "what the last machine \"%s\" left is still being "
			 "removed, for more than %d ms now: see who holds %s/pid",
			 folder->machine, wait_ms, folder->path);
	else if (error)
		snprintf(ret_error, size, "cannot lock %s/pid: %s", folder->path, strerror(-error));
	if (ret_holder)
		*ret_holder = holder;
	return error == -EAGAIN ? -EBUSY : error;
}

int apmp_folder_take_over(const struct apmp_folder *folder)
{
	struct apmp_process self;
	char text[64];
	int n, error = apmp_process_get(getpid(), &self);

	if (error)
		return error;
	n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", self.pid, self.starttime);
	if (ftruncate(folder->pid_fd, 0) < 0 || pwrite(folder->pid_fd, text, (size_t)n, 0) != n)
		return errno ? -errno : -EIO;
	return 0;
}

/* Removes a folder, and with the last one of a user the base, if nothing is in it.  Where that
 * fails it is left to the next one: an empty folder harms nobody.  -errno of the folder itself. */
static int remove_empty(const char *path)
{
	const char *slash = strrchr(path, '/');
	char base[PATH_MAX];

	if (rmdir(path) < 0)
		return -errno;
	snprintf(base, sizeof(base), "%.*s", (int)(slash - path), path);
	rmdir(base);
	return 0;
}

/* Makes (if wanted), opens and locks the folder of one machine.  -ESTALE: it was removed just
 * then, which is the end of a cleaning: try again. */
static int open_locked(int base_fd, const char *variable, bool make, int wait_ms,
		       struct apmp_folder *folder, char *ret_error, size_t size, pid_t *ret_holder)
{
	struct stat st;
	int error = apmp_folder_open_ours(base_fd, folder->machine, folder->path, variable, make,
					  ret_error, size, &folder->dir_fd);

	if (error)
		return error;
	error = lock_folder(folder, wait_ms, ret_error, size, ret_holder);
	/* A removed folder has no links, and nothing can be made in it (ENOENT). */
	if (fstat(folder->dir_fd, &st) == 0 && st.st_nlink == 0) {
		if (!error)
			close(folder->pid_fd);
		error = -ESTALE;
	}
	if (error)
		close(folder->dir_fd);
	if (error && error != -EBUSY && error != -ESTALE)
		remove_empty(folder->path);
	return error;
}

/* One attempt.  -ESTALE: the folder, or the base with the last folder in it, was just removed. */
static int attempt_open(const struct apmp_folder_kind *kind, struct apmp_folder *folder,
			char *ret_error, size_t size, pid_t *ret_holder)
{
	char base[PATH_MAX];
	int base_fd, error = kind->open_base(base, sizeof(base), ret_error, size, &base_fd);

	if (error)
		return error;
	if ((size_t)snprintf(folder->path, sizeof(folder->path), "%s/%s", base, folder->machine) >=
	    sizeof(folder->path))
		error = -ENAMETOOLONG;
	else
		error = open_locked(base_fd, kind->variable, true, APMP_FOLDER_WAIT_MS, folder,
				    ret_error, size, ret_holder);
	close(base_fd);
	return error;
}

int apmp_folder_open(const struct apmp_folder_kind *kind, const char *machine,
		     struct apmp_folder *ret, char *ret_error, size_t size, pid_t *ret_holder)
{
	struct apmp_folder folder = {.magic = APMP_FOLDER_MAGIC, .dir_fd = -1, .pid_fd = -1};
	int error;

	ret_error[0] = '\0';
	if (!apmp_name_valid(machine)) {
		snprintf(ret_error, size,
			 "\"%.60s\" is no name for a machine: it begins with a-z "
			 "or 0-9 and goes on with a-z 0-9 _ . - (at most %d characters)",
			 machine, APMP_NAME_SIZE - 1);
		return -EINVAL;
	}
	snprintf(folder.machine, sizeof(folder.machine), "%s", machine);
	error = attempt_open(kind, &folder, ret_error, size, ret_holder);
	/* Each further attempt needs another box that lived and was cleaned meanwhile. */
	for (int i = 0; error == -ESTALE && i < 16; i++)
		error = attempt_open(kind, &folder, ret_error, size, ret_holder);
	if (error)
		return error == -ESTALE ? -EBUSY : error;
	error = apmp_folder_take_over(&folder);
	if (error) {
		snprintf(ret_error, size, "cannot write %s/pid: %s", folder.path, strerror(-error));
		unlinkat(folder.dir_fd, "pid", 0);
		remove_empty(folder.path);
		apmp_folder_close(&folder);
		return error;
	}
	*ret = folder;
	return 0;
}

int apmp_folder_seize(const struct apmp_folder_kind *kind, const char *path, int wait_ms,
		      struct apmp_folder *ret, char *ret_error, size_t size)
{
	struct apmp_folder folder = {.magic = APMP_FOLDER_MAGIC, .dir_fd = -1, .pid_fd = -1};
	const char *slash = strrchr(path, '/');
	char base[PATH_MAX];
	int base_fd, error;

	ret_error[0] = '\0';
	if (!slash || path[0] != '/' || !apmp_name_valid(slash + 1))
		return -EINVAL;
	if (strlen(path) >= sizeof(folder.path))
		return -ENAMETOOLONG;
	snprintf(folder.path, sizeof(folder.path), "%s", path);
	snprintf(folder.machine, sizeof(folder.machine), "%s", slash + 1);
	snprintf(base, sizeof(base), "%.*s", (int)(slash - path), path);
	base_fd = open(base, DIR_FLAGS);
	if (base_fd < 0)
		return -errno;
	error = check_private(base_fd, base, kind->variable, ret_error, size);
	if (!error)
		error = open_locked(base_fd, kind->variable, false, wait_ms, &folder, ret_error,
				    size, NULL);
	close(base_fd);
	if (error)
		return error == -ESTALE ? -ENOENT : error;
	*ret = folder;
	return 0;
}

void apmp_folder_close(struct apmp_folder *folder)
{
	close(folder->pid_fd);
	close(folder->dir_fd);
	*folder = (struct apmp_folder){.dir_fd = -1, .pid_fd = -1};
}

/* Removes everything in a folder but `spare` in the first one.  Symbolic links are removed, not
 * followed.  depth bounds the recursion: nothing of ours is nested more than two deep. */
static int remove_inside(int dir_fd, const char *spare, int depth)
{
	int error = 0, fd = openat(dir_fd, ".", DIR_FLAGS);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;
		int sub;

		if (!strcmp(name, ".") || !strcmp(name, "..") || (spare && !strcmp(name, spare)))
			continue;
		if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
			continue;
		error = -errno;
		if ((error != -EISDIR && error != -EPERM) || depth == 0)
			break;
		sub = openat(dir_fd, name, DIR_FLAGS);
		if (sub < 0)
			break;
		error = remove_inside(sub, NULL, depth - 1);
		close(sub);
		if (!error && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			error = -errno;
		if (error)
			break;
	}
	closedir(dir);
	return error;
}

int apmp_folder_empty(struct apmp_folder *folder)
{
	return remove_inside(folder->dir_fd, "pid", DEPTH_MAX);
}

int apmp_folder_remove(struct apmp_folder *folder)
{
	int error;

	if (unlinkat(folder->dir_fd, "pid", 0) < 0 && errno != ENOENT)
		return -errno;
	error = remove_empty(folder->path);
	/* Another box may have made its pid file in it this very moment: then it stays. */
	return error == -ENOENT || error == -ENOTEMPTY ? 0 : error;
}
