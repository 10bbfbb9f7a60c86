/*
 * sim_cpu.h - CPUs that move: what play_cpu.c, play_crash.c, play_mover.c and invariant_cpu.c
 * share.
 */
#ifndef APMP_CHAOS_SIM_SIM_CPU_H
#define APMP_CHAOS_SIM_SIM_CPU_H

#include "chaos/sim/sim.h"
#include "shm/cpu_move.h"
#include "shm/hwrpb_write.h"

/* The kth CPU that moves; those before are primaries, by partition. */
static inline uint32_t sim_cpu_idx(uint32_t k)
{
	return sim.plan.instances + k;
}

static inline uint32_t sim_cpu_count(void)
{
	return sim.plan.instances + sim.plan.cpus;
}

/* The physical HWRPB of a partition, for who makes no steps. */
static inline struct hwrpb *sim_hwrpb(uint32_t id)
{
	return (struct hwrpb *)(void *)(sim_physical + SIM_HWRPB_PA(id));
}

/* What a console keeps beside tree and HWRPBs and changes in the same updates. */
struct sim_words {
	_Atomic uint64_t transit[SIM_MACHINE_CPUS], arrival[SIM_MACHINE_CPUS],
	    source[SIM_MACHINE_CPUS];
	_Atomic uint64_t record[SIM_MAX_INSTANCES]; /* seq of the callback that was carried out */
};

/* --- play_cpu.c: in an instance --- */

/* The primary has a machine: maps its HWRPB, takes its CPU, starts those that are there. */
void sim_cpus_begin(struct sim_instance *in);
/* What the primary does for its CPUs after an interrupt. */
void sim_cpus_work(struct sim_instance *in);
/* Whether a task is bound to the CPU that is to go: of a few. */
static inline bool sim_is_bound(const struct sim_instance *in)
{
	(void)in;
	return !sim.quiet && !sim.plan.op && sim_chance(16) == 0;
}

/* --- play_crash.c: an instance that fails --- */

/* Its thread that runs now has found that it does; the instance may_crash. */
__attribute__((noreturn)) void sim_crash(struct sim_instance *in);
bool sim_crash_begun(struct sim_instance *in);
/* The current participant was caught.  Returns where that is too early. */
void sim_crash_caught(void);
/* The kth CPU, which runs this, sees that its instance fails. */
__attribute__((noreturn)) void sim_crash_cpu(struct sim_instance *in, uint32_t k);
/* Each tick: ends what gets no further. */
void sim_crash_tick(struct sim_instance *in);

/* --- play_mover.c: in the console --- */

/* Tree and words of the CPUs that move; main stack. */
void sim_move_power_on(int32_t sbb);
/* The console's objects: mappings of its own. */
void sim_move_open(void);
/* What a console that starts again finds half done. */
void sim_move_settle(void);
/* Inside the update that boots a partition: its slots. */
void sim_move_boot(uint32_t id);
/* No process of this life runs any more. */
void sim_move_fenced(struct sim_instance *in);
/* Answers MIGRATE_CPU or DEASSIGN, or has answered it before. */
int sim_move_serve(const struct apmp_call_request *r);
/* The operator wants something of the kth CPU.  False: nothing. */
bool sim_move_work(uint32_t k);
/* Whether what this console has asked of the kth CPU has no end yet. */
bool sim_order_is_open(uint32_t k);

/* --- invariant_cpu.c --- */

void sim_check_cpu_write(uint64_t key, enum sim_op op, uint64_t value);
void sim_check_runner(uint64_t key, uint64_t old, uint64_t value);
/* The current participant begins or ends to execute on the kth CPU as an instance's. */
void sim_check_enters(uint32_t k);
void sim_check_leaves(uint32_t k);
/* The CPUs of a life that has failed went where they were to go, and it has said why. */
void sim_check_failed_over(const struct sim_instance *in);
/* No update is open: tree and HWRPBs agree. */
void sim_check_owners(void);
/* Whether the kth CPU has neither owner nor current owner. */
bool sim_cpu_is_unowned(uint32_t k);
/* NULL, or what is not as it must be when all is quiet. */
const char *sim_cpus_unsettled(void);

#endif
