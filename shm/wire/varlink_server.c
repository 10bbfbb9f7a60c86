/*
 * The Varlink server of a machine, on a libuv loop.
 *
 * WHAT      Each connection has at most one open call. The next one is read only when that is
 *           answered and the answer is with the kernel, so a caller who sends without reading is
 *           held back by its own socket buffer.
 * STATES    of a connection, each with the one thing it waits for (see conn_watch):
 *             idle       no call, nothing queued     waits for readable
 *             flushing   something queued            waits for writable (and for the hangup)
 *             open       a call, nothing queued      waits for the hangup
 *             oneway     a oneway call is open       waits for its handler only
 *             gone       the peer went or erred      closes at the next turn of the loop
 *             closing    handed to uv_close
 *           That the peer will send no more is seen by reading: it ends an idle connection only.
 * HANGUP    EPOLLHUP says that both halves are closed; half a close is EPOLLIN and EPOLLRDHUP.
 *           libuv has no name for EPOLLHUP, but passes it on as whatever was asked for; so
 *           UV_PRIORITIZED is, which nothing else raises unless the peer sends urgent data.
 * REENTRY   Handlers and hangup callbacks run from the loop only: an answer never starts the next
 *           call inside itself, and a failed write is told to the handler in the next turn.
 * LIMITS    VARLINK_CONN_MAX connections: for one more the one is closed that has been without a
 *           call for longest, and for IDLE_MS; when there is none, accepting pauses.
 *           VARLINK_STREAMS_MAX open calls with `more`: the other connections are for who wants an
 *           answer and goes.  One message of VARLINK_MESSAGE_MAX in, VARLINK_QUEUE_MAX of a stream
 *           and one final answer out, each.
 */
#include "shm/wire/varlink.h"
#include "shm/wire/varlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SERVER_MAGIC = 0x76537276,
	CONN_MAGIC = 0x76436e6e,
	CALL_MAGIC = 0x76436c6c,
	TURN_MAX = 16,	/* calls of one connection in one turn of the loop: others want theirs; */
	TURN_MS = 1,	/* from then on each gets one: the loop has more to do than calls */
	RETRY_MS = 100, /* until accept() is tried again when descriptors, memory or room ran out */
	IDLE_MS = 1000, /* from then on a connection without a call makes room: it had its time */
};

struct method {
	SLIST_ENTRY(method) next;
	varlink_handler *handler;
	void *ctx;
	char name[];
};

struct conn;

struct varlink_server {
	unsigned magic;
	unsigned conn_count;
	unsigned stream_count; /* open calls with `more` */
	unsigned handles;      /* of libuv, our own: the last one closed frees the server */
	bool paused, closing;
	int listen_fd;
	uv_loop_t *loop;
	uv_poll_t listen;
	uv_timer_t retry;
	SLIST_HEAD(, method) methods;
	LIST_HEAD(, conn) conns;
	void (*answered)(void *ctx);
	void *answered_ctx;
};

struct conn {
	unsigned magic;
	int fd;
	int watched;	  /* the events of libuv that are asked for; 0: stopped */
	uint64_t idle_ms; /* when its last call ended, or it came */
	bool gone, closing;
	struct varlink_server *server;
	struct varlink_call *call; /* the open one */
	LIST_ENTRY(conn) link;
	struct varlink__message in;
	struct varlink__queue out;
	uv_poll_t poll;
};

struct varlink_call {
	unsigned magic;
	bool more, oneway, upgrade;
	bool counted; /* among the streams */
	struct conn *conn;
	json_t *message;
	void (*hangup)(void *ctx), (*drained)(void *ctx);
	void *hangup_ctx, *drained_ctx;
};

static void on_conn(uv_poll_t *poll, int status, int events);

static struct conn *conn_of(const struct varlink_call *call)
{
	varlink__assert(call->magic == CALL_MAGIC && call->conn->magic == CONN_MAGIC);
	return call->conn;
}

/* ---- connections ---- */

static void listen_resume(struct varlink_server *server);

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;

	varlink__assert(conn->magic == CONN_MAGIC);
	conn->magic = 0;
	free(conn);
}

static void call_free(struct varlink_call *call)
{
	if (call->counted)
		call->conn->server->stream_count--;
	call->magic = 0;
	json_decref(call->message);
	free(call);
}

