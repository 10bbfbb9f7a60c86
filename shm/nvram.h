/*
 * nvram.h - non-volatile memory that is whole after every crash [0065]: two generations, a checksum
 * for each, and a disk as a parameter.
 *
 * Contents are bytes that only the console understands.  A generation is a file with a header
 * (struct apmp_nvram_header) and the contents.  The files are "nvram.0" and "nvram.1"; a write goes
 * to the one that is not the newest valid one, through "nvram.new": write, fsync, rename, fsync of
 * the folder.  Whoever reads or writes has the folder for itself.
 */
#ifndef APMP_SHM_NVRAM_H
#define APMP_SHM_NVRAM_H

#include <assert.h>
#include <stdint.h>

#include "shm/layout_common.h"
#include "shm/tree.h"

struct apmp_env;

#define APMP_NVRAM_MAGIC    UINT64_C(0x4d4152564e4d5041) /* "APMNVRAM" */
#define APMP_NVRAM_FORMAT   1u
#define APMP_NVRAM_SIZE_MAX (UINT64_C(4) << 20) /* bytes of contents */
#define APMP_NVRAM_NEW	    "nvram.new"

struct apmp_nvram_header {
	uint64_t magic;
	uint64_t format;     /* APMP_NVRAM_FORMAT */
	uint64_t generation; /* rises with each write; neither 0 nor UINT64_MAX */
	uint64_t size;	     /* of the contents, bytes */
	uint64_t checksum;   /* CRC-64/XZ of header (this field 0) and contents */
	char machine[APMP_NAME_SIZE];
};

static_assert(sizeof(struct apmp_nvram_header) == 72, "a file's first bytes");

/* A folder of files, as a parameter: real files, or the simulator's disk that loses what was not
 * synced.  Each returns 0 or a count, or -errno. */
struct apmp_disk {
	/* Reads at most size bytes of a file from this offset.  Returns the file's whole size, and
	 * has read all of it that lies there; -ENOENT. */
	int64_t (*read)(struct apmp_disk *disk, const char *name, uint64_t off, void *to,
			uint64_t size);
	/* Makes a file anew with these bytes, and never touches those of an older file of that
	 * name.  Not yet durable. */
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
	APMP_NVRAM_TORN,    /* not as long as it says, or its checksum does not fit */
	APMP_NVRAM_FOREIGN, /* not of ours, or of another machine, or of a newer format */
	APMP_NVRAM_UNREADABLE,
};

struct apmp_nvram_found {
	enum apmp_nvram_state state[2];
	int error[2];			 /* -errno of an unreadable one */
	uint64_t format[2];		 /* of a foreign one that has our magic, else 0 */
	char machine[2][APMP_NAME_SIZE]; /* whose a whole foreign one is, else "" */
	uint64_t generation;		 /* of the contents that were used, 0 none */
	uint64_t size;			 /* of these */
};

/* "nvram.0", "nvram.1". */
const char *apmp_nvram_name(unsigned file);

/* The newest good contents [0065], durable when this returns 0.  -ENOENT: no file is there;
 * -EBADMSG: files are there and none is good; -ENOSPC: they are larger than size; -errno of the
 * disk: none is good, and this is why one of them could not be read.  ret_found is filled in in any
 * case. */
APMP_CHECK int apmp_nvram_read(struct apmp_disk *disk, const char *machine, void *to, uint64_t size,
			       struct apmp_nvram_found *ret_found);

/* Writes the next generation [0065]; 0 when it is durable.  What was refused is replaced or
 * dropped, so that it is not believed later.  -E2BIG: size is above
 * APMP_NVRAM_SIZE_MAX; -ENAMETOOLONG: machine; -EOVERFLOW: no generation is left; -errno of the
 * disk: what stood before still stands.  Points nvram_write, nvram_sync, nvram_rename,
 * nvram_folder: env's. */
APMP_CHECK int apmp_nvram_write(struct apmp_env *env, struct apmp_disk *disk, const char *machine,
				const void *contents, uint64_t size, uint64_t *ret_generation);

#endif
