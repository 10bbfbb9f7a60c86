/* threads.c - callbacks of parties that are threads. */
#include "tests/unit/threads.h"

#include <check.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/shared.h"

#define THREADS_MAX 16u

int threads_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		 uint64_t deadline_ns)
{
	(void)env;
	(void)deadline_ns;
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	return 0; /* the caller looks again */
}

void threads_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count)
{
	(void)env;
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static uint64_t now(struct apmp_env *env)
{
	(void)env;
	return MSEC;
}

static int map(struct apmp_env *env, uint64_t pa, uint64_t size, void **ret_base)
{
	struct world *w = ((struct party *)(void *)env)->world;

	if (pa < w->range_pa[0] || pa - w->range_pa[0] > WORLD_RANGE_SIZE - size)
		return -ENXIO;
	*ret_base = w->shared + (pa - w->range_pa[0]);
	return 0;
}

/* All is one mapping, so that the sanitizer sees every race: what is contiguous needs no other. */
static int reserve(struct apmp_env *env, uint64_t size, void **ret_base)
{
	(void)env;
	(void)size;
	(void)ret_base;
	return -ENOMEM;
}

static int map_at(struct apmp_env *env, uint64_t pa, uint64_t size, void *at)
{
	(void)env;
	(void)pa;
	(void)size;
	(void)at;
	return -ENXIO;
}

static void unmap(struct apmp_env *env, void *base, uint64_t size)
{
	(void)env;
	(void)base;
	(void)size;
}

/* Now and then somebody else runs between two steps. */
static void point(struct apmp_env *env, enum apmp_point at, uint64_t arg)
{
	struct party *p = (struct party *)(void *)env;

	(void)arg;
	p->trail_count = p->trail_count * 1103515245u + 12345u + (uint32_t)at;
	if (p->trail_count >> 16 & 1)
		(void)sched_yield();
}

void threads_party(struct party *p)
{
	p->env.now = now;
	p->env.wait = threads_wait;
	p->env.wake = threads_wake;
	p->env.map = map;
	p->env.reserve = reserve;
	p->env.map_at = map_at;
	p->env.unmap = unmap;
	p->env.point = point;
	p->member.tree = &p->world->tw.tree;   /* the console's mapping, like everybody */
	p->member.timing.stop_ns = UINT64_MAX; /* ticks here are no time: nobody is judged for it */
}

struct thread {
	pthread_t thread;
	uint32_t idx;
	void (*body)(uint32_t idx);
};

static void *start(void *arg)
{
	struct thread *t = arg;

	t->body(t->idx);
	return NULL;
}

void threads_run(uint32_t count, void (*body)(uint32_t idx))
{
	struct thread t[THREADS_MAX];

	ck_assert_uint_le(count, THREADS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		t[i] = (struct thread){.idx = i, .body = body};
		ck_assert_int_eq(pthread_create(&t[i].thread, NULL, start, &t[i]), 0);
	}
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_join(t[i].thread, NULL), 0);
}
