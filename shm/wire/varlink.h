#ifndef APMP_SHM_WIRE_VARLINK_H
#define APMP_SHM_WIRE_VARLINK_H

/*
 * Varlink: JSON messages ended by NUL over an AF_UNIX stream socket. One server on a libuv loop for
 * the one interface of a machine (org.apmp.machine.varlink is the contract, built in as text), and
 * one blocking client. See varlink_server.c for how calls, streams and hangups follow each other.
 */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <uv.h>

#ifndef APMP_VERSION
#define APMP_VERSION "0.1"
#endif

#define VARLINK_MUST_CHECK __attribute__((warn_unused_result))

/* The interface of a machine, and the standard one that every Varlink service has. */
#define VARLINK_MACHINE "org.apmp.machine"
#define VARLINK_SERVICE "org.varlink.service"

enum {
	VARLINK_MESSAGE_MAX = 1 << 20, /* bytes of a call: a longer one closes its connection */
	VARLINK_QUEUE_MAX = 4 << 20,   /* bytes waiting for one peer: more of a stream is refused */
	VARLINK_REPLY_MAX = 64 << 20,  /* bytes of a reply that the client accepts */
	VARLINK_CONN_MAX = 128, /* connections; for a further one an idle one goes, or it waits */
	VARLINK_STREAMS_MAX = VARLINK_CONN_MAX - 32, /* open calls with `more`; further: Refused */
	VARLINK_FDS_MAX = 8,			     /* descriptors that may come with one call */
};

/* The text of org.apmp.machine.varlink. */
extern const char varlink_machine_text[];

/* ---- server ---- */

struct varlink_server;
struct varlink_call;

/*
 * Called on the loop for each call of its method. The parameters are an object, already checked
 * against the interface definition: what is there has the declared type, what is not optional is
 * there. They live as long as the call. The handler ends the call with exactly one of reply, error
 * or upgrade, at once or later; one that answers later asks for varlink_call_on_hangup.
 * The next call of the same connection starts only after that, and never from inside of it.
 */
typedef void varlink_handler(struct varlink_call *call, const json_t *parameters, void *ctx);

/*
 * Serves on listen_fd, a listening AF_UNIX SOCK_STREAM socket, from now on the server's. Peers of
 * another uid than ours (but root) are turned away. No write raises SIGPIPE.
 * -ENOMEM; or what uv_poll_init says of listen_fd (-EBADF, -EPERM...): then it is still the
 * caller's.
 */
VARLINK_MUST_CHECK int varlink_server_create(uv_loop_t *loop, int listen_fd,
					     struct varlink_server **ret_server);

/*
 * Serves the method "Status" of org.apmp.machine. A declared one without handler is answered with
 * MethodNotImplemented. -ENOENT: the interface declares no such method; -EEXIST: has one; -ENOMEM.
 */
VARLINK_MUST_CHECK int varlink_server_method(struct varlink_server *server, const char *name,
					     varlink_handler *handler, void *ctx);

/* cb runs whenever a peer was given an answer, also one of a stream. It must not end a call. */
void varlink_server_on_answer(struct varlink_server *server, void (*cb)(void *ctx), void *ctx);

/*
 * Open calls see a hangup, listen_fd is closed, every connection too (what the kernel has not taken
 * yet is dropped). Memory is freed when the loop has run its close callbacks.
 */
void varlink_server_destroy(struct varlink_server *server);

/*
 * Final answers: the call is gone when they return. parameters are stolen; NULL is {}. The name is
 * one of our interface ("NoSuchPartition"), or a full one ("org.varlink.service.ExpectedMore").
 */
void varlink_call_reply(struct varlink_call *call, json_t *parameters);
void varlink_call_error(struct varlink_call *call, const char *name, json_t *parameters);
/* org.varlink.service.InvalidParameter; and ExpectedMore, for a stream asked without `more`. */
void varlink_call_invalid(struct varlink_call *call, const char *parameter);
void varlink_call_expected_more(struct varlink_call *call);

/*
 * One of a stream (`more`); the call stays. parameters are stolen, also on failure.
 * -EPROTO: not a `more` call; -ENOBUFS: the peer is slow, VARLINK_QUEUE_MAX is reached, nothing was
 * queued; -ENOMEM; -EPIPE: the peer is gone: the hangup follows from the loop, do nothing more.
 */
