/*
 * cpu_tables.h - failover targets [0296] and the autostart set [0233] of each partition: permanent.
 *
 * As JSON, in the machine's description, NVRAM and status alike:
 *   "failover": {"1": "beta", "2": ["beta", "gamma"], "*": ["beta"], "3": ["alpha"], "4": []}
 *   "autostart": "all", or the numbers of CPUs
 * "*" is every CPU that is not named.  The partition's own name, and no target, mean that the CPU
 * stays.
 */
#ifndef APMP_CONSOLE_CPU_TABLES_H
#define APMP_CONSOLE_CPU_TABLES_H

#include "console/console.h"

/* Power on: the tables of a partition, from its description; nobody has the machine yet.  Targets
 * that there are not, and any behind HWRPB_TARGETS, are left out. */
void console_tables_read(struct console *c, uint32_t id, const json_t *partition);
/* New references. */
json_t *console_failover_json(struct console *c, uint32_t id);
json_t *console_autostart_json(struct console *c, uint32_t id);
/* Status: of a partition "failover", and "autostart" as a list of CPUs in the machine; of a CPU,
 * as a partition has it, its targets and whether it starts by itself. */
void console_add_tables(struct console *c, uint32_t id, json_t *partition);
void console_cpu_rules(struct console *c, uint32_t id, uint32_t cpu_idx, json_t *cpu);
/* Whether a CPU that comes to the partition begins to work by itself. */
bool console_starts_itself(struct console *c, uint32_t id, uint32_t cpu_idx);
/* What the tables name that is gone, or has gone to another community, leaves them.  Also done by a
 * console that takes over: it finishes what a dead one had begun. */
void console_tables_scrub(struct console *c);

#endif
