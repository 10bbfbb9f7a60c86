/*
 * test_member_watch.c - the clock: beating, watching little brothers, judging, fencing, and the
 * bugcheck bit of one that wakes up late.
 *
 * Timing of the world: a tick of 2 ms, inactive after 3 missed ticks, dead after 50 ms of silence.
 */
#include <errno.h>
#include <string.h>

#include "shm/member_internal.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define STOP_TICKS 25u

static struct world w;

static void setup(void)
{
	world_init(&w);
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		(void)world_member(&w, id);
	world_ticks(&w, 2);
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		w.party[id].trail_count = 0;
}

static void teardown(void)
{
	world_fini(&w);
}

static const uint64_t everybody = BIT(ALPHA) | BIT(BETA) | BIT(GAMMA) | BIT(DELTA);

static bool alive(uint32_t id)
{
	return apmp_tree_alive(&w.tw.tree, party_identity(&w.party[id]));
}

/* shows: DB-08 */
START_TEST(beats_every_tick)
{
	struct apmp_db_node *node = &world_db(&w)->node[BETA];
	uint64_t before = apmp_load_relaxed(&node->heartbeat);

	world_ticks(&w, 7);
	ck_assert_uint_eq(apmp_load_relaxed(&node->heartbeat), before + 7);
	ck_assert_uint_eq(apmp_load_relaxed(&node->beat_of), party_identity(&w.party[BETA]));
}
END_TEST

/* shows: DB-09 */
START_TEST(nobody_suspects_the_living)
{
	world_ticks(&w, 1000);
	world_check_set(&w, everybody);
	for (uint32_t id = ALPHA; id <= DELTA; id++)
		ck_assert_uint_eq(w.party[id].reports[APMP_REPORT_SUSPECTED], 0);
}
END_TEST

/* Inactive at the third missed tick, dead at the 25th; in between its own beat saves it.
 * shows: DB-09, DB-10, FAIL-05 */
START_TEST(silence_suspects_then_kills)
{
	struct party *beta = &w.party[BETA], *gamma = &w.party[GAMMA];
	struct apmp_db_node *node = &world_db(&w)->node[BETA];

	gamma->hung = true;
	world_tick(&w); /* BETA ticks first: only now it sees the last beat */
	world_ticks(&w, 2);
	ck_assert_uint_eq(beta->reports[APMP_REPORT_SUSPECTED], 0);
	world_tick(&w);
	ck_assert_uint_eq(beta->reports[APMP_REPORT_SUSPECTED], 1);
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_SUSPECTED], party_identity(gamma));
	ck_assert_uint_eq(apmp_load_relaxed(&node->little_inactive_ns), 3 * w.timing.tick_ns);
	world_ticks(&w, STOP_TICKS - 4);
	ck_assert(alive(GAMMA));
	world_check_set(&w, everybody);
	world_tick(&w);
	ck_assert(!alive(GAMMA));
	world_ticks(&w, 2);
	world_check_set(&w, everybody & ~BIT(GAMMA));
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_REMOVED], party_identity(gamma));
	/* It was told before it was killed: its block, and all its CPUs. */
	node = &world_db(&w)->node[GAMMA];
	ck_assert(apmp_load_relaxed(&node->reasons) & APMP_REASON_BUGCHECK);
	ck_assert_uint_eq(apmp_load_relaxed(&node->bugcheck_of), party_identity(gamma));
	ck_assert(apmp_load_relaxed(&w.line[4].pending) & APMP_INTR_APMP);
}
END_TEST

/* shows: DB-09 */
START_TEST(a_beat_in_time_saves)
{
	struct party *gamma = &w.party[GAMMA];

	for (int i = 0; i < 20; i++) {
		gamma->hung = true;
		world_ticks(&w, STOP_TICKS - 2);
		gamma->hung = false;
		world_tick(&w);
	}
	world_tick(&w); /* BETA ticks first: only now it sees the last beat */
	world_check_set(&w, everybody);
	ck_assert_uint_eq(w.party[BETA].reports[APMP_REPORT_SUSPECTED], 20);
	for (uint32_t i = 0; i < APMP_DB_SILENCES; i++) /* of 16 to 31 ticks */
		ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->node[BETA].silence[i]),
				  i == 4 ? 20 : 0);
	ck_assert_uint_eq(w.party[BETA].reports[APMP_REPORT_UNSUSPECTED], 20);
	ck_assert_uint_eq(w.party[BETA].report_about[APMP_REPORT_UNSUSPECTED],
			  party_identity(gamma));
}
END_TEST

