/*
 * test_analyze.c - `apmp analyze`: what a core has is said, what is damaged is refused, and nothing
 * in a file makes it crash.
 * shows: FAIL-06
 */
#include "apmpd/write_dump.h"
#include "cli/analyze.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chaos/check.h"
#include "tests/unit/core_world.h"
#include "tests/unit/run_apmp.h"
#include "tests/unit/suite.h"

#define FUZZ_ROUNDS 400u

static struct core_world cw;
static struct core core;
static char path[160];

static void setup(void)
{
	core_world_dumped(&cw, path);
}

static void teardown(void)
{
	core_world_fini(&cw);
}

/* apmp analyze FILE and these words; its exit code. */
static int analyze(const char *words)
{
	char line[256];

	snprintf(line, sizeof(line), "apmp analyze %s %s", path, words);
	return apmp(line);
}

START_TEST(a_summary)
{
	ck_assert_int_eq(analyze(""), 0);
	expect(out, "alpha of machine world, incarnation 1");
	expect(out, "killed by signal 11 (Segmentation fault)");
	expect(out, "signal, in thread cpu 0: it touched what it had not");
	expect(out, "signal 11, at address 0x40\n");
	expect(out, "members    alpha beta gamma");
	expect(out, "held locks ledger");
	expect(out, "tick_beat");
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(the_summary_as_a_document)
{
	json_t *json, *cpu;

	ck_assert_int_eq(analyze("--json"), 0);
	json = json_out();
	ck_assert_str_eq(json_string_value(json_object_get(json, "partition")), "alpha");
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "crash"), "text")),
			 "it touched what it had not");
	ck_assert_uint_eq(json_array_size(json_object_get(json, "members")), 3);
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(json, "locks"), 0)),
			 "ledger");
	ck_assert_uint_eq(json_array_size(json_object_get(json, "cpus")), 2);
	cpu = json_array_get(json_object_get(json, "cpus"), 1);
	ck_assert_int_eq(
	    json_integer_value(json_object_get(json_object_get(cpu, "context"), "task")), 17);
	ck_assert_uint_eq(json_array_size(json_object_get(cpu, "last")), 3);
	json_decref(json);
}
END_TEST

START_TEST(words_that_make_no_sense)
{
	ck_assert_int_eq(analyze("cpus 0x1000"), CLI_USAGE);
	expect(err, "nothing stands behind \"cpus\": only memory wants ADDRESS [BYTES]");
	ck_assert_int_eq(analyze("memory"), CLI_USAGE);
	expect(err, "memory wants an address");
	ck_assert_int_eq(analyze("memories"), CLI_USAGE);
	expect(err, "behind FILE stands one of cpus, db, locks, tasks, trace, and memory ADDRESS");
	ck_assert_int_eq(apmp("apmp analyze --help"), CLI_DONE);
	expect(out, "FILE [cpus|db|locks|tasks|trace|memory ADDRESS [BYTES]]");
}
END_TEST

START_TEST(each_part)
{
	unsigned lines = 0;

	ck_assert_int_eq(analyze("cpus"), 0);
	expect(out, "CPU 0: active");
	expect(out, "0x401234           apmp-instance 0x1233"); /* where the call is */
	expect(out, "0x402345           sieve.so 0x344");
	expect(out, "0x403000           sieve.so 0xfff"); /* its last instruction does not return */
	ck_assert_int_eq(analyze("db"), 0);
	expect(out, "community lab");
	expect(out, "operational");
	ck_assert_int_eq(analyze("locks"), 0);
	expect(out, "ledger");
	ck_assert_int_eq(analyze("tasks"), 0);
	expect(out, "   9  ready      -      -  xxxxxxxxxxxxxxxxxxxx");
	expect(out, "  17  running    0      0  sieve.so\n");
	expect(out, "  18  odd: 99    -      -  ");
	ck_assert_int_eq(analyze("trace --json"), 0);
	for (const char *at = out; (at = strchr(at, '\n')); at++)
		lines++;
	ck_assert_uint_eq(lines, CORE_WORLD_POINTS);
}
END_TEST

