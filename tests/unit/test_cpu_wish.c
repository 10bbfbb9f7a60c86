/*
 * test_cpu_wish.c - a broadcast request for CPUs [0235]: who can spare a compatible one gives it,
 * never more than were asked for, whoever dies and when, and who asks hears an end.
 *
 * GAMMA and DELTA have one CPU each, ALPHA and BETA a second one (1 and 3), which they can spare.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/cpu_wish.h"
#include "shm/member_internal.h"
#include "shm/service.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define LAB 4u

/* How a member's CPUs leave. */
enum manner { AT_ONCE = 0, LATER, REFUSED, REFUSED_LATER };

struct actor {
	struct apmp_wish wish;
	struct apmp_gift gift;
	enum manner manner;
	bool busy; /* needs all it has */
	bool pending, stays;
	uint32_t cpu_idx, to_id;
	uint32_t over; /* wishes that came to their end */
};

static struct world w;
static struct actor actor[LAB];
static uint64_t asked, given;  /* CPUs, by wishes */
static void (*on_spare)(void); /* once, when ALPHA looks what it can spare */

static void reset(uint32_t id)
{
	enum manner manner = actor[id].manner;

	memset(&actor[id], 0, sizeof(actor[id]));
	actor[id].manner = manner;
}

static void setup(void)
{
	world_init(&w);
	asked = given = 0;
	on_spare = NULL;
	for (uint32_t id = ALPHA; id < LAB; id++) {
		struct party *p = world_boot(&w, id);

		actor[id].manner = AT_ONCE;
		reset(id);
		p->cpu_sets[0].word[0] = (1u << WORLD_CPUS) - 1;
		ck_assert_int_eq(party_run(p, party_enter), 0);
	}
	world_ticks(&w, 2);
}

static void teardown(void)
{
	world_fini(&w);
}

static uint32_t owner_of(uint32_t cpu_idx)
{
	struct apmp_tree_node cpu;

	ck_assert_int_eq(apmp_tree_cpu(&w.tw.tree, cpu_idx, &cpu), 0);
	return apmp_tree_owner_id(&w.tw.tree, cpu.current_owner);
}

static uint32_t cpus_of(uint32_t id)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < WORLD_CPUS; i++)
		count += owner_of(i) == id;
	return count;
}

/* ---- what an instance does ---- */

static int spare(void *ctx, const struct apmp_cpu_bits *potential, uint32_t *ret_cpu)
{
	struct party *p = ctx;
	struct apmp_tree_node cpu;

	if (p->id == ALPHA && on_spare)
		on_spare();
	if (actor[p->id].busy || actor[p->id].pending || cpus_of(p->id) < 2)
		return -ENODEV;
	for (uint32_t i = 0; i < WORLD_CPUS; i++)
		if (owner_of(i) == p->id && !apmp_tree_cpu(&p->tree, i, &cpu) &&
		    !(cpu.flags & NODE_PRIMARY) && apmp_cpu_bits_test(potential, i)) {
			*ret_cpu = i;
			return 0;
		}
	return -ENODEV;
}

/* PAL MIGRATE of a CPU, and what the console says. */
static int go(struct party *p, uint32_t cpu_idx, uint32_t to_id)
{
	struct apmp_call call = {
	    .request = {.op = APMP_CALL_MIGRATE_CPU, .arg = {cpu_idx, to_id, 0}}};
	int err = apmp_pal_validate(&p->tree, p->id, cpu_idx, to_id);

	if (err)
		return err;
	ck_assert_int_eq(p->env.call(&p->env, &call), 0);
	ck_assert_int_eq(call.reply.error, 0);
	given++;
	return 0;
}

static int order(void *ctx, uint32_t cpu_idx, uint32_t to_id)
{
	struct party *p = ctx;
	struct actor *a = &actor[p->id];

	if (a->manner == REFUSED)
		return -ETXTBSY;
	if (a->manner == AT_ONCE)
		return go(p, cpu_idx, to_id);
	a->cpu_idx = cpu_idx;
	a->to_id = to_id;
	a->pending = true;
	a->stays = false;
	return 0;
}