static void debug(uint32_t id, bool on)
{
	uint64_t identity = party_identity(&w.party[id]);

	apmp_tree_set_debugged(&w.tw, id, on ? apmp_identity_incarnation(identity) : 0);
	ck_assert(apmp_tree_debugged(&w.tw.tree, identity) == on);
}

/* A debugger holds GAMMA for ten times `stop`; whom it would watch is watched by BETA meanwhile.
 * shows: DB-09 */
START_TEST(whom_a_debugger_holds)
{
	struct party *beta = &w.party[BETA], *gamma = &w.party[GAMMA], *delta = &w.party[DELTA];

	debug(GAMMA, true);
	gamma->hung = true;
	world_ticks(&w, 10 * STOP_TICKS);
	ck_assert(alive(GAMMA));
	world_check_set(&w, everybody);
	ck_assert_uint_eq(beta->reports[APMP_REPORT_SUSPECTED], 0);
	delta->hung = true;
	world_ticks(&w, STOP_TICKS + 4);
	ck_assert(!alive(DELTA));
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_REMOVED], party_identity(delta));
	ck_assert(alive(GAMMA));
	/* The count begins when the debugger goes. */
	debug(GAMMA, false);
	world_ticks(&w, STOP_TICKS - 1);
	ck_assert(alive(GAMMA));
	world_ticks(&w, 4);
	ck_assert(!alive(GAMMA));
	ck_assert_uint_eq(beta->report_about[APMP_REPORT_SUSPECTED], party_identity(gamma));
	world_check_set(&w, everybody & ~BIT(GAMMA) & ~BIT(DELTA));
}
END_TEST

/* A debugger comes after the judgement and before the fence. */
START_TEST(judged_and_debugged)
{
	struct party *beta = &w.party[BETA];
	int work = 0;

	for (uint32_t i = 0; i <= STOP_TICKS; i++)
		work = party_run(beta, party_tick);
	ck_assert_int_eq(work & APMP_WORK_FENCE, APMP_WORK_FENCE);
	debug(GAMMA, true);
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(alive(GAMMA));
	ck_assert_uint_eq(party_passed(beta, APMP_P_fence_bugcheck), 0);
}
END_TEST

/* Its next life is not that which the debugger held. */
START_TEST(a_debugger_holds_one_life)
{
	struct party *gamma = &w.party[GAMMA];
	uint64_t before = party_identity(gamma);

	debug(GAMMA, true);
	ck_assert(!apmp_tree_debugged(&w.tw.tree, before + (UINT64_C(1) << 16)));
	ck_assert(!apmp_tree_debugged(&w.tw.tree, apmp_identity(ALPHA, 1)));
	ck_assert(!apmp_tree_debugged(&w.tw.tree, 0));
}
END_TEST

/* It beats again after it was judged and before the primary has acted: nothing is done to it. */
START_TEST(judged_and_beats)
{
	struct party *beta = &w.party[BETA], *gamma = &w.party[GAMMA];
	int work = 0;

	for (uint32_t i = 0; i <= STOP_TICKS; i++)
		work = party_run(beta, party_tick);
	ck_assert_int_eq(work & APMP_WORK_FENCE, APMP_WORK_FENCE);
	ck_assert_int_ge(party_run(gamma, party_tick), 0);
	ck_assert_int_ge(party_run(beta, party_tick), 0);
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(alive(GAMMA));
	ck_assert_uint_eq(party_passed(beta, APMP_P_fence_bugcheck), 0);
}
END_TEST

/* Judged, and then BETA itself does not run for a while: the judgement is too old to act on. */
START_TEST(judged_long_ago)
{
	struct party *beta = &w.party[BETA];

	for (uint32_t i = 0; i <= STOP_TICKS; i++) {
		w.now_ns += w.timing.tick_ns;
		ck_assert_int_ge(party_run(beta, party_tick), 0);
	}
	ck_assert_uint_eq(apmp_load_relaxed(&beta->member.dead_mask), BIT(GAMMA));
	w.now_ns += 10 * w.timing.tick_ns;
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(alive(GAMMA));
	w.now_ns += w.timing.tick_ns;
	ck_assert_int_ge(party_run(beta, party_tick), 0); /* late: nothing is judged */
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(alive(GAMMA));
	w.now_ns += w.timing.tick_ns;
	ck_assert_int_ge(party_run(beta, party_tick), 0);
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(!alive(GAMMA));
}
END_TEST

