/*
 * test_core.c - the file of a dump: what was written is read back, and nothing else is.
 * shows: FAIL-06
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apmpd/write_dump.h"
#include "tests/unit/core_world.h"
#include "tests/unit/suite.h"

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

/* NULL: it can be read; else why not. */
static const char *open_why(int flags)
{
	const char *why = NULL;
	int err = core_open(open(path, flags | O_CLOEXEC), &core, &why);

	ck_assert_msg(!err || err == -EBADMSG, "%s", strerror(-err));
	ck_assert(!err || why);
	if (!err)
		return NULL;
	core_close(&core);
	return why;
}

static void must_open(void)
{
	const char *why = open_why(O_RDWR);

	ck_assert_msg(!why, "%s", why);
}

START_TEST(all_is_read_back)
{
	must_open();
	ck_assert_uint_eq(core.count, cw.dump.count);
	ck_assert_int_eq(core_verify(&core), (int)core.count);
	for (uint32_t i = 0; i < core.count; i++) {
		const struct apmp_dump_part *part = &cw.part[i];
		unsigned char *was = malloc(part->size), *is = malloc(part->size);

		ck_assert_int_eq(pread(part->fd, was, part->size, 0), (ssize_t)part->size);
		ck_assert_int_eq(core_read(&core, part->pa, is, part->size), 0);
		ck_assert_mem_eq(was, is, part->size);
		free(was);
		free(is);
	}
	ck_assert_str_eq(json_string_value(json_object_get(core.text, "partition")), "alpha");
	ck_assert_uint_eq(cw.copied, 1);
	core_close(&core);
}
END_TEST

START_TEST(what_is_not_there_is_not_read)
{
	unsigned char byte[2];

	must_open();
	ck_assert_int_eq(core_read(&core, 0, byte, 1), -ENOENT);
	ck_assert_int_eq(core_read(&core, UINT64_MAX, byte, 1), -ENOENT);
	ck_assert_int_eq(core_read(&core, UINT64_MAX - 1, byte, UINT64_MAX), -ENOENT);
	ck_assert_int_eq(core_read(&core, CORE_WORLD_PRIVATE_PA + 3 * APMP_PAGE_SIZE - 1, byte, 1),
			 0);
	ck_assert_int_eq(core_read(&core, CORE_WORLD_PRIVATE_PA + 3 * APMP_PAGE_SIZE - 1, byte, 2),
			 -ENOENT);
	core_close(&core);
}
END_TEST

START_TEST(pages_of_zeros_are_holes)
{
	struct stat st;

	core_world_private(&cw, CORE_WORLD_PRIVATE_PA + APMP_GRANULE, UINT64_C(1) << 33, 4096);
	ck_assert_int_eq(core_world_write(&cw, 2), 0);
	core_world_path(&cw, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, INT64_C(1) << 33);
	ck_assert_int_lt(st.st_blocks * 512, 8 << 20);
	ck_assert_uint_eq(cw.result.bytes, (uint64_t)st.st_blocks * 512);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(an_image_is_what_is_not_private)
{
	struct image image;
	const char *why;

	must_open();
	ck_assert_int_eq(core_image(&core, &image, &why), 0);
	ck_assert_str_eq(image.machine, "world");
	ck_assert_ptr_nonnull(image_at(&image, CORE_WORLD_TREE_PA, cw.w.tree_size));
	ck_assert_ptr_nonnull(image_at(&image, cw.w.range_pa[0], APMP_PAGE_SIZE));
	ck_assert_ptr_null(image_at(&image, CORE_WORLD_PRIVATE_PA, 8));
	image_fini(&image);
	json_object_set_new(core.text, "layout", json_integer(1));
	ck_assert_int_eq(core_image(&core, &image, &why), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why, "other layouts"));
	core_close(&core);
}
END_TEST

