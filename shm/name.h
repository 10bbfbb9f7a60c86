/*
 * name.h - names of machines, partitions and communities.
 */
#ifndef APMP_SHM_NAME_H
#define APMP_SHM_NAME_H

#include <stdbool.h>

#include "shm/layout_common.h"

/* [a-z0-9][a-z0-9_.-]{0,30}; NULL is no name.  At most APMP_NAME_SIZE bytes are looked at. */
bool apmp_name_valid(const char *name);

#endif
