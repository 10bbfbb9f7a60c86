/*
 * The machine file: what a machine is made of and how it is divided (INTERFACES.md, "Machine
 * file"). YAML or JSON in; a checked `struct machine` out, or every mistake of the file at once.
 * Policy-free: who runs where is for the console, which gets apmp_machine_to_json().
 */
#ifndef APMPD_MACHINE_FILE_H
#define APMPD_MACHINE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define APMP_MACHINE_NAME_SIZE	   32		  /* [a-z0-9][a-z0-9_.-]{0,30} and a NUL */
#define APMP_MACHINE_PARTITIONS	   64		  /* most partitions */
#define APMP_MACHINE_COMMUNITIES   64		  /* most communities */
#define APMP_MACHINE_CPUS	   256		  /* most CPUs; their ids are 0 to 255 */
#define APMP_MACHINE_SBBS	   64		  /* most SBBs; their ids are 0 to 63 */
#define APMP_MACHINE_IOPS	   16		  /* most I/O processors of an SBB */
#define APMP_MACHINE_BUSES	   16		  /* most buses of an I/O processor */
#define APMP_MACHINE_DISKS	   16		  /* most disks of a bus */
#define APMP_MACHINE_SUSPECT	   1000		  /* most beats that may be missed */
#define APMP_MACHINE_DUMPS	   100		  /* most dumps that may be kept */
#define APMP_MACHINE_TIME_MAX	   3600000000000u /* an hour, in ns: sums and products fit */
#define APMP_MACHINE_SIZE_MAX	   (1ull << 46)	  /* 64 TiB: sums of all sizes fit */
#define APMP_MACHINE_GRANULE	   (2u << 20)	  /* page size squared / 8, [0161] */
#define APMP_MACHINE_PARTITION_MIN (4u << 20)	  /* least private memory that can boot */
#define APMP_MACHINE_SECTOR	   512u		  /* a disk is whole sectors */
#define APMP_MACHINE_FILE_MAX	   (1u << 20)	  /* bytes in a machine file */
#define APMP_MACHINE_ERRORS	   100		  /* mistakes kept; more are only counted */
#define APMP_MACHINE_TARGETS	   8		  /* most failover targets of a CPU */
#define APMP_MACHINE_FAILOVER_ALL  UINT32_MAX	  /* cpu of a failover rule written `*` */

/*
 * Where a value stands in the file, counted from 1; line 0: not in the file, a default holds.
 * After a successful read `bad` is false everywhere. (While a file with mistakes is being checked
 * it marks values that were already complained about, so that nothing is said twice.)
 */
struct machine_pos {
	uint32_t line;
	uint32_t column;
	bool bad;
};

struct machine_name {
	char text[APMP_MACHINE_NAME_SIZE];
	struct machine_pos at;
};

struct machine_size {
	uint64_t bytes;
	struct machine_pos at;
};

struct machine_time {
	uint64_t ns;
	struct machine_pos at;
};

struct machine_cpu {
	uint32_t id;
	uint32_t type;	   /* CPUs of different type or revision may be incompatible [0224]; */
	uint32_t revision; /* both are 1 when not given */
	bool primary;	   /* may be a primary */
	struct machine_pos at;
};

struct machine_disk {
	struct machine_name name; /* no two alike on one bus */
	struct machine_size size;
};

struct machine_bus { /* "SBB.IOP.BUS", the last two are positions in their lists */
	struct machine_disk *disks;
	size_t disk_count;
};

struct machine_iop {
	struct machine_bus *buses;
	size_t bus_count;
};

struct machine_sbb {
	uint32_t id;
	struct machine_cpu *cpus;
	size_t cpu_count;
	struct machine_size memory; /* 0: no memory subsystem */
	struct machine_iop *iops;
	size_t iop_count;
	struct machine_pos at, cpus_at, iops_at;
};

struct machine_community {
	struct machine_name name;
	struct machine_size shared;
};

struct machine_cpu_ref {
	uint32_t id;
	struct machine_pos at;
};

struct machine_bus_ref {
	uint32_t sbb, iop, bus;
	struct machine_pos at;
};

struct machine_failover {
	uint32_t cpu;		      /* id of a CPU, or APMP_MACHINE_FAILOVER_ALL */
	struct machine_name *targets; /* partitions; its own: the CPU stays */
	size_t target_count;	      /* 0: it stays, too */
	struct machine_pos at;
};

struct machine_partition {
	struct machine_name name;
	struct machine_name community; /* "" for none */
	struct machine_cpu_ref *cpus;
	size_t cpu_count;
	struct machine_size memory; /* private; 0 for none */
	struct machine_bus_ref *buses;
	size_t bus_count;
	bool boot; /* at power on */
	struct machine_failover *failovers;
	size_t failover_count;
	struct machine_cpu_ref *autostart; /* CPUs that begin to work when they come */
	size_t autostart_count;
	bool autostart_all; /* all do, whatever the list */
	struct machine_pos at, cpus_at, buses_at;
};

struct machine_timing {
	struct machine_time tick;
	uint32_t suspect;	  /* beats missed before an instance is suspected */
	struct machine_time stop; /* silence after which a live instance is fenced */
	struct machine_pos at;
};

