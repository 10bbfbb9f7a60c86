/*
 * Finding machines.
 *
 * WHAT      A machine is a directory with `control` (the socket of its console) and `pid` ("PID
 *           STARTTIME" of its box); with `bare` as long as no console was wanted. The box holds a
 *           write lock of its open file on `pid` for its whole life, so the lock says whether the
 *           machine is on, and a stale file fools nobody. The lock is only asked for, never taken:
 *           nobody can mistake us for a box.
 * LIMITS    CLI_MACHINES_MAX machines of one user.
 */
#include "cli/find_machine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/table.h"

char *cli_machines_directory(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && *runtime == '/')
		return cli_text("%s/apmp", runtime);
	return cli_text("/tmp/apmp-%u", geteuid());
}

static char *machine_path(const char *name, const char *file)
{
	char *directory = cli_machines_directory();
	char *path = cli_text("%s/%s/%s", directory, name, file);

	free(directory);
	return path;
}

/* What apmpd takes as a name: it becomes a part of paths. */
static bool name_is_good(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= CLI_NAME_MAX || !isalnum((unsigned char)*name))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

/* Whether there is such a directory with a pid file; then *ret_machine says all about it. */
static bool machine_probe(const char *name, struct machine *ret_machine)
{
	struct machine machine = {0};
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char *path = machine_path(name, "pid");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[64] = "";

	free(path);
	if (fd < 0)
		return false;
	path = machine_path(name, "bare");
	machine.bare = access(path, F_OK) == 0;
	free(path);
	snprintf(machine.name, sizeof(machine.name), "%s", name);
	machine.on = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		(void)sscanf(text, "%d %llu", &machine.box, &machine.box_start);
	close(fd);
	*ret_machine = machine;
	return true;
}

static int by_name(const void *left, const void *right)
{
	return strcmp(((const struct machine *)left)->name, ((const struct machine *)right)->name);
}

int cli_machines(struct machine **ret_machines)
{
	struct machine *machines = calloc(CLI_MACHINES_MAX, sizeof(*machines));
	char *path = cli_machines_directory();
	DIR *directory = opendir(path);
	struct dirent *entry;
	int count = 0;

	if (!machines)
		cli_out_of_memory();
	while (directory && count < CLI_MACHINES_MAX && (entry = readdir(directory)))
		if (name_is_good(entry->d_name) && machine_probe(entry->d_name, &machines[count]))
			count++;
	if (directory)
		closedir(directory);
	free(path);
	qsort(machines, (size_t)count, sizeof(*machines), by_name);
	*ret_machines = machines;
	return count;
}

/* ---- the one that is meant ---- */

/* Under /tmp anybody could have made our directory first, with a console of his own. */
static int check_directory(const struct cli *cli)
{
	char *path = cli_machines_directory();
	struct stat stat;
	int code = CLI_DONE;

	if (lstat(path, &stat) == 0 &&
	    (!S_ISDIR(stat.st_mode) || (stat.st_uid != geteuid() && stat.st_uid != 0) ||
	     (stat.st_mode & (S_IWGRP | S_IWOTH))))
		code = cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.UnsafeDirectory",
				  json_pack("{s:s}", "directory", path));
	free(path);
	return code;
}

static int choose_named(const struct cli *cli, const char *name, struct machine *ret_machine)
{
	struct machine machine;

	if (!name_is_good(name))
		return cli_refuse(cli, CLI_USAGE, "org.apmp.cli.BadName",
				  json_pack("{s:s}", "machine", name));
	if (!machine_probe(name, &machine))
		return cli_refuse(cli, CLI_NO_MACHINE, "org.apmp.cli.NoSuchMachine",
				  json_pack("{s:s}", "machine", name));
	if (!machine.on)
		return cli_refuse(cli, CLI_NO_MACHINE, "org.apmp.cli.DeadMachine",
				  json_pack("{s:s}", "machine", name));
	*ret_machine = machine;
	return CLI_DONE;
}

static int choose_only(const struct cli *cli, struct machine *ret_machine)
{
	struct machine *machines;
	json_t *names = json_array();
	int count = cli_machines(&machines);
	char *text;

	for (int i = 0; i < count; i++) {
		if (!machines[i].on)
			continue;
		*ret_machine = machines[i];
		json_array_append_new(names, json_string(machines[i].name));
	}
	free(machines);
	count = (int)json_array_size(names);
	text = cli_names_text(names);
	json_decref(names);
	if (count == 0)
		count = cli_refuse(cli, CLI_NO_MACHINE, "org.apmp.cli.NoMachine", NULL);
	else if (count > 1)
		count = cli_refuse(cli, CLI_USAGE, "org.apmp.cli.SeveralMachines",
				   json_pack("{s:i, s:s}", "count", count, "machines", text));
	else
		count = CLI_DONE;
	free(text);
	return count;
}

const char *cli_wanted_name(const struct cli *cli)
{
	const char *name = cli->name ? cli->name : getenv("APMP_MACHINE");

	return name && *name ? name : NULL;
}

