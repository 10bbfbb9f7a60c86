/* The run directory: its lock tells whether a box is alive, its folders are nobody else's. */
#include "apmpd/rundir.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[64];
static char why[PATH_MAX + 256];

/* A folder of its own for each run, as XDG_RUNTIME_DIR. */
static void set_up(void)
{
	snprintf(top, sizeof(top), "/tmp/apmp-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (system(command) != 0)
		fprintf(stderr, "left behind: %s\n", top);
}

static struct apmp_folder open_one(const char *machine)
{
	struct apmp_folder rundir;

	ck_assert_msg(apmp_rundir_open(machine, &rundir, why, sizeof(why), NULL) == 0, "%s", why);
	return rundir;
}

START_TEST(names)
{
	static const char *const good[] = {"a", "0", "trio", "a_b.c-d",
					   "abcdefghijklmnopqrstuvwxyz01234"};
	static const char *const bad[] = {
	    "",	 ".",	"..",  "-a",	   "_a",
	    "A", "a/b", "a b", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz012345"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(apmp_name_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!apmp_name_valid(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(base)
{
	char path[PATH_MAX], wanted[PATH_MAX];

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user/7/", 1), 0);
	ck_assert_int_eq(apmp_rundir_base(path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/run/user/7/apmp");
	ck_assert_int_eq(apmp_rundir_base(path, 8), -ENAMETOOLONG);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "run", 1), 0);
	ck_assert_int_eq(apmp_rundir_base(path, sizeof(path)), -EINVAL);
	ck_assert_int_eq(unsetenv("XDG_RUNTIME_DIR"), 0);
	ck_assert_int_eq(apmp_rundir_base(path, sizeof(path)), 0);
	snprintf(wanted, sizeof(wanted), "/tmp/apmp-%u", (unsigned)geteuid());
	ck_assert_str_eq(path, wanted);
}
END_TEST

START_TEST(one_box_only)
{
	struct apmp_folder rundir = open_one("trio"), second;
	char said[32];
	pid_t holder;

	ck_assert_int_eq(apmp_rundir_open("trio", &second, why, sizeof(why), &holder), -EBUSY);
	ck_assert_int_eq(holder, getpid());
	snprintf(said, sizeof(said), "process %d holds", getpid());
	ck_assert_ptr_nonnull(strstr(why, said));
	ck_assert_int_eq(apmp_rundir_alive("trio", &holder), 1);
	ck_assert_int_eq(holder, getpid());
	ck_assert_int_eq(apmp_rundir_alive("solo", &holder), 0);
	ck_assert_int_eq(apmp_rundir_seize(rundir.path, 1, &second, why, sizeof(why)), -EBUSY);
	apmp_rundir_close(&rundir);
	ck_assert_int_eq(apmp_rundir_alive("trio", &holder), 0);
	rundir = open_one("trio");
	ck_assert_int_eq(apmp_rundir_remove(&rundir), 0);
	ck_assert_int_lt(access(rundir.path, F_OK), 0);
	apmp_rundir_close(&rundir);
	ck_assert_int_eq(apmp_rundir_seize(rundir.path, 1, &second, why, sizeof(why)), -EINVAL);
}
END_TEST

/* The last machine of a user takes the folder of all machines with it, but never another's. */
START_TEST(base_goes_with_the_last)
{
	struct apmp_folder trio = open_one("trio"), solo = open_one("solo");
	char path[PATH_MAX];

	ck_assert_int_eq(apmp_rundir_base(path, sizeof(path)), 0);
	ck_assert_int_eq(apmp_rundir_remove(&trio), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(apmp_rundir_remove(&solo), 0);
	ck_assert_int_lt(access(path, F_OK), 0);
	apmp_rundir_close(&trio);
	apmp_rundir_close(&solo);
}
END_TEST

/* Boxes that come and go at once, each the last one now and then: none is refused for it. */
START_TEST(base_made_and_removed_at_once)
{
	char name[2] = "a";
	int status;

	for (; name[0] < 'e'; name[0]++) {
		if (fork() > 0)
			continue;
		for (int i = 0; i < 500; i++) {
			struct apmp_folder rundir = open_one(name);

			ck_assert_int_eq(apmp_rundir_remove(&rundir), 0);
			apmp_rundir_close(&rundir);
		}
		_exit(0);
	}
	for (int i = 0; i < 4; i++) {
		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

/* kill -9 of the box lets go of the lock. */
START_TEST(lock_ends_with_the_box)
{
	struct apmp_folder rundir;
	pid_t box, holder;
	int wires[2];
	char c;

	ck_assert_int_eq(pipe(wires), 0);
	box = fork();
	if (box == 0) {
		rundir = open_one("trio");
		_exit(write(wires[1], &c, 1) < 0 || pause() < 0);
	}
	ck_assert_int_eq(read(wires[0], &c, 1), 1);
	ck_assert_int_eq(apmp_rundir_alive("trio", &holder), 1);
	ck_assert_int_eq(holder, box);
	ck_assert_int_eq(kill(box, SIGKILL), 0);
	ck_assert_int_eq(waitpid(box, NULL, 0), box);
	ck_assert_int_eq(apmp_rundir_alive("trio", &holder), 0);
	rundir = open_one("trio");
	apmp_rundir_close(&rundir);
}
END_TEST

/* Who cleans holds the lock, though nobody lives: a new box waits, then makes the folder anew. */
START_TEST(waits_for_the_cleaner)
{
	struct apmp_folder rundir = open_one("trio"), cleaner;
	char path[PATH_MAX];
	int wires[2], status;
	pid_t box;
	char c;

	snprintf(path, sizeof(path), "%s", rundir.path);
	/* The holder of the pid file is dead: a child that has been reaped. */
	box = fork();
	if (box == 0) {
		apmp_rundir_close(&rundir);
		rundir = open_one("duo");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(box, &status, 0), box);
	apmp_rundir_close(&rundir);
	snprintf(strrchr(path, '/'), 5, "/duo");
	ck_assert_int_eq(apmp_rundir_seize(path, APMP_FOLDER_WAIT_MS, &cleaner, why, sizeof(why)),
			 0);
	ck_assert_int_eq(pipe(wires), 0);
	box = fork();
	if (box == 0) {
		apmp_rundir_close(&cleaner); /* a copy: the parent still holds the lock */
		_exit(write(wires[1], &c, 1) < 0 ||
		      apmp_rundir_open("duo", &rundir, why, sizeof(why), NULL) < 0);
	}
	ck_assert_int_eq(read(wires[0], &c, 1), 1);
	ck_assert_int_eq(apmp_rundir_remove(&cleaner), 0);
	apmp_rundir_close(&cleaner);
	ck_assert_int_eq(waitpid(box, &status, 0), box);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static int open_error(const char *machine)
{
	struct apmp_folder rundir;
	int error = apmp_rundir_open(machine, &rundir, why, sizeof(why), NULL);

	ck_assert_int_lt(error, 0);
	ck_assert_str_ne(why, "");
	return error;
}

START_TEST(refuses_foreign_folders)
{
	struct apmp_folder rundir = open_one("trio");
	char path[PATH_MAX], other[PATH_MAX];

	snprintf(path, sizeof(path), "%s/apmp/trio", top);
	snprintf(other, sizeof(other), "%s/apmp/link", top);
	ck_assert_int_eq(apmp_rundir_remove(&rundir), 0);
	apmp_rundir_close(&rundir);
	/* a symbolic link, a file, a folder open to others, a bad name */
	ck_assert_int_eq(symlink("/tmp", other), 0);
	ck_assert_int_eq(open_error("link"), -ENOTDIR);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(open_error("trio"), -ENOTDIR);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(open_error("trio"), -EPERM);
	ck_assert_ptr_nonnull(strstr(why, "chmod 700"));
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(open_error("../x"), -EINVAL);
	ck_assert_int_eq(open_error(""), -EINVAL);
	/* the folder above open to others, or somebody else's */
	snprintf(path, sizeof(path), "%s/apmp", top);
	ck_assert_int_eq(chmod(path, 0777), 0);
	ck_assert_int_eq(open_error("trio"), -EPERM);
	ck_assert_int_eq(chmod(path, 0700), 0);
	ck_assert_int_eq(chmod(top, 0777), 0);
	ck_assert_int_eq(open_error("trio"), -EPERM);
	ck_assert_int_eq(chmod(top, 0700), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(top, 12345, -1), 0);
		ck_assert_int_eq(open_error("trio"), -EPERM);
		ck_assert_ptr_nonnull(strstr(why, "12345"));
		ck_assert_int_eq(chown(top, 0, -1), 0);
	}
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1), 0);
	ck_assert_int_eq(open_error("trio"), -ENOENT);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "here", 1), 0);
	ck_assert_int_eq(open_error("trio"), -EINVAL);
}
END_TEST

START_TEST(files)
{
	struct apmp_folder rundir = open_one("trio");
	char text[8], path[PATH_MAX];

	ck_assert_int_eq(apmp_rundir_write(&rundir, "note", "hello\n"), 0);
	ck_assert_int_eq(apmp_rundir_read(&rundir, "note", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "hello");
	ck_assert_int_eq(apmp_rundir_read(&rundir, "note", text, 6), -ENAMETOOLONG);
	ck_assert_int_eq(apmp_rundir_read(&rundir, "none", text, sizeof(text)), -ENOENT);
	ck_assert_int_eq(apmp_rundir_write(&rundir, "../note", ""), -EINVAL);
	ck_assert_int_eq(apmp_rundir_write(&rundir, "", ""), -EINVAL);
	ck_assert_int_eq(apmp_rundir_path(&rundir, "note", path, sizeof(path)), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(apmp_rundir_path(&rundir, "note", path, 10), -ENAMETOOLONG);
	/* folders, full ones and links to the outside are removed, and nothing outside */
	ck_assert_int_eq(mkdirat(rundir.dir_fd, "logs", 0700), 0);
	ck_assert_int_eq(mkdirat(rundir.dir_fd, "logs/old", 0700), 0);
	close(openat(rundir.dir_fd, "logs/old/1", O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(symlinkat(top, rundir.dir_fd, "logs/top"), 0);
	ck_assert_int_eq(apmp_rundir_remove(&rundir), 0);
	ck_assert_int_lt(access(rundir.path, F_OK), 0);
	ck_assert_int_eq(access(top, F_OK), 0);
	apmp_rundir_close(&rundir);
}
END_TEST

/* Also with a path that is longer than a socket's address may be. */
START_TEST(listens)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char deep[200], path[PATH_MAX];
	struct apmp_folder rundir;
	int listening, again, client, peer;
	struct stat st;

	memset(deep, 'd', sizeof(deep));
	snprintf(path, sizeof(path), "%s/%.*s", top, (int)sizeof(deep), deep);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", path, 1), 0);
	rundir = open_one("trio");
	ck_assert_int_eq(apmp_rundir_listen(&rundir, &listening), 0);
	ck_assert_int_eq(apmp_rundir_path(&rundir, "control", path, sizeof(path)), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control",
		 rundir.dir_fd);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	peer = accept(listening, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	/* What a dead box left is replaced. */
	ck_assert_int_eq(apmp_rundir_listen(&rundir, &again), 0);
	close(listening);
	close(again);
	close(client);
	close(peer);
	apmp_rundir_close(&rundir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rundir");
	TCase *tests = tcase_create("rundir");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_unchecked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, names);
	tcase_add_test(tests, base);
	tcase_add_test(tests, one_box_only);
	tcase_add_test(tests, base_goes_with_the_last);
	tcase_add_test(tests, base_made_and_removed_at_once);
	tcase_add_test(tests, lock_ends_with_the_box);
	tcase_add_test(tests, waits_for_the_cleaner);
	tcase_add_test(tests, refuses_foreign_folders);
	tcase_add_test(tests, files);
	tcase_add_test(tests, listens);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