/* Takes the connection apart, but leaves its descriptor. */
static int conn_detach(struct conn *conn)
{
	struct varlink_server *server = conn->server;
	struct varlink_call *call = conn->call;
	int fd = conn->fd;

	conn->closing = true;
	conn->call = NULL;
	conn->fd = -1;
	LIST_REMOVE(conn, link);
	server->conn_count--;
	uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
	varlink__message_fini(&conn->in);
	varlink__queue_fini(&conn->out);
	if (call) {
		call->magic = 0; /* for whoever answers it from its own hangup */
		if (call->hangup)
			call->hangup(call->hangup_ctx);
		call_free(call);
	}
	listen_resume(server);
	return fd;
}

static void conn_close(struct conn *conn)
{
	if (!conn->closing)
		close(conn_detach(conn));
}

/* Waits for what the state of the connection waits for. */
static void conn_watch(struct conn *conn)
{
	bool flushing = varlink__queue_bytes(&conn->out) > 0;
	int events = 0;
	int r;

	if (conn->gone || flushing)
		events |= UV_WRITABLE;
	if (!conn->call && !flushing)
		events |= UV_READABLE;
	if (conn->call && !conn->call->oneway)
		events |= UV_PRIORITIZED;
	if (events == conn->watched)
		return; /* libuv would ask the kernel again */
	r = events ? uv_poll_start(&conn->poll, events, on_conn) : uv_poll_stop(&conn->poll);
	varlink__assert(r == 0); /* the handle is open and the events are known */
	conn->watched = events;
}

/* Gives the kernel what it takes. */
static void conn_flush(struct conn *conn)
{
	int r = varlink__queue_send(&conn->out, conn->fd, MSG_DONTWAIT, NULL, 0);

	if (r < 0 && r != -EAGAIN && r != -EINTR)
		conn->gone = true;
}

/* ---- answers ---- */

static json_t *full_error(const char *name)
{
	if (strchr(name, '.'))
		return json_string(name);
	return json_sprintf("%s.%s", VARLINK_MACHINE, name);
}

/* Queues one answer and offers it to the kernel. Steals parameters. */
static int call_send(struct varlink_call *call, const char *error, json_t *parameters,
		     bool continues)
{
	struct conn *conn = conn_of(call);
	json_t *message;
	int r;

	if (call->oneway || conn->gone) {
		json_decref(parameters);
		return conn->gone ? -EPIPE : 0;
	}
	message = json_object();
	r = json_object_set_new(message, "parameters", parameters ? parameters : json_object());
	if (error)
		r |= json_object_set_new(message, "error", full_error(error));
	if (continues)
		r |= json_object_set_new(message, "continues", json_true());
	if (r != 0) {
		json_decref(message);
		return -ENOMEM;
	}
	r = varlink__queue_add(&conn->out, message);
	if (r < 0)
		return r;
	conn_flush(conn);
	if (conn->gone)
		return -EPIPE;
	if (conn->server->answered)
		conn->server->answered(conn->server->answered_ctx);
	return 0;
}

/* The last answer. A peer that can't be told is cut off: it would wait forever. */
static void call_finish(struct varlink_call *call, const char *error, json_t *parameters)
{
	struct conn *conn = conn_of(call);

	if (call_send(call, error, parameters, false) < 0)
		conn->gone = true;
	conn->call = NULL;
	conn->idle_ms = uv_now(conn->server->loop);
	call_free(call);
	varlink__message_reset(&conn->in);
	conn_watch(conn);
}

void varlink_call_reply(struct varlink_call *call, json_t *parameters)
{
	call_finish(call, NULL, parameters);
}

void varlink_call_error(struct varlink_call *call, const char *name, json_t *parameters)
{
	call_finish(call, name, parameters);
}

void varlink_call_invalid(struct varlink_call *call, const char *parameter)
{
	call_finish(call, VARLINK_SERVICE ".InvalidParameter",
		    json_pack("{s:s}", "parameter", parameter));
}

void varlink_call_expected_more(struct varlink_call *call)
{
	call_finish(call, VARLINK_SERVICE ".ExpectedMore", NULL);
}

int varlink_call_continue(struct varlink_call *call, json_t *parameters)
{
	struct conn *conn = conn_of(call);
	int r;

	if (!call->more || varlink__queue_bytes(&conn->out) >= VARLINK_QUEUE_MAX) {
		json_decref(parameters);
		return call->more ? -ENOBUFS : -EPROTO;
	}
	r = call_send(call, NULL, parameters, true);
	conn_watch(conn);
	return r;
}

