/* show_tree.c - the configuration tree, node by node, for the operator. */
#include <string.h>

#include "console/console.h"
#include "shm/shared.h"

/* What people call a node. */
static void name_node(struct console *c, const struct apmp_tree_node *n, char *text, size_t size)
{
	struct partition *p = console_partition_of(c, n->handle);
	struct apmp_tree_community community;
	unsigned id = (unsigned)n->id;

	switch (n->type) {
	case GCT_PARTITION:
		snprintf(text, size, "%s", p ? p->name : "");
		break;
	case GCT_COMMUNITY:
		snprintf(text, size, "%s",
			 apmp_tree_community(&c->tw.tree, id, &community) == 0 ? community.name
									       : "");
		break;
	case GCT_BUS:
		snprintf(text, size, "%u.%u.%u", (unsigned)(n->id >> 32),
			 (unsigned)(n->id >> 16) & 0xffff, id & 0xffff);
		break;
	case GCT_MEMORY_DESC:
		snprintf(text, size, "%#llx", (unsigned long long)n->id);
		break;
	case GCT_IOP:
		snprintf(text, size, "%u.%u", (unsigned)(n->id >> 16), id & 0xffff);
		break;
	default:
		snprintf(text, size, "%u", id);
	}
}

void console_name(struct console *c, int32_t handle, char *ret_name, size_t size)
{
	struct apmp_tree_node n;

	ret_name[0] = '\0';
	if (handle && apmp_tree_node(&c->tw.tree, handle, &n) == 0)
		name_node(c, &n, ret_name, size);
}

void console_node_name(struct console *c, int32_t handle, char *ret_name, size_t size)
{
	struct apmp_tree_node n;
	char name[64];

	ret_name[0] = '\0';
	if (!handle || apmp_tree_node(&c->tw.tree, handle, &n))
		return;
	name_node(c, &n, name, sizeof(name));
	switch (n.type) {
	case GCT_PARTITION:
		snprintf(ret_name, size, "partition \"%s\"", name);
		break;
	case GCT_COMMUNITY:
		snprintf(ret_name, size, "community \"%s\"", name);
		break;
	case GCT_CPU:
		snprintf(ret_name, size, "CPU %s", name);
		break;
	case GCT_MEMORY_DESC:
		snprintf(ret_name, size, "memory at %s", name);
		break;
	default:
		snprintf(ret_name, size, "%s %s", apmp_tree_type_name(n.type), name);
	}
}

static json_t *owner_name(struct console *c, int32_t handle)
{
	struct apmp_tree_node n;
	char text[64];

	if (!handle || apmp_tree_node(&c->tw.tree, handle, &n))
		return json_null();
	if (n.type == GCT_SW_ROOT)
		return json_string("software_root");
	name_node(c, &n, text, sizeof(text));
	return json_string(text);
}

static json_t *flags_json(uint64_t flags)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {
	    {NODE_HARDWARE, "hardware"},       {NODE_HOTSWAP, "hotswap"},
	    {NODE_UNAVAILABLE, "unavailable"}, {NODE_HW_TEMPLATE, "hw_template"},
	    {NODE_INITIALIZED, "initialized"}, {NODE_PRIMARY, "primary"},
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].bit)
			json_array_append_new(list, json_string(names[i].name));
	return list;
}

static json_t *memory_detail(struct console *c, int32_t handle)
{
	json_t *list = json_array();
	struct apmp_tree_fragment f;

	for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, handle, i, &f) == 0; i++)
		json_array_append_new(
		    list, json_pack("{s:I,s:I,s:o,s:o,s:b,s:b,s:b}", "pa", (json_int_t)f.pa, "size",
				    (json_int_t)f.size, "owner", owner_name(c, f.owner),
				    "current_owner", owner_name(c, f.current_owner), "private",
				    (f.flags & GCT_MEM_PRIVATE) != 0, "shared",
				    (f.flags & GCT_MEM_SHARED) != 0, "base",
				    (f.flags & GCT_MEM_BASE) != 0));
	return json_pack("{s:o}", "fragments", list);
}

static json_t *detail_json(struct console *c, const struct apmp_tree_node *n)
{
	struct apmp_tree_partition p;
	struct apmp_tree_community community;
	uint64_t type, revision;

	if (n->flags & NODE_HW_TEMPLATE)
		return json_object();
	if (n->type == GCT_MEMORY_DESC)
		return memory_detail(c, n->handle);
	if (n->type == GCT_CPU && n->id < c->cpu_count &&
	    apmp_tree_cpu_type(&c->tw.tree, n->handle, &type, &revision) == 0)
		return json_pack("{s:i,s:I,s:I}", "host_cpu", (int)c->host_cpu[n->id], "type",
				 (json_int_t)type, "revision", (json_int_t)revision);
	if (n->type == GCT_PARTITION && apmp_tree_partition(&c->tw.tree, (uint32_t)n->id, &p) == 0)
		return json_pack("{s:I,s:I,s:I,s:s,s:b,s:I}", "hwrpb", (json_int_t)p.hwrpb,
				 "incarnation", (json_int_t)p.incarnation, "fenced",
				 (json_int_t)p.fenced, "instance_name", p.instance_name, "boot",
				 (p.policy & GCT_POLICY_BOOT) != 0, "id_field",
				 (json_int_t)p.id_field);
	if (n->type == GCT_COMMUNITY &&
	    apmp_tree_community(&c->tw.tree, (uint32_t)n->id, &community) == 0)
		return json_pack("{s:I,s:I,s:I}", "apmpdb_info", (json_int_t)community.apmpdb_info,
				 "apmpdb_other", (json_int_t)community.apmpdb_other, "apmpdb_id",
				 (json_int_t)community.apmpdb_id);
	return json_object();
}

static json_t *node_json(struct console *c, const struct apmp_tree_node *n)
{
	char name[64];

	name_node(c, n, name, sizeof(name));
	return json_pack("{s:i,s:s?,s:i,s:I,s:s,s:o,s:o,s:o,s:i,s:i,s:i,s:o}", "handle",
			 (int)n->handle, "type", apmp_tree_type_name(n->type), "subtype",
			 (int)n->subtype, "id", (json_int_t)n->id, "name", name, "flags",
			 flags_json(n->flags), "owner", owner_name(c, n->owner), "current_owner",
			 owner_name(c, n->current_owner), "parent", (int)n->parent, "config",
			 (int)n->config, "affinity", (int)n->affinity, "detail", detail_json(c, n));
}

json_t *console_tree(struct console *c)
{
	json_t *nodes = json_array();
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t level = 0;
	bool rest = apmp_tree_level(&c->tw.tree, &level) == 0;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(&c->tw.tree, &walk, &n) > 0)
		json_array_append_new(nodes, node_json(c, &n));
	return json_pack("{s:o,s:{s:I,s:I}}", "nodes", nodes, "levels", "transient",
			 (json_int_t)(rest ? level : level + 1), "current", (json_int_t)level);
}
