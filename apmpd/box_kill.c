/* The end of all processes of a partition: the fence.
 *
 * WHAT     SIGKILL to everything that is in the partition's groups, to the children that the box
 *          started for it, and without groups to everything with the partition's own uid, again
 *          until nothing is left.  Nothing here waits: it is looked at when a death beacon went out
 *          (box_beacon.c), after each reaping, and from a timer for what has no beacon.
 * STATES   none -> active -> fenced (FENCED is told: by the kernel's word no user code runs, see
 *          box_fenced.c) -> done (all is reaped; everybody who asked is answered)
 *          not fenced, or fenced and not done, within a second: PENDING is told, once each.
 * CRASHES  A console that dies meanwhile changes nothing: what was asked goes on.  The next one
 *          hears FENCED and PENDING anew, or asks again and is answered with the others.
 * LIMITS   A grandchild that ended counts as gone when it has left its group, which is after it
 *          let go of its memory; it is reaped a moment later.
 */
#include "apmpd/box_internal.h"

#include "apmpd/exiting.h"
#include "apmpd/process_list.h"

#include <errno.h>
#include <string.h>

#define PENDING_MS 1000u
/* What has no beacon is looked at after 1, 3, 7 and then every 10 ms. */
#define STRAGGLER_MAX_MS 10u
/* Fenced: only who is in the group and no child of ours is reaped without a SIGCHLD. */
#define STRANGER_MS 100u

/* Answers all who asked. */
static void done(struct apmp_box *box, uint32_t id, int error, const char *text)
{
	struct apmp_kill *end = &box->partitions[id].kill;
	struct apmp_box_event answer = {.error = error, .id = id};

	if (error)
		strncpy(answer.text, text, sizeof(answer.text) - 1);
	for (unsigned i = 0; i < end->asked_count; i++)
		apmp__box_done(box, end->asked[i], &answer, NULL, 0);
	*end = (struct apmp_kill){0};
}

/* Where there are no groups to be in, who left its parents and its process group is still known by
 * its uid, which it can't leave.  Returns how many there were. */
static int round_of_uid(struct apmp_box *box, uint32_t id)
{
	struct apmp_process_list list;
	size_t count;

	if (!box->uids.first || apmp_cpuset_kind(box->cpuset) != APMP_CPUSET_AFFINITY)
		return 0;
	if (apmp_process_list_init(&list) < 0)
		return 1; /* not known: it is looked at again */
	count = apmp_process_list_choose_uids(&list, apmp__partition_uid(box, id), 1);
	if (box->partitions[id].kill.lethal)
		apmp_process_list_kill(&list, 0);
	apmp_process_list_fini(&list);
	return (int)count;
}

/* Kills what is there, or only counts it.  Returns how many have not ended. */
static int round_of(struct apmp_box *box, uint32_t id)
{
	struct apmp_partition *partition = &box->partitions[id];
	int left = 0;

	if (partition->kill.lethal)
		apmp__children_kill(box, id);
	if (partition->name[0] && partition->kill.lethal)
		left = apmp_cpuset_partition_kill(box->cpuset, partition->name, 0);
	else if (partition->name[0])
		left = apmp_cpuset_partition_pids(box->cpuset, partition->name, NULL, 0);
	if (left == 0)
		left = round_of_uid(box, id);
	/* Also one that is not in its group, or a zombie that is about to be reaped. */
	return left == 0 && apmp__child_of_partition(box, id) ? 1 : left;
}

static void tell(struct apmp_box *box, uint32_t id, enum apmp_box_event_op op, int left)
{
	struct apmp_box_event event = {.op = op, .id = id};

	event.arg[0] = box->partitions[id].incarnation;
	event.arg[1] = (uint64_t)left;
	apmp__console_tell(box, &event);
}

/* Tells once that no user code runs any more.  Returns whether that is so. */
static bool look_fenced(struct apmp_box *box, uint32_t id)
{
	struct apmp_kill *end = &box->partitions[id].kill;

	if (end->fenced || !apmp__partition_fenced(box, id))
		return end->fenced;
	end->fenced = true;
	end->takes_turns = false;
	end->told = false; /* its reaping has a second of its own */
	end->since_ms = uv_now(&box->loop);
	tell(box, id, APMP_BOX_FENCED, 0);
	if (box->partitions[id].pid)
		apmp_exiting_gives_way(box->partitions[id].pid);
	return true;
}

