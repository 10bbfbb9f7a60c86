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

/* Who may pass a point: whoever else is told to end there never does. */
enum apmp_party {
	APMP_PARTY_BOX = 1,
	APMP_PARTY_CONSOLE = 2,
	APMP_PARTY_INSTANCE = 4,
	APMP_PARTY_ANY = APMP_PARTY_BOX | APMP_PARTY_CONSOLE | APMP_PARTY_INSTANCE,
};

/* A mask of enum apmp_party. */
uint32_t apmp_point_parties(uint32_t point);

#endif
