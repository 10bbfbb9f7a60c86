/* The console's process: started, started again when it ends, told what the box keeps.
 *
 * STATES   none -> living (its link is open) -> ended -> living ...
 * WHAT     A new console hears HELLO, an OBJECT for each object, a PARTITION for each instance
 *          that lives, READY; then again the last exit of each partition without an instance, and
 *          the last exits of programs.  Whether the console before it had heard those nobody can
 *          know, so they are told twice rather than not at all; they carry the number of the life
 *          that ended, so hearing twice does no harm.
 *          What the one before had asked, and the box had not read, is done: nobody hears the
 *          answer, but nothing that it said is lost.
 * TIMES    A console that ends is started again at once: it may be killed a thousand times a
 *          minute, as long as each has served somebody (PONG tells).  Consoles that end one after
 *          the other and have served nobody are slowed down, doubling up to a second, so that they
 *          don't eat the host; LAST tells the next one, a note whoever waits for it.  Before power
 *          on was complete, eight in a row are a failure, served or not: that is somebody's
 *          mistake, and somebody waits for an answer.
 */
#include "apmpd/box_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A life that nobody asked anything of, and yet a good one. */
#define GOOD_LIFE_MS	 10000u
#define NOTE_NAME	 "console.note"
#define DELAY_MIN_MS	 25u
#define DELAY_MAX_MS	 1000u
#define DEATHS_BEFORE_ON 8u

void apmp__console_tell(struct apmp_box *box, const struct apmp_box_event *event)
{
	if (box->console.link)
		apmp_link_send(box->console.link, event, NULL, 0);
}

void apmp__box_done(struct apmp_box *box, struct apmp_asked asked,
		    const struct apmp_box_event *answer, const int *fds, unsigned fd_count)
{
	struct apmp_box_event event = *answer;

	if (!box->console.link || asked.life != box->console.life)
		return;
	event.op = APMP_BOX_DONE;
	event.seq = asked.seq;
	apmp_link_send(box->console.link, &event, fds, fd_count);
}

void apmp__console_tell_exit(struct apmp_box *box, uint32_t partition, const struct apmp_exit *exit)
{
	struct apmp_box_event event = {.op = APMP_BOX_EXITED, .id = partition};

	event.arg[0] = exit->number;
	event.arg[1] = (uint64_t)exit->status;
	apmp__console_tell(box, &event);
}

void apmp__console_tell_ending(struct apmp_box *box, uint32_t partition)
{
	struct apmp_box_event event = {.op = APMP_BOX_ENDING, .id = partition};

	event.arg[0] = box->partitions[partition].incarnation;
	apmp__console_tell(box, &event);
}

void apmp__console_tell_program_exit(struct apmp_box *box, const struct apmp_exit *exit)
{
	struct apmp_box_event event = {.op = APMP_BOX_PROGRAM};

	event.arg[0] = exit->number;
	event.arg[1] = (uint64_t)exit->status;
	apmp__console_tell(box, &event);
}

void apmp__console_note(struct apmp_box *box, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* A full disk: then nobody is told, as with the log. */
	box->console.has_note |= apmp_rundir_write(&box->rundir, NOTE_NAME, text) == 0;
	apmp_log_line(&box->log, "%s", text);
}

void apmp__console_note_remove(struct apmp_box *box)
{
	if (box->console.has_note)
		unlinkat(box->rundir.dir_fd, NOTE_NAME, 0);
	box->console.has_note = false;
}

static void say_hello(struct apmp_box *box)
{
	struct apmp_box_event hello = {.op = APMP_BOX_HELLO};

	hello.arg[0] = box->console.life - 1;
	hello.arg[1] = box->host->cpu_count;
	hello.arg[2] = apmp_cpuset_kind(box->cpuset);
	snprintf(hello.text, sizeof(hello.text), "%s", box->machine->name.text);
	apmp__console_tell(box, &hello);
}

/* How the one before ended. */
static void say_last(struct apmp_box *box)
{
	const struct apmp_console *console = &box->console;
	struct apmp_box_event last = {.op = APMP_BOX_LAST};

	last.arg[0] = console->deaths;
	last.arg[1] = (uint64_t)console->status;
	last.arg[2] = console->held_ms;
	snprintf(last.text, sizeof(last.text), "%s", console->why);
	apmp__console_tell(box, &last);
}

