/* `apmpd doctor --fix`: what of this host's offer can be made better from here. */
#ifndef APMPD_DOCTOR_FIX_H
#define APMPD_DOCTOR_FIX_H

#include <jansson.h>
#include <stdbool.h>

/* Finds what can be mended: leftovers of dead machines; folders of ours that let others in; as
 * root, a cpuset group of v1 for a user who has none (user: name or number; NULL: SUDO_UID).
 * yes: mends it all.  Else, on a terminal, each is asked for; without one nothing is touched.
 * What was done, or could be, is said on standard error; ret_fixes (new reference) is a JSON array
 * of {"what", "state": "done" "offered" "declined" "failed", "reason"}.
 * Returns 0, or -errno of the last that failed (-EINVAL: there is no such user). */
__attribute__((warn_unused_result)) int apmp_doctor_fix(bool yes, const char *user,
							json_t **ret_fixes);

#endif
