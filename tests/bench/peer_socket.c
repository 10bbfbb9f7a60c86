/*
 * peer_socket.c PATH - the peer of a callback: a process that sleeps until a request of a
 * callback's size comes over a SOCK_SEQPACKET socket, and answers with a reply's.  Says a line when
 * it listens; ends with its one client.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>

#include "shm/call.h"

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), client;
	struct apmp_call_request request;
	struct apmp_call_reply reply = {0};

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		errx(2, "usage: peer_socket PATH");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	strcpy(address.sun_path, argv[1]);
	if (listener < 0 || bind(listener, (void *)&address, sizeof(address)) < 0 ||
	    chmod(argv[1], 0666) < 0 || /* the client may have a uid of its own */
	    listen(listener, 1) < 0 || puts("listens") < 0 || fflush(stdout))
		err(1, "%s", argv[1]);
	client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (client < 0)
		err(1, "accept");
	while (recv(client, &request, sizeof(request), 0) == (ssize_t)sizeof(request)) {
		reply.seq = request.seq;
		if (send(client, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
			break;
	}
	return 0;
}
