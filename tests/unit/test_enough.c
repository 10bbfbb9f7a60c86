/* What a machine wants is compared with each limit by itself. */
#include "apmpd/enough.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static struct machine_partition partitions[2];
static struct machine_sbb sbb;
static struct machine_community community;
static struct machine machine;
static struct apmp_short shorts[APMP_SHORT_MAX];

static void set_up(void)
{
	sbb = (struct machine_sbb){.cpu_count = 4, .memory.bytes = 64 << 20};
	community = (struct machine_community){.name.text = "lab", .shared.bytes = 32 << 20};
	partitions[0] = (struct machine_partition){
	    .name.text = "a", .community.text = "lab", .memory.bytes = 16 << 20};
	partitions[1] = (struct machine_partition){.name.text = "b", .memory.bytes = 40 << 20};
	machine = (struct machine){.name.text = "unit",
				   .sbbs = &sbb,
				   .sbb_count = 1,
				   .communities = &community,
				   .community_count = 1,
				   .partitions = partitions,
				   .partition_count = 2};
}

static void limit(int resource, rlim_t value)
{
	struct rlimit both = {value, value};

	ck_assert_int_eq(setrlimit(resource, &both), 0);
}

START_TEST(enough)
{
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 0);
	ck_assert_int_eq(apmp_enough_for_process(1, shorts), 0);
}
END_TEST

START_TEST(memory)
{
	sbb.memory.bytes = UINT64_C(1) << 50;
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, "bytes of memory");
	ck_assert_uint_gt(shorts[0].wanted, sbb.memory.bytes);
	ck_assert_uint_gt(shorts[0].supply.had, 0);
	ck_assert_str_ne(shorts[0].supply.limit, "");
}
END_TEST

START_TEST(descriptors)
{
	limit(RLIMIT_NOFILE, 100);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, "descriptors");
	ck_assert_uint_eq(shorts[0].supply.had, 100);
	ck_assert_ptr_nonnull(strstr(shorts[0].supply.limit, "RLIMIT_NOFILE"));
}
END_TEST

/* As root the limit binds the partitions' users only; else this user, with all he has. */
START_TEST(processes)
{
	limit(RLIMIT_NPROC, 5);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, geteuid() == 0 ? "processes and threads of one partition"
							: "processes and threads");
	ck_assert_uint_eq(shorts[0].wanted, geteuid() == 0 ? 8 : 26);
	ck_assert_uint_le(shorts[0].supply.had, 5);
	if (geteuid() == 0) { /* becomes an ordinary user, who has none */
		ck_assert_int_eq(setresuid(59999, 59999, 59999), 0);
		ck_assert_uint_le(apmp_supply_processes().had, 5);
		ck_assert_int_eq(apmp_enough_for_process(6, shorts), -EAGAIN);
		ck_assert_uint_eq(shorts[0].wanted, 6);
	}
}
END_TEST

/* Of the largest instance: its own memory and its community's, and stacks far apart. */
START_TEST(address_space)
{
	ck_assert_uint_eq(apmp_supply_address_space().had, UINT64_MAX);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	limit(RLIMIT_AS, 100 << 20);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, "bytes of address space of one instance");
	ck_assert_uint_eq(shorts[0].wanted, ((64 + 16 + 32) << 20) + 6 * ((8 << 20) + (128 << 10)));
	ck_assert_uint_eq(shorts[0].supply.had, 100 << 20);
#endif
}
END_TEST

START_TEST(file_size)
{
	limit(RLIMIT_FSIZE, 63 << 20);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, "bytes in one file");
	ck_assert_uint_eq(shorts[0].wanted, 64 << 20);
}
END_TEST

START_TEST(disk)
{
	struct apmp_supply supply = apmp_supply_disk("/tmp/no/such/folder");

	ck_assert_str_eq(supply.limit, "the file system of /tmp");
	ck_assert_uint_lt(supply.had, UINT64_MAX);
	/* There is no room in /proc; a machine that would have its run directory there says so. */
	ck_assert_uint_eq(apmp_supply_disk("/proc").had, 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/proc", 1), 0);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 1);
	ck_assert_str_eq(shorts[0].what, "bytes for the run directory");
}
END_TEST

/* All that is short is said in one run. */
START_TEST(everything)
{
	sbb.memory.bytes = UINT64_C(1) << 50;
	limit(RLIMIT_NOFILE, 100);
	limit(RLIMIT_NPROC, 5);
	ck_assert_int_eq(apmp_enough_for(&machine, shorts), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_lt(shorts[i].supply.had, shorts[i].wanted);
		ck_assert_str_ne(shorts[i].help, "");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("enough");
	TCase *tests = suite_case(suite, "enough");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, enough);
	tcase_add_test(tests, memory);
	tcase_add_test(tests, descriptors);
	tcase_add_test(tests, processes);
	tcase_add_test(tests, address_space);
	tcase_add_test(tests, file_size);
	tcase_add_test(tests, disk);
	tcase_add_test(tests, everything);
	return suite_run(suite);
}
