/*
 * crash_internal.h - what the files of a failing instance share.  All of it is called in signal
 * handlers: nothing here allocates, formats with the C library, or waits without a bound.
 */
#ifndef APMP_INSTANCE_CRASH_INTERNAL_H
#define APMP_INSTANCE_CRASH_INTERNAL_H

#include <signal.h>
#include <ucontext.h>

#include "instance/instance.h"
#include "shm/crash.h"

/* crash_signal.c: what the calling thread is. */
struct crash_self {
	uint32_t thread; /* CPU id, or APMP_THREAD_* */
	bool is_cpu;	 /* the thread of that CPU; not that of a task on it */
	uint64_t task;	 /* number of the task whose thread this is, or 0 */
	char task_name[INSTANCE_TASK_NAME];
};

struct crash_self crash_self(struct instance *in);
/* Catches a thread of this process, wherever it is, by CRASH_SIGNAL. */
void crash_catch(int tid);
/* The kernel's number of a CPU's thread, 0: it has none. */
int crash_tid(uint32_t cpu_idx);

/* instance_crash.c.  From a signal handler or not, behind crash_enter; uc is where the thread was.
 * Returns only when may_return and the thread is no CPU's and no task's: nothing was wrong with it.
 */
void crash_fail(struct instance *in, struct apmp_crash *crash, const ucontext_t *uc,
		bool may_return);
/* From the handler of CRASH_SIGNAL; returns where the thread is not to be caught now. */
void crash_caught(struct instance *in, const ucontext_t *uc);
/* The calling thread fails, before it does anything for that: how often it does so by now.  From 2
 * on it failed in what it did because of the first time. */
uint32_t crash_enter(void);
/* Whether it does. */
__attribute__((warn_unused_result)) bool crash_entered(void);
/* Something got further. */
void crash_progress(struct instance *in);
/* Waits while *word is seen, for at most one tick.  False: nothing gets further. */
__attribute__((warn_unused_result)) bool
crash_await_progress(struct instance *in, const _Atomic uint32_t *word, uint32_t seen);

/* crash_cpu.c.  Whether the execution word of a CPU is ours, which says that its thread is neither
 * in PAL MIGRATE nor in console code. */
__attribute__((warn_unused_result)) bool crash_runs_on(const struct instance *in, uint32_t cpu_idx);
/* Fig. 27 of the calling CPU, which was at uc. */
__attribute__((noreturn)) void crash_cpu_goes(struct instance *in, uint32_t cpu_idx,
					      const ucontext_t *uc);
/* Stops the task that runs on a CPU, and saves its context, or else the one at uc.  False: the task
 * could not be stopped. */
__attribute__((warn_unused_result)) bool crash_take_control(struct instance *in, uint32_t cpu_idx,
							    const ucontext_t *uc);

/* Tells what becomes of a CPU; to_id: of the partition whose name ends that, or
 * APMP_NO_PARTITION. */
void crash_say_cpu(struct instance *in, uint32_t cpu_idx, const char *what, uint32_t to_id);

/* crash_context.c: saves a context for a CPU, once. */
void crash_save_context(struct instance *in, uint32_t cpu_idx, uint64_t task, const ucontext_t *uc);

/* crash_line.c: a sentence.  What is too long is cut. */
struct crash_line {
	char text[384]; /* an instance's name, and a record's text */
	uint32_t length;
};

void crash_line_add(struct crash_line *line, const char *text);
void crash_line_add_number(struct crash_line *line, uint64_t number);
void crash_line_add_address(struct crash_line *line, uint64_t address);
/* Prints head and text, after the instance's name, on the console port; never waits. */
void crash_say(const struct instance *in, const char *head, const char *text);

#endif
