/*
 * failover.c - the CPUs of a partition that fails, until the last of them works at its target.
 *
 * WHAT      shm/cpu_move.c moves them, at the fence all that are left; here is what is told of it:
 *           failover.started with the CPUs that have somewhere to go, failover.done when each of
 *           them works, or waits in console mode, somewhere else.
 * STATES    none -> begun (`waiting`: CPUs that have not come yet) -> done.  A CPU that in the end
 *           goes nowhere is waited for until its partition is fenced; one that gets no further,
 *           until who has it ends, or its partition fails again.
 * CRASHES   The next console takes up what state->source says: CPUs of a fenced life that are
 *           still to come.  It does not know when that began, or what had come.
 */
#include "console/failover.h"

#include <string.h>

#include "shm/shared.h"

static json_t *numbers(const struct console *c, const struct apmp_cpu_bits *bits)
{
	json_t *list = json_array();

	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		if (apmp_cpu_bits_test(bits, cpu))
			json_array_append_new(list, json_integer(cpu));
	return list;
}

static bool is_empty(const struct apmp_cpu_bits *bits)
{
	static const struct apmp_cpu_bits none;

	return memcmp(bits, &none, sizeof(none)) == 0;
}

/* The partition that uses a CPU; NULL: nobody. */
static struct partition *user_of(struct console *c, uint32_t cpu_idx)
{
	struct apmp_tree_node cpu;

	return apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu)
		   ? NULL
		   : console_partition_of(c, cpu.current_owner);
}

static void finish(struct partition *p)
{
	struct failover *f = &p->failover;
	struct console *c = p->console;
	json_int_t elapsed = (json_int_t)(c->env.now(&c->env) - f->begin_ns);
	uint64_t told = UINT64_C(0);
	json_t *to = json_array();

	console_failover_tell(p); /* its beginning, if nobody has heard of that */
	f->active = false;
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++) {
		struct partition *at = apmp_cpu_bits_test(&f->came, cpu) ? user_of(c, cpu) : NULL;

		if (at && !(told >> at->id & 1))
			json_array_append_new(to, json_string(at->name));
		told |= at ? UINT64_C(1) << at->id : 0;
	}
	console_event(c, "failover.done", p, "{s:o,s:o,s:I}", "cpus", numbers(c, &f->came), "to",
		      to, "elapsed_ns", elapsed);
}

void console_failover_begin(struct partition *p)
{
	struct failover *f = &p->failover;
	struct console *c = p->console;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	if (f->active && f->life == console_identity(p))
		return;
	if (f->active) /* of a life before, and what it waits for has not worked since */
		finish(p);
	*f = (struct failover){
	    .active = true, .life = console_identity(p), .begin_ns = c->env.now(&c->env)};
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		if (n.current_owner == p->handle && n.id < c->cpu_count &&
		    apmp_cpu_fails_over(&c->mover, p->id, (uint32_t)n.id))
			apmp_cpu_bits_set(&f->waiting, (uint32_t)n.id);
	f->planned = f->waiting;
	f->active = !is_empty(&f->planned);
}

void console_failover_tell(struct partition *p)
{
	struct failover *f = &p->failover;

	if (!f->active || f->told)
		return;
	f->told = true;
	console_event(p->console, "failover.started", p, "{s:o}", "cpus",
		      numbers(p->console, &f->planned));
}

/* What no longer comes: it is back, at one that is dead, or nobody's. */
static void drop(struct partition *p)
{
	struct failover *f = &p->failover;

	for (uint32_t cpu = 0; cpu < p->console->cpu_count; cpu++) {
		const struct partition *at =
		    apmp_cpu_bits_test(&f->waiting, cpu) ? user_of(p->console, cpu) : NULL;

		if (!at || at == p || !console_identity(at))
			apmp_cpu_bits_clear(&f->waiting, cpu);
	}
	if (is_empty(&f->waiting))
		finish(p);
}

void console_failover_fenced(struct partition *dead)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct partition *p = &dead->console->partition[id];

		/* Of a life that is not over, CPUs may be on their way. */
		if (p->exists && p->failover.active && p->failover.life != console_identity(p))
			drop(p);
	}
}

void console_failover_came(struct partition *at, uint32_t cpu_idx)
{
	struct console *c = at->console;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct failover *f = &c->partition[id].failover;

		if (&c->partition[id] == at || !f->active ||
		    !apmp_cpu_bits_test(&f->waiting, cpu_idx))
			continue;
		apmp_cpu_bits_clear(&f->waiting, cpu_idx);
		apmp_cpu_bits_set(&f->came, cpu_idx);
		if (is_empty(&f->waiting))
			finish(&c->partition[id]);
	}
}

void console_failover_resume(struct console *c)
{
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++) {
		uint64_t from = apmp_load_relaxed(&c->state->source[cpu]);
		uint32_t id = apmp_identity_id(from);
		struct failover *f;

		if (id == APMP_NO_PARTITION || !c->partition[id].exists ||
		    apmp_tree_alive(&c->tw.tree, from))
			continue;
		f = &c->partition[id].failover;
		if (!f->active)
			*f = (struct failover){
			    .active = true, .life = from, .begin_ns = c->env.now(&c->env)};
		f->told = true; /* or nobody will hear of it */
		apmp_cpu_bits_set(&f->planned, cpu);
		apmp_cpu_bits_set(&f->waiting, cpu);
	}
}
