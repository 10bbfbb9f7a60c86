/*
 * test_configure_random.c - random requests, valid and invalid, by eight partitions and the
 * administrator, against a model; lives begin and end in between.  After every one the tree is
 * consistent and as the model; what was refused left no trace; what was done is done wholly or not
 * at all when the console dies at a random store of it.
 *
 * APMP_SEED in the environment repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/sim/random.h"
#include "tests/unit/asking.h"
#include "tests/unit/estate_model.h"

#define REQUESTS 10000u
#define SEEDS	 4

struct attempt {
	struct apmp_call_request request;
	int32_t by;
};

static struct model model;
static struct sim_random chance;

static uint64_t below(uint64_t n)
{
	return sim_random_below(&chance, n);
}

static uint64_t some_owner(void)
{
	uint64_t r = below(24);

	if (r < 4)
		return (uint64_t)model.comm[r].handle; /* or nothing, or deleted */
	if (r == 4)
		return (uint64_t)model.component[below((uint64_t)model.components)].handle;
	if (r == 5)
		return below(UINT64_C(1) << 40);
	return (uint64_t)model.part[r < 22 ? r % ESTATE_PARTITIONS : 8 + r % 4].handle;
}

static uint64_t some_node(void)
{
	if (below(32) == 0)
		return some_owner();
	return (uint64_t)model.component[below((uint64_t)model.components)].handle;
}

static uint64_t some_address(void)
{
	if (below(64) == 0)
		return below(UINT64_C(1) << 40);
	return estate_pa(&e, (uint32_t)below(ESTATE_DESCS)) + below(17) * GRANULE;
}

static void some_request(struct apmp_call_request *r)
{
	static const uint8_t ops[] = {
	    APMP_CALL_CREATE_COMMUNITY, APMP_CALL_DELETE_COMMUNITY, APMP_CALL_CREATE_PARTITION,
	    APMP_CALL_DELETE_PARTITION, APMP_CALL_START_PARTITION,  APMP_CALL_SET_COMMUNITY,
	    APMP_CALL_SET_COMMUNITY,	APMP_CALL_LIMITS,	    APMP_CALL_SET_ID,
	    APMP_CALL_LOCK_TREE,	APMP_CALL_UNLOCK_TREE};
	static const uint8_t often[] = {APMP_CALL_ASSIGN, APMP_CALL_DEASSIGN, APMP_CALL_REASSIGN,
					APMP_CALL_ASSIGN_MEMORY, APMP_CALL_DEASSIGN_MEMORY};
	uint64_t flags = below(6) ? 0 : below(17);

	*r = (struct apmp_call_request){.op = below(4) ? often[below(sizeof(often))]
						       : ops[below(sizeof(ops))]};
	switch (r->op) {
	case APMP_CALL_ASSIGN_MEMORY:
		r->arg[0] = below(3) ? some_address() : 0;
		r->arg[1] = (below(64) ? (1 + below(5)) * GRANULE : below(UINT64_MAX));
		r->arg[2] = (some_owner() & UINT32_MAX) | flags << 32;
		break;
	case APMP_CALL_DEASSIGN_MEMORY:
		r->arg[0] = some_address();
		r->arg[1] = (1 + below(3)) * GRANULE;
		r->arg[2] = below(2);
		break;
	case APMP_CALL_LIMITS:
		r->arg[0] = below(12);
		break;
	case APMP_CALL_DEASSIGN:
		r->arg[0] = some_node();
		r->arg[1] = below(2);
		break;
	case APMP_CALL_ASSIGN:
	case APMP_CALL_REASSIGN:
		r->arg[0] = some_node();
		r->arg[1] = some_owner();
		break;
	case APMP_CALL_CREATE_PARTITION:
		r->arg[0] = below(2) ? some_owner() : 0;
		r->arg[1] = below(8) ? below(2) : 2;
		break;
	default:
		r->arg[0] = some_owner();
		r->arg[1] = below(2) ? some_owner() : 0;
		break;
	}
	(void)snprintf(r->text, sizeof(r->text), "%c", (char)((below(16) ? 'a' : 'A') + below(14)));
}

