/*
 * show_trace.c - the flight recorders of partitions, console and box.
 *
 * WHAT      An answer has all that was asked for, merged by time.  A stream (`more`) has it party
 *           by party, in pieces: an entry costs the console some microseconds and a recorder has
 *           thousands, so each piece is made in a turn of its own, and between two of them the
 *           loop serves everybody else.
 * STATES    of a stream: a party is copied -> its pieces are sent -> the next party, or the end;
 *           or gone with its peer.  A turn is that of the first whose peer reads what it gets.
 * LIMITS    A party that is recreated while it waits for its turn is read as the new one.  A peer
 *           that does not read is looked at every WAIT_MS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "shm/assert.h"

/* Entries of one piece: some hundred microseconds. */
#define PIECE 128u
/* Bytes that a peer may be behind, and when one that is more behind is looked at again. */
#define BEHIND_MAX (VARLINK_QUEUE_MAX / 8)
#define WAIT_MS	   10u

/* By number: the partitions by their id, then these. */
enum { CONSOLE = APMP_MAX_PARTITIONS, BOX, PARTIES };

struct traced {
	struct apmp_recorder_view view;
	const char *who;
};

struct trace {
	struct traced *list;
	size_t count, room;
};

static void collect(struct trace *t, const struct apmp_recorder *rec, const char *who)
{
	uint64_t newest = apmp_recorder_newest(rec); /* may be anything: counts bound the loop */
	uint64_t left = newest < APMP_RECORDER_ENTRIES ? newest : APMP_RECORDER_ENTRIES;

	for (; left > 0; left--) {
		struct traced entry = {.who = who};

		if (apmp_recorder_read(rec, newest - left + 1, &entry.view))
			continue;
		if (t->count == t->room) {
			t->room = t->room ? 2 * t->room : 1024;
			t->list = realloc(t->list, t->room * sizeof(*t->list));
			apmp_assert(t->list);
		}
		t->list[t->count++] = entry;
	}
}

static int by_time(const void *a, const void *b)
{
	const struct traced *x = a, *y = b;

	if (x->view.t_ns != y->view.t_ns)
		return x->view.t_ns < y->view.t_ns ? -1 : 1;
	return (x->view.seq > y->view.seq) - (x->view.seq < y->view.seq);
}

static bool wanted(const json_t *who, const char *name)
{
	const json_t *item;
	size_t i;

	if (!who || json_array_size(who) == 0)
		return true;
	json_array_foreach(who, i,
			   item) if (strcmp(json_string_value(item), name) == 0) return true;
	return false;
}

static json_t *entry_json(const struct traced *e)
{
	const struct apmp_point_info *info = apmp_point_info(e->view.point);
	char thread[24];

	if (e->view.thread == APMP_THREAD_CLOCK)
		snprintf(thread, sizeof(thread), "clock");
	else if (e->view.thread == APMP_THREAD_CONSOLE)
		snprintf(thread, sizeof(thread), "console");
	else if (e->view.thread == APMP_THREAD_BOX)
		snprintf(thread, sizeof(thread), "box");
	else if (e->view.thread == APMP_THREAD_APPS)
		snprintf(thread, sizeof(thread), "programs");
	else
		snprintf(thread, sizeof(thread), "cpu %u", e->view.thread);
	return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:I}", "t_ns", (json_int_t)e->view.t_ns, "who",
			 e->who, "thread", thread, "point", info->name, "figure", info->figure,
			 "about", info->about, "arg", (json_int_t)e->view.arg);
}

static const char *name_of(const struct console *c, uint32_t party)
{
	return party == CONSOLE ? "console" : party == BOX ? "box" : c->partition[party].name;
}

static bool is_there(const struct console *c, uint32_t party)
{
	return party >= APMP_MAX_PARTITIONS || c->partition[party].exists;
}

static const struct apmp_recorder *recorder_of(struct console *c, uint32_t party)
{
	return party == CONSOLE ? c->recorder
	       : party == BOX	? console_box_recorder(c)
				: c->partition[party].recorder;
}

