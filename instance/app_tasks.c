/*
 * app_tasks.c - programs of tasks: each is started by a connection, and lives as long.
 *
 * WHAT      START brings three descriptors.  The program and its arguments are memfds whose content
 *           nobody can change any more, so to load them waits for nobody and finds what was
 *           checked; each is a file of its own, so a program that runs twice shares nothing with
 *           itself.  Output is a pipe, as a write to it can always be interrupted: one to a file
 *           that hangs could not, and with it its CPU.
 * STATES    of a job (task.h): free -> used (loaded, its first task put in the queue) -> ending
 *           (its connection has ended or asked for it, or its first task has ended) -> done (by the
 *           last of its tasks, which rings the bell) -> free (unloaded; its connection, if there is
 *           one still, is told).
 * CRASHES   A program that ends without a word: the kernel ends its connection, which asks its
 *           tasks to end, and makes them after a while, as far as task_thread.c says that it can.
 * LIMITS    What a program does while it is loaded (constructors) is done by the thread of
 *           programs: one that does not return from there keeps all programs waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/datagram.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* What comes with START. */
enum { FD_PROGRAM, FD_ARGUMENTS, FD_OUTPUT };

struct start {
	struct apmp_app_request request;
	int fd[APMP_DATAGRAM_FDS]; /* more than that are refused */
	unsigned count;
};

void app_tasks_begin(struct app *app)
{
	app->kind = APP_TASKS;
	app->job = NULL;
}

/* ---- start ---- */

static bool is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

static bool is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
}

/* argv, and behind it what it points to.  NULL: they make no sense, or there is no memory. */
static char **read_arguments(int fd, uint32_t count)
{
	struct stat st;
	char **argv, *text;
	size_t size, off = 0;

	if (fstat(fd, &st) < 0 || st.st_size > APMP_APP_TASK_ARGS || count > st.st_size)
		return NULL;
	size = (size_t)st.st_size;
	argv = calloc(1, (count + 1) * sizeof(*argv) + size);
	text = argv ? (char *)(argv + count + 1) : NULL;
	if (!argv || pread(fd, text, size, 0) != st.st_size || (size && text[size - 1])) {
		free(argv);
		return NULL;
	}
	for (uint32_t i = 0; i < count && off < size; i++) {
		argv[i] = text + off;
		off += strlen(text + off) + 1;
	}
	if (off == size && (!count || argv[count - 1]))
		return argv;
	free(argv);
	return NULL;
}

static struct task_job *free_job(struct tasks *ts)
{
	for (uint32_t i = 0; i < TASKS_MAX; i++)
		if (!ts->job[i].used)
			return &ts->job[i];
	return NULL;
}

/* It is nobody's; but the clock may just be looking whether it ends. */
static void clear(struct task_job *job)
{
	memset(job, 0, offsetof(struct task_job, ending));
	job->output = -1;
	apmp_store_relaxed(&job->ending, 0);
	apmp_store_relaxed(&job->grace, 0);
	apmp_store_relaxed(&job->done, 0);
}

/* All of it is free again. */
static void forget(struct task_job *job)
{
	task_unload(job);
	free(job->argv);
	if (job->output >= 0)
		close(job->output);
	clear(job);
}

static int refuse_begin(struct instance *in, struct app *app, const struct start *start, int err)
{
	const char *name = start->request.text;

	switch (err) {
	case -ENODEV:
		return app_answer(app, err, 0,
				  "%s can't be bound to CPU %u: it runs no tasks in this partition",
				  name, start->request.rank - 1);
	case -EAGAIN:
		return app_answer(app, err, 0,
				  "%s can't be started: an instance has %u tasks at most", name,
				  TASKS_MAX);
	case -ENOMEM:
		return app_answer(
		    app, err, 0,
		    "%s can't be started: a task needs %u KiB of the partition's private "
		    "memory for its stack, and of the %u KiB that tasks may have all are in "
		    "use",
		    name, (uint32_t)(TASK_STACK_SIZE >> 10), (uint32_t)(in->stacks_size / 2 >> 10));
	default:
		return app_answer(app, err, 0, "%s can't be started: %s", name, strerror(-err));
	}
}

/* A job of its own is loaded, and its first task begins. */
static int load_and_begin(struct instance *in, struct app *app, struct start *start,
			  struct task_job *job)
{
	char why[160];
	uint64_t number;
	int err;

	clear(job);
	job->used = true;
	memcpy(job->name, start->request.text, sizeof(job->name) - 1);
	job->argc = (int)start->request.lock;
	job->argv = read_arguments(start->fd[FD_ARGUMENTS], start->request.lock);
	if (!job->argv)
		return app_answer(app, -EINVAL, 0, "%s: its arguments make no sense",
				  start->request.text);
	err = task_load(job, start->fd[FD_PROGRAM], why, sizeof(why));
	if (err)
		return app_answer(app, err, 0, "%s is no program of tasks: %s", start->request.text,
				  why);
	job->output = start->fd[FD_OUTPUT];
	start->fd[FD_OUTPUT] = -1;
	/* Its number is told before its end. */
	app->job = job;
	err = task_begin(in, job, NULL, task_main, job, start->request.rank, &number);
	if (!err)
		return app_answer(app, 0, (uint32_t)number, "%s", "");
	app->job = NULL;
	return refuse_begin(in, app, start, err);
}

