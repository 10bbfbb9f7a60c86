/* app_send.c - a message to a program, which may not read, or be there no more; and the bell of the
 * thread that sends them. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/instance.h"

int app_send(struct app *app, const void *message, size_t size)
{
	ssize_t n;

	do
		n = send(app->sock, message, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
}

void instance_apps_ring(struct instance *in)
{
	const uint64_t one = 1;

	/* It can only be full when the thread has 2^64 - 1 rings to hear, and then it will. */
	(void)!write(in->apps.bell, &one, sizeof(one));
}
