/*
 * callback_gate.c - a gate in a console, for test_storm.py: preloaded into apmp-console, it stops
 * it for a look after each update of the tree and before each answer to an instance.
 *
 * An update ends with an interrupt to every CPU; the first of them wakes the doorbell of line 0,
 * which is the first word of its memory, so of a page.  An answer is a datagram of the size of
 * struct apmp_call_reply.  What passes is told to the socket at APMP_GATE, and goes on when a byte
 * comes back; when the test is gone, at once.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/call.h"
#include "shm/layout_common.h"

enum gate_kind { GATE_UPDATE = 1, GATE_REPLY = 2 };

struct gate_message {
	uint64_t kind;
	struct apmp_call_reply reply;
};

static int gate = -1;

__attribute__((constructor)) static void connect_gate(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("APMP_GATE");

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return;
	strcpy(address.sun_path, path);
	gate = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (gate >= 0 && connect(gate, (void *)&address, sizeof(address)) == 0)
		return;
	close(gate);
	gate = -1;
}

static void stop_for_a_look(const struct gate_message *message)
{
	int before = errno;
	char go;

	if (gate >= 0 && (send(gate, message, sizeof(*message), MSG_NOSIGNAL) < 0 ||
			  recv(gate, &go, 1, 0) != 1)) {
		close(gate);
		gate = -1;
	}
	errno = before;
}

static int is_channel(int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	static ssize_t (*next)(int, const struct msghdr *, int);
	struct gate_message message = {.kind = GATE_REPLY};

	if (!next)
		*(void **)(void *)&next = dlsym(RTLD_NEXT, "sendmsg");
	if (msg->msg_iovlen == 1 && msg->msg_iov[0].iov_len == sizeof(message.reply) &&
	    is_channel(fd)) {
		memcpy(&message.reply, msg->msg_iov[0].iov_base, sizeof(message.reply));
		stop_for_a_look(&message);
	}
	return next(fd, msg, flags);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	const struct gate_message message = {.kind = GATE_UPDATE};
	long arg[6];
	va_list args;

	if (!next)
		*(void **)(void *)&next = dlsym(RTLD_NEXT, "syscall");
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_futex && (arg[1] & FUTEX_CMD_MASK) == FUTEX_WAKE &&
	    (uintptr_t)arg[0] % APMP_PAGE_SIZE == 0)
		stop_for_a_look(&message);
	return next(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
