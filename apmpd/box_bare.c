/* A bare box: under power, without a console (`up --bare`) [0118].
 *
 * WHAT     Hardware that "is already running": the box serves nobody until somebody connects to the
 *          control socket, which the first partition that wants to join does.  Then it starts the
 *          console, which takes the connection.
 * STATES   bare (the file `bare` is in the run directory, so that nobody needs to connect in order
 *          to look) -> formed, for good.
 */
#include "apmpd/box_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void on_first_caller(uv_poll_t *poll, int status, int events)
{
	struct apmp_box *box = poll->data;

	(void)status;
	(void)events;
	uv_close((uv_handle_t *)poll, NULL); /* the console listens from here on */
	if (box->power != APMP_POWER_ON)
		return;
	apmp_log_line(&box->log, "somebody wants to join: the console is started");
	if (unlinkat(box->rundir.dir_fd, APMP__BARE_FILE, 0) < 0)
		apmp_log_line(&box->log, "cannot remove %s: %s", APMP__BARE_FILE, strerror(errno));
	apmp__console_start_first(box);
}

int apmp__box_bare(struct apmp_box *box)
{
	const char *name = box->machine->name.text;
	int error = apmp_rundir_write(&box->rundir, APMP__BARE_FILE, "");

	if (!error)
		error = uv_poll_init(&box->loop, &box->first_caller, box->listen_fd);
	box->first_caller.data = box;
	if (!error)
		error = uv_poll_start(&box->first_caller, UV_READABLE, on_first_caller);
	if (error) {
		apmp__box_word(box, APMP_WORD_FAILED, "cannot wait for the first partition: %s",
			       strerror(-error));
		return error;
	}
	apmp__box_word(box, APMP_WORD_ON,
		       "machine %s has power and no console; `apmp --name %s partition boot "
		       "PARTITION` forms the system",
		       name, name);
	return 0;
}
