/*
 * nvram.h - non-volatile memory that is whole after every crash [0065]: two generations, a checksum
 * for each, and a disk as a parameter.
 *
 * Contents are bytes that only the console understands.  A generation is a file with a header
 * (struct apmp_nvram_header) and the contents.  The files are "nvram.0" and "nvram.1"; a write goes
 * to the one that is not the newest valid one, through "nvram.new": write, fsync, rename, fsync of
 * the folder.
 */
#ifndef APMP_SHM_NVRAM_H
#define APMP_SHM_NVRAM_H

#include <stdint.h>

#include "shm/env.h"
#include "shm/layout_common.h"
#include "shm/tree.h"

#define APMP_NVRAM_MAGIC    UINT64_C(0x4d4152564e504d41) /* "APMNVRAM" */
#define APMP_NVRAM_SIZE_MAX (UINT64_C(4) << 20)		 /* bytes of contents */

struct apmp_nvram_header {
	uint64_t magic;
	uint64_t format; /* 1 */
	uint64_t generation;
	uint64_t size;	   /* of the contents, bytes */
	uint64_t checksum; /* of header (this field 0) and contents */
	char machine[APMP_NAME_SIZE];
};

/* A folder of files, as a parameter: real files, or the simulator's disk that loses what was not
 * synced.  Each returns 0 or a count, or -errno. */
struct apmp_disk {
	/* Reads at most size bytes of a file from its beginning.  Returns the file's whole size;
	 * -ENOENT. */
	int64_t (*read)(struct apmp_disk *disk, const char *name, void *to, uint64_t size);
	/* Makes a file anew with these bytes.  Not yet durable. */
	int (*write)(struct apmp_disk *disk, const char *name, const struct apmp_nvram_header *head,
		     const void *contents, uint64_t size);
	int (*sync)(struct apmp_disk *disk, const char *name);
	int (*rename)(struct apmp_disk *disk, const char *from, const char *to);
	int (*sync_folder)(struct apmp_disk *disk);
};

/* What was found, for the person: each file's state. */
enum apmp_nvram_state {
	APMP_NVRAM_ABSENT = 1,
	APMP_NVRAM_GOOD,
	APMP_NVRAM_TORN,    /* shorter than it says, or its checksum does not fit */
	APMP_NVRAM_FOREIGN, /* not of ours, or of another machine, or of a newer format */
	APMP_NVRAM_UNREADABLE,
};

struct apmp_nvram_found {
	enum apmp_nvram_state state[2];
	int error[2];	     /* -errno of an unreadable one */
	uint64_t generation; /* of the contents that were used, 0 none */
	uint64_t size;
};

/* The newest good contents.  -ENOENT: no file is there; -EBADMSG: files are there and none is good;
 * -ENOSPC: they are larger than size; -errno of the disk when nothing could be read.  ret_found is
 * filled in in any case. */
APMP_CHECK int apmp_nvram_read(struct apmp_disk *disk, const char *machine, void *to, uint64_t size,
			       struct apmp_nvram_found *ret_found);

/* Writes the next generation; 0 when it is durable.  -E2BIG; -errno of the disk: what stood before
 * still stands.  Points nvram_write, nvram_sync, nvram_rename, nvram_folder: env's. */
APMP_CHECK int apmp_nvram_write(struct apmp_env *env, struct apmp_disk *disk, const char *machine,
				const void *contents, uint64_t size, uint64_t *ret_generation);

#endif
