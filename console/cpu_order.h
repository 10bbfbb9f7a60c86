/*
 * cpu_order.h - what the operator asks of CPUs, from the request to its end.
 */
#ifndef APMP_CONSOLE_CPU_ORDER_H
#define APMP_CONSOLE_CPU_ORDER_H

#include "console/console.h"

/* The loop is there. */
void console_orders_init(struct console *c);
/* Asks the instance that has the CPU; the call is answered at the end, or at once when that is
 * refused.  wanted: op, from, to, and what else is to be said then.  how: APMP_MIGRATE_*. */
void console_order(struct console *c, struct varlink_call *call, uint32_t cpu_idx,
		   const struct cpu_order *wanted, uint32_t how);
/* An instance reports that a CPU which is there works, or waits in console mode. */
void console_order_reported(struct partition *p, uint32_t cpu_idx, bool active);
/* What has become of the orders that a partition carries out, or is given a CPU by: after each of
 * its reports. */
void console_orders_look(struct partition *p);
/* The CPU was given up by an instance, and is nobody's. */
void console_order_deassigned(struct console *c, uint32_t cpu_idx);
/* A partition's life has ended: orders that it was to carry out, or to be given a CPU by. */
void console_orders_died(struct partition *died);
/* Answers with the error that an order is refused with. */
void console_order_refuse(struct varlink_call *call, uint32_t cpu_idx, const struct cpu_order *o,
			  struct console *c, int err);

#endif
