/*
 * box_link.c - requests to the box, its answers and events.
 *
 * WHAT      The box is one thread that does short things at once, so the console waits for those
 *           (box_link_call): what it does next needs the answer anyway, and a straight function is
 *           easier to prove than a chain of continuations.  What takes as long as a process takes
 *           to die (KILL), as a disk (NVRAM) or as a file system (RUN) is posted.
 * LIMITS    BOX_LINK_PENDING posted requests that somebody waits for.
 */
#include "console/box_link.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"

void box_link_init(struct box_link *link, int sock, box_event_handler *on_event)
{
	*link = (struct box_link){.sock = sock, .on_event = on_event};
	(void)fcntl(sock, F_SETFL, O_NONBLOCK); /* a socket that is open refuses nothing */
}

/* A name in a sentence may be cut in the middle of a character, or be no text at all; what is told
 * of it is: JSON has no place for anything else. */
static void make_text(char *text)
{
	json_t *whole = *text ? json_string(text) : NULL;

	for (char *at = text; !whole && *at; at++)
		*at = (unsigned char)*at < 0x80 ? *at : '?';
	json_decref(whole);
}

/* One datagram, if there is one.  Without its box a console is nothing: it ends. */
static bool try_receive(struct box_link *link, struct apmp_box_event *event, int *fds,
			unsigned *fd_count)
{
	int n = apmp_datagram_receive(link->sock, event, sizeof(*event), fds, fd_count);

	if (n == (int)sizeof(*event)) {
		make_text(event->text);
		return true;
	}
	if (n == -EAGAIN)
		return false;
	fprintf(stderr, "apmp-console: the box is gone: %s\n", n < 0 ? strerror(-n) : "closed");
	exit(1);
}

/* Waits for one. */
static void receive(struct box_link *link, struct apmp_box_event *event, int *fds,
		    unsigned *fd_count)
{
	struct pollfd readable = {.fd = link->sock, .events = POLLIN};

	while (!try_receive(link, event, fds, fd_count))
		(void)poll(&readable, 1, -1);
}

static void close_all(const int *fds, unsigned from, unsigned count)
{
	for (unsigned i = from; i < count; i++)
		close(fds[i]);
}

/* Calls the handler of a posted request; false: nobody posted this seq. */
static bool finish_posted(struct box_link *link, const struct apmp_box_event *event)
{
	for (uint32_t i = 0; i < BOX_LINK_PENDING; i++) {
		box_done_handler *done = link->pending[i].done;

		if (!event->seq || link->pending[i].seq != event->seq)
			continue;
		link->pending[i].seq = 0;
		if (done)
			done(link->pending[i].ctx, event);
		return true;
	}
	return false;
}

static void handle(struct box_link *link, const struct apmp_box_event *event, const int *fds,
		   unsigned fd_count)
{
	if (event->op == APMP_BOX_DONE)
		(void)finish_posted(link, event); /* an answer that nobody waits for is dropped */
	else
		link->on_event(link, event, fds, fd_count);
}

void box_link_receive(struct box_link *link)
{
	struct apmp_box_event event;
	int fds[APMP_DATAGRAM_FDS];
	unsigned fd_count;

	receive(link, &event, fds, &fd_count);
	handle(link, &event, fds, fd_count);
}

/* Handles what was put off, oldest first. */
static void drain(struct box_link *link)
{
	while (link->queue_count > 0) {
		struct apmp_box_event event = link->queue[link->queue_head];

		link->queue_head = (link->queue_head + 1) % link->queue_room;
		link->queue_count--;
		handle(link, &event, NULL, 0);
	}
}

static void on_idle(uv_idle_t *idle)
{
	drain(idle->data);
	uv_idle_stop(idle);
}

/* What made it readable may be gone: a call from a handler that ran before, in this turn of the
 * loop or in drain(), has put it off. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct box_link *link = poll->data;
	struct apmp_box_event event;
	int fds[APMP_DATAGRAM_FDS];
	unsigned fd_count;

	(void)status;
	(void)events;
	drain(link); /* in the order in which the box has said it */
	if (try_receive(link, &event, fds, &fd_count))
		handle(link, &event, fds, fd_count);
}

