/*
 * cpu_wish.h - a broadcast request: an instance asks all members for CPUs, and who can spare one
 * that can run there gives it [0235].
 *
 * The primary of an instance calls all of it.
 */
#ifndef APMP_SHM_CPU_WISH_H
#define APMP_SHM_CPU_WISH_H

#include "shm/member.h"

#define APMP_WISH_MAX 255u /* CPUs of one wish */

/* A wish of ours; all zero at first. */
struct apmp_wish {
	uint64_t number; /* 0: none is open */
	uint32_t serial; /* of the last one of this life */
	uint32_t wanted; /* CPUs still */
	uint32_t came;
	uint64_t asked_ns; /* when who has not answered was asked last */
};

/* A CPU that we are giving to somebody; all zero at first. */
struct apmp_gift {
	uint64_t wisher; /* identity; 0: none */
	uint64_t number; /* of its wish */
	uint64_t claim;	 /* what stands in its slot */
	uint32_t cpu_idx;
};

/* What an instance can do for others. */
struct apmp_giver {
	void *ctx;
	/* A CPU that it can spare, of these, which can run there.  -ENODEV: none. */
	int (*spare)(void *ctx, const struct apmp_cpu_bits *potential, uint32_t *ret_cpu);
	/* Orders it to go there.  0, or why it can't. */
	int (*give)(void *ctx, uint32_t cpu_idx, uint32_t to_id);
	/* Whether it goes on here: it was refused since, or is back already. */
	bool (*stays)(void *ctx, uint32_t cpu_idx);
};

/* Asks all members.  -EINVAL: none, or more than APMP_WISH_MAX; -ENOTCONN: is no member; -EALREADY:
 * one is open; -EAGAIN: who served the last one is not done yet: again at a tick. */
APMP_CHECK int apmp_wish_begin(struct apmp_member *m, struct apmp_wish *wish, uint32_t count);
/* Sees what became of it; after each interrupt and at each tick while it is open.  True: it is
 * over: all have come, nobody can spare another one (whom a debugger holds is not waited for), or
 * the sharing set was formed anew; came says how many did. */
bool apmp_wish_look(struct apmp_member *m, struct apmp_wish *wish);
/* Nobody waits for it any more.  A CPU that is on its way comes nevertheless. */
void apmp_wish_end(struct apmp_member *m, struct apmp_wish *wish);

/* Serves the wishes of others, one CPU at a time; after each interrupt, and at each tick while
 * gift->wisher is not 0.  Costs nothing while nobody asks. */
void apmp_gift_look(struct apmp_member *m, struct apmp_gift *gift, const struct apmp_giver *giver);

#endif
