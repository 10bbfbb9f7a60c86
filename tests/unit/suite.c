/* suite.c - running a suite, and the end of an assertion. */
#include "tests/unit/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "shm/assert.h"

/* Only guards against a hang: seconds of work on a host that is busy with twenty other things. */
#define TEST_LIMIT 60

void apmp_panic(const char *file, int line, const char *what)
{
	(void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
	abort();
}

TCase *suite_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, TEST_LIMIT);
	return tcase;
}

int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
