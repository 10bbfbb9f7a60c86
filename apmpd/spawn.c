/* Starting a program.
 *
 * WHAT     fork(), wait for a byte, exec().  Two pipes: `go` holds the child back, `status` tells
 *          how far it came.  status closes by itself at exec (close-on-exec), so its end of file
 *          means "it runs"; what the child writes into it instead is the step and the errno.
 * STATES   held (go_fd open) -> released -> running | refused (reaped with exit code 127)
 *          held -> abandoned
 * CRASHES  If the box dies while the child is held, `go` ends without a byte and the child ends.
 *          After that the guard finds the program by its mark.
 * SIGNALS  libuv's handlers write into a pipe that the child shares with the box until exec, so
 *          every signal is blocked from before fork until the child has none of them any more.
 * CLASS    A better nice value is taken on while that is still allowed: who has it keeps it under
 *          another uid, and so do the threads of an instance.  SCHED_FIFO its first thread gets
 *          from the box when it has made another (URGENT): it can't hand that on, and is ended
 *          when it has not slept for FIFO_MAX_US: a thread like that starves its neighbours.
 * LIMITS   A script that only the box can reach is found, but its interpreter, which has the
 *          program's uid, can't read it.
 */
#include "apmpd/spawn.h"

#include "apmpd/partition_uid.h"
#include "shm/wire/urgent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A thousand times what a clock needs for a tick. */
#define FIFO_MAX_US 1000000

struct refusal {
	int step;
	int error;
};

static void __attribute__((noreturn)) refuse(int status_fd, enum apmp_spawn_step step)
{
	struct refusal refusal = {.step = step, .error = -errno};
	ssize_t n = write(status_fd, &refusal, sizeof(refusal));

	(void)n; /* only a dead box does not take it */
	_exit(127);
}

/* Puts fds[i] to i.  Each is first moved above all targets: a target may be another's source. */
static int place_fds(const int *fds, unsigned count)
{
	int high[APMP_SPAWN_FDS];

	for (unsigned i = 0; i < count; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, APMP_SPAWN_FDS);
		if (high[i] < 0)
			return -errno;
	}
	for (unsigned i = 0; i < count; i++)
		if (dup2(high[i], (int)i) < 0)
			return -errno;
	return 0;
}

/* Closes all but these, and status_fd, which becomes the one behind them.  exec would do that too,
 * but before it others of the program's uid may have come near.  Without close_range() (before
 * Linux 5.9) exec does. */
static int leave_only(unsigned count, int *status_fd)
{
	if (*status_fd != (int)APMP_SPAWN_FDS && dup3(*status_fd, APMP_SPAWN_FDS, O_CLOEXEC) < 0)
		return -errno;
	*status_fd = APMP_SPAWN_FDS;
	if (count < APMP_SPAWN_FDS)
		(void)syscall(SYS_close_range, count, APMP_SPAWN_FDS - 1, 0);
	(void)syscall(SYS_close_range, APMP_SPAWN_FDS + 1, ~0u, 0);
	return 0;
}

static void default_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL); /* refused for SIGKILL and SIGSTOP, which is fine */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Refused where the box may not have it either; then a heartbeat is as good as the host is. */
static void take_class(const struct apmp_spawn *what)
{
	const struct rlimit most = {FIFO_MAX_US, FIFO_MAX_US};

	if (what->urgent)
		(void)!apmp_urgent_self(what->urgent_threads);
	if (what->urgent_threads) /* refused: it is smaller already */
		(void)setrlimit(RLIMIT_RTTIME, &most);
}

/* The kernel's choice, when memory is short, is then a program and not what runs the machine. */
static void be_expendable(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* /proc is read-only: then it is chosen by its size */
	(void)!write(fd, "1000", 4);
	close(fd);
}

/* A partition's uid may have no way into the folder of who started the program. */
static int enter_folder(const struct apmp_spawn *what)
{
	if (!what->cwd || chdir(what->cwd) == 0)
		return 0;
	return what->uid && errno == EACCES ? chdir("/") : -1;
}

/* The child, from fork to exec.
 *
 * The uid is taken on after the descriptors are in place (they are the program's whole access to
 * the machine), and before anything of the caller's is used. */
