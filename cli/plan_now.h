#ifndef APMP_CLI_PLAN_NOW_H
#define APMP_CLI_PLAN_NOW_H

/* The running machine in the form that the planner compares (cli/plan_side.h). */

#include <jansson.h>

/* tree: the answer of Tree, one moment of the configuration. status: that of Status, for what the
 * tree does not say: timing, fence, notice_exit. A new reference; exits when memory runs out. */
json_t *plan_now(const json_t *tree, const json_t *status);

#endif
