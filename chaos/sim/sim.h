/*
 * sim.h - a simulated machine: instances, their console, one scheduler, one clock.
 *
 * WHAT      Two to eight instances run the very same shm/ sources as real ones, in one process, as
 *           coroutines.  Those sources are compiled with the thread sanitizer's instrumentation and
 *           linked with access.c in place of its runtime, so that every access to shared memory
 *           is a place where another participant may go on, or an instance may end.
 * FILES     arena.c     physical memory, and mappings of it at many addresses
 *           access.c    what the compiler calls at each access
 *           scheduler.c who runs next, what time it is, who waits
 *           fault.c     who dies or stops, what is written over, where
 *           sim_console.c, sim_instance.c, sim_locks.c  the participants
 *           play_mover.c, play_cpu.c, play_crash.c  their part in CPUs that move; instrumented
 *                       like shm/
 *           invariant.c, invariant_cpu.c, sim_locks.c  what must hold at each store, and when all
 *                       is quiet
 *           scenario.c  one run from power on to quiet
 *           sim_image.c a run in the midst of it, kept
 *           exhaust.c   runs for each access of an operation, and for each two
 *           update_world.c, update_requests.c, update_exhaust.c  the console's updates, likewise
 *           nvram_deaths.c, sim_disk.c  the same for a write of NVRAM, on a disk
 *           apmp_sim.c, sums.c  command line, sums over all runs and processes
 * SEED      Everything that is chosen comes from sim.random, so a seed is a run, access by access;
 *           sim.hash proves it.  Addresses are other ones each time, and must not matter.
 * LIMITS    Loads are not reordered, stores only by --memory weak.  One thread that locks in each
 *           instance, no applications and tasks.  At most SIM_MAX_INSTANCES partitions and SIM_CPUS
 *           CPUs beside their primaries, all compatible.  Wakes of those are never lost, for they
 *           don't look again at each tick.  Every page of memory is good.
 */
#ifndef APMP_CHAOS_SIM_SIM_H
#define APMP_CHAOS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "chaos/sim/coroutine.h"
#include "chaos/sim/random.h"
#include "shm/call.h"
#include "shm/cpu_request.h"
#include "shm/crash.h"
#include "shm/env.h"
#include "shm/layout_console.h"
#include "shm/layout_db.h"
#include "shm/layout_hwrpb.h"
#include "shm/lock.h"
#include "shm/member.h"
#include "shm/tree_write.h"

#define SIM_MAX_INSTANCES 8u
#define SIM_CPUS	  4u /* that move */
#define SIM_MACHINE_CPUS  (SIM_MAX_INSTANCES + SIM_CPUS)
/* Of an instance: primary, clock, one that uses named locks, one for each CPU that moves. */
#define SIM_THREADS	     (3u + SIM_CPUS)
#define SIM_MAX_PARTICIPANTS (SIM_THREADS * SIM_MAX_INSTANCES + 1u)
#define SIM_CONSOLE	     (SIM_THREADS * SIM_MAX_INSTANCES) /* its participant */
#define SIM_STORES	     8u				       /* stores that a CPU may hold back */
#define SIM_LIVES	     256u			       /* of one partition in one run */

#define SIM_RATE_ACCESSES 10000.0

#define SIM_MS		 1000000u
#define SIM_SHARED_COUNT 2u /* granules of shared memory */

#define SIM_PRIVATE_WORDS ((sizeof(struct apmp_member) + 7) / 8)
#define SIM_NAMED_COUNT	  2u /* named locks in use */

