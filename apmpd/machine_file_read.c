/*
 * YAML to machine: the first pass over a machine file.
 *
 * WHAT	A table has the keys of one kind of mapping, each with the reader of its value and
 *	where the value goes. A reader that dislikes its value complains, leaves a default, and
 *	the walk goes on, so that one run finds all. The depth of the walk is the depth of the
 *	tables, whatever the file does.
 * STATES	`bad` in a machine_pos says that something was complained about there. The second
 *	pass (machine_file_check.c) builds nothing on it: one mistake, one sentence.
 */
#include "apmpd/machine_file.h"

#include <stdlib.h>
#include <string.h>

#include "apmpd/machine_file_yaml.h"

#define FAILOVER_MAX (APMP_MACHINE_CPUS + 1)

/* A key whose reader sets one member, and one whose reader sets several. */
#define KEY(key_name, reader, object, member, ...)                                                 \
	{                                                                                          \
		.name = (key_name), .read = (reader), .offset = offsetof(struct object, member),   \
		##__VA_ARGS__                                                                      \
	}
#define WHOLE(key_name, reader, ...)                                                               \
	{                                                                                          \
		.name = (key_name), .read = (reader), ##__VA_ARGS__                                \
	}

/* ---- scalars ---- */

/* Digits only, no leading zeros. Returns the digits read, 0 for none; too large is UINT64_MAX. */
static size_t digits(const char *text, size_t size, uint64_t *ret_number)
{
	uint64_t number = 0;
	size_t i;

	for (i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
			number = UINT64_MAX;
	}
	if (i > 1 && text[0] == '0')
		return 0;
	*ret_number = number;
	return i;
}

static bool number_of(const struct value *value, uint64_t *ret_number)
{
	return value->kind == VALUE_SCALAR && !value->quoted && value->size > 0 &&
	       digits(value->text, value->size, ret_number) == value->size;
}

/* A number with one of the units; a unit of "" is none at all. */
struct unit {
	const char *name;
	uint64_t factor;
};

static bool scaled(const struct value *value, const struct unit *units, uint64_t *ret_number)
{
	uint64_t number;
	size_t length;

	if (value->kind != VALUE_SCALAR)
		return false;
	length = digits(value->text, value->size, &number);
	if (length == 0)
		return false;
	for (; units->name; units++) {
		if (value->size - length != strlen(units->name) ||
		    memcmp(value->text + length, units->name, value->size - length) != 0)
			continue;
		if (__builtin_mul_overflow(number, units->factor, ret_number))
			*ret_number = UINT64_MAX;
		return true;
	}
	return false;
}

static bool read_size(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	static const struct unit units[] = {{"", 1},	       {"K", 1ull << 10}, {"M", 1ull << 20},
					    {"G", 1ull << 30}, {"T", 1ull << 40}, {NULL, 0}};
	char least[APMP_MACHINE_NAME_SIZE], most[APMP_MACHINE_NAME_SIZE];
	char unit[APMP_MACHINE_NAME_SIZE];
	struct machine_size *size = into;
	uint64_t bytes = 0;
	bool ok = true;

	apmp__machine_size_text(key->min, least);
	apmp__machine_size_text(key->max, most);
	apmp__machine_size_text(key->unit, unit);
	if (!scaled(value, units, &bytes))
		ok =
		    apmp__expected(walk, value, "a size such as 64M (bytes, or with K, M, G or T)");
	else if (bytes < key->min || bytes > key->max)
		ok = apmp__expected(walk, value, "a size from %s to %s", least, most);
	else if (bytes % key->unit != 0)
		ok = apmp__expected(walk, value, "a size that is a multiple of %s", unit);
	size->bytes = ok ? bytes : 0;
	size->at = apmp__value_pos(value, ok);
	return ok;
}

