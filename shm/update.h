/*
 * update.h - an update of tree and HWRPBs that is whole or not at all: the console's power.
 */
#ifndef APMP_SHM_UPDATE_H
#define APMP_SHM_UPDATE_H

#include "shm/env.h"
#include "shm/layout_console.h"
#include "shm/layout_gct.h"
#include "shm/tree.h"

/* Objects that a journal entry can name. */
#define APMP_OBJECT_TREE     0u
#define APMP_OBJECT_STATE    1u
#define APMP_OBJECT_HWRPB(p) (16u + (p))
#define APMP_OBJECT_COUNT    (16u + APMP_MAX_PARTITIONS)

/* Stores that an update has room for behind those of shm/configure.c: the caller's own. */
#define APMP_UPDATE_SPARE 512u

struct apmp_update {
	uint64_t magic;
	struct apmp_env *env; /* for its points */
	struct apmp_journal *journal;
	struct {
		unsigned char *base; /* NULL: not mapped */
		uint64_t size;
	} object[APMP_OBJECT_COUNT];
	uint32_t depth; /* 1 between begin and commit */
};

void apmp_update_init(struct apmp_update *up, struct apmp_env *env, struct apmp_journal *journal);
void apmp_update_object(struct apmp_update *up, uint32_t object, void *base, uint64_t size);

/* Undoes an update that a dead console left open and brings the levels together.  Returns how
 * many stores were undone; -EBADMSG: the journal makes no sense, nothing was undone. */
APMP_CHECK int apmp_update_repair(struct apmp_update *up);

/* transient_level rises; until commit, stores go through the journal. */
void apmp_update_begin(struct apmp_update *up);
static inline bool apmp_update_open(const struct apmp_update *up)
{
	return up->depth != 0;
}

/* How many stores the open update, or the next one, has room for, the spare ones aside. */
uint64_t apmp_update_room(const struct apmp_update *up);

void apmp_update_store32(struct apmp_update *up, uint32_t object, _Atomic uint32_t *field,
			 uint32_t value);
void apmp_update_store64(struct apmp_update *up, uint32_t object, _Atomic uint64_t *field,
			 uint64_t value);
/* Handles and offsets are signed in the specification. */
void apmp_update_store_handle(struct apmp_update *up, _Atomic int32_t *field, int32_t value);
/* The update is whole: one store; then current_level follows and every CPU is interrupted. */
void apmp_update_commit(struct apmp_update *up);
/* The same without the interrupts: another update that follows at once brings them, or the caller
 * sends them when nobody is kept waiting by that [0117]. */
void apmp_update_commit_quietly(struct apmp_update *up);
/* Takes back every store since begin. */
void apmp_update_abort(struct apmp_update *up);

#endif
