/*
 * swap_hardware.c - components come into the box and leave it while it runs [0074, 0217, 0244].
 *
 * WHAT      The rules are those of shm/configure.h: what comes is unowned, what goes must be, and
 *           what was here before gets its node again.  Here its name and place are chosen, and the
 *           nodes above it made that there are not yet, in the same update.  A CPU is marked
 *           present in every HWRPB in that update, too [0067]; a running instance learns of it by
 *           the interrupt that follows, as of any change of the tree [0117].
 * STATES    (no node) -> there -> out, NODE_UNAVAILABLE -> there ...
 * CRASHES   One update each, and nothing is kept anywhere else: the next console counts CPUs by the
 *           tree, and host CPUs follow from their numbers.
 * LIMITS    256 CPUs, 64 SBBs, 16 I/O processors of an SBB, 16 buses of an I/O processor,
 *           CONSOLE_MAX_DESC pieces of memory, and the tree's pool.  What the machine file does not
 *           describe is gone at the next power on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/hardware.h"
#include "console/operator.h"
#include "shm/assert.h"
#include "shm/shared.h"

#define SBBS  64u /* as many as a machine file may describe */
#define IOPS  16u
#define BUSES 16u

/* One component that is to come or go; a refusal says why not. */
struct swap {
	struct console *c;
	const char *id; /* as it was typed; NULL: to be chosen */
	uint64_t sbb;
	uint64_t size; /* of memory */
	struct console_cpu cpu;
	char name[64]; /* what it is called now */
	struct apmp_configured why;
	char text[128]; /* a sentence of its own */
};

static int refuse(struct swap *s, enum apmp_reason reason, int32_t about)
{
	s->why = (struct apmp_configured){.reason = reason, .about = about};
	return -apmp_reason_info(reason)->err;
}

/* ---- an update ---- */

/* The node of a component that comes.  The first one of an update begins it. */
static int32_t come(struct swap *s, struct apmp_tree_spec spec)
{
	struct console *c = s->c;
	int err;

	if (apmp_update_open(&c->update))
		return apmp_tree_add(&c->tw, &spec);
	err = apmp_hardware_insert(&c->tw, &spec, 0, 0, &s->why);
	return err ? err : (int32_t)s->why.ret[1];
}

/* One that stands above others: the node that there is, or a new one. */
static int32_t above(struct swap *s, struct apmp_tree_spec spec)
{
	int32_t at = apmp_tree_find(&s->c->tw.tree, spec.type, spec.id);

	return at > 0 ? at : come(s, spec);
}

static void finish(struct swap *s, const char *change, const char *kind)
{
	struct console *c = s->c;

	apmp_update_commit(&c->update);
	console_count_cpus(c);
	console_event(c, "tree.changed", NULL, "{s:s,s:s++,s:s}", "change", change, "what", kind,
		      " ", s->name, "by", "administrator");
}

/* at: what came, or why not.  What came before there was no room any more is taken back. */
static int came(struct swap *s, int32_t at, const char *kind)
{
	if (at > 0) {
		finish(s, "hardware_add", kind);
		return 0;
	}
	if (!apmp_update_open(&s->c->update))
		return at;
	apmp_update_abort(&s->c->update);
	return refuse(s, APMP_REASON_POOL, GCT_NONE);
}

/* Begins the update in which a component goes. */
static int go(struct swap *s, int32_t handle)
{
	return apmp_hardware_remove(&s->c->tw, handle, &s->why);
}

/* What is there already, or was, in another place: nothing is made for it. */
static int may_come(struct swap *s, enum gct_node_type type, uint64_t id, int32_t parent)
{
	struct apmp_tree_node n;

	if (console_find_hardware(s->c, type, id, &n))
		return 0;
	if (!(n.flags & NODE_UNAVAILABLE))
		return refuse(s, APMP_REASON_PRESENT, n.handle);
	if (n.parent == parent)
		return 0;
	snprintf(s->text, sizeof(s->text), "it was in another SBB, and a node never moves [0116]");
	return refuse(s, APMP_REASON_INVALID, n.handle);
}