static bool read_time(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	static const struct unit units[] = {
	    {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {NULL, 0}};
	struct machine_time *duration = into;
	uint64_t ns = 0;
	bool ok = true;

	if (!scaled(value, units, &ns))
		ok = apmp__expected(walk, value, "a time such as 2ms (with us, ms or s)");
	else if (ns < key->min || ns > key->max)
		ok = apmp__expected(walk, value, "a time from 1us to 3600s");
	if (ok)
		duration->ns = ns;
	duration->at = apmp__value_pos(value, ok);
	return ok;
}

static bool read_number(struct walk *walk, const struct key *key, const struct value *value,
			void *into)
{
	uint64_t number;

	if (!number_of(value, &number) || number < key->min || number > key->max)
		return apmp__expected(walk, value, "a whole number from %llu to %llu",
				      (unsigned long long)key->min, (unsigned long long)key->max);
	*(uint32_t *)into = (uint32_t)number;
	return true;
}

/* Whether it is a yes or a no. */
static bool bool_of(const struct value *value, bool *ret_yes)
{
	bool plain = value->kind == VALUE_SCALAR && !value->quoted;
	bool yes = plain && (apmp__value_is(value, "yes") || apmp__value_is(value, "true"));

	if (!yes && !(plain && (apmp__value_is(value, "no") || apmp__value_is(value, "false"))))
		return false;
	*ret_yes = yes;
	return true;
}

static bool read_bool(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	(void)key;
	return bool_of(value, into) || apmp__expected(walk, value, "yes or no");
}

static bool is_name(const struct value *value)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	if (value->kind != VALUE_SCALAR || value->size == 0 ||
	    value->size >= APMP_MACHINE_NAME_SIZE)
		return false;
	for (size_t i = 0; i < value->size; i++) {
		char c = value->text[i];

		if (c == '\0' || (!strchr(first, c) && (i == 0 || !strchr("_.-", c))))
			return false;
	}
	return true;
}

/* A bad name is kept, made printable, so that what refers to it finds it. */
static bool read_name(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	struct machine_name *name = into;
	bool ok = is_name(value);

	(void)key;
	name->at = apmp__value_pos(value, ok);
	if (value->kind == VALUE_SCALAR)
		apmp__machine_printable(value->text, value->size, name->text, sizeof(name->text));
	if (ok)
		return true;
	return apmp__expected(
	    walk, value,
	    "a name of at most 31 characters a-z, 0-9, _ . - that starts with a letter "
	    "or digit");
}

/* A name, or nothing. */
static bool read_name_or_none(struct walk *walk, const struct key *key, const struct value *value,
			      void *into)
{
	if (value->kind == VALUE_NULL)
		return true;
	return read_name(walk, key, value, into);
}

static bool read_fence(struct walk *walk, const struct key *key, const struct value *value,
		       void *into)
{
	enum machine_fence *fence = into;

	(void)key;
	if (value->kind == VALUE_SCALAR && apmp__value_is(value, "kill"))
		*fence = APMP_FENCE_KILL;
	else if (value->kind == VALUE_SCALAR && apmp__value_is(value, "bugcheck"))
		*fence = APMP_FENCE_BUGCHECK;
	else
		return apmp__expected(walk, value, "kill or bugcheck");
	return true;
}

/* ---- hardware ---- */

#define MEMORY_LIMITS                                                                              \
	.min = APMP_MACHINE_GRANULE, .max = APMP_MACHINE_SIZE_MAX, .unit = APMP_MACHINE_GRANULE

static bool item_cpu(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {
	    KEY("id", read_number, machine_cpu, id, .required = true, .max = APMP_MACHINE_CPUS - 1),
	    KEY("type", read_number, machine_cpu, type, .max = UINT32_MAX),
	    KEY("revision", read_number, machine_cpu, revision, .max = UINT32_MAX),
	    KEY("primary", read_bool, machine_cpu, primary),
	    {0}};
	struct machine_cpu *cpu = into;
	struct keys_seen seen;

	*cpu = (struct machine_cpu){
	    .type = 1, .revision = 1, .primary = true, .at = apmp__value_pos(value, true)};
	if (!apmp__mapping_read(walk, value, keys, "a CPU", cpu, &seen))
		return false;
	if (seen.bad & 1u) /* no id: nothing to go on with */
		return false;
	if (cpu->id >= walk->next_cpu)
		walk->next_cpu = cpu->id + 1;
	return true;
}

