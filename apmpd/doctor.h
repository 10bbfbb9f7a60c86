/* `apmpd doctor`: what this host offers and why, line by line. */
#ifndef APMPD_DOCTOR_H
#define APMPD_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Looks at everything a machine needs and writes one line (or JSON object) for each: what it is,
 * ok / limited / bad, what was found, and what to change for better.  Changes nothing of the
 * host; scratch groups are removed again (but what apmp__cpuset_v2_base() prepares stays so).
 * fixes: those of apmp_doctor_fix(), for the JSON document; or NULL.
 * Returns the exit code: 0 a machine can run here, 1 it can't. */
int apmp_doctor(FILE *out, bool json, json_t *fixes);

/* How one comes to a group of cgroup v2 with cpuset, as root or as an ordinary user: "start ..." */
const char *apmp_doctor_v2_change(bool root);

#endif
