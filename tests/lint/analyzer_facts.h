/* What clang-tidy's analyzer doesn't know. Included before each file by tidy.py, by nobody else.
 *
 * errno is positive after a failure: without that every `return -errno` might be success, and what
 * a failed call did not write would be reported as used. The analyzer can't reason about the sign
 * of -x, so it gets values to choose from: one often tested for, and one that nobody tests for.
 *
 * The number of a set bit in 64 is below 64. */
#ifndef APMP_TESTS_LINT_ANALYZER_FACTS_H
#define APMP_TESTS_LINT_ANALYZER_FACTS_H

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
#define errno		   (*apmp__errno())
#define __builtin_ctzll(x) (__builtin_ctzll(x) & 63)
#endif

#endif