static bool count_cpus(struct walk *walk, const struct value *value, struct machine_sbb *sbb)
{
	uint64_t count;

	if (!number_of(value, &count) || count > APMP_MACHINE_CPUS)
		return apmp__expected(walk, value,
				      "a number of CPUs from 0 to %d or a list of them",
				      APMP_MACHINE_CPUS);
	if (walk->next_cpu + count > APMP_MACHINE_CPUS)
		return apmp__expected(walk, value, "at most %u more CPUs (their ids end at %d)",
				      APMP_MACHINE_CPUS - walk->next_cpu, APMP_MACHINE_CPUS - 1);
	if (count == 0)
		return true;
	sbb->cpus = calloc(count, sizeof(*sbb->cpus));
	if (!sbb->cpus) {
		walk->no_memory = true;
		return false;
	}
	sbb->cpu_count = count;
	for (size_t i = 0; i < count; i++)
		sbb->cpus[i] = (struct machine_cpu){.id = walk->next_cpu++,
						    .type = 1,
						    .revision = 1,
						    .primary = true,
						    .at = apmp__value_pos(value, true)};
	return true;
}

static bool read_cpus(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	static const struct list_kind kind = {"CPUs", item_cpu, sizeof(struct machine_cpu),
					      APMP_MACHINE_CPUS};
	struct machine_sbb *sbb = into;
	bool ok;

	(void)key;
	if (value->kind == VALUE_LIST)
		ok = apmp__list_read(walk, &kind, value, false, &sbb->cpus, &sbb->cpu_count);
	else
		ok = count_cpus(walk, value, sbb);
	sbb->cpus_at = apmp__value_pos(value, ok);
	return ok;
}

static bool item_disk(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {
	    KEY("name", read_name, machine_disk, name, .required = true),
	    KEY("size", read_size, machine_disk, size, .required = true, .min = APMP_MACHINE_SECTOR,
		.max = APMP_MACHINE_SIZE_MAX, .unit = APMP_MACHINE_SECTOR),
	    {0}};
	struct keys_seen seen;

	return apmp__mapping_read(walk, value, keys, "a disk", into, &seen) && !seen.bad;
}

static bool read_disks(struct walk *walk, const struct key *key, const struct value *value,
		       void *into)
{
	static const struct list_kind kind = {"disks", item_disk, sizeof(struct machine_disk),
					      APMP_MACHINE_DISKS};
	struct machine_bus *bus = into;

	(void)key;
	return apmp__list_read(walk, &kind, value, false, &bus->disks, &bus->disk_count);
}

/* A bus with bad disks is still that bus: only what is no mapping at all is bad. */
static bool item_bus(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {WHOLE("disks", read_disks), {0}};
	struct keys_seen seen;

	return apmp__mapping_read(walk, value, keys, "a bus", into, &seen);
}

static bool read_iop_buses(struct walk *walk, const struct key *key, const struct value *value,
			   void *into)
{
	static const struct list_kind kind = {"buses", item_bus, sizeof(struct machine_bus),
					      APMP_MACHINE_BUSES};
	struct machine_iop *iop = into;

	(void)key;
	return apmp__list_read(walk, &kind, value, true, &iop->buses, &iop->bus_count);
}

static bool item_iop(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {WHOLE("buses", read_iop_buses), {0}};
	struct keys_seen seen;

	return apmp__mapping_read(walk, value, keys, "an I/O processor", into, &seen) && !seen.bad;
}

static bool read_iops(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	static const struct list_kind kind = {"I/O processors", item_iop,
					      sizeof(struct machine_iop), APMP_MACHINE_IOPS};
	struct machine_sbb *sbb = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, true, &sbb->iops, &sbb->iop_count);
	sbb->iops_at = apmp__value_pos(value, ok);
	return ok;
}

