/*
 * keep_dump.c - what a failed partition leaves is kept [0298], [0299] step 2610.
 *
 * WHAT      The dying instance has no time, and none at all when it dies silently; so its memory is
 *           dumped after the fence, by the box (apmpd/box_dump.c), from what outlives the process.
 *           The console says what that is, and brings what others will write: first a picture of
 *           tree, interrupt lines and database, before survivors begin to recover what the dead
 *           held; when it is reaped, HWRPB and flight recorder as well.
 * STATES    no picture -> picture (in fenced()) -> asked for: dumping (reaped) -> copied: it may
 *           boot again -> DUMPED: told.
 * CRASHES   A console that dies with a picture takes it with it: the next one, which concludes that
 *           life, takes another, of a database that is recovered by then, and says so ("late").
 *           One that dies while the box copies: the next one does not wait; the box keeps memory
 *           that is dropped until it is copied.
 * LIMITS    An orderly halt leaves no dump, nor does an instance that could not be started.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/shared.h"
#include "shm/wire/image.h"

/* Memory that is collected, one piece behind the other. */
struct console_picture {
	int fd; /* of a memfd */
	uint64_t size;
	bool late, failed;
	uint64_t hwrpb_off; /* where its HWRPB begins */
	uint32_t died_at;   /* enum apmp_point */
	json_t *copied, *private;
};

static uint64_t whole_pages(uint64_t size)
{
	return (size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
}

static void picture_free(struct console_picture *picture)
{
	if (picture->fd >= 0)
		close(picture->fd);
	json_decref(picture->copied);
	json_decref(picture->private);
	free(picture);
}

static void put(struct console_picture *picture, uint64_t off, const void *data, uint64_t size)
{
	picture->failed |= pwrite(picture->fd, data, size, (off_t)off) != (ssize_t)size;
}

/* Room for a piece; where it is. */
static uint64_t add(struct console_picture *picture, const char *kind, uint64_t pa, uint64_t size)
{
	uint64_t off = picture->size;

	picture->size += whole_pages(size);
	json_array_append_new(picture->copied,
			      json_pack("{s:s,s:I,s:I,s:I}", "kind", kind, "pa", (json_int_t)pa,
					"size", (json_int_t)whole_pages(size), "off",
					(json_int_t)off));
	return off;
}

/* What is used of the tree. */
static void add_tree(struct console_picture *picture, struct console *c)
{
	const unsigned char *base = c->update.object[APMP_OBJECT_TREE].base;
	const struct gct_root_node *root = (const void *)(base + sizeof(struct gct_header));
	uint64_t used = sizeof(struct gct_header) + (uint64_t)apmp_load_relaxed(&root->first_free);

	used = used < c->tree_size ? used : c->tree_size;
	put(picture, add(picture, "tree", CONSOLE_TREE_PA, used), base, used);
}

/* Page frames that follow each other, in memory of this community. */
static void add_frames(struct console_picture *picture, struct console *c, int32_t community,
		       uint64_t pfn, uint64_t pages)
{
	uint64_t pa = pfn * APMP_PAGE_SIZE, size = pages * APMP_PAGE_SIZE, base, off;
	unsigned char block[16 * APMP_PAGE_SIZE];
	struct apmp_tree_fragment f;
	int fd;

	if (apmp_tree_memory_at(&c->tw.tree, pa, &f) || f.owner != community ||
	    f.size - (pa - f.pa) < size || console_ram_find(c, community, f.pa, f.size, &fd, &base))
		return; /* what the list says is no memory of theirs */
	off = add(picture, "database", pa, size);
	for (uint64_t at = 0; at < size; at += sizeof(block)) {
		uint64_t part = size - at < sizeof(block) ? size - at : sizeof(block);

		if (pread(fd, block, part, (off_t)(pa - base + at)) == (ssize_t)part)
			put(picture, off + at, block, part);
	}
}

/* The database of its community. */
static void add_database(struct console_picture *picture, struct partition *p)
{
	struct console *c = p->console;
	uint64_t pfn[APMP_DB_MAX_PAGES + 1];
	struct apmp_tree_partition self;
	struct apmp_tree_community community;
	struct apmp_tree_node node;
	uint32_t count, run;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || !self.community ||
	    apmp_tree_node(&c->tw.tree, self.community, &node) ||
	    apmp_tree_community(&c->tw.tree, (uint32_t)node.id, &community))
		return;
	count = console_db_frames(c, &community, pfn);
	for (uint32_t i = 0; i < count; i += run) {
		for (run = 1; i + run < count && pfn[i + run] == pfn[i] + run; run++)
			;
		add_frames(picture, c, self.community, pfn[i], run);
	}
}

