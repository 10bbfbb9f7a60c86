/* How many processes, descriptors and bytes of disk may still be had here, and by which limit. */
#ifndef APMPD_HOST_LIMITS_H
#define APMPD_HOST_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The narrowest limit: how much it leaves, and its name for people.  UINT64_MAX and "" where there
 * is no limit, or where it can't be read. */
struct apmp_supply {
	uint64_t had;
	char limit[160];
};

/* Processes and threads (the kernel counts them alike) that this process and its children may start
 * besides those that run: by RLIMIT_NPROC (not of root, whom it does not bind), every pids cgroup
 * above us (v1 and v2), threads-max and pid_max. */
struct apmp_supply apmp_supply_processes(void);

/* Those that a user may have who has none yet and is not root: RLIMIT_NPROC alone. */
struct apmp_supply apmp_supply_processes_of_new_user(void);

/* Descriptors that one process may have in all: RLIMIT_NOFILE, which may be raised this far. */
struct apmp_supply apmp_supply_descriptors(void);

/* Bytes that this user may write to the file system of a folder, or of the nearest one above it
 * that exists; 0 where it has no room for another file. */
struct apmp_supply apmp_supply_disk(const char *folder);

/* Bytes that a file may have, also one that is only memory: RLIMIT_FSIZE. */
struct apmp_supply apmp_supply_file_size(void);

/* Bytes of memory that one process may map: RLIMIT_AS. */
struct apmp_supply apmp_supply_address_space(void);

#endif
