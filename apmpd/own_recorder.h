/* The box's own flight recorder: what it passes its points into, and the console arms. */
#ifndef APMPD_OWN_RECORDER_H
#define APMPD_OWN_RECORDER_H

#include "shm/layout_recorder.h"

struct apmp_env;

/* Maps a recorder that was initialized; a panic is written there too from now on.  -errno. */
__attribute__((warn_unused_result)) int apmp_own_recorder_open(int fd);
void apmp_own_recorder_close(void);

/* For libapmp's functions that pass points, from any thread.  Without a recorder they pass
 * unseen. */
struct apmp_env *apmp_own_env(void);

#endif
