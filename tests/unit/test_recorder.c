/* test_recorder.c - the flight recorder and the arming of points.  Many writers at once:
 * tests/race/race_recorder.c. */
#include <errno.h>
#include <string.h>

#include "shm/recorder.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"

static struct apmp_recorder rec;

static void setup(void)
{
	memset(&rec, 0, sizeof(rec));
	apmp_recorder_init(&rec);
}

static enum apmp_fault pass(enum apmp_point point)
{
	return apmp_recorder_pass(&rec, point, 3, 0, 0);
}

START_TEST(check_refuses)
{
	ck_assert_int_eq(apmp_recorder_check(&rec, sizeof(rec)), 0);
	ck_assert_int_eq(apmp_recorder_check(&rec, sizeof(rec) - 1), -EBADMSG);
	apmp_store_relaxed(&rec.magic, 0);
	ck_assert_int_eq(apmp_recorder_check(&rec, sizeof(rec)), -EBADMSG);
}
END_TEST

START_TEST(records_what_passed)
{
	struct apmp_recorder_view view;

	ck_assert_uint_eq(apmp_recorder_newest(&rec), 0);
	ck_assert(!apmp_recorder_pass(&rec, APMP_P_join_812, 7, 99, 12345));
	ck_assert(!apmp_recorder_pass(&rec, APMP_P_tick_beat, APMP_THREAD_CLOCK, 0, 12346));
	ck_assert_uint_eq(apmp_recorder_newest(&rec), 2);
	ck_assert_int_eq(apmp_recorder_read(&rec, 1, &view), 0);
	ck_assert_uint_eq(view.seq, 1);
	ck_assert_uint_eq(view.point, APMP_P_join_812);
	ck_assert_uint_eq(view.thread, 7);
	ck_assert_uint_eq(view.arg, 99);
	ck_assert_uint_eq(view.t_ns, 12345);
	ck_assert_int_eq(apmp_recorder_read(&rec, 2, &view), 0);
	ck_assert_uint_eq(view.thread, APMP_THREAD_CLOCK);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.count[APMP_P_join_812]), 1);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.count[APMP_P_join_814]), 0);
}
END_TEST

START_TEST(read_refuses)
{
	struct apmp_recorder_view view = {.seq = 77};

	(void)pass(APMP_P_join_812);
	ck_assert_int_eq(apmp_recorder_read(&rec, 0, &view), -ENOENT);
	ck_assert_int_eq(apmp_recorder_read(&rec, 2, &view), -ENOENT);
	ck_assert_int_eq(apmp_recorder_read(&rec, UINT64_MAX, &view), -ENOENT);
	apmp_store_relaxed(&rec.entry[0].point, APMP_P_COUNT);
	ck_assert_int_eq(apmp_recorder_read(&rec, 1, &view), -EBADMSG);
	/* A thread that died in the middle of an entry. */
	apmp_store_relaxed(&rec.entry[0].seq, 0);
	ck_assert_int_eq(apmp_recorder_read(&rec, 1, &view), -ENOENT);
	ck_assert_uint_eq(view.seq, 77);
}
END_TEST

START_TEST(older_ones_are_overwritten)
{
	struct apmp_recorder_view view;
	uint64_t total = 2 * APMP_RECORDER_ENTRIES + 10;

	for (uint64_t i = 1; i <= total; i++)
		(void)apmp_recorder_pass(&rec, APMP_P_tick_beat, 0, i, i);
	ck_assert_uint_eq(apmp_recorder_newest(&rec), total);
	for (uint64_t seq = 1; seq <= total; seq++) {
		bool kept = seq > total - APMP_RECORDER_ENTRIES;

		ck_assert_int_eq(apmp_recorder_read(&rec, seq, &view), kept ? 0 : -ENOENT);
		if (kept)
			ck_assert_uint_eq(view.arg, seq);
	}
	ck_assert_uint_eq(apmp_load_relaxed(&rec.count[APMP_P_tick_beat]), total);
}
END_TEST

