/*
 * arena.c - physical memory, and mappings of it that have another address each time.
 *
 * WHAT      Physical memory is one memfd.  The arena is a stretch of reserved addresses cut into
 *           slots; a mapping takes a slot at random, so a host pointer that got into shared memory
 *           or was kept after an unmap leads to a fault soon.  Private memory of a life (what its
 *           two threads share) lies in a slot too, so that access.c sees it.
 * LIMITS    A mapping fits one slot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"
#include "shm/layout_intr.h"

#define SLOTS ((uint32_t)(SIM_ARENA_SIZE / SIM_SLOT_SIZE))

unsigned char *sim_arena, *sim_physical;
static int physical_fd;

#define PAGES (SIM_ARENA_SIZE / APMP_PAGE_SIZE)

static struct slot {
	uint64_t size; /* 0: free */
	bool private;
} slots[SLOTS];
static uint64_t page_key[PAGES]; /* of its first byte */
static uint32_t used[SLOTS], used_count;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

void sim_arena_open(void)
{
	sim_arena = mmap(NULL, SIM_ARENA_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	physical_fd = memfd_create("apmp-sim", MFD_CLOEXEC);
	if (sim_arena == MAP_FAILED || physical_fd < 0 || ftruncate(physical_fd, SIM_PHYSICAL))
		die("apmp-sim: can't reserve memory for the simulated machine");
	sim_physical = mmap(NULL, SIM_PHYSICAL, PROT_READ | PROT_WRITE, MAP_SHARED, physical_fd, 0);
	if (sim_physical == MAP_FAILED)
		die("apmp-sim: can't map the simulated machine's memory");
}

static uint32_t slot_of(const volatile void *p)
{
	return (uint32_t)(((uintptr_t)p - (uintptr_t)sim_arena) / SIM_SLOT_SIZE);
}

static void release(uint32_t slot)
{
	void *base = sim_arena + slot * SIM_SLOT_SIZE;

	if (mmap(base, slots[slot].size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("apmp-sim: can't unmap");
	slots[slot].size = 0;
}

void sim_arena_reset(bool garbage)
{
	const uint64_t db_size = (uint64_t)APMP_DB_MAX_PAGES * APMP_PAGE_SIZE;

	for (uint32_t i = 0; i < used_count; i++)
		if (slots[used[i]].size)
			release(used[i]);
	used_count = 0;
	memset(sim_physical, 0, SIM_LINES_PA + APMP_INTR_SIZE);
	for (uint32_t r = 0; r < SIM_SHARED_COUNT; r++) {
		uint64_t *word = (void *)(sim_physical + SIM_SHARED_PA + r * APMP_GRANULE);

		for (uint64_t i = 0; i < db_size / sizeof(*word); i++)
			word[i] = garbage ? sim_random_next(&sim.random) : 0;
	}
}

static void set_keys(const void *at, uint64_t key, uint64_t size)
{
	uint64_t *page = &page_key[((uintptr_t)at - (uintptr_t)sim_arena) / APMP_PAGE_SIZE];

	for (uint64_t off = 0; off < size; off += APMP_PAGE_SIZE)
		*page++ = key + off;
}

static unsigned char *take_slot(uint64_t key, uint64_t size, bool private)
{
	uint32_t slot;

	apmp_assert(size > 0 && size <= SIM_SLOT_SIZE && used_count < SLOTS);
	do
		slot = (uint32_t)sim_chance(SLOTS);
	while (slots[slot].size);
	slots[slot] = (struct slot){.size = size, .private = private};
	used[used_count++] = slot;
	set_keys(sim_arena + slot * SIM_SLOT_SIZE, key, size);
	return sim_arena + slot * SIM_SLOT_SIZE;
}

static void map_physical(void *at, uint64_t pa, uint64_t size, bool writable)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);

	set_keys(at, pa, size);
	if (mmap(at, size, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, physical_fd, (off_t)pa) ==
	    MAP_FAILED)
		die("apmp-sim: can't map physical memory");
}

void *sim_arena_map(uint64_t pa, uint64_t size, bool writable)
{
	unsigned char *at = take_slot(pa, size, false);

	map_physical(at, pa, size, writable);
	return at;
}

void *sim_arena_reserve(uint64_t size)
{
	return take_slot(SIM_NO_KEY, size, false);
}

void sim_arena_map_at(void *at, uint64_t pa, uint64_t size)
{
	uint32_t slot = slot_of(at);
	uint64_t off = (uint64_t)((unsigned char *)at - sim_arena) % SIM_SLOT_SIZE;

	apmp_assert(sim_in_arena(at) && off < slots[slot].size && slots[slot].size - off >= size);
	map_physical(at, pa, size, true);
}

void *sim_arena_private(uint32_t id, uint64_t size)
{
	unsigned char *at = take_slot(SIM_PRIVATE_KEY(id), size, true);

	if (mmap(at, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == MAP_FAILED)
		die("apmp-sim: can't map private memory");
	return at;
}

void sim_arena_unmap(void *base, uint64_t size)
{
	uint32_t slot = slot_of(base);

	apmp_assert(sim_in_arena(base) && slots[slot].size);
	if (size != slots[slot].size) { /* a part: its addresses stay the slot's */
		if (mmap(base, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			die("apmp-sim: can't unmap");
		return;
	}
	release(slot);
	for (uint32_t i = 0; i < used_count; i++) {
		if (used[i] != slot)
			continue;
		used[i] = used[--used_count];
		return;
	}
}

uint64_t sim_arena_key(const volatile void *p)
{
	uint64_t off = (uintptr_t)p - (uintptr_t)sim_arena;

	return page_key[off / APMP_PAGE_SIZE] + off % APMP_PAGE_SIZE;
}

bool sim_arena_is_private(const volatile void *p)
{
	return slots[slot_of(p)].private;
}

/* Names of database words, for people. */
#define FIELD(type, name)                                                                          \
	{                                                                                          \
		offsetof(struct type, name), sizeof(((struct type *)0)->name), #name               \
	}

static const struct field {
	size_t off, size;
	const char *name;
} header_fields[] = {FIELD(apmp_db_header, lock),
		     FIELD(apmp_db_header, fingerprint),
		     FIELD(apmp_db_header, software_version),
		     FIELD(apmp_db_header, state),
		     FIELD(apmp_db_header, actor),
		     FIELD(apmp_db_header, creation_ns),
		     FIELD(apmp_db_header, incarnation),
		     FIELD(apmp_db_header, creator),
		     FIELD(apmp_db_header, members_off),
		     FIELD(apmp_db_header, page_count),
		     FIELD(apmp_db_header, first_pfn),
		     FIELD(apmp_db_header, members),
		     FIELD(apmp_db_header, crashing),
		     FIELD(apmp_db_header, removed_count),
		     FIELD(apmp_db_header, validate),
		     FIELD(apmp_db_header, service_mask),
		     FIELD(apmp_db_header, segment),
		     {0, 0, NULL}},
  node_fields[] = {FIELD(apmp_db_node, reasons),
		   FIELD(apmp_db_node, bugcheck_of),
		   FIELD(apmp_db_node, heartbeat),
		   FIELD(apmp_db_node, beat_of),
		   FIELD(apmp_db_node, identity),
		   FIELD(apmp_db_node, software_version),
		   FIELD(apmp_db_node, state),
		   FIELD(apmp_db_node, since_ns),
		   FIELD(apmp_db_node, little_brother),
		   FIELD(apmp_db_node, big_brother),
		   FIELD(apmp_db_node, little_inactive_ns),
		   FIELD(apmp_db_node, validated),
		   FIELD(apmp_db_node, name),
		   {0, 0, NULL}};

static const char *field_name(const struct field *fields, uint64_t off)
{
	for (; fields->name; fields++)
		if (off >= fields->off && off < fields->off + fields->size)
			return fields->name;
	return "fill";
}

const char *sim_key_name(uint64_t key, char *buffer, size_t size)
{
	uint64_t off = (key - SIM_SHARED_PA) % APMP_GRANULE, range;

	if (key >= SIM_PRIVATE_KEY(0)) {
		snprintf(buffer, size, "private+%#x", (unsigned)key);
	} else if (key < SIM_LINES_PA) {
		snprintf(buffer, size, "tree+%#llx", (unsigned long long)key);
	} else if (key < SIM_SHARED_PA) {
		range = key - SIM_LINES_PA;
		snprintf(buffer, size, "line[%llu]+%llu", (unsigned long long)range / 64,
			 (unsigned long long)range % 64);
	} else if (off < sizeof(struct apmp_db_header)) {
		snprintf(buffer, size, "header.%s", field_name(header_fields, off));
	} else if (off < sizeof(struct apmp_db)) {
		range = off - sizeof(struct apmp_db_header);
		snprintf(buffer, size, "node[%llu].%s",
			 (unsigned long long)(range / sizeof(struct apmp_db_node)),
			 field_name(node_fields, range % sizeof(struct apmp_db_node)));
	} else {
		snprintf(buffer, size, "database+%#llx", (unsigned long long)off);
	}
	return buffer;
}
