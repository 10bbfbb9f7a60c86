/*
 * state_path.h - where machines keep what outlives power off, and the dumps among that.
 */
#ifndef APMP_SHM_WIRE_STATE_PATH_H
#define APMP_SHM_WIRE_STATE_PATH_H

#include <stddef.h>
#include <stdint.h>

#include "shm/layout_common.h"

#define STATE_PATH_VARIABLE "XDG_STATE_HOME"

/* The folder that holds the state of all machines of this user: $XDG_STATE_HOME/apmp, else
 * ~/.local/state/apmp.  Creates nothing.
 * -ENOENT: neither XDG_STATE_HOME nor HOME is set; -EINVAL: the one that counts is not absolute;
 * -ENAMETOOLONG. */
__attribute__((warn_unused_result)) int apmp_state_base(char *ret_path, size_t path_size);
/* The folder that this one is in, and how much of its path is not ours to make.  Errors as above;
 * with -EINVAL ret_path is what does not do. */
__attribute__((warn_unused_result)) int apmp_state_parent(char *ret_path, size_t path_size,
							  size_t *ret_fixed);

/* ---- dump_files.c: dumps/PARTITION-NUMBER.core in the state directory of a machine ----
 * Its dumps are numbered in the order in which they were made, over all partitions and power ons:
 * neither a clock that was set nor incarnations that begin again confuse them. */

#define DUMP_FOLDER	"dumps"
#define DUMP_NEW	"new" /* one that is being written */
#define DUMP_NAME_SIZE	(APMP_NAME_SIZE + 32)
#define DUMP_FILES_MAX	1024u
#define DUMP_NUMBER_MAX 1000000000u

struct dump_file {
	char name[DUMP_NAME_SIZE];
	char partition[APMP_NAME_SIZE];
	uint64_t number; /* 1 to DUMP_NUMBER_MAX */
	uint64_t bytes;	 /* on the disk */
};

void dump_file_name(const char *partition, uint64_t number, char ret_name[DUMP_NAME_SIZE]);

/* The dumps in a folder, newest first, to be freed; what has another name is none.  At most
 * DUMP_FILES_MAX.  How many; -ENOMEM; -errno. */
__attribute__((warn_unused_result)) int dump_files(int folder_fd, struct dump_file **ret_files);

#endif