static int serve_start(struct instance *in, struct app *app, struct start *start)
{
	struct task_job *job = free_job(&in->tasks);
	int err;

	if (app->job)
		return -EPIPE;
	if (start->count != APMP_APP_TASK_FDS || !is_sealed(start->fd[FD_PROGRAM]) ||
	    !is_sealed(start->fd[FD_ARGUMENTS]) || !is_pipe(start->fd[FD_OUTPUT]))
		return app_answer(app, -EBADF, 0,
				  "%s: what was sent with it is no sealed program, "
				  "sealed arguments and pipe",
				  start->request.text);
	if (!job)
		return refuse_begin(in, app, start, -EAGAIN);
	err = load_and_begin(in, app, start, job);
	if (!app->job)
		forget(job);
	return err;
}

/* ---- list ---- */

static struct apmp_app_task describe(const struct task *task)
{
	struct apmp_app_task said = {.version = APMP_APP_VERSION,
				     .state = task->state == TASK_RUNNING   ? APMP_APP_TASK_RUNNING
					      : task->state == TASK_WAITING ? APMP_APP_TASK_WAITING
									    : APMP_APP_TASK_READY,
				     .number = task->self.number,
				     .program = task->job->number,
				     .cpu = apmp_load_relaxed(&task->baton),
				     .bound = task->bound,
				     .ending = apmp_load_relaxed(&task->job->ending)};

	memcpy(said.name, task->job->name, sizeof(said.name));
	return said;
}

static int serve_list(struct instance *in, struct app *app)
{
	struct tasks *ts = &in->tasks;
	struct apmp_app_task said[TASKS_MAX];
	uint32_t count = 0;
	int err;

	pthread_mutex_lock(&ts->lock);
	for (uint32_t i = 0; i < TASKS_MAX; i++)
		if (ts->task[i].state >= TASK_READY)
			said[count++] = describe(&ts->task[i]);
	pthread_mutex_unlock(&ts->lock);
	err = app_answer(app, 0, count, "%s", "");
	for (uint32_t i = 0; i < count && !err; i++)
		err = app_send(app, &said[i], sizeof(said[i])) ? -EPIPE : 0;
	return err;
}

/* ---- the connection ---- */

/* One message with what comes along.  -EAGAIN: none is there; -EPIPE: it has ended. */
static int receive(const struct app *app, struct start *ret_start)
{
	struct apmp_app_request *request = &ret_start->request;
	int n = apmp_datagram_receive(app->sock, request, sizeof(*request), ret_start->fd,
				      &ret_start->count);

	if (n < 0)
		return n == -EAGAIN ? -EAGAIN : -EPIPE;
	if (n != (int)sizeof(*request) || request->text[sizeof(request->text) - 1] != '\0')
		return -EPIPE;
	return 0;
}

static int serve(struct instance *in, struct app *app, struct start *start)
{
	if (start->request.version != APMP_APP_VERSION)
		return -EPIPE;
	switch (start->request.op) {
	case APMP_APP_START:
		return serve_start(in, app, start);
	case APMP_APP_END:
		app_tasks_end(in, app);
		return 0;
	case APMP_APP_LIST:
		return serve_list(in, app);
	default:
		return -EPIPE;
	}
}

int app_tasks_serve(struct instance *in, struct app *app)
{
	struct start start = {.count = 0};
	int err = receive(app, &start);

	if (!err)
		err = serve(in, app, &start);
	for (unsigned i = 0; i < start.count; i++)
		if (start.fd[i] >= 0)
			close(start.fd[i]);
	return err == -EAGAIN ? 0 : err;
}

void app_tasks_end(struct instance *in, struct app *app)
{
	if (app->job)
		task_job_end(in, app->job);
}

static struct app *app_of(struct apps *apps, const struct task_job *job)
{
	for (uint32_t i = 0; i < apps->used; i++)
		if (apps->app[i].kind == APP_TASKS && apps->app[i].job == job)
			return &apps->app[i];
	return NULL; /* it has gone before its tasks */
}

void app_tasks_look(struct instance *in)
{
	for (uint32_t i = 0; i < TASKS_MAX; i++) {
		struct task_job *job = &in->tasks.job[i];
		struct apmp_app_task said = {.version = APMP_APP_VERSION,
					     .state = APMP_APP_TASK_ENDED};
		struct app *app;

		if (!job->used || !apmp_load_acquire(&job->done))
			continue;
		said.number = said.program = job->number;
		said.value = job->value;
		memcpy(said.name, job->name, sizeof(said.name));
		app = app_of(&in->apps, job);
		forget(job); /* its output ends before its end is told */
		if (!app)
			continue;
		app->job = NULL;
		if (app_send(app, &said, sizeof(said)))
			app_drop(in, app);
	}
}