/* Of the others what a checker wants: blocks and slots, heads of flight recorders. */
static void add_others(struct console_picture *picture, const struct partition *p)
{
	struct console *c = p->console;
	const uint64_t slots =
	    offsetof(struct hwrpb, slot) + whole_pages(c->cpu_count * sizeof(struct hwrpb_slot));

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct partition *other = &c->partition[id];

		if (!other->exists || other == p)
			continue;
		put(picture, add(picture, "hwrpb", CONSOLE_HWRPB_PA(id), slots), other->hwrpb,
		    slots);
		put(picture, add(picture, "recorder", CONSOLE_RECORDER_PA(id), APMP_PAGE_SIZE),
		    other->recorder, APMP_PAGE_SIZE);
	}
}

/* Private memory, which the box has itself. */
static void name_memory(struct console_picture *picture, struct partition *p)
{
	struct console *c = p->console;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_fragment f;
	uint64_t base;
	int fd;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, n.handle, i, &f) == 0; i++)
			if ((f.owner == p->handle || f.current_owner == p->handle) &&
			    console_ram_find(c, p->handle, f.pa, f.size, &fd, &base) == 0)
				json_array_append_new(
				    picture->private,
				    json_pack("{s:I,s:I,s:I,s:I}", "pa", (json_int_t)f.pa, "size",
					      (json_int_t)f.size, "ram",
					      (json_int_t)console_ram_id(c, p->handle, base), "off",
					      (json_int_t)(f.pa - base)));
}

static bool wanted(const struct partition *p)
{
	const struct console *c = p->console;

	return c->dumps && p->fencing != FENCE_SPAWN && !c->going_off &&
	       apmp_load_relaxed(&c->state->partition[p->id].exit) != APMP_EXIT_HALT;
}

/* NULL: there is no memory for one. */
static struct console_picture *picture_take(struct partition *p, bool late)
{
	struct console *c = p->console;
	struct console_picture *picture = calloc(1, sizeof(*picture));

	if (!picture)
		return NULL;
	*picture = (struct console_picture){.fd = memfd_create("picture", MFD_CLOEXEC),
					    .late = late,
					    .died_at = apmp_load_relaxed(&p->recorder->died_at),
					    .copied = json_array(),
					    .private = json_array()};
	add_database(picture, p); /* first: others write it */
	put(picture, add(picture, "lines", CONSOLE_LINES_PA, APMP_INTR_SIZE), c->env.lines,
	    APMP_INTR_SIZE);
	add_tree(picture, c);
	add_others(picture, p);
	name_memory(picture, p);
	picture->hwrpb_off = add(picture, "hwrpb", CONSOLE_HWRPB_PA(p->id), HWRPB_SIZE);
	put(picture, picture->hwrpb_off, p->hwrpb, offsetof(struct hwrpb, saved));
	if (!picture->failed)
		return picture;
	picture_free(picture);
	return NULL;
}

void console_dump_picture(struct partition *p)
{
	if (!p->picture && wanted(p))
		p->picture = picture_take(p, false);
}

/* ---- the request ---- */

static void tell_none(struct partition *p, uint64_t incarnation, const char *why)
{
	console_event(p->console, "instance.not-dumped", p, "{s:I,s:s}", "incarnation",
		      (json_int_t)incarnation, "reason", why);
}

static json_t *status_of(struct partition *p)
{
	json_t *status = console_status(p->console), *one, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(status, "partitions"), i, one)
	{
		if (json_integer_value(json_object_get(one, "id")) == (json_int_t)p->id)
			found = json_incref(one);
	}
	json_decref(status);
	return found;
}

