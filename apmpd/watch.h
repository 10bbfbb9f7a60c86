/* Whether a process that is asked again and again still answers: the judgement alone, without
 * clock, timer or process.  box_watch.c asks and carries it out. */
#ifndef APMPD_WATCH_H
#define APMPD_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define APMP_WATCH_TICK_MS 250u
/* A tick that comes later than this did not come in time. */
#define APMP_WATCH_LATE_MS (APMP_WATCH_TICK_MS + 100u)
/* A silence that is worth telling. */
#define APMP_WATCH_NOTE_MS 1000u

/* All of one life; zero but for tick_ms at its start. */
struct apmp_watch {
	uint64_t tick_ms;	  /* when the last tick came */
	uint64_t asked, answered; /* numbers of the last question and of the last answer */
	uint64_t silence_ms;	  /* since the question, as far as it counts */
	uint64_t busy_ms;	  /* since the last tick */
	uint64_t cpu_time_ns;	  /* that the process had when the silence began */
	bool noted, held, killed;
};

/* What is to be seen of the process from outside. */
struct apmp_sight {
	char state;	      /* of /proc/PID/stat; 0: it has ended */
	pid_t tracer;	      /* 0: none */
	uint64_t cpu_time_ns; /* 0: not known */
};

enum apmp_watch_verdict {
	APMP_WATCH_WAIT = 1,
	APMP_WATCH_ASK,	 /* again: asked is the number */
	APMP_WATCH_NOTE, /* it is silent for APMP_WATCH_NOTE_MS: once */
	APMP_WATCH_HELD, /* it is silent because a debugger holds it: once */
	APMP_WATCH_KILL, /* it is silent for hung_ms: once */
};

/* A tick of the clock.  Time counts as silence only if
 *  - this tick came in time: who asks may have been stopped, and the other one with him;
 *  - who asks was not busy for the other one (apmp_watch_busy());
 *  - no debugger holds it: the count begins anew when it lets go;
 *  - while the process is runnable (state R), it had the CPU: it may be the host that is busy. */
__attribute__((warn_unused_result)) enum apmp_watch_verdict
apmp_watch_tick(struct apmp_watch *watch, uint64_t now_ms, const struct apmp_sight *sight,
		uint64_t hung_ms);

/* An answer.  Returns whether it ends a silence that was told. */
bool apmp_watch_answer(struct apmp_watch *watch, uint64_t number);

/* Who asks has spent so much time on what the other one wanted, and let it wait. */
void apmp_watch_busy(struct apmp_watch *watch, uint64_t ms);

/* Some other sign of life: counts until the first answer, for before that it can't answer. */
void apmp_watch_sign(struct apmp_watch *watch);

#endif
