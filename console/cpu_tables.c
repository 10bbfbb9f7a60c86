/*
 * cpu_tables.c - failover targets and the autostart set of each partition.
 *
 * WHAT      state->partition[].failover and no_autostart are the truth, written in updates; the
 *           HWRPB of each life has a copy, for the instance: Fig. 25.  Empty words say what holds
 *           for a partition that nobody has told anything: CPUs stay, and all start by themselves.
 * CRASHES   A copy that a dead console had not made is made by the next one, which also takes out
 *           what a deletion has left in the tables: single words, each right as it stands.
 */
#include "console/cpu_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/operator.h"
#include "shm/shared.h"

#define WORDS (APMP_MAX_CPUS / 64u)
/* So many CPUs are told of a change: an event is short. */
#define TOLD_MAX 16u

static struct apmp_console_partition *kept(struct console *c, uint32_t id)
{
	return &c->state->partition[id];
}

/* The partition that byte k of a CPU's targets names; NULL: it is the end of them. */
static struct partition *target_at(struct console *c, uint64_t targets, uint32_t k)
{
	uint32_t id = (uint32_t)(targets >> 8 * k & 0xff) - 1;

	return k < HWRPB_TARGETS && id < APMP_MAX_PARTITIONS ? &c->partition[id] : NULL;
}

/* ---- as JSON ---- */

static uint32_t id_of(struct console *c, const char *name)
{
	struct apmp_tree_partition p;

	for (uint32_t id = 0; name && id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_partition(&c->tw.tree, id, &p) == 0 && strcmp(p.name, name) == 0)
			return id;
	return APMP_NO_PARTITION;
}

/* One name, or a list of them. */
static uint64_t targets_of_json(struct console *c, const json_t *names)
{
	size_t count = json_is_array(names) ? json_array_size(names) : 1;
	uint64_t targets = 0;
	uint32_t k = 0;

	for (size_t i = 0; i < count && k < HWRPB_TARGETS; i++) {
		const json_t *name = json_is_array(names) ? json_array_get(names, i) : names;
		uint32_t id = id_of(c, json_string_value(name));

		if (id != APMP_NO_PARTITION)
			targets |= (uint64_t)(id + 1) << 8 * k++;
	}
	return targets;
}

void console_tables_read(struct console *c, uint32_t id, const json_t *partition)
{
	const json_t *failover = json_object_get(partition, "failover"), *names, *cpu;
	const json_t *autostart = json_object_get(partition, "autostart");
	uint64_t all = targets_of_json(c, json_object_get(failover, "*")), set[WORDS] = {0};
	char key[8];
	size_t i;

	for (uint32_t idx = 0; idx < APMP_MAX_CPUS; idx++) {
		snprintf(key, sizeof(key), "%u", idx);
		names = json_object_get(failover, key);
		apmp_store_relaxed(&kept(c, id)->failover[idx],
				   names ? targets_of_json(c, names) : all);
	}
	json_array_foreach(autostart, i, cpu)
	{
		uint64_t idx = (uint64_t)json_integer_value(cpu);

		if (idx < APMP_MAX_CPUS)
			set[idx / 64] |= UINT64_C(1) << idx % 64;
	}
	for (uint32_t w = 0; w < WORDS; w++)
		apmp_store_relaxed(&kept(c, id)->no_autostart[w],
				   json_is_array(autostart) ? ~set[w] : 0);
}

static json_t *targets_json(struct console *c, uint64_t targets)
{
	json_t *list = json_array();
	const struct partition *to;

	for (uint32_t k = 0; (to = target_at(c, targets, k)); k++)
		json_array_append_new(list, json_string(to->name));
	return list;
}

json_t *console_failover_json(struct console *c, uint32_t id)
{
	const _Atomic uint64_t *failover = kept(c, id)->failover;
	json_t *object = json_object();
	uint64_t all = 0;
	char key[8];

	if (c->cpu_count < APMP_MAX_CPUS) /* the last one is not there: named by nobody */
		all = apmp_load_relaxed(&failover[APMP_MAX_CPUS - 1]);
	if (all)
		json_object_set_new(object, "*", targets_json(c, all));
	for (uint32_t idx = 0; idx < APMP_MAX_CPUS; idx++) {
		uint64_t targets = apmp_load_relaxed(&failover[idx]);

		snprintf(key, sizeof(key), "%u", idx);
		if (targets != all)
			json_object_set_new(object, key, targets_json(c, targets));
	}
	return object;
}

bool console_starts_itself(struct console *c, uint32_t id, uint32_t cpu_idx)
{
	return !(apmp_load_relaxed(&kept(c, id)->no_autostart[cpu_idx / 64]) >> cpu_idx % 64 & 1);
}

