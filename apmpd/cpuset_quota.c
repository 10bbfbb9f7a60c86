/* The share of host CPU time that the programs of a partition get, by cgroup v1's cpu hierarchy.
 *
 * WHAT     apmp-MACHINE/P-PARTITION below our own group of that hierarchy (or the one that
 *          `doctor --fix` made), with the partition's programs in it and never its instance.  A
 *          quota keeps them to the capacity of their partition's CPUs however idle the host is; a
 *          weight in the same proportion divides a host that is busier than that.
 * STATES   of a partition's group: none -> made (its first program) -> removed (its partition).
 *          What is set before the first program is only kept in mind: partitions without programs
 *          cost a migration nothing here.
 * LOCKS    As cpuset_cgroup.c: the machine's group is locked for the life of the box.
 * LIMITS   A quota is over all host CPUs of the partition: programs of one whose CPUs stand partly
 *          on crowded and partly on less crowded host CPUs may use either kind for all of it.
 *          On a kernel with CONFIG_RT_GROUP_SCHED programs can't have a real-time class.
 * NOT HERE cgroup v2: its controllers go down one tree only, so that an instance could not be
 *          outside of a group with weights.
 */
#include "apmpd/cpuset_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* Short, so that a program that is held back goes on within milliseconds.  Shorter ones are not
 * finer: the kernel hands out a quota to host CPUs in slices of 5 ms (tests/bench/README.md). */
#define PERIOD_US 10000u
/* The kernel takes no smaller quota; smaller capacities have longer periods. */
#define QUOTA_MIN_US  1000u
#define PERIOD_MAX_US 1000000u
/* Of a whole host CPU: as much as a program that is in no group. */
#define WEIGHT	   1024u
#define WEIGHT_MIN 2u

static int fail(struct apmp_cpuset *set, int error, const char *what)
{
	return apmp__cpuset_fail(set, error, "%s %s: %s", what, set->quota_path,
				 error == -EBUSY ? "it is in use" : strerror(-error));
}

/* The machine's group in one place.  why is written. */
static int open_below(struct apmp_cpuset *set, const char *base)
{
	int error;

	if ((size_t)snprintf(set->quota_path, sizeof(set->quota_path), "%s/apmp-%s", base,
			     set->machine) >= sizeof(set->quota_path))
		return -ENAMETOOLONG;
	if (strcmp(set->quota_path, set->path) == 0)
		error = -EXDEV; /* cpu and cpuset are one hierarchy, where this group is taken */
	else
		error = apmp__cgroup_make_locked(set->quota_path, &set->quota_fd);
	if (!error && faccessat(set->quota_fd, "cpu.cfs_quota_us", W_OK, AT_EACCESS) < 0) {
		error = -errno;
		rmdir(set->quota_path); /* the first error is told */
		close(set->quota_fd);
		set->quota_fd = -1;
	}
	snprintf(set->no_quota, sizeof(set->no_quota), "%s: %s", set->quota_path,
		 error == -EXDEV ? "cpu and cpuset are mounted together" : strerror(-error));
	return error;
}

void apmp__quota_open(struct apmp_cpuset *set)
{
	char mount[PATH_MAX], base[PATH_MAX];
	int error = apmp_cgroup_own("cpu", mount, base, sizeof(base));

	set->quota_fd = -1;
	if (error) {
		snprintf(set->no_quota, sizeof(set->no_quota), "cgroup v1 cpu: %s",
			 error == -ENOENT ? "not mounted" : strerror(-error));
		return;
	}
	error = open_below(set, base);
	if ((error == -EACCES || error == -EPERM) &&
	    apmp_cgroup_delegated("cpu", geteuid(), base, sizeof(base)) == 0 &&
	    access(base, F_OK) == 0)
		error = open_below(set, base);
	if (error)
		set->quota_path[0] = '\0';
	else
		set->no_quota[0] = '\0';
}

static int write_number(const struct apmp__cpuset_partition *p, const char *file, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%ju", (uintmax_t)number);
	return apmp__cgroup_write(p->quota_fd, file, text);
}

/* Writes what the kernel does not have yet.  A period that grows goes first and one that shrinks
 * goes last: in between the quota is too small rather than more than a group above may allow. */
