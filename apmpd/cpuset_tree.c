/* Groups below a group: programs in a partition may have made some of their own. */
#include "apmpd/cpuset_ops.h"

#include "apmpd/process_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <linux/magic.h>
#include <unistd.h>

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* Deeper ones (they come from outside) are not looked at, and make rmdir() say EBUSY. */
#define DEPTH_MAX 16
/* A box holds its group for its life, `doctor` and `clean` only while they look: in milliseconds,
 * and much longer than a look. */
#define LOCK_TRIES 100
/* Each further attempt needs a cleaning that removed the group we had just opened. */
#define ATTEMPTS 16

/* A visitor gets each group below, the deepest first. */
typedef int visitor(int parent_fd, const char *name, int dir_fd, void *argument);

static int visit_below(int dir_fd, visitor *visit, void *argument, int depth)
{
	int error = 0, fd = openat(dir_fd, ".", DIR_FLAGS);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error == -ENODEV ? 0 : error; /* removed just now */
	}
	while (!error && (entry = readdir(dir))) {
		int sub;

		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, ".."))
			continue;
		sub = openat(dir_fd, entry->d_name, DIR_FLAGS);
		if (sub < 0)
			continue; /* removed just now */
		if (depth > 0)
			error = visit_below(sub, visit, argument, depth - 1);
		if (!error)
			error = visit(dir_fd, entry->d_name, sub, argument);
		close(sub);
	}
	closedir(dir);
	return error;
}

struct pids {
	pid_t *pids;
	size_t count;
};

static int list_here(int dir_fd, struct pids *list)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	int error = 0;
	long pid;

	if (!in) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while (!error && fscanf(in, "%ld", &pid) == 1) {
		pid_t *grown = list->pids;

		if (pid <= 0)
			continue; /* of another pid namespace */
		if ((list->count & (list->count - 1)) == 0)
			grown = reallocarray(list->pids, list->count ? 2 * list->count : 1,
					     sizeof(*grown));
		if (!grown) {
			error = -ENOMEM;
			break;
		}
		list->pids = grown;
		list->pids[list->count++] = (pid_t)pid;
	}
	fclose(in);
	return error;
}

static int visit_list(int parent_fd, const char *name, int dir_fd, void *argument)
{
	int error = list_here(dir_fd, argument);

	(void)parent_fd;
	(void)name;
	return error == -ENOENT || error == -ENODEV ? 0 : error;
}

int apmp__cgroup_pids(int dir_fd, bool below, pid_t **pids, size_t *count)
{
	struct pids list = {*pids, *count};
	int error = below ? visit_below(dir_fd, visit_list, &list, DEPTH_MAX) : 0;

	if (!error)
		error = list_here(dir_fd, &list);
	*pids = list.pids;
	*count = list.count;
	return error;
}

/* From Linux 6.19 on a group may say EBUSY for a moment after its last process has ended; there
 * is no event for the end of that. */
static int remove_group(int parent_fd, const char *name, int dir_fd, void *argument)
{
	(void)argument;
	for (int tries = 0;; tries++) {
		struct pids list = {0};
		bool busy;

		if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY || tries == 100)
			return -errno;
		busy = list_here(dir_fd, &list) < 0 || list.count > 0;
		free(list.pids);
		if (busy)
			return -EBUSY;
		poll(NULL, 0, 1);
	}
}

int apmp__cgroup_remove(int parent_fd, const char *name, int dir_fd)
{
	return remove_group(parent_fd, name, dir_fd, NULL);
}

int apmp__cgroup_remove_below(int dir_fd)
{
	return visit_below(dir_fd, remove_group, NULL, DEPTH_MAX);
}

static int lock_group(int fd)
{
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (tries == LOCK_TRIES)
			return -EBUSY;
		poll(NULL, 0, 1);
	}
	return 0;
}

