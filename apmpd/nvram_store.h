/* The NVRAM of one machine: its state directory, what was read from it at power on, and writing. */
#ifndef APMPD_NVRAM_STORE_H
#define APMPD_NVRAM_STORE_H

#include "apmpd/folder.h"

struct apmp_nvram_disk;

struct apmp_nvram_store {
	struct apmp_folder state;
	struct apmp_nvram_disk *disk;
	void *contents; /* what was read; NULL: nothing is used */
	uint64_t size, generation;
	char note[256]; /* what was refused then; "": nothing */
};

/* Takes the state directory of a machine and reads its NVRAM [0065].  Says on standard error what
 * was refused and what is used, or why it can't be.  fresh: nothing is read.
 * Those of apmp_state_open(); -ENOMEM; -EBADMSG: of another machine or a newer apmp; -errno: can't
 * be read.
 */
__attribute__((warn_unused_result)) int apmp_nvram_store_open(const char *machine, bool fresh,
							      struct apmp_nvram_store *ret);

/* Writes new contents; what was refused before is replaced.  Errors: apmp_nvram_write(). */
__attribute__((warn_unused_result)) int apmp_nvram_store_write(struct apmp_nvram_store *store,
							       const void *contents, uint64_t size);

/* Lets go of the state directory, and of all else.  keep: another process holds it as well. */
void apmp_nvram_store_close(struct apmp_nvram_store *store, bool keep);

#endif
