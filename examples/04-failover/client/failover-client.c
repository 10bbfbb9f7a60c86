/*
 * failover-client - asks the service again and again, and sees to it that each of its requests is
 * done exactly once, whatever fails on the other side.
 *
 *     failover-client DIRECTORY NAME COUNT
 *
 * WHAT      Request k adds k, one each millisecond.  When the connection ends it waits for the next
 *           one that serves, asks what had no answer once more, and goes on.  Each answer must be
 *           the total of all requests so far, which it is only if each was done, and none twice.
 *           COUNT 0: until it is told to end (SIGTERM).
 * PRINTS    A line for each connection after the first: between the answers before and after it;
 *           and at the end how many requests there were, and the longest gap between two answers.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 1000000u
#define LINE	  128

struct client {
	const char *name;
	struct sockaddr_un address;
	int news, sock;		/* news: the directory's, which tell of a new service; -1 none */
	uint64_t number, total; /* of the last answer */
	uint64_t answered_ns, longest_ns;
};

static volatile sig_atomic_t told_to_end;

static void on_term(int signal)
{
	(void)signal;
	told_to_end = 1;
}

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "failover-client: %s: %s\n", what, why);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool try_connect(struct client *c)
{
	c->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->sock < 0)
		die("socket", strerror(errno));
	if (connect(c->sock, (const struct sockaddr *)&c->address, sizeof(c->address)) == 0)
		return true;
	close(c->sock);
	c->sock = -1;
	return false;
}

/* A service gives its socket the name when it serves, which the directory's news tell: what happens
 * after a try is told, so nothing is missed.  False: it is told to end. */
static bool connect_to_service(struct client *c)
{
	while (!try_connect(c)) {
		char news[4096] __attribute__((aligned(8)));

		if (told_to_end || (read(c->news, news, sizeof(news)) < 0 && errno != EINTR))
			return false;
	}
	return true;
}

/* One line.  False: the service has gone, or it is told to end. */
static bool receive(struct client *c, char line[LINE])
{
	size_t size = 0;

	while (size < LINE - 1) {
		ssize_t n = recv(c->sock, line + size, LINE - 1 - size, 0);

		if (n < 0 && errno == EINTR && !told_to_end)
			continue;
		if (n <= 0)
			return false;
		size += (size_t)n;
		if (line[size - 1] == '\n') {
			line[size] = '\0';
			return true;
		}
	}
	die("the service", "its answer is no line");
}

static bool ask(struct client *c, uint64_t number)
{
	char line[LINE];
	int size =
	    snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 "\n", c->name, number, number);
	uint64_t answered, total;

	if (send(c->sock, line, (size_t)size, MSG_NOSIGNAL) != size || !receive(c, line))
		return false;
	if (sscanf(line, "%" SCNu64 " %" SCNu64, &answered, &total) != 2 || answered != number ||
	    total != c->total + number) {
		fprintf(stderr,
			"failover-client: request %" PRIu64 " must make the total %" PRIu64
			", and the answer is %s",
			number, c->total + number, line);
		exit(1);
	}
	c->number = number;
	c->total = total;
	return true;
}

/* Asks until it has an answer, by whoever gives it.  False: it is told to end. */
static bool ask_until_answered(struct client *c)
{
	bool again = false;
	uint64_t gap;

	while (!ask(c, c->number + 1)) {
		close(c->sock);
		if (told_to_end || !connect_to_service(c))
			return false;
		again = true;
	}
	gap = c->answered_ns ? now() - c->answered_ns : 0;
	c->answered_ns = now();
	if (gap > c->longest_ns)
		c->longest_ns = gap;
	if (again) {
		printf("request %" PRIu64
		       " was answered by another, %.3f ms after the one before\n",
		       c->number, (double)gap / 1e6);
		fflush(stdout);
	}
	return true;
}

static void ask_all(struct client *c, uint64_t count)
{
	const struct timespec period = {.tv_nsec = PERIOD_NS};
	const struct itimerspec when = {.it_interval = period, .it_value = period};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t ticks; /* what was missed is not asked in a bunch */

	if (timer < 0 || timerfd_settime(timer, 0, &when, NULL) < 0)
		die("timer", strerror(errno));
	while (!told_to_end && (!count || c->number < count) && ask_until_answered(c))
		(void)!read(timer, &ticks, sizeof(ticks));
	close(timer);
}

int main(int argc, char **argv)
{
	static struct client c = {.address = {.sun_family = AF_UNIX}};
	struct sigaction term = {.sa_handler = on_term}; /* without SA_RESTART: it ends a wait */

	if (argc != 4)
		die("usage", "failover-client DIRECTORY NAME COUNT");
	if (snprintf(c.address.sun_path, sizeof(c.address.sun_path), "%s/socket", argv[1]) >=
	    (int)sizeof(c.address.sun_path))
		die(argv[1], "its name is too long for a socket");
	sigaction(SIGTERM, &term, NULL);
	c.name = argv[2];
	c.news = inotify_init1(IN_CLOEXEC);
	if (c.news < 0 || inotify_add_watch(c.news, argv[1], IN_MOVED_TO) < 0)
		die(argv[1], strerror(errno));
	if (connect_to_service(&c))
		ask_all(&c, strtoull(argv[3], NULL, 10));
	printf("%" PRIu64
	       " requests, each done once; the longest gap between two answers: %.3f ms\n",
	       c.number, (double)c.longest_ns / 1e6);
	return 0;
}
