/* Whether a partition is fenced, although its processes are not reaped yet.
 *
 * WHAT     Everything that is listed for the partition (its groups, the box's own children, its uid
 *          where there are no groups) is exiting by the kernel's own word (exiting.h), and a second
 *          list holds nothing new.
 * ORDERING A process that forks is not exiting before its child is in the list: so what the first
 *          list lacked, the second one has.
 * LIMITS   FENCED_MAX processes of one partition; with more it is fenced when they are reaped.
 */
#include "apmpd/box_internal.h"

#include "apmpd/exiting.h"
#include "apmpd/process_list.h"

#include <stdlib.h>

#define FENCED_MAX 4096u

struct pids {
	size_t count;
	pid_t pid[FENCED_MAX];
	bool gone[FENCED_MAX]; /* not to be seen any more */
};

static bool add(struct pids *list, pid_t pid)
{
	if (list->count == FENCED_MAX)
		return false;
	list->gone[list->count] = false;
	list->pid[list->count++] = pid;
	return true;
}

static bool add_children(struct pids *list, const struct apmp_box *box, uint32_t id)
{
	struct apmp_child *child, *next;

	HASH_ITER(hh, box->children, child, next)
	if (child->role != APMP_CHILD_CONSOLE && child->partition == id && !add(list, child->pid))
		return false;
	return true;
}

static bool add_group(struct pids *list, struct apmp_box *box, uint32_t id)
{
	const struct apmp_partition *partition = &box->partitions[id];
	size_t room = FENCED_MAX - list->count;
	int count;

	if (!partition->name[0])
		return true;
	count =
	    apmp_cpuset_partition_pids(box->cpuset, partition->name, list->pid + list->count, room);
	if (count < 0 || (size_t)count > room)
		return false;
	for (int i = 0; i < count; i++)
		list->gone[list->count++] = false;
	return true;
}

static bool add_uid(struct pids *list, const struct apmp_box *box, uint32_t id)
{
	struct apmp_process_list all;
	bool room = true;

	if (!box->uids.first || apmp_cpuset_kind(box->cpuset) != APMP_CPUSET_AFFINITY)
		return true;
	if (apmp_process_list_init(&all) < 0)
		return false;
	(void)apmp_process_list_choose_uids(&all, apmp__partition_uid(box, id), 1);
	for (size_t i = 0; room && i < all.count; i++)
		if (all.processes[i].chosen)
			room = add(list, all.processes[i].pid);
	apmp_process_list_fini(&all);
	return room;
}

/* All of them; false: they can't be listed. */
static bool list_all(struct pids *list, struct apmp_box *box, uint32_t id)
{
	list->count = 0;
	return add_group(list, box, id) && add_children(list, box, id) && add_uid(list, box, id);
}

/* Listed again: it was looked at, and was there to be seen. */
static bool was_seen(const struct pids *list, pid_t pid)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->pid[i] == pid)
			return !list->gone[i];
	return false;
}

bool apmp__partition_fenced(struct apmp_box *box, uint32_t id)
{
	static struct pids list, again; /* too large for a stack; the loop is one thread */

	if (!list_all(&list, box, id))
		return false;
	for (size_t i = 0; i < list.count; i++) {
		int exiting = apmp_exiting_process(list.pid[i]);

		if (!exiting)
			return false;
		list.gone[i] = exiting < 0;
	}
	if (!list_all(&again, box, id))
		return false;
	for (size_t i = 0; i < again.count; i++)
		if (!was_seen(&list, again.pid[i]))
			return false;
	return true;
}
