/*
 * test_app_events.c - a program that follows the members of its sharing set, from the primary's
 * table to its socket: whatever changes and whenever it reads, what it was told adds up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define PARTITIONS 6u

static struct world w;
static struct instance in;
static struct app app;
static int program;			     /* its end of the connection */
static uint64_t member[APMP_MAX_PARTITIONS]; /* the truth: identities */
static uint64_t heard[APMP_MAX_PARTITIONS];  /* what the program knows */
static uint64_t changes, seq;		     /* how many there were; the last it heard of */
static uint32_t heard_count;

static void setup(void)
{
	int pair[2], small = 1; /* the kernel's least: room for a few events */

	world_init(&w);
	memset(&in, 0, sizeof(in));
	memset(member, 0, sizeof(member));
	memset(heard, 0, sizeof(heard));
	changes = seq = heard_count = 0;
	in.tree = w.tw.tree;
	in.apps.bell = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	app = (struct app){.sock = pair[0]};
	program = pair[1];
}

static void teardown(void)
{
	close(in.apps.bell);
	close(app.sock);
	close(program);
	world_fini(&w);
}

/* A partition comes, goes, or does both at once, as the primary tells it. */
static void change(uint32_t id)
{
	static uint64_t lives;
	struct apmp_member_change told[2];
	uint32_t count = 0;

	if (member[id])
		told[count++] = (struct apmp_member_change){member[id], false, false};
	if (!member[id] || random() % 2) {
		member[id] = apmp_identity(id, ++lives);
		told[count++] = (struct apmp_member_change){member[id], true, false};
	} else {
		member[id] = 0;
	}
	changes += count;
	instance_apps_members(&in, told, count);
	app_members_look(&in);
}

/* The program reads one event; false: there is none. */
static bool hear(void)
{
	struct apmp_app_event event;
	ssize_t n = recv(program, &event, sizeof(event), 0);
	uint64_t identity;

	if (n < 0)
		return false;
	ck_assert_int_eq(n, sizeof(event));
	ck_assert_uint_eq(event.version, APMP_APP_VERSION);
	if (event.kind == APMP_APP_STATE_TOLD) {
		ck_assert_uint_eq(event.seq, seq);
		return true;
	}
	ck_assert_uint_gt(event.seq, seq);
	seq = event.seq;
	identity = apmp_identity(event.partition, event.incarnation);
	ck_assert_uint_lt(event.partition, PARTITIONS);
	if (event.kind == APMP_APP_MEMBER_ADDED) {
		ck_assert_uint_eq(heard[event.partition], 0);
		heard[event.partition] = identity;
	} else {
		ck_assert_uint_eq(event.kind, APMP_APP_MEMBER_REMOVED);
		ck_assert_uint_eq(heard[event.partition], identity);
		heard[event.partition] = 0;
	}
	heard_count++;
	return true;
}

/* All is read and told: the program knows the truth, and how many changes there were. */
static void settle(uint64_t seq_before)
{
	int err;

	do {
		err = app_events_tell(&in, &app);
		while (hear())
			;
	} while (err == -EAGAIN);
	ck_assert_int_eq(err, 0);
	ck_assert_mem_eq(heard, member, sizeof(heard));
	ck_assert_uint_le(seq, changes - seq_before);
}

/* shows: FAIL-04 */
START_TEST(the_state_then_each_change)
{
	change(ALPHA);
	change(BETA);
	app_events_begin(&in, &app, false);
	ck_assert_int_eq(app_events_tell(&in, &app), 0);
	ck_assert(hear() && hear());
	ck_assert_uint_eq(heard_count, 2);
	ck_assert(hear()); /* state told */
	ck_assert(!hear());
	change(GAMMA);
	ck_assert_int_eq(app_events_tell(&in, &app), 0);
	ck_assert(hear());
	ck_assert_uint_eq(seq, 3);
	settle(0);
}
END_TEST

/* Any changes, read at any time: _i is the seed. */
START_TEST(it_adds_up_whenever_it_reads)
{
	uint64_t before;

	srandom((unsigned)_i);
	for (uint32_t i = 0; i < (uint32_t)random() % 8; i++)
		change((uint32_t)random() % PARTITIONS);
	before = changes;
	for (uint32_t id = 0; id < PARTITIONS; id++)
		before -= member[id] != 0; /* these are told as the state */
	app_events_begin(&in, &app, false);
	for (uint32_t i = 0; i < 300; i++) {
		long what = random() % 4;

		if (what == 0)
			change((uint32_t)random() % PARTITIONS);
		else if (what == 1)
			(void)!app_events_tell(&in, &app);
		else if (what == 2)
			(void)hear();
	}
	settle(before);
	/* One more change is heard, and with it all that was missed is counted. */
	change(ALPHA);
	settle(before);
	ck_assert_uint_eq(seq, changes - before);
}
END_TEST

/* It never reads: it is owed no more than there are partitions, and then knows what it missed. */
START_TEST(who_never_reads_is_owed_little)
{
	app_events_begin(&in, &app, false);
	for (uint32_t i = 0; i < 5000; i++) {
		change(i % PARTITIONS);
		(void)!app_events_tell(&in, &app);
	}
	ck_assert_int_eq(app_events_tell(&in, &app), -EAGAIN);
	settle(0);
	change(ALPHA);
	settle(0);
	ck_assert_uint_eq(seq, changes);
	ck_assert_uint_lt(heard_count, changes / 10);
}
END_TEST

