/*
 * A machine in miniature with the rules of the configuration [0061-0063, 0101-0103], stricter than
 * the console where that asks less: nothing leaves a partition that runs but by a migration.
 *
 * LIMITS    Memory has no place: any free memory of the machine suits anybody.
 */
#include "tests/unit/plan_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const model_partition_name[] = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"};
const char *const model_community_name[] = {"lab", "shop", "plant"};

uint64_t model_draw(uint64_t *seed, uint64_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % below;
}

/* ---- memory ---- */

static int64_t owned(const struct model *m, int owner, bool shared)
{
	int64_t size = 0;

	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].owner == owner && m->piece[i].shared == shared)
			size += m->piece[i].size;
	return size;
}

static struct model_piece *unused_piece(struct model *m)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size == 0)
			return &m->piece[i];
	return NULL;
}

/* Cuts size bytes off its beginning: that is what the caller may hand on. */
static struct model_piece *cut(struct model *m, struct model_piece *piece, int64_t size)
{
	struct model_piece *rest;

	if (piece->size == size)
		return piece;
	rest = unused_piece(m);
	*rest = *piece;
	rest->pa += size;
	rest->size -= size;
	piece->size = size;
	return piece;
}

/* Hands size bytes from one owner to another one; whether there was so much. */
static bool hand_over(struct model *m, int64_t size, int from, bool from_shared, int to,
		      bool to_shared)
{
	if (owned(m, from, from_shared) < size)
		return false;
	for (int i = MODEL_PIECES - 1; size > 0 && i >= 0; i--) {
		struct model_piece *piece = &m->piece[i];

		if (piece->size == 0 || piece->owner != from || piece->shared != from_shared)
			continue;
		piece = cut(m, piece, piece->size < size ? piece->size : size);
		piece->owner = to;
		piece->shared = to_shared;
		size -= piece->size;
	}
	return true;
}

static void add_memory(struct model *m, int sbb, int64_t size)
{
	if (size == 0)
		return;
	*unused_piece(m) = (struct model_piece){
	    .sbb = sbb, .pa = m->next_pa, .desc_pa = m->next_pa, .size = size, .owner = MODEL_NONE};
	m->next_pa += INT64_C(1) << 30;
}

/* ---- random machines ---- */

static void random_hardware(struct model *m, uint64_t *seed)
{
	*m = (struct model){.next_pa = INT64_C(1) << 30};
	for (int i = 0; i < MODEL_CPUS; i++)
		m->cpu[i] = (struct model_cpu){.there = model_draw(seed, 6) > 0,
					       .primary = model_draw(seed, 8) > 0,
					       .sbb = i * MODEL_SBBS / MODEL_CPUS,
					       .type = 1 + (model_draw(seed, 12) == 0),
					       .owner = MODEL_NONE,
					       .user = MODEL_NONE};
	for (int i = 0; i < MODEL_BUSES; i++)
		m->bus[i] = (struct model_bus){
		    /* Those of an I/O processor have no holes. */
		    .there = i % 4 == 0 ? model_draw(seed, 8) > 0
					: m->bus[i - 1].there && model_draw(seed, 3) > 0,
		    .owner = MODEL_NONE,
		    .user = MODEL_NONE};
	for (int i = 0; i < MODEL_SBBS; i++)
		for (uint64_t k = model_draw(seed, 3); k-- > 0;)
			add_memory(m, i, (int64_t)model_draw(seed, 20) * MODEL_UNIT);
}

