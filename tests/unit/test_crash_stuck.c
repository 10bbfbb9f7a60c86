/* test_crash_stuck.c - when an instance that fails ends without having been through with it. */
#include "instance/crash_internal.h"
#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"
#include "tests/unit/suite.h"

#define STOP_NS UINT64_C(1000000)

static struct instance in;

/* ---- what the rest of an instance does: nothing of it happens here ---- */

uint32_t instance_thread(void)
{
	return 0;
}

bool instance_tasks_on(const struct instance *instance, uint32_t cpu_idx,
		       struct instance_task_on *ret)
{
	(void)instance;
	(void)cpu_idx;
	(void)ret;
	return false;
}

int crash_tid(uint32_t cpu_idx)
{
	(void)cpu_idx;
	return 0;
}

void crash_catch(int tid)
{
	(void)tid;
}

struct crash_self crash_self(struct instance *instance)
{
	(void)instance;
	return (struct crash_self){.thread = 0};
}

static void setup(void)
{
	in.env.now = apmp_linux_now;
	in.timing.stop_ns = STOP_NS;
	apmp_store_release(&in.crash.begun, 1);
}

/* Another thread has looked at the clock after us, and said so before we could compare: that was
 * taken for an eternity, and one announced crash in a thousand was a silent death.
 * shows: FAIL-01 */
START_TEST(not_stuck_by_progress_of_just_now)
{
	apmp_store_relaxed(&in.crash.progress_ns, apmp_linux_now(NULL) + 1000 * STOP_NS);
	instance_crash_tick(&in);
}
END_TEST

START_TEST(not_stuck_before_it_fails)
{
	apmp_store_release(&in.crash.begun, 0);
	instance_crash_tick(&in);
}
END_TEST

START_TEST(stuck_ends)
{
	apmp_store_relaxed(&in.crash.progress_ns, apmp_linux_now(NULL) - 1000 * STOP_NS);
	instance_crash_tick(&in);
	ck_abort_msg("it goes on");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash that gets no further");
	TCase *tc = suite_case(suite, "crash that gets no further");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, not_stuck_by_progress_of_just_now);
	tcase_add_test(tc, not_stuck_before_it_fails);
	tcase_add_exit_test(tc, stuck_ends, INSTANCE_EXIT_BUGCHECK);
	return suite_run(suite);
}
