/*
 * app_waker.h - a thread that waits on the words of locks for the thread of programs.
 */
#ifndef APMP_INSTANCE_APP_WAKER_H
#define APMP_INSTANCE_APP_WAKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* Words that are waited on at once: the kernel's most, less one of our own. */
#define APP_WAKER_WORDS 127u

struct app_waker_word {
	const _Atomic uint32_t *word; /* for the kernel alone */
	uint32_t seen;
};

struct instance;

struct app_waker {
	struct instance *instance;
	int bell;		/* an eventfd: a word has changed */
	pthread_mutex_t lock;	/* protects word and count; nobody waits while he has it */
	_Atomic uint32_t order; /* W: thread of programs, +1 for each new list; a futex */
	uint32_t count;
	struct app_waker_word word[APP_WAKER_WORDS];
};

/* The thread's function, for a struct app_waker. */
void *app_waker_main(void *arg);
/* A new list; the bell is rung once when one of these words is not what was seen any more. */
void app_waker_watch(struct app_waker *waker, const struct app_waker_word *word, uint32_t count);

#endif