int varlink_call_upgrade(struct varlink_call *call, json_t *parameters, int *ret_fd)
{
	struct conn *conn = conn_of(call);
	int r;

	if (!call->upgrade || call->oneway) {
		json_decref(parameters);
		varlink_call_invalid(call, "upgrade");
		return -EPROTO;
	}
	r = call_send(call, NULL, parameters, false);
	conn->call = NULL;
	call_free(call);
	/* One small answer always fits an empty socket buffer, unless nobody is there. */
	if (r == 0 && varlink__queue_bytes(&conn->out) > 0)
		r = -EPIPE;
	if (r < 0) {
		conn_close(conn);
		return r;
	}
	*ret_fd = conn_detach(conn);
	return 0;
}

size_t varlink_call_queued(const struct varlink_call *call)
{
	return varlink__queue_bytes(&conn_of(call)->out);
}

bool varlink_call_more(const struct varlink_call *call)
{
	return call->more;
}

bool varlink_call_oneway(const struct varlink_call *call)
{
	return call->oneway;
}

int varlink_call_take_fds(struct varlink_call *call, int *fds, unsigned max)
{
	struct varlink__message *in = &conn_of(call)->in;
	unsigned count = in->fd_count < max ? in->fd_count : max;

	memcpy(fds, in->fds, count * sizeof(*fds));
	in->fd_count -= count;
	memmove(in->fds, in->fds + count, in->fd_count * sizeof(*fds));
	return (int)count;
}

void varlink_call_on_hangup(struct varlink_call *call, void (*cb)(void *ctx), void *ctx)
{
	varlink__assert(call->magic == CALL_MAGIC);
	call->hangup = cb;
	call->hangup_ctx = ctx;
}

void varlink_call_on_drained(struct varlink_call *call, void (*cb)(void *ctx), void *ctx)
{
	varlink__assert(call->magic == CALL_MAGIC);
	call->drained = cb;
	call->drained_ctx = ctx;
}

/* ---- calls ---- */

static void service_info(struct varlink_call *call)
{
	varlink_call_reply(call,
			   json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "apmp", "product",
				     "apmp-console", "version", APMP_VERSION, "url", "",
				     "interfaces", VARLINK_SERVICE, VARLINK_MACHINE));
}

static void service_description(struct varlink_call *call, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "interface"));
	const char *text = NULL;

	if (strcmp(name, VARLINK_MACHINE) == 0)
		text = varlink_machine_text;
	else if (strcmp(name, VARLINK_SERVICE) == 0)
		text = varlink__service_text;
	if (text)
		varlink_call_reply(call, json_pack("{s:s}", "description", text));
	else
		varlink_call_error(call, VARLINK_SERVICE ".InterfaceNotFound",
				   json_pack("{s:s}", "interface", name));
}

static struct method *find_method(const struct varlink_server *server, const char *name)
{
	struct method *method;

	SLIST_FOREACH(method, &server->methods, next)
	if (strcmp(method->name, name) == 0)
		break;
	return method;
}

static const char many_streams[] =
    "as many callers as there is room for wait for programs or follow events; try again when one "
    "of them has ended";

/* Counts the call when it is one of a stream.  false: there are too many. */
static bool stream_count(struct varlink_call *call)
{
	struct varlink_server *server = call->conn->server;

	if (call->more && server->stream_count == VARLINK_STREAMS_MAX)
		return false;
	call->counted = call->more;
	server->stream_count += call->counted;
	return true;
}

/* Hands the call to its handler, or answers what is wrong with it. */
static void call_dispatch(struct varlink_call *call, const char *full, const json_t *parameters)
{
	struct varlink_server *server = call->conn->server;
	const char *dot = strrchr(full, '.');
	size_t length = dot ? (size_t)(dot - full) : 0;
	bool service = length == strlen(VARLINK_SERVICE) && !strncmp(full, VARLINK_SERVICE, length);
	bool ours = length == strlen(VARLINK_MACHINE) && !strncmp(full, VARLINK_MACHINE, length);
	const char *text = service ? varlink__service_text : varlink_machine_text;
	const char *name = dot ? dot + 1 : full;
	const char *bad;
	char buf[64];
	struct method *method = ours ? find_method(server, name) : NULL;

	if (!service && !ours) {
		varlink_call_error(call, VARLINK_SERVICE ".InterfaceNotFound",
				   json_pack("{s:s%}", "interface", full, length));
		return;
	}
	if (!varlink__method_declared(text, name)) {
		varlink_call_error(call, VARLINK_SERVICE ".MethodNotFound",
				   json_pack("{s:s}", "method", full));
		return;
	}
	if (ours && !method) {
		varlink_call_error(call, VARLINK_SERVICE ".MethodNotImplemented",
				   json_pack("{s:s}", "method", full));
		return;
	}
	bad = varlink__parameters_check(text, name, parameters, buf, sizeof(buf));
	if (bad)
		varlink_call_invalid(call, bad);
	else if (!stream_count(call))
		varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", many_streams));
	else if (method)
		method->handler(call, parameters, method->ctx);
	else if (strcmp(name, "GetInfo") == 0)
		service_info(call);
	else
		service_description(call, parameters);
}

