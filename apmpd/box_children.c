/* The processes of the box: started, known until they are reaped, reaped at once.
 *
 * WHAT     The box is the subreaper of all that it started: a process whose parent has ended is
 *          the box's to reap.  So it waits for "any child" and looks up what that was.
 * STATES   starting (held back, entered into its group, let go, exec) -> running -> reaped
 *          starting -> refused (exec failed; told as an error of the request, when it is reaped)
 * ORDERING "It was started" is told before "it has ended", also when both are there at once.
 * LIMITS   Until it is reaped a pid means this very process: signals go to children of the table
 *          only.
 */
#include "apmpd/box_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_status_closed(uv_handle_t *handle)
{
	free(handle);
}

/* The handle before its descriptor: libuv takes the number out of its epoll set once more when it
 * closes the handle, and by then the number may be another's. */
static void status_close(struct apmp_child *child)
{
	uv_close((uv_handle_t *)child->status_poll, on_status_closed);
	child->status_poll = NULL;
	close(child->status_fd);
}

static void started(struct apmp_child *child)
{
	struct apmp_box_event answer = {.op = APMP_BOX_DONE, .id = child->partition};

	answer.arg[0] = (uint64_t)child->pid;
	answer.arg[1] = child->uid;
	apmp__box_done(child->box, child->asked, &answer, NULL, 0);
}

static void refused(struct apmp_child *child)
{
	static const char *const objects[] = {
	    [APMP_SPAWN_DONE] = "it",
	    [APMP_SPAWN_GROUP] = "its control group",
	    [APMP_SPAWN_FDS_STEP] = "its descriptors",
	    [APMP_SPAWN_UID] = "its uid",
	    [APMP_SPAWN_CWD] = "its directory",
	    [APMP_SPAWN_EXEC] = "the program",
	};
	struct apmp_box_event answer = {.op = APMP_BOX_DONE, .error = child->error};

	answer.id = child->partition;
	snprintf(answer.text, sizeof(answer.text), "cannot start %s: %s: %s", child->name,
		 objects[child->step], strerror(-child->error));
	apmp_log_line(&child->box->log, "%s", answer.text);
	apmp__box_done(child->box, child->asked, &answer, NULL, 0);
}

/* Looks whether exec worked; a refusal is kept until the child is reaped. */
static void look_at_status(struct apmp_child *child)
{
	int error = apmp_spawn_status(child->status_fd, &child->step);

	if (error == -EAGAIN)
		return;
	status_close(child);
	child->error = error;
	if (!error)
		started(child);
}

static void on_status(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	look_at_status(poll->data);
}

static void child_add(struct apmp_box *box, const struct apmp_child_order *order,
		      const struct apmp_spawned *spawned, struct apmp_child *child)
{
	child->box = box;
	child->pid = spawned->pid;
	child->role = order->role;
	child->partition = order->partition;
	child->number = order->number;
	child->uid = order->spawn.uid ? order->spawn.uid : geteuid();
	child->asked = order->asked;
	snprintf(child->name, sizeof(child->name), "%s", order->name);
	child->status_fd = spawned->status_fd;
	child->status_poll->data = child;
	HASH_ADD_INT(box->children, pid, child);
	uv_poll_start(child->status_poll, UV_READABLE | UV_DISCONNECT, on_status);
}

/* Forks it, and sees to it that it is in its group when it goes on: it goes there by itself where
 * that is possible, for it is quicker. */
static int start_in_group(struct apmp_box *box, const struct apmp_child_order *order,
			  struct apmp_spawned *ret, char *ret_text)
{
	enum apmp_cpuset_group group =
	    order->role == APMP_CHILD_INSTANCE ? APMP_CPUSET_INSTANCE : APMP_CPUSET_PROGRAMS;
	bool grouped = order->role != APMP_CHILD_CONSOLE;
	const char *partition = grouped ? box->partitions[order->partition].name : "";
	struct apmp_spawn what = order->spawn;
	int error, doors = -ENOTSUP;

