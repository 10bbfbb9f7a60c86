/*
 * `apmp console`: the serial port of a partition.
 *
 * WHAT      The connection is upgraded to the raw bytes of the port. A terminal becomes raw: ^C and
 *           the rest go to the partition, ^] leaves. Without one, bytes are copied until standard
 *           input ends. With --all it is the multiplexer (multiplexer.c).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/find_machine.h"
#include "cli/table.h"
#include "cli/terminal.h"

/* Writes all of it; the port's socket does not block, so it may have to be waited for. */
static int write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, bytes, size);
		struct pollfd room = {.fd = fd, .events = POLLOUT};

		if (written < 0 && errno == EAGAIN)
			poll(&room, 1, -1);
		else if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			bytes += written;
			size -= (size_t)written;
		}
	}
	return 0;
}

/* Copies what there is. 1: go on; 0: from has ended; or -errno. */
static int copy(int from, int to, bool leave_key, bool *ret_left)
{
	char bytes[4096];
	ssize_t size = read(from, bytes, sizeof(bytes));
	char *leave;
	int r;

	if (size < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	leave = leave_key ? memchr(bytes, TERMINAL_KEY, (size_t)size) : NULL;
	r = write_all(to, bytes, leave ? (size_t)(leave - bytes) : (size_t)size);
	*ret_left = leave != NULL;
	return r < 0 ? r : size > 0 && !leave;
}

/* Both ways until the user leaves (1), standard input ends (1) or the port (0); or -errno. */
static int copy_both(int port, bool terminal)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = port, .events = POLLIN}};
	bool left = false;

	for (;;) {
		int r = poll(fds, 2, -1) < 0 ? -errno : 0;

		if (r == -EINTR)
			continue;
		if (r == 0 && fds[1].revents) {
			r = copy(port, STDOUT_FILENO, false, &left);
			/* A port that was closed with our bytes unread has ended, too. */
			if (r <= 0)
				return r == -ECONNRESET ? 0 : r;
		}
		if (r >= 0 && fds[0].revents) {
			r = copy(STDIN_FILENO, port, terminal, &left);
			if (r == 0)
				return 1;
			if (r == -EPIPE || r == -ECONNRESET)
				return 0;
		}
		if (r < 0)
			return r;
	}
}

static int attach(const struct cli *cli, const char *partition, int port)
{
	bool terminal;
	int r;

	signal(SIGPIPE, SIG_IGN);
	/* Said when it is true: before, ^] would be a letter and ^C would end us. */
	terminal = terminal_take();
	if (terminal)
		fprintf(stderr, "console of partition \"%s\"; ^] leaves\r\n", partition);
	r = copy_both(port, terminal);
	if (terminal) {
		terminal_give_back();
		fprintf(stderr, "\n");
	}
	if (r == 0)
		return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.Lost",
				  json_pack("{s:s, s:s}", "reason", "it was closed", "consequence",
					    "the partition's console may be attached again"));
	if (r < 0)
		return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.Host",
				  json_pack("{s:s, s:s}", "what", "copying to and from the console",
					    "reason", strerror(-r)));
	return CLI_DONE;
}

int cli_console(struct cli *cli, const struct cli_args *args)
{
	struct varlink_reply reply = {0};
	struct varlink_client *client;
	struct machine machine;
	int port, r;

	if (cli_option(args, "all") && args->count > 0)
		return cli_usage(args, "--all is every partition, and \"%s\" one", args->args[0]);
	if (cli_option(args, "all"))
		return cli_console_all(cli);
	if (args->count == 0)
		return cli_usage(args, "console wants PARTITION, or --all");
	r = cli_connect(cli, &machine, &client);
	if (r != CLI_DONE)
		return r;
	r = varlink_client_send(client, "ConsolePort",
				json_pack("{s:s}", "partition", args->args[0]), VARLINK_UPGRADE,
				NULL, 0);
	if (r == 0)
		r = varlink_client_receive(client, &reply);
	if (r < 0 || reply.error) {
		r = r < 0
			? cli_no_answer(cli, &machine, r)
			: cli_refuse(cli, CLI_REFUSED, reply.error, json_incref(reply.parameters));
		varlink_reply_fini(&reply);
		varlink_client_close(client);
		return r;
	}
	varlink_reply_fini(&reply);
	port = varlink_client_release(client);
	r = attach(cli, args->args[0], port);
	close(port);
	return r;
}