static bool stays(void *ctx, uint32_t cpu_idx)
{
	struct actor *a = &actor[((struct party *)ctx)->id];

	ck_assert(a->manner != AT_ONCE || owner_of(cpu_idx) == ((struct party *)ctx)->id);
	return !a->pending;
}

/* A CPU that was ordered to go does so, or is refused. */
static int leave(struct party *p)
{
	struct actor *a = &actor[p->id];

	if (a->pending && a->manner != REFUSED_LATER)
		(void)!go(p, a->cpu_idx, a->to_id); /* else it stays */
	a->pending = false;
	return 0;
}

static int look(struct party *p)
{
	struct actor *a = &actor[p->id];
	const struct apmp_giver giver = {.ctx = p, .spare = spare, .give = order, .stays = stays};

	ck_assert_int_eq(apmp_member_work(&p->member), 0);
	if (a->wish.number && apmp_wish_look(&p->member, &a->wish)) {
		ck_assert_uint_eq(a->wish.number, 0);
		a->over++;
	}
	apmp_gift_look(&p->member, &a->gift, &giver);
	return 0;
}

static uint32_t wished;

static int wish(struct party *p)
{
	int err = apmp_wish_begin(&p->member, &actor[p->id].wish, wished);

	if (!err)
		asked += wished;
	return err;
}

/* Runs it if the party lives. */
static int run(uint32_t id, int (*operation)(struct party *p))
{
	return w.party[id].ended ? PARTY_DIED : party_run(&w.party[id], operation);
}

static void look_all(void)
{
	for (uint32_t id = ALPHA; id < LAB; id++)
		(void)!run(id, look);
}

/* Until nothing moves any more: deaths are fenced, everybody looks, at each tick. */
static void settle(void)
{
	for (uint32_t i = 0; i < 12; i++) {
		for (uint32_t id = ALPHA; id < LAB; id++)
			if (w.party[id].ended)
				world_fence(&w, id);
		world_tick(&w);
		for (uint32_t id = ALPHA; id < LAB; id++)
			(void)!run(id, leave);
		look_all();
	}
	ck_assert_uint_le(given, asked);
}

static struct apmp_db_cpu_sets *slot_of(uint32_t id)
{
	struct apmp_member *m = &w.party[ALPHA].member;

	return (struct apmp_db_cpu_sets *)apmp_service_segment(party_db(&w.party[ALPHA]), m->size,
							       APMP_SERVICE_cpu) +
	       id;
}

static void want(uint32_t id, uint32_t count)
{
	wished = count;
	ck_assert_int_eq(run(id, wish), 0);
}

/* Nothing is left of wishes that are over, and nobody serves any. */
static void check_rest(void)
{
	for (uint32_t id = ALPHA; id < LAB; id++) {
		if (w.party[id].ended)
			continue;
		ck_assert_uint_eq(actor[id].wish.number, 0);
		ck_assert_uint_eq(actor[id].gift.wisher, 0);
	}
}

/* ---- nobody dies ---- */

/* shows: CPU-12 */
START_TEST(who_can_spare_one_gives_it)
{
	want(GAMMA, 1);
	look_all();
	look_all();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(cpus_of(GAMMA), 2);
	ck_assert_uint_eq(given, 1);
	settle();
	check_rest();
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(GAMMA)->giver), 0);
	/* The next one counts anew. */
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 2);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(given, 2);
}
END_TEST

/* One member gives, another follows; then nobody can, which is said when all have looked. */
START_TEST(as_many_as_there_are)
{
	want(GAMMA, 3);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 2);
	ck_assert_uint_eq(cpus_of(GAMMA), 3);
	check_rest();
}
END_TEST

