/*
 * show_memory.c - memory as it stands, for tools that judge it by themselves (`apmp check --live`,
 * `apmp db show`).
 *
 * WHAT      Copies ranges of physical memory: what the firmware keeps (tree, HWRPBs, interrupt
 *           lines, flight recorders) and the shared memory of communities.  It reads no meaning in
 *           what it copies, so it answers about a database that is garbage as about a good one.
 *           One call is one turn of the loop, and tree and available bits are the console's own:
 *           these are seen at rest.
 * LIMITS    IMAGE_PIECES_MAX ranges and IMAGE_BYTES_MAX bytes in one call.  Private memory is not
 *           shown: it is its partition's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/operator.h"
#include "shm/wire/base64.h"
#include "shm/wire/image.h"

/* Part of an object at object_pa, which is mapped here; NULL: it is not inside. */
static const void *part_of(const void *object, uint64_t object_pa, uint64_t object_size,
			   uint64_t pa, uint64_t size)
{
	if (!object || pa < object_pa || pa - object_pa > object_size ||
	    object_size - (pa - object_pa) < size)
		return NULL;
	return (const unsigned char *)object + (pa - object_pa);
}

static const void *firmware(struct console *c, uint64_t pa, uint64_t size)
{
	const void *at = part_of(c->update.object[APMP_OBJECT_TREE].base, CONSOLE_TREE_PA,
				 c->tree_size, pa, size);

	if (!at)
		at = part_of(c->env.lines, CONSOLE_LINES_PA, APMP_INTR_SIZE, pa, size);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS && !at; id++) {
		const struct partition *p = &c->partition[id];

		if (!p->exists)
			continue;
		at = part_of(p->hwrpb, CONSOLE_HWRPB_PA(id), HWRPB_SIZE, pa, size);
		if (!at)
			at = part_of(p->recorder, CONSOLE_RECORDER_PA(id), APMP_RECORDER_SIZE, pa,
				     size);
	}
	return at;
}

/* Copies what a community shares; false when nobody has memory there that may be shown. */
static bool copy_shared(struct console *c, uint64_t pa, uint64_t size, void *ret_data)
{
	struct apmp_tree_fragment f;
	uint64_t base;
	int fd;

	if (apmp_tree_memory_at(&c->tw.tree, pa, &f) || !(f.flags & GCT_MEM_SHARED) || !f.owner ||
	    f.size - (pa - f.pa) < size || console_ram_find(c, f.owner, f.pa, f.size, &fd, &base))
		return false;
	return pread(fd, ret_data, size, (off_t)(pa - base)) == (ssize_t)size;
}

/* Its bytes as text; NULL: nothing is there.  -ENOMEM. */
static int data_json(struct console *c, uint64_t pa, uint64_t size, json_t **ret_data)
{
	const void *at = firmware(c, pa, size);
	unsigned char *copy = malloc(size);
	char *text = malloc(BASE64_SIZE(size));
	int err = copy && text ? 0 : -ENOMEM;

	*ret_data = NULL;
	if (!err && at)
		memcpy(copy, at, size); /* others may be writing: it is a picture, no more */
	if (!err && (at || copy_shared(c, pa, size, copy))) {
		base64_encode(copy, size, text);
		*ret_data = json_stringn_nocheck(text, BASE64_SIZE(size));
		err = *ret_data ? 0 : -ENOMEM;
	}
	free(copy);
	free(text);
	return err;
}

static bool too_much(const json_t *ranges)
{
	const json_t *range;
	uint64_t bytes = 0;
	size_t i;

	json_array_foreach(ranges, i, range)
	{
		json_int_t size = json_integer_value(json_object_get(range, "size"));

		if (size <= 0 || (uint64_t)size > IMAGE_BYTES_MAX)
			return true;
		bytes += (uint64_t)size;
	}
	return i > IMAGE_PIECES_MAX || bytes > IMAGE_BYTES_MAX;
}

static void on_memory(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const json_t *ranges = json_object_get(parameters, "ranges"), *range;
	struct console *c = ctx;
	json_t *answer, *data;
	char reason[128];
	int err = 0;
	size_t i;

	if (too_much(ranges)) {
		snprintf(reason, sizeof(reason),
			 "at most %u ranges of 1 byte and more, %llu bytes in all, in one call",
			 IMAGE_PIECES_MAX, (unsigned long long)IMAGE_BYTES_MAX);
		varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
		return;
	}
	answer = json_array();
	json_array_foreach(ranges, i, range)
	{
		json_int_t pa = json_integer_value(json_object_get(range, "pa"));
		json_int_t size = json_integer_value(json_object_get(range, "size"));

		data = NULL;
		if (pa >= 0)
			err = data_json(c, (uint64_t)pa, (uint64_t)size, &data);
		if (err)
			break;
		json_array_append_new(
		    answer, json_pack("{s:I,s:I,s:o*}", "pa", pa, "size", size, "data", data));
	}
	if (err) { /* of a size that the client has chosen: the console goes on */
		json_decref(answer);
		varlink_call_error(call, "Host",
				   json_pack("{s:s,s:i,s:s}", "what", "a copy of memory", "errno",
					     -err, "reason", strerror(-err)));
		return;
	}
	varlink_call_reply(call, json_pack("{s:s,s:I,s:I,s:I,s:I,s:o}", "machine", c->machine,
					   "t_ns", (json_int_t)c->env.now(&c->env), "layout",
					   (json_int_t)image_layout(), "tree",
					   (json_int_t)CONSOLE_TREE_PA, "lines",
					   (json_int_t)CONSOLE_LINES_PA, "ranges", answer));
}

const struct console_method console_view_methods[] = {
    {"Memory", on_memory},
    {NULL, NULL},
};
