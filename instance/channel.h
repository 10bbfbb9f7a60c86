/*
 * channel.h - an instance's end of its channel to the console: callbacks, one after another.
 */
#ifndef APMP_INSTANCE_CHANNEL_H
#define APMP_INSTANCE_CHANNEL_H

#include <pthread.h>

#include "shm/call.h"

struct channel {
	int sock;
	pthread_mutex_t lock; /* protects seq and the receiving side: the console's firmware
			       * serves one callback of a partition at a time */
	uint64_t seq;
};

void channel_init(struct channel *channel, int sock);

/* Makes a callback; waits for its answer, also while the console is away.  The answer's error is in
 * call->reply; 0, or -EPIPE: the channel is closed, which is the end of the partition. */
__attribute__((warn_unused_result)) int channel_call(struct channel *channel,
						     struct apmp_call *call);

/* Sends a callback that has no answer; never waits.  -EAGAIN: the channel is full. */
__attribute__((warn_unused_result)) int channel_tell(struct channel *channel,
						     const struct apmp_call_request *request);

#endif
