/* The files of NVRAM in a real folder: struct apmp_disk (shm/nvram.h) by system calls. */
#ifndef APMPD_NVRAM_DISK_H
#define APMPD_NVRAM_DISK_H

#include "shm/nvram.h"

struct apmp_nvram_disk {
	struct apmp_disk disk; /* first */
	int dir_fd;	       /* the folder's, not ours */
	int fd;		       /* what was written last and is not yet synced; -1 */
};

void apmp_nvram_disk_init(struct apmp_nvram_disk *disk, int dir_fd);
void apmp_nvram_disk_fini(struct apmp_nvram_disk *disk);

#endif
