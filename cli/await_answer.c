/*
 * Waiting for a console, and saying why it takes long.
 *
 * WHAT      A call is answered in microseconds, unless the console hangs, is held by a debugger, or
 *           ended and is held back. The box knows which, and leaves a note in the run directory
 *           that is gone when the console answers. A note that is there, or comes while we wait, is
 *           shown on standard error, each once.
 *           What an instance has to do takes as long as that stands still: which partition it may
 *           be, and how to end that, is said after a while.
 * LIMITS    Where inotify has no more watches for this user, only a note that is there already.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cli/find_machine.h"
#include "cli/several.h"
#include "cli/table.h"

#define NOTE "console.note" /* apmpd/box_console.c */

/* An instance that runs does what it is told within milliseconds, also on a busy host. */
enum { PATIENCE_MS = 2000 };

static char *rundir_of(const struct machine *machine)
{
	char *base = cli_machines_directory();
	char *path = cli_text("%s/%s", base, machine->name);

	free(base);
	return path;
}

/* Shows the note of this run directory, unless it is the one in `shown`. */
static void show_note(const char *rundir, char *shown, size_t size)
{
	char *path = cli_text("%s/" NOTE, rundir), text[512];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	free(path);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	if (n <= 0 || strncmp(text, shown, size) == 0)
		return;
	fprintf(stderr, "apmp: waiting: %s\n", text);
	snprintf(shown, size, "%s", text);
}

/* What may keep a call from being answered, and how that ends; NULL: nothing that is known.  The
 * caller frees it. */
static char *delay_text(const char *method, const json_t *parameters)
{
	static const char *const orders[] = {"CpuMigrate", "CpuStart", "CpuStop", "CpuDeassign"};
	const char *name = json_string_value(json_object_get(parameters, "name"));
	json_int_t cpu = json_integer_value(json_object_get(parameters, "cpu"));

	if (name && (strcmp(method, "PartitionHalt") == 0 || strcmp(method, "PartitionCrash") == 0))
		return cli_text("partition \"%s\" has not ended yet; one that is stopped, or held "
				"by a debugger, does as it was told when it goes on; `apmp "
				"partition reset %s` takes it from its instance",
				name, name);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(method, orders[i]) == 0)
			return cli_text(
			    "CPU %lld: it is not done yet; a partition that is stopped, "
			    "or held by a debugger, does its part when it goes on; ^C "
			    "takes back what it has not begun",
			    (long long)cpu);
	return NULL;
}

/* What poll() is told: -1 for ever. */
static int left_ms(long long until_ms)
{
	long long left = until_ms - cli_now_ms();

	return until_ms < 0 ? -1 : left < 0 ? 0 : left < INT_MAX ? (int)left : INT_MAX;
}

/* As cli_await, and says `delay` when it takes long; NULL: nothing. */
static bool await(const struct machine *machine, const struct varlink_client *client,
		  long long until_ms, const char *delay)
{
	long long delayed_ms = cli_now_ms() + PATIENCE_MS;
	struct pollfd fds[] = {{.fd = varlink_client_fd(client), .events = POLLIN},
			       {.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .events = POLLIN}};
	char *rundir = rundir_of(machine), shown[512] = "", events[4096];
	bool early;
	int ready;

	if (fds[1].fd >= 0 && inotify_add_watch(fds[1].fd, rundir, IN_MOVED_TO) < 0) {
		close(fds[1].fd);
		fds[1].fd = -1;
	}
	/* The watch stands: what is not there now is told by it. */
	do {
		show_note(rundir, shown, sizeof(shown));
		while (fds[1].fd >= 0 && read(fds[1].fd, events, sizeof(events)) > 0)
			;
		if (delay && cli_now_ms() >= delayed_ms) {
			fprintf(stderr, "apmp: waiting: %s\n", delay);
			delay = NULL;
		}
		early = delay && (until_ms < 0 || delayed_ms < until_ms);
		ready = poll(fds, 2, left_ms(early ? delayed_ms : until_ms));
	} while ((ready == 0 && early) || (ready > 0 && !fds[0].revents) ||
		 (ready < 0 && errno == EINTR));
	if (fds[1].fd >= 0)
		close(fds[1].fd);
	free(rundir);
	return ready != 0;
}

bool cli_await(const struct machine *machine, const struct varlink_client *client,
	       long long until_ms)
{
	return await(machine, client, until_ms, NULL);
}

int cli_machine_call(const struct machine *machine, struct varlink_client *client,
		     const char *method, json_t *parameters, long long until_ms,
		     struct varlink_reply *ret_reply)
{
	char *delay = delay_text(method, parameters);
	int r = varlink_client_send(client, method, parameters, 0, NULL, 0);

	if (r == 0 && !await(machine, client, until_ms, delay))
		r = -ETIMEDOUT;
	free(delay);
	if (r < 0)
		return r;
	do
		r = varlink_client_receive(client, ret_reply);
	while (r == -EINTR);
	return r;
}
