/*
 * layout_db.h - the APMP database: header, node blocks, service segments [0121]-[0124].
 *
 * It lies in shared memory of a community, at the page frames that the community node's
 * APMPDB_INFO names.  Its memory may hold anything when somebody arrives (a dead creator's half
 * work, garbage), so whatever is read here is checked before use; only two words must mean
 * something in every state: `lock`, whose holder is compared with the tree, and `state`.
 */
#ifndef APMP_SHM_LAYOUT_DB_H
#define APMP_SHM_LAYOUT_DB_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define APMP_DB_SOFTWARE_VERSION 1u
#define APMP_DB_MAX_SERVICES	 8u
#define APMP_DB_INFO_PAGES	 16u /* MAX_APMPDB_PAGES [0278]: what APMPDB_INFO describes */
#define APMP_DB_MAX_PAGES	 64u /* of the whole database: well below a granule's 512 */

/* State of the sharing set.  0 is "never made". */
#define APMP_DB_STATES(X)                                                                          \
	X(INITIALIZING, 1, "initializing") /* step 702: lock held, nothing below is valid */       \
	X(JOINING, 2, "joining")	   /* step 804: lock held, the set goes on meanwhile */    \
	X(OPERATIONAL, 3, "operational")   /* step 716 */                                          \
	X(RECOVERING, 4, "recovering")	   /* lock held, a dead member is being removed */         \
	X(EMPTY, 5, "empty")		   /* the last member left in order */

enum apmp_db_state {
#define X(name, value, text) APMP_DB_##name = value,
	APMP_DB_STATES(X)
#undef X
};

/* State of a node block.  0 is "never used". */
#define APMP_NODE_STATES(X)                                                                        \
	X(INITIALIZING, 1, "creating")                                                             \
	X(JOINING, 2, "joining")                                                                   \
	X(MEMBER, 3, "member")                                                                     \
	X(LEAVING, 4, "leaving")                                                                   \
	X(LEFT, 5, "left")                                                                         \
	X(REMOVED, 6, "removed")

enum apmp_node_state {
#define X(name, value, text) APMP_NODE_##name = value,
	APMP_NODE_STATES(X)
#undef X
};

/* What may be wrong with a database that living members use [0143]. */
#define APMP_DB_FAULTS(X)                                                                          \
	X(HEADER, 1, "header")	 /* fingerprint, version, place or sizes are not what was made */  \
	X(NODE, 2, "node block") /* a member's own block names somebody else */                    \
	X(SERVICE, 3, "service") /* a service's segment makes no sense */                          \
	X(PAGE, 4, "page")	 /* a page is marked bad, or can't be read */

enum apmp_db_fault {
#define X(name, value, text) APMP_DB_FAULT_##name = value,
	APMP_DB_FAULTS(X)
#undef X
};

/* Interrupt reasons of a node block [0124]. */
#define APMP_REASON_BUGCHECK 0x1u /* you were judged dead: touch nothing, end [0143] */
#define APMP_REASON_MEMBERS  0x2u /* the membership has changed */
#define APMP_REASON_LOCKS    0x4u /* somebody waits long for a named lock that seems to be yours */
#define APMP_REASON_WISH     0x8u /* somebody asks all for CPUs [0235] */

/* Where a service's segment lies [0123].  W: creator under lock.  R: members. */
struct apmp_db_segment {
	_Atomic uint32_t off;  /* bytes from the database's start, whole pages */
	_Atomic uint32_t size; /* bytes, whole pages; 0: no such service */
};

