/* test_app_locks.c - programs that wait for one lock get it in the order of asking, also when the
 * instance keeps its lockers out for a moment. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "tests/unit/lock_world.h"
#include "tests/unit/suite.h"

static struct instance in;
static struct party *alpha;
static struct app conn[2];
static int program[2]; /* their ends of the connections */

/* What the rest of the instance does for locks. */
int instance_living(int err)
{
	return err;
}

void app_pause(struct instance *instance, struct app *app, bool pause)
{
	(void)instance;
	(void)app;
	(void)pause;
}

void app_drop(struct instance *instance, struct app *app)
{
	(void)instance;
	ck_abort_msg("connection %td is dropped", app - conn);
}

void app_waker_watch(struct app_waker *waker, const struct app_waker_word *word, uint32_t count)
{
	(void)waker;
	(void)word;
	(void)count;
}

static uint64_t no_time(struct apmp_env *env)
{
	(void)env;
	return 1;
}

/* While somebody looks at the clock, before he gives up, the primary is done. */
static uint64_t gate_opens(struct apmp_env *env)
{
	alpha->env.now = no_time;
	apmp__lockers_go(&alpha->member, LOCKS_OPEN);
	return no_time(env);
}

static void setup(void)
{
	world_init(&w);
	alpha = lock_member(ALPHA);
	alpha->env.now = no_time;
	in.env.now = no_time;
	for (uint32_t i = 0; i < 2; i++) {
		int pair[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
		program[i] = pair[1];
		conn[i] = (struct app){.kind = APP_LOCKS, .sock = pair[0]};
		conn[i].locks.locker = locker(alpha);
		conn[i].locks.open[0] = (struct app_lock){
		    .number = opened(conn[i].locks.locker, "x", 1), .rank = 1, .name = "x"};
	}
}

static void teardown(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		close(program[i]);
		close(conn[i].sock);
	}
	world_fini(&w);
}

static void asks(uint32_t who, uint64_t timeout_ns)
{
	const struct apmp_app_request request = {.version = APMP_APP_VERSION,
						 .op = APMP_APP_ACQUIRE,
						 .lock = 1,
						 .timeout_ns = timeout_ns};

	ck_assert_int_eq(app_locks_serve(&in, &conn[who], &request), 0);
	app_locks_try(&in);
}

/* What it was told; -EINPROGRESS: nothing. */
static int told(uint32_t who)
{
	struct apmp_app_reply reply;

	return recv(program[who], &reply, sizeof(reply), 0) > 0 ? reply.error : -EINPROGRESS;
}

START_TEST(who_asked_first_is_first)
{
	struct apmp_locker *holder = locker(alpha);
	uint32_t lock = opened(holder, "x", 1);

	ck_assert_int_eq(apmp_lock_acquire(holder, lock, 0), 0);
	for (uint32_t i = 0; i < 2; i++)
		asks(i, APMP_NEVER);
	ck_assert_int_eq(apmp_lock_release(holder, lock), 0);
	apmp__lockers_stop(&alpha->member, LOCKS_SHUT);
	alpha->env.now = gate_opens;
	app_locks_try(&in);
	ck_assert_int_eq(told(0), -EINPROGRESS);
	ck_assert_int_eq(told(1), -EINPROGRESS);
	app_locks_try(&in);
	ck_assert_int_eq(told(0), 0);
	ck_assert_int_eq(told(1), -EINPROGRESS);
}
END_TEST

/* Who only tries is not told that a free lock is held; whose time is over waits no longer. */
START_TEST(kept_out_is_not_held)
{
	apmp__lockers_stop(&alpha->member, LOCKS_SHUT);
	asks(0, 0);
	asks(1, 1);
	ck_assert_int_eq(told(0), -EINPROGRESS);
	ck_assert_int_eq(told(1), -EINPROGRESS);
	apmp__lockers_go(&alpha->member, LOCKS_OPEN);
	app_locks_try(&in);
	ck_assert_int_eq(told(0), 0);
	ck_assert_int_eq(told(1), -EINPROGRESS);
	apmp__lockers_stop(&alpha->member, LOCKS_SHUT);
	conn[1].locks.deadline_ns = 1;
	app_locks_try(&in);
	ck_assert_int_eq(told(1), -ETIMEDOUT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("locks of programs");
	TCase *tcase = suite_case(suite, "locks");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, who_asked_first_is_first);
	tcase_add_test(tcase, kept_out_is_not_held);
	return suite_run(suite);
}