void model_redeal(struct model *m, uint64_t *seed)
{
	for (int i = 0; i < MODEL_COMMUNITIES; i++) {
		m->community[i] = model_draw(seed, 3) > 0;
		if (m->community[i])
			hand_over(m, (int64_t)model_draw(seed, 8) * MODEL_UNIT, MODEL_NONE, false,
				  i, true);
	}
	for (int i = 0; i < MODEL_NAMES; i++) {
		int community = (int)model_draw(seed, MODEL_COMMUNITIES);

		m->partition[i] = (struct model_partition){
		    .there = model_draw(seed, 3) > 0,
		    .community = m->community[community] ? community : MODEL_NONE,
		    .primary = MODEL_NONE};
		if (m->partition[i].there)
			hand_over(m, (int64_t)model_draw(seed, 12) * MODEL_UNIT, MODEL_NONE, false,
				  i, false);
	}
	for (int i = 0; i < MODEL_CPUS + MODEL_BUSES; i++) {
		int to = (int)model_draw(seed, MODEL_NAMES);
		bool cpu = i < MODEL_CPUS;

		if (!m->partition[to].there)
			continue;
		if (cpu && m->cpu[i].there)
			m->cpu[i].owner = to;
		if (!cpu && m->bus[i - MODEL_CPUS].there)
			m->bus[i - MODEL_CPUS].owner = to;
	}
	for (int i = 0; i < MODEL_NAMES; i++)
		m->partition[i].boot = model_bootable(m, i) && model_draw(seed, 4) > 0;
}

void model_random(struct model *m, uint64_t *seed)
{
	random_hardware(m, seed);
	model_redeal(m, seed);
}

bool model_bootable(const struct model *m, int partition)
{
	bool cpu = false, bus = false;

	for (int i = 0; i < MODEL_CPUS; i++)
		cpu |= m->cpu[i].there && m->cpu[i].primary && m->cpu[i].owner == partition;
	for (int i = 0; i < MODEL_BUSES; i++)
		bus |= m->bus[i].there && m->bus[i].owner == partition;
	return m->partition[partition].there && cpu && bus &&
	       owned(m, partition, false) >= 2 * MODEL_UNIT;
}

/* ---- life ---- */

static bool runs(const struct model *m, int partition)
{
	return partition != MODEL_NONE && m->partition[partition].running;
}

static const char *boot(struct model *m, int partition)
{
	struct model_partition *p = &m->partition[partition];

	if (p->running)
		return "it runs";
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->user == partition && cpu->owner == MODEL_NONE)
			cpu->user = MODEL_NONE;
		if (cpu->owner == partition && cpu->user == MODEL_NONE)
			cpu->user = partition;
		if (cpu->user == partition && cpu->owner == partition && cpu->primary &&
		    p->primary == MODEL_NONE)
			p->primary = i;
	}
	for (int i = 0; i < MODEL_BUSES; i++) {
		struct model_bus *bus = &m->bus[i];

		if (bus->owner == partition || bus->user == partition)
			bus->user = bus->owner;
	}
	if (!model_bootable(m, partition) || p->primary == MODEL_NONE)
		return "it has not enough to boot";
	p->running = true;
	p->incarnation++;
	return NULL;
}

static const char *halt(struct model *m, int partition)
{
	struct model_partition *p = &m->partition[partition];

	if (!p->running)
		return "it does not run";
	p->running = false;
	p->primary = MODEL_NONE;
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->user == partition && cpu->owner != partition && cpu->owner != MODEL_NONE)
			cpu->user = runs(m, cpu->owner) ? cpu->owner : MODEL_NONE;
	}
	return NULL;
}

static const char *migrate(struct model *m, int number, int to, bool loan)
{
	struct model_cpu *cpu = &m->cpu[number];

	if (cpu->user == MODEL_NONE || cpu->user == to)
		return "it is there, or nowhere";
	if (!runs(m, cpu->user) || !runs(m, to))
		return "one of the two does not run";
	if (m->partition[cpu->user].primary == number)
		return "it is the primary";
	if (m->partition[to].community == MODEL_NONE ||
	    m->partition[to].community != m->partition[cpu->user].community)
		return "they are not in one community";
	if (m->cpu[m->partition[to].primary].type != cpu->type)
		return "it is of another type";
	cpu->user = to;
	if (!loan)
		cpu->owner = to;
	return NULL;
}

