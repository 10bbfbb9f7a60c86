/*
 * points.h - the enumeration made of points.def, and what is known of each.
 */
#ifndef APMP_SHM_POINTS_H
#define APMP_SHM_POINTS_H

#include <stdint.h>

enum apmp_point {
	APMP_P_NONE,
#define APMP_POINT_DEF(name, figure, about, survivors, repairer) APMP_P_##name,
#include "shm/points.def"
#undef APMP_POINT_DEF
	APMP_P_COUNT
};

struct apmp_point_info {
	const char *name;
	const char *figure;    /* figure and step, or paragraph */
	const char *about;     /* what has just happened or is about to */
	const char *survivors; /* what they see if the process ends right there */
	const char *repairer;  /* who repairs it, and how */
};

/* What is known of a point; NULL for a number that is none. */
const struct apmp_point_info *apmp_point_info(uint32_t point);

/* The point of this name; APMP_P_NONE when there is none. */
enum apmp_point apmp_point_find(const char *name);

#endif