struct apmp_db_header {
	/* line 0 */
	_Atomic uint64_t lock; /* W: by compare-and-swap, shm/db_lock.c.  R: all; futex word is its
				* low half.  The synchronization quadword, item 1 of [0123] */
	uint64_t lock_fill[7]; /* W: nobody.  R: nobody */
	/* line 1 */
	_Atomic uint64_t fingerprint;	   /* W: creator under lock, step 716.  R: all */
	_Atomic uint32_t software_version; /* W: creator under lock.  R: all */
	_Atomic uint32_t state;		   /* W: lock holder.  R: all; enum apmp_db_state */
	_Atomic uint64_t actor;		   /* W: lock holder.  R: all; identity that moves state */
	_Atomic uint64_t creation_ns;	   /* W: creator under lock.  R: all; CLOCK_MONOTONIC */
	_Atomic uint64_t incarnation;	   /* W: creator under lock, +1.  R: all; of this set */
	_Atomic uint64_t creator;	   /* W: creator under lock.  R: all; identity */
	_Atomic uint32_t members_off; /* W: creator under lock.  R: all; to the membership mask */
	_Atomic uint32_t page_count;  /* W: creator under lock.  R: all; of the whole database */
	_Atomic uint64_t first_pfn;   /* W: creator under lock.  R: all; mapping information: where
				       * the initial piece is; see pfn_list [0169] */
	/* line 2 */
	_Atomic uint64_t members;	/* W: lock holder.  R: all; bit per partition id: the truth
					 * that ring and node states are derived from */
	_Atomic uint64_t crashing;	/* W: lock holder.  R: all; identity being removed */
	_Atomic uint64_t removed_count; /* W: lock holder.  R: all; members lost so far */
	_Atomic uint64_t validate;	/* W: lock holder sets, members their own bit.  R: all;
					 * members that must still check every page [0143] */
	_Atomic uint64_t service_mask;	/* W: creator under lock.  R: all; bit per service */
	_Atomic uint64_t expected; /* W: creator of a re-formed set, then lock holder clears bits.
				    * R: members; living members of the set before that have not
				    * come over yet: until it is 0 no named lock is granted */
	_Atomic uint64_t reformed_of; /* W: creator under lock.  R: members; incarnation of the set
				       * that this one replaces on the other range, 0: none */
	_Atomic uint64_t pfn_list;    /* W: creator under lock.  R: all; [31:0] first page frame of
				       * the PFN list, [63:32] its pages; 0: contiguous [0169] */
	/* line 3 */
	struct apmp_db_segment segment[APMP_DB_MAX_SERVICES]; /* W: see there.  R: see there */
};

static_assert(offsetof(struct apmp_db_header, fingerprint) == 64, "lines");
static_assert(offsetof(struct apmp_db_header, members) == 128, "lines");
static_assert(sizeof(struct apmp_db_header) == 256, "lines");

/* Classes of silences of little brothers that ended: by 1, 2-3, 4-7, ... missed ticks, and more. */
#define APMP_DB_SILENCES 8u

/* One per possible partition, by its id [0124]. */
struct apmp_db_node {
	/* line 0: what others tell this instance */
	_Atomic uint64_t reasons;     /* W: anyone sets bits, owner clears.  R: owner */
	_Atomic uint64_t bugcheck_of; /* W: fencers raise it, by compare-and-swap, before the bit.
				       * R: owner; the life that BUGCHECK is meant for, so that a
				       * late fencer can't hit the next one */
	uint64_t reasons_fill[6];     /* W: nobody.  R: nobody */
	/* line 1: written at every tick */
	_Atomic uint64_t heartbeat; /* W: owner, every tick.  R: all */
	_Atomic uint64_t beat_of;   /* W: owner before it beats.  R: all; identity that beats */
	uint64_t heartbeat_fill[6]; /* W: nobody.  R: nobody */
	/* line 2 */
	_Atomic uint64_t identity;	   /* W: owner under lock.  R: all; member of this life */
	_Atomic uint32_t software_version; /* W: owner under lock.  R: all */
	_Atomic uint32_t state; /* W: owner; lock holder REMOVED.  R: all; enum apmp_node_state */
	_Atomic uint64_t since_ns;	 /* W: owner under lock.  R: all; membership timestamp */
	_Atomic uint32_t little_brother; /* W: lock holder.  R: all; partition id I watch */
	_Atomic uint32_t big_brother;	 /* W: lock holder.  R: all; partition id that watches me */
	_Atomic uint64_t little_inactive_ns; /* W: owner.  R: all; silence of the little brother */
	_Atomic uint64_t validated; /* W: owner.  R: all; removed_count last validated for */
	_Atomic uint64_t left;	    /* W: owner under lock.  R: all; last identity of this partition
				     * that left in order; who else is gone has died */
	uint64_t ring_fill;	    /* W: nobody.  R: nobody */
	/* line 3 */
	_Atomic uint64_t silence[APMP_DB_SILENCES]; /* W: owner, +1 when one that it watches beats
						     * again.  R: tools; since it is a member */
	/* line 4 and 5 */
	char name[128]; /* W: owner under lock.  R: all; instance name [0088] */
};

