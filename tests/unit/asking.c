/* asking.c - requests to the configuration, and what the tree says afterwards. */
#include "tests/unit/asking.h"

#include "shm/shared.h"

struct estate e;
struct apmp_configured got;

static void setup(void)
{
	estate_init(&e, 16);
}

static void teardown(void)
{
	estate_fini(&e);
}

TCase *asking_case(Suite *suite, const char *name)
{
	TCase *tc = suite_case(suite, name);

	tcase_add_checked_fixture(tc, setup, teardown);
	return tc;
}

void ask(enum apmp_reason want, int32_t about, int32_t by, uint32_t op, uint64_t arg0,
	 uint64_t arg1, uint64_t arg2)
{
	enum apmp_reason reason = estate_ask(&e, by, op, arg0, arg1, arg2, NULL, &got);

	ck_assert_msg(reason == want, "%s instead of %s",
		      reason ? apmp_reason_info(reason)->name : "done",
		      want ? apmp_reason_info(want)->name : "done");
	if (want)
		ck_assert_msg(got.about == about, "%s about %d, not %d",
			      apmp_reason_info(want)->name, got.about, about);
}

void assign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, int32_t owner)
{
	ask(want, about, by, APMP_CALL_ASSIGN, (uint64_t)node, (uint64_t)owner, 0);
}

void deassign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, bool given_up)
{
	ask(want, about, by, APMP_CALL_DEASSIGN, (uint64_t)node, given_up, 0);
}

void reassign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, int32_t owner)
{
	ask(want, about, by, APMP_CALL_REASSIGN, (uint64_t)node, (uint64_t)owner, 0);
}

uint64_t wanted(int32_t owner, uint32_t flags)
{
	return (uint64_t)(uint32_t)owner | (uint64_t)flags << 32;
}

uint64_t take(enum apmp_reason want, int32_t about, int32_t by, uint64_t pa, uint64_t granules,
	      int32_t owner, uint32_t flags)
{
	ask(want, about, by, APMP_CALL_ASSIGN_MEMORY, pa, granules * GRANULE, wanted(owner, flags));
	return got.ret[0];
}

void leave(enum apmp_reason want, int32_t about, int32_t by, uint64_t pa, uint64_t granules,
	   bool given_up)
{
	ask(want, about, by, APMP_CALL_DEASSIGN_MEMORY, pa, granules * GRANULE, given_up);
}

enum apmp_reason named(int32_t by, uint32_t op, uint64_t arg0, uint64_t arg1, const char *text)
{
	return estate_ask(&e, by, op, arg0, arg1, 0, text, &got);
}

void has(int32_t handle, int32_t owner, int32_t current)
{
	ck_assert_int_eq(estate_node(&e, handle).owner, owner);
	ck_assert_int_eq(estate_node(&e, handle).current_owner, current);
}

void has_memory(uint64_t pa, uint64_t granules, int32_t owner, int32_t current)
{
	struct apmp_tree_fragment f = estate_fragment(&e, pa);

	ck_assert_uint_eq(f.pa, pa);
	ck_assert_uint_eq(f.size, granules * GRANULE);
	ck_assert_int_eq(f.owner, owner);
	ck_assert_int_eq(f.current_owner, current);
}

struct gct_root_node *root(void)
{
	return (void *)e.tw.root;
}

void boot(uint32_t id)
{
	estate_boot(&e, id);
}

void set_flag(int32_t node, uint64_t flag)
{
	apmp_update_begin(&e.up);
	apmp_tree_set_flags(&e.tw, node, 0, flag);
	apmp_update_commit_quietly(&e.up);
}