/* ---- CPUs ---- */

static int32_t primary_of(const struct partition *p)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&p->console->tw.tree, &walk, GCT_CPU, &n) > 0)
		if (n.current_owner == p->handle && n.flags & NODE_PRIMARY)
			return n.handle;
	return GCT_NONE;
}

/* The slot of a partition that lives: an HWRPB without a life is made when it boots. */
static void show_cpu(struct partition *p, int32_t handle, const struct console_cpu *cpu)
{
	struct console *c = p->console;
	struct hwrpb *h = p->hwrpb;
	struct hwrpb_slot *slot = &h->slot[cpu->id];

	/* Nobody looks at a slot that is not present. */
	apmp_store_relaxed(&slot->type, cpu->type);
	apmp_store_relaxed(&slot->revision, cpu->revision);
	apmp_store_relaxed(&slot->host_cpu, c->host_cpu[cpu->id]);
	apmp_hwrpb_set_flags(&c->update, h, p->id, cpu->id, UINT64_MAX,
			     console_slot_flags(c, handle, primary_of(p)));
	if (apmp_load_relaxed(&h->cpu_count) <= cpu->id)
		apmp_update_store32(&c->update, APMP_OBJECT_HWRPB(p->id), &h->cpu_count,
				    cpu->id + 1);
}

static void show_everywhere(struct swap *s, int32_t handle)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (s->c->partition[i].exists && console_running(&s->c->partition[i]))
			show_cpu(&s->c->partition[i], handle, &s->cpu);
}

static void hide_everywhere(struct swap *s, uint32_t cpu_idx)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (s->c->partition[i].exists)
			apmp_hwrpb_set_flags(&s->c->update, s->c->partition[i].hwrpb, i, cpu_idx,
					     UINT64_MAX, 0);
}

/* The number that was typed, or the lowest that was never used. */
static int choose_cpu(struct swap *s)
{
	char *end;
	unsigned long id = 0;

	if (s->id) {
		id = strtoul(s->id, &end, 10);
		if (*s->id < '0' || *s->id > '9' || *end || id >= APMP_MAX_CPUS) {
			snprintf(s->text, sizeof(s->text), "a CPU has a number below %u",
				 APMP_MAX_CPUS);
			return refuse(s, APMP_REASON_INVALID, GCT_NONE);
		}
	} else {
		while (id < APMP_MAX_CPUS && apmp_tree_find(&s->c->tw.tree, GCT_CPU, id) > 0)
			id++;
		if (id == APMP_MAX_CPUS)
			return refuse(s, APMP_REASON_TOO_MANY, GCT_NONE);
	}
	s->cpu.id = (uint32_t)id;
	snprintf(s->name, sizeof(s->name), "%lu", id);
	return 0;
}

static int add_cpu(struct swap *s)
{
	struct console *c = s->c;
	int32_t sbb, at;
	int err = choose_cpu(s);

	if (!err)
		err = may_come(s, GCT_CPU, s->cpu.id, apmp_tree_find(&c->tw.tree, GCT_SBB, s->sbb));
	if (err)
		return err;
	sbb = above(s, console_sbb_spec(c, s->sbb));
	at = sbb < 0 ? sbb : come(s, console_cpu_spec(sbb, &s->cpu));
	if (at > 0)
		show_everywhere(s, at);
	err = came(s, at, "CPU");
	if (!err)
		apmp_cpu_examine(&c->mover, (uint32_t)s->cpu.id);
	return err;
}

