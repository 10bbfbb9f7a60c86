/*
 * primary.c - the primary CPU: joins the sharing set, answers requests, starts CPUs that arrive.
 *
 * WHAT      Everything is looked at again after each interrupt, whatever its reason: the reasons
 *           only wake.  What takes the database lock or calls the console is done here, never in
 *           the clock.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/hwrpb_message.h"
#include "shm/pal.h"
#include "shm/shared.h"

static void refresh_sets(struct instance *in)
{
	struct apmp_cpu_bits active;

	apmp_hwrpb_refresh_sets(in->hwrpb);
	apmp_copy_out(&active, &in->hwrpb->active, sizeof(active));
	instance_apps_cpus(in, &active);
	apmp_member_publish_cpus(&in->member);
}

/* A CPU that has come: into SMP, if it is one of those that start by themselves [0233]. */
static void arrive(struct instance *in, uint32_t cpu_idx)
{
	struct apmp_cpu_bits autostart;

	apmp_copy_out(&autostart, &in->hwrpb->autostart, sizeof(autostart));
	in->cpu[cpu_idx].to_tell =
	    instance_cpu_arrive(in, cpu_idx, apmp_cpu_bits_test(&autostart, cpu_idx)) == 0;
}

/* Behind its own report, which others wait for. */
static void tell_arrivals(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		uint32_t state = apmp_load_acquire(&in->hwrpb->slot[i].state);

		if (!in->cpu[i].to_tell || (state != HWRPB_CPU_ACTIVE && state != HWRPB_CPU_HALTED))
			continue;
		in->cpu[i].to_tell = false;
		instance_say(in, "CPU %u has come%s", i,
			     state == HWRPB_CPU_HALTED ? ", and waits in console mode" : "");
	}
}

/* CPUs whose STARTREQ has come [0293, 0330]. */
static void take_startreqs(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		enum apmp_startreq startreq;
		int err;

		if (i == in->primary)
			continue;
		startreq = apmp_hwrpb_take_startreq(in->hwrpb, i, &err);
		if (startreq == APMP_STARTREQ_COME)
			arrive(in, i);
		else if (startreq == APMP_STARTREQ_REFUSED)
			instance_cpu_stays(in, i, err);
	}
}

/* CPUs in console mode that there was no room for a thread for: what they are told is done here. */
static void obey_for_threadless(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++)
		if (i != in->primary && !in->cpu[i].has_thread &&
		    apmp_load_relaxed(&in->hwrpb->slot[i].rxrdy))
			/* -ETIMEDOUT: all of it is done. */
			(void)!apmp_pal_console(&in->env, &in->tree, in->hwrpb, in->id, i, 0);
}

__attribute__((noreturn)) static void leave_and_end(struct instance *in)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT, .arg = {APMP_EXIT_HALT}}};

	if (in->in_community)
		(void)!instance_living(apmp_member_leave(&in->member));
	instance_say(in, "halted");
	(void)in->env.call(&in->env, &call); /* the box sees the end in any case */
	_exit(0);
}

/* What PAL MIGRATE would refuse is refused at once; console code validates by itself [0329]. */
static int migrate(struct instance *in, uint32_t cpu_idx, const struct apmp_hwrpb_request *r)
{
	uint32_t to_id = (uint32_t)r->arg[0];
	uint32_t how = r->arg[1] & (APMP_MIGRATE_LOAN | APMP_MIGRATE_HALT);
	int err = 0;

	if (r->arg[0] != to_id)
		return -ENXIO;
	APMP_POINT_ARG(&in->env, migrate_902, cpu_idx);
	if (!(how & APMP_MIGRATE_HALT))
		err = apmp_pal_validate(&in->tree, in->id, cpu_idx, to_id);
	if (!err)
		err = instance_cpu_order(in, cpu_idx, CPU_ORDER_MIGRATE, to_id, how, r->seq);
	return err;
}

/* The instance alone decides about its resources [0150]. */
static int obey(struct instance *in, uint32_t cpu_idx, const struct apmp_hwrpb_request *r)
{
	switch (r->op) {
	case HWRPB_REQUEST_MIGRATE:
		return migrate(in, cpu_idx, r);
	case HWRPB_REQUEST_START:
		return instance_cpu_order(in, cpu_idx, CPU_ORDER_START, 0, 0, r->seq);
	case HWRPB_REQUEST_STOP:
		return instance_cpu_order(in, cpu_idx, CPU_ORDER_STOP, 0, 0, r->seq);
	case HWRPB_REQUEST_DEASSIGN:
		return instance_cpu_order(in, cpu_idx, CPU_ORDER_DEASSIGN, 0, 0, r->seq);
	default: /* taken back, or nonsense */
		return -EINVAL;
	}
}