enum sim_op { SIM_LOAD = 1, SIM_STORE, SIM_RMW };
enum sim_policy { SIM_POLICY_RANDOM, SIM_POLICY_PCT, SIM_POLICY_SERIAL };
enum sim_operation {
	SIM_OP_NONE,
	SIM_OP_CREATE,
	SIM_OP_JOIN,
	SIM_OP_LEAVE,
	SIM_OP_TICK,
	SIM_OP_FENCE,
	SIM_OP_RECOVER,
	SIM_OP_ACQUIRE,
	SIM_OP_RELEASE,
	/* of a CPU that moves: anybody dies */
	SIM_OP_MIGRATE,
	SIM_OP_HALT,
	SIM_OP_RX,
	SIM_OP_DEASSIGN,
	SIM_OP_FAILOVER,
	SIM_OP_CRASH,
	SIM_OP_UPDATE, /* sim_update.h: a run of another kind */
	SIM_OP_NVRAM,  /* no instance's: a write of NVRAM, in the box */
	/* two at once, for preemptions */
	SIM_OP_JOIN_JOIN,
	SIM_OP_JOIN_DEATH,
	SIM_OP_LEAVE_SUSPICION,
	SIM_OP_LOCK_DEATH,
	SIM_OP_COUNT
};

/* What happens at an access that was chosen. */
enum sim_choice { SIM_DEATH = 1, SIM_SILENT_DEATH, SIM_PREEMPTION };

#define SIM_CHOSEN_MAX 2u
#define SIM_DEPTH_MAX  5u /* of policy pct */

/* A store that was made and is not yet seen by others (--memory weak). */
struct sim_store {
	void *to;
	uint64_t value;
	uint32_t size;
	bool release; /* not before those that were made earlier */
};

enum sim_participant_state { SIM_ENDED, SIM_READY, SIM_WAITING };
enum sim_thread { SIM_PRIMARY, SIM_CLOCK, SIM_LOCKER, SIM_CPU };

struct sim_participant {
	struct coroutine co;
	struct sim_instance *in; /* NULL: the console */
	uint32_t idx;
	enum sim_thread thread;
	enum sim_participant_state state; /* W: scheduler.c */
	uint64_t key;			  /* waits for a wake of this word; 0 none */
	uint64_t deadline_ns;		  /* or until then */
	uint64_t ready_since_ns;	  /* wants to run since then */
	uint64_t priority;		  /* policy pct: the highest runs */
	uint64_t linger; /* accesses that it still makes after its process was killed; 0: no end */
	bool timed_out;	 /* the last wait ended by its deadline */
	bool caught;	 /* a signal is on its way to it, */
	bool fails;	 /* and it takes none any more */
	enum apmp_point last_point;
	struct sim_store stores[SIM_STORES];
	uint32_t store_count;
	/* exhaust.c: the operation under way */
	enum sim_operation operation;
	bool is_wanted;		/* it is the one that the run is about */
	bool recovered, fenced; /* within it */
	uint32_t noted_from;
};

enum sim_life {
	SIM_OFF,    /* never booted */
	SIM_ALIVE,  /* runs, or stands still for a while */
	SIM_DYING,  /* its process was killed; one thread may still make a few accesses */
	SIM_DEAD,   /* runs no more; the console doesn't know */
	SIM_FENCED, /* the tree says so */
};

/* What a primary wants of its other CPUs. */
struct sim_cpus {
	struct {
		_Atomic uint32_t order; /* enum hwrpb_request_op, 0 none */
		uint32_t to_id, how, request;
		bool has_thread, start_again;
	} cpu[SIM_CPUS];
};

/* An instance that fails, as struct crash in instance/instance_crash.h. */
struct sim_crash {
	const struct apmp_crash *_Atomic first;
	struct apmp_crash gasp[SIM_THREADS]; /* of each thread */
	_Atomic uint32_t begun, progress;
	_Atomic uint64_t progress_ns;
	struct {
		_Atomic uint32_t step;
		uint32_t place;
	} cpu[SIM_CPUS];
};

/* Private memory of one life. */
struct sim_private {
	struct apmp_member member; /* first */
	struct sim_crash crash;
	struct sim_cpus cpus;
	struct apmp_locks locks;
};

/* What is known of a named lock beside its word. */
struct sim_named {
	uint64_t inside; /* identity between acquire and release; 0 */
	enum { SIM_GOOD, SIM_BROKEN, SIM_NOT_KNOWN } broken;
};