/* A CPU that its partition was given, or lost, while it ran. */
static void change_while_running(struct model *m, uint64_t *seed)
{
	int number = (int)model_draw(seed, MODEL_CPUS);
	struct model_cpu *cpu = &m->cpu[number];

	if (!cpu->there)
		return;
	if (cpu->owner == MODEL_NONE && cpu->user == MODEL_NONE) {
		int to = (int)model_draw(seed, MODEL_NAMES);

		if (m->partition[to].there)
			cpu->owner = to;
	} else if (cpu->owner == cpu->user && runs(m, cpu->user) &&
		   m->partition[cpu->user].primary != number) {
		cpu->owner = MODEL_NONE;
	}
}

void model_use(struct model *m, uint64_t *seed)
{
	for (int i = 0; i < MODEL_NAMES; i++)
		if (m->partition[i].boot || (model_bootable(m, i) && model_draw(seed, 3) == 0))
			(void)boot(m, i);
	for (int i = 0; i < 8; i++)
		(void)migrate(m, (int)model_draw(seed, MODEL_CPUS),
			      (int)model_draw(seed, MODEL_NAMES), model_draw(seed, 3) > 0);
	for (int i = 0; i < MODEL_NAMES; i++)
		if (model_draw(seed, 8) == 0)
			(void)halt(m, i);
	if (model_draw(seed, 4) == 0)
		change_while_running(m, seed);
}

/* ---- as JSON ---- */

static json_t *partition_text(int partition)
{
	return partition == MODEL_NONE ? json_null() : json_string(model_partition_name[partition]);
}

static json_t *cpus_json(const struct model *m, int sbb, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_CPUS; i++) {
		const struct model_cpu *cpu = &m->cpu[i];
		json_t *one;

		if (!cpu->there || cpu->sbb != sbb)
			continue;
		one = json_pack("{s:i, s:i, s:i, s:b}", "id", i, "type", cpu->type, "revision", 1,
				"primary", cpu->primary);
		if (!file) {
			json_object_set_new(one, "owner", partition_text(cpu->owner));
			json_object_set_new(one, "user", partition_text(cpu->user));
			json_object_set_new(one, "is_primary",
					    json_boolean(runs(m, cpu->user) &&
							 m->partition[cpu->user].primary == i));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *iops_json(const struct model *m, int sbb, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_BUSES; i++) {
		json_t *one;

		if (!m->bus[i].there || i / 4 != sbb)
			continue;
		one = json_pack("{s:o, s:[]}", "id", json_sprintf("%d.0.%d", sbb, i % 4), "disks");
		if (!file) {
			json_object_set_new(one, "owner", partition_text(m->bus[i].owner));
			json_object_set_new(one, "user", partition_text(m->bus[i].user));
		}
		json_array_append_new(list, one);
	}
	return json_pack("[{s:o}]", "buses", list);
}

static json_t *piece_json(const struct model_piece *p)
{
	const char *owner = p->owner == MODEL_NONE ? NULL
			    : p->shared		   ? model_community_name[p->owner]
						   : model_partition_name[p->owner];

	return json_pack("{s:I, s:I, s:s?, s:s?, s:b}", "pa", (json_int_t)p->pa, "size",
			 (json_int_t)p->size, "owner", owner, "user", owner, "shared", p->shared);
}

static json_t *descriptors_json(const struct model *m, int sbb)
{
	json_t *list = json_array();

	for (int64_t pa = INT64_C(1) << 30; pa < m->next_pa; pa += INT64_C(1) << 30) {
		json_t *pieces = json_array();
		int64_t size = 0;

		for (int i = 0; i < MODEL_PIECES; i++) {
			if (!m->piece[i].size || m->piece[i].desc_pa != pa ||
			    m->piece[i].sbb != sbb)
				continue;
			size += m->piece[i].size;
			json_array_append_new(pieces, piece_json(&m->piece[i]));
		}
		if (size)
			json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "pa",
							      (json_int_t)pa, "size",
							      (json_int_t)size, "pieces", pieces));
		else
			json_decref(pieces);
	}
	return list;
}

