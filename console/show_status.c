/*
 * show_status.c - the machine as `apmp status --json` prints it (a contract).
 *
 * What the tree and the HWRPBs say is the console's own; the APMP database is its members', so it
 * is mapped read-only, and shown only where it is one (database.c).
 */
#include <string.h>

#include "console/console.h"
#include "console/cpu_tables.h"
#include "shm/configure.h"
#include "shm/layout_db.h"
#include "shm/shared.h"

static const char *set_state(const struct console_set *set)
{
	static const char *const names[] = {[0] = "none",
#define X(name, value, text) [value] = text,
					    APMP_DB_STATES(X)
#undef X
	};

	if (set->spoilt)
		return "spoilt";
	return set->state < sizeof(names) / sizeof(names[0]) ? names[set->state] : "odd";
}

static json_t *bits_json(const struct console *c, const struct apmp_cpu_bits *shared)
{
	json_t *list = json_array();
	struct apmp_cpu_bits bits;

	apmp_copy_out(&bits, shared, sizeof(bits));
	for (uint32_t i = 0; i < c->cpu_count; i++)
		if (apmp_cpu_bits_test(&bits, i))
			json_array_append_new(list, json_integer(i));
	return list;
}

/* How often one that it watches was silent for 1, 2-3, 4-7, ... ticks and then beat again. */
static json_t *silences_json(const struct apmp_db_node *node)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < APMP_DB_SILENCES; i++)
		json_array_append_new(
		    list, json_integer((json_int_t)apmp_load_relaxed(&node->silence[i])));
	return list;
}

static json_t *instance_json(struct partition *p, const struct apmp_db *db, uint64_t members)
{
	uint64_t identity = console_identity(p);
	const struct apmp_console_partition *record = &p->console->state->partition[p->id];
	json_t *o = json_pack("{s:s,s:I,s:I,s:I}", "state", console_state_text(p), "incarnation",
			      (json_int_t)apmp_identity_incarnation(identity), "suspected",
			      (json_int_t)apmp_load_relaxed(&record->suspected), "unsuspected",
			      (json_int_t)apmp_load_relaxed(&record->unsuspected));

	if (apmp_load_relaxed(&record->dumped))
		json_object_set_new(o, "dumped",
				    json_integer((json_int_t)apmp_load_relaxed(&record->dumped)));
	if (p->dump_due)
		json_object_set_new(o, "dumping", json_integer((json_int_t)p->dump_due));
	if (p->pid && !console_reaping(p))
		json_object_set_new(o, "pid", json_integer((json_int_t)p->pid));
	if (members >> p->id & 1 && identity &&
	    apmp_load_acquire(&db->node[p->id].identity) == identity) {
		const struct apmp_db_node *node = &db->node[p->id];

		json_object_set_new(o, "big_brother",
				    json_integer(apmp_load_relaxed(&node->big_brother)));
		json_object_set_new(o, "little_brother",
				    json_integer(apmp_load_relaxed(&node->little_brother)));
		json_object_set_new(o, "heartbeat",
				    json_integer((json_int_t)apmp_load_relaxed(&node->heartbeat)));
		json_object_set_new(o, "silences", silences_json(node));
	}
	return o;
}

/* CPUs that it has now, as a list and as host CPUs "0-1,3". */
static void add_cpus(struct partition *p, json_t *o)
{
	json_t *cpus = json_array();
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t host[16];
	char text[1024] = "";
	size_t used = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&p->console->tw.tree, &walk, GCT_CPU, &n) > 0)
		if (n.current_owner == p->handle) {
			json_array_append_new(cpus, json_integer((json_int_t)n.id));
			if (n.flags & NODE_PRIMARY)
				json_object_set_new(o, "primary", json_integer((json_int_t)n.id));
		}
	json_object_set_new(o, "cpus", cpus);
	console_host_cpus(p, host);
	for (uint32_t i = 0; i < 1024 && used < sizeof(text) - 16; i++) {
		uint32_t last = i;

		if (!(host[i / 64] >> i % 64 & 1))
			continue;
		while (last + 1 < 1024 && host[(last + 1) / 64] >> (last + 1) % 64 & 1)
			last++;
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 last > i ? "%s%u-%u" : "%s%u", used ? "," : "", i, last);
		i = last;
	}
	json_object_set_new(o, "host_cpus", json_string(text));
}

static uint64_t private_memory(struct partition *p)
{
	struct apmp_tree *tree = &p->console->tw.tree;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;
	uint64_t size = 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		for (uint32_t i = 0; apmp_tree_fragment(tree, n.handle, i, &f) == 0; i++)
			size += f.owner == p->handle ? f.size : 0;
	return size;
}

static json_t *partition_json(struct partition *p, const struct apmp_db *db, uint64_t members,
			      const char *community)
{
	struct apmp_tree_partition self;
	bool known = apmp_tree_partition(&p->console->tw.tree, p->id, &self) == 0;
	bool initialized = known && self.node.flags & NODE_INITIALIZED;
	struct apmp_missing missing;
	json_t *o =
	    json_pack("{s:i,s:s,s:s?,s:s,s:o}", "id", (int)p->id, "name", p->name, "community",
		      community, "state", initialized ? "initialized" : "uninitialized", "instance",
		      instance_json(p, db, members));

	if (!console_running(p) &&
	    apmp_template_check(&p->console->tw.tree, p->handle, &missing)) /* [0079] */
		json_object_set_new(
		    o, "missing",
		    json_pack("{s:s,s:I,s:I}", "what", console_part_name(missing.type), "wanted",
			      (json_int_t)missing.wanted, "had", (json_int_t)missing.had));
	if (p->pid && !console_reaping(p))
		json_object_set_new(o, "uid", json_integer(p->uid));
	add_cpus(p, o);
	json_object_set_new(o, "potential", bits_json(p->console, &p->hwrpb->potential));
	json_object_set_new(o, "configure", bits_json(p->console, &p->hwrpb->configure));
	json_object_set_new(o, "active", bits_json(p->console, &p->hwrpb->active));
	console_add_tables(p->console, p->id, o);
	json_object_set_new(o, "memory", json_integer((json_int_t)private_memory(p)));
	json_object_set_new(o, "boot", json_boolean(known && self.policy & GCT_POLICY_BOOT));
	return o;
}

