/*
 * objects.c - memories, channels and terminals that the box keeps for the console.
 *
 * A table of what exists, filled by the box's OBJECT events at start and by MAKE afterwards.
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