static void sort(struct trace *t)
{
	if (t->count)
		qsort(t->list, t->count, sizeof(*t->list), by_time);
}

static json_t *entries_json(const struct trace *t, size_t from, size_t count)
{
	json_t *entries = json_array();

	for (size_t i = from; i < from + count; i++)
		json_array_append_new(entries, entry_json(&t->list[i]));
	return json_pack("{s:o}", "entries", entries);
}

static void answer(struct console *c, struct varlink_call *call, const json_t *who)
{
	struct trace t = {0};

	for (uint32_t party = 0; party < PARTIES; party++)
		if (is_there(c, party) && wanted(who, name_of(c, party)))
			collect(&t, recorder_of(c, party), name_of(c, party));
	sort(&t);
	varlink_call_reply(call, entries_json(&t, 0, t.count));
	free(t.list);
}

/* ---- streams ---- */

struct stream {
	struct stream *next;
	struct console *console;
	struct varlink_call *call;
	bool wanted[PARTIES];
	uint32_t party; /* the next one */
	char who[APMP_NAME_SIZE];
	struct trace t; /* of the party before that */
	size_t sent;
};

static struct stream *streams; /* in the order in which they began */
static uv_timer_t turn;	       /* data: NULL until it is first needed */

static void end(struct stream *s)
{
	struct stream **at = &streams;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	free(s->t.list);
	free(s);
}

static void gone(void *ctx)
{
	end(ctx);
}

/* The next party that has entries is copied; false: there is none. */
static bool copy_next(struct stream *s)
{
	struct console *c = s->console;

	s->t.count = s->sent = 0;
	while (s->party < PARTIES && !s->t.count) {
		uint32_t party = s->party++;

		if (!s->wanted[party] || !is_there(c, party))
			continue;
		snprintf(s->who, sizeof(s->who), "%s", name_of(c, party));
		collect(&s->t, recorder_of(c, party), s->who);
	}
	sort(&s->t);
	return s->t.count > 0;
}

/* Its turn.  false: its peer must read first. */
static bool advance(struct stream *s)
{
	size_t left;

	if (varlink_call_queued(s->call) > BEHIND_MAX)
		return false;
	if (s->sent == s->t.count && !copy_next(s)) {
		varlink_call_reply(s->call, entries_json(&s->t, 0, 0));
		end(s);
		return true;
	}
	left = s->t.count - s->sent < PIECE ? s->t.count - s->sent : PIECE;
	if (varlink_call_continue(s->call, entries_json(&s->t, s->sent, left)))
		return false; /* a peer that is gone is taken out by its hangup */
	s->sent += left;
	return true;
}

/* A timer of 0 ms would run again before the loop looks at anything else. */
static void on_turn(uv_timer_t *timer)
{
	bool advanced = false;

	for (struct stream *s = streams, *next; s && !advanced; s = next) {
		next = s->next;
		advanced = advance(s);
	}
	if (streams)
		uv_timer_start(timer, on_turn, advanced ? 1 : WAIT_MS, 0);
}

static void begin(struct console *c, struct varlink_call *call, const json_t *who)
{
	struct stream *s = calloc(1, sizeof(*s)), **at = &streams;

	apmp_assert(s && (turn.data || uv_timer_init(&c->loop, &turn) == 0));
	turn.data = c;
	*s = (struct stream){.console = c, .call = call};
	for (uint32_t party = 0; party < PARTIES; party++)
		s->wanted[party] = is_there(c, party) && wanted(who, name_of(c, party));
	while (*at)
		at = &(*at)->next;
	*at = s;
	varlink_call_on_hangup(call, gone, s);
	on_turn(&turn);
}

void console_trace(struct console *c, struct varlink_call *call, const json_t *who)
{
	if (varlink_call_more(call))
		begin(c, call, who);
	else
		answer(c, call, who);
}
