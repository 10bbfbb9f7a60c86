#ifndef APMP_CLI_TABLE_H
#define APMP_CLI_TABLE_H

/* Text for people: aligned tables, colours, sizes, lists of numbers; and JSON for programs. */

#include <jansson.h>

#include "cli/command.h"

/* Memory for a line of text: without it there is nothing left to say. */
_Noreturn void cli_out_of_memory(void);
__attribute__((format(printf, 1, 2))) char *cli_text(const char *format, ...);

char *cli_size_text(unsigned long long bytes); /* "24M"; the caller frees */
/* Rounded to tenths of a unit, "1.2G"; up: not down. The caller frees. */
char *cli_size_about(unsigned long long bytes, bool up);
char *cli_numbers_text(const json_t *numbers); /* [0,1,2,5] is "0-2,5"; the caller frees */
char *cli_names_text(const json_t *names);     /* ["a","b"] is "a b"; the caller frees */
char *cli_duration_text(json_int_t ns);	       /* "1.25 ms"; the caller frees */

/* One document on one line of standard output, sent off at once. */
void cli_print_json(const json_t *value);

/* A number, or a number of bytes, of an object: "-" if there is none; the caller frees. */
char *cli_number_text(const json_t *object, const char *key);
char *cli_bytes_text(const json_t *object, const char *key);

/* A string of an object, "-" if there is none. */
const char *cli_string(const json_t *object, const char *key);

/* The escape sequence for a state: green is well, red needs somebody, dim is off; "" without one.
 */
const char *cli_state_color(const char *state);

struct table;
/* Columns by blanks: "NAME >CPUS" are two, the second one right-aligned. */
struct table *table_create(const char *columns);
/* The next cell, row by row; color NULL: none. text is freed. */
void table_cell(struct table *table, const char *color, char *text);
void table_string(struct table *table, const char *color, const char *text);
/* Prints it under its heading and destroys it. */
void table_print(struct table *table, const struct cli *cli);

#endif
