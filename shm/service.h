/*
 * service.h - system services that have a segment in the APMP database [0123, 0135, 0137].
 *
 * Every function but size is called with the database lock held.
 */
#ifndef APMP_SHM_SERVICE_H
#define APMP_SHM_SERVICE_H

#include "shm/member.h"

struct apmp_service {
	const char *name;
	/* Step 704: bytes of its segment. */
	uint32_t (*size)(void);
	/* Step 710: makes the segment fit for use, whatever it holds. */
	void (*create)(struct apmp_member *m, void *segment);
	/* Step 808.  0, or a negative errno: the instance can't join.  Also called when a member
	 * comes over to a re-formed set: what this instance holds by its private memory is entered
	 * again. */
	int (*join)(struct apmp_member *m, void *segment);
	void (*leave)(struct apmp_member *m, void *segment);
	/* Forgets a dead instance; may run again after it was interrupted. */
	void (*recover)(struct apmp_member *m, void *segment, uint32_t id);
	/* Whether what stands in the segment can be what this service writes [0143]: 0 or
	 * -EBADMSG.  Others may be writing, the lock is held, nothing is changed. */
	int (*validate)(struct apmp_member *m, void *segment);
};

#define APMP_SERVICES(X) X(cpu) X(lock)

enum apmp_service_idx {
#define X(name) APMP_SERVICE_##name,
	APMP_SERVICES(X)
#undef X
	    APMP_SERVICE_COUNT
};

extern const struct apmp_service *const apmp_services[APMP_SERVICE_COUNT];

/* A service's segment; NULL when the database's offsets make no sense for the mapped size. */
void *apmp_service_segment(struct apmp_db *db, uint64_t mapped_size, enum apmp_service_idx idx);

#endif
