/*
 * arena.c - physical memory, and mappings of it that have another address each time.
 *
 * WHAT      Physical memory is one memfd.  The arena is a stretch of addresses cut into slots; a
 *           mapping takes a slot at random, so a host pointer that got into shared memory or was
 *           kept after an unmap is found soon.  sim_page says for each page of the arena what a
 *           participant sees there; access.c asks it at each access, and what is not mapped is a
 *           finding.  Private memory of a life (what its threads share) lies in a slot too.
 * SPEED     A mapping costs no system call: what the host has mapped in a slot stays there, and the
 *           next mapping prefers a slot where that is what it wants.  A reset rewrites the pages
 *           that were written to.
 * SEED      Which slot is taken is chance of its own: the trace must not depend on addresses.
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

#define SLOTS	    ((uint32_t)(SIM_ARENA_SIZE / SIM_SLOT_SIZE))
#define SLOT_PAGES  ((uint32_t)(SIM_SLOT_SIZE / APMP_PAGE_SIZE))
#define NOTHING	    UINT64_MAX	     /* the host has nothing there */
#define ANONYMOUS   (UINT64_MAX - 1) /* memory that is not physical memory of the machine */
#define SLOT_PROBES 48u		     /* slots looked at for one that needs no system call */

unsigned char *sim_arena, *sim_physical;
uint64_t sim_page[SIM_ARENA_SIZE / APMP_PAGE_SIZE];
bool sim_written[SIM_PHYSICAL / APMP_PAGE_SIZE];

static int physical_fd;
static struct sim_random addresses;
static uint64_t host[SLOTS][SLOT_PAGES]; /* what the host has mapped there */
static uint32_t used_pages[SLOTS];	 /* taken, so many; 0 free */
static uint32_t used[SLOTS], used_count;
static uint64_t garbage_page[APMP_PAGE_SIZE / sizeof(uint64_t)];
static bool has_garbage; /* what the pages of the databases hold that nobody has written to */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

