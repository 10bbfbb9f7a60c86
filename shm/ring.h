/*
 * ring.h - who watches whom [0141]: a function of the membership mask.
 *
 * An instance's little brother is the next member by partition id, around the end; so joining
 * takes over the duties of the chosen big brother and leaving hands them back, as [0141] asks,
 * and after any death the ring can be rebuilt from the mask alone.
 */
#ifndef APMP_SHM_RING_H
#define APMP_SHM_RING_H

#include <stdbool.h>

#include "shm/layout_db.h"

/* The member after id, around the end; id itself when it is the only one or there is none. */
uint32_t apmp_ring_little(uint64_t members, uint32_t id);
/* The member before id. */
uint32_t apmp_ring_big(uint64_t members, uint32_t id);

/* Adds a member that is already in the mask: big brother's duties first, then it becomes his
 * little brother.  Lock held. */
void apmp_ring_add(struct apmp_db *db, uint32_t id);
/* Hands over the duties of one that is out of the mask already.  Lock held. */
void apmp_ring_remove(struct apmp_db *db, uint32_t id);
/* Writes every member's brothers anew.  Lock held. */
void apmp_ring_rebuild(struct apmp_db *db);

/* Whether this member's brothers are those of the mask. */
bool apmp_ring_is_whole(const struct apmp_db *db, uint64_t members, uint32_t id);

#endif
