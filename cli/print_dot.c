/*
 * print_dot.c - the configuration tree as a graph: Figs. 3 and 4 in one.
 *
 * WHAT      Nodes with thin lines to their parents; each community is a cluster with its
 *           partitions. Arrows go from what is owned: solid to its owner, dashed to its current
 *           owner, in the colour of that one. So the five states of Table 1 can be told apart.
 *           Fragments of memory are nodes of their own. What is not available is grey.
 * LIMITS    The tree names owners; where a community has the name of a partition, what is shared is
 *           the community's and all else the partition's. Eight colours, then they repeat.
 */
#include "cli/print_dot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "cli/tree_nodes.h"

enum { COLORS = 8 }; /* of Brewer's schemes pastel2 and dark2, which belong together */

static void print_quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\' || *text == '\n')
			putchar('\\');
		putchar(*text == '\n' ? 'n' : *text);
	}
	putchar('"');
}

static const json_t *find_named(const json_t *nodes, const char *type, const char *name)
{
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node)
	{
		if (tree_is_type(node, type) && strcmp(cli_string(node, "name"), name) == 0)
			return node;
	}
	return NULL;
}

static const json_t *find_owner(const json_t *nodes, const char *name, bool shared)
{
	const json_t *first = find_named(nodes, shared ? "community" : "partition", name);
	const json_t *node;
	size_t i;

	if (!first)
		first = find_named(nodes, shared ? "partition" : "community", name);
	json_array_foreach(nodes, i, node)
	{
		if (!first && tree_is_type(node, name)) /* the software root has no other name */
			return node;
	}
	return first;
}

/* The position among partitions and communities gives the colour. */
static size_t color_of(const json_t *nodes, const json_t *owner)
{
	size_t color = 0, i;
	const json_t *node;

	json_array_foreach(nodes, i, node)
	{
		if (node == owner)
			break;
		color += tree_is_type(node, "partition") || tree_is_type(node, "community");
	}
	return color % COLORS + 1;
}

/* ---- nodes ---- */

/* With its size on a second line where it has one; label is freed. */
static char *with_size(char *label, const json_t *node)
{
	char *size = tree_size(node);
	char *text = strcmp(size, "-") ? cli_text("%s\n%s", label, size) : cli_text("%s", label);

	free(size);
	free(label);
	return text;
}

/* name is "n64", or of a fragment "n64f0"; text is freed. */
static void print_node(const char *name, char *text, bool grey, size_t fill)
{
	printf("%s [label=", name);
	print_quoted(text);
	if (grey)
		printf(", style=filled, fillcolor=\"#d0d0d0\", color=\"#909090\", "
		       "fontcolor=\"#606060\"");
	else if (fill)
		printf(", style=filled, fillcolor=%zu", fill);
	printf("];\n");
	free(text);
}

static char *name_of(const json_t *node)
{
	return cli_text("n%lld", (long long)tree_number(node, "handle"));
}

/* Partitions and communities have the colour of what they own. */
static void print_tree_node(const json_t *nodes, const json_t *node, const char *indent)
{
	bool owner = tree_is_type(node, "partition") || tree_is_type(node, "community");
	char *name = name_of(node);

	printf("%s", indent);
	print_node(name, with_size(tree_label(node), node), tree_has_flag(node, "unavailable"),
		   owner ? color_of(nodes, node) : 0);
	free(name);
}

static bool in_cluster(const json_t *node, const json_t *community)
{
	return node == community ||
	       (tree_is_type(node, "partition") &&
		tree_number(node, "parent") == tree_number(community, "handle"));
}

static void print_cluster(const json_t *nodes, const json_t *community)
{
	char *label = tree_label(community);
	const json_t *node;
	size_t i;

	printf("\tsubgraph cluster_%lld {\n\t\tlabel=",
	       (long long)tree_number(community, "handle"));
	print_quoted(label);
	printf(";\n");
	json_array_foreach(nodes, i, node)
	{
		if (in_cluster(node, community))
			print_tree_node(nodes, node, "\t\t");
	}
	printf("\t}\n");
	free(label);
}

/* ---- edges ---- */

static void print_owner(const json_t *nodes, const char *from, const json_t *owned, const char *key,
			const char *style)
{
	const char *name = json_string_value(json_object_get(owned, key));
	bool shared = json_is_true(json_object_get(owned, "shared"));
	const json_t *owner = name ? find_owner(nodes, name, shared) : NULL;

	if (owner)
		printf("\t%s -> n%lld [style=%s, color=%zu, constraint=false];\n", from,
		       (long long)tree_number(owner, "handle"), style, color_of(nodes, owner));
}

static void print_edges(const json_t *nodes, const json_t *node)
{
	const json_t *fragments = tree_fragments(node), *fragment;
	char *name = name_of(node);
	size_t i;

	if (!tree_is_top(nodes, node))
		printf("\tn%lld -> %s [arrowhead=none, color=\"#808080\"];\n",
		       (long long)tree_number(node, "parent"), name);
	print_owner(nodes, name, node, "owner", "solid");
	print_owner(nodes, name, node, "current_owner", "dashed");
	json_array_foreach(fragments, i, fragment)
	{
		char *piece = cli_text("%sf%zu", name, i);

		putchar('\t');
		print_node(piece, with_size(tree_fragment_label(fragment), fragment),
			   tree_has_flag(node, "unavailable"), 0);
		printf("\t%s -> %s [arrowhead=none, color=\"#808080\"];\n", name, piece);
		print_owner(nodes, piece, fragment, "owner", "solid");
		print_owner(nodes, piece, fragment, "current_owner", "dashed");
		free(piece);
	}
	free(name);
}

/* Whether the cluster of some community has it. */
static bool in_any_cluster(const json_t *nodes, const json_t *node)
{
	const json_t *other;
	size_t i;

	json_array_foreach(nodes, i, other)
	{
		if (tree_is_type(other, "community") && in_cluster(node, other))
			return true;
	}
	return false;
}

void print_dot(const json_t *nodes)
{
	const json_t *node;
	size_t i;

	printf("digraph machine {\n"
	       "\trankdir=LR;\n"
	       "\tnode [shape=box, fontname=\"sans\", colorscheme=pastel28];\n"
	       "\tedge [colorscheme=dark28];\n");
	json_array_foreach(nodes, i, node)
	{
		if (tree_is_type(node, "community"))
			print_cluster(nodes, node);
		else if (!in_any_cluster(nodes, node))
			print_tree_node(nodes, node, "\t");
	}
	json_array_foreach(nodes, i, node) print_edges(nodes, node);
	printf("}\n");
}
