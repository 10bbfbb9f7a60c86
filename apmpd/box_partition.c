/* Requests about a partition's instance and its host CPUs.
 *
 * STATES   of a partition here: nothing -> has groups (CPUSET, SPAWN) -> has an instance (SPAWN)
 *          -> has groups (reaped) -> nothing (REMOVE).  What it is besides that, only the console
 *          knows.
 * UIDS     Where the box runs as root an instance has the uid of its partition (partition_uid.h),
 *          and its port belongs to it, as a terminal does to who has logged in.
 */
#include "apmpd/box_internal.h"

#include "shm/wire/urgent.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the box's environment an instance gets what these begin with, and nothing of the person's. */
static const char *const instance_keeps[] = {"PATH=",	      "LANG=",
					     "LC_",	      "TZ=",
					     "APMP_", /* our own switches */
					     "ASAN_OPTIONS=", "LSAN_OPTIONS=",
					     "TSAN_OPTIONS=", "UBSAN_OPTIONS=",
					     "GCOV_PREFIX",   NULL};

static void cpus_of(const struct apmp_box_request *request, cpu_set_t *ret_cpus)
{
	const unsigned count = sizeof(request->cpus) / sizeof(request->cpus[0]) * 64u;

	CPU_ZERO(ret_cpus);
	for (unsigned cpu = 0; cpu < count && cpu < CPU_SETSIZE; cpu++)
		if (request->cpus[cpu / 64] >> cpu % 64 & 1)
			CPU_SET(cpu, ret_cpus);
}

/* Gives the partition these host CPUs, and groups if it has none yet; its programs this much. */
static int set_cpus(struct apmp_box *box, struct apmp_call *call, uint64_t capacity)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];
	const char *name = call->request->text;
	cpu_set_t cpus;
	int error;

	if (partition->name[0] && strcmp(partition->name, name) != 0)
		return apmp__call_fail(call, -EEXIST, "partition %" PRIu64 " is \"%s\", not \"%s\"",
				       call->request->id, partition->name, name);
	cpus_of(call->request, &cpus);
	error = partition->name[0] ? 0 : apmp_cpuset_partition_create(box->cpuset, name, &cpus);
	if (error)
		return apmp__call_fail(call, error, "%s", apmp_cpuset_error(box->cpuset));
	/* It is a name that the back end has taken: it fits. */
	snprintf(partition->name, sizeof(partition->name), "%.*s", APMP_NAME_SIZE - 1, name);
	error = apmp_cpuset_partition_set(box->cpuset, name, &cpus, (unsigned)capacity);
	return error ? apmp__call_fail(call, error, "%s", apmp_cpuset_error(box->cpuset)) : 0;
}

int apmp__box_urgent(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_partition *partition = &box->partitions[call->request->id];
	int error = -ESRCH;

	/* Not reaped, so the number is its own.  One that is being killed is to give way. */
	if (partition->pid && !partition->ending && !partition->kill.active)
		error = apmp_urgent_fifo(partition->pid, APMP_INSTANCE_FIFO_PRIORITY);
	return error ? apmp__call_fail(call, error, "no SCHED_FIFO for partition %" PRIu64 ": %s",
				       call->request->id, strerror(-error))
		     : 0;
}

int apmp__box_cpuset(struct apmp_box *box, struct apmp_call *call)
{
	return set_cpus(box, call, call->request->arg[0]);
}

int apmp__box_remove(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];
	int error;

	if (!partition->name[0])
		return 0;
	error = apmp_cpuset_partition_remove(box->cpuset, partition->name);
	if (error)
		return apmp__call_fail(call, error, "%s", apmp_cpuset_error(box->cpuset));
	apmp__beacons_forget(box, (uint32_t)call->request->id);
	partition->name[0] = '\0';
	return 0;
}

uid_t apmp__partition_uid(const struct apmp_box *box, uint32_t id)
{
	return box->uids.first ? box->uids.first + id : geteuid();
}

/* The descriptors of an instance: its port three times, its channel, its HWRPB, and the socket for
 * its programs. */
#define INSTANCE_FDS 6

static int instance_fds(struct apmp_box *box, struct apmp_call *call, int ret_fds[INSTANCE_FDS])
{
	static const uint32_t kinds[] = {APMP_BOX_PORT, APMP_BOX_CHANNEL, APMP_BOX_HWRPB};
	const uid_t uid = apmp__partition_uid(box, (uint32_t)call->request->id);
	const struct apmp_object *objects[3];

	for (unsigned i = 0; i < 3; i++) {
		objects[i] = apmp_objects_find(&box->objects, kinds[i], call->request->id);
		if (!objects[i])
			return apmp__call_fail(call, -ENOENT, "partition \"%s\" has no %s",
					       call->request->text,
					       apmp_object_kind_name(kinds[i]));
	}
	/* Refused: it can't open its port by name, and has it all the same. */
	if (box->uids.first)
		(void)!fchown(objects[0]->fds[1], uid, uid);
	ret_fds[0] = ret_fds[1] = ret_fds[2] = objects[0]->fds[1];
	ret_fds[APMP_INSTANCE_CHANNEL_FD] = objects[1]->fds[1];
	ret_fds[APMP_INSTANCE_HWRPB_FD] = objects[2]->fds[0];
	return 0;
}