START_TEST(nobody_can_is_said_when_all_have_looked)
{
	static const uint32_t order_of[] = {DELTA, ALPHA, GAMMA, BETA};

	for (uint32_t id = ALPHA; id < LAB; id++)
		actor[id].busy = true;
	want(GAMMA, 1);
	for (uint32_t i = 0; i < LAB; i++) {
		ck_assert_uint_eq(actor[GAMMA].over, 0);
		ck_assert_int_eq(run(order_of[i], look), 0);
	}
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 0);
	/* The next one is open again. */
	want(GAMMA, 1);
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 1);
}
END_TEST

/* Whom a debugger holds says nothing for as long as that lasts. */
START_TEST(who_is_debugged_is_not_waited_for)
{
	struct party *beta = &w.party[BETA];

	for (uint32_t id = ALPHA; id < LAB; id++)
		actor[id].busy = true;
	want(GAMMA, 1);
	for (uint32_t id = ALPHA; id < LAB; id++)
		if (id != BETA)
			ck_assert_int_eq(run(id, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 0);
	apmp_tree_set_debugged(&w.tw, BETA, apmp_identity_incarnation(party_identity(beta)));
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	/* If it goes on it finds that nobody wishes. */
	apmp_tree_set_debugged(&w.tw, BETA, 0);
	actor[BETA].busy = false;
	settle();
	ck_assert_uint_eq(given, 0);
	check_rest();
}
END_TEST

/* Never a CPU that can't run there [0235]. */
START_TEST(only_what_is_compatible_comes)
{
	w.party[GAMMA].cpu_sets[0].word[0] = 1u << 4 | 1u << 3;
	apmp_member_publish_cpus(&w.party[GAMMA].member);
	want(GAMMA, 2);
	settle();
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(owner_of(3), GAMMA);
	ck_assert_uint_eq(owner_of(1), ALPHA);
}
END_TEST

/* While one CPU is on its way nobody else sends another. */
START_TEST(one_claim_at_a_time)
{
	actor[ALPHA].manner = LATER;
	want(GAMMA, 1);
	look_all();
	look_all();
	ck_assert(actor[ALPHA].pending);
	ck_assert_uint_eq(given, 0);
	ck_assert_uint_eq(actor[GAMMA].over, 0);
	ck_assert_int_eq(run(ALPHA, leave), 0);
	look_all();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	settle();
	ck_assert_uint_eq(given, 1);
	check_rest();
}
END_TEST

/* Two see the free slot at once: one gives. */
static void other_looks(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_wish_claimed)
		return;
	p->on_point = NULL;
	ck_assert_int_eq(look(&w.party[BETA]), 0);
	ck_assert_uint_eq(actor[BETA].gift.wisher, 0);
}

START_TEST(two_at_once)
{
	w.party[ALPHA].on_point = other_looks;
	want(GAMMA, 1);
	ck_assert_int_eq(run(ALPHA, look), 0);
	settle();
	ck_assert_uint_eq(given, 1);
	ck_assert_uint_eq(owner_of(1), GAMMA);
}
END_TEST

/* The first can't after all, at once or later: the next one gives. */
START_TEST(a_refusal_makes_room)
{
	actor[ALPHA].manner = _i ? REFUSED_LATER : REFUSED;
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(owner_of(3), GAMMA);
	check_rest();
}
END_TEST

/* The CPU goes elsewhere under the giver's hands: it looks for another, and has none. */
START_TEST(a_cpu_that_went_elsewhere)
{
	actor[ALPHA].manner = LATER;
	want(GAMMA, 1);
	ck_assert_int_eq(run(ALPHA, look), 0);
	actor[ALPHA].pending = false;
	ck_assert_int_eq(go(&w.party[ALPHA], 1, DELTA), 0);
	given--;
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(given, 1);
	check_rest();
}
END_TEST

/* Nobody waits any more, and the CPU comes: it is none of the next wish's. */
START_TEST(one_that_comes_after_the_end)
{
	actor[ALPHA].manner = LATER;
	actor[BETA].busy = true;
	want(GAMMA, 1);
	ck_assert_int_eq(run(ALPHA, look), 0);
	apmp_wish_end(&w.party[GAMMA].member, &actor[GAMMA].wish);
	wished = 1;
	ck_assert_int_eq(run(GAMMA, wish), -EAGAIN);
	ck_assert_int_eq(run(ALPHA, leave), 0);
	actor[BETA].busy = false;
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(given, 2);
	check_rest();
}
END_TEST

