/*
 * run.c - programs in a partition: the box starts them in the partition's group of programs.
 *
 * A program lives and dies with the instance: the fence kills both.  Its standard streams are the
 * caller's own descriptors.
 *
 * LIMITS    The box answers when the program runs, so one on a file system that hangs makes the
 *           console wait.  A program whose caller was cut off by the death of a console goes on,
 * with its partition; nobody learns its exit status.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/assert.h"
#include "shm/shared.h"

struct program {
	struct program *next;
	struct console *console;
	uint64_t number;
	struct partition *partition;
	uint64_t identity;	   /* the life that it belongs to */
	struct varlink_call *call; /* NULL: detached, or the caller is gone */
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
	box_link_post(&prog->console->box, &request, NULL, NULL);
}

/* Starts it through the box; the pid, or -errno with *event filled in. */
static int start(struct partition *p, uint64_t number, const json_t *parameters,
		 struct varlink_call *call, struct apmp_box_event *event)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_RUN,
	    .id = p->id,
	    .kind =
		json_is_true(json_object_get(parameters, "confined")) ? APMP_BOX_RUN_CONFINED : 0,
	    .arg = {number, json_array_size(json_object_get(parameters, "argv"))}};
	int fds[4], count, err;

	fds[0] = describe(parameters);
	if (fds[0] < 0)
		return fds[0];
	count = varlink_call_take_fds(call, fds + 1, 3);
	snprintf(request.text, sizeof(request.text), "%s", p->name);
	err = box_link_call(&p->console->box, &request, fds, count == 3 ? 4 : 1, event, NULL);
	for (int i = 0; i <= count; i++)
		close(fds[i]);
	return err ? err : (int)event->arg[0];
}

static void follow(struct partition *p, uint64_t number, int pid, struct varlink_call *call,
		   bool detach)
{
	struct program *prog = calloc(1, sizeof(*prog));
	bool stays = varlink_call_more(call) && !detach;

	apmp_assert(prog);
	*prog = (struct program){.next = programs,
				 .console = p->console,
				 .number = number,
				 .partition = p,
				 .identity = console_identity(p)};
	programs = prog;
	if (!stays) {
		varlink_call_reply(call, json_pack("{s:i}", "pid", pid));
		return;
	}
	prog->call = call;
	varlink_call_on_hangup(call, caller_gone, prog);
	/* A caller that is gone already is noticed by its hangup. */
	(void)!varlink_call_continue(call, json_pack("{s:i}", "pid", pid));
}

void console_run(struct console *c, struct varlink_call *call, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "partition"));
	struct partition *p = console_partition(c, name);
	struct apmp_box_event event = {.text = ""};
	uint64_t number;
	int pid;

	if (!p) {
		varlink_call_error(call, "NoSuchPartition", json_pack("{s:s}", "partition", name));
		return;
	}
	if (!p->pid || p->fencing) {
		varlink_call_error(call, "NotRunning",
				   json_pack("{s:s,s:s}", "partition", p->name, "state",
					     console_state_name(console_state(p))));
		return;
	}
	if (json_array_size(json_object_get(parameters, "argv")) == 0) {
		varlink_call_invalid(call, "argv");
		return;
	}
	number = next_number(c);
	pid = start(p, number, parameters, call, &event);
	if (pid < 0)
		varlink_call_error(call, "Host",
				   json_pack("{s:s,s:i,s:s}", "what", "exec", "errno", -pid,
					     "reason",
					     event.text[0] ? event.text : strerror(-pid)));
	else
		follow(p, number, pid, call, json_is_true(json_object_get(parameters, "detach")));
}

void console_program_ended(struct console *c, uint64_t number, int status)
{
	struct program **at = &programs, *prog;
	json_t *how;

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	prog = *at;
	if (!prog)
		return;
	*at = prog->next;
	(void)c;
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
