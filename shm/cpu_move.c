/*
 * cpu_move.c - the console moves CPUs.
 *
 * STATES    of a CPU, by its node, its words and the HWRPBs:
 *           nobody's (no owner, no current_owner) --assigned, the owner runs--> arriving
 *           waits for its owner's boot (owner, no current_owner) --boot--> used
 *           used (current_owner; available in that partition's HWRPB) --MIGRATE_CPU--> in transit
 *           --deassigned--> nobody's   --its life ends--> arriving at a failover target or at the
 *           owner that had lent it, waits for a boot, or stays the dead partition's
 *           in transit (`transit`; no current_owner) --> arriving, or used again
 *           arriving (`arrival`; used, owed a STARTREQ) --STARTREQ--> used
 * CRASHES   pal_2206 to pal_2210, halt_3016, rx_3106: in transit, `transit` names the last
 *           confirmed user: the next console lets it arrive there again, and a source in PAL
 *           MIGRATE, told to ask again, then asks again.  Inside an update: undone.  Behind an
 *           arrival: `arrival` says who is still owed a STARTREQ; one that is sent twice is dropped
 *           by its receiver.  Between the end of a life and its `fenced`: the next console ends it
 *           again, and finds nothing to do.
 * LIMITS    The end of a life takes at most four stores for each CPU of the journal.
 */
#include "shm/cpu_move.h"

#include <errno.h>

#include "shm/crash.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

/* ---- migration ---- */

void apmp_cpu_depart(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *from, uint32_t from_id, const struct apmp_cpu_words *words,
		     uint64_t identity)
{
	struct apmp_env *env = tw->up->env;

	apmp_update_begin(tw->up);
	apmp_update_store64(tw->up, APMP_OBJECT_STATE, words->transit, identity);
	apmp_tree_set_current_owner(tw, cpu->handle, GCT_NONE);
	APMP_POINT_ARG(env, pal_2206, cpu->id);
	apmp_hwrpb_set_flags(tw->up, from, from_id, (uint32_t)cpu->id, HWRPB_PA, 0);
	APMP_POINT_ARG(env, pal_2208, cpu->id);
	apmp_update_commit_quietly(tw->up); /* arrival, or return, follows */
	APMP_POINT_ARG(env, pal_2210, cpu->id);
}

void apmp_cpu_arrive(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *to, uint32_t to_id, int32_t to_handle, bool loan,
		     const struct apmp_cpu_words *words, uint64_t owed)
{
	struct apmp_env *env = tw->up->env;

	APMP_POINT_ARG(env, pal_2212, cpu->id);
	apmp_update_begin(tw->up);
	apmp_hwrpb_set_flags(tw->up, to, to_id, (uint32_t)cpu->id, 0, HWRPB_PA);
	APMP_POINT_ARG(env, pal_2214, cpu->id);
	apmp_tree_set_current_owner(tw, cpu->handle, to_handle);
	if (!loan)
		apmp_tree_set_owner(tw, cpu->handle, to_handle);
	APMP_POINT_ARG(env, pal_2216, cpu->id);
	apmp_update_store64(tw->up, APMP_OBJECT_STATE, words->transit, 0);
	apmp_update_store64(tw->up, APMP_OBJECT_STATE, words->arrival, owed);
	if (words->within)
		words->within(words->ctx);
	apmp_update_commit_quietly(tw->up); /* STARTREQ goes first, then the interrupts to all */
	APMP_POINT_ARG(env, migrate_908, cpu->id);
}

static struct apmp_env *env_of(struct apmp_cpu_mover *m)
{
	return m->tw->up->env;
}

static int32_t handle_of(struct apmp_cpu_mover *m, uint32_t id)
{
	struct apmp_tree_partition p;

	return apmp_tree_partition(&m->tw->tree, id, &p) ? GCT_NONE : p.node.handle;
}