/* An SBB without a good id keeps its place, marked bad: its CPUs are numbered all the same. */
static bool item_sbb(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {
	    KEY("sbb", read_number, machine_sbb, id, .required = true,
		.max = APMP_MACHINE_SBBS - 1),
	    WHOLE("cpus", read_cpus),
	    KEY("memory", read_size, machine_sbb, memory, MEMORY_LIMITS),
	    WHOLE("iops", read_iops),
	    {0}};
	struct machine_sbb *sbb = into;
	struct keys_seen seen;

	if (!apmp__mapping_read(walk, value, keys, "an SBB", sbb, &seen))
		return false;
	sbb->at = apmp__value_pos(value, !(seen.bad & 1u));
	return true;
}

static bool read_hardware(struct walk *walk, const struct key *key, const struct value *value,
			  void *into)
{
	static const struct list_kind kind = {"SBBs", item_sbb, sizeof(struct machine_sbb),
					      APMP_MACHINE_SBBS};
	struct machine *machine = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, false, &machine->sbbs, &machine->sbb_count);
	if (ok && machine->sbb_count == 0)
		ok = apmp__expected(walk, value, "at least one SBB");
	machine->hardware_at = apmp__value_pos(value, ok);
	return ok;
}

/* ---- communities and partitions ---- */

static bool item_community(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {
	    KEY("name", read_name, machine_community, name, .required = true),
	    KEY("shared", read_size, machine_community, shared, .required = true, MEMORY_LIMITS),
	    {0}};
	struct keys_seen seen;

	return apmp__mapping_read(walk, value, keys, "a community", into, &seen) &&
	       !(seen.bad & 1u);
}

static bool read_communities(struct walk *walk, const struct key *key, const struct value *value,
			     void *into)
{
	static const struct list_kind kind = {"communities", item_community,
					      sizeof(struct machine_community),
					      APMP_MACHINE_COMMUNITIES};
	struct machine *machine = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, true, &machine->communities,
			     &machine->community_count);
	machine->communities_at = apmp__value_pos(value, ok);
	return ok;
}

static bool item_cpu_ref(struct walk *walk, const struct value *value, void *into)
{
	static const struct key key = {.name = "cpu", .max = APMP_MACHINE_CPUS - 1};
	struct machine_cpu_ref *ref = into;

	ref->at = apmp__value_pos(value, true);
	return read_number(walk, &key, value, &ref->id);
}

static bool item_bus_ref(struct walk *walk, const struct value *value, void *into)
{
	struct machine_bus_ref *ref = into;
	uint64_t parts[3];
	size_t used = 0;

	ref->at = apmp__value_pos(value, true);
	for (size_t i = 0; i < 3; i++) {
		size_t length = 0;

		if (value->kind == VALUE_SCALAR)
			length = digits(value->text + used, value->size - used, &parts[i]);
		used += length;
		if (length == 0 || parts[i] >= UINT32_MAX ||
		    (i < 2 ? used == value->size || value->text[used++] != '.'
			   : used != value->size))
			return apmp__expected(walk, value,
					      "a bus as SBB.IOP.BUS, such as \"0.0.0\"");
	}
	ref->sbb = (uint32_t)parts[0];
	ref->iop = (uint32_t)parts[1];
	ref->bus = (uint32_t)parts[2];
	return true;
}

static bool read_partition_cpus(struct walk *walk, const struct key *key, const struct value *value,
				void *into)
{
	static const struct list_kind kind = {"CPUs", item_cpu_ref, sizeof(struct machine_cpu_ref),
					      APMP_MACHINE_CPUS};
	struct machine_partition *partition = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, false, &partition->cpus, &partition->cpu_count);
	partition->cpus_at = apmp__value_pos(value, ok);
	return ok;
}

static bool read_partition_buses(struct walk *walk, const struct key *key,
				 const struct value *value, void *into)
{
	static const struct list_kind kind = {"buses", item_bus_ref, sizeof(struct machine_bus_ref),
					      (size_t)APMP_MACHINE_SBBS * APMP_MACHINE_IOPS *
						  APMP_MACHINE_BUSES};
	struct machine_partition *partition = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, false, &partition->buses, &partition->bus_count);
	partition->buses_at = apmp__value_pos(value, ok);
	return ok;
}

static bool item_target(struct walk *walk, const struct value *value, void *into)
{
	return read_name(walk, NULL, value, into);
}

