/*
 * plan_model.h - a machine in miniature, for the tests of the planner: it makes the JSON that the
 * planner is given, and does the planner's steps by rules of its own. It knows nothing of cli/.
 */
#ifndef APMP_TESTS_PLAN_MODEL_H
#define APMP_TESTS_PLAN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

enum {
	MODEL_SBBS = 3,
	MODEL_CPUS = 12,
	MODEL_BUSES = 12,
	MODEL_PIECES = 256,
	MODEL_NAMES = 6, /* partitions that there can be */
	MODEL_COMMUNITIES = 3,
	MODEL_NONE = -1,
};

#define MODEL_UNIT (INT64_C(2) << 20) /* memory comes in these */

struct model_cpu {
	bool there, primary; /* may be one */
	int sbb, type, owner, user;
};

struct model_bus { /* number n is bus n % 4 of SBB n / 4 */
	bool there;
	int owner, user;
};

struct model_piece { /* size 0: unused */
	int sbb;
	int64_t pa, desc_pa, size;
	int owner; /* partition, or community if shared */
	bool shared, base;
};

struct model_partition {
	bool there, boot, running, resume;
	int community, primary;
	int64_t incarnation;
};

struct model {
	struct model_cpu cpu[MODEL_CPUS];
	struct model_bus bus[MODEL_BUSES];
	struct model_piece piece[MODEL_PIECES];
	struct model_partition partition[MODEL_NAMES];
	bool community[MODEL_COMMUNITIES];
	int64_t next_pa;
};

extern const char *const model_partition_name[MODEL_NAMES];
extern const char *const model_community_name[MODEL_COMMUNITIES];

/* A random machine: valid, and nothing runs. Each SBB has one descriptor, as in a file; swapped:
 * there may be a second one, which came in later. */
void model_random(struct model *m, bool swapped, uint64_t *seed);
/* Changes of ownership only: the hardware stays. */
void model_redeal(struct model *m, uint64_t *seed);
/* Boots what boots, lends CPUs, halts some, as a machine that has been used. */
void model_use(struct model *m, uint64_t *seed);

json_t *model_file(const struct model *m); /* as apmpd reads it from a file */
json_t *model_now(const struct model *m);  /* as it runs */

/* Does one step; NULL, or why it is refused. */
const char *model_do(struct model *m, const json_t *step);

/* Whether it is configured as the other one; what differs is said in text. */
bool model_is(const struct model *m, const struct model *want, char *text, size_t size);

/* Whether it could boot as it is configured. */
bool model_bootable(const struct model *m, int partition);

uint64_t model_draw(uint64_t *seed, uint64_t below);

/* ---- for the files of the model ---- */

bool model_runs(const struct model *m, int partition);
const char *model_boot(struct model *m, int partition);
const char *model_halt(struct model *m, int partition);
const char *model_migrate(struct model *m, int number, int to, bool loan);

int64_t model_owned(const struct model *m, int owner, bool shared);
int64_t model_sbb_memory(const struct model *m, int sbb);
void model_add_memory(struct model *m, int sbb, int64_t size);
/* NULL, or why it is refused; pa 0: any. */
const char *model_assign(struct model *m, int64_t size, int64_t pa, int owner, bool shared);
const char *model_release(struct model *m, int64_t size, int64_t pa, int owner, bool shared);
const char *model_remove_memory(struct model *m, int64_t pa);

#endif