static void send_objects(struct apmp_box *box)
{
	struct apmp_object *object, *next;

	HASH_ITER(hh, box->objects.first, object, next)
	{
		struct apmp_box_event event = {.op = APMP_BOX_OBJECT,
					       .kind = object->kind,
					       .id = object->id,
					       .size = object->size};

		if (object->kind == APMP_BOX_NVRAM)
			apmp__nvram_describe(&box->nvram, &event);
		apmp_link_send(box->console.link, &event, object->fds, object->fd_count);
	}
}

static void send_partitions(struct apmp_box *box)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct apmp_partition *partition = &box->partitions[id];
		struct apmp_box_event event = {.op = APMP_BOX_PARTITION, .id = id};

		if (!partition->pid)
			continue;
		event.arg[0] = partition->incarnation;
		event.arg[1] = (uint64_t)partition->pid;
		event.arg[2] = apmp__partition_uid(box, id);
		apmp__console_tell(box, &event);
	}
}

/* What the console before this one may not have heard. */
static void tell_again(struct apmp_box *box)
{
	uint64_t first =
	    box->exit_count > APMP__PROGRAM_EXITS ? box->exit_count - APMP__PROGRAM_EXITS : 0;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		if (!box->partitions[id].pid && box->partitions[id].has_exited)
			apmp__console_tell_exit(box, id, &box->partitions[id].last);
		else if (box->partitions[id].pid && box->partitions[id].ending)
			apmp__console_tell_ending(box, id);
		if (box->partitions[id].pid)
			apmp__load_tell(box, id);
	}
	for (uint64_t i = first; i < box->exit_count; i++)
		apmp__console_tell_program_exit(box, &box->exits[i % APMP__PROGRAM_EXITS]);
}

static void tell_all(struct apmp_box *box)
{
	static const struct apmp_box_event ready = {.op = APMP_BOX_READY};
	static const struct apmp_box_event term = {.op = APMP_BOX_TERM};

	say_hello(box);
	if (box->console.life > 1)
		say_last(box);
	send_objects(box);
	send_partitions(box);
	apmp__console_tell(box, &ready);
	tell_again(box);
	if (box->term_seen)
		apmp__console_tell(box, &term);
	apmp__kills_forget_asked(box);
}

/* It goes on to its end by being killed: what it would still say nobody hears. */
static void on_broken(void *owner, const char *why)
{
	struct apmp_box *box = owner;

	apmp_log_line(&box->log, "console (process %d): %s", box->console.pid, why);
	if (box->console.pid)
		kill(box->console.pid, SIGKILL);
}

static int start_process(struct apmp_box *box, int link_fd, char *ret_text)
{
	static char name[] = "apmp-console";
	char *const argv[] = {name, NULL};
	char *const set[] = {box->mark, box->machine_variable, NULL};
	const int words = box->console.words[1];
	const int fds[] = {box->null_fd, words, words, link_fd, box->listen_fd};
	char program[PATH_MAX], **env;
	struct apmp_child_order order = {.role = APMP_CHILD_CONSOLE, .name = "the console"};
	int error = apmp_spawn_find(name, program, sizeof(program));

	if (error) {
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "cannot start the console %.160s: %s",
			 program, strerror(-error));
		return error;
	}
	env = apmp_spawn_env(environ, NULL, set);
	if (!env) {
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "no memory to start the console");
		return -ENOBUFS;
	}
	order.spawn = (struct apmp_spawn){.program = program,
					  .argv = argv,
					  .env = env,
					  .fds = fds,
					  .fd_count = sizeof(fds) / sizeof(fds[0]),
					  .urgent = true};
	error = apmp__child_start(box, &order, ret_text, &box->console.pid);
	free(env);
	return error;
}