/* It looks while the CPU is being given to it, by an update that a console which dies takes back.
 */
static void looks_too_early(struct party *console, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_pal_2216)
		return;
	console->on_point = NULL;
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 0);
}

START_TEST(not_before_it_is_for_good)
{
	w.console.on_point = looks_too_early;
	want(GAMMA, 1);
	settle();
	ck_assert_ptr_null(w.console.on_point);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	check_rest();
}
END_TEST

/* A no that was on its way when the wish ended is not heard by the next one. */
static void withdraws(void)
{
	on_spare = NULL;
	apmp_wish_end(&w.party[GAMMA].member, &actor[GAMMA].wish);
	want(GAMMA, 1);
}

START_TEST(a_late_no)
{
	for (uint32_t id = ALPHA; id < LAB; id++)
		actor[id].busy = true;
	on_spare = withdraws;
	want(GAMMA, 1);
	look_all(); /* ALPHA's no is for the first, the others' for the second */
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 0);
	ck_assert_int_eq(run(ALPHA, look), 0);
	ck_assert_int_eq(run(GAMMA, look), 0);
	ck_assert_uint_eq(actor[GAMMA].over, 1);
}
END_TEST

START_TEST(what_is_no_wish)
{
	struct party *stranger = world_boot(&w, STRANGER);
	struct apmp_wish none = {0};

	wished = 0;
	ck_assert_int_eq(run(GAMMA, wish), -EINVAL);
	wished = APMP_WISH_MAX + 1;
	ck_assert_int_eq(run(GAMMA, wish), -EINVAL);
	want(GAMMA, 1);
	ck_assert_int_eq(run(GAMMA, wish), -EALREADY);
	ck_assert_int_eq(apmp_wish_begin(&stranger->member, &none, 1), -ENOTCONN);
}
END_TEST

/* A claim of a CPU that there is not. */
static uint64_t stray_of(uint32_t id)
{
	return apmp_identity_incarnation(party_identity(&w.party[id])) << 32 | 0x70000u | (id + 1);
}

/* Somebody's stray store claims it for one that knows nothing of it, or for nobody at all. */
START_TEST(stray_claims)
{
	const uint64_t stray[] = {(uint64_t)BETA + 1, UINT64_MAX, stray_of(BETA)};

	want(GAMMA, 1);
	apmp_store_relaxed(&slot_of(GAMMA)->giver, stray[_i]);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	check_rest();
}
END_TEST

/* Nor does a claim that stood there before keep the wish from beginning: of a member, of who wishes
 * itself, and of one that lives and is no member. */
START_TEST(stray_claim_before)
{
	const uint32_t names[] = {BETA, GAMMA, STRANGER};

	(void)world_boot(&w, STRANGER);
	apmp_store_relaxed(&slot_of(GAMMA)->giver, stray_of(names[_i]));
	wished = 1;
	if (run(GAMMA, wish) == -EAGAIN) {
		settle();
		want(GAMMA, 1);
	}
	settle();
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	check_rest();
}
END_TEST

/* One that is of a member which has said no already. */
START_TEST(stray_claim_behind_a_no)
{
	for (uint32_t id = ALPHA; id < LAB; id++)
		actor[id].busy = true;
	want(GAMMA, 1);
	ck_assert_int_eq(run(BETA, look), 0);
	apmp_store_relaxed(&slot_of(GAMMA)->giver, stray_of(BETA));
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	check_rest();
}
END_TEST

/* ---- the sharing set ---- */

START_TEST(a_set_that_is_formed_anew_ends_it)
{
	actor[ALPHA].manner = LATER;
	want(GAMMA, 1);
	ck_assert_int_eq(run(ALPHA, look), 0);
	apmp_store_relaxed(&world_db(&w)->header.fingerprint, 1);
	world_ticks(&w, 4);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(given, 1);
	check_rest();
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(given, 2);
}
END_TEST

