/*
 * database.c - a look at the APMP database of a community, which is its members' alone to write.
 *
 * Mapped read-only where the community node says it is; what is read may be anything, so it is
 * taken for a set only if its header is one, of the last ID that the community gave out.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "console/console.h"
#include "shm/db_place.h"
#include "shm/layout_lock.h"
#include "shm/service.h"
#include "shm/shared.h"

static const void *map_pages(struct console *c, int32_t community, uint64_t pfn, uint32_t pages)
{
	uint64_t pa = pfn * APMP_PAGE_SIZE, size = (uint64_t)pages * APMP_PAGE_SIZE;
	struct apmp_tree_fragment f;
	uint64_t begin;
	void *base;
	int fd;

	if (!pfn || pfn > UINT32_MAX || apmp_tree_memory_at(&c->tw.tree, pa, &f) ||
	    f.size - (pa - f.pa) < size ||
	    console_ram_find(c, community, f.pa, f.size, &fd, &begin))
		return NULL;
	base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)(pa - begin));
	return base == MAP_FAILED ? NULL : base;
}

static void unmap_pages(const void *base, uint32_t pages)
{
	if (base)
		munmap((void *)(uintptr_t)base, (uint64_t)pages * APMP_PAGE_SIZE);
}

const struct apmp_db *console_db_map(struct console *c, const struct apmp_tree_community *community)
{
	return map_pages(c, community->node.handle, community->apmpdb_info & UINT32_MAX,
			 APMP_DB_INITIAL_PAGES);
}

void console_db_unmap(const struct apmp_db *db)
{
	unmap_pages(db, APMP_DB_INITIAL_PAGES);
}

/* Partitions of the community that live. */
static uint64_t living(struct console *c, int32_t community)
{
	struct apmp_tree_partition p;
	uint64_t mask = 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_present(&c->tw.tree, id) &&
		    apmp_tree_partition(&c->tw.tree, id, &p) == 0 && p.community == community)
			mask |= UINT64_C(1) << id;
	return mask;
}

struct console_set console_db_set(struct console *c, const struct apmp_tree_community *community,
				  const struct apmp_db *db)
{
	const uint64_t ours = apmp_fingerprint(sizeof(*db));
	const struct apmp_db_header *h = db ? &db->header : NULL;
	uint64_t fingerprint = db ? apmp_load_relaxed(&h->fingerprint) : 0;
	uint64_t alive = living(c, community->node.handle);

	if (fingerprint == ours && community->apmpdb_id &&
	    apmp_load_relaxed(&h->incarnation) == community->apmpdb_id)
		return (struct console_set){.state = apmp_load_relaxed(&h->state),
					    .incarnation = community->apmpdb_id,
					    .members = apmp_load_relaxed(&h->members) & alive};
	if (db && apmp_load_relaxed(&h->state) == APMP_DB_INITIALIZING &&
	    apmp_tree_alive(&c->tw.tree, apmp_load_relaxed(&h->actor)))
		return (struct console_set){.state = APMP_DB_INITIALIZING};
	return (struct console_set){.spoilt = fingerprint && fingerprint != ours};
}

/* The page frame of a page of the database beyond its initial piece; 0: there is none [0170]. */
static uint64_t page_frame(struct console *c, int32_t community, const struct apmp_db_header *h,
			   uint64_t page)
{
	uint64_t list = apmp_load_relaxed(&h->pfn_list), pfn = 0;
	const _Atomic uint64_t *entry;

	if (page >= apmp_load_relaxed(&h->page_count) || page >= APMP_DB_MAX_PAGES)
		return 0;
	if (!list)
		return apmp_load_relaxed(&h->first_pfn) + page;
	entry = map_pages(c, community, list & UINT32_MAX, 1);
	if (entry)
		pfn = apmp_load_relaxed(&entry[page]);
	unmap_pages(entry, 1);
	return pfn;
}

