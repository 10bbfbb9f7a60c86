/*
 * member.h - an instance as a member of a sharing set: enter, tick, watch, fence, recover, leave.
 *
 * Two threads of an instance use one struct apmp_member: its clock (apmp_member_tick only) and its
 * primary CPU (everything else).  They share the atomic fields and nothing else.
 */
#ifndef APMP_SHM_MEMBER_H
#define APMP_SHM_MEMBER_H

#include "shm/env.h"
#include "shm/layout_db.h"
#include "shm/tree.h"

struct apmp_timing {
	uint64_t tick_ns; /* clock interrupt period */
	uint64_t stop_ns; /* silence after which a live instance is fenced */
	uint32_t suspect; /* missed ticks that make a little brother inactive */
};

/* The longest chain of inactive little brothers that one instance watches [0142]. */
#define APMP_WATCH_MAX 8u

/* What the clock knows of one other instance.  W: clock. */
struct apmp_watch {
	uint64_t identity, heartbeat;
	uint64_t tick_no; /* own tick at which it was last looked at */
	uint64_t stop_ns; /* patience with it */
	uint32_t missed;  /* own ticks, not late ones, without a beat */
	bool debugged;	  /* a debugger may hold it */
};

struct apmp_member {
	uint64_t magic;
	struct apmp_env *env;
	const struct apmp_tree *tree;
	uint32_t id;	   /* partition id */
	int32_t community; /* handle */
	uint32_t community_id;
	struct apmp_timing timing;
	char name[128];			      /* instance name, unique in the set */
	const struct apmp_cpu_bits *cpu_sets; /* potential, configure, active, autostart */
	void *base;			      /* W: primary; what is mapped of the database */
	_Atomic uint64_t size;		      /* W: primary; bytes mapped */
	uint64_t pa;			      /* W: primary; physical address of that */
	_Atomic uint64_t info;		 /* W: primary; what APMPDB_INFO said when it was mapped */
	int32_t desc;			 /* W: primary; memory descriptor of that */
	uint32_t page_count;		 /* W: primary; pages of the database; 0: initial piece */
	uint64_t pfn[APMP_DB_MAX_PAGES]; /* W: primary; their page frames */
	uint64_t left, spoilt;		 /* W: primary; range and set that it gave up last */
	uint64_t reformed_ns;		 /* W: primary; when; 0 never */
	_Atomic uint64_t incarnation;	 /* W: primary; of the set it is a member of, 0 none */
	uint64_t came_from;		 /* W: primary; the set that it came over from last */
	bool no_place;			/* W: primary; a bad page was told, and there is no other */
	bool comes_over;		/* W: primary; from one place of the set to another */
	uint64_t pfn_list;		/* W: primary; as in the header */
	bool joined;			/* W: primary; holds membership */
	bool locked;			/* W: primary; holds the database lock */
	_Atomic(struct apmp_db *) cell; /* W: primary; the private cell of step 608 */
	_Atomic uint32_t in_tick;	/* W: clock, primary; see member_internal.h */
	_Atomic uint32_t watching;	/* W: primary; 1: member, watches its little brother */
	_Atomic uint64_t waits_for;	/* W: primary; who holds the table lock it waits for */
	uint64_t last_tick_ns, tick_no; /* W: clock */
	struct apmp_watch watch[APMP_MAX_PARTITIONS]; /* W: clock */
	/* Whom to fence.  W: clock; the bit last, which the primary clears. */
	_Atomic uint64_t dead[APMP_MAX_PARTITIONS];	 /* identity */
	_Atomic uint64_t judged_ns[APMP_MAX_PARTITIONS]; /* when, for the last time */
	_Atomic uint64_t dead_mask;
	uint64_t odd_count;		     /* W: primary; times shared memory made no sense */
	uint64_t known[APMP_MAX_PARTITIONS]; /* W: primary; members that changes were told of */
	struct apmp_locks *locks;	     /* shm/lock.h; NULL: takes no named locks */
	bool is_wished; /* W: primary; somebody has asked us for CPUs: shm/cpu_wish.h */
	uint64_t depth; /* W: clock, before its tick; tasks, and threads of
			 * programs, that run or could [0225] */
};

/* What apmp_member_tick found for the primary to do. */
#define APMP_WORK_FENCE	  0x1
#define APMP_WORK_RECOVER 0x2

/* -ENOENT: no partition has the HWRPB at this address; -ENODEV: it is in no community, and m is
 * good for apmp_member_tick and _work, which then do nothing;
 * -EBADMSG: the tree is not one. */
APMP_CHECK int apmp_member_init(struct apmp_member *m, struct apmp_env *env,
				const struct apmp_tree *tree, uint64_t hwrpb_pa,
				const struct apmp_timing *timing,
				const struct apmp_cpu_bits *cpu_sets);

/* Maps the database, then creates the sharing set or joins it (Figs. 6, 7A-7B, 8A-8B); returns
 * when this instance is a member.  Waits as long as the lock is held by the living.
 * -ENOMEM no shared memory for a database; -EEXIST the instance's name is taken by another member;
 * -EOWNERDEAD this instance was judged dead meanwhile: it must touch nothing and end;
 * -EALREADY it is a member; -EBADMSG the database of a living set makes no sense; -EAGAIN its pages
 * were changed by others again and again; what env's map or call said. */
APMP_CHECK int apmp_member_enter(struct apmp_member *m);

/* Leaves in order [0141, 0265].  -EOWNERDEAD; -ENOTCONN: is no member; what env's call said. */
APMP_CHECK int apmp_member_leave(struct apmp_member *m);

/* The clock interrupt [0139, 0142].  APMP_WORK_ bits; -EOWNERDEAD: the bugcheck bit is set: touch
 * nothing shared and end. */
APMP_CHECK int apmp_member_tick(struct apmp_member *m);

/* The primary's part of it, and of an interrupt: fences whom the clock judged dead, removes
 * members that are fenced, validates the database after a loss, re-forms the set when it is
 * odd, comes over when another has.  -EOWNERDEAD. */
APMP_CHECK int apmp_member_work(struct apmp_member *m);

/* What an instance tells the programs that run in it: another has become a member of the set, or is
 * one no more (it left, or was removed). */
struct apmp_member_change {
	uint64_t identity;
	bool added;
	bool failed; /* of a departure: it has not left in order */
};

/* The changes of membership since it was last asked, ourselves included, at most one departure and
 * one arrival for each partition, departures first.  Returns how many; none while the database
 * makes no sense.  The primary calls it after each of the functions above. */
uint32_t apmp_member_changes(struct apmp_member *m,
			     struct apmp_member_change ret_changes[2 * APMP_MAX_PARTITIONS]);

/* What a member lets the others know of its CPUs [0235]. */
struct apmp_member_load {
	uint64_t identity, depth;
	struct apmp_cpu_bits potential, active;
};

/* Copies it for every member, ourselves included, by partition id; returns how many.  None while
 * this instance is no member, or the database makes no sense.  The primary calls it. */
uint32_t apmp_member_loads(struct apmp_member *m,
			   struct apmp_member_load ret_load[APMP_MAX_PARTITIONS]);

/* Copies the primary's CPU sets to the database for others to read [0150]; nothing when it is no
 * member. */
void apmp_member_publish_cpus(struct apmp_member *m);

#endif
