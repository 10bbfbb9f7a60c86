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
#include "shm/pal.h"
#include "shm/shared.h"

/* The sets follow from the slots [0224]; hierarchy active <= configure <= potential. */
static void refresh_sets(struct instance *in)
{
	struct hwrpb *h = in->hwrpb;
	struct apmp_cpu_bits potential = {{0}}, configure = {{0}}, active = {{0}};

	for (uint32_t i = 0; i < apmp_load_relaxed(&h->cpu_count); i++) {
		uint64_t flags = apmp_hwrpb_flags(h, i);
		uint32_t state = apmp_load_acquire(&h->slot[i].state);

		if (flags & HWRPB_COMPATIBLE)
			apmp_cpu_bits_set(&potential, i);
		if (flags & HWRPB_PA && flags & HWRPB_COMPATIBLE)
			apmp_cpu_bits_set(&configure, i);
		if (flags & HWRPB_PA && state == HWRPB_CPU_ACTIVE)
			apmp_cpu_bits_set(&active, i);
	}
	apmp_copy_in(&h->potential, &potential, sizeof(potential));
	apmp_copy_in(&h->configure, &configure, sizeof(configure));
	apmp_copy_in(&h->active, &active, sizeof(active));
	instance_apps_cpus(in, &active);
	apmp_member_publish_cpus(&in->member);
}

/* CPUs whose STARTREQ has come [0293]. */
static void start_arrivals(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		if (i == in->primary || !apmp_hwrpb_take_startreq(in->hwrpb, i))
			continue;
		if (instance_cpu_start(in, i))
			instance_say(in, "CPU %u can't start: no memory for its stack", i);
		else
			instance_say(in, "CPU %u has come", i);
	}
}

__attribute__((noreturn)) static void leave_and_end(struct instance *in, enum apmp_exit how)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT, .arg = {how}}};
	int err = how == APMP_EXIT_HALT && in->in_community ? apmp_member_leave(&in->member) : 0;

	if (err == -EOWNERDEAD)
		_exit(INSTANCE_EXIT_BUGCHECK);
	instance_say(in, how == APMP_EXIT_HALT ? "halted" : "bugcheck: crash by instruction");
	(void)in->env.call(&in->env, &call); /* the box sees the end in any case */
	_exit(how == APMP_EXIT_HALT ? 0 : INSTANCE_EXIT_BUGCHECK);
}

/* The instance alone decides about its resources [0150]. */
static void answer_request(struct instance *in)
{
	struct apmp_hwrpb_request r;
	int err = -EINVAL;

	if (!apmp_hwrpb_request_get(in->hwrpb, &r) || instance_trade_request(in, &r))
		return;
	if (r.op == HWRPB_REQUEST_MIGRATE && r.arg[0] < APMP_MAX_CPUS) {
		uint32_t cpu_idx = (uint32_t)r.arg[0];

		APMP_POINT_ARG(&in->env, migrate_902, cpu_idx);
		err = apmp_pal_validate(&in->tree, in->id, cpu_idx, (uint32_t)r.arg[1]);
		if (!err)
			err = instance_cpu_migrate(in, cpu_idx, (uint32_t)r.arg[1], r.arg[2] != 0);
		if (err)
			in->env.report(&in->env, APMP_REPORT_CPU_REFUSED,
				       cpu_idx | (uint64_t)(uint32_t)-err << 32);
	}
	if (r.op == HWRPB_REQUEST_HALT || r.op == HWRPB_REQUEST_CRASH)
		err = 0;
	apmp_hwrpb_request_done(in->hwrpb, r.seq, err);
	if (r.op == HWRPB_REQUEST_HALT)
		leave_and_end(in, APMP_EXIT_HALT);
	if (r.op == HWRPB_REQUEST_CRASH)
		leave_and_end(in, APMP_EXIT_CRASH);
}

/* CPUs that were ours at boot are started at once: they need no STARTREQ. */
static void start_secondaries(struct instance *in)
{
	for (uint32_t i = 0; i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		uint64_t flags = apmp_hwrpb_flags(in->hwrpb, i);

		if (i == in->primary || !(flags & HWRPB_PA) || !(flags & HWRPB_COMPATIBLE))
			continue;
		if (instance_cpu_start(in, i))
			instance_say(in, "CPU %u can't start: no memory for its stack", i);
	}
}

static void start_primary(struct instance *in)
{
	uint64_t other = 0;

	instance_thread_is(in->primary);
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
	int err = apmp_member_enter(&in->member);

	if (err == -EOWNERDEAD)
		_exit(INSTANCE_EXIT_BUGCHECK);
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
	tell_changes(in);
	for (;;) {
		/* The clock announces again what was lost. */
		(void)instance_tasks_wait(in, in->primary);
		if (apmp_member_work(&in->member) == -EOWNERDEAD)
			_exit(INSTANCE_EXIT_BUGCHECK);
		tell_changes(in);
		start_arrivals(in);
		instance_trade(in);
		answer_request(in);
		refresh_sets(in);
	}
}
