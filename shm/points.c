/* points.c - the table made of points.def. */
#include "shm/points.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "shm/layout_recorder.h"

static_assert(APMP_P_COUNT <= APMP_RECORDER_POINTS, "the recorder has a counter for each");

static const struct apmp_point_info points[APMP_P_COUNT] = {
    {0},
#define APMP_POINT_DEF(name, figure, about, survivors, repairer)                                   \
	{#name, figure, about, survivors, repairer},
#include "shm/points.def"
#undef APMP_POINT_DEF
};

const struct apmp_point_info *apmp_point_info(uint32_t point)
{
	return point > APMP_P_NONE && point < APMP_P_COUNT ? &points[point] : NULL;
}

enum apmp_point apmp_point_find(const char *name)
{
	for (uint32_t p = 1; p < APMP_P_COUNT; p++)
		if (strcmp(points[p].name, name) == 0)
			return (enum apmp_point)p;
	return APMP_P_NONE;
}
