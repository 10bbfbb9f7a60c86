/*
 * database.c - a look at the APMP database of a community, which is its members' alone to write.
 *
 * Mapped read-only where the community node says it is; what is read may be anything.
 */
#include <sys/mman.h>

#include "console/console.h"
#include "shm/shared.h"

const struct apmp_db *console_db_map(struct console *c, const struct apmp_tree_community *community)
{
	uint64_t pa = (community->apmpdb_info & UINT32_MAX) * APMP_PAGE_SIZE;
	uint64_t size = (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE;
	struct apmp_tree_fragment f;
	uint64_t begin;
	void *base;
	int fd;

	if (!community->apmpdb_info || apmp_tree_memory_at(&c->tw.tree, pa, &f) ||
	    f.size - (pa - f.pa) < size ||
	    console_ram_find(c, community->node.handle, f.pa, f.size, &fd, &begin))
		return NULL;
	base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)(pa - begin));
	return base == MAP_FAILED ? NULL : base;
}

void console_db_unmap(const struct apmp_db *db)
{
	if (db)
		munmap((void *)(uintptr_t)db, (uint64_t)APMP_DB_INITIAL_PAGES * APMP_PAGE_SIZE);
}

bool console_db_has_member(struct partition *p)
{
	struct console *c = p->console;
	struct apmp_tree_partition self;
	struct apmp_tree_community community;
	struct apmp_tree_node node;
	const struct apmp_db *db;
	bool has;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || !self.community ||
	    apmp_tree_node(&c->tw.tree, self.community, &node) ||
	    apmp_tree_community(&c->tw.tree, (uint32_t)node.id, &community))
		return false;
	db = console_db_map(c, &community);
	has = db && apmp_load_relaxed(&db->header.members) >> p->id & 1 &&
	      apmp_load_acquire(&db->node[p->id].identity) == console_identity(p) &&
	      apmp_load_relaxed(&db->node[p->id].state) == APMP_NODE_MEMBER;
	console_db_unmap(db);
	return has;
}
