/*
 * pal_console.c - console code of a CPU: where it is while it does not run here.
 *
 * WHAT      HALT brings a CPU here, PAL MIGRATE leaves its thread here, and a new thread begins
 *           here.  It does what REASON_FOR_HALT or HALT_REQUESTED says (Figs. 30A to 30C, 29), then
 *           sleeps on RXRDY, and obeys START (Fig. 23), MIGRATE (Fig. 31) and DEASSIGN [0313].  A
 *           CPU that is away, and one that is ours and halted, differ in the available bit alone.
 * STATES    QUIESCED -HALT-> HALTED (ours, in console mode), or AWAY when it has gone.
 *           HALTED -MIGRATE, DEASSIGN-> QUIESCED -> AWAY, or HALTED again when it was refused.
 *           AWAY, HALTED, 0 -START-> STARTING -> CONFIGURED, here; ACTIVE is the instance's to say.
 *           Who moves the state when: hwrpb_message.c.
 * REFUSED   PAL MIGRATE restores a CPU that may not go.  What was halted stays halted [0330]: it
 *           says so by STARTREQ, with the errno in the slot, and the primary tells the operator.
 *           The figure leaves it there "waiting for a command"; the primary that had taken the CPU
 *           out of SMP only to send it away gives that command, START, at once
 *           (instance/primary.c), so that a partition id that was mistyped costs nobody a CPU.
 * ORDERING  The execution word is given up by HALT, before the state says HALTED or AWAY, and taken
 *           after START and only while the CPU is available here.
 * CRASHES   All threads of an instance die together.  halt_*, rx_3108, deassign_2902,
 *           reassign_3204: the tree still names us.  con_2306, halt_3030: the CPU is whose the tree
 *           says.  pal_2218, pal_2220: it is ours.
 *           The console dies under a callback: it is sent again, with the same seq, and a change
 *           that was made is not made twice.  It may have returned the CPU to us, with a STARTREQ
 *           that the state QUIESCED keeps in TX, before it is asked again.
 */
#include <errno.h>

#include "shm/hwrpb_message.h"
#include "shm/intr.h"
#include "shm/pal_internal.h"
#include "shm/shared.h"

/* What became of a CPU that was to leave; else -errno. */
#define STAYS 0 /* it was to be halted, no more */
#define GONE  1

/* Figs. 30A, 30B; an error is step 3014's or the console's, and leads to Fig. 30C. */
static int halt_migrate(const struct apmp__pal *p)
{
	uint64_t reason;
	int err;

	APMP_POINT_ARG(p->env, halt_3008, p->cpu_idx);
	reason = apmp_load_relaxed(&p->slot->reason_for_halt);
	APMP_POINT_ARG(p->env, halt_3010, p->cpu_idx);
	apmp_store_relaxed(&p->slot->reason_for_halt, 0);
	APMP_POINT_ARG(p->env, halt_3012, p->cpu_idx);
	err = apmp_pal_validate(p->tree, p->self_id, p->cpu_idx, HWRPB_HALT_TO(reason));
	APMP_POINT_ARG(p->env, halt_3014, p->cpu_idx);
	if (!err) {
		/* The console passes 3016 in the callback, where it clears current_owner. */
		APMP_POINT_ARG(p->env, halt_3018, p->cpu_idx);
		err = apmp__pal_leave(p, HWRPB_HALT_TO(reason),
				      APMP_MIGRATE_HALT |
					  (reason & HWRPB_HALT_LOAN ? APMP_MIGRATE_LOAN : 0));
	}
	if (!err)
		return GONE;
	apmp_store_relaxed(&p->slot->reason_for_halt, 0);
	APMP_POINT_ARG(p->env, halt_3022, p->cpu_idx);
	return err;
}

/* Steps 2904 to 2908 are the console's; its errors are those of the change DEASSIGN. */
static int deassign(const struct apmp__pal *p)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_DEASSIGN, .thread = p->cpu_idx}};
	struct apmp_tree_node cpu;
	int err = apmp_tree_cpu(p->tree, p->cpu_idx, &cpu);

	if (err)
		return err;
	call.request.arg[0] = (uint64_t)cpu.handle;
	/* A CPU waits for no disk: who has ordered it hears when it is durable. */
	call.request.arg[1] = APMP_DEASSIGN_UNUSED | APMP_DEASSIGN_HASTE;
	err = apmp__pal_ask(p, &call);
	return err ? err : GONE;
}

/* Does what the codes say. */
static int halted(const struct apmp__pal *p)
{
	if (HWRPB_HALT_CODE(apmp_load_relaxed(&p->slot->reason_for_halt)) == HWRPB_HALT_MIGRATE)
		return halt_migrate(p);
	if (HWRPB_HALT_CODE(apmp_swap(&p->slot->halt_requested, 0)) != HWRPB_HALT_DEASSIGN)
		return STAYS;
	apmp_store_release(&p->slot->rxrdy, 0); /* RX says DEASSIGN, too [0334] */
	return deassign(p);
}