static int64_t sbb_memory(const struct model *m, int sbb)
{
	int64_t size = 0;

	for (int i = 0; i < MODEL_PIECES; i++)
		size += m->piece[i].size && m->piece[i].sbb == sbb ? m->piece[i].size : 0;
	return size;
}

static json_t *hardware_json(const struct model *m, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_SBBS; i++)
		json_array_append_new(list,
				      json_pack("{s:i, s:o, s:o, s:o}", "sbb", i, "cpus",
						cpus_json(m, i, file), "memory",
						file ? json_integer((json_int_t)sbb_memory(m, i))
						     : descriptors_json(m, i),
						"iops", iops_json(m, i, file)));
	return list;
}

static json_t *owned_list(const struct model *m, int partition, bool cpus)
{
	json_t *list = json_array();

	for (int i = 0; cpus && i < MODEL_CPUS; i++)
		if (m->cpu[i].there && m->cpu[i].owner == partition)
			json_array_append_new(list, json_integer(i));
	for (int i = 0; !cpus && i < MODEL_BUSES; i++)
		if (m->bus[i].there && m->bus[i].owner == partition)
			json_array_append_new(list, json_sprintf("%d.0.%d", i / 4, i % 4));
	return list;
}

static json_t *partitions_json(const struct model *m, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_NAMES; i++) {
		const struct model_partition *p = &m->partition[i];
		json_t *one;

		if (!p->there)
			continue;
		one = json_pack("{s:s, s:s?, s:b}", "name", model_partition_name[i], "community",
				p->community == MODEL_NONE ? NULL
							   : model_community_name[p->community],
				"boot", p->boot);
		if (file) {
			json_object_set_new(one, "cpus", owned_list(m, i, true));
			json_object_set_new(one, "buses", owned_list(m, i, false));
			json_object_set_new(one, "memory", json_integer(owned(m, i, false)));
			json_object_set_new(one, "failover", json_object());
		} else {
			json_object_set_new(one, "running", json_boolean(p->running));
			json_object_set_new(one, "resume", json_boolean(p->resume));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *machine_json(const struct model *m, bool file)
{
	json_t *communities = json_array();

	for (int i = 0; i < MODEL_COMMUNITIES; i++) {
		json_t *one;

		if (!m->community[i])
			continue;
		one = json_pack("{s:s}", "name", model_community_name[i]);
		if (file)
			json_object_set_new(one, "shared", json_integer(owned(m, i, true)));
		json_array_append_new(communities, one);
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "machine", "model", "hardware",
			 hardware_json(m, file), "communities", communities, "partitions",
			 partitions_json(m, file));
}

json_t *model_file(const struct model *m)
{
	return machine_json(m, true);
}

json_t *model_now(const struct model *m)
{
	return machine_json(m, false);
}

/* ---- steps: what they are about ---- */

static const char *text(const json_t *step, const char *key)
{
	return json_string_value(json_object_get(json_object_get(step, "parameters"), key));
}

static int64_t number(const json_t *step, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(step, "parameters"), key));
}

