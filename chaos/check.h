/*
 * check.h - what holds of a machine, judged from images of its memory.
 *
 * This shares the layouts with what it judges and none of its code.  Everything in an image may be
 * anything: it is looked at within its bounds, and what is odd is a finding.
 */
#ifndef APMP_CHAOS_CHECK_H
#define APMP_CHAOS_CHECK_H

#include <stdio.h>

#include "shm/wire/image_tree.h"

enum check_id {
#define X(symbol, id, paragraph, holds) CHECK_##symbol,
#include "chaos/checks.def"
#undef X
	CHECK_COUNT
};

struct check_info {
	const char *id, *paragraph, *holds;
};
extern const struct check_info check_infos[CHECK_COUNT];

#define CHECK_FINDINGS_MAX 256u
#define CHECK_NODES_MAX	   8192u
#define CHECK_ANYWHERE	   UINT32_MAX

/* What does not hold in an image. */
struct finding {
	enum check_id check;
	uint32_t community; /* whose database it is about; CHECK_ANYWHERE */
	/* Two findings are of one thing when this and the sentence are the same. */
	uint64_t stamp;
	char what[208];
};

struct findings {
	uint32_t count, lost; /* lost: more than there is room for */
	struct finding finding[CHECK_FINDINGS_MAX];
};

/* A CPU of the tree. */
struct check_cpu {
	const struct gct_cpu_node *node; /* NULL: there is none */
	int32_t handle;
};

/* An image as the checks see it. */
struct check {
	const struct image *image, *before; /* before: one taken earlier, or NULL */
	struct image_tree tree;
	bool tree_good; /* its structure is */
	uint32_t node_count;
	int32_t node[CHECK_NODES_MAX]; /* handles that hang below the root, root first */
	struct check_cpu cpu[APMP_MAX_CPUS];
	const struct gct_partition_node *partition[APMP_MAX_PARTITIONS]; /* NULL: none */
	const struct gct_community_node *community[APMP_MAX_PARTITIONS];
	char partition_name[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];
	char community_name[APMP_MAX_PARTITIONS][APMP_NAME_SIZE];
	/* Communities whose database is in somebody's hands: its findings say nothing yet. */
	uint64_t unsettled;
	uint64_t members; /* of it that live and are of it */
	uint32_t at;	  /* the community whose database is looked at; CHECK_ANYWHERE */
	uint64_t stamp;	  /* of what is looked at */
	struct findings *findings;
	unsigned char *claimed; /* units of the pool that belong to something */
	struct image_db db;
};

/* Judges an image, alone and as what came after `before` (or NULL).  ret_check is the caller's and
 * stays valid with the images.  -ENOMEM. */
VARLINK_MUST_CHECK int check_image(const struct image *image, const struct image *before,
				   struct check *ret_check, struct findings *ret_findings);

/* Longest stop time and tick of those that live, from their HWRPBs, within reason. */
void check_timing(const struct check *c, uint64_t *ret_tick_ns, uint64_t *ret_stop_ns);

/* Whether every member that lives in both images, and no debugger holds, has beaten in between. */
bool check_beaten(const struct image *image, const struct image *before);

/* ---- for the checks ---- */

__attribute__((format(printf, 3, 4))) void found(struct check *c, enum check_id id,
						 const char *format, ...);

/* What people call an owner: partition "beta"; in a buffer of the caller's. */
struct check_text {
	char text[64];
};
struct check_text check_owner(const struct check *c, int32_t handle);
struct check_text check_life(const struct check *c, uint64_t identity);

/* The partition behind a handle, or in an identity; APMP_NO_PARTITION. */
uint32_t check_partition_at(const struct check *c, int32_t handle);
/* A partition's HWRPB with its slots, when it is in the image and can be used; NULL. */
const struct hwrpb *check_hwrpb(const struct check *c, uint32_t id);
/* Whether an identity may run by the tree. */
bool check_alive(const struct check *c, uint64_t identity);
/* The life of a partition that is initialized; 0. */
uint64_t check_initialized(const struct check *c, uint32_t id);
/* The fragment that holds this address in whole pages of a community; NULL: none that it shares. */
const struct gct_mem_desc *check_shared(const struct check *c, int32_t community, uint64_t pa,
					uint64_t size);
/* Whether the page is marked bad [0277]. */
bool check_bad_page(const struct check *c, uint64_t pa);
/* Fragment idx of a descriptor; NULL: it has no such. */
const struct gct_mem_desc *check_fragment(const struct check *c, const struct gct_mem_desc_node *d,
					  uint32_t idx);

void check_tree(struct check *c);
void check_memory(struct check *c);
void check_cpus(struct check *c);
void check_database(struct check *c, uint32_t community);
void check_services(struct check *c);
void check_order(struct check *c);

/* ---- check_live.c ---- */

/* Watches a machine until what does not hold has stood, or all holds.  Exit codes of apmp. */
int check_live(const char *name, const char *save, bool json);
int check_dump(const char *file, bool json);

/* The same within a campaign: true, all holds; else what does not is the machine's violation. */
struct machine;
bool check_machine(struct machine *machine);

#endif
