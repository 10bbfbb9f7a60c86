/* show_trace.c - the flight recorders of partitions, console and box, merged by time. */
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "shm/assert.h"

struct traced {
	struct apmp_recorder_view view;
	const char *who;
};

struct trace {
	struct traced *list;
	size_t count, room;
};

static void collect(struct trace *t, const struct apmp_recorder *rec, const char *who)
{
	uint64_t newest = apmp_recorder_newest(rec); /* may be anything: counts bound the loop */
	uint64_t left = newest < APMP_RECORDER_ENTRIES ? newest : APMP_RECORDER_ENTRIES;

	for (; left > 0; left--) {
		struct traced entry = {.who = who};

		if (apmp_recorder_read(rec, newest - left + 1, &entry.view))
			continue;
		if (t->count == t->room) {
			t->room = t->room ? 2 * t->room : 1024;
			t->list = realloc(t->list, t->room * sizeof(*t->list));
			apmp_assert(t->list);
		}
		t->list[t->count++] = entry;
	}
}

static int by_time(const void *a, const void *b)
{
	const struct traced *x = a, *y = b;

	if (x->view.t_ns != y->view.t_ns)
		return x->view.t_ns < y->view.t_ns ? -1 : 1;
	return (x->view.seq > y->view.seq) - (x->view.seq < y->view.seq);
}

static bool wanted(const json_t *who, const char *name)
{
	const json_t *item;
	size_t i;

	if (!who || json_array_size(who) == 0)
		return true;
	json_array_foreach(who, i,
			   item) if (strcmp(json_string_value(item), name) == 0) return true;
	return false;
}

static json_t *entry_json(const struct traced *e)
{
	const struct apmp_point_info *info = apmp_point_info(e->view.point);
	char thread[24];

	if (e->view.thread == APMP_THREAD_CLOCK)
		snprintf(thread, sizeof(thread), "clock");
	else if (e->view.thread == APMP_THREAD_CONSOLE)
		snprintf(thread, sizeof(thread), "console");
	else if (e->view.thread == APMP_THREAD_BOX)
		snprintf(thread, sizeof(thread), "box");
	else if (e->view.thread == APMP_THREAD_APPS)
		snprintf(thread, sizeof(thread), "programs");
	else
		snprintf(thread, sizeof(thread), "cpu %u", e->view.thread);
	return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:I}", "t_ns", (json_int_t)e->view.t_ns, "who",
			 e->who, "thread", thread, "point", info->name, "figure", info->figure,
			 "about", info->about, "arg", (json_int_t)e->view.arg);
}

json_t *console_trace(struct console *c, const json_t *who)
{
	struct trace t = {0};
	json_t *entries = json_array();

	if (wanted(who, "console"))
		collect(&t, c->recorder, "console");
	if (wanted(who, "box"))
		collect(&t, console_box_recorder(c), "box");
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists && wanted(who, c->partition[i].name))
			collect(&t, c->partition[i].recorder, c->partition[i].name);
	if (t.count)
		qsort(t.list, t.count, sizeof(*t.list), by_time);
	for (size_t i = 0; i < t.count; i++)
		json_array_append_new(entries, entry_json(&t.list[i]));
	free(t.list);
	return entries;
}
