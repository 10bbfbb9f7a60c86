/* test_nvram_disk.c - the files of NVRAM in a real folder: what is no file of ours is refused, and
 * a file that is made anew never writes into an old one.
 *
 * shows: PLAT-09 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apmpd/nvram_disk.h"
#include "shm/env.h"
#include "tests/unit/suite.h"

static char folder[64];
static struct apmp_nvram_disk disk;
static struct apmp_nvram_found found;
static int dir_fd;
static char text[64];

static void setup(void)
{
	snprintf(folder, sizeof(folder), "/tmp/apmp-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
	apmp_nvram_disk_init(&disk, dir_fd);
}

static void tear_down(void)
{
	char command[128];

	apmp_nvram_disk_fini(&disk);
	close(dir_fd);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void pass(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	(void)point;
	(void)arg;
}

static int try_write(const void *contents, uint64_t size)
{
	struct apmp_env env = {.point = pass};
	uint64_t generation;

	return apmp_nvram_write(&env, &disk.disk, "trio", contents, size, &generation);
}

static void must_write(const char *contents)
{
	ck_assert_int_eq(try_write(contents, strlen(contents)), 0);
}

static int try_read(void)
{
	memset(text, 0, sizeof(text));
	return apmp_nvram_read(&disk.disk, "trio", text, sizeof(text) - 1, &found);
}

static void must_read(const char *contents)
{
	ck_assert_int_eq(try_read(), 0);
	ck_assert_str_eq(text, contents);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : st.st_size;
}

START_TEST(written_is_read)
{
	static uint8_t large[APMP_NVRAM_SIZE_MAX], back[APMP_NVRAM_SIZE_MAX];
	struct stat st;

	ck_assert_int_eq(try_read(), -ENOENT);
	must_write("one");
	must_read("one");
	must_write("two");
	must_read("two");
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t)(i * 2654435761u >> 24);
	ck_assert_int_eq(try_write(large, sizeof(large)), 0);
	ck_assert_int_eq(apmp_nvram_read(&disk.disk, "trio", back, sizeof(back), &found), 0);
	ck_assert_uint_eq(found.size, sizeof(large));
	ck_assert_int_eq(memcmp(large, back, sizeof(large)), 0);
	ck_assert_int_eq(fstatat(dir_fd, "nvram.0", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(size_of(APMP_NVRAM_NEW), -1);
}
END_TEST

/* A crash may leave nvram.new as a second name of a good file, or somebody may have made it one. */
START_TEST(an_old_file_is_never_written_into)
{
	must_write("one");
	must_write("two");
	ck_assert_int_eq(linkat(dir_fd, "nvram.1", dir_fd, APMP_NVRAM_NEW, 0), 0);
	ck_assert_int_eq(disk.disk.write(&disk.disk, APMP_NVRAM_NEW,
					 &(struct apmp_nvram_header){.magic = 1}, "x", 1),
			 0);
	must_read("two");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_GOOD);
}
END_TEST

/* Nothing is followed, and nothing is waited for. */
START_TEST(what_is_no_file_is_refused)
{
	char elsewhere[80];

	must_write("one");
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
	ck_assert_int_eq(renameat(dir_fd, "nvram.0", dir_fd, "elsewhere"), 0);
	ck_assert_int_eq(symlinkat(elsewhere, dir_fd, "nvram.0"), 0);
	ck_assert_int_eq(try_read(), -ELOOP);
	ck_assert_int_eq(found.state[0], APMP_NVRAM_UNREADABLE);
	ck_assert_int_eq(unlinkat(dir_fd, "nvram.0", 0), 0);
	ck_assert_int_eq(mkfifoat(dir_fd, "nvram.0", 0600), 0);
	ck_assert_int_eq(try_read(), -ENOTSUP);
	ck_assert_int_eq(unlinkat(dir_fd, "nvram.0", 0), 0);
	ck_assert_int_eq(mkdirat(dir_fd, "nvram.0", 0700), 0);
	ck_assert_int_eq(try_read(), -ENOTSUP);
	/* What can't be read may be what stands. */
	ck_assert_int_eq(try_write("two", 3), -ENOTSUP);
}
END_TEST

START_TEST(a_link_of_the_new_name_is_not_followed)
{
	char victim[80];
	struct stat st;

	snprintf(victim, sizeof(victim), "%s/victim", folder);
	ck_assert_int_eq(symlinkat(victim, dir_fd, APMP_NVRAM_NEW), 0);
	must_write("one");
	must_read("one");
	ck_assert_int_lt(stat(victim, &st), 0);
}
END_TEST

START_TEST(a_refused_write_leaves_nothing)
{
	static const uint8_t large[1 << 20];
	const struct rlimit little = {.rlim_cur = 1 << 16, .rlim_max = 1 << 16};

	must_write("one");
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	ck_assert_int_eq(try_write(large, sizeof(large)), -EFBIG);
	ck_assert_int_eq(size_of(APMP_NVRAM_NEW), -1);
	must_read("one");
	must_write("two");
	must_read("two");
}
END_TEST

START_TEST(a_file_that_was_cut_is_torn)
{
	must_write("one");
	must_write("two");
	ck_assert_int_eq(truncate(strcat(strcpy(text, folder), "/nvram.1"), 73), 0);
	must_read("one");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_TORN);
}
END_TEST

START_TEST(a_folder_that_was_removed_is_an_error)
{
	must_write("one");
	ck_assert_int_eq(unlinkat(dir_fd, "nvram.0", 0), 0);
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_int_eq(try_write("two", 3), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nvram_disk");
	TCase *tc = suite_case(suite, "files");

	tcase_add_checked_fixture(tc, setup, tear_down);
	tcase_add_test(tc, written_is_read);
	tcase_add_test(tc, an_old_file_is_never_written_into);
	tcase_add_test(tc, what_is_no_file_is_refused);
	tcase_add_test(tc, a_link_of_the_new_name_is_not_followed);
	tcase_add_test(tc, a_refused_write_leaves_nothing);
	tcase_add_test(tc, a_file_that_was_cut_is_torn);
	tcase_add_test(tc, a_folder_that_was_removed_is_an_error);
	return suite_run(suite);
}
