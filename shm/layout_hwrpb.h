/*
 * layout_hwrpb.h - the hardware restart parameter block of one partition [0059, 0065, 0067].
 *
 * An instance boots from this and nothing else: CONFIG leads to the tree, the tree to everything.
 * W and R are the console and the partition it belongs to; each field says which of the two.
 */
#ifndef APMP_SHM_LAYOUT_HWRPB_H
#define APMP_SHM_LAYOUT_HWRPB_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define HWRPB_MAGIC 0x0000004250525748u /* "HWRPB" */

/* Per-CPU state flags [0067].  W: console in an update, as HWRPB slots change in concert with the
 * tree [0189]. */
#define HWRPB_PP	 0x1u  /* processor present in the machine */
#define HWRPB_PA	 0x2u  /* available to this partition: it may be invited to join SMP */
#define HWRPB_PRIMARY	 0x4u  /* the partition's primary */
#define HWRPB_COMPATIBLE 0x8u  /* type and revision allow it to run this partition's instance */
#define HWRPB_PRIMARY_OK 0x10u /* may become a primary [0090] */
#define HWRPB_CONSOLE	 0x20u /* the primary has ended, and is in console mode [0299] */

/* What the instance does with a CPU.  W: the partition; in AWAY, HALTED and 0 ("never seen here")
 * its primary, in the others the CPU. */
#define HWRPB_CPU_STATES(X)                                                                        \
	X(AWAY, 1, "away")	   /* its thread is parked; the CPU runs elsewhere or nowhere */   \
	X(STARTING, 2, "starting") /* in console code, was told to START [0293] */                 \
	X(CONFIGURED, 3, "configured") /* ours, not in the active set */                           \
	X(ACTIVE, 4, "active")	       /* takes part in SMP */                                     \
	X(QUIESCED, 5, "quiesced")     /* on its way out [0185] */                                 \
	X(HALTED, 6, "console")	       /* ours, in console mode: polls RX [0331] */

enum hwrpb_cpu_state {
#define X(name, value, text) HWRPB_CPU_##name = value,
	HWRPB_CPU_STATES(X)
#undef X
};

/* Messages of the TX and RX buffers [0293]: short words, as on a serial line. */
#define HWRPB_MSG_SIZE	   24u
#define HWRPB_MSG_STARTREQ "STARTREQ"
#define HWRPB_MSG_START	   "START"
#define HWRPB_MSG_MIGRATE  "MIGRATE"  /* and " ", the partition id, " loan" of a loan [0332] */
#define HWRPB_MSG_DEASSIGN "DEASSIGN" /* [0313] */

/* REASON_FOR_HALT and HALT_REQUESTED: a code, and of MIGRATE where to [0312, 0328]. */
#define HWRPB_HALT_MIGRATE    1u
#define HWRPB_HALT_DEASSIGN   2u
#define HWRPB_HALT_CODE(word) ((uint32_t)(word)&0xffu)
#define HWRPB_HALT_LOAN	      0x100u
#define HWRPB_HALT_TO(word)   ((uint32_t)((word) >> 32))
#define HWRPB_HALT_TO_SHIFT   32u

/* What the console asks an instance for.  The instance alone decides [0150, 0178]. */
#define HWRPB_REQUESTS(X)                                                                          \
	X(NONE, 0, "none")	 /* taken back: nothing is to be done */                           \
	X(MIGRATE, 1, "migrate") /* of a CPU; arg0 destination partition id, */                    \
	/* arg1 APMP_MIGRATE_* (shm/call.h) */                                                     \
	X(START, 2, "start")	   /* of a CPU, which is in console mode: joins SMP */             \
	X(STOP, 3, "stop")	   /* of a CPU: leaves SMP, halts into console mode */             \
	X(DEASSIGN, 4, "deassign") /* of a CPU: becomes nobody's, Figs. 29 and 32A */              \
	X(WISH, 5, "wish")	   /* arg0 how many CPUs to ask all members for [0235]; */         \
				   /* its result is how many came */

enum hwrpb_request_op {
#define X(name, value, text) HWRPB_REQUEST_##name = value,
	HWRPB_REQUESTS(X)
#undef X
};

/* One request at a time for each CPU, in its slot, and one of the partition: WISH.  The answer
 * repeats the number of what it answers, so none is taken for another's, and it stays where it is:
 * a report that is lost, or a console, takes nothing with it. */
struct hwrpb_request {
	_Atomic uint32_t seq;	 /* W: console, last.  R: partition; rises with each request */
	_Atomic uint32_t op;	 /* W: console before seq, and NONE at any time.  R: partition */
	_Atomic uint64_t answer; /* W: partition.  R: console; [63:32] seq of what it answers,
				  * [31:0] 0, a count, or -errno.  0 about a CPU: it has begun,
				  * which -errno may replace */
	_Atomic uint64_t arg[2]; /* W: console before seq.  R: partition */
};