static int start_instance(struct apmp_box *box, struct apmp_call *call, const int fds[INSTANCE_FDS])
{
	static char name[] = "apmp-instance";
	struct apmp_partition *partition = &box->partitions[call->request->id];
	char variable[sizeof("APMP_PARTITION=") + APMP_NAME_SIZE], program[PATH_MAX];
	char title[sizeof("partition \"\"") + APMP_NAME_SIZE], **env;
	char *const set[] = {box->mark, box->machine_variable, variable, partition->app_variable,
			     NULL};
	char *const argv[] = {name, NULL};
	struct apmp_child_order order = {.role = APMP_CHILD_INSTANCE,
					 .partition = (uint32_t)call->request->id,
					 .number = call->request->arg[0],
					 .name = title,
					 .asked = call->asked};
	int error = apmp_spawn_find(name, program, sizeof(program));

	if (error)
		return apmp__call_fail(call, error, "cannot start %.160s: %s", program,
				       strerror(-error));
	snprintf(title, sizeof(title), "partition \"%s\"", partition->name);
	snprintf(variable, sizeof(variable), "APMP_PARTITION=%s", partition->name);
	env = apmp_spawn_env(environ, instance_keeps, set);
	if (!env)
		return apmp__call_fail(call, -ENOBUFS, "no memory to start %s", title);
	order.spawn = (struct apmp_spawn){.program = program,
					  .argv = argv,
					  .env = env,
					  .fds = fds,
					  .fd_count = INSTANCE_FDS,
					  .terminal = true,
					  .reach = true,
					  .urgent = true,
					  .urgent_threads = true};
	if (box->uids.first)
		order.spawn.uid = apmp__partition_uid(box, order.partition);
	apmp__beacons_begin(box, order.partition);
	error = apmp__child_start(box, &order, call->answer.text, &partition->pid);
	free(env);
	if (!error)
		apmp__beacons_watch(box, order.partition);
	return error;
}

int apmp__box_spawn(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];
	struct apmp_app_socket apps;
	int fds[INSTANCE_FDS], error;

	if (partition->pid)
		return apmp__call_fail(call, -EEXIST, "partition \"%s\" has process %d",
				       call->request->text, partition->pid);
	if (partition->kill.active)
		return apmp__call_fail(call, -EBUSY, "partition \"%s\" is being ended",
				       call->request->text);
	error = instance_fds(box, call, fds);
	if (!error)
		error = set_cpus(box, call, call->request->arg[1]);
	if (error)
		return error;
	error = apmp_app_socket_make(box->machine->name.text, partition->name, &apps);
	if (error)
		return apmp__call_fail(
		    call, error, "cannot make the socket for programs of partition \"%s\": %s",
		    partition->name, strerror(-error));
	memcpy(partition->app_variable, apps.variable, sizeof(apps.variable));
	fds[APMP_INSTANCE_APPS_FD] = apps.fd;
	error = start_instance(box, call, fds);
	close(apps.fd); /* the instance's alone: it ends with it */
	if (error)
		return error;
	partition->incarnation = call->request->arg[0];
	partition->ending = false;
	apmp_log_line(&box->log, "partition \"%s\" started (process %d, incarnation %" PRIu64 ")",
		      partition->name, partition->pid, partition->incarnation);
	return APMP__BOX_LATER;
}

void apmp__instance_ended(struct apmp_box *box, const struct apmp_child *child, int status)
{
	struct apmp_partition *partition = &box->partitions[child->partition];
	char how[64];

	partition->pid = 0;
	if (child->error)
		return; /* it never was one: SPAWN was refused */
	apmp_log_line(&box->log, "%s (process %d, incarnation %" PRIu64 ") ended: %s", child->name,
		      child->pid, child->number, apmp__exit_text(status, how));
	partition->has_exited = true;
	partition->last = (struct apmp_exit){.number = child->number, .status = status};
	apmp__console_tell_exit(box, child->partition, &partition->last);
}

int apmp__box_signal(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];

	if (!partition->pid)
		return apmp__call_fail(call, -ESRCH, "partition %" PRIu64 " has no instance",
				       call->request->id);
	if (kill(partition->pid, (int)call->request->arg[0]) < 0)
		return apmp__call_fail(call, -errno, "cannot signal process %d: %s", partition->pid,
				       strerror(errno));
	return 0;
}
