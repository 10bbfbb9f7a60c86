/* app_send.c - a message to a program, which may not read, or be there no more. */
#include <errno.h>
#include <sys/socket.h>

#include "instance/apps.h"

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
