/*
 * bench_lock.c - nanoseconds of what is done most: the database lock that nobody else wants, and
 * the passing of a point.
 *
 * Each round runs every loop once, one after the other, and prints a line for each pair: name,
 * ns of ours, ns of the peer.
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "shm/member_internal.h"
#include "shm/recorder.h"
#include "shm/wire/linux_env.h"

#define ITERATIONS 50000u

/* An instance that is alone: nothing of the world but its points is asked for. */
static struct apmp_env env;
static const struct apmp_tree tree; /* without a node: the set is where it was */
static struct apmp_member member = {.env = &env, .tree = &tree};
static struct apmp_recorder *recorder;
static pthread_mutex_t *mutex;

static void *shared_memory(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		err(1, "mmap");
	return base;
}

static void make_mutex(void)
{
	pthread_mutexattr_t attr;

	mutex = shared_memory(sizeof(*mutex));
	if (pthread_mutexattr_init(&attr) ||
	    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) ||
	    pthread_mutex_init(mutex, &attr))
		errx(1, "no robust mutex");
}

static void pass_nothing(struct apmp_env *self, enum apmp_point point, uint64_t arg)
{
	(void)self;
	(void)point;
	(void)arg;
}

static void pass_recorded(struct apmp_env *self, enum apmp_point point, uint64_t arg)
{
	(void)self;
	apmp_linux_pass(recorder, point, 0, arg);
}

static void lock_and_unlock(void)
{
	if (apmp__db_lock(&member))
		errx(1, "the database lock was not free");
	apmp__db_unlock(&member);
}

static void mutex_lock_and_unlock(void)
{
	if (pthread_mutex_lock(mutex) || pthread_mutex_unlock(mutex))
		errx(1, "the mutex was not free");
}

static void pass_point(void)
{
	apmp_linux_pass(recorder, APMP_P_lock_acquired, 0, 0);
}

/* On the path of a lock, with nothing armed. */
static void pass_unarmed(void)
{
	APMP_POINT_ARMED(&env, named_acquired, 0);
}

static void record_point(void)
{
	if (apmp_recorder_pass(recorder, APMP_P_lock_acquired, 0, 0, 0))
		errx(1, "the point was armed");
}

static void pass_never(void)
{
}

static void read_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	__asm__ volatile("" : : "m"(now)); /* it is wanted */
}

/* Mean of one loop; the call costs both sides the same. */
static double ns_each(void (*volatile operation)(void))
{
	uint64_t begin = apmp_linux_now(NULL);

	for (uint32_t i = 0; i < ITERATIONS; i++)
		operation();
	return (double)(apmp_linux_now(NULL) - begin) / ITERATIONS;
}

static void round_of_all(void)
{
	static const struct {
		const char *name;
		void (*ours)(void), (*peer)(void);
		void (*point)(struct apmp_env *, enum apmp_point, uint64_t);
	} pairs[] = {
	    {"lock-protocol", lock_and_unlock, mutex_lock_and_unlock, pass_nothing},
	    {"lock-recorded", lock_and_unlock, mutex_lock_and_unlock, pass_recorded},
	    {"point", pass_point, read_clock, NULL},
	    {"point-entry", record_point, read_clock, NULL},
	    {"point-unarmed", pass_unarmed, pass_never, NULL},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		double ours, peer;

		if (pairs[i].point)
			env.point = pairs[i].point;
		ours = ns_each(pairs[i].ours);
		peer = ns_each(pairs[i].peer);
		printf("%s %.2f %.2f\n", pairs[i].name, ours, peer);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc == 2 ? atoi(argv[1]) : 0;

	if (rounds < 1)
		errx(2, "usage: bench_lock ROUNDS");
	env.self = apmp_identity(member.id, 1);
	apmp_store_relaxed(&member.cell, shared_memory(sizeof(struct apmp_db)));
	recorder = shared_memory(APMP_RECORDER_SIZE);
	apmp_recorder_init(recorder);
	env.armed = &recorder->armed;
	make_mutex();
	while (rounds-- > 0)
		round_of_all();
	return 0;
}
