/*
 * play_crash.c - an instance that fails: Figs. 26A to 27.
 *
 * WHAT      What instance/instance_crash.c and crash_cpu.c do, in the handler of a signal that
 *           strikes a thread at any access; what is shared is shm/'s to touch, there and here.
 *           Any thread may fail.  The primary leads, and catches the threads of active CPUs.
 * LIMITS    No tasks, no fault in what is done because of a fault, no dump.
 */
#include "chaos/sim/sim_cpu.h"
#include "shm/crash.h"
#include "shm/hwrpb.h"
#include "shm/intr.h"
#include "shm/pal.h"
#include "shm/shared.h"

#define STUCK_STOPS 4u

/* As enum crash_step in instance/instance_crash.h. */
enum { NOTHING = 0, ORDERED, SAVED, SETTLED };

static struct sim_crash *crash_of(struct sim_instance *in)
{
	return &((struct sim_private *)in->member)->crash;
}

/* --- how far it is --- */

static void progress(struct sim_instance *in)
{
	struct sim_crash *crash = crash_of(in);

	apmp_store_relaxed(&crash->progress_ns, sim.now_ns);
	apmp_fetch_add(&crash->progress, 1);
	in->env.wake(&in->env, &crash->progress, INT32_MAX);
}

static bool is_stuck(struct sim_instance *in, uint32_t stops)
{
	return apmp_env_since(&in->env, &crash_of(in)->progress_ns) >
	       stops * sim.plan.timing.stop_ns;
}

bool sim_crash_begun(struct sim_instance *in)
{
	return apmp_load_acquire(&crash_of(in)->begun);
}

void sim_crash_tick(struct sim_instance *in)
{
	if (sim_crash_begun(in) && is_stuck(in, STUCK_STOPS))
		sim_exit(in);
}

__attribute__((noreturn)) static void wait_for_end(struct sim_instance *in)
{
	for (;;) {
		uint32_t seen = apmp_load_acquire(&crash_of(in)->progress);

		(void)in->env.wait(&in->env, &crash_of(in)->progress, seen,
				   sim.now_ns + sim.plan.timing.stop_ns);
		sim_crash_tick(in);
	}
}

/* --- Fig. 27 --- */

static bool runs_on(struct sim_instance *in, uint32_t cpu_idx)
{
	return apmp_load_acquire(&in->env.lines[cpu_idx].runner) == in->identity;
}

static void save(struct sim_instance *in, uint32_t cpu_idx)
{
	const struct apmp_context context = {.thread = cpu_idx, .t_ns = sim.now_ns};

	if (apmp_context_begin(in->hwrpb, cpu_idx))
		apmp_context_finish(in->hwrpb, cpu_idx, &context);
}

static void step(struct sim_instance *in, uint32_t k, uint32_t is)
{
	apmp_store_release(&crash_of(in)->cpu[k].step, is);
	progress(in);
}

__attribute__((noreturn)) void sim_crash_cpu(struct sim_instance *in, uint32_t k)
{
	uint32_t cpu_idx = sim_cpu_idx(k);

	sim.current->fails = true;
	if (runs_on(in, cpu_idx)) {
		save(in, cpu_idx);
		APMP_POINT_ARG(&in->env, fail_2700, cpu_idx);
		step(in, k, SAVED);
		sim_check_leaves(k);
		(void)!apmp_pal_fail_over(&in->env, &in->tree, in->hwrpb, in->id, cpu_idx);
	}
	step(in, k, SETTLED);
	wait_for_end(in);
}

/* --- Figs. 26A and 26B, the primary --- */

static void order_all(struct sim_instance *in)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++) {
		uint32_t nothing = NOTHING;

		if (!apmp_hwrpb_is_busy(in->hwrpb, sim_cpu_idx(k)))
			continue;
		(void)apmp_cas(&crash_of(in)->cpu[k].step, &nothing, ORDERED);
		apmp_intr_send(&in->env, sim_cpu_idx(k), APMP_INTR_WORK);
		sim_catch(sim_thread_of(in, SIM_CPU + k));
	}
}