START_TEST(nth_passing_is_the_end)
{
	apmp_recorder_arm(&rec, APMP_P_join_812, (uint32_t)_i);
	for (int i = 1; i < _i; i++) {
		ck_assert(!pass(APMP_P_join_812));
		ck_assert(!pass(APMP_P_join_814));
	}
	ck_assert_uint_eq(apmp_load_relaxed(&rec.died_at), 0);
	ck_assert(pass(APMP_P_join_812));
	ck_assert_uint_eq(apmp_load_relaxed(&rec.died_at), APMP_P_join_812);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 0);
	ck_assert(!pass(APMP_P_join_812));
}
END_TEST

START_TEST(a_new_life_has_not_ended)
{
	apmp_recorder_arm(&rec, APMP_P_join_812, 1);
	apmp_recorder_arm(&rec, APMP_P_join_814, 1);
	ck_assert(pass(APMP_P_join_812));
	apmp_store_relaxed(&rec.panicked, 1);
	apmp_recorder_begin(&rec);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.died_at), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.panicked), 0);
	ck_assert_uint_eq(apmp_recorder_newest(&rec), 1);
	ck_assert(pass(APMP_P_join_814)); /* what was armed for it strikes it */
}
END_TEST

START_TEST(arming_again_and_disarming)
{
	apmp_recorder_arm(&rec, APMP_P_join_812, 2);
	apmp_recorder_arm(&rec, APMP_P_join_814, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 2);
	apmp_recorder_arm(&rec, APMP_P_join_812, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 2);
	apmp_recorder_arm(&rec, APMP_P_join_812, 0);
	apmp_recorder_arm(&rec, APMP_P_join_812, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 1);
	ck_assert(!pass(APMP_P_join_812));
	ck_assert(pass(APMP_P_join_814));
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 0);
}
END_TEST

START_TEST(faults_at_points)
{
	ck_assert_int_eq(apmp_fault_find("kill"), APMP_FAULT_KILL);
	ck_assert_int_eq(apmp_fault_find("segv"), APMP_FAULT_SEGV);
	ck_assert_int_eq(apmp_fault_find("assert"), APMP_FAULT_ASSERT);
	ck_assert_int_eq(apmp_fault_find("stop"), APMP_FAULT_NONE);
	ck_assert_int_eq(apmp_fault_find(""), APMP_FAULT_NONE);
	apmp_recorder_arm_fault(&rec, APMP_P_join_812, 2, APMP_FAULT_ASSERT);
	apmp_recorder_arm_fault(&rec, APMP_P_join_814, 1, APMP_FAULT_SEGV);
	apmp_recorder_arm(&rec, APMP_P_join_816, 1);
	apmp_recorder_arm_fault(&rec, APMP_P_join_818, UINT32_MAX, APMP_FAULT_SEGV);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 4);
	ck_assert_int_eq(pass(APMP_P_join_812), APMP_FAULT_NONE);
	ck_assert_int_eq(pass(APMP_P_join_812), APMP_FAULT_ASSERT);
	ck_assert_int_eq(pass(APMP_P_join_814), APMP_FAULT_SEGV);
	ck_assert_int_eq(pass(APMP_P_join_816), APMP_FAULT_KILL);
	ck_assert_int_eq(pass(APMP_P_join_818), APMP_FAULT_NONE); /* as good as never */
	ck_assert_uint_eq(apmp_load_relaxed(&rec.arm[APMP_P_join_818]),
			  APMP_ARM(APMP_FAULT_SEGV, APMP_ARM_COUNT_MAX - 1));
	apmp_recorder_arm_fault(&rec, APMP_P_join_818, 0, APMP_FAULT_SEGV);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 0);
	ck_assert_int_eq(pass(APMP_P_join_818), APMP_FAULT_NONE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("recorder");
	TCase *tc = suite_case(suite, "recorder");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, check_refuses);
	tcase_add_test(tc, records_what_passed);
	tcase_add_test(tc, read_refuses);
	tcase_add_test(tc, older_ones_are_overwritten);
	tcase_add_loop_test(tc, nth_passing_is_the_end, 1, 5);
	tcase_add_test(tc, a_new_life_has_not_ended);
	tcase_add_test(tc, arming_again_and_disarming);
	tcase_add_test(tc, faults_at_points);
	return suite_run(suite);
}
