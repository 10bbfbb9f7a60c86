/* The blocking Varlink client: one connection, calls one after the other. */
#include "shm/wire/varlink.h"
#include "shm/wire/varlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENT_MAGIC = 0x76436c69 };

struct varlink_client {
	unsigned magic;
	int fd;
	struct varlink__message in;
	struct varlink__queue out;
};

int varlink_client_connect(const char *path, struct varlink_client **ret_client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct varlink_client *client;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->magic = CLIENT_MAGIC;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 ||
	    connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		varlink_client_close(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void varlink_client_close(struct varlink_client *client)
{
	if (!client)
		return;
	varlink__assert(client->magic == CLIENT_MAGIC);
	client->magic = 0;
	if (client->fd >= 0)
		close(client->fd);
	varlink__message_fini(&client->in);
	varlink__queue_fini(&client->out);
	free(client);
}

int varlink_client_release(struct varlink_client *client)
{
	int fd = client->fd;

	client->fd = -1;
	varlink_client_close(client);
	return fd;
}

int varlink_client_fd(const struct varlink_client *client)
{
	return client->fd;
}

static json_t *make_call(const char *method, json_t *parameters, unsigned flags)
{
	json_t *name = strchr(method, '.') ? json_string(method)
					   : json_sprintf("%s.%s", VARLINK_MACHINE, method);
	json_t *call = json_object();
	int r = json_object_set_new(call, "method", name);

	r |= json_object_set_new(call, "parameters", parameters ? parameters : json_object());
	if (flags & VARLINK_MORE)
		r |= json_object_set_new(call, "more", json_true());
	if (flags & VARLINK_ONEWAY)
		r |= json_object_set_new(call, "oneway", json_true());
	if (flags & VARLINK_UPGRADE)
		r |= json_object_set_new(call, "upgrade", json_true());
	if (r == 0)
		return call;
	json_decref(call);
	return NULL;
}

int varlink_client_send(struct varlink_client *client, const char *method, json_t *parameters,
			unsigned flags, const int *fds, unsigned fd_count)
{
	size_t whole;
	int r;

	varlink__assert(client->magic == CLIENT_MAGIC);
	if (fd_count > VARLINK_FDS_MAX) {
		json_decref(parameters);
		return -EINVAL;
	}
	r = varlink__queue_add(&client->out, make_call(method, parameters, flags));
	if (r < 0)
		return r;
	whole = varlink__queue_bytes(&client->out);
	if (whole > VARLINK_MESSAGE_MAX) {
		varlink__queue_fini(&client->out);
		return -EMSGSIZE;
	}
	do {
		/* The descriptors went with the first byte, if a signal came later than that. */
		if (varlink__queue_bytes(&client->out) < whole)
			fd_count = 0;
		r = varlink__queue_send(&client->out, client->fd, 0, fds, fd_count);
	} while (r == -EINTR);
	return r;
}

int varlink_client_receive(struct varlink_client *client, struct varlink_reply *ret_reply)
{
	struct varlink_reply reply = {0};
	const char *error;
	json_t *message;
	int r;

	varlink__assert(client->magic == CLIENT_MAGIC);
	r = varlink__message_receive(client->fd, &client->in, VARLINK_REPLY_MAX, 0);
	if (r <= 0)
		return r == 0 || r == -ECONNRESET ? -EPIPE : r;
	message = varlink__message_parse(&client->in);
	varlink__message_reset(&client->in);
	if (!message)
		return -EBADMSG;
	reply.continues = json_is_true(json_object_get(message, "continues"));
	reply.parameters = json_object_get(message, "parameters");
	reply.parameters =
	    json_is_object(reply.parameters) ? json_incref(reply.parameters) : json_object();
	error = json_string_value(json_object_get(message, "error"));
	reply.error = error ? strdup(error) : NULL;
	json_decref(message);
	if (!reply.parameters || (error && !reply.error)) {
		varlink_reply_fini(&reply);
		return -ENOMEM;
	}
	*ret_reply = reply;
	return 0;
}

int varlink_client_call(struct varlink_client *client, const char *method, json_t *parameters,
			struct varlink_reply *ret_reply)
{
	int r = varlink_client_send(client, method, parameters, 0, NULL, 0);

	if (r < 0)
		return r;
	do
		r = varlink_client_receive(client, ret_reply);
	while (r == -EINTR);
	return r;
}

void varlink_reply_fini(struct varlink_reply *reply)
{
	free(reply->error);
	json_decref(reply->parameters);
	*reply = (struct varlink_reply){0};
}
