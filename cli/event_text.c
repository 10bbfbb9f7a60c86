/* event_text.c - what happened, as a sentence. */
#include "cli/event_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

static const struct {
	const char *kind, *template;
} events[] = {
#define EVENT(kind, template) {kind, template},
#include "cli/events.def"
#undef EVENT
};

enum { KEY_MAX = 32 };

/* Memory is counted in bytes, and said as people write it. */
static const char memory[] = "bytes of memory";

/* Numbers that say how often something is so: none of them says that it isn't. */
static bool counts_nothing(const json_t *value, const char *key)
{
	static const char *const counts[] = {"deaths", "delay_ms", "absent"};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (strcmp(counts[i], key) == 0 && json_integer_value(value) == 0)
			return true;
	return false;
}

/* "assign_memory", the name of a callback, as words; without the noun with which what begins. */
static char *change_text(const char *change, const char *what)
{
	const char *noun = strrchr(change, '_');
	size_t length = strlen(change);
	char *words;

	if (noun && what && strncmp(what, noun + 1, strlen(noun + 1)) == 0)
		length = (size_t)(noun - change);
	words = cli_text("%.*s", (int)length, change);
	for (char *at = words; *at; at++)
		*at = *at == '_' ? ' ' : *at;
	return words;
}

/* A field as it stands in a sentence; NULL: there is none, or nothing is in it. */
static char *field_text(const json_t *event, const char *key)
{
	const json_t *value = json_object_get(event, key);
	const char *text = json_string_value(value);
	const char *what = json_string_value(json_object_get(event, "what"));
	size_t length = strlen(key);
	bool amount = strcmp(key, "wanted") == 0 || strcmp(key, "had") == 0;

	if (what && strcmp(what, memory) == 0 && amount)
		return cli_size_text((unsigned long long)json_integer_value(value));
	if (text && strcmp(text, memory) == 0)
		return cli_text("of memory");
	if (text && strcmp(key, "change") == 0)
		return change_text(text, what);
	if (text)
		return *text ? cli_text("%s", text) : NULL;
	if (json_is_integer(value) && length > 3 && strcmp(key + length - 3, "_ns") == 0)
		return cli_duration_text(json_integer_value(value));
	if (!value || json_is_null(value) || counts_nothing(value, key))
		return NULL;
	if (json_is_array(value))
		return json_is_string(json_array_get(value, 0)) ? cli_names_text(value)
								: cli_numbers_text(value);
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* Fills size bytes of a template without brackets. Whether every field in it was there. */
static bool fill(FILE *out, const char *template, size_t size, const json_t *event)
{
	const char *end = template + size;
	bool whole = true;

	while (template <end) {
		size_t plain = strcspn(template, "{");
		char key[KEY_MAX], *value;
		size_t length;

		if (plain > (size_t)(end - template))
			plain = (size_t)(end - template);
		fwrite(template, 1, plain, out);
		template += plain;
		if (template == end)
			break;
		length = strcspn(template, "}") - 1;
		snprintf(key, sizeof(key), "%.*s", (int)length, template + 1);
		value = field_text(event, key);
		fputs(value ? value : "?", out);
		whole &= value != NULL;
		free(value);
		template += length + 2;
	}
	return whole;
}

/* What stands in brackets, if its fields are there. */
static void fill_if_whole(FILE *out, const char *template, size_t size, const json_t *event)
{
	char *text = NULL;
	size_t length;
	FILE *part = open_memstream(&text, &length);
	bool whole = part && fill(part, template, size, event);

	if (!part || fclose(part) != 0)
		cli_out_of_memory();
	if (whole)
		fputs(text, out);
	free(text);
}

static void fill_all(FILE *out, const char *template, const json_t *event)
{
	while (*template) {
		bool optional = *template == '[';
		size_t size;

		template += optional;
		size = strcspn(template, optional ? "]" : "[");
		if (optional)
			fill_if_whole(out, template, size, event);
		else
			(void)fill(out, template, size, event);
		template += size + optional;
	}
}

static bool is_named(const char *template, const char *key)
{
	static const char *const headings[] = {"seq", "t_ns", "kind"};
	char *field = cli_text("{%s}", key);
	bool named = template && strstr(template, field);

	for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
		named |= strcmp(key, headings[i]) == 0;
	free(field);
	return named;
}

static void add_others(FILE *out, const char *template, const json_t *event)
{
	const char *key;
	json_t *value;

	/* jansson's iteration wants an object that it could change; it doesn't. */
	json_object_foreach((json_t *)(uintptr_t)event, key, value)
	{
		char *text;

		text = is_named(template, key) ? NULL : field_text(event, key);
		if (text)
			fprintf(out, " %s=%s", key, text);
		free(text);
	}
}

/* An event has words of instances, which may be anything: none of them begins a line of its own, or
 * is for the terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		*text = *text >= ' ' && *text <= '~' ? *text : '?';
}

char *event_text(const json_t *event)
{
	const char *template = NULL;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (strcmp(events[i].kind, cli_string(event, "kind")) == 0)
			template = events[i].template;
	if (out && template)
		fill_all(out, template, event);
	if (out)
		add_others(out, template, event);
	if (!out || fclose(out) != 0)
		cli_out_of_memory();
	make_printable(text);
	return text;
}
