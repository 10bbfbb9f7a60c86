/*
 * channel.c - console callbacks over a SOCK_SEQPACKET pair.
 *
 * CRASHES   The box keeps both ends, so a console that dies loses no request that it had not read.
 *           The next console sends a reply with seq 0: what has no answer yet is sent again, and
 *           answered once from the console's record if it had been carried out.  So a reply to
 *           an older seq may come, and is passed over.
 */
#include "instance/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void channel_init(struct channel *channel, int sock)
{
	*channel = (struct channel){.sock = sock};
	pthread_mutex_init(&channel->lock, NULL);
}

static int send_request(struct channel *channel, const struct apmp_call_request *request, int flags)
{
	ssize_t n;

	do
		n = send(channel->sock, request, sizeof(*request), MSG_NOSIGNAL | flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* One reply, with the descriptor that may come along.  -EPIPE, -EBADMSG. */
static int receive_reply(struct channel *channel, struct apmp_call *call)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = &call->reply, .iov_len = sizeof(call->reply)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(channel->sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -EPIPE;
	call->fd = -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&call->fd, CMSG_DATA(c), sizeof(call->fd));
	return n == sizeof(call->reply) ? 0 : -EBADMSG;
}

static int converse(struct channel *channel, struct apmp_call *call)
{
	int err = send_request(channel, &call->request, 0);

	while (!err) {
		err = receive_reply(channel, call);
		if (err || call->reply.seq == call->request.seq)
			return err;
		if (call->fd >= 0)
			close(call->fd); /* of an answer that came twice */
		if (call->reply.seq == 0)
			err = send_request(channel, &call->request, 0);
	}
	return err;
}

int channel_call(struct channel *channel, struct apmp_call *call)
{
	int err;

	pthread_mutex_lock(&channel->lock);
	call->request.seq = ++channel->seq;
	err = converse(channel, call);
	pthread_mutex_unlock(&channel->lock);
	return err;
}

int channel_tell(struct channel *channel, const struct apmp_call_request *request)
{
	return send_request(channel, request, MSG_DONTWAIT);
}
