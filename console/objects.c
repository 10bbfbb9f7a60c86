/*
 * objects.c - memories, channels and terminals that the box keeps for the console.
 *
 * A table of what exists, filled by the box's OBJECT events at start and by MAKE afterwards.
 *
 * The id of a RAM object is the physical address where it begins plus owner_pages() pages, less
 * than the granule: two owners that had an address one after the other never have one memory.
 * One object holds as many fragments as lie in it, so a fragment may be split and nothing moves.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/assert.h"

/* Every partition has five, every fragment one. */
#define OBJECTS_MAX 1024u

static struct object {
	uint32_t kind; /* 0: free */
	uint64_t id, size;
	int fds[2];
	void *base; /* NULL: not mapped here */
} objects[OBJECTS_MAX];

static struct object *find(uint32_t kind, uint64_t id)
{
	for (uint32_t i = 0; i < OBJECTS_MAX; i++)
		if (objects[i].kind == kind && objects[i].id == id)
			return &objects[i];
	return NULL;
}

void console_object_add(struct console *c, uint32_t kind, uint64_t id, uint64_t size,
			const int *fds, unsigned fd_count)
{
	struct object *o = find(0, 0);

	(void)c;
	apmp_assert(o);
	*o = (struct object){.kind = kind,
			     .id = id,
			     .size = size,
			     .fds = {fd_count > 0 ? fds[0] : -1, fd_count > 1 ? fds[1] : -1}};
}

int console_object(struct console *c, uint32_t kind, uint64_t id, uint64_t size, int fds[2])
{
	struct object *o = find(kind, id);

	(void)c;
	if (!o || o->size < size)
		return -ENOENT;
	fds[0] = o->fds[0];
	fds[1] = o->fds[1];
	return 0;
}

int console_object_need(struct console *c, uint32_t kind, uint64_t id, uint64_t size,
			struct apmp_box_event *ret_event)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_MAKE, .kind = kind, .id = id, .size = size};
	int fds[2], err;

	if (find(kind, id))
		return 0;
	if (!find(0, 0)) {
		snprintf(ret_event->text, sizeof(ret_event->text),
			 "the console keeps at most %u memories, channels and terminals",
			 OBJECTS_MAX);
		ret_event->error = -ENFILE;
		return -ENFILE;
	}
	err = box_link_call(&c->box, &request, NULL, 0, ret_event, fds);
	if (!err)
		console_object_add(c, kind, id, size, fds, 2);
	return err;
}

int console_room(struct console *c, uint64_t threads, struct apmp_box_event *ret_event)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_ROOM, .arg = {threads}};

	return box_link_call(&c->box, &request, NULL, 0, ret_event, NULL);
}

void *console_object_map(struct console *c, uint32_t kind, uint64_t id)
{
	struct object *o = find(kind, id);
	void *base;

	(void)c;
	apmp_assert(o);
	if (o->base)
		return o->base;
	base = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED, o->fds[0], 0);
	if (base == MAP_FAILED) {
		fprintf(stderr, "apmp-console: mapping %llu bytes: %s\n",
			(unsigned long long)o->size, strerror(errno));
		exit(1);
	}
	o->base = base;
	return base;
}

void console_object_drop(struct console *c, uint32_t kind, uint64_t id)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_DROP, .kind = kind, .id = id};
	struct object *o = find(kind, id);

	if (!o)
		return;
	if (o->base)
		apmp_assert(munmap(o->base, o->size) == 0);
	for (uint32_t i = 0; i < 2; i++)
		if (o->fds[i] >= 0)
			close(o->fds[i]);
	o->kind = 0;
	o->id = 0;
	box_link_post(&c->box, &request, NULL, NULL); /* the box has nothing to refuse */
}

/* Which of the owners it is, in pages: partitions and communities have ids of their own. */
static uint64_t owner_pages(struct console *c, int32_t owner)
{
	struct apmp_tree_node n;

	apmp_assert(apmp_tree_node(&c->tw.tree, owner, &n) == 0 && n.id < APMP_MAX_PARTITIONS);
	return 1 + n.id + (n.type == GCT_COMMUNITY ? APMP_MAX_PARTITIONS : 0);
}

uint64_t console_ram_id(struct console *c, int32_t owner, uint64_t base)
{
	return base + owner_pages(c, owner) * APMP_PAGE_SIZE;
}

static uint64_t ram_pa(const struct object *o)
{
	return o->id - o->id % APMP_GRANULE;
}

static bool covers(const struct object *o, uint64_t pa, uint64_t size)
{
	return ram_pa(o) <= pa && pa - ram_pa(o) <= o->size && size <= o->size - (pa - ram_pa(o));
}

static struct object *ram_of(uint64_t pages, uint64_t pa, uint64_t size)
{
	for (uint32_t i = 0; i < OBJECTS_MAX; i++)
		if (objects[i].kind == APMP_BOX_RAM &&
		    objects[i].id % APMP_GRANULE == pages * APMP_PAGE_SIZE &&
		    covers(&objects[i], pa, size))
			return &objects[i];
	return NULL;
}

int console_ram_find(struct console *c, int32_t owner, uint64_t pa, uint64_t size, int *ret_fd,
		     uint64_t *ret_base)
{
	struct object *o = ram_of(owner_pages(c, owner), pa, size);

	if (!o)
		return -ENOENT;
	*ret_fd = o->fds[0];
	*ret_base = ram_pa(o);
	return 0;
}

int console_ram(struct console *c, int32_t owner, uint64_t pa, uint64_t size, int *ret_fd,
		uint64_t *ret_base, struct apmp_box_event *ret_event)
{
	uint64_t id = console_ram_id(c, owner, pa);
	int err = 0;

	if (!ram_of(owner_pages(c, owner), pa, size)) {
		console_object_drop(c, APMP_BOX_RAM, id); /* of a smaller piece that was there */
		err = console_object_need(c, APMP_BOX_RAM, id, size, ret_event);
	}
	return err ? err : console_ram_find(c, owner, pa, size, ret_fd, ret_base);
}

/* Whether it holds a fragment that its owner has, or still uses. */
static bool backs_something(struct console *c, const struct object *o)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;
	uint64_t pages = o->id % APMP_GRANULE / APMP_PAGE_SIZE;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, n.handle, i, &f) == 0; i++)
			if (covers(o, f.pa, f.size) &&
			    ((f.owner && owner_pages(c, f.owner) == pages) ||
			     (f.current_owner && owner_pages(c, f.current_owner) == pages)))
				return true;
	return false;
}

void console_ram_drop(struct console *c, int32_t owner)
{
	uint64_t pages = owner ? owner_pages(c, owner) : 0;

	for (uint32_t i = 0; i < OBJECTS_MAX; i++) {
		struct object *o = &objects[i];

		if (o->kind == APMP_BOX_RAM &&
		    (owner ? o->id % APMP_GRANULE == pages * APMP_PAGE_SIZE
			   : !backs_something(c, o)))
			console_object_drop(c, APMP_BOX_RAM, o->id);
	}
}
