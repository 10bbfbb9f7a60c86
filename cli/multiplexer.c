/*
 * `apmp console --all`: the multiplexer of Fig. 2 [0059], every console port in one terminal.
 *
 * WHAT      One connection for each port, one that follows the events, and now and then one that
 *           asks which partitions there are. What is typed goes to the chosen port, but for ^] and
 *           the key behind it. Without a terminal on both sides nothing is read, only shown.
 * STATES    A port: asked for (client) -> open (fd) -> closed, and asked for again as long as there
 *           is such a partition. A console that dies closes everything; its successor is waited for
 *           in the same way, since the box holds on to the listening socket. When the box ends, the
 *           machine is off.
 * LIMITS    Number keys choose the partitions 0 to 9; every partition that has a letter of its own
 *           left in its name has a letter key. What is typed and not taken is lost, as on a line.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/find_machine.h"
#include "cli/multiplexer_screen.h"
#include "cli/table.h"
#include "cli/terminal.h"

enum {
	PORTS_MAX = 64,
	OTHERS = 4,	/* descriptors besides: terminal, events, status, box */
	AGAIN_MS = 100, /* until a connection that was lost is tried again */
};

struct port {
	struct screen_line line;
	json_int_t id;
	char key;		       /* 0: none */
	struct varlink_client *client; /* has asked for the port */
	int fd;			       /* the port; -1: not open */
	bool listed;		       /* of the last answer */
};

struct multiplexer {
	struct cli *cli;
	struct machine machine;
	int box; /* a pidfd: readable when the machine is off */
	struct screen screen;
	struct port *ports[PORTS_MAX];
	int count, colors;
	struct port *chosen;
	struct varlink_client *events, *status; /* status: has asked */
	bool stale;				/* the partitions are to be asked for */
	bool pause;				/* the console is away, and that was said */
	bool key;				/* ^] was typed */
	bool left, off;
};

/* ---- ports ---- */

static bool has_key(const struct multiplexer *m, char key)
{
	for (int i = 0; i < m->count; i++)
		if (m->ports[i]->key == key)
			return true;
	return false;
}

static char free_key(const struct multiplexer *m, const char *name)
{
	for (; *name; name++)
		if (*name >= 'a' && *name <= 'z' && !has_key(m, *name))
			return *name;
	return 0;
}

static void measure(struct multiplexer *m)
{
	m->screen.width = 0;
	for (int i = 0; i < m->count; i++) {
		int length = (int)strlen(m->ports[i]->line.name);

		m->screen.width = length > m->screen.width ? length : m->screen.width;
	}
}

/* Once it is true. */
static void tell_chosen(struct multiplexer *m)
{
	const struct port *port = m->chosen;

	if (port && port->fd >= 0 && m->screen.terminal)
		screen_note(&m->screen, "what is typed goes to %s; ^] ? helps, ^] ^] leaves",
			    port->line.name);
}

static void choose(struct multiplexer *m, struct port *port)
{
	m->chosen = port;
	screen_choose(&m->screen, port ? &port->line : NULL);
	tell_chosen(m);
}

static struct port *add_port(struct multiplexer *m, const char *name, json_int_t id)
{
	struct port *port;

	if (m->count == PORTS_MAX)
		return NULL;
	port = calloc(1, sizeof(*port));
	if (!port)
		cli_out_of_memory();
	snprintf(port->line.name, sizeof(port->line.name), "%s", name);
	port->line.color = m->colors++;
	port->key = free_key(m, name);
	port->id = id;
	port->fd = -1;
	m->ports[m->count++] = port;
	measure(m);
	return port;
}

static void close_port(struct multiplexer *m, struct port *port)
{
	screen_end(&m->screen, &port->line);
	varlink_client_close(port->client);
	port->client = NULL;
	if (port->fd >= 0)
		close(port->fd);
	port->fd = -1;
}

static void remove_port(struct multiplexer *m, int at)
{
	struct port *port = m->ports[at];

	close_port(m, port);
	m->count--;
	for (int i = at; i < m->count; i++)
		m->ports[i] = m->ports[i + 1];
	screen_note(&m->screen, "partition %s is gone", port->line.name);
	if (m->chosen == port)
		choose(m, m->count > 0 ? m->ports[0] : NULL);
	measure(m);
	free(port);
}

/* The machine is asked for a port; false: it is off, or away. */
static bool ask_for_port(struct multiplexer *m, struct port *port)
{
	if (cli_machine_connect(&m->machine, &port->client) < 0)
		return false;
	if (varlink_client_send(port->client, "ConsolePort",
				json_pack("{s:s}", "partition", port->line.name), VARLINK_UPGRADE,
				NULL, 0) == 0)
		return true;
	varlink_client_close(port->client);
	port->client = NULL;
	return false;
}

