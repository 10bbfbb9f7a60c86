/*
 * pal.c - a CPU that leaves an instance, waits in console code, and comes.
 *
 * WHAT      The parked thread is the saved hardware context: nothing is copied.  The slot's
 *           `context` says whose life it belongs to, so that a CPU which comes back to an instance
 *           that was booted since starts as a secondary on a new thread.
 * STATES    active: running here -> quiesced -> execution word given up -> (console: in transit ->
 *           there) -> away, parked: polls RXRDY -> running here.  A STARTREQ that comes while the
 *           thread is still on its way to park waits in TX.
 * WRITERS   The CPU's own thread; slot state and context are the partition's.
 * CRASHES   migrate_906, pal_2202, pal_2204: the tree still names us; the partition dies with its
 *           CPU and boots with it again.  pal_2218, pal_2220: it is ours by the tree.
 * ORDERING  The execution word is given up before the console is asked, and taken after START:
 *           between the two nobody runs on the CPU.
 */
#include "shm/pal.h"

#include <errno.h>

#include "shm/intr.h"
#include "shm/shared.h"

int apmp_pal_validate(const struct apmp_tree *tree, uint32_t self_id, uint32_t cpu_idx,
		      uint32_t to_id)
{
	struct apmp_tree_partition self, to;
	struct apmp_tree_node cpu;

	if (apmp_tree_partition(tree, self_id, &self) || apmp_tree_partition(tree, to_id, &to) ||
	    apmp_tree_cpu(tree, cpu_idx, &cpu))
		return -ENXIO;
	if (cpu.current_owner != self.node.handle)
		return -EPERM;
	if (cpu.flags & NODE_PRIMARY)
		return -EBUSY;
	if (to_id == self_id)
		return -EALREADY;
	if (!self.community || self.community != to.community)
		return -EXDEV;
	if (!apmp_tree_alive(tree, apmp_identity(to_id, to.incarnation)))
		return -EHOSTDOWN;
	return 0;
}

/* Step 2205: as if nothing had been. */
static int restore(struct apmp_env *env, struct hwrpb_slot *slot, uint32_t cpu_idx, int err)
{
	uint64_t other;

	if (apmp_intr_take(env, cpu_idx, &other))
		return -EIO;
	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
	APMP_POINT_ARG(env, pal_2205, cpu_idx);
	return err;
}

int apmp_pal_migrate(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
		     uint32_t self_id, uint32_t cpu_idx, uint32_t to_id, bool loan)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	struct apmp_call call = {.request = {.op = APMP_CALL_MIGRATE_CPU,
					     .thread = cpu_idx,
					     .arg = {cpu_idx, to_id, loan}}};
	int err;

	apmp_store_relaxed(&slot->context, env->self);
	apmp_store_relaxed(&slot->rxrdy, 0);
	if (apmp_intr_give(env, cpu_idx))
		return -EIO;
	APMP_POINT_ARG(env, pal_2202, cpu_idx);
	err = apmp_pal_validate(tree, self_id, cpu_idx, to_id);
	if (err)
		return restore(env, slot, cpu_idx, err);
	APMP_POINT_ARG(env, pal_2204, cpu_idx);
	APMP_POINT_ARG(env, migrate_906, cpu_idx);
	/* Steps 2206 to 2216 are the console's: only it writes tree and available bits. */
	err = env->call(env, &call);
	if (!err)
		err = call.reply.error;
	return err ? restore(env, slot, cpu_idx, err) : 0;
}

static bool started(struct hwrpb_slot *slot)
{
	bool start;

	/* Acquires what the primary stored in RX. */
	if (!apmp_load_acquire(&slot->rxrdy))
		return false;
	start = apmp_hwrpb_message_is(slot->rx, HWRPB_MSG_START);
	apmp_store_release(&slot->rxrdy, 0);
	return start;
}

int apmp_pal_park(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx, uint64_t deadline_ns)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	uint64_t other;

	/* The primary takes no STARTREQ for a CPU that is quiesced: its thread must be here first.
	 */
	if (apmp_swap(&slot->state, HWRPB_CPU_AWAY) == HWRPB_CPU_QUIESCED)
		apmp_intr_send(env, apmp_load_relaxed(&h->primary), APMP_INTR_TXRDY);
	APMP_POINT_ARG(env, con_2306, cpu_idx);
	while (!started(slot)) {
		if (env->now(env) >= deadline_ns)
			return -ETIMEDOUT;
		(void)env->wait(env, &slot->rxrdy, 0, deadline_ns); /* looks again in any case */
	}
	APMP_POINT_ARG(env, pal_2218, cpu_idx);
	if (apmp_intr_take(env, cpu_idx, &other))
		return -EIO;
	apmp_store_release(&slot->state, HWRPB_CPU_CONFIGURED);
	APMP_POINT_ARG(env, pal_2220, cpu_idx);
	return 0;
}
