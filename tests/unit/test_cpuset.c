/* Host CPUs of partitions: every back end that works here does the same.
 *
 * Each test runs once for each back end (_i is its kind) and is left out where that one does not
 * work.  Children wait on a pipe, so nothing waits for a time.
 */
#include "apmpd/cpuset_ops.h"
#include "apmpd/process_list.h"
#include "tests/unit/family.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* a bound for what has no reason to last; never waited in full */

static char machine[32];

static struct apmp_cpuset *open_kind(int kind)
{
	struct apmp_cpuset *set;
	char why[8192];

	if (apmp_cpuset_probe(kind, why, sizeof(why)) < 0) {
		fprintf(stderr, "left out, no %s: %s\n", apmp_cpuset_kind_name(kind), why);
		return NULL;
	}
	ck_assert_int_eq(apmp_cpuset_open(machine, kind, &set), 0);
	ck_assert_int_eq(apmp_cpuset_kind(set), kind);
	return set;
}

static void close_empty(struct apmp_cpuset *set)
{
	ck_assert_msg(apmp_cpuset_machine_remove(set) == 0, "%s", apmp_cpuset_error(set));
	if (apmp_cpuset_path(set))
		ck_assert_int_lt(access(apmp_cpuset_path(set), F_OK), 0);
	if (apmp_cpuset_quota_path(set))
		ck_assert_int_lt(access(apmp_cpuset_quota_path(set), F_OK), 0);
	apmp_cpuset_close(set);
}

START_TEST(text)
{
	static const char *const lists[] = {"", "0", "0-3", "0,2", "0-1,3-5,1023"};
	static const char *const wrong[] = {"x", "1-", "-1", "3-1", "1,,2", "1 2", "1;2"};
	char out[APMP_CPUSET_TEXT_SIZE];
	cpu_set_t cpus;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		ck_assert_int_eq(apmp_cpuset_parse(lists[i], &cpus), 0);
		ck_assert_int_eq(apmp_cpuset_format(&cpus, out, sizeof(out)), 0);
		ck_assert_str_eq(out, lists[i]);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(apmp_cpuset_parse(wrong[i], &cpus), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_parse("1024", &cpus), -ERANGE);
	ck_assert_int_eq(apmp_cpuset_parse("0-99999999999999999999", &cpus), -ERANGE);
	ck_assert_int_eq(apmp_cpuset_parse("0-1\n", &cpus), 0);
	ck_assert_int_eq(apmp_cpuset_format(&cpus, out, 3), -ENOSPC);
	/* The longest text there is: every other CPU. */
	CPU_ZERO(&cpus);
	for (int cpu = 1; cpu < CPU_SETSIZE; cpu += 2)
		CPU_SET(cpu, &cpus);
	ck_assert_int_eq(apmp_cpuset_format(&cpus, out, sizeof(out)), 0);
}
END_TEST

START_TEST(refusals)
{
	struct apmp_cpuset *set = open_kind(_i), *other;
	cpu_set_t all, none, high = only(CPU_SETSIZE - 1);
	int first, second;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	CPU_ZERO(&none);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "a", &none), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "a", &high), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "../a", &all), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "a", &all), 0);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "a", &all), -EEXIST);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "a", &none, 0), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "a", &high, 0), -EINVAL);
	ck_assert_ptr_nonnull(strstr(apmp_cpuset_error(set), "1023"));
	assert_partition(set, "a", &all);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "b", &all, 0), -ENOENT);
	ck_assert_int_eq(apmp_cpuset_partition_get(set, "b", &all), -ENOENT);
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "b", 0), -ENOENT);
	ck_assert_int_eq(apmp_cpuset_partition_remove(set, "b"), -ENOENT);
	ck_assert_int_eq(apmp_cpuset_enter(set, "b", APMP_CPUSET_PROGRAMS, getpid()), -ENOENT);
	ck_assert_int_eq(apmp_cpuset_enter(set, "a", APMP_CPUSET_PROGRAMS, -1), -EINVAL);
	ck_assert_int_eq(apmp_cpuset_enter(set, "a", APMP_CPUSET_PROGRAMS, 1 << 22), -ESRCH);
	ck_assert_int_eq(apmp_cpuset_open("Bad", _i, &other), -EINVAL);
	if (apmp_cpuset_path(set)) {
		ck_assert_int_eq(apmp_cpuset_open(machine, _i, &other), -EBUSY);
		ck_assert_int_eq(apmp_cpuset_path_held(apmp_cpuset_path(set)), 1);
		ck_assert_int_eq(apmp_cpuset_path_clean(apmp_cpuset_path(set), 0), -EBUSY);
	}
	close_empty(set);
}
END_TEST

