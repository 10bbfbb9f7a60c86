/*
 * connect.h - a program's connection to the instance of its partition.
 */
#ifndef APMP_INSTANCE_APP_CONNECT_H
#define APMP_INSTANCE_APP_CONNECT_H

#include <stddef.h>

#include "instance/app/apmp.h"
#include "shm/wire/app.h"

/* Connects, says the word and what the connection is for (APMP_APP_LOCKS, EVENTS with what they are
 * to be of, CPUS), and learns who we are.  Errors as of apmp_app_events_open. */
APMP_APP_CHECK int apmp__app_connect(uint32_t op, uint32_t what, int *ret_sock,
				     struct apmp_app_partition *ret_self);

/* One message of this size, waited for.  -EPIPE: the instance has ended; -EINTR; -EPROTO. */
APMP_APP_CHECK int apmp__app_receive(int sock, void *ret_message, size_t size);

/* Asks, and waits for the answer also where a signal comes: it is under way, and can't be left.
 * The reply's error; -EPIPE, with a sentence in the reply. */
APMP_APP_CHECK int apmp__app_ask(int sock, const struct apmp_app_request *request,
				 struct apmp_app_reply *ret_reply);

/* For programs of ours, before anything else: opens what is closed of 0, 1 and 2, so that nothing
 * else gets these numbers; to use them fails as it did. */
void apmp__app_keep_standard(void);

#endif
