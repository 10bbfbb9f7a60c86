/*
 * tasks.h - the scheduler of an instance: its tasks, in a run queue that active CPUs pull from
 * [0225].
 */
#ifndef APMP_INSTANCE_TASKS_H
#define APMP_INSTANCE_TASKS_H

#include <stdbool.h>
#include <stdint.h>

struct instance;

/* Waits for an interrupt of the calling thread's CPU, and lets the CPU run tasks meanwhile.  Its
 * task, if it has one, goes on running when this returns.  Returns the reasons, as apmp_intr_wait.
 */
uint64_t instance_tasks_wait(struct instance *in, uint32_t cpu_idx);
/* Takes the calling thread's CPU from its task, which is then ready for other CPUs, whether or not
 * it lets itself be interrupted.  -ETXTBSY: a task is bound to it; nothing was changed. */
__attribute__((warn_unused_result)) int instance_tasks_quiesce(struct instance *in,
							       uint32_t cpu_idx);
/* Whether a task is bound to the CPU. */
__attribute__((warn_unused_result)) bool instance_tasks_bound(struct instance *in,
							      uint32_t cpu_idx);
/* How long the run queue is, with what runs; and with the threads of the partition's programs that
 * run or could, which are the host's to schedule. */
uint32_t instance_tasks_depth(const struct instance *in);
/* The clock, at each tick: whose quantum is over lets go of its CPU, if others wait.  Waits for
 * nobody. */
void instance_tasks_tick(struct instance *in);

/* The task that runs on a CPU, for who ends the instance in a signal handler. */
#define INSTANCE_TASK_NAME 48u

struct instance_task_on {
	uint64_t number; /* not 0 */
	int tid;	 /* the kernel's, of its thread */
	char name[INSTANCE_TASK_NAME];
	uint64_t program, program_end; /* addresses: of its program, and behind its instructions */
};

/* False: none runs there.  Takes no lock. */
bool instance_tasks_on(const struct instance *in, uint32_t cpu_idx,
		       struct instance_task_on *ret_on);

#endif
