/* linux_env.c - clock, futex and points on Linux. */
#include "shm/wire/linux_env.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/shared.h"

#define NS 1000000000u

uint64_t apmp_linux_now(struct apmp_env *env)
{
	struct timespec now;

	(void)env;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS + (uint64_t)now.tv_nsec;
}

int apmp_linux_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		    uint64_t deadline_ns)
{
	struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS),
				 .tv_nsec = (long)(deadline_ns % NS)};
	long r;

	(void)env;
	/* Not FUTEX_PRIVATE: the word lies in memory that other processes map. */
	r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen,
		    deadline_ns == APMP_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
	return r < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void apmp_linux_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count)
{
	(void)env;
	(void)syscall(SYS_futex, word, FUTEX_WAKE, count); /* nobody waiting is no error */
}

void apmp_linux_fence_all(struct apmp_env *env)
{
	(void)env;
	/* It can't fail: it was registered for. */
	apmp_assert(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
}

bool apmp_linux_has_fence_all(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

/* Where no program has memory; gcc is not to know. */
static void store_to_nowhere(void)
{
	volatile uint32_t *volatile nowhere = (volatile uint32_t *)(uintptr_t)64;

	*nowhere = 0;
}

void apmp_linux_pass(struct apmp_recorder *rec, enum apmp_point point, uint32_t thread,
		     uint64_t arg)
{
	switch (apmp_recorder_pass(rec, point, thread, arg, apmp_linux_now(NULL))) {
	case APMP_FAULT_NONE:
		return;
	case APMP_FAULT_SEGV:
		store_to_nowhere();
		break;
	case APMP_FAULT_ASSERT:
		apmp_panic(__FILE__, __LINE__, "an assertion, injected");
	case APMP_FAULT_KILL:
		break;
	}
	for (;;) /* the signal ends this thread before kill returns, or very soon */
		kill(getpid(), SIGKILL);
}
