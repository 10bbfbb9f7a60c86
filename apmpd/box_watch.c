/* The watch over the console: whether its loop goes on, and the end of one that hangs.
 *
 * WHAT     A timer asks the console (PING), its loop answers (PONG), watch.c judges the silence.
 * STATES   of a console: forming (it has not answered yet: it can't while it waits for the box, so
 *          each of its requests is a sign of life) -> answering <-> silent -> killed.
 *          While it is silent: noted (who waits for it is told why), or held by a debugger, for as
 *          long as that holds it.
 * ORDERING The kill is the fence: the next console is started when this one was reaped, never
 *          before (box_console.c).
 * LIMITS   A console that answers PING but nobody else is a bug that this does not find.  One that
 *          does not end by SIGKILL (state D) is waited for.
 */
#include "apmpd/box_internal.h"

#include "apmpd/cpuset_ops.h"
#include "apmpd/process_list.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t cpu_time_ns(pid_t pid)
{
	char path[32], text[96];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	if (apmp__cgroup_read(AT_FDCWD, path, text, sizeof(text)) <= 0)
		return 0; /* a kernel without it */
	return strtoull(text, NULL, 10);
}

static pid_t tracer_of(pid_t pid)
{
	char path[32], text[4096];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (apmp__cgroup_read(AT_FDCWD, path, text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, "\nTracerPid:");
	return line ? (pid_t)atoi(line + strlen("\nTracerPid:")) : 0;
}

static struct apmp_sight look_at(pid_t pid)
{
	struct apmp_sight sight = {0};
	struct apmp_process process;

	if (apmp_process_get(pid, &process) == 0)
		sight = (struct apmp_sight){.state = process.state,
					    .tracer = tracer_of(pid),
					    .cpu_time_ns = cpu_time_ns(pid)};
	return sight;
}

static void ask(struct apmp_box *box)
{
	struct apmp_box_event event = {.op = APMP_BOX_PING, .arg = {box->console.watch.asked}};

	apmp__console_tell(box, &event);
}

static void end_hung(struct apmp_box *box, char state)
{
	struct apmp_console *console = &box->console;
	unsigned tenths = (unsigned)(console->watch.silence_ms / 100);

	snprintf(console->why, sizeof(console->why),
		 "it did not answer for %u.%u s (state %c) and was killed", tenths / 10,
		 tenths % 10, state);
	apmp_log_line(&box->log, "console (process %d) hangs: %s", console->pid, console->why);
	kill(console->pid, SIGKILL);
}

static void on_tick(uv_timer_t *timer)
{
	struct apmp_box *box = timer->data;
	struct apmp_console *console = &box->console;
	struct apmp_sight sight = {0};

	if (box->power != APMP_POWER_ON)
		return; /* box_power.c has a limit of its own */
	if (console->watch.answered != console->watch.asked)
		sight = look_at(console->pid);
	switch (
	    apmp_watch_tick(&console->watch, uv_now(&box->loop), &sight, APMP_CONSOLE_HUNG_MS)) {
	case APMP_WATCH_WAIT:
		break;
	case APMP_WATCH_ASK:
		ask(box);
		break;
	case APMP_WATCH_NOTE:
		apmp__console_note(box, "the console (process %d, state %c) does not answer",
				   console->pid, sight.state);
		break;
	case APMP_WATCH_HELD:
		apmp__console_note(box,
				   "the console (process %d) is held by process %d, a debugger",
				   console->pid, sight.tracer);
		break;
	case APMP_WATCH_KILL:
		end_hung(box, sight.state);
		break;
	}
}

void apmp__watch_begin(struct apmp_box *box)
{
	/* The first question at once: its answer says that the console is there. */
	box->console.watch = (struct apmp_watch){.tick_ms = uv_now(&box->loop), .asked = 1};
	ask(box);
	uv_timer_start(&box->console.watch_timer, on_tick, APMP_WATCH_TICK_MS, APMP_WATCH_TICK_MS);
}

void apmp__watch_end(struct apmp_box *box)
{
	uv_timer_stop(&box->console.watch_timer);
}

void apmp__watch_heard(struct apmp_box *box)
{
	apmp_watch_sign(&box->console.watch);
}

int apmp__box_pong(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_console *console = &box->console;

	if (apmp_watch_answer(&console->watch, call->request->arg[0]))
		apmp_log_line(&box->log, "console (process %d) answers again", console->pid);
	if (console->watch.answered == console->watch.asked)
		apmp__console_note_remove(box);
	console->served |= call->request->arg[1] > 0;
	return APMP__BOX_LATER; /* it has no answer */
}