struct sim_words;

#define SIM_ASK_CRASH UINT32_MAX /* that its partition fails */

/* What the operator wants done with a CPU. */
struct sim_ask {
	uint32_t op; /* enum hwrpb_request_op, SIM_ASK_CRASH; 0 nothing */
	uint64_t to, flags;
};

/* A partition and its present life. */
struct sim_instance {
	struct apmp_env env;	    /* first: apmp_env is the way back to here */
	struct apmp_member *member; /* private memory of this life, in the arena */
	struct apmp_tree tree;
	uint32_t id;
	enum sim_life life;
	uint64_t identity;
	bool start;	       /* booted, its participants are to begin */
	bool leave_wanted;     /* its primary leaves at its next interrupt */
	bool boot_wanted;      /* the operator has asked the console to boot it */
	bool leaving;	       /* in apmp_member_leave */
	bool halts;	       /* its life ends in order: its CPUs stay */
	bool filled;	       /* a boot, perhaps one that was taken back, has filled its slots */
	uint64_t ended;	       /* the life whose process ended last */
	uint64_t exit_noticed; /* the box has told the console that this life's process ended */
	uint64_t notice_at_ns; /* when the box will notice, APMP_NEVER: it doesn't */
	uint64_t boot_at_ns;   /* when the operator will ask; APMP_NEVER */
	uint64_t stalled_until_ns; /* stands still */
	uint64_t last_beat_ns, last_silence_end_ns;
	uint64_t judged, told; /* lives that others have taken for dead, and that can know it */
	uint32_t beats_since_told;
	struct apmp_cpu_bits cpu_sets[4];
	/* sim_locks.c */
	uint32_t lock[SIM_NAMED_COUNT]; /* numbers; 0: not open */
	uint32_t took;			/* bit for each that it got since the last phase began */
	bool acquires;			/* is in apmp_lock_acquire */
	/* a callback that is on its way; one at a time */
	struct {
		struct sim_participant *holder; /* of the channel */
		bool pending, done;
		uint64_t seq;	   /* of this life's callbacks */
		uint64_t identity; /* whose: a request may outlive its sender */
		struct apmp_call call;
	} request;
	/* play_cpu.c */
	struct hwrpb *hwrpb;	     /* this life's mapping */
	bool may_crash;		     /* it can say so, and hand over its CPUs */
	bool announced;		     /* and has told the console */
	bool reported[SIM_LIVES];    /* removals by incarnation */
	uint64_t lost_in[SIM_LIVES]; /* incarnation of the set in which that life died a member */
};

/* What a run is made of; all of it follows from the seed and the command line. */
struct sim_plan {
	uint64_t seed;
	uint32_t instances;
	uint32_t cpus;	  /* that move */
	double kill_rate; /* faults in SIM_RATE_ACCESSES accesses; 0: none */
	enum sim_policy policy;
	uint64_t slice;	  /* mean accesses between two switches */
	uint64_t cost_ns; /* of an access */
	enum { SIM_NOTING_NOT, SIM_NOTING_FIRST, SIM_NOTING_SECOND } noting; /* exhaust.c */
	bool locks;  /* a thread of each instance uses named locks */
	bool spoils; /* a stray writer is among the faults */
	bool weak, garbage, lossy, leaves, reboots;
	struct apmp_timing timing;
	uint64_t chaos_ns;     /* then faults cease */
	enum sim_operation op; /* exhaust.c: what is killed access by access */
	/* exhaust.c: by access number; access 0: none */
	struct {
		uint64_t access;
		enum sim_choice what;
		/* a preemption: which of the others that are ready runs next; a death: 0 of who
		 * makes the access, 1 of the console, 2 + id of an instance */
		uint32_t target;
	} chosen[SIM_CHOSEN_MAX];
	/* policy pct: accesses at which the running one becomes the lowest but those that became
	 * so at one with a lower index; 0: none */
	uint32_t depth;
	uint64_t change[SIM_DEPTH_MAX - 1];
	enum apmp_point at; /* an instance dies here, */
	uint64_t at_nth;    /* at this passing */
};