/* Every thread and child follows; a second partition is left alone. */
START_TEST(follows)
{
	struct apmp_cpuset *set = open_kind(_i);
	struct family programs, instance;
	cpu_set_t all, one, two;
	int first, second;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	programs = family_make(3);
	instance = family_make(0);
	one = only(first);
	two = only(second < 0 ? first : second);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "web", &one), 0);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "db", &all), 0);
	for (int i = 0; i < programs.count; i++)
		ck_assert_int_eq(
		    apmp_cpuset_enter(set, "web", APMP_CPUSET_PROGRAMS, programs.members[i]), 0);
	ck_assert_int_eq(apmp_cpuset_enter(set, "db", APMP_CPUSET_INSTANCE, instance.first), 0);
	family_assert(&programs, &one);
	family_assert(&instance, &all);
	ck_assert_int_eq(apmp_cpuset_partition_pids(set, "web", NULL, 0), 4);
	/* to another one (through the union), growing, shrinking */
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "web", &two, 0), 0);
	assert_partition(set, "web", &two);
	family_assert(&programs, &two);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "web", &all, 0), 0);
	assert_partition(set, "web", &all);
	family_assert(&programs, &all);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "web", &one, 0), 0);
	family_assert(&programs, &one);
	family_assert(&instance, &all);
	ck_assert_int_eq(apmp_cpuset_partition_remove(set, "web"), -EBUSY);
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "web", PATIENCE_MS), 0);
	ck_assert_int_eq(apmp_cpuset_partition_remove(set, "web"), 0);
	ck_assert_int_eq(apmp_cpuset_machine_remove(set), -EBUSY);
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "db", PATIENCE_MS), 0);
	close_empty(set);
	family_end(&programs);
	family_end(&instance);
}
END_TEST