static int remove_cpu(struct swap *s)
{
	struct console *c = s->c;
	struct apmp_tree_node n;
	int err = choose_cpu(s);

	if (err || apmp_tree_cpu(&c->tw.tree, s->cpu.id, &n) || n.flags & NODE_UNAVAILABLE)
		return refuse(s, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	err = go(s, n.handle);
	if (err)
		return err;
	hide_everywhere(s, s->cpu.id);
	finish(s, "hardware_remove", "CPU");
	return 0;
}

/* ---- buses ---- */

/* The first position below the I/O processor that is empty. */
static uint64_t next_bus(struct console *c, uint64_t iop)
{
	struct apmp_tree_node n;
	uint64_t k = 0;

	while (console_find_hardware(c, GCT_BUS, iop << 16 | k, &n) == 0 &&
	       !(n.flags & NODE_UNAVAILABLE))
		k++;
	return iop << 16 | k;
}

/* Whether the position is one that a bus can have: no gap before it. */
static bool follows(struct console *c, enum gct_node_type type, uint64_t id)
{
	return !(id & 0xffff) || apmp_tree_find(&c->tw.tree, type, id - 1) > 0;
}

static int choose_bus(struct swap *s, uint64_t *ret_id)
{
	uint64_t id;

	if (!s->id) {
		id = next_bus(s->c, s->sbb << 16);
	} else if (console_bus_id(s->id, &id) || id >> 32 != s->sbb) {
		snprintf(s->text, sizeof(s->text),
			 "a bus is named SBB.IOP.BUS, and this one is to come into SBB %llu",
			 (unsigned long long)s->sbb);
		return refuse(s, APMP_REASON_INVALID, GCT_NONE);
	}
	if ((id >> 16 & 0xffff) >= IOPS || (id & 0xffff) >= BUSES)
		return refuse(s, APMP_REASON_TOO_MANY, GCT_NONE);
	if (!follows(s->c, GCT_IOP, id >> 16) || !follows(s->c, GCT_BUS, id)) {
		snprintf(s->text, sizeof(s->text),
			 "I/O processors of an SBB and buses of an I/O processor are numbered "
			 "without gaps");
		return refuse(s, APMP_REASON_INVALID, GCT_NONE);
	}
	*ret_id = id;
	snprintf(s->name, sizeof(s->name), "%u.%u.%u", (unsigned)(id >> 32),
		 (unsigned)(id >> 16) & 0xffff, (unsigned)id & 0xffff);
	return 0;
}

static int add_bus(struct swap *s)
{
	struct console *c = s->c;
	int32_t sbb, at;
	uint64_t id = 0;
	int err = choose_bus(s, &id);

	if (!err)
		err = may_come(s, GCT_BUS, id, apmp_tree_find(&c->tw.tree, GCT_IOP, id >> 16));
	if (err)
		return err;
	sbb = above(s, console_sbb_spec(c, s->sbb));
	at = sbb < 0 ? sbb : above(s, console_iop_spec(sbb, id >> 16));
	if (at > 0)
		at = come(s, console_bus_spec(at, id));
	return came(s, at, "bus");
}

static int remove_bus(struct swap *s)
{
	struct apmp_tree_node n;
	uint64_t id;
	int err;

	if (console_bus_id(s->id, &id) || console_find_hardware(s->c, GCT_BUS, id, &n) ||
	    n.flags & NODE_UNAVAILABLE)
		return refuse(s, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	snprintf(s->name, sizeof(s->name), "%s", s->id);
	err = go(s, n.handle);
	if (!err)
		finish(s, "hardware_remove", "bus");
	return err;
}

/* ---- memory ---- */

/* A place for memory that comes: where the same piece was before, or above all others. */
struct place {
	uint64_t pa;
	uint32_t descs;
	bool returns;
};

static struct place find_place(struct swap *s)
{
	struct apmp_tree *tree = &s->c->tw.tree;
	struct place place = {.pa = CONSOLE_FIRST_PA};
	int32_t sbb = apmp_tree_find(tree, GCT_SBB, s->sbb);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		uint64_t size = console_desc_size(s->c, n.handle), end = n.id + size;

		place.descs++;
		if (n.flags & NODE_UNAVAILABLE && n.affinity == sbb && size == s->size) {
			place.pa = n.id;
			place.returns = true;
			return place;
		}
		end = (end + CONSOLE_PA_ALIGN - 1) / CONSOLE_PA_ALIGN * CONSOLE_PA_ALIGN;
		if (end > place.pa)
			place.pa = end;
	}
	return place;
}

/* A new subsystem with controller and descriptor. */
static int32_t build_memory(struct swap *s, uint64_t pa)
{
	struct console *c = s->c;
	int32_t sbb = above(s, console_sbb_spec(c, s->sbb)), sub, at;
	struct apmp_tree_spec desc;

	sub = sbb < 0 ? sbb : come(s, console_subsystem_spec(sbb, pa));
	at = sub < 0 ? sub : come(s, console_controller_spec(sbb, sub, pa));
	if (at < 0)
		return at;
	desc = console_desc_spec(sbb, sub, pa);
	return apmp_tree_insert_memory(&c->tw, &desc, pa, s->size);
}

static int add_memory(struct swap *s)
{
	struct console *c = s->c;
	struct place place;
	struct apmp_tree_node n;

	if (!s->size || s->size % APMP_GRANULE || s->size > CONSOLE_TREE_PA)
		return refuse(s, APMP_REASON_ALIGNMENT, GCT_NONE);
	place = find_place(s);
	if (!place.returns &&
	    (place.descs >= CONSOLE_MAX_DESC || place.pa > CONSOLE_TREE_PA - s->size))
		return refuse(s, APMP_REASON_TOO_MANY, GCT_NONE);
	snprintf(s->name, sizeof(s->name), "%#llx", (unsigned long long)place.pa);
	if (!place.returns)
		return came(s, build_memory(s, place.pa), "memory");
	apmp_assert(console_find_hardware(c, GCT_MEMORY_DESC, place.pa, &n) == 0 &&
		    apmp_tree_node(&c->tw.tree, n.parent, &n) == 0);
	return came(s, come(s, console_subsystem_spec(n.parent, n.id)), "memory");
}

static int remove_memory(struct swap *s)
{
	struct apmp_tree_node desc;
	char *end;
	uint64_t pa = strtoull(s->id, &end, 0);
	int err;

	if (*s->id < '0' || *s->id > '9' || *end ||
	    console_find_hardware(s->c, GCT_MEMORY_DESC, pa, &desc) ||
	    desc.flags & NODE_UNAVAILABLE)
		return refuse(s, APMP_REASON_NO_SUCH_NODE, GCT_NONE);
	snprintf(s->name, sizeof(s->name), "%#llx", (unsigned long long)pa);
	err = go(s, desc.parent);
	if (!err)
		finish(s, "hardware_remove", "memory");
	return err;
}

/* ---- methods ---- */

static const struct {
	const char *name;
	int (*add)(struct swap *s), (*remove)(struct swap *s);
} kinds[] = {
    {"cpu", add_cpu, remove_cpu},
    {"bus", add_bus, remove_bus},
    {"memory", add_memory, remove_memory},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static size_t kind_of(struct varlink_call *call, const json_t *parameters)
{
	size_t k = 0;

	while (k < KINDS && strcmp(kinds[k].name, text_of(parameters, "kind")) != 0)
		k++;
	if (k == KINDS)
		varlink_call_invalid(call, "kind");
	return k;
}

/* What is missing has an error of its own for CPUs and buses. */
static void answer_refusal(struct swap *s, struct varlink_call *call, const char *kind, int err)
{
	bool missing = s->why.reason == APMP_REASON_NO_SUCH_NODE;

	if (missing && strcmp(kind, "bus") == 0)
		varlink_call_error(call, "NoSuchBus", json_pack("{s:s}", "bus", s->id));
	else if (missing && strcmp(kind, "cpu") == 0 && s->name[0])
		varlink_call_error(call, "NoSuchCpu", json_pack("{s:i}", "cpu", (int)s->cpu.id));
	else if (s->text[0])
		varlink_call_error(call, apmp_reason_info(s->why.reason)->varlink,
				   json_pack("{s:s++,s:s}", "what", kind, s->id ? " " : "",
					     s->id ? s->id : "", "reason", s->text));
	else
		console_refused(s->c, call, &s->why, err);
}

/* A number that was given; else the default. */
static uint64_t number_of(const json_t *parameters, const char *key, uint64_t otherwise)
{
	const json_t *number = json_object_get(parameters, key);

	return json_is_integer(number) ? (uint64_t)json_integer_value(number) : otherwise;
}

static void on_add(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const json_t *primary = json_object_get(parameters, "primary");
	struct swap s = {.c = ctx,
			 .id = text_of(parameters, "id"),
			 .sbb = number_of(parameters, "sbb", 0),
			 .size = number_of(parameters, "size", 0),
			 .cpu = {.type = number_of(parameters, "type", 1),
				 .revision = number_of(parameters, "revision", 1),
				 .primary = !json_is_false(primary)}};
	size_t k = kind_of(call, parameters);
	int err;

	if (k == KINDS)
		return;
	if (s.sbb >= SBBS) {
		varlink_call_invalid(call, "sbb");
		return;
	}
	err = kinds[k].add(&s);
	if (err)
		answer_refusal(&s, call, kinds[k].name, err);
	else
		varlink_call_reply(call, json_pack("{s:s}", "id", s.name));
}

static void on_remove(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct swap s = {.c = ctx, .id = text_of(parameters, "id")};
	size_t k = kind_of(call, parameters);
	int err;

	if (k == KINDS)
		return;
	err = kinds[k].remove(&s);
	if (err)
		answer_refusal(&s, call, kinds[k].name, err);
	else
		varlink_call_reply(call, NULL);
}

/* ---- the list ---- */

static json_t *component(struct console *c, const char *kind, const char *id,
			 const struct apmp_tree_node *n)
{
	char owner[64], user[64];
	struct apmp_tree_node sbb = *n;

	while (sbb.type != GCT_SBB && sbb.handle)
		apmp_assert(apmp_tree_node(&c->tw.tree, sbb.parent, &sbb) == 0);
	console_name(c, n->owner, owner, sizeof(owner));
	console_name(c, n->current_owner, user, sizeof(user));
	return json_pack("{s:s,s:s,s:I,s:s?,s:s?,s:b,s:b}", "kind", kind, "id", id, "sbb",
			 (json_int_t)sbb.id, "owner", owner[0] ? owner : NULL, "current_owner",
			 user[0] ? user : NULL, "available", !(n->flags & NODE_UNAVAILABLE),
			 "hotswap", (n->flags & NODE_HOTSWAP) != 0);
}

static json_t *cpu_component(struct console *c, const struct apmp_tree_node *n)
{
	uint64_t type = 0, revision = 0;
	json_t *o;
	char id[32];

	snprintf(id, sizeof(id), "%llu", (unsigned long long)n->id);
	o = component(c, "cpu", id, n);
	if (apmp_tree_cpu_type(&c->tw.tree, n->handle, &type, &revision) == 0) {
		json_object_set_new(o, "type", json_integer((json_int_t)type));
		json_object_set_new(o, "revision", json_integer((json_int_t)revision));
	}
	json_object_set_new(o, "primary", json_boolean(n->subtype == GCT_CPU_PRIMARY_CAPABLE));
	return o;
}

/* A piece of memory has its subsystem's owners, and is swapped with it. */
static json_t *memory_component(struct console *c, const struct apmp_tree_node *desc)
{
	struct apmp_tree_node sub;
	char id[32];
	json_t *o;

	apmp_assert(apmp_tree_node(&c->tw.tree, desc->parent, &sub) == 0);
	snprintf(id, sizeof(id), "%#llx", (unsigned long long)desc->id);
	o = component(c, "memory", id, &sub);
	json_object_set_new(o, "size",
			    json_integer((json_int_t)console_desc_size(c, desc->handle)));
	return o;
}

static void on_list(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	struct console *c = ctx;
	json_t *list = json_array();
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	char name[64];

	(void)parameters;
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		json_array_append_new(list, cpu_component(c, &n));
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_BUS, &n) > 0) {
		console_name(c, n.handle, name, sizeof(name));
		json_array_append_new(list, component(c, "bus", name, &n));
	}
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0)
		json_array_append_new(list, memory_component(c, &n));
	varlink_call_reply(call, json_pack("{s:o}", "hardware", list));
}

const struct console_method console_hardware_methods[] = {
    {"HardwareAdd", on_add},
    {"HardwareRemove", on_remove},
    {"HardwareList", on_list},
    {NULL, NULL},
};
