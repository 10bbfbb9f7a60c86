/*
 * port.c - console ports: a pseudo-terminal for each partition, shown to whoever attaches.
 *
 * The instance has the terminal's other side as its standard streams; output.c adds what its
 * detached programs print.  What it printed last is
 * kept, so that whoever attaches sees where the partition is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/assert.h"

#define PORT_KEPT     16384u
#define PORT_ATTACHED 64u /* to one port: they are no connections that the server counts */

struct attached {
	struct attached *next;
	struct port *port;
	int sock;
	uv_poll_t poll;
};

struct port {
	struct partition *partition;
	int master;
	uv_poll_t poll;
	struct attached *attached;
	unsigned attached_count;
	char kept[PORT_KEPT]; /* a ring */
	size_t kept_end, kept_size;
};

static void keep(struct port *port, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		port->kept[port->kept_end] = data[i];
		port->kept_end = (port->kept_end + 1) % PORT_KEPT;
	}
	port->kept_size = port->kept_size + size < PORT_KEPT ? port->kept_size + size : PORT_KEPT;
}

static void on_attached_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void detach(struct attached *a)
{
	struct attached **at = &a->port->attached;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	a->port->attached_count--;
	uv_poll_stop(&a->poll);
	close(a->sock);
	uv_close((uv_handle_t *)&a->poll, on_attached_closed);
}

/* To everyone attached; who doesn't read loses what doesn't fit, as on a serial line. */
static void show(struct port *port, const char *data, size_t size)
{
	keep(port, data, size);
	for (struct attached *a = port->attached, *next; a; a = next) {
		next = a->next;
		if (write(a->sock, data, size) < 0 && errno != EAGAIN)
			detach(a);
	}
}

static void on_master(uv_poll_t *poll, int status, int events)
{
	struct port *port = poll->data;
	char data[4096];
	ssize_t n;

	(void)events;
	if (status < 0)
		return;
	n = read(port->master, data, sizeof(data));
	if (n > 0)
		show(port, data, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		uv_poll_stop(&port->poll); /* the box holds the other side open: does not happen */
}

static void on_typed(uv_poll_t *poll, int status, int events)
{
	struct attached *a = poll->data;
	char data[1024];
	ssize_t n = status < 0 ? 0 : read(a->sock, data, sizeof(data));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		detach(a);
		return;
	}
	n = write(a->port->master, data, (size_t)n); /* a full terminal drops what is typed */
	(void)n;
}

/* What is typed are bytes, no signals; lines are still ended for terminals. */
void port_line(int master)
{
	struct termios line;

	(void)fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
	if (tcgetattr(master, &line) == 0) {
		cfmakeraw(&line);
		line.c_oflag |= OPOST | ONLCR;
		(void)tcsetattr(master, TCSANOW, &line);
	}
}

int port_open(struct partition *p, int master)
{
	struct port *port;
	int err;

	if (p->port)
		return 0;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->partition = p;
	port->master = master;
	port_line(master);
	err = uv_poll_init(&p->console->loop, &port->poll, master);
	if (!err)
		err = uv_poll_start(&port->poll, UV_READABLE, on_master);
	if (err) {
		free(port);
		return err;
	}
	port->poll.data = port;
	p->port = port;
	return 0;
}

static void on_port_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void port_close(struct partition *p)
{
	struct port *port = p->port;

	if (!port)
		return;
	while (port->attached)
		detach(port->attached);
	uv_poll_stop(&port->poll);
	uv_close((uv_handle_t *)&port->poll, on_port_closed);
	p->port = NULL;
}

void port_show(struct partition *p, const char *data, size_t size)
{
	if (p->port)
		show(p->port, data, size);
}

void port_print(struct partition *p, const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	if (!p->port)
		return;
	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 2, format, args);
	va_end(args);
	if (n < 0)
		return;
	n = n < (int)sizeof(line) - 2 ? n : (int)sizeof(line) - 3;
	memcpy(line + n, "\r\n", 2);
	show(p->port, line, (size_t)n + 2);
}

static void refuse(struct partition *p, struct varlink_call *call)
{
	char reason[160];

	snprintf(
	    reason, sizeof(reason),
	    "%u others look at the console port of partition \"%s\" already; try again when one "
	    "of them has left",
	    p->port->attached_count, p->name);
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

/* Answers the call, and gives the connection to the port; NULL: its peer is gone. */
static struct attached *take_connection(struct port *port, struct varlink_call *call)
{
	struct attached *a = calloc(1, sizeof(*a));
	int err;

	apmp_assert(a);
	if (varlink_call_upgrade(call, NULL, &a->sock)) {
		free(a);
		return NULL;
	}
	err = uv_poll_init(&port->partition->console->loop, &a->poll, a->sock);
	if (err) {
		close(a->sock);
		free(a);
		return NULL;
	}
	a->port = port;
	a->poll.data = a;
	a->next = port->attached;
	port->attached = a;
	port->attached_count++;
	return a;
}

void port_attach(struct partition *p, struct varlink_call *call)
{
	struct port *port = p->port;
	struct attached *a;
	size_t begin;

	if (port->attached_count == PORT_ATTACHED) {
		refuse(p, call);
		return;
	}
	a = take_connection(port, call);
	if (!a)
		return;
	begin = (port->kept_end + PORT_KEPT - port->kept_size) % PORT_KEPT;
	for (size_t left = port->kept_size; left > 0;) {
		size_t run = PORT_KEPT - begin < left ? PORT_KEPT - begin : left;

		if (write(a->sock, port->kept + begin, run) < 0)
			break;
		begin = (begin + run) % PORT_KEPT;
		left -= run;
	}
	uv_poll_start(&a->poll, UV_READABLE, on_typed);
}
