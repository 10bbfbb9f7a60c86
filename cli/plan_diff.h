#ifndef APMP_CLI_PLAN_DIFF_H
#define APMP_CLI_PLAN_DIFF_H

/* The difference between a machine file and a running machine, as steps. */

#include <jansson.h>

/*
 * Both documents as in plan_side.h. A new reference:
 *
 *   {"steps": [{"method": "CpuAssign", "parameters": {"cpu": 4, "to": "beta"},
 *               "command": "apmp cpu assign 4 --to beta",
 *               "because": "in the file it is beta's"}, ...],        in the order to do them
 *    "halts": ["beta"],          running partitions that are halted on the way
 *    "impossible": ["..."],      why it can't be done to its end, in sentences
 *    "power_cycle": ["..."],     what differs and can't be changed while the machine is on
 *    "notes": ["..."]}           what else is to be known
 *
 * A method is one of org.apmp.machine. After a step with "again" it is better to plan anew: the
 * later steps can't know yet where memory lies that has come, or where a CPU is that was lent to a
 * partition that had to be halted. No steps: the machine is as the file says, but for
 * power_cycle. Exits when memory runs out.
 */
json_t *plan_diff(const json_t *want, const json_t *now);

#endif
