/*
 * suite.h - what every libcheck program shares: how its suite is run, and how an assertion of
 * libapmp ends (apmp_panic: a sentence on standard error, then SIGABRT).
 */
#ifndef APMP_TESTS_SUITE_H
#define APMP_TESTS_SUITE_H

#include <check.h>

/* Runs the suite and frees it.  The program's exit status: 0 when all passed. */
int suite_run(Suite *suite);

/* Adds an empty test case of this name.  Each test of it has a minute, as a guard against hangs. */
TCase *suite_case(Suite *suite, const char *name);

#endif
