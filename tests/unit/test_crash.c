/* test_crash.c - what an instance that fails leaves in its HWRPB, as its writer and as who reads it
 * afterwards; and where its CPUs go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/crash.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define CPUS 4u

static struct hwrpb h;

static void setup(void)
{
	memset(&h, 0, sizeof(h));
	apmp_store_relaxed(&h.cpu_count, CPUS);
}

static const struct apmp_crash gasp = {.reason = HWRPB_CRASH_SIGNAL,
				       .thread = 3,
				       .signal = 11,
				       .address = 0x40,
				       .t_ns = 12345,
				       .image = 0x555500000000,
				       .text = "SIGSEGV at 0x40 on CPU 3"};

/* Whoever returns from it leaves a whole one, also if the first never comes to write his.
 * shows: FAIL-06 */
START_TEST(last_gasp_is_the_first_ones)
{
	const struct apmp_crash other = {.reason = HWRPB_CRASH_ASSERTION, .text = "too late"};
	const struct apmp_crash *_Atomic first = NULL;
	struct apmp_crash crash;

	ck_assert_int_eq(apmp_crash_read(&h, &crash), -ENOENT);
	apmp_store_release(&first, &gasp); /* its thread has not come any further */
	ck_assert(!apmp_crash_write(&h, &first, &other));
	ck_assert_int_eq(apmp_crash_read(&h, &crash), 0);
	ck_assert_uint_eq(crash.reason, gasp.reason);
	ck_assert_uint_eq(crash.thread, gasp.thread);
	ck_assert_uint_eq(crash.signal, gasp.signal);
	ck_assert_uint_eq(crash.address, gasp.address);
	ck_assert_uint_eq(crash.t_ns, gasp.t_ns);
	ck_assert_uint_eq(crash.image, gasp.image);
	ck_assert_str_eq(crash.text, gasp.text);
	ck_assert_str_eq(apmp_crash_reason_text(crash.reason), "signal");
}
END_TEST

static const struct apmp_crash *_Atomic first_of_all;
static struct apmp_crash gasps[8];

static void write_one(uint32_t idx)
{
	struct apmp_crash crash;

	gasps[idx] = gasp;
	gasps[idx].thread = idx;
	memset(gasps[idx].text, 'a' + (int)idx, sizeof(gasps[idx].text) - 1);
	apmp_crash_write(&h, &first_of_all, &gasps[idx]);
	ck_assert_int_eq(apmp_crash_read(&h, &crash), 0);
	ck_assert_mem_eq(crash.text, gasps[crash.thread].text, sizeof(crash.text));
	ck_assert_ptr_eq(first_of_all, &gasps[crash.thread]);
}

START_TEST(all_fail_at_once)
{
	threads_run(sizeof(gasps) / sizeof(gasps[0]), write_one);
}
END_TEST

START_TEST(text_is_cut_and_printable)
{
	struct apmp_crash crash = gasp;
	const struct apmp_crash *_Atomic first = NULL;

	memset(crash.text, 'x', sizeof(crash.text)); /* without an end */
	ck_assert(apmp_crash_write(&h, &first, &crash));
	ck_assert_ptr_eq(first, &crash);
	ck_assert_int_eq(apmp_crash_read(&h, &crash), 0);
	ck_assert_uint_eq(strlen(crash.text), sizeof(crash.text) - 1);
	memcpy(h.crash.text, "\x1b[2J\n", 6);
	ck_assert_int_eq(apmp_crash_read(&h, &crash), 0);
	ck_assert_mem_eq(crash.text, "?[2J?", 6);
}
END_TEST

START_TEST(odd_record_is_refused)
{
	struct apmp_crash crash = {.t_ns = 77};

	apmp_store_relaxed(&h.crash.state, 3);
	ck_assert_int_eq(apmp_crash_read(&h, &crash), -EBADMSG);
	apmp_store_relaxed(&h.crash.state, 2);
	for (uint32_t reason = 0; reason < 64; reason++) {
		apmp_store_relaxed(&h.crash.reason, reason);
		ck_assert_int_eq(apmp_crash_read(&h, &crash),
				 apmp_crash_reason_text(reason) ? 0 : -EBADMSG);
	}
	ck_assert_ptr_null(apmp_crash_reason_text(0));
	ck_assert_ptr_null(apmp_crash_reason_text(UINT32_MAX));
}
END_TEST

