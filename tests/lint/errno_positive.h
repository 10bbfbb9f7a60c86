/* Tells clang-tidy's analyzer what the C library promises: errno is positive after a failure.
 * Without it every `return -errno` might be success, and what a failed call did not write would be
 * reported as used. The analyzer can't reason about the sign of -x, so it gets values to choose
 * from: one that is often tested for, and one that nobody tests for.
 * Included before each file by tidy.py, by nobody else. */
#ifndef APMP_TESTS_LINT_ERRNO_POSITIVE_H
#define APMP_TESTS_LINT_ERRNO_POSITIVE_H

#ifdef __clang_analyzer__
#include <errno.h>

int apmp__coin(void);

static inline int *apmp__errno(void)
{
	int *value = __errno_location();

	*value = apmp__coin() ? EINTR : EPROTO;
	return value;
}

#undef errno
#define errno (*apmp__errno())
#endif

#endif
