/*
 * `apmp tree`: the configuration tree, indented by parent, or as a graph for graphviz.
 *
 * LIMITS    Nodes come in the console's order, which is that of the tree; what has a parent that is
 *           not among them is shown at the top. DEPTH_MAX levels, so that even a tree that bites
 *           its tail is printed in the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

enum { DEPTH_MAX = 16 };

static json_int_t handle(const json_t *node, const char *key)
{
	const json_t *value = json_object_get(node, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* "cpu 3", "partition beta": the name where there is one, else the id. */
static char *label(const json_t *node)
{
	const char *name = json_string_value(json_object_get(node, "name"));
	const json_t *id = json_object_get(node, "id");

	if (name && *name)
		return cli_text("%s %s", cli_string(node, "type"), name);
	if (json_is_integer(id))
		return cli_text("%s %lld", cli_string(node, "type"),
				(long long)json_integer_value(id));
	if (json_is_string(id))
		return cli_text("%s %s", cli_string(node, "type"), json_string_value(id));
	return cli_text("%s", cli_string(node, "type"));
}

/* "alpha", or "alpha -> beta" where the current owner is another one. */
static char *owners(const json_t *node)
{
	const char *owner = cli_string(node, "owner");
	const char *current = cli_string(node, "current_owner");

	return strcmp(owner, current) ? cli_text("%s -> %s", owner, current)
				      : cli_text("%s", owner);
}

static bool is_top(const json_t *nodes, const json_t *node)
{
	json_int_t parent = handle(node, "parent");

	if (parent == handle(node, "handle"))
		return true;
	for (size_t i = 0; i < json_array_size(nodes); i++)
		if (handle(json_array_get(nodes, i), "handle") == parent)
			return false;
	return true;
}

/* ---- text ---- */

static void add_node(struct table *table, const json_t *node, int depth)
{
	char *text = label(node);

	table_cell(table, NULL, cli_text("%*s%s", 2 * depth, "", text));
	table_cell(table, NULL, owners(node));
	table_cell(table, NULL, cli_names_text(json_object_get(node, "flags")));
	table_cell(table, NULL, cli_text("%#llx", (unsigned long long)handle(node, "handle")));
	free(text);
}

static void add_children(struct table *table, const json_t *nodes, const json_t *parent, int depth)
{
	for (size_t i = 0; depth < DEPTH_MAX && i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);

		if (node == parent || handle(node, "parent") != handle(parent, "handle") ||
		    is_top(nodes, node))
			continue;
		add_node(table, node, depth);
		add_children(table, nodes, node, depth + 1);
	}
}

static void print_tree(const struct cli *cli, const json_t *nodes, const json_t *levels)
{
	struct table *table = table_create("NODE OWNER FLAGS >HANDLE");
	char *text = json_dumps(levels, JSON_COMPACT);

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);

		if (!is_top(nodes, node))
			continue;
		add_node(table, node, 0);
		add_children(table, nodes, node, 1);
	}
	table_print(table, cli);
	if (text)
		printf("\nlevels: %s\n", text);
	free(text);
}

/* ---- graphviz ---- */

static void print_quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

/* Nodes of one current owner have one colour of a scheme of twelve, in order of appearance. */
static size_t owner_color(json_t *seen, const char *owner)
{
	const json_t *known = json_object_get(seen, owner);
	json_int_t color = (json_int_t)json_object_size(seen) % 12 + 1;

	if (known)
		return (size_t)json_integer_value(known);
	json_object_set_new(seen, owner, json_integer(color));
	return (size_t)color;
}

static void print_dot_node(const json_t *node, json_t *seen)
{
	const char *owner = json_string_value(json_object_get(node, "current_owner"));
	char *text = label(node);
	char *by = owners(node);
	char *both = cli_text("%s\n%s", text, by);

	printf("\tn%lld [label=", (long long)handle(node, "handle"));
	print_quoted(strcmp(by, "-") ? both : text);
	if (owner)
		printf(", style=filled, fillcolor=%zu", owner_color(seen, owner));
	printf("];\n");
	free(text);
	free(by);
	free(both);
}

static void print_dot(const json_t *nodes)
{
	json_t *seen = json_object();

	printf("digraph machine {\n\trankdir=LR;\n"
	       "\tnode [shape=box, fontname=\"sans\", colorscheme=set312];\n");
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);

		print_dot_node(node, seen);
		if (!is_top(nodes, node))
			printf("\tn%lld -> n%lld;\n", (long long)handle(node, "parent"),
			       (long long)handle(node, "handle"));
	}
	printf("}\n");
	json_decref(seen);
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