void sim_arena_open(void)
{
	struct sim_random r = {1};

	sim_arena = mmap(NULL, SIM_ARENA_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	physical_fd = memfd_create("apmp-sim", MFD_CLOEXEC);
	if (sim_arena == MAP_FAILED || physical_fd < 0 || ftruncate(physical_fd, SIM_PHYSICAL))
		die("apmp-sim: can't reserve memory for the simulated machine");
	sim_physical = mmap(NULL, SIM_PHYSICAL, PROT_READ | PROT_WRITE, MAP_SHARED, physical_fd, 0);
	if (sim_physical == MAP_FAILED)
		die("apmp-sim: can't map the simulated machine's memory");
	for (uint32_t s = 0; s < SLOTS; s++)
		for (uint32_t p = 0; p < SLOT_PAGES; p++)
			host[s][p] = NOTHING;
	for (uint32_t w = 0; w < sizeof(garbage_page) / sizeof(garbage_page[0]); w++)
		garbage_page[w] = sim_random_next(&r);
}

/* --- what the host maps --- */

/* Makes count pages of a slot from first show pa. */
static void host_map(uint32_t slot, uint32_t first, uint32_t count, uint64_t pa)
{
	unsigned char *at = sim_arena + slot * SIM_SLOT_SIZE + first * APMP_PAGE_SIZE;
	bool private = pa == ANONYMOUS;
	uint32_t have = 0;

	while (have < count && host[slot][first + have] ==
				   (private ? ANONYMOUS : pa + (uint64_t)have * APMP_PAGE_SIZE))
		have++;
	if (have == count)
		return;
	if (mmap(at, (uint64_t)count * APMP_PAGE_SIZE, PROT_READ | PROT_WRITE,
		 (private ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_FIXED,
		 private ? -1 : physical_fd, private ? 0 : (off_t)pa) == MAP_FAILED)
		die("apmp-sim: can't map the simulated machine's memory");
	for (uint32_t p = 0; p < count; p++)
		host[slot][first + p] = private ? ANONYMOUS : pa + (uint64_t)p * APMP_PAGE_SIZE;
}

/* A free slot at random, one that shows pa at its start if some are found soon. */
static uint32_t take_slot(uint64_t pa, uint64_t size)
{
	uint32_t slot, any = SLOTS;

	apmp_assert(size > 0 && size <= SIM_SLOT_SIZE && used_count < SLOTS / 2);
	for (uint32_t i = 0; i < SLOT_PROBES || any == SLOTS; i++) {
		slot = (uint32_t)sim_random_below(&addresses, SLOTS);
		if (used_pages[slot])
			continue;
		any = any == SLOTS ? slot : any;
		if (host[slot][0] == pa) {
			any = slot;
			break;
		}
	}
	used_pages[any] = (uint32_t)((size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE);
	used[used_count++] = any;
	return any;
}

/* --- what participants see --- */

static void show(void *at, uint64_t size, uint64_t entry)
{
	uint64_t page = (uint64_t)((unsigned char *)at - sim_arena) / APMP_PAGE_SIZE;

	for (uint64_t off = 0; off < size; off += APMP_PAGE_SIZE)
		sim_page[page++] = entry ? entry + off : 0;
}

/* One page of shared memory as a run finds it: zero, or garbage where a database may lie. */
static void reset_shared(uint64_t pa, bool garbage)
{
	uint64_t in_granule = pa % APMP_GRANULE / APMP_PAGE_SIZE;
	uint64_t *word = (void *)(sim_physical + pa);
	bool db = in_granule < APMP_DB_MAX_PAGES;
	bool fresh = garbage && in_granule < APMP_DB_INITIAL_PAGES;

	if (!sim_written[pa / APMP_PAGE_SIZE] && (!db || has_garbage == garbage))
		return;
	sim_written[pa / APMP_PAGE_SIZE] = fresh; /* it differs from run to run */
	if (!garbage || !db)
		memset(word, 0, APMP_PAGE_SIZE);
	else if (!fresh)
		memcpy(word, garbage_page, APMP_PAGE_SIZE);
	else
		for (uint32_t w = 0; w < APMP_PAGE_SIZE / sizeof(*word); w++)
			word[w] = sim_random_next(&sim.random);
}

/* One page of what is not shared memory. */
static void reset_private(uint64_t pa)
{
	if (sim_written[pa / APMP_PAGE_SIZE])
		memset(sim_physical + pa, 0, APMP_PAGE_SIZE);
	sim_written[pa / APMP_PAGE_SIZE] = false;
}

static void unmap_all(void)
{
	for (uint32_t i = 0; i < used_count; i++) {
		show(sim_arena + used[i] * SIM_SLOT_SIZE,
		     (uint64_t)used_pages[used[i]] * APMP_PAGE_SIZE, 0);
		used_pages[used[i]] = 0;
	}
	used_count = 0;
}

void sim_arena_reset(bool garbage)
{
	unmap_all();
	for (uint64_t pa = 0; pa < SIM_SHARED_PA; pa += APMP_PAGE_SIZE)
		reset_private(pa);
	for (uint64_t pa = SIM_SHARED_PA; pa < SIM_PHYSICAL; pa += APMP_PAGE_SIZE)
		reset_shared(pa, garbage);
	has_garbage = garbage;
}

/* --- images --- */

struct sim_arena_image {
	bool written[SIM_PHYSICAL / APMP_PAGE_SIZE];
	uint32_t used_pages[SLOTS], used[SLOTS], used_count;
	uint64_t page[SLOTS / 2][SLOT_PAGES];		   /* of those that are used */
	unsigned char physical[SIM_PHYSICAL];		   /* the pages that were written */
	unsigned char private[SLOTS / 2 * APMP_PAGE_SIZE]; /* pages of private memory */
};

struct sim_arena_image *sim_arena_image_make(void)
{
	struct sim_arena_image *image = calloc(1, sizeof(*image));

	apmp_assert(image);
	return image;
}

void sim_arena_image_free(struct sim_arena_image *image)
{
	free(image);
}

/* Copies the private pages of the slots in use out to an image, or back. */
static void copy_private(struct sim_arena_image *image, bool out)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < image->used_count; i++) {
		unsigned char *slot = sim_arena + image->used[i] * SIM_SLOT_SIZE;
		uint64_t size = (uint64_t)image->used_pages[image->used[i]] * APMP_PAGE_SIZE;

		if (!(image->page[i][0] & SIM_PAGE_PRIVATE))
			continue;
		apmp_assert(at + size <= sizeof(image->private));
		memcpy(out ? image->private + at : slot, out ? slot : image->private + at, size);
		at += size;
	}
}

void sim_arena_save(struct sim_arena_image *image)
{
	memcpy(image->written, sim_written, sizeof(sim_written));
	memcpy(image->used_pages, used_pages, sizeof(used_pages));
	memcpy(image->used, used, used_count * sizeof(used[0]));
	image->used_count = used_count;
	for (uint32_t i = 0; i < used_count; i++)
		memcpy(image->page[i], &sim_page[used[i] * SLOT_PAGES],
		       used_pages[used[i]] * sizeof(sim_page[0]));
	for (uint64_t pa = 0; pa < SIM_PHYSICAL; pa += APMP_PAGE_SIZE)
		if (sim_written[pa / APMP_PAGE_SIZE])
			memcpy(image->physical + pa, sim_physical + pa, APMP_PAGE_SIZE);
	copy_private(image, true);
}

/* A slot shows what it showed; the host may have mapped something else there since. */
static void load_slot(const struct sim_arena_image *image, uint32_t i)
{
	uint32_t slot = image->used[i];

	for (uint32_t p = 0; p < image->used_pages[slot]; p++) {
		uint64_t page = image->page[i][p], pa = page & ~(uint64_t)(APMP_PAGE_SIZE - 1);

		sim_page[slot * SLOT_PAGES + p] = page;
		if (page & SIM_PAGE_MAPPED)
			host_map(slot, p, 1, page & SIM_PAGE_PRIVATE ? ANONYMOUS : pa);
	}
}

void sim_arena_load(struct sim_arena_image *image)
{
	unmap_all();
	memcpy(used_pages, image->used_pages, sizeof(used_pages));
	memcpy(used, image->used, image->used_count * sizeof(used[0]));
	used_count = image->used_count;
	for (uint32_t i = 0; i < used_count; i++)
		load_slot(image, i);
	for (uint64_t pa = 0; pa < SIM_PHYSICAL; pa += APMP_PAGE_SIZE) {
		if (image->written[pa / APMP_PAGE_SIZE])
			memcpy(sim_physical + pa, image->physical + pa, APMP_PAGE_SIZE);
		else if (pa < SIM_SHARED_PA)
			reset_private(pa);
		else
			reset_shared(pa, has_garbage);
	}
	memcpy(sim_written, image->written, sizeof(sim_written));
	copy_private(image, false);
}

/* --- mappings --- */

void *sim_arena_map(uint64_t pa, uint64_t size, bool writable)
{
	uint64_t most = SIM_PHYSICAL - pa < SIM_SLOT_SIZE ? SIM_PHYSICAL - pa : SIM_SLOT_SIZE;
	uint32_t slot = take_slot(pa, size);
	unsigned char *at = sim_arena + slot * SIM_SLOT_SIZE;

	host_map(slot, 0, (uint32_t)(most / APMP_PAGE_SIZE), pa);
	show(at, size, pa | SIM_PAGE_MAPPED | (writable ? SIM_PAGE_WRITABLE : 0));
	return at;
}

void *sim_arena_private(uint32_t id, uint64_t size)
{
	uint32_t slot = take_slot(ANONYMOUS, size);
	unsigned char *at = sim_arena + slot * SIM_SLOT_SIZE;

	host_map(slot, 0, SLOT_PAGES, ANONYMOUS);
	memset(at, 0, size);
	show(at, size,
	     SIM_PRIVATE_KEY(id) | SIM_PAGE_MAPPED | SIM_PAGE_WRITABLE | SIM_PAGE_PRIVATE);
	return at;
}

void *sim_arena_reserve(uint64_t size)
{
	/* Most likely for a database on the first range. */
	unsigned char *at = sim_arena + take_slot(SIM_SHARED_PA, size) * SIM_SLOT_SIZE;

	show(at, size, SIM_PAGE_RESERVED);
	return at;
}

void sim_arena_map_at(uint64_t pa, uint64_t size, void *at)
{
	uint64_t off = (uint64_t)((unsigned char *)at - sim_arena), in_slot = off % SIM_SLOT_SIZE;
	uint32_t slot = (uint32_t)(off / SIM_SLOT_SIZE);

	apmp_assert(sim_in_arena(at) && in_slot % APMP_PAGE_SIZE == 0 &&
		    in_slot + size <= (uint64_t)used_pages[slot] * APMP_PAGE_SIZE);
	host_map(slot, (uint32_t)(in_slot / APMP_PAGE_SIZE), (uint32_t)(size / APMP_PAGE_SIZE), pa);
	show(at, size, pa | SIM_PAGE_MAPPED | SIM_PAGE_WRITABLE);
}

void sim_arena_unmap(void *base, uint64_t size)
{
	uint32_t slot = (uint32_t)((uint64_t)((unsigned char *)base - sim_arena) / SIM_SLOT_SIZE);

	apmp_assert(sim_in_arena(base) && used_pages[slot]);
	if ((size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE != used_pages[slot]) {
		show(base, size, SIM_PAGE_RESERVED); /* a part: its addresses stay the slot's */
		return;
	}
	show(base, size, 0);
	used_pages[slot] = 0;
	for (uint32_t i = 0; i < used_count; i++) {
		if (used[i] != slot)
			continue;
		used[i] = used[--used_count];
		return;
	}
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
		   FIELD(apmp_db_node, silence),
		   FIELD(apmp_db_node, name),
		   {0, 0, NULL}};

static const struct field slot_fields[] = {FIELD(hwrpb_slot, flags),
					   FIELD(hwrpb_slot, state),
					   FIELD(hwrpb_slot, context),
					   FIELD(hwrpb_slot, reason_for_halt),
					   FIELD(hwrpb_slot, halt_requested),
					   FIELD(hwrpb_slot, txrdy),
					   FIELD(hwrpb_slot, rxrdy),
					   FIELD(hwrpb_slot, tx),
					   FIELD(hwrpb_slot, rx),
					   FIELD(hwrpb_slot, refused),
					   {0, 0, NULL}};

static const char *field_name(const struct field *fields, uint64_t off)
{
	for (; fields->name; fields++)
		if (off >= fields->off && off < fields->off + fields->size)
			return fields->name;
	return "fill";
}

static void hwrpb_name(uint64_t off, char *buffer, size_t size)
{
	uint64_t id = off / HWRPB_SIZE, slot = off % HWRPB_SIZE - offsetof(struct hwrpb, slot);

	if (off % HWRPB_SIZE >= offsetof(struct hwrpb, slot) &&
	    off % HWRPB_SIZE < offsetof(struct hwrpb, saved))
		snprintf(buffer, size, "hwrpb[%llu].slot[%llu].%s", (unsigned long long)id,
			 (unsigned long long)(slot / sizeof(struct hwrpb_slot)),
			 field_name(slot_fields, slot % sizeof(struct hwrpb_slot)));
	else
		snprintf(buffer, size, "hwrpb[%llu]+%#llx", (unsigned long long)id,
			 (unsigned long long)(off % HWRPB_SIZE));
}

const char *sim_key_name(uint64_t key, char *buffer, size_t size)
{
	uint64_t off = (key - SIM_SHARED_PA) % APMP_GRANULE, range;

	if (key >= SIM_PRIVATE_KEY(0)) {
		snprintf(buffer, size, "private+%#x", (unsigned)key);
	} else if (key < SIM_LINES_PA) {
		snprintf(buffer, size, "tree+%#llx", (unsigned long long)key);
	} else if (key >= SIM_HWRPB_PA(0) && key < SIM_HWRPB_PA(SIM_MAX_INSTANCES)) {
		hwrpb_name(key - SIM_HWRPB_PA(0), buffer, size);
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
