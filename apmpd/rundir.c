/* The run directory of a machine: where it is, and what stands in it.  Who holds it: folder.c. */
#include "apmpd/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define VARIABLE  "XDG_RUNTIME_DIR"

/* The folder above the base, and whether the environment named it. */
static const char *base_parent(bool *ret_named)
{
	const char *dir = getenv(VARIABLE);

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

/* Opens the folder of all machines of this user. */
static int open_base(char *ret_path, size_t path_size, char *ret_error, size_t size, int *ret_fd)
{
	bool named;
	const char *parent = base_parent(&named);
	char name[32];
	int fd, error = apmp_rundir_base(ret_path, path_size);

	if (error) {
		snprintf(ret_error, size, VARIABLE " is %s: \"%.100s\"",
			 error == -EINVAL ? "no absolute path" : "too long", parent);
		return error;
	}
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error = -errno;
		snprintf(ret_error, size, "cannot open %s%s: %s", parent,
			 named ? " (" VARIABLE ")" : "", strerror(-error));
		return error;
	}
	base_name(name, sizeof(name));
	error = apmp_folder_check_parent(fd, parent, VARIABLE, 022, ret_error, size);
	if (!error)
		error = apmp_folder_open_ours(fd, name, ret_path, VARIABLE, true, ret_error, size,
					      ret_fd);
	close(fd);
	return error;
}

static const struct apmp_folder_kind rundirs = {VARIABLE, open_base};

int apmp_rundir_open(const char *machine, struct apmp_folder *ret, char *ret_error, size_t size,
		     pid_t *ret_holder)
{
	return apmp_folder_open(&rundirs, machine, ret, ret_error, size, ret_holder);
}

int apmp_rundir_seize(const char *path, int wait_ms, struct apmp_folder *ret, char *ret_error,
		      size_t size)
{
	return apmp_folder_seize(&rundirs, path, wait_ms, ret, ret_error, size);
}

void apmp_rundir_close(struct apmp_folder *rundir)
{
	apmp_folder_close(rundir);
}

int apmp_rundir_remove(struct apmp_folder *rundir)
{
	int error = apmp_folder_empty(rundir);

	return error ? error : apmp_folder_remove(rundir);
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
	*ret_pid = !error && lock.l_type != F_UNLCK ? apmp_folder_holder(dir_fd) : 0;
	close(dir_fd);
	if (error)
		return error == -ENOENT ? 0 : error;
	return *ret_pid != 0;
}

int apmp_rundir_listen(const struct apmp_folder *rundir, int *ret_fd)
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

int apmp_rundir_write(const struct apmp_folder *rundir, const char *name, const char *text)
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

int apmp_rundir_read(const struct apmp_folder *rundir, const char *name, char *ret_text,
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

int apmp_rundir_path(const struct apmp_folder *rundir, const char *name, char *ret_path,
		     size_t path_size)
{
	if ((size_t)snprintf(ret_path, path_size, "%s/%s", rundir->path, name) >= path_size)
		return -ENAMETOOLONG;
	return 0;
}
