/* Physical memory: limits are found, memfds are allocated, sealed, and really given back. */
#include "apmpd/host_memory.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE ((uint64_t)2 << 20)

/* Returns the limit until now. */
static rlim_t set_limit(int resource, rlim_t value)
{
	struct rlimit limit;
	rlim_t before;

	ck_assert_int_eq(getrlimit(resource, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = value;
	ck_assert_int_eq(setrlimit(resource, &limit), 0);
	return before;
}

START_TEST(lists_limits)
{
	struct apmp_host_memory_limit limits[APMP_HOST_MEMORY_LIMIT_MAX];
	int count = apmp_host_memory_limits(limits, APMP_HOST_MEMORY_LIMIT_MAX);

	ck_assert_int_ge(count, 1);
	ck_assert_str_eq(limits[0].name, "MemAvailable");
	ck_assert_uint_gt(limits[0].free, 0);
	ck_assert_int_eq(apmp_host_memory_limits(limits, 1), 1);
}
END_TEST

START_TEST(check_refuses_more_than_there_is)
{
	uint64_t had, had_then;
	char which[160];

	ck_assert_int_eq(apmp_host_memory_check(UINT64_MAX, &had, which, sizeof(which)), -ENOMEM);
	ck_assert_uint_gt(had, 0);
	ck_assert_str_ne(which, "");
	ck_assert_int_eq(apmp_host_memory_check(1, &had_then, which, sizeof(which)), 0);
}
END_TEST

/* What is made for the machine leaves room for the processes that come later. */
START_TEST(keeps_a_reserve)
{
	uint64_t had, had_process;
	char which[160];

	ck_assert_int_eq(apmp_host_memory_check(1, &had, which, sizeof(which)), 0);
	ck_assert_int_eq(
	    apmp_host_memory_check_reserve(UINT64_MAX, &had_process, which, sizeof(which)),
	    -ENOMEM);
	/* Others of this host take and give in between. */
	ck_assert_uint_gt(had_process + (64 << 20), had);
	ck_assert_int_eq(apmp_host_memory_check_reserve(1, &had_process, which, sizeof(which)), 0);
}
END_TEST

START_TEST(create)
{
	struct stat st;
	int fd;

	ck_assert_int_eq(apmp_host_memory_create("unit", SIZE, &fd), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, SIZE);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(st.st_blocks * 512, SIZE);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_lt(ftruncate(fd, SIZE / 2), 0);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_lt(ftruncate(fd, 2 * SIZE), 0);
	ck_assert_int_eq(errno, EPERM);
	close(fd);
}
END_TEST

START_TEST(create_refuses)
{
	rlim_t before;
	int fd;

	ck_assert_int_eq(apmp_host_memory_create("unit", 0, &fd), -EINVAL);
	ck_assert_int_eq(apmp_host_memory_create("unit", 1, &fd), -EINVAL);
	ck_assert_int_eq(apmp_host_memory_create("unit", UINT64_MAX & ~0xffffull, &fd), -EINVAL);
	set_limit(RLIMIT_FSIZE, SIZE);
	ck_assert_int_eq(apmp_host_memory_create("unit", 2 * SIZE, &fd), -EFBIG);
	before = set_limit(RLIMIT_NOFILE, 0);
	ck_assert_int_eq(apmp_host_memory_create("unit", SIZE, &fd), -EMFILE);
	set_limit(RLIMIT_NOFILE, before);
}
END_TEST

START_TEST(reopens_readonly)
{
	int fd, again;
	void *p;

	ck_assert_int_eq(apmp_host_memory_create("unit", SIZE, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 77), 1);
	ck_assert_int_eq(apmp_host_memory_reopen_readonly(fd, &again), 0);
	ck_assert_int_eq(fcntl(again, F_GETFD), FD_CLOEXEC);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
	ck_assert_ptr_eq(p, MAP_FAILED);
	ck_assert_int_eq(errno, EACCES);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, again, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(((const char *)p)[77], 'x');
	ck_assert_int_lt(mprotect(p, SIZE, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(apmp_host_memory_reopen_readonly(-1, &again), -ENOENT);
	close(fd);
}
END_TEST

/* Who kept a mapping reads zeros, and gets no SIGBUS. */
START_TEST(drop)
{
	struct stat st;
	int fd, readonly;
	char *p;

	ck_assert_int_eq(apmp_host_memory_create("unit", SIZE, &fd), 0);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	memset(p, 'x', SIZE);
	ck_assert_int_eq(apmp_host_memory_drop(fd), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_blocks, 0);
	ck_assert_int_eq(p[0] | p[SIZE - 1], 0);
	p[SIZE / 2] = 'y';
	ck_assert_int_eq(apmp_host_memory_reopen_readonly(fd, &readonly), 0);
	ck_assert_int_eq(apmp_host_memory_drop(readonly), -EBADF);
	close(readonly);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host_memory");
	TCase *tests = tcase_create("host_memory");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_test(tests, lists_limits);
	tcase_add_test(tests, check_refuses_more_than_there_is);
	tcase_add_test(tests, keeps_a_reserve);
	tcase_add_test(tests, create);
	tcase_add_test(tests, create_refuses);
	tcase_add_test(tests, reopens_readonly);
	tcase_add_test(tests, drop);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