/* shows: FAIL-01, FAIL-06 */
START_TEST(context_is_saved_once)
{
	struct apmp_context context = {.thread = 2,
				       .task = 5,
				       .t_ns = 99,
				       .register_count = HWRPB_REGISTERS,
				       .frame_count = 2,
				       .reg = {[APMP_CONTEXT_PC] = 0x1234},
				       .frame = {0x1000, 0x2000},
				       .program = 0x1800,
				       .program_end = 0x2800,
				       .task_name = "a\033b.so"},
			    read;

	ck_assert(!apmp_context_saved(&h, 2));
	ck_assert_int_eq(apmp_context_read(&h, 2, &read), -ENOENT);
	ck_assert(apmp_context_begin(&h, 2));
	ck_assert_int_eq(apmp_context_read(&h, 2, &read), -ENOENT);
	ck_assert(!apmp_context_saved(&h, 2));
	apmp_context_finish(&h, 2, &context);
	ck_assert(!apmp_context_begin(&h, 2));
	ck_assert(apmp_context_saved(&h, 2));
	ck_assert_int_eq(apmp_context_read(&h, 2, &read), 0);
	ck_assert_uint_eq(read.thread, context.thread);
	ck_assert_uint_eq(read.task, context.task);
	ck_assert_uint_eq(read.t_ns, context.t_ns);
	ck_assert_uint_eq(read.register_count, HWRPB_REGISTERS);
	ck_assert_mem_eq(read.reg, context.reg, sizeof(read.reg));
	ck_assert_uint_eq(read.frame_count, 2);
	ck_assert_mem_eq(read.frame, context.frame, 2 * sizeof(read.frame[0]));
	ck_assert_uint_eq(read.program, context.program);
	ck_assert_uint_eq(read.program_end, context.program_end);
	ck_assert_str_eq(read.task_name, "a?b.so");
	ck_assert_int_eq(apmp_context_read(&h, 1, &read), -ENOENT);
}
END_TEST

START_TEST(odd_context_is_refused)
{
	struct apmp_context read;

	ck_assert_int_eq(apmp_context_read(&h, CPUS, &read), -ENXIO);
	ck_assert_int_eq(apmp_context_read(&h, UINT32_MAX, &read), -ENXIO);
	apmp_store_relaxed(&h.cpu_count, UINT32_MAX);
	ck_assert_int_eq(apmp_context_read(&h, APMP_MAX_CPUS, &read), -ENXIO);
	apmp_store_relaxed(&h.saved[1].state, 9);
	ck_assert_int_eq(apmp_context_read(&h, 1, &read), -EBADMSG);
	apmp_store_relaxed(&h.saved[1].state, 2);
	ck_assert_int_eq(apmp_context_read(&h, 1, &read), 0);
	apmp_store_relaxed(&h.saved[1].register_count, HWRPB_REGISTERS + 1);
	ck_assert_int_eq(apmp_context_read(&h, 1, &read), -EBADMSG);
	apmp_store_relaxed(&h.saved[1].register_count, 0);
	apmp_store_relaxed(&h.saved[1].frame_count, UINT32_MAX);
	ck_assert_int_eq(apmp_context_read(&h, 1, &read), -EBADMSG);
}
END_TEST

START_TEST(registers_have_names)
{
	ck_assert_ptr_nonnull(strstr("rip pc", apmp_context_register_name(APMP_CONTEXT_PC)));
	ck_assert_ptr_nonnull(apmp_context_register_name(0));
	ck_assert_ptr_null(apmp_context_register_name(HWRPB_REGISTERS));
	ck_assert_ptr_null(apmp_context_register_name(UINT32_MAX));
}
END_TEST

/* Where a CPU of partition 5 with these targets goes, one digit each, '.' for that it stays. */
static const char *way(uint64_t targets)
{
	static char digits[HWRPB_TARGETS + 2];
	uint32_t place = 0, id, count = 0;

	while (apmp_failover_next(targets, 5, &place, &id)) {
		ck_assert_uint_lt(id, APMP_MAX_PARTITIONS);
		digits[count++] = (char)('0' + id);
	}
	ck_assert(!apmp_failover_next(targets, 5, &place, &id)); /* and it does not begin again */
	digits[count] = '.';
	digits[count + 1] = '\0';
	return digits;
}

/* Fig. 25, steps 2702 and 2704.  shows: FAIL-02 */
START_TEST(targets_in_order)
{
	ck_assert_str_eq(way(0), ".");
	ck_assert_str_eq(way(6), "."); /* its own */
	ck_assert_str_eq(way(1), "0.");
	ck_assert_str_eq(way(0x0203), "21.");
	ck_assert_str_eq(way(0x020603), "2."); /* behind its own nobody is asked */
	ck_assert_str_eq(way(0x020003), "2."); /* nor behind the end */
	ck_assert_str_eq(way(0x0908070504030201), "01234678.");
	ck_assert_str_eq(way(0x01ff4103), "20."); /* no partitions */
}
END_TEST

/* Whatever stands there, it ends, and names partitions.  shows: FAIL-02 */
START_TEST(random_targets_end)
{
	uint32_t place, id;

	srandom(20260101);
	for (uint32_t i = 0; i < 100000; i++) {
		uint64_t targets = (uint64_t)random() << 33 ^ (uint64_t)random();
		uint32_t count = 0;

		for (place = 0; apmp_failover_next(targets, 7, &place, &id); count++)
			ck_assert(id < APMP_MAX_PARTITIONS && id != 7);
		ck_assert_uint_le(count, HWRPB_TARGETS);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash");
	TCase *record = suite_case(suite, "record"), *targets = suite_case(suite, "targets");

	tcase_add_checked_fixture(record, setup, NULL);
	tcase_add_test(record, last_gasp_is_the_first_ones);
	tcase_add_loop_test(record, all_fail_at_once, 0, 100);
	tcase_add_test(record, text_is_cut_and_printable);
	tcase_add_test(record, odd_record_is_refused);
	tcase_add_test(record, context_is_saved_once);
	tcase_add_test(record, odd_context_is_refused);
	tcase_add_test(record, registers_have_names);
	tcase_add_test(targets, targets_in_order);
	tcase_add_test(targets, random_targets_end);
	return suite_run(suite);
}
