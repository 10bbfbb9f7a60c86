/*
 * random.h - the one source of chance in the simulator: splitmix64, so that a seed is a run.
 */
#ifndef APMP_CHAOS_SIM_RANDOM_H
#define APMP_CHAOS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
	uint64_t state;
};

/* A bijection of 64-bit words without visible structure. */
static inline uint64_t sim_mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t sim_random_next(struct sim_random *r)
{
	r->state += UINT64_C(0x9e3779b97f4a7c15);
	return sim_mix(r->state);
}

/* 0 to n - 1; n > 0. */
static inline uint64_t sim_random_below(struct sim_random *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)sim_random_next(r) * n >> 64);
}

/* low to high, both included. */
static inline uint64_t sim_random_range(struct sim_random *r, uint64_t low, uint64_t high)
{
	return low + sim_random_below(r, high - low + 1);
}

/* True once in n. */
static inline bool sim_random_once_in(struct sim_random *r, uint64_t n)
{
	return sim_random_below(r, n) == 0;
}

#endif