/* One name, or a list of them. */
static bool read_targets(struct walk *walk, const struct value *value,
			 struct machine_failover *rule)
{
	static const struct list_kind kind = {"targets", item_target, sizeof(struct machine_name),
					      APMP_MACHINE_TARGETS};

	if (value->kind == VALUE_LIST)
		return apmp__list_read(walk, &kind, value, false, &rule->targets,
				       &rule->target_count);
	rule->targets = calloc(1, sizeof(*rule->targets));
	if (!rule->targets) {
		walk->no_memory = true;
		return false;
	}
	rule->target_count = 1;
	return value->kind != VALUE_BROKEN && read_name(walk, NULL, value, rule->targets);
}

static bool read_rule(struct walk *walk, struct fy_node_pair *pair, struct machine_pos parent,
		      struct machine_failover *rule)
{
	struct value cpu = apmp__value_of(walk, fy_node_pair_key(pair), parent);
	struct value targets = apmp__value_of(walk, fy_node_pair_value(pair), cpu.at);
	bool ok = read_targets(walk, &targets, rule);
	uint64_t id;

	rule->at = apmp__value_pos(&cpu, true);
	cpu.quoted = false; /* JSON has only quoted keys */
	if (cpu.kind == VALUE_SCALAR && apmp__value_is(&cpu, "*")) {
		rule->cpu = APMP_MACHINE_FAILOVER_ALL;
		return ok;
	}
	if (!number_of(&cpu, &id) || id >= APMP_MACHINE_CPUS)
		return apmp__expected(walk, &cpu, "the id of a CPU or \"*\"");
	rule->cpu = (uint32_t)id;
	return ok;
}

static bool read_failover(struct walk *walk, const struct key *key, const struct value *value,
			  void *into)
{
	struct machine_partition *partition = into;
	struct machine_failover *rule;
	struct fy_node_pair *pair;
	void *iterator = NULL;
	size_t seen = 0;
	bool ok = true;

	(void)key;
	if (value->kind == VALUE_NULL)
		return true;
	if (value->kind != VALUE_MAPPING)
		return apmp__expected(walk, value, "a mapping of CPUs to partitions");
	partition->failovers = calloc(FAILOVER_MAX, sizeof(*partition->failovers));
	if (!partition->failovers) {
		walk->no_memory = true;
		return false;
	}
	while ((pair = fy_node_mapping_iterate(value->node, &iterator))) {
		if (seen++ == FAILOVER_MAX)
			return apmp__expected(walk, value, "at most %d rules", FAILOVER_MAX);
		rule = &partition->failovers[partition->failover_count];
		*rule = (struct machine_failover){0};
		if (read_rule(walk, pair, value->at, rule)) {
			partition->failover_count++;
			continue;
		}
		free(rule->targets);
		ok = false;
	}
	return ok;
}

/* "all", "none", or CPUs. */
static bool read_autostart(struct walk *walk, const struct key *key, const struct value *value,
			   void *into)
{
	static const struct list_kind kind = {"CPUs", item_cpu_ref, sizeof(struct machine_cpu_ref),
					      APMP_MACHINE_CPUS};
	struct machine_partition *partition = into;
	bool all = value->kind == VALUE_SCALAR && apmp__value_is(value, "all");

	(void)key;
	partition->autostart_all = all || value->kind == VALUE_NULL;
	if (partition->autostart_all ||
	    (value->kind == VALUE_SCALAR && apmp__value_is(value, "none")))
		return true;
	if (value->kind != VALUE_LIST)
		return apmp__expected(walk, value, "all, none or a list of CPUs");
	return apmp__list_read(walk, &kind, value, false, &partition->autostart,
			       &partition->autostart_count);
}