/* What stands in the note of the core. */
static char *describe(struct partition *p, struct console_picture *picture, uint64_t incarnation)
{
	static const char *const fences[] = {[FENCE_EXITED] = "ended",
					     [FENCE_REMOVED] = "judged dead by another instance",
					     [FENCE_RESET] = "reset by the operator"};
	const struct apmp_point_info *died_at = apmp_point_info(picture->died_at);
	struct console *c = p->console;
	struct timespec now = {0};
	json_t *text;
	char *dumped;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* for people: what it decides is nothing */
	text = json_pack(
	    "{s:i,s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s,s:i,s:b,s:s?,s:b,s:I,s:I,s:I,s:I,s:O,s:O,s:o*}",
	    "apmp_core", 1, "machine", c->machine, "partition", p->name, "id", (int)p->id,
	    "incarnation", (json_int_t)incarnation, "layout", (json_int_t)image_layout(), "t_ns",
	    (json_int_t)c->env.now(&c->env), "time", (json_int_t)now.tv_sec, "fence",
	    fences[p->fencing] ? fences[p->fencing] : "ended", "exit_status", p->exit_status,
	    "announced", apmp_load_relaxed(&c->state->partition[p->id].exit) == APMP_EXIT_CRASH,
	    "died_at", died_at && picture->died_at ? died_at->name : NULL, "late", picture->late,
	    "tree", (json_int_t)CONSOLE_TREE_PA, "lines", (json_int_t)CONSOLE_LINES_PA, "hwrpb",
	    (json_int_t)CONSOLE_HWRPB_PA(p->id), "recorder", (json_int_t)CONSOLE_RECORDER_PA(p->id),
	    "copied", picture->copied, "private", picture->private, "status", status_of(p));
	dumped = text ? json_dumps(text, JSON_COMPACT) : NULL;
	json_decref(text);
	return dumped;
}

static void on_copied(void *ctx, const struct apmp_box_event *event)
{
	struct partition *p = ctx;

	p->dumping = false;
	if (!p->exists)
		return;
	if (event->error)
		tell_none(p, p->dumped, event->text);
	if (event->error || event->arg[0]) /* a console before this one was told, and died then */
		p->dump_due = 0;
	console_copied(p);
	console_settled(p->console);
}

/* Its HWRPB and its flight recorder are nobody's now, until it boots again. */
static void complete(struct partition *p, struct console_picture *picture)
{
	const size_t from = offsetof(struct hwrpb, saved);

	put(picture, picture->hwrpb_off + from, (const unsigned char *)p->hwrpb + from,
	    sizeof(*p->hwrpb) - from);
	put(picture,
	    add(picture, "recorder", CONSOLE_RECORDER_PA(p->id), sizeof(struct apmp_recorder)),
	    p->recorder, sizeof(struct apmp_recorder));
}

static void ask(struct partition *p, struct console_picture *picture, uint64_t incarnation)
{
	char *text = describe(p, picture, incarnation);
	struct apmp_box_request request = {.op = APMP_BOX_OP_DUMP,
					   .id = p->id,
					   .size = picture->size,
					   .arg = {incarnation, text ? strlen(text) : 0}};

	if (text)
		put(picture, picture->size, text, strlen(text));
	if (!text || picture->failed) {
		tell_none(p, incarnation, "no memory to say what it is to hold");
	} else {
		snprintf(request.text, sizeof(request.text), "%s", p->name);
		p->dumping = true;
		p->dump_due = incarnation;
		box_link_post_fds(&p->console->box, &request, &picture->fd, 1, on_copied, p);
	}
	free(text);
}

void console_dump(struct partition *p)
{
	struct console *c = p->console;
	struct console_picture *picture = p->picture;
	struct apmp_tree_partition self;

	p->picture = NULL;
	if (!wanted(p) || apmp_tree_partition(&c->tw.tree, p->id, &self) ||
	    p->dumped == self.incarnation) {
		if (picture)
			picture_free(picture);
		return;
	}
	p->dumped = self.incarnation;
	if (!picture)
		picture = picture_take(p, true);
	if (picture) {
		complete(p, picture);
		ask(p, picture, self.incarnation);
		picture_free(picture);
	} else {
		tell_none(p, self.incarnation, "no memory to copy what others will write");
	}
}

void console_dump_hurry(struct partition *p)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_DUMP, .id = p->id, .arg = {p->dumped}};

	console_event(p->console, "instance.dumping", p, "{s:I}", "incarnation",
		      (json_int_t)p->dumped);
	box_link_post(&p->console->box, &request, NULL, NULL);
}

void console_dumped(struct partition *p, const struct apmp_box_event *event)
{
	json_int_t left_out = (json_int_t)event->size;

	if (p->dump_due == event->arg[0])
		p->dump_due = 0;
	if (event->error) {
		tell_none(p, event->arg[0], event->text);
	} else {
		apmp_store_relaxed(&p->console->state->partition[p->id].dumped, event->arg[0]);
		console_event(p->console, "instance.dumped", p, "{s:I,s:s,s:I,s:I,s:o*}",
			      "incarnation", (json_int_t)event->arg[0], "path", event->text,
			      "bytes", (json_int_t)event->arg[1], "elapsed_ns",
			      (json_int_t)event->arg[2], "left_out",
			      left_out ? json_integer(left_out) : NULL);
	}
	console_settled(p->console);
}
