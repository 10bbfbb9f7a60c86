/* What a dead machine left behind: finding it, killing it, removing it.
 *
 * One body of code for the guard, for `up` (before it starts) and for `clean`.  A machine whose
 * box is alive (it holds the lock in the run directory) is never touched.
 *
 * Everything the box starts carries APMP_BOX=MARK in its environment.  A mark is
 * "RUNDIR:PID:STARTTIME": the machine's run directory, and the box's process id and start time
 * (field 22 of /proc/PID/stat), which together are never reused.
 */
#ifndef APMPD_LEFTOVER_H
#define APMPD_LEFTOVER_H

#include <jansson.h>
#include <stddef.h>

#define APMP_MARK_VARIABLE "APMP_BOX"
#define APMP_MARK_SIZE	   4200

/* The mark of the calling process as a box.  -ENAMETOOLONG; -errno: /proc can't be read. */
__attribute__((warn_unused_result)) int apmp_mark_make(const char *rundir, char *ret_mark,
						       size_t mark_size);

/* Removes what a dead machine of this name left: processes (by mark, by group, and their
 * descendants), groups, run directory.
 *
 * said: a JSON array; gets one sentence (a string) for each thing removed, and for each that
 * could not be.  May be NULL.
 * Returns the number of things removed (0: there was nothing).
 * -EINVAL: not a machine name; -EBUSY: its box is alive (nothing was touched);
 * -ETIMEDOUT: something did not die (state D?), groups and run directory are kept then;
 * -errno: the run directory can't be removed. */
__attribute__((warn_unused_result)) int apmp_leftover_clean(const char *machine, json_t *said);

/* For `apmpd clean`: every dead machine of this user (of this run directory's base).  Living ones
 * are left alone.  Returns the number of things removed; errors as above, after having gone on
 * with the other machines. */
__attribute__((warn_unused_result)) int apmp_clean_all(json_t *said);

/* Names of machines with something left behind, without touching it: a JSON array of sentences
 * is filled as above.  Returns how many machines.  For `apmpd doctor`. */
__attribute__((warn_unused_result)) int apmp_leftover_look(json_t *said);

/* For the guard, whose box is known to be dead: kill and remove everything of this machine that
 * carries exactly this mark.  Goes on until nothing is left. */
void apmp_leftover_guard(const char *machine, const char *rundir, const char *mark);

#endif
