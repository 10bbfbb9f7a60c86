/* dump_files.c - the dumps of a machine, by their names. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/name.h"
#include "shm/wire/state_path.h"

#define SUFFIX ".core"

void dump_file_name(const char *partition, uint64_t number, char ret_name[DUMP_NAME_SIZE])
{
	snprintf(ret_name, DUMP_NAME_SIZE, "%s-%" PRIu64 SUFFIX, partition, number);
}

/* The name says whose it is; false: it is none that we would give. */
static bool parse(const char *name, struct dump_file *ret)
{
	const char *dash = strrchr(name, '-');
	char again[DUMP_NAME_SIZE];

	if (!dash || (size_t)(dash - name) >= sizeof(ret->partition))
		return false;
	snprintf(ret->partition, sizeof(ret->partition), "%.*s", (int)(dash - name), name);
	ret->number = strtoull(dash + 1, NULL, 10);
	dump_file_name(ret->partition, ret->number, again);
	snprintf(ret->name, sizeof(ret->name), "%s", again);
	return ret->number > 0 && ret->number <= DUMP_NUMBER_MAX &&
	       apmp_name_valid(ret->partition) && strcmp(again, name) == 0;
}

/* Newest first. */
static int by_number(const void *a, const void *b)
{
	const struct dump_file *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? 1 : -1;
	return strcmp(y->name, x->name); /* not by us: somebody has put one there */
}

static int list(DIR *dir, struct dump_file *files)
{
	struct dirent *entry;
	struct stat st;
	int count = 0;

	while (count < (int)DUMP_FILES_MAX && (entry = readdir(dir))) {
		struct dump_file *file = &files[count];

		if (!parse(entry->d_name, file) ||
		    fstatat(dirfd(dir), file->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		file->bytes = (uint64_t)st.st_blocks * 512;
		count++;
	}
	qsort(files, (size_t)count, sizeof(*files), by_number);
	return count;
}

int dump_files(int folder_fd, struct dump_file **ret_files)
{
	struct dump_file *files = calloc(DUMP_FILES_MAX, sizeof(*files));
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!files || !dir) {
		count = files ? -errno : -ENOMEM;
		free(files);
		if (dir)
			closedir(dir);
		else if (fd >= 0)
			close(fd);
		return count;
	}
	count = list(dir, files);
	closedir(dir);
	*ret_files = files;
	return count;
}