static_assert(offsetof(struct apmp_db_node, heartbeat) == 64, "lines");
static_assert(offsetof(struct apmp_db_node, identity) == 128, "lines");
static_assert(offsetof(struct apmp_db_node, silence) == 192, "lines");
static_assert(sizeof(struct apmp_db_node) == 384, "lines");

/* The initial piece: what is mapped before the create or join decision [0122, 0127]. */
struct apmp_db {
	struct apmp_db_header header;
	struct apmp_db_node node[APMP_MAX_PARTITIONS];
};

#define APMP_DB_INITIAL_PAGES                                                                      \
	((uint32_t)((sizeof(struct apmp_db) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE))

static_assert(APMP_DB_INITIAL_PAGES < APMP_DB_MAX_PAGES, "room for the services");
static_assert(APMP_DB_INITIAL_PAGES <= APMP_DB_INFO_PAGES, "the initial piece is contiguous");

/* The PFN list, where the pages of the database are not contiguous [0169]: their page frames in
 * the order of their offsets, ascending; unused entries are zero. */
struct apmp_db_pfn_list {
	_Atomic uint64_t pfn[APMP_PAGE_SIZE / 8u]; /* W: creator under lock.  R: joiners under
						    * lock */
};

static_assert(sizeof(struct apmp_db_pfn_list) == APMP_PAGE_SIZE, "a page");
static_assert(APMP_DB_MAX_PAGES <= APMP_PAGE_SIZE / 8u, "one page holds the list");

/*
 * Service "cpu": each instance's CPU sets, for the others to read [0150, 0235].
 * W: the owner of the slot.  R: members.
 */
struct apmp_db_cpu_sets {
	_Atomic uint64_t identity;			 /* W: owner, last.  R: members */
	_Atomic uint64_t potential[APMP_MAX_CPUS / 64u]; /* W: owner.  R: members */
	_Atomic uint64_t configure[APMP_MAX_CPUS / 64u]; /* W: owner.  R: members */
	_Atomic uint64_t active[APMP_MAX_CPUS / 64u];	 /* W: owner.  R: members */
	_Atomic uint64_t autostart[APMP_MAX_CPUS / 64u]; /* W: owner.  R: members */
	_Atomic uint64_t depth; /* W: owner, at a tick.  R: members; see struct apmp_member */
	_Atomic uint64_t wish; /* W: owner.  R: members; CPUs that it asks all for [0235]: [7:0] how
				* many still, 0 none, above it a number that rises with each wish */
	_Atomic uint64_t giver; /* W: members, by compare-and-swap from 0; who did, or the owner,
				 * back to 0.  R: members; who gives a CPU, and which: [15:0]
				 * partition id + 1, [31:16] CPU id + 1, [63:32] low half of the
				 * incarnation; 0: nobody */
	/* Who can spare no CPU: [31:0] partitions 0 to 31, 32 to 63; [63:32] low half of the wish's
	 * number, so that a bit which comes too late for one wish says nothing of the next. */
	_Atomic uint64_t no[APMP_MAX_PARTITIONS / 32u]; /* W: owner; members their bit, by
							 * compare-and-swap.  R: owner */
	uint64_t fill[2];				/* W: nobody.  R: nobody */
};

static_assert(sizeof(struct apmp_db_cpu_sets) == 192, "lines");

#pragma GCC diagnostic pop
#endif
