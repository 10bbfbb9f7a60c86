/* Death beacons: what the words mean, and that the kernel puts one out when its thread ends. */
#include "shm/beacon.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/shared.h"
#include "shm/wire/beacon_futex.h"
#include "tests/unit/suite.h"

static struct apmp_recorder *rec;

static void shared_recorder(void)
{
	rec = mmap(NULL, APMP_RECORDER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		   0);
	ck_assert(rec != MAP_FAILED);
}

/* Sleeps until the word is not `seen` any more. */
static struct apmp_beacon changed(uint32_t idx, uint32_t seen)
{
	struct apmp_beacon_wait wait = {&rec->beacon[idx], seen};

	while (apmp_load_acquire(&rec->beacon[idx]) == seen)
		ck_assert_int_eq(apmp_beacon_futex_wait(&wait, 1), 0);
	return apmp_beacon_read(rec, idx);
}

START_TEST(words)
{
	static const struct {
		uint32_t word;
		enum apmp_beacon_state state;
		uint32_t thread;
	} cases[] = {
	    {0, APMP_BEACON_DARK, 0},
	    {FUTEX_WAITERS | 77, APMP_BEACON_LIT, 77},
	    {FUTEX_OWNER_DIED, APMP_BEACON_OUT, 0},
	    {FUTEX_OWNER_DIED | FUTEX_WAITERS, APMP_BEACON_OUT, 0},
	    {FUTEX_OWNER_DIED | FUTEX_WAITERS | 77, APMP_BEACON_ODD, 0},
	    {77, APMP_BEACON_ODD, 0}, /* the kernel would wake nobody */
	    {FUTEX_WAITERS, APMP_BEACON_ODD, 0},
	    {UINT32_MAX, APMP_BEACON_ODD, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct apmp_beacon beacon = apmp_beacon_of(cases[i].word);

		ck_assert_int_eq(beacon.state, cases[i].state);
		ck_assert_uint_eq(beacon.thread, cases[i].thread);
		ck_assert_uint_eq(beacon.word, cases[i].word);
	}
}
END_TEST

static void *light_and_end(void *arg)
{
	uint32_t idx = *(uint32_t *)arg;

	ck_assert_int_eq(apmp_beacon_futex_light(rec, idx), 0);
	return NULL;
}

/* shows: DB-09 */
START_TEST(a_thread_that_ends_puts_its_own_out)
{
	uint32_t idx[] = {0, APMP_BEACON_CLOCK};
	pthread_t thread[2];

	shared_recorder();
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, light_and_end, &idx[i]), 0);
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		while (apmp_beacon_read(rec, idx[i]).state != APMP_BEACON_OUT)
			(void)changed(idx[i], apmp_load_acquire(&rec->beacon[idx[i]]));
	}
	ck_assert_int_eq(apmp_beacon_read(rec, 1).state, APMP_BEACON_DARK);
	apmp_beacons_reset(rec);
	ck_assert_int_eq(apmp_beacon_read(rec, 0).state, APMP_BEACON_DARK);
}
END_TEST

/* The waiter is woken, in another process, by SIGKILL to each thread's process.  shows: DB-09 */
START_TEST(a_killed_process_puts_out_all)
{
	uint32_t idx[] = {3, 4};
	struct apmp_beacon lit;
	pthread_t thread;
	pid_t pid;

	shared_recorder();
	pid = fork();
	if (pid == 0) {
		if (apmp_beacon_futex_light(rec, idx[0]) ||
		    pthread_create(&thread, NULL, light_and_end, &idx[1]))
			_exit(1);
		for (;;)
			pause();
	}
	lit = changed(idx[0], 0);
	ck_assert_int_eq(lit.state, APMP_BEACON_LIT);
	ck_assert_uint_eq(lit.thread, (uint32_t)pid);
	(void)changed(idx[1], 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(changed(idx[0], lit.word).state, APMP_BEACON_OUT);
	while (apmp_beacon_read(rec, idx[1]).state != APMP_BEACON_OUT)
		(void)changed(idx[1], apmp_load_acquire(&rec->beacon[idx[1]]));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(what_can_not_be_waited_for)
{
	struct apmp_beacon_wait wait[APMP_BEACON_WAITS + 1];
	void *gone;

	shared_recorder();
	gone = mmap(NULL, APMP_PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(gone != MAP_FAILED && munmap(gone, APMP_PAGE_SIZE) == 0);
	for (unsigned i = 0; i <= APMP_BEACON_WAITS; i++)
		wait[i] = (struct apmp_beacon_wait){&rec->beacon[i], 0};
	ck_assert_int_eq(apmp_beacon_futex_wait(wait, APMP_BEACON_WAITS + 1), -E2BIG);
	wait[0].word = gone;
	ck_assert_int_eq(apmp_beacon_futex_wait(wait, 1), -EFAULT);
	wait[1].seen = 5; /* another value already */
	ck_assert_int_eq(apmp_beacon_futex_wait(wait + 1, 2), 0);
	ck_assert_int_eq(apmp_beacon_futex_light(rec, APMP_BEACONS), -ERANGE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("beacon");
	TCase *tc = suite_case(suite, "beacon");

	tcase_add_test(tc, words);
	tcase_add_test(tc, a_thread_that_ends_puts_its_own_out);
	tcase_add_test(tc, a_killed_process_puts_out_all);
	tcase_add_test(tc, what_can_not_be_waited_for);
	return suite_run(suite);
}