json_t *console_autostart_json(struct console *c, uint32_t id)
{
	json_t *list = json_array();
	bool all = true;

	for (uint32_t idx = 0; idx < APMP_MAX_CPUS; idx++) {
		all &= console_starts_itself(c, id, idx);
		if (console_starts_itself(c, id, idx))
			json_array_append_new(list, json_integer(idx));
	}
	if (!all)
		return list;
	json_decref(list);
	return json_string("all");
}

void console_add_tables(struct console *c, uint32_t id, json_t *partition)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < c->cpu_count; i++)
		if (console_starts_itself(c, id, i))
			json_array_append_new(list, json_integer(i));
	json_object_set_new(partition, "autostart", list);
	json_object_set_new(partition, "failover", console_failover_json(c, id));
}

void console_cpu_rules(struct console *c, uint32_t id, uint32_t cpu_idx, json_t *cpu)
{
	uint64_t targets = apmp_load_relaxed(&kept(c, id)->failover[cpu_idx]);

	json_object_set_new(cpu, "autostart", json_boolean(console_starts_itself(c, id, cpu_idx)));
	json_object_set_new(cpu, "failover", targets_json(c, targets));
}

/* ---- what is gone ---- */

static uint64_t scrubbed(struct console *c, const struct apmp_tree_partition *self,
			 uint64_t targets)
{
	uint64_t left = 0;
	uint32_t count = 0;

	for (uint32_t k = 0; k < HWRPB_TARGETS && targets >> 8 * k & 0xff; k++) {
		uint64_t byte = targets >> 8 * k & 0xff;
		struct apmp_tree_partition to;

		if (apmp_tree_partition(&c->tw.tree, (uint32_t)byte - 1, &to) == 0 &&
		    (to.id == self->id || (self->community && to.community == self->community)))
			left |= byte << 8 * count++;
	}
	return left;
}

void console_tables_scrub(struct console *c)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct apmp_console_partition *mine = kept(c, id);
		struct apmp_tree_partition self;
		bool exists = apmp_tree_partition(&c->tw.tree, id, &self) == 0;

		for (uint32_t idx = 0; idx < APMP_MAX_CPUS; idx++) {
			uint64_t targets = apmp_load_relaxed(&mine->failover[idx]);

			if (targets)
				apmp_store_relaxed(&mine->failover[idx],
						   exists ? scrubbed(c, &self, targets) : 0);
		}
		for (uint32_t w = 0; w < WORDS && !exists; w++)
			apmp_store_relaxed(&mine->no_autostart[w], 0);
		if (c->partition[id].exists && console_identity(&c->partition[id]))
			apmp_hwrpb_set_tables(c->partition[id].hwrpb, mine);
	}
}

/* ---- the operator's changes ---- */

/* CPUs by number, or without a list all; false after answering. */
static bool wanted_cpus(struct console *c, struct varlink_call *call, const json_t *parameters,
			struct apmp_cpu_bits *ret)
{
	const json_t *list = json_object_get(parameters, "cpus"), *cpu;
	size_t i;

	memset(ret, json_is_array(list) ? 0 : 0xff, sizeof(*ret));
	json_array_foreach(list, i, cpu)
	{
		json_int_t idx = json_integer_value(cpu);
		struct apmp_tree_node n;

		if (idx < 0 || idx >= (json_int_t)APMP_MAX_CPUS ||
		    apmp_tree_cpu(&c->tw.tree, (uint32_t)idx, &n)) {
			varlink_call_error(call, "NoSuchCpu", json_pack("{s:I}", "cpu", idx));
			return false;
		}
		apmp_cpu_bits_set(ret, (uint32_t)idx);
	}
	return true;
}

/* Whether the CPUs of one may go to the other; false after answering. */
static bool may_be_target(struct console *c, struct varlink_call *call, const struct partition *p,
			  const struct partition *to)
{
	struct apmp_tree_partition mine = {0}, its = {0};
	char reason[256];

	if (p == to || (apmp_tree_partition(&c->tw.tree, p->id, &mine) == 0 && mine.community &&
			apmp_tree_partition(&c->tw.tree, to->id, &its) == 0 &&
			its.community == mine.community))
		return true;
	snprintf(reason, sizeof(reason),
		 "partition \"%s\" can't be a failover target of \"%s\": only partitions of one "
		 "community trade CPUs; `apmp community add` brings them together",
		 to->name, p->name);
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
	return false;
}

/* The names as targets, each once; false after answering. */
static bool wanted_targets(struct console *c, struct varlink_call *call, const json_t *parameters,
			   const struct partition *p, uint64_t *ret)
{
	const json_t *list = json_object_get(parameters, "targets"), *name;
	uint64_t seen = 0;
	uint32_t count = 0;
	size_t i;

	*ret = 0;
	json_array_foreach(list, i, name)
	{
		const struct partition *to = console_partition(c, json_string_value(name));

		if (!to) {
			varlink_call_error(call, "NoSuchPartition",
					   json_pack("{s:O}", "partition", name));
			return false;
		}
		if (seen >> to->id & 1)
			continue; /* it comes before */
		if (!may_be_target(c, call, p, to))
			return false;
		if (count == HWRPB_TARGETS) {
			varlink_call_error(
			    call, "Refused",
			    json_pack("{s:s}", "reason", "a CPU has at most 8 failover targets"));
			return false;
		}
		seen |= UINT64_C(1) << to->id;
		*ret |= (uint64_t)(to->id + 1) << 8 * count++;
	}
	return true;
}

