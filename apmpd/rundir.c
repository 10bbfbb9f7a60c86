/* The run directory of a machine.
 *
 * WHAT     One folder for each machine of a user.  Its pid file is locked with an open file
 *          description lock, which the kernel lets go when the box ends, however it ends.  So
 *          "is it alive?" is asked of the kernel; the number in the file only names the holder.
 * STATES   absent -> made -> locked (a box lives, or somebody cleans) -> unlocked (dead)
 *          -> locked by the cleaner -> absent.  Only the holder of the lock changes anything.
 * CRASHES  Between making the folder and writing the pid file: a folder of a dead machine, taken
 *          over or cleaned by the next one.  While removing: the pid file goes last, so whatever
 *          is left can still be locked and cleaned.
 * ORDERING Who gets the lock may hold it on a file that its last holder removed meanwhile; the
 *          file is looked up once more under the lock, and the attempt made anew if it differs.
 * LIMITS   Others of the same uid can remove the folder under a living box.
 */
#include "apmpd/rundir.h"

#include "apmpd/process_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define DEPTH_MAX  8
#define LOOK_AGAIN 10 /* ms: how soon a new box notices that the cleaning is done */

/* The folder above the base, and whether the environment named it. */
static const char *base_parent(bool *ret_named)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	*ret_named = dir && *dir;
	return *ret_named ? dir : "/tmp";
}

static void base_name(char *ret_name, size_t size)
{
	bool named;

	base_parent(&named);
	if (named)
		snprintf(ret_name, size, "apmp");
	else
		snprintf(ret_name, size, "apmp-%u", (unsigned)geteuid());
}

int apmp_rundir_base(char *ret_path, size_t path_size)
{
	bool named;
	const char *parent = base_parent(&named);
	size_t length = strlen(parent);
	char name[32];

	if (parent[0] != '/')
		return -EINVAL;
	while (length > 1 && parent[length - 1] == '/')
		length--;
	base_name(name, sizeof(name));
	if ((size_t)snprintf(ret_path, path_size, "%.*s/%s", (int)length, parent, name) >=
	    path_size)
		return -ENAMETOOLONG;
	return 0;
}

/* Whether nobody else can put something into this folder, or rename what is in it. */
static int check_private(int fd, const char *path, char *ret_error, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid()) {
		snprintf(ret_error, size,
			 "%s belongs to uid %u, not to us (uid %u): remove it or "
			 "set XDG_RUNTIME_DIR to a folder of your own",
			 path, (unsigned)st.st_uid, (unsigned)geteuid());
		return -EPERM;
	}
	if (st.st_mode & 077) {
		snprintf(ret_error, size, "%s has mode %03o and lets others in: chmod 700 it", path,
			 (unsigned)st.st_mode & 0777);
		return -EPERM;
	}
	return 0;
}

/* The folder above ours may be somebody else's only if that is root, and open to others only if
 * it is sticky. */
