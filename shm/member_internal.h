/*
 * member_internal.h - what the member_*.c files and the services share among themselves.
 */
#ifndef APMP_SHM_MEMBER_INTERNAL_H
#define APMP_SHM_MEMBER_INTERNAL_H

#include "shm/member.h"
#include "shm/shared.h"

/* Times an instance starts the join or create decision over before it gives up. */
#define APMP_ENTER_TRIES 64u

/* in_tick: whether the clock uses what the private cell names. */
enum {
	APMP_TICK_OUT = 0,
	APMP_TICK_IN = 1,
	APMP_TICK_AWAITED = 2 /* the primary waits for its end */
};

static inline struct apmp_db_node *apmp__own_node(struct apmp_member *m, struct apmp_db *db)
{
	return &db->node[m->id];
}

static inline struct apmp_db *apmp__db(struct apmp_member *m)
{
	return apmp_load_relaxed(&m->cell); /* the primary wrote it itself */
}

/* member_map.c.  Pages of the whole database, by the sizes of its services. */
uint32_t apmp__db_pages(void);
/* Callback set_APMPDB_info [0278], of APMPDB_INFO or the other range.  -EAGAIN: it holds something
 * else by now; what env's call said. */
APMP_CHECK int apmp__db_set_info(struct apmp_member *m, bool other, uint64_t old_info,
				 uint64_t new_info);
/* A good range in another granule than `but` (0: any): the other range, else one by steps (5) and
 * (6) [0280].  -ENOMEM: there is none; -EBADMSG. */
APMP_CHECK int apmp__db_choose(struct apmp_member *m, uint64_t but, uint64_t *ret_info);
/* DB_map_initial [0168], Fig. 6: chooses the pages, maps the initial piece and lets the clock use
 * it; what was mapped before is unmapped.  -ENOMEM: no good shared memory; -EOWNERDEAD: judged
 * dead; -EAGAIN: others change APMPDB_INFO again and again; -EBADMSG: the tree; what env's map or
 * call said. */
APMP_CHECK int apmp__db_map_initial(struct apmp_member *m);
/* DB_allocate [0169], by the creator: maps so many pages, which are then in m->pfn, and writes the
 * PFN list if they are not contiguous.  Pages that others may still use are not tested.  Errors as
 * before; -EREMCHG: the initial piece is bad by now, another place is to be chosen. */
APMP_CHECK int apmp__db_allocate(struct apmp_member *m, uint32_t pages, bool used);
/* DB_map_continue [0170], by a joiner; nothing when it is done.  -EBADMSG: page count or PFN list
 * make no sense; what env's map said. */
APMP_CHECK int apmp__db_map_continue(struct apmp_member *m);
/* DB_unmap [0166]. */
void apmp__db_unmap(struct apmp_member *m);

/* member_reform.c.  Whether by the tree the set lives elsewhere than what is mapped, or is another
 * one than that of this incarnation (0: none yet). */
bool apmp__db_superseded(const struct apmp_member *m, uint64_t incarnation);
/* That of our own. */
bool apmp__db_moved(const struct apmp_member *m);
/* What a member's clock looks at: words of the database that can't be so while its set lives. */
bool apmp__db_odd(struct apmp_member *m, struct apmp_db *db);
/* More of that, and pages that are marked bad: enum apmp_db_fault, or 0. */
uint32_t apmp__db_fault(struct apmp_member *m, struct apmp_db *db);
/* Other partitions of the community that have an ID [0262], and live or don't. */
uint64_t apmp__db_identified(const struct apmp_member *m, bool living);
/* Whether another instance that lives is, by its ID, a member of the last set of the community. */
bool apmp__db_lives_elsewhere(const struct apmp_member *m);
/* Moves APMPDB_INFO off the range that is mapped.  0: it is elsewhere now; -ENOMEM: there is no
 * other range; what env's call said. */
APMP_CHECK int apmp__db_give_up(struct apmp_member *m);
/* Sees to it that there is a second range [0125]; 0 where there is no room for one. */
void apmp__db_ensure_other(struct apmp_member *m);
/* A member enters the set anew where it is by now.  -EOWNERDEAD. */
APMP_CHECK int apmp__db_come_over(struct apmp_member *m);
/* The database was found odd, enum apmp_db_fault: gives it up and comes over.  -EOWNERDEAD. */
APMP_CHECK int apmp__db_reform(struct apmp_member *m, uint32_t fault);

/* member_enter.c.  Maps the database, then joins or creates; errors as apmp_member_enter. */
APMP_CHECK int apmp__db_enter(struct apmp_member *m);
/* The ID field of our own node [0262]; creating: the next of the community, which is returned.
 * What env's call or the console said. */
APMP_CHECK int apmp__db_set_id(struct apmp_member *m, uint64_t id, bool creating, uint64_t *ret_id);

/* db_lock.c.  The database lock [0133].  Returns 0, or 1 when it was taken from the dead.
 * -EOWNERDEAD; -EREMCHG: the set has moved, nothing is locked. */
APMP_CHECK int apmp__db_lock(struct apmp_member *m);
void apmp__db_unlock(struct apmp_member *m);
/* Gives back the lock that somebody's stray store says we hold. */
void apmp__db_unlock_stray(struct apmp_member *m);
/* Identity of the holder, 0 when it is free. */
uint64_t apmp__db_lock_holder(const struct apmp_db *db);
/* Whether this can be the holder of a lock in the database: it lives, and beats here or is a
 * member.  Somebody else's identity was written there by a stray store. */
bool apmp__db_may_hold(const struct apmp_member *m, const struct apmp_db *db, uint64_t identity);

/* member_recover.c.  All with the lock held. */
bool apmp__db_needs_recovery(struct apmp_member *m, struct apmp_db *db);
/* Removes the dead.  A member whose block is odd stays: the set is to be re-formed. */
void apmp__db_recover(struct apmp_member *m, struct apmp_db *db);

/* member_fence.c.  Fences whom the clock judged dead; the lock need not be held. */
void apmp__fence_dead(struct apmp_member *m, struct apmp_db *db);
/* Sets reasons in a partition's node block and interrupts its primary, or all its CPUs. */
void apmp__interrupt(struct apmp_member *m, struct apmp_db *db, uint32_t id, uint64_t reasons,
		     bool all_cpus);
bool apmp__bugchecked(struct apmp_member *m, struct apmp_db *db);

/* service_cpu.c.  The slots of service "cpu", by partition id; NULL: this instance is no member, or
 * the database makes no sense. */
struct apmp_db_cpu_sets *apmp__cpu_slots(struct apmp_member *m);
/* Tells the others our depth, when it has changed; the clock calls it in its tick. */
void apmp__cpu_publish_depth(struct apmp_member *m, struct apmp_db *db);

/* member_create.c, member_join.c: with the lock held.  -EAGAIN: start over; -EREMCHG: the set is
 * elsewhere, or another one, by now. */
APMP_CHECK int apmp__db_create(struct apmp_member *m);
APMP_CHECK int apmp__db_join(struct apmp_member *m);
/* Membership as this instance knows it itself. */
void apmp__db_is_member(struct apmp_member *m, uint64_t incarnation);
/* The fields of our own node block that say who we are. */
void apmp__node_fill(struct apmp_member *m, struct apmp_db *db);

#endif