/* What stands in a file of a folder that is no group; it is empty again afterwards. */
static void assert_written(int dir_fd, const char *file, const char *wanted)
{
	char has[64];
	int n = apmp__cgroup_read(dir_fd, file, has, sizeof(has));

	ck_assert_int_ge(n, 0);
	ck_assert_str_eq(has, wanted);
	ck_assert_int_eq(unlinkat(dir_fd, file, 0), 0);
	close(openat(dir_fd, file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* Of v2 this host may have no cpu controller to try it with: what would be written, into files. */
START_TEST(share_v2)
{
	static const char *const files[] = {"cgroup.subtree_control", "cpu.weight",
					    "instance/cpu.weight", "programs/cpu.max"};
	struct apmp_cpuset set = {.ops = &apmp__cpuset_cgroup_v2};
	struct apmp__cpuset_partition p = {.name = "p", .capacity = 1333, .quota_fd = -1};
	char folder[] = "/tmp/apmp-unit-XXXXXX";

	p.host_cpus = only(0);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	p.dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(set.no_quota, sizeof(set.no_quota), "it is not so");
	ck_assert_int_eq(apmp__quota_begin(&set, &p), 0);
	ck_assert_int_lt(p.quota_fd, 0);
	set.no_quota[0] = '\0';
	ck_assert_int_eq(apmp__quota_begin(&set, &p), -ENOENT);
	ck_assert_int_eq(mkdirat(p.dir_fd, "instance", 0700), 0);
	ck_assert_int_eq(mkdirat(p.dir_fd, "programs", 0700), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		close(openat(p.dir_fd, files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(apmp__quota_begin(&set, &p), 0);
	assert_written(p.dir_fd, "cgroup.subtree_control", "+cpu");
	assert_written(p.dir_fd, "instance/cpu.weight", "10000");
	assert_written(p.dir_fd, "cpu.weight", "133");
	assert_written(p.dir_fd, "programs/cpu.max", "13330 10000");
	ck_assert_int_eq(apmp__quota_write(&set, &p), 0); /* nothing new */
	assert_written(p.dir_fd, "programs/cpu.max", "");
	p.capacity = 0;
	ck_assert_int_eq(apmp__quota_write(&set, &p), 0);
	assert_written(p.dir_fd, "cpu.weight", "100");
	assert_written(p.dir_fd, "programs/cpu.max", "max 10000");
	ck_assert_int_eq(apmp__quota_remove(&set, &p), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(p.dir_fd, files[i], 0);
	unlinkat(p.dir_fd, "instance", AT_REMOVEDIR);
	unlinkat(p.dir_fd, "programs", AT_REMOVEDIR);
	close(p.dir_fd);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* Of v1 what is written into a group that has an old quota, or that refused something: all. */
START_TEST(share_v1_of_no_known_quota)
{
	static const char *const files[] = {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"};
	struct apmp_cpuset set = {.ops = &apmp__cpuset_cgroup_v1};
	struct apmp__cpuset_partition p = {.name = "p", .quota_fd = -1};
	char folder[] = "/tmp/apmp-unit-XXXXXX";
	int fd;

	p.host_cpus = only(0);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	set.quota_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkdirat(set.quota_fd, "P-p", 0700), 0);
	fd = openat(set.quota_fd, "P-p", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		close(openat(fd, files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(apmp__quota_begin(&set, &p), 0);
	assert_written(fd, "cpu.cfs_quota_us", "-1");
	p.capacity = 500;
	ck_assert_int_eq(apmp__quota_write(&set, &p), 0);
	assert_written(fd, "cpu.cfs_quota_us", "5000");
	p.capacity = 0;
	ck_assert_int_eq(unlinkat(fd, "cpu.shares", 0), 0);
	ck_assert_int_eq(apmp__quota_write(&set, &p), -ENOENT);
	close(openat(fd, "cpu.shares", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(apmp__quota_write(&set, &p), 0);
	assert_written(fd, "cpu.cfs_quota_us", "-1");
	apmp__quota_forget(&p);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(fd, files[i], 0);
	close(fd);
	ck_assert_int_eq(unlinkat(set.quota_fd, "P-p", AT_REMOVEDIR), 0);
	close(set.quota_fd);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static void close_doors(const int doors[APMP_CPUSET_DOORS])
{
	for (int i = 0; i < APMP_CPUSET_DOORS; i++)
		if (doors[i] >= 0)
			close(doors[i]);
}

/* What a file of partition p's share holds, up to the end of its line. */
static void assert_share(const struct apmp_cpuset *set, const char *file, const char *wanted)
{
	const char *top = apmp_cpuset_quota_path(set);
	char path[5000], line[64] = "";
	FILE *in;

	snprintf(path, sizeof(path), "%s/P-p/%s", top ? top : apmp_cpuset_path(set), file);
	in = fopen(path, "r");
	ck_assert_msg(in != NULL, "there is no %s", path);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), in));
	fclose(in);
	line[strcspn(line, "\n")] = '\0';
	ck_assert_msg(strcmp(line, wanted) == 0, "%s is %s, not %s", file, line, wanted);
}

static void assert_quota(const struct apmp_cpuset *set, long quota_us, long period_us, long weight)
{
	char quota[24] = "max", both[64], number[24];

	if (quota_us > 0 || apmp_cpuset_kind(set) == APMP_CPUSET_CGROUP_V1)
		snprintf(quota, sizeof(quota), "%ld", quota_us);
	if (apmp_cpuset_kind(set) == APMP_CPUSET_CGROUP_V1) {
		assert_share(set, "cpu.cfs_quota_us", quota);
		snprintf(number, sizeof(number), "%ld", period_us);
		assert_share(set, "cpu.cfs_period_us", number);
		snprintf(number, sizeof(number), "%ld", weight);
		assert_share(set, "cpu.shares", number);
		return;
	}
	snprintf(both, sizeof(both), "%s %ld", quota, period_us);
	assert_share(set, "programs/cpu.max", both);
	snprintf(number, sizeof(number), "%ld", weight * 100 / 1024 ? weight * 100 / 1024 : 1);
	assert_share(set, "cpu.weight", number);
}

static void set_capacity(struct apmp_cpuset *set, const cpu_set_t *cpus, unsigned capacity)
{
	ck_assert_msg(apmp_cpuset_partition_set(set, "p", cpus, capacity) == 0, "%s",
		      apmp_cpuset_error(set));
}

/* The kernel takes each.  shows: CPU-15 */
START_TEST(share)
{
	static const struct {
		unsigned capacity;
		long quota_us, period_us, weight;
	} shares[] = {{333, 3330, 10000, 340},	 {1333, 13330, 10000, 1364}, {31, 1000, 32258, 31},
		      {0, -1, 10000, 0},	 {100, 1000, 10000, 102},    {1, 1000, 1000000, 2},
		      {2000, 20000, 10000, 2048}};
	struct apmp_cpuset *set = open_kind(_i);
	struct family family;
	int first, second;
	cpu_set_t all, one;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	if (*apmp_cpuset_no_quota(set)) {
		fprintf(stderr, "left out, no quota: %s\n", apmp_cpuset_no_quota(set));
		close_empty(set);
		return;
	}
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
	set_capacity(set, &all, 500); /* there is nobody yet: kept in mind */
	family = family_make(0);
	ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, family.first), 0);
	assert_quota(set, 5000, 10000, 512);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		set_capacity(set, &all, shares[i].capacity);
		assert_quota(set, shares[i].quota_us, shares[i].period_us,
			     shares[i].weight ? shares[i].weight : 1024L * CPU_COUNT(&all));
	}
	/* That of host CPUs which nobody shares follows their number. */
	set_capacity(set, &all, 0);
	one = only(first);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &one, 0), 0);
	assert_quota(set, -1, 10000, 1024);
	ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &all, 0), 0);
	assert_quota(set, -1, 10000, 1024L * CPU_COUNT(&all));
	family_end(&family);
	close_empty(set);
}
END_TEST

/* An instance is never held back: it has no door to the group with the quota. */
START_TEST(share_of_an_instance)
{
	struct apmp_cpuset *set = open_kind(APMP_CPUSET_CGROUP_V1);
	int first, second, doors[APMP_CPUSET_DOORS];
	cpu_set_t all;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
	ck_assert_int_eq(apmp_cpuset_doors(set, "p", APMP_CPUSET_INSTANCE, doors), 0);
	ck_assert_int_eq(doors[1], -1);
	close_doors(doors);
	close_empty(set);
}
END_TEST

/* A new process goes in by itself, and what it forks is there too. */
START_TEST(goes_in_by_itself)
{
	struct apmp_cpuset *set = open_kind(_i);
	cpu_set_t all;
	int first, second, doors[APMP_CPUSET_DOORS], told, wires[2], status;
	char c;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "web", &all), 0);
	told = apmp_cpuset_doors(set, "web", APMP_CPUSET_PROGRAMS, doors);
	ck_assert_int_eq(apmp_cpuset_doors(set, "db", APMP_CPUSET_PROGRAMS, doors), -ENOENT);
	if (_i == APMP_CPUSET_CGROUP_V1) {
		ck_assert_int_eq(told, 0);
		ck_assert_int_eq(doors[1] >= 0, apmp_cpuset_quota_path(set) != NULL);
		ck_assert_int_eq(pipe(wires), 0);
		if (fork() == 0) {
			for (int i = 0; i < APMP_CPUSET_DOORS; i++)
				if (doors[i] >= 0 && write(doors[i], "0", 1) != 1)
					_exit(1);
			if (fork() < 0 || write(wires[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(read(wires[0], &c, 1), 1);
		ck_assert_int_eq(apmp_cpuset_partition_pids(set, "web", NULL, 0), 2);
		ck_assert_int_eq(apmp_cpuset_partition_kill(set, "web", PATIENCE_MS), 0);
		ck_assert_int_gt(wait(&status), 0);
		ck_assert(WIFSIGNALED(status));
		close_doors(doors);
		close(wires[0]);
		close(wires[1]);
	} else {
		ck_assert_int_eq(told, -ENOTSUP);
	}
	close_empty(set);
}
END_TEST

/* Whether the kernel keeps in mind what a thread chose for itself (see cpuset.h). */
static bool kernel_remembers(void)
{
	struct utsname host;
	int major, minor;

	ck_assert_int_eq(uname(&host), 0);
	ck_assert_int_eq(sscanf(host.release, "%d.%d", &major, &minor), 2);
	return major > 6 || (major == 6 && minor >= 2);
}

START_TEST(pinned)
{
	struct apmp_cpuset *set = open_kind(_i);
	const bool affinity = _i == APMP_CPUSET_AFFINITY, remembers = kernel_remembers();
	cpu_set_t all, one, two;
	struct family family;
	int first, second;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	family = family_make(0);
	if (second >= 0) {
		one = only(first);
		two = only(second);
		CPU_OR(&all, &one, &two);
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
		ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_INSTANCE, family.first),
				 0);
		ck_assert_int_eq(sched_setaffinity(family.threads[0], sizeof(two), &two), 0);
		/* its CPU stays: so does its mask */
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &two, 0), 0);
		assert_mask(family.threads[0], &two);
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &all, 0), 0);
		assert_mask(family.threads[0], affinity || remembers ? &two : &all);
		/* its CPU goes: it gets what there is */
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &one, 0), 0);
		assert_mask(family.threads[0], &one);
		/* and comes back: so does its mask, but with affinity nobody remembers it */
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &all, 0), 0);
		assert_mask(family.threads[0], affinity ? &one : remembers ? &two : &all);
		ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
	}
	close_empty(set);
	family_end(&family);
}
END_TEST