/* One of the three booleans of a call: absent is false. */
static int read_flag(const json_t *message, const char *name, bool *ret_flag)
{
	const json_t *flag = json_object_get(message, name);

	*ret_flag = json_is_true(flag);
	return !flag || json_is_boolean(flag) || json_is_null(flag) ? 0 : -EBADMSG;
}

/* The whole message in conn->in becomes the open call. -EBADMSG: it is no call; -ENOMEM. */
static int conn_call(struct conn *conn)
{
	json_t *message = varlink__message_parse(&conn->in);
	const char *method = json_string_value(json_object_get(message, "method"));
	json_t *parameters = json_object_get(message, "parameters");
	struct varlink_call *call = calloc(1, sizeof(*call));

	if (!call || !method || read_flag(message, "more", &call->more) < 0 ||
	    read_flag(message, "oneway", &call->oneway) < 0 ||
	    read_flag(message, "upgrade", &call->upgrade) < 0)
		goto bad;
	if (!parameters || json_is_null(parameters)) {
		parameters = json_object();
		if (json_object_set_new(message, "parameters", parameters) < 0)
			goto bad;
	}
	if (!json_is_object(parameters))
		goto bad;
	/* Nobody reads the answers of a oneway call, so it has none of a stream. */
	call->more = call->more && !call->oneway;
	call->magic = CALL_MAGIC;
	call->conn = conn;
	call->message = message;
	conn->call = call;
	call_dispatch(call, method, parameters);
	return 0;
bad:
	free(call);
	json_decref(message);
	return -EBADMSG;
}

static bool turn_is_long(const struct varlink_server *server)
{
	return uv_hrtime() / 1000000 > uv_now(server->loop) + TURN_MS;
}

/* Reads and serves calls while there are some and each is answered at once. */
static void conn_serve(struct conn *conn)
{
	for (int i = 0; i < TURN_MAX; i++) {
		int r;

		if (conn->closing || conn->gone || conn->call ||
		    varlink__queue_bytes(&conn->out) > 0 || (i > 0 && turn_is_long(conn->server)))
			return;
		r = varlink__message_receive(conn->fd, &conn->in, VARLINK_MESSAGE_MAX,
					     MSG_DONTWAIT);
		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r <= 0 || conn_call(conn) < 0)
			conn->gone = true;
	}
}

/* Goes on with what waits for the peer; whose stream it is hears when nothing does any more. */
static void conn_drain(struct conn *conn)
{
	struct varlink_call *call = conn->call;

	conn_flush(conn);
	if (!conn->gone && varlink__queue_bytes(&conn->out) == 0 && call && call->drained)
		call->drained(call->drained_ctx);
}

/*
 * status is an error when EPOLLERR came: the peer closed before it had read all. What it sent
 * before is still served; the end is seen by reading.
 */
static void on_conn(uv_poll_t *poll, int status, int events)
{
	struct conn *conn = poll->data;
	bool hangup = status < 0 || (events & UV_PRIORITIZED);

	varlink__assert(conn->magic == CONN_MAGIC && !conn->closing);
	if (status < 0)
		conn->watched = 0; /* libuv stopped it */
	if (hangup && conn->call && !conn->call->oneway)
		conn->gone = true;
	if (!conn->gone && varlink__queue_bytes(&conn->out) > 0)
		conn_drain(conn);
	if (!conn->gone)
		conn_serve(conn);
	if (conn->closing)
		return;
	if (conn->gone)
		conn_close(conn);
	else
		conn_watch(conn);
}

/* ---- listening ---- */

