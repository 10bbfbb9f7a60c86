/*
 * apps.c - the thread that serves the programs of a partition: their connections.
 *
 * WHAT      One thread for all programs.  It waits for nobody: a socket that is full is left until
 *           it has room, a lock that is held is tried again (app_locks.c), and what the primary has
 *           to say lies in a table (app_events.c).  Only what loads the program of a task may take
 *           its time (app_tasks.c).
 * STATES    of a connection: free -> new (accepted) -> events | locks | tasks | cpus (has said the
 *           word) -> free (it ended, said what makes no sense, or does not read its answers).
 * WRITERS   struct apps: this thread, but for members and the bell, which the primary rings, and
 *           the last task of a program.
 * CRASHES   A program may end, stop or be mad at any byte: messages come whole or not at all, each
 *           is copied out and checked, and the kernel tells the end of a connection, which gives
 *           back what it held.  The instance's own end closes all, and is the end of its programs.
 * LIMITS    APPS_MAX connections.  Who has not said the word yet makes room for who comes: anybody
 *           of this host can connect, and then holds up nobody for longer than that.
 */
#include "instance/apps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/app/apmp.h"
#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/box.h"
#include "shm/wire/urgent.h"

/* What epoll says it is about: these, or APPS_MAX's life and index. */
#define ABOUT_LISTENER UINT64_MAX
#define ABOUT_BELL     (UINT64_MAX - 1)
#define ABOUT_WAKER    (UINT64_MAX - 2)

#define EVENTS_AT_ONCE 32
/* Fewer: who has come is heard before he has to make room for who comes later. */
#define ACCEPTS_AT_ONCE 8
/* How often it looks again whether there are descriptors, when there were none for a connection. */
#define NO_DESCRIPTOR_MS 100

static uint32_t index_of(const struct apps *apps, const struct app *app)
{
	return (uint32_t)(app - apps->app);
}

static int watch(struct apps *apps, int op, int fd, uint32_t events, uint64_t about)
{
	struct epoll_event event = {.events = events, .data.u64 = about};

	return epoll_ctl(apps->epoll, op, fd, &event) < 0 ? -errno : 0;
}

static void await(struct apps *apps, const struct app *app, uint32_t events)
{
	/* It is in the set: this allocates nothing and can't fail. */
	(void)watch(apps, EPOLL_CTL_MOD, app->sock, events,
		    (uint64_t)app->life << 32 | index_of(apps, app));
}

void app_drop(struct instance *in, struct app *app)
{
	if (app->kind == APP_EVENTS)
		app_events_end(in);
	if (app->kind == APP_LOCKS)
		app_locks_end(in, app);
	if (app->kind == APP_TASKS)
		app_tasks_end(in, app);
	if (app->kind == APP_CPUS)
		app_cpus_end(in, app);
	close(app->sock); /* which takes it out of the epoll set */
	app->kind = APP_FREE;
	app->life++;
}

/* A free slot; else that of who has been silent for longest.  NULL: all have said the word. */
static struct app *make_room(struct instance *in)
{
	struct apps *apps = &in->apps;
	struct app *oldest = NULL;

	for (uint32_t i = 0; i < apps->used; i++) {
		struct app *app = &apps->app[i];

		if (app->kind == APP_FREE)
			return app;
		if (app->kind == APP_NEW && (!oldest || app->arrival < oldest->arrival))
			oldest = app;
	}
	if (apps->used < APPS_MAX)
		return &apps->app[apps->used++];
	if (oldest)
		app_drop(in, oldest);
	return oldest;
}

static void refuse(struct app *app, int error, const char *text)
{
	struct apmp_app_reply reply = {.version = APMP_APP_VERSION, .error = error};

	memcpy(reply.text, text, strnlen(text, sizeof(reply.text) - 1));
	(void)!app_send(app, &reply, sizeof(reply)); /* it is dropped in any case */
}

static void refuse_stranger(int sock)
{
	struct app stranger = {.sock = sock};

	refuse(&stranger, -EUSERS, "the instance serves as many programs as it can");
	close(sock);
}

