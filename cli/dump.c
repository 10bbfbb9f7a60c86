/*
 * `apmp dump`: the dumps of a machine, also of one that is off.
 *
 * WHAT      They are files of the state directory; a running machine is asked why there is none,
 *           and whether one is just being written, which is waited for.  A copy is made as the
 *           original was: with holes, its sums checked.
 * LIMITS    A console that is new does not know of what is being written for the one before; that
 *           is not waited for, and taken for one of before the power on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/analyze.h"
#include "cli/find_machine.h"
#include "cli/several.h"
#include "cli/table.h"
#include "shm/name.h"
#include "shm/wire/state_path.h"

enum { ASK_SECONDS = 5, SAY_MS = 1000 };

struct dumps {
	struct machine machine;
	char path[PATH_MAX]; /* of the folder */
	int folder_fd;	     /* -1: there is none */
	int count;
	struct dump_file *files; /* newest first */
};

/* The machine that is meant: one that was named may be off. */
static int choose(struct cli *cli, struct machine *ret_machine)
{
	const char *name = cli_wanted_name(cli);

	*ret_machine = (struct machine){0};
	if (!name || !apmp_name_valid(name))
		return cli_choose(cli, ret_machine);
	snprintf(ret_machine->name, sizeof(ret_machine->name), "%s", name);
	return CLI_DONE;
}

static int open_dumps(struct cli *cli, struct dumps *ret)
{
	char base[PATH_MAX - 2 * CLI_NAME_MAX];
	int err;

	ret->folder_fd = -1;
	err = apmp_state_base(base, sizeof(base));
	if (err)
		return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoDump",
				  json_pack("{s:s,s:s}", "path", "$" STATE_PATH_VARIABLE, "reason",
					    strerror(-err)));
	snprintf(ret->path, sizeof(ret->path), "%s/%s", base, ret->machine.name);
	/* It has never kept anything; where it does not run either, there is no such machine. */
	if (access(ret->path, F_OK) < 0) {
		int r = cli_choose(cli, &ret->machine);

		if (r != CLI_DONE)
			return r;
	}
	snprintf(ret->path, sizeof(ret->path), "%s/%s/" DUMP_FOLDER, base, ret->machine.name);
	ret->folder_fd = open(ret->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret->count = ret->folder_fd < 0 ? 0 : dump_files(ret->folder_fd, &ret->files);
	if (ret->count < 0)
		return cli_refuse(
		    cli, CLI_REFUSED, "org.apmp.cli.NoDump",
		    json_pack("{s:s,s:s}", "path", ret->path, "reason", strerror(-ret->count)));
	return CLI_DONE;
}

static void close_dumps(struct dumps *dumps)
{
	if (dumps->folder_fd >= 0)
		close(dumps->folder_fd);
	free(dumps->files);
}

/* However long it takes: who does not want to wait interrupts us.  What the answer says is looked
 * at later, with what is there. */
static void await_dump(const struct machine *machine, const char *partition)
{
	struct varlink_client *client;

	if (cli_machine_connect(machine, &client) < 0)
		return;
	if (varlink_client_send(client, "PartitionDump", json_pack("{s:s*}", "name", partition), 0,
				NULL, 0) == 0 &&
	    !cli_await(machine, client, cli_now_ms() + SAY_MS)) {
		fprintf(stderr, "apmp: waits until the dump of %s is written\n",
			partition ? partition : "each partition that has failed");
		(void)cli_await(machine, client, -1);
	}
	varlink_client_close(client);
}

/* NULL: it is off, or does not answer. */
static json_t *ask_status(const struct machine *machine)
{
	struct varlink_reply reply;
	json_t *status;

	if (cli_ask(machine, "Status", ASK_SECONDS, &reply) < 0)
		return NULL;
	status = json_incref(json_object_get(reply.parameters, "status"));
	varlink_reply_fini(&reply);
	return status;
}

/* NULL: there is no such partition. */
static const json_t *status_of(const json_t *status, const char *partition)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(status, "partitions"), i, one)
	{
		if (strcmp(cli_string(one, "name"), partition) == 0)
			return one;
	}
	return NULL;
}

