/*
 * sim_instance.c - an instance as two participants, clock and primary, and its environment.
 *
 * The loops are those of instance/clock.c and instance/primary.c.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim_cpu.h"
#include "shm/assert.h"
#include "shm/intr.h"

#define LOST_ONE_IN  8u /* wakes, where the plan loses some */
#define EARLY_ONE_IN 16u

static struct sim_instance *instance_of(struct apmp_env *env)
{
	return env == &sim.console_env ? NULL : (struct sim_instance *)env;
}

/* --- environment --- */

static uint64_t env_now(struct apmp_env *env)
{
	(void)env;
	return sim.now_ns;
}

static int env_wait(struct apmp_env *env, const _Atomic uint32_t *word, uint32_t seen,
		    uint64_t deadline_ns)
{
	(void)env;
	sim_stores_drain(sim.current);
	if (atomic_load(word) != seen)
		return 0;
	if (sim.plan.lossy && sim_chance(EARLY_ONE_IN) == 0)
		return 0;
	return sim_wait(sim_arena_key(word), deadline_ns);
}

/* CPUs that move don't look again at each tick, nor does who polls RXRDY: the host loses no
 * wake. */
static bool may_be_lost(uint64_t key)
{
	return sim.plan.lossy &&
	       (key < SIM_LINES_PA + sim.plan.instances * sizeof(struct apmp_intr_line) ||
		key >= SIM_SHARED_PA);
}

static void env_wake(struct apmp_env *env, const _Atomic uint32_t *word, int count)
{
	(void)env;
	if (sim.current)
		sim_stores_drain(sim.current);
	if (sim.current && may_be_lost(sim_arena_key(word)) && sim_chance(LOST_ONE_IN) == 0)
		return;
	sim_wake(sim_arena_key(word), (uint32_t)count);
}

int sim_channel_call(struct sim_instance *in, struct apmp_call *call, uint64_t deadline_ns)
{
	const uint64_t key = SIM_PRIVATE_KEY(in->id) - 1;

	/* Another thread has the channel; or an earlier life's is still on its way. */
	while (in->request.holder || in->request.pending) {
		if (sim.now_ns >= deadline_ns)
			return -ETIMEDOUT;
		(void)sim_wait(key, sim.now_ns + SIM_MS);
	}
	in->request.holder = sim.current;
	in->request.call = *call;
	in->request.call.request.identity = in->identity;
	in->request.call.request.seq = ++in->request.seq;
	in->request.identity = in->identity;
	in->request.done = false;
	in->request.pending = true;
	sim_wake(SIM_CONSOLE_KEY, 1);
	while (!in->request.done) {
		if (sim.now_ns >= deadline_ns)
			return -ETIMEDOUT;
		(void)sim_wait(key, deadline_ns);
	}
	call->reply = in->request.call.reply;
	call->fd = -1;
	in->request.holder = NULL;
	return 0;
}

void sim_channel_abandon(struct sim_instance *in)
{
	if (in->request.holder == sim.current)
		in->request.holder = NULL;
}

static int env_call(struct apmp_env *env, struct apmp_call *call)
{
	return sim_channel_call(instance_of(env), call, APMP_NEVER);
}

static int env_map(struct apmp_env *env, uint64_t pa, uint64_t size, void **ret_base)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MAP, .arg = {pa, size}}};
	int err = env_call(env, &call);

	if (!err)
		err = call.reply.error;
	if (!err)
		*ret_base = sim_arena_map(pa, size, true);
	return err;
}

static int env_reserve(struct apmp_env *env, uint64_t size, void **ret_base)
{
	(void)env;
	*ret_base = sim_arena_reserve(size);
	return 0;
}

static int env_map_at(struct apmp_env *env, uint64_t pa, uint64_t size, void *at)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MAP, .arg = {pa, size}}};
	int err = env_call(env, &call);

	if (!err)
		err = call.reply.error;
	if (!err)
		sim_arena_map_at(pa, size, at);
	return err;
}

static void env_unmap(struct apmp_env *env, void *base, uint64_t size)
{
	(void)env;
	sim_stores_drain(sim.current);
	sim_arena_unmap(base, size);
}

static void env_point(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	struct sim_instance *in = instance_of(env);

	totals.passed[point]++;
	if (!sim.current)
		return;
	sim.current->last_point = point;
	if (point == APMP_P_migrate_910)
		sim.moving &= ~(1u << (arg - sim.plan.instances));
	if (point == APMP_P_update_end && !sim.current->store_count)
		sim_check_owners();
	if (point == APMP_P_tick_beat)
		sim_check_beat(in);
	sim.current->recovered |= point == APMP_P_recover_begin || point == APMP_P_lock_broken;
	sim.current->recovered |= point == APMP_P_named_broken;
	sim.current->fenced |= point == APMP_P_fence_bugcheck;
	if (sim_trace && point != APMP_P_tick_beat && point != APMP_P_tick_watch &&
	    point != APMP_P_update_store)
		sim_say("%s %s %#llx", in ? in->member->name : "console",
			apmp_point_info(point)->name, (unsigned long long)arg);
	sim_fault_at_point(point);
}

static void env_report(struct apmp_env *env, uint32_t report, uint64_t about)
{
	sim_check_report(instance_of(env), report, about);
}

void sim_env_init(struct apmp_env *env)
{
	*env = (struct apmp_env){.now = env_now,
				 .wait = env_wait,
				 .wake = env_wake,
				 .call = env_call,
				 .map = env_map,
				 .reserve = env_reserve,
				 .map_at = env_map_at,
				 .unmap = env_unmap,
				 .point = env_point,
				 .report = env_report};
}

