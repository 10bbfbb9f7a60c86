/* connect.c - a program's connection to the instance of its partition. */
#include "instance/app/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int apmp__app_receive(int sock, void *ret_message, size_t size)
{
	ssize_t n = recv(sock, ret_message, size, MSG_TRUNC);

	/* It was closed before our last message was read, which is told once; what it had to say
	 * is still there. */
	if (n < 0 && errno == ECONNRESET)
		n = recv(sock, ret_message, size, MSG_TRUNC);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? -EINTR : -EPIPE;
	if (n == 0)
		return -EPIPE;
	return n == (ssize_t)size ? 0 : -EPROTO;
}

int apmp__app_ask(int sock, const struct apmp_app_request *request,
		  struct apmp_app_reply *ret_reply)
{
	ssize_t n;
	int err;

	do
		n = send(sock, request, sizeof(*request), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	err = n < 0 ? -EPIPE : 0;
	if (!err)
		do
			err = apmp__app_receive(sock, ret_reply, sizeof(*ret_reply));
		while (err == -EINTR);
	if (err)
		*ret_reply =
		    (struct apmp_app_reply){.error = err, .text = "the instance has ended"};
	ret_reply->text[sizeof(ret_reply->text) - 1] = '\0';
	return ret_reply->error;
}

void apmp__app_keep_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* One that nobody takes for his standard input or output, where those are closed. */
static int create_socket(void)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int above = sock;

	if (sock >= 0 && sock <= STDERR_FILENO) {
		above = fcntl(sock, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		close(sock);
	}
	return above;
}

static int connect_to(const char *name, size_t length, int *ret_sock)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
	int err, sock = create_socket();

	if (sock < 0)
		return -errno;
	memcpy(address.sun_path + 1, name, length); /* behind the NUL that makes it abstract */
	while (connect(sock, (struct sockaddr *)&address, size) < 0)
		if (errno != EINTR) {
			/* Nobody listens: that life of the partition is over, or never did. */
			err = errno == ECONNREFUSED ? -EPIPE : -errno;
			close(sock);
			return err;
		}
	*ret_sock = sock;
	return 0;
}

static int introduce(int sock, uint32_t op, uint32_t what, const char *word,
		     struct apmp_app_partition *ret_self)
{
	struct apmp_app_request request = {.version = APMP_APP_VERSION, .op = op, .rank = what};
	struct apmp_app_reply reply;
	int err;

	memcpy(request.text, word, APMP_APP_WORD_SIZE);
	/* Where it fails, why we are not wanted may have been said already. */
	(void)!send(sock, &request, sizeof(request), MSG_NOSIGNAL);
	do
		err = apmp__app_receive(sock, &reply, sizeof(reply));
	while (err == -EINTR);
	if (err)
		return err;
	if (reply.version != APMP_APP_VERSION)
		return -EPROTO;
	if (reply.error)
		return reply.error;
	*ret_self =
	    (struct apmp_app_partition){.id = reply.partition, .incarnation = reply.incarnation};
	memcpy(ret_self->name, reply.name, sizeof(ret_self->name) - 1);
	return 0;
}

int apmp__app_connect(uint32_t op, uint32_t what, int *ret_sock,
		      struct apmp_app_partition *ret_self)
{
	const char *address = getenv(APMP_APP_VARIABLE);
	const char *word = address ? strrchr(address, ':') : NULL;
	int sock = -1, err;

	if (!word || word - address >= (ptrdiff_t)APMP_APP_ADDRESS_SIZE ||
	    strlen(word + 1) != APMP_APP_WORD_SIZE - 1)
		return -ENOENT;
	err = connect_to(address, (size_t)(word - address), &sock);
	if (err)
		return err;
	err = introduce(sock, op, what, word + 1, ret_self);
	if (err)
		close(sock);
	else
		*ret_sock = sock;
	return err;
}

const char *apmp_app_explain(int error)
{
	switch (error) {
	case -ENOENT:
		return "this program does not run in a partition; `apmp run PARTITION -- COMMAND` "
		       "starts one that does";
	case -EACCES:
		return "this program was started in an earlier life of its partition";
	case -EUSERS:
		return "the instance serves as many programs as it can";
	case -EPROTO:
		return "the instance speaks another version of the protocol; programs are built "
		       "with the libapmp of the machine that they run on";
	case -EPIPE:
		return "the partition has ended, or its instance serves no programs";
	default:
		return strerror(-error);
	}
}