/* A chain of inactive brothers is watched by the first active one, and let go when they beat.
 * shows: DB-09 */
START_TEST(watches_the_next_behind)
{
	struct party *alpha = &w.party[ALPHA];

	w.party[BETA].hung = w.party[GAMMA].hung = true;
	world_ticks(&w, 1 + 3);
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_SUSPECTED],
			  party_identity(&w.party[BETA]));
	world_ticks(&w, 4); /* from when BETA is inactive */
	ck_assert_uint_eq(alpha->report_about[APMP_REPORT_SUSPECTED],
			  party_identity(&w.party[GAMMA]));
	w.party[BETA].hung = false;
	world_ticks(&w, 60);
	ck_assert(!alive(GAMMA)); /* BETA's doing now */
	world_check_set(&w, BIT(ALPHA) | BIT(BETA) | BIT(DELTA));
}
END_TEST

/* Who was itself kept from running, or slept with its host, suspects nobody for it. */
START_TEST(the_late_suspect_nobody)
{
	w.party[GAMMA].hung = true;
	for (int i = 0; i < 40; i++) {
		w.now_ns += 10 * w.timing.tick_ns;
		world_tick(&w);
	}
	ck_assert(alive(GAMMA));
	ck_assert_uint_eq(w.party[BETA].reports[APMP_REPORT_SUSPECTED], 0);
	world_ticks(&w, STOP_TICKS + 2); /* in time again */
	ck_assert(!alive(GAMMA));
}
END_TEST

/* All survivors look at every page, not only who removed the dead.  shows: DB-11 */
START_TEST(all_survivors_validate)
{
	world_fence(&w, GAMMA);
	world_ticks(&w, 4);
	world_check_set(&w, everybody & ~BIT(GAMMA));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.validate), 0);
	for (uint32_t id = ALPHA; id <= DELTA; id++) {
		ck_assert_uint_eq(party_passed(&w.party[id], APMP_P_validate_pages), id != GAMMA);
		ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->node[id].validated),
				  id != GAMMA);
	}
}
END_TEST

/* While one is being removed, the header says which.  shows: DB-01 */
static void on_point_recovery(struct party *p, enum apmp_point point, uint64_t arg)
{
	struct apmp_db_header *h = &world_db(&w)->header;
	uint64_t dead = party_identity(&w.party[GAMMA]);

	if (point != APMP_P_recover_begin && point != APMP_P_recover_mask)
		return;
	ck_assert(point != APMP_P_recover_begin || arg == dead);
	ck_assert_uint_eq(apmp_load_relaxed(&h->crashing), dead);
	ck_assert_uint_eq(apmp_load_relaxed(&h->state), APMP_DB_RECOVERING);
	ck_assert_uint_eq(apmp_load_relaxed(&h->actor), party_identity(p));
	ck_assert_uint_eq(apmp_load_relaxed(&h->members) & BIT(GAMMA),
			  point == APMP_P_recover_begin ? BIT(GAMMA) : 0);
}

START_TEST(header_names_the_dead)
{
	w.party[BETA].on_point = on_point_recovery;
	world_fence(&w, GAMMA);
	world_ticks(&w, 3);
	ck_assert_uint_eq(party_passed(&w.party[BETA], APMP_P_recover_mask), 1);
	world_check_set(&w, everybody & ~BIT(GAMMA));
}
END_TEST

/* The clock of beta judges one dead. */
static void judge(uint32_t id, uint64_t when_ns)
{
	struct apmp_member *m = &w.party[BETA].member;

	apmp_store_relaxed(&m->dead[id], party_identity(&w.party[id]));
	apmp_store_relaxed(&m->judged_ns[id], when_ns);
	apmp_fetch_or(&m->dead_mask, BIT(id));
}

/* Judged dead by the clock, and meanwhile fenced for another: the console is not asked again. */
START_TEST(already_fenced)
{
	struct party *beta = &w.party[BETA];

	judge(GAMMA, w.now_ns);
	world_fence(&w, GAMMA);
	beta->calls = 0;
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert_uint_eq(beta->calls, 0);
	world_check_set(&w, everybody & ~BIT(GAMMA));
}
END_TEST

