/* The processes of the host, as /proc shows them.
 *
 * A process is named by its pid and start time.  To end one, its pidfd is opened first and the
 * start time compared afterwards: the signal then reaches this very process or none, even if the
 * pid is given to another one meanwhile.
 *
 * LIMITS: a pid without a start time (from cgroup.procs) is trusted for the microseconds between
 * listing and pidfd_open().  Without pidfd (before Linux 5.3) signals go out by pid and nothing is
 * waited for.
 */
#include "apmpd/process_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So many ends are waited for at once; who kills more calls again. */
#define WAIT_MAX 256

int64_t apmp_process_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* "PID (NAME) STATE PARENT GROUP SESSION ..."; the name may hold blanks and parentheses. */
static int parse_stat(char *text, struct apmp_process *ret)
{
	char *open = strchr(text, '('), *close = strrchr(text, ')');
	struct apmp_process p = {0};
	unsigned long long starttime;
	long threads;
	int n;

	if (!open || !close || close < open)
		return -EIO;
	*close = '\0';
	p.pid = (pid_t)strtol(text, NULL, 10);
	snprintf(p.name, sizeof(p.name), "%.*s", (int)sizeof(p.name) - 1, open + 1);
	/* Any process may choose it, and it is shown on terminals. */
	for (char *c = p.name; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	n = sscanf(close + 1,
		   " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
		   &p.state, &p.parent, &p.process_group, &p.session, &threads, &starttime);
	if (n != 6)
		return -EIO;
	p.thread_count = (uint32_t)threads;
	p.starttime = starttime;
	*ret = p;
	return 0;
}

int apmp_process_get(pid_t pid, struct apmp_process *ret)
{
	char path[32], text[1024];
	ssize_t n;
	int fd, error;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, sizeof(text) - 1);
	error = n < 0 ? -errno : 0;
	close(fd);
	if (error)
		return error;
	text[n] = '\0';
	return parse_stat(text, ret);
}

bool apmp_process_ended(const struct apmp_process *process)
{
	/* The first thread of a process may end before the others: it is a zombie then, and
	 * the process is not. */
	return process->state == 'X' || (process->state == 'Z' && process->thread_count <= 1);
}

bool apmp_process_alive(pid_t pid, uint64_t starttime)
{
	struct apmp_process p;

	return apmp_process_get(pid, &p) == 0 && p.starttime == starttime &&
	       !apmp_process_ended(&p);
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct apmp_process *)a)->pid, y = ((const struct apmp_process *)b)->pid;

	return (x > y) - (x < y);
}

int apmp_process_list_init(struct apmp_process_list *ret)
{
	struct apmp_process_list list = {0};
	size_t room = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		if (list.count == room) {
			size_t more = room ? 2 * room : 256;
			void *grown = reallocarray(list.processes, more, sizeof(*list.processes));

			if (!grown) {
				closedir(dir);
				free(list.processes);
				return -ENOMEM;
			}
			list.processes = grown;
			room = more;
		}
		/* One that ended since readdir() is simply not there. */
		if (apmp_process_get((pid_t)strtol(entry->d_name, NULL, 10),
				     &list.processes[list.count]) == 0)
			list.count++;
	}
	closedir(dir);
	if (list.count)
		qsort(list.processes, list.count, sizeof(*list.processes), by_pid);
	*ret = list;
	return 0;
}

void apmp_process_list_fini(struct apmp_process_list *list)
{
	free(list->processes);
	*list = (struct apmp_process_list){0};
}

struct apmp_process *apmp_process_list_find(struct apmp_process_list *list, pid_t pid)
{
	struct apmp_process key = {.pid = pid};

	if (!list->count)
		return NULL;
	return bsearch(&key, list->processes, list->count, sizeof(key), by_pid);
}

/* Real, effective, saved, and of the file system.  The owner of /proc/PID is no help: root owns
 * that of a process that may not be dumped. */
static int read_uids(pid_t pid, uid_t ret_uids[4])
{
	char path[32], line[256];
	int error = -ESRCH;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	in = fopen(path, "re");
	if (!in)
		return errno == ENOENT ? -ESRCH : -errno;
	while (error && fgets(line, sizeof(line), in))
		if (sscanf(line, "Uid: %u %u %u %u", &ret_uids[0], &ret_uids[1], &ret_uids[2],
			   &ret_uids[3]) == 4)
			error = 0;
	fclose(in);
	return error;
}

int apmp_process_uid(pid_t pid, uid_t *ret_uid)
{
	uid_t uids[4];
	int error = read_uids(pid, uids);

	if (!error)
		*ret_uid = uids[0];
	return error;
}

static bool has_uid(pid_t pid, uid_t first, uid_t count)
{
	uid_t uids[4];
	bool found = false;

	if (read_uids(pid, uids) < 0)
		return false; /* gone */
	for (size_t i = 0; i < 4; i++)
		found |= uids[i] - first < count;
	return found;
}

size_t apmp_process_list_choose_uids(struct apmp_process_list *list, uid_t first, uid_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct apmp_process *p = &list->processes[i];

		if (apmp_process_ended(p) || !has_uid(p->pid, first, count))
			continue;
		p->chosen = true;
		found++;
	}
	return found;
}

static bool is_chosen(struct apmp_process_list *list, pid_t pid)
{
	struct apmp_process *p = apmp_process_list_find(list, pid);

	return p && p->chosen;
}

