/*
 * layout_intr.h - interrupt lines: one cache line for each CPU of the machine [0056].
 *
 * W: everyone.  R: everyone.  Nothing here is trusted: what a stray store has lost costs a primary
 * a tick, at which its clock makes it look, and another CPU the time until its next interrupt; a
 * spurious one costs nothing.  `runner` is the exception that makes the rule checkable: who really
 * executes on the CPU, taken and given up by compare-and-swap.
 */
#ifndef APMP_SHM_LAYOUT_INTR_H
#define APMP_SHM_LAYOUT_INTR_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* Reasons pending on a line. */
#define APMP_INTR_TREE	  0x1u	/* the configuration tree has changed [0117] */
#define APMP_INTR_APMP	  0x2u	/* look at the node block's interrupt reason mask [0130] */
#define APMP_INTR_TXRDY	  0x4u	/* a CPU slot of the HWRPB has a message for the primary [0293] */
#define APMP_INTR_REQUEST 0x8u	/* the HWRPB has a request, or says that it is to end */
#define APMP_INTR_WORK	  0x10u /* the instance's own: its clock has work for its primary */
#define APMP_INTR_MOVED	  0x20u /* as TREE: a CPU has gone from one of the others to another */

struct apmp_intr_line {
	_Atomic uint32_t doorbell;	/* W: anyone, +1 after pending.  R: the CPU; futex word */
	_Atomic uint32_t tree_can_wait; /* W: the CPU; 1: a tree interrupt alone need not wake it.
					 * R: anyone */
	_Atomic uint64_t pending;	/* W: anyone sets bits, the CPU clears.  R: the CPU */
	_Atomic uint64_t runner;	/* W: who executes, by compare-and-swap.  R: checkers */
	_Atomic uint64_t taken; /* W: who takes runner, +1.  R: checkers; times it was taken */
	uint64_t reserved[4];	/* W: nobody.  R: nobody; zero */
};

static_assert(sizeof(struct apmp_intr_line) == APMP_CACHE_LINE, "one line for each CPU");

#define APMP_INTR_SIZE (APMP_MAX_CPUS * sizeof(struct apmp_intr_line))

#pragma GCC diagnostic pop
#endif
