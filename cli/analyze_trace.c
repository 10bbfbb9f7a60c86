/* `apmp analyze FILE trace`: the flight recorder of a failed partition. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/analyze.h"
#include "cli/table.h"
#include "shm/recorder.h"

static json_t *entry_json(const struct apmp_recorder_view *view)
{
	const struct apmp_point_info *info = apmp_point_info(view->point);
	char *thread = core_thread_text(view->thread), odd[24];
	json_t *json;

	snprintf(odd, sizeof(odd), "odd: %u", view->point);
	json =
	    json_pack("{s:o,s:s,s:s,s:s,s:s,s:o}", "t_ns", cli_view_number(view->t_ns), "thread",
		      thread, "point", info ? info->name : odd, "figure", info ? info->figure : "",
		      "about", info ? info->about : "", "arg", cli_view_number(view->arg));
	free(thread);
	return json;
}

/* Entries by their number, as far as the recorder still has them. */
json_t *analyze_trace(const struct post_mortem *pm, uint32_t thread, uint32_t max)
{
	const struct apmp_recorder *rec = pm->recorder;
	uint64_t newest = rec ? apmp_recorder_newest(rec) : 0;
	uint64_t left = newest < APMP_RECORDER_ENTRIES ? newest : APMP_RECORDER_ENTRIES;
	json_t *entries = json_array();
	struct apmp_recorder_view view;

	for (uint64_t i = 0; i < left && json_array_size(entries) < max; i++)
		if (apmp_recorder_read(rec, newest - i, &view) == 0 &&
		    (thread == UINT32_MAX || view.thread == thread))
			json_array_insert_new(entries, 0, entry_json(&view));
	return entries;
}

json_t *analyze_panic(const struct post_mortem *pm)
{
	return pm->recorder && pm->recorder->panicked
		   ? cli_view_name(pm->recorder->panic, sizeof(pm->recorder->panic))
		   : json_null();
}

void print_analyzed_trace(struct cli *cli, const json_t *entries)
{
	struct table *table = table_create(">BEFORE-END THREAD POINT >ARG WHERE WHAT");
	size_t count = json_array_size(entries);
	json_int_t end =
	    json_integer_value(json_object_get(json_array_get(entries, count - 1), "t_ns"));

	for (size_t i = 0; i < count; i++) {
		const json_t *entry = json_array_get(entries, i);
		json_int_t t_ns = json_integer_value(json_object_get(entry, "t_ns"));

		table_cell(table, NULL, cli_duration_text(end >= t_ns ? end - t_ns : 0));
		table_string(table, NULL, cli_string(entry, "thread"));
		table_string(table, NULL, cli_string(entry, "point"));
		table_cell(table, NULL, cli_number_text(entry, "arg"));
		table_string(table, NULL, cli_string(entry, "figure"));
		table_string(table, NULL, cli_string(entry, "about"));
	}
	table_print(table, cli);
}
