/*
 * partitions.c - the console's side of each partition in the tree: terminal, HWRPB, recorder.
 *
 * WHAT      The tree alone says which partitions there are.  What a partition needs of the box is
 *           made before the update that creates its node is committed, and given back after the one
 *           that deletes it.
 * CRASHES   A console that dies between objects and commit, or between commit and their drop,
 *           leaves objects of a partition that the tree doesn't have: console_partitions_open
 *           gives them back, and with them the control groups that the box may still keep.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/console_configure.h"
#include "shm/assert.h"
#include "shm/shared.h"

static const struct {
	uint32_t kind;
	uint64_t size;
} needed[] = {
    {APMP_BOX_PORT, 0},
    {APMP_BOX_HWRPB, HWRPB_SIZE},
    {APMP_BOX_RECORDER, APMP_RECORDER_SIZE},
};

#define NEEDED (sizeof(needed) / sizeof(needed[0]))

int console_partition_make(struct console *c, uint32_t id, struct apmp_box_event *ret_event)
{
	int err = 0;

	for (size_t i = 0; i < NEEDED && !err; i++)
		err = console_object_need(c, needed[i].kind, id, needed[i].size, ret_event);
	return err;
}

/* Gives back all that the box keeps for this id. */
void console_partition_drop(struct console *c, uint32_t id)
{
	struct apmp_box_request remove = {.op = APMP_BOX_OP_REMOVE, .id = id};

	apmp_update_object(&c->update, APMP_OBJECT_HWRPB(id), NULL, 0);
	for (size_t i = 0; i < NEEDED; i++)
		console_object_drop(c, needed[i].kind, id);
	console_object_drop(c, APMP_BOX_CHANNEL, id);
	console_object_drop(c, APMP_BOX_OUTPUT, id);
	box_link_post(&c->box, &remove, NULL, NULL); /* its name is free for another id */
}

void console_hwrpb_use(struct console *c, uint32_t id)
{
	apmp_update_object(&c->update, APMP_OBJECT_HWRPB(id),
			   console_object_map(c, APMP_BOX_HWRPB, id), HWRPB_SIZE);
}

int console_partition_open(struct console *c, uint32_t id)
{
	struct partition *p = &c->partition[id];
	struct apmp_tree_partition node;
	int fds[2], err = apmp_tree_partition(&c->tw.tree, id, &node);

	if (err)
		return err;
	*p = (struct partition){.console = c,
				.id = id,
				.exists = true,
				.handle = node.node.handle,
				.channel = -1,
				.exit_status = -1,
				.pid = p->pid,
				.uid = p->uid};
	memcpy(p->name, node.name, sizeof(p->name));
	console_hwrpb_use(c, id);
	p->hwrpb = console_object_map(c, APMP_BOX_HWRPB, id);
	p->recorder = console_object_map(c, APMP_BOX_RECORDER, id);
	err = console_object(c, APMP_BOX_PORT, id, 0, fds);
	if (!err)
		err = port_open(p, fds[0]);
	if (!err)
		err = output_open(p);
	if (!err && !console_state(p))
		console_set_state(p, APMP_PARTITION_OFF);
	return err;
}

void console_partition_close(struct partition *p)
{
	struct console *c = p->console;

	console_channel_close(p);
	output_close(p);
	port_close(p);
	console_set_state(p, 0);
	p->exists = false;
	console_partition_drop(c, p->id);
}

int console_partitions_open(struct console *c, struct apmp_box_event *ret_event)
{
	struct apmp_tree_partition node;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		int err = apmp_tree_partition(&c->tw.tree, id, &node);

		if (err == -ENOENT) {
			apmp_store_relaxed(&c->state->partition[id].state, 0);
			console_partition_drop(c, id);
			continue;
		}
		if (!err)
			err = console_partition_make(c, id, ret_event);
		if (!err)
			err = console_partition_open(c, id);
		if (err)
			return err;
	}
	return 0;
}
