/*
 * decide.h - whether a balancer gives a CPU away, and to whom: no input, no output, no clock.
 */
#ifndef APMP_INSTANCE_BALANCE_DECIDE_H
#define APMP_INSTANCE_BALANCE_DECIDE_H

#include "instance/app/apmp.h"

struct balance {
	double margin;	/* tasks per CPU by which the busiest must be busier, also after the move */
	uint32_t looks; /* in a row that must see the same */
	uint32_t seen;	/* so many in a row saw this */
	struct apmp_app_partition busiest;
};

/* Tasks for each CPU that works there. */
double balance_pressure(const struct apmp_app_load *load);

/* One look at the loads of all members.  The index of who is to get a CPU of the partition whose
 * load is marked as self; -1: nobody, or not yet. */
int balance_look(struct balance *b, const struct apmp_app_load *load, int count);

#endif
