/* test_nvram_kills.c - a real process that writes real files is killed, ten thousand times: what is
 * found then is what it had written last or was writing, and never less than it had been answered.
 *
 * shows: PLAT-09 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apmpd/nvram_disk.h"
#include "shm/env.h"
#include "shm/recorder.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"

/* Of each of five kinds; under a sanitizer a fork takes a hundred times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KILLS 40u
#else
#define KILLS 2000u
#endif
#define LARGE	  300000u
#define UNTIL_MAX 60000u /* looks at the writer, before it is killed at a moment of no name */

/* Shared with the writer: its recorder, and what it says. */
struct progress {
	struct apmp_recorder recorder;
	_Atomic uint64_t begun, answered; /* numbers of contents */
};

static struct progress *progress;
static char folder[64];
static struct apmp_nvram_disk disk;
static int dir_fd;
static uint8_t contents[LARGE];

static void setup(void)
{
	/* In memory: a fsync that takes no time is all the harder to hit. */
	snprintf(folder, sizeof(folder), "/dev/shm/apmp-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
	apmp_nvram_disk_init(&disk, dir_fd);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	ck_assert(progress != MAP_FAILED);
	apmp_recorder_init(&progress->recorder);
}

static void tear_down(void)
{
	static const char *const names[] = {"nvram.0", "nvram.1", APMP_NVRAM_NEW};

	apmp_nvram_disk_fini(&disk);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dir_fd, names[i], 0);
	close(dir_fd);
	ck_assert_int_eq(rmdir(folder), 0);
	munmap(progress, sizeof(*progress));
}

/* Size and bytes follow from the number; most are small, some take several writes of the kernel. */
static uint64_t make_contents(uint64_t number)
{
	uint64_t size = sizeof(number) + number * 2654435761u % (number % 16 ? 4096 : LARGE - 8);

	memset(contents, (int)(number % 251), size);
	memcpy(contents, &number, sizeof(number));
	return size;
}

static void pass(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	if (apmp_recorder_pass(&progress->recorder, point, 0, arg, 0))
		for (;;)
			kill(getpid(), SIGKILL);
}

/* The child: one generation after the other, until it is killed; who was not is found by its
 * end. */
__attribute__((noreturn)) static void write_until_killed(uint64_t number)
{
	struct apmp_env env = {.point = pass};

	for (uint64_t last = number + 1000; number < last; number++) {
		uint64_t size = make_contents(number), generation;

		apmp_store_release(&progress->begun, number);
		if (apmp_nvram_write(&env, &disk.disk, "trio", contents, size, &generation))
			_exit(1);
		apmp_store_release(&progress->answered, number);
	}
	_exit(2);
}

/* What a next power on would find. */
static uint64_t read_number(void)
{
	static uint8_t found[LARGE];
	struct apmp_nvram_found about;
	uint64_t number;
	int error = apmp_nvram_read(&disk.disk, "trio", found, sizeof(found), &about);

	if (error == -ENOENT)
		return 0;
	ck_assert_msg(error == 0, "read: %s", strerror(-error));
	memcpy(&number, found, sizeof(number));
	ck_assert_uint_eq(about.size, make_contents(number));
	ck_assert_int_eq(memcmp(found, contents, about.size), 0);
	return number;
}

static void kill_at_a_moment(pid_t pid, uint64_t first)
{
	while (apmp_load_acquire(&progress->begun) < first)
		sched_yield();
	/* A count of looks, not a time: it spreads over the writer's steps on any host. */
	long looks = random() % UNTIL_MAX;

	while (looks-- > 0)
		(void)apmp_load_acquire(&progress->begun);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
}

/* One life of a writer; point: where it ends, APMP_P_NONE at any moment.  Returns what is found. */
static uint64_t kill_a_writer(uint64_t first, enum apmp_point point)
{
	uint64_t begun, answered, found;
	int status;
	pid_t pid;

	apmp_store_relaxed(&progress->begun, first - 1);
	apmp_store_relaxed(&progress->answered, first - 1);
	if (point)
		apmp_recorder_arm(&progress->recorder, point, 1 + (uint32_t)(random() % 3));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		write_until_killed(first);
	if (!point)
		kill_at_a_moment(pid, first);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
	begun = apmp_load_acquire(&progress->begun);
	answered = apmp_load_acquire(&progress->answered);
	found = read_number();
	ck_assert_msg(found == begun || found == answered,
		      "found %llu: %llu was begun, %llu answered", (unsigned long long)found,
		      (unsigned long long)begun, (unsigned long long)answered);
	if (point == APMP_P_nvram_write || point == APMP_P_nvram_sync)
		ck_assert_uint_eq(found, begun - 1);
	if (point == APMP_P_nvram_rename || point == APMP_P_nvram_folder)
		ck_assert_uint_eq(found, begun);
	return found;
}

START_TEST(before_or_after)
{
	static const enum apmp_point points[] = {APMP_P_nvram_write, APMP_P_nvram_sync,
						 APMP_P_nvram_rename, APMP_P_nvram_folder,
						 APMP_P_NONE};
	uint64_t found = 0, between = 0;
	unsigned seed = (unsigned)getpid();

	printf("seed %u\n", seed);
	srandom(seed);
	for (unsigned n = 0; n < KILLS; n++) {
		uint64_t next = kill_a_writer(found + 1, points[_i]);

		between += next != apmp_load_relaxed(&progress->answered) ||
			   next != apmp_load_relaxed(&progress->begun);
		found = next;
	}
	/* Most were hit in the midst of a write, or nothing was tested. */
	printf("%llu of %u in the midst of a write\n", (unsigned long long)between, KILLS);
	ck_assert_uint_gt(between, KILLS / 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nvram_kills");
	TCase *tc = suite_case(suite, "kills");

	tcase_add_checked_fixture(tc, setup, tear_down);
	tcase_add_loop_test(tc, before_or_after, 0, 5);
	return suite_run(suite);
}