void apmp_process_list_close_over(struct apmp_process_list *list)
{
	struct apmp_process *self;
	bool changed = true;

	/* Each round but the last one chooses somebody, so there are at most count + 1. */
	while (changed) {
		changed = false;
		for (size_t i = 0; i < list->count; i++) {
			struct apmp_process *p = &list->processes[i];

			if (p->chosen ||
			    (!is_chosen(list, p->parent) && !is_chosen(list, p->session)))
				continue;
			p->chosen = true;
			changed = true;
		}
	}
	self = apmp_process_list_find(list, getpid());
	for (size_t i = 0; self && i < list->count; i++) {
		self->chosen = false;
		self = apmp_process_list_find(list, self->parent);
	}
}

size_t apmp_process_list_chosen(const struct apmp_process_list *list)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->processes[i].chosen && !apmp_process_ended(&list->processes[i]);
	return count;
}

/* Kills one process; starttime 0: whatever has this pid.  Returns a pidfd, or -ESRCH: it has
 * ended; -errno: it may live, and can't be waited for. */
static int kill_one(pid_t pid, uint64_t starttime)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int error = fd < 0 ? -errno : 0;

	if (error == -ESRCH || (starttime && !apmp_process_alive(pid, starttime))) {
		if (fd >= 0)
			close(fd);
		return -ESRCH;
	}
	if (error) {
		if (kill(pid, SIGKILL) < 0)
			error = -errno;
		return error;
	}
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* Waits until all are readable (a pidfd is, once every thread of the process has ended) or the
 * deadline has passed; closes them.  Returns how many are not. */
static size_t wait_ended(struct pollfd *fds, size_t count, int64_t deadline_ms)
{
	size_t left = count;

	while (left) {
		int64_t rest = deadline_ms - apmp_process_now_ms();
		int n = poll(fds, count, rest > 0 ? (int)rest : 0);

		for (size_t i = 0; n > 0 && i < count; i++)
			if (fds[i].fd >= 0 && fds[i].revents) {
				close(fds[i].fd);
				fds[i].fd = -1; /* poll() leaves it out */
				left--;
			}
		if (rest <= 0)
			break;
	}
	for (size_t i = 0; i < count; i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	return left;
}

struct batch {
	struct pollfd fds[WAIT_MAX];
	size_t count;
	size_t left; /* not waited for */
};

static void batch_kill(struct batch *batch, pid_t pid, uint64_t starttime)
{
	int fd = kill_one(pid, starttime);

	if (fd == -ESRCH)
		return;
	if (fd >= 0 && batch->count < WAIT_MAX) {
		batch->fds[batch->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
		return;
	}
	batch->left++;
	if (fd >= 0)
		close(fd);
}

/* Who forks and ends faster than it is listed can't be caught by its pid.  But its children are in
 * its process group, and the kernel kills a group as a whole: no fork gets between.  Of that group
 * the first chosen process is `of`; nobody else may be in it. */
static void kill_group(const struct apmp_process_list *list, const struct apmp_process *of)
{
	if (of->process_group <= 1 || of->process_group == getpgrp())
		return;
	for (size_t i = 0; i < list->count; i++) {
		const struct apmp_process *p = &list->processes[i];

		if (p->process_group != of->process_group || apmp_process_ended(p))
			continue;
		if (!p->chosen || p->pid < of->pid)
			return; /* not ours alone, or done already */
	}
	if (kill(-of->process_group, SIGKILL) < 0)
		return; /* empty by now, or not ours: each one is killed by its pid as well */
}

size_t apmp_process_list_kill(const struct apmp_process_list *list, int timeout_ms)
{
	struct batch batch = {.count = 0};
	int64_t deadline_ms = apmp_process_now_ms() + timeout_ms;

	for (size_t i = 0; i < list->count; i++) {
		const struct apmp_process *p = &list->processes[i];

		if (!p->chosen || apmp_process_ended(p))
			continue;
		kill_group(list, p);
		batch_kill(&batch, p->pid, p->starttime);
	}
	return batch.left + wait_ended(batch.fds, batch.count, deadline_ms);
}

size_t apmp_process_kill(const pid_t *pids, size_t count, int timeout_ms)
{
	struct batch batch = {.count = 0};
	int64_t deadline_ms = apmp_process_now_ms() + timeout_ms;

	for (size_t i = 0; i < count; i++)
		batch_kill(&batch, pids[i], 0);
	return batch.left + wait_ended(batch.fds, batch.count, deadline_ms);
}

int apmp_process_variable(pid_t pid, const char *variable, char *ret_value, size_t value_size)
{
	size_t name_length = strlen(variable), room = 0;
	char path[32], *line = NULL;
	int error = -ENOENT;
	ssize_t n;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	in = fopen(path, "re");
	if (!in)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	while ((n = getdelim(&line, &room, '\0', in)) > 0) {
		if ((size_t)n <= name_length || line[name_length] != '=' ||
		    strncmp(line, variable, name_length) != 0)
			continue;
		error = 0;
		if ((size_t)snprintf(ret_value, value_size, "%s", line + name_length + 1) >=
		    value_size)
			error = -ENAMETOOLONG;
		break;
	}
	if (n < 0 && errno)
		error = -errno;
	free(line);
	fclose(in);
	return error;
}
