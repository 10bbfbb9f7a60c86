/*
 * output.c - what programs that nobody waits for print: shown at their partition's console port.
 *
 * WHAT      `apmp run --detach` gives a program the end of a second pseudo-terminal of its
 *           partition, so that lines come when they are printed, and are the instance's terminal's
 *           equals in everything but this: a program that prints without end holds up itself, and
 *           never the instance.  It is read whether somebody is attached or not, so a program waits
 *           for a full terminal no longer than it takes to be read again; a console that dies is
 *           such a while, for the box keeps both ends.  Each has an open file of its own, and with
 *           each that is started the line is made again what it was at first.
 * STATES    none -> made, with the partition's first such program -> dropped with the partition, or
 *           when a program has hung it up: the next one gets a new one.
 * LIMITS    It is a serial line of LINE_BYTES in LINE_MS, so that the console has time for the
 *           rest of the machine.  Programs share it, their lines may mix, and one that stops it
 *           (^S) stops the others until the next is started.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "console/console.h"

#define LINE_BYTES 16384u /* as much as the port keeps */
#define LINE_MS	   10u

struct output {
	struct partition *partition;
	int master;
	uv_poll_t poll;
	uv_timer_t pause;
	size_t shown;	 /* since the last pause */
	unsigned closes; /* handles that are being closed */
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void go_on(uv_timer_t *pause)
{
	struct output *o = pause->data;

	o->shown = 0;
	(void)uv_poll_start(&o->poll, UV_READABLE, on_readable); /* it has been started before */
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct output *o = poll->data;
	char data[4096];
	ssize_t n = status < 0 ? 0 : read(o->master, data, sizeof(data));

	(void)events;
	if (n <= 0)
		return; /* the box holds the other side open: there is an end of nothing */
	port_show(o->partition, data, (size_t)n);
	o->shown += (size_t)n;
	if (o->shown < LINE_BYTES)
		return;
	uv_poll_stop(poll);
	uv_timer_start(&o->pause, go_on, LINE_MS, 0);
}

static void on_closed(uv_handle_t *handle)
{
	struct output *o = handle->data;

	if (--o->closes == 0)
		free(o);
}

int output_open(struct partition *p)
{
	struct output *o;
	int fds[2], err = console_object(p->console, APMP_BOX_OUTPUT, p->id, 0, fds);

	if (err == -ENOENT || p->output)
		return 0; /* no program has needed it yet */
	o = err ? NULL : calloc(1, sizeof(*o));
	if (!o)
		return err ? err : -ENOMEM;
	*o = (struct output){.partition = p, .master = fds[0]};
	port_line(o->master);
	err = uv_poll_init(&p->console->loop, &o->poll, o->master);
	if (err) {
		free(o);
		return err;
	}
	(void)uv_timer_init(&p->console->loop, &o->pause); /* refuses nothing */
	o->poll.data = o->pause.data = o;
	p->output = o;
	return uv_poll_start(&o->poll, UV_READABLE, on_readable);
}

void output_close(struct partition *p)
{
	struct output *o = p->output;

	if (!o)
		return;
	p->output = NULL;
	uv_poll_stop(&o->poll);
	uv_timer_stop(&o->pause);
	o->closes = 2;
	uv_close((uv_handle_t *)&o->poll, on_closed);
	uv_close((uv_handle_t *)&o->pause, on_closed);
}

/* An end of its own for a program: what it does to that (O_NONBLOCK) is nobody else's.  The line is
 * as it was at first, whatever one before it has made of it: raw, stopped, or its alone. */
static int own_end(int master, int end)
{
	int fd;

	port_line(master);
	(void)ioctl(end, TIOCNXCL);
	(void)tcflow(end, TCOON);
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A program of root may hang the line up (vhangup): its end is dead for all who have it. */
static void drop_dead(struct partition *p)
{
	struct termios line;
	int fds[2];

	if (console_object(p->console, APMP_BOX_OUTPUT, p->id, 0, fds) ||
	    tcgetattr(fds[1], &line) == 0)
		return;
	output_close(p);
	console_object_drop(p->console, APMP_BOX_OUTPUT, p->id);
}

int output_need(struct partition *p, int *ret_fd, struct apmp_box_event *ret_event)
{
	int fds[2], err;

	drop_dead(p);
	err = console_object_need(p->console, APMP_BOX_OUTPUT, p->id, 0, ret_event);
	if (!err)
		err = output_open(p);
	if (!err)
		err = console_object(p->console, APMP_BOX_OUTPUT, p->id, 0, fds);
	if (err)
		return err;
	fds[1] = own_end(fds[0], fds[1]);
	if (fds[1] >= 0)
		*ret_fd = fds[1];
	return fds[1] < 0 ? fds[1] : 0;
}
