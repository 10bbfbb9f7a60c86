/* Host CPUs of partitions by sched_setaffinity(): for an ordinary user without a group.
 *
 * WHAT     A list of the processes that entered each group, and of all descendants of them that
 *          were ever seen: the list grows at each call, so a process whose parents have ended is
 *          still known if some call saw it before.  A change is applied to every thread of them,
 *          again until a pass finds nothing to change (new threads and children inherit the mask
 *          of whoever makes them, so few passes are needed).
 * KILLING  Who forks and ends faster than /proc can be read is in no list.  But it is in a process
 *          group, and the kernel kills a group as a whole, no fork gets between.  So a member that
 *          led a process group stays in the list after its end, for as long as there is anybody
 *          in the group, and groups are killed before processes are listed.
 * MASKS    What a thread chose for itself stays, if it lies within the new set.  In the group of
 *          the instance also the whole old set counts as chosen: an instance pins its threads
 *          itself.  Otherwise the thread gets the new set.
 * CRASHES  The lists die with the box; its leftovers are found by their mark (leftover.h).
 * LIMITS   A process that left its parents and its process group between two calls is not found.  A
 *          process may change its own mask; nothing prevents it.
 */
#include "apmpd/cpuset_ops.h"

#include "apmpd/process_list.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* New threads inherit masks, so a second pass finds little and a third nothing. */
#define PASSES 16

struct apmp__cpuset_member {
	uint64_t starttime;
	pid_t pid;
	enum apmp_cpuset_group group;
	bool leads; /* a process group */
};

static int affinity_open(struct apmp_cpuset *set)
{
	if (sched_getaffinity(0, sizeof(set->base_cpus), &set->base_cpus) < 0)
		return -errno;
	return 0;
}

static void affinity_close(struct apmp_cpuset *set)
{
	(void)set;
}

static int affinity_create(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	(void)set;
	(void)p;
	return 0;
}

static void affinity_forget(struct apmp__cpuset_partition *p)
{
	free(p->members);
	p->members = NULL;
	p->member_count = 0;
}

static int add_member(struct apmp__cpuset_partition *p, const struct apmp_process *process,
		      enum apmp_cpuset_group group)
{
	struct apmp__cpuset_member *grown;

	for (size_t i = 0; i < p->member_count; i++)
		if (p->members[i].pid == process->pid &&
		    p->members[i].starttime == process->starttime) {
			p->members[i].group = group;
			p->members[i].leads = process->process_group == process->pid;
			return 0;
		}
	grown = reallocarray(p->members, p->member_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->members = grown;
	p->members[p->member_count++] = (struct apmp__cpuset_member){
	    process->starttime, process->pid, group, process->process_group == process->pid};
	return 0;
}

/* Chooses everybody in a process group whose leader has ended.  Returns whether it still exists
 * (who is in it may be too quick to be listed). */
static bool choose_orphans(struct apmp_process_list *list, pid_t process_group)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->processes[i].process_group == process_group ||
		    list->processes[i].session == process_group)
			list->processes[i].chosen = true;
	return kill(-process_group, 0) == 0;
}

/* Chooses in the list the members of a group and all descendants, which become members.  Forgets
 * those that are gone (a zombie is not), unless they led a process group that is still there. */
static int choose_members(struct apmp__cpuset_partition *p, enum apmp_cpuset_group group,
			  struct apmp_process_list *list)
{
	size_t kept = 0;
	int error = 0;

	for (size_t i = 0; i < list->count; i++)
		list->processes[i].chosen = false;
	for (size_t i = 0; i < p->member_count; i++) {
		struct apmp__cpuset_member *member = &p->members[i];
		struct apmp_process *there = apmp_process_list_find(list, member->pid);
		bool keep = member->group != group;

		if (!keep && there)
			keep = there->chosen = there->starttime == member->starttime;
		else if (!keep)
			keep = member->leads && choose_orphans(list, member->pid);
		if (keep)
			p->members[kept++] = *member;
	}
	p->member_count = kept;
	apmp_process_list_close_over(list);
	for (size_t i = 0; !error && i < list->count; i++)
		if (list->processes[i].chosen)
			error = add_member(p, &list->processes[i], group);
	return error;
}

/* Whether the thread's own choice may stay.  old: the set until now, or NULL: the process enters
 * and has chosen nothing yet, its masks are inherited. */
static bool stays(const cpu_set_t *mask, const cpu_set_t *old, const cpu_set_t *cpus,
		  enum apmp_cpuset_group group)
{
	cpu_set_t within;

	if (!old)
		return false;
	CPU_AND(&within, mask, cpus);
	if (!CPU_EQUAL(&within, mask))
		return false;
	return group == APMP_CPUSET_INSTANCE || !CPU_EQUAL(mask, old);
}

/* Returns how many threads of the process were changed; -errno.  Ended ones don't count. */
static int apply_to_process(pid_t pid, const cpu_set_t *old, const cpu_set_t *cpus,
			    enum apmp_cpuset_group group)
{
	struct dirent *entry;
	char path[32];
	int changed = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (changed >= 0 && (entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		cpu_set_t mask;

		if (tid <= 0 || sched_getaffinity(tid, sizeof(mask), &mask) < 0)
			continue;
		if (CPU_EQUAL(&mask, cpus) || stays(&mask, old, cpus, group))
			continue;
		if (sched_setaffinity(tid, sizeof(*cpus), cpus) == 0)
			changed++;
		else if (errno != ESRCH)
			changed = -errno;
	}
	closedir(dir);
	return changed;
}

/* Returns how many threads of the group were changed. */
static int apply_to_group(struct apmp__cpuset_partition *p, enum apmp_cpuset_group group,
			  const cpu_set_t *old, const cpu_set_t *cpus,
			  struct apmp_process_list *list)
{
	int changed = 0, error = choose_members(p, group, list);

