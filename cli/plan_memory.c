/*
 * plan_memory.c - whose memory is how large.
 *
 * WHAT      For each partition and community: what it must give because its descriptor leaves the
 *           box, piece by piece; then what it has too much, its last pieces, which the console
 *           chooses; at the end what it lacks. A partition that leaves its community gives all it
 *           has: the descriptors stay the community's [0096].
 * LIMITS    Where memory lies is the console's choice. A descriptor serves one community or one
 *           partition outside of any [0193], so a step can find no place although enough is free.
 */
#include <stdlib.h>

#include "cli/plan_internal.h"

/* An owner of memory: a partition (private), or a community (shared). */
struct owner {
	const char *name;
	bool shared;
	json_int_t has, gone, wants; /* gone: with its descriptors, or all of it */
	bool all;		     /* it gives all it has */
};

static struct owner owner_of(const struct plan *plan, const char *name, bool shared)
{
	struct owner o = {.name = name, .shared = shared};

	for (size_t i = 0; i < plan->now->piece_count; i++) {
		const struct plan_piece *piece = &plan->now->pieces[i];

		if (piece->shared != shared || !plan_same(piece->owner, name))
			continue;
		o.has += piece->size;
		if (plan->memory_goes[piece->memory])
			o.gone += piece->size;
	}
	return o;
}

static struct owner partition_memory(struct plan *plan, const char *name)
{
	const struct plan_partition *want = plan_find_partition(plan->want, name);
	const struct plan_fate *fate = plan_fate(plan, name);
	struct owner o = owner_of(plan, name, false);

	o.wants = want ? want->memory : 0;
	/* Into a community from none it takes along what it has. */
	o.all = fate && fate->moves && fate->now->community;
	if (o.all)
		o.gone = o.has;
	return o;
}

static struct owner community_memory(struct plan *plan, const char *name)
{
	const struct plan_community *want = plan_find_community(plan->want, name);
	struct owner o = owner_of(plan, name, true);

	o.wants = want ? want->shared : 0;
	return o;
}

static json_int_t too_much(const struct owner *o)
{
	json_int_t left = o->has - o->gone;

	return left > o->wants ? left - o->wants : 0;
}

/* ---- who is halted ---- */

static char *leaves(const struct owner *o)
{
	char *size = cli_size_text((unsigned long long)(o->gone + too_much(o)));
	char *text = o->shared ? cli_text("%s of shared memory leave %s", size, o->name)
			       : cli_text("%s of memory leave it", size);

	free(size);
	return text;
}

void plan_memory_decide(struct plan *plan)
{
	const struct plan_side *now = plan->now;

	for (size_t i = 0; i < now->partition_count; i++) {
		struct owner o = partition_memory(plan, now->partitions[i].name);

		if (plan->fates[i].want && o.gone + too_much(&o) > 0)
			plan_halt(plan, o.name, leaves(&o));
	}
	for (size_t i = 0; i < now->community_count; i++) {
		struct owner o = community_memory(plan, now->communities[i].name);

		if (!plan_find_community(plan->want, o.name) || o.gone + too_much(&o) == 0)
			continue;
		for (size_t k = 0; k < now->partition_count; k++)
			if (plan_same(now->partitions[k].community, o.name))
				plan_halt(plan, now->partitions[k].name, leaves(&o));
	}
}

/* ---- steps ---- */

static void release(struct plan *plan, const char *from, json_int_t size, json_int_t pa)
{
	json_t *parameters = json_pack("{s:I, s:s}", "size", size, "from", from);
	char *text = cli_size_text((unsigned long long)size);
	char *at = pa ? cli_text(" --at %#llx", (long long)pa) : cli_text("%s", "");

	if (pa)
		json_object_set_new(parameters, "pa", json_integer(pa));
	if (size > 0)
		plan_step(plan, "MemoryDeassign", json_incref(parameters),
			  "memory remove %s --from %s%s", text, from, at);
	json_decref(parameters);
	free(text);
	free(at);
}

static void release_owner(struct plan *plan, const struct owner *o)
{
	const struct plan_side *now = plan->now;

	for (size_t i = 0; i < now->piece_count && !o->all; i++)
		if (now->pieces[i].shared == o->shared &&
		    plan_same(now->pieces[i].owner, o->name) &&
		    plan->memory_goes[now->pieces[i].memory])
			release(plan, o->name, now->pieces[i].size, now->pieces[i].pa);
	release(plan, o->name, o->all ? o->has : too_much(o), 0);
}

/* What is deleted lets go of its memory by itself. */
void plan_memory_release(struct plan *plan)
{
	const struct plan_side *now = plan->now;

	for (size_t i = 0; i < now->partition_count; i++) {
		struct owner o = partition_memory(plan, now->partitions[i].name);

		if (plan->fates[i].want)
			release_owner(plan, &o);
	}
	for (size_t i = 0; i < now->community_count; i++) {
		struct owner o = community_memory(plan, now->communities[i].name);

		if (plan_find_community(plan->want, o.name))
			release_owner(plan, &o);
	}
}

static void assign(struct plan *plan, const struct owner *o)
{
	json_int_t missing = o->wants - (o->has - o->gone);
	char *size;

	if (missing <= 0)
		return;
	size = cli_size_text((unsigned long long)missing);
	plan_step(plan, "MemoryAssign", json_pack("{s:I, s:s}", "size", missing, "to", o->name),
		  "memory assign %s --to %s", size, o->name);
	free(size);
}

/* As the machine is formed: communities first, since a descriptor that is shared, or split, is
 * theirs. */
void plan_memory_assign(struct plan *plan)
{
	for (size_t i = 0; i < plan->want->community_count; i++) {
		struct owner o = community_memory(plan, plan->want->communities[i].name);

		assign(plan, &o);
	}
	for (size_t i = 0; i < plan->want->partition_count; i++) {
		struct owner o = partition_memory(plan, plan->want->partitions[i].name);

		assign(plan, &o);
	}
}
