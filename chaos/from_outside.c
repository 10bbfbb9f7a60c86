/* from_outside.c - maps what the box of a running machine keeps. */
#include "chaos/from_outside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/shared.h"

/* Who made the socket that the console serves: the box. */
static pid_t box_of(const struct machine *machine)
{
	struct ucred box = {0};
	socklen_t size = sizeof(box);

	(void)getsockopt(varlink_client_fd(machine->client), SOL_SOCKET, SO_PEERCRED, &box, &size);
	return box.pid;
}

/* The object behind a link of /proc, mapped; NULL: it can't be. */
static const void *map(const char *path, uint64_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *base = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && st.st_size > 0)
		base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	*ret_size = (uint64_t)st.st_size;
	return base == MAP_FAILED ? NULL : base;
}

/* The partition that it is of is found when the tree is there. */
struct found_hwrpbs {
	const struct hwrpb *hwrpb[APMP_MAX_PARTITIONS];
	uint32_t count;
};

static int take(struct outside *o, struct found_hwrpbs *found, const char *path, const char *name)
{
	bool is_tree = strcmp(name, "tree") == 0 && !o->tree.header;
	bool is_lines = strcmp(name, "lines") == 0, is_state = strcmp(name, "state") == 0;
	bool is_hwrpb = strcmp(name, "hwrpb") == 0 && found->count < APMP_MAX_PARTITIONS;
	const void *base;
	uint64_t size = 0;

	if (!is_tree && !is_lines && !is_state && !is_hwrpb)
		return 0;
	base = map(path, &size);
	if (!base)
		return -errno;
	if (is_tree) {
		o->tree_size = size;
		return apmp_tree_init(&o->tree, base, size);
	}
	if (is_lines && size >= APMP_INTR_SIZE)
		o->lines = base;
	else if (is_state && size >= sizeof(struct apmp_console_state))
		o->state = base;
	else if (is_hwrpb && size >= HWRPB_SIZE)
		found->hwrpb[found->count++] = base;
	else
		return -EBADMSG;
	return 0;
}

static int take_all(struct outside *o, struct found_hwrpbs *found, pid_t box)
{
	static const char prefix[] = "/memfd:";
	const struct dirent *entry;
	char path[300], target[64];
	DIR *dir;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)box);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)box, entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0 || strncmp(target, prefix, sizeof(prefix) - 1) != 0)
			continue;
		target[n] = '\0';
		target[strcspn(target, " ")] = '\0'; /* "/memfd:tree (deleted)" */
		err = take(o, found, path, target + sizeof(prefix) - 1);
	}
	closedir(dir);
	return err;
}

static void place(struct outside *o, const struct found_hwrpbs *found)
{
	struct apmp_tree_partition p;

	for (uint32_t i = 0; i < found->count; i++)
		if (apmp_tree_find_self(&o->tree, apmp_load_relaxed(&found->hwrpb[i]->pa), &p) == 0)
			o->hwrpb[p.id] = found->hwrpb[i];
		else
			munmap((void *)(uintptr_t)found->hwrpb[i], HWRPB_SIZE);
}

int outside_open(const struct machine *machine, struct outside *ret)
{
	struct found_hwrpbs found = {.count = 0};
	int err;

	*ret = (struct outside){.lines = NULL};
	err = take_all(ret, &found, box_of(machine));
	if (!err && (!ret->tree.header || !ret->lines || !ret->state))
		err = -ENOENT;
	if (!err)
		place(ret, &found);
	else
		outside_close(ret);
	return err;
}

static void end(const void *base, uint64_t size)
{
	if (base)
		munmap((void *)(uintptr_t)base, size);
}

void outside_close(struct outside *o)
{
	end(o->tree.header, o->tree_size);
	end(o->lines, APMP_INTR_SIZE);
	end(o->state, APMP_CONSOLE_STATE_SIZE);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		end(o->hwrpb[id], HWRPB_SIZE);
	*o = (struct outside){.lines = NULL};
}