static void __attribute__((noreturn))
be_the_program(const struct apmp_spawn *what, int go_fd, int status_fd)
{
	char byte;
	int error;

	default_signals();
	setsid();
	if (read(go_fd, &byte, 1) != 1)
		_exit(127);
	for (int i = 0; i < 2; i++)
		if (what->door_fds[i] >= 0 && write(what->door_fds[i], "0", 1) < 0)
			refuse(status_fd, APMP_SPAWN_GROUP);
	/* Neither of the pipes may stand where a descriptor of the program goes. */
	status_fd = fcntl(status_fd, F_DUPFD_CLOEXEC, APMP_SPAWN_FDS);
	if (status_fd < 0)
		_exit(127);
	if (place_fds(what->fds, what->fd_count) < 0 || leave_only(what->fd_count, &status_fd) < 0)
		refuse(status_fd, APMP_SPAWN_FDS_STEP);
	if (what->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		refuse(status_fd, APMP_SPAWN_FDS_STEP);
	if (what->nofile && setrlimit(RLIMIT_NOFILE, what->nofile) < 0)
		refuse(status_fd, APMP_SPAWN_FDS_STEP);
	if (what->expendable)
		be_expendable();
	take_class(what);
	error = what->uid ? apmp_partition_uid_become(what->uid, what->reach) : 0;
	if (error) {
		errno = -error;
		refuse(status_fd, APMP_SPAWN_UID);
	}
	if (enter_folder(what) < 0)
		refuse(status_fd, APMP_SPAWN_CWD);
	environ = what->env; /* its own PATH, not that of the box */
	execvp(what->program, what->argv);
	refuse(status_fd, APMP_SPAWN_EXEC);
}

/* Both pipes, the box's ends in ret, the child's in ret_child. */
static int make_pipes(struct apmp_spawned *ret, int ret_child[2])
{
	int go[2], status[2], error;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(status, O_CLOEXEC) < 0 || fcntl(status[0], F_SETFL, O_NONBLOCK) < 0) {
		error = -errno;
		close(go[0]);
		close(go[1]);
		return error;
	}
	ret->go_fd = go[1];
	ret->status_fd = status[0];
	ret_child[0] = go[0];
	ret_child[1] = status[1];
	return 0;
}

int apmp_spawn_start(const struct apmp_spawn *what, struct apmp_spawned *ret)
{
	struct apmp_spawned spawned = {0};
	sigset_t all, before;
	int child[2] = {-1, -1}, error;

	if (what->fd_count > APMP_SPAWN_FDS)
		return -EINVAL;
	error = make_pipes(&spawned, child);
	if (error)
		return error;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	spawned.pid = fork();
	if (spawned.pid == 0) {
		close(spawned.go_fd); /* or it would hold itself back when the box dies */
		be_the_program(what, child[0], child[1]);
	}
	error = spawned.pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(child[0]);
	close(child[1]);
	if (error) {
		close(spawned.go_fd);
		close(spawned.status_fd);
		return error;
	}
	*ret = spawned;
	return 0;
}

void apmp_spawn_release(struct apmp_spawned *spawned)
{
	ssize_t n = write(spawned->go_fd, "", 1);

	(void)n; /* EPIPE: it was killed already, which its reaping tells */
	close(spawned->go_fd);
	spawned->go_fd = -1;
}

void apmp_spawn_abandon(struct apmp_spawned *spawned)
{
	close(spawned->go_fd);
	close(spawned->status_fd);
	kill(spawned->pid, SIGKILL);
	while (waitpid(spawned->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int apmp_spawn_status(int status_fd, enum apmp_spawn_step *ret_step)
{
	struct refusal refusal;
	ssize_t n = read(status_fd, &refusal, sizeof(refusal));

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	/* So few bytes are written whole. */
	if (n != (ssize_t)sizeof(refusal))
		return 0;
	*ret_step = (enum apmp_spawn_step)refusal.step;
	return refusal.error;
}

static bool begins_with_any(const char *entry, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (strncmp(entry, *prefixes, strlen(*prefixes)) == 0)
			return true;
	return false;
}

static bool same_name(const char *a, const char *b)
{
	size_t length = strcspn(a, "=");

	return length == strcspn(b, "=") && memcmp(a, b, length) == 0;
}

static bool is_set_by(const char *entry, char *const *set)
{
	for (; *set; set++)
		if (same_name(entry, *set))
			return true;
	return false;
}

static size_t length_of(char *const *list)
{
	size_t count = 0;

	while (list[count])
		count++;
	return count;
}

char **apmp_spawn_env(char *const *from, const char *const *keep, char *const *set)
{
	char **env = calloc(length_of(from) + length_of(set) + 1, sizeof(*env));
	size_t count = 0;

	if (!env)
		return NULL;
	for (; *from; from++)
		if ((!keep || begins_with_any(*from, keep)) && !is_set_by(*from, set))
			env[count++] = *from;
	for (; *set; set++)
		env[count++] = *set;
	return env;
}

static int try_path(char *ret_path, size_t path_size, const char *dir, const char *below,
		    const char *name)
{
	if ((size_t)snprintf(ret_path, path_size, "%s%s/%s", dir, below, name) >= path_size)
		return -ENAMETOOLONG;
	return access(ret_path, X_OK) == 0 ? 0 : -ENOENT;
}

int apmp_spawn_find(const char *name, char *ret_path, size_t path_size)
{
	const char *chosen = getenv("APMP_LIBEXEC");
	char self[PATH_MAX];
	ssize_t n;

	if (chosen && *chosen && try_path(ret_path, path_size, chosen, "", name) == 0)
		return 0;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return -errno;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	if (try_path(ret_path, path_size, self, "", name) == 0)
		return 0;
	return try_path(ret_path, path_size, self, "/../libexec/apmp", name);
}