int apmp__console_start(struct apmp_box *box, char *ret_text)
{
	static const struct apmp_link_calls calls = {apmp__box_request, on_broken};
	struct apmp_console *console = &box->console;
	int link_fd, error;

	error = apmp_link_open(&box->loop, &calls, box, &console->link, &link_fd);
	if (error) {
		snprintf(ret_text, APMP_BOX_TEXT_SIZE, "cannot make the wire to the console: %s",
			 strerror(-error));
		return error;
	}
	error = start_process(box, link_fd, ret_text);
	close(link_fd);
	if (error) {
		apmp_link_close(console->link);
		console->link = NULL;
		return error;
	}
	console->life++;
	console->served = false;
	console->started_ms = uv_now(&box->loop);
	apmp_log_line(&box->log, "console started (process %d, number %u)", console->pid,
		      console->life);
	tell_all(box);
	apmp__watch_begin(box);
	return 0;
}

static void start_again(struct apmp_box *box);

static void on_restart(uv_timer_t *timer)
{
	start_again(timer->data);
}

static void give_up(struct apmp_box *box)
{
	char words[APMP_LOG_TAIL_SIZE];

	apmp_log_tail(box->console.log.fd, words, sizeof(words));
	apmp__box_word(box, APMP_WORD_FAILED,
		       "the console ended %u times before the machine was on (the last time: %s); "
		       "the last it said:\n%s",
		       box->console.deaths, box->console.why, words[0] ? words : "(nothing)");
	apmp__power_off(box, "the console does not stay alive");
}

/* The first at once, then 50, 100, 200, ... */
static uint64_t delay_of(uint32_t deaths)
{
	uint64_t delay_ms;

	if (deaths <= 1)
		return 0;
	delay_ms = deaths > 6 ? DELAY_MAX_MS : (uint64_t)DELAY_MIN_MS << (deaths - 1);
	return delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS;
}

/* Counts a death, and starts the next console now or later. */
static void start_later(struct apmp_box *box)
{
	struct apmp_console *console = &box->console;
	bool good = console->served || uv_now(&box->loop) - console->started_ms >= GOOD_LIFE_MS;

	if (good && box->said_on)
		console->deaths = 0;
	else
		console->deaths++;
	if (!box->said_on && console->deaths >= DEATHS_BEFORE_ON) {
		give_up(box);
		return;
	}
	console->held_ms = delay_of(console->deaths);
	if (console->held_ms == 0) {
		start_again(box);
		return;
	}
	apmp__console_note(box,
			   "the console ended %u times in a row and served nobody (the last time: "
			   "%s); the next is started after %u ms",
			   console->deaths, console->why, (unsigned)console->held_ms);
	uv_timer_start(&console->restart, on_restart, console->held_ms, 0);
}

static void start_again(struct apmp_box *box)
{
	char text[APMP_BOX_TEXT_SIZE];

	if (box->power != APMP_POWER_ON)
		return;
	if (apmp__console_start(box, text) < 0) {
		snprintf(box->console.why, sizeof(box->console.why), "%.150s", text);
		box->console.started_ms = uv_now(&box->loop);
		box->console.served = false;
		/* It can't be tried again from within: that might never return. */
		box->console.deaths += box->console.deaths == 0;
		start_later(box);
	}
}

void apmp__console_start_first(struct apmp_box *box)
{
	start_again(box);
}

void apmp__console_ended(struct apmp_box *box, const struct apmp_child *child, int status)
{
	struct apmp_console *console = &box->console;
	struct apmp_link *link = console->link;
	char how[64];

	apmp__watch_end(box);
	apmp__console_drain_words(box);
	apmp_log_line(&box->log, "console (process %d) ended: %s", child->pid,
		      apmp__exit_text(status, how));
	console->pid = 0; /* from here on the number may be another's */
	if (link)
		apmp_link_drain(link);
	apmp_link_close(link);
	console->link = NULL;
	console->status = status;
	if (!console->watch.killed)
		snprintf(console->why, sizeof(console->why), "%s", how);
	if (box->power == APMP_POWER_ON)
		start_later(box);
}

void apmp__console_drain_words(struct apmp_box *box)
{
	char text[4096];
	ssize_t n;

	/* As much as a pipe holds: one that never stops talking must not keep the box. */
	for (int i = 0; i < 16; i++) {
		n = read(box->console.words[0], text, sizeof(text));
		if (n <= 0)
			return;
		apmp_log_write(&box->console.log, text, (size_t)n);
	}
}
