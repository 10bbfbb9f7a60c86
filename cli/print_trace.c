/*
 * `apmp trace`: the flight recorders, merged by time.
 *
 * They come party by party, in pieces, between which the console sees to fences and migrations.
 */
#include <stdlib.h>

#include "cli/find_machine.h"
#include "cli/table.h"

/* Adds the entries of one piece. */
static bool take_piece(void *ctx, const struct varlink_reply *reply)
{
	json_array_extend(ctx, json_object_get(reply->parameters, "entries"));
	return true;
}

struct placed {
	json_int_t t_ns;
	size_t place; /* those of one party have an order already */
};

static int by_time(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* A new array. */
static json_t *sorted(const json_t *entries)
{
	size_t count = json_array_size(entries);
	struct placed *order = calloc(count + 1, sizeof(*order));
	json_t *array = json_array();

	if (!order)
		cli_out_of_memory();
	for (size_t i = 0; i < count; i++)
		order[i] = (struct placed){
		    json_integer_value(json_object_get(json_array_get(entries, i), "t_ns")), i};
	qsort(order, count, sizeof(*order), by_time);
	for (size_t i = 0; i < count; i++)
		json_array_append(array, json_array_get(entries, order[i].place));
	free(order);
	return array;
}

static void print_trace(const struct cli *cli, const json_t *entries)
{
	struct table *table = table_create(">TIME WHO >THREAD POINT FIGURE >ARG");
	json_int_t first = 0;

	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *entry = json_array_get(entries, i);
		json_int_t t_ns = json_integer_value(json_object_get(entry, "t_ns"));
		const json_t *thread = json_object_get(entry, "thread");
		const json_t *arg = json_object_get(entry, "arg");

		if (i == 0)
			first = t_ns;
		table_cell(table, NULL, cli_text("%.3f us", (double)(t_ns - first) / 1e3));
		table_string(table, NULL, cli_string(entry, "who"));
		table_cell(table, NULL,
			   json_is_string(thread)
			       ? cli_text("%s", json_string_value(thread))
			       : cli_text("%lld", (long long)json_integer_value(thread)));
		table_string(table, NULL, cli_string(entry, "point"));
		table_string(table, NULL, cli_string(entry, "figure"));
		table_cell(table, NULL,
			   cli_text("%#llx", (unsigned long long)json_integer_value(arg)));
	}
	table_print(table, cli);
}

int cli_trace(struct cli *cli, const struct cli_args *args)
{
	json_t *who = json_array(), *asked = json_array(), *entries;
	int code;

	for (int i = 0; i < args->count; i++)
		json_array_append_new(who, json_string(args->args[i]));
	code = cli_stream(cli, "Trace", json_pack("{s:o}", "who", who), false, take_piece, asked);
	entries = sorted(asked);
	for (size_t i = 0; code == CLI_DONE && cli->json && i < json_array_size(entries); i++)
		cli_print_json(json_array_get(entries, i));
	if (code == CLI_DONE && !cli->json)
		print_trace(cli, entries);
	json_decref(asked);
	json_decref(entries);
	return code;
}