	what.door_fds[0] = what.door_fds[1] = -1;
	if (grouped)
		doors = apmp_cpuset_doors(box->cpuset, partition, group, what.door_fds);
	if (doors && doors != -ENOTSUP) {
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "%s", apmp_cpuset_error(box->cpuset));
		return doors;
	}
	error = apmp_spawn_start(&what, ret);
	if (error)
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "cannot start %s: %s", order->name,
			 strerror(-error));
	for (int i = 0; i < APMP_CPUSET_DOORS; i++)
		if (what.door_fds[i] >= 0)
			close(what.door_fds[i]);
	if (grouped && doors && !error &&
	    (error = apmp_cpuset_enter(box->cpuset, partition, group, ret->pid)) != 0) {
		apmp_spawn_abandon(ret);
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "%s", apmp_cpuset_error(box->cpuset));
	}
	return error;
}

int apmp__child_start(struct apmp_box *box, const struct apmp_child_order *order, char *ret_text,
		      pid_t *ret_pid)
{
	struct apmp_child *child = calloc(1, sizeof(*child));
	uv_poll_t *poll = malloc(sizeof(*poll));
	struct apmp_spawned spawned;
	int error = -ENOBUFS;

	snprintf(ret_text, APMP_BOX_TEXT_SIZE, "cannot start %s: no memory", order->name);
	if (child && poll)
		error = start_in_group(box, order, &spawned, ret_text);
	if (!error) {
		error = uv_poll_init(&box->loop, poll, spawned.status_fd);
		if (error) {
			snprintf(ret_text, APMP_BOX_TEXT_SIZE, "cannot watch %s: %s", order->name,
				 uv_strerror(error));
			apmp_spawn_abandon(&spawned);
		}
	}
	if (error) {
		free(poll);
		free(child);
		return error;
	}
	child->status_poll = poll;
	child_add(box, order, &spawned, child);
	apmp_spawn_release(&spawned);
	*ret_pid = spawned.pid;
	return 0;
}

struct apmp_child *apmp__child_of_partition(const struct apmp_box *box, uint32_t partition)
{
	struct apmp_child *child, *next;

	HASH_ITER(hh, box->children, child, next)
	if (child->role != APMP_CHILD_CONSOLE && child->partition == partition)
		return child;
	return NULL;
}

void apmp__children_kill(const struct apmp_box *box, uint32_t partition)
{
	struct apmp_child *child, *next;

	HASH_ITER(hh, box->children, child, next)
	if (child->role != APMP_CHILD_CONSOLE && child->partition == partition)
		kill(child->pid, SIGKILL); /* not yet reaped: it is this very process */
}

static void child_ended(struct apmp_box *box, struct apmp_child *child, int status)
{
	if (child->status_poll)
		look_at_status(child); /* all it could say, it has said */
	HASH_DEL(box->children, child);
	if (child->error)
		refused(child);
	switch (child->role) {
	case APMP_CHILD_CONSOLE:
		apmp__console_ended(box, child, status);
		break;
	case APMP_CHILD_INSTANCE:
		apmp__instance_ended(box, child, status);
		break;
	case APMP_CHILD_PROGRAM:
		apmp__program_ended(box, child, status);
		break;
	}
	if (child->status_poll)
		status_close(child);
	free(child);
}

/* Reaps one.  Once it is reaped its number may be another's: who watches it has to know before.
 * 0: none has ended. */
static pid_t reap(struct apmp_box *box, int *ret_status)
{
	siginfo_t info = {0};
	struct apmp_child *child;

	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
		return 0;
	HASH_FIND_INT(box->children, &info.si_pid, child);
	if (child && child->role == APMP_CHILD_INSTANCE)
		apmp__beacons_end(box, child->partition);
	return waitpid(info.si_pid, ret_status, WNOHANG);
}

void apmp__children_reap(struct apmp_box *box)
{
	int status;
	pid_t pid;

	while ((pid = reap(box, &status)) > 0) {
		struct apmp_child *child;

		HASH_FIND_INT(box->children, &pid, child);
		if (child)
			child_ended(box, child, status);
		else if (pid == box->guard_pid)
			apmp__guard_ended(box);
		/* else an orphan, that nobody asks for */
	}
	apmp__guard_renew(box);
	apmp__kills_look(box);
	apmp__power_step(box);
}
