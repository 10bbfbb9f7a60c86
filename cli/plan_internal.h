#ifndef APMP_CLI_PLAN_INTERNAL_H
#define APMP_CLI_PLAN_INTERNAL_H

/* What the files of the planner share. */

#include "cli/plan_side.h"
#include "cli/table.h"

/* What becomes of a CPU or bus, in this order. */
enum {
	PLAN_HOME = 1,	  /* a CPU on loan migrates back to its owner */
	PLAN_MIGRATE = 2, /* from its user to its owner to be, both running */
	PLAN_RELEASE = 4,
	PLAN_REMOVE = 8, /* out of the box */
	PLAN_ADD = 16,	 /* into the box */
	PLAN_ASSIGN = 32,
};

/* What becomes of a partition of the running machine. */
struct plan_fate {
	const struct plan_partition *now, *want; /* want NULL: it is deleted */
	bool moves;				 /* into another community, or out of its own */
	char *halted_for; /* why it is halted, and boots in the end if it stays; NULL: it is not */
	bool settles;	  /* boots once before all else: so that it lets go of what it lost */
};

struct plan {
	struct plan_side *want, *now;
	struct plan_fate *fates; /* of now's partitions, in their order */
	bool *memory_goes;	 /* of now's descriptors */
	int cpu_ways[PLAN_CPUS];
	int *bus_ways; /* of now's buses */
	struct plan_memory_work *memory;
	json_t *memory_came; /* the last step that brings memory into the box; NULL: none does */
	json_t *steps, *impossible, *power_cycle, *notes;
};

/* ---- plan_diff.c ---- */

/* The fate of a partition of the running machine; NULL: it has none of this name. */
struct plan_fate *plan_fate(struct plan *plan, const char *name);

/* This partition, if it runs, is halted; text is why, and freed. */
void plan_halt(struct plan *plan, const char *name, char *text);

/* ---- plan_steps.c ---- */

/* Appends a step; parameters are stolen; the format is the command behind "apmp ". */
__attribute__((format(printf, 4, 5))) void plan_step(struct plan *plan, const char *method,
						     json_t *parameters, const char *format, ...);

/* Why the last step is one: what the file has, or what a step before wants. */
__attribute__((format(printf, 2, 3))) void plan_because(struct plan *plan, const char *format, ...);

json_t *plan_last_step(const struct plan *plan);

/* One sentence for impossible, power_cycle or notes. */
__attribute__((format(printf, 2, 3))) void plan_say(json_t *list, const char *format, ...);

/* ---- plan_hardware.c: what is in the box ---- */

/* Which descriptors go; what differs and can't be swapped. */
void plan_hardware_decide(struct plan *plan);
void plan_hardware_remove(struct plan *plan);
void plan_hardware_add(struct plan *plan);

/* So much memory comes into the SBB. */
json_int_t plan_memory_comes(const struct plan *plan, json_int_t sbb);

/* Whether the file has another CPU under this number: it is taken out, and the other one comes in.
 */
bool plan_cpu_replaced(const struct plan *plan, int id);

/* ---- plan_memory.c ---- */

/* What stays where it is, and who is halted because it does not. */
void plan_memory_decide(struct plan *plan);
void plan_memory_end(struct plan *plan);
void plan_memory_release(struct plan *plan);
void plan_memory_assign(struct plan *plan);

/* ---- plan_tables.c: rules of failover, and autostart sets ---- */

void plan_tables(struct plan *plan);

#endif
