/* Power off, in order.
 *
 * STATES   on -> ending partitions (all are being killed, NVRAM and dumps are written)
 *          -> ending the console
 *          (its wire is closed, which tells it) -> off (the loop stops; box.c removes the rest)
 *          Who moves each: power_step(), after something was reaped or written.
 * TIMES    SIGTERM and SIGINT are first told to the console, which then powers off in order.  If
 *          it has not asked for that within five seconds, or none lives, or a second signal comes,
 *          the box powers off by itself.  A console that has not ended a second after its wire was
 *          closed is killed.
 * LIMITS   A process that doesn't die (state D) keeps the box, and so does a disk that hangs in a
 *          write of NVRAM: it powers off when that ended.
 */
#include "apmpd/box_internal.h"
#include "apmpd/process_list.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONSOLE_ANSWER_MS 5000u
#define CONSOLE_END_MS	  1000u

static bool partitions_ended(const struct apmp_box *box)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (box->partitions[id].kill.active || apmp__child_of_partition(box, id))
			return false;
	return true;
}

static void on_console_late(uv_timer_t *timer)
{
	struct apmp_box *box = timer->data;

	if (box->console.pid)
		kill(box->console.pid, SIGKILL);
}

static void end_console(struct apmp_box *box)
{
	static const struct apmp_box_event answer = {.op = APMP_BOX_DONE};

	box->power = APMP_POWER_ENDING_CONSOLE;
	uv_timer_stop(&box->console.restart);
	if (!box->console.pid)
		return;
	apmp__box_done(box, box->off_asked, &answer, NULL, 0);
	apmp_link_close(box->console.link);
	box->console.link = NULL;
	uv_timer_start(&box->power_timer, on_console_late, CONSOLE_END_MS, 0);
}

/* What left its group and its parents is a child of the box now: the last to be ended. */
static void end_orphans(struct apmp_box *box)
{
	struct apmp_process_list list;

	if (apmp_process_list_init(&list) < 0)
		return; /* the next `up` or `clean` finds them by their mark */
	for (size_t i = 0; i < list.count; i++)
		list.processes[i].chosen =
		    list.processes[i].parent == getpid() && list.processes[i].pid != box->guard_pid;
	apmp_process_list_close_over(&list);
	if (apmp_process_list_kill(&list, (int)CONSOLE_END_MS) > 0)
		apmp_log_line(&box->log, "processes that left their partition do not end");
	apmp_process_list_fini(&list);
}

void apmp__power_step(struct apmp_box *box)
{
	if (box->power == APMP_POWER_ENDING_PARTITIONS && partitions_ended(box) &&
	    !apmp__nvram_busy(&box->nvram) && !apmp__dumps_busy(box))
		end_console(box);
	if (box->power != APMP_POWER_ENDING_CONSOLE || box->console.pid)
		return;
	uv_timer_stop(&box->power_timer);
	box->power = APMP_POWER_OFF;
	end_orphans(box);
	uv_stop(&box->loop);
}

void apmp__power_off(struct apmp_box *box, const char *why)
{
	if (box->power != APMP_POWER_ON)
		return;
	apmp_log_line(&box->log, "power off: %s", why);
	box->power = APMP_POWER_ENDING_PARTITIONS;
	uv_timer_stop(&box->power_timer);
	if (!box->said_on)
		apmp__box_word(box, APMP_WORD_FAILED,
			       "powered off before power on was complete: "
			       "%s",
			       why);
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		apmp__kill_partition(box, id);
	apmp__power_step(box);
}

static void on_no_answer(uv_timer_t *timer)
{
	apmp__power_off(timer->data, "a signal, and the console did not answer");
}

void apmp__power_signal(struct apmp_box *box, int number)
{
	static const struct apmp_box_event event = {.op = APMP_BOX_TERM};

	apmp_log_line(&box->log, "signal %d (%s)", number, strsignal(number));
	if (box->power != APMP_POWER_ON)
		return;
	if (!box->console.link || box->term_seen) {
		apmp__power_off(box, box->term_seen ? "a second signal" : "a signal");
		return;
	}
	box->term_seen = true;
	apmp__console_tell(box, &event);
	uv_timer_start(&box->power_timer, on_no_answer, CONSOLE_ANSWER_MS, 0);
}
