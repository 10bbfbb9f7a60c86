/* A dump is written: what a failed partition leaves, as a core (shm/wire/core.h). */
#ifndef APMPD_WRITE_DUMP_H
#define APMPD_WRITE_DUMP_H

#include "shm/wire/core.h"
#include "shm/wire/state_path.h"

struct apmp_env;

/* Memory that goes into it: [off, off + size) of a descriptor. */
struct apmp_dump_part {
	uint64_t pa, size;
	int fd;
	uint64_t off;
	bool may_miss; /* private memory: the largest is left out first when all is too much */
};

struct apmp_dump {
	struct apmp_env *env; /* passes the point */
	int state_fd;	      /* the state directory */
	uint64_t limit;
	uint32_t keep;
	uint32_t id; /* the partition */
	char partition[APMP_NAME_SIZE];
	uint64_t incarnation;
	const char *text; /* of its note */
	const struct apmp_dump_part *parts;
	uint32_t count;
	/* Called once, when nothing of the parts is read any more. */
	void (*copied)(void *ctx);
	void *ctx;
};

struct apmp_dump_result {
	char name[DUMP_NAME_SIZE];
	uint64_t bytes;	   /* on the disk */
	uint64_t left_out; /* of memory that would not have fitted */
	char why[160];	   /* with an error: a sentence */
};

/* Writes it as DUMP_FOLDER/PARTITION-NUMBER.core, where NUMBER follows the highest that is there:
 * it is whole on the disk, or not there.  So many of the oldest dumps are removed that their bytes
 * are never more than limit, and, when it is there, that they are no more than keep.
 * -ENOSPC: not enough room on the disk, where what NVRAM may need is left free; -E2BIG: more than
 * limit even without private memory; -EINVAL: parts that are none; -EFBIG: RLIMIT_FSIZE;
 * -EOVERFLOW: no number follows; -ENOMEM; -errno.  copied was called in any case. */
__attribute__((warn_unused_result)) int apmp_dump_write(const struct apmp_dump *dump,
							struct apmp_dump_result *ret);

/* Removes what a box that died had begun to write. */
void apmp_dump_tidy(int state_fd);

#endif
