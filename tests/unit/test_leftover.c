/* What a dead box leaves is found and removed: by its guard, by the next `up`, by `clean`.
 *
 * A "box" here is a child that does what apmpd does first: run directory, guard, groups, and two
 * programs with its mark, one of which left its parents.  It uses the best back end of this host.
 */
#include "apmpd/cpuset.h"
#include "apmpd/guard.h"
#include "apmpd/leftover.h"
#include "apmpd/process_list.h"
#include "apmpd/rundir.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* a bound for what has no reason to last; never waited in full */

static char top[64];
static char machine[32];
static char why[PATH_MAX + 256];

static void set_up(void)
{
	snprintf(top, sizeof(top), "/tmp/apmp-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
	snprintf(machine, sizeof(machine), "left.%d", getpid());
}

/* After a failed test too, nothing is left. */
static void tear_down(void)
{
	char command[128];

	if (apmp_leftover_clean(machine, NULL) < 0)
		fprintf(stderr, "left behind: machine %s\n", machine);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (system(command) != 0)
		fprintf(stderr, "left behind: %s\n", top);
}

#define GROUPS 2

struct box {
	struct apmp_process self, guard, program, orphan;
	char rundir[PATH_MAX];
	char groups[GROUPS][PATH_MAX]; /* one for each hierarchy, the rest "" */
	int group_count;
	int wire; /* to the box: closed, it powers off in order */
};

/* Starts a program with this mark that waits for its end, and writes its pid. */
static pid_t start_program(const char *mark, bool leave, int report)
{
	char variable[APMP_MARK_SIZE + 16];
	char *arguments[] = {(char[]){"sleep"}, (char[]){"100000"}, NULL};
	char *environment[] = {variable, NULL};
	pid_t pid = fork(), self;

	if (pid != 0)
		return pid;
	snprintf(variable, sizeof(variable), "%s=%s", APMP_MARK_VARIABLE, mark);
	if (leave) {
		setsid();
		if (fork() > 0)
			_exit(0);
	}
	self = getpid();
	if (write(report, &self, sizeof(self)) != sizeof(self))
		_exit(1);
	execve("/bin/sleep", arguments, environment);
	_exit(1);
}

/* The programs have been exec'd when their environment has the mark. */
static void wait_for_mark(pid_t pid)
{
	char mark[APMP_MARK_SIZE];

	while (apmp_process_variable(pid, APMP_MARK_VARIABLE, mark, sizeof(mark)) < 0)
		sched_yield();
}

static void box_main(int report, int ready, int wire)
{
	struct apmp_folder rundir;
	struct apmp_cpuset *set;
	char mark[APMP_MARK_SIZE], c;
	pid_t guard, program;
	int guard_fd;
	cpu_set_t all;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_msg(apmp_rundir_open(machine, &rundir, why, sizeof(why), NULL) == 0, "%s", why);
	ck_assert_int_eq(apmp_mark_make(rundir.path, mark, sizeof(mark)), 0);
	ck_assert_int_eq(apmp_guard_start(machine, rundir.path, mark, &guard_fd, &guard), 0);
	ck_assert_int_eq(write(report, &guard, sizeof(guard)), sizeof(guard));
	program = start_program(mark, false, report);
	if (start_program(mark, true, report) < 0)
		_exit(1);
	wait_for_mark(program); /* it has no lock of ours any more */
	ck_assert_int_eq(apmp_cpuset_open(machine, APMP_CPUSET_AUTO, &set), 0);
	if (apmp_cpuset_path(set))
		ck_assert_int_eq(apmp_rundir_write(&rundir, "cgroup", apmp_cpuset_path(set)), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	ck_assert_int_eq(apmp_cpuset_partition_create(set, "p", &all), 0);
	ck_assert_int_eq(apmp_cpuset_enter(set, "p", APMP_CPUSET_PROGRAMS, program), 0);
	ck_assert_int_eq(write(ready, &c, 1), 1);
	if (read(wire, &c, 1) < 0)
		_exit(1);
	/* Orderly power off; the orphan is left, to see that the guard leaves it alone. */
	ck_assert_int_eq(apmp_cpuset_partition_kill(set, "p", PATIENCE_MS), 0);
	ck_assert_int_eq(apmp_cpuset_machine_remove(set), 0);
	apmp_cpuset_close(set);
	ck_assert_int_eq(apmp_rundir_remove(&rundir), 0);
	ck_assert_int_eq(apmp_guard_dismiss(guard_fd, guard), 0);
	_exit(0);
}

static struct apmp_process receive(int report)
{
	struct apmp_process process;
	pid_t pid;

	ck_assert_int_eq(read(report, &pid, sizeof(pid)), sizeof(pid));
	ck_assert_int_eq(apmp_process_get(pid, &process), 0);
	return process;
}

static struct box box_start(void)
{
	struct apmp_folder rundir;
	int report[2], ready[2], wire[2];
	struct box box = {0};
	char **list, c;
	pid_t pid;

	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(wire, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(wire[1]);
		box_main(report[1], ready[1], wire[0]);
	}
	close(report[1]);
	close(ready[1]);
	close(wire[0]);
	box.wire = wire[1];
	ck_assert_int_eq(apmp_process_get(pid, &box.self), 0);
	box.guard = receive(report[0]);
	box.program = receive(report[0]);
	box.orphan = receive(report[0]);
	if (box.program.parent != pid) {
		struct apmp_process other = box.program;

		box.program = box.orphan;
		box.orphan = other;
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(report[0]);
	wait_for_mark(box.program.pid);
	wait_for_mark(box.orphan.pid);
	snprintf(box.rundir, sizeof(box.rundir), "%s/apmp/%s", top, machine);
	ck_assert_int_eq(apmp_rundir_open(machine, &rundir, why, sizeof(why), NULL), -EBUSY);
	box.group_count = apmp_cpuset_path_list(machine, &list);
	ck_assert_int_ge(box.group_count, 0);
	ck_assert_int_le(box.group_count, GROUPS);
	for (int i = 0; i < box.group_count; i++) {
		snprintf(box.groups[i], sizeof(box.groups[i]), "%s", list[i]);
		free(list[i]);
	}
	free(list);
	return box;
}

static bool lives(const struct apmp_process *process)
{
	return apmp_process_alive(process->pid, process->starttime);
}

static void wait_end(const struct apmp_process *process)
{
	struct pollfd fd = {.fd = (int)syscall(SYS_pidfd_open, process->pid, 0), .events = POLLIN};

	if (fd.fd < 0)
		return;
	if (lives(process))
		ck_assert_int_eq(poll(&fd, 1, PATIENCE_MS), 1);
	close(fd.fd);
}

static void assert_nothing_left(const struct box *box)
{
	ck_assert(!lives(&box->program));
	ck_assert(!lives(&box->orphan));
	ck_assert_int_lt(access(box->rundir, F_OK), 0);
	for (int i = 0; i < box->group_count; i++)
		ck_assert_int_lt(access(box->groups[i], F_OK), 0);
}

static void box_kill(const struct box *box)
{
	ck_assert_int_eq(kill(box->self.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(box->self.pid, NULL, 0), box->self.pid);
}

START_TEST(guard_cleans)
{
	struct box box = box_start();

	box_kill(&box);
	wait_end(&box.guard);
	assert_nothing_left(&box);
	close(box.wire);
}
END_TEST

/* What ends programs at a terminal, or is sent to everybody by name, does not end the guard. */
START_TEST(guard_stays)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
	struct box box = box_start();
	char path[64], name[32];
	FILE *in;

	ck_assert_int_eq(box.guard.session, box.guard.pid);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		ck_assert_int_eq(kill(box.guard.pid, signals[i]), 0);
	ck_assert(lives(&box.guard));
	snprintf(path, sizeof(path), "/proc/%d/comm", box.guard.pid);
	in = fopen(path, "re");
	ck_assert_ptr_nonnull(in);
	ck_assert_ptr_nonnull(fgets(name, sizeof(name), in));
	ck_assert_str_eq(name, "apmp-guard\n");
	fclose(in);
	box_kill(&box);
	wait_end(&box.guard);
	assert_nothing_left(&box);
	close(box.wire);
}
END_TEST

/* In order: the guard ends and does nothing, not even to what is still there. */
START_TEST(guard_dismissed)
{
	struct box box = box_start();
	int status;

	close(box.wire);
	ck_assert_int_eq(waitpid(box.self.pid, &status, 0), box.self.pid);
	ck_assert_int_eq(status, 0);
	ck_assert(!lives(&box.guard));
	ck_assert(!lives(&box.program));
	ck_assert(lives(&box.orphan));
	ck_assert_int_lt(access(box.rundir, F_OK), 0);
	/* The orphan is found without a run directory, by its mark alone. */
	ck_assert_int_ge(apmp_leftover_clean(machine, NULL), 1);
	assert_nothing_left(&box);
}
END_TEST

/* Box and guard die together: the next one cleans, and says what. */
START_TEST(next_one_cleans)
{
	struct box box = box_start();
	json_t *said = json_array(), *sentence;
	size_t i, about_program = 0;
	char wanted[64];

	ck_assert_int_eq(kill(box.guard.pid, SIGKILL), 0);
	wait_end(&box.guard);
	box_kill(&box);
	ck_assert_int_ge(apmp_leftover_look(said), 1);
	ck_assert_uint_ge(json_array_size(said), 1);
	json_array_clear(said);
	ck_assert(lives(&box.program));
	/* two processes, the run directory, and the groups */
	ck_assert_int_ge(apmp_leftover_clean(machine, said), 3 + box.group_count);
	snprintf(wanted, sizeof(wanted), "killed process %d (sleep)", box.program.pid);
	json_array_foreach(said, i, sentence) about_program +=
	    strstr(json_string_value(sentence), wanted) != NULL;
	ck_assert_uint_eq(about_program, 1);
	assert_nothing_left(&box);
	ck_assert_int_eq(apmp_leftover_clean(machine, said), 0);
	json_decref(said);
	close(box.wire);
}
END_TEST

/* Names are shown on terminals, and any process may choose its own. */
START_TEST(names_are_text)
{
	struct apmp_process self;

	ck_assert_int_eq(prctl(PR_SET_NAME, "a\033[31m\n\x9b(b) \x7f"), 0);
	ck_assert_int_eq(apmp_process_get(getpid(), &self), 0);
	ck_assert_str_eq(self.name, "a?[31m?\?(b) ?");
}
END_TEST

START_TEST(living_one_is_left_alone)
{
	struct box box = box_start();
	json_t *said = json_array();
	char other[PATH_MAX + 16];

	ck_assert_int_eq(apmp_leftover_clean(machine, said), -EBUSY);
	ck_assert_uint_eq(json_array_size(said), 1);
	/* Somebody removed its run directory: its mark still tells. */
	snprintf(other, sizeof(other), "%s.moved", box.rundir);
	ck_assert_int_eq(rename(box.rundir, other), 0);
	ck_assert_int_eq(apmp_leftover_clean(machine, said), -EBUSY);
	ck_assert_int_eq(rename(other, box.rundir), 0);
	/* Another run directory: another machine of the same name. */
	snprintf(other, sizeof(other), "%s/other", top);
	ck_assert_int_eq(mkdir(other, 0700), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", other, 1), 0);
	ck_assert_int_eq(apmp_leftover_clean(machine, said), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
	ck_assert(lives(&box.self) && lives(&box.guard) && lives(&box.program) &&
		  lives(&box.orphan));
	ck_assert_int_eq(apmp_leftover_clean("Not A Name", said), -EINVAL);
	json_decref(said);
	box_kill(&box);
	wait_end(&box.guard);
	assert_nothing_left(&box);
	close(box.wire);
}
END_TEST

/* As a user without groups, so that the dead groups of other tests on this host are not touched:
 * one dead machine, one living. */
START_TEST(clean_all)
{
	struct apmp_folder dead, alive;
	json_t *said = json_array();
	struct box box;

	if (geteuid() == 0) {
		ck_assert_int_eq(chown(top, 65534, 65534), 0);
		ck_assert_int_eq(setgroups(0, NULL), 0);
		ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	}
	snprintf(top + strlen(top), 3, "/u");
	ck_assert_int_eq(mkdir(top, 0700), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
	box = box_start();
	ck_assert_int_eq(kill(box.guard.pid, SIGKILL), 0);
	wait_end(&box.guard);
	box_kill(&box);
	ck_assert_int_eq(apmp_rundir_open("dead", &dead, why, sizeof(why), NULL), 0);
	apmp_rundir_close(&dead);
	ck_assert_int_eq(apmp_rundir_open("alive", &alive, why, sizeof(why), NULL), 0);
	ck_assert_int_ge(apmp_clean_all(said), 4);
	assert_nothing_left(&box);
	snprintf(strrchr(box.rundir, '/'), 6, "/dead");
	ck_assert_int_lt(access(box.rundir, F_OK), 0);
	ck_assert_int_eq(access(alive.path, F_OK), 0);
	ck_assert_int_eq(apmp_clean_all(said), 0);
	ck_assert_int_eq(apmp_rundir_remove(&alive), 0);
	apmp_rundir_close(&alive);
	json_decref(said);
	close(box.wire);
}
END_TEST

START_TEST(marks)
{
	char mark[APMP_MARK_SIZE];

	ck_assert_int_eq(apmp_mark_make("/run/x", mark, sizeof(mark)), 0);
	ck_assert_int_eq(strncmp(mark, "/run/x:", 7), 0);
	ck_assert_int_eq(apmp_mark_make("/run/x", mark, 8), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("leftover");
	TCase *tests = tcase_create("leftover");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_unchecked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, marks);
	tcase_add_test(tests, guard_cleans);
	tcase_add_test(tests, guard_stays);
	tcase_add_test(tests, guard_dismissed);
	tcase_add_test(tests, next_one_cleans);
	tcase_add_test(tests, names_are_text);
	tcase_add_test(tests, living_one_is_left_alone);
	tcase_add_test(tests, clean_all);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
