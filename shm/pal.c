/*
 * pal.c - PAL MIGRATE: a CPU leaves an instance.
 *
 * WHAT      The parked thread is the saved hardware context: nothing is copied.  The slot's
 *           `context` says whose life it belongs to, so that a CPU which comes back to an instance
 *           that was booted since starts as a secondary on a new thread.
 * STATES    QUIESCED -> execution word given up -> (console: in transit -> there) -> AWAY, or, when
 *           it is refused, ACTIVE again.  A STARTREQ that comes while the state is still QUIESCED
 *           waits in TX.
 * WRITERS   The CPU's own thread; slot state and context are the partition's.
 * CRASHES   migrate_906, pal_2202, pal_2204: the tree still names us; the partition dies with its
 *           CPU.  pal_2205: it runs here.
 * ORDERING  The execution word is given up before the console is asked, and taken after START
 *           (pal_console.c): between the two nobody runs on the CPU.
 * NOT HERE  Steps 2206 to 2216 (console), 2218 and 2220 (pal_console.c).
 */
#include <errno.h>

#include "shm/intr.h"
#include "shm/pal_internal.h"
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

void apmp_pal_quiesce(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx)
{
	/* From here on a STARTREQ of the time after waits in TX (hwrpb_message.c). */
	apmp_store_release(&h->slot[cpu_idx].state, HWRPB_CPU_QUIESCED);
	APMP_POINT_ARG(env, migrate_904, cpu_idx);
}

int apmp__pal_save(const struct apmp__pal *p)
{
	apmp_store_relaxed(&p->slot->context, p->env->self);
	return apmp_intr_give(p->env, p->cpu_idx) ? -EIO : 0;
}

/* The console has taken it: the slot says so. */
static void gone(const struct apmp__pal *p)
{
	(void)apmp_swap(&p->slot->state, HWRPB_CPU_AWAY);
	/* It may be back already: who looked while it was QUIESCED has left STARTREQ in TX. */
	if (apmp_fetch_or(&p->slot->txrdy, 0))
		apmp_intr_send(p->env, apmp_load_relaxed(&p->h->primary), APMP_INTR_TXRDY);
}

int apmp__pal_ask(const struct apmp__pal *p, struct apmp_call *call)
{
	int err = p->env->call(p->env, call);

	if (!err)
		err = call->reply.error;
	if (err && apmp_hwrpb_flags(p->h, p->cpu_idx) & HWRPB_PA)
		return err;
	gone(p);
	return 0;
}

int apmp__pal_leave(const struct apmp__pal *p, uint32_t to_id, uint32_t how)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MIGRATE_CPU,
					     .thread = p->cpu_idx,
					     .arg = {p->cpu_idx, to_id, how}}};
	int err = apmp_pal_validate(p->tree, p->self_id, p->cpu_idx, to_id);

	if (err)
		return err;
	APMP_POINT_ARG(p->env, pal_2204, p->cpu_idx);
	APMP_POINT_ARG(p->env, migrate_906, p->cpu_idx);
	/* Steps 2206 to 2216 are the console's: only it writes tree and available bits. */
	return apmp__pal_ask(p, &call);
}

/* Step 2205: as if nothing had been. */
static int restore(const struct apmp__pal *p, int err)
{
	uint64_t other;

	if (apmp_intr_take(p->env, p->cpu_idx, &other))
		return -EIO;
	apmp_store_release(&p->slot->state, HWRPB_CPU_ACTIVE);
	APMP_POINT_ARG(p->env, pal_2205, p->cpu_idx);
	return err;
}

int apmp_pal_migrate(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
		     uint32_t self_id, uint32_t cpu_idx, uint32_t to_id, uint32_t how)
{
	const struct apmp__pal p = {env, tree, h, &h->slot[cpu_idx], self_id, cpu_idx};
	int err = apmp__pal_save(&p);

	if (err)
		return err;
	apmp_store_relaxed(&p.slot->rxrdy, 0); /* what stands in RX is of another time */
	APMP_POINT_ARG(env, pal_2202, cpu_idx);
	err = apmp__pal_leave(&p, to_id, how);
	return err ? restore(&p, err) : 0;
}