/* A CPU that was QUIESCED has gone, which the slot says already, or is halted. */
static void settle(const struct apmp__pal *p, int outcome)
{
	if (outcome == STAYS) {
		apmp_store_release(&p->slot->state, HWRPB_CPU_HALTED);
		p->env->report(p->env, APMP_REPORT_CPU_HALTED, p->cpu_idx);
		apmp_intr_send(p->env, apmp_load_relaxed(&p->h->primary), APMP_INTR_WORK);
	} else if (outcome < 0) {
		apmp_hwrpb_say_refused(p->env, p->h, p->cpu_idx, outcome);
		APMP_POINT_ARG(p->env, halt_3030, p->cpu_idx);
	}
}

/* Console code's entry point of a CPU that was QUIESCED and has executed HALT. */
static int enter(const struct apmp__pal *p)
{
	settle(p, halted(p));
	return 0;
}

int apmp_pal_halt(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx)
{
	const struct apmp__pal p = {
	    .env = env, .h = h, .slot = &h->slot[cpu_idx], .cpu_idx = cpu_idx};

	return apmp__pal_save(&p) ? -EIO : enter(&p);
}

int apmp_pal_halt_migrate(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
			  uint32_t self_id, uint32_t cpu_idx, uint32_t to_id, uint32_t how)
{
	const struct apmp__pal p = {env, tree, h, &h->slot[cpu_idx], self_id, cpu_idx};
	uint64_t code = HWRPB_HALT_MIGRATE | (how & APMP_MIGRATE_LOAN ? HWRPB_HALT_LOAN : 0);

	apmp_store_relaxed(&p.slot->reason_for_halt, code);
	APMP_POINT_ARG(env, halt_3002, cpu_idx);
	apmp_store_relaxed(&p.slot->reason_for_halt, code | (uint64_t)to_id << HWRPB_HALT_TO_SHIFT);
	APMP_POINT_ARG(env, halt_3004, cpu_idx);
	if (apmp__pal_save(&p))
		return -EIO;
	APMP_POINT_ARG(env, halt_3006, cpu_idx);
	return enter(&p);
}

int apmp_pal_halt_deassign(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
			   uint32_t self_id, uint32_t cpu_idx)
{
	const struct apmp__pal p = {env, tree, h, &h->slot[cpu_idx], self_id, cpu_idx};

	apmp_store_relaxed(&p.slot->halt_requested, HWRPB_HALT_DEASSIGN);
	APMP_POINT_ARG(env, deassign_2902, cpu_idx);
	if (apmp__pal_save(&p))
		return -EIO;
	APMP_POINT_ARG(env, reassign_3204, cpu_idx);
	return enter(&p);
}

static int start(const struct apmp__pal *p)
{
	uint64_t other;

	APMP_POINT_ARG(p->env, pal_2218, p->cpu_idx);
	if (apmp_intr_take(p->env, p->cpu_idx, &other))
		return -EIO;
	apmp_store_release(&p->slot->state, HWRPB_CPU_CONFIGURED);
	APMP_POINT_ARG(p->env, pal_2220, p->cpu_idx);
	return 0;
}

static int wait_for_command(const struct apmp__pal *p, uint64_t deadline_ns,
			    struct apmp_hwrpb_command *ret_command)
{
	while (!apmp_hwrpb_receive(p->h, p->cpu_idx, ret_command)) {
		if (p->env->now(p->env) >= deadline_ns)
			return -ETIMEDOUT;
		/* Looks again in any case. */
		(void)p->env->wait(p->env, &p->slot->rxrdy, 0, deadline_ns);
	}
	return 0;
}

/* MIGRATE or DEASSIGN. */
static int obey(const struct apmp__pal *p, const struct apmp_hwrpb_command *command)
{
	uint32_t how = APMP_MIGRATE_CONSOLE | (command->loan ? APMP_MIGRATE_LOAN : 0);
	int err;

	if (command->word == APMP_COMMAND_DEASSIGN)
		return deassign(p);
	APMP_POINT_ARG(p->env, rx_3108, p->cpu_idx);
	err = apmp__pal_leave(p, command->to_id, how);
	return err ? err : GONE;
}

int apmp_pal_console(struct apmp_env *env, const struct apmp_tree *tree, struct hwrpb *h,
		     uint32_t self_id, uint32_t cpu_idx, uint64_t deadline_ns)
{
	const struct apmp__pal p = {env, tree, h, &h->slot[cpu_idx], self_id, cpu_idx};
	struct apmp_hwrpb_command command;
	int err;

	APMP_POINT_ARG(env, con_2306, cpu_idx);
	for (;;) {
		err = wait_for_command(&p, deadline_ns, &command);
		if (err)
			return err;
		if (!(apmp_hwrpb_flags(h, cpu_idx) & HWRPB_PA))
			/* Commands are for CPUs that are ours: a stray one, or it was taken out. */
			apmp_store_release(&p.slot->state, HWRPB_CPU_AWAY);
		else if (command.word == APMP_COMMAND_START)
			return start(&p);
		else
			settle(&p, obey(&p, &command));
	}
}
