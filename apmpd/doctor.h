/* `apmpd doctor`: what this host offers and why, line by line. */
#ifndef APMPD_DOCTOR_H
#define APMPD_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

/* Looks at everything a machine needs and writes one line (or JSON object) for each: what it is,
 * ok / limited / bad, what was found, and what to change for better.  Changes nothing of the
 * host; scratch groups are removed again.
 * Returns the exit code: 0 a machine can run here, 1 it can't. */
int apmp_doctor(FILE *out, bool json);

#endif
