/* The state directory of a machine: $XDG_STATE_HOME/apmp/MACHINE/, else
 * ~/.local/state/apmp/MACHINE/. What it holds outlives power off:
 *
 *   nvram.0, nvram.1   two generations of the configuration (shm/nvram.h)
 *   nvram.new          one that is being made
 *   dumps/             what failed partitions left (shm/wire/state_path.h)
 *   pid                of the box, which holds a lock on it (folder.h)
 */
#ifndef APMPD_STATE_DIR_H
#define APMPD_STATE_DIR_H

#include "apmpd/folder.h"
#include "shm/nvram.h"
#include "shm/wire/state_path.h"

#include <jansson.h>

/* Bytes of one file of NVRAM, and of all that a state directory ever holds. */
#define APMP_STATE_FILE_MAX (APMP_NVRAM_SIZE_MAX + APMP_PAGE_SIZE)
#define APMP_STATE_SIZE_MAX (3 * APMP_STATE_FILE_MAX)

/* Makes and locks the state directory, and makes sure that it can be written and may grow to
 * APMP_STATE_SIZE_MAX [0065].  Nothing new is left behind by an error.
 * ret_error is a sentence for every error, with bytes wanted and had where it is about room.
 * Those of apmp_folder_open() and apmp_state_base(); -ENOSPC, -EDQUOT: not enough room;
 * -EFBIG: RLIMIT_FSIZE; -EROFS, -EACCES; -errno. */
__attribute__((warn_unused_result)) int
apmp_state_open(const char *machine, struct apmp_folder *ret, char *ret_error, size_t error_size);

/* Lets go of it; removes it if there is nothing worth keeping in it. */
void apmp_state_close(struct apmp_folder *state);

/* Removes the state directory of a machine that is off; NULL: those of all.  Without `all` only
 * what a box that was killed had begun to write.
 * said: gets a sentence for each that was removed, and for each that could not be.
 * Returns how many were removed.  -EBUSY: the machine that was named is on; those of
 * apmp_state_base(); -errno, after having gone on with the others. */
__attribute__((warn_unused_result)) int apmp_state_clean(const char *machine, bool all,
							 json_t *said);

#endif
