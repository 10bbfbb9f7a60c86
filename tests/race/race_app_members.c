/* race_app_members.c - the primary writes who is a member while the thread of programs looks: it
 * never takes what is half written, and after the last ring of the bell it has seen all, also when
 * it didn't listen for a moment. */
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/threads.h"

#define CHANGES 1000000u

static struct instance in;
static _Atomic uint32_t torn, looks;

static void setup(void)
{
	in.apps.bell = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_ge(in.apps.bell, 0);
}

/* All partitions live the same life at any time.  No bell rings before somebody listens. */
static void primary(void)
{
	struct apmp_member_change change[APMP_MAX_PARTITIONS];

	while (!apmp_load_relaxed(&in.apps.listeners))
		(void)sched_yield();
	for (uint64_t life = 1; life <= CHANGES; life++) {
		for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
			change[id] =
			    (struct apmp_member_change){apmp_identity(id, life), true, false};
		instance_apps_members(&in, change, APMP_MAX_PARTITIONS);
	}
}

static uint64_t life_of(uint32_t id)
{
	return apmp_identity_incarnation(in.apps.now.present[id]);
}

static void programs(void)
{
	struct pollfd bell = {.fd = in.apps.bell, .events = POLLIN};
	struct app app = {0};
	uint64_t rings;

	app_events_begin(&in, &app, false);
	do {
		/* Mostly uncalled, to meet the primary; in between as the instance does. */
		if (apmp_load_relaxed(&looks) % 1024 == 0) {
			(void)poll(&bell, 1, -1);
			(void)!read(in.apps.bell, &rings, sizeof(rings));
			/* For a moment nobody listens: what is written then is seen, too. */
			app_events_end(&in);
			app_events_begin(&in, &app, false);
		}
		app_members_look(&in);
		for (uint32_t id = 1; id < APMP_MAX_PARTITIONS; id++)
			if (life_of(id) != life_of(0) ||
			    in.apps.now.changes != life_of(0) * APMP_MAX_PARTITIONS)
				apmp_fetch_add(&torn, 1);
		apmp_fetch_add(&looks, 1);
	} while (life_of(0) < CHANGES);
}

static void primary_or_programs(uint32_t idx)
{
	if (idx == 0)
		primary();
	else
		programs();
}

START_TEST(nothing_half_written_is_taken)
{
	threads_run(2, primary_or_programs);
	ck_assert_uint_eq(apmp_load_relaxed(&torn), 0);
	ck_assert_uint_gt(apmp_load_relaxed(&looks), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("race of members and programs");
	TCase *tcase = suite_case(suite, "members");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, nothing_half_written_is_taken);
	return suite_run(suite);
}