/* The answer: from here on the connection carries the port's bytes. */
static void port_answered(struct multiplexer *m, struct port *port)
{
	struct varlink_reply reply = {0};
	int r = varlink_client_receive(port->client, &reply);

	if (r == 0 && !reply.error) {
		port->fd = varlink_client_release(port->client);
		port->client = NULL;
		if (port == m->chosen)
			tell_chosen(m);
	} else {
		close_port(m, port);
		m->stale = true;
	}
	varlink_reply_fini(&reply);
}

static void port_readable(struct multiplexer *m, struct port *port)
{
	char bytes[4096];
	ssize_t size = read(port->fd, bytes, sizeof(bytes));

	if (size > 0) {
		screen_bytes(&m->screen, &port->line, bytes, (size_t)size);
	} else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_port(m, port);
		m->stale = true;
	}
}

/* ---- which partitions there are ---- */

static struct port *find_port(struct multiplexer *m, const char *name)
{
	for (int i = 0; i < m->count; i++)
		if (strcmp(m->ports[i]->line.name, name) == 0)
			return m->ports[i];
	return NULL;
}

/* Ports come and go by the console's answer. */
static void take_partitions(struct multiplexer *m, const json_t *partitions)
{
	const json_t *one;
	size_t i;

	for (int k = 0; k < m->count; k++)
		m->ports[k]->listed = false;
	json_array_foreach(partitions, i, one)
	{
		const char *name = cli_string(one, "name");
		struct port *port = find_port(m, name);

		if (!port)
			port = add_port(m, name, json_integer_value(json_object_get(one, "id")));
		if (!port)
			continue;
		port->listed = true;
		if (!port->client && port->fd < 0 && !ask_for_port(m, port))
			m->stale = true;
	}
	for (int k = m->count - 1; k >= 0; k--)
		if (!m->ports[k]->listed)
			remove_port(m, k);
	if (!m->chosen && m->count > 0)
		choose(m, m->ports[0]);
}

static void status_answered(struct multiplexer *m)
{
	struct varlink_reply reply = {0};
	int r = varlink_client_receive(m->status, &reply);

	varlink_client_close(m->status);
	m->status = NULL;
	if (r == 0 && !reply.error) {
		if (m->pause)
			screen_note(&m->screen, "the console is back");
		m->pause = false;
		take_partitions(
		    m, json_object_get(json_object_get(reply.parameters, "status"), "partitions"));
	} else {
		m->stale = true;
	}
	varlink_reply_fini(&reply);
}

/* ---- what happens in the machine ---- */

static void event_happened(struct multiplexer *m, const json_t *event)
{
	const char *kind = cli_string(event, "kind");

	if (strcmp(kind, "tree.changed") == 0 || strncmp(kind, "partition.", 10) == 0)
		m->stale = true;
}

static void events_readable(struct multiplexer *m)
{
	struct varlink_reply reply = {0};
	int r = varlink_client_receive(m->events, &reply);

	if (r == 0 && !reply.error)
		event_happened(m, json_object_get(reply.parameters, "event"));
	if (r < 0 || reply.error) {
		varlink_client_close(m->events);
		m->events = NULL;
		if (!m->pause)
			screen_note(&m->screen, "the console is away");
		m->pause = true;
	}
	varlink_reply_fini(&reply);
}

/* A connection with one call on it; NULL: the machine does not take it now. */
static struct varlink_client *ask(struct multiplexer *m, const char *method, json_t *parameters,
				  unsigned flags)
{
	struct varlink_client *client;

	if (cli_machine_connect(&m->machine, &client) < 0) {
		json_decref(parameters);
		return NULL;
	}
	if (varlink_client_send(client, method, parameters, flags, NULL, 0) == 0)
		return client;
	varlink_client_close(client);
	return NULL;
}

/* Events are followed before the partitions are asked for, so that none comes in between unseen. */
static void keep_up(struct multiplexer *m)
{
	if (!m->events) {
		m->events = ask(m, "Events", json_pack("{s:b}", "follow", 1), VARLINK_MORE);
		m->stale = true;
	}
	if (m->events && m->stale && !m->status) {
		m->status = ask(m, "Status", NULL, 0);
		m->stale = !m->status;
	}
}

/* ---- keys ---- */

