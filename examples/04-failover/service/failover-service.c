/*
 * failover-service - a service that runs in two partitions: one serves, the other takes over when
 * the partition of the first one fails.
 *
 *     failover-service DIRECTORY
 *
 * WHAT      Keeps a total for each client.  A request is "CLIENT NUMBER AMOUNT", the answer "NUMBER
 *           TOTAL".  What was done is in the journal before it is answered, so whoever serves next
 *           gives a request that comes again the same answer, and does it once.
 * STATES    standing by -> serving.  Who has the lock "failover" serves.  Who stands by is told of
 *           each member of the sharing set that fails, and then asks for the lock.
 * CRASHES   At any instruction.  The journal ends with a whole line, or with half of one, which was
 *           never answered and is cut off by who takes over: the lock is BROKEN, which says so.  No
 *           program of a failed partition runs any more when another one gets its lock.
 * LIMITS    The journal is safe when a partition fails, not when the host's power does: it is not
 *           written to the disk before an answer.
 */
#include <apmp.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS	     16
#define LINE	     128
#define JOURNAL_MOST (64 << 10) /* bytes; a longer one is written anew, one line for each client */

struct client {
	char name[32];
	uint64_t number, total; /* of its last request */
};

struct connection {
	int sock; /* -1: none */
	char line[LINE];
	size_t size;
};

struct service {
	struct apmp_app_locks *locks;
	struct apmp_app_events *events;
	uint32_t lock;
	const char *directory;
	int journal, listener;
	off_t journal_size;
	struct client client[CLIENTS];
	struct connection connection[CLIENTS];
};

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "failover-service: %s: %s\n", what, why);
	exit(1);
}

static void path(const struct service *s, const char *name,
		 char ret[sizeof(((struct sockaddr_un *)0)->sun_path)])
{
	if (snprintf(ret, sizeof(((struct sockaddr_un *)0)->sun_path), "%s/%s", s->directory,
		     name) >= (int)sizeof(((struct sockaddr_un *)0)->sun_path))
		die(s->directory, "its name is too long for a socket");
}

/* ---- the journal ---- */

/* NULL: there is no room for another one. */
static struct client *client_of(struct service *s, const char *name)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (strcmp(c->name, name) == 0)
			return c;
		if (!*c->name) {
			snprintf(c->name, sizeof(c->name), "%s", name);
			return c;
		}
	}
	return NULL;
}

static void append(struct service *s, int fd, const struct client *c)
{
	char line[LINE];
	int size = snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 "\n", c->name, c->number,
			    c->total);

	if (write(fd, line, (size_t)size) != size)
		die("journal", strerror(errno));
	s->journal_size += size;
}

/* One line for each client, in a new file that takes the place of the old one. */
static void rewrite_journal(struct service *s)
{
	char name[108], new_name[108];
	int fd;

	path(s, "journal", name);
	path(s, "journal.new", new_name);
	fd = open(new_name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		die(new_name, strerror(errno));
	s->journal_size = 0;
	for (int i = 0; i < CLIENTS && *s->client[i].name; i++)
		append(s, fd, &s->client[i]);
	if (rename(new_name, name) < 0)
		die(name, strerror(errno));
	close(s->journal);
	s->journal = fd;
}

/* What was done so far; the last line counts only if it is whole. */
static void read_journal(struct service *s)
{
	char name[108], text[JOURNAL_MOST + LINE + 1];
	ssize_t size;

	path(s, "journal", name);
	s->journal = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size = s->journal < 0 ? -1 : pread(s->journal, text, sizeof(text) - 1, 0);
	if (size < 0)
		die(name, strerror(errno));
	text[size] = '\0';
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		uint64_t number, total;
		char who[32];
		struct client *c;

		*end = '\0';
		if (sscanf(line, "%31s %" SCNu64 " %" SCNu64, who, &number, &total) != 3)
			die(name, "a line in it makes no sense");
		c = client_of(s, who);
		if (!c)
			die(name, "it has more clients than this service takes");
		c->number = number;
		c->total = total;
	}
	rewrite_journal(s); /* without half a line at its end */
}

/* ---- who serves ---- */

static void open_all(struct service *s)
{
	int err = apmp_app_events_open(&s->events);

	if (!err)
		err = apmp_app_locks_open(&s->locks);
	if (err)
		die("apmp", apmp_app_explain(err));
	if (apmp_app_lock_open(s->locks, "failover", 1, &s->lock))
		die("apmp", apmp_app_locks_sentence(s->locks));
}

/* Nobody finds it before it has its name. */
static void listen_unseen(struct service *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];

	snprintf(name, sizeof(name), "socket.%d", (int)getpid());
	path(s, name, address.sun_path);
	unlink(address.sun_path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->listener < 0 ||
	    bind(s->listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(s->listener, CLIENTS) < 0)
		die(address.sun_path, strerror(errno));
}

