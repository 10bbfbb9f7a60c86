/* test_nvram.c - NVRAM is before or after, whatever dies; what is damaged is refused by name.
 *
 * shows: PLAT-09 */
#include "shm/nvram.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaos/sim/nvram_deaths.h"
#include "chaos/sim/sim_disk.h"
#include "tests/unit/suite.h"

static struct sim_disk disk;
static struct apmp_nvram_found found;
static char text[SIM_DISK_ROOM];

static void pass(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	(void)point;
	(void)arg;
}

static struct apmp_env env = {.point = pass};

static void setup(void)
{
	sim_disk_init(&disk);
}

static int try_write(const char *contents)
{
	uint64_t generation;

	return apmp_nvram_write(&env, &disk.disk, "trio", contents, strlen(contents), &generation);
}

static uint64_t must_write(const char *contents)
{
	uint64_t generation;

	ck_assert_int_eq(
	    apmp_nvram_write(&env, &disk.disk, "trio", contents, strlen(contents), &generation), 0);
	return generation;
}

static int try_read(void)
{
	int error;

	memset(text, 0, sizeof(text));
	error = apmp_nvram_read(&disk.disk, "trio", text, sizeof(text) - 1, &found);
	if (!error)
		ck_assert_uint_eq(strlen(text), found.size);
	return error;
}

static void must_read(const char *contents)
{
	ck_assert_int_eq(try_read(), 0);
	ck_assert_str_eq(text, contents);
}

static uint8_t *bytes_of(unsigned file, uint64_t **ret_size)
{
	uint8_t *bytes = sim_disk_bytes(&disk, apmp_nvram_name(file), ret_size);

	ck_assert_ptr_nonnull(bytes);
	return bytes;
}

/* Written as the definition says, a bit at a time. */
static uint64_t crc64_xz(const uint8_t *bytes, uint64_t size)
{
	uint64_t crc = UINT64_MAX;

	for (uint64_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT64_C(0xc96c5795d7870f42) : 0);
	}
	return ~crc;
}

/* Makes a file pass for whole after its header was changed. */
static void forge(uint8_t *bytes, uint64_t size)
{
	struct apmp_nvram_header *head = (struct apmp_nvram_header *)(void *)bytes;

	head->checksum = 0;
	head->checksum = crc64_xz(bytes, size);
}

START_TEST(a_file_is_as_described)
{
	struct apmp_nvram_header head;
	uint64_t *size;
	uint8_t *bytes;

	ck_assert_uint_eq(crc64_xz((const uint8_t *)"123456789", 9), UINT64_C(0x995dc9bbdf1939fa));
	ck_assert_uint_eq(must_write("alpha has CPU 0"), 1);
	bytes = bytes_of(0, &size);
	memcpy(&head, bytes, sizeof(head));
	ck_assert_int_eq(memcmp(bytes, "APMNVRAM", 8), 0);
	ck_assert_uint_eq(head.format, 1);
	ck_assert_uint_eq(head.generation, 1);
	ck_assert_uint_eq(head.size, strlen("alpha has CPU 0"));
	ck_assert_str_eq(head.machine, "trio");
	ck_assert_uint_eq(*size, sizeof(head) + head.size);
	ck_assert_int_eq(memcmp(bytes + sizeof(head), "alpha has CPU 0", head.size), 0);
	forge(bytes, *size);
	ck_assert_uint_eq(((struct apmp_nvram_header *)(void *)bytes)->checksum, head.checksum);
}
END_TEST

START_TEST(generations_alternate)
{
	ck_assert_int_eq(try_read(), -ENOENT);
	ck_assert_int_eq(found.state[0], APMP_NVRAM_ABSENT);
	ck_assert_int_eq(found.state[1], APMP_NVRAM_ABSENT);
	ck_assert_uint_eq(found.generation, 0);
	for (unsigned n = 1; n <= 4; n++) {
		char contents[16];
		uint64_t *size;

		snprintf(contents, sizeof(contents), "change %u", n);
		ck_assert_uint_eq(must_write(contents), n);
		must_read(contents);
		ck_assert_uint_eq(found.generation, n);
		ck_assert_int_eq(found.state[(n - 1) % 2], APMP_NVRAM_GOOD);
		ck_assert_int_eq(found.state[n % 2], n == 1 ? APMP_NVRAM_ABSENT : APMP_NVRAM_GOOD);
		ck_assert_ptr_null(sim_disk_bytes(&disk, APMP_NVRAM_NEW, &size));
	}
}
END_TEST

