/* Physical memory of the machine: what is free under every limit, and memfds that are really there.
 *
 * WHAT     Free bytes are the least of: MemAvailable; what each memory cgroup above us may still
 *          charge (v1 and v2, up to the top of what we can see); the commit limit where the host
 *          does not overcommit.  File pages that a group could drop at once
 *          (inactive_file) count as free in it, as they do in MemAvailable.
 * LIMITS   Others may take what was free between the check and the allocation; a failed
 *          allocation gives everything back.  Swap does not count as memory.  Limits above a
 *          cgroup namespace can't be seen.
 */
#include "apmpd/host_memory.h"

#include "apmpd/cpuset_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* v1 says "no limit" with a number near 2^63. */
#define UNLIMITED (1ull << 60)

struct limits {
	struct apmp_host_memory_limit *limits;
	size_t count;
	size_t max;
};

static void add_limit(struct limits *all, const char *name, uint64_t limit, uint64_t used)
{
	if (limit >= UNLIMITED || all->count == all->max)
		return;
	snprintf(all->limits[all->count].name, sizeof(all->limits[0].name), "%s", name);
	all->limits[all->count].free = limit > used ? limit - used : 0;
	all->count++;
}

/* A line "KEY VALUE" or "KEY: VALUE kB" in a text; false: there is none. */
static bool find_value(const char *text, const char *key, uint64_t *ret_value)
{
	size_t length = strlen(key);
	uint64_t value;
	char unit[3] = "";

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) != 0 || !strchr(": ", line[length]))
			continue;
		if (sscanf(line + length + (line[length] == ':'), "%" SCNu64 " %2s", &value, unit) <
		    1)
			return false;
		*ret_value = strcmp(unit, "kB") == 0 ? value * 1024 : value;
		return true;
	}
	return false;
}

static int add_host(struct limits *all)
{
	char text[8192], mode[16];
	uint64_t available, limit, committed;
	int error = apmp__cgroup_read(AT_FDCWD, "/proc/meminfo", text, sizeof(text));

	if (error < 0)
		return error;
	if (!find_value(text, "MemAvailable", &available))
		return -ENODATA;
	add_limit(all, "MemAvailable", available, 0);
	if (apmp__cgroup_read(AT_FDCWD, "/proc/sys/vm/overcommit_memory", mode, sizeof(mode)) > 0 &&
	    mode[0] == '2' && find_value(text, "CommitLimit", &limit) &&
	    find_value(text, "Committed_AS", &committed))
		add_limit(all, "CommitLimit (vm.overcommit_memory is 2)", limit, committed);
	return 0;
}

/* A file that holds one number; "max" and a missing file are no limit. */
static uint64_t read_number(int dir_fd, const char *file, uint64_t otherwise)
{
	char text[64], *end;
	uint64_t value;

	if (apmp__cgroup_read(dir_fd, file, text, sizeof(text)) <= 0)
		return otherwise;
	value = strtoull(text, &end, 10);
	return end == text ? otherwise : value;
}

static void add_group(struct limits *all, const char *path, const char *shown, bool v1)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[sizeof(all->limits[0].name)], text[8192];
	uint64_t limit, high, used, droppable = 0;

	if (fd < 0)
		return;
	limit = read_number(fd, v1 ? "memory.limit_in_bytes" : "memory.max", UNLIMITED);
	/* Above memory.high a group is throttled until it hardly moves. */
	high = v1 ? UNLIMITED : read_number(fd, "memory.high", UNLIMITED);
	used = read_number(fd, v1 ? "memory.usage_in_bytes" : "memory.current", 0);
	if (apmp__cgroup_read(fd, "memory.stat", text, sizeof(text)) > 0 &&
	    find_value(text, v1 ? "total_inactive_file" : "inactive_file", &droppable))
		used -= droppable < used ? droppable : used;
	snprintf(name, sizeof(name), "cgroup %s memory %s", v1 ? "v1" : "v2", *shown ? shown : "/");
	add_limit(all, name, limit < high ? limit : high, used);
	close(fd);
}

