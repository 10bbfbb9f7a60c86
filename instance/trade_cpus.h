/*
 * trade_cpus.h - an instance gives CPUs to others and asks them for some: for its programs, the
 * operator, and members that ask all [0178, 0235].
 */
#ifndef APMP_INSTANCE_TRADE_CPUS_H
#define APMP_INSTANCE_TRADE_CPUS_H

#include <stdatomic.h>

#include "shm/cpu_wish.h"
#include "shm/hwrpb.h"

struct instance;
struct app_ask;

/* W: primary. */
struct trade {
	struct apmp_wish wish;
	struct apmp_gift gift;
	struct app_ask *wisher; /* whose wish is open; NULL: the operator's, if one is */
	uint32_t request;	/* the operator's wish, by its number; 0: none */
	uint32_t request_count;
	_Atomic uint32_t busy; /* not 0: the clock interrupts the primary at each tick */
};

/* The primary, after each interrupt: what became of our wish.  Behind the CPUs that have come,
 * before requests that may send them away. */
void instance_trade_look(struct instance *in);
/* And then what others ask for, and the operator, when the primary has done its work for the
 * sharing set. */
void instance_trade(struct instance *in);

#endif
