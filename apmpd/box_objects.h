/* The objects that the box keeps for the console: descriptors by kind and id.
 *
 * What they mean is the console's business.  The table is in the order in which they were made,
 * which is the order in which a new console gets them.
 */
#ifndef APMPD_BOX_OBJECTS_H
#define APMPD_BOX_OBJECTS_H

#include "shm/wire/box.h"

#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#define APMP_OBJECT_FDS 2u

struct apmp_object {
	uint64_t key;  /* of kind and id, for the table */
	uint32_t kind; /* enum apmp_box_object */
	uint64_t id;
	uint64_t size; /* of a memfd; else 0 */
	int fds[APMP_OBJECT_FDS];
	unsigned fd_count;
	UT_hash_handle hh; /* hh.next: in the order of making */
};

/* The table: all zero is an empty one. */
struct apmp_objects {
	struct apmp_object *first;
};

/* Why memory was refused. */
struct apmp_shortage {
	uint64_t wanted, had;
	char limit[160];
};

/* "config", "ram", ...; "object" for what is none. */
const char *apmp_object_kind_name(uint32_t kind);

/* Makes an object and keeps it.  size counts for memfds only, and is in whole pages.  A recorder
 * is initialized, TREE_RO is a descriptor of TREE that maps only readable.
 * -EINVAL: no such kind, or id or size is not possible for it; -EEXIST; -ENOENT: TREE_RO without
 * TREE; -ENOMEM: ret_shortage is written, nothing was allocated; -EMFILE, -ENFILE; -errno. */
__attribute__((warn_unused_result)) int apmp_objects_make(struct apmp_objects *objects,
							  uint32_t kind, uint64_t id, uint64_t size,
							  const struct apmp_object **ret,
							  struct apmp_shortage *ret_shortage);

/* Keeps memory of the box's own making, whose descriptor is the table's from now on.  There is no
 * such object yet.  -ENOBUFS. */
__attribute__((warn_unused_result)) int
apmp_objects_keep(struct apmp_objects *objects, uint32_t kind, uint64_t id, int fd, uint64_t size);

/* NULL: there is none. */
const struct apmp_object *apmp_objects_find(const struct apmp_objects *objects, uint32_t kind,
					    uint64_t id);

/* Gives its memory back, whoever has it mapped, and closes it.  Nothing happens if there is none.
 * -errno: the memory can't be given back; the object is kept then. */
__attribute__((warn_unused_result)) int apmp_objects_drop(struct apmp_objects *objects,
							  uint32_t kind, uint64_t id);

/* Closes it without giving its memory back: somebody else has a descriptor, and does that.  There
 * is such an object. */
void apmp_objects_release(struct apmp_objects *objects, uint32_t kind, uint64_t id);

/* Closes all.  Memory goes with the last descriptor and mapping. */
void apmp_objects_fini(struct apmp_objects *objects);

#endif