/* One run. */
struct sim {
	/* what each access needs */
	struct sim_participant *current; /* NULL: the main stack */
	uint64_t now_ns, accesses, hash;
	uint64_t attention; /* the access at which sim_step must look up */
	struct sim_plan plan;
	struct sim_random random;
	/* scheduler.c */
	uint64_t ready;			       /* bit per participant: runs when it is picked */
	uint64_t due_ns[SIM_MAX_PARTICIPANTS]; /* when it is ready again by itself */
	uint64_t next_due_ns;		       /* not after any of them */
	uint64_t switches;
	uint64_t slice_end, next_fault, pause_at; /* as access numbers */
	bool soon;				  /* the next access looks up in any case */
	struct sim_participant *paused; /* who ran when sim_schedule returned to be resumed */
	struct sim_participant *last, *target; /* policy serial: who runs, who shall */
	uint32_t chosen_done;		       /* of plan.chosen */
	uint64_t next_event_ns;		       /* scenario.c wants to look */
	struct sim_instance instance[SIM_MAX_INSTANCES];
	struct sim_participant participant[SIM_MAX_PARTICIPANTS];
	bool quiet;			  /* no more faults */
	bool over;			  /* the run is ending: nobody goes on */
	bool ambush;			  /* the next to take the lock dies soon */
	struct sim_participant *ambushed; /* that one; NULL: none */
	bool reap;			  /* some participant was ended by another */
	uint32_t findings;
	uint64_t kills, crashes, stalls, console_kills, spoils, moved, at_passed;
	/* the console's */
	struct apmp_env console_env;
	struct apmp_tree_writer writer;
	struct apmp_update update;
	struct apmp_journal *journal;
	void *console_tree;
	uint64_t tree_size;
	struct hwrpb *console_hwrpb[SIM_MAX_INSTANCES];
	struct sim_words *words;
	/* CPUs that move */
	struct {
		struct sim_ask ask;
		uint64_t inside; /* identity of who executes on it, by what it has done */
		bool may_halt;	 /* somebody wants it to be in console mode */
		struct apmp_cpu_request order; /* what the console has asked of an instance */
		bool order_open;
	} cpu[SIM_CPUS];
	uint64_t targets[SIM_MAX_INSTANCES][SIM_CPUS]; /* failover targets */
	uint32_t fencing;			       /* partition id; APMP_NO_PARTITION: none */
	uint64_t console_back_ns;		       /* killed: starts again then */
	/* scenario.c */
	int phase;
	uint64_t phase_end_ns, still_since_ns, next_leave_ns, next_ask_ns;
	bool judged;	 /* of an operation: somebody was taken for dead */
	bool scripted;	 /* the scenario of an operation has done its one thing */
	bool prepared;	 /* what must come before it */
	uint32_t moving; /* and these CPUs that it is about are not yet where they shall be */
	/* access.c: which threads of a life have touched a word of its private memory plainly: the
	 * low half read, the high half written */
	uint16_t plain_use[SIM_MAX_INSTANCES][SIM_PRIVATE_WORDS];
	/* invariant.c */
	unsigned char *tree_before; /* in the arena */
	struct sim_named named[SIM_NAMED_COUNT];
	struct gct_community_node *community; /* as main memory has it */
	struct sim_range {
		uint64_t lock_holder, creating, creating_incarnation, last_incarnation;
		bool spoilt;	   /* a stray writer was here: who holds which lock is not known */
	} range[SIM_SHARED_COUNT]; /* where a database may lie */
};

extern struct sim sim;