static void flip(off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1u << (at % 8);
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

START_TEST(each_byte_of_the_head_counts)
{
	off_t end;

	must_open();
	end = (off_t)core.piece[0].off;
	core_close(&core);
	for (off_t at = 0; at < end; at++) {
		flip(at);
		ck_assert_msg(open_why(O_RDONLY) != NULL, "byte %ld", (long)at);
		flip(at);
	}
	must_open();
	core_close(&core);
}
END_TEST

START_TEST(changed_memory_is_named)
{
	must_open();
	for (uint32_t i = 0; i < core.count; i++) {
		off_t at = (off_t)(core.piece[i].off + core.piece[i].size / 2 + i);

		flip(at);
		ck_assert_int_eq(core_verify(&core), (int)i);
		flip(at);
	}
	ck_assert_int_eq(core_verify(&core), (int)core.count);
	core_close(&core);
}
END_TEST

/* In its head, nothing can be read; behind that, what is there. */
START_TEST(a_file_that_was_cut)
{
	struct stat st;
	off_t head;
	unsigned char byte;

	must_open();
	ck_assert(!core.cut);
	head = (off_t)core.piece[0].off;
	core_close(&core);
	ck_assert_int_eq(stat(path, &st), 0);
	for (off_t size = st.st_size - 1; size > head; size = size * 9 / 10) {
		uint32_t i = 0;

		ck_assert_int_eq(truncate(path, size), 0);
		must_open();
		ck_assert(core.cut);
		while (!core_missing(&core, &core.piece[i]))
			i++;
		ck_assert_int_eq(core_verify(&core), (int)i);
		ck_assert_uint_eq(core.piece[i].off + core.piece[i].size -
				      core_missing(&core, &core.piece[i]),
				  (uint64_t)size);
		ck_assert_int_eq(
		    core_read(&core, core.piece[i].pa + core.piece[i].size - 1, &byte, 1), -ERANGE);
		ck_assert_int_eq(core_read(&core, core.piece[0].pa, &byte, 1), 0);
		core_close(&core);
	}
	for (off_t size = head - 1; size > 0; size = size * 9 / 10) {
		ck_assert_int_eq(truncate(path, size), 0);
		ck_assert_ptr_nonnull(strstr(open_why(O_RDONLY), "it "));
	}
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_str_eq(open_why(O_RDONLY), "it is no core of a partition");
}
END_TEST

START_TEST(another_file_is_no_core)
{
	static const char *const others[] = {"/proc/self/exe", "/etc/passwd", "/dev/null"};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		strcpy(path, others[i]);
		ck_assert_str_eq(open_why(O_RDONLY), "it is no core of a partition");
	}
}
END_TEST

START_TEST(pieces_are_whole_pages)
{
	struct core_piece piece = {.pa = APMP_PAGE_SIZE, .size = APMP_PAGE_SIZE};

	ck_assert_int_eq(core_place(&piece, 1, 10), 2 * APMP_PAGE_SIZE);
	ck_assert_int_eq(core_place(&piece, 0, 10), -EINVAL);
	ck_assert_int_eq(core_place(&piece, CORE_PIECES_MAX + 1, 10), -EINVAL);
	ck_assert_int_eq(core_place(&piece, 1, CORE_TEXT_MAX + 1), -EINVAL);
	piece.pa = 8;
	ck_assert_int_eq(core_place(&piece, 1, 10), -EINVAL);
	piece = (struct core_piece){.pa = APMP_PAGE_SIZE, .size = 0};
	ck_assert_int_eq(core_place(&piece, 1, 10), -EINVAL);
	piece.size = (uint64_t)INT64_MAX / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
	ck_assert_int_eq(core_place(&piece, 1, 10), -EINVAL);
	piece.size = APMP_PAGE_SIZE + 8;
	ck_assert_int_eq(core_place(&piece, 1, 10), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("core");
	TCase *tc = suite_case(suite, "files");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_is_read_back);
	tcase_add_test(tc, what_is_not_there_is_not_read);
	tcase_add_test(tc, pages_of_zeros_are_holes);
	tcase_add_test(tc, an_image_is_what_is_not_private);
	tcase_add_test(tc, each_byte_of_the_head_counts);
	tcase_add_test(tc, changed_memory_is_named);
	tcase_add_test(tc, a_file_that_was_cut);
	tcase_add_test(tc, another_file_is_no_core);
	tc = suite_case(suite, "places");
	tcase_add_test(tc, pieces_are_whole_pages);
	return suite_run(suite);
}
