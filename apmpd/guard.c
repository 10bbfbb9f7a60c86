/* The guard: a fork of the box that waits for its end.
 *
 * WHAT     Forked before anything else, it has one thread, and no descriptors but its end of a
 *          pipe, one of the box (pidfd) and one of the run directory (its name tag).  It does
 *          nothing until the box ends, so nothing can go wrong with it until then.
 * STATES   waiting -> killed by the box, which has cleaned up
 *          waiting -> the box has ended -> cleaning -> ended
 * ORDERING The pipe is closed somewhere in the middle of the box's end, its locks are let go of a
 *          little later.  So the end of file is only a hint, and the pidfd, which is readable when
 *          every thread has ended and every descriptor is closed, is what counts.
 * CRASHES  If the guard dies, the box reaps it and forks another; if both die, or the guard is
 *          stopped, the next `up` or `clean` does what the guard would have done, and ends it.
 * LIMITS   Without pidfd (before Linux 5.3) the end of file counts.
 */
#include "apmpd/guard.h"

#include "apmpd/leftover.h"
#include "apmpd/process_list.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Closes everything but these two (which become 3 and 4) and puts /dev/null on 0, 1, 2. Opens the
 * run directory: it stays open, and nobody reads it but others, in /proc. */
static void keep_only(int *pipe_fd, int *box_fd, const char *rundir)
{
	int null;
	int a = fcntl(*pipe_fd, F_DUPFD, 5), b = *box_fd < 0 ? -1 : fcntl(*box_fd, F_DUPFD, 5);

	*pipe_fd = dup2(a, 3);
	if (b >= 0)
		*box_fd = dup2(b, 4);
	syscall(SYS_close_range, b >= 0 ? 5 : 4, ~0u, 0);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		if (null != fd)
			dup2(null, fd);
	if (null > 2)
		close(null);
	null = open(rundir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	(void)null; /* it guards without a name tag, too */
}

static void be_a_guard(void)
{
	static const int ignored[] = {SIGHUP,  SIGINT,	SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN,
				      SIGTTOU, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t none;

	setsid();
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, APMP_GUARD_NAME);
	/* It must not hold a folder that somebody wants to unmount. */
	if (chdir("/") < 0)
		return;
}

/* Returns when the box has ended. */
static void wait_for_end(int pipe_fd, int box_fd)
{
	struct pollfd fds[] = {{.fd = pipe_fd, .events = POLLIN}, {.fd = box_fd, .events = POLLIN}};

	for (;;) {
		char byte;

		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR */
		if (fds[1].revents)
			return;
		if (fds[0].revents && read(pipe_fd, &byte, 1) == 0) {
			if (box_fd < 0)
				return;
			/* Closed, but the box has not ended yet: not looked at any more. */
			fds[0].fd = -1;
		}
	}
}

/* The child: never returns. */
static void run(int pipe_fd, int ready_fd, int box_fd, const char *machine, const char *rundir,
		const char *mark)
{
	be_a_guard();
	if (write(ready_fd, "", 1) < 0)
		_exit(1);
	keep_only(&pipe_fd, &box_fd, rundir);
	wait_for_end(pipe_fd, box_fd);
	apmp_leftover_guard(machine, rundir, mark);
	_exit(0);
}

int apmp_guard_start(const char *machine, const char *rundir, const char *mark, int *ret_fd,
		     pid_t *ret_pid)
{
	int wires[2], ready[2], box_fd, error;
	pid_t pid;
	ssize_t n;
	char byte;

	if (pipe2(wires, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(ready, O_CLOEXEC) < 0) {
		error = -errno;
		close(wires[0]);
		close(wires[1]);
		return error;
	}
	/* Opened by the box itself: it is certainly alive. */
	box_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid = fork();
	if (pid == 0) {
		close(wires[1]);
		run(wires[0], ready[1], box_fd, machine, rundir, mark);
	}
	error = pid < 0 ? -errno : 0;
	if (box_fd >= 0)
		close(box_fd);
	close(wires[0]);
	close(ready[1]);
	/* From here on, what reaches the terminal's processes does not reach the guard. */
	while (!error && (n = read(ready[0], &byte, 1)) != 1)
		if (n == 0 || errno != EINTR)
			error = -ECHILD;
	close(ready[0]);
	if (error) {
		close(wires[1]);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		return error;
	}
	*ret_fd = wires[1];
	*ret_pid = pid;
	return 0;
}

int apmp_guard_dismiss(int fd, pid_t pid)
{
	/* First: the end of the pipe would tell it that the box has ended. */
	kill(pid, SIGKILL);
	close(fd);
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}
