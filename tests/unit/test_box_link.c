/* test_box_link.c - the console's end of its pair with the box: calls, what comes meanwhile, and in
 * which order it is handled. */
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console/box_link.h"
#include "tests/unit/suite.h"

#define POSTED 1000u /* among what was handled: an answer to something posted */
#define MANY   2000u /* more than a socket holds */

static struct box_link to_box;
static uv_loop_t loop;
static uv_poll_t other;
static pthread_t box_thread;
static int box, other_end;
static unsigned handled[MANY], handled_count, wanted;

static void count(unsigned what)
{
	ck_assert_uint_lt(handled_count, sizeof(handled) / sizeof(handled[0]));
	handled[handled_count++] = what;
	if (handled_count == wanted)
		uv_stop(&loop);
}

static void on_event(struct box_link *at, const struct apmp_box_event *event, const int *fds,
		     unsigned fd_count)
{
	(void)at;
	(void)fds;
	ck_assert_uint_eq(fd_count, 0);
	count((unsigned)event->id);
}

static void on_done(void *ctx, const struct apmp_box_event *event)
{
	(void)event;
	count(*(const unsigned *)ctx);
}

static void say(uint32_t op, uint32_t seq, unsigned id)
{
	struct apmp_box_event event = {.op = op, .seq = seq, .id = id};

	ck_assert_int_eq(send(box, &event, sizeof(event), 0), (int)sizeof(event));
}

/* A box that answers the next request. */
static void *answer_one(void *unused)
{
	struct apmp_box_request request;

	if (recv(box, &request, sizeof(request), 0) == (int)sizeof(request))
		say(APMP_BOX_DONE, request.seq, 0);
	return unused;
}

static void call(void)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_CPUSET};
	struct apmp_box_event answer;

	ck_assert_int_eq(pthread_create(&box_thread, NULL, answer_one, NULL), 0);
	ck_assert_int_eq(box_link_call(&to_box, &request, NULL, 0, &answer, NULL), 0);
	ck_assert_uint_eq(answer.seq, request.seq);
	pthread_join(box_thread, NULL);
}

static void on_other(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	uv_poll_stop(poll);
	call();
}

/* Something else that is readable, and is handled before what the box has said. */
static void call_in_the_loop(void)
{
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	other_end = ends[1];
	ck_assert_int_eq(uv_poll_init(&loop, &other, ends[0]), 0);
	ck_assert_int_eq(uv_poll_start(&other, UV_READABLE, on_other), 0);
	ck_assert_int_eq(write(other_end, "", 1), 1);
}

static void serve_until(unsigned count_wanted)
{
	ck_assert_int_eq(box_link_serve(&to_box, &loop), 0);
	wanted = count_wanted;
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_uint_eq(handled_count, count_wanted);
}

static void setup(void)
{
	int ends[2];

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	box_link_init(&to_box, ends[0], on_event);
	box = ends[1];
}

/* A call made in the same turn of the loop takes what had made the socket readable: nobody may wait
 * for that again. */
START_TEST(what_was_readable_has_been_taken_by_a_call)
{
	call_in_the_loop();
	say(APMP_BOX_FENCED, 0, 7);
	serve_until(1); /* before this was mended: only when the box said something else */
	ck_assert_uint_eq(handled[0], 7);
}
END_TEST

START_TEST(what_comes_during_a_call_keeps_its_order)
{
	say(APMP_BOX_FENCED, 0, 1);
	say(APMP_BOX_PENDING, 0, 2);
	call();
	say(APMP_BOX_FENCED, 0, 3);
	serve_until(3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(handled[i], i + 1);
}
END_TEST

START_TEST(what_was_posted_is_answered_during_a_call)
{
	struct apmp_box_request posted = {.op = APMP_BOX_OP_KILL}, unwanted = posted;
	unsigned what = POSTED;

	box_link_post(&to_box, &posted, on_done, &what);
	box_link_post(&to_box, &unwanted, NULL, NULL);
	for (int i = 0; i < 2; i++)
		answer_one(NULL);
	say(APMP_BOX_FENCED, 0, 1);
	call();
	ck_assert_uint_eq(handled_count, 0); /* no handler runs within a call */
	serve_until(2);
	ck_assert_uint_eq(handled[0], POSTED);
	ck_assert_uint_eq(handled[1], 1);
}
END_TEST

/* Takes no request before all that it has to say is in the socket, as the box does. */
static void *talk_first(void *unused)
{
	struct apmp_box_request request;

	for (unsigned i = 0; i < MANY; i++)
		say(APMP_BOX_PROGRAM, 0, i);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_int_eq(recv(box, &request, sizeof(request), 0), (int)sizeof(request));
	return unused;
}

START_TEST(both_have_more_to_say_than_fits)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_RUN_KILL};

	ck_assert_int_eq(pthread_create(&box_thread, NULL, talk_first, NULL), 0);
	for (unsigned i = 0; i < MANY; i++)
		box_link_post(&to_box, &request, NULL, NULL);
	ck_assert_uint_eq(handled_count, 0); /* no handler runs within a request */
	pthread_join(box_thread, NULL);
	serve_until(MANY);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_uint_eq(handled[i], i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("box_link");
	TCase *tcase = suite_case(suite, "box_link");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, what_was_readable_has_been_taken_by_a_call);
	tcase_add_test(tcase, what_comes_during_a_call_keeps_its_order);
	tcase_add_test(tcase, what_was_posted_is_answered_during_a_call);
	tcase_add_test(tcase, both_have_more_to_say_than_fits);
	return suite_run(suite);
}
