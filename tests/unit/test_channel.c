/* test_channel.c - an instance's end of its channel: callbacks, and what becomes of them when the
 * thread that makes one is caught because the instance fails. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/channel.h"
#include "shm/wire/linux_env.h"
#include "tests/unit/suite.h"

#define SOON 1000000u	  /* nanoseconds: a deadline that is to pass */
#define LATE 60000000000u /* one that is not */

static struct channel channel;
static int console;

static void setup(void)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	channel_init(&channel, ends[0]);
	console = ends[1];
}

static void teardown(void)
{
	close(channel.sock);
	close(console);
}

/* The console's end: what it is asked next. */
static struct apmp_call_request asked(void)
{
	struct apmp_call_request request;

	ck_assert_int_eq(recv(console, &request, sizeof(request), 0), (int)sizeof(request));
	return request;
}

static void answer(uint64_t seq, uint64_t ret)
{
	struct apmp_call_reply reply = {.seq = seq, .ret = {ret}};

	ck_assert_int_eq(send(console, &reply, sizeof(reply), 0), (int)sizeof(reply));
}

static uint64_t in(uint64_t ns)
{
	return apmp_linux_now(NULL) + ns;
}

/* A thread of the instance that makes a callback. */
static void *caller(void *arg)
{
	struct apmp_call *call = arg;

	ck_assert_int_eq(channel_call(&channel, call), 0);
	return NULL;
}

START_TEST(answered_and_asked_again)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_LIMITS}};
	pthread_t thread;
	uint64_t seq;

	ck_assert_int_eq(pthread_create(&thread, NULL, caller, &call), 0);
	seq = asked().seq;
	answer(seq + 7, 1);		     /* of another time */
	answer(0, 0);			     /* a console that was restarted */
	ck_assert_uint_eq(asked().seq, seq); /* is asked again */
	answer(seq, 5);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(call.reply.ret[0], 5);
}
END_TEST

START_TEST(last_call_is_answered)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT}};

	answer(1, 9); /* it is there when it is asked for */
	ck_assert_int_eq(channel_call_until(&channel, &call, in(LATE)), 0);
	ck_assert_uint_eq(call.reply.ret[0], 9);
	ck_assert_uint_eq(asked().op, APMP_CALL_EXIT);
}
END_TEST

/* shows: FAIL-01 */
START_TEST(last_call_does_not_wait_for_a_console_that_is_away)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT}};

	ck_assert_int_eq(channel_call_until(&channel, &call, in(SOON)), -ETIMEDOUT);
	ck_assert_uint_eq(asked().op, APMP_CALL_EXIT); /* the next one finds it */
}
END_TEST

START_TEST(last_call_of_a_closed_channel)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT}};

	close(console);
	ck_assert_int_eq(channel_call_until(&channel, &call, in(LATE)), -EPIPE);
	console = dup(channel.sock); /* for the teardown */
}
END_TEST

/* Another thread waits for its answer: the last call is sent past it.  shows: FAIL-01 */
START_TEST(last_call_past_another_one)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MIGRATE_CPU}};
	struct apmp_call last = {.request = {.op = APMP_CALL_EXIT}};
	struct apmp_call_request first, second;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, caller, &call), 0);
	first = asked();
	ck_assert_int_eq(channel_call_until(&channel, &last, in(SOON)), -ETIMEDOUT);
	second = asked();
	ck_assert_uint_eq(second.op, APMP_CALL_EXIT);
	ck_assert_uint_ne(first.seq, second.seq);
	answer(second.seq, 1); /* not the other one's */
	answer(first.seq, 2);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(call.reply.ret[0], 2);
}
END_TEST

static sem_t caught;

/* As of an instance that fails: it never returns. */
static void on_signal(int number)
{
	(void)number;
	channel_abandon(&channel);
	sem_post(&caught);
	for (;;)
		pause();
}

/* A thread is caught in a callback: others make theirs, and don't get its answer.
 * shows: FAIL-01 */
START_TEST(caught_in_a_callback)
{
	struct apmp_call theirs = {.request = {.op = APMP_CALL_REMOVE_INSTANCE}};
	struct apmp_call mine = {.request = {.op = APMP_CALL_EXIT}};
	struct apmp_call_request first, second;
	pthread_t holder, other;

	sem_init(&caught, 0, 0);
	sigaction(SIGUSR2, &(struct sigaction){.sa_handler = on_signal}, NULL);
	ck_assert_int_eq(pthread_create(&holder, NULL, caller, &theirs), 0);
	pthread_detach(holder);
	first = asked();
	pthread_kill(holder, SIGUSR2);
	while (sem_wait(&caught) < 0)
		;
	ck_assert_int_eq(pthread_create(&other, NULL, caller, &mine), 0);
	second = asked();
	ck_assert_uint_eq(second.op, APMP_CALL_EXIT);
	answer(first.seq, 1);
	answer(second.seq, 2);
	pthread_join(other, NULL);
	ck_assert_uint_eq(mine.reply.ret[0], 2);
}
END_TEST

/* Who was caught where he had no callback takes nobody's from him. */
START_TEST(abandoned_by_nobody)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_LIMITS}};
	struct apmp_call last = {.request = {.op = APMP_CALL_EXIT}};
	pthread_t thread;
	uint64_t seq;

	channel_abandon(&channel);
	ck_assert_int_eq(pthread_create(&thread, NULL, caller, &call), 0);
	seq = asked().seq;
	channel_abandon(&channel); /* it is the other thread's */
	ck_assert_int_eq(channel_call_until(&channel, &last, in(SOON)), -ETIMEDOUT);
	answer(seq, 4);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(call.reply.ret[0], 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("channel");
	TCase *tc = suite_case(suite, "channel");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, answered_and_asked_again);
	tcase_add_test(tc, last_call_is_answered);
	tcase_add_test(tc, last_call_does_not_wait_for_a_console_that_is_away);
	tcase_add_test(tc, last_call_of_a_closed_channel);
	tcase_add_test(tc, last_call_past_another_one);
	tcase_add_test(tc, caught_in_a_callback);
	tcase_add_test(tc, abandoned_by_nobody);
	return suite_run(suite);
}
