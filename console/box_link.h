/*
 * box_link.h - the console's end of the pair that joins it with the box (shm/wire/box.h).
 */
#ifndef APMP_CONSOLE_BOX_LINK_H
#define APMP_CONSOLE_BOX_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "shm/wire/box.h"
#include "shm/wire/datagram.h"

struct box_link;

typedef void box_event_handler(struct box_link *link, const struct apmp_box_event *event,
			       const int *fds, unsigned fd_count);
typedef void box_done_handler(void *ctx, const struct apmp_box_event *event);

#define BOX_LINK_PENDING 1024u

struct box_link {
	int sock;
	uint32_t seq;
	uv_poll_t poll;
	uv_idle_t idle; /* runs while events wait that came during a call */
	box_event_handler *on_event;
	struct {
		uint32_t seq; /* 0: free */
		box_done_handler *done;
		void *ctx;
	} pending[BOX_LINK_PENDING];
	struct apmp_box_event *queue; /* events that came during a call; grows */
	uint32_t queue_room, queue_head, queue_count;
};

/* Before the loop runs: only box_link_receive and box_link_call. */
void box_link_init(struct box_link *link, int sock, box_event_handler *on_event);
/* Events are served by the loop from now on.  -errno of libuv. */
__attribute__((warn_unused_result)) int box_link_serve(struct box_link *link, uv_loop_t *loop);

/* Waits for one event and hands it to the handler.  0; the process ends when the box is gone. */
void box_link_receive(struct box_link *link);

/* A request that the box does at once; waits for the answer.  Other events that come meanwhile are
 * handled afterwards.  Returns ret_event->error.  fds (at most 2) are ours then. */
__attribute__((warn_unused_result)) int box_link_call(struct box_link *link,
						      struct apmp_box_request *request,
						      const int *send_fds, unsigned send_count,
						      struct apmp_box_event *ret_event, int fds[2]);

/* A request whose answer may take long: done is called by the loop.  NULL: nobody wants it.  At
 * most BOX_LINK_PENDING with a done wait at a time. */
void box_link_post(struct box_link *link, struct apmp_box_request *request, box_done_handler *done,
		   void *ctx);
/* The same with descriptors, which stay the caller's. */
void box_link_post_fds(struct box_link *link, struct apmp_box_request *request, const int *fds,
		       unsigned fd_count, box_done_handler *done, void *ctx);

/* Whether half of what can be posted is waited for: the rest is for the fences. */
bool box_link_crowded(const struct box_link *link);

#endif
