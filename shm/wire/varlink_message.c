/*
 * Messages on a stream socket: a JSON object and one NUL.
 *
 * WHAT      A message is looked at (MSG_PEEK) before it is read, and read exactly to its NUL. So
 *           what follows stays in the kernel: pipelined calls are held back by the socket's own
 *           buffer, poll() tells the truth, descriptors come with the message they were sent with,
 *           and after an upgrade no raw byte was swallowed. The price is copying each byte twice.
 * STATES    A message is empty, partly read, or whole; varlink__message_reset makes it empty.
 * LIMITS    The caller's max bounds the buffer; VARLINK_FDS_MAX the descriptors of one message.
 */
#include "shm/wire/varlink_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	READ_MIN = 4096,  /* looked at once; grows with the message */
	KEEP_MAX = 65536, /* a larger buffer is given back after its message */
};

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * VARLINK_FDS_MAX)];
};

_Noreturn void varlink__panic(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
	abort();
}

/* ---- in ---- */

/* Keeps the descriptors of one recvmsg(). Those beyond the limit are closed: -EBADMSG. */
static int keep_fds(struct varlink__message *message, struct msghdr *header)
{
	int r = (header->msg_flags & MSG_CTRUNC) ? -EBADMSG : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0);
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (message->fd_count < VARLINK_FDS_MAX) {
				message->fds[message->fd_count++] = fd;
			} else {
				close(fd);
				r = -EBADMSG;
			}
		}
	}
	return r;
}

static int reserve(char **data, size_t *capacity, size_t wanted)
{
	size_t size = *capacity ? *capacity : READ_MIN;
	char *grown;

	if (wanted <= *capacity)
		return 0;
	while (size < wanted)
		size *= 2;
	grown = realloc(*data, size);
	if (!grown)
		return -ENOMEM;
	*data = grown;
	*capacity = size;
	return 0;
}

/* Takes size bytes that are known to be there. */
static ssize_t take(int fd, struct varlink__message *message, size_t size, int flags)
{
	union control control;
	struct iovec iov = {.iov_base = message->data + message->size, .iov_len = size};
	struct msghdr header = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC);
	int r;

	if (got < 0)
		return -errno;
	r = keep_fds(message, &header);
	if (r < 0)
		return r;
	message->size += (size_t)got;
	return got;
}

int varlink__message_receive(int fd, struct varlink__message *message, size_t max, int flags)
{
	for (;;) {
		size_t want;
		ssize_t seen, got;
		char *end;
		int r;

		r = reserve(&message->data, &message->capacity, message->size + READ_MIN);
		if (r < 0)
			return r;
		seen = recv(fd, message->data + message->size, message->capacity - message->size,
			    flags | MSG_PEEK);
		if (seen < 0)
			return -errno;
		if (seen == 0)
			return 0;
		end = memchr(message->data + message->size, 0, (size_t)seen);
		want = end ? (size_t)(end - message->data) - message->size + 1 : (size_t)seen;
		if (message->size + want > max)
			return -EMSGSIZE;
		got = take(fd, message, want, flags);
		if (got <= 0)
			return (int)got;
		/* A read stops short where descriptors begin or end: then look again. */
		if (end && (size_t)got == want)
			return 1;
	}
}

void varlink__message_reset(struct varlink__message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
	message->size = 0;
	if (message->capacity > KEEP_MAX) {
		free(message->data);
		message->data = NULL;
		message->capacity = 0;
	}
}

void varlink__message_fini(struct varlink__message *message)
{
	varlink__message_reset(message);
	free(message->data);
	*message = (struct varlink__message){0};
}

json_t *varlink__message_parse(const struct varlink__message *message)
{
	json_t *object = json_loadb(message->data, message->size - 1, JSON_REJECT_DUPLICATES, NULL);

	if (object && !json_is_object(object)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* ---- out ---- */

int varlink__queue_add(struct varlink__queue *queue, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
	size_t size;
	int r;

	json_decref(object);
	if (!text)
		return -ENOMEM;
	size = strlen(text) + 1;
	if (queue->start > 0) {
		memmove(queue->data, queue->data + queue->start, varlink__queue_bytes(queue));
		queue->size -= queue->start;
		queue->start = 0;
	}
	r = reserve(&queue->data, &queue->capacity, queue->size + size);
	if (r == 0) {
		memcpy(queue->data + queue->size, text, size);
		queue->size += size;
	}
	free(text);
	return r;
}

static void attach_fds(struct msghdr *header, union control *control, const int *fds,
		       unsigned fd_count)
{
	struct cmsghdr *c = &control->align;

	memset(control, 0, sizeof(*control));
	header->msg_control = control;
	header->msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
}

int varlink__queue_send(struct varlink__queue *queue, int fd, int flags, const int *fds,
			unsigned fd_count)
{
	union control control;

	while (varlink__queue_bytes(queue) > 0) {
		struct iovec iov = {.iov_base = queue->data + queue->start,
				    .iov_len = varlink__queue_bytes(queue)};
		struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent;

		if (fd_count > 0)
			attach_fds(&header, &control, fds, fd_count);
		sent = sendmsg(fd, &header, flags | MSG_NOSIGNAL);
		if (sent < 0)
			return -errno;
		queue->start += (size_t)sent;
		fd_count = 0;
	}
	queue->start = queue->size = 0;
	if (queue->capacity > KEEP_MAX)
		varlink__queue_fini(queue);
	return 0;
}

void varlink__queue_fini(struct varlink__queue *queue)
{
	free(queue->data);
	*queue = (struct varlink__queue){0};
}