START_TEST(memory)
{
	char words[64];

	snprintf(words, sizeof(words), "memory %#lx 64",
		 (unsigned long)(CORE_WORLD_PRIVATE_PA + APMP_PAGE_SIZE));
	ck_assert_int_eq(analyze(words), 0);
	expect(out, "|a marker in priv|");
	ck_assert_int_eq(analyze("memory 0 64"), 1);
	expect(err, "no memory of 64 bytes at 0");
	ck_assert_int_eq(analyze("memory"), 2);
	ck_assert_int_eq(analyze("memory 0x1000 0"), 2);
	ck_assert_int_eq(analyze("memory 0x1000 9G"), 2);
	ck_assert_int_eq(analyze("memory nowhere"), 2);
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
	ck_assert_int_eq(analyze("registers"), 2);
	expect(err, "cpus, db, locks, tasks, trace");
	ck_assert_int_eq(analyze("cpus 1"), 2);
	ck_assert_int_eq(apmp("apmp analyze /nowhere/x.core"), 1);
	expect(err, "/nowhere/x.core");
	expect(err, "No such file");
	ck_assert_int_eq(apmp("apmp analyze /etc/passwd"), 1);
	expect(err, "it is no core of a partition");
	ck_assert_int_eq(apmp("apmp analyze /tmp"), 1);
	expect(err, "/tmp");
}
END_TEST

/* XORs a byte of the file. */
static void change(int fd, uint64_t at, unsigned char with)
{
	unsigned char byte;

	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= with;
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

START_TEST(changed_memory)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const char *why;

	ck_assert_int_eq(core_open(dup(fd), &core, &why), 0);
	change(fd, core.piece[core.count - 1].off + APMP_PAGE_SIZE, 1);
	ck_assert_int_eq(analyze(""), 1);
	expect(err, "its memory at 0x10000000000 was changed; --damaged");
	ck_assert_int_eq(analyze("--damaged"), 0);
	change(fd, core.piece[0].off - 8 * core.count - 64, 1); /* of the text */
	ck_assert_int_eq(analyze("--damaged"), 1);
	expect(err, "its head was changed: where in it something is can't be known");
	core_close(&core);
	close(fd);
}
END_TEST

START_TEST(a_file_that_was_cut)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const char *why;

	ck_assert_int_eq(core_open(dup(fd), &core, &why), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)core.file_size - 2 * APMP_PAGE_SIZE + 1), 0);
	ck_assert_int_eq(analyze(""), 1);
	expect(err, "it was cut: it ends before its memory at 0x10000000000 does; --damaged");
	ck_assert_int_eq(analyze("--damaged"), 0);
	expect(out, "missing    8191 of memory at 0x10000001001: the file was cut");
	expect(out, "held locks ledger");
	ck_assert_int_eq(analyze("memory 0x10000000000 16 --damaged"), 0);
	ck_assert_int_eq(analyze("memory 0x10000001000 16 --damaged"), 1);
	expect(err, "the file was cut before them");
	ck_assert_int_eq(ftruncate(fd, (off_t)core.piece[1].off), 0);
	ck_assert_int_eq(analyze("--damaged"), 0);
	expect(out, "crash      where it would have said why is missing");
	ck_assert_int_eq(ftruncate(fd, (off_t)core.piece[0].off + 1), 0);
	ck_assert_int_eq(analyze("--damaged"), 1);
	expect(err, "it has no configuration tree, by which the rest is found");
	ck_assert_int_eq(ftruncate(fd, (off_t)core.piece[0].off - 1), 0);
	ck_assert_int_eq(analyze("--damaged"), 1);
	expect(err, "it was cut: it ends in its own head, and nothing of it can be read");
	ck_assert_int_eq(ftruncate(fd, 10), 0);
	ck_assert_int_eq(analyze("--damaged"), 1);
	expect(err, "it is no core of a partition");
	core_close(&core);
	close(fd);
}
END_TEST

/* ---- fuzz ---- */