static void help(struct multiplexer *m)
{
	screen_note(&m->screen, "^] and a key chooses where to what is typed goes:");
	for (int i = 0; i < m->count; i++) {
		const struct port *port = m->ports[i];
		char digit = port->id >= 0 && port->id < 10 ? (char)('0' + port->id) : ' ';

		screen_note(&m->screen, "  %c %c  %s%s%s", digit, port->key ? port->key : ' ',
			    port->line.name, port == m->chosen ? " (chosen)" : "",
			    port->fd < 0 ? " (not there now)" : "");
	}
	screen_note(&m->screen, "^] ^] leaves, ^] ? says this");
}

static void take_key(struct multiplexer *m, char key)
{
	if (key == TERMINAL_KEY) {
		m->left = true;
		return;
	}
	if (key == '?') {
		help(m);
		return;
	}
	for (int i = 0; i < m->count; i++) {
		struct port *port = m->ports[i];

		if ((key >= '0' && key <= '9') ? port->id == key - '0'
					       : port->key && port->key == key) {
			choose(m, port);
			return;
		}
	}
	screen_note(&m->screen, "no partition has that key; ^] ? shows them");
}

static void typed(struct multiplexer *m)
{
	char bytes[1024], plain[sizeof(bytes)];
	ssize_t size = read(STDIN_FILENO, bytes, sizeof(bytes));
	size_t count = 0;

	if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN))
		m->left = true; /* the terminal has hung up */
	for (ssize_t i = 0; i < size && !m->left; i++) {
		bool chooses = m->key;

		m->key = !chooses && bytes[i] == TERMINAL_KEY;
		if (!chooses && !m->key)
			plain[count++] = bytes[i];
		if (chooses || m->key || i + 1 == size) {
			if (count > 0 && m->chosen && m->chosen->fd >= 0)
				(void)!send(m->chosen->fd, plain, count,
					    MSG_DONTWAIT | MSG_NOSIGNAL);
			count = 0;
		}
		if (chooses)
			take_key(m, bytes[i]);
	}
}

/* ---- all of it ---- */

static struct pollfd wait_for(int fd)
{
	return (struct pollfd){.fd = fd, .events = POLLIN};
}

static int client_fd(const struct varlink_client *client)
{
	return client ? varlink_client_fd(client) : -1;
}

/* One round: waits until something can be read, and reads it. poll() passes over fd -1. */
static void turn(struct multiplexer *m)
{
	struct pollfd fds[OTHERS + PORTS_MAX];
	struct port *ports[PORTS_MAX];
	int count = m->count;

	fds[0] = wait_for(m->screen.terminal ? STDIN_FILENO : -1);
	fds[1] = wait_for(client_fd(m->events));
	fds[2] = wait_for(client_fd(m->status));
	fds[3] = wait_for(m->box);
	for (int i = 0; i < count; i++) {
		ports[i] = m->ports[i];
		fds[OTHERS + i] =
		    wait_for(ports[i]->client ? client_fd(ports[i]->client) : ports[i]->fd);
	}
	fflush(stdout);
	if (ferror(stdout))
		m->left = true;
	if (poll(fds, OTHERS + (nfds_t)count, m->events && !m->stale ? -1 : AGAIN_MS) <= 0)
		return;
	m->off = fds[3].revents != 0;
	if (fds[0].revents)
		typed(m);
	for (int i = 0; i < count; i++) {
		if (fds[OTHERS + i].revents && ports[i]->client)
			port_answered(m, ports[i]);
		else if (fds[OTHERS + i].revents)
			port_readable(m, ports[i]);
	}
	if (fds[1].revents)
		events_readable(m);
	if (fds[2].revents)
		status_answered(m); /* ports come and go here, and only here */
}

static void finish(struct multiplexer *m)
{
	if (m->off)
		screen_note(&m->screen, "machine %s is off", m->machine.name);
	screen_choose(&m->screen, NULL);
	if (m->screen.terminal)
		terminal_give_back();
	for (int i = 0; i < m->count; i++) {
		close_port(m, m->ports[i]);
		free(m->ports[i]);
	}
	varlink_client_close(m->events);
	varlink_client_close(m->status);
	close(m->box);
}

int cli_console_all(struct cli *cli)
{
	struct multiplexer m = {.cli = cli, .screen = {.color = cli->color, .json = cli->json}};
	int code = cli_choose(cli, &m.machine);

	if (code != CLI_DONE)
		return code;
	m.box = cli_box_open(&m.machine);
	if (m.box < 0)
		return cli_refuse(cli, CLI_NO_MACHINE, "org.apmp.cli.DeadMachine",
				  json_pack("{s:s}", "machine", m.machine.name));
	signal(SIGPIPE, SIG_IGN);
	m.screen.terminal = !cli->json && isatty(STDOUT_FILENO) && terminal_take();
	while (!m.left && !m.off) {
		keep_up(&m);
		turn(&m);
	}
	finish(&m);
	return CLI_DONE;
}
