/* Who does not answer: what counts as silence, and when it is the end. */
#include "apmpd/watch.h"

#include <check.h>

#include "tests/unit/suite.h"

#define HUNG_MS 3000u
#define TICK_MS APMP_WATCH_TICK_MS

static struct apmp_watch watch;
static struct apmp_sight sight;
static uint64_t now_ms;

static void begin(void)
{
	now_ms = 1000;
	watch = (struct apmp_watch){.tick_ms = now_ms, .asked = 1};
	sight = (struct apmp_sight){.state = 'S', .cpu_time_ns = 1};
}

static enum apmp_watch_verdict tick(uint64_t after_ms)
{
	now_ms += after_ms;
	return apmp_watch_tick(&watch, now_ms, &sight, HUNG_MS);
}

/* Ticks in time until there is a verdict; returns it, and in *ret_ms how long that took. */
static enum apmp_watch_verdict until_verdict(uint64_t *ret_ms)
{
	uint64_t began_ms = now_ms;

	for (int i = 0; i < 1000; i++) {
		enum apmp_watch_verdict verdict = tick(TICK_MS);

		*ret_ms = now_ms - began_ms;
		if (verdict != APMP_WATCH_WAIT)
			return verdict;
	}
	return APMP_WATCH_WAIT;
}

START_TEST(who_answers_is_asked_again)
{
	begin();
	for (uint64_t number = 1; number < 100; number++) {
		ck_assert(!apmp_watch_answer(&watch, number));
		ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_ASK);
		ck_assert_uint_eq(watch.asked, number + 1);
	}
	/* An answer to nothing, and an old one. */
	ck_assert(!apmp_watch_answer(&watch, 101));
	ck_assert(!apmp_watch_answer(&watch, 7));
	ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_WAIT);
}
END_TEST

START_TEST(silence_is_noted_and_then_the_end)
{
	uint64_t ms;

	begin();
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert_uint_eq(ms, APMP_WATCH_NOTE_MS);
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_KILL);
	ck_assert_uint_eq(ms, HUNG_MS - APMP_WATCH_NOTE_MS);
	/* Told once: the rest is up to the kernel. */
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_WAIT);
}
END_TEST

START_TEST(an_answer_ends_the_silence)
{
	uint64_t ms;

	begin();
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert(apmp_watch_answer(&watch, 1));
	ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_ASK);
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert_uint_eq(ms, APMP_WATCH_NOTE_MS);
}
END_TEST

/* The box was stopped, or busy: nobody knows what the console could do meanwhile. */
START_TEST(late_ticks_count_as_nothing)
{
	uint64_t ms;

	begin();
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(tick(APMP_WATCH_LATE_MS + 1), APMP_WATCH_WAIT);
	ck_assert_int_eq(tick(3600000), APMP_WATCH_WAIT);
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert_uint_eq(ms, APMP_WATCH_NOTE_MS);
	ck_assert_int_eq(tick(3600000), APMP_WATCH_WAIT);
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_KILL);
	ck_assert_uint_eq(ms, HUNG_MS - APMP_WATCH_NOTE_MS);
}
END_TEST

/* The box makes memory for it, a GiB at a time: it is the console that waits. */
START_TEST(what_it_has_to_wait_for_counts_as_nothing)
{
	uint64_t ms;

	begin();
	for (int i = 0; i < 1000; i++) {
		apmp_watch_busy(&watch, TICK_MS - 50);
		apmp_watch_busy(&watch, 60); /* some of it is measured twice by rounding */
		ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_WAIT);
	}
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert_uint_eq(ms, APMP_WATCH_NOTE_MS);
}
END_TEST

START_TEST(a_debugger_holds_it_for_as_long_as_it_likes)
{
	uint64_t ms;

	begin();
	sight.state = 't';
	sight.tracer = 4711;
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_HELD);
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_WAIT);
	/* Let go, it has all the time again. */
	sight.tracer = 0;
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_KILL);
	ck_assert_uint_ge(ms, HUNG_MS - TICK_MS);

	begin();
	sight.tracer = 4711;
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_HELD);
	ck_assert(apmp_watch_answer(&watch, 1));
}
END_TEST

/* Runnable: what it ran counts, not what it waited for a host CPU. */
START_TEST(a_busy_host_is_no_hang)
{
	uint64_t ms;

	begin();
	sight.state = 'R';
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_WAIT);
	/* One in an endless loop, which has a fifth of a CPU. */
	begin();
	sight.state = 'R';
	for (int i = 0;; i++) {
		enum apmp_watch_verdict verdict = tick(TICK_MS);

		if (verdict == APMP_WATCH_KILL)
			break;
		ck_assert_int_lt(i, 200);
		sight.cpu_time_ns += TICK_MS * 1000000 / 5;
	}
	ck_assert_uint_ge(now_ms, 5 * HUNG_MS);
	/* A kernel that does not tell: time is time. */
	begin();
	sight = (struct apmp_sight){.state = 'R'};
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
}
END_TEST

/* It waits for the box again and again before its loop runs; afterwards only answers count. */
START_TEST(signs_of_life_count_until_the_first_answer)
{
	uint64_t ms;

	begin();
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_WAIT);
		ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_WAIT);
		apmp_watch_sign(&watch);
	}
	ck_assert(!apmp_watch_answer(&watch, 1));
	ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_ASK);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(tick(TICK_MS), APMP_WATCH_WAIT);
		apmp_watch_sign(&watch);
	}
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_NOTE);
	ck_assert_uint_eq(ms, TICK_MS);
}
END_TEST

START_TEST(one_that_has_ended_is_not_judged)
{
	uint64_t ms;

	begin();
	sight.state = 0;
	ck_assert_int_eq(until_verdict(&ms), APMP_WATCH_WAIT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tests = suite_case(suite, "watch");

	tcase_add_test(tests, who_answers_is_asked_again);
	tcase_add_test(tests, silence_is_noted_and_then_the_end);
	tcase_add_test(tests, an_answer_ends_the_silence);
	tcase_add_test(tests, late_ticks_count_as_nothing);
	tcase_add_test(tests, what_it_has_to_wait_for_counts_as_nothing);
	tcase_add_test(tests, a_debugger_holds_it_for_as_long_as_it_likes);
	tcase_add_test(tests, a_busy_host_is_no_hang);
	tcase_add_test(tests, signs_of_life_count_until_the_first_answer);
	tcase_add_test(tests, one_that_has_ended_is_not_judged);
	return suite_run(suite);
}
