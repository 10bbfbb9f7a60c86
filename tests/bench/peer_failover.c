/*
 * peer_failover.c - the peer of a service that fails over: the same service in two plain processes.
 *
 *     peer_failover DIRECTORY
 *
 * Who has the lock of a file serves; the other waits for it in flock(2), which the kernel lets go
 * with its holder.  What was done is in a page that both have mapped.  failover-client is its
 * client.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct done {
	uint64_t number, total;
};

static int open_in(const char *directory, const char *name)
{
	char path[108];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static struct done *map_done(const char *directory)
{
	int fd = open_in(directory, "done");
	struct done *done;

	if (ftruncate(fd, sizeof(*done)) < 0)
		err(1, "done");
	done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (done == MAP_FAILED)
		err(1, "done");
	return done;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strlen(path));
	if (bind(sock, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(sock, 1) < 0)
		err(1, "%s", path);
	return sock;
}

static void serve(int sock, struct done *done)
{
	char line[128];
	ssize_t n;

	while ((n = recv(sock, line, sizeof(line) - 1, 0)) > 0) {
		uint64_t number, amount;

		line[n] = '\0';
		if (sscanf(line, "%*s %" SCNu64 " %" SCNu64, &number, &amount) != 2)
			return;
		if (number > done->number) {
			done->total += amount;
			done->number = number;
		}
		n = snprintf(line, sizeof(line), "%" PRIu64 " %" PRIu64 "\n", number, done->total);
		if (send(sock, line, (size_t)n, MSG_NOSIGNAL) != n)
			return;
	}
}

int main(int argc, char **argv)
{
	char unseen[108], seen[108];
	struct done *done;
	int listener, lock;

	if (argc != 2)
		errx(2, "usage: peer_failover DIRECTORY");
	snprintf(unseen, sizeof(unseen), "%s/socket.%d", argv[1], (int)getpid());
	snprintf(seen, sizeof(seen), "%s/socket", argv[1]);
	done = map_done(argv[1]);
	listener = listen_at(unseen);
	lock = open_in(argv[1], "lock");
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		puts("stands by");
		fflush(stdout);
		(void)!flock(lock, LOCK_EX);
	}
	if (rename(unseen, seen) < 0)
		err(1, "%s", seen);
	puts("serves");
	fflush(stdout);
	for (;;) {
		int sock = accept(listener, NULL, NULL);

		serve(sock, done);
		close(sock);
	}
}