/* Judged by the clock after our own look at it: that is no long time ago. */
START_TEST(judged_just_now)
{
	struct party *beta = &w.party[BETA];

	judge(GAMMA, w.now_ns + 1);
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(!alive(GAMMA));
}
END_TEST

/* The clock sees it beat. */
static void on_call_delta_beats(struct party *p, struct apmp_call *call)
{
	if (call->request.op == APMP_CALL_REMOVE_INSTANCE)
		apmp_fetch_and(&p->member.dead_mask, ~BIT(DELTA));
}

/* Two are judged; while the console fences the first, the second beats again: it is let live. */
START_TEST(beats_while_another_is_fenced)
{
	struct party *beta = &w.party[BETA];

	judge(GAMMA, w.now_ns);
	judge(DELTA, w.now_ns);
	beta->on_call = on_call_delta_beats;
	ck_assert_int_eq(party_run(beta, party_work), 0);
	ck_assert(!alive(GAMMA));
	ck_assert(alive(DELTA));
}
END_TEST

/* One was judged long ago, behind another that beats again, so that nobody looks at it any more;
 * that a third is judged now says nothing about it. */
START_TEST(a_judgement_grows_old_by_itself)
{
	uint64_t ago = 3 * w.party[BETA].member.timing.tick_ns;

	world_ticks(&w, 4);
	judge(DELTA, w.now_ns - ago);
	judge(GAMMA, w.now_ns);
	ck_assert_int_eq(party_run(&w.party[BETA], party_work), 0);
	ck_assert(!alive(GAMMA));
	ck_assert(alive(DELTA));
}
END_TEST

/* A fence that the console can't complete leaves the dead in the set, and is tried again.
 * shows: DB-10 */
START_TEST(fence_pending)
{
	struct party *beta = &w.party[BETA];

	beta->call_error = -EPIPE;
	w.party[GAMMA].hung = true;
	world_ticks(&w, STOP_TICKS + 10);
	ck_assert_uint_gt(beta->calls, 1);
	ck_assert_uint_eq(party_passed(beta, APMP_P_fence_done), 0);
	world_check_set(&w, everybody);
	beta->call_error = 0;
	world_ticks(&w, 3);
	world_check_set(&w, everybody & ~BIT(GAMMA));
}
END_TEST

static int refuse(struct apmp_env *env, struct apmp_call *call)
{
	(void)env;
	call->reply.error = -EBUSY;
	return 0;
}

START_TEST(console_refuses_the_fence)
{
	struct party *beta = &w.party[BETA];
	int (*answer)(struct apmp_env *, struct apmp_call *) = beta->env.call;

	beta->env.call = refuse;
	w.party[GAMMA].hung = true;
	world_ticks(&w, STOP_TICKS + 3);
	world_check_set(&w, everybody);
	ck_assert_uint_eq(party_passed(beta, APMP_P_fence_done), 0);
	beta->env.call = answer;
	world_ticks(&w, 3);
	world_check_set(&w, everybody & ~BIT(GAMMA));
}
END_TEST

/* One that hangs with the lock held keeps everybody out, and is judged by all: here by its own big
 * brother, with nobody else there to help.  shows: DB-09, DB-10, DB-14 */
START_TEST(silent_lock_holder_is_little_brother)
{
	struct apmp_db *db = world_db(&w);

	w.party[BETA].hung = true;
	w.party[GAMMA].hung = w.party[DELTA].hung = true;
	apmp_store_relaxed(&db->header.lock, party_identity(&w.party[BETA]));
	world_ticks(&w, STOP_TICKS + 1);
	ck_assert(!alive(BETA));
	world_ticks(&w, 100);
	world_check_set(&w, BIT(ALPHA));
}
END_TEST

/* The holder is no member, so nobody's little brother: a joiner that hangs. */
START_TEST(silent_lock_holder_is_a_joiner)
{
	struct party *delta = &w.party[DELTA];

	ck_assert_int_eq(party_run(delta, party_leave), 0);
	delta->member.joined = false;
	party_arm(delta, APMP_P_join_806, 1);
	ck_assert_int_eq(party_run(delta, party_enter), PARTY_DIED);
	ck_assert(alive(DELTA));
	world_ticks(&w, STOP_TICKS + 4);
	ck_assert(!alive(DELTA));
	world_check_set(&w, everybody & ~BIT(DELTA));
}
END_TEST

