#ifndef APMP_TESTS_UNIT_RUN_APMP_H
#define APMP_TESTS_UNIT_RUN_APMP_H

/* Running the whole of `apmp` but main(), against the mock console. */

#include <check.h>
#include <jansson.h>
#include <string.h>

#include "tests/unit/mock_console.h"

enum { APMP_WORDS_MAX = 32, APMP_TEXT_MAX = 1 << 18 };

/* The machine "mock", which apmp finds, and what apmp has said last. */
extern struct mock mock;
extern char out[APMP_TEXT_MAX], err[APMP_TEXT_MAX];

/* Fixture: the mock runs during the test. */
void apmp_mock_setup(void);
void apmp_mock_teardown(void);

/* Runs "apmp ..." (words between blanks), its exit code. With that standard input. */
int apmp(const char *line);
int apmp_fed(const char *input, const char *line);
/* The words as they are. */
int apmp_words(int argc, char **argv);

/* What it printed, as one JSON document and nothing else; the caller's. */
json_t *json_out(void);

#define expect(text, part)                                                                         \
	ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%.2000s", part, text)

#endif