/* Sums over all runs; words alone, so that those of several processes can be added. */
struct sim_totals {
	uint64_t runs, failed, findings, accesses, switches, virtual_ns, kills, crashes, stalls,
	    console_kills, spoils, moved, hash;
	uint64_t pairs;		/* runs with a second death or switch, */
	uint64_t skipped_pairs; /* and those that the stride left out */
	/* policy pct, by depth: runs, and sums over them of threads and accesses */
	uint64_t pct_runs[SIM_DEPTH_MAX + 1], pct_threads[SIM_DEPTH_MAX + 1],
	    pct_accesses[SIM_DEPTH_MAX + 1];
	uint64_t passed[APMP_P_COUNT];	    /* points */
	uint64_t kills_after[APMP_P_COUNT]; /* by the last point of who died; 0: none passed yet */
};

extern struct sim_totals totals;
extern const char *const sim_operation_names[SIM_OP_COUNT];
extern bool sim_verbose, sim_trace;
/* Makes the command line that replays the present run. */
extern void (*sim_print_replay)(FILE *out);

/* --- sums.c --- */

/* Begins count processes that share the work, each with its own sums; the number of this one.  In
 * sim_workers_gather the others end, and the first one gets the sums of all. */
uint32_t sim_workers_begin(uint32_t count);
void sim_workers_gather(void);
void sim_sums_text(double seconds);
void sim_sums_json(double seconds);
/* The points that were passed, where APMP_POINTS_DIR wants them. */
void sim_sums_points(enum sim_operation op);

/* --- arena.c: memory --- */

#define SIM_ARENA_SIZE	 (UINT64_C(128) << 20)
#define SIM_SLOT_SIZE	 (UINT64_C(512) << 10)
#define SIM_TREE_PA	 0u
#define SIM_LINES_PA	 SIM_SLOT_SIZE
#define SIM_SHARED_PA	 (2 * APMP_GRANULE)
#define SIM_PHYSICAL	 (SIM_SHARED_PA + SIM_SHARED_COUNT * APMP_GRANULE)
#define SIM_HWRPB_PA(id) (2 * SIM_SLOT_SIZE + (id) * (uint64_t)HWRPB_SIZE)
/* Keys of private memory lie above all physical addresses. */
#define SIM_PRIVATE_KEY(id) (UINT64_C(1) << 40 | (uint64_t)(id) << 32)

extern unsigned char *sim_arena, *sim_physical;

/* What a participant sees in a page of the arena: the key of its first byte, and these bits. */
#define SIM_PAGE_MAPPED	  UINT64_C(1)
#define SIM_PAGE_WRITABLE UINT64_C(2)
#define SIM_PAGE_PRIVATE  UINT64_C(4)
#define SIM_PAGE_RESERVED UINT64_C(8)

extern uint64_t sim_page[SIM_ARENA_SIZE / APMP_PAGE_SIZE];
extern bool sim_written[SIM_PHYSICAL / APMP_PAGE_SIZE]; /* in this run */

static inline bool sim_in_arena(const volatile void *p)
{
	return (uintptr_t)p - (uintptr_t)sim_arena < SIM_ARENA_SIZE;
}

/* The page of an address in the arena; 0 when nothing is mapped there. */
static inline uint64_t sim_arena_page(const volatile void *p)
{
	return sim_page[((uintptr_t)p - (uintptr_t)sim_arena) / APMP_PAGE_SIZE];
}

/* One name for a word whatever the address it is seen at: its physical address or private key. */
static inline uint64_t sim_arena_key(const volatile void *p)
{
	return (sim_arena_page(p) & ~(uint64_t)(APMP_PAGE_SIZE - 1)) |
	       ((uintptr_t)p & (APMP_PAGE_SIZE - 1));
}

void sim_arena_open(void);
/* All mappings away, physical memory zero, or garbage where the database will be. */
void sim_arena_reset(bool garbage);
/* Maps physical memory at an address that nobody has. */
void *sim_arena_map(uint64_t pa, uint64_t size, bool writable);
/* Zeroed memory of one life. */
void *sim_arena_private(uint32_t id, uint64_t size);
/* Addresses for sim_arena_map_at. */
void *sim_arena_reserve(uint64_t size);
void sim_arena_map_at(uint64_t pa, uint64_t size, void *at);
/* Ends what is mapped there, whole or in part. */
void sim_arena_unmap(void *base, uint64_t size);
/* --- sim_image.c: a run that is kept to go on from here again; main stack --- */