static int write_share(struct apmp__cpuset_partition *p, const struct apmp__cpu_share *share)
{
	const bool grows = share->period_us > p->share.period_us;
	int error = 0;

	if (share->weight != p->share.weight)
		error = write_number(p, "cpu.shares", share->weight);
	if (!error && grows)
		error = write_number(p, "cpu.cfs_period_us", share->period_us);
	if (!error && !share->quota_us && p->share.quota_us)
		error = apmp__cgroup_write(p->quota_fd, "cpu.cfs_quota_us", "-1");
	else if (!error && share->quota_us != p->share.quota_us)
		error = write_number(p, "cpu.cfs_quota_us", share->quota_us);
	if (!error && share->period_us < p->share.period_us)
		error = write_number(p, "cpu.cfs_period_us", share->period_us);
	if (!error)
		p->share = *share;
	return error;
}

/* A capacity of 0 is that of host CPUs which nobody shares. */
static struct apmp__cpu_share share_of(const struct apmp__cpuset_partition *p)
{
	struct apmp__cpu_share share = {.period_us = PERIOD_US};
	uint64_t capacity = p->capacity ? p->capacity : 1000u * (unsigned)CPU_COUNT(&p->host_cpus);

	share.weight = WEIGHT * capacity / 1000;
	if (share.weight < WEIGHT_MIN)
		share.weight = WEIGHT_MIN;
	if (!p->capacity)
		return share;
	if (share.period_us * capacity < 1000 * QUOTA_MIN_US)
		share.period_us = 1000 * QUOTA_MIN_US / capacity;
	if (share.period_us > PERIOD_MAX_US)
		share.period_us = PERIOD_MAX_US;
	share.quota_us = share.period_us * capacity / 1000;
	if (share.quota_us < QUOTA_MIN_US)
		share.quota_us = QUOTA_MIN_US;
	return share;
}

int apmp__quota_write(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	struct apmp__cpu_share share = share_of(p);
	int error = p->quota_fd < 0 ? 0 : write_share(p, &share);

	if (error) {
		p->share = (struct apmp__cpu_share){0}; /* not known: all of it is written next */
		apmp__cpuset_fail(set, error,
				  "cannot give programs of partition \"%s\" %.3f host CPUs in %s: "
				  "%s",
				  p->name, p->capacity / 1000.0, set->quota_path,
				  error == -EINVAL ? "a group above allows less"
						   : strerror(-error));
	}
	return error;
}

static void group_name(const struct apmp__cpuset_partition *p, char *ret_name, size_t size)
{
	snprintf(ret_name, size, "P-%s", p->name);
}

static int make_group(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	char name[APMP_NAME_SIZE + 2];
	int error = 0;

	group_name(p, name, sizeof(name));
	if (mkdirat(set->quota_fd, name, 0755) < 0 && errno != EEXIST)
		return fail(set, -errno, "cannot make a group in");
	p->quota_fd = openat(set->quota_fd, name, DIR_FLAGS);
	if (p->quota_fd < 0)
		return fail(set, -errno, "cannot open a group in");
	p->share = (struct apmp__cpu_share){0};
	error = apmp__quota_write(set, p);
	if (error) {
		close(p->quota_fd);
		p->quota_fd = -1;
		unlinkat(set->quota_fd, name, AT_REMOVEDIR); /* the first error is told */
	}
	return error;
}

int apmp__quota_door(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	int fd, error = p->quota_fd < 0 ? make_group(set, p) : 0;

	if (error)
		return error;
	fd = openat(p->quota_fd, "tasks", O_WRONLY | O_CLOEXEC);
	return fd < 0 ? fail(set, -errno, "cannot open a group in") : fd;
}

int apmp__quota_remove(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	char name[APMP_NAME_SIZE + 2];
	int error;

	if (p->quota_fd < 0)
		return 0;
	group_name(p, name, sizeof(name));
	error = apmp__cgroup_remove_below(p->quota_fd);
	if (!error)
		error = apmp__cgroup_remove(set->quota_fd, name, p->quota_fd);
	if (error)
		return fail(set, error, "cannot remove a group in");
	apmp__quota_forget(p);
	return 0;
}

void apmp__quota_forget(struct apmp__cpuset_partition *p)
{
	if (p->quota_fd >= 0)
		close(p->quota_fd);
	p->quota_fd = -1;
}

int apmp__quota_machine_remove(struct apmp_cpuset *set)
{
	int error = set->quota_fd < 0 ? 0 : apmp__cgroup_remove_below(set->quota_fd);

	if (!error && set->quota_fd >= 0 && rmdir(set->quota_path) < 0 && errno != ENOENT)
		error = -errno;
	return error ? fail(set, error, "cannot remove") : 0;
}