/* 0700: nobody else can open it and hold the lock.  -ESTALE: a cleaner removed it just then. */
static int make_locked(const char *path, int *ret_fd)
{
	struct stat ours, there;
	int fd, error;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, DIR_FLAGS);
	if (fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	error = lock_group(fd);
	if (!error &&
	    (fstat(fd, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino))
		error = -ESTALE;
	if (error)
		close(fd);
	else
		*ret_fd = fd;
	return error;
}

int apmp__cgroup_make_locked(const char *path, int *ret_fd)
{
	int error = -ESTALE;

	for (int i = 0; error == -ESTALE && i < ATTEMPTS; i++)
		error = make_locked(path, ret_fd);
	return error == -ESTALE ? -EBUSY : error;
}

/* A look shares its lock with other looks, and waits for nobody. */
static int lock_for(int fd, bool look)
{
	if (!look)
		return lock_group(fd);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* Opens .../apmp-MACHINE, if it is such a group and nobody holds it. */
static int open_dead(const char *path, bool look, int *ret_parent_fd, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	struct statfs fs;
	int parent_fd, fd, error = 0;

	if (path[0] != '/' || strncmp(slash, "/apmp-", 6) != 0 || !apmp_name_valid(slash + 6) ||
	    (size_t)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path) >=
		sizeof(parent))
		return -EINVAL;
	parent_fd = open(parent, DIR_FLAGS);
	if (parent_fd < 0)
		return -errno;
	fd = openat(parent_fd, slash + 1, DIR_FLAGS);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		error = -errno;
	else if (fs.f_type != CGROUP_SUPER_MAGIC && fs.f_type != CGROUP2_SUPER_MAGIC)
		error = -EINVAL;
	else
		error = lock_for(fd, look);
	if (error) {
		if (fd >= 0)
			close(fd);
		close(parent_fd);
		return error;
	}
	*ret_parent_fd = parent_fd;
	*ret_fd = fd;
	return 0;
}

int apmp_cpuset_path_clean(const char *path, int timeout_ms)
{
	int64_t now_ms = apmp_process_now_ms(), deadline_ms = now_ms + timeout_ms;
	int parent_fd, fd, killed = 0, error = open_dead(path, false, &parent_fd, &fd);
	struct pids list;

	if (error)
		return error;
	do {
		list = (struct pids){0};
		error = apmp__cgroup_pids(fd, true, &list.pids, &list.count);
		for (size_t i = 0; !error && i < list.count; i++)
			if (list.pids[i] == getpid())
				error = -EDEADLK;
		if (!error && list.count) {
			killed += (int)list.count;
			if (apmp_process_kill(list.pids, list.count, (int)(deadline_ms - now_ms)) ==
			    list.count)
				error = -ETIMEDOUT;
		}
		free(list.pids);
		now_ms = apmp_process_now_ms();
		if (!error && list.count && now_ms >= deadline_ms)
			error = -ETIMEDOUT;
	} while (!error && list.count);
	if (!error)
		error = apmp__cgroup_remove_below(fd);
	if (!error)
		error = remove_group(parent_fd, strrchr(path, '/') + 1, fd, NULL);
	close(fd);
	close(parent_fd);
	return error ? error : killed;
}

int apmp_cpuset_path_held(const char *path)
{
	int parent_fd, fd, error = open_dead(path, true, &parent_fd, &fd);

	if (error)
		return error == -EBUSY ? 1 : error;
	close(fd);
	close(parent_fd);
	return 0;
}

/* Adds our groups apmp-* of one folder; those of other users are none of our business. */
static int list_paths(const char *base, const char *machine, char ***paths, int *count)
{
	DIR *dir = opendir(base);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return 0; /* no such hierarchy, or not ours to see: nothing of ours is there */
	while (!error && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		struct stat st;
		char **grown;

		if (strncmp(name, "apmp-", 5) != 0 || !apmp_name_valid(name + 5) ||
		    (machine && strcmp(name + 5, machine) != 0))
			continue;
		if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
			continue;
		grown = reallocarray(*paths, (size_t)*count + 1, sizeof(**paths));
		if (grown)
			*paths = grown;
		if (!grown || asprintf(&grown[*count], "%s/%s", base, name) < 0)
			error = -ENOMEM;
		else
			++*count;
	}
	closedir(dir);
	return error;
}

int apmp_cpuset_path_list(const char *machine, char ***ret_paths)
{
	static const char *const v1[] = {"cpuset", "cpu"};
	char mount[PATH_MAX], base[PATH_MAX];
	char **paths = NULL;
	int count = 0, error = 0;

	for (size_t i = 0; i < sizeof(v1) / sizeof(v1[0]); i++) {
		if (!error && apmp_cgroup_own(v1[i], mount, base, sizeof(base)) == 0)
			error = list_paths(base, machine, &paths, &count);
		if (!error && apmp_cgroup_delegated(v1[i], geteuid(), base, sizeof(base)) == 0)
			error = list_paths(base, machine, &paths, &count);
	}
	if (!error && apmp_cgroup_own(NULL, mount, base, sizeof(base)) == 0)
		/* The box of v2 may have taken any group above its own one. */
		for (; !error; *strrchr(base, '/') = '\0') {
			error = list_paths(base, machine, &paths, &count);
			if (strlen(base) <= strlen(mount))
				break;
		}
	if (error) {
		for (int i = 0; i < count; i++)
			free(paths[i]);
		free(paths);
		return error;
	}
	*ret_paths = paths;
	return count;
}
