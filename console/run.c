/*
 * run.c - programs in a partition: the box starts them in the partition's group of programs.
 *
 * A program lives and dies with the instance: the fence kills both.  Its standard streams are the
 * caller's own descriptors; what one without a caller prints goes to its partition's console port.
 *
 * STATES    asked (the box has been told) -> started, or refused -> ended.  The console waits for
 *           neither: a program on a file system that hangs keeps nobody but its caller waiting.
 * LIMITS    A program whose caller was cut off by the death of a console goes on, with its
 *           partition; nobody learns its exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/shared.h"

struct program {
	struct program *next;
	struct console *console;
	uint64_t number;
	struct partition *partition;
	uint64_t identity;	   /* the life that it belongs to */
	bool stays;		   /* its caller waits for its end, and it ends with its caller */
	struct varlink_call *call; /* NULL: has been answered, or the caller is gone */
};

static struct program *programs;
static uint32_t last_number; /* of this console's life */

/* Programs of an earlier console may still run: its life is part of the number. */
static uint64_t next_number(const struct console *c)
{
	return apmp_load_relaxed(&c->state->restarts) << 32 | ++last_number;
}

/* Strings as the box wants them, each with its NUL. */
static void put_strings(FILE *out, const json_t *strings)
{
	const json_t *s;
	size_t i;

	json_array_foreach(strings, i, s)
	    fwrite(json_string_value(s), 1, json_string_length(s) + 1, out);
}

/* A memfd with argv, environment and directory; -errno. */
static int describe(const json_t *parameters)
{
	const char *cwd = json_string_value(json_object_get(parameters, "cwd"));
	int fd = memfd_create("apmp-run", MFD_CLOEXEC), copy;
	FILE *out;

	if (fd < 0)
		return -errno;
	copy = dup(fd);
	out = copy < 0 ? NULL : fdopen(copy, "w");
	if (!out) {
		close(fd);
		return -ENOMEM;
	}
	put_strings(out, json_object_get(parameters, "argv"));
	put_strings(out, json_object_get(parameters, "env"));
	fputc('\0', out);
	fwrite(cwd, 1, strlen(cwd) + 1, out);
	if (fclose(out)) {
		close(fd);
		return -ENOSPC;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void caller_gone(void *ctx)
{
	struct program *prog = ctx;
	struct apmp_box_request request = {.op = APMP_BOX_OP_RUN_KILL,
					   .arg = {prog->number, SIGKILL}};

	prog->call = NULL;
	if (prog->stays)
		box_link_post(&prog->console->box, &request, NULL, NULL);
}

/* Takes it out of the list; the caller frees it. */
static struct program *take(uint64_t number)
{
	struct program **at = &programs, *prog;

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	prog = *at;
	if (prog)
		*at = prog->next;
	return prog;
}

static void refuse(struct varlink_call *call, const char *name, const struct apmp_box_event *event)
{
	if ((event->error == -EAGAIN || event->error == -ENOMEM) && event->arg[0])
		varlink_call_error(call, "NotEnough",
				   json_pack("{s:s,s:s,s:I,s:I}", "partition", name, "what",
					     event->text, "wanted", (json_int_t)event->arg[0],
					     "had", (json_int_t)event->arg[1]));
	else
		varlink_call_error(
		    call, "Host",
		    json_pack("{s:s,s:s,s:i,s:s}", "partition", name, "what", "exec", "errno",
			      -event->error, "reason",
			      event->text[0] ? event->text : strerror(-event->error)));
}

/* The box has started it, or says why not. */
static void on_started(void *ctx, const struct apmp_box_event *event)
{
	struct program *prog = ctx;
	struct varlink_call *call = prog->call;
	json_t *pid;

	if (event->error) {
		(void)take(prog->number);
		if (call)
			refuse(call, prog->partition->name, event);
		free(prog);
		return;
	}
	if (!call)
		return;
	pid = json_pack("{s:I}", "pid", (json_int_t)event->arg[0]);
	if (prog->stays) {
		/* A caller that is gone already is noticed by its hangup. */
		(void)!varlink_call_continue(call, pid);
		return;
	}
	prog->call = NULL;
	varlink_call_reply(call, pid);
}

/* The standard streams, to be closed afterwards: the caller's, or for a program that nobody waits
 * for, nothing to read and its partition's console port.  Returns 3, or 0: /dev/null thrice.
 * -errno: the box's word is in ret_event. */
static int streams(struct program *prog, bool detach, int ret_fds[3],
		   struct apmp_box_event *ret_event)
{
	int count = varlink_call_take_fds(prog->call, ret_fds, 3), err;

	if (count == 3 || !detach)
		return count;
	while (count > 0)
		close(ret_fds[--count]);
	err = output_need(prog->partition, &ret_fds[1], ret_event);
	if (err)
		return err;
	ret_fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret_fds[2] = fcntl(ret_fds[1], F_DUPFD_CLOEXEC, 0);
	for (int i = 0; i < 3; i++)
		if (ret_fds[i] < 0)
			err = -EMFILE;
	for (int i = 0; err && i < 3; i++)
		if (ret_fds[i] >= 0)
			close(ret_fds[i]);
	return err ? err : 3;
}

/* Asks the box for it.  -errno: it could not be described, or has no streams. */
static int ask(struct program *prog, const json_t *parameters, struct apmp_box_event *ret_event)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_RUN,
	    .id = prog->partition->id,
	    .kind =
		json_is_true(json_object_get(parameters, "confined")) ? APMP_BOX_RUN_CONFINED : 0,
	    .arg = {prog->number, json_array_size(json_object_get(parameters, "argv"))}};
	int fds[4], count;

	fds[0] = describe(parameters);
	if (fds[0] < 0)
		return fds[0];
	count =
	    streams(prog, json_is_true(json_object_get(parameters, "detach")), fds + 1, ret_event);
	if (count < 0) {
		close(fds[0]);
		return count;
	}
	snprintf(request.text, sizeof(request.text), "%s", prog->partition->name);
	box_link_post_fds(&prog->console->box, &request, fds, count == 3 ? 4 : 1, on_started, prog);
	for (int i = 0; i <= count; i++)
		close(fds[i]);
	return 0;
}

