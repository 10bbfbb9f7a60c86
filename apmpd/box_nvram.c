/* NVRAM: what the console wants to find after the next power on [0065].
 *
 * WHAT     What was read at power on (nvram_store.c) is kept as an object.  New contents are
 *          written by a thread of libuv's pool, one write at a time, so that the box never waits
 *          for a disk.
 * STATES   idle -> writing (now) -> writing, others wait (next, the newest contents for all of
 *          them) -> writing (what waited) -> idle
 * LOCKS    None: while a write is on its way the thread has now and the store, the loop all the
 *          rest.
 * CRASHES  Points nvram_*, see shm/nvram.c.  A console that ended meanwhile is not answered, and
 *          what it asked for is written all the same.
 * ORDERING An answer of 0 is for contents that were written after the request had come.  A next
 *          console's contents are written after those of the one before.
 * LIMITS   Power off waits for a write, so a disk that hangs keeps the box.  APMP__NVRAM_ASKED
 *          requests wait at most.  Whoever removes the state directory of a box that is on makes
 *          every write fail until it is powered on again.
 */
#include "apmpd/box_internal.h"

#include "apmpd/host_memory.h"
#include "shm/nvram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void apmp__nvram_describe(const struct apmp_nvram *nvram, struct apmp_box_event *event)
{
	event->arg[0] = nvram->read;
	snprintf(event->text, sizeof(event->text), "%s", nvram->store.note);
}

bool apmp__nvram_busy(const struct apmp_nvram *nvram)
{
	return nvram->busy || nvram->next.contents;
}

/* In a thread of the pool. */
static void write_now(uv_work_t *work)
{
	struct apmp_box *box = work->data;
	struct apmp_nvram *nvram = &box->nvram;

	nvram->error = apmp_nvram_store_write(&nvram->store, nvram->now.contents, nvram->now.size);
}

static void answer_all(struct apmp_box *box)
{
	struct apmp_nvram *nvram = &box->nvram;
	struct apmp_box_event answer = {.error = nvram->error};

	answer.arg[0] = nvram->error ? nvram->now.size : nvram->store.generation;
	if (nvram->error) {
		snprintf(answer.text, sizeof(answer.text),
			 "cannot write NVRAM, %" PRIu64 " bytes in %.120s: %s", nvram->now.size,
			 nvram->store.state.path, strerror(-nvram->error));
		apmp_log_line(&box->log, "%s", answer.text);
	}
	for (unsigned i = 0; i < nvram->now.asked_count; i++)
		apmp__box_done(box, nvram->now.asked[i], &answer, NULL, 0);
	free(nvram->now.contents);
	nvram->now = (struct apmp_nvram_job){0};
}

/* The next one, if there is one and the thread is free. */
static void start_write(struct apmp_box *box);

static void on_written(uv_work_t *work, int status)
{
	struct apmp_box *box = work->data;

	(void)status; /* nobody cancels it */
	box->nvram.busy = false;
	if (box->nvram.now.contents)
		answer_all(box);
	start_write(box);
	apmp__power_step(box);
}

static void start_write(struct apmp_box *box)
{
	struct apmp_nvram *nvram = &box->nvram;
	int error;

	if (nvram->busy || !nvram->next.contents)
		return;
	nvram->now = nvram->next;
	nvram->next = (struct apmp_nvram_job){0};
	nvram->busy = true;
	error = uv_queue_work(&box->loop, &nvram->work, write_now, on_written);
	(void)error; /* it refuses only a request without work */
}

static void nothing(void *unused)
{
	(void)unused;
}

static void no_work(uv_work_t *work)
{
	(void)work;
}

/* The pool's one thread is made now.  libuv would end the box if there can't be one, so it is tried
 * first; and its number of threads is only to be told by the environment. */
static int start_thread(struct apmp_box *box)
{
	static const char variable[] = "UV_THREADPOOL_SIZE";
	const char *before = getenv(variable);
	char *kept = before ? strdup(before) : NULL;
	uv_thread_t trial;
	int error = uv_thread_create(&trial, nothing, NULL);

	if (!error) {
		uv_thread_join(&trial);
		setenv(variable, "1", 1);
		box->nvram.work.data = box;
		error = uv_queue_work(&box->loop, &box->nvram.work, no_work, on_written);
		box->nvram.busy = !error;
		if (kept)
			setenv(variable, kept, 1);
		else
			unsetenv(variable);
	}
	free(kept);
	return error;
}

