/*
 * asking.h - requests to the configuration of an estate, each with the answer that is expected.
 *
 * want is the reason (APMP_REASON_NONE: it is done), about the node that stands in the way.  A test
 * fails when the answer is another one, when a refusal stored anything, and when the tree is not
 * consistent afterwards.
 */
#ifndef APMP_TESTS_ASKING_H
#define APMP_TESTS_ASKING_H

#include "tests/unit/estate.h"
#include "tests/unit/suite.h"

#define ADMIN	APMP_ADMINISTRATOR
#define GRANULE APMP_GRANULE

extern struct estate e;
extern struct apmp_configured got; /* the last answer */

/* A suite's case with an estate for each test. */
TCase *asking_case(Suite *suite, const char *name);

void ask(enum apmp_reason want, int32_t about, int32_t by, uint32_t op, uint64_t arg0,
	 uint64_t arg1, uint64_t arg2);
void assign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, int32_t owner);
void deassign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, bool given_up);
void reassign(enum apmp_reason want, int32_t about, int32_t by, int32_t node, int32_t owner);
uint64_t wanted(int32_t owner, uint32_t flags);
uint64_t take(enum apmp_reason want, int32_t about, int32_t by, uint64_t pa, uint64_t granules,
	      int32_t owner, uint32_t flags);
void leave(enum apmp_reason want, int32_t about, int32_t by, uint64_t pa, uint64_t granules,
	   bool given_up);
enum apmp_reason named(int32_t by, uint32_t op, uint64_t arg0, uint64_t arg1, const char *text);
void has(int32_t handle, int32_t owner, int32_t current);
void has_memory(uint64_t pa, uint64_t granules, int32_t owner, int32_t current);
struct gct_root_node *root(void);
void boot(uint32_t id);
void set_flag(int32_t node, uint64_t flag);

#endif
