/* Uids of partitions: claimed by one box at a time, used by nobody else, taken on for good.
 *
 * As an ordinary user there is little to see; what needs root says so and passes.
 */
#include "apmpd/partition_uid.h"
#include "apmpd/process_list.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static char rundir[64]; /* of a box that does not exist */
static char why[128];

static void set_up(void)
{
	snprintf(rundir, sizeof(rundir), "/unit/%d", getpid());
}

/* Whether partitions can have uids here at all. */
static bool is_able(void)
{
	struct apmp_partition_uids uids;

	ck_assert_int_eq(apmp_partition_uids_claim(rundir, false, &uids, why, sizeof(why)), 0);
	if (!uids.first)
		fprintf(stderr, "passed over: %s\n", why);
	apmp_partition_uids_release(&uids);
	return why[0] == '\0';
}

static struct apmp_partition_uids claimed(const char *of, bool affinity)
{
	struct apmp_partition_uids uids;

	why[0] = '\0';
	ck_assert_int_eq(apmp_partition_uids_claim(of, affinity, &uids, why, sizeof(why)), 0);
	ck_assert_int_eq(uids.first == 0, uids.claim_fd < 0);
	ck_assert_int_eq(uids.first == 0, why[0] != '\0');
	return uids;
}

/* A child that does this; gives what it ended with. */
static int child(int (*act)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(act());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

START_TEST(two_boxes_never_share)
{
	struct apmp_partition_uids one, other, again;

	if (!is_able())
		return;
	one = claimed(rundir, true);
	ck_assert_uint_eq(one.first % APMP_MAX_PARTITIONS, 0);
	ck_assert_int_eq(fcntl(one.claim_fd, F_GETFD), FD_CLOEXEC);
	other = claimed(rundir, false); /* the same place to begin */
	ck_assert_uint_ne(one.first, other.first);
	ck_assert_int_eq(apmp_partition_uids_inherit(one.first, &again), -EADDRINUSE);
	apmp_partition_uids_release(&one);
	ck_assert_uint_eq(one.first, 0);
	one = claimed(rundir, false);
	ck_assert_int_eq(apmp_partition_uids_inherit(one.first, &again), -EADDRINUSE);
	apmp_partition_uids_release(&one);
	apmp_partition_uids_release(&other);
}
END_TEST

/* The kernel frees what a dead box had claimed. */
START_TEST(a_claim_dies_with_its_box)
{
	struct apmp_partition_uids uids;
	int wire[2];
	uid_t first;
	pid_t pid;

	if (!is_able())
		return;
	ck_assert_int_eq(pipe2(wire, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		uids = claimed(rundir, false);
		if (write(wire[1], &uids.first, sizeof(first)) != sizeof(first))
			_exit(1);
		pause();
	}
	ck_assert_int_eq(read(wire[0], &first, sizeof(first)), sizeof(first));
	ck_assert_int_eq(apmp_partition_uids_inherit(first, &uids), -EADDRINUSE);
	ck_assert(apmp_partition_uid_claimed(first) && apmp_partition_uid_claimed(first + 63));
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert(!apmp_partition_uid_claimed(first) && !apmp_partition_uid_claimed(0));
	ck_assert_int_eq(apmp_partition_uids_inherit(first, &uids), 0);
	ck_assert_uint_eq(uids.first, first);
	apmp_partition_uids_release(&uids);
}
END_TEST

START_TEST(what_is_no_block)
{
	static const uid_t odd[] = {0,	   1,	       1000,	   32767,      32769,
				    65534, 0x6fffffc0, 0x70000001, 0x70400000, UINT32_MAX};
	struct apmp_partition_uids uids;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		ck_assert_int_eq(apmp_partition_uids_inherit(odd[i], &uids), -EINVAL);
}
END_TEST

/* A process of a dead box keeps its block from others, also one that may not be dumped. */
START_TEST(a_block_with_a_process_is_not_free)
{
	struct apmp_partition_uids uids, other;
	struct apmp_process_list list;
	int said[2], end[2];
	uid_t first;
	char byte;
	pid_t pid;

	if (!is_able())
		return;
	ck_assert_int_eq(pipe2(said, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(end, O_CLOEXEC), 0);
	uids = claimed(rundir, false);
	pid = fork();
	if (pid == 0) {
		close(uids.claim_fd);
		close(end[1]);
		if (apmp_partition_uid_become(uids.first + 63, false) ||
		    write(said[1], "", 1) != 1 || read(end[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(read(said[0], &byte, 1), 1);
	first = uids.first;
	apmp_partition_uids_release(&uids);
	uids = claimed(rundir, false);
	ck_assert_uint_ne(uids.first, first);
	ck_assert_int_eq(apmp_process_list_init(&list), 0);
	ck_assert_uint_eq(apmp_process_list_choose_uids(&list, uids.first, 64), 0);
	apmp_process_list_fini(&list);
	close(end[1]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	other = claimed(rundir, false);
	ck_assert_uint_eq(other.first, first);
	apmp_partition_uids_release(&uids);
	apmp_partition_uids_release(&other);
}
END_TEST

static bool has_nothing(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	bool nothing = syscall(SYS_capget, &header, data) == 0;

	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		nothing &= !data[i].permitted && !data[i].effective && !data[i].inheritable;
	for (unsigned long capability = 0; capability <= CAP_LAST_CAP; capability++)
		nothing &= prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 1;
	return nothing;
}

static uid_t wanted;

static int become(void)
{
	uid_t ids[3];
	gid_t group = 65534;
	int step = 1;

	if (setgroups(1, &group) < 0 || apmp_partition_uid_become(wanted, false) < 0)
		return step;
	step++;
	if (getresuid(&ids[0], &ids[1], &ids[2]) < 0 || ids[0] != wanted || ids[1] != wanted ||
	    ids[2] != wanted)
		return step;
	step++;
	if (getresgid(&ids[0], &ids[1], &ids[2]) < 0 || ids[0] != wanted || ids[1] != wanted ||
	    ids[2] != wanted || getgroups(0, NULL) != 0)
		return step;
	step++;
	if (!has_nothing() || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return step;
	step++;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return step;
	step++;
	if (setuid(0) == 0 || setgid(0) == 0 || setgroups(1, &group) == 0)
		return step;
	return 0;
}

START_TEST(what_a_process_becomes)
{
	struct apmp_partition_uids uids;

	if (!is_able())
		return;
	uids = claimed(rundir, false);
	wanted = uids.first + 7;
	ck_assert_int_eq(child(become), 0);
	apmp_partition_uids_release(&uids);
}
END_TEST

/* Capabilities that a program keeps over exec by themselves are gone too. */
static int become_with_inherited(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return 101;
	data[0].inheritable = data[0].permitted;
	if (syscall(SYS_capset, &header, data) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) < 0)
		return 102;
	return become();
}

START_TEST(inherited_capabilities_are_gone)
{
	struct apmp_partition_uids uids;

	if (!is_able())
		return;
	uids = claimed(rundir, false);
	wanted = uids.first;
	ck_assert_int_eq(child(become_with_inherited), 0);
	apmp_partition_uids_release(&uids);
}
END_TEST

/* With reach a program that only the box can execute is executed, and has no capabilities. */
static int become_and_exec(void)
{
	char *arguments[] = {(char[]){"grep"}, (char[]){"-q"}, (char[]){"CapPrm:.0*$"},
			     (char[]){"/proc/self/status"}, NULL};
	char *none[] = {NULL};
	char path[sizeof(why) + 8];

	snprintf(path, sizeof(path), "%s/grep", why);
	if (apmp_partition_uid_become(wanted, true) < 0)
		return 101;
	execve(path, arguments, none);
	return 102;
}

START_TEST(reach_ends_at_exec)
{
	char folder[] = "/tmp/apmp-unit-XXXXXX", command[256];
	struct apmp_partition_uids uids;

	if (!is_able())
		return;
	uids = claimed(rundir, false);
	wanted = uids.first;
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof(command), "cp /bin/grep %s && chmod 700 %s/grep", folder, folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(why, sizeof(why), "%s", folder);
	ck_assert_int_eq(child(become_and_exec), 0);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
	apmp_partition_uids_release(&uids);
}
END_TEST

/* Whoever can't have uids is told why, and it is no error. */

static bool affinity;
static const char *because;

static int claim_none(void)
{
	struct apmp_partition_uids uids = claimed(rundir, affinity);

	if (uids.first)
		return 1;
	return strstr(why, because) ? 0 : 2;
}

static int claim_as_ordinary(void)
{
	if (setresuid(65534, 65534, 65534) < 0)
		return 101;
	return claim_none();
}

START_TEST(an_ordinary_user_has_none)
{
	affinity = false;
	because = "not as root";
	ck_assert_int_eq(child(geteuid() ? claim_none : claim_as_ordinary), 0);
}
END_TEST

static unsigned long without;

static int claim_without(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return 101;
	data[0].permitted &= ~(1u << without);
	data[0].effective &= data[0].permitted;
	if (syscall(SYS_capset, &header, data) < 0)
		return 102;
	return claim_none();
}

START_TEST(root_without_the_power_has_none)
{
	static const unsigned long needed[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};

	if (!is_able())
		return;
	because = "without the power to run and end processes of other users: Operation not";
	affinity = false;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		without = needed[i];
		ck_assert_int_eq(child(claim_without), 0);
	}
	/* Only the back end that sets affinities needs this one. */
	without = CAP_SYS_NICE;
	ck_assert_int_eq(child(claim_without), 1);
	affinity = true;
	because = "without the power to run, end and place processes";
	ck_assert_int_eq(child(claim_without), 0);
}
END_TEST

/* A container has 65536 uids, or one. */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written ? 0 : -1;
}

/* 201: this host has no user namespaces. */
static int in_container(const char *map, int (*act)(void))
{
	int go[2], ready[2], status;
	char path[64], byte;
	pid_t pid;

	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], "", 1) != 1 ||
		    read(go[0], &byte, 1) != 1 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
			_exit(201);
		_exit(act());
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
		ck_assert_int_eq(write_file(path, map), 0);
		snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
		ck_assert_int_eq(write_file(path, map), 0);
	}
	ck_assert_int_eq(write(go[1], "", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(go[0]);
	close(go[1]);
	close(ready[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int claim_low(void)
{
	struct apmp_partition_uids uids = claimed(rundir, true);

	wanted = uids.first;
	if (uids.first < 32768 || uids.first + APMP_MAX_PARTITIONS > 59968)
		return 1;
	return child(become);
}

START_TEST(a_container_has_its_own)
{
	int status;

	if (!is_able())
		return;
	status = in_container("0 1879048192 65536", claim_low);
	ck_assert_msg(status == 0 || status == 201, "%d", status);
	affinity = false;
	because = "Invalid argument";
	status = in_container("0 0 1", claim_none);
	ck_assert_msg(status == 0 || status == 201, "%d", status);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("partition_uid");
	TCase *tests = suite_case(suite, "all");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, two_boxes_never_share);
	tcase_add_test(tests, a_claim_dies_with_its_box);
	tcase_add_test(tests, what_is_no_block);
	tcase_add_test(tests, a_block_with_a_process_is_not_free);
	tcase_add_test(tests, what_a_process_becomes);
	tcase_add_test(tests, inherited_capabilities_are_gone);
	tcase_add_test(tests, reach_ends_at_exec);
	tcase_add_test(tests, an_ordinary_user_has_none);
	tcase_add_test(tests, root_without_the_power_has_none);
	tcase_add_test(tests, a_container_has_its_own);
	return suite_run(suite);
}