START_TEST(empty_contents_are_contents)
{
	must_write("");
	must_read("");
	ck_assert_uint_eq(found.generation, 1);
}
END_TEST

/* Of two generations the newer one is damaged: the older one is used, and the damage named. */
static void two_generations(uint64_t **ret_size, uint8_t **ret_newer)
{
	must_write("before");
	must_write("after");
	*ret_newer = bytes_of(1, ret_size);
}

START_TEST(every_cut_is_torn)
{
	uint64_t *size, whole;
	uint8_t *newer;

	two_generations(&size, &newer);
	whole = *size;
	for (*size = 0; *size < whole; (*size)++) {
		must_read("before");
		ck_assert_int_eq(found.state[0], APMP_NVRAM_GOOD);
		ck_assert_int_eq(found.state[1], APMP_NVRAM_TORN);
		ck_assert_uint_eq(found.generation, 1);
	}
	*size = whole + 1;
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_TORN);
	*size = whole;
	must_read("after");
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
	uint64_t *size;
	uint8_t *newer;

	two_generations(&size, &newer);
	for (uint64_t bit = 0; bit < *size * 8; bit++) {
		newer[bit / 8] ^= (uint8_t)(1u << bit % 8);
		must_read("before");
		ck_assert_int_eq(found.state[1], bit < 128 ? APMP_NVRAM_FOREIGN : APMP_NVRAM_TORN);
		newer[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	must_read("after");
}
END_TEST

START_TEST(foreign_files_are_named)
{
	struct apmp_nvram_header *head;
	uint64_t *size;
	uint8_t *newer;

	two_generations(&size, &newer);
	head = (struct apmp_nvram_header *)(void *)newer;
	head->format = 2;
	forge(newer, *size);
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_FOREIGN);
	ck_assert_uint_eq(found.format[1], 2);
	head->format = 1;
	strcpy(head->machine, "solo");
	forge(newer, *size);
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_FOREIGN);
	ck_assert_str_eq(found.machine[1], "solo");
	memset(newer, 'x', *size);
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_FOREIGN);
	ck_assert_uint_eq(found.format[1], 0);
	ck_assert_str_eq(found.machine[1], "");
}
END_TEST

/* A checksum that fits is not enough. */
START_TEST(a_forged_header_is_torn)
{
	static const struct apmp_nvram_header bad[] = {
	    {.generation = 0, .size = 5},
	    {.generation = UINT64_MAX, .size = 5},
	    {.generation = 7, .size = 4},
	    {.generation = 7, .size = UINT64_MAX - 71}, /* with the header: 0 */
	    {.generation = 7, .size = APMP_NVRAM_SIZE_MAX + 1},
	};
	struct apmp_nvram_header *head;
	uint64_t *size;
	uint8_t *newer;

	two_generations(&size, &newer);
	head = (struct apmp_nvram_header *)(void *)newer;
	head->generation = bad[_i].generation;
	head->size = bad[_i].size;
	forge(newer, *size);
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_TORN);
	head->generation = 7;
	head->size = 5;
	memset(head->machine, 'x', sizeof(head->machine)); /* and no NUL */
	forge(newer, *size);
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_TORN);
}
END_TEST

START_TEST(nothing_good)
{
	uint64_t *size;

	must_write("only one");
	bytes_of(0, &size);
	*size -= 1;
	ck_assert_int_eq(try_read(), -EBADMSG);
	ck_assert_int_eq(found.state[0], APMP_NVRAM_TORN);
	ck_assert_int_eq(found.state[1], APMP_NVRAM_ABSENT);
	ck_assert_uint_eq(found.generation, 0);
	/* It goes on from there. */
	ck_assert_uint_eq(must_write("another one"), 1);
	must_read("another one");
}
END_TEST

START_TEST(unreadable_is_named)
{
	must_write("before");
	must_write("after");
	disk.operations = 0;
	disk.fail_error = -EIO;
	disk.fail_at = 3; /* header and contents of nvram.0, then nvram.1 */
	must_read("before");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_UNREADABLE);
	ck_assert_int_eq(found.error[1], -EIO);
	disk.operations = 0;
	disk.fail_at = 2;
	must_read("after");
	ck_assert_int_eq(found.state[0], APMP_NVRAM_UNREADABLE);
}
END_TEST

START_TEST(a_small_buffer_is_refused)
{
	must_write("twelve bytes");
	ck_assert_int_eq(apmp_nvram_read(&disk.disk, "trio", text, 11, &found), -ENOSPC);
	ck_assert_int_eq(found.state[0], APMP_NVRAM_GOOD);
	ck_assert_int_eq(apmp_nvram_read(&disk.disk, "trio", text, 12, &found), 0);
}
END_TEST