static json_t *community_json(struct console *c, const struct apmp_tree_community *community,
			      const struct console_set *set)
{
	json_t *members = json_array();
	uint64_t info = community->apmpdb_info;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (set->members >> i & 1 && c->partition[i].exists)
			json_array_append_new(members, json_string(c->partition[i].name));
	return json_pack("{s:I,s:s,s:o,s:{s:s,s:I,s:I,s:I,s:I}}", "id", (json_int_t)community->id,
			 "name", community->name, "members", members, "sharing_set", "state",
			 set_state(set), "incarnation", (json_int_t)set->incarnation, "apmpdb_pfn",
			 (json_int_t)(info & UINT32_MAX), "apmpdb_pages", (json_int_t)(info >> 32),
			 "other_pfn", (json_int_t)(community->apmpdb_other & UINT32_MAX));
}

/* CPU states of the contract; where a CPU is, its instance says what it does. */
static const char *cpu_state(struct console *c, const struct apmp_tree_node *cpu,
			     struct partition *at)
{
	uint32_t state;

	if (cpu->flags & NODE_UNAVAILABLE)
		return "absent";
	if (apmp_load_relaxed(&c->state->transit[cpu->id]))
		return "transit";
	if (!at)
		return cpu->owner ? "console" : "unassigned";
	state = apmp_load_relaxed(&at->hwrpb->slot[cpu->id].state);
	if (!at->pid || console_reaping(at))
		return "console";
	return state == HWRPB_CPU_ACTIVE   ? "active"
	       : state == HWRPB_CPU_HALTED ? "console"
					   : "configured";
}

static json_t *cpus_json(struct console *c)
{
	json_t *list = json_array();
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0) {
		struct partition *owner, *at, *runner;
		uint32_t runner_id;
		json_t *one;

		if (n.id >= c->cpu_count)
			continue;
		owner = console_partition_of(c, n.owner);
		at = console_partition_of(c, n.current_owner);
		runner_id = apmp_identity_id(apmp_load_acquire(&c->env.lines[n.id].runner));
		runner = runner_id < APMP_MAX_PARTITIONS ? &c->partition[runner_id] : NULL;
		one = json_pack("{s:I,s:s?,s:s?,s:s,s:b,s:i,s:s?}", "id", (json_int_t)n.id, "owner",
				owner ? owner->name : NULL, "current_owner", at ? at->name : NULL,
				"state", cpu_state(c, &n, at), "primary",
				(n.flags & NODE_PRIMARY) != 0, "host_cpu", (int)c->host_cpu[n.id],
				"runner", runner ? runner->name : NULL);
		if (at || owner)
			console_cpu_rules(c, at ? at->id : owner->id, (uint32_t)n.id, one);
		json_array_append_new(list, one);
	}
	return list;
}

/* In host CPUs. */
static void add_capacities(const struct console *c, json_t *partitions)
{
	uint32_t capacity[APMP_MAX_PARTITIONS];
	json_t *o;
	size_t i;

	(void)console_capacities(c, capacity);
	json_array_foreach(partitions, i, o)
	{
		json_int_t id = json_integer_value(json_object_get(o, "id"));

		json_object_set_new(o, "capacity", json_real(capacity[id] / 1000.0));
	}
}

json_t *console_status(struct console *c)
{
	json_t *partitions = json_array(), *communities = json_array();
	const struct apmp_db *db[APMP_MAX_PARTITIONS] = {NULL};
	struct apmp_tree_community community[APMP_MAX_PARTITIONS];
	struct console_set set[APMP_MAX_PARTITIONS] = {{0}};
	bool there[APMP_MAX_PARTITIONS];
	json_t *status;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		there[i] = apmp_tree_community(&c->tw.tree, i, &community[i]) == 0;
		if (!there[i])
			continue;
		db[i] = console_db_map(c, &community[i]);
		set[i] = console_db_set(c, &community[i], db[i]);
		json_array_append_new(communities, community_json(c, &community[i], &set[i]));
	}
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];
		struct apmp_tree_partition self;
		uint32_t k = APMP_MAX_PARTITIONS;

		if (!p->exists || apmp_tree_partition(&c->tw.tree, i, &self))
			continue;
		for (k = 0; k < APMP_MAX_PARTITIONS; k++)
			if (there[k] && community[k].node.handle == self.community)
				break;
		json_array_append_new(
		    partitions, partition_json(p, k < APMP_MAX_PARTITIONS ? db[k] : NULL,
					       k < APMP_MAX_PARTITIONS ? set[k].members : 0,
					       k < APMP_MAX_PARTITIONS ? community[k].name : NULL));
	}
	add_capacities(c, partitions);
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		console_db_unmap(db[i]);
	status = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "machine", c->machine, "state",
			   c->announced ? "on" : "starting", "backend", c->backend, "partitions",
			   partitions, "cpus", cpus_json(c), "communities", communities);
	console_add_health(c, status);
	return status;
}
