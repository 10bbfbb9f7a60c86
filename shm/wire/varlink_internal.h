#ifndef APMP_SHM_WIRE_VARLINK_INTERNAL_H
#define APMP_SHM_WIRE_VARLINK_INTERNAL_H

/* What the Varlink server and client share: messages on a socket, and the interface definition. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "shm/wire/varlink.h"

/* Our own bugs only, never what a peer sent; always compiled in. */
#define varlink__assert(condition)                                                                 \
	((condition) ? (void)0 : varlink__panic(__FILE__, __LINE__, #condition))
_Noreturn void varlink__panic(const char *file, int line, const char *condition);

/* The standard interface's own definition. */
extern const char varlink__service_text[];

/* ---- varlink_message.c ---- */

/* A message on its way in: the bytes up to and with its NUL, and the descriptors that came along.
 */
struct varlink__message {
	char *data;
	size_t size, capacity;
	int fds[VARLINK_FDS_MAX];
	unsigned fd_count;
};

/*
 * Reads on until the message is whole, never a byte of the next one. flags are recv()'s.
 * 1: whole; 0: the peer will send no more (size is not 0: in the middle of a message).
 * -EAGAIN, -EINTR: call again later; -EMSGSIZE: longer than max; -EBADMSG: more descriptors than
 * VARLINK_FDS_MAX; -ENOMEM; or what recv() said.
 */
VARLINK_MUST_CHECK int varlink__message_receive(int fd, struct varlink__message *message,
						size_t max, int flags);
/* Ready for the next one; closes the descriptors that nobody took. */
void varlink__message_reset(struct varlink__message *message);
void varlink__message_fini(struct varlink__message *message);

/* The object in a whole message, NULL if it is no JSON object. The caller's reference. */
json_t *varlink__message_parse(const struct varlink__message *message);

/* What waits to go out: bytes from start to size. */
struct varlink__queue {
	char *data;
	size_t start, size, capacity;
};

/* Adds one message with its NUL; object is stolen. -ENOMEM (also: object is NULL or can't be text).
 */
VARLINK_MUST_CHECK int varlink__queue_add(struct varlink__queue *queue, json_t *object);
/*
 * Sends what the socket takes; descriptors go with the first byte. 0: all is sent; -EAGAIN: not all
 * of it (fds are sent if the queue got shorter); -EINTR; or what sendmsg() said.
 */
VARLINK_MUST_CHECK int varlink__queue_send(struct varlink__queue *queue, int fd, int flags,
					   const int *fds, unsigned fd_count);
void varlink__queue_fini(struct varlink__queue *queue);

static inline size_t varlink__queue_bytes(const struct varlink__queue *queue)
{
	return queue->size - queue->start;
}

/* ---- varlink_interface.c ---- */

/* Does the interface definition declare the method? */
bool varlink__method_declared(const char *text, const char *method);

/*
 * Are the parameters what the definition of the method wants? NULL: yes; else the name of the first
 * wrong, missing or undeclared one, in buf if it isn't a constant of the caller's object.
 */
const char *varlink__parameters_check(const char *text, const char *method,
				      const json_t *parameters, char *buf, size_t buf_size);

#endif
