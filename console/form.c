/*
 * form.c - the master console forms the machine [0064, 0118-0120], Fig. 5; or a restarted console
 * takes it over.
 *
 * STATES    nothing -> tree made, unpublished -> published, state's fingerprint written.  A console
 *           that dies before the last drops what there is and forms anew: no partition has run.
 * CRASHES   form_502 to form_506: formed anew.  Later: adopt repairs the open update,
 *           settles CPUs in transit, and fences whoever has no process any more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/cpu_tables.h"
#include "console/failover.h"
#include "console/hardware.h"
#include "console/nvram_text.h"
#include "console/place_memory.h"
#include "shm/assert.h"
#include "shm/intr.h"
#include "shm/shared.h"

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Takes what every start needs out of the machine's description. */
static int read_config(struct console *c)
{
	const json_t *host, *timing;
	size_t host_count;
	int fds[2], err = console_object(c, APMP_BOX_CONFIG, 0, 1, fds);

	if (err)
		return err;
	/* A memfd of whole pages: the text ends with NUL. */
	c->config = json_loads(console_object_map(c, APMP_BOX_CONFIG, 0), 0, NULL);
	if (!c->config)
		return -EBADMSG;
	timing = json_object_get(c->config, "timing");
	c->tick_ns = (uint64_t)number(timing, "tick_ns");
	c->stop_ns = (uint64_t)number(timing, "stop_ns");
	c->suspect = (uint32_t)number(timing, "suspect");
	c->fence_kill = strcmp(json_string_value(json_object_get(c->config, "fence")), "kill") == 0;
	c->notice_exit = json_is_true(json_object_get(c->config, "notice_exit"));
	c->dumps = json_is_object(json_object_get(c->config, "dump"));
	host = json_object_get(c->config, "host");
	c->bare = json_is_true(json_object_get(host, "bare"));
	host = json_object_get(host, "cpus");
	host_count = json_array_size(host);
	if (!host_count || !c->tick_ns)
		return -EBADMSG;
	for (size_t i = 0; i < APMP_MAX_CPUS; i++)
		c->host_cpu[i] = (uint32_t)json_integer_value(json_array_get(host, i % host_count));
	return 0;
}

/* Gives size bytes, in as few fragments as there must be; what is for whom, for people.
 * -ENOMEM, with a sentence in c->why. */
static int place_memory(struct console *c, const char *what, int32_t community, int32_t owner,
			int32_t near, uint64_t size, uint32_t flags, uint64_t first_min)
{
	struct console_piece pieces[CONSOLE_PIECES];
	struct apmp_tree_node desc;
	uint64_t had;
	int count = console_plan_memory(c, owner, near, size, first_min, pieces, &had), err = 0;

	if (count < 0) {
		snprintf(
		    c->why, sizeof(c->why),
		    "%s: %lluM of memory wanted, %lluM of that find no place: a memory "
		    "subsystem that a community uses can't also serve partitions outside of it",
		    what, (unsigned long long)size >> 20, (unsigned long long)(size - had) >> 20);
		return count;
	}
	for (int i = 0; i < count && !err; i++) {
		apmp_assert(apmp_tree_node(&c->tw.tree, pieces[i].desc, &desc) == 0);
		if (!desc.owner) { /* [0096]: what is shared, or split, is the community's */
			apmp_tree_set_owner(&c->tw, desc.parent, community ? community : owner);
			apmp_tree_set_current_owner(&c->tw, desc.parent,
						    community ? community : owner);
		}
		err = apmp_tree_set_fragment(&c->tw, pieces[i].pa, pieces[i].size, owner, true,
					     flags);
		flags &= ~GCT_MEM_BASE;
	}
	return err;
}

/* The community of this name; GCT_NONE. */
static int32_t community_handle(struct console *c, const char *name)
{
	struct apmp_tree_community community;

	for (uint32_t id = 0; name && id < APMP_MAX_PARTITIONS; id++)
		if (apmp_tree_community(&c->tw.tree, id, &community) == 0 &&
		    strcmp(community.name, name) == 0)
			return community.node.handle;
	return GCT_NONE;
}

