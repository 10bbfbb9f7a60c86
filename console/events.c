/*
 * events.c - what happened: numbered without holes, kept over a restart, streamed to subscribers.
 *
 * WHAT      Each event is a line of JSON in a ring of slots in struct apmp_console_state.  A
 *           subscriber is given every event from its `next` on; one too slow for its socket is
 *           left alone until it has read what it was given, and one that the ring has overtaken
 *           is told how many it missed.
 * CRASHES   event_seq rises after the slot is whole: a dead console leaves no half event.  The
 *           subscribers' connections end with their console; clients come back with `since`.
 * LIMITS    APMP_EVENT_SLOTS events are kept; one is at most APMP_EVENT_SIZE bytes.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "shm/assert.h"
#include "shm/shared.h"

struct subscriber {
	struct subscriber *next_subscriber;
	struct console *console;
	struct varlink_call *call;
	uint64_t next;
};

static struct subscriber *subscribers;

static uint64_t newest(const struct console *c)
{
	return apmp_load_relaxed(&c->state->event_seq);
}

static uint64_t oldest(const struct console *c)
{
	uint64_t last = newest(c);

	return last > APMP_EVENT_SLOTS ? last - APMP_EVENT_SLOTS + 1 : 1;
}

/* The event with this number; NULL when its slot makes no sense. */
static json_t *event_json(const struct console *c, uint64_t seq)
{
	const struct apmp_event_slot *slot = &c->state->event[seq % APMP_EVENT_SLOTS];

	if (apmp_load_relaxed(&slot->seq) != seq)
		return NULL;
	return json_loadb(slot->json, strnlen(slot->json, sizeof(slot->json)), 0, NULL);
}

static json_t *wrap(json_t *event)
{
	return json_pack("{s:o}", "event", event ? event : json_object());
}

/* Sends what the subscriber has not had, as far as there is room; a peer that is gone is taken out
 * by its hangup. */
static void pump(void *ctx)
{
	struct subscriber *s = ctx;
	struct console *c = s->console;
	int err = 0;

	while (!err && s->next <= newest(c)) {
		uint64_t missed = s->next < oldest(c) ? oldest(c) - s->next : 0;
		json_t *event = missed ? json_pack("{s:I}", "missed", (json_int_t)missed)
				       : event_json(c, s->next);

		err = varlink_call_continue(s->call, wrap(event));
		if (!err)
			s->next += missed ? missed : 1;
	}
}

/* The event with its fields, or without them; its length, also when that is size or more. */
static size_t dump(const json_t *event, json_t *fields, char *text, size_t size)
{
	json_t *all = json_deep_copy(event);
	size_t n;

	json_object_update(all, fields); /* nothing for NULL */
	n = json_dumpb(all, text, size - 1, JSON_COMPACT);
	json_decref(all);
	return n;
}

void console_event(struct console *c, const char *kind, struct partition *p, const char *format,
		   ...)
{
	uint64_t seq = newest(c) + 1;
	struct apmp_event_slot *slot = &c->state->event[seq % APMP_EVENT_SLOTS];
	json_t *event, *more = NULL;
	char text[sizeof(slot->json)];
	va_list args;
	size_t n;

	event = json_pack("{s:I,s:I,s:s}", "seq", (json_int_t)seq, "t_ns",
			  (json_int_t)c->env.now(&c->env), "kind", kind);
	if (p)
		json_object_set_new(event, "partition", json_string(p->name));
	if (format) {
		va_start(args, format);
		more = json_vpack_ex(NULL, 0, format, args);
		va_end(args);
	}
	memset(text, 0, sizeof(text));
	n = dump(event, more, text, sizeof(text));
	/* A path in a sentence of the host may be no UTF-8, or grow when it is escaped. */
	if (n >= sizeof(text) || (format && !more)) {
		memset(text, 0, sizeof(text));
		n = dump(event, NULL, text, sizeof(text));
	}
	apmp_assert(n < sizeof(text));
	json_decref(more);
	json_decref(event);
	apmp_store_relaxed(&slot->seq, 0);
	memcpy(slot->json, text, sizeof(text));
	apmp_store_release(&slot->seq, seq);
	apmp_store_release(&c->state->event_seq, seq);
	for (struct subscriber *s = subscribers; s; s = s->next_subscriber)
		pump(s);
}

static void forget(void *ctx)
{
	struct subscriber *s = ctx, **at = &subscribers;

	while (*at != s)
		at = &(*at)->next_subscriber;
	*at = s->next_subscriber;
	free(s);
}

void console_events_serve(struct console *c, struct varlink_call *call, const json_t *parameters)
{
	const json_t *since = json_object_get(parameters, "since");
	bool follow = json_is_true(json_object_get(parameters, "follow"));
	struct subscriber *s;

	if (!varlink_call_more(call)) {
		varlink_call_expected_more(call);
		return;
	}
	s = calloc(1, sizeof(*s));
	apmp_assert(s);
	s->console = c;
	s->call = call;
	s->next = json_is_integer(since) && json_integer_value(since) > 0
		      ? (uint64_t)json_integer_value(since)
		      : oldest(c);
	if (!follow) { /* all but the last as a stream, the last as the final reply */
		uint64_t last = newest(c);

		if (s->next < oldest(c)) /* more have happened since than are kept */
			s->next = oldest(c);
		for (; s->next < last; s->next++)
			if (varlink_call_continue(call, wrap(event_json(c, s->next))))
				break;
		varlink_call_reply(call,
				   s->next <= last ? wrap(event_json(c, last)) : json_object());
		free(s);
		return;
	}
	s->next_subscriber = subscribers;
	subscribers = s;
	varlink_call_on_hangup(call, forget, s);
	varlink_call_on_drained(call, pump, s);
	pump(s);
}
