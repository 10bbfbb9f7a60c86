/* core_world.h - the core of a failed partition of the world of world.h, in a folder of its own. */
#ifndef APMP_TESTS_CORE_WORLD_H
#define APMP_TESTS_CORE_WORLD_H

#include "apmpd/write_dump.h"
#include "shm/layout_recorder.h"
#include "tests/unit/world.h"

#define CORE_WORLD_PRIVATE_PA UINT64_C(0x10000000000)
#define CORE_WORLD_TREE_PA    (UINT64_C(1) << 47)
#define CORE_WORLD_LINES_PA   (CORE_WORLD_TREE_PA + (UINT64_C(1) << 32))
#define CORE_WORLD_REC_PA     (CORE_WORLD_TREE_PA + (UINT64_C(2) << 32))
#define CORE_WORLD_PARTS      64u
#define CORE_WORLD_POINTS     1000u /* that ALPHA has passed */

struct core_world {
	struct world w;
	struct apmp_recorder *recorder;
	char dir[64];
	int state_fd;
	struct apmp_dump dump;
	struct apmp_dump_part part[CORE_WORLD_PARTS];
	struct apmp_dump_result result;
	unsigned copied; /* times that was said */
	json_t *text;
	char *dumped_text;
};

/* ALPHA, BETA and GAMMA are members; ALPHA has crashed, has private memory with a marker in it, and
 * holds a named lock. */
void core_world_init(struct core_world *cw);
void core_world_fini(struct core_world *cw);

/* One more piece of private memory: zero but for the first `used` bytes. */
void core_world_private(struct core_world *cw, uint64_t pa, uint64_t size, uint64_t used);

/* As this life of ALPHA.  What apmp_dump_write() says. */
int core_world_write(struct core_world *cw, uint64_t incarnation);
/* Both, for a set-up; its path. */
void core_world_dumped(struct core_world *cw, char ret_path[160]);
/* Its path. */
const char *core_world_path(const struct core_world *cw, char ret_path[160]);

#define CORE_WORLD_MARKER "a marker in private memory"

#endif