/* While it waits for the lock, the joiner's own clock judges the hung holder. */
static void on_wait_tick(struct party *p, const _Atomic uint32_t *word)
{
	(void)word;
	ck_assert_int_ge(apmp_member_tick(&p->member), 0);
}

START_TEST(joiner_fences_the_holder_it_waits_for)
{
	struct party *delta = &w.party[DELTA];

	ck_assert_int_eq(party_run(delta, party_leave), 0);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		w.party[id].hung = true;
	apmp_store_relaxed(&world_db(&w)->header.lock, party_identity(&w.party[ALPHA]));
	delta->on_wait = on_wait_tick;
	ck_assert_int_eq(party_run(delta, party_enter), 0);
	ck_assert(!alive(ALPHA));
	ck_assert_uint_eq(delta->report_about[APMP_REPORT_LOCK_BROKEN],
			  party_identity(&w.party[ALPHA]));
	world_check_set(&w, BIT(BETA) | BIT(GAMMA) | BIT(DELTA));
}
END_TEST

/* "fence: bugcheck": nobody is killed; the hung one wakes up late and sees the bit before it
 * touches anything.  shows: DB-10 */
START_TEST(woken_late_sees_its_bugcheck)
{
	struct party *gamma = &w.party[GAMMA];
	struct apmp_db_node *node = &world_db(&w)->node[GAMMA];
	uint64_t beat = apmp_load_relaxed(&node->heartbeat);

	apmp_store_relaxed(&node->bugcheck_of, party_identity(gamma));
	apmp_fetch_or(&node->reasons, APMP_REASON_BUGCHECK);
	ck_assert_int_eq(party_run(gamma, party_work), -EOWNERDEAD);
	ck_assert_int_eq(party_run(gamma, party_leave), -EOWNERDEAD);
	ck_assert_int_eq(party_run(gamma, party_tick), -EOWNERDEAD);
	ck_assert_uint_eq(apmp_load_relaxed(&node->heartbeat), beat);
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.lock), 0);
	world_tick(&w);
	ck_assert(gamma->bugchecked);
}
END_TEST

/* Judged dead while it waits to enter. */
static void on_wait_bugcheck(struct party *p, const _Atomic uint32_t *word)
{
	struct apmp_db_node *node = &world_db(&w)->node[p->id];

	(void)word;
	apmp_store_relaxed(&node->bugcheck_of, party_identity(p));
	apmp_fetch_or(&node->reasons, APMP_REASON_BUGCHECK);
}

START_TEST(enter_sees_its_bugcheck)
{
	struct party *delta = &w.party[DELTA];

	ck_assert_int_eq(party_run(delta, party_leave), 0);
	apmp_store_relaxed(&world_db(&w)->header.lock, party_identity(&w.party[ALPHA]));
	delta->on_wait = on_wait_bugcheck;
	ck_assert_int_eq(party_run(delta, party_enter), -EOWNERDEAD);
	ck_assert_ptr_null(party_db(delta));
	ck_assert_uint_eq(apmp_load_relaxed(&world_db(&w)->header.lock) & ~UINT64_C(0x8000),
			  party_identity(&w.party[ALPHA]));
	apmp_store_relaxed(&world_db(&w)->header.lock, 0);
}
END_TEST

/* Judged dead after it had left: it may not come back with this life.  shows: DB-10 */
START_TEST(bugchecked_while_out)
{
	struct party *delta = &w.party[DELTA];

	ck_assert_int_eq(party_run(delta, party_leave), 0);
	on_wait_bugcheck(delta, NULL);
	ck_assert_int_eq(party_run(delta, party_enter), -EOWNERDEAD);
	ck_assert_ptr_null(party_db(delta));
	ck_assert(apmp_load_relaxed(&world_db(&w)->node[DELTA].reasons) & APMP_REASON_BUGCHECK);
	world_check_set(&w, everybody & ~BIT(DELTA));
	(void)world_member(&w, DELTA); /* the next life may */
	world_check_set(&w, everybody);
}
END_TEST

/* The bit of an earlier life means nothing to the next one.  shows: DB-04, DB-10 */
START_TEST(bugcheck_of_the_last_life)
{
	struct party *gamma = &w.party[GAMMA];

	gamma->hung = true;
	world_ticks(&w, STOP_TICKS + 4);
	gamma = world_member(&w, GAMMA);
	apmp_fetch_or(&world_db(&w)->node[GAMMA].reasons, APMP_REASON_BUGCHECK); /* late fencer */
	world_ticks(&w, 60);
	ck_assert(!gamma->bugchecked);
	world_check_set(&w, everybody);
}
END_TEST

