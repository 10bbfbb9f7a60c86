/* The wire between box and console.
 *
 * WHAT     One SOCK_SEQPACKET pair for each life of a console.  Events that the socket does not
 *          take wait in a queue.
 * STATES   open -> broken (told once; the console is ended by its owner) -> closed
 * ORDERING Requests are read only while the queue is empty.  So answers can't pile up for a console
 *          that asks and does not listen, and an object can't be dropped while a message with its
 *          descriptor still waits to be sent.  The queue is bounded by what happens by itself: one
 *          event for each process of the machine, and the list of objects for a new console.  So
 *          a console that waits for room has to read meanwhile (console/box_link.c).
 */
#include "apmpd/console_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Requests handled in one go: others of the loop, such as a dead process, shall not wait long. */
#define BATCH 16

struct message {
	struct message *next;
	struct apmp_box_event event;
	int fds[APMP_DATAGRAM_FDS];
	unsigned fd_count;
};

struct apmp_link {
	uv_poll_t poll;
	int fd;
	bool broken, closed, busy;
	struct message *first, **last;
	const struct apmp_link_calls *calls;
	void *owner;
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* Listens for what is wanted now: room while something waits, else requests. */
static void watch(struct apmp_link *link)
{
	int events = link->first ? UV_WRITABLE : UV_READABLE;

	if (link->broken)
		uv_poll_stop(&link->poll);
	else
		uv_poll_start(&link->poll, events | UV_DISCONNECT, on_poll);
}

/* what, and the reason that the kernel gave (0: none). */
static void break_link(struct apmp_link *link, const char *what, int error)
{
	char why[128];

	if (link->broken)
		return;
	link->broken = true;
	snprintf(why, sizeof(why), "%s%s%s", what, error ? ": " : "",
		 error ? strerror(-error) : "");
	link->calls->broken(link->owner, why);
}

/* Sends what waits.  Errors are left to break_link(). */
static void flush(struct apmp_link *link)
{
	struct message *message;

	while ((message = link->first) && !link->broken) {
		int error = apmp_datagram_send(link->fd, &message->event, sizeof(message->event),
					       message->fds, message->fd_count);

		if (error == -EAGAIN || error == -ENOBUFS)
			return;
		if (error == -EPIPE || error == -ECONNRESET)
			break_link(link, "the console closed its wire to the box", 0);
		else if (error)
			break_link(link, "cannot send to the console", error);
		link->first = message->next;
		if (!link->first)
			link->last = &link->first;
		free(message);
	}
}

void apmp_link_send(struct apmp_link *link, const struct apmp_box_event *event, const int *fds,
		    unsigned fd_count)
{
	struct message *message;

	if (link->broken)
		return;
	message = calloc(1, sizeof(*message));
	if (!message) {
		/* A console that misses an event is worse than a new one. */
		break_link(link, "no memory for an event to the console", 0);
		return;
	}
	message->event = *event;
	message->fd_count = fd_count;
	for (unsigned i = 0; i < fd_count; i++)
		message->fds[i] = fds[i];
	*link->last = message;
	link->last = &message->next;
	flush(link);
	watch(link);
}

/* A console that ended without having read everything is told once, as an error; what it had sent
 * comes afterwards. */
static int receive_datagram(struct apmp_link *link, struct apmp_box_request *ret, int *fds,
			    unsigned *ret_fd_count)
{
	int size = apmp_datagram_receive(link->fd, ret, sizeof(*ret), fds, ret_fd_count);

	if (size == -ECONNRESET)
		size = apmp_datagram_receive(link->fd, ret, sizeof(*ret), fds, ret_fd_count);
	return size;
}

/* One request, if there is one: whether there may be more. */
static bool receive(struct apmp_link *link)
{
	struct apmp_box_request request;
	int fds[APMP_DATAGRAM_FDS];
	unsigned fd_count = 0;
	int size = receive_datagram(link, &request, fds, &fd_count);
	bool is_request = size == (int)sizeof(request);

	if (size == -EAGAIN)
		return false;
	if (size == 0 || size == -ECONNRESET) {
		break_link(link, "the console closed its wire to the box", 0);
	} else if (size < 0) {
		break_link(link, "cannot receive from the console", size);
	} else if (!is_request) {
		break_link(link, "the console sent a message that is no request", 0);
	} else {
		request.text[sizeof(request.text) - 1] = '\0';
		link->calls->request(link->owner, &request, fds, fd_count);
	}
	while (fd_count > 0)
		close(fds[--fd_count]);
	return is_request;
}

void apmp_link_drain(struct apmp_link *link)
{
	link->broken = true; /* so that what is sent is dropped */
	while (receive(link))
		; /* at most what fits into the socket */
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void free_link(struct apmp_link *link)
{
	struct message *message;

	while ((message = link->first)) {
		link->first = message->next;
		free(message);
	}
	uv_close((uv_handle_t *)&link->poll, on_closed);
	close(link->fd);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct apmp_link *link = poll->data;

	(void)events;
	link->busy = true;
	if (status < 0)
		break_link(link, "the wire to the console failed", status);
	flush(link);
	for (int i = 0; i < BATCH && !link->first && !link->broken; i++)
		if (!receive(link))
			break;
	link->busy = false;
	/* The owner may have closed it from within a call. */
	if (link->closed)
		free_link(link);
	else
		watch(link);
}

int apmp_link_open(uv_loop_t *loop, const struct apmp_link_calls *calls, void *owner,
		   struct apmp_link **ret, int *ret_console_fd)
{
	struct apmp_link *link = calloc(1, sizeof(*link));
	int pair[2], error;

	if (!link)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		error = -errno;
		free(link);
		return error;
	}
	link->fd = pair[0];
	link->last = &link->first;
	link->calls = calls;
	link->owner = owner;
	/* Makes our end non-blocking; the console's end is as it likes it. */
	error = uv_poll_init(loop, &link->poll, link->fd);
	if (error) {
		close(pair[0]);
		close(pair[1]);
		free(link);
		return error;
	}
	link->poll.data = link;
	watch(link);
	*ret = link;
	*ret_console_fd = pair[1];
	return 0;
}

void apmp_link_close(struct apmp_link *link)
{
	if (!link)
		return;
	link->broken = link->closed = true;
	uv_poll_stop(&link->poll);
	if (!link->busy)
		free_link(link);
}