/* Why there is none, as far as a machine that runs can tell. */
static const char *why_none(const json_t *status)
{
	if (!status)
		return "the machine is off, and none was kept";
	if (json_is_null(json_object_get(status, "dump")))
		return "dumps are off (`dump: no` in the machine file)";
	return "no instance of it has failed, or its dump was not written, or has made "
	       "room for newer ones (`apmp events` says)";
}

/* Whether the newest dump of a partition is of before the power on. */
static bool is_earlier(const json_t *status, const char *partition)
{
	const json_t *instance = json_object_get(status_of(status, partition), "instance");

	return instance && !json_object_get(instance, "dumped");
}

/* What a file holds: its own words, and how it is kept. */
static json_t *file_json(const struct dumps *dumps, const struct dump_file *file)
{
	int fd = openat(dumps->folder_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int err = fd < 0 ? -errno : 0;
	struct core *core = calloc(1, sizeof(*core));
	char *path = cli_text("%s/%s", dumps->path, file->name), *ended, *when;
	const char *why = NULL;
	json_t *json;

	if (!core)
		cli_out_of_memory();
	if (fd >= 0)
		err = core_open(fd, core, &why);
	if (err || core->cut)
		ended = cli_text("damaged: %s", !err ? "it was cut" : why ? why : strerror(-err));
	else
		ended = core_end_text(core->text);
	when = err ? cli_text("-") : core_time_text(core->text);
	json =
	    json_pack("{s:s,s:s,s:O?,s:s,s:s,s:s,s:I}", "machine", dumps->machine.name, "partition",
		      file->partition, "incarnation", json_object_get(core->text, "incarnation"),
		      "path", path, "when", when, "ended", ended, "bytes", (json_int_t)file->bytes);
	if (fd >= 0 && !err)
		core_close(core);
	else if (fd >= 0)
		close(fd);
	free(core);
	free(path);
	free(ended);
	free(when);
	return json;
}

static void print_files(const struct cli *cli, const json_t *files)
{
	struct table *table = table_create("PARTITION >INCARNATION WHEN ENDED >SIZE PATH");
	const json_t *file;
	size_t i;

	json_array_foreach(files, i, file)
	{
		table_string(table, NULL, cli_string(file, "partition"));
		table_cell(table, NULL, cli_number_text(file, "incarnation"));
		table_string(table, NULL, cli_string(file, "when"));
		table_string(table, NULL, cli_string(file, "ended"));
		table_cell(table, NULL, cli_bytes_text(file, "bytes"));
		table_string(table, NULL, cli_string(file, "path"));
	}
	table_print(table, cli);
}

static int list(struct cli *cli, const struct dumps *dumps, const char *partition)
{
	json_t *files = json_array();

	for (int i = 0; i < dumps->count; i++)
		if (!partition || strcmp(dumps->files[i].partition, partition) == 0)
			json_array_append_new(files, file_json(dumps, &dumps->files[i]));
	if (cli->json) {
		cli_print_json(files);
	} else if (json_array_size(files)) {
		print_files(cli, files);
	} else {
		json_t *status = ask_status(&dumps->machine);

		printf("there is no dump in %s: %s\n", dumps->path, why_none(status));
		json_decref(status);
	}
	json_decref(files);
	return CLI_DONE;
}

/* ---- a copy ---- */

static int copy_pages(const struct core *core, int to)
{
	unsigned char page[APMP_PAGE_SIZE];

	for (uint64_t at = 0; at < core->file_size; at += sizeof(page)) {
		ssize_t n = pread(core->fd, page, sizeof(page), (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if (((size_t)n < sizeof(page) || !core_page_zero(page)) &&
		    pwrite(to, page, (size_t)n, (off_t)at) != n)
			return errno ? -errno : -EIO;
	}
	return ftruncate(to, (off_t)core->file_size) < 0 || fsync(to) < 0 ? -errno : 0;
}

/* Empties what is written over.  -EEXIST: that would be the dump itself. */
static int empty(const struct core *core, int to)
{
	struct stat from, st;

	if (fstat(core->fd, &from) < 0 || fstat(to, &st) < 0)
		return -errno;
	if (from.st_dev == st.st_dev && from.st_ino == st.st_ino)
		return -EEXIST;
	return ftruncate(to, 0) < 0 ? -errno : 0;
}

/* To where there may be nothing, or a file that is written over. */
static int copy_to(struct cli *cli, const struct core *core, const char *path)
{
	int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	int err = to < 0 ? -errno : empty(core, to);

	if (!err)
		err = copy_pages(core, to);

	if (to >= 0)
		close(to);
	return err ? cli_refuse(
			 cli, CLI_REFUSED, "org.apmp.cli.NoCopy",
			 json_pack("{s:s,s:s}", "file", path, "reason",
				   err == -EEXIST ? "that is the dump itself" : strerror(-err)))
		   : CLI_DONE;
}

static int copy(struct cli *cli, const json_t *file, const char *path)
{
	struct post_mortem *pm;
	int r = post_mortem_open(cli, cli_string(file, "path"), false, &pm);

	if (r != CLI_DONE)
		return r;
	r = copy_to(cli, &pm->core, path);
	post_mortem_close(pm);
	return r;
}

static int refuse_none(struct cli *cli, const struct dumps *dumps, const char *partition,
		       const json_t *status)
{
	if (status && !status_of(status, partition))
		return cli_refuse(cli, CLI_REFUSED, VARLINK_MACHINE ".NoSuchPartition",
				  json_pack("{s:s}", "partition", partition));
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoDump",
			  json_pack("{s:s,s:s,s:s}", "partition", partition, "path", dumps->path,
				    "reason", why_none(status)));
}

static void print_file(const json_t *file)
{
	const char *copy = json_string_value(json_object_get(file, "copy"));
	char *incarnation = cli_number_text(file, "incarnation");
	char *size = cli_bytes_text(file, "bytes");

	printf("%s\npartition %s, incarnation %s, %s at %s; %s on the disk\n",
	       copy ? copy : cli_string(file, "path"), cli_string(file, "partition"), incarnation,
	       cli_string(file, "ended"), cli_string(file, "when"), size);
	if (json_is_true(json_object_get(file, "earlier")))
		printf("it is of before the machine was powered on; since then the partition has "
		       "left none\n");
	free(incarnation);
	free(size);
}

static int show(struct cli *cli, const struct dumps *dumps, const char *partition,
		const char *copied_to)
{
	json_t *status = ask_status(&dumps->machine), *file = NULL;
	int r = CLI_DONE, i = 0;

	while (i < dumps->count && strcmp(dumps->files[i].partition, partition) != 0)
		i++;
	if (i < dumps->count)
		file = file_json(dumps, &dumps->files[i]);
	else
		r = refuse_none(cli, dumps, partition, status);
	if (file && copied_to) {
		json_object_set_new(file, "copy", json_string(copied_to));
		r = copy(cli, file, copied_to);
	}
	if (r == CLI_DONE) {
		json_object_set_new(file, "earlier", json_boolean(is_earlier(status, partition)));
		if (cli->json)
			cli_print_json(file);
		else
			print_file(file);
	}
	json_decref(status);
	json_decref(file);
	return r;
}

int cli_dump(struct cli *cli, const struct cli_args *args)
{
	const char *partition = args->count > 0 ? args->args[0] : NULL;
	struct dumps dumps = {0};
	int r;

	if (cli_option(args, "list") && args->count > 1)
		return cli_usage(args, "--list wants no FILE");
	dumps.folder_fd = -1;
	r = choose(cli, &dumps.machine);
	if (r == CLI_DONE)
		await_dump(&dumps.machine, partition);
	if (r == CLI_DONE)
		r = open_dumps(cli, &dumps);
	if (r == CLI_DONE && (!partition || cli_option(args, "list")))
		r = list(cli, &dumps, partition);
	else if (r == CLI_DONE)
		r = show(cli, &dumps, partition, args->count > 1 ? args->args[1] : NULL);
	close_dumps(&dumps);
	return r;
}
