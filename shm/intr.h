/*
 * intr.h - interrupting CPUs and waiting for interrupts, through the interrupt lines.
 */
#ifndef APMP_SHM_INTR_H
#define APMP_SHM_INTR_H

#include "shm/env.h"
#include "shm/layout_intr.h"

/* Sets reasons pending on a CPU's line and rings its doorbell.  A CPU id that the machine does
 * not have is ignored: it may come from shared memory. */
void apmp_intr_send(struct apmp_env *env, uint32_t cpu_idx, uint64_t reasons);

/* Interrupts every CPU of the machine [0117].  One that said that the tree can wait has it pending,
 * and sees it at its next interrupt. */
void apmp_intr_all(struct apmp_env *env, uint64_t reasons);

/* Interrupts every CPU with MOVED [0117], and wakes nobody: who has to do with the CPU is told so
 * by name.  The clock's interrupt is where the others follow. */
void apmp_intr_moved(struct apmp_env *env);

/* What a clock does at each tick for its CPU: takes MOVED, of which there is nothing to follow, and
 * says whether more is pending: a lost interrupt costs a tick. */
bool apmp_intr_due(struct apmp_env *env, uint32_t cpu_idx);

/* Takes what is pending on the line of a CPU; waits for an interrupt until the deadline when
 * nothing is.  Returns the reasons, 0 when the deadline passed or it was woken for nothing. */
uint64_t apmp_intr_wait(struct apmp_env *env, uint32_t cpu_idx, uint64_t deadline_ns);

/* The execution word: who really runs on a CPU.  Taking it when somebody has it is the one thing
 * that must never happen: 0, or -EBUSY and *ret_other is who has it. */
int apmp_intr_take(struct apmp_env *env, uint32_t cpu_idx, uint64_t *ret_other)
    __attribute__((warn_unused_result));
/* -EBUSY: we did not have it. */
int apmp_intr_give(struct apmp_env *env, uint32_t cpu_idx) __attribute__((warn_unused_result));

#endif
