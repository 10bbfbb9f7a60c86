/*
 * Between the files of the machine file only: the list of mistakes, and the two passes over a file
 * (machine_file_read.c turns YAML into a struct machine, machine_file_check.c looks at the whole).
 */
#ifndef APMPD_MACHINE_FILE_INTERNAL_H
#define APMPD_MACHINE_FILE_INTERNAL_H

#include "apmpd/machine_file.h"

#define APMP__MACHINE_MAGIC 0x41504d46u /* "APMF" */
#define APMP__QUOTE_SIZE    48		/* a quoted word of the file, cut when longer */

/* Adds one mistake, keeping the list in the order of the file. */
void apmp__machine_error(struct machine_errors *errors, struct machine_pos at, const char *format,
			 ...) __attribute__((format(printf, 3, 4)));

/*
 * `size` bytes of anything as one line that is valid UTF-8 and safe on a terminal: what is not
 * printable becomes \xNN, what is too long ends in "...". Returns `ret_text`.
 */
char *apmp__machine_printable(const char *text, size_t size, char *ret_text, size_t text_size);

/* Bytes of the UTF-8 character at `text`, or 0 when there is none. */
size_t apmp__utf8_length(const char *text, size_t size);

/* "24M": in the largest unit that divides it. Returns `ret_text`. */
char *apmp__machine_size_text(uint64_t bytes, char ret_text[APMP_MACHINE_NAME_SIZE]);

/* The most similar of some words, for "did you mean". Start with {.word = ...}. */
struct apmp__near {
	const char *word;
	const char *best; /* null while nothing is similar enough */
	unsigned distance;
};

void apmp__near_offer(struct apmp__near *near, const char *candidate);

/* " (did you mean 'beta'?)" or "". Returns `ret_text`. */
char *apmp__near_text(const struct apmp__near *near, char ret_text[64]);

/* YAML -> machine. Complains into `errors`; -ENOMEM or 0, also when there were mistakes. */
int apmp__machine_parse(const char *text, size_t size, struct machine_errors *errors,
			struct machine *machine) __attribute__((warn_unused_result));

/* What only the whole can tell: references, owners, sums. */
void apmp__machine_check(const struct machine *machine, struct machine_errors *errors);

#endif