static int add_communities(struct console *c, const json_t *communities)
{
	const json_t *community;
	char what[64];
	size_t i;

	json_array_foreach(communities, i, community)
	{
		const char *name = json_string_value(json_object_get(community, "name"));
		int id = apmp_tree_add_community(&c->tw, name);
		int32_t handle = community_handle(c, name);
		int err;

		apmp_assert(id >= 0);
		snprintf(what, sizeof(what), "community \"%s\"", name);
		err = place_memory(c, what, handle, handle, GCT_NONE,
				   (uint64_t)number(community, "shared"), GCT_MEM_SHARED, 0);
		if (err)
			return err;
	}
	return 0;
}

/* Hands a bus "S.I.B" to its partition. */
static void own_bus(struct console *c, int32_t owner, const char *text)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	unsigned s, i, b;

	apmp_assert(sscanf(text, "%u.%u.%u", &s, &i, &b) == 3);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_BUS, &node) > 0)
		if (node.id == ((uint64_t)s << 32 | (uint64_t)i << 16 | b))
			apmp_tree_set_owner(&c->tw, node.handle, owner);
}

static int add_partition(struct console *c, const json_t *config)
{
	const char *name = json_string_value(json_object_get(config, "name"));
	int32_t community =
	    community_handle(c, json_string_value(json_object_get(config, "community")));
	int next = 0, id;
	struct apmp_tree_partition p;
	struct apmp_tree_node cpu = {0};
	const json_t *item;
	char what[64];
	size_t i;

	while (apmp_tree_partition(&c->tw.tree, (uint32_t)next, &p) == 0)
		next++;
	id = apmp_tree_add_partition(&c->tw, community, name, CONSOLE_HWRPB_PA(next));
	apmp_assert(id == next && apmp_tree_partition(&c->tw.tree, (uint32_t)id, &p) == 0);
	json_array_foreach(json_object_get(config, "cpus"), i, item)
	{
		apmp_assert(apmp_tree_cpu(&c->tw.tree, (uint32_t)json_integer_value(item), &cpu) ==
			    0);
		apmp_tree_set_owner(&c->tw, cpu.handle, p.node.handle);
	}
	json_array_foreach(json_object_get(config, "buses"), i, item)
	    own_bus(c, p.node.handle, json_string_value(item));
	if (json_is_true(json_object_get(config, "boot")))
		apmp_tree_set_policy(&c->tw, (uint32_t)id, GCT_POLICY_BOOT);
	snprintf(what, sizeof(what), "partition \"%s\"", name);
	return place_memory(c, what, community, p.node.handle, cpu.affinity,
			    (uint64_t)number(config, "memory"), GCT_MEM_PRIVATE | GCT_MEM_BASE,
			    CONSOLE_BASE_ALLOC);
}

/* Memory that the machine can't be without; says what is short when it can't be had. */
static int need(struct console *c, uint32_t kind, uint64_t id, uint64_t size)
{
	struct apmp_box_event event;
	int err = console_object_need(c, kind, id, size, &event);

	if (err)
		snprintf(c->why, sizeof(c->why), "firmware memory of %llu bytes: %s %.160s",
			 (unsigned long long)size, strerror(-err), event.text);
	return err;
}

/* For good: a restarted console must not come back to it. */
static void refuse_nvram(struct console *c)
{
	fprintf(stderr, "apmp-console: %s; the machine file's configuration is used\n", c->why);
	if (!apmp_swap(&c->state->nvram_refused, 1)) /* else it was told already */
		console_event(c, "nvram.refused", NULL, "{s:s}", "reason", c->why);
	c->why[0] = '\0';
	json_decref(c->nvram);
	c->nvram = NULL;
}

/* Where the configuration came from, when it was not only the machine file. */
static void tell_restored(struct console *c)
{
	json_t *absent = console_nvram_absent(c);

	if (c->nvram)
		console_event(c, "nvram.restored", NULL, "{s:i}", "absent",
			      (int)json_array_size(absent));
	else if (c->nvram_outdated)
		console_event(c, "nvram.refused", NULL, "{s:s}", "reason",
			      "the machine file divides the machine in another way than when it "
			      "was written");
	json_decref(absent);
}

