/* box_fault.c - faults of the box itself: a power failure, at once or at one of its points. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "console/console.h"

struct apmp_recorder *console_box_recorder(struct console *c)
{
	return console_object_map(c, APMP_BOX_RECORDER, APMP_BOX_SELF_RECORDER);
}

/* The box is our parent: as long as it is, the number means nobody else. */
static int kill_parent(void)
{
	pid_t box = getppid();
	int fd = (int)syscall(SYS_pidfd_open, box, 0), err = 0;

	if (fd < 0)
		return -errno;
	if (getppid() != box)
		err = -ESRCH;
	else if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
		err = -errno;
	close(fd);
	return err;
}

void console_kill_box(struct console *c, struct varlink_call *call)
{
	int err;

	console_event(c, "fault.injected", NULL, "{s:s,s:s}", "fault", "kill", "party", "box");
	varlink_call_reply(call, NULL);
	err = kill_parent();
	(void)err; /* it is gone already: then so are we, at the next look at its wire */
}
