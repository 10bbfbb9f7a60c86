/* A uid for each partition, where the box runs as root.
 *
 * Processes of one uid can reach each other's memory and descriptors through /proc, ptrace and
 * pidfd_getfd, whoever was given what.  So each partition has a uid, and a gid of the same number,
 * that nobody else has on this host: a block of them belongs to each box (DESIGN 3).
 */
#ifndef APMPD_PARTITION_UID_H
#define APMPD_PARTITION_UID_H

#include "shm/layout_common.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct apmp_partition_uids {
	uid_t first;  /* of partition 0, the others follow; 0: all have the user of the box */
	int claim_fd; /* a bound socket: no other box takes these uids while it is open; -1 */
};

/* Claims a block for the box of this run directory.  affinity: the box must be able to set the
 * affinity of processes of another user.  What is promised was tried out, with a process.
 *
 * With first 0, ret_why is the sentence that says why partitions have the user of the box.
 * -EUSERS: every block is in use; -EMFILE, -ENFILE, -EAGAIN, -ENOMEM: no socket or no process. */
__attribute__((warn_unused_result)) int apmp_partition_uids_claim(const char *rundir, bool affinity,
								  struct apmp_partition_uids *ret,
								  char *ret_why, size_t why_size);

/* Claims the block that a dead box had, so that what still runs there can be ended.
 * -EADDRINUSE: a living box has it, and nobody of the dead one is left; -EINVAL: it is no block;
 * -errno of socket(). */
__attribute__((warn_unused_result)) int
apmp_partition_uids_inherit(uid_t first, struct apmp_partition_uids *ret);

/* Whether a living box, or who cleans up after a dead one, has this uid for a partition. */
bool apmp_partition_uid_claimed(uid_t uid);

void apmp_partition_uids_release(struct apmp_partition_uids *uids);

/* For a child before exec: takes on this uid and gid for good, without supplementary groups,
 * capabilities, or a way to gain any (no_new_privs).  reach: until exec it finds and executes
 * what the box can.  -errno; it must not go on then. */
__attribute__((warn_unused_result)) int apmp_partition_uid_become(uid_t uid, bool reach);

#endif
