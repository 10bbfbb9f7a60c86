/* Limits of this host on processes, descriptors, disk.
 *
 * WHAT     Each limit that is found narrows the supply, if it leaves less than those before it.
 * LIMITS   Others may take what was free between the look and the use; then the kernel refuses.
 *          Limits above a cgroup namespace can't be seen.  A user who is root in a user namespace
 *          only is taken for root.
 */
#include "apmpd/host_limits.h"

#include "apmpd/cpuset_ops.h"
#include "apmpd/process_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PLENTY 10000u

static const struct apmp_supply no_limit = {.had = UINT64_MAX};

static void narrow(struct apmp_supply *supply, uint64_t limit, uint64_t used, const char *name)
{
	uint64_t had = limit > used ? limit - used : 0;

	if (had >= supply->had)
		return;
	supply->had = had;
	snprintf(supply->limit, sizeof(supply->limit), "%s", name);
}

/* A number at the beginning of a file; false: there is none ("max", no such file). */
static bool read_number(int dir_fd, const char *file, uint64_t *ret)
{
	char text[128];

	return apmp__cgroup_read(dir_fd, file, text, sizeof(text)) > 0 &&
	       sscanf(text, "%" SCNu64, ret) == 1;
}

/* Every group from our own to the top; "pids.max" is missing in the topmost. */
static void narrow_by_groups(struct apmp_supply *supply, bool v1)
{
	char mount[PATH_MAX], path[PATH_MAX], name[sizeof(supply->limit)];

	if (apmp_cgroup_own(v1 ? "pids" : NULL, mount, path, sizeof(path)) < 0)
		return;
	for (;; *strrchr(path, '/') = '\0') {
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		uint64_t limit, used;

		snprintf(name, sizeof(name), "cgroup %s pids %.100s", v1 ? "v1" : "v2",
			 path + strlen(mount));
		if (fd >= 0 && read_number(fd, "pids.max", &limit) &&
		    read_number(fd, "pids.current", &used))
			narrow(supply, limit, used, name);
		if (fd >= 0)
			close(fd);
		if (strlen(path) <= strlen(mount))
			return;
	}
}

/* "0.01 0.02 0.03 2/345 6789": threads that exist. */
static uint64_t threads_of_host(void)
{
	char text[128];
	uint64_t count;

	if (apmp__cgroup_read(AT_FDCWD, "/proc/loadavg", text, sizeof(text)) <= 0 ||
	    sscanf(text, "%*s %*s %*s %*u/%" SCNu64, &count) != 1)
		return 0;
	return count;
}

static void narrow_by_host(struct apmp_supply *supply)
{
	uint64_t threads = threads_of_host(), limit;

	if (read_number(AT_FDCWD, "/proc/sys/kernel/threads-max", &limit))
		narrow(supply, limit, threads, "/proc/sys/kernel/threads-max");
	if (read_number(AT_FDCWD, "/proc/sys/kernel/pid_max", &limit))
		narrow(supply, limit, threads, "/proc/sys/kernel/pid_max");
}

/* Threads of this user: the kernel counts by real uid. */
static uint64_t threads_of_user(uid_t uid)
{
	struct apmp_process_list list;
	uint64_t count = 0;

	if (apmp_process_list_init(&list) < 0)
		return 0;
	apmp_process_list_choose_uids(&list, uid, 1);
	for (size_t i = 0; i < list.count; i++)
		if (list.processes[i].chosen)
			count += list.processes[i].thread_count;
	apmp_process_list_fini(&list);
	return count;
}

static void narrow_by_user(struct apmp_supply *supply, bool new_user)
{
	uint64_t used = new_user ? 0 : threads_of_host();
	struct rlimit limit;

	if (getrlimit(RLIMIT_NPROC, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	/* Counting is slow, and where the limit is far away it is good enough to know that no user
	 * has more than all have. */
	if (!new_user && limit.rlim_cur < used + PLENTY)
		used = threads_of_user(getuid());
	narrow(supply, limit.rlim_cur, used, "RLIMIT_NPROC (ulimit -u)");
}

struct apmp_supply apmp_supply_processes(void)
{
	struct apmp_supply supply = no_limit;

	if (getuid() != 0)
		narrow_by_user(&supply, false);
	narrow_by_groups(&supply, true);
	narrow_by_groups(&supply, false);
	narrow_by_host(&supply);
	return supply;
}

struct apmp_supply apmp_supply_processes_of_new_user(void)
{
	struct apmp_supply supply = no_limit;

	narrow_by_user(&supply, true);
	return supply;
}

/* A limit of one process, of which nothing is used up by others. */
static struct apmp_supply supply_of(int resource, bool hard, const char *name)
{
	struct apmp_supply supply = no_limit;
	struct rlimit limit;
	rlim_t value;

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return supply;
	value = hard ? limit.rlim_max : limit.rlim_cur;
	if (value != RLIM_INFINITY)
		narrow(&supply, value, 0, name);
	return supply;
}

struct apmp_supply apmp_supply_descriptors(void)
{
	return supply_of(RLIMIT_NOFILE, true, "RLIMIT_NOFILE (ulimit -Hn)");
}

struct apmp_supply apmp_supply_file_size(void)
{
	return supply_of(RLIMIT_FSIZE, false, "RLIMIT_FSIZE (ulimit -f)");
}

struct apmp_supply apmp_supply_address_space(void)
{
	return supply_of(RLIMIT_AS, false, "RLIMIT_AS (ulimit -v)");
}

struct apmp_supply apmp_supply_disk(const char *folder)
{
	struct apmp_supply supply = no_limit;
	char path[PATH_MAX];
	struct statvfs fs;

	snprintf(path, sizeof(path), "%s", folder);
	while (statvfs(path, &fs) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return supply;
		*slash = '\0';
	}
	snprintf(supply.limit, sizeof(supply.limit), "the file system of %.100s", path);
	supply.had = (uint64_t)fs.f_bavail * fs.f_frsize;
	/* A file system without a table of inodes says that it has 0 of them. */
	if (fs.f_files && fs.f_favail == 0)
		supply.had = 0;
	return supply;
}
