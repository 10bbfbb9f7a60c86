/*
 * samples.h - who owns and who runs each CPU, sampled from outside all the time.
 */
#ifndef APMP_CHAOS_SAMPLES_H
#define APMP_CHAOS_SAMPLES_H

#include <pthread.h>
#include <stdatomic.h>

#include "chaos/from_outside.h"

struct samples {
	struct outside outside;
	int32_t cpu[APMP_MAX_CPUS]; /* handles, GCT_NONE; nodes never move */
	uint32_t cpu_count;
	pthread_t thread;
	_Atomic bool stop, violated;
	_Atomic uint64_t taken; /* samples, each of the whole machine at one level of its tree */
	_Atomic uint64_t in_transit; /* CPUs that they saw on their way */
	char what[200];		     /* the first violation; written before violated */
};

/* Begins.  Errors of outside_open; -EAGAIN: no thread. */
APMP_CHECK int samples_begin(struct samples *s, const struct machine *machine);
/* Ends, and closes. */
void samples_end(struct samples *s);

#endif
