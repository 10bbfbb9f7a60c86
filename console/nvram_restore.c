/*
 * nvram_restore.c - the machine is divided as it was when the power went off [0065].
 *
 * WHAT      The hardware comes from the machine file, who owns it from NVRAM.  A component that is
 *           there and not named in NVRAM is new: unowned.  One that is named and not there: its
 *           owner keeps the rest, and the entry stays in NVRAM ("absent"), so that a component that
 *           was only taken out for a while comes back to whom it belonged.
 * STATES    The tree is unpublished: an error here costs nothing, the caller makes the tree anew.
 * LIMITS    Ids are dense again: partitions and communities keep their order, not their numbers.
 *           Of a memory descriptor that shrank, the fragments behind its end are lost.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console/cpu_tables.h"
#include "console/nvram_text.h"
#include "shm/name.h"
#include "shm/shared.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static int bad(struct console *c, const char *what, const char *which)
{
	snprintf(c->why, sizeof(c->why), "NVRAM: %s \"%.64s\"", what, which);
	return -EBADMSG;
}

/* All of the object's bytes as JSON; NULL. */
static json_t *read_object(struct console *c)
{
	int fds[2];
	struct stat st;
	json_t *all = NULL;
	char *text;

	if (console_object(c, APMP_BOX_NVRAM, 0, 1, fds) || fstat(fds[0], &st) < 0)
		return NULL;
	text = calloc(1, (size_t)st.st_size + 1); /* whole pages, perhaps: the text ends before */
	if (text && pread(fds[0], text, (size_t)st.st_size, 0) > 0)
		all = json_loads(text, 0, NULL);
	free(text);
	return all;
}

static bool same_file(const struct console *c, const json_t *file)
{
	static const char *const keys[] = {"communities", "partitions"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!json_equal(json_object_get(file, keys[i]),
				json_object_get(c->config, keys[i])))
			return false;
	return true;
}

int console_nvram_load(struct console *c)
{
	static const char *const arrays[] = {"communities", "partitions", "owners", "memory",
					     "absent"};
	int fds[2];

	if (console_object(c, APMP_BOX_NVRAM, 0, 1, fds))
		return -ENOENT;
	c->nvram = read_object(c);
	if (!json_is_object(c->nvram) || number_of(c->nvram, "format") != CONSOLE_NVRAM_FORMAT)
		return bad(c, "no text of format", "1");
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		if (!json_is_array(json_object_get(c->nvram, arrays[i])))
			return bad(c, "it has no list", arrays[i]);
	if (same_file(c, json_object_get(c->nvram, "file")))
		return 0;
	json_decref(c->nvram);
	c->nvram = NULL;
	c->nvram_outdated = true;
	return -ENOENT;
}

/* "partition:alpha", "community:lab": its handle; GCT_NONE when there is none of that name. */
static int32_t owner_handle(struct console *c, const char *text)
{
	struct apmp_tree_community community;
	struct apmp_tree_partition p;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		if (strncmp(text, "partition:", 10) == 0 &&
		    apmp_tree_partition(&c->tw.tree, id, &p) == 0 && !strcmp(p.name, text + 10))
			return p.node.handle;
		if (strncmp(text, "community:", 10) == 0 &&
		    apmp_tree_community(&c->tw.tree, id, &community) == 0 &&
		    !strcmp(community.name, text + 10))
			return community.node.handle;
	}
	return GCT_NONE;
}

static int restore_communities(struct console *c)
{
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(c->nvram, "communities"), i, name)
	{
		char key[2 * APMP_NAME_SIZE];

		snprintf(key, sizeof(key), "community:%.40s", json_string_value(name) ?: "");
		if (!apmp_name_valid(json_string_value(name)) || owner_handle(c, key) ||
		    apmp_tree_add_community(&c->tw, json_string_value(name)) < 0)
			return bad(c, "there can't be a community", key);
	}
	return 0;
}

static int restore_partitions(struct console *c)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(c->nvram, "partitions"), i, entry)
	{
		const char *name = text_of(entry, "name"), *in = text_of(entry, "community");
		char key[2 * APMP_NAME_SIZE];
		struct apmp_tree_partition p;
		int32_t community = GCT_NONE;
		int id = -1;

		snprintf(key, sizeof(key), "community:%.40s", in);
		if (*in && !(community = owner_handle(c, key)))
			return bad(c, "a partition is in no such community", in);
		snprintf(key, sizeof(key), "partition:%.40s", name);
		if (apmp_name_valid(name) && !owner_handle(c, key))
			id = apmp_tree_add_partition(&c->tw, community, name, CONSOLE_HWRPB_PA(i));
		if (id != (int)i || apmp_tree_partition(&c->tw.tree, (uint32_t)id, &p))
			return bad(c, "there can't be a partition", name);
		apmp_tree_set_policy(&c->tw, (uint32_t)id,
				     json_is_true(json_object_get(entry, "boot")) ? GCT_POLICY_BOOT
										  : 0);
	}
	return 0;
}

