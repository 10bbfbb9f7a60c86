/*
 * test_failover_told.c - what is told of a failover whose CPUs get no further: it comes to an end,
 * and the next one of that partition is one of its own.
 *
 * CPU 1 of ALPHA goes to BETA.
 */
#include <stdarg.h>
#include <string.h>

#include "console/failover.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct console c;
static uint32_t started, done; /* events of ALPHA */

/* ---- what the rest of the console does ---- */

void console_event(struct console *console, const char *kind, struct partition *p,
		   const char *format, ...)
{
	const uint32_t lists = format[1] == 's' && strstr(format, "s:o,s:o") ? 2 : 1;
	va_list args;

	(void)console;
	ck_assert_uint_eq(p->id, ALPHA);
	started += strcmp(kind, "failover.started") == 0;
	done += strcmp(kind, "failover.done") == 0;
	va_start(args, format);
	for (uint32_t i = 0; i < lists; i++) {
		(void)va_arg(args, const char *);
		json_decref(va_arg(args, json_t *));
	}
	va_end(args);
}

uint64_t console_identity(const struct partition *p)
{
	return apmp_tree_present(&w.tw.tree, p->id);
}

struct partition *console_partition_of(struct console *console, int32_t handle)
{
	for (uint32_t id = 0; handle && id < WORLD_PARTITIONS; id++)
		if (console->partition[id].handle == handle)
			return &console->partition[id];
	return NULL;
}

static struct hwrpb *hwrpb(struct apmp_cpu_mover *m, uint32_t id)
{
	(void)m;
	return id < WORLD_PARTITIONS ? w.party[id].hwrpb : NULL;
}

static uint64_t life(struct apmp_cpu_mover *m, uint32_t id)
{
	return apmp_tree_present(&m->tw->tree, id);
}

static uint64_t targets(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	(void)m;
	return id == ALPHA && cpu_idx == 1 ? BETA + 1 : 0;
}

static uint64_t now(struct apmp_env *env)
{
	(void)env;
	return 0;
}

/* ---- the world ---- */

static void use(uint32_t id)
{
	struct apmp_tree_partition p;

	ck_assert_int_eq(apmp_tree_partition(&w.tw.tree, id, &p), 0);
	c.partition[id] =
	    (struct partition){.console = &c, .id = id, .exists = true, .handle = p.node.handle};
	(void)world_boot(&w, id);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		apmp_fetch_or(&w.party[id].hwrpb->slot[cpu].flags, HWRPB_COMPATIBLE);
}

static void setup(void)
{
	world_init(&w);
	c.cpu_count = WORLD_CPUS;
	c.tw = w.tw;
	c.env.now = now;
	c.mover = (struct apmp_cpu_mover){
	    .tw = &w.tw, .cpu_count = WORLD_CPUS, .hwrpb = hwrpb, .life = life, .targets = targets};
	use(ALPHA);
	use(BETA);
}

static void teardown(void)
{
	world_fini(&w);
}

static void put_at(uint32_t id)
{
	apmp_update_begin(&w.up);
	apmp_tree_set_current_owner(&w.tw, w.cpu[1], c.partition[id].handle);
	apmp_update_commit(&w.up);
}

/* ALPHA fails, and its CPU is on its way to BETA. */
static void alpha_fails(void)
{
	console_failover_begin(&c.partition[ALPHA]);
	console_failover_tell(&c.partition[ALPHA]);
	put_at(BETA);
	world_fence(&w, ALPHA);
	console_failover_fenced(&c.partition[ALPHA]);
}

/* BETA dies before the CPU works there, when ALPHA is not there or runs again; and has the CPU, or
 * it went home.  shows: FAIL-03 */
START_TEST(target_dies)
{
	alpha_fails();
	ck_assert_uint_eq(started, 1);
	ck_assert_uint_eq(done, 0);
	if (_i & 1)
		(void)world_boot(&w, ALPHA);
	if (_i & 2)
		put_at(ALPHA);
	world_fence(&w, BETA);
	console_failover_fenced(&c.partition[BETA]);
	ck_assert_uint_eq(done, 1);
}
END_TEST

/* It is never started there.  shows: FAIL-03 */
START_TEST(fails_again)
{
	alpha_fails();
	(void)world_boot(&w, ALPHA);
	put_at(ALPHA);
	alpha_fails();
	ck_assert_uint_eq(started, 2);
	ck_assert_uint_eq(done, 1);
	console_failover_came(&c.partition[BETA], 1);
	ck_assert_uint_eq(done, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("failover told");
	TCase *tc = suite_case(suite, "failover told");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, target_dies, 0, 4);
	tcase_add_test(tc, fails_again);
	return suite_run(suite);
}
