/* How much the programs of each partition have to do, for the run queue of its instance, which does
 * not see them.
 *
 * WHAT     While there are programs, the box looks how many of their threads run or could, and
 *          tells the console the number when it has changed: smoothed, so that who only wakes up
 *          now and then, or waits for a host CPU just at that moment, does not count.
 * LIMITS   Where the kernel does not count them (cpuset.h), no program does. */
#include "apmpd/box_internal.h"

#define LOOK_MS 25u
/* What was seen this many looks ago has a third of the weight of what is seen now: 0.4 s. */
#define LOOKS 16u
#define ONE   1024u

void apmp__load_tell(struct apmp_box *box, uint32_t id)
{
	struct apmp_box_event event = {
	    .op = APMP_BOX_LOAD, .id = id, .arg = {box->partitions[id].load_told}};

	apmp__console_tell(box, &event);
}

static bool has_program(const struct apmp_box *box, uint32_t id)
{
	struct apmp_child *child, *next;

	HASH_ITER(hh, box->children, child, next)
	{
		if (child->role == APMP_CHILD_PROGRAM && child->partition == id)
			return true;
	}
	return false;
}

/* Whether it is to be looked at again. */
static bool look(struct apmp_box *box, uint32_t id)
{
	struct apmp_partition *partition = &box->partitions[id];
	struct apmp_cpuset_load load = {0};
	int error = apmp_cpuset_load(box->cpuset, partition->name, &load);
	bool goes_on = !error && (load.threads || has_program(box, id));
	uint32_t told;

	if (goes_on) /* never below 0 */
		partition->load += (uint32_t)load.running * ONE / LOOKS - partition->load / LOOKS;
	else
		partition->load = 0;
	told = (partition->load + ONE / 2) / ONE;
	if (told != partition->load_told) {
		partition->load_told = told;
		apmp__load_tell(box, id);
	}
	return goes_on;
}

static void on_look(uv_timer_t *timer)
{
	struct apmp_box *box = timer->data;
	bool any = false;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		struct apmp_partition *partition = &box->partitions[id];

		partition->has_load = partition->has_load && look(box, id);
		any |= partition->has_load;
	}
	if (!any)
		uv_timer_stop(timer);
}

void apmp__load_watch(struct apmp_box *box, uint32_t id)
{
	box->partitions[id].has_load = true;
	if (!uv_is_active((uv_handle_t *)&box->load_timer))
		uv_timer_start(&box->load_timer, on_look, LOOK_MS, LOOK_MS);
}