static int check_parent(int fd, const char *path, char *ret_error, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		snprintf(ret_error, size,
			 "%s belongs to uid %u, not to us (uid %u): unset "
			 "XDG_RUNTIME_DIR or set it to a folder of your own",
			 path, (unsigned)st.st_uid, (unsigned)geteuid());
		return -EPERM;
	}
	if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)) {
		snprintf(ret_error, size, "%s has mode %04o and lets others write: chmod 700 it",
			 path, (unsigned)st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

/* Opens (and makes, if wanted) a folder of ours in the folder `at`.
 * -ESTALE: made, or `at` itself, and removed by the last machine's end meanwhile. */
static int open_ours(int at, const char *name, const char *path, bool make, char *ret_error,
		     size_t size, int *ret_fd)
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
	error = check_private(fd, path, ret_error, size);
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

/* Opens the folder of all machines of this user. */
static int open_base(char *ret_path, size_t path_size, char *ret_error, size_t size, int *ret_fd)
{
	bool named;
	const char *parent = base_parent(&named);
	char name[32];
	int fd, error = apmp_rundir_base(ret_path, path_size);

	if (error) {
		snprintf(ret_error, size, "XDG_RUNTIME_DIR is %s: \"%.100s\"",
			 error == -EINVAL ? "no absolute path" : "too long", parent);
		return error;
	}
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error = -errno;
		snprintf(ret_error, size, "cannot open %s%s: %s", parent,
			 named ? " (XDG_RUNTIME_DIR)" : "", strerror(-error));
		return error;
	}
	base_name(name, sizeof(name));
	error = check_parent(fd, parent, ret_error, size);
	if (!error)
		error = open_ours(fd, name, ret_path, true, ret_error, size, ret_fd);
	close(fd);
	return error;
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

/* Process id of the living box that is named in the pid file, else 0. */
static pid_t living_holder(int dir_fd)
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
static int lock_folder(struct apmp_rundir *rundir, int wait_ms, char *ret_error, size_t size,
		       pid_t *ret_holder)
{
	int64_t deadline_ms = apmp_process_now_ms() + wait_ms;
	pid_t holder = 0;
	int error;

	while ((error = lock_once(rundir->dir_fd, &rundir->pid_fd)) == -EAGAIN) {
		holder = living_holder(rundir->dir_fd);
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
			 rundir->machine, holder, rundir->path, rundir->machine);
	else if (error == -EAGAIN)
		snprintf(ret_error, size,
			 "what the last machine \"%s\" left is still being "
			 "removed, for more than %d ms now: see who holds %s/pid",
			 rundir->machine, APMP_RUNDIR_WAIT_MS, rundir->path);
	else if (error)
		snprintf(ret_error, size, "cannot lock %s/pid: %s", rundir->path, strerror(-error));
	if (ret_holder)
		*ret_holder = holder;
	return error == -EAGAIN ? -EBUSY : error;
}

static int write_holder(const struct apmp_rundir *rundir)
{
	struct apmp_process self;
	char text[64];
	int n, error = apmp_process_get(getpid(), &self);

	if (error)
		return error;
	n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", self.pid, self.starttime);
	if (ftruncate(rundir->pid_fd, 0) < 0 || pwrite(rundir->pid_fd, text, (size_t)n, 0) != n)
		return errno ? -errno : -EIO;
	return 0;
}

/* Makes (if wanted), opens and locks the folder of one machine.  -ESTALE: it was removed just
 * then, which is the end of a cleaning: try again. */
static int open_locked(int base_fd, bool make, int wait_ms, struct apmp_rundir *rundir,
		       char *ret_error, size_t size, pid_t *ret_holder)
{
	struct stat st;
	int error = open_ours(base_fd, rundir->machine, rundir->path, make, ret_error, size,
			      &rundir->dir_fd);

	if (error)
		return error;
	error = lock_folder(rundir, wait_ms, ret_error, size, ret_holder);
	/* A removed folder has no links, and nothing can be made in it (ENOENT). */
	if (fstat(rundir->dir_fd, &st) == 0 && st.st_nlink == 0) {
		if (!error)
			close(rundir->pid_fd);
		error = -ESTALE;
	}
	if (error)
		close(rundir->dir_fd);
	return error;
}

/* One attempt.  -ESTALE: the folder, or the base with the last folder, was removed just then. */
static int attempt_open(struct apmp_rundir *rundir, char *ret_error, size_t size, pid_t *ret_holder)
{
	char base[PATH_MAX];
	int base_fd, error = open_base(base, sizeof(base), ret_error, size, &base_fd);

	if (error)
		return error;
	if ((size_t)snprintf(rundir->path, sizeof(rundir->path), "%s/%s", base, rundir->machine) >=
	    sizeof(rundir->path))
		error = -ENAMETOOLONG;
	else
		error = open_locked(base_fd, true, APMP_RUNDIR_WAIT_MS, rundir, ret_error, size,
				    ret_holder);
	close(base_fd);
	return error;
}

int apmp_rundir_open(const char *machine, struct apmp_rundir *ret, char *ret_error, size_t size,
		     pid_t *ret_holder)
{
	struct apmp_rundir rundir = {.magic = APMP_RUNDIR_MAGIC, .dir_fd = -1, .pid_fd = -1};
	int error;

	ret_error[0] = '\0';
	if (!apmp_name_valid(machine)) {
		snprintf(ret_error, size,
			 "\"%.60s\" is no name for a machine: it begins with a-z "
			 "or 0-9 and goes on with a-z 0-9 _ . - (at most %d characters)",
			 machine, APMP_NAME_SIZE - 1);
		return -EINVAL;
	}
	snprintf(rundir.machine, sizeof(rundir.machine), "%s", machine);
	error = attempt_open(&rundir, ret_error, size, ret_holder);
	/* Each further attempt needs another box that lived and was cleaned meanwhile. */
	for (int i = 0; error == -ESTALE && i < 16; i++)
		error = attempt_open(&rundir, ret_error, size, ret_holder);
	if (error)
		return error == -ESTALE ? -EBUSY : error;
	error = write_holder(&rundir);
	if (error) {
		snprintf(ret_error, size, "cannot write %s/pid: %s", rundir.path, strerror(-error));
		apmp_rundir_close(&rundir);
		return error;
	}
	*ret = rundir;
	return 0;
}

int apmp_rundir_seize(const char *path, int wait_ms, struct apmp_rundir *ret, char *ret_error,
		      size_t size)
{
	struct apmp_rundir rundir = {.magic = APMP_RUNDIR_MAGIC, .dir_fd = -1, .pid_fd = -1};
	const char *slash = strrchr(path, '/');
	char base[PATH_MAX];
	int base_fd, error;

	ret_error[0] = '\0';
	if (!slash || path[0] != '/' || !apmp_name_valid(slash + 1))
		return -EINVAL;
	if (strlen(path) >= sizeof(rundir.path))
		return -ENAMETOOLONG;
	snprintf(rundir.path, sizeof(rundir.path), "%s", path);
	snprintf(rundir.machine, sizeof(rundir.machine), "%s", slash + 1);
	snprintf(base, sizeof(base), "%.*s", (int)(slash - path), path);
	base_fd = open(base, DIR_FLAGS);
	if (base_fd < 0)
		return -errno;
	error = check_private(base_fd, base, ret_error, size);
	if (!error)
		error = open_locked(base_fd, false, wait_ms, &rundir, ret_error, size, NULL);
	close(base_fd);
	if (error)
		return error == -ESTALE ? -ENOENT : error;
	*ret = rundir;
	return 0;
}

void apmp_rundir_close(struct apmp_rundir *rundir)
{
	close(rundir->pid_fd);
	close(rundir->dir_fd);
	*rundir = (struct apmp_rundir){.dir_fd = -1, .pid_fd = -1};
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

int apmp_rundir_remove(struct apmp_rundir *rundir)
{
	const char *slash = strrchr(rundir->path, '/');
	char base[PATH_MAX];
	int error = remove_inside(rundir->dir_fd, "pid", DEPTH_MAX);

	if (error)
		return error;
	if (unlinkat(rundir->dir_fd, "pid", 0) < 0 && errno != ENOENT)
		return -errno;
	/* Another box may have made its pid file in it this very moment: then it stays. */
	if (rmdir(rundir->path) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return -errno;
	/* The last machine of a user takes the base with it; an attempt that fails leaves it to
	 * the next one, because an empty folder harms nobody. */
	snprintf(base, sizeof(base), "%.*s", (int)(slash - rundir->path), rundir->path);
	rmdir(base);
	return 0;
}

int apmp_rundir_alive(const char *machine, pid_t *ret_pid)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	int dir_fd, fd, error = apmp_rundir_base(path, sizeof(path));
	size_t length;

	if (error || !apmp_name_valid(machine))
		return error ? error : -EINVAL;
	length = strlen(path);
	if ((size_t)snprintf(path + length, sizeof(path) - length, "/%s", machine) >=
	    sizeof(path) - length)
		return -ENAMETOOLONG;
	dir_fd = open(path, DIR_FLAGS);
	if (dir_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	fd = openat(dir_fd, "pid", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	error = fd < 0 ? -errno : 0;
	if (!error && fcntl(fd, F_OFD_GETLK, &lock) < 0)
		error = -errno;
	if (fd >= 0)
		close(fd);
	/* Locked, and by a process that runs no more: somebody cleans up after it. */
	*ret_pid = !error && lock.l_type != F_UNLCK ? living_holder(dir_fd) : 0;
	close(dir_fd);
	if (error)
		return error == -ENOENT ? 0 : error;
	return *ret_pid != 0;
}

int apmp_rundir_listen(const struct apmp_rundir *rundir, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error = 0;

	if (unlinkat(rundir->dir_fd, "control", 0) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control",
		 rundir->dir_fd);
	/* Between bind() and fchmodat() only the mode of the folder keeps others out; it does. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(rundir->dir_fd, "control", 0600, 0) < 0 || listen(fd, SOMAXCONN) < 0)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int apmp_rundir_write(const struct apmp_rundir *rundir, const char *name, const char *text)
{
	size_t length = strlen(text);
	char new_name[NAME_MAX + 1];
	int fd, error = 0;

	if (!*name || strchr(name, '/') ||
	    (size_t)snprintf(new_name, sizeof(new_name), ".%s.new", name) >= sizeof(new_name))
		return -EINVAL;
	fd = openat(rundir->dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	errno = 0;
	if (write(fd, text, length) != (ssize_t)length)
		error = errno ? -errno : -ENOSPC;
	close(fd);
	if (!error && renameat(rundir->dir_fd, new_name, rundir->dir_fd, name) < 0)
		error = -errno;
	if (error)
		unlinkat(rundir->dir_fd, new_name, 0); /* the error is told already */
	return error;
}

int apmp_rundir_read(const struct apmp_rundir *rundir, const char *name, char *ret_text,
		     size_t text_size)
{
	int fd = openat(rundir->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, ret_text, text_size);
	close(fd);
	if (n < 0)
		return -errno;
	if ((size_t)n == text_size)
		return -ENAMETOOLONG;
	while (n > 0 && ret_text[n - 1] == '\n')
		n--;
	ret_text[n] = '\0';
	return 0;
}

int apmp_rundir_path(const struct apmp_rundir *rundir, const char *name, char *ret_path,
		     size_t path_size)
{
	if ((size_t)snprintf(ret_path, path_size, "%s/%s", rundir->path, name) >= path_size)
		return -ENAMETOOLONG;
	return 0;
}