	for (size_t i = 0; !error && i < list->count; i++) {
		int n;

		if (!list->processes[i].chosen)
			continue;
		n = apply_to_process(list->processes[i].pid, old, cpus, group);
		if (n < 0)
			error = n;
		else
			changed += n;
	}
	return error ? error : changed;
}

static int apply(struct apmp__cpuset_partition *p, const cpu_set_t *old, const cpu_set_t *cpus)
{
	for (int pass = 0; pass < PASSES; pass++) {
		struct apmp_process_list list;
		int instance, programs = 0, error = apmp_process_list_init(&list);

		if (error)
			return error;
		instance = apply_to_group(p, APMP_CPUSET_INSTANCE, old, cpus, &list);
		if (instance >= 0)
			programs = apply_to_group(p, APMP_CPUSET_PROGRAMS, old, cpus, &list);
		apmp_process_list_fini(&list);
		if (instance < 0 || programs < 0)
			return instance < 0 ? instance : programs;
		if (instance + programs == 0)
			return 0;
	}
	return 0;
}

static int affinity_set(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
			const cpu_set_t *host_cpus)
{
	int undo, error = apply(p, &p->host_cpus, host_cpus);

	if (!error)
		return 0;
	undo = apply(p, host_cpus, &p->host_cpus);
	return apmp__cpuset_fail(set, error,
				 "cannot change the host CPUs of partition \"%s\": %s%s", p->name,
				 strerror(-error), undo ? " (and cannot undo it)" : "");
}

static int affinity_get(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
			cpu_set_t *ret_cpus)
{
	(void)set;
	*ret_cpus = p->host_cpus;
	return 0;
}

static int affinity_enter(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
			  enum apmp_cpuset_group group, pid_t pid)
{
	struct apmp_process process;
	int n, error = apmp_process_get(pid, &process);

	(void)set;
	if (!error && apmp_process_ended(&process))
		error = -ESRCH;
	if (!error)
		error = add_member(p, &process, group);
	for (int pass = 0; !error && pass < PASSES; pass++) {
		n = apply_to_process(pid, NULL, &p->host_cpus, group);
		if (n <= 0)
			return n;
	}
	return error;
}

/* A list of all processes, those of both groups chosen. */
static int list_partition(struct apmp__cpuset_partition *p, struct apmp_process_list *ret)
{
	struct apmp_process_list list;
	int error = apmp_process_list_init(&list);

	if (error)
		return error;
	for (int group = APMP_CPUSET_INSTANCE; !error && group <= APMP_CPUSET_PROGRAMS; group++)
		error = choose_members(p, group, &list);
	if (error) {
		apmp_process_list_fini(&list);
		return error;
	}
	for (size_t i = 0; i < p->member_count; i++) {
		struct apmp_process *there = apmp_process_list_find(&list, p->members[i].pid);

		if (there && there->starttime == p->members[i].starttime)
			there->chosen = true;
	}
	*ret = list;
	return 0;
}

static int affinity_pids(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
			 pid_t **ret_pids)
{
	struct apmp_process_list list;
	int count = 0, error = list_partition(p, &list);
	pid_t *pids;

	(void)set;
	if (error)
		return error;
	pids = calloc(apmp_process_list_chosen(&list) + 1, sizeof(*pids));
	for (size_t i = 0; pids && i < list.count; i++)
		if (list.processes[i].chosen && !apmp_process_ended(&list.processes[i]))
			pids[count++] = list.processes[i].pid;
	apmp_process_list_fini(&list);
	if (!pids)
		return -ENOMEM;
	*ret_pids = pids;
	return count;
}

static void affinity_kill(struct apmp__cpuset_partition *p)
{
	struct apmp_process_list list;

	if (list_partition(p, &list) < 0)
		return; /* listing them once more, as follows, says the error */
	/* Every member is there, or was when the list was made, or led a group that is: none of
	 * their numbers has been given to somebody else. */
	for (size_t i = 0; i < p->member_count; i++)
		if (p->members[i].leads && p->members[i].pid != getpgrp())
			kill(-p->members[i].pid, SIGKILL);
	apmp_process_list_kill(&list, 0);
	apmp_process_list_fini(&list);
}

static int affinity_remove(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	pid_t *pids = NULL;
	int count = affinity_pids(set, p, &pids);

	free(pids);
	if (count > 0)
		return apmp__cpuset_fail(set, -EBUSY, "there are %d processes in partition \"%s\"",
					 count, p->name);
	return count;
}

static int affinity_machine_remove(struct apmp_cpuset *set)
{
	(void)set;
	return 0;
}

const struct apmp__cpuset_ops apmp__cpuset_affinity = {
    .kind = APMP_CPUSET_AFFINITY,
    .open = affinity_open,
    .close = affinity_close,
    .create = affinity_create,
    .set = affinity_set,
    .get = affinity_get,
    .enter = affinity_enter,
    .pids = affinity_pids,
    .kill = affinity_kill,
    .remove = affinity_remove,
    .forget = affinity_forget,
    .machine_remove = affinity_machine_remove,
};