struct sim_image;
struct sim_arena_image;

struct sim_image *sim_image_make(void);
void sim_image_free(struct sim_image *image);
void sim_image_save(struct sim_image *image);
void sim_image_load(const struct sim_image *image);

/* Its part of arena.c. */
struct sim_arena_image *sim_arena_image_make(void);
void sim_arena_image_free(struct sim_arena_image *image);
void sim_arena_save(struct sim_arena_image *image);
void sim_arena_load(struct sim_arena_image *image);

/* What a finding calls it. */
const char *sim_key_name(uint64_t key, char *buffer, size_t size);

/* --- access.c --- */

/* Makes visible what a participant holds back. */
void sim_stores_drain(struct sim_participant *p);
/* One of them, if it may go now. */
void sim_stores_drain_one(struct sim_participant *p);
/* From here on both threads of a life may use its private memory: what was before is forgotten. */
void sim_access_forget(uint32_t id);

/* --- scheduler.c --- */

/* Before each shared access of the current participant; may switch, may not return. */
void sim_step_slow(void);
/* The current participant waits for a wake of key, or the deadline.  0 or -ETIMEDOUT. */
int sim_wait(uint64_t key, uint64_t deadline_ns);
void sim_wake(uint64_t key, uint32_t count);
/* An instance stands still until then. */
void sim_stall(struct sim_instance *in, uint64_t until_ns);
/* A signal for it: it is struck before its next access, or in its wait (sim_crash_caught). */
void sim_catch(struct sim_participant *p);
void sim_participant_begin(struct sim_participant *p, void (*body)(void *arg), void *arg);
/* Ends it; returns, unless it is the current one. */
void sim_participant_end(struct sim_participant *p);
/* Lets participants go on until sim.over, or sim.pause_at: then another call goes on. */
void sim_schedule(void);
void sim_look_up_soon(void);

static inline struct sim_participant *sim_thread_of(struct sim_instance *in, enum sim_thread thread)
{
	return &sim.participant[SIM_THREADS * in->id + thread];
}

static inline uint64_t sim_chance(uint64_t n)
{
	return sim_random_below(&sim.random, n);
}

/* --- fault.c --- */

/* The fault that is due at this access of the current participant; may not return. */
void sim_fault_due(void);
void sim_fault_plan_next(void);
/* The current participant has taken the database lock. */
void sim_fault_lock_taken(void);
/* Kills the process of an instance: at once where the current thread is its, or nearly so. */
void sim_kill(struct sim_instance *in, bool noticed);
/* Memory of the database is written over by nobody who should. */
void sim_spoil(void);
/* The process of the current participant ends by itself. */
__attribute__((noreturn)) void sim_exit(struct sim_instance *in);
/* Point passed: kills where the command line wants it. */
void sim_fault_at_point(enum apmp_point point);

/* --- sim_console.c --- */

#define SIM_CONSOLE_KEY 1u /* what the console waits on */

void sim_console_power_on(void); /* builds the tree; main stack */
void sim_console_begin(void);	 /* its participant; again after it was killed */
/* A kill that nobody can miss: no thread of it makes another access. */
void sim_instance_stop(struct sim_instance *in);

/* --- sim_instance.c --- */

void sim_instance_begin(struct sim_instance *in);
void sim_env_init(struct apmp_env *env);
/* A callback, until then.  -ETIMEDOUT: no answer; the channel is kept. */
int sim_channel_call(struct sim_instance *in, struct apmp_call *call, uint64_t deadline_ns);
/* The current participant never returns to a callback that it may be in. */
void sim_channel_abandon(struct sim_instance *in);