int cli_choose(struct cli *cli, struct machine *ret_machine)
{
	const char *name = cli_wanted_name(cli);
	int code = check_directory(cli);

	if (code != CLI_DONE)
		return code;
	return name ? choose_named(cli, name, ret_machine) : choose_only(cli, ret_machine);
}

/* ---- its box and its console ---- */

static unsigned long long process_start(pid_t pid)
{
	unsigned long long start = 0;
	char path[64], text[1024] = "";
	const char *field;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fread(text, 1, sizeof(text) - 1, file) == 0)
		text[0] = 0;
	fclose(file);
	/* Field 2 is the name, in parentheses, with anything in it; behind it stands field 3. */
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	if (field)
		start = strtoull(field + 1, NULL, 10);
	return start;
}

int cli_box_open(const struct machine *machine)
{
	int fd;

	if (machine->box <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, machine->box, 0);
	if (fd < 0)
		return -errno;
	/* Looked at after the pidfd holds on to it: the number can't be reused in between. */
	if (process_start(machine->box) != machine->box_start) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

int cli_machine_connect(const struct machine *machine, struct varlink_client **ret_client)
{
	char *path = machine_path(machine->name, "control");
	int r = varlink_client_connect(path, ret_client);

	free(path);
	return r;
}

int cli_no_answer(const struct cli *cli, const struct machine *machine, int error)
{
	bool ended = error == -EPIPE || error == -ECONNRESET;

	return cli_refuse(
	    cli, CLI_REFUSED, "org.apmp.cli.NoAnswer",
	    json_pack("{s:s, s:s}", "machine", machine->name, "reason",
		      ended ? "it ended in the middle of this command and is restarted; "
			      "`apmp status` shows whether it was done"
			    : strerror(-error)));
}

int cli_connect(struct cli *cli, struct machine *ret_machine, struct varlink_client **ret_client)
{
	int r = cli_choose(cli, ret_machine);

	if (r != CLI_DONE)
		return r;
	r = cli_machine_connect(ret_machine, ret_client);
	return r < 0 ? cli_no_answer(cli, ret_machine, r) : CLI_DONE;
}

int cli_ask(const struct machine *machine, const char *method, unsigned seconds,
	    struct varlink_reply *reply)
{
	const struct timeval limit = {.tv_sec = seconds};
	struct varlink_client *client;
	int r = cli_machine_connect(machine, &client);

	if (r < 0)
		return r;
	if (setsockopt(varlink_client_fd(client), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
	    0)
		r = -errno;
	else
		r = varlink_client_call(client, method, NULL, reply);
	varlink_client_close(client);
	return r == -EAGAIN ? -ETIMEDOUT : r;
}

int cli_exchange(struct cli *cli, const char *method, json_t *parameters, struct machine *machine,
		 struct varlink_reply *ret_reply)
{
	struct varlink_client *client;
	int r = cli_connect(cli, machine, &client);

	if (r != CLI_DONE) {
		json_decref(parameters);
		return r;
	}
	r = cli_machine_call(machine, client, method, parameters, -1, ret_reply);
	varlink_client_close(client);
	return r < 0 ? r : CLI_DONE;
}

int cli_call_asked(struct cli *cli, const char *method, json_t *parameters, const char *asked,
		   json_t **ret_answer)
{
	struct varlink_reply reply = {0};
	struct machine machine;
	int r = cli_exchange(cli, method, parameters, &machine, &reply);

	if (r < 0)
		return cli_no_answer(cli, &machine, r);
	if (r != CLI_DONE)
		return r;
	if (reply.error)
		r = cli_refuse_asked(cli, CLI_REFUSED, reply.error, json_incref(reply.parameters),
				     asked);
	else
		*ret_answer = json_incref(reply.parameters);
	varlink_reply_fini(&reply);
	return r;
}

int cli_call(struct cli *cli, const char *method, json_t *parameters, json_t **ret_answer)
{
	return cli_call_asked(cli, method, parameters, NULL, ret_answer);
}

int cli_stream(struct cli *cli, const char *method, json_t *parameters, bool endless,
	       bool (*take)(void *ctx, const struct varlink_reply *reply), void *ctx)
{
	struct varlink_client *client;
	struct machine machine;
	bool more = true;
	int r = cli_connect(cli, &machine, &client);

	if (r != CLI_DONE) {
		json_decref(parameters);
		return r;
	}
	r = varlink_client_send(client, method, parameters, VARLINK_MORE, NULL, 0);
	if (r == 0)
		(void)cli_await(&machine, client, -1);
	while (r == 0 && more) {
		struct varlink_reply reply = {0};

		r = varlink_client_receive(client, &reply);
		if (r == -EINTR)
			r = 0;
		else if (r == 0 && reply.error)
			r = cli_refuse(cli, CLI_REFUSED, reply.error,
				       json_incref(reply.parameters));
		else if (r == 0)
			more = take(ctx, &reply) && reply.continues;
		varlink_reply_fini(&reply);
	}
	varlink_client_close(client);
	if (r == -EPIPE && endless)
		return CLI_DONE;
	return r < 0 ? cli_no_answer(cli, &machine, r) : r;
}