START_TEST(limits)
{
	struct apmp_nvram_header *head;
	uint64_t generation, *size;
	uint8_t *bytes;

	ck_assert_int_eq(
	    apmp_nvram_write(&env, &disk.disk, "trio", text, APMP_NVRAM_SIZE_MAX + 1, &generation),
	    -E2BIG);
	ck_assert_int_eq(apmp_nvram_write(&env, &disk.disk, "abcdefghijklmnopqrstuvwxyz012345",
					  text, 1, &generation),
			 -ENAMETOOLONG);
	ck_assert_int_eq(try_read(), -ENOENT);
	must_write("the last");
	bytes = bytes_of(0, &size);
	head = (struct apmp_nvram_header *)(void *)bytes;
	head->generation = UINT64_MAX - 1;
	forge(bytes, *size);
	ck_assert_int_eq(try_write("one too many"), -EOVERFLOW);
	must_read("the last");
}
END_TEST

/* Both are of a later generation and damaged; a write; then one of them is whole again. */
START_TEST(refused_once_is_not_believed_later)
{
	uint64_t *sizes[2];

	for (int n = 0; n < 6; n++)
		must_write("long ago");
	for (unsigned file = 0; file < 2; file++) {
		bytes_of(file, &sizes[file]);
		*sizes[file] -= 1;
	}
	ck_assert_uint_eq(must_write("now"), 1);
	for (unsigned file = 0; file < 2; file++)
		*sizes[file] += 1;
	must_read("now");
	ck_assert_int_eq(found.state[1], APMP_NVRAM_ABSENT);
}
END_TEST

/* The disk can't read for a while: nobody knows what stands, so it must stay. */
START_TEST(nothing_is_lost_while_nothing_can_be_read)
{
	must_write("the only one");
	disk.operations = 0;
	disk.fail_at = 1;
	disk.fail_error = -EMFILE;
	ck_assert_int_eq(try_write("refused"), -EMFILE);
	must_read("the only one");
	must_write("next");
	/* With one that is good it goes on: the other one is what a write replaces. */
	disk.operations = 0;
	ck_assert_int_eq(try_write("after that"), 0);
	must_read("after that");
}
END_TEST

START_TEST(an_error_leaves_what_stood)
{
	static const struct {
		uint64_t operation; /* of a write: three looks, then these */
		int error;
	} refusals[] = {{5, -ENOSPC}, {5, -EDQUOT}, {6, -EIO}, {7, -EROFS}, {8, -EIO}};

	must_write("before");
	must_write("after");
	disk.operations = 0;
	disk.fail_at = refusals[_i].operation;
	disk.fail_error = refusals[_i].error;
	ck_assert_int_eq(try_write("refused"), refusals[_i].error);
	must_read("after");
	disk.fail_at = 0;
	must_write("next");
	must_read("next");
}
END_TEST

START_TEST(death_at_every_step)
{
	struct nvram_deaths run = {.seed = (uint64_t)_i};

	nvram_die_everywhere(&run);
	ck_assert_msg(!run.finding[0], "seed %d: %s", _i, run.finding);
	/* Points and operations, and at least the edges of the header in a write. */
	ck_assert_uint_ge(run.deaths, 24);
	ck_assert_uint_gt(run.crashes, 8 * run.deaths);
	ck_assert_uint_ge(run.refusals, 12);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nvram");
	TCase *tc = suite_case(suite, "files");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_file_is_as_described);
	tcase_add_test(tc, generations_alternate);
	tcase_add_test(tc, empty_contents_are_contents);
	tcase_add_test(tc, every_cut_is_torn);
	tcase_add_test(tc, every_flipped_bit_is_found);
	tcase_add_test(tc, foreign_files_are_named);
	tcase_add_loop_test(tc, a_forged_header_is_torn, 0, 5);
	tcase_add_test(tc, nothing_good);
	tcase_add_test(tc, unreadable_is_named);
	tcase_add_test(tc, a_small_buffer_is_refused);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, refused_once_is_not_believed_later);
	tcase_add_test(tc, nothing_is_lost_while_nothing_can_be_read);
	tcase_add_loop_test(tc, an_error_leaves_what_stood, 0, 5);
	tc = suite_case(suite, "deaths");
	tcase_add_loop_test(tc, death_at_every_step, 1, 33);
	return suite_run(suite);
}