/* MODEL_NONE: not among them. */
static int index_of(const char *const *names, int count, const char *name)
{
	for (int i = 0; name && i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return MODEL_NONE;
}

/* A partition that is there. */
static int partition_of(const struct model *m, const char *name)
{
	int i = index_of(model_partition_name, MODEL_NAMES, name);

	return i != MODEL_NONE && m->partition[i].there ? i : MODEL_NONE;
}

static int community_of(const struct model *m, const char *name)
{
	int i = index_of(model_community_name, MODEL_COMMUNITIES, name);

	return i != MODEL_NONE && m->community[i] ? i : MODEL_NONE;
}

static int bus_of(const char *id)
{
	int sbb, iop, bus;

	return id && sscanf(id, "%d.%d.%d", &sbb, &iop, &bus) == 3 ? 4 * sbb + bus : MODEL_NONE;
}

static int community_members(const struct model *m, int community, bool running)
{
	int count = 0;

	for (int i = 0; i < MODEL_NAMES; i++)
		count += m->partition[i].there && m->partition[i].community == community &&
			 (!running || m->partition[i].running);
	return count;
}

/* ---- steps: what they do ---- */

static const char *do_life(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	if (partition == MODEL_NONE)
		return "no such partition";
	if (strcmp(json_string_value(json_object_get(step, "method")), "PartitionHalt") == 0)
		return halt(m, partition);
	return boot(m, partition);
}

static const char *do_migrate(struct model *m, const json_t *step)
{
	int to = partition_of(m, text(step, "to"));

	return to == MODEL_NONE ? "no such partition"
				: migrate(m, (int)number(step, "cpu"), to, false);
}

/* A CPU or bus comes to an owner, or leaves it. */
static const char *change_owner(struct model *m, int *owner, int *user, const char *to)
{
	int partition = partition_of(m, to);

	if (to && partition == MODEL_NONE)
		return "no such partition";
	if (to && (*owner != MODEL_NONE || *user != MODEL_NONE))
		return "it is owned, or used";
	if (!to && *owner == MODEL_NONE)
		return "nobody owns it";
	if (!to && runs(m, *user))
		return "who runs uses it";
	*owner = partition;
	*user = MODEL_NONE;
	return NULL;
}

static const char *do_cpu(struct model *m, const json_t *step)
{
	struct model_cpu *cpu = &m->cpu[number(step, "cpu")];

	return cpu->there ? change_owner(m, &cpu->owner, &cpu->user, text(step, "to"))
			  : "no such CPU";
}

static const char *do_bus(struct model *m, const json_t *step)
{
	struct model_bus *bus = &m->bus[bus_of(text(step, "bus"))];

	return bus->there ? change_owner(m, &bus->owner, &bus->user, text(step, "to"))
			  : "no such bus";
}

static const char *take_memory(struct model *m, const json_t *step, int owner, bool shared)
{
	int64_t size = number(step, "size"), pa = number(step, "pa");

	if (shared ? community_members(m, owner, true) > 0 : runs(m, owner))
		return "who runs uses it";
	for (int i = 0; pa && i < MODEL_PIECES; i++) {
		struct model_piece *p = &m->piece[i];

		if (p->pa == pa && p->size == size && p->owner == owner && p->shared == shared) {
			p->owner = MODEL_NONE;
			p->shared = false;
			return NULL;
		}
	}
	if (pa)
		return "there is no such piece";
	return hand_over(m, size, owner, shared, MODEL_NONE, false) ? NULL : "it has not so much";
}

static const char *do_memory(struct model *m, const json_t *step)
{
	const char *from = text(step, "from"), *name = from ? from : text(step, "to");
	int partition = partition_of(m, name), community = community_of(m, name);
	bool shared = partition == MODEL_NONE;

	if (shared && community == MODEL_NONE)
		return "no such owner";
	if (number(step, "size") <= 0)
		return "no size";
	if (from)
		return take_memory(m, step, shared ? community : partition, shared);
	return hand_over(m, number(step, "size"), MODEL_NONE, false, shared ? community : partition,
			 shared)
		   ? NULL
		   : "not so much is free";
}

static const char *delete_partition(struct model *m, int partition)
{
	if (m->partition[partition].running)
		return "it runs";
	for (int i = 0; i < MODEL_CPUS; i++) {
		struct model_cpu *cpu = &m->cpu[i];

		if (cpu->owner == partition && runs(m, cpu->user))
			return "a CPU of it is on loan";
		if (cpu->owner == partition)
			cpu->owner = MODEL_NONE;
		if (cpu->user == partition)
			cpu->user = MODEL_NONE;
	}
	for (int i = 0; i < MODEL_BUSES; i++) {
		if (m->bus[i].owner == partition)
			m->bus[i].owner = MODEL_NONE;
		if (m->bus[i].user == partition)
			m->bus[i].user = MODEL_NONE;
	}
	(void)hand_over(m, owned(m, partition, false), partition, false, MODEL_NONE, false);
	m->partition[partition].there = false;
	return NULL;
}

static const char *do_delete(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	return partition == MODEL_NONE ? "no such partition" : delete_partition(m, partition);
}

static const char *do_create(struct model *m, const json_t *step)
{
	int i = index_of(model_partition_name, MODEL_NAMES, text(step, "name"));
	int community = community_of(m, text(step, "community"));

	if (m->partition[i].there)
		return "there is one of this name";
	if (text(step, "community") && community == MODEL_NONE)
		return "no such community";
	m->partition[i] = (struct model_partition){
	    .there = true,
	    .community = community,
	    .primary = MODEL_NONE,
	    .boot = json_is_true(json_object_get(json_object_get(step, "parameters"), "boot"))};
	return NULL;
}

static const char *do_set(struct model *m, const json_t *step)
{
	int partition = partition_of(m, text(step, "name"));

	if (partition == MODEL_NONE)
		return "no such partition";
	m->partition[partition].boot =
	    json_is_true(json_object_get(json_object_get(step, "parameters"), "boot"));
	return NULL;
}

static const char *do_community(struct model *m, const json_t *step)
{
	bool create =
	    strcmp(json_string_value(json_object_get(step, "method")), "CommunityCreate") == 0;
	int i = index_of(model_community_name, MODEL_COMMUNITIES, text(step, "name"));

	if (m->community[i] == create)
		return create ? "there is one of this name" : "no such community";
	if (!create && community_members(m, i, false) > 0)
		return "partitions are in it";
	m->community[i] = create;
	(void)hand_over(m, owned(m, i, true), i, true, MODEL_NONE, false);
	return NULL;
}

static const char *do_membership(struct model *m, const json_t *step)
{
	bool add = strcmp(json_string_value(json_object_get(step, "method")), "CommunityAdd") == 0;
	int partition = partition_of(m, text(step, "partition"));
	int community = community_of(m, text(step, "name"));

	if (partition == MODEL_NONE || community == MODEL_NONE)
		return "no such partition, or community";
	if (m->partition[partition].running)
		return "it runs";
	if (m->partition[partition].community != (add ? MODEL_NONE : community))
		return "it is not in there, or in another one";
	if (!add && owned(m, partition, false) > 0)
		return "it has memory of the community's descriptors";
	m->partition[partition].community = add ? community : MODEL_NONE;
	return NULL;
}

static const char *add_hardware(struct model *m, const json_t *step)
{
	const char *kind = text(step, "kind"), *id = text(step, "id");
	int sbb = (int)number(step, "sbb"), cpu;

	if (strcmp(kind, "memory") == 0) {
		add_memory(m, sbb, number(step, "size"));
		return NULL;
	}
	if (strcmp(kind, "bus") == 0) {
		int at = bus_of(id);

		if (at < 0 || at >= MODEL_BUSES || m->bus[at].there)
			return "it is there, or nowhere";
		if (at % 4 > 0 && !m->bus[at - 1].there)
			return "it is not the next one";
		m->bus[at] =
		    (struct model_bus){.there = true, .owner = MODEL_NONE, .user = MODEL_NONE};
		return NULL;
	}
	if (sscanf(id, "%d", &cpu) != 1 || m->cpu[cpu].there)
		return "it is there";
	m->cpu[cpu] = (struct model_cpu){.there = true,
					 .sbb = sbb,
					 .type = (int)number(step, "type"),
					 .primary = json_is_true(json_object_get(
					     json_object_get(step, "parameters"), "primary")),
					 .owner = MODEL_NONE,
					 .user = MODEL_NONE};
	return NULL;
}

static const char *remove_memory(struct model *m, int64_t pa)
{
	bool found = false;

	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size && m->piece[i].desc_pa == pa &&
		    m->piece[i].owner != MODEL_NONE)
			return "some of it is owned";
	for (int i = 0; i < MODEL_PIECES; i++) {
		if (m->piece[i].size == 0 || m->piece[i].desc_pa != pa)
			continue;
		m->piece[i].size = 0;
		found = true;
	}
	return found ? NULL : "no such memory";
}

