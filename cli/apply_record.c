/* apply_record.c - whom an apply that was cut off would have booted. */
#include "cli/apply_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/table.h"

enum { RECORD_MAX = 8192 }; /* bytes: 64 names of 31, and their numbers */

static int open_record(const struct machine *machine, int flags)
{
	char *directory = cli_machines_directory();
	char *path = cli_text("%s/%s/apply", directory, machine->name);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	int error = errno;

	free(directory);
	free(path);
	return fd < 0 ? -error : fd;
}

json_t *apply_record_read(const struct machine *machine)
{
	int fd = open_record(machine, O_RDONLY);
	char text[RECORD_MAX];
	ssize_t size = fd < 0 ? 0 : pread(fd, text, sizeof(text), 0);
	json_t *record = json_loadb(text, size > 0 ? (size_t)size : 0, 0, NULL);

	if (fd >= 0)
		close(fd);
	if (json_is_object(record))
		return record;
	json_decref(record);
	return json_object();
}

int apply_record_lock(const struct machine *machine)
{
	int fd = open_record(machine, O_RDWR | O_CREAT), error;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

static json_t *incarnation_of(const json_t *partitions, const char *name)
{
	json_t *partition;
	size_t i;

	json_array_foreach(partitions, i, partition)
	{
		if (strcmp(cli_string(partition, "name"), name) == 0)
			return json_incref(json_object_get(partition, "incarnation"));
	}
	return json_null();
}

void apply_record_write(int fd, json_t *record, const json_t *a_plan)
{
	const json_t *step;
	char *text;
	size_t i;

	json_array_foreach(json_object_get(a_plan, "steps"), i, step)
	{
		const char *name = cli_string(json_object_get(step, "parameters"), "name");

		if (strcmp(cli_string(step, "method"), "PartitionBoot") == 0)
			json_object_set_new(
			    record, name,
			    incarnation_of(json_object_get(a_plan, "partitions"), name));
	}
	text = json_dumps(record, JSON_COMPACT);
	if (text && pwrite(fd, text, strlen(text), 0) > 0)
		(void)!ftruncate(fd, (off_t)strlen(text));
	free(text);
}

void apply_record_clear(int fd)
{
	(void)!ftruncate(fd, 0);
}
