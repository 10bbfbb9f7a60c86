/*
 * decide.c - whether a balancer gives a CPU away, and to whom.
 *
 * WHAT      The least busy member gives to the most busy one, of those between which a CPU can go
 *           at all: by type and revision.  Each balancer decides for its own partition by the same
 *           figures, so one of them at a time finds that it is its turn.
 *           Nothing goes back and forth: a CPU goes only if the receiver stays the busier of the
 *           two by the margin when it has it; and several looks in a row must say the same, so
 *           that a short burst moves nothing and what was moved is seen before the next decision.
 */
#include "instance/balance/decide.h"

double balance_pressure(const struct apmp_app_load *load)
{
	return (double)load->depth / (load->cpu_count ? load->cpu_count : 1);
}

/* Of two that are as busy the one with more CPUs is the less busy, then the one with the lower id:
 * all balancers agree. */
static bool is_busier(const struct apmp_app_load *a, const struct apmp_app_load *b)
{
	double pa = balance_pressure(a), pb = balance_pressure(b);

	if (pa > pb || pa < pb)
		return pa > pb;
	if (a->cpu_count != b->cpu_count)
		return a->cpu_count < b->cpu_count;
	return a->partition.id > b->partition.id;
}

static bool is_worth_it(const struct balance *b, const struct apmp_app_load *from,
			const struct apmp_app_load *to)
{
	return from->cpu_count > 1 && (double)from->depth / (from->cpu_count - 1) + b->margin <=
					  (double)to->depth / (to->cpu_count + 1);
}

/* Whether some CPU of one can run with the other [0235]. */
static bool can_give(const struct apmp_app_load *from, const struct apmp_app_load *to)
{
	const uint64_t *has = from->active.word, *can = to->potential.word;

	return (has[0] & can[0]) | (has[1] & can[1]) | (has[2] & can[2]) | (has[3] & can[3]);
}

/* The least busy of those that could give it one; who has one CPU has none to give.  -1: nobody. */
static int giver_for(const struct apmp_app_load *load, int count, int to)
{
	int least = -1;

	for (int i = 0; i < count; i++)
		if (i != to && load[i].cpu_count > 1 && can_give(&load[i], &load[to]) &&
		    (least < 0 || is_busier(&load[least], &load[i])))
			least = i;
	return least;
}

static bool is_same(const struct apmp_app_partition *a, const struct apmp_app_partition *b)
{
	return a->id == b->id && a->incarnation == b->incarnation;
}

int balance_look(struct balance *b, const struct apmp_app_load *load, int count)
{
	int least = -1, most = -1;

	for (int i = 0; i < count; i++) {
		int giver = giver_for(load, count, i);

		if (giver >= 0 && (most < 0 || is_busier(&load[i], &load[most]))) {
			most = i;
			least = giver;
		}
	}
	if (most < 0 || !load[least].self || !is_worth_it(b, &load[least], &load[most])) {
		b->seen = 0;
		return -1;
	}
	if (!b->seen || !is_same(&b->busiest, &load[most].partition))
		b->seen = 0;
	b->busiest = load[most].partition;
	if (++b->seen < b->looks)
		return -1;
	b->seen = 0;
	return most;
}
