/*
 * estate.h - a machine whose configuration is what tests are about: a tree with every kind of
 * component, two communities, eight partitions, and a console that can end at any point of an
 * update and be followed by the next one.
 *
 *   SBB 0  CPUs 0-3 (3 can't be primary), memory 0 (descriptors 0 and 1, 16 and 8 granules),
 *          I/O processor 0 with buses 0 and 1, a device controller on each
 *   SBB 1  CPUs 4-7, memory 1 (descriptor 2, 16 granules),
 *          I/O processor 1 with buses 2 and 3, which are bound to it, a device controller on each
 *   SBB 2  memory 2 (descriptor 3, 8 granules)
 *   lab    partitions a, b, c         den    partitions d, e        alone  f, g, h
 *
 * Nothing is owned, nothing is initialized at first.
 */
#ifndef APMP_TESTS_ESTATE_H
#define APMP_TESTS_ESTATE_H

#include <setjmp.h>

#include "shm/configure.h"
#include "shm/env.h"

#define ESTATE_PARTITIONS 8u
#define ESTATE_CPUS	  8u
#define ESTATE_DESCS	  4u
#define ESTATE_BUSES	  4u

enum { A, B, C, D, E, F, G, H };

struct estate {
	struct apmp_env env; /* first: a point gets from it to the estate */
	unsigned char *base;
	uint64_t size;
	struct apmp_console_state *state;
	struct apmp_update up;
	struct apmp_tree_writer tw;
	uint64_t points,
	    die_at; /* points passed since estate_run began; die at this one, 0 never */
	jmp_buf end;
	int32_t lab, den, part[ESTATE_PARTITIONS];
	int32_t sbb[3], cpu[ESTATE_CPUS], sub[3], ctrl[3], desc[ESTATE_DESCS], iop[2];
	int32_t bus[ESTATE_BUSES], device[ESTATE_BUSES];
};

/* max_fragments of each memory descriptor. */
void estate_init(struct estate *e, uint32_t max_fragments);
void estate_fini(struct estate *e);

struct apmp_tree_node estate_node(const struct estate *e, int32_t handle);
uint64_t estate_pa(const struct estate *e, uint32_t desc_idx);
/* The fragment that holds an address. */
struct apmp_tree_fragment estate_fragment(const struct estate *e, uint64_t pa);

/* A partition begins a life, or has ended it and is fenced. */
void estate_boot(struct estate *e, uint32_t id);
void estate_halt(struct estate *e, uint32_t id);

/* Asks, commits what was done, and fails the test when the tree is not consistent then, or was
 * touched by what was refused.  Returns the reason. */
enum apmp_reason estate_ask(struct estate *e, int32_t by, uint32_t op, uint64_t arg0, uint64_t arg1,
			    uint64_t arg2, const char *text, struct apmp_configured *ret);

/* All that an update changes, but for the levels and the pool behind first_free. */
struct estate_image *estate_image(const struct estate *e);
bool estate_is_like(const struct estate *e, const struct estate_image *image);
/* The same with its levels, to be put back; the pool behind first_free stays as it is. */
struct estate_image *estate_save(const struct estate *e);
void estate_restore(struct estate *e, const struct estate_image *saved);

/* Runs an operation with a console that dies at point die_at (0: it does not).  Whether it died:
 * then the next console has repaired the tree, and the test fails unless it is as before or, when
 * the update was committed, as after. */
bool estate_run(struct estate *e, void (*operation)(void *ctx), void *ctx, uint64_t die_at,
		const struct estate_image *before, const struct estate_image *after);
/* The operation, which changes something, dies at each of its points.  How many there were. */
uint64_t estate_kill_everywhere(struct estate *e, void (*operation)(void *ctx), void *ctx);

/* Fails the test when the tree is not consistent. */
void estate_check(const struct estate *e);

#endif
