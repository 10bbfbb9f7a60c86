/* Aligned tables and the small texts that stand in them. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESET "\033[0m"
#define BOLD  "\033[1m"
#define DIM   "\033[2m"
#define RED   "\033[31m"
#define GREEN "\033[32m"

enum { COLUMNS_MAX = 16 };

struct cell {
	char *text;
	const char *color;
};

struct table {
	size_t columns, count, capacity;
	bool right[COLUMNS_MAX];
	struct cell *cells;
};

/* ---- texts ---- */

void cli_out_of_memory(void)
{
	fprintf(stderr, "apmp: no memory left\n");
	exit(CLI_REFUSED);
}

char *cli_text(const char *format, ...)
{
	va_list list;
	char *text;
	int length;

	va_start(list, format);
	length = vasprintf(&text, format, list);
	va_end(list);
	if (length < 0)
		cli_out_of_memory();
	return text;
}

char *cli_size_text(unsigned long long bytes)
{
	static const char units[] = "BKMGT";
	size_t unit = 0;

	while (bytes >= 1024 && bytes % 1024 == 0 && units[unit + 1]) {
		bytes /= 1024;
		unit++;
	}
	return unit ? cli_text("%llu%c", bytes, units[unit]) : cli_text("%llu", bytes);
}

char *cli_size_about(unsigned long long bytes, bool up)
{
	static const char units[] = "BKMGT";
	char *text = cli_size_text(bytes);
	unsigned long long tenths;
	size_t unit = 0;

	while (bytes >> (10 * (unit + 1)) && units[unit + 1])
		unit++;
	/* Exact in at most four digits, or too small for a unit. */
	if (strlen(text) <= 5 || !unit)
		return text;
	free(text);
	tenths =
	    (bytes >> (10 * unit)) * 10 + ((bytes & ((1ULL << 10 * unit) - 1)) * 10 >> (10 * unit));
	if (up && (tenths << (10 * unit)) / 10 < bytes)
		tenths++;
	return tenths % 10 ? cli_text("%llu.%llu%c", tenths / 10, tenths % 10, units[unit])
			   : cli_text("%llu%c", tenths / 10, units[unit]);
}

char *cli_duration_text(json_int_t ns)
{
	double value = (double)ns;

	if (ns < 1000)
		return cli_text("%.0f ns", value);
	if (ns < 1000000)
		return cli_text("%.3g us", value / 1e3);
	if (ns < 1000000000)
		return cli_text("%.3g ms", value / 1e6);
	return cli_text("%.3g s", value / 1e9);
}

/* Ends a stream into memory that was begun with open_memstream(). */
static char *stream_text(FILE *out, char **text)
{
	if (!out || fclose(out) != 0)
		cli_out_of_memory();
	if (**text)
		return *text;
	free(*text);
	return cli_text("-");
}

char *cli_numbers_text(const json_t *numbers)
{
	char *text = NULL;
	size_t size, count = json_array_size(numbers);
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0, last; out && i < count; i = last + 1) {
		json_int_t first = json_integer_value(json_array_get(numbers, i));

		for (last = i; last + 1 < count; last++)
			if (json_integer_value(json_array_get(numbers, last + 1)) !=
			    first + (json_int_t)(last + 1 - i))
				break;
		fprintf(out, "%s%lld", i ? "," : "", (long long)first);
		if (last > i)
			fprintf(out, "-%lld", (long long)first + (long long)(last - i));
	}
	return stream_text(out, &text);
}

char *cli_names_text(const json_t *names)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; out && i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));

		fprintf(out, "%s%s", i ? " " : "", name ? name : "?");
	}
	return stream_text(out, &text);
}

char *cli_number_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return cli_text("-");
	return cli_text("%lld", (long long)json_integer_value(value));
}

char *cli_bytes_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return cli_text("-");
	return cli_size_text((unsigned long long)json_integer_value(value));
}

const char *cli_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

void cli_print_json(const json_t *value)
{
	/* A third that was rounded to 0.333 is no 0.33300000000000002. */
	json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	putchar('\n');
	fflush(stdout);
}

const char *cli_state_color(const char *state)
{
	static const struct {
		const char *state, *color;
	} colors[] = {
	    {"on", GREEN},    {"member", GREEN}, {"active", GREEN}, {"operational", GREEN},
	    {"crashed", RED}, {"hung", RED},	 {"dead", RED},	    {"fence-pending", RED},
	    {"spoilt", RED},  {"absent", RED},	 {"off", DIM},	    {"unassigned", DIM},
	};

	for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
		if (strcmp(colors[i].state, state) == 0)
			return colors[i].color;
	return NULL;
}

/* ---- tables ---- */

struct table *table_create(const char *columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		cli_out_of_memory();
	for (const char *at = columns; *at && table->columns < COLUMNS_MAX;) {
		size_t column = table->columns++;
		size_t length;

		table->right[column] = *at == '>';
		at += table->right[column];
		length = strcspn(at, " ");
		table_cell(table, BOLD, cli_text("%.*s", (int)length, at));
		at += length;
		at += strspn(at, " ");
	}
	return table;
}

void table_cell(struct table *table, const char *color, char *text)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 64;
		struct cell *cells = realloc(table->cells, capacity * sizeof(*cells));

		if (!cells)
			cli_out_of_memory();
		table->cells = cells;
		table->capacity = capacity;
	}
	table->cells[table->count++] = (struct cell){text, color};
}

void table_string(struct table *table, const char *color, const char *text)
{
	table_cell(table, color, cli_text("%s", text));
}

static void print_cell(const struct table *table, size_t i, int width, bool color)
{
	const struct cell *cell = &table->cells[i];
	size_t column = i % table->columns;
	bool last = column + 1 == table->columns;
	int blanks = width - (int)strlen(cell->text);

	if (table->right[column])
		printf("%*s", blanks, "");
	printf("%s%s%s", color && cell->color ? cell->color : "", cell->text,
	       color && cell->color ? RESET : "");
	if (last)
		putchar('\n');
	else
		printf("%*s", 2 + (table->right[column] ? 0 : blanks), "");
}

void table_print(struct table *table, const struct cli *cli)
{
	size_t widths[COLUMNS_MAX] = {0};

	for (size_t i = 0; i < table->count; i++) {
		size_t width = strlen(table->cells[i].text);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t i = 0; i < table->count; i++) {
		print_cell(table, i, (int)widths[i % table->columns], cli->color);
		free(table->cells[i].text);
	}
	free(table->cells);
	free(table);
}
