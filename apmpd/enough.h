/* Whether this host has enough of everything for a machine, and for what is asked of it later. */
#ifndef APMPD_ENOUGH_H
#define APMPD_ENOUGH_H

#include "apmpd/host_limits.h"
#include "apmpd/machine_file.h"

/* What one thing is short of: enough for a sentence. */
struct apmp_short {
	const char *what; /* "bytes of memory", "processes and threads", "descriptors", ... */
	const char *help; /* what a person can do */
	uint64_t wanted;
	struct apmp_supply supply;
};

#define APMP_SHORT_MAX 8

/* Everything that the machine wants, compared with what can be had; nothing is taken.
 * Returns how many things are short (0: there is enough), and writes them to ret.
 * -errno: it can't be told how much memory there is. */
__attribute__((warn_unused_result)) int apmp_enough_for(const struct machine *machine,
							struct apmp_short ret[APMP_SHORT_MAX]);

/* Whether one more process of this many threads can be started in a machine that runs: there must
 * be memory for itself, though not for what it will ask for.
 * 0; -EAGAIN, -ENOMEM, -EMFILE: too little, and *ret says of what; -errno as above. */
__attribute__((warn_unused_result)) int apmp_enough_for_process(uint64_t threads,
								struct apmp_short *ret);

#endif
