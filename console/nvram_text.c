/*
 * nvram_text.c - what non-volatile memory holds, as text: the tree's permanent half [0065, 0100].
 *
 *   {"format": 1,
 *    "file": {"communities": [...], "partitions": [...]},      the machine file's, as it was read
 *    "communities": ["lab"],                                   in the order of their ids
 *    "partitions": [{"name": "alpha", "community": "lab", "boot": true,
 *                    "failover": {"*": ["beta"]}, "autostart": "all"}],       cpu_tables.h
 *    "owners": [{"type": "cpu", "id": 3, "owner": "partition:alpha"}],      what somebody owns
 *    "memory": [{"sbb": 0, "index": 0, "owner": "community:lab",
 *                "fragments": [{"offset": 0, "size": 4194304, "owner": "partition:alpha",
 *                               "flags": 10}]}],
 *    "absent": [...]}       entries of owners whose component was not there at the last power on
 *
 * Memory is named by its place in its block, since addresses may move when the hardware changes.
 * Owners only: who uses a thing, and which life, ends with the power.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "console/cpu_tables.h"
#include "console/nvram_text.h"
#include "shm/shared.h"

/* "partition:alpha", "community:lab"; NULL: nobody. */
static json_t *owner_text(struct console *c, int32_t owner)
{
	struct apmp_tree_partition p;
	struct apmp_tree_community community;
	struct apmp_tree_node n;

	if (!owner || apmp_tree_node(&c->tw.tree, owner, &n))
		return NULL;
	if (n.type == GCT_PARTITION && apmp_tree_partition(&c->tw.tree, (uint32_t)n.id, &p) == 0)
		return json_sprintf("partition:%s", p.name);
	if (n.type == GCT_COMMUNITY &&
	    apmp_tree_community(&c->tw.tree, (uint32_t)n.id, &community) == 0)
		return json_sprintf("community:%s", community.name);
	return NULL;
}

static json_t *communities_text(struct console *c)
{
	struct apmp_tree_community community;
	json_t *list = json_array();

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_community(&c->tw.tree, id, &community) == 0)
			json_array_append_new(list, json_string(community.name));
	return list;
}

static json_t *partitions_text(struct console *c)
{
	struct apmp_tree_community community;
	struct apmp_tree_partition p;
	struct apmp_tree_node n;
	json_t *list = json_array();

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const char *in = NULL;

		if (apmp_tree_partition(&c->tw.tree, id, &p))
			continue;
		if (p.community && apmp_tree_node(&c->tw.tree, p.community, &n) == 0 &&
		    apmp_tree_community(&c->tw.tree, (uint32_t)n.id, &community) == 0)
			in = community.name;
		json_array_append_new(list, json_pack("{s:s,s:s?,s:b,s:o,s:o}", "name", p.name,
						      "community", in, "boot",
						      (p.policy & GCT_POLICY_BOOT) != 0, "failover",
						      console_failover_json(c, id), "autostart",
						      console_autostart_json(c, id)));
	}
	return list;
}

static json_t *fragments_text(struct console *c, const struct apmp_tree_node *desc)
{
	json_t *list = json_array();
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, desc->handle, i, &f) == 0; i++)
		if (f.owner)
			json_array_append_new(list, json_pack("{s:I,s:I,s:o*,s:i}", "offset",
							      (json_int_t)(f.pa - desc->id), "size",
							      (json_int_t)f.size, "owner",
							      owner_text(c, f.owner), "flags",
							      (int)f.flags));
	return list;
}

uint32_t console_nvram_place(struct console *c, const struct apmp_tree_node *desc,
			     uint64_t *ret_sbb)
{
	struct apmp_tree_node n;
	uint32_t idx = 0;
	int32_t at;

	*ret_sbb = UINT64_MAX;
	if (apmp_tree_node(&c->tw.tree, desc->parent, &n))
		return 0;
	*ret_sbb = n.id;
	/* Bounded by max_desc: each step is another descriptor. */
	for (at = n.child; at && at != desc->handle; at = n.next_sib) {
		if (apmp_tree_node(&c->tw.tree, at, &n))
			break;
		idx += n.type == GCT_MEMORY_DESC;
	}
	return idx;
}

static json_t *memory_text(struct console *c)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	json_t *list = json_array();

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		uint64_t sbb;
		uint32_t idx = console_nvram_place(c, &n, &sbb);

		json_array_append_new(list,
				      json_pack("{s:I,s:i,s:o*,s:o}", "sbb", (json_int_t)sbb,
						"index", (int)idx, "owner", owner_text(c, n.owner),
						"fragments", fragments_text(c, &n)));
	}
	return list;
}

static json_t *owners_text(struct console *c)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	json_t *list = json_array();

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(&c->tw.tree, &walk, &n) > 0) {
		json_t *owner = n.flags & NODE_HARDWARE && n.type != GCT_MEMORY_DESC
				    ? owner_text(c, n.owner)
				    : NULL;

		if (owner)
			json_array_append_new(list, json_pack("{s:s,s:I,s:o}", "type",
							      apmp_tree_type_name(n.type), "id",
							      (json_int_t)n.id, "owner", owner));
	}
	return list;
}

char *console_nvram_text(struct console *c)
{
	json_t *file =
	    json_pack("{s:O,s:O}", "communities", json_object_get(c->config, "communities"),
		      "partitions", json_object_get(c->config, "partitions"));
	json_t *all = json_pack("{s:i,s:o,s:o,s:o,s:o,s:o,s:o}", "format", CONSOLE_NVRAM_FORMAT,
				"file", file, "communities", communities_text(c), "partitions",
				partitions_text(c), "owners", owners_text(c), "memory",
				memory_text(c), "absent", console_nvram_absent(c));
	char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;

	json_decref(all);
	return text;
}
