/* The socket on which an instance serves the programs of its partition.
 *
 * Its address is abstract: there is no folder that both a person's programs and a partition's own
 * uid could enter, and nothing is left behind.  Everybody of the host can see such an address, so
 * it is no secret: what lets a program in is the word, which stands only in the environment of the
 * instance and of the programs that `apmp run` starts in this life of the partition.
 */
#include "apmpd/app_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Programs that connect at once; the others wait in connect(). */
#define BACKLOG 64

static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(name);
	int error, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path + 1, name, length); /* behind the NUL that makes it abstract */
	if (bind(fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

int apmp_app_socket_make(const char *machine, const char *partition, struct apmp_app_socket *ret)
{
	char address[APMP_APP_ADDRESS_SIZE];
	uint64_t random[3];

	/* So few bytes come whole, or not at all. */
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	snprintf(address, sizeof(address), "apmp/%s/%s/%016" PRIx64, machine, partition, random[0]);
	ret->fd = listen_at(address);
	if (ret->fd < 0)
		return ret->fd;
	snprintf(ret->variable, sizeof(ret->variable),
		 APMP_APP_VARIABLE "=%s:%016" PRIx64 "%016" PRIx64, address, random[1], random[2]);
	return 0;
}
