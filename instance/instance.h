/*
 * instance.h - one operating system instance: what its threads share in private memory.
 *
 * Threads: the clock (the first one), the primary CPU, one for each other CPU that ever ran here,
 * two for all programs (one serves them, one waits on the words of locks for it), and one for each
 * task that there was at a time (task.h).
 */
#ifndef APMP_INSTANCE_INSTANCE_H
#define APMP_INSTANCE_INSTANCE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "shm/hwrpb.h"
#include "shm/intr.h"
#include "shm/member.h"
#include "shm/recorder.h"

#include "instance/apps.h"
#include "instance/channel.h"
#include "instance/instance_crash.h"
#include "instance/task.h"
#include "instance/tasks.h"
#include "instance/trade_cpus.h"

/* What the primary wants of another CPU.  W: primary, before the interrupt. */
enum cpu_order {
	CPU_ORDER_NONE = 0,
	CPU_ORDER_MIGRATE = 1,	/* PAL MIGRATE, or HALT with HALT_MIGRATE */
	CPU_ORDER_STOP = 2,	/* HALT: console mode */
	CPU_ORDER_DEASSIGN = 3, /* HALT with DEASSIGN */
	CPU_ORDER_START = 5,	/* from console mode into SMP */
};

struct cpu {
	struct instance *instance;
	uint32_t idx;
	bool has_thread;	 /* W: primary */
	pthread_t thread;	 /* W: primary */
	_Atomic uint32_t order;	 /* W: primary sets, CPU clears at its end; enum cpu_order */
	uint32_t to_id;		 /* W: primary before order */
	uint32_t how;		 /* W: primary before order; APMP_MIGRATE_* */
	uint32_t request;	 /* W: primary before order; of the operator, 0: not his */
	bool start_again;	 /* W: primary; when it is refused, and halted */
	bool to_tell;		 /* W: primary; it has come, and that was not said yet */
	_Atomic int32_t refusal; /* W: primary 0 before order; CPU, then order: -errno, it stays */
};

struct instance {
	struct apmp_env env; /* first: env callbacks find the instance by it */
	uint64_t magic;
	struct channel channel;
	struct hwrpb *hwrpb;
	struct apmp_tree tree;
	struct apmp_recorder *recorder;
	struct apmp_member member;
	struct apmp_locks locks;
	struct apps apps;
	struct trade trade;
	bool in_community;
	uint32_t id, primary;
	struct apmp_timing timing;
	unsigned char *stacks; /* in private memory; NULL when there is none */
	uint64_t stacks_size;
	_Atomic uint64_t stacks_used; /* W: who takes one */
	struct tasks tasks;
	_Atomic uint64_t reports_lost; /* to a console that was away */
	sem_t clock_start;	       /* W: primary, once */
	struct crash crash;
	struct cpu cpu[APMP_MAX_CPUS];
};

/* Exit statuses that the console shows. */
#define INSTANCE_EXIT_BUGCHECK 70 /* failed; the last gasp says how (instance_crash.h) */
#define INSTANCE_EXIT_BOOT     71 /* could not boot; said why on its console port */

/* instance_env.c: fills in instance->env for Linux.  The identity and interrupt lines come later.
 */
void instance_env_init(struct instance *in);
/* Which CPU, or APMP_THREAD_*, this thread is: for the flight recorder, and for who fails. */
void instance_thread_is(uint32_t thread);
uint32_t instance_thread(void);
/* Lights this thread's death beacon, once: by CPU id, or APMP_BEACON_*. */
void instance_beacon(struct instance *in, uint32_t idx);
/* Prints a line on the console port; never waits: what doesn't fit is lost. */
__attribute__((format(printf, 2, 3))) void instance_say(struct instance *in, const char *format,
							...);

/* clock.c: the first thread waits there until the primary starts the clock. */
__attribute__((noreturn)) void instance_clock(struct instance *in);
void instance_clock_start(struct instance *in);

/* cpu.c: the primary gives a CPU of ours an order.  Into SMP: START; out of it: STOP into console
 * mode, DEASSIGN, MIGRATE with where to and APMP_MIGRATE_*; the last two also out of console mode.
 * request: number of the operator's, which the CPU answers if it refuses later, or 0.  0: it has
 * the order.  -EBUSY it is the primary; -EPERM not ours; -EAGAIN it is on its way in or out;
 * -EALREADY it is started or stopped; -ETXTBSY a task is bound to it; of START also the errors of
 * instance_cpu_arrive. */
__attribute__((warn_unused_result)) int instance_cpu_order(struct instance *in, uint32_t cpu_idx,
							   enum cpu_order order, uint32_t to_id,
							   uint32_t how, uint32_t request);
/* A CPU that has been given to us gets a thread, unless it has one, and joins SMP, or stays in
 * console mode until an order.  -ENOMEM, -EAGAIN of pthread_create: no thread for it, which was
 * told, and it is in console mode; -EAGAIN: it is on its way. */
__attribute__((warn_unused_result)) int instance_cpu_arrive(struct instance *in, uint32_t cpu_idx,
							    bool start);
/* A CPU in console mode could not do as it was told.  Into SMP again, if it came from there. */
void instance_cpu_stays(struct instance *in, uint32_t cpu_idx, int err);
/* Answers a request of the operator, if it is one: -errno, the CPU does not do it. */
void instance_cpu_refused(struct instance *in, uint32_t cpu_idx, uint32_t request, int err);
/* Pins the calling thread to the host CPU under a CPU; only steers speed. */
void instance_cpu_pin(struct instance *in, uint32_t cpu_idx);
/* Ends the instance at once: the execution word of a CPU, which others can write, is not as it must
 * be.  Two that run on one CPU would be worse. */
__attribute__((noreturn)) void instance_bugcheck(struct instance *in, uint32_t cpu_idx);

/* stack.c: a stack of whole pages of private memory, never given back, mapped apart from the rest
 * of it: nobody may touch the APMP_INSTANCE_STACK_GAP below, so a stack that is used up is a fault.
 * NULL: there is not so much memory, no room, or there are too many mappings. */
unsigned char *instance_stack_take(struct instance *in, uint64_t size);
/* One for the thread of a CPU, or of what serves programs; -ENOMEM. */
__attribute__((warn_unused_result)) int instance_stack(struct instance *in, pthread_attr_t *attr);

/* primary.c: boots, and runs until the instance ends. */
__attribute__((noreturn)) void instance_primary(struct instance *in);

#endif