static bool find_cpu(struct apmp_cpu_mover *m, uint32_t cpu_idx, struct apmp_tree_node *ret)
{
	return cpu_idx < m->cpu_count && apmp_tree_cpu(&m->tw->tree, cpu_idx, ret) == 0;
}

/* Whether a CPU could work in this partition at once: it lives, and the CPU is compatible. */
static bool may_come(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	return m->life(m, id) && apmp_hwrpb_flags(m->hwrpb(m, id), cpu_idx) & HWRPB_COMPATIBLE;
}

int apmp_cpu_may_migrate(struct apmp_cpu_mover *m, uint32_t from_id, uint32_t cpu_idx,
			 uint32_t to_id)
{
	int err = cpu_idx < m->cpu_count ? apmp_pal_validate(&m->tw->tree, from_id, cpu_idx, to_id)
					 : -ENXIO;

	if (err)
		return err;
	if (!m->life(m, to_id))
		return -EHOSTDOWN;
	return may_come(m, to_id, cpu_idx) ? 0 : -ENOEXEC;
}

static struct apmp_cpu_words words_of(struct apmp_cpu_mover *m, uint32_t cpu_idx)
{
	return (struct apmp_cpu_words){.transit = &m->transit[cpu_idx],
				       .arrival = &m->arrival[cpu_idx]};
}

/* The STARTREQ that a partition's life is owed for this CPU, if it is (`arrival`). */
static void send_startreq(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	_Atomic uint64_t *arrival = &m->arrival[cpu_idx];
	uint64_t owed = apmp_load_relaxed(arrival);

	if (!owed || owed != m->life(m, id))
		return;
	apmp_hwrpb_startreq(env_of(m), m->hwrpb(m, id), cpu_idx);
	apmp_store_release(arrival, 0); /* a console that dies before this sends it twice */
}

int apmp_cpu_migrate(struct apmp_cpu_mover *m, uint32_t from_id, uint32_t cpu_idx, uint32_t to_id,
		     uint32_t how, void (*within)(void *ctx), void *ctx)
{
	struct apmp_env *env = env_of(m);
	struct apmp_cpu_words words;
	struct apmp_tree_node cpu;
	uint64_t from;
	bool lent;
	int err = apmp_cpu_may_migrate(m, from_id, cpu_idx, to_id);

	if (err)
		return err;
	from = m->life(m, from_id);
	if (!from || !find_cpu(m, cpu_idx, &cpu))
		return -EHOSTDOWN;
	/* Acquires what it did before it gave that up.  Else its receiver would find it taken. */
	if (apmp_load_acquire(&env->lines[cpu_idx].runner))
		return -EBUSY;
	words = words_of(m, cpu_idx);
	lent = cpu.owner && cpu.owner != cpu.current_owner;
	apmp_cpu_depart(m->tw, &cpu, m->hwrpb(m, from_id), from_id, &words, from);
	if (how & APMP_MIGRATE_HALT)
		APMP_POINT_ARG(env, halt_3016, cpu_idx);
	if (how & APMP_MIGRATE_CONSOLE)
		APMP_POINT_ARG(env, rx_3106, cpu_idx);
	/* The receiver's set grows before the CPU comes; the sender's is the caller's to shrink. */
	err = m->host_cpus(m, to_id, cpu_idx);
	if (err) {
		apmp_cpu_arrive(m->tw, &cpu, m->hwrpb(m, from_id), from_id, handle_of(m, from_id),
				true, &words, 0);
		apmp_intr_all(env, APMP_INTR_TREE);
		return err;
	}
	apmp_store_relaxed(&m->source[cpu_idx], from);
	words.within = within;
	words.ctx = ctx;
	apmp_cpu_arrive(m->tw, &cpu, m->hwrpb(m, to_id), to_id, handle_of(m, to_id),
			lent || how & APMP_MIGRATE_LOAN, &words, m->life(m, to_id));
	send_startreq(m, to_id, cpu_idx);
	apmp_intr_moved(env);
	return 0;
}