static bool peer_is_trusted(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

/* Takes fd. */
static void conn_open(struct varlink_server *server, int fd)
{
	struct conn *conn = peer_is_trusted(fd) ? calloc(1, sizeof(*conn)) : NULL;

	if (!conn || uv_poll_init(server->loop, &conn->poll, fd) < 0) {
		free(conn);
		close(fd);
		return;
	}
	conn->magic = CONN_MAGIC;
	conn->poll.data = conn;
	conn->server = server;
	conn->fd = fd;
	conn->idle_ms = uv_now(server->loop);
	LIST_INSERT_HEAD(&server->conns, conn, link);
	server->conn_count++;
	conn_watch(conn);
}

static void on_retry(uv_timer_t *timer)
{
	listen_resume(timer->data);
}

/* The one that has been without a call for longest, and did not send one just now; NULL: none for
 * long enough. */
static struct conn *longest_idle(const struct varlink_server *server)
{
	struct conn *conn, *longest = NULL;
	uint64_t before_ms = uv_now(server->loop) - IDLE_MS;

	LIST_FOREACH(conn, &server->conns, link)
	if (!conn->call && varlink__queue_bytes(&conn->out) == 0 && conn->idle_ms <= before_ms &&
	    recv(conn->fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
		longest = conn;
		before_ms = conn->idle_ms;
	}
	return longest;
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
	struct varlink_server *server = poll->data;
	struct conn *idle = NULL;

	varlink__assert(server->magic == SERVER_MAGIC);
	(void)status; /* accept4() says it better */
	(void)events;
	while (server->conn_count < VARLINK_CONN_MAX || (idle = longest_idle(server))) {
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			if (server->conn_count == VARLINK_CONN_MAX)
				conn_close(idle);
			conn_open(server, fd);
		} else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
			return;
		} else {
			break;
		}
	}
	/* The caller in the queue would wake us again and again. */
	server->paused = true;
	uv_poll_stop(&server->listen);
	uv_timer_start(&server->retry, on_retry, RETRY_MS, 0);
}

static void listen_resume(struct varlink_server *server)
{
	if (!server->paused || server->closing)
		return;
	server->paused = false;
	uv_timer_stop(&server->retry);
	uv_poll_start(&server->listen, UV_READABLE, on_listen);
}

int varlink_server_create(uv_loop_t *loop, int listen_fd, struct varlink_server **ret_server)
{
	struct varlink_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	r = uv_poll_init(loop, &server->listen, listen_fd);
	if (r < 0) {
		free(server);
		return r;
	}
	uv_timer_init(loop, &server->retry);
	server->magic = SERVER_MAGIC;
	server->handles = 2;
	server->listen_fd = listen_fd;
	server->loop = loop;
	server->listen.data = server->retry.data = server;
	server->paused = true;
	listen_resume(server);
	*ret_server = server;
	return 0;
}

void varlink_server_on_answer(struct varlink_server *server, void (*cb)(void *ctx), void *ctx)
{
	server->answered = cb;
	server->answered_ctx = ctx;
}

int varlink_server_method(struct varlink_server *server, const char *name, varlink_handler *handler,
			  void *ctx)
{
	struct method *method;

	varlink__assert(server->magic == SERVER_MAGIC);
	if (!varlink__method_declared(varlink_machine_text, name))
		return -ENOENT;
	if (find_method(server, name))
		return -EEXIST;
	method = malloc(sizeof(*method) + strlen(name) + 1);
	if (!method)
		return -ENOMEM;
	method->handler = handler;
	method->ctx = ctx;
	strcpy(method->name, name);
	SLIST_INSERT_HEAD(&server->methods, method, next);
	return 0;
}

static void on_server_closed(uv_handle_t *handle)
{
	struct varlink_server *server = handle->data;

	if (--server->handles > 0)
		return;
	server->magic = 0;
	free(server);
}

void varlink_server_destroy(struct varlink_server *server)
{
	struct method *method;
	struct conn *conn;

	varlink__assert(server->magic == SERVER_MAGIC && !server->closing);
	server->closing = true;
	while ((conn = LIST_FIRST(&server->conns)) != NULL)
		conn_close(conn);
	while ((method = SLIST_FIRST(&server->methods)) != NULL) {
		SLIST_REMOVE_HEAD(&server->methods, next);
		free(method);
	}
	uv_close((uv_handle_t *)&server->listen, on_server_closed);
	uv_close((uv_handle_t *)&server->retry, on_server_closed);
	close(server->listen_fd);
}