/* -EOWNERDEAD: ends at once, touching nothing. */
__attribute__((noreturn)) static void bugcheck(struct sim_instance *in)
{
	sim_check_bugcheck(in);
	sim_exit(in);
}

/* --- clock --- */

static void clock_body(void *arg)
{
	struct sim_instance *in = arg;
	const uint64_t tick_ns = sim.plan.timing.tick_ns;
	uint64_t next = sim.now_ns;

	for (;;) {
		int work;

		if (in->may_crash)
			sim_crash_tick(in);
		sim_operation_begin(SIM_OP_TICK, in);
		work = apmp_member_tick(in->member);
		sim_operation_end();
		if (work == -EOWNERDEAD)
			bugcheck(in);
		if (work > 0 && work & APMP_WORK_FENCE)
			sim_script_judged();
		if (apmp_intr_due(&in->env, in->id) || work > 0)
			apmp_intr_send(&in->env, in->id, APMP_INTR_WORK);
		next += tick_ns;
		if (next < sim.now_ns)
			next = sim.now_ns + tick_ns;
		(void)sim_wait(0, next + sim_chance(tick_ns / 16));
	}
}

/* --- primary --- */

static void enter(struct sim_instance *in)
{
	int err;

	sim_operation_begin(SIM_OP_JOIN, in);
	err = apmp_member_enter(in->member);
	sim_operation_end();
	if (err == -EOWNERDEAD)
		bugcheck(in);
	if (err)
		sim_finding("%s can't enter: %s", in->member->name, strerror(-err));
}

/* Leaves in order; comes back after a while, or ends. */
static void leave(struct sim_instance *in)
{
	int err;

	in->leave_wanted = false;
	in->leaving = true;
	sim_operation_begin(SIM_OP_LEAVE, in);
	err = apmp_member_leave(in->member);
	sim_operation_end();
	in->leaving = false;
	if (err == -EOWNERDEAD)
		bugcheck(in);
	if (err)
		sim_finding("%s can't leave: %s", in->member->name, strerror(-err));
	if (sim_chance(2)) {
		in->halts = true;
		sim_exit(in);
	}
	(void)sim_wait(0, sim.now_ns + sim_chance(40 * SIM_MS));
	enter(in);
}

static void open_machine(struct sim_instance *in)
{
	uint64_t tree_size = sim.tree_size;
	int err =
	    apmp_tree_init(&in->tree, sim_arena_map(SIM_TREE_PA, tree_size, false), tree_size);

	apmp_assert(!err);
	in->env.lines = sim_arena_map(SIM_LINES_PA, APMP_INTR_SIZE, true);
	in->env.line_count = sim.plan.instances + sim.plan.cpus;
	in->env.self = in->identity;
	for (uint32_t s = 0; s < 4; s++)
		apmp_cpu_bits_set(&in->cpu_sets[s], in->id);
	err = apmp_member_init(in->member, &in->env, &in->tree, SIM_HWRPB_PA(in->id),
			       &sim.plan.timing, in->cpu_sets);
	apmp_assert(!err);
	if (sim.plan.locks)
		apmp_locks_init(in->member, &((struct sim_private *)in->member)->locks);
}

static void primary_body(void *arg)
{
	struct sim_instance *in = arg;

	open_machine(in);
	sim_access_forget(in->id);
	sim_participant_begin(sim_thread_of(in, SIM_CLOCK), clock_body, in);
	if (sim.plan.locks)
		sim_locks_begin(in);
	if (sim.plan.cpus)
		sim_cpus_begin(in);
	enter(in);
	for (;;) {
		int err;

		(void)apmp_intr_wait(&in->env, in->id, APMP_NEVER);
		if (in->leave_wanted && !sim.quiet)
			leave(in);
		sim_operation_begin(SIM_OP_RECOVER, in);
		err = apmp_member_work(in->member);
		sim_operation_end();
		if (err == -EOWNERDEAD)
			bugcheck(in);
		if (err)
			sim_finding("%s can't work: %s", in->member->name, strerror(-err));
		if (sim.plan.cpus)
			sim_cpus_work(in);
		apmp_member_publish_cpus(in->member);
	}
}

void sim_instance_begin(struct sim_instance *in)
{
	in->start = false;
	in->life = SIM_ALIVE;
	in->leave_wanted = false;
	in->leaving = false;
	in->halts = false;
	in->notice_at_ns = APMP_NEVER;
	in->boot_at_ns = APMP_NEVER;
	in->last_beat_ns = sim.now_ns;
	in->last_silence_end_ns = 0;
	in->beats_since_told = 0;
	in->may_crash = in->announced = false;
	in->request.holder = NULL;
	in->request.seq = 0;
	sim_stall(in, 0);
	if (in->env.lines) { /* of the life before */
		sim_arena_unmap(in->env.lines, APMP_INTR_SIZE);
		sim_arena_unmap((void *)(uintptr_t)in->tree.header, sim.tree_size);
	}
	sim_env_init(&in->env);
	sim_access_forget(in->id);
	if (in->member)
		sim_arena_unmap(in->member, sizeof(struct sim_private));
	in->member = sim_arena_private(in->id, sizeof(struct sim_private));
	sim_say("p%u boots", in->id);
	sim_participant_begin(sim_thread_of(in, SIM_PRIMARY), primary_body, in);
}
