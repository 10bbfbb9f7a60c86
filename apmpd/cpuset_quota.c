/* The share of host CPU time that the programs of a partition get.
 *
 * WHAT     A quota keeps them to the capacity of their partition's CPUs however idle the host is; a
 *          weight in the same proportion divides a host that is busier than that.
 * v1       apmp-MACHINE/P-PARTITION in the cpu hierarchy, below our own group there (or the one
 *          that `doctor --fix` made), with the partition's programs in it and never its instance.
 * v2       The quota is that of P-PARTITION/programs.  Weights are divided from the top down, so
 *          P-PARTITION has that of its capacity, and within it the instance comes first.
 * STATES   of a partition's share: none -> made (its first program) -> removed (its partition).
 *          What is set before the first program is only kept in mind: partitions without programs
 *          cost a migration nothing here.
 * LOCKS    As cpuset_cgroup.c: the machine's group is locked for the life of the box.
 * LIMITS   v1 takes no quota above that of a group above: there is none then, and the weight alone
 *          divides what that group has, until the capacity changes.
 *          A quota is over all host CPUs of the partition: programs of one whose CPUs stand partly
 *          on crowded and partly on less crowded host CPUs may use either kind for all of it.
 *          On a kernel with CONFIG_RT_GROUP_SCHED programs can't have a real-time class.
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
/* Of a whole host CPU: as much as one thread that is in no group, so that all programs of a machine
 * weigh no more there than any thread of an instance that wakes up.  In v2 that is 100. */
#define WEIGHT	      1024u
#define WEIGHT_MIN    2u
#define WEIGHT_V2     100u
#define WEIGHT_MAX_V2 10000u

static const char *place(const struct apmp_cpuset *set)
{
	return set->quota_path[0] ? set->quota_path : set->path;
}

