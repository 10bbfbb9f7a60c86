/*
 * durable.c - what is permanent reaches non-volatile memory [0065], and who waits for it is told.
 *
 * WHAT      state->permanent_level counts permanent changes, state->nvram_level says up to which
 *           one NVRAM has them.  While they differ one write is on its way, of the tree as it is
 *           now; what changes meanwhile goes with the next one.  So many changes share a write.
 * STATES    saved (levels equal) -> saving (the box writes) -> saved | saving again | failed (who
 *           waited is told; the next change, or the next console, tries again).
 * CRASHES   A console that dies loses nothing but its waiters: the next one writes what the tree
 *           has, before anything else, and then sends the answers that callbacks are owed
 *           (apmp_console_partition.durable_level).  The box answers only when a later power on is
 *           sure to find the contents.
 * LIMITS    A migration changes an owner without waiting for this: it is permanent a write later,
 *           which begins SAVE_MS after it, or with the power off.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "console/console.h"
#include "shm/assert.h"
#include "shm/shared.h"

/* Nobody waits: what is under way goes first, and many migrations share a write. */
#define SAVE_MS 20

/* The text in a memfd of its size.  The descriptor, or -errno. */
static int put_in_memfd(const char *text, size_t size)
{
	int fd = memfd_create("apmp-nvram", MFD_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < size && !err;) {
		ssize_t n = write(fd, text + done, size - done);

		if (n < 0 && errno != EINTR)
			err = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (!err)
		return fd;
	close(fd);
	return err;
}

static void tell_waiters(struct console *c, uint64_t level, int error)
{
	struct durable_waiter waiting[CONSOLE_DURABLE_WAITERS];
	uint32_t count = c->durable_waiters, kept = 0;

	memcpy(waiting, c->durable_waiter, count * sizeof(waiting[0]));
	for (uint32_t i = 0; i < count; i++)
		if (waiting[i].level > level)
			c->durable_waiter[kept++] = waiting[i];
	c->durable_waiters = kept; /* before they are told: they may come back */
	for (uint32_t i = 0; i < count; i++)
		if (waiting[i].level <= level)
			waiting[i].then(waiting[i].ctx, error);
}

static void on_saved(void *ctx, const struct apmp_box_event *event)
{
	struct console *c = ctx;
	uint64_t level = c->saving_level;

	c->saving = false;
	if (!event->error)
		apmp_store_release(&c->state->nvram_level, level);
	else if (!c->save_failed)
		console_event(c, "nvram.failed", NULL, "{s:s}", "reason", event->text);
	c->save_failed = event->error != 0;
	console_callbacks_durable(c, level, event->error);
	tell_waiters(c, level, event->error);
	if (apmp_load_relaxed(&c->state->permanent_level) > level)
		console_save(c);
}

static void cannot_save(struct console *c, int err)
{
	struct apmp_box_event event = {.error = err};

	snprintf(event.text, sizeof(event.text), "the console itself: %s", strerror(-err));
	on_saved(c, &event);
}

void console_save(struct console *c)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_NVRAM};
	uint64_t level = apmp_load_relaxed(&c->state->permanent_level);
	char *text;
	int fd;

	if (c->saving || level == apmp_load_relaxed(&c->state->nvram_level))
		return;
	c->saving = true;
	c->saving_level = level;
	text = console_nvram_text(c);
	if (!text) {
		cannot_save(c, -ENOMEM);
		return;
	}
	request.size = strlen(text);
	fd = put_in_memfd(text, request.size);
	free(text);
	if (fd < 0) {
		cannot_save(c, fd);
		return;
	}
	box_link_post_fds(&c->box, &request, &fd, 1, on_saved, c);
	close(fd);
}

static void on_save_time(uv_timer_t *timer)
{
	console_save(timer->data);
}

void console_save_again(struct console *c)
{
	apmp_fetch_add(&c->state->permanent_level, 1);
	if (!c->save_timer.data && uv_timer_init(&c->loop, &c->save_timer) == 0)
		c->save_timer.data = c;
	/* Not put off by those that follow: a stream of them would never be written. */
	if (c->save_timer.data && uv_is_active((uv_handle_t *)&c->save_timer))
		return;
	if (!c->save_timer.data || uv_timer_start(&c->save_timer, on_save_time, SAVE_MS, 0))
		console_save(c);
}

void console_when_durable(struct console *c, void (*then)(void *ctx, int error), void *ctx)
{
	uint64_t level = apmp_load_relaxed(&c->state->permanent_level);

	if (level == apmp_load_relaxed(&c->state->nvram_level)) {
		then(ctx, 0);
		return;
	}
	/* One for each connection at most, whose next call starts when this one is answered; and
	 * one for the power that goes off, which nobody waits for. */
	apmp_assert(c->durable_waiters < CONSOLE_DURABLE_WAITERS);
	c->durable_waiter[c->durable_waiters++] =
	    (struct durable_waiter){.then = then, .ctx = ctx, .level = level};
	console_save(c);
}

void console_durable_forget(struct console *c, const void *ctx)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->durable_waiters; i++)
		if (c->durable_waiter[i].ctx != ctx)
			c->durable_waiter[kept++] = c->durable_waiter[i];
	c->durable_waiters = kept;
}
