/*
 * nvram_deaths.h - a writer of NVRAM dies at every step, alone or with its host, and what is found
 * then is judged.  For the simulator (`--exhaust-kills nvram`) and for a libcheck test.
 */
#ifndef APMP_CHAOS_SIM_NVRAM_DEATHS_H
#define APMP_CHAOS_SIM_NVRAM_DEATHS_H

#include "chaos/sim/sim_disk.h"

struct nvram_deaths {
	uint64_t seed;
	uint64_t only; /* the number of the one death to look at, 0: all */
	/* What is seen on the way. */
	void (*on_point)(enum apmp_point point);
	void (*on_death)(uint64_t number, enum apmp_point last);
	/* What was found. */
	uint64_t deaths, crashes, refusals, steps;
	char finding[160]; /* "": all is as it must be */
};

/* One write of a history that follows from the seed: once for each step to die at, once for each
 * operation of the disk to be refused.  Stops at the first finding. */
void nvram_die_everywhere(struct nvram_deaths *run);

#endif
