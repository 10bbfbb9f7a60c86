/* service_cpu.c - service "cpu": a copy of each instance's CPU sets, to read only [0150, 0235]. */
#include "shm/service_cpu.h"

#include <errno.h>

#include "shm/member_internal.h"
#include "shm/service.h"

static uint32_t size(void)
{
	return (uint32_t)sizeof(struct apmp_db_cpu_sets) * APMP_MAX_PARTITIONS;
}

static struct apmp_db_cpu_sets *slot_of(void *segment, uint32_t id)
{
	return (struct apmp_db_cpu_sets *)segment + id;
}

static void clear(struct apmp_db_cpu_sets *slot)
{
	apmp_store_relaxed(&slot->identity, 0);
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++) {
		apmp_store_relaxed(&slot->potential[w], 0);
		apmp_store_relaxed(&slot->configure[w], 0);
		apmp_store_relaxed(&slot->active[w], 0);
		apmp_store_relaxed(&slot->autostart[w], 0);
	}
	apmp_store_relaxed(&slot->depth, 0);
	apmp_store_relaxed(&slot->wish, 0);
	apmp_store_relaxed(&slot->giver, 0);
	for (uint32_t w = 0; w < APMP_MAX_PARTITIONS / 32u; w++)
		apmp_store_relaxed(&slot->no[w], 0);
}

static void create(struct apmp_member *m, void *segment)
{
	(void)m;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		clear(slot_of(segment, id));
}

static void publish(struct apmp_member *m, void *segment)
{
	struct apmp_db_cpu_sets *slot = slot_of(segment, m->id);
	struct apmp_cpu_bits sets[4];

	apmp_copy_out(sets, m->cpu_sets, sizeof(sets)); /* the console writes autostart */
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++) {
		apmp_store_relaxed(&slot->potential[w], sets[0].word[w]);
		apmp_store_relaxed(&slot->configure[w], sets[1].word[w]);
		apmp_store_relaxed(&slot->active[w], sets[2].word[w]);
		apmp_store_relaxed(&slot->autostart[w], sets[3].word[w]);
	}
	/* Acquired by readers: sets with an identity are whole words of that life. */
	apmp_store_release(&slot->identity, m->env->self);
}

static int join(struct apmp_member *m, void *segment)
{
	clear(slot_of(segment, m->id)); /* whatever was written behind the back of recovery */
	publish(m, segment);
	return 0;
}

static void leave(struct apmp_member *m, void *segment)
{
	clear(slot_of(segment, m->id));
}

static void recover(struct apmp_member *m, void *segment, uint32_t id)
{
	(void)m;
	clear(slot_of(segment, id));
}

/* A slot is nobody's, or names a life of the partition that it belongs to. */
static int validate(struct apmp_member *m, void *segment)
{
	(void)m;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		uint64_t identity = apmp_load_acquire(&slot_of(segment, id)->identity);

		if (identity && apmp_identity_id(identity) != id)
			return -EBADMSG;
	}
	return 0;
}

const struct apmp_service apmp_service_cpu = {
    .name = "cpu",
    .size = size,
    .create = create,
    .join = join,
    .leave = leave,
    .recover = recover,
    .validate = validate,
};

struct apmp_db_cpu_sets *apmp__cpu_slots(struct apmp_member *m)
{
	return m->joined ? apmp_service_segment(apmp__db(m), apmp_load_relaxed(&m->size),
						APMP_SERVICE_cpu)
			 : NULL;
}

void apmp_member_publish_cpus(struct apmp_member *m)
{
	void *segment = apmp__cpu_slots(m);

	if (segment)
		publish(m, segment);
}

void apmp__cpu_publish_depth(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_db_cpu_sets *slot =
	    apmp_service_segment(db, apmp_load_relaxed(&m->size), APMP_SERVICE_cpu);

	if (slot && apmp_load_relaxed(&slot[m->id].depth) != m->depth)
		apmp_store_relaxed(&slot[m->id].depth, m->depth);
}

static void copy_bits(struct apmp_cpu_bits *ret_bits, const _Atomic uint64_t *word)
{
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		ret_bits->word[w] = apmp_load_relaxed(&word[w]);
}

uint32_t apmp_member_loads(struct apmp_member *m,
			   struct apmp_member_load ret_load[APMP_MAX_PARTITIONS])
{
	struct apmp_db_cpu_sets *slot = apmp__cpu_slots(m);
	uint64_t left = slot ? apmp_load_acquire(&apmp__db(m)->header.members) : 0;
	uint32_t count = 0;

	for (; left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);
		/* Acquires the sets that were published with it. */
		uint64_t identity = apmp_load_acquire(&slot[id].identity);
		struct apmp_member_load *load = &ret_load[count];

		if (apmp_identity_id(identity) != id || !apmp_tree_alive(m->tree, identity))
			continue;
		load->identity = identity;
		load->depth = apmp_load_relaxed(&slot[id].depth);
		copy_bits(&load->potential, slot[id].potential);
		copy_bits(&load->active, slot[id].active);
		count++;
	}
	return count;
}
