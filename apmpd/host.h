/* What the Linux host offers: CPUs, topology, system calls, scheduling classes.
 *
 * Probed once at start (hwloc, then each thing tried for real); never written afterwards.
 */
#ifndef APMPD_HOST_H
#define APMPD_HOST_H

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define APMP_HOST_CLASSES(X)                                                                       \
	X(FIFO, "SCHED_FIFO")                                                                      \
	X(NICE, "SCHED_OTHER, raised")                                                             \
	X(OTHER, "SCHED_OTHER")

enum apmp_host_class {
	APMP_HOST_CLASS_INVALID,
#define X(name, text) APMP_HOST_CLASS_##name,
	APMP_HOST_CLASSES(X)
#undef X
};

/* System calls and abilities: field name, what it is for. 0 = available, else negative errno. */
#define APMP_HOST_FEATURES(X)                                                                      \
	X(futex_waitv, "waiting for several doorbells at once (Linux 5.16)")                       \
	X(pidfd, "waiting for the end of a process that is no child (Linux 5.3)")                  \
	X(memfd_seal, "physical memory that nobody can shrink")                                    \
	X(close_range, "closing inherited descriptors (Linux 5.9)")                                \
	X(io_uring, "I/O processors (Linux 5.6)")

struct apmp_host {
	uint32_t magic;
	uint32_t cpu_count;	    /* allowed host CPUs */
	uint32_t numa_count;	    /* NUMA nodes that hold them */
	uint32_t core_count;	    /* physical cores that hold them */
	uint64_t memory_size;	    /* bytes of the host, as hwloc sees them */
	cpu_set_t allowed;	    /* sched_getaffinity() and hwloc agree on these */
	uint16_t cpus[CPU_SETSIZE]; /* the allowed ones, one thread of each core first */
	char kernel[72];	    /* uname -r */
	char cpu_model[96];
	enum apmp_host_class heartbeat_class; /* the best that a thread of ours can get */
	int fifo_error;			      /* 0, or why SCHED_FIFO was refused (-EPERM) */
	int nice_best;			      /* lowest nice value that was granted */
#define X(name, text) int name;
	APMP_HOST_FEATURES(X)
#undef X
};

/* -ENOMEM; -ENOTSUP: hwloc finds no topology; -errno of sched_getaffinity(). */
__attribute__((warn_unused_result)) int apmp_host_probe(struct apmp_host **ret);

/* NULL is allowed. */
void apmp_host_destroy(struct apmp_host *host);

/* The host CPU under an emulated CPU: one to one while there are enough, else round robin. */
uint32_t apmp_host_cpu_for(const struct apmp_host *host, uint32_t emulated_cpu_idx);

const char *apmp_host_class_name(enum apmp_host_class class);

/* The description as a JSON object (new reference; NULL: no memory) and as text for people. */
json_t *apmp_host_json(const struct apmp_host *host);
void apmp_host_print(const struct apmp_host *host, FILE *out);

#endif
