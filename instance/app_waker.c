/*
 * app_waker.c - a thread that waits on the words of locks for the thread of programs.
 *
 * WHAT      The thread of programs waits on descriptors, and a futex is none.  This one waits on
 *           all words that programs wait for at once, and rings a bell.  It is only about latency:
 *           who waits for a lock is tried again at each tick whatever happens here.
 * STATES    idle -> waiting (a list has come) -> idle (a word changed: the bell was rung)
 * LIMITS    The memory of a word may be unmapped at any time: only the kernel looks at it, and says
 *           so.  Without futex_waitv (before Linux 5.16) the thread ends, and a lock that another
 *           partition lets go of is seen up to a tick later.
 */
#include "instance/app_waker.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/urgent.h"

static struct futex_waitv wait_on(const _Atomic uint32_t *word, uint32_t seen)
{
	return (struct futex_waitv){.val = seen, .uaddr = (uintptr_t)word, .flags = FUTEX_32};
}

/* The order, and behind it the list. */
static uint32_t copy_list(struct app_waker *waker, struct futex_waitv list[APP_WAKER_WORDS + 1])
{
	uint32_t count;

	pthread_mutex_lock(&waker->lock);
	count = waker->count;
	list[0] = wait_on(&waker->order, apmp_load_relaxed(&waker->order));
	for (uint32_t i = 0; i < count; i++)
		list[i + 1] = wait_on(waker->word[i].word, waker->word[i].seen);
	pthread_mutex_unlock(&waker->lock);
	return count;
}

void *app_waker_main(void *arg)
{
	struct app_waker *waker = arg;
	const uint64_t one = 1;

	apmp_urgent_no_more();
	instance_thread_is(APMP_THREAD_APPS);
	instance_beacon(waker->instance, APMP_BEACON_WAKER);
	(void)pthread_setname_np(pthread_self(), "lock waker"); /* for top -H and gdb */
	for (;;) {
		struct futex_waitv list[APP_WAKER_WORDS + 1];
		uint32_t count = copy_list(waker, list), order = (uint32_t)list[0].val;

		/* Woken, changed before it slept (EAGAIN), unmapped (EFAULT): all the same. */
		if (count && syscall(SYS_futex_waitv, list, count + 1, 0, NULL, 0) < 0 &&
		    errno == ENOSYS)
			return NULL;
		if (count && apmp_load_acquire(&waker->order) == order)
			(void)!write(waker->bell, &one, sizeof(one)); /* never full */
		/* This list has done its part. */
		while (apmp_load_acquire(&waker->order) == order)
			(void)syscall(SYS_futex, &waker->order, FUTEX_WAIT, order, NULL);
	}
}

void app_waker_watch(struct app_waker *waker, const struct app_waker_word *word, uint32_t count)
{
	pthread_mutex_lock(&waker->lock);
	waker->count = count;
	memcpy(waker->word, word, count * sizeof(*word));
	apmp_fetch_add(&waker->order, 1);
	pthread_mutex_unlock(&waker->lock);
	(void)syscall(SYS_futex, &waker->order, FUTEX_WAKE, 1);
}
