/* Programs in a partition: `apmp run`.
 *
 * WHAT     What is to run comes as a memfd: as many arguments as the request says, the strings of
 *          the environment, an empty one, the directory.  A program is in a session of its own,
 *          in its partition's group for programs, and ends with the partition.
 * UIDS     A program has the user of the box, or with kind APMP_BOX_RUN_CONFINED the uid of its
 *          partition, which has no name and no home: HOME, USER and LOGNAME say so.
 * LIMITS   The umask and limits of a program are those that the box was started with.
 */
#include "apmpd/box_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's own limit for arguments and environment is of this order. */
#define DESCRIPTION_MAX (4 << 20)

struct description {
	char *text;
	char **strings; /* argv, NULL, env, NULL */
	char **env;
	const char *cwd;
};

static void description_fini(struct description *description)
{
	free(description->text);
	free(description->strings);
}

/* Copies it out: whoever made it may still write it.  A NUL follows. */
static int read_text(int fd, char **ret_text, size_t *ret_size)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return -EINVAL;
	if (st.st_size > DESCRIPTION_MAX)
		return -E2BIG;
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return -ENOBUFS;
	n = pread(fd, text, (size_t)st.st_size, 0);
	if (n <= 0) {
		free(text);
		return n < 0 ? -errno : -EINVAL;
	}
	*ret_text = text;
	*ret_size = (size_t)n;
	return 0;
}

/* Splits the strings: argc arguments, the environment up to an empty one, then the directory. */
static int split(struct description *description, size_t size, uint64_t argc)
{
	char *at = description->text, *end = at + size;
	size_t count = 0;
	bool ended = false;

	/* Each string has at least its NUL. */
	description->strings = calloc(size + 2, sizeof(char *));
	if (!description->strings)
		return -ENOBUFS;
	for (; argc > 0 && at < end; argc--, at += strlen(at) + 1)
		description->strings[count++] = at;
	if (argc > 0 || !count || !*description->strings[0])
		return -EINVAL;
	description->env = &description->strings[++count]; /* a NULL between the two */
	for (; !ended && at < end; at += strlen(at) + 1) {
		ended = !*at;
		description->strings[count++] = ended ? NULL : at;
	}
	if (!ended || at >= end || !*at)
		return -EINVAL;
	description->cwd = at;
	return 0;
}

static int description_init(struct description *ret, int fd, uint64_t argc)
{
	size_t size = 0;
	int error = read_text(fd, &ret->text, &size);

	return error ? error : split(ret, size, argc);
}

static int check(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];
	struct apmp_child *child, *next;

	if (call->fd_count != 1 && call->fd_count != 4)
		return apmp__call_fail(call, -EINVAL, "a program comes with 1 or 4 descriptors");
	if (call->request->kind > APMP_BOX_RUN_CONFINED)
		return apmp__call_fail(call, -EINVAL, "there is no way %u to run a program",
				       call->request->kind);
	if (call->request->kind == APMP_BOX_RUN_CONFINED && !box->uids.first)
		return apmp__call_fail(call, -EPERM,
				       "partition \"%s\" has no uid of its own: %s; run it "
				       "without --confined",
				       call->request->text, box->no_uids);
	if (!partition->pid)
		return apmp__call_fail(call, -ESRCH, "partition \"%s\" has no instance",
				       call->request->text);
	if (partition->kill.active)
		return apmp__call_fail(call, -EBUSY, "partition \"%s\" is being ended",
				       partition->name);
	HASH_ITER(hh, box->children, child, next)
	if (child->role == APMP_CHILD_PROGRAM && child->number == call->request->arg[0])
		return apmp__call_fail(call, -EEXIST, "there is a program %" PRIu64, child->number);
	return 0;
}