uint64_t console_db_page(struct console *c, const struct apmp_tree_community *community,
			 uint64_t page)
{
	const struct apmp_db *db = console_db_map(c, community);
	uint64_t pfn = 0;

	if (db && page < APMP_DB_INITIAL_PAGES)
		pfn = apmp_place_pfn(community->apmpdb_info) + page;
	else if (db)
		pfn = page_frame(c, community->node.handle, &db->header, page);
	console_db_unmap(db);
	return pfn;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint32_t console_db_frames(struct console *c, const struct apmp_tree_community *community,
			   uint64_t ret_pfn[APMP_DB_MAX_PAGES + 1])
{
	const struct apmp_db *db = console_db_map(c, community);
	uint64_t first = apmp_place_pfn(community->apmpdb_info), list, last = 0;
	const _Atomic uint64_t *entry;
	uint32_t pages, count = 0, kept = 0;

	if (!db)
		return 0;
	pages = apmp_load_relaxed(&db->header.page_count);
	list = apmp_load_relaxed(&db->header.pfn_list);
	entry = list ? map_pages(c, community->node.handle, list & UINT32_MAX, 1) : NULL;
	if (pages < APMP_DB_INITIAL_PAGES || pages > APMP_DB_MAX_PAGES || (list && !entry))
		pages = APMP_DB_INITIAL_PAGES;
	for (uint32_t i = 0; i < pages; i++)
		ret_pfn[count++] = entry && i >= APMP_DB_INITIAL_PAGES
				       ? apmp_load_relaxed(&entry[i]) & UINT32_MAX
				       : first + i;
	if (entry)
		ret_pfn[count++] = list & UINT32_MAX;
	qsort(ret_pfn, count, sizeof(*ret_pfn), by_number);
	for (uint32_t i = 0; i < count; last = ret_pfn[i++])
		if (ret_pfn[i] != last)
			ret_pfn[kept++] = ret_pfn[i];
	unmap_pages(entry, 1);
	console_db_unmap(db);
	return kept;
}

void console_db_lock_name(struct console *c, const struct apmp_tree_community *community,
			  uint32_t slot, char ret_name[APMP_NAME_SIZE])
{
	const struct apmp_db *db = console_db_map(c, community);
	const unsigned char *page = NULL;
	uint64_t off = 0;

	memset(ret_name, 0, APMP_NAME_SIZE);
	if (db && slot < APMP_LOCK_COUNT) {
		off = apmp_load_relaxed(&db->header.segment[APMP_SERVICE_lock].off) +
		      offsetof(struct apmp_db_locks, lock) +
		      (uint64_t)slot * sizeof(struct apmp_db_lock) +
		      offsetof(struct apmp_db_lock, name);
		page = map_pages(
		    c, community->node.handle,
		    page_frame(c, community->node.handle, &db->header, off / APMP_PAGE_SIZE), 1);
	}
	/* A line of a slot never crosses a page; an offset that is garbage may. */
	if (page && off % APMP_PAGE_SIZE <= APMP_PAGE_SIZE - APMP_NAME_SIZE && off % 8 == 0)
		apmp_copy_out(ret_name, page + off % APMP_PAGE_SIZE, APMP_NAME_SIZE);
	ret_name[APMP_NAME_SIZE - 1] = 0;
	unmap_pages(page, 1);
	console_db_unmap(db);
}

bool console_db_has_member(struct partition *p)
{
	struct console *c = p->console;
	struct apmp_tree_partition self;
	struct apmp_tree_community community;
	struct apmp_tree_node node;
	const struct apmp_db *db;
	struct console_set set = {0};
	bool has;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || !self.community ||
	    apmp_tree_node(&c->tw.tree, self.community, &node) ||
	    apmp_tree_community(&c->tw.tree, (uint32_t)node.id, &community))
		return false;
	db = console_db_map(c, &community);
	if (db)
		set = console_db_set(c, &community, db);
	has = set.members >> p->id & 1 &&
	      apmp_load_acquire(&db->node[p->id].identity) == console_identity(p) &&
	      apmp_load_relaxed(&db->node[p->id].state) == APMP_NODE_MEMBER;
	console_db_unmap(db);
	return has;
}