/* When to look again if nothing is reaped before. */
static unsigned next_wait_ms(struct apmp_box *box, uint32_t id)
{
	struct apmp_kill *end = &box->partitions[id].kill;

	if (end->fenced)
		return STRANGER_MS;
	/* One that is only told to end may go on for long, and write there as often as it likes. */
	if ((end->lethal || end->fired <= APMP_BEACONS) && apmp__beacons_await(box, id)) {
		end->straggler_ms = 0;
		return STRAGGLER_MAX_MS; /* one that its owner wrote may never go out */
	}
	/* All are out: it is fenced, or what is left has none, such as programs. */
	if (look_fenced(box, id))
		return STRANGER_MS;
	end->straggler_ms =
	    end->straggler_ms < STRAGGLER_MAX_MS / 2 ? 2 * end->straggler_ms + 1 : STRAGGLER_MAX_MS;
	return end->straggler_ms;
}

static void tell_pending(struct apmp_box *box, uint32_t id, int left)
{
	struct apmp_partition *partition = &box->partitions[id];

	partition->kill.told = true;
	apmp_log_line(&box->log, "partition \"%s\": %d processes do not end by SIGKILL",
		      partition->name, left);
	tell(box, id, APMP_BOX_PENDING, left);
}

static void look(struct apmp_box *box, uint32_t id)
{
	struct apmp_kill *end = &box->partitions[id].kill;
	int left;

	(void)look_fenced(box, id); /* first: survivors wait for it */
	left = round_of(box, id);
	/* It can't be listed: what is fenced already is looked at again, nobody could ask anew. */
	if (left == 0 || (left < 0 && !end->fenced)) {
		done(box, id, left, apmp_cpuset_error(box->cpuset));
		return;
	}
	if (end->fenced && !end->takes_turns && box->partitions[id].pid &&
	    uv_now(&box->loop) - end->since_ms >= STRANGER_MS) {
		end->takes_turns = true; /* who waited for the fence has acted on it */
		apmp_exiting_takes_turns(box->partitions[id].pid);
	}
	end->wait_ms = next_wait_ms(box, id);
	if (end->lethal && !end->told && uv_now(&box->loop) - end->since_ms >= PENDING_MS)
		tell_pending(box, id, left < 0 ? 0 : left);
}

static void on_timer(uv_timer_t *timer)
{
	apmp__children_reap(timer->data);
}

/* The timer is for what neither a beacon nor a reaping tells. */
static void set_timer(struct apmp_box *box)
{
	unsigned wait_ms = 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct apmp_kill *end = &box->partitions[id].kill;

		if (end->active && end->lethal && (!wait_ms || end->wait_ms < wait_ms))
			wait_ms = end->wait_ms;
	}
	if (wait_ms)
		uv_timer_start(&box->kill_timer, on_timer, wait_ms, 0);
	else
		uv_timer_stop(&box->kill_timer);
}

void apmp__kills_look(struct apmp_box *box)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (box->partitions[id].kill.active)
			look(box, id);
	set_timer(box);
}

static void begin(struct apmp_box *box, uint32_t id, bool lethal)
{
	struct apmp_kill *end = &box->partitions[id].kill;

	if (lethal && !end->lethal)
		end->since_ms = uv_now(&box->loop);
	end->lethal |= lethal;
	end->active = true;
	look(box, id);
	set_timer(box);
}

int apmp__box_kill(struct apmp_box *box, struct apmp_call *call)
{
	uint32_t id = (uint32_t)call->request->id;
	struct apmp_kill *end = &box->partitions[id].kill;

	if (end->asked_count == APMP__KILL_ASKED)
		return apmp__call_fail(call, -EBUSY, "%u requests wait for this already",
				       APMP__KILL_ASKED);
	end->asked[end->asked_count++] = call->asked;
	begin(box, id, call->request->arg[0] == 0);
	return APMP__BOX_LATER;
}

void apmp__kill_partition(struct apmp_box *box, uint32_t id)
{
	begin(box, id, true);
}

void apmp__kills_forget_asked(struct apmp_box *box)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		box->partitions[id].kill.asked_count = 0;
		box->partitions[id].kill.told = box->partitions[id].kill.fenced = false;
	}
}