static bool item_partition(struct walk *walk, const struct value *value, void *into)
{
	static const struct key keys[] = {
	    KEY("name", read_name, machine_partition, name, .required = true),
	    KEY("community", read_name_or_none, machine_partition, community),
	    WHOLE("cpus", read_partition_cpus),
	    KEY("memory", read_size, machine_partition, memory, .min = APMP_MACHINE_PARTITION_MIN,
		.max = APMP_MACHINE_SIZE_MAX, .unit = APMP_MACHINE_GRANULE),
	    WHOLE("buses", read_partition_buses),
	    KEY("boot", read_bool, machine_partition, boot),
	    WHOLE("failover", read_failover),
	    WHOLE("autostart", read_autostart),
	    {0}};
	struct machine_partition *partition = into;
	struct keys_seen seen;

	partition->autostart_all = true;
	partition->at = apmp__value_pos(value, true);
	if (!apmp__mapping_read(walk, value, keys, "a partition", partition, &seen)) {
		partition->at.bad = true;
		return false;
	}
	return !(seen.bad & 1u);
}

static bool read_partitions(struct walk *walk, const struct key *key, const struct value *value,
			    void *into)
{
	static const struct list_kind kind = {"partitions", item_partition,
					      sizeof(struct machine_partition),
					      APMP_MACHINE_PARTITIONS};
	struct machine *machine = into;
	bool ok;

	(void)key;
	ok = apmp__list_read(walk, &kind, value, true, &machine->partitions,
			     &machine->partition_count);
	machine->partitions_at = apmp__value_pos(value, ok);
	return ok;
}

/* ---- the whole ---- */

static bool read_timing(struct walk *walk, const struct key *key, const struct value *value,
			void *into)
{
	static const struct key keys[] = {
	    KEY("tick", read_time, machine_timing, tick, .min = 1000, .max = APMP_MACHINE_TIME_MAX),
	    KEY("suspect", read_number, machine_timing, suspect, .min = 1,
		.max = APMP_MACHINE_SUSPECT),
	    KEY("stop", read_time, machine_timing, stop, .min = 1000, .max = APMP_MACHINE_TIME_MAX),
	    {0}};
	struct machine_timing *timing = into;
	struct keys_seen seen = {0};
	bool ok;

	(void)key;
	ok = apmp__mapping_read(walk, value, keys, "timing", timing, &seen) && !seen.bad;
	timing->at = apmp__value_pos(value, ok);
	return ok;
}

static bool read_dump(struct walk *walk, const struct key *key, const struct value *value,
		      void *into)
{
	static const struct key keys[] = {
	    KEY("limit", read_size, machine_dump, limit, .min = 1 << 20,
		.max = APMP_MACHINE_SIZE_MAX, .unit = 1),
	    KEY("keep", read_number, machine_dump, keep, .min = 1, .max = APMP_MACHINE_DUMPS),
	    {0}};
	struct machine_dump *dump = into;
	struct keys_seen seen = {0};

	(void)key;
	if (bool_of(value, &dump->on))
		return true;
	if (value->kind != VALUE_MAPPING)
		return apmp__expected(walk, value, "yes, no, or {limit: SIZE, keep: NUMBER}");
	return apmp__mapping_read(walk, value, keys, "dump", dump, &seen) && !seen.bad;
}

void apmp__machine_meaning(struct walk *walk, const struct value *root)
{
	static const struct key keys[] = {
	    KEY("machine", read_name, machine, name, .required = true),
	    WHOLE("hardware", read_hardware, .required = true),
	    WHOLE("communities", read_communities),
	    WHOLE("partitions", read_partitions),
	    KEY("timing", read_timing, machine, timing),
	    KEY("fence", read_fence, machine, fence),
	    KEY("notice_exit", read_bool, machine, notice_exit),
	    KEY("dump", read_dump, machine, dump),
	    {0}};
	struct machine *machine = walk->machine;
	struct keys_seen seen;

	machine->timing =
	    (struct machine_timing){.tick.ns = 2000000, .suspect = 3, .stop.ns = 50000000};
	machine->fence = APMP_FENCE_KILL;
	machine->notice_exit = true;
	machine->dump = (struct machine_dump){.on = true, .limit.bytes = 64 << 20, .keep = 3};
	if (!apmp__mapping_read(walk, root, keys, "a machine", machine, &seen))
		return;
	if (!(seen.given & 2u))
		machine->hardware_at.bad = true;
	machine->magic = APMP__MACHINE_MAGIC;
}
