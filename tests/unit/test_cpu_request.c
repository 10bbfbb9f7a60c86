/*
 * test_cpu_request.c - what the console asks of a CPU's instance: each CPU for itself, and every
 * end is seen in memory, by the number of what was asked.
 */
#include <errno.h>

#include "shm/cpu_request.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#define CPU 1u /* alpha's */

static struct world w;
static struct apmp_cpu_mover m;
static struct hwrpb_slot *alphas, *betas; /* slots of that CPU */
static struct apmp_cpu_request r;

static struct hwrpb *hwrpb_of(struct apmp_cpu_mover *mover, uint32_t id)
{
	(void)mover;
	return id < WORLD_PARTITIONS ? w.party[id].hwrpb : NULL;
}

static uint64_t life_of(struct apmp_cpu_mover *mover, uint32_t id)
{
	(void)mover;
	return apmp_tree_present(&w.tw.tree, id);
}

static int host_cpus(struct apmp_cpu_mover *mover, uint32_t id, uint32_t more)
{
	(void)mover;
	(void)id;
	(void)more;
	return 0;
}

static void setup(void)
{
	world_init(&w);
	alphas = &world_boot(&w, ALPHA)->hwrpb->slot[CPU];
	betas = &world_boot(&w, BETA)->hwrpb->slot[CPU];
	apmp_fetch_or(&betas->flags, HWRPB_COMPATIBLE);
	apmp_fetch_or(&alphas->flags, HWRPB_COMPATIBLE);
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_ACTIVE);
	m = (struct apmp_cpu_mover){.tw = &w.tw,
				    .cpu_count = WORLD_CPUS,
				    .transit = w.state->transit,
				    .arrival = w.state->arrival,
				    .source = w.state->source,
				    .hwrpb = hwrpb_of,
				    .life = life_of,
				    .host_cpus = host_cpus};
}

static void teardown(void)
{
	world_fini(&w);
}

static int ask(enum hwrpb_request_op op, uint32_t to_id)
{
	r = (struct apmp_cpu_request){.op = op, .cpu_idx = CPU, .from_id = ALPHA, .to_id = to_id};
	return apmp_cpu_ask(&m, &r, APMP_MIGRATE_LOAN);
}

/* The instance has begun what it was asked for last; its number. */
static uint32_t begin(void)
{
	struct apmp_hwrpb_request got;

	ck_assert_int_eq(apmp_hwrpb_request_get(&alphas->request, &got), 1);
	apmp_hwrpb_request_done(&alphas->request, got.seq, 0);
	return got.seq;
}

static void migrate(uint32_t from, uint32_t to)
{
	ck_assert_int_eq(apmp_cpu_migrate(&m, from, CPU, to, APMP_MIGRATE_LOAN, NULL, NULL), 0);
}

#define check_asked(wanted) ck_assert_int_eq(apmp_cpu_asked(&m, &r), wanted)

/* A wish, and what is asked of another CPU, are in nobody's way.  shows: CPU-02 */
START_TEST(each_for_itself)
{
	struct apmp_cpu_request other = {
	    .op = HWRPB_REQUEST_START, .from_id = ALPHA, .to_id = ALPHA};
	struct hwrpb *h = w.party[ALPHA].hwrpb;
	struct apmp_hwrpb_request got;
	uint32_t seq;

	ck_assert_int_eq(apmp_hwrpb_request(&w.console.env, h, &h->wish, HWRPB_REQUEST_WISH,
					    (const uint64_t[2]){9}, &seq),
			 0);
	apmp_store_relaxed(&w.line[0].pending, 0);
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_REQUEST);
	ck_assert_int_eq(apmp_cpu_ask(&m, &other, 0), 0);
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), -EBUSY);
	ck_assert_int_eq(apmp_hwrpb_request_get(&alphas->request, &got), 1);
	ck_assert_uint_eq(got.op, HWRPB_REQUEST_MIGRATE);
	ck_assert_uint_eq(got.arg[0], BETA);
	ck_assert_uint_eq(got.arg[1], APMP_MIGRATE_LOAN);
	begin();
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), 0);
	r.from_id = WORLD_PARTITIONS;
	ck_assert_int_eq(apmp_cpu_ask(&m, &r, 0), -EHOSTDOWN);
	check_asked(-EHOSTDOWN);
}
END_TEST

START_TEST(started_and_stopped)
{
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), 0);
	check_asked(APMP_CPU_OPEN);
	begin();
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_QUIESCED);
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_HALTED);
	check_asked(APMP_CPU_WAITS);
	ck_assert_int_eq(ask(HWRPB_REQUEST_START, ALPHA), 0);
	begin();
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_ACTIVE);
	check_asked(APMP_CPU_WORKS);
}
END_TEST

/* Also when nobody looked before it had gone on, or back.  shows: CPU-02 */
START_TEST(migrated)
{
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	begin();
	migrate(ALPHA, BETA);
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_STARTING);
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_HALTED);
	check_asked(APMP_CPU_WAITS);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_ACTIVE);
	check_asked(APMP_CPU_WORKS);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_AWAY);
	migrate(BETA, ALPHA);
	check_asked(APMP_CPU_ELSEWHERE);
}
END_TEST

/* Who was to get it died before that, and lives again: it has come there for the first time. */
START_TEST(come_to_another_life)
{
	migrate(ALPHA, BETA);
	migrate(BETA, ALPHA);
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	begin();
	apmp_store_relaxed(&betas->arrivals, 0);
	migrate(ALPHA, BETA);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_ACTIVE);
	check_asked(APMP_CPU_WORKS);
}
END_TEST

