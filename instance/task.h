/*
 * task.h - the tasks of an instance: what its scheduler, their threads and their loader share.
 */
#ifndef APMP_INSTANCE_TASK_H
#define APMP_INSTANCE_TASK_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "shm/layout_recorder.h"

#include "instance/task/apmp-task.h"

struct instance;

#define TASKS_MAX APMP_BEACON_TASKS
#if defined(__SANITIZE_THREAD__) /* it takes a part of each stack for itself */
#define TASK_STACK_SIZE (UINT64_C(2) << 20)
#else
#define TASK_STACK_SIZE (UINT64_C(256) << 10)
#endif

/* The value of a task that was made to end: as of what SIGTERM has ended. */
#define TASK_VALUE_ENDED 143

/* Ticks that a task has to end by itself when it was asked to: a second, of 2 ms each. */
#define TASK_GRACE 500u

/* Ticks that a task has its CPU while others wait: long beside the microseconds of a switch, short
 * beside what a person notices. */
#define TASK_QUANTUM 5u

enum task_state {
#define X(name, value, text) TASK_##name = value,
	APMP_TASK_STATES(X)
#undef X
};

/* A program with all of its tasks, from its load until none of them is left. */
struct task_job {
	bool used;		   /* W: thread of programs */
	uint64_t number;	   /* W: under the lock; of its first task */
	char name[APMP_NAME_SIZE]; /* W: thread of programs */
	void *library;		   /* W: thread of programs; NULL in tests */
	int (*main)(struct apmp_task *task, int argc, char **argv); /* W: as above */
	int argc;						    /* W: as above */
	char **argv;		  /* W: as above; one allocation with what it points to */
	int output;		  /* W: as above; a pipe, -1: none */
	uintptr_t program;	  /* W: as above; where it was loaded */
	uintptr_t text, text_end; /* W: as above; its own instructions */
	uint32_t alive;		  /* W: under the lock; tasks */
	int value;		  /* W: its first task */
	/* From here on the clock looks at it, too: see clear() in app_tasks.c. */
	_Atomic uint32_t ending; /* W: under the lock.  R: all; asked to end */
	_Atomic uint32_t grace;	 /* W: clock; ticks since then, up to TASK_GRACE */
	_Atomic uint32_t done;	 /* W: the last of its tasks.  R: thread of programs */
};

/* One task and its thread, which outlives it and then serves the next one in its place. */
struct task {
	struct apmp_task self; /* first: all that the program knows */
	struct instance *in;
	struct task_job *job;
	struct task *parent;	      /* W: under the lock; NULL: none, or it has ended */
	apmp_task_function *function; /* W: who begins it */
	void *arg;		      /* W: who begins it */
	int value;		      /* W: its thread */
	enum task_state state;	      /* W: under the lock */
	struct task *next;	      /* W: under the lock; in the queue */
	uint32_t bound;		      /* W: under the lock; CPU id + 1, or 0 */
	uint32_t children, failed; /* W: under the lock; alive; ended with another value than 0 */
	uint32_t pinned;	   /* W: under the lock; host CPU, as of pins */
	uint32_t pins;		   /* W: under the lock; struct tasks has had so many then */
	_Atomic uint32_t baton;	   /* W: under the lock; CPU id + 1, 0: it has none; a futex */
	_Atomic uint32_t ticks;	   /* W: clock; 0 by who dispatches it; that it has had */
	_Atomic uint32_t due;	   /* W: who wants its CPU; 0 by who dispatches it */
	_Atomic uint32_t inside;   /* W: its thread; not 0: not in the program's code */
	bool in_write;		   /* W: its thread; in write(2) for the program */
	_Atomic uint32_t tid;	   /* W: its thread, once; a futex */
	bool has_thread;	   /* W: who begins it */
	unsigned char *stack;	   /* W: who begins it */
	sigjmp_buf base;	   /* W: its thread; where its program begins */
};