/* Takes one connection.  -EAGAIN: there is none; -EMFILE and such. */
static int accept_one(struct instance *in)
{
	struct apps *apps = &in->apps;
	int sock = accept4(apps->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct app *app;

	if (sock < 0)
		return errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
	app = make_room(in);
	if (!app) {
		refuse_stranger(sock);
		return 0;
	}
	app->kind = APP_NEW;
	app->sock = sock;
	app->arrival = ++apps->arrivals;
	if (watch(apps, EPOLL_CTL_ADD, sock, EPOLLIN,
		  (uint64_t)app->life << 32 | index_of(apps, app)))
		app_drop(in, app);
	return 0;
}

/* In a time that does not tell how much of it was right. */
static bool is_word(const struct apps *apps, const char *word)
{
	unsigned char differs = 0;

	for (uint32_t i = 0; i < APMP_APP_WORD_SIZE; i++)
		differs |= (unsigned char)(apps->word[i] ^ word[i]);
	return !differs;
}

static int welcome(struct instance *in, struct app *app)
{
	struct apmp_tree_partition partition;
	struct apmp_app_reply reply = {.version = APMP_APP_VERSION,
				       .partition = in->id,
				       .incarnation = apmp_identity_incarnation(in->env.self)};

	if (apmp_tree_partition(&in->tree, in->id, &partition) == 0)
		memcpy(reply.name, partition.name, sizeof(reply.name));
	return app_send(app, &reply, sizeof(reply));
}

/* The first message of a connection.  -EPIPE: it is to be dropped. */
static int begin(struct instance *in, struct app *app, const struct apmp_app_request *request)
{
	if (request->version != APMP_APP_VERSION ||
	    (request->op != APMP_APP_LOCKS && request->op != APMP_APP_EVENTS &&
	     request->op != APMP_APP_TASKS && request->op != APMP_APP_CPUS)) {
		refuse(app, -EPROTO, "the program speaks another version of the protocol");
		return -EPIPE;
	}
	if (!is_word(&in->apps, request->text)) {
		refuse(app, -EACCES, "the program was not started in this life of the partition");
		return -EPIPE;
	}
	if (request->op == APMP_APP_EVENTS) {
		app_events_begin(in, app, request->rank & APMP_APP_TELL_CPUS);
	} else if (request->op == APMP_APP_TASKS) {
		app_tasks_begin(app);
	} else if (request->op == APMP_APP_CPUS) {
		app_cpus_begin(app);
	} else {
		int err = app_locks_begin(in, app);

		if (err) {
			refuse(app, -EUSERS, "the instance serves as many programs as it can");
			return -EPIPE;
		}
	}
	return welcome(in, app);
}

/* One message.  -EAGAIN: none is there; -EPIPE: it has ended, or makes no sense. */
static int receive(struct app *app, struct apmp_app_request *ret_request)
{
	ssize_t n = recv(app->sock, ret_request, sizeof(*ret_request), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	if (n != (ssize_t)sizeof(*ret_request) ||
	    ret_request->text[sizeof(ret_request->text) - 1] != '\0')
		return -EPIPE;
	return 0;
}

/* Tells what is due, and waits for room where there is none. */
static int tell(struct instance *in, struct app *app)
{
	int err = app_events_tell(in, app);

	if (err && err != -EAGAIN)
		return err;
	await(&in->apps, app, err ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return 0;
}

static int serve(struct instance *in, struct app *app, uint32_t events)
{
	struct apmp_app_request request;
	int err;

	if (app->kind == APP_LOCKS && app->locks.waiting)
		return events & (EPOLLHUP | EPOLLERR) ? -EPIPE : 0; /* it is answered first */
	if (app->kind == APP_CPUS && app->ask)
		return events & (EPOLLHUP | EPOLLERR) ? -EPIPE : 0; /* the same */
	if (app->kind == APP_EVENTS && events & EPOLLOUT)
		return tell(in, app);
	if (app->kind == APP_TASKS)
		return app_tasks_serve(in, app); /* descriptors come along */
	err = receive(app, &request);
	if (err)
		return err == -EAGAIN ? 0 : err;
	if (app->kind == APP_EVENTS)
		return -EPIPE; /* it has nothing to ask */
	if (app->kind == APP_LOCKS)
		return request.version == APMP_APP_VERSION ? app_locks_serve(in, app, &request)
							   : -EPIPE;
	if (app->kind == APP_CPUS)
		return request.version == APMP_APP_VERSION ? app_cpus_serve(in, app, &request)
							   : -EPIPE;
	err = begin(in, app, &request);
	if (!err && app->kind == APP_EVENTS)
		err = tell(in, app);
	return err;
}

void app_pause(struct instance *in, struct app *app, bool pause)
{
	await(&in->apps, app, pause ? 0 : EPOLLIN);
}

static void hear_bell(struct instance *in)
{
	struct apps *apps = &in->apps;
	uint64_t rings;

	(void)!read(apps->bell, &rings, sizeof(rings)); /* how many says nothing */
	app_members_look(in);
	for (uint32_t i = 0; i < apps->used; i++)
		if (apps->app[i].kind == APP_EVENTS && tell(in, &apps->app[i]))
			app_drop(in, &apps->app[i]);
	app_tasks_look(in);
	app_cpus_look(in);
}

/* A lock that somebody waits for has changed: all are tried at the end of this turn. */
static void hear_waker(struct apps *apps)
{
	uint64_t rings;

	(void)!read(apps->waker.bell, &rings, sizeof(rings));
	apps->woken = true;
}

static void look_at(struct instance *in, const struct epoll_event *event)
{
	uint64_t about = event->data.u64;
	struct app *app = &in->apps.app[(uint32_t)about % APPS_MAX];

	if (about == ABOUT_BELL)
		hear_bell(in);
	else if (about == ABOUT_WAKER)
		hear_waker(&in->apps);
	else if (app->kind != APP_FREE && app->life == about >> 32 && serve(in, app, event->events))
		app_drop(in, app);
}

/* Milliseconds to wait at most; -1: until something happens. */
static int patience(const struct instance *in, bool listening)
{
	if (in->apps.queue_count)
		return (int)((in->timing.tick_ns + 999999) / 1000000);
	return listening ? -1 : NO_DESCRIPTOR_MS;
}

/* Takes some of those who have come: the others are heard of again, after who is served.  False:
 * there is no descriptor for them, which must not keep the thread busy: the listener is not watched
 * until it is tried again. */
static bool accept_some(struct instance *in, bool listening)
{
	struct apps *apps = &in->apps;
	int err = 0;

	for (int i = 0; i < ACCEPTS_AT_ONCE && !err; i++)
		err = accept_one(in);
	if ((!err || err == -EAGAIN) != listening)
		(void)watch(apps, EPOLL_CTL_MOD, apps->listener, listening ? 0 : EPOLLIN,
			    ABOUT_LISTENER);
	return !err || err == -EAGAIN;
}

static void *apps_main(void *arg)
{
	struct instance *in = arg;
	struct epoll_event events[EVENTS_AT_ONCE];
	bool listening = true;

	apmp_urgent_no_more(); /* nor the tasks that it begins */
	instance_thread_is(APMP_THREAD_APPS);
	instance_beacon(in, APMP_BEACON_APPS);
	(void)pthread_setname_np(pthread_self(), "programs"); /* for top -H and gdb */
	for (;;) {
		int n = epoll_wait(in->apps.epoll, events, EVENTS_AT_ONCE, patience(in, listening));
		bool comes = !listening;

		for (int i = 0; i < n; i++) {
			comes = comes || events[i].data.u64 == ABOUT_LISTENER;
			look_at(in, &events[i]);
		}
		app_locks_try(in);
		if (comes)
			listening = accept_some(in, listening);
	}
	return NULL;
}

/* The word, from our environment.  -ENOENT: the box has given us no socket. */
static int learn_word(struct apps *apps)
{
	const char *variable = getenv(APMP_APP_VARIABLE);
	const char *word = variable ? strrchr(variable, ':') : NULL;

	if (!word || strlen(++word) != APMP_APP_WORD_SIZE - 1)
		return -ENOENT;
	memcpy(apps->word, word, APMP_APP_WORD_SIZE);
	return 0;
}

static int open_all(struct apps *apps)
{
	int err;

	apps->listener = APMP_INSTANCE_APPS_FD;
	apps->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (apps->epoll < 0)
		return -errno;
	apps->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	apps->waker.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (apps->bell < 0 || apps->waker.bell < 0)
		return -errno;
	pthread_mutex_init(&apps->waker.lock, NULL);
	err = watch(apps, EPOLL_CTL_ADD, apps->listener, EPOLLIN, ABOUT_LISTENER);
	if (!err)
		err = watch(apps, EPOLL_CTL_ADD, apps->bell, EPOLLIN, ABOUT_BELL);
	return err ? err : watch(apps, EPOLL_CTL_ADD, apps->waker.bell, EPOLLIN, ABOUT_WAKER);
}

static int start_thread(struct instance *in, void *(*function)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	err = instance_stack(in, &attr);
	if (!err)
		err = -pthread_create(&thread, &attr, function, arg);
	pthread_attr_destroy(&attr);
	return err;
}

int instance_apps_start(struct instance *in)
{
	struct apps *apps = &in->apps;
	int err;

	apps->bell = -1;
	apps->waker.instance = in;
	err = learn_word(apps);
	if (!err)
		err = apmp_locker_init(&in->member, &apps->locker);
	if (!err)
		err = open_all(apps);
	if (!err)
		err = start_thread(in, app_waker_main, &apps->waker);
	if (!err)
		err = start_thread(in, apps_main, in);
	if (err)
		close(APMP_INSTANCE_APPS_FD); /* nobody waits for one that will not serve */
	return err;
}