/* All that is to be told, as the socket has room for it. */
static void collect(struct apmp_app_event event[8], uint32_t *count)
{
	int err;

	do {
		err = app_events_tell(&in, &app);
		while (*count < 8 && recv(program, &event[*count], sizeof(event[0]), 0) > 0)
			(*count)++;
	} while (err == -EAGAIN);
	ck_assert_int_eq(err, 0);
}

/* What a stream is told of CPUs, and how members ended.  shows: FAIL-04 */
START_TEST(cpus_and_failures)
{
	struct apmp_cpu_bits active = {{0x5}};
	const struct apmp_member_change died[] = {{apmp_identity(BETA, 9), false, true}};
	const struct apmp_member_change came[] = {{apmp_identity(BETA, 9), true, false}};
	struct apmp_app_event event[8];
	uint32_t count = 0;

	instance_apps_cpus(&in, &active);
	instance_apps_members(&in, came, 1);
	app_members_look(&in);
	app_events_begin(&in, &app, true);
	collect(event, &count);
	active.word[0] = 0x6; /* CPU 0 has gone, CPU 1 has come */
	instance_apps_cpus(&in, &active);
	instance_apps_members(&in, died, 1);
	app_members_look(&in);
	collect(event, &count);
	ck_assert_uint_eq(count, 7);
	ck_assert_uint_eq(event[0].kind, APMP_APP_MEMBER_ADDED);
	for (uint32_t i = 1; i < 3; i++) {
		ck_assert_uint_eq(event[i].kind, APMP_APP_CPU_ADDED);
		ck_assert_uint_eq(event[i].cpu, 2 * (i - 1));
		ck_assert(event[i].flags & APMP_APP_EVENT_STATE);
	}
	ck_assert_uint_eq(event[3].kind, APMP_APP_STATE_TOLD);
	ck_assert_uint_eq(event[4].kind, APMP_APP_MEMBER_REMOVED);
	ck_assert(event[4].flags & APMP_APP_EVENT_FAILED);
	ck_assert_uint_eq(event[5].kind, APMP_APP_CPU_REMOVED);
	ck_assert_uint_eq(event[5].cpu, 0);
	ck_assert_uint_eq(event[6].kind, APMP_APP_CPU_ADDED);
	ck_assert_uint_eq(event[6].cpu, 1);
	for (uint32_t i = 0; i < 7; i++)
		ck_assert_uint_eq(event[i].seq, i < 3 ? i + 1 : i);
}
END_TEST

static bool was_rung(void)
{
	uint64_t rings;

	return read(in.apps.bell, &rings, sizeof(rings)) > 0;
}

/* A partition whose CPUs come and go wakes nobody for programs that aren't there. */
START_TEST(bell_rings_for_listeners_only)
{
	struct apmp_cpu_bits active = {{0x5}};
	struct app other = {.sock = app.sock};

	instance_apps_cpus(&in, &active);
	change(ALPHA);
	ck_assert(!was_rung());
	app_events_begin(&in, &app, true);
	ck_assert_uint_eq(in.apps.now.cpus.word[0], 0x5); /* seen without a bell */
	app_events_begin(&in, &other, false);
	app_events_end(&in);
	active.word[0] = 0x7;
	instance_apps_cpus(&in, &active);
	ck_assert(was_rung());
	change(BETA);
	ck_assert(was_rung());
	app_events_end(&in);
	change(GAMMA);
	ck_assert(!was_rung());
}
END_TEST

/* The primary writes while it is looked at: nothing half written is seen, the bell is rung. */
START_TEST(half_written_is_passed_over)
{
	struct app_view before;
	uint64_t rings;

	apmp_store_relaxed(&in.apps.listeners, 1);
	change(ALPHA);
	before = in.apps.now;
	in.apps.members.present[BETA] = apmp_identity(BETA, 77);
	in.apps.members.version++;
	app_members_look(&in);
	ck_assert_mem_eq(&in.apps.now, &before, sizeof(before));
	in.apps.members.version++;
	app_members_look(&in);
	ck_assert_uint_eq(in.apps.now.present[BETA], apmp_identity(BETA, 77));
	ck_assert_int_eq(read(in.apps.bell, &rings, sizeof(rings)), sizeof(rings));
}
END_TEST

/* The first that listens comes while the primary writes: what was seen before is no state. */
START_TEST(begins_with_what_is)
{
	change(ALPHA);
	in.apps.members.version++;
	app_events_begin(&in, &app, false);
	ck_assert_int_eq(app_events_tell(&in, &app), 0);
	ck_assert(!hear());
	in.apps.members.version++;
	change(BETA); /* as does the bell: it is looked at */
	ck_assert(was_rung());
	settle(0);
	ck_assert_uint_eq(seq, 2);
	ck_assert(app.begun);
	/* And so it is for the next one, when nobody has listened for a while. */
	app_events_end(&in);
	change(ALPHA);
	in.apps.members.version++;
	app_events_begin(&in, &app, false);
	ck_assert_int_eq(app_events_tell(&in, &app), 0);
	ck_assert(!hear());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("events of programs");
	TCase *tcase = suite_case(suite, "events");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_state_then_each_change);
	tcase_add_loop_test(tcase, it_adds_up_whenever_it_reads, 0, 200);
	tcase_add_test(tcase, who_never_reads_is_owed_little);
	tcase_add_test(tcase, bell_rings_for_listeners_only);
	tcase_add_test(tcase, half_written_is_passed_over);
	tcase_add_test(tcase, begins_with_what_is);
	tcase_add_test(tcase, cpus_and_failures);
	return suite_run(suite);
}
