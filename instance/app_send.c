/* app_send.c - messages to a program, which may not read, or be there no more; and the bell of the
 * thread that sends them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
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

int app_answer(struct app *app, int error, uint32_t number, const char *format, ...)
{
	struct apmp_app_reply reply = {.version = APMP_APP_VERSION, .error = error, .lock = number};
	va_list args;

	va_start(args, format);
	vsnprintf(reply.text, sizeof(reply.text), format, args);
	va_end(args);
	/* A socket without room has answers that it did not ask for one by one. */
	return app_send(app, &reply, sizeof(reply)) ? -EPIPE : 0;
}

void instance_apps_ring(struct instance *in)
{
	const uint64_t one = 1;

	/* It can only be full when the thread has 2^64 - 1 rings to hear, and then it will. */
	(void)!write(in->apps.bell, &one, sizeof(one));
}
