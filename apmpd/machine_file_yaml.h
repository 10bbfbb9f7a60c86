/*
 * Between machine_file_yaml.c (values with positions) and machine_file_read.c (what they mean).
 */
#ifndef APMPD_MACHINE_FILE_YAML_H
#define APMPD_MACHINE_FILE_YAML_H

#include <libfyaml.h>

#include "apmpd/machine_file_internal.h"

#define APMP__KEYS_MAX 16 /* in one table; they are bits of a mask */

struct walk {
	struct machine *machine;
	struct machine_errors *errors;
	struct fy_diag *where; /* finds the position of collections */
	uint32_t next_cpu;     /* the id a CPU gets when only a count is given */
	bool no_memory;
};

enum value_kind {
	VALUE_NULL = 1, /* nothing, `~` or `null` */
	VALUE_SCALAR,
	VALUE_LIST,
	VALUE_MAPPING,
	VALUE_BROKEN, /* already complained about; no reader gets one */
};

struct value {
	struct fy_node *node;
	enum value_kind kind;
	bool quoted;
	const char *text; /* of a scalar; no NUL at its end */
	size_t size;
	struct machine_pos at;
};

struct key;

/* Puts the value at `into`. False when it complained (or memory ran out). */
typedef bool value_reader(struct walk *walk, const struct key *key, const struct value *value,
			  void *into);

/* One key of a kind of mapping; a table of them ends with {0}. */
struct key {
	const char *name;
	value_reader *read;
	size_t offset; /* of what it sets in the structure that stands for the mapping */
	bool required;
	uint64_t min, max, unit; /* of numbers, sizes and times */
};

/* Which keys of a table a mapping had, and which of these were bad or missing. */
struct keys_seen {
	uint32_t given, bad;
};

struct list_kind {
	const char *what; /* plural */
	bool (*read)(struct walk *walk, const struct value *value, void *into);
	size_t item_size;
	size_t max;
};

/* What a node means. An alias stands where it is written; nothing stands where its parent does. */
struct value apmp__value_of(struct walk *walk, struct fy_node *node, struct machine_pos parent);

/* A scalar with this text? (Only for scalars.) */
bool apmp__value_is(const struct value *value, const char *word);

struct machine_pos apmp__value_pos(const struct value *value, bool ok);

/* "expected WHAT, found WHAT STANDS THERE". Always false, to be returned. */
bool apmp__expected(struct walk *walk, const struct value *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads a mapping by its table. `what` names it in sentences. False when it is no mapping. */
bool apmp__mapping_read(struct walk *walk, const struct value *value, const struct key *keys,
			const char *what, void *into, struct keys_seen *ret_seen);

/*
 * Reads a list into a new array; *ret_items (a pointer to items) and *ret_count must be zero
 * before. Bad items are left out, unless `keep_bad` (where the others would move up). Nothing is an
 * empty list. False when any was bad.
 */
bool apmp__list_read(struct walk *walk, const struct list_kind *kind, const struct value *value,
		     bool keep_bad, void *ret_items, size_t *ret_count);

/* Reads the root of the document: machine_file_read.c. */
void apmp__machine_meaning(struct walk *walk, const struct value *root);

#endif
