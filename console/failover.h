/*
 * failover.h - the CPUs of a partition that fails, until the last of them works at its target.
 */
#ifndef APMP_CONSOLE_FAILOVER_H
#define APMP_CONSOLE_FAILOVER_H

#include "console/console.h"

/* A partition's CPUs begin to go to their targets: by their own migrations, or all that are left,
 * since it is fenced.  Told by console_failover_tell, behind all that must be quick. */
void console_failover_begin(struct partition *p);
void console_failover_tell(struct partition *p);
/* It is fenced, and nothing is left at it that would go; also CPUs of others' failovers that had
 * come to it are counted no more. */
void console_failover_fenced(struct partition *dead);
/* A CPU works, or waits in console mode, in this partition. */
void console_failover_came(struct partition *at, uint32_t cpu_idx);
/* A console that takes over goes on with what words it finds. */
void console_failover_resume(struct console *c);

#endif
