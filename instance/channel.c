/*
 * channel.c - console callbacks over a SOCK_SEQPACKET pair.
 *
 * CRASHES   The box keeps both ends, so a console that dies loses no request that it had not read.
 *           The next console sends a reply with seq 0: what has no answer yet is sent again, and
 *           answered once from the console's record if it had been carried out.  So a reply to
 *           an older seq may come, and is passed over.
 *           A thread that is caught in a callback when the instance fails never returns to it: it
 *           lets go of the lock, and its answer, too, is passed over by who converses then.
 */
#include "instance/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shm/env.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"

#define NS 1000000000u

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

/* 0: there is something to receive, or it will be waited for; -ETIMEDOUT. */
static int await_reply(struct channel *channel, uint64_t deadline_ns)
{
	struct pollfd poll = {.fd = channel->sock, .events = POLLIN};

	while (deadline_ns != APMP_NEVER) {
		uint64_t now = apmp_linux_now(NULL), left = deadline_ns - now;
		struct timespec most = {.tv_sec = (time_t)(left / NS),
					.tv_nsec = (long)(left % NS)};

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		if (ppoll(&poll, 1, &most, NULL) > 0)
			return 0;
	}
	return 0;
}

static int converse(struct channel *channel, struct apmp_call *call, uint64_t deadline_ns)
{
	int flags = deadline_ns == APMP_NEVER ? 0 : MSG_DONTWAIT;
	int err = send_request(channel, &call->request, flags);

	while (!err) {
		err = await_reply(channel, deadline_ns);
		if (!err)
			err = receive_reply(channel, call);
		if (err || call->reply.seq == call->request.seq)
			return err;
		if (call->fd >= 0)
			close(call->fd); /* of an answer that came twice */
		if (call->reply.seq == 0)
			err = send_request(channel, &call->request, flags);
	}
	return err;
}

int channel_call(struct channel *channel, struct apmp_call *call)
{
	int err;

	pthread_mutex_lock(&channel->lock);
	apmp_store_relaxed(&channel->holder, gettid());
	call->request.seq = apmp_fetch_add(&channel->seq, 1) + 1;
	err = converse(channel, call, APMP_NEVER);
	apmp_store_relaxed(&channel->holder, 0);
	pthread_mutex_unlock(&channel->lock);
	return err;
}

int channel_call_until(struct channel *channel, struct apmp_call *call, uint64_t deadline_ns)
{
	struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS),
				 .tv_nsec = (long)(deadline_ns % NS)};
	int err = -pthread_mutex_clocklock(&channel->lock, CLOCK_MONOTONIC, &until);

	call->request.seq = apmp_fetch_add(&channel->seq, 1) + 1;
	if (!err)
		return converse(channel, call, deadline_ns);
	err = send_request(channel, &call->request, MSG_DONTWAIT);
	return err ? err : -ETIMEDOUT;
}

void channel_abandon(struct channel *channel)
{
	if (apmp_load_relaxed(&channel->holder) != gettid())
		return; /* another thread's, which goes on, or nobody's */
	apmp_store_relaxed(&channel->holder, 0);
	pthread_mutex_unlock(&channel->lock);
}

int channel_tell(struct channel *channel, const struct apmp_call_request *request)
{
	return send_request(channel, request, MSG_DONTWAIT);
}
