/*
 * datagram.h - one message of known size, with descriptors, over a SOCK_SEQPACKET pair.
 */
#ifndef APMP_SHM_WIRE_DATAGRAM_H
#define APMP_SHM_WIRE_DATAGRAM_H

#include <stddef.h>

#define APMP_DATAGRAM_FDS 8u

/* Sends size bytes and fd_count descriptors (copies).  Waits when the socket is full and blocking.
 * -EPIPE: the other end is closed; -EAGAIN: full and non-blocking; what sendmsg said.  Never
 * raises SIGPIPE; goes on after signals. */
__attribute__((warn_unused_result)) int apmp_datagram_send(int sock, const void *data, size_t size,
							   const int *fds, unsigned fd_count);

/* Receives one message of at most size bytes; fds[0..*ret_fd_count) are ours then, close-on-exec.
 * Returns its size; 0: the other end is closed.  -EMSGSIZE: longer than size, or more than
 * APMP_DATAGRAM_FDS descriptors (all closed); -EAGAIN; what recvmsg said. */
__attribute__((warn_unused_result)) int apmp_datagram_receive(int sock, void *data, size_t size,
							      int fds[APMP_DATAGRAM_FDS],
							      unsigned *ret_fd_count);

#endif