/* --- sim_locks.c: named locks --- */

void sim_locks_begin(struct sim_instance *in);
/* Whether a byte of the segment may be written. */
bool sim_locks_allowed(const struct sim_instance *in, struct apmp_db_locks *table, uint64_t off,
		       enum sim_op op);
/* A read-modify-write that changed it. */
void sim_locks_rmw(struct sim_instance *in, struct apmp_db_locks *table, uint64_t off, uint64_t old,
		   uint64_t value);
/* A set is made anew: the segment says nothing of what was. */
void sim_locks_created(bool reformed);

/* --- invariant.c --- */

/* The partition's life that an identity names, unless it is fenced or was never there. */
struct sim_instance *sim_living(uint64_t identity);

void sim_finding(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A store or read-modify-write of the current participant, before it is made. */
void sim_check_write(uint64_t key, uint32_t size, enum sim_op op, uint64_t value);
/* Others see now what was stored there. */
void sim_check_cpu_seen(uint64_t key);
/* A read-modify-write that changed a word. */
void sim_check_rmw(uint64_t key, uint64_t old, uint64_t value);
/* A life is over for certain: was it a member? */
void sim_check_lost(struct sim_instance *in);
/* Its clock beats. */
void sim_check_beat(struct sim_instance *in);
/* It ends because it was told that it was judged dead. */
void sim_check_bugcheck(struct sim_instance *in);
void sim_check_fence(struct sim_instance *in, uint64_t by);
void sim_check_report(struct sim_instance *by, uint32_t report, uint64_t about);
/* The next console has repaired the tree; an update was open. */
void sim_check_repaired(bool was_open);
/* NULL, or what is not yet as it must be in the end. */
const char *sim_unsettled(void);
void sim_check_end(void);
struct apmp_db *sim_db(void);

/* --- scenario.c --- */

void sim_plan_random(struct sim_plan *plan, uint64_t seed);
/* Nothing has happened yet; the participants keep their stacks. */
void sim_begin(const struct sim_plan *plan);
void sim_run(const struct sim_plan *plan);
/* The same in parts: power on, sim_schedule, what becomes of the sums. */
void sim_start(const struct sim_plan *plan);
void sim_finish(void);
/* Of an operation that moves a CPU. */
#define SIM_MOVE_FROM 1u
#define SIM_MOVE_TO   0u
#define SIM_SCRIPT_NS (20 * SIM_MS) /* by then those who boot first are members */

/* The scenario of an operation: one begins; somebody has been judged dead. */
void sim_script_operation(enum sim_operation op, struct sim_instance *in);
void sim_script_judged(void);
void sim_script_acquired(struct sim_instance *in);
/* Whether who uses named locks has to rest: it is quiet, or he has taken each once at the end. */
bool sim_locks_rest(const struct sim_instance *in);
/* What the main stack looks at between two participants. */
void sim_scenario_event(void);

/* --- exhaust.c --- */

bool sim_is_preemption(enum sim_operation op);
/* It is about a CPU that moves. */
bool sim_is_move(enum sim_operation op);
/* A thread begins and ends an operation. */
void sim_operation_begin(enum sim_operation op, struct sim_instance *in);
void sim_operation_end(void);
void sim_operation_note(enum sim_op op);

/* Which of the runs of an exhaustive search. */
struct sim_search {
	uint64_t first, second;	  /* the numbers that are wanted; 0 all */
	bool pairs;		  /* a second death, or a second preemption */
	bool twice;		  /* each run once more, without an image: the same trace */
	uint64_t stride;	  /* of the runs with a second one, every so many */
	uint32_t worker, workers; /* the share of this process of those with a first one */
};

extern uint64_t sim_exhaust_number, sim_exhaust_second; /* of what is under way, from 1 */
/* One run, or two, for each access of an operation. */
void sim_exhaust(struct sim_plan *plan, enum sim_operation op, const struct sim_search *wanted);

#endif
