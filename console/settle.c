/*
 * settle.c - changes wait until what is fenced is reaped as well, and its memory copied.
 *
 * WHAT      Between FENCED and the reaping of its last process, as long as the teardown of its
 *           memory takes, a partition runs no more and still has that memory: it can't boot, be
 *           deleted, or give away what it had.
 *           Whoever waits for the event and asks for one of these at once means "as soon as it can
 *           be done", so the call is put aside until nothing is being reaped.
 *           What is about a partition whose memory is being dumped waits for that, and it alone;
 *           who wants the dump, or all dumps, until that is written.
 * STATES    put aside -> served (reaped, or the box says that processes do not end; and copied), or
 *           gone with its peer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* The partition whose dump the call waits for: that which it names, or any where it wants all of
 * them; NULL. */
static struct partition *being_dumped(const struct console_settling *method,
				      const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "name"));
	struct console *c = method->console;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];

		if (p->exists && (name ? strcmp(p->name, name) == 0 : method->until_written) &&
		    (method->until_written ? p->dump_due != 0 : p->dumping))
			return p;
	}
	return NULL;
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
	struct put_aside **at = &method->console->put_aside, *one = NULL;
	struct partition *dumped = being_dumped(method, parameters);

	if (dumped && !method->until_written)
		console_dump_hurry(dumped);
	if (dumped || being_reaped(method->console))
		one = calloc(1, sizeof(*one));
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

/* The first that waits for nothing any more; NULL. */
static struct put_aside **first_ready(struct console *c)
{
	struct put_aside **at = &c->put_aside;

	if (being_reaped(c))
		return NULL;
	while (*at && being_dumped((*at)->method, (*at)->parameters))
		at = &(*at)->next;
	return *at ? at : NULL;
}

void console_settled(struct console *c)
{
	struct put_aside **at;

	while ((at = first_ready(c))) {
		struct put_aside one = **at;

		free(*at);
		*at = one.next;
		varlink_call_on_hangup(one.call, NULL, NULL);
		one.method->handler(one.call, one.parameters, c);
	}
}

int console_serve_settled(struct console *c, const struct console_method *method,
			  bool until_written)
{
	struct console_settling *settling = &c->settling[c->settling_count];

	if (c->settling_count == CONSOLE_SETTLING_MAX)
		return -ENOBUFS;
	c->settling_count++;
	*settling = (struct console_settling){
	    .console = c, .handler = method->handler, .until_written = until_written};
	return varlink_server_method(c->server, method->name, on_call, settling);
}
