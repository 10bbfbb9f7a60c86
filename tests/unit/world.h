/*
 * world.h - a small machine for the tests of libapmp, in one process and without a clock.
 *
 * Two SBBs with four CPUs each, six partitions, two communities, a tree built by
 * shm/tree_write.c, a console that answers callbacks at once, and a virtual clock that only the
 * test moves.  Each party (an instance, or the console) has an environment and mappings of its
 * own: the tree read-only, the community's shared memory at another address than everybody else.
 *
 * A party can be ended at the nth passing of any point: party_run then returns PARTY_DIED, nothing
 * of it runs any more, and its mappings are gone.  The console does not know that before
 * world_fence.
 */
#ifndef APMP_TESTS_WORLD_H
#define APMP_TESTS_WORLD_H

#include <setjmp.h>

#include "shm/cpu_move.h"
#include "shm/layout_intr.h"
#include "shm/member.h"
#include "shm/pal.h"
#include "shm/tree_write.h"

#define MSEC UINT64_C(1000000)

/* Partition ids, which the console gives out densely in this order. */
enum {
	ALPHA,	  /* lab, CPUs 0 (primary) and 1 */
	BETA,	  /* lab, CPUs 2 (primary) and 3 */
	GAMMA,	  /* lab, CPU 4 */
	DELTA,	  /* lab, CPU 5 */
	STRANGER, /* community "other", which has no memory; CPU 6 */
	LONE,	  /* in no community, no CPU.  CPU 7 is unowned */
	WORLD_PARTITIONS
};

#define BIT(id) (UINT64_C(1) << (id))

#define WORLD_CPUS	  8u
#define WORLD_RANGES	  2u /* of shared memory of community "lab", a granule each */
#define WORLD_RANGE_SIZE  APMP_GRANULE
#define WORLD_HWRPB_PA(p) (UINT64_C(0x100000) + (uint64_t)(p)*UINT64_C(0x10000))
#define WORLD_MAPPINGS	  8u
#define WORLD_TRAIL	  512u

/* What party_run returns when the party died at the point that was armed. */
#define PARTY_DIED 1000

struct world;

struct world_mapping {
	void *base;
	uint64_t size;
};

struct party {
	struct apmp_env env; /* first: a callback gets from it to the party */
	struct world *world;
	uint32_t id;
	bool ended;	 /* runs no more: killed at a point, fenced, or saw its bugcheck bit */
	bool bugchecked; /* it was that bit */
	bool hung;	 /* world_tick leaves it out */
	struct apmp_tree tree;
	struct apmp_member member;
	struct apmp_cpu_bits cpu_sets[4];
	struct hwrpb *hwrpb;
	enum apmp_point die_at; /* end there, */
	uint32_t die_nth;	/* at this passing from now */
	jmp_buf end;
	void (*on_point)(struct party *p, enum apmp_point point, uint64_t arg);
	void (*on_wait)(struct party *p, const _Atomic uint32_t *word);
	void (*on_call)(struct party *p, struct apmp_call *call); /* before it is answered */
	int call_error;	    /* what every callback fails with, 0 none */
	int map_error;	    /* what mapping fails with, */
	uint32_t map_after; /* after so many that succeed */
	struct world_mapping mapping[WORLD_MAPPINGS];
	uint32_t calls, waits, wakes;
	uint32_t reports[32];		    /* by enum apmp_report */
	uint64_t report_about[32];	    /* of the last one */
	enum apmp_point trail[WORLD_TRAIL]; /* points passed, oldest first */
	uint32_t trail_count;
};

struct world {
	uint64_t now_ns;
	int tree_fd, shared_fd;
	unsigned char *tree_base; /* the console's, writable */
	uint64_t tree_size;
	unsigned char *shared; /* the console's view of both ranges, one behind the other */
	uint64_t range_pa[WORLD_RANGES];
	struct apmp_console_state *state; /* with the journal */
	struct apmp_update up;
	struct apmp_tree_writer tw;
	int32_t lab, other; /* handles */
	int32_t cpu[WORLD_CPUS];
	int32_t sub[2], desc[2], ctrl[2]; /* memory subsystems, descriptors, controllers, by SBB */
	struct apmp_intr_line line[WORLD_CPUS];
	struct apmp_timing timing;
	struct party console;
	struct party party[WORLD_PARTITIONS];
};

/* A machine whose tree is published and where nothing is booted. */
void world_init(struct world *w);
/* A console that starts again: a new update and writer on the same memory. */
void world_restart_console(struct world *w);
/* Frees everything; fails the test when a living party that left still has something mapped. */
void world_fini(struct world *w);

/* Boots the next life of a partition; one before is fenced first. */
struct party *world_boot(struct world *w, uint32_t id);
/* Boots and enters: the party is a member. */
struct party *world_member(struct world *w, uint32_t id);
/* The life of a partition is ended and the tree says so. */
void world_fence(struct world *w, uint32_t id);

/* One clock tick later: everybody who lives and is not hung ticks, then does the work that its
 * tick found. */
void world_tick(struct world *w);
void world_ticks(struct world *w, uint32_t count);

/* Runs an operation of a party; PARTY_DIED when it ended at the point that was armed. */
int party_run(struct party *p, int (*operation)(struct party *p));
void party_arm(struct party *p, enum apmp_point point, uint32_t nth);
/* Operations for party_run. */
int party_enter(struct party *p);
int party_leave(struct party *p);
int party_work(struct party *p);
int party_tick(struct party *p);

/* Whether the party passed the point, and how often. */
uint32_t party_passed(const struct party *p, enum apmp_point point);
struct apmp_db *party_db(struct party *p);
uint64_t party_identity(const struct party *p);

/* The words of a CPU on its way, in the console's state. */
struct apmp_cpu_words world_cpu_words(struct world *w, uint32_t cpu_idx);

/* What moves CPUs between the partitions; none has failover targets, and the host refuses
 * nothing. */
struct apmp_cpu_mover world_mover(struct world *w);

/* The database as the console would see it, where APMPDB_INFO says it is; until then the first
 * range. */
struct apmp_db *world_db(struct world *w);
uint64_t world_pfn(struct world *w);
/* Fails the test unless the sharing set is whole and these are its members: lock free, state,
 * mask, identities, ring, service slots, names, mapping information, ID fields; and nobody is
 * expected. */
void world_check_set(struct world *w, uint64_t members);

#endif