static const char *remove_hardware(struct model *m, const json_t *step)
{
	const char *kind = text(step, "kind"), *id = text(step, "id");
	struct model_bus *bus;
	int64_t pa;
	int cpu;

	if (strcmp(kind, "memory") == 0)
		return sscanf(id, "%" SCNx64, (uint64_t *)&pa) == 1 ? remove_memory(m, pa)
								    : "no address";
	if (strcmp(kind, "cpu") == 0) {
		if (sscanf(id, "%d", &cpu) != 1 || !m->cpu[cpu].there)
			return "no such CPU";
		if (m->cpu[cpu].owner != MODEL_NONE || m->cpu[cpu].user != MODEL_NONE)
			return "it is owned, or used";
		m->cpu[cpu].there = false;
		return NULL;
	}
	bus = &m->bus[bus_of(id)];
	if (!bus->there)
		return "no such bus";
	if (bus->owner != MODEL_NONE || bus->user != MODEL_NONE)
		return "it is owned, or used";
	bus->there = false;
	return NULL;
}

const char *model_do(struct model *m, const json_t *step)
{
	static const struct {
		const char *method;
		const char *(*act)(struct model *m, const json_t *step);
	} methods[] = {
	    {"PartitionHalt", do_life},	       {"PartitionBoot", do_life},
	    {"CpuMigrate", do_migrate},	       {"CpuAssign", do_cpu},
	    {"CpuDeassign", do_cpu},	       {"BusAssign", do_bus},
	    {"BusDeassign", do_bus},	       {"MemoryAssign", do_memory},
	    {"MemoryDeassign", do_memory},     {"PartitionDelete", do_delete},
	    {"PartitionCreate", do_create},    {"PartitionSet", do_set},
	    {"CommunityCreate", do_community}, {"CommunityDelete", do_community},
	    {"CommunityAdd", do_membership},   {"CommunityRemove", do_membership},
	    {"HardwareAdd", add_hardware},     {"HardwareRemove", remove_hardware},
	};
	const char *method = json_string_value(json_object_get(step, "method"));

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].method, method) == 0)
			return methods[i].act(m, step);
	return "no such method";
}