/* How an instance is told to end: from then on nothing else is asked of it. */
#define HWRPB_ENDS(X)                                                                              \
	X(HALT, 1, "halt")   /* leaves the sharing set */                                          \
	X(CRASH, 2, "crash") /* bugcheck by instruction */

enum hwrpb_end {
#define X(name, value, text) HWRPB_END_##name = value,
	HWRPB_ENDS(X)
#undef X
};

/* One per CPU that is or could be in the machine [0067]. */
struct hwrpb_slot {
	_Atomic uint64_t flags;	   /* W: console in an update.  R: both */
	_Atomic uint32_t state;	   /* W: partition.  R: both; enum hwrpb_cpu_state */
	_Atomic uint32_t host_cpu; /* W: console.  R: partition; advisory: steers speed only */
	_Atomic uint64_t context; /* W: partition.  R: both; identity whose saved context this is */
	_Atomic uint64_t reason_for_halt; /* W: partition, before HALT; console code clears it.
					   * R: both; HWRPB_HALT_* [0328] */
	_Atomic uint64_t halt_requested;  /* W: partition, as above.  R: both [0312] */
	_Atomic uint32_t txrdy;	   /* W: console, and console code of the CPU, set; the primary, and
				    * the console at a departure, clear.  R: both */
	_Atomic uint32_t rxrdy;	   /* W: primary sets, the CPU clears.  R: the CPU; futex word */
	char tx[HWRPB_MSG_SIZE];   /* W: who sets txrdy, before it; only ever STARTREQ.
				    * R: primary after it */
	char rx[HWRPB_MSG_SIZE];   /* W: primary before rxrdy.  R: the CPU after it */
	_Atomic uint64_t arrivals; /* W: console, +1 with each STARTREQ.  R: both */
	_Atomic uint64_t type;	   /* W: console.  R: partition; processor type */
	_Atomic uint64_t revision; /* W: console.  R: partition; processor revision */
	_Atomic uint32_t refused;  /* W: the CPU before txrdy, primary clears.  R: primary; errno of
				    * what it was told and could not do: it stays halted [0330] */
	_Atomic uint32_t bound;	   /* W: partition.  R: console; number of a task that is bound to
				    * the CPU, its low bits; or 0 */
	struct hwrpb_request request; /* W: see there.  R: see there; of this CPU */
	_Atomic uint64_t not_started; /* W: primary.  R: console; [63:32] low half of arrivals at
				       * the last one with which it could not be started, [31:0]
				       * errno: why */
	uint64_t fill[3];	      /* W: nobody.  R: nobody; zero */
};

static_assert(sizeof(struct hwrpb_slot) == 3 * APMP_CACHE_LINE, "lines");

/* Why an instance ended by itself.  "Last gasp": what it could say. */
#define HWRPB_CRASHES(X)                                                                           \
	X(INSTRUCTION, 1, "by instruction") /* the operator's */                                   \
	X(ASSERTION, 2, "assertion")	    /* a bug that our own code has found; text has it */   \
	X(SIGNAL, 3, "signal")		    /* SIGSEGV and such; signal, address */                \
	X(RUNNER, 4, "CPU is run by somebody else") /* its execution word is not ours */           \
	X(REMOVED, 5, "judged dead")		    /* found its bugcheck bit [0143] */            \
	X(EXIT, 6, "exit by a task")		    /* which ended the process; text has it */

enum hwrpb_crash_reason {
#define X(name, value, text) HWRPB_CRASH_##name = value,
	HWRPB_CRASHES(X)
#undef X
};

#define HWRPB_CRASH_TEXT 128u

/* W: all threads that crash, what the first one has to say.  R: both, and who reads the dump. */
struct hwrpb_crash {
	_Atomic uint32_t state;	     /* W: last.  R: see above; 0 none, 2 whole */
	_Atomic uint32_t reason;     /* W: see above.  R: see above; enum hwrpb_crash_reason */
	_Atomic uint32_t thread;     /* W: see above.  R: see above; CPU id, or APMP_THREAD_* */
	_Atomic uint32_t signal;     /* W: see above.  R: see above; of SIGNAL */
	_Atomic uint64_t address;    /* W: see above.  R: see above; of SIGNAL: what it touched */
	_Atomic uint64_t t_ns;	     /* W: see above.  R: see above; CLOCK_MONOTONIC */
	_Atomic uint64_t image;	     /* W: see above.  R: see above; where its program lay, for who
				      * looks for a return address in that */
	uint64_t fill[3];	     /* W: nobody.  R: nobody; zero */
	char text[HWRPB_CRASH_TEXT]; /* W: see above.  R: see above; a sentence, ends with NUL */
};

static_assert(sizeof(struct hwrpb_crash) == 192, "lines");

#define HWRPB_REGISTERS 24u /* of ucontext_t, in its order */
#define HWRPB_FRAMES	24u
#define HWRPB_TASK_NAME 48u