/* ---- deaths ---- */

static const enum apmp_point giver_points[] = {APMP_P_wish_claimed, APMP_P_wish_given,
					       APMP_P_wish_back, APMP_P_wish_no};

/* The giver dies at each point, in each manner; BETA gives in its place, if it has given none.
 * shows: CPU-12 */
START_TEST(the_giver_dies)
{
	enum apmp_point point = giver_points[_i / 4];

	actor[ALPHA].manner = (enum manner)(_i % 4);
	actor[ALPHA].busy = point == APMP_P_wish_no;
	party_arm(&w.party[ALPHA], point, 1);
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	ck_assert_uint_eq(actor[GAMMA].wish.came, 1);
	ck_assert_uint_eq(given, 1);
	ck_assert_uint_eq(cpus_of(GAMMA), 2);
	check_rest();
	/* And its next life can wish and give. */
	if (w.party[ALPHA].ended) {
		reset(ALPHA);
		ck_assert_int_eq(party_run(world_boot(&w, ALPHA), party_enter), 0);
		want(ALPHA, 1);
		settle();
		check_rest();
	}
}
END_TEST

static const enum apmp_point wisher_points[] = {APMP_P_wish_asked, APMP_P_wish_came,
						APMP_P_wish_lost};

/* The wisher dies at each point; whoever serves it is free again, and a next life of it begins with
 * nothing. */
START_TEST(the_wisher_dies)
{
	actor[ALPHA].manner = LATER;
	party_arm(&w.party[GAMMA], wisher_points[_i], 1);
	wished = 1;
	if (run(GAMMA, wish) != PARTY_DIED)
		ck_assert_int_eq(run(ALPHA, look), 0);
	asked = 1;
	if (wisher_points[_i] == APMP_P_wish_lost) {
		w.party[ALPHA].ended = true;
		world_fence(&w, ALPHA);
	}
	settle();
	ck_assert(w.party[GAMMA].ended);
	reset(GAMMA);
	ck_assert_int_eq(party_run(world_boot(&w, GAMMA), party_enter), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(GAMMA)->wish), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(GAMMA)->giver), 0);
	settle();
	check_rest();
	want(GAMMA, 1);
	settle();
	ck_assert_uint_eq(actor[GAMMA].over, 1);
	check_rest();
}
END_TEST

/* The slot was emptied between a member's look at the wish and its claim, and is another life's. */
static void wisher_is_another(struct party *p, enum apmp_point point, uint64_t arg)
{
	(void)arg;
	if (point != APMP_P_wish_claimed)
		return;
	p->on_point = NULL;
	apmp_store_relaxed(&slot_of(GAMMA)->identity, party_identity(&w.party[GAMMA]) + (1 << 16));
}

START_TEST(a_claim_in_another_life)
{
	w.party[ALPHA].on_point = wisher_is_another;
	want(GAMMA, 1);
	ck_assert_int_eq(run(ALPHA, look), 0);
	ck_assert_uint_eq(actor[ALPHA].gift.wisher, 0);
	ck_assert_uint_eq(given, 0);
	ck_assert_uint_eq(apmp_load_relaxed(&slot_of(GAMMA)->giver), 0);
}
END_TEST

/* ---- anything, in any order: _i is the seed ---- */

static void random_step(void)
{
	uint32_t id = (uint32_t)random() % LAB;
	struct party *p = &w.party[id];

	switch (random() % 24) {
	case 0:
		if (p->ended) {
			world_fence(&w, id);
			reset(id);
			ck_assert_int_eq(party_run(world_boot(&w, id), party_enter), 0);
			w.party[id].cpu_sets[0].word[0] = (1u << WORLD_CPUS) - 1;
			apmp_member_publish_cpus(&w.party[id].member);
		}
		break;
	case 1:
		if (!p->ended)
			party_arm(p, (enum apmp_point)(APMP_P_wish_asked + random() % 7), 1);
		break;
	case 2:
		actor[id].manner = (enum manner)(random() % 4);
		actor[id].busy = random() % 4 == 0;
		break;
	case 3:
		wished = (uint32_t)random() % 3 + 1;
		if (!actor[id].wish.number)
			(void)!run(id, wish);
		break;
	case 4:
		world_tick(&w);
		break;
	case 5:
		if (actor[id].wish.number && !p->ended)
			apmp_wish_end(&p->member, &actor[id].wish);
		break;
	default:
		(void)!run(id, random() % 3 ? look : leave);
	}
}

