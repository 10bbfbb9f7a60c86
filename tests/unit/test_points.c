/* test_points.c - the table of points. */
#include <string.h>

#include "shm/points.h"
#include "tests/unit/suite.h"

START_TEST(each_is_described)
{
	const struct apmp_point_info *info = apmp_point_info((uint32_t)_i);

	ck_assert_ptr_nonnull(info);
	ck_assert_uint_gt(strlen(info->name), 0);
	ck_assert_uint_gt(strlen(info->figure), 0);
	ck_assert_uint_gt(strlen(info->about), 0);
	ck_assert_uint_gt(strlen(info->survivors), 0);
	ck_assert_uint_gt(strlen(info->repairer), 0);
	ck_assert_int_eq(apmp_point_find(info->name), _i);
}
END_TEST

START_TEST(others_are_none)
{
	ck_assert_ptr_null(apmp_point_info(APMP_P_NONE));
	ck_assert_ptr_null(apmp_point_info(APMP_P_COUNT));
	ck_assert_ptr_null(apmp_point_info(UINT32_MAX));
	ck_assert_int_eq(apmp_point_find(""), APMP_P_NONE);
	ck_assert_int_eq(apmp_point_find("join_81"), APMP_P_NONE);
	ck_assert_int_eq(apmp_point_find("JOIN_812"), APMP_P_NONE);
	ck_assert_int_eq(apmp_point_find("join_812"), APMP_P_join_812);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("points");
	TCase *tc = suite_case(suite, "points");

	tcase_add_loop_test(tc, each_is_described, 1, APMP_P_COUNT);
	tcase_add_test(tc, others_are_none);
	return suite_run(suite);
}