int box_link_serve(struct box_link *link, uv_loop_t *loop)
{
	int err = uv_poll_init(loop, &link->poll, link->sock);

	if (!err)
		err = uv_idle_init(loop, &link->idle);
	if (err)
		return err;
	link->poll.data = link;
	link->idle.data = link;
	if (link->queue_count > 0)
		uv_idle_start(&link->idle, on_idle);
	return uv_poll_start(&link->poll, UV_READABLE, on_readable);
}

static bool is_posted(const struct box_link *link, uint32_t seq)
{
	for (uint32_t i = 0; i < BOX_LINK_PENDING; i++)
		if (link->pending[i].seq == seq)
			return true;
	return false;
}

static void grow_queue(struct box_link *link)
{
	uint32_t room = link->queue_room ? 2 * link->queue_room : 64;
	struct apmp_box_event *queue = calloc(room, sizeof(*queue));

	apmp_assert(queue);
	for (uint32_t i = 0; i < link->queue_count; i++)
		queue[i] = link->queue[(link->queue_head + i) % link->queue_room];
	free(link->queue);
	link->queue = queue;
	link->queue_room = room;
	link->queue_head = 0;
}

/* Keeps an event for later.  Only answers to our call carry descriptors. */
static void put_off(struct box_link *link, const struct apmp_box_event *event)
{
	if (event->op == APMP_BOX_DONE && !is_posted(link, event->seq))
		return; /* nobody waits for it */
	if (link->queue_count == link->queue_room)
		grow_queue(link);
	link->queue[(link->queue_head + link->queue_count++) % link->queue_room] = *event;
	if (link->idle.data)
		uv_idle_start(&link->idle, on_idle);
}

/* What is there is put off. */
static void put_off_one(struct box_link *link)
{
	struct apmp_box_event event;
	int fds[APMP_DATAGRAM_FDS];
	unsigned count;

	if (!try_receive(link, &event, fds, &count))
		return;
	close_all(fds, 0, count);
	put_off(link, &event);
}

/* Whoever waits for room reads meanwhile: the box takes no request while it has something to say
 * that does not fit. */
static void send_request(struct box_link *link, struct apmp_box_request *request, const int *fds,
			 unsigned fd_count)
{
	struct pollfd room = {.fd = link->sock, .events = POLLIN | POLLOUT};
	int err;

	request->seq = ++link->seq ? link->seq : ++link->seq; /* 0 is no seq */
	while ((err = apmp_datagram_send(link->sock, request, sizeof(*request), fds, fd_count)) ==
	       -EAGAIN) {
		(void)poll(&room, 1, -1);
		put_off_one(link);
	}
	if (err) {
		fprintf(stderr, "apmp-console: can't reach the box: %s\n", strerror(-err));
		exit(1);
	}
}

int box_link_call(struct box_link *link, struct apmp_box_request *request, const int *send_fds,
		  unsigned send_count, struct apmp_box_event *ret_event, int fds[2])
{
	int all[APMP_DATAGRAM_FDS];
	unsigned count;

	send_request(link, request, send_fds, send_count);
	for (;;) {
		receive(link, ret_event, all, &count);
		if (ret_event->op == APMP_BOX_DONE && ret_event->seq == request->seq)
			break;
		close_all(all, 0, count);
		put_off(link, ret_event);
	}
	for (unsigned i = 0; i < 2 && fds; i++)
		fds[i] = i < count ? all[i] : -1;
	close_all(all, fds ? 2 : 0, count);
	return ret_event->error;
}

void box_link_post(struct box_link *link, struct apmp_box_request *request, box_done_handler *done,
		   void *ctx)
{
	box_link_post_fds(link, request, NULL, 0, done, ctx);
}

void box_link_post_fds(struct box_link *link, struct apmp_box_request *request, const int *fds,
		       unsigned fd_count, box_done_handler *done, void *ctx)
{
	uint32_t i = 0;

	send_request(link, request, fds, fd_count);
	if (!done)
		return;
	while (i < BOX_LINK_PENDING && link->pending[i].seq)
		i++;
	/* Besides programs, which ask first and get half: for each partition one KILL, a second,
	 * its capacity and its dump; and NVRAM. */
	apmp_assert(i < BOX_LINK_PENDING);
	link->pending[i].seq = request->seq;
	link->pending[i].done = done;
	link->pending[i].ctx = ctx;
}

bool box_link_crowded(const struct box_link *link)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < BOX_LINK_PENDING; i++)
		count += link->pending[i].seq != 0;
	return count >= BOX_LINK_PENDING / 2;
}