VARLINK_MUST_CHECK int varlink_call_continue(struct varlink_call *call, json_t *parameters);

/* Bytes queued for the peer and not yet taken by the kernel. */
size_t varlink_call_queued(const struct varlink_call *call);
bool varlink_call_more(const struct varlink_call *call);
bool varlink_call_oneway(const struct varlink_call *call);

/* Takes up to max descriptors sent along, in their order; returns how many. They are the caller's.
 */
VARLINK_MUST_CHECK int varlink_call_take_fds(struct varlink_call *call, int *fds, unsigned max);

/*
 * cb runs, from the loop, when the peer is gone while the call is open; when it returns the call is
 * gone too. Half a close (the peer will send no more) is no hangup. A oneway call has none.
 * cb NULL takes it back.
 */
void varlink_call_on_hangup(struct varlink_call *call, void (*cb)(void *ctx), void *ctx);

/* cb runs, from the loop, when the kernel has taken all of a stream that had to wait for its peer:
 * the time to go on with what was refused. */
void varlink_call_on_drained(struct varlink_call *call, void (*cb)(void *ctx), void *ctx);

/*
 * Final reply, then the connection leaves Varlink: *ret_fd is the non-blocking socket, the
 * caller's; bytes that the peer sent after the call are still in it. In all cases the call is gone.
 * -EPROTO: the call did not say `upgrade` (it got InvalidParameter); -EPIPE: the peer is gone or
 * didn't take the reply; -ENOMEM.
 */
VARLINK_MUST_CHECK int varlink_call_upgrade(struct varlink_call *call, json_t *parameters,
					    int *ret_fd);

/* ---- client: blocking, no timeouts but those of the socket (varlink_client_fd) ---- */

struct varlink_client;

enum varlink_flag {
	VARLINK_MORE = 1 << 0,
	VARLINK_ONEWAY = 1 << 1,
	VARLINK_UPGRADE = 1 << 2,
};

struct varlink_reply {
	char *error;	    /* full name, NULL if it is no error */
	json_t *parameters; /* an object */
	bool continues;	    /* another reply follows */
};

/* -ENAMETOOLONG: path does not fit sun_path; -ENOMEM; or what socket() and connect() said. */
VARLINK_MUST_CHECK int varlink_client_connect(const char *path, struct varlink_client **ret_client);
void varlink_client_close(struct varlink_client *client); /* NULL is fine */

/* For poll(): readable when a reply, or a part of one, is there; nothing is buffered beyond it. */
int varlink_client_fd(const struct varlink_client *client);

/*
 * Sends one call; method is "Status" or a full name; parameters are stolen, NULL is {}; the peer
 * gets copies of the descriptors. -EINVAL: more than VARLINK_FDS_MAX; -EMSGSIZE: longer than
 * VARLINK_MESSAGE_MAX, nothing was sent; -ENOMEM; or what sendmsg() said.
 */
VARLINK_MUST_CHECK int varlink_client_send(struct varlink_client *client, const char *method,
					   json_t *parameters, unsigned flags, const int *fds,
					   unsigned fd_count);

/*
 * Waits for the next reply. *ret_reply must be given to varlink_reply_fini.
 * -EPIPE: the server ended the connection; -EBADMSG: no JSON or no reply; -EMSGSIZE: longer than
 * VARLINK_REPLY_MAX; -EINTR: a signal came, ask again; -EAGAIN: a timeout set on the socket;
 * -ENOMEM.
 */
VARLINK_MUST_CHECK int varlink_client_receive(struct varlink_client *client,
					      struct varlink_reply *ret_reply);

/* Send, then receive (again after signals). An error reply is success here: see ret_reply->error.
 */
VARLINK_MUST_CHECK int varlink_client_call(struct varlink_client *client, const char *method,
					   json_t *parameters, struct varlink_reply *ret_reply);

/*
 * The socket, after a good reply to a VARLINK_UPGRADE call: the caller's now; the client is closed.
 */
VARLINK_MUST_CHECK int varlink_client_release(struct varlink_client *client);

void varlink_reply_fini(struct varlink_reply *reply);

#endif