/* ---- what was begun before ---- */

void apmp_cpu_arrivals(struct apmp_cpu_mover *m, uint32_t id)
{
	uint64_t life = m->life(m, id);
	bool any = false;

	for (uint32_t cpu = 0; cpu < m->cpu_count && life; cpu++) {
		if (apmp_load_relaxed(&m->arrival[cpu]) != life)
			continue;
		if (!any)
			(void)m->host_cpus(m, id, APMP_MAX_CPUS);
		any = true;
		send_startreq(m, id, cpu);
	}
}

void apmp_cpu_settle(struct apmp_cpu_mover *m, uint32_t cpu_idx)
{
	struct apmp_cpu_words words = words_of(m, cpu_idx);
	uint64_t identity = apmp_load_relaxed(words.transit);
	uint32_t id = apmp_identity_id(identity);
	struct apmp_tree_node cpu;

	if (id == APMP_NO_PARTITION || !m->hwrpb(m, id) || !find_cpu(m, cpu_idx, &cpu))
		return;
	apmp_store_relaxed(&m->source[cpu_idx], 0); /* it returns: no migration */
	/* Its thread may still be in PAL MIGRATE, or on its way to park: STARTREQ waits for that,
	 * and starts nobody if the CPU has left again by then. */
	apmp_cpu_arrive(m->tw, &cpu, m->hwrpb(m, id), id, handle_of(m, id), true, &words,
			identity == m->life(m, id) ? identity : 0);
}

/* ---- assignment ---- */

/* Whether anybody has run on it since power on: then an assignment is a reassignment. */
static bool ran_before(struct apmp_cpu_mover *m, uint32_t cpu_idx)
{
	return apmp_load_relaxed(&env_of(m)->lines[cpu_idx].taken) != 0;
}

void apmp_cpu_examine(struct apmp_cpu_mover *m, uint32_t cpu_idx)
{
	struct apmp_env *env = env_of(m);
	struct apmp_tree_node cpu;

	APMP_POINT_ARG(env, assign_2800, cpu_idx);
	if (!find_cpu(m, cpu_idx, &cpu))
		return;
	APMP_POINT_ARG(env, assign_2802, cpu_idx);
	if (cpu.owner)
		APMP_POINT_ARG(env, assign_2804, cpu_idx);
	else
		APMP_POINT_ARG(env, assign_2805, cpu_idx);
}

void apmp_cpu_initialize(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx, uint64_t flags)
{
	bool first = flags & HWRPB_PA && !ran_before(m, cpu_idx);

	if (first)
		APMP_POINT_ARG(env_of(m), assign_2806, cpu_idx);
	/* No life has this HWRPB yet: nothing to undo. */
	apmp_store_relaxed(&m->hwrpb(m, id)->slot[cpu_idx].flags, flags);
	if (first)
		APMP_POINT_ARG(env_of(m), assign_2808, cpu_idx);
}

void apmp_cpu_initialized(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	uint64_t flags = apmp_hwrpb_flags(m->hwrpb(m, id), cpu_idx);

	if (flags & HWRPB_PA && !(flags & HWRPB_PRIMARY) && !ran_before(m, cpu_idx))
		APMP_POINT_ARG(env_of(m), assign_2810, cpu_idx);
}

/* Fig. 29 from step 2904: its node has been cleared, its available bit follows. */
static void leave(struct apmp_cpu_mover *m, const struct apmp_tree_node *cpu)
{
	struct apmp_env *env = env_of(m);
	uint32_t cpu_idx = (uint32_t)cpu->id;

	if (!cpu->owner) {
		APMP_POINT_ARG(env, deassign_2904, cpu->id);
		APMP_POINT_ARG(env, deassign_2906, cpu->id);
	}
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct hwrpb *h = m->hwrpb(m, id);

		if (h && apmp_hwrpb_flags(h, cpu_idx) & HWRPB_PA)
			apmp_hwrpb_set_flags(m->tw->up, h, id, cpu_idx, HWRPB_PA, 0);
	}
	if (!cpu->owner)
		APMP_POINT_ARG(env, deassign_2908, cpu->id);
}