/* Whether it could be done as far as the owner of what it is about is concerned. */
static bool is_sensible(const struct apmp_call_request *r, int32_t by)
{
	const struct model_component *c = NULL;
	struct apmp_tree_fragment f = {0};
	int32_t owner;

	switch (r->op) {
	case APMP_CALL_LOCK_TREE:
		return below(4) == 0;
	case APMP_CALL_ASSIGN_MEMORY:
		return !r->arg[0] || (!apmp_tree_memory_at(&e.tw.tree, r->arg[0], &f) && !f.owner);
	case APMP_CALL_DEASSIGN_MEMORY:
		if (apmp_tree_memory_at(&e.tw.tree, r->arg[0], &f))
			return false;
		owner = f.owner;
		break;
	case APMP_CALL_ASSIGN:
	case APMP_CALL_DEASSIGN:
	case APMP_CALL_REASSIGN:
		for (int i = 0; i < model.components; i++)
			if ((uint64_t)model.component[i].handle == r->arg[0])
				c = &model.component[i];
		if (!c || r->op == APMP_CALL_ASSIGN)
			return c && !c->owner && !c->current;
		owner = c->owner;
		break;
	default:
		return true;
	}
	return owner && (by == APMP_ADMINISTRATOR || by == owner);
}

/* Any request, or more often one that may well be done. */
static void some_attempt(struct attempt *a)
{
	uint32_t tries = below(3) ? 30 : 1;

	do {
		a->by = below(3) ? model.part[below(ESTATE_PARTITIONS)].handle : ADMIN;
		some_request(&a->request);
	} while (--tries > 0 && !is_sensible(&a->request, a->by));
	if (model.holder >= 0 && below(4) == 0) { /* or all would be refused for long */
		a->by = model.part[model.holder].handle;
		a->request.op = APMP_CALL_UNLOCK_TREE;
	}
}

/* A life of a partition begins or ends. */
static void live(void)
{
	uint32_t id = (uint32_t)below(ESTATE_PARTITIONS);

	if (!model.part[id].exists)
		return;
	if (model.part[id].initialized) {
		estate_halt(&e, id);
		model_halt(&model, id);
	} else {
		e.part[id] = model.part[id].handle;
		estate_boot(&e, id);
		model_boot(&model, id);
	}
}

static void again(void *ctx)
{
	const struct attempt *a = ctx;
	struct apmp_configured ignored;
	int err = apmp_configure(&e.tw, &a->request, a->by, &ignored);

	ck_assert_int_eq(err, 0);
	if (apmp_update_open(&e.up))
		apmp_update_commit_quietly(&e.up);
}

/* What was done, undone and done again with a console that dies on the way. */
static void die_on_the_way(struct attempt *a, const struct estate_image *saved,
			   const struct estate_image *before)
{
	struct estate_image *after = estate_image(&e), *done = estate_save(&e);

	estate_restore(&e, saved);
	(void)estate_run(&e, again, a, 0, NULL, NULL);
	if (e.points) {
		uint64_t at = 1 + below(e.points);

		estate_restore(&e, saved);
		ck_assert(estate_run(&e, again, a, at, before, after));
	}
	estate_restore(&e, done);
	free(after);
	free(done);
}

/* How many were done. */
static uint32_t ask_at_random(uint32_t requests)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < requests; i++) {
		struct estate_image *saved, *before;
		enum apmp_reason reason;
		struct attempt a;
		bool should;

		if (below(8) == 0)
			live();
		some_attempt(&a);
		saved = estate_save(&e);
		before = estate_image(&e);
		reason = estate_ask(&e, a.by, a.request.op, a.request.arg[0], a.request.arg[1],
				    a.request.arg[2], a.request.text, &got);
		should = model_ask(&model, a.by, &a.request, &got);
		ck_assert_msg(
		    should == !reason, "request %u: op %u by %d, %llx %llx %llx: %s, should be %s",
		    i, a.request.op, a.by, (unsigned long long)a.request.arg[0],
		    (unsigned long long)a.request.arg[1], (unsigned long long)a.request.arg[2],
		    reason ? apmp_reason_info(reason)->name : "done", should ? "done" : "refused");
		model_compare(&model);
		if (!reason) {
			done++;
			if (below(2))
				die_on_the_way(&a, saved, before);
		}
		free(saved);
		free(before);
	}
	return done;
}

/* shows: TREE-06, TREE-09, TREE-10, TREE-11, TREE-18, TREE-19, TREE-22 */
START_TEST(random_requests)
{
	const char *seed = getenv("APMP_SEED");
	uint32_t done;

	chance.state = seed ? strtoull(seed, NULL, 0) : (uint64_t)_i + 1;
	printf("seed %llu\n", (unsigned long long)chance.state);
	model_init(&model, &e);
	done = ask_at_random(REQUESTS / SEEDS);
	/* Enough of both kinds to mean something. */
	ck_assert_msg(done > REQUESTS / SEEDS / 10 && done < REQUESTS / SEEDS / 2,
		      "%u requests of %u were done", done, REQUESTS / SEEDS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("configure_random");
	TCase *tc = asking_case(suite, "random");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, random_requests, 0, SEEDS);
	return suite_run(suite);
}