static int keep_contents(struct apmp_box *box)
{
	struct apmp_nvram_store *store = &box->nvram.store;
	uint64_t size = (store->size / APMP_PAGE_SIZE + 1) * APMP_PAGE_SIZE, had;
	char limit[160];
	int fd, error;

	if (!store->contents)
		return 0;
	error = apmp_host_memory_check(size, &had, limit, sizeof(limit));
	if (error == -ENOMEM)
		apmp__box_word(box, APMP_WORD_FAILED,
			       "what NVRAM holds wants %" PRIu64 " bytes of memory and %" PRIu64
			       " can be had (%s)",
			       size, had, limit);
	if (!error)
		error = apmp_host_memory_create("nvram", size, &fd);
	if (error)
		return error;
	if (pwrite(fd, store->contents, store->size, 0) != (ssize_t)store->size)
		error = -EIO;
	if (!error)
		error = apmp_objects_keep(&box->objects, APMP_BOX_NVRAM, 0, fd, store->size);
	if (error)
		close(fd);
	free(store->contents);
	store->contents = NULL;
	return error;
}

int apmp__nvram_start(struct apmp_box *box)
{
	const struct apmp_nvram_store *store = &box->nvram.store;
	int error = apmp_folder_take_over(&store->state);

	if (error)
		return error;
	if (store->note[0])
		apmp_log_line(&box->log, "NVRAM in %s: %s", store->state.path, store->note);
	else if (store->contents)
		apmp_log_line(&box->log, "NVRAM in %s: generation %" PRIu64 ", %" PRIu64 " bytes",
			      store->state.path, store->generation, store->size);
	else
		apmp_log_line(&box->log, "NVRAM in %s: none is used", store->state.path);
	box->nvram.read = store->generation;
	error = keep_contents(box);
	if (error)
		return error;
	error = start_thread(box);
	if (error)
		apmp__box_word(box, APMP_WORD_FAILED,
			       "there can't be one more thread, which would write NVRAM: %s",
			       strerror(-error));
	return error;
}

/* The contents, copied; NULL: the call has failed, with *ret_error. */
static void *copy_contents(struct apmp_call *call, int *ret_error)
{
	uint64_t size = call->request->size;
	uint8_t *copy = malloc(size);
	ssize_t n = 0;

	if (!copy) {
		*ret_error = apmp__call_fail(call, -ENOBUFS, "no memory for a copy of NVRAM");
		return NULL;
	}
	for (uint64_t at = 0; at < size; at += (uint64_t)n) {
		n = pread(call->fds[0], copy + at, size - at, (off_t)at);
		if (n > 0)
			continue;
		*ret_error = apmp__call_fail(
		    call, -EINVAL, "NVRAM of %" PRIu64 " bytes: the descriptor has %" PRIu64, size,
		    at);
		free(copy);
		return NULL;
	}
	return copy;
}

int apmp__box_nvram(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_nvram_job *next = &box->nvram.next;
	uint64_t size = call->request->size;
	void *copy;
	int error;

	if (call->fd_count != 1 || size == 0)
		return apmp__call_fail(call, -EINVAL,
				       "NVRAM wants contents, and one descriptor with them");
	if (size > APMP_NVRAM_SIZE_MAX) {
		call->answer.arg[0] = size;
		call->answer.arg[1] = APMP_NVRAM_SIZE_MAX;
		return apmp__call_fail(call, -E2BIG,
				       "NVRAM holds %" PRIu64 " bytes, and %" PRIu64
				       " were to be written",
				       APMP_NVRAM_SIZE_MAX, size);
	}
	if (next->asked_count == APMP__NVRAM_ASKED)
		return apmp__call_fail(call, -EBUSY, "%u requests to write NVRAM wait already",
				       APMP__NVRAM_ASKED);
	copy = copy_contents(call, &error);
	if (!copy)
		return error;
	free(next->contents);
	next->contents = copy;
	next->size = size;
	next->asked[next->asked_count++] = call->asked;
	start_write(box);
	return APMP__BOX_LATER;
}
