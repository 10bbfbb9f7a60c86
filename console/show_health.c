/*
 * show_health.c - what `apmp status` says of the machine as a whole: how it is set, whose its
 * memory is, and whether somebody should look after it.
 */
#include <string.h>

#include "console/console.h"
#include "shm/shared.h"

/* ---- memory by owner ---- */

/* Adds size to the entry of this owner and kind. */
static void count(json_t *list, const char *owner, const char *kind, uint64_t size)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const json_t *name = json_object_get(entry, "owner");
		json_int_t before = json_integer_value(json_object_get(entry, "size"));

		if (strcmp(json_string_value(json_object_get(entry, "kind")), kind) != 0 ||
		    (owner ? !json_is_string(name) || strcmp(json_string_value(name), owner) != 0
			   : !json_is_null(name)))
			continue;
		json_object_set_new(entry, "size", json_integer(before + (json_int_t)size));
		return;
	}
	json_array_append_new(list, json_pack("{s:s?,s:s,s:I}", "owner", owner, "kind", kind,
					      "size", (json_int_t)size));
}

static json_t *memory_json(struct console *c)
{
	struct apmp_tree *tree = &c->tw.tree;
	json_t *list = json_array();
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;
	char owner[64];

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		for (uint32_t i = 0; apmp_tree_fragment(tree, n.handle, i, &f) == 0; i++) {
			const char *kind = f.flags & GCT_MEM_SHARED ? "shared" : "private";

			console_name(c, f.owner, owner, sizeof(owner));
			count(list, f.owner ? owner : NULL, f.owner ? kind : "unowned", f.size);
		}
	return list;
}

/* ---- health ---- */

static json_t *nvram_json(const struct console *c)
{
	uint64_t changes = apmp_load_relaxed(&c->state->permanent_level);
	uint64_t saved = apmp_load_relaxed(&c->state->nvram_level);
	const char *state = changes == saved ? "saved" : c->save_failed ? "failed" : "saving";

	return json_pack("{s:s,s:I,s:I,s:s}", "state", state, "changes", (json_int_t)changes,
			 "saved", (json_int_t)saved, "power_on",
			 c->nvram	     ? "restored"
			 : c->nvram_outdated ? "outdated"
					     : "machine file");
}

static json_t *fence_pending_json(const struct console *c)
{
	json_t *names = json_array();

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		const struct partition *p = &c->partition[i];

		if (p->exists &&
		    (p->fence_pending || console_state(p) == APMP_PARTITION_FENCE_PENDING))
			json_array_append_new(names, json_string(p->name));
	}
	return names;
}

static json_t *debugged_json(const struct console *c)
{
	json_t *names = json_array();

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists &&
		    apmp_tree_debugged(&c->tw.tree, console_identity(&c->partition[i])))
			json_array_append_new(names, json_string(c->partition[i].name));
	return names;
}

/* Communities whose sets have no second range to go to when their memory fails [0125]. */
static json_t *one_range_json(const struct console *c)
{
	json_t *names = json_array();
	struct apmp_tree_community community;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_community(&c->tw.tree, id, &community) == 0 &&
		    community.apmpdb_info && !community.apmpdb_other)
			json_array_append_new(names, json_string(community.name));
	return names;
}

/* Whether programs get the capacity of their partition where host CPUs are shared. */
static json_t *capacity_json(const struct console *c)
{
	const char *why =
	    json_string_value(json_object_get(json_object_get(c->config, "host"), "no_quota"));
	uint32_t unused[APMP_MAX_PARTITIONS];
	bool shared = console_capacities(c, unused), enforced = why && !*why;

	return json_pack("{s:b,s:b,s:s?}", "shared", shared, "enforced", enforced, "why",
			 enforced ? NULL : why);
}

static json_t *health_json(const struct console *c)
{
	bool died = c->last.op == APMP_BOX_LAST;

	return json_pack("{s:{s:I,s:s?,s:I,s:I},s:o,s:o,s:o,s:o,s:o}", "console", "restarts",
			 (json_int_t)apmp_load_relaxed(&c->state->restarts), "last",
			 died ? c->last.text : NULL, "deaths", (json_int_t)c->last.arg[0],
			 "delay_ms", (json_int_t)c->last.arg[2], "nvram", nvram_json(c),
			 "fence_pending", fence_pending_json(c), "debugged", debugged_json(c),
			 "one_range", one_range_json(c), "capacity", capacity_json(c));
}

void console_add_health(struct console *c, json_t *status)
{
	static const char *const settings[] = {"timing", "fence", "notice_exit", "dump"};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		json_object_set(status, settings[i], json_object_get(c->config, settings[i]));
	json_object_set_new(status, "memory", memory_json(c));
	json_object_set_new(status, "health", health_json(c));
}