/* Communities and partitions with what they own, as the machine file has them. */
static int divide_by_file(struct console *c)
{
	json_t *division;
	const json_t *partition;
	size_t i;
	int err = console_division(c, &division);

	if (err)
		return err;
	err = add_communities(c, json_object_get(division, "communities"));
	json_array_foreach(json_object_get(division, "partitions"), i, partition)
	{
		if (!err)
			err = add_partition(c, partition);
	}
	json_array_foreach(json_object_get(division, "partitions"), i, partition)
	    console_tables_read(c, (uint32_t)i, partition); /* names that are all there now */
	json_decref(division);
	return err;
}

static int form_tree(struct console *c)
{
	struct apmp_tree_limits limits = {.console_req = APMP_GRANULE,
					  .min_alloc = APMP_GRANULE,
					  .min_align = APMP_GRANULE,
					  .base_alloc = CONSOLE_BASE_ALLOC,
					  .base_align = APMP_GRANULE,
					  .max_phys_address = CONSOLE_TREE_PA,
					  .mem_size = console_memory_size(c),
					  .max_fragments = CONSOLE_MAX_FRAGMENTS,
					  .max_desc = CONSOLE_MAX_DESC,
					  .platform = "apmp"};
	int err;

	c->tree_size = CONSOLE_TREE_SIZE;
	err = need(c, APMP_BOX_TREE, 0, c->tree_size);
	if (err)
		return err;
	apmp_update_object(&c->update, APMP_OBJECT_TREE, console_object_map(c, APMP_BOX_TREE, 0),
			   c->tree_size);
	apmp_tree_create(&c->tw, &c->update, c->update.object[APMP_OBJECT_TREE].base, c->tree_size,
			 &limits);
	err = console_add_hardware(c);
	APMP_POINT(&c->env, form_504);
	if (!err)
		err = c->nvram ? console_nvram_restore(c) : divide_by_file(c);
	if (err)
		return err;
	console_tables_scrub(c); /* what a dead console, or NVRAM that does not count, left */
	apmp_tree_publish(&c->tw);
	APMP_POINT(&c->env, form_506);
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		apmp_cpu_examine(&c->mover, cpu);
	return 0;
}

/* The tree from the start, of a dead console or of a configuration that could not be restored. */
static int form_anew(struct console *c)
{
	console_object_drop(c, APMP_BOX_TREE, 0);
	console_object_drop(c, APMP_BOX_TREE_RO, 0);
	return form_tree(c);
}

/* As NVRAM says; if that can't be, as the machine file says: the operator is told. */
static int form(struct console *c)
{
	int err = form_anew(c);

	if (!err || !c->nvram)
		return err;
	refuse_nvram(c);
	return form_anew(c);
}

/* What the box keeps for each partition of the tree; says what is short when it can't be had. */
static int open_partitions(struct console *c)
{
	struct apmp_box_event event = {0};
	int err = console_partitions_open(c, &event);

	if (err)
		snprintf(c->why, sizeof(c->why),
			 "a partition's firmware memory or terminal: %s %.160s", strerror(-err),
			 event.text);
	return err;
}

static int open_common(struct console *c)
{
	if (need(c, APMP_BOX_RECORDER, APMP_CONSOLE_RECORDER, APMP_RECORDER_SIZE))
		return -ENOMEM;
	c->recorder = console_object_map(c, APMP_BOX_RECORDER, APMP_CONSOLE_RECORDER);
	if (need(c, APMP_BOX_LINES, 0, APMP_INTR_SIZE))
		return -ENOMEM;
	c->env.lines = console_object_map(c, APMP_BOX_LINES, 0);
	if (need(c, APMP_BOX_STATE, 0, APMP_CONSOLE_STATE_SIZE))
		return -ENOMEM;
	c->state = console_object_map(c, APMP_BOX_STATE, 0);
	apmp_update_init(&c->update, &c->env, &c->state->journal);
	apmp_update_object(&c->update, APMP_OBJECT_STATE, c->state, APMP_CONSOLE_STATE_SIZE);
	console_mover_init(c);
	return 0;
}

