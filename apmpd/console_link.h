/* The box's end of its wire to the console: requests in, events out, none of them lost or blocking.
 */
#ifndef APMPD_CONSOLE_LINK_H
#define APMPD_CONSOLE_LINK_H

#include "shm/wire/box.h"
#include "shm/wire/datagram.h"

#include <uv.h>

struct apmp_link;

/* What the link tells its owner, from within the loop. */
struct apmp_link_calls {
	/* A request.  The descriptors are closed afterwards: who needs one makes a copy. */
	void (*request)(void *owner, const struct apmp_box_request *request, const int *fds,
			unsigned fd_count);
	/* The console's end was closed, or it does not speak the protocol: nothing comes any more.
	 * why is a sentence.  The link may not be closed from within this call. */
	void (*broken)(void *owner, const char *why);
};

/* Makes the pair.  ret_console_fd is the console's end, close-on-exec, the caller's to close.
 * -EMFILE, -ENFILE, -ENOMEM; -errno. */
__attribute__((warn_unused_result)) int apmp_link_open(uv_loop_t *loop,
						       const struct apmp_link_calls *calls,
						       void *owner, struct apmp_link **ret,
						       int *ret_console_fd);

/* Sends an event, at once or when there is room.  The descriptors are the caller's; they must stay
 * open until the next request is handed over (which is not before everything was sent). */
void apmp_link_send(struct apmp_link *link, const struct apmp_box_event *event, const int *fds,
		    unsigned fd_count);

/* Hands over the requests that a console sent before it ended; nothing is sent to it any more. */
void apmp_link_drain(struct apmp_link *link);

/* Closes the box's end; what was not sent is gone.  No call comes any more.  NULL is allowed. */
void apmp_link_close(struct apmp_link *link);

#endif
