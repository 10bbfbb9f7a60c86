/* test_state_dir.c - where a machine keeps what outlives its power, who holds it, and its end.
 *
 * shows: PLAT-09 */
#include "apmpd/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static char top[64], state_home[80];
static char why[2 * PATH_MAX];

static void setup(void)
{
	snprintf(top, sizeof(top), "/tmp/apmp-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(state_home, sizeof(state_home), "%s/deep/state", top);
	ck_assert_int_eq(setenv("XDG_STATE_HOME", state_home, 1), 0);
	ck_assert_int_eq(setenv("HOME", top, 1), 0);
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

static struct apmp_folder must_open(const char *machine)
{
	struct apmp_folder state;

	ck_assert_msg(apmp_state_open(machine, &state, why, sizeof(why)) == 0, "%s", why);
	return state;
}

static void refused(const char *machine, int error, const char *said)
{
	struct apmp_folder state;

	ck_assert_int_eq(apmp_state_open(machine, &state, why, sizeof(why)), error);
	ck_assert_msg(strstr(why, said) != NULL, "%s", why);
}

static void put(const struct apmp_folder *state, const char *name)
{
	int fd = openat(state->dir_fd, name, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

static bool is_there(const char *format, const char *argument)
{
	char path[PATH_MAX];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(path, sizeof(path), format, top, argument);
#pragma GCC diagnostic pop
	return access(path, F_OK) == 0;
}

START_TEST(base)
{
	char path[PATH_MAX];

	ck_assert_int_eq(setenv("XDG_STATE_HOME", "/var/state//", 1), 0);
	ck_assert_int_eq(apmp_state_base(path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/var/state/apmp");
	ck_assert_int_eq(apmp_state_base(path, 12), -ENAMETOOLONG);
	ck_assert_int_eq(setenv("XDG_STATE_HOME", "var/state", 1), 0);
	ck_assert_int_eq(apmp_state_base(path, sizeof(path)), -EINVAL);
	refused("trio", -EINVAL, "\"var/state\" is no absolute path");
	ck_assert_int_eq(unsetenv("XDG_STATE_HOME"), 0);
	ck_assert_int_eq(setenv("HOME", "/home/u", 1), 0);
	ck_assert_int_eq(apmp_state_base(path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/home/u/.local/state/apmp");
	ck_assert_int_eq(unsetenv("HOME"), 0);
	ck_assert_int_eq(apmp_state_base(path, sizeof(path)), -ENOENT);
	refused("trio", -ENOENT, "neither XDG_STATE_HOME nor HOME is set");
	refused("trio", -ENOENT, "set XDG_STATE_HOME to a folder of your own");
}
END_TEST

START_TEST(made_with_all_above_it)
{
	struct apmp_folder state = must_open("trio");
	struct stat st;

	ck_assert_int_eq(stat(state.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert(is_there("%s/deep/state/apmp/%s", "trio"));
	apmp_state_close(&state);
	/* Nothing was kept: nothing stays but what the user may have meant. */
	ck_assert(!is_there("%s/deep/state/apmp%s", ""));
	ck_assert(is_there("%s/deep/state%s", ""));

	ck_assert_int_eq(unsetenv("XDG_STATE_HOME"), 0);
	state = must_open("trio");
	ck_assert(is_there("%s/.local/state/apmp/%s", "trio"));
	put(&state, "nvram.0");
	apmp_state_close(&state);
	ck_assert(is_there("%s/.local/state/apmp/trio/%s", "nvram.0"));
	ck_assert(!is_there("%s/.local/state/apmp/trio/%s", "pid"));
	state = must_open("trio");
	apmp_state_close(&state);
}
END_TEST

START_TEST(a_home_that_is_not_there_is_not_made)
{
	ck_assert_int_eq(unsetenv("XDG_STATE_HOME"), 0);
	ck_assert_int_eq(setenv("HOME", "/tmp/apmp-unit-nobody", 1), 0);
	refused("trio", -ENOENT, "cannot use /tmp/apmp-unit-nobody/.local: No such");
	ck_assert_int_lt(access("/tmp/apmp-unit-nobody", F_OK), 0);
}
END_TEST

START_TEST(others_are_kept_out)
{
	char path[PATH_MAX];
	struct apmp_folder state = must_open("trio");

	put(&state, "nvram.0");
	ck_assert_int_eq(fchmod(state.dir_fd, 0750), 0);
	apmp_state_close(&state);
	refused("trio", -EPERM, "chmod 700");
	snprintf(path, sizeof(path), "%s/apmp/solo", state_home);
	ck_assert_int_eq(symlink("/tmp", path), 0);
	refused("solo", -ENOTDIR, "symbolic link");
	refused("Solo", -EINVAL, "is no name for a machine");
}
END_TEST

/* A parent that the user's own group may write is as others have it; the world may not. */
START_TEST(the_folder_above)
{
	struct apmp_folder state;

	ck_assert_int_eq(mkdir(strcat(strcpy(why, top), "/deep"), 0700), 0);
	ck_assert_int_eq(mkdir(state_home, 0700), 0);
	ck_assert_int_eq(chmod(state_home, 0775), 0);
	state = must_open("trio");
	apmp_state_close(&state);
	ck_assert_int_eq(chmod(state_home, 0777), 0);
	refused("trio", -EPERM, "lets others write");
}
END_TEST

START_TEST(held_by_one)
{
	struct apmp_folder state = must_open("trio"), other;
	char said[32];

	snprintf(said, sizeof(said), "process %d holds", getpid());
	refused("trio", -EBUSY, said);
	other = must_open("solo");
	apmp_state_close(&other);
	apmp_state_close(&state);
	state = must_open("trio");
	apmp_state_close(&state);
}
END_TEST

/* As `up` does: the box is a child that has inherited the lock, and its parent goes on. */
START_TEST(a_child_takes_over)
{
	struct apmp_folder state = must_open("trio");
	int go[2], ready[2], status;
	char byte, said[32];
	pid_t pid;

	ck_assert(pipe(go) == 0 && pipe(ready) == 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(go[1]);
		if (apmp_folder_take_over(&state) || write(ready[1], "", 1) != 1)
			_exit(1);
		if (read(go[0], &byte, 1) < 0)
			_exit(1);
		apmp_state_close(&state);
		_exit(0);
	}
	close(go[0]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	apmp_folder_close(&state);
	snprintf(said, sizeof(said), "process %d holds", pid);
	refused("trio", -EBUSY, said);
	close(go[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	state = must_open("trio");
	apmp_state_close(&state);
}
END_TEST

START_TEST(a_dead_holder_does_not_hold)
{
	struct apmp_folder state;
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		state = must_open("trio");
		put(&state, "nvram.new");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	state = must_open("trio");
	apmp_state_close(&state);
	ck_assert(!is_there("%s/deep/state/apmp%s", ""));
}
END_TEST

START_TEST(a_limit_of_file_sizes)
{
	const struct rlimit little = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	refused("trio", -EFBIG, "RLIMIT_FSIZE (ulimit -f) allows 1048576");
	ck_assert(!is_there("%s/deep/state/apmp%s", ""));
}
END_TEST

static void keep(const char *machine)
{
	struct apmp_folder state = must_open(machine);

	put(&state, "nvram.0");
	put(&state, "nvram.new");
	apmp_state_close(&state);
}

START_TEST(clean_one)
{
	json_t *said = json_array();

	ck_assert_int_eq(apmp_state_clean("trio", true, said), 0);
	keep("trio");
	keep("solo");
	ck_assert_int_eq(apmp_state_clean("trio", true, said), 1);
	ck_assert_uint_eq(json_array_size(said), 1);
	ck_assert_ptr_nonnull(
	    strstr(json_string_value(json_array_get(said, 0)), "machine \"trio\": removed /"));
	ck_assert(!is_there("%s/deep/state/apmp/%s", "trio"));
	ck_assert(is_there("%s/deep/state/apmp/solo/%s", "nvram.0"));
	ck_assert_int_eq(apmp_state_clean("../solo", true, said), -EINVAL);
	json_decref(said);
}
END_TEST

START_TEST(clean_all_but_the_living)
{
	struct apmp_folder state;
	json_t *said = json_array();

	keep("trio");
	keep("solo");
	keep("duo");
	state = must_open("duo");
	ck_assert_int_eq(apmp_state_clean("duo", true, said), -EBUSY);
	ck_assert_int_eq(apmp_state_clean(NULL, true, said), 2);
	ck_assert_uint_eq(json_array_size(said), 2);
	ck_assert(is_there("%s/deep/state/apmp/duo/%s", "nvram.0"));
	apmp_state_close(&state);
	ck_assert_int_eq(apmp_state_clean(NULL, true, said), 1);
	ck_assert(!is_there("%s/deep/state/apmp%s", ""));
	ck_assert_int_eq(apmp_state_clean(NULL, true, said), 0);
	json_decref(said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state_dir");
	TCase *tc = suite_case(suite, "folders");

	tcase_add_checked_fixture(tc, setup, tear_down);
	tcase_add_test(tc, base);
	tcase_add_test(tc, made_with_all_above_it);
	tcase_add_test(tc, a_home_that_is_not_there_is_not_made);
	tcase_add_test(tc, others_are_kept_out);
	tcase_add_test(tc, the_folder_above);
	tcase_add_test(tc, held_by_one);
	tcase_add_test(tc, a_child_takes_over);
	tcase_add_test(tc, a_dead_holder_does_not_hold);
	tcase_add_test(tc, a_limit_of_file_sizes);
	tcase_add_test(tc, clean_one);
	tcase_add_test(tc, clean_all_but_the_living);
	return suite_run(suite);
}
