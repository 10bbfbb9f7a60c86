/* take_locks.c - a program takes named locks of its sharing set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/app/connect.h"

struct apmp_app_locks {
	int sock;
	struct apmp_app_partition self;
	struct apmp_app_reply reply; /* the last one */
};

int apmp_app_locks_open(struct apmp_app_locks **ret_locks)
{
	struct apmp_app_locks *locks = calloc(1, sizeof(*locks));
	int err =
	    locks ? apmp__app_connect(APMP_APP_LOCKS, 0, &locks->sock, &locks->self) : -ENOMEM;

	if (err)
		free(locks);
	else
		*ret_locks = locks;
	return err;
}

void apmp_app_locks_close(struct apmp_app_locks *locks)
{
	if (!locks)
		return;
	close(locks->sock);
	free(locks);
}

const struct apmp_app_partition *apmp_app_locks_self(const struct apmp_app_locks *locks)
{
	return &locks->self;
}

int apmp_app_locks_fd(const struct apmp_app_locks *locks)
{
	return locks->sock;
}

const char *apmp_app_locks_sentence(const struct apmp_app_locks *locks)
{
	return locks->reply.text;
}

static int ask(struct apmp_app_locks *locks, const struct apmp_app_request *request)
{
	return apmp__app_ask(locks->sock, request, &locks->reply);
}

int apmp_app_lock_open(struct apmp_app_locks *locks, const char *name, uint32_t rank,
		       uint32_t *ret_lock)
{
	struct apmp_app_request request = {
	    .version = APMP_APP_VERSION, .op = APMP_APP_OPEN, .rank = rank};
	int err;

	/* One that is too long stays too long; none is told as an empty one. */
	if (name)
		memcpy(request.text, name, strnlen(name, sizeof(request.text) - 1));
	err = ask(locks, &request);
	if (!err)
		*ret_lock = locks->reply.lock;
	return err;
}

static int ask_about(struct apmp_app_locks *locks, uint32_t op, uint32_t lock)
{
	struct apmp_app_request request = {.version = APMP_APP_VERSION, .op = op, .lock = lock};

	return ask(locks, &request);
}

int apmp_app_lock_close(struct apmp_app_locks *locks, uint32_t lock)
{
	return ask_about(locks, APMP_APP_CLOSE, lock);
}

int apmp_app_lock_acquire(struct apmp_app_locks *locks, uint32_t lock, uint64_t timeout_ns)
{
	struct apmp_app_request request = {.version = APMP_APP_VERSION,
					   .op = APMP_APP_ACQUIRE,
					   .lock = lock,
					   .timeout_ns = timeout_ns};

	return ask(locks, &request);
}

int apmp_app_lock_release(struct apmp_app_locks *locks, uint32_t lock)
{
	return ask_about(locks, APMP_APP_RELEASE, lock);
}

int apmp_app_lock_good(struct apmp_app_locks *locks, uint32_t lock)
{
	return ask_about(locks, APMP_APP_GOOD, lock);
}
