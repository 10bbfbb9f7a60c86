/* pal_failover.c - where the CPUs of an instance that fails go, Figs. 26A and 27 [0296, 0298]. */
#include "shm/crash.h"
#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

static uint64_t targets_of(const struct hwrpb *h, uint32_t cpu_idx)
{
	return apmp_load_relaxed(&h->failover[cpu_idx]);
}

static void stay(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx)
{
	/* Not by HALT, for which it may have had other orders.  Refused: somebody else runs there,
	 * which may be why the instance fails. */
	(void)!apmp_intr_give(env, cpu_idx);
	apmp_store_release(&h->slot[cpu_idx].state, HWRPB_CPU_HALTED);
	APMP_POINT_ARG(env, fail_stays, cpu_idx);
}

uint32_t apmp_pal_fail_over(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
			    uint32_t self_id, uint32_t cpu_idx)
{
	uint64_t targets = targets_of(h, cpu_idx);
	uint32_t place = 0, to_id;
	bool goes;

	APMP_POINT_ARG(env, fail_2702, cpu_idx);
	goes = apmp_failover_next(targets, self_id, &place, &to_id);
	APMP_POINT_ARG(env, fail_2704, cpu_idx);
	for (; goes; goes = apmp_failover_next(targets, self_id, &place, &to_id)) {
		/* As after an order; an error leaves it ACTIVE, or without its execution word. */
		apmp_store_release(&h->slot[cpu_idx].state, HWRPB_CPU_QUIESCED);
		if (!apmp_pal_migrate(env, tree, h, self_id, cpu_idx, to_id, APMP_MIGRATE_LOAN)) {
			APMP_POINT_ARG(env, fail_goes, cpu_idx);
			return to_id;
		}
	}
	stay(env, h, cpu_idx);
	return APMP_NO_PARTITION;
}

bool apmp_pal_send_stopped(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
			   uint32_t self_id, uint32_t cpu_idx, uint32_t *place, uint32_t *ret_to_id)
{
	struct apmp_hwrpb_command command = {.word = APMP_COMMAND_MIGRATE, .loan = true};
	uint64_t targets = targets_of(h, cpu_idx);

	/* What it says of the target before; also when its STARTREQ is not in TX yet. */
	apmp_store_relaxed(&h->slot[cpu_idx].refused, 0);
	while (apmp_failover_next(targets, self_id, place, &command.to_id)) {
		if (apmp_pal_validate(tree, self_id, cpu_idx, command.to_id) ||
		    apmp_hwrpb_send(env, h, cpu_idx, &command))
			continue;
		*ret_to_id = command.to_id;
		return true;
	}
	return false;
}