struct tasks_cpu {
	_Atomic uint32_t running; /* W: under the lock; place of the task + 1, or 0; a futex */
	_Atomic uint32_t open;	  /* W: under the lock; 1: it runs tasks */
	_Atomic uint32_t bound;	  /* W: under the lock; tasks that are bound to it */
};

struct tasks {
	pthread_mutex_t lock;	   /* protects what says so; who has it waits for nothing */
	struct task *first, *last; /* W: under the lock; the queue */
	uint64_t numbers;	   /* W: under the lock */
	uint32_t pins; /* W: under the lock; times that host CPUs may have been taken away */
	_Atomic uint32_t ready;	 /* W: under the lock; in the queue */
	_Atomic uint32_t depth;	 /* W: under the lock; ready and running */
	_Atomic uint32_t ending; /* W: under the lock; jobs that were asked to end, and have not */
	_Atomic uint32_t open_count; /* W: under the lock */
	_Atomic uint64_t stacks;     /* W: who begins a task; bytes */
	struct tasks_cpu cpu[APMP_MAX_CPUS];
	struct task task[TASKS_MAX];
	struct task_job job[TASKS_MAX]; /* W: thread of programs */
};

/* ---- tasks.c: the scheduler ---- */

/* Once, before any CPU runs. */
void tasks_init(struct instance *in);
/* A place for a task of this job, for task_put or task_place_free.  -EAGAIN: there is none;
 * -ECANCELED: the job ends. */
__attribute__((warn_unused_result)) int task_place(struct instance *in, struct task_job *job,
						   struct task **ret_task);
void task_place_free(struct task *task);
/* A task that has all that it needs, thread too, is ready from now on, with this number; as a child
 * of parent if that is not NULL, bound to CPU bound - 1 if that is not 0.  When this returns it may
 * have ended, and its place be another's.  -ENODEV: that CPU runs no tasks. */
__attribute__((warn_unused_result)) int task_put(struct task *task, struct task *parent,
						 uint32_t bound, uint64_t *ret_number);
/* Asks all tasks of a job to end. */
void task_job_end(struct instance *in, struct task_job *job);

/* By the thread of a task, inside; one whose CPU was taken away first waits for another.  Lets go
 * of the CPU if it is wanted. */
void task_yield(struct task *task);
/* As above, until its children have ended.  How many of them have failed. */
int task_join(struct task *task);
/* Binds it to CPU bound - 1, or with 0 to none.  -ENODEV. */
__attribute__((warn_unused_result)) int task_bind(struct task *task, uint32_t bound);
/* It has ended.  Returns when its thread has the next one to run. */
void task_finish(struct task *task);
/* Waits until a CPU gives its thread the baton. */
void task_await(struct task *task);

/* ---- task_thread.c: the thread of a task ---- */

/* Once: how a task is interrupted. */
void task_threads_init(void);
/* Begins a task of a job: function(arg); parent and bound as of task_put, and errors too; -ENOMEM:
 * no private memory for its stack. */
__attribute__((warn_unused_result)) int task_begin(struct instance *in, struct task_job *job,
						   struct task *parent,
						   apmp_task_function *function, void *arg,
						   uint32_t bound, uint64_t *ret_number);
/* Interrupts it: it looks whether its CPU is wanted. */
void task_interrupt(const struct task *task);
/* Whether that reaches it, as far as the kernel says: its thread does not keep the signal back.  It
 * may since have begun or ended to do so. */
__attribute__((warn_unused_result)) bool task_hears(const struct task *task);

/* ---- task_load.c ---- */

/* Loads a program from a descriptor, which may be closed afterwards.  -ENOEXEC: it is none; and
 * why, in at most size bytes. */
__attribute__((warn_unused_result)) int task_load(struct task_job *job, int fd, char *ret_why,
						  size_t size);
void task_unload(struct task_job *job);
/* What the first task of a loaded program runs; arg: the job. */
int task_main(struct apmp_task *task, void *arg);

#endif