/* It was stopped there when it left: that is of another time. */
START_TEST(not_yet_come_back)
{
	migrate(ALPHA, BETA);
	migrate(BETA, ALPHA);
	apmp_store_relaxed(&betas->state, HWRPB_CPU_HALTED);
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	check_asked(APMP_CPU_OPEN);
}
END_TEST

START_TEST(come_and_not_started)
{
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	begin();
	migrate(ALPHA, BETA);
	apmp_store_relaxed(&betas->not_started, UINT64_C(1) << 32 | ENOMEM);
	check_asked(-ENOMEM);
	/* It waits there, and can do no more. */
	apmp_store_relaxed(&betas->state, HWRPB_CPU_HALTED);
	check_asked(-ENOMEM);
	/* With an arrival before that; it has come again. */
	apmp_store_relaxed(&betas->state, HWRPB_CPU_AWAY);
	migrate(BETA, ALPHA);
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	begin();
	migrate(ALPHA, BETA);
	check_asked(APMP_CPU_OPEN);
	apmp_store_relaxed(&betas->not_started, UINT64_C(2) << 32); /* it says nothing */
	check_asked(-EIO);
}
END_TEST

/* It is to be started again: that it could not be when it came is of another time. */
START_TEST(started_after_all)
{
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_HALTED);
	apmp_store_relaxed(&alphas->not_started, ENOMEM); /* of its arrival number 0 */
	ck_assert_int_eq(ask(HWRPB_REQUEST_START, ALPHA), 0);
	check_asked(APMP_CPU_OPEN);
	begin();
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_ACTIVE);
	check_asked(APMP_CPU_WORKS);
}
END_TEST

START_TEST(deassigned)
{
	ck_assert_int_eq(ask(HWRPB_REQUEST_DEASSIGN, ALPHA), 0);
	begin();
	apmp_store_relaxed(&alphas->state, HWRPB_CPU_HALTED); /* on its way */
	check_asked(APMP_CPU_OPEN);
	apmp_update_begin(&w.up);
	apmp_tree_set_owner(&w.tw, w.cpu[CPU], GCT_NONE);
	apmp_tree_set_current_owner(&w.tw, w.cpu[CPU], GCT_NONE);
	apmp_update_commit(&w.up);
	check_asked(APMP_CPU_ELSEWHERE);
}
END_TEST

/* At once, or when it had begun: the answer stays where it is.  shows: CPU-02 */
START_TEST(refused)
{
	uint32_t seq;

	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	seq = begin();
	check_asked(APMP_CPU_OPEN);
	ck_assert(apmp_hwrpb_request_refused(&alphas->request, seq, -ETXTBSY));
	check_asked(-ETXTBSY);
	check_asked(-ETXTBSY);
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), 0);
	check_asked(APMP_CPU_OPEN);
	apmp_hwrpb_request_done(&alphas->request, seq + 1, -EALREADY);
	check_asked(-EALREADY);
}
END_TEST

/* A console has died over the order before, whose refusal comes before the next one is begun, or
 * behind that: it answers nothing. */
START_TEST(old_answer_after_a_new_order)
{
	uint32_t old;

	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	old = begin();
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	ck_assert_uint_ne(r.seq, old);
	if (_i)
		ck_assert(apmp_hwrpb_request_refused(&alphas->request, old, -ETXTBSY));
	check_asked(APMP_CPU_OPEN);
	ck_assert_uint_eq(begin(), r.seq);
	ck_assert(!apmp_hwrpb_request_refused(&alphas->request, old, -ETXTBSY));
	check_asked(APMP_CPU_OPEN);
	ck_assert(apmp_hwrpb_request_refused(&alphas->request, r.seq, -EAGAIN));
	check_asked(-EAGAIN);
}
END_TEST

static const int odd[] = {1, INT32_MAX, INT32_MIN, -4096};

START_TEST(odd_answers)
{
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	apmp_hwrpb_request_done(&alphas->request, r.seq, odd[_i]);
	check_asked(-EIO);
}
END_TEST

START_TEST(taken_back)
{
	struct apmp_hwrpb_request got;

	apmp_cpu_take_back_all(&m, ALPHA);
	ck_assert_int_eq(apmp_hwrpb_request_get(&alphas->request, &got), 0);
	ck_assert_int_eq(ask(HWRPB_REQUEST_MIGRATE, BETA), 0);
	if (_i)
		ck_assert(apmp_cpu_take_back(&m, &r));
	else
		apmp_cpu_take_back_all(&m, ALPHA);
	ck_assert_int_eq(apmp_hwrpb_request_get(&alphas->request, &got), 1);
	ck_assert_uint_eq(got.op, HWRPB_REQUEST_NONE);
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), -EBUSY);
	apmp_hwrpb_request_done(&alphas->request, got.seq, -EINVAL);
	ck_assert_int_eq(ask(HWRPB_REQUEST_STOP, ALPHA), 0);
	begin();
	ck_assert(!apmp_cpu_take_back(&m, &r));
	apmp_cpu_take_back_all(&m, ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&alphas->request.op), HWRPB_REQUEST_STOP);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("requests about CPUs");
	TCase *tc = suite_case(suite, "requests about CPUs");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_for_itself);
	tcase_add_test(tc, started_and_stopped);
	tcase_add_test(tc, migrated);
	tcase_add_test(tc, come_to_another_life);
	tcase_add_test(tc, not_yet_come_back);
	tcase_add_test(tc, come_and_not_started);
	tcase_add_test(tc, started_after_all);
	tcase_add_test(tc, deassigned);
	tcase_add_test(tc, refused);
	tcase_add_loop_test(tc, old_answer_after_a_new_order, 0, 2);
	tcase_add_loop_test(tc, odd_answers, 0, sizeof(odd) / sizeof(odd[0]));
	tcase_add_loop_test(tc, taken_back, 0, 2);
	return suite_run(suite);
}