/* Children that were made after entering, and by parents that have ended, die as well. */
START_TEST(kills_descendants)
{
	struct apmp_cpuset *set = open_kind(_i);
	int go[2], told[2], first, second;
	struct apmp_process process;
	pid_t child, orphan;
	cpu_set_t all;
	char c = 0;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		setsid();
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		orphan = fork();
		if (orphan == 0 && fork() == 0) {
			orphan = getpid();
			_exit(write(told[1], &orphan, sizeof(orphan)) < 0 || pause() < 0);
		}
		pause();
	}
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
	ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, child), 0);
	ck_assert_int_eq(write(go[1], &c, 1), 1);
	ck_assert_int_eq(read(told[0], &orphan, sizeof(orphan)), sizeof(orphan));
	ck_assert_int_eq(apmp_process_get(orphan, &process), 0);
	ck_assert_int_eq(apmp_cpuset_partition_pids(set, "p", NULL, 0), 3);
	/* Its parent ends; the group, or the session, still knows it. */
	ck_assert_int_eq(kill(process.parent, SIGKILL), 0);
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
	ck_assert(!apmp_process_alive(orphan, process.starttime));
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close_empty(set);
}
END_TEST

/* A process that goes on in its child as fast as it can: no pid lives long enough to be listed and
 * killed.  It ends by itself after STORM generations, lest a failed test leave it behind. */