static void begin(struct partition *p, struct varlink_call *call, const json_t *parameters)
{
	struct program *prog = calloc(1, sizeof(*prog));
	struct apmp_box_event event = {.error = -ENOMEM};

	if (!prog) {
		refuse(call, p->name, &event);
		return;
	}
	*prog = (struct program){.next = programs,
				 .console = p->console,
				 .number = next_number(p->console),
				 .partition = p,
				 .identity = console_identity(p),
				 .stays = varlink_call_more(call) &&
					  !json_is_true(json_object_get(parameters, "detach")),
				 .call = call};
	event.error = ask(prog, parameters, &event);
	if (event.error) {
		refuse(call, p->name, &event);
		free(prog);
		return;
	}
	programs = prog;
	varlink_call_on_hangup(call, caller_gone, prog);
}

void console_run(struct console *c, struct varlink_call *call, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "partition"));
	struct partition *p = console_partition(c, name);

	if (!p)
		varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
	else if (!p->pid || p->fencing)
		varlink_call_error(
		    call, "NotRunning",
		    json_pack("{s:s,s:s}", "partition", p->name, "state", console_state_text(p)));
	else if (json_array_size(json_object_get(parameters, "argv")) == 0)
		varlink_call_invalid(call, "argv");
	else if (box_link_crowded(&c->box))
		varlink_call_error(
		    call, "Refused",
		    json_pack(
			"{s:s}", "reason",
			"so many programs are being started that no more can be asked for; try "
			"again when some of them run"));
	else
		begin(p, call, parameters);
}

void console_program_ended(struct console *c, uint64_t number, int status)
{
	struct program *prog = take(number);
	json_t *how;

	(void)c;
	if (!prog)
		return;
	how = WIFSIGNALED(status) ? json_pack("{s:i}", "signal", WTERMSIG(status))
				  : json_pack("{s:i}", "exit_code", WEXITSTATUS(status));
	if (prog->partition->fencing || console_identity(prog->partition) != prog->identity)
		json_object_set_new(how, "reason", json_string("its partition ended"));
	if (prog->call)
		varlink_call_reply(prog->call, how);
	else
		json_decref(how);
	free(prog);
}