/* The processing context of a CPU when its instance failed [0298, 0300]; of a CPU that runs a
 * task, the task's.  W: the partition.  R: both, and who reads the dump. */
struct hwrpb_context {
	_Atomic uint32_t state;	 /* W: last.  R: see above; 0 none, 1 being written, 2 whole */
	_Atomic uint32_t thread; /* W: see above.  R: see above; CPU id, or APMP_THREAD_* */
	_Atomic uint64_t task;	 /* W: see above.  R: see above; number of the task, or 0 */
	_Atomic uint64_t t_ns;	 /* W: see above.  R: see above; CLOCK_MONOTONIC */
	_Atomic uint32_t register_count;       /* W: see above.  R: see above */
	_Atomic uint32_t frame_count;	       /* W: see above.  R: see above */
	_Atomic uint64_t reg[HWRPB_REGISTERS]; /* W: see above.  R: see above */
	_Atomic uint64_t frame[HWRPB_FRAMES];  /* W: see above.  R: see above; return addresses */
	_Atomic uint64_t program;     /* W: see above.  R: see above; where the task's program was
				       * loaded, 0: it has none */
	_Atomic uint64_t program_end; /* W: see above.  R: see above; behind its instructions */
	char task_name[HWRPB_TASK_NAME]; /* W: see above.  R: see above; of its program, ends with
					  * NUL */
	uint64_t fill[4];		 /* W: nobody.  R: nobody; zero */
};

static_assert(sizeof(struct hwrpb_context) == 512, "lines");

/* Failover targets of a CPU [0296], Fig. 25: byte k is the id of the kth one + 1, 0 ends them.  The
 * partition itself means that the CPU stays in console mode [0300]; none at all means the same. */
#define HWRPB_TARGETS 8u

struct hwrpb {
	_Atomic uint64_t magic;	      /* W: console, last.  R: both */
	_Atomic uint64_t fingerprint; /* W: console.  R: both */
	_Atomic uint64_t pa;	      /* W: console.  R: both; its own physical address [0088] */
	_Atomic uint64_t unique;      /* W: console at boot.  R: both; identity [0065] */
	_Atomic uint64_t config;      /* W: console.  R: both; CONFIG, pa of the tree [0080] */
	_Atomic uint64_t intr;	      /* W: console.  R: both; pa of the interrupt lines */
	_Atomic uint64_t recorder;    /* W: console.  R: both; pa of the flight recorder */
	_Atomic uint64_t tick_ns;     /* W: console.  R: both; clock interrupt period */
	_Atomic uint64_t stop_ns;     /* W: console.  R: both; silence that ends in a fence */
	_Atomic uint32_t suspect;     /* W: console.  R: both; missed ticks that make a suspicion */
	_Atomic uint32_t primary;     /* W: console.  R: both; CPU id */
	_Atomic uint32_t cpu_count;   /* W: console.  R: both; slots in use: CPU ids are below */
	_Atomic uint32_t slot_size;   /* W: console.  R: both; sizeof(struct hwrpb_slot) */
	_Atomic uint64_t slot_off;    /* W: console.  R: both; from here to the slots */
	_Atomic uint64_t boot_count;  /* W: console.  R: both; times this partition was booted */
	_Atomic uint64_t programs; /* W: console, as the box says.  R: both; threads of its programs
				    * that run or could */
	uint64_t fill[2];	   /* W: nobody.  R: nobody; zero */
	struct hwrpb_request wish; /* W: see there.  R: see there; CPUs for this partition [0235] */
	_Atomic uint32_t end;	   /* W: console.  R: partition; enum hwrpb_end, or 0 */
	uint32_t fill_end;	   /* W: nobody.  R: nobody; zero */
	uint64_t fill_line[3];	   /* W: nobody.  R: nobody; zero */
	struct apmp_cpu_bits potential;		  /* W: partition.  R: both [0224] */
	struct apmp_cpu_bits configure;		  /* W: partition.  R: both [0224] */
	struct apmp_cpu_bits active;		  /* W: partition.  R: both [0224] */
	struct apmp_cpu_bits autostart;		  /* W: console.  R: both [0233] */
	struct hwrpb_crash crash;		  /* W: see there.  R: see there */
	_Atomic uint64_t failover[APMP_MAX_CPUS]; /* W: console.  R: both; see HWRPB_TARGETS */
	struct hwrpb_slot slot[APMP_MAX_CPUS];	  /* W: see there.  R: see there */
	/* By CPU id; what lies behind cpu_count is never touched. */
	struct hwrpb_context saved[APMP_MAX_CPUS]; /* W: see there.  R: see there */
};

static_assert(offsetof(struct hwrpb, wish) == 2 * APMP_CACHE_LINE, "lines");
static_assert(offsetof(struct hwrpb, slot) % APMP_CACHE_LINE == 0, "lines");

#define HWRPB_SIZE ((sizeof(struct hwrpb) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE)

#pragma GCC diagnostic pop
#endif
