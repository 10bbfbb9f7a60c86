/*
 * cpu_move.h - the console moves CPUs: what it does to tree, HWRPBs and its own words.
 *
 * How a CPU changes hands, each way in updates that are whole or not at all: migration [0290-0293],
 * initial assignment [0309-0311], deassignment and reassignment [0312, 0333-0335], the end of its
 * partition's life with failover [0298-0300, 0320].  Only the console calls this; the world comes
 * as struct apmp_cpu_mover.
 */
#ifndef APMP_SHM_CPU_MOVE_H
#define APMP_SHM_CPU_MOVE_H

#include "shm/hwrpb_write.h"

/* A CPU's two words in struct apmp_console_state, which change in the same updates. */
struct apmp_cpu_words {
	_Atomic uint64_t *transit; /* identity that migrates it, 0 once it has arrived */
	_Atomic uint64_t *arrival; /* identity that is owed a STARTREQ, 0 once it was sent */
	void (*within)(void *ctx); /* called inside the update of its arrival; may be NULL */
	void *ctx;
};

/* A migration's two halves in the tree and both HWRPBs, each one update [0189].
 * Steps 2206 to 2210: current_owner and available are cleared, the CPU is in transit. */
void apmp_cpu_depart(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *from, uint32_t from_id, const struct apmp_cpu_words *words,
		     uint64_t identity);
/* Steps 2212 to 2216: available there, current_owner is the receiver; owner too unless a loan.
 * owed: the receiver's identity, which a STARTREQ must follow; 0 when the CPU never left it.  The
 * interrupts to all are the caller's, behind that. */
void apmp_cpu_arrive(struct apmp_tree_writer *tw, const struct apmp_tree_node *cpu,
		     struct hwrpb *to, uint32_t to_id, int32_t to_handle, bool loan,
		     const struct apmp_cpu_words *words, uint64_t owed);

struct apmp_cpu_mover {
	struct apmp_tree_writer *tw;
	uint32_t cpu_count; /* ids are below */
	/* By CPU id, in struct apmp_console_state; each update that concerns them writes them. */
	_Atomic uint64_t *transit, *arrival;
	/* By CPU id: the identity that it comes from, until it is active.  Outside of updates: it
	 * only says what is told of the migration. */
	_Atomic uint64_t *source;
	/* The HWRPB of a partition; NULL: there is no such partition. */
	struct hwrpb *(*hwrpb)(struct apmp_cpu_mover *m, uint32_t id);
	/* The life of a partition that CPUs may come to; 0: it lives none, or is being fenced. */
	uint64_t (*life)(struct apmp_cpu_mover *m, uint32_t id);
	/* Failover targets of a partition's CPU, HWRPB_TARGETS bytes [0296]. */
	uint64_t (*targets)(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx);
	/* A partition's host CPUs follow: those under its CPUs by the tree, and under one more that
	 * is about to come (APMP_MAX_CPUS: none).  0, or -errno of the host: they are as before. */
	int (*host_cpus)(struct apmp_cpu_mover *m, uint32_t id, uint32_t more);
};

/* Whether a CPU may migrate: 0, the errors of apmp_pal_validate, or -ENOEXEC: it is not compatible
 * there [0224]. */
APMP_CHECK int apmp_cpu_may_migrate(struct apmp_cpu_mover *m, uint32_t from_id, uint32_t cpu_idx,
				    uint32_t to_id);

/* MIGRATE_CPU: departs, arrives, STARTREQ; how: APMP_MIGRATE_*.  within(ctx) is called inside the
 * update of the arrival; it may be NULL.  All but the receiver's primary have the interrupt pending
 * [0117]: none of them is woken in the midst of it.  The sender's host CPUs, which are fewer now,
 * are the caller's, when nobody waits any more.
 * Only who owns it gives it away for good [0189]: one that is lent keeps its owner wherever it
 * goes.
 * The errors of apmp_cpu_may_migrate, -EBUSY also when somebody still executes on it, or what the
 * host said: the CPU is where it was. */
APMP_CHECK int apmp_cpu_migrate(struct apmp_cpu_mover *m, uint32_t from_id, uint32_t cpu_idx,
				uint32_t to_id, uint32_t how, void (*within)(void *ctx), void *ctx);

/* Fig. 28 to step 2804 or 2805, when the tree is made or the CPU comes into the box: with an owner
 * it waits for his boot, without one in console code for an owner. */
void apmp_cpu_examine(struct apmp_cpu_mover *m, uint32_t cpu_idx);
/* Steps 2806 and 2808, inside the update that begins a life: the slot's flags.  Then, for a CPU but
 * its primary, outside, step 2810: it is started with its instance. */
void apmp_cpu_initialize(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx, uint64_t flags);
void apmp_cpu_initialized(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx);

/* Inside the update that has changed a CPU's owners (shm/configure.c): it leaves whom it was taken
 * from [0108, 0312], and goes to its new owner if that runs [0105, 0311, 0335].  *ret_to: who got
 * it, or APMP_NO_PARTITION.  What the host said: the update is to be aborted.
 * Behind the commit follows apmp_cpu_followed, also with APMP_NO_PARTITION. */
APMP_CHECK int apmp_cpu_follow(struct apmp_cpu_mover *m, int32_t handle, uint32_t *ret_to);
void apmp_cpu_followed(struct apmp_cpu_mover *m, int32_t handle, uint32_t to_id);

/* The STARTREQs that a partition's life is owed for its CPUs (`arrival`), their host CPUs first.
 * Refused by the host, the CPUs run where the partition may. */
void apmp_cpu_arrivals(struct apmp_cpu_mover *m, uint32_t id);

/* A dead console left this CPU in transit: it arrives at whom `transit` names, its last confirmed
 * user.  apmp_cpu_arrivals for each partition, and the interrupts to all, follow. */
void apmp_cpu_settle(struct apmp_cpu_mover *m, uint32_t cpu_idx);

/* Whether a CPU of a partition that fails would go to one of its failover targets now. */
bool apmp_cpu_fails_over(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx);
/* A fenced life's CPUs, inside the update that ends it (the caller takes NODE_INITIALIZED from its
 * node behind this, which says that it was done): none is available to it.  failed: those
 * with failover targets go to the first of them that they may go to, as loans; when there is none,
 * nobody uses them.  The others stay with the partition [0320]; one that was lent to it returns to
 * its owner, or waits for his boot.  *ret_gone: the CPUs that went to failover targets.
 * Behind the commit apmp_cpu_arrivals follows for each partition. */
void apmp_cpu_end_life(struct apmp_cpu_mover *m, uint32_t id, bool failed,
		       struct apmp_cpu_bits *ret_gone);

#endif