/* ---- is it as it should be ---- */

static bool same_partition(const struct model *m, const struct model *want, int i)
{
	const struct model_partition *is = &m->partition[i], *wanted = &want->partition[i];

	if (is->there != wanted->there)
		return false;
	return !is->there || (is->boot == wanted->boot && is->community == wanted->community &&
			      owned(m, i, false) == owned(want, i, false));
}

bool model_is(const struct model *m, const struct model *want, char *text, size_t size)
{
	text[0] = 0;
	for (int i = 0; i < MODEL_CPUS; i++) {
		const struct model_cpu *is = &m->cpu[i], *wanted = &want->cpu[i];

		if (is->there != wanted->there ||
		    (is->there && (is->owner != wanted->owner || is->type != wanted->type ||
				   is->primary != wanted->primary)))
			snprintf(text, size, "CPU %d", i);
	}
	for (int i = 0; i < MODEL_BUSES; i++)
		if (m->bus[i].there != want->bus[i].there ||
		    (m->bus[i].there && m->bus[i].owner != want->bus[i].owner))
			snprintf(text, size, "bus %d", i);
	for (int i = 0; i < MODEL_NAMES; i++)
		if (!same_partition(m, want, i))
			snprintf(text, size, "partition %s", model_partition_name[i]);
	for (int i = 0; i < MODEL_COMMUNITIES; i++)
		if (m->community[i] != want->community[i] ||
		    owned(m, i, true) != owned(want, i, true))
			snprintf(text, size, "community %s", model_community_name[i]);
	for (int i = 0; i < MODEL_SBBS; i++)
		if (sbb_memory(m, i) != sbb_memory(want, i))
			snprintf(text, size, "memory of SBB %d", i);
	return !text[0];
}