/* The unmapping primary waits until its clock has left the database. */
static void on_wait_clock_leaves(struct party *p, const _Atomic uint32_t *word)
{
	bool mapped = false;

	ck_assert_ptr_eq(word, &p->member.in_tick);
	for (uint32_t i = 0; i < WORLD_MAPPINGS; i++)
		mapped = mapped || (p->mapping[i].base && p->mapping[i].base == p->member.base);
	ck_assert(mapped);
	if (p->waits == 3)
		apmp_store_relaxed(&p->member.in_tick, 0);
}

START_TEST(unmapping_waits_for_the_clock)
{
	struct party *delta = &w.party[DELTA];

	apmp_store_relaxed(&delta->member.in_tick, 1);
	delta->on_wait = on_wait_clock_leaves;
	ck_assert_int_eq(party_run(delta, party_leave), 0);
	ck_assert_uint_eq(delta->waits, 3);
}
END_TEST

/* The primary begins to wait in the middle of a tick. */
static void on_point_await(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	(void)point;
	(void)arg;
	apmp_store_relaxed(&w.party[BETA].member.in_tick, APMP_TICK_AWAITED);
}

/* A tick tells a waiting primary that it is over, and wakes nobody when there is none. */
START_TEST(tick_wakes_the_primary)
{
	uint32_t wakes = w.party[BETA].wakes;

	ck_assert_int_ge(party_run(&w.party[BETA], party_tick), 0);
	ck_assert_uint_eq(w.party[BETA].wakes, wakes);
	w.party[BETA].env.point = on_point_await;
	ck_assert_int_ge(party_run(&w.party[BETA], party_tick), 0);
	ck_assert_uint_eq(w.party[BETA].wakes, wakes + 1);
	ck_assert_uint_eq(apmp_load_relaxed(&w.party[BETA].member.in_tick), 0);
}
END_TEST

static void tests_of_watching(TCase *tc)
{
	tcase_add_test(tc, beats_every_tick);
	tcase_add_test(tc, nobody_suspects_the_living);
	tcase_add_test(tc, silence_suspects_then_kills);
	tcase_add_test(tc, a_beat_in_time_saves);
	tcase_add_test(tc, judged_and_beats);
	tcase_add_test(tc, judged_long_ago);
	tcase_add_test(tc, watches_the_next_behind);
	tcase_add_test(tc, the_late_suspect_nobody);
	tcase_add_test(tc, all_survivors_validate);
	tcase_add_test(tc, tick_wakes_the_primary);
	tcase_add_test(tc, unmapping_waits_for_the_clock);
}

static void tests_of_fencing(TCase *tc)
{
	tcase_add_test(tc, header_names_the_dead);
	tcase_add_test(tc, already_fenced);
	tcase_add_test(tc, judged_just_now);
	tcase_add_test(tc, fence_pending);
	tcase_add_test(tc, beats_while_another_is_fenced);
	tcase_add_test(tc, a_judgement_grows_old_by_itself);
	tcase_add_test(tc, whom_a_debugger_holds);
	tcase_add_test(tc, judged_and_debugged);
	tcase_add_test(tc, a_debugger_holds_one_life);
	tcase_add_test(tc, console_refuses_the_fence);
	tcase_add_test(tc, silent_lock_holder_is_little_brother);
	tcase_add_test(tc, silent_lock_holder_is_a_joiner);
	tcase_add_test(tc, joiner_fences_the_holder_it_waits_for);
	tcase_add_test(tc, woken_late_sees_its_bugcheck);
	tcase_add_test(tc, enter_sees_its_bugcheck);
	tcase_add_test(tc, bugchecked_while_out);
	tcase_add_test(tc, bugcheck_of_the_last_life);
}

int main(void)
{
	Suite *suite = suite_create("member_watch");
	TCase *watching = suite_case(suite, "watch"), *fencing = suite_case(suite, "fence");

	tcase_add_checked_fixture(watching, setup, teardown);
	tcase_add_checked_fixture(fencing, setup, teardown);
	tests_of_watching(watching);
	tests_of_fencing(fencing);
	return suite_run(suite);
}
