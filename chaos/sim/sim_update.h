/*
 * sim_update.h - the console's updates of tree and HWRPBs, killed access by access: what the files
 * update_world.c, update_requests.c and update_exhaust.c share.
 */
#ifndef APMP_CHAOS_SIM_SIM_UPDATE_H
#define APMP_CHAOS_SIM_SIM_UPDATE_H

#include "chaos/sim/sim.h"
#include "shm/cpu_move.h"

#define UPDATE_CPUS	  5u
#define UPDATE_PARTITIONS 4u /* that have an HWRPB here */
#define UPDATE_BOUNDARIES 4u

/* What a console keeps beside tree and HWRPBs and changes in the same updates. */
struct update_words {
	_Atomic uint64_t transit[UPDATE_CPUS], arrival[UPDATE_CPUS], permanent_level;
};

/* A whole machine, copied: what a console that starts finds. */
struct update_image {
	unsigned char *tree; /* sim.tree_size bytes */
	unsigned char *hwrpb[UPDATE_PARTITIONS];
	struct update_words words;
	struct apmp_journal *journal;
};

struct update_world {
	struct hwrpb *hwrpb[UPDATE_PARTITIONS];
	struct update_words *words;
	/* What the tree was after 0, 1, ... updates of the request: all that anybody may ever see.
	 */
	struct update_image boundary[UPDATE_BOUNDARIES];
	uint64_t digest[UPDATE_BOUNDARIES]; /* of each, as a reader sees it */
	uint32_t boundary_count, boundaries_passed;
	bool noting; /* the dry run, which makes the boundaries */
};

extern struct update_world world;

/* --- update_world.c --- */

/* A machine that is on: sim.writer, sim.update and world are ready; main stack. */
void update_world_begin(void);
/* The console's objects as a new one finds them; remap: at addresses of its own. */
void update_world_open(bool remap);
/* Room for one, for the life of the process. */
void update_image_make(struct update_image *image);
void update_image_save(struct update_image *image);
void update_image_restore(const struct update_image *image);
/* Whether memory is as the image says, byte for byte: the levels, the pool beyond first_free and
 * the closed journal aside.  NULL, or what differs. */
const char *update_image_differs(const struct update_image *image);
/* The request has made an update: what is there now is whole. */
void update_boundary(void);
/* All that a reader can see of the tree by shm/tree.h, as one number.  0, or an error of it. */
int update_digest(const struct apmp_tree *tree, uint64_t *ret_digest);

/* Handles of what update_world_begin has built: by type and id, by name. */
int32_t update_node(enum gct_node_type type, uint64_t id);
int32_t update_partition(const char *name);
int32_t update_community(const char *name);

/* --- update_requests.c --- */

struct update_request {
	const char *name;
	void (*prepare)(void); /* what must have happened before; NULL: nothing */
	void (*make)(void);    /* the console does it; each update ends with update_boundary() */
};

extern const struct update_request update_requests[];
extern const uint32_t update_request_count;
/* A callback that changes the configuration, and that none of them has made; NULL. */
const char *update_never_made(void);

/* --- update_exhaust.c --- */

/* An access of the console, before it is made; may not return. */
void update_note(enum sim_op op);
void update_event(void);
/* One run for each; or the share of them all that is wanted of this process. */
void update_exhaust(const struct sim_plan *plan, const struct sim_search *wanted);

#endif
