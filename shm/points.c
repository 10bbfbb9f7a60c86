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

/* By how their names begin; the first line that fits counts. What none fits, anybody may pass. */
static const struct {
	const char *prefix;
	uint32_t parties;
} parties[] = {
    {"form_", APMP_PARTY_CONSOLE},
    {"update_", APMP_PARTY_CONSOLE},
    /* The console's half of PAL MIGRATE, and of starting a CPU (shm/hwrpb_write.c). */
    {"migrate_908", APMP_PARTY_CONSOLE},
    {"pal_2206", APMP_PARTY_CONSOLE},
    {"pal_2208", APMP_PARTY_CONSOLE},
    {"pal_2210", APMP_PARTY_CONSOLE},
    {"pal_2212", APMP_PARTY_CONSOLE},
    {"pal_2214", APMP_PARTY_CONSOLE},
    {"pal_2216", APMP_PARTY_CONSOLE},
    {"con_2302", APMP_PARTY_CONSOLE},
    {"con_2304", APMP_PARTY_CONSOLE},
    {"halt_3016", APMP_PARTY_CONSOLE},
    {"rx_3106", APMP_PARTY_CONSOLE},
    {"assign_", APMP_PARTY_CONSOLE},
    {"deassign_2902", APMP_PARTY_INSTANCE},
    {"deassign_", APMP_PARTY_CONSOLE},
    {"reassign_3202", APMP_PARTY_INSTANCE},
    {"reassign_3204", APMP_PARTY_INSTANCE},
    {"reassign_", APMP_PARTY_CONSOLE},
    {"crash_2610", APMP_PARTY_BOX},
    {"crash_2614", APMP_PARTY_CONSOLE},
    {"nvram_", APMP_PARTY_BOX},
    {"map_", APMP_PARTY_INSTANCE},
    {"lock_", APMP_PARTY_INSTANCE},
    {"reform_", APMP_PARTY_INSTANCE},
    {"create_", APMP_PARTY_INSTANCE},
    {"join_", APMP_PARTY_INSTANCE},
    {"leave_", APMP_PARTY_INSTANCE},
    {"tick_", APMP_PARTY_INSTANCE},
    {"fence_", APMP_PARTY_INSTANCE},
    {"recover_", APMP_PARTY_INSTANCE},
    {"validate_", APMP_PARTY_INSTANCE},
    {"member_", APMP_PARTY_INSTANCE},
    {"named_", APMP_PARTY_INSTANCE},
    {"migrate_", APMP_PARTY_INSTANCE},
    {"pal_", APMP_PARTY_INSTANCE},
    {"con_", APMP_PARTY_INSTANCE},
    {"halt_", APMP_PARTY_INSTANCE},
    {"rx_", APMP_PARTY_INSTANCE},
    {"crash_", APMP_PARTY_INSTANCE},
    {"fail_", APMP_PARTY_INSTANCE},
    {"wish_", APMP_PARTY_INSTANCE},
};

uint32_t apmp_point_parties(uint32_t point)
{
	const struct apmp_point_info *info = apmp_point_info(point);

	for (size_t i = 0; info && i < sizeof(parties) / sizeof(parties[0]); i++)
		if (strncmp(info->name, parties[i].prefix, strlen(parties[i].prefix)) == 0)
			return parties[i].parties;
	return info ? APMP_PARTY_ANY : 0;
}
