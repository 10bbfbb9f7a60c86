/*
 * test_write_dump.c - dumps within their limits: what is left out, what makes room, what is left
 * when one can't be written.
 * shows: FAIL-06
 */
#include "apmpd/write_dump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/core_world.h"
#include "tests/unit/suite.h"

#define MIB (UINT64_C(1) << 20)

static struct core_world cw;

static void setup(void)
{
	core_world_init(&cw);
}

static void teardown(void)
{
	core_world_fini(&cw);
}

static void must_write(uint64_t incarnation)
{
	int error = core_world_write(&cw, incarnation);

	ck_assert_msg(!error, "%s: %s", strerror(-error), cw.result.why);
}

/* The dumps that are there, by number, newest first: "3 2 1"; and their bytes. */
static const char *there(uint64_t *ret_bytes)
{
	static char text[256];
	int fd = openat(cw.state_fd, DUMP_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count;
	struct dump_file *files;
	uint64_t bytes = 0;

	text[0] = '\0';
	if (fd < 0)
		return text;
	count = dump_files(fd, &files);
	ck_assert_int_ge(count, 0);
	for (int i = 0; i < count; i++) {
		ck_assert_str_eq(files[i].partition, "alpha");
		sprintf(text + strlen(text), "%s%lu", i ? " " : "", (unsigned long)files[i].number);
		bytes += files[i].bytes;
	}
	free(files);
	ck_assert_int_lt(faccessat(fd, DUMP_NEW, F_OK, 0), 0); /* nothing is half done */
	close(fd);
	if (ret_bytes)
		*ret_bytes = bytes;
	return text;
}

/* How many pieces of the newest are not in it, and of how many bytes. */
static unsigned left_out(uint64_t *ret_bytes)
{
	static struct core core;
	const char *why;
	char path[160];
	unsigned count = 0;

	*ret_bytes = 0;
	ck_assert_int_eq(
	    core_open(open(core_world_path(&cw, path), O_RDONLY | O_CLOEXEC), &core, &why), 0);
	ck_assert_int_eq(core_verify(&core), (int)core.count);
	for (uint32_t i = 0; i < core.count; i++) {
		count += core.piece[i].left_out;
		*ret_bytes += core.piece[i].left_out ? core.piece[i].size : 0;
	}
	core_close(&core);
	return count;
}

START_TEST(the_newest_are_kept)
{
	cw.dump.keep = 2;
	for (uint64_t i = 1; i <= 5; i++)
		must_write(i);
	ck_assert_str_eq(there(NULL), "5 4");
	cw.dump.keep = 1;
	must_write(6);
	ck_assert_str_eq(there(NULL), "6");
	ck_assert_uint_eq(cw.copied, 6);
}
END_TEST

/* Incarnations begin with 1 again at each power on. */
START_TEST(none_takes_the_name_of_another)
{
	must_write(1);
	must_write(2);
	ck_assert_str_eq(cw.result.name, "alpha-2.core");
	must_write(1);
	ck_assert_str_eq(cw.result.name, "alpha-3.core");
	ck_assert_str_eq(there(NULL), "3 2 1");
	must_write(1);
	ck_assert_str_eq(there(NULL), "4 3 2");
}
END_TEST

/* By number: ten is after nine, and what a clock says does not count. */
START_TEST(the_newest_is_the_one_made_last)
{
	const struct timespec late[2] = {{.tv_sec = INT32_MAX}, {.tv_sec = INT32_MAX}};

	for (uint64_t i = 1; i <= 10; i++)
		must_write(i);
	ck_assert_int_eq(utimensat(cw.state_fd, DUMP_FOLDER "/alpha-8.core", late, 0), 0);
	ck_assert_str_eq(there(NULL), "10 9 8");
}
END_TEST

START_TEST(no_number_follows_the_last)
{
	int fd;

	must_write(1);
	fd = openat(cw.state_fd, DUMP_FOLDER "/alpha-1000000000.core",
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(core_world_write(&cw, 2), -EOVERFLOW);
	ck_assert_ptr_nonnull(strstr(cw.result.why, "alpha-1000000000.core; move it away"));
	ck_assert_str_eq(there(NULL), "1000000000 1");
}
END_TEST

static unsigned seen; /* dumps when all was copied */

static void look(void *ctx)
{
	int fd = openat(cw.state_fd, DUMP_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dump_file *files;

	(void)ctx;
	seen = (unsigned)dump_files(fd, &files);
	free(files);
	close(fd);
}

START_TEST(an_older_one_goes_when_the_new_one_is_there)
{
	cw.dump.keep = 1;
	cw.dump.copied = look;
	must_write(1);
	ck_assert_uint_eq(seen, 0);
	must_write(2);
	ck_assert_uint_eq(seen, 1);
	ck_assert_str_eq(there(NULL), "2");
	cw.dump.limit = cw.result.bytes + APMP_PAGE_SIZE; /* but never more bytes than that */
	must_write(3);
	ck_assert_uint_eq(seen, 0);
	ck_assert_str_eq(there(NULL), "3");
}
END_TEST

START_TEST(the_largest_private_memory_is_left_out_first)
{
	uint64_t bytes;

	core_world_private(&cw, CORE_WORLD_PRIVATE_PA + 1 * APMP_GRANULE, 4 * MIB, 2 * MIB);
	core_world_private(&cw, CORE_WORLD_PRIVATE_PA + 3 * APMP_GRANULE, 4 * MIB, 3 * MIB);
	core_world_private(&cw, CORE_WORLD_PRIVATE_PA + 5 * APMP_GRANULE, 2 * MIB, MIB);
	must_write(1);
	ck_assert_uint_eq(left_out(&bytes), 0);
	ck_assert_uint_eq(cw.result.left_out, 0);
	cw.dump.limit = cw.result.bytes - MIB;
	must_write(2);
	ck_assert_uint_eq(left_out(&bytes), 1); /* that of 3 MiB */
	ck_assert_uint_eq(bytes, 4 * MIB);
	ck_assert_uint_eq(cw.result.left_out, bytes);
	ck_assert_uint_le(cw.result.bytes, cw.dump.limit);
	ck_assert_str_eq(there(NULL), "2");
	cw.dump.limit -= 2 * MIB + MIB / 2;
	must_write(3);
	ck_assert_uint_eq(left_out(&bytes), 2);
	ck_assert_uint_eq(bytes, 8 * MIB);
}
END_TEST

START_TEST(without_private_memory_it_is_too_large)
{
	must_write(1);
	cw.dump.limit = 2 * APMP_PAGE_SIZE;
	ck_assert_int_eq(core_world_write(&cw, 2), -E2BIG);
	ck_assert_ptr_nonnull(strstr(cw.result.why, "the limit of all dumps is 8192"));
	ck_assert_str_eq(there(NULL), "1"); /* nothing made room for what can't be */
	ck_assert_uint_eq(cw.copied, 2);
}
END_TEST

/* Whatever their sizes, never more than the limit, and never a newer one gone before an older. */
START_TEST(the_limit_holds)
{
	uint64_t bytes, limit = 6 * MIB;
	unsigned long last;
	char *end;

	srandom(7);
	cw.dump.limit = limit;
	cw.dump.keep = 100;
	core_world_private(&cw, CORE_WORLD_PRIVATE_PA + APMP_GRANULE, 16 * MIB, 1);
	for (uint64_t i = 1; i <= 60; i++) {
		int fd = cw.part[cw.dump.count - 1].fd;
		static unsigned char data[4 * MIB];
		size_t size = (size_t)random() % sizeof(data);

		memset(data, 1, size);
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
		ck_assert_int_eq(ftruncate(fd, 16 * MIB), 0);
		must_write(i);
		end = (char *)(uintptr_t)there(&bytes);
		ck_assert_uint_le(bytes, limit);
		for (last = i; *end; last--) /* all from the newest on, none missing */
			ck_assert_uint_eq(strtoul(end, &end, 10), last);
	}
}
END_TEST

START_TEST(a_file_that_may_not_grow)
{
	const struct rlimit little = {.rlim_cur = 64 << 10, .rlim_max = 64 << 10};

	must_write(1);
	signal(SIGXFSZ, SIG_IGN); /* as the box does */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	ck_assert_int_eq(core_world_write(&cw, 2), -EFBIG);
	ck_assert_str_eq(there(NULL), "1");
	ck_assert_uint_eq(cw.copied, 2);
}
END_TEST

START_TEST(memory_that_ends_early)
{
	ck_assert_int_eq(ftruncate(cw.part[0].fd, 0), 0);
	cw.part[0].off = 0;
	must_write(1); /* a hole: nothing was ever written there */
	close(cw.part[1].fd);
	cw.part[1].fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_lt(core_world_write(&cw, 2), 0);
	ck_assert_ptr_nonnull(strstr(cw.result.why, "can't be read"));
	ck_assert_str_eq(there(NULL), "1");
}
END_TEST

START_TEST(parts_that_are_none)
{
	const uint32_t count = cw.dump.count;

	cw.dump.count = 0;
	ck_assert_int_eq(core_world_write(&cw, 1), -EINVAL);
	cw.dump.count = CORE_PIECES_MAX + 1;
	ck_assert_int_eq(core_world_write(&cw, 1), -EINVAL);
	cw.dump.count = count;
	cw.part[0].pa += 8;
	ck_assert_int_eq(core_world_write(&cw, 1), -EINVAL);
	ck_assert_str_eq(there(NULL), "");
	ck_assert_uint_eq(cw.copied, 3);
}
END_TEST

START_TEST(what_is_no_folder_is_not_used)
{
	char link[96];

	ck_assert_int_eq(symlinkat("/tmp", cw.state_fd, DUMP_FOLDER), 0);
	ck_assert_int_lt(core_world_write(&cw, 1), 0);
	ck_assert_ptr_nonnull(strstr(cw.result.why, "no folder for it"));
	snprintf(link, sizeof(link), "%s/" DUMP_FOLDER, cw.dir);
	ck_assert_int_eq(unlink(link), 0);
	must_write(1);
}
END_TEST

START_TEST(other_names_are_no_dumps)
{
	static const char *const others[] = {
	    "alpha-1.core.bak", "alpha-01.core", "-1.core",	 "Alpha-1.core",
	    "alpha.core",	"alpha--1.core", "alpha-0.core", "alpha-1000000001.core"};
	int fd;

	must_write(1);
	cw.dump.keep = 1;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), DUMP_FOLDER "/%s", others[i]);
		fd = openat(cw.state_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	must_write(2);
	ck_assert_str_eq(cw.result.name, "alpha-2.core");
	/* "alpha--1" is one of a partition "alpha-". */
	fd = openat(cw.state_fd, DUMP_FOLDER "/alpha-01.core", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

START_TEST(what_a_dead_box_began_is_removed)
{
	int fd;

	must_write(1);
	fd = openat(cw.state_fd, DUMP_FOLDER "/" DUMP_NEW, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	apmp_dump_tidy(cw.state_fd);
	ck_assert_str_eq(there(NULL), "1");
	ck_assert_int_eq(unlinkat(cw.state_fd, DUMP_FOLDER "/alpha-1.core", 0), 0);
	apmp_dump_tidy(cw.state_fd);
	ck_assert_int_lt(faccessat(cw.state_fd, DUMP_FOLDER, F_OK, 0), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("write_dump");
	TCase *tc = suite_case(suite, "limits");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_newest_are_kept);
	tcase_add_test(tc, none_takes_the_name_of_another);
	tcase_add_test(tc, the_newest_is_the_one_made_last);
	tcase_add_test(tc, no_number_follows_the_last);
	tcase_add_test(tc, an_older_one_goes_when_the_new_one_is_there);
	tcase_add_test(tc, the_largest_private_memory_is_left_out_first);
	tcase_add_test(tc, without_private_memory_it_is_too_large);
	tcase_add_test(tc, the_limit_holds);
	tcase_add_test(tc, a_file_that_may_not_grow);
	tcase_add_test(tc, memory_that_ends_early);
	tcase_add_test(tc, parts_that_are_none);
	tcase_add_test(tc, what_is_no_folder_is_not_used);
	tcase_add_test(tc, other_names_are_no_dumps);
	tcase_add_test(tc, what_a_dead_box_began_is_removed);
	return suite_run(suite);
}
