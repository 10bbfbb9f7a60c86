/* Whether processes run user code any more.
 *
 * WHAT     A task with PF_EXITING has entered do_exit() and returns to user mode no more, nor does
 *          it make threads or processes.  A little later it lets go of its address space; until
 *          then the kernel may still store for it (its robust list, its clear_child_tid), so both
 *          are asked for.  Only then the address space is torn down, which takes as long as it is
 *          large, by whoever let go last.
 *          So "no user code any more" is known a teardown earlier than "reaped".
 * ORDERING What runs can make more of its kind, what exits can't: so all that is listed exiting,
 *          and the same list once more afterwards, means that there is nothing else.  A listing of
 *          /proc/PID/task stops short when the thread that it stands at is released; that thread is
 *          missing in the next one, which therefore differs.
 * LIMITS   Reading stat of a task that is about to let go of its address space can make the reader
 *          the last who holds it: then the teardown is done here.
 *          Requests that the kernel carries out without any task (a disk that stores into memory)
 *          are not seen; an instance makes none.
 */
#include "apmpd/exiting.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FLAG_EXITING 0x4u /* PF_EXITING, the same since Linux 1.0; shown in field 9 of stat */
#define TASKS_MAX    4096u
#define NICE_LAST    19
#define LISTINGS_MAX 8u /* a process that changes more often than this runs */

struct stat_line {
	unsigned flags;
	unsigned long long vsize;
};

/* "PID (NAME) STATE PPID ..."; flags is field 9, vsize 23. */
static bool parse(const char *text, struct stat_line *ret)
{
	const char *close = strrchr(text, ')');

	return close && sscanf(close + 1,
			       " %*c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			       "%*d %*d %*d %*u %llu",
			       &ret->flags, &ret->vsize) == 2;
}

/* 0; -ESRCH: there is no such task; -EIO: it can't be looked at. */
static int read_task(pid_t pid, pid_t tid, struct stat_line *ret)
{
	char path[64], text[1024];
	int fd, error = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? -ESRCH : -EIO;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		error = errno == ESRCH ? -ESRCH : -EIO; /* released meanwhile */
	close(fd);
	if (error)
		return error;
	text[n] = '\0';
	return parse(text, ret) ? 0 : -EIO;
}

bool apmp_exiting_begun(pid_t pid, pid_t tid)
{
	struct stat_line line;
	int error = read_task(pid, tid, &line);

	return error ? error == -ESRCH : (line.flags & FLAG_EXITING) != 0;
}

bool apmp_exiting_task(pid_t pid, pid_t tid)
{
	struct stat_line line;
	int error = read_task(pid, tid, &line);

	return error ? error == -ESRCH : line.flags & FLAG_EXITING && line.vsize == 0;
}

struct tasks {
	unsigned count;
	pid_t tid[TASKS_MAX];
};

/* 0; -ENOENT: there is no such process; -E2BIG; -errno. */
static int list_tasks(pid_t pid, struct tasks *ret)
{
	char path[32];
	struct dirent *entry;
	DIR *dir;
	int error = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	ret->count = 0;
	errno = 0;
	while (!error && (entry = readdir(dir))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		if (ret->count == TASKS_MAX)
			error = -E2BIG;
		else
			ret->tid[ret->count++] = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	if (!error && errno)
		error = -errno;
	closedir(dir);
	return error;
}

static bool all_exiting(pid_t pid, const struct tasks *tasks)
{
	for (unsigned i = 0; i < tasks->count; i++)
		if (!apmp_exiting_task(pid, tasks->tid[i]))
			return false;
	return true;
}

int apmp_exiting_process(pid_t pid)
{
	static struct tasks tasks[2]; /* the box asks from one thread; too large for a stack */
	int error = list_tasks(pid, &tasks[0]);

	for (unsigned i = 0; !error && i < LISTINGS_MAX; i++) {
		const struct tasks *seen = &tasks[i % 2];
		struct tasks *again = &tasks[(i + 1) % 2];

		if (!all_exiting(pid, seen))
			return 0;
		error = list_tasks(pid, again);
		if (!error && seen->count == again->count &&
		    memcmp(seen->tid, again->tid, seen->count * sizeof(seen->tid[0])) == 0)
			return 1;
	}
	return error == -ENOENT || error == -ESRCH ? -ESRCH : 0;
}

/* All at once, by the group that the box has made it: of a thread's own number nobody knows whose
 * it is by now. */
static void set_all(pid_t pid, int nice)
{
	apmp_exiting_first_gives_way(pid);
	(void)setpriority(PRIO_PGRP, (id_t)pid, nice);
}

/* Not SCHED_IDLE: a host CPU with one of that class counts as free, and whoever is woken is sent
 * just there, to wait for the teardown (`make bench K=removed` shows it, removed-256M). */
void apmp_exiting_first_gives_way(pid_t pid)
{
	static const struct sched_param none = {0};

	(void)sched_setscheduler(pid, SCHED_OTHER, &none);
	(void)setpriority(PRIO_PROCESS, (id_t)pid, NICE_LAST);
}

void apmp_exiting_gives_way(pid_t pid)
{
	set_all(pid, NICE_LAST);
}

void apmp_exiting_takes_turns(pid_t pid)
{
	set_all(pid, 0);
}