static int start(struct apmp_box *box, struct apmp_call *call,
		 const struct description *description)
{
	struct apmp_partition *partition = &box->partitions[call->request->id];
	const uid_t uid = call->request->kind == APMP_BOX_RUN_CONFINED
			      ? apmp__partition_uid(box, (uint32_t)call->request->id)
			      : 0;
	char variable[sizeof("APMP_PARTITION=") + APMP_NAME_SIZE];
	char home[] = "HOME=/", user[32], logname[32];
	char *const set[] = {box->mark,		box->machine_variable,
			     variable,		partition->app_variable,
			     uid ? home : NULL, user,
			     logname,		NULL};
	const struct apmp_object *output;
	char **env;
	int fds[3] = {box->null_fd, box->null_fd, box->null_fd}, error;
	pid_t pid;
	struct apmp_child_order order = {.role = APMP_CHILD_PROGRAM,
					 .partition = (uint32_t)call->request->id,
					 .number = call->request->arg[0],
					 .name = description->strings[0],
					 .asked = call->asked};

	for (unsigned i = 0; i + 1 < call->fd_count; i++)
		fds[i] = call->fds[i + 1];
	/* Refused: it can't open /dev/stdout by that name, and has it all the same. */
	output = apmp_objects_find(&box->objects, APMP_BOX_OUTPUT, call->request->id);
	if (uid && output)
		(void)!fchown(output->fds[1], uid, uid);
	snprintf(variable, sizeof(variable), "APMP_PARTITION=%s", partition->name);
	snprintf(user, sizeof(user), "USER=%u", uid);
	snprintf(logname, sizeof(logname), "LOGNAME=%u", uid);
	env = apmp_spawn_env(description->env, NULL, set);
	if (!env)
		return apmp__call_fail(call, -ENOBUFS, "no memory to start %.100s", order.name);
	order.spawn = (struct apmp_spawn){.program = description->strings[0],
					  .argv = description->strings,
					  .env = env,
					  .cwd = description->cwd,
					  .fds = fds,
					  .fd_count = 3,
					  .expendable = true,
					  .nofile = &box->nofile,
					  .uid = uid};
	error = apmp__child_start(box, &order, call->answer.text, &pid);
	free(env);
	if (error)
		return error;
	apmp__load_watch(box, order.partition);
	return APMP__BOX_LATER;
}

int apmp__box_run_program(struct apmp_box *box, struct apmp_call *call)
{
	struct description description = {0};
	struct apmp_short shortage = {0};
	int result = check(box, call);

	if (result)
		return result;
	result = apmp_enough_for_process(1, &shortage);
	if (result)
		return apmp__call_short(call, result, &shortage);
	result = description_init(&description, call->fds[0], call->request->arg[1]);
	if (result)
		apmp__call_fail(call, result, "what to run can't be read: %s", strerror(-result));
	else
		result = start(box, call, &description);
	description_fini(&description);
	return result;
}

void apmp__program_ended(struct apmp_box *box, const struct apmp_child *child, int status)
{
	struct apmp_exit *exit = &box->exits[box->exit_count % APMP__PROGRAM_EXITS];

	if (child->error)
		return; /* it never was one: RUN was refused */
	*exit = (struct apmp_exit){.number = child->number, .status = status};
	box->exit_count++;
	apmp__console_tell_program_exit(box, exit);
}

int apmp__box_run_kill(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	struct apmp_child *child, *next;

	HASH_ITER(hh, box->children, child, next)
	{
		if (child->role != APMP_CHILD_PROGRAM || child->number != request->arg[0])
			continue;
		/* It leads a process group; one that is not there yet is still before exec. */
		if (kill(-child->pid, (int)request->arg[1]) < 0 &&
		    kill(child->pid, (int)request->arg[1]) < 0)
			return apmp__call_fail(call, -errno, "cannot signal %s: %s", child->name,
					       strerror(errno));
		return 0;
	}
	return apmp__call_fail(call, -ESRCH, "there is no program %" PRIu64, request->arg[0]);
}