static void become_seen(struct service *s)
{
	char name[108], unseen[108], own[64];

	snprintf(own, sizeof(own), "socket.%d", (int)getpid());
	path(s, own, unseen);
	path(s, "socket", name);
	if (rename(unseen, name) < 0)
		die(name, strerror(errno));
}

/* Until a member of the sharing set fails. */
static void await_failure(struct service *s)
{
	struct apmp_app_news news;
	int n;

	do {
		n = apmp_app_events_next(s->events, -1, &news);
		if (n < 0 && n != -EINTR)
			die("apmp", apmp_app_explain(n));
	} while (n != 1 || news.kind != APMP_APP_MEMBER_REMOVED || !news.failed);
}

static void take_over(struct service *s)
{
	int err = apmp_app_lock_acquire(s->locks, s->lock, APMP_APP_TRY);

	if (err == -ETIMEDOUT) {
		printf("stands by\n");
		fflush(stdout);
		await_failure(s);
		err = apmp_app_lock_acquire(s->locks, s->lock, APMP_APP_FOR_EVER);
	}
	if (err < 0)
		die("apmp", apmp_app_locks_sentence(s->locks));
	read_journal(s);
	if (err == APMP_APP_BROKEN && apmp_app_lock_good(s->locks, s->lock))
		die("apmp", apmp_app_locks_sentence(s->locks));
	become_seen(s);
	printf("serves%s\n", err == APMP_APP_BROKEN ? ", after one that failed" : "");
	fflush(stdout);
}

/* ---- requests ---- */

/* "CLIENT NUMBER AMOUNT"; false: it makes no sense. */
static bool serve_line(struct service *s, int sock, const char *line)
{
	uint64_t number, amount;
	struct client *c;
	char who[32], answer[LINE];
	int size;

	if (sscanf(line, "%31s %" SCNu64 " %" SCNu64, who, &number, &amount) != 3)
		return false;
	c = client_of(s, who);
	if (!c || number < c->number || number > c->number + 1)
		return false;
	if (number > c->number) { /* else it was done, and its answer was lost */
		c->number = number;
		c->total += amount;
		append(s, s->journal, c);
	}
	size = snprintf(answer, sizeof(answer), "%" PRIu64 " %" PRIu64 "\n", number, c->total);
	if (s->journal_size > JOURNAL_MOST)
		rewrite_journal(s);
	return send(sock, answer, (size_t)size, MSG_NOSIGNAL) == size;
}

static void drop(struct connection *c)
{
	close(c->sock);
	c->sock = -1;
}

/* All lines that have come; half a line is kept. */
static void serve(struct service *s, struct connection *c)
{
	ssize_t n = recv(c->sock, c->line + c->size, sizeof(c->line) - 1 - c->size, 0);
	char *line = c->line, *end;

	if (n <= 0) {
		drop(c);
		return;
	}
	c->size += (size_t)n;
	c->line[c->size] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (!serve_line(s, c->sock, line)) {
			drop(c);
			return;
		}
	}
	c->size -= (size_t)(line - c->line);
	memmove(c->line, line, c->size);
	if (c->size == sizeof(c->line) - 1)
		drop(c);
}

static void accept_one(struct service *s)
{
	int sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

	for (int i = 0; i < CLIENTS && sock >= 0; i++)
		if (s->connection[i].sock < 0) {
			s->connection[i] = (struct connection){.sock = sock};
			return;
		}
	if (sock >= 0)
		close(sock);
}

/* Until its partition ends, and with it this program. */
static void serve_all(struct service *s)
{
	struct pollfd fd[CLIENTS + 1] = {{.fd = s->listener, .events = POLLIN}};

	for (;;) {
		for (int i = 0; i < CLIENTS; i++)
			fd[i + 1] = (struct pollfd){.fd = s->connection[i].sock, .events = POLLIN};
		if (poll(fd, CLIENTS + 1, -1) < 0)
			continue; /* EINTR */
		for (int i = 0; i < CLIENTS; i++)
			if (fd[i + 1].revents)
				serve(s, &s->connection[i]);
		if (fd[0].revents)
			accept_one(s);
	}
}

int main(int argc, char **argv)
{
	static struct service s = {.journal = -1};

	if (argc != 2)
		die("usage", "failover-service DIRECTORY");
	signal(SIGPIPE, SIG_IGN); /* who prints for nobody serves nevertheless */
	s.directory = argv[1];
	for (int i = 0; i < CLIENTS; i++)
		s.connection[i].sock = -1;
	open_all(&s);
	listen_unseen(&s);
	take_over(&s);
	serve_all(&s);
}
