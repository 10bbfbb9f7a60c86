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
	_Atomic uint64_t seq;
	_Atomic int holder; /* of the lock, by the kernel's number, 0: nobody; for a signal handler
			     * that asks whether it is its own thread */
};

void channel_init(struct channel *channel, int sock);

/* Makes a callback; waits for its answer, also while the console is away.  The answer's error is in
 * call->reply; 0, or -EPIPE: the channel is closed, which is the end of the partition. */
__attribute__((warn_unused_result)) int channel_call(struct channel *channel,
						     struct apmp_call *call);
/* In a signal handler that will not return: if its thread was in a callback, others may make
 * theirs; its answer is passed over. */
void channel_abandon(struct channel *channel);
/* The last callback of an instance that fails.  When another thread is in one until the deadline it
 * is sent all the same, and its answer lost.  The lock is not given back.  As channel_call;
 * -ETIMEDOUT: no answer until the deadline. */
__attribute__((warn_unused_result)) int
channel_call_until(struct channel *channel, struct apmp_call *call, uint64_t deadline_ns);

/* Sends a callback that has no answer; never waits.  -EAGAIN: the channel is full. */
__attribute__((warn_unused_result)) int channel_tell(struct channel *channel,
						     const struct apmp_call_request *request);

#endif