static void add_groups(struct limits *all, bool v1)
{
	char mount[PATH_MAX], path[PATH_MAX];

	if (apmp_cgroup_own(v1 ? "memory" : NULL, mount, path, sizeof(path)) < 0)
		return;
	for (;; *strrchr(path, '/') = '\0') {
		add_group(all, path, path + strlen(mount), v1);
		if (strlen(path) <= strlen(mount))
			return;
	}
}

int apmp_host_memory_limits(struct apmp_host_memory_limit *ret_limits, size_t max)
{
	struct limits all = {ret_limits, 0, max};
	int error = add_host(&all);

	if (error)
		return error;
	add_groups(&all, true);
	add_groups(&all, false);
	return (int)all.count;
}

/* The narrowest limit.  -errno as of apmp_host_memory_check(). */
static int find_least(struct apmp_host_memory_limit *ret)
{
	struct apmp_host_memory_limit limits[APMP_HOST_MEMORY_LIMIT_MAX], *least = limits;
	int count = apmp_host_memory_limits(limits, APMP_HOST_MEMORY_LIMIT_MAX);

	if (count <= 0)
		return count ? count : -ENODATA;
	for (int i = 1; i < count; i++)
		if (limits[i].free < least->free)
			least = &limits[i];
	*ret = *least;
	return 0;
}

/* What is left when `reserve` is kept. */
static int check(const struct apmp_host_memory_limit *least, uint64_t reserve, uint64_t wanted,
		 uint64_t *ret_had, char *ret_which_limit, size_t which_limit_size)
{
	*ret_had = least->free > reserve ? least->free - reserve : 0;
	snprintf(ret_which_limit, which_limit_size, "%s", least->name);
	return wanted > *ret_had ? -ENOMEM : 0;
}

int apmp_host_memory_check(uint64_t wanted, uint64_t *ret_had, char *ret_which_limit,
			   size_t which_limit_size)
{
	struct apmp_host_memory_limit least;
	int error = find_least(&least);
	uint64_t reserve;

	if (error)
		return error;
	reserve = least.free / 20;
	if (reserve < APMP_HOST_MEMORY_RESERVE)
		reserve = APMP_HOST_MEMORY_RESERVE;
	return check(&least, reserve, wanted, ret_had, ret_which_limit, which_limit_size);
}

int apmp_host_memory_check_reserve(uint64_t wanted, uint64_t *ret_had, char *ret_which_limit,
				   size_t which_limit_size)
{
	struct apmp_host_memory_limit least;
	int error = find_least(&least);

	if (error)
		return error;
	return check(&least, APMP_HOST_MEMORY_LAST, wanted, ret_had, ret_which_limit,
		     which_limit_size);
}

int apmp_host_memory_create(const char *name, uint64_t size, int *ret_fd)
{
	struct rlimit limit;
	int fd, error = 0;

	if (size == 0 || size % (uint64_t)sysconf(_SC_PAGESIZE) || size > INT64_MAX)
		return -EINVAL;
	/* Growing beyond it would not only fail but send SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && size > limit.rlim_cur)
		return -EFBIG;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	/* A signal interrupts it before anything is kept: then all of it once more. */
	while (fallocate(fd, 0, 0, (off_t)size) < 0 && !error)
		error = errno == EINTR ? 0 : -errno;
	/* F_SEAL_SEAL: who shares it could seal it against the writing of all others. */
	if (!error && (fchmod(fd, 0600) < 0 ||
		       fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0))
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

int apmp_host_memory_reopen_readonly(int fd, int *ret_fd)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	if (again < 0)
		return -errno;
	*ret_fd = again;
	return 0;
}

int apmp_host_memory_drop(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size) < 0)
		return -errno;
	return 0;
}
