/*
 * layout_common.h - sizes, limits and identities that every shared layout uses.
 */
#ifndef APMP_SHM_LAYOUT_COMMON_H
#define APMP_SHM_LAYOUT_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raised with every change of any shared layout; part of each header's fingerprint. */
#define APMP_LAYOUT_REVISION 1u

#define APMP_PAGE_SIZE	4096u
#define APMP_CACHE_LINE 64u
/* Granularity of physical memory [0161]: page size squared / 8. */
#define APMP_GRANULE ((uint64_t)APMP_PAGE_SIZE * APMP_PAGE_SIZE / 8u)

/* Platform maxima.  Partitions fit one 64-bit mask, so that membership is one word. */
#define APMP_MAX_PARTITIONS 64u
#define APMP_MAX_CPUS	    256u
#define APMP_NAME_SIZE                                                                             \
	32 /* bytes of a machine's, partition's or community's name, NUL included                  \
	    */

#define APMP_NO_PARTITION UINT32_MAX

/*
 * An identity names one life of a partition: (incarnation << 16) | (partition id + 1), never
 * reused, 0 is nobody.  Bit 15 is free for a lock word's "somebody waits" (shm/db_lock.c).
 */
#define APMP_IDENTITY_ID_MASK 0x7fffu

static inline uint64_t apmp_identity(uint32_t partition_id, uint64_t incarnation)
{
	return incarnation << 16 | ((uint64_t)partition_id + 1u);
}

/* The partition id in an identity; APMP_NO_PARTITION when it can't be one. */
static inline uint32_t apmp_identity_id(uint64_t identity)
{
	uint64_t id = identity & APMP_IDENTITY_ID_MASK;

	return id >= 1 && id <= APMP_MAX_PARTITIONS ? (uint32_t)id - 1u : APMP_NO_PARTITION;
}

static inline uint64_t apmp_identity_incarnation(uint64_t identity)
{
	return identity >> 16;
}

/* A set of CPUs, one bit for each CPU id [0224]. */
struct apmp_cpu_bits {
	uint64_t word[APMP_MAX_CPUS / 64u];
};

static inline bool apmp_cpu_bits_test(const struct apmp_cpu_bits *bits, uint32_t cpu_idx)
{
	return bits->word[cpu_idx / 64u] >> cpu_idx % 64u & 1u;
}

static inline void apmp_cpu_bits_set(struct apmp_cpu_bits *bits, uint32_t cpu_idx)
{
	bits->word[cpu_idx / 64u] |= UINT64_C(1) << cpu_idx % 64u;
}

static inline void apmp_cpu_bits_clear(struct apmp_cpu_bits *bits, uint32_t cpu_idx)
{
	bits->word[cpu_idx / 64u] &= ~(UINT64_C(1) << cpu_idx % 64u);
}

/* What two builds must agree on before they share a structure of this size. */
static inline uint64_t apmp_fingerprint(uint64_t size)
{
	return (uint64_t)APMP_LAYOUT_REVISION << 56 ^ (uint64_t)APMP_CACHE_LINE << 40 ^
	       (uint64_t)APMP_PAGE_SIZE << 24 ^ size;
}

#endif
