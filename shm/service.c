/* service.c - the table of services, and where their segments lie. */
#include "shm/service.h"

#include "shm/shared.h"

#define X(name) extern const struct apmp_service apmp_service_##name;
APMP_SERVICES(X)
#undef X

const struct apmp_service *const apmp_services[APMP_SERVICE_COUNT] = {
#define X(name) [APMP_SERVICE_##name] = &apmp_service_##name,
    APMP_SERVICES(X)
#undef X
};

static_assert((int)APMP_SERVICE_COUNT <= (int)APMP_DB_MAX_SERVICES, "header has room");

void *apmp_service_segment(struct apmp_db *db, uint64_t mapped_size, enum apmp_service_idx idx)
{
	uint64_t off = apmp_load_relaxed(&db->header.segment[idx].off);
	uint64_t size = apmp_load_relaxed(&db->header.segment[idx].size);

	if (off % APMP_PAGE_SIZE || off < sizeof(*db) || off > mapped_size ||
	    mapped_size - off < size || size < apmp_services[idx]->size())
		return NULL;
	return (unsigned char *)db + off;
}