#define STORM 20000

static void storm(int go, int told)
{
	char c;

	setsid();
	signal(SIGCHLD, SIG_IGN);
	if (read(go, &c, 1) != 1)
		_exit(1);
	for (int i = 0; i < STORM; i++)
		if (fork() != 0 || (i == 50 && write(told, &c, 1) < 0))
			_exit(0);
	/* Nobody has killed it: the test sees this byte. */
	_exit(write(told, &c, 1) < 0);
}

START_TEST(kills_a_storm)
{
	struct apmp_cpuset *set;
	int go[2], told[2], first, second;
	cpu_set_t all;
	char c = 0;
	pid_t child;

	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		close(go[1]);
		storm(go[0], told[1]);
	}
	close(told[1]);
	set = open_kind(_i);
	if (set) {
		all = host_cpus(&first, &second);
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
		ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, child), 0);
		ck_assert_int_eq(write(go[1], &c, 1), 1);
		ck_assert_int_eq(read(told[0], &c, 1), 1);
		ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
		/* They held the other end: the end of file comes when all are gone. */
		ck_assert_int_eq(read(told[0], &c, 1), 0);
		close_empty(set);
	}
	close(go[1]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* The box ends without a word: its groups are found, its processes killed. */
START_TEST(cleans_after_death)
{
	/* Before the group is opened: a fork would keep its lock. */
	struct family family = family_make(1);
	struct apmp_cpuset *set = open_kind(_i);
	int first, second, count;
	char path[4096], quota[4096], **paths;
	cpu_set_t all;

	if (set && apmp_cpuset_path(set)) {
		const char *quota_path = apmp_cpuset_quota_path(set);

		all = host_cpus(&first, &second);
		snprintf(quota, sizeof(quota), "%s", quota_path ? quota_path : "");
		snprintf(path, sizeof(path), "%s", apmp_cpuset_path(set));
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
		for (int i = 0; i < family.count; i++)
			ck_assert_int_eq(
			    apmp_cpuset_enter(set, "p", APMP_CPUSET_INSTANCE, family.members[i]),
			    0);
		apmp_cpuset_close(set);
		set = NULL;
		ck_assert_int_eq(apmp_cpuset_path_held(path), 0);
		ck_assert_int_eq(apmp_cpuset_open(machine, _i, &set), -EBUSY);
		count = apmp_cpuset_path_list(machine, &paths);
		ck_assert_int_eq(count, 1 + (quota[0] != '\0'));
		ck_assert_str_eq(paths[0], path);
		if (quota[0]) {
			ck_assert_str_eq(paths[1], quota);
			ck_assert_int_eq(apmp_cpuset_path_clean(quota, PATIENCE_MS), 0);
			free(paths[1]);
		}
		free(paths[0]);
		free(paths);
		ck_assert_int_eq(apmp_cpuset_path_clean(path, PATIENCE_MS), 2);
		ck_assert_int_eq(apmp_cpuset_path_clean(path, PATIENCE_MS), -ENOENT);
		ck_assert_int_eq(apmp_cpuset_path_clean("/tmp", 0), -EINVAL);
		ck_assert_int_eq(apmp_cpuset_path_clean("apmp-x", 0), -EINVAL);
	}
	if (set)
		close_empty(set);
	family_end(&family);
}
END_TEST

/* A group that a program has made keeps its host CPU, so the way from one host CPU to another ends
 * half-way: at both. */
START_TEST(refused_by_a_group_stays)
{
	struct apmp_cpuset *set = open_kind(APMP_CPUSET_CGROUP_V1);
	struct family family;
	int first, second, fd;
	cpu_set_t one, two;
	char cpus[16];

	if (!set)
		return;
	(void)host_cpus(&first, &second);
	if (second >= 0) {
		one = only(first);
		two = only(second);
		family = family_make(0);
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &one), 0);
		ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, family.first),
				 0);
		ck_assert_int_eq(mkdirat(set->dir_fd, "P-p/programs/own", 0755), 0);
		fd = openat(set->dir_fd, "P-p/programs/own", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		snprintf(cpus, sizeof(cpus), "%d", first);
		ck_assert_int_eq(apmp__cgroup_write(fd, "cpuset.cpus", cpus), 0);
		close(fd);
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &two, 0), -EBUSY);
		assert_partition(set, "p", &one);
		family_assert(&family, &one);
		ck_assert_int_eq(unlinkat(set->dir_fd, "P-p/programs/own", AT_REMOVEDIR), 0);
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &two, 0), 0);
		assert_partition(set, "p", &two);
		family_assert(&family, &two);
		family_end(&family);
	}
	close_empty(set);
}
END_TEST

