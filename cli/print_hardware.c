/* `apmp hardware list`, `bus list`, `memory list`: what is in the box, and whose it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

/* ---- components ---- */

/* Who owns it; and who has it now, if that is somebody else. */
static void add_owners(struct table *table, const json_t *object)
{
	const char *owner = cli_string(object, "owner");
	const char *current = cli_string(object, "current_owner");

	table_string(table, NULL, owner);
	table_string(table, strcmp(owner, current) ? cli_state_color("on") : NULL, current);
}

static void add_place(struct table *table, const json_t *object)
{
	bool in = !json_is_false(json_object_get(object, "available"));

	table_string(table, in ? NULL : cli_state_color("absent"), in ? "in" : "out");
}

static void add_component(struct table *table, const json_t *component, bool kind)
{
	if (kind)
		table_string(table, NULL, cli_string(component, "kind"));
	table_string(table, NULL, cli_string(component, "id"));
	table_cell(table, NULL, cli_number_text(component, "sbb"));
	add_owners(table, component);
	add_place(table, component);
	table_string(table, NULL,
		     json_is_true(json_object_get(component, "hotswap")) ? "yes" : "no");
}

/* The components of a kind; NULL: all. */
static json_t *select_kind(const json_t *hardware, const char *kind)
{
	json_t *selected = json_array();

	for (size_t i = 0; i < json_array_size(hardware); i++) {
		json_t *component = json_array_get(hardware, i);

		if (!kind || strcmp(cli_string(component, "kind"), kind) == 0)
			json_array_append(selected, component);
	}
	return selected;
}

static int list(struct cli *cli, const char *kind, const char *columns)
{
	json_t *answer, *selected;
	int code = cli_call(cli, "HardwareList", NULL, &answer);

	if (code != CLI_DONE)
		return code;
	selected = select_kind(json_object_get(answer, "hardware"), kind);
	if (cli->json) {
		cli_print_json(selected);
	} else {
		struct table *table = table_create(columns);

		for (size_t i = 0; i < json_array_size(selected); i++)
			add_component(table, json_array_get(selected, i), !kind);
		table_print(table, cli);
	}
	json_decref(selected);
	json_decref(answer);
	return CLI_DONE;
}

int cli_hardware_list(struct cli *cli, const struct cli_args *args)
{
	(void)args;
	return list(cli, NULL, "KIND ID >SBB OWNER CURRENT-OWNER BOX HOT-SWAP");
}

int cli_bus_list(struct cli *cli, const struct cli_args *args)
{
	(void)args;
	return list(cli, "bus", "BUS >SBB OWNER CURRENT-OWNER BOX HOT-SWAP");
}

/* ---- memory ---- */

static void add_fragment(struct table *table, const json_t *fragment)
{
	unsigned long long pa =
	    (unsigned long long)json_integer_value(json_object_get(fragment, "pa"));

	table_cell(table, NULL, cli_text("0x%llx", pa));
	table_cell(table, NULL, cli_bytes_text(fragment, "size"));
	table_string(table, NULL, cli_string(fragment, "kind"));
	add_owners(table, fragment);
	table_cell(table, NULL, cli_number_text(fragment, "sbb"));
	table_string(table, NULL, json_is_true(json_object_get(fragment, "base")) ? "base" : "-");
	add_place(table, fragment);
}

/* "192M in the box, 88M of it unowned" */
static void print_sum(const json_t *fragments)
{
	unsigned long long all = 0, unowned = 0;
	char *all_text, *unowned_text;

	for (size_t i = 0; i < json_array_size(fragments); i++) {
		const json_t *fragment = json_array_get(fragments, i);
		json_int_t size = json_integer_value(json_object_get(fragment, "size"));

		if (json_is_false(json_object_get(fragment, "available")))
			continue;
		all += (unsigned long long)size;
		if (strcmp(cli_string(fragment, "kind"), "unowned") == 0)
			unowned += (unsigned long long)size;
	}
	all_text = cli_size_text(all);
	unowned_text = cli_size_text(unowned);
	printf("\n%s in the box, %s of it unowned\n", all_text, unowned_text);
	free(all_text);
	free(unowned_text);
}

int cli_memory_list(struct cli *cli, const struct cli_args *args)
{
	const json_t *fragments;
	json_t *answer;
	int code = cli_call(cli, "MemoryList", NULL, &answer);

	(void)args;
	if (code != CLI_DONE)
		return code;
	fragments = json_object_get(answer, "fragments");
	if (cli->json) {
		cli_print_json(fragments);
	} else {
		struct table *table =
		    table_create(">PA >SIZE KIND OWNER CURRENT-OWNER >SBB BASE BOX");

		for (size_t i = 0; i < json_array_size(fragments); i++)
			add_fragment(table, json_array_get(fragments, i));
		table_print(table, cli);
		print_sum(fragments);
	}
	json_decref(answer);
	return CLI_DONE;
}
