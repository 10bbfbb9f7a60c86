/* Nodes of the configuration tree, as people see them. */
#include "cli/tree_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

json_int_t tree_number(const json_t *node, const char *key)
{
	const json_t *value = json_object_get(node, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

bool tree_is_type(const json_t *node, const char *type)
{
	return strcmp(cli_string(node, "type"), type) == 0;
}

bool tree_has_flag(const json_t *node, const char *flag)
{
	const json_t *flags = json_object_get(node, "flags"), *one;
	size_t i;

	json_array_foreach(flags, i, one)
	{
		if (json_is_string(one) && strcmp(json_string_value(one), flag) == 0)
			return true;
	}
	return false;
}

/* "memory_descriptor" in words; the caller frees it. */
static char *type_text(const json_t *node)
{
	char *text = cli_text("%s", cli_string(node, "type"));

	for (char *at = text; *at; at++)
		if (*at == '_')
			*at = ' ';
	return text;
}

char *tree_label(const json_t *node)
{
	const char *name = json_string_value(json_object_get(node, "name"));
	const json_t *id = json_object_get(node, "id");
	char *type = type_text(node), *label;

	if (strstr(type, "root") || tree_has_flag(node, "hw_template"))
		label = cli_text("%s", type); /* there is one, or it stands for any */
	else if (tree_is_type(node, "memory_descriptor") && json_is_integer(id))
		label = cli_text("%s %#llx", type, (unsigned long long)json_integer_value(id));
	else if (name && *name)
		label = cli_text("%s %s", type, name);
	else if (json_is_integer(id))
		label = cli_text("%s %lld", type, (long long)json_integer_value(id));
	else
		label = cli_text("%s", type);
	free(type);
	return label;
}

char *tree_fragment_label(const json_t *fragment)
{
	static const char *const kinds[] = {"private", "shared", "base"};
	char *label = cli_text("fragment %#llx", (unsigned long long)tree_number(fragment, "pa"));

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char *before = label;

		if (!json_is_true(json_object_get(fragment, kinds[i])))
			continue;
		label = cli_text("%s %s", before, kinds[i]);
		free(before);
	}
	return label;
}

const json_t *tree_fragments(const json_t *node)
{
	return json_object_get(json_object_get(node, "detail"), "fragments");
}

char *tree_size(const json_t *node)
{
	const json_t *fragments = tree_fragments(node), *fragment;
	json_int_t size = tree_number(node, "size");
	size_t i;

	json_array_foreach(fragments, i, fragment)
	{
		size = (size < 0 ? 0 : size) + tree_number(fragment, "size");
	}
	return size < 0 ? cli_text("-") : cli_size_text((unsigned long long)size);
}

bool tree_is_top(const json_t *nodes, const json_t *node)
{
	json_int_t parent = tree_number(node, "parent");
	const json_t *other;
	size_t i;

	if (parent == tree_number(node, "handle"))
		return true;
	json_array_foreach(nodes, i, other)
	{
		if (tree_number(other, "handle") == parent)
			return false;
	}
	return true;
}
