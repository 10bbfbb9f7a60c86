/*
 * tree_checker.h - whether a configuration tree is consistent, from its bytes alone.
 *
 * Knows layout_gct.h and the specification, and nothing of the code that writes or reads trees.
 */
#ifndef APMP_TESTS_TREE_CHECKER_H
#define APMP_TESTS_TREE_CHECKER_H

#include <stdint.h>

/* Checks a tree at rest in size bytes at base.  NULL: all is well; else a sentence that says what
 * is not, which stands until the next call. */
const char *tree_check(const void *base, uint64_t size);

#endif