/* The hardware node of an entry; GCT_NONE: absent. */
static int32_t component_of(struct console *c, const json_t *entry)
{
	const char *type = text_of(entry, "type");
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(&c->tw.tree, &walk, &n) > 0)
		if (n.flags & NODE_HARDWARE && n.id == number_of(entry, "id") &&
		    strcmp(apmp_tree_type_name(n.type), type) == 0)
			return n.handle;
	return GCT_NONE;
}

/* The memory descriptor of an entry; GCT_NONE: absent. */
static int32_t descriptor_of(struct console *c, const json_t *entry)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		uint64_t sbb, idx = console_nvram_place(c, &n, &sbb);

		if (sbb == number_of(entry, "sbb") && idx == number_of(entry, "index"))
			return n.handle;
	}
	return GCT_NONE;
}

static bool is_memory(const json_t *entry)
{
	return json_object_get(entry, "fragments") != NULL;
}

static bool is_absent(struct console *c, const json_t *entry)
{
	return !(is_memory(entry) ? descriptor_of(c, entry) : component_of(c, entry));
}

/* A fragment as it was, or what is left of it in a descriptor that shrank.  Its owner may have been
 * deleted while the memory was absent: then nobody has it. */
static int restore_fragment(struct console *c, const struct apmp_tree_fragment *all,
			    const json_t *entry, bool was_absent)
{
	uint64_t off = number_of(entry, "offset"), size = number_of(entry, "size");
	int32_t owner = owner_handle(c, text_of(entry, "owner"));
	uint32_t flags = (uint32_t)number_of(entry, "flags");

	if ((!owner && !was_absent) || off % APMP_GRANULE || size % APMP_GRANULE || !size)
		return bad(c, "a fragment makes no sense, owner", text_of(entry, "owner"));
	if (!owner || off >= all->size)
		return 0;
	if (size > all->size - off)
		size = all->size - off;
	if (apmp_tree_set_fragment(&c->tw, all->pa + off, size, owner,
				   (flags & GCT_MEM_SHARED) != 0, flags))
		return bad(c, "fragments overlap, owner", text_of(entry, "owner"));
	return 0;
}

static int restore_memory(struct console *c, const json_t *entry, bool was_absent)
{
	const char *owner = text_of(entry, "owner");
	struct apmp_tree_fragment all; /* the descriptor is still one unowned fragment */
	struct apmp_tree_node desc;
	const json_t *fragment;
	size_t i;

	if (apmp_tree_node(&c->tw.tree, descriptor_of(c, entry), &desc) ||
	    apmp_tree_fragment(&c->tw.tree, desc.handle, 0, &all))
		return bad(c, "no such memory", owner);
	if (*owner) {
		apmp_tree_set_owner(&c->tw, desc.parent, owner_handle(c, owner));
		apmp_tree_set_current_owner(&c->tw, desc.parent, owner_handle(c, owner));
	}
	json_array_foreach(json_object_get(entry, "fragments"), i, fragment)
	{
		int err = restore_fragment(c, &all, fragment, was_absent);

		if (err)
			return err;
	}
	return 0;
}

/* Entries of "owners", "memory" and "absent" alike: what is there is owned again. */
static int restore_entries(struct console *c, const char *list)
{
	const json_t *entry;
	size_t i;
	int err = 0;

	json_array_foreach(json_object_get(c->nvram, list), i, entry)
	{
		int32_t owner = owner_handle(c, text_of(entry, "owner"));

		if (err)
			return err;
		if (is_absent(c, entry))
			continue;
		if (is_memory(entry))
			err = restore_memory(c, entry, strcmp(list, "absent") == 0);
		else if (owner)
			apmp_tree_set_owner(&c->tw, component_of(c, entry), owner);
		else
			err = bad(c, "there is no owner", text_of(entry, "owner"));
	}
	return err;
}

/* They name partitions, which are all there now. */
static void restore_tables(struct console *c)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(c->nvram, "partitions"), i, entry)
	    console_tables_read(c, (uint32_t)i, entry);
}

int console_nvram_restore(struct console *c)
{
	static const char *const lists[] = {"owners", "memory", "absent"};
	int err = restore_communities(c);

	if (!err)
		err = restore_partitions(c);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && !err; i++)
		err = restore_entries(c, lists[i]);
	if (!err)
		restore_tables(c);
	return err;
}

json_t *console_nvram_absent(struct console *c)
{
	static const char *const lists[] = {"owners", "memory", "absent"};
	json_t *absent = json_array();
	json_t *entry;
	size_t k;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		json_array_foreach(json_object_get(c->nvram, lists[i]), k, entry)
		{
			const char *owner = text_of(entry, "owner");

			if ((!*owner || owner_handle(c, owner)) && is_absent(c, entry))
				json_array_append(absent, entry);
		}
	return absent;
}
