/*
 * sim_disk.h - a folder of files on a disk that loses, tears and reorders what was not synced.
 *
 * WHAT      struct apmp_disk in memory, for NVRAM.  A process may die between any two steps of it,
 *           also in the midst of a write; the host may go down at the same time.  Then of each name
 *           that was changed since the folder's last sync either state may be found, whatever
 *           became of the others, and of a file that was not synced any mixture of what it was,
 *           zeros and garbage.
 * LIMITS    What was synced stays.  Three names, SIM_DISK_FILES files in the life of a disk.
 */
#ifndef APMP_CHAOS_SIM_SIM_DISK_H
#define APMP_CHAOS_SIM_SIM_DISK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/env.h"
#include "shm/nvram.h"

#define SIM_DISK_NAMES	 3u
#define SIM_DISK_FILES	 16u
#define SIM_DISK_ROOM	 2048u /* bytes of a file */
#define SIM_DISK_CHANGES 32u
#define SIM_DISK_FATES	 8u

struct sim_disk {
	struct apmp_disk disk; /* first */
	struct {
		uint64_t size;
		bool synced;
		_Alignas(8) uint8_t data[SIM_DISK_ROOM];
	} file[SIM_DISK_FILES];
	uint32_t file_count;
	int32_t name[SIM_DISK_NAMES];	 /* which file has it now; -1 none */
	int32_t durable[SIM_DISK_NAMES]; /* which would have it after the host went down */
	/* Since the last sync of the folder, in order. */
	struct {
		uint32_t name;
		int32_t file;
	} change[SIM_DISK_CHANGES];
	uint32_t change_count;

	jmp_buf death;
	uint64_t steps;	     /* made so far */
	uint64_t die_at;     /* in place of which step; 0: never */
	uint64_t fail_at;    /* which operation (from 1) fails, 0: none, */
	int fail_error;	     /* and how */
	uint64_t operations; /* begun so far */
};

void sim_disk_init(struct sim_disk *disk);
/* A step of who uses the disk: dies, which is a longjmp to disk->death, when it is the one. */
void sim_disk_step(struct sim_disk *disk);
/* The host goes down and comes back.  kept: bit i: change i reached the disk.  fate: what became
 * of files that were not synced, below SIM_DISK_FATES; seed: of the bytes that a fate leaves
 * open. */
void sim_disk_crash(struct sim_disk *disk, uint64_t kept, uint32_t fate, uint64_t seed);
/* The bytes of the file of this name and its size, to damage it; NULL: there is none. */
uint8_t *sim_disk_bytes(struct sim_disk *disk, const char *name, uint64_t **ret_size);

#endif