/* It is available there, and owed a STARTREQ. */
static void give(struct apmp_cpu_mover *m, const struct apmp_tree_node *cpu, uint32_t to_id)
{
	/* Nobody may run on it: what stands there is a stray store, and would end the receiver. */
	apmp_store_relaxed(&env_of(m)->lines[cpu->id].runner, 0);
	apmp_hwrpb_set_flags(m->tw->up, m->hwrpb(m, to_id), to_id, (uint32_t)cpu->id, 0, HWRPB_PA);
	apmp_tree_set_current_owner(m->tw, cpu->handle, handle_of(m, to_id));
	apmp_update_store64(m->tw->up, APMP_OBJECT_STATE, &m->arrival[cpu->id], m->life(m, to_id));
}

/* Figs. 28 and 32 from the look at the owner field, which somebody has filled in. */
static int come(struct apmp_cpu_mover *m, const struct apmp_tree_node *cpu, uint32_t *ret_to)
{
	struct apmp_env *env = env_of(m);
	uint32_t cpu_idx = (uint32_t)cpu->id, to = apmp_tree_owner_id(&m->tw->tree, cpu->owner);
	bool again = ran_before(m, cpu_idx);
	int err;

	if (again) {
		APMP_POINT_ARG(env, reassign_3208, cpu->id);
		APMP_POINT_ARG(env, reassign_3210, cpu->id);
	} else {
		APMP_POINT_ARG(env, assign_2807, cpu->id);
		APMP_POINT_ARG(env, assign_2809, cpu->id);
	}
	if (to == APMP_NO_PARTITION || !may_come(m, to, cpu_idx))
		return 0; /* at his next boot */
	err = m->host_cpus(m, to, cpu_idx);
	if (err)
		return err;
	if (again)
		APMP_POINT_ARG(env, reassign_3212, cpu->id);
	else
		APMP_POINT_ARG(env, assign_2811, cpu->id);
	give(m, cpu, to);
	if (again)
		APMP_POINT_ARG(env, reassign_3214, cpu->id);
	else
		APMP_POINT_ARG(env, assign_2808, cpu->id);
	*ret_to = to;
	return 0;
}

int apmp_cpu_follow(struct apmp_cpu_mover *m, int32_t handle, uint32_t *ret_to)
{
	struct apmp_tree_node cpu;

	*ret_to = APMP_NO_PARTITION;
	if (apmp_tree_node(&m->tw->tree, handle, &cpu) || cpu.type != GCT_CPU ||
	    cpu.id >= m->cpu_count || cpu.current_owner)
		return 0;
	leave(m, &cpu);
	return cpu.owner ? come(m, &cpu, ret_to) : 0;
}

void apmp_cpu_followed(struct apmp_cpu_mover *m, int32_t handle, uint32_t to_id)
{
	struct apmp_tree_node cpu;

	if (apmp_tree_node(&m->tw->tree, handle, &cpu) || cpu.type != GCT_CPU ||
	    cpu.id >= m->cpu_count)
		return;
	if (to_id == APMP_NO_PARTITION) {
		if (!cpu.owner && !cpu.current_owner && ran_before(m, (uint32_t)cpu.id))
			APMP_POINT_ARG(env_of(m), reassign_3206, cpu.id);
		return;
	}
	send_startreq(m, to_id, (uint32_t)cpu.id);
	if (ran_before(m, (uint32_t)cpu.id))
		APMP_POINT_ARG(env_of(m), reassign_3216, cpu.id);
	else
		APMP_POINT_ARG(env_of(m), assign_2810, cpu.id);
}

/* ---- the end of a life ---- */