START_TEST(any_order)
{
	srandom((unsigned)_i);
	for (uint32_t i = 0; i < 400; i++) {
		/* At most one is dead at a time, so that the set lives. */
		random_step();
		for (uint32_t id = ALPHA; id < LAB; id++)
			if (w.party[id].ended) {
				world_fence(&w, id);
				world_ticks(&w, 1);
			}
		ck_assert_uint_le(given, asked);
	}
	for (uint32_t id = ALPHA; id < LAB; id++)
		party_arm(&w.party[id], APMP_P_NONE, 0);
	settle();
	settle();
	check_rest();
}
END_TEST

/* ---- what members know of each other's load ---- */

/* shows: CPU-12 */
START_TEST(loads)
{
	struct apmp_member_load load[APMP_MAX_PARTITIONS];

	w.party[BETA].cpu_sets[2].word[0] = 0xc;
	apmp_member_publish_cpus(&w.party[BETA].member);
	w.party[BETA].member.depth = 7;
	ck_assert_uint_eq(apmp_member_loads(&w.party[ALPHA].member, load), LAB);
	ck_assert_uint_eq(load[BETA].depth, 0);
	world_tick(&w);
	ck_assert_uint_eq(apmp_member_loads(&w.party[ALPHA].member, load), LAB);
	ck_assert_uint_eq(load[BETA].identity, party_identity(&w.party[BETA]));
	ck_assert_uint_eq(load[BETA].depth, 7);
	ck_assert_uint_eq(load[BETA].active.word[0], 0xc);
	ck_assert_uint_eq(load[BETA].potential.word[0], (1u << WORLD_CPUS) - 1);
	world_fence(&w, BETA);
	ck_assert_uint_eq(apmp_member_loads(&w.party[ALPHA].member, load), LAB - 1);
	ck_assert_int_eq(run(ALPHA, party_leave), 0);
	ck_assert_uint_eq(apmp_member_loads(&w.party[ALPHA].member, load), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wishes for CPUs");
	TCase *tcase = suite_case(suite, "wishes");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, who_can_spare_one_gives_it);
	tcase_add_test(tcase, as_many_as_there_are);
	tcase_add_test(tcase, nobody_can_is_said_when_all_have_looked);
	tcase_add_test(tcase, who_is_debugged_is_not_waited_for);
	tcase_add_test(tcase, only_what_is_compatible_comes);
	tcase_add_test(tcase, one_claim_at_a_time);
	tcase_add_test(tcase, two_at_once);
	tcase_add_loop_test(tcase, a_refusal_makes_room, 0, 2);
	tcase_add_test(tcase, a_cpu_that_went_elsewhere);
	tcase_add_test(tcase, one_that_comes_after_the_end);
	tcase_add_test(tcase, not_before_it_is_for_good);
	tcase_add_test(tcase, a_late_no);
	tcase_add_test(tcase, what_is_no_wish);
	tcase_add_loop_test(tcase, stray_claims, 0, 3);
	tcase_add_loop_test(tcase, stray_claim_before, 0, 3);
	tcase_add_test(tcase, stray_claim_behind_a_no);
	tcase_add_test(tcase, a_set_that_is_formed_anew_ends_it);
	tcase_add_loop_test(tcase, the_giver_dies, 0, 16);
	tcase_add_loop_test(tcase, the_wisher_dies, 0, 3);
	tcase_add_test(tcase, a_claim_in_another_life);
	tcase_add_loop_test(tcase, any_order, 0, 150);
	tcase_add_test(tcase, loads);
	return suite_run(suite);
}
