/* race_recorder.c - many threads pass points while a tool reads: what it gets is one entry of one
 * thread, and an armed point ends exactly one of them.
 *
 * Writers stay within one lap of each other (a barrier): LIMITS of shm/recorder.c. */
#include <errno.h>
#include <pthread.h>

#include "shm/recorder.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define WRITERS	   4u
#define ROUNDS	   200u
#define PER_ROUND  900u /* of each writer: less than a lap of all together */
#define ALL_ROUNDS ((uint64_t)WRITERS * ROUNDS * PER_ROUND)

static struct apmp_recorder rec;
static pthread_barrier_t barrier;
static _Atomic uint32_t done, ended, torn, reads, armings;

static void setup(void)
{
	apmp_recorder_init(&rec);
	ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, WRITERS), 0);
}

/* All fields of an entry follow from its number and thread. */
static enum apmp_point point_of(uint64_t n)
{
	return (enum apmp_point)(1 + n % (APMP_P_COUNT - 1));
}

static void writer(uint32_t idx)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		(void)pthread_barrier_wait(&barrier);
		for (uint32_t i = 0; i < PER_ROUND; i++) {
			uint64_t n = ((uint64_t)round * PER_ROUND + i) * WRITERS + idx;

			if (apmp_recorder_pass(&rec, point_of(n), idx, n, ~n))
				apmp_fetch_add(&ended, 1);
		}
	}
	apmp_fetch_add(&done, 1);
}

static bool whole(const struct apmp_recorder_view *v)
{
	return v->t_ns == ~v->arg && v->point == (uint32_t)point_of(v->arg) &&
	       v->thread == v->arg % WRITERS;
}

/* Reads the newest entries, which are being written, and the oldest, being overwritten. */
static void read_some(void)
{
	uint64_t newest = apmp_recorder_newest(&rec);
	uint64_t oldest = newest > APMP_RECORDER_ENTRIES ? newest - APMP_RECORDER_ENTRIES + 1 : 1;
	struct apmp_recorder_view view;

	for (uint64_t i = 0; i < 16 && i < newest; i++) {
		int err = apmp_recorder_read(&rec, i & 1 ? oldest + i / 2 : newest - i / 2, &view);

		if (err == -EBADMSG || (!err && !whole(&view)))
			apmp_fetch_add(&torn, 1);
		if (!err)
			apmp_fetch_add(&reads, 1);
	}
}

static void reader(void)
{
	bool last;

	do {
		last = apmp_load_acquire(&done) == WRITERS;
		read_some();
	} while (!last);
}

static void writer_or_reader(uint32_t idx)
{
	if (idx < WRITERS)
		writer(idx);
	else
		reader();
}

START_TEST(entries_are_whole)
{
	uint64_t passed = 0;

	threads_run(WRITERS + 1, writer_or_reader);
	ck_assert_uint_eq(apmp_load_relaxed(&torn), 0);
	ck_assert_uint_gt(apmp_load_relaxed(&reads), 0);
	ck_assert_uint_eq(apmp_recorder_newest(&rec), ALL_ROUNDS);
	for (uint32_t p = 0; p < APMP_RECORDER_POINTS; p++)
		passed += apmp_load_relaxed(&rec.count[p]);
	ck_assert_uint_eq(passed, ALL_ROUNDS);
	ck_assert_uint_eq(apmp_load_relaxed(&ended), 0);
}
END_TEST

START_TEST(one_ends_at_an_armed_point)
{
	apmp_recorder_arm(&rec, APMP_P_join_812, 100);
	apmp_recorder_arm(&rec, APMP_P_join_814, 1);
	threads_run(WRITERS, writer);
	ck_assert_uint_eq(apmp_load_relaxed(&ended), 2);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 0);
}
END_TEST

/* All pass one point. */
static void passer(uint32_t idx)
{
	for (uint32_t i = 0; i < ROUNDS * PER_ROUND; i++)
		if (apmp_recorder_pass(&rec, APMP_P_tick_beat, idx, i, i))
			apmp_fetch_add(&ended, 1);
	apmp_fetch_add(&done, 1);
}

/* Arms it again and again, as soon as somebody has met his end. */
static void armer_or_passer(uint32_t idx)
{
	if (idx < WRITERS) {
		passer(idx);
		return;
	}
	while (apmp_load_acquire(&done) < WRITERS) {
		if (apmp_load_acquire(&rec.armed))
			continue;
		apmp_recorder_arm(&rec, APMP_P_tick_beat, 1 + apmp_load_relaxed(&armings) % 4);
		apmp_fetch_add(&armings, 1);
	}
}

START_TEST(each_arming_ends_one)
{
	uint32_t left;

	threads_run(WRITERS + 1, armer_or_passer);
	left = apmp_load_relaxed(&rec.arm[APMP_P_tick_beat]) != 0;
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), left);
	ck_assert_uint_gt(apmp_load_relaxed(&armings), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&ended) + left, apmp_load_relaxed(&armings));
}
END_TEST

/* One arms and disarms while others pass: the count of armed points stays right. */
static void disarmer_or_passer(uint32_t idx)
{
	if (idx < WRITERS) {
		passer(idx);
		return;
	}
	while (apmp_load_acquire(&done) < WRITERS) {
		apmp_recorder_arm(&rec, APMP_P_tick_beat, 3);
		apmp_recorder_arm(&rec, APMP_P_tick_beat, 1);
		apmp_recorder_arm(&rec, APMP_P_tick_beat, 0);
	}
}

START_TEST(disarming_meanwhile)
{
	threads_run(WRITERS + 1, disarmer_or_passer);
	apmp_recorder_arm(&rec, APMP_P_tick_beat, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&rec.armed), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race_recorder");
	TCase *tc = suite_case(suite, "recorder");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, entries_are_whole);
	tcase_add_test(tc, one_ends_at_an_armed_point);
	tcase_add_test(tc, each_arming_ends_one);
	tcase_add_test(tc, disarming_meanwhile);
	return suite_run(suite);
}
