/*
 * capacity.c - how much of the host each partition's CPUs stand for, told to the box.
 *
 * WHAT      A CPU's capacity is that of its host CPU, divided by the CPUs of the machine that stand
 *           there; a partition's is the sum over those it has now.  The box keeps programs to it.
 * ORDERING  Never on the path of a migration: whoever changes the tree, the loop notices before it
 *           sleeps, and CAPACITY_MS later posts what differs from what the box has.  So a storm of
 *           migrations costs one look at the tree in that time, and a request for each partition
 *           that is richer or poorer than before.  The box does nothing for a partition without
 *           programs (apmpd/cpuset_quota.c); only it knows all of them.
 * CRASHES   A new console tells all of them anew with their host CPUs.
 * LIMITS    One request is under way for a partition; what changes meanwhile follows it.  What is
 *           refused is said once, and asked again with the next change of the tree.
 */
#include <stdio.h>
#include <string.h>

#include "console/console.h"
#include "shm/assert.h"

/* Half a period of the quota: sooner would not be felt. */
#define CAPACITY_MS 5u

#define WHOLE 1000u /* one host CPU */

struct standing {
	uint32_t count;
	uint32_t host_cpu[APMP_MAX_CPUS];
	int32_t user[APMP_MAX_CPUS];
	uint16_t on[1024]; /* how many stand on this host CPU */
};

static void find_standing(const struct console *c, struct standing *ret)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	memset(ret, 0, sizeof(*ret));
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0) {
		uint32_t host = n.id < APMP_MAX_CPUS ? c->host_cpu[n.id] : UINT32_MAX;

		if (n.flags & NODE_UNAVAILABLE || host >= 1024 || ret->count == APMP_MAX_CPUS)
			continue;
		ret->host_cpu[ret->count] = host;
		ret->user[ret->count++] = n.current_owner;
		ret->on[host]++;
	}
}

/* In 1/1000 host CPU, rounded. */
static uint32_t capacity_of(const struct standing *standing, const struct partition *p)
{
	uint64_t millionths = 0;

	for (uint32_t i = 0; i < standing->count; i++)
		if (standing->user[i] == p->handle)
			millionths += 1000 * WHOLE / standing->on[standing->host_cpu[i]];
	return (uint32_t)((millionths + 500) / 1000);
}

/* What the box is to be told: 0 where no CPU of another one stands on its host CPUs. */
static uint32_t limit_of(const struct standing *standing, const struct partition *p)
{
	uint32_t capacity = capacity_of(standing, p), whole = 0;
	uint64_t seen[1024 / 64] = {0};

	for (uint32_t i = 0; i < standing->count; i++) {
		uint32_t host = standing->host_cpu[i];

		if (standing->user[i] != p->handle || seen[host / 64] >> host % 64 & 1)
			continue;
		seen[host / 64] |= UINT64_C(1) << host % 64;
		whole += WHOLE;
	}
	return capacity == whole ? 0 : capacity;
}

bool console_capacities(const struct console *c, uint32_t ret[APMP_MAX_PARTITIONS])
{
	struct standing standing;
	bool shared = false;

	find_standing(c, &standing);
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		const struct partition *p = &c->partition[i];

		ret[i] = p->exists ? capacity_of(&standing, p) : 0;
		shared |= p->exists && limit_of(&standing, p);
	}
	return shared;
}

uint32_t console_capacity_renew(struct partition *p)
{
	struct standing standing;

	find_standing(p->console, &standing);
	p->capacity = limit_of(&standing, p);
	p->capacity_told = true;
	return p->capacity;
}

static void due(struct console *c);

static void on_told(void *ctx, const struct apmp_box_event *event)
{
	struct partition *p = ctx;

	p->capacity_posted = false;
	if (event->error && !p->capacity_refused)
		fprintf(stderr, "apmp-console: capacity of partition %s: %s\n", p->name,
			event->text);
	p->capacity_refused = event->error;
	if (event->error)
		p->capacity_told = false;
	else
		due(p->console); /* it may have changed meanwhile */
}

static void tell(struct partition *p, uint32_t limit)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_CPUSET, .id = p->id, .arg = {limit}};

	memcpy(request.cpus, p->host_cpus, sizeof(request.cpus));
	snprintf(request.text, sizeof(request.text), "%s", p->name);
	p->capacity = limit;
	p->capacity_told = p->capacity_posted = true;
	box_link_post(&p->console->box, &request, on_told, p);
}

static bool has_cpuset(const struct partition *p)
{
	for (size_t i = 0; i < sizeof(p->host_cpus) / sizeof(p->host_cpus[0]); i++)
		if (p->host_cpus[i])
			return true;
	return false;
}

static void on_due(uv_timer_t *timer)
{
	struct console *c = timer->data;
	struct standing standing;

	find_standing(c, &standing);
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];
		uint32_t limit;

		if (!p->exists || !p->pid || p->fencing || p->capacity_posted || !has_cpuset(p))
			continue;
		limit = limit_of(&standing, p);
		if (!p->capacity_told || limit != p->capacity)
			tell(p, limit);
	}
}

static void due(struct console *c)
{
	if (!uv_is_active((uv_handle_t *)&c->capacity_timer))
		uv_timer_start(&c->capacity_timer, on_due, CAPACITY_MS, 0);
}

/* Whether the tree has changed since the last time. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct console *c = prepare->data;
	uint64_t level;

	if (apmp_tree_level(&c->tw.tree, &level) || level == c->capacity_level)
		return;
	c->capacity_level = level;
	due(c);
}

void console_capacity_serve(struct console *c)
{
	apmp_assert(uv_timer_init(&c->loop, &c->capacity_timer) == 0 &&
		    uv_prepare_init(&c->loop, &c->capacity_prepare) == 0);
	c->capacity_timer.data = c->capacity_prepare.data = c;
	apmp_assert(uv_prepare_start(&c->capacity_prepare, on_prepare) == 0);
}