/* The sum of the head is made right again: what is read then goes further. */
static void mend_head(int fd)
{
	static unsigned char head[1 << 20];
	Elf64_Phdr notes;
	uint64_t size, sum, at;

	ck_assert_int_eq(pread(fd, &notes, sizeof(notes), sizeof(Elf64_Ehdr)), sizeof(notes));
	size = (notes.p_offset + notes.p_filesz + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE *
	       APMP_PAGE_SIZE;
	at = notes.p_offset + notes.p_filesz - sizeof(sum);
	if (size > sizeof(head) || at + sizeof(sum) > size ||
	    pread(fd, head, size, 0) != (ssize_t)size)
		return;
	memset(head + at, 0, sizeof(sum));
	sum = core_sum(0, head, size);
	ck_assert_int_eq(pwrite(fd, &sum, sizeof(sum), (off_t)at), sizeof(sum));
}

/* Values that a count or an offset is most likely to be wrong with. */
static void put_odd_word(int fd, uint64_t at)
{
	static const uint64_t odd[] = {0,	   1,	  UINT64_MAX,	INT64_MAX,
				       UINT32_MAX, 0x100, 0x8000000000, UINT64_C(1) << 63};
	uint64_t word = odd[random() % (long)(sizeof(odd) / sizeof(odd[0]))];
	size_t size = random() % 2 ? 8 : 4;

	ck_assert_int_eq(pwrite(fd, &word, size, (off_t)(at / 4 * 4)), (ssize_t)size);
}

/* Some bytes of one place, or of the head. */
static void damage(int fd, uint64_t head_size)
{
	unsigned count = 1 + (unsigned)random() % 24;

	for (unsigned i = 0; i < count; i++) {
		const struct core_piece *piece = &core.piece[random() % (long)core.count];
		uint64_t span = random() % 2 ? piece->size : 512;
		uint64_t at = piece->off + (uint64_t)random() % span;

		if (random() % 4 == 0)
			at = (uint64_t)random() % (head_size - 8);
		if (random() % 2)
			change(fd, at, (unsigned char)(1 + random() % 255));
		else
			put_odd_word(fd, at);
	}
	mend_head(fd);
}

/* The checker sees the same file, as `apmp check --dump` would show it. */
static void judge(void)
{
	static struct check check;
	static struct findings findings;
	struct image image;
	const char *why;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool opened = core_open(fd, &core, &why) == 0;

	if (opened && core_image(&core, &image, &why) == 0) {
		ck_assert_int_eq(check_image(&image, NULL, &check, &findings), 0);
		image_fini(&image);
	}
	core_close(&core);
}

START_TEST(no_file_makes_it_crash)
{
	static const char *const words[] = {
	    "",	      "cpus",	   "db",	 "locks", "tasks", "trace", "memory 0x8000 100",
	    "--json", "db --json", "cpus --json"};
	const char *wanted = getenv("APMP_SEED");
	unsigned seed = wanted ? (unsigned)atoi(wanted) : 7;
	unsigned read = 0;
	uint64_t head_size;
	const char *why;
	char line[64];
	struct stat st;

	printf("damaged cores: APMP_SEED=%u, %u rounds\n", seed, FUZZ_ROUNDS);
	srandom(seed);
	for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
		int fd, code;

		ck_assert_int_eq(core_world_write(&cw, 1), 0);
		core_world_path(&cw, path);
		fd = open(path, O_RDWR | O_CLOEXEC);
		ck_assert_int_eq(core_open(dup(fd), &core, &why), 0);
		head_size = core.piece[0].off;
		damage(fd, head_size);
		core_close(&core);
		ck_assert_int_eq(fstat(fd, &st), 0);
		if (random() % 16 == 0)
			ck_assert_int_eq(ftruncate(fd, random() % st.st_size), 0);
		close(fd);
		snprintf(line, sizeof(line), "%s --damaged",
			 words[random() % (long)(sizeof(words) / sizeof(words[0]))]);
		code = analyze(line); /* that it has ended by itself is looked at there */
		ck_assert_msg(code == 0 || code == 1, "round %u: %d: %s", i, code, err);
		ck_assert_ptr_null(strstr(err, "AddressSanitizer"));
		read += code == 0;
		judge();
	}
	ck_assert_uint_gt(read, FUZZ_ROUNDS / 4); /* else the damage is too great to go far */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("analyze");
	TCase *tc = suite_case(suite, "words");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_summary);
	tcase_add_test(tc, the_summary_as_a_document);
	tcase_add_test(tc, each_part);
	tcase_add_test(tc, words_that_make_no_sense);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, what_is_wrong_is_said);
	tcase_add_test(tc, changed_memory);
	tcase_add_test(tc, a_file_that_was_cut);
	tc = suite_case(suite, "fuzz");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_file_makes_it_crash);
	tcase_set_timeout(tc, 300);
	return suite_run(suite);
}