static bool all_are(struct sim_instance *in, uint32_t wanted)
{
	for (uint32_t k = 0; k < sim.plan.cpus; k++) {
		uint32_t is = apmp_load_acquire(&crash_of(in)->cpu[k].step);

		if (is != NOTHING && is < wanted && apmp_hwrpb_is_busy(in->hwrpb, sim_cpu_idx(k)))
			return false;
	}
	return true;
}

static void await_all(struct sim_instance *in, uint32_t wanted)
{
	do {
		uint32_t seen = apmp_load_acquire(&crash_of(in)->progress);

		if (all_are(in, wanted))
			return;
		(void)in->env.wait(&in->env, &crash_of(in)->progress, seen,
				   sim.now_ns + sim.plan.timing.tick_ns);
	} while (!is_stuck(in, 1));
}

static bool send_stopped(struct sim_instance *in, uint32_t k)
{
	struct sim_crash *crash = crash_of(in);
	uint32_t to_id;

	if (apmp_load_acquire(&in->hwrpb->slot[sim_cpu_idx(k)].state) != HWRPB_CPU_HALTED ||
	    apmp_load_acquire(&crash->cpu[k].step) > ORDERED ||
	    !apmp_pal_send_stopped(&in->env, &in->tree, in->hwrpb, in->id, sim_cpu_idx(k),
				   &crash->cpu[k].place, &to_id))
		return false;
	apmp_store_release(&crash->cpu[k].step, ORDERED);
	return true;
}

static void send_all_stopped(struct sim_instance *in)
{
	bool again = true;

	for (uint32_t round = 0; again && round < HWRPB_TARGETS; round++) {
		again = false;
		for (uint32_t k = 0; k < sim.plan.cpus; k++)
			again = send_stopped(in, k) || again;
		await_all(in, SETTLED);
	}
}

__attribute__((noreturn)) static void lead(struct sim_instance *in)
{
	struct apmp_env *env = &in->env;
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT, .arg = {APMP_EXIT_CRASH}}};

	sim.current->fails = true;
	sim_channel_abandon(in);
	APMP_POINT(env, crash_2602);
	APMP_POINT(env, crash_2604);
	order_all(in);
	save(in, in->id);
	await_all(in, SAVED);
	APMP_POINT(env, crash_2606);
	send_all_stopped(in);
	APMP_POINT(env, crash_2608);
	APMP_POINT(env, crash_2612);
	(void)!sim_channel_call(in, &call, sim.now_ns + sim.plan.timing.stop_ns);
	sim_exit(in);
}

/* --- who fails, and who is caught --- */

static void record(struct sim_instance *in)
{
	const uint32_t thread = sim.current->thread;
	struct apmp_crash *gasp = &crash_of(in)->gasp[thread];

	*gasp = (struct apmp_crash){
	    .reason = HWRPB_CRASH_ASSERTION, .thread = thread, .address = thread};
	if (apmp_crash_write(in->hwrpb, &crash_of(in)->first, gasp))
		APMP_POINT_ARG(&in->env, crash_2600, gasp->reason);
}

void sim_crash(struct sim_instance *in)
{
	struct sim_participant *self = sim.current;

	self->fails = true;
	record(in);
	progress(in);
	apmp_store_release(&crash_of(in)->begun, 1);
	if (self->thread == SIM_PRIMARY)
		lead(in);
	sim_channel_abandon(in);
	sim_catch(sim_thread_of(in, SIM_PRIMARY));
	if (self->thread >= SIM_CPU)
		sim_crash_cpu(in, self->thread - SIM_CPU);
	wait_for_end(in);
}

void sim_crash_caught(void)
{
	struct sim_participant *self = sim.current;
	struct sim_instance *in = self->in;

	if (self->fails || !sim_crash_begun(in))
		return;
	if (self->thread == SIM_PRIMARY)
		lead(in);
	/* One that comes or goes looks when it is there. */
	if (runs_on(in, sim_cpu_idx(self->thread - SIM_CPU)))
		sim_crash_cpu(in, self->thread - SIM_CPU);
}
