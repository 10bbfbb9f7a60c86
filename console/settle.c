/*
 * settle.c - changes wait until what is fenced is reaped as well.
 *
 * WHAT      Between FENCED and the reaping of its last process, as long as the teardown of its
 *           memory takes, a partition runs no more and still has that memory: it can't boot, be
 *           deleted, or give away what it had.
 *           Whoever waits for the event and asks for one of these at once means "as soon as it can
 *           be done", so the call is put aside until nothing is being reaped.
 * STATES    put aside -> served (reaped, or the box says that processes do not end), or gone with
 *           its peer.
 */
#include <errno.h>
#include <stdlib.h>

#include "console/operator.h"

struct put_aside {
	struct varlink_call *call;
	const json_t *parameters; /* live as long as the call */
	const struct console_settling *method;
	struct put_aside *next;
};

static bool being_reaped(const struct console *c)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		const struct partition *p = &c->partition[i];

		if (p->exists && console_reaping(p) && !p->fence_pending)
			return true;
	}
	return false;
}

/* Takes one out of the list that a peer is gone of. */
static void gone(void *ctx)
{
	struct put_aside *one = ctx, **at = &one->method->console->put_aside;

	while (*at != one)
		at = &(*at)->next;
	*at = one->next;
	free(one);
}

static void on_call(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	const struct console_settling *method = ctx;
	struct put_aside **at = &method->console->put_aside, *one;

	one = being_reaped(method->console) ? calloc(1, sizeof(*one)) : NULL;
	if (!one) { /* also without memory for it: the handler says what stands in the way */
		method->handler(call, parameters, method->console);
		return;
	}
	*one = (struct put_aside){.call = call, .parameters = parameters, .method = method};
	while (*at) /* in the order in which they came */
		at = &(*at)->next;
	*at = one;
	varlink_call_on_hangup(call, gone, one);
}

void console_settled(struct console *c)
{
	while (c->put_aside && !being_reaped(c)) {
		struct put_aside one = *c->put_aside;

		free(c->put_aside);
		c->put_aside = one.next;
		varlink_call_on_hangup(one.call, NULL, NULL);
		one.method->handler(one.call, one.parameters, c);
	}
}

int console_serve_settled(struct console *c, const struct console_method *method)
{
	struct console_settling *settling = &c->settling[c->settling_count];

	if (c->settling_count == CONSOLE_SETTLING_MAX)
		return -ENOBUFS;
	c->settling_count++;
	*settling = (struct console_settling){.console = c, .handler = method->handler};
	return varlink_server_method(c->server, method->name, on_call, settling);
}