/* Without groups: a process that may not be there is refused when others have been changed. */
START_TEST(refused_by_a_process_stays)
{
	struct apmp_cpuset *set = open_kind(APMP_CPUSET_AFFINITY),
			   *fence = open_kind(APMP_CPUSET_CGROUP_V1);
	struct family family;
	int first, second;
	cpu_set_t all = host_cpus(&first, &second), one = only(first), two;

	if (fence && second >= 0) {
		two = only(second);
		family = family_make(1);
		ck_assert_int_eq(apmp_cpuset_partition_create(fence, "q", &one), 0);
		for (int i = 0; i < 2; i++)
			if (family.members[i] != family.first)
				ck_assert_int_eq(apmp_cpuset_enter(fence, "q", APMP_CPUSET_PROGRAMS,
								   family.members[i]),
						 0);
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
		ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, family.first),
				 0);
		ck_assert_int_eq(apmp_cpuset_partition_pids(set, "p", NULL, 0), 2);
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &two, 0), -EINVAL);
		assert_partition(set, "p", &all);
		assert_mask(family.first, &all);
		ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
		family_end(&family);
	}
	close_empty(set);
	if (fence)
		close_empty(fence);
}
END_TEST

/* CPUs and capacity are one. */
START_TEST(refused_by_a_quota_stays)
{
	struct apmp_cpuset *set = open_kind(APMP_CPUSET_CGROUP_V1);
	char folder[] = "/tmp/apmp-unit-XXXXXX";
	struct family family;
	int first, second, quota_fd;
	cpu_set_t all, one;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	if (second >= 0 && !*apmp_cpuset_no_quota(set)) {
		one = only(first);
		family = family_make(0);
		ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
		ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, family.first),
				 0);
		ck_assert_ptr_nonnull(mkdtemp(folder));
		quota_fd = set->partitions->quota_fd;
		set->partitions->quota_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ck_assert_int_eq(apmp_cpuset_partition_set(set, "p", &one, 500), -ENOENT);
		assert_partition(set, "p", &all);
		close(set->partitions->quota_fd);
		set->partitions->quota_fd = quota_fd;
		ck_assert_int_eq(rmdir(folder), 0);
		set_capacity(set, &all, 0);
		assert_quota(set, -1, 10000, 1024L * CPU_COUNT(&all));
		family_end(&family);
	}
	close_empty(set);
}
END_TEST

