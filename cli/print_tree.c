/*
 * `apmp tree`: the configuration tree, indented by parent; memory with its fragments.
 *
 * LIMITS    Nodes come in the console's order, which is that of the tree; what has a parent that is
 *           not among them is shown at the top. DEPTH_MAX levels, so that even a tree that bites
 *           its tail is printed in the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/print_dot.h"
#include "cli/table.h"
#include "cli/tree_nodes.h"

enum { DEPTH_MAX = 16 };

#define DIM "\033[2m"

/* One line; text is freed. */
static void add_line(struct table *table, const json_t *node, char *text, int depth)
{
	json_int_t handle = tree_number(node, "handle");
	const char *color = tree_has_flag(node, "unavailable") ? DIM : NULL;

	table_cell(table, color, cli_text("%*s%s", 2 * depth, "", text));
	table_cell(table, color, tree_size(node));
	table_string(table, color, cli_string(node, "owner"));
	table_string(table, color, cli_string(node, "current_owner"));
	table_cell(table, color, cli_names_text(json_object_get(node, "flags")));
	table_cell(table, color,
		   handle < 0 ? cli_text("-") : cli_text("%#llx", (unsigned long long)handle));
	free(text);
}

static void add_node(struct table *table, const json_t *node, int depth)
{
	const json_t *fragments = tree_fragments(node), *fragment;
	size_t i;

	add_line(table, node, tree_label(node), depth);
	json_array_foreach(fragments, i, fragment)
	    add_line(table, fragment, tree_fragment_label(fragment), depth + 1);
}

static void add_children(struct table *table, const json_t *nodes, const json_t *parent, int depth)
{
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (depth >= DEPTH_MAX || node == parent ||
		    tree_number(node, "parent") != tree_number(parent, "handle") ||
		    tree_is_top(nodes, node))
			continue;
		add_node(table, node, depth);
		add_children(table, nodes, node, depth + 1);
	}
}

/* [0117]: the two are the same while nothing changes. */
static void print_levels(const json_t *levels)
{
	json_int_t transient = tree_number(levels, "transient");
	json_int_t current = tree_number(levels, "current");

	if (transient < 0 || current < 0)
		return;
	if (transient == current)
		printf("\nconfiguration level %lld, at rest\n", (long long)current);
	else
		printf("\nconfiguration level %lld, on the way to %lld\n", (long long)current,
		       (long long)transient);
}

static void print_tree(const struct cli *cli, const json_t *nodes, const json_t *levels)
{
	struct table *table = table_create("NODE >SIZE OWNER CURRENT-OWNER FLAGS >HANDLE");
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (!tree_is_top(nodes, node))
			continue;
		add_node(table, node, 0);
		add_children(table, nodes, node, 1);
	}
	table_print(table, cli);
	print_levels(levels);
}

int cli_tree(struct cli *cli, const struct cli_args *args)
{
	const json_t *nodes;
	json_t *answer;
	int code = cli_call(cli, "Tree", NULL, &answer);

	if (code != CLI_DONE)
		return code;
	nodes = json_object_get(answer, "nodes");
	if (cli_option(args, "dot"))
		print_dot(nodes);
	else if (cli->json)
		cli_print_json(answer);
	else
		print_tree(cli, nodes, json_object_get(answer, "levels"));
	json_decref(answer);
	return CLI_DONE;
}
