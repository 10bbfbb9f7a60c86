/*
 * crash.h - the end of an instance that fails: Figs. 26A to 27, and what it leaves to be read.
 */
#ifndef APMP_INSTANCE_CRASH_H
#define APMP_INSTANCE_CRASH_H

#include "shm/layout_hwrpb.h"

struct instance;

/* Ends the instance: the last gasp is written, its CPUs save their contexts and go to their
 * failover targets, the console is told.  Whoever comes second waits for the end.  text: a
 * sentence. */
__attribute__((noreturn)) void instance_crash(struct instance *in, enum hwrpb_crash_reason reason,
					      const char *text);

#endif