struct machine_dump {
	bool on;
	struct machine_size limit; /* of all dumps of the machine */
	uint32_t keep;		   /* how many at most */
};

enum machine_fence { APMP_FENCE_KILL = 1, APMP_FENCE_BUGCHECK };

struct machine {
	uint32_t magic;
	struct machine_name name;
	struct machine_sbb *sbbs; /* in the order of the file */
	size_t sbb_count;
	struct machine_community *communities;
	size_t community_count;
	struct machine_partition *partitions;
	size_t partition_count;
	struct machine_timing timing;
	enum machine_fence fence;
	bool notice_exit;
	struct machine_dump dump;
	struct machine_pos hardware_at, communities_at, partitions_at;
};

/* One mistake, as a sentence without its place. line 0: the file as a whole. */
struct machine_error {
	uint32_t line;
	uint32_t column;
	char sentence[320];
};

/* About 32 KiB: caller's memory, no init or fini needed. In the order of the file. */
struct machine_errors {
	char file[256]; /* the path as the caller wrote it, made printable */
	size_t count;	/* kept in list */
	size_t more;	/* found but not kept */
	struct machine_error list[APMP_MACHINE_ERRORS];
};

/*
 * Reads and checks the machine file at `path`. On failure `errors` (never null; overwritten in any
 * case) holds at least one sentence for the person. *ret is the caller's, see apmp_machine_free.
 *
 *   -EINVAL   the file has mistakes, is not a regular file, is empty or has more than 1 MiB
 *   -ENOMEM   no memory
 *   other     what open, fstat or read said (-ENOENT, -EACCES, -EISDIR, ...)
 */
int apmp_machine_file_read(const char *path, struct machine_errors *errors, struct machine **ret)
    __attribute__((warn_unused_result));

/*
 * The same for text that is already in memory; `file` is only the name used in messages. `text`
 * needs no NUL at its end.
 *
 *   -EINVAL   the text has mistakes, is empty or has more than 1 MiB
 *   -ENOMEM   no memory
 */
int apmp_machine_text_read(const char *file, const char *text, size_t size,
			   struct machine_errors *errors, struct machine **ret)
    __attribute__((warn_unused_result));

/* Frees a machine; null is fine. */
void apmp_machine_free(struct machine *machine);

/*
 * The machine as JSON, the form in which the console gets it: every default filled in, sizes in
 * bytes, times in ns, arrays in the order of the file. No key is ever left out.
 *
 *   {"machine": "trio",
 *    "hardware": [
 *      {"sbb": 0,
 *       "cpus": [{"id": 0, "type": 1, "revision": 1, "primary": true}, ...],
 *       "memory": 134217728,                        0: this SBB has no memory subsystem
 *       "iops": [{"id": 0,                          position in the SBB, from 0
 *                 "buses": [{"id": "0.0.0",         "SBB.IOP.BUS"
 *                            "disks": [{"name": "d0", "size": 16777216}]},
 *                           {"id": "0.0.1", "disks": []}]}]}],
 *    "communities": [{"name": "lab", "shared": 33554432}],
 *    "partitions": [
 *      {"name": "alpha",
 *       "community": "lab",                         null: in no community
 *       "cpus": [0, 1, 2],                          in the order of the file
 *       "memory": 25165824,                         0: none yet
 *       "buses": ["0.0.0"],
 *       "boot": true,
 *       "failover": {"1": "beta", "2": ["beta", "gamma"]},   CPU id or "*" -> one partition or
 *                                                   a list of 0 or 2 to 8; {} for none
 *       "autostart": "all"}],                       or CPU ids
 *    "timing": {"tick_ns": 2000000, "suspect": 3, "stop_ns": 50000000},
 *    "fence": "kill",                               or "bugcheck"
 *    "notice_exit": true,
 *    "dump": {"limit": 67108864, "keep": 3}}      or null: there are none
 *
 * What the console may rely on (the checks were made): names are unique; CPU ids are 0 to 255 and
 * unique over all SBBs; every CPU, bus, community and target that is named exists, a target in
 * the same community; a CPU or a bus is in at most one partition; all sizes of memory are multiples
 * of 2 MiB; private plus shared memory is at most the memory of all SBBs; a partition with "boot":
 * true has at least one CPU that may be primary, one bus and 4 MiB. Its primary is the first CPU of
 * "cpus" whose "primary" is true: a suggestion, the choice is the console's.
 *
 * A new reference, or null when there is no memory.
 */
json_t *apmp_machine_to_json(const struct machine *machine) __attribute__((warn_unused_result));

/* One line per mistake, `FILE:LINE:COL: sentence`, and a last line when some were not kept. */
void apmp_machine_errors_print(const struct machine_errors *errors, FILE *out);

/*
 *   {"file": "trio.yaml", "errors": [{"line": 3, "column": 7, "message": "expected ..."}],
 *    "more": 0}
 *
 * `apmpd check --json` adds "machine" (apmp_machine_to_json) to it when there are none.
 *
 * A new reference, or null when there is no memory.
 */
json_t *apmp_machine_errors_to_json(const struct machine_errors *errors)
    __attribute__((warn_unused_result));

#endif
