/*
 * layout_recorder.h - the flight recorder of one party, and the injector's arming of its points.
 *
 * It outlives its writer: the box holds the descriptor, tools read it afterwards.
 */
#ifndef APMP_SHM_LAYOUT_RECORDER_H
#define APMP_SHM_LAYOUT_RECORDER_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define APMP_RECORDER_MAGIC   0x44524f434552u /* "RECORD" */
#define APMP_RECORDER_ENTRIES 4096u	      /* a power of two; older ones are overwritten */
#define APMP_RECORDER_POINTS  192u	      /* room for shm/points.def */
#define APMP_PANIC_SIZE	      256u
/* One death beacon for each thread of an instance: by CPU id, and those that are no CPU's. */
#define APMP_BEACON_CLOCK APMP_MAX_CPUS
#define APMP_BEACON_APPS  (APMP_MAX_CPUS + 1u)
#define APMP_BEACON_WAKER (APMP_MAX_CPUS + 2u)
#define APMP_BEACON_TASK  (APMP_MAX_CPUS + 16u) /* and those behind it: a place for tasks each */
#define APMP_BEACON_TASKS 64u
#define APMP_BEACONS	  (APMP_BEACON_TASK + APMP_BEACON_TASKS)

/* One passing of a point.  W: the party.  R: the box, tools.  seq is 0 while it is written. */
struct apmp_recorder_entry {
	_Atomic uint64_t seq;	 /* W: party, last.  R: tools; index + 1 */
	_Atomic uint64_t t_ns;	 /* W: party.  R: tools; CLOCK_MONOTONIC */
	_Atomic uint32_t point;	 /* W: party.  R: tools; enum apmp_point */
	_Atomic uint32_t thread; /* W: party.  R: tools; CPU id, or APMP_THREAD_* */
	_Atomic uint64_t arg;	 /* W: party.  R: tools; what the point's line says */
};

static_assert(sizeof(struct apmp_recorder_entry) == 32, "two to a line");

#define APMP_TASK_STATES(X)                                                                        \
	X(FREE, 0, "free")	     /* ended, or never began; its thread, if any, sleeps */       \
	X(BEGINNING, 1, "beginning") /* somebody gets it a thread */                               \
	X(READY, 2, "ready")	     /* in the queue */                                            \
	X(RUNNING, 3, "running")     /* a CPU has given it the baton */                            \
	X(WAITING, 4, "waiting")     /* for the tasks that it has spawned */

/* A task of an instance, as its scheduler left it; by the number of its beacon.
 * W: party, under its lock; console, before a life: 0.  R: tools, when that has ended */
struct apmp_recorder_task {
	_Atomic uint64_t number;      /* W: see above.  R: see above; 0: none */
	_Atomic uint32_t state;	      /* W: see above.  R: see above; APMP_TASK_STATES */
	_Atomic uint32_t cpu;	      /* W: see above.  R: see above; id + 1, 0: none */
	_Atomic uint32_t bound;	      /* W: see above.  R: see above; id + 1, 0: to none */
	uint32_t fill;		      /* W: nobody.  R: nobody */
	char program[APMP_NAME_SIZE]; /* W: see above, before number.  R: see above */
};

static_assert(sizeof(struct apmp_recorder_task) == 24 + APMP_NAME_SIZE, "no holes");

/* What strikes at an armed point: in the upper bits of its countdown. */
#define APMP_FAULTS(X)                                                                             \
	X(KILL, 1, "kill")     /* SIGKILL, as if the power went */                                 \
	X(SEGV, 2, "segv")     /* a store to where there is no memory */                           \
	X(ASSERT, 3, "assert") /* an assertion does not hold */

enum apmp_fault {
	APMP_FAULT_NONE = 0,
#define X(name, value, text) APMP_FAULT_##name = value,
	APMP_FAULTS(X)
#undef X
};

#define APMP_ARM_FAULT(word) ((word) >> 30)
#define APMP_ARM_COUNT(word) ((word)&0x3fffffffu)
#define APMP_ARM(fault, nth) ((uint32_t)(fault) << 30 | (nth))
#define APMP_ARM_COUNT_MAX   0x3fffffffu

#define APMP_THREAD_CLOCK   0x10000u
#define APMP_THREAD_CONSOLE 0x10001u
#define APMP_THREAD_BOX	    0x10002u
#define APMP_THREAD_APPS    0x10003u /* of an instance: serves its programs */

struct apmp_recorder {
	_Atomic uint64_t magic;	    /* W: box, once.  R: all */
	_Atomic uint64_t identity;  /* W: party at start.  R: tools */
	_Atomic uint64_t head;	    /* W: party, +1 for each entry.  R: tools */
	_Atomic uint64_t passed;    /* W: party, +1 for each point while armed.  R: tools */
	_Atomic uint32_t armed;	    /* W: console arms, party disarms.  R: party; count of points */
	_Atomic uint32_t step_fill; /* W: nobody.  R: nobody */
	/* How this life ends.  W: party; console, before a life: 0.  R: tools */
	_Atomic uint32_t died_at;  /* W: see above, before an injected end.  R: tools; apmp_point */
	_Atomic uint32_t panicked; /* W: see above.  R: tools; 1 when panic is valid */
	uint64_t fill[2];	   /* W: nobody.  R: nobody */
	/* of each point: 0 not armed, else APMP_ARM of a fault and the passings until it strikes */
	_Atomic uint32_t arm[APMP_RECORDER_POINTS];   /* W: console, party counts down.  R: both */
	_Atomic uint64_t count[APMP_RECORDER_POINTS]; /* W: party.  R: tools; passings */
	char panic[APMP_PANIC_SIZE];		      /* W: party, before panicked.  R: tools */
	/* Robust futex words (shm/beacon.h): id of the thread | waiters, and of a thread that has
	 * ended owner-died.  Each on its way once up and once down; nothing else is on these lines.
	 * W: box, zero before a life; the thread itself; the kernel, at its end.  R: box */
	_Atomic uint32_t beacon[APMP_BEACONS];
	struct apmp_recorder_task task[APMP_BEACON_TASKS];	 /* W: see there.  R: see there */
	struct apmp_recorder_entry entry[APMP_RECORDER_ENTRIES]; /* W: see there.  R: see there */
};

static_assert(offsetof(struct apmp_recorder, arm) == 64, "lines");
static_assert(offsetof(struct apmp_recorder, beacon) % 64 == 0, "lines");
static_assert(APMP_BEACONS > APMP_BEACON_CLOCK && APMP_BEACONS * sizeof(uint32_t) % 64 == 0,
	      "lines");
static_assert(offsetof(struct apmp_recorder, entry) % 64 == 0, "lines");

#define APMP_RECORDER_SIZE                                                                         \
	((sizeof(struct apmp_recorder) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE)

#pragma GCC diagnostic pop
#endif
