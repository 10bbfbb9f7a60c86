/*
 * coroutine.h - stacks to switch between, each with a guard page below it.
 *
 * Only the main stack resumes coroutines, and a coroutine yields to the main stack.
 */
#ifndef APMP_CHAOS_SIM_COROUTINE_H
#define APMP_CHAOS_SIM_COROUTINE_H

#include <stdbool.h>
#include <stddef.h>

struct coroutine {
	void *stack; /* lowest usable byte */
	size_t size;
	void *context; /* where it goes on: a stack pointer, or a ucontext_t */
	void *fake;    /* the address sanitizer's own stack of it */
	void (*body)(void *arg);
	void *arg;
	bool live;   /* began and has not ended */
	bool ending; /* leaves as soon as it is resumed */
};

/* Gives it a stack.  Needed once, before all others. */
void coroutine_make(struct coroutine *c);
/* Prepares body(arg) to run at the next resume.  The coroutine must not be live. */
void coroutine_begin(struct coroutine *c, void (*body)(void *arg), void *arg);
/* Main stack: runs it until it yields or ends. */
void coroutine_resume(struct coroutine *c);
/* Coroutine: back to the main stack; returns when resumed. */
void coroutine_yield(void);
/* Coroutine: back to the main stack for ever. */
__attribute__((noreturn)) void coroutine_leave(void);
/* Main stack: ends one that is suspended; nothing of its body runs any more. */
void coroutine_end(struct coroutine *c);
/* Main stack: gives the stack back. */
void coroutine_free(struct coroutine *c);

/* Whether the bytes from context up to the stack's end, copied back, are the coroutine again. */
bool coroutine_can_copy(void);

#endif