static int fail(struct apmp_cpuset *set, int error, const char *what)
{
	return apmp__cpuset_fail(set, error, "%s %s: %s", what, place(set),
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

static bool is_v2(const struct apmp_cpuset *set)
{
	return set->ops->kind == APMP_CPUSET_CGROUP_V2;
}

static void v2_open(struct apmp_cpuset *set)
{
	int error = apmp__cgroup_write(set->dir_fd, "cgroup.subtree_control", "+cpu");

	if (error)
		snprintf(set->no_quota, sizeof(set->no_quota), "%s: %s", set->path,
			 error == -ENOENT ? "the cpu controller is not handed down to it"
					  : strerror(-error));
}

static void v1_open(struct apmp_cpuset *set)
{
	char mount[PATH_MAX], base[PATH_MAX];
	int error = apmp_cgroup_own("cpu", mount, base, sizeof(base));

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

void apmp__quota_open(struct apmp_cpuset *set)
{
	if (is_v2(set))
		v2_open(set);
	else if (set->ops->kind == APMP_CPUSET_CGROUP_V1)
		v1_open(set);
	else
		snprintf(set->no_quota, sizeof(set->no_quota), "%s has no groups for that",
			 apmp_cpuset_kind_name(set->ops->kind));
}

static int write_number(const struct apmp__cpuset_partition *p, const char *file, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%ju", (uintmax_t)number);
	return apmp__cgroup_write(p->quota_fd, file, text);
}

/* Writes what the kernel does not have yet.  A period that grows goes first and one that shrinks
 * goes last: in between the quota is too small rather than more than a group above may allow. */
static int v1_write_all(struct apmp__cpuset_partition *p, const struct apmp__cpu_share *share)
{
	const bool grows = share->period_us > p->share.period_us;
	const bool unlimited = !p->share.quota_us && p->share.period_us; /* and known */
	int error = 0;

	if (share->weight != p->share.weight)
		error = write_number(p, "cpu.shares", share->weight);
	if (!error && grows)
		error = write_number(p, "cpu.cfs_period_us", share->period_us);
	if (!error && !share->quota_us && !unlimited)
		error = apmp__cgroup_write(p->quota_fd, "cpu.cfs_quota_us", "-1");
	else if (!error && share->quota_us && share->quota_us != p->share.quota_us)
		error = write_number(p, "cpu.cfs_quota_us", share->quota_us);
	if (!error && share->period_us < p->share.period_us)
		error = write_number(p, "cpu.cfs_period_us", share->period_us);
	return error;
}

/* A group above, such as a container's, may allow less: then that holds, and what each partition
 * gets of it goes by weight alone. */
static int v1_write(struct apmp__cpuset_partition *p, const struct apmp__cpu_share *share)
{
	int error = v1_write_all(p, share);

	if (error != -EINVAL)
		return error;
	error = apmp__cgroup_write(p->quota_fd, "cpu.cfs_quota_us", "-1");
	return error ? error : write_number(p, "cpu.cfs_period_us", share->period_us);
}

static int v2_write(struct apmp__cpuset_partition *p, const struct apmp__cpu_share *share)
{
	uint64_t weight = share->weight * WEIGHT_V2 / WEIGHT;
	char text[64];
	int error;

	weight = weight < 1 ? 1 : weight > WEIGHT_MAX_V2 ? WEIGHT_MAX_V2 : weight;
	snprintf(text, sizeof(text), "%ju", (uintmax_t)weight);
	error = apmp__cgroup_write(p->dir_fd, "cpu.weight", text);
	if (share->quota_us)
		snprintf(text, sizeof(text), "%ju %ju", (uintmax_t)share->quota_us,
			 (uintmax_t)share->period_us);
	else
		snprintf(text, sizeof(text), "max %ju", (uintmax_t)share->period_us);
	return error ? error : apmp__cgroup_write(p->quota_fd, "cpu.max", text);
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
	int error;

	if (p->quota_fd < 0 || memcmp(&share, &p->share, sizeof(share)) == 0)
		return 0;
	error = is_v2(set) ? v2_write(p, &share) : v1_write(p, &share);
	if (!error) {
		p->share = share;
	} else {
		p->share = (struct apmp__cpu_share){0}; /* not known: all of it is written next */
		apmp__cpuset_fail(set, error,
				  "cannot give programs of partition \"%s\" %.3f host CPUs in %s: "
				  "%s",
				  p->name, p->capacity / 1000.0, place(set), strerror(-error));
	}
	return error;
}

static void group_name(const struct apmp__cpuset_partition *p, char *ret_name, size_t size)
{
	snprintf(ret_name, size, "P-%s", p->name);
}

static int v1_make(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	char name[APMP_NAME_SIZE + 2];

	group_name(p, name, sizeof(name));
	if (mkdirat(set->quota_fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	p->quota_fd = openat(set->quota_fd, name, DIR_FLAGS);
	return p->quota_fd < 0 ? -errno : 0;
}

static int v2_make(struct apmp__cpuset_partition *p)
{
	char most[16];
	int error = apmp__cgroup_write(p->dir_fd, "cgroup.subtree_control", "+cpu");

	snprintf(most, sizeof(most), "%u", WEIGHT_MAX_V2);
	if (!error)
		error = apmp__cgroup_write(p->dir_fd, "instance/cpu.weight", most);
	if (error)
		return error;
	p->quota_fd = openat(p->dir_fd, "programs", DIR_FLAGS);
	return p->quota_fd < 0 ? -errno : 0;
}

int apmp__quota_begin(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	int error;

	if (set->no_quota[0] || p->quota_fd >= 0)
		return 0;
	error = is_v2(set) ? v2_make(p) : v1_make(set, p);
	if (error)
		return fail(set, error, "cannot make a group in");
	p->share = (struct apmp__cpu_share){0};
	error = apmp__quota_write(set, p);
	if (error)
		apmp__quota_forget(p); /* an empty group, which is found again */
	return error;
}

int apmp__quota_door(struct apmp_cpuset *set, const struct apmp__cpuset_partition *p)
{
	int fd = openat(p->quota_fd, "tasks", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? fail(set, -errno, "cannot open a group in") : fd;
}

int apmp__quota_remove(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	char name[APMP_NAME_SIZE + 2];
	int error;

	if (p->quota_fd < 0 || is_v2(set)) {
		apmp__quota_forget(p);
		return 0;
	}
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