/* Begins the change; false after answering that the tree is locked. */
static bool begin(struct console *c, struct varlink_call *call)
{
	struct apmp_configured why;

	if (console_tree_locked(c, &why)) {
		console_refused(c, call, &why, -EAGAIN);
		return false;
	}
	apmp_update_begin(&c->update);
	return true;
}

/* Those of the machine's CPUs that are in the set. */
static json_t *cpus_json(struct console *c, const struct apmp_cpu_bits *cpus)
{
	json_t *list = json_array();
	struct apmp_tree_node n;

	for (uint32_t idx = 0; idx < c->cpu_count; idx++)
		if (apmp_cpu_bits_test(cpus, idx) && apmp_tree_cpu(&c->tw.tree, idx, &n) == 0)
			json_array_append_new(list, json_integer(idx));
	return list;
}

/* What an event has room for: "all", "none", or the list; NULL: that is too long. */
static json_t *told(const json_t *parameters, json_t *list)
{
	size_t count = json_array_size(list);

	if (!json_is_array(json_object_get(parameters, "cpus")))
		return json_string("all");
	if (!count)
		return json_string("none");
	return count <= TOLD_MAX ? json_incref(list) : NULL;
}

/* The copy stands when the commit interrupts: a life that ends meanwhile has no use for it.
 * cpus, to and answer are stolen; of what was changed cpus and to are told, unless NULL. */
static void end(struct console *c, struct varlink_call *call, const struct partition *p,
		const char *change, json_t *cpus, json_t *to, json_t *answer)
{
	console_permanent(c);
	if (console_identity(p))
		apmp_hwrpb_set_tables(p->hwrpb, kept(c, p->id));
	apmp_update_commit(&c->update);
	console_event(c, "tree.changed", NULL, "{s:s,s:s++,s:s,s:o*,s:o*}", "change", change,
		      "what", "partition \"", p->name, "\"", "by", "administrator", "cpus", cpus,
		      "to", to);
	console_reply_durably(c, call, answer);
}

static void put(struct console *c, _Atomic uint64_t *word, uint64_t value)
{
	if (apmp_load_relaxed(word) != value)
		apmp_update_store64(&c->update, APMP_OBJECT_STATE, word, value);
}

/* Then it stays, whatever its rule [0298]. */
static bool is_primary(struct console *c, const struct partition *p, uint32_t cpu_idx)
{
	struct apmp_tree_node n;

	return apmp_tree_cpu(&c->tw.tree, cpu_idx, &n) == 0 && n.current_owner == p->handle &&
	       n.flags & NODE_PRIMARY;
}

static void on_cpu_failover(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const struct partition *p = console_wanted(c, call, parameters, "partition");
	struct apmp_cpu_bits cpus;
	json_t *list, *answer;
	uint64_t targets;

	if (!p || !wanted_cpus(c, call, parameters, &cpus) ||
	    !wanted_targets(c, call, parameters, p, &targets) || !begin(c, call))
		return;
	for (uint32_t idx = 0; idx < APMP_MAX_CPUS; idx++)
		if (apmp_cpu_bits_test(&cpus, idx))
			put(c, &kept(c, p->id)->failover[idx], targets);
	list = cpus_json(c, &cpus);
	answer = json_pack("{s:O}", "cpus", list);
	for (uint32_t idx = 0; idx < c->cpu_count; idx++)
		if (apmp_cpu_bits_test(&cpus, idx) && is_primary(c, p, idx))
			json_object_set_new(answer, "primary", json_integer(idx));
	end(c, call, p, "set_failover", told(parameters, list),
	    targets ? targets_json(c, targets) : json_pack("[s]", p->name), answer);
	json_decref(list);
}

static void on_cpu_autostart(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	const struct partition *p = console_wanted(c, call, parameters, "partition");
	struct apmp_cpu_bits cpus;
	json_t *list;

	if (!p || !wanted_cpus(c, call, parameters, &cpus) || !begin(c, call))
		return;
	for (uint32_t w = 0; w < WORDS; w++)
		put(c, &kept(c, p->id)->no_autostart[w], ~cpus.word[w]);
	list = cpus_json(c, &cpus);
	end(c, call, p, "set_autostart", NULL, told(parameters, list),
	    json_pack("{s:O}", "cpus", list));
	json_decref(list);
}

const struct console_method console_tables_methods[] = {
    {"CpuFailover", on_cpu_failover},
    {"CpuAutostart", on_cpu_autostart},
    {NULL, NULL},
};
