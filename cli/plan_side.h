#ifndef APMP_CLI_PLAN_SIDE_H
#define APMP_CLI_PLAN_SIDE_H

/*
 * A machine as the planner sees it: the one that a file describes, or the one that runs.
 *
 * Both come as JSON of one form, that of a machine file (apmpd/machine_file.h). A running machine
 * says more: of each CPU and bus "owner" and "user" (the current owner; both null: nobody), of a
 * CPU also "is_primary"; "memory" of an SBB is a list of its descriptors, each with pa, size and
 * "pieces" (pa, size, owner, user, shared, base); a partition has "running", "incarnation", and
 * "resume": an apply that was cut off has halted it; its
 * "autostart" is a list. What a document does not say is not compared.
 */

#include <stdbool.h>

#include <jansson.h>

enum { PLAN_CPUS = 256, PLAN_SBBS = 64 };

struct plan_cpu {
	bool there;
	json_int_t sbb, type, revision;
	bool can_be_primary;
	const char *owner, *user;
	bool is_primary;
};

struct plan_bus {
	const char *id; /* "SBB.IOP.BUS" */
	json_int_t sbb;
	size_t disks;
	const char *owner, *user;
};

struct plan_memory { /* a descriptor of the running machine */
	json_int_t sbb, pa, size;
	bool owned; /* some of it */
};

struct plan_piece {
	size_t memory; /* index of its descriptor */
	json_int_t pa, size;
	const char *owner; /* a community if it is shared, else a partition; NULL: nobody */
	const char *user;
	bool shared, base;
};

struct plan_partition {
	const char *name, *community; /* NULL: in none */
	json_int_t memory;
	bool boot, boot_known, running, resume;
	const json_t *failover, *autostart;
};

struct plan_community {
	const char *name;
	json_int_t shared;
};

struct plan_side {
	const json_t *document; /* all texts are its */
	struct plan_cpu cpus[PLAN_CPUS];
	json_int_t sbb_memory[PLAN_SBBS];
	struct plan_bus *buses;
	struct plan_memory *memories;
	struct plan_piece *pieces;
	struct plan_partition *partitions;
	struct plan_community *communities;
	size_t bus_count, memory_count, piece_count, partition_count, community_count;
};

/* A side that divides nothing [0064] is divided as the other one is: commands do that. Both must be
 * there for as long as this one. */
void plan_side_divide_as(struct plan_side *side, const struct plan_side *other);

/* The document must outlive it. Exits when memory runs out. */
struct plan_side *plan_side_create(const json_t *document);
void plan_side_destroy(struct plan_side *side);

/* By name (NULL: finds nothing); NULL: there is none. */
const struct plan_partition *plan_find_partition(const struct plan_side *side, const char *name);
const struct plan_community *plan_find_community(const struct plan_side *side, const char *name);
const struct plan_bus *plan_find_bus(const struct plan_side *side, const char *id);

/* Whether two names are the same; NULL is only NULL. */
bool plan_same(const char *left, const char *right);

/* Whether it runs now; false also for NULL. */
bool plan_runs(const struct plan_side *side, const char *partition);

#endif