/* The first failover target that a CPU may go to.  *ret_stays: there is none, and none is named
 * that can't be gone to, or the partition itself comes first. */
static uint32_t failover_target(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx,
				bool *ret_stays)
{
	uint64_t targets = m->targets(m, id, cpu_idx);
	uint32_t place = 0, to;

	while (apmp_failover_next(targets, id, &place, &to))
		if (!apmp_cpu_may_migrate(m, id, cpu_idx, to))
			return to;
	*ret_stays = !targets || (place < HWRPB_TARGETS && targets >> 8 * place & 0xff);
	return APMP_NO_PARTITION;
}

bool apmp_cpu_fails_over(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	bool stays;

	return failover_target(m, id, cpu_idx, &stays) != APMP_NO_PARTITION;
}

/* A loan ends with the life that it was made to: the CPU goes home, or waits for its owner's boot.
 */
static void go_home(struct apmp_cpu_mover *m, const struct apmp_tree_node *cpu)
{
	uint32_t owner = apmp_tree_owner_id(&m->tw->tree, cpu->owner);

	if (owner != APMP_NO_PARTITION && may_come(m, owner, (uint32_t)cpu->id))
		give(m, cpu, owner);
	else
		apmp_tree_set_current_owner(m->tw, cpu->handle, GCT_NONE);
}

/* Step 2614: the partition's last CPU is in console mode for good [0299]. */
static void end_primary(struct apmp_cpu_mover *m, uint32_t id, const struct apmp_tree_node *cpu,
			bool failed)
{
	apmp_tree_set_flags(m->tw, cpu->handle, NODE_PRIMARY, 0);
	apmp_hwrpb_set_flags(m->tw->up, m->hwrpb(m, id), id, (uint32_t)cpu->id, 0, HWRPB_CONSOLE);
	if (failed)
		APMP_POINT_ARG(env_of(m), crash_2614, cpu->id);
}

/* One of its CPUs.  Whether it went to a failover target. */
static bool release(struct apmp_cpu_mover *m, const struct apmp_tree_partition *dead,
		    const struct apmp_tree_node *cpu, bool failed)
{
	uint32_t cpu_idx = (uint32_t)cpu->id, to = APMP_NO_PARTITION;
	bool stays = true;

	if (cpu->flags & NODE_PRIMARY)
		end_primary(m, dead->id, cpu, failed);
	else if (failed)
		to = failover_target(m, dead->id, cpu_idx, &stays);
	apmp_store_relaxed(&m->source[cpu_idx], to == APMP_NO_PARTITION
						    ? 0
						    : apmp_identity(dead->id, dead->incarnation));
	apmp_hwrpb_set_flags(m->tw->up, m->hwrpb(m, dead->id), dead->id, cpu_idx, HWRPB_PA, 0);
	if (to != APMP_NO_PARTITION)
		give(m, cpu, to);
	else if (cpu->owner != dead->node.handle)
		go_home(m, cpu);
	else if (!stays)
		apmp_tree_set_current_owner(m->tw, cpu->handle, GCT_NONE);
	return to != APMP_NO_PARTITION;
}

void apmp_cpu_end_life(struct apmp_cpu_mover *m, uint32_t id, bool failed,
		       struct apmp_cpu_bits *ret_gone)
{
	struct apmp_tree_partition dead;
	struct apmp_tree_walk walk;
	struct apmp_tree_node cpu;

	*ret_gone = (struct apmp_cpu_bits){{0}};
	if (apmp_tree_partition(&m->tw->tree, id, &dead) ||
	    !(dead.node.flags & NODE_INITIALIZED)) /* a dead console has ended it already */
		return;
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&m->tw->tree, &walk, GCT_CPU, &cpu) > 0)
		if (cpu.current_owner == dead.node.handle && cpu.id < m->cpu_count &&
		    release(m, &dead, &cpu, failed))
			apmp_cpu_bits_set(ret_gone, (uint32_t)cpu.id);
}
