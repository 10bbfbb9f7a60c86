/*
 * apmp-task.h - a task: a program that an instance runs itself, on the CPUs that its partition has.
 *
 * A task is a shared object with a function apmp_task_main; `apmp-task FILE.so ARGUMENTS...` runs
 * it, and apmp-task(1) says how to build one.  It runs only while a CPU of the partition runs it,
 * and may be put aside between any two instructions; when its CPU leaves it goes on with another.
 * Errors are negative errno.
 */
#ifndef APMP_TASK_H
#define APMP_TASK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define APMP_TASK_VERSION 1u
#define APMP_TASK_ANY_CPU UINT32_MAX

struct apmp_task;

/* What a spawned task runs; its value is what it returns. */
typedef int apmp_task_function(struct apmp_task *task, void *arg);

/* What an instance does for its tasks; each as the function of the same name below says. */
struct apmp_task_services {
	uint32_t version;
	uint32_t (*cpu)(const struct apmp_task *task);
	uint32_t (*cpu_count)(const struct apmp_task *task);
	int (*should_end)(const struct apmp_task *task);
	void (*yield)(struct apmp_task *task);
	int (*bind)(struct apmp_task *task, uint32_t cpu);
	int (*spawn)(struct apmp_task *task, apmp_task_function *function, void *arg);
	int (*join)(struct apmp_task *task);
	int (*write)(struct apmp_task *task, const void *data, size_t size);
	void (*exit)(struct apmp_task *task, int value) __attribute__((noreturn));
};

struct apmp_task {
	const struct apmp_task_services *services;
	uint64_t number; /* as apmp-task --list shows it */
};

/* The program's own: where the task begins.  Its value is the exit status of apmp-task; the tasks
 * that it has spawned are asked to end when it returns. */
__attribute__((visibility("default"))) int apmp_task_main(struct apmp_task *task, int argc,
							  char **argv);

/* The interface that the program was built with; the instance looks at it. */
__attribute__((weak, visibility("default"))) extern const uint32_t apmp_task_version;
const uint32_t apmp_task_version = APMP_TASK_VERSION;

/* The CPU that runs the task; it may be another one when this has returned. */
static inline uint32_t apmp_task_cpu(const struct apmp_task *task)
{
	return task->services->cpu(task);
}

/* How many CPUs run tasks here at the moment. */
static inline uint32_t apmp_task_cpu_count(const struct apmp_task *task)
{
	return task->services->cpu_count(task);
}

/* Not 0: somebody wants it to end, and its work is not wanted any more. */
static inline int apmp_task_should_end(const struct apmp_task *task)
{
	return task->services->should_end(task);
}

/* Lets other tasks have the CPU, if there are any that wait. */
static inline void apmp_task_yield(struct apmp_task *task)
{
	task->services->yield(task);
}

/* From now on it runs on this CPU alone, which does not leave the partition meanwhile; or, with
 * APMP_TASK_ANY_CPU, on any again.  -ENODEV: the CPU runs no tasks here, or is about to leave. */
static inline int apmp_task_bind(struct apmp_task *task, uint32_t cpu)
{
	return task->services->bind(task, cpu);
}

/* Starts a task of the same program.  -ENOMEM: no private memory for its stack; -EAGAIN: there are
 * as many tasks as there can be; -ECANCELED: this one is to end. */
static inline int apmp_task_spawn(struct apmp_task *task, apmp_task_function *function, void *arg)
{
	return task->services->spawn(task, function, arg);
}

/* Waits until all tasks that this one has spawned have ended.  How many of those that ended since
 * the last time had another value than 0. */
static inline int apmp_task_join(struct apmp_task *task)
{
	return task->services->join(task);
}

/* Writes all of it to the task's output, and waits while that is full.  0; -EPIPE: nobody reads it
 * any more. */
static inline int apmp_task_write(struct apmp_task *task, const void *data, size_t size)
{
	return task->services->write(task, data, size);
}

/* Ends the task from any depth of calls. */
__attribute__((noreturn)) static inline void apmp_task_exit(struct apmp_task *task, int value)
{
	task->services->exit(task, value);
}

/* A line or a part of one, of at most 511 bytes, as of printf(3). */
__attribute__((format(printf, 2, 3))) static inline int apmp_task_print(struct apmp_task *task,
									const char *format, ...)
{
	char text[512];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (size > (int)sizeof(text) - 1)
		size = (int)sizeof(text) - 1;
	return apmp_task_write(task, text, size < 0 ? 0 : (size_t)size);
}

#ifdef __cplusplus
}
#endif

#endif
