/*
 * instance_crash.h - the end of an instance that fails: Figs. 26A to 27, and what it leaves to be
 * read.
 */
#ifndef APMP_INSTANCE_INSTANCE_CRASH_H
#define APMP_INSTANCE_INSTANCE_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/crash.h"

struct instance;

/* What an instance that fails knows of one of its CPUs.  It only rises, but from ORDERED. */
enum crash_step {
	CRASH_NOTHING = 0,
	CRASH_ORDERED, /* it has been told to save its context and to go: step 2604 */
	CRASH_SAVED,   /* its context is saved, and nothing of ours runs on it: step 2700 */
	CRASH_SETTLED, /* it has gone, or stays */
};

struct crash_cpu {
	_Atomic uint32_t step;	  /* W: primary ORDERED, the CPU the others; enum crash_step */
	_Atomic uint32_t stopped; /* W: the thread of its task; 1: that runs no more */
	uint32_t place;		  /* W: primary; of a stopped one, of its next target */
};

struct crash {
	const struct apmp_crash *_Atomic first; /* W: the first that fails; its last gasp */
	_Atomic uint32_t begun; /* W: who fails, when that is written; 1: CPUs begin nothing new */
	_Atomic uint32_t progress;    /* W: all, +1 when something got further; futex word */
	_Atomic uint64_t progress_ns; /* W: all, before progress; when that was */
	struct crash_cpu cpu[APMP_MAX_CPUS];
};

/* crash_signal.c.  Takes the signals that say that an instance fails.  Everything is mapped. */
void instance_crash_init(struct instance *in);
/* Each thread says what it is, as instance_thread_is does for it: a CPU id or APMP_THREAD_*.  It
 * gets a stack for signal handlers, in case it fails for lack of one. */
void instance_crash_thread(uint32_t thread);

/* Ends the instance: the last gasp is written, its CPUs save their contexts and go to their
 * failover targets, the console is told.  Of several that come, the first one's reason is told.
 * text: a sentence. */
__attribute__((noreturn)) void instance_crash(struct instance *in, enum hwrpb_crash_reason reason,
					      const char *text);
/* err; but of whom the others judged dead (-EOWNERDEAD), ends it at once: nothing that is shared is
 * touched any more [0143]. */
int instance_living(int err);
/* An active CPU sees, between two things that it does, whether it has to go. */
static inline bool instance_crash_begun(const struct crash *crash)
{
	return atomic_load_explicit(&crash->begun, memory_order_acquire);
}
/* Waits for the end of an instance that fails. */
__attribute__((noreturn)) void instance_crash_wait(struct instance *in);
/* crash_cpu.c.  Fig. 27, of the calling CPU, which is active. */
__attribute__((noreturn)) void instance_crash_cpu(struct instance *in, uint32_t cpu_idx);
/* Each tick: ends an instance whose own end gets no further. */
void instance_crash_tick(struct instance *in);

#endif