/* Why an empty set is not asked of the kernel: v1 refuses it for a group with processes. */
START_TEST(kernel_refuses_empty_set)
{
	struct apmp_cpuset *set = open_kind(APMP_CPUSET_CGROUP_V1);
	struct family family;
	int first, second, fd;
	char path[5000];
	cpu_set_t all;

	if (!set)
		return;
	all = host_cpus(&first, &second);
	family = family_make(0);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
	ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_INSTANCE, family.first), 0);
	snprintf(path, sizeof(path), "%s/P-p/instance/cpuset.cpus", apmp_cpuset_path(set));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_lt(write(fd, "\n", 1), 0);
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
	close_empty(set);
	family_end(&family);
}
END_TEST

START_TEST(chooses_the_best)
{
	enum apmp_cpuset_kind kind = APMP_CPUSET_AUTO;
	struct apmp_cpuset *set;
	char why[8192];

	ck_assert_int_eq(apmp_cpuset_open(machine, APMP_CPUSET_AUTO, &set), 0);
	while (++kind < apmp_cpuset_kind(set)) {
		ck_assert_int_lt(apmp_cpuset_probe(kind, why, sizeof(why)), 0);
		ck_assert_str_ne(apmp_cpuset_why_not(set, kind), "");
	}
	ck_assert_int_eq(apmp_cpuset_probe(kind, why, sizeof(why)), 0);
	ck_assert_str_eq(apmp_cpuset_why_not(set, kind), "");
	close_empty(set);
}
END_TEST

/* After a failed test too, no group is left. */
static void clean_up(void)
{
	char **paths;
	int count = apmp_cpuset_path_list(machine, &paths);

	for (int i = 0; i < count; i++) {
		if (apmp_cpuset_path_clean(paths[i], PATIENCE_MS) < 0)
			fprintf(stderr, "left behind: %s\n", paths[i]);
		free(paths[i]);
	}
	if (count >= 0)
		free(paths);
}

int main(void)
{
	Suite *suite = suite_create("cpuset");
	TCase *tests = tcase_create("cpuset");
	SRunner *runner = srunner_create(suite);
	int failed;

	snprintf(machine, sizeof(machine), "unit.%d", getpid());
	suite_add_tcase(suite, tests);
	tcase_add_unchecked_fixture(tests, NULL, clean_up);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, text);
	tcase_add_test(tests, chooses_the_best);
	tcase_add_test(tests, kernel_refuses_empty_set);
	tcase_add_test(tests, refused_by_a_group_stays);
	tcase_add_test(tests, refused_by_a_process_stays);
	tcase_add_test(tests, refused_by_a_quota_stays);
	tcase_add_test(tests, share_of_an_instance);
	tcase_add_test(tests, share_v2);
	tcase_add_test(tests, share_v1_of_no_known_quota);
	tcase_add_loop_test(tests, share, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, refusals, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, follows, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, goes_in_by_itself, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, pinned, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, kills_descendants, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, kills_a_storm, 1, APMP_CPUSET_KIND_END);
	tcase_add_loop_test(tests, cleans_after_death, 1, APMP_CPUSET_KIND_END);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