static void answer_requests(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		struct hwrpb_request *request = &in->hwrpb->slot[i].request;
		struct apmp_hwrpb_request r;
		int err;

		if (!apmp_hwrpb_request_get(request, &r))
			continue;
		/* Before the CPU has its order: it may refuse that at once. */
		apmp_hwrpb_request_done(request, r.seq, 0);
		err = obey(in, i, &r);
		if (err)
			instance_cpu_refused(in, i, r.seq, err);
	}
}

/* When the console says so. */
static void end(struct instance *in)
{
	switch (apmp_load_relaxed(&in->hwrpb->end)) {
	case HWRPB_END_HALT:
		leave_and_end(in);
	case HWRPB_END_CRASH:
		instance_crash(in, HWRPB_CRASH_INSTRUCTION, "crash by instruction");
	default:
		break;
	}
}

/* CPUs that were ours at boot are started at once: they need no STARTREQ.  One that is coming by an
 * update that its console does not live to end is not ours, and would be run by two. */
static void start_secondaries(struct instance *in)
{
	struct apmp_cpu_bits cpus;

	/* The end of an update interrupts, or what follows it; that of a dead console the next. */
	while (apmp_hwrpb_available(&in->tree, in->hwrpb, &cpus))
		(void)apmp_intr_wait(&in->env, in->primary,
				     in->env.now(&in->env) + in->timing.tick_ns);
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++)
		if (i != in->primary && apmp_cpu_bits_test(&cpus, i) &&
		    apmp_hwrpb_compatible(in->hwrpb, i))
			(void)!instance_cpu_arrive(in, i, true); /* what it lacks was told */
}

static void start_primary(struct instance *in)
{
	uint64_t other = 0;

	instance_cpu_pin(in, in->primary);
	apmp_store_relaxed(&in->env.lines[in->primary].tree_can_wait, 0);
	if (apmp_intr_take(&in->env, in->primary, &other))
		instance_bugcheck(in, in->primary);
	apmp_store_release(&in->hwrpb->slot[in->primary].state, HWRPB_CPU_ACTIVE);
	in->env.report(&in->env, APMP_REPORT_BOOTED, in->env.self);
	in->env.report(&in->env, APMP_REPORT_CPU_ACTIVE, in->primary);
}

static void join(struct instance *in)
{
	int err = instance_living(apmp_member_enter(&in->member));

	if (err)
		instance_say(in, "runs alone: can't enter the sharing set: %s", strerror(-err));
	else
		instance_say(in, "member of the sharing set");
}

/* Who has become a member, and who is one no more. */
static void tell_changes(struct instance *in)
{
	struct apmp_member_change change[2 * APMP_MAX_PARTITIONS];
	uint32_t count = apmp_member_changes(&in->member, change);

	instance_apps_members(in, change, count);
	for (uint32_t i = 0; i < count; i++)
		if (change[i].identity != in->env.self)
			instance_say(in, "partition %u %s", apmp_identity_id(change[i].identity),
				     change[i].added ? "has joined" : "is a member no more");
}

void instance_primary(struct instance *in)
{
	int err = instance_apps_start(in);

	start_primary(in);
	if (err)
		instance_say(in, "serves no programs: %s", strerror(-err));
	instance_say(in, "booted on CPU %u", in->primary);
	start_secondaries(in);
	instance_clock_start(in);
	refresh_sets(in);
	if (in->in_community)
		join(in);
	/* It looks before it waits: start_secondaries may have heard what was meant for this. */
	for (;;) {
		take_startreqs(in);	 /* first what another CPU waits for */
		instance_trade_look(in); /* before what has come may be sent away */
		end(in);
		answer_requests(in);
		obey_for_threadless(in);
		tell_arrivals(in);
		(void)instance_living(apmp_member_work(&in->member));
		tell_changes(in);
		instance_trade(in);
		refresh_sets(in);
		/* The clock announces again what was lost. */
		(void)instance_tasks_wait(in, in->primary);
	}
}