/* A restarted console: the tree as before or as after the update that was open. */
static int adopt(struct console *c)
{
	int fds[2], err = apmp_tree_adopt(&c->tw, &c->update,
					  c->update.object[APMP_OBJECT_TREE].base, c->tree_size);

	if (err)
		return err;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (console_object(c, APMP_BOX_HWRPB, id, HWRPB_SIZE, fds) == 0)
			console_hwrpb_use(c, id);
	err = apmp_update_repair(&c->update);
	if (err >= 0)
		err = open_partitions(c); /* those of the repaired tree */
	if (err < 0)
		return err;
	console_ram_drop(c, GCT_NONE); /* memory that nobody has any more */
	console_tables_scrub(c);
	console_count_cpus(c);
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		apmp_cpu_settle(&c->mover, cpu);
	return 0;
}

/* A life that was fenced, but whose end the dead console had not concluded: when the box says that
 * all of it is reaped. */
static void conclude(struct partition *p)
{
	enum apmp_partition_state state = console_state(p);

	if (state == APMP_PARTITION_OFF || state == APMP_PARTITION_CONSOLE ||
	    state == APMP_PARTITION_CRASHED || state == APMP_PARTITION_DEAD)
		return;
	if (state == APMP_PARTITION_BOOTING) { /* that life's first update was undone: none began */
		struct boot_refusal refusal;

		console_set_state(p, APMP_PARTITION_OFF);
		if (console_boot(p, NULL, NULL, &refusal))
			port_print(p, "apmp-console: partition %s can't boot: %s", p->name,
				   refusal.what);
		return;
	}
	console_set_state(p, APMP_PARTITION_FENCED);
	console_fence(p, FENCE_EXITED);
}

/* Partitions without a process are fenced; the others are told to ask again. */
static void take_over(struct console *c)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];

		if (!p->exists)
			continue;
		if (!console_identity(p)) {
			conclude(p);
		} else if (!p->pid) {
			p->boot_after_fence = console_state(p) == APMP_PARTITION_BOOTING;
			console_fence(p, FENCE_EXITED);
		} else if (console_channel_open(p) == 0) {
			/* Who asked has heard that it is dead. */
			apmp_cpu_take_back_all(&c->mover, i);
			console_wish_take_back(p);
			console_callback_reply(p, 0, 0);
			console_set_cpuset(p); /* what the dead one may not have set */
			apmp_cpu_arrivals(&c->mover, i);
			if (console_state(p) != APMP_PARTITION_MEMBER && console_db_has_member(p))
				console_joined(p); /* its report was lost */
		}
	}
	console_failover_resume(c);
	apmp_intr_all(&c->env, APMP_INTR_TREE);
	apmp_fetch_add(&c->state->restarts, 1);
	console_event(c, "console.restarted", NULL, "{s:I,s:s,s:I,s:I}", "restarts",
		      (json_int_t)apmp_load_relaxed(&c->state->restarts), "last", c->last.text,
		      "deaths", (json_int_t)c->last.arg[0], "delay_ms", (json_int_t)c->last.arg[2]);
}

int console_form(struct console *c)
{
	int err = read_config(c);

	if (!err)
		err = open_common(c);
	if (err)
		return err;
	if (!apmp_load_relaxed(&c->state->nvram_refused) && console_nvram_load(c) == -EBADMSG)
		refuse_nvram(c);
	APMP_POINT(&c->env, form_502);
	if (apmp_load_acquire(&c->state->fingerprint) == apmp_fingerprint(sizeof(*c->state))) {
		c->tree_size = CONSOLE_TREE_SIZE;
		apmp_update_object(&c->update, APMP_OBJECT_TREE,
				   console_object_map(c, APMP_BOX_TREE, 0), c->tree_size);
		c->announced = apmp_load_relaxed(&c->state->announced);
		err = adopt(c);
	} else {
		err = form(c);
		if (!err)
			err = open_partitions(c);
	}
	if (!err)
		err = need(c, APMP_BOX_TREE_RO, 0, c->tree_size);
	if (err)
		return err;
	/* Once in every life: what a dead console had not written, and what this power on found. */
	console_save_again(c);
	if (apmp_load_relaxed(&c->state->fingerprint)) {
		take_over(c);
	} else {
		tell_restored(c);
		console_event(c, "machine.on", NULL, NULL);
		/* From here on a restarted console takes over. */
		apmp_store_release(&c->state->fingerprint, apmp_fingerprint(sizeof(*c->state)));
	}
	return 0;
}
