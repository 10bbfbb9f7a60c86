/* What the box says to who typed `up`, and how that one waits for it.
 *
 * A pair of sockets: first the box sends the descriptor of its log, then a word.  If the box ends
 * without one, the waiting side still has the log, although the guard removes the file.
 */
#include "apmpd/box_internal.h"

#include "shm/wire/datagram.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void say_on_terminal(enum apmp_word_kind kind, const char *text)
{
	if (kind == APMP_WORD_ON) {
		printf("%s\n", text);
		fflush(stdout);
	} else if (kind == APMP_WORD_FAILED) {
		fprintf(stderr, "apmp: %s\n", text);
	}
}

void apmp__box_word(struct apmp_box *box, enum apmp_word_kind kind, const char *format, ...)
{
	struct apmp_word word = {.kind = kind};
	va_list args;
	int error = 0;

	va_start(args, format);
	vsnprintf(word.text, sizeof(word.text), format, args);
	va_end(args);
	if (kind != APMP_WORD_LOG)
		apmp_log_line(&box->log, "%s", word.text);
	if (box->said_on)
		return;
	if (box->foreground)
		say_on_terminal(kind, word.text);
	else
		error = apmp_datagram_send(box->word_fd, &word, sizeof(word), &box->log.fd,
					   kind == APMP_WORD_LOG ? 1 : 0);
	if (error) /* whoever typed it did not wait; the machine goes on */
		apmp_log_line(&box->log, "nobody waits for this any more");
	if (kind == APMP_WORD_LOG)
		return;
	box->said_on = true;
	box->was_on = kind == APMP_WORD_ON;
	if (box->word_fd >= 0)
		close(box->word_fd);
	box->word_fd = -1;
}

/* The box ended without a word. */
static void say_last_lines(int log_fd, int status)
{
	char text[APMP_LOG_TAIL_SIZE], how[64];

	fprintf(stderr, "apmp: the box ended before the machine was on: %s\n",
		apmp__exit_text(status, how));
	if (log_fd < 0)
		return;
	apmp_log_tail(log_fd, text, sizeof(text));
	fprintf(stderr, "The last lines of its log:\n%s", text);
}

int apmp__box_word_wait(int word_fd, pid_t box_pid)
{
	int fds[APMP_DATAGRAM_FDS], log_fd = -1, size, status = 0;
	struct apmp_word word = {0};
	unsigned fd_count;

	do {
		fd_count = 0;
		size = apmp_datagram_receive(word_fd, &word, sizeof(word), fds, &fd_count);
		if (fd_count == 1)
			log_fd = fds[0];
	} while (size == (int)sizeof(word) && word.kind == APMP_WORD_LOG);

	if (size == (int)sizeof(word) && word.kind == APMP_WORD_ON) {
		say_on_terminal(APMP_WORD_ON, word.text);
		return 0;
	}
	/* Not on: it is over when nothing of it is left, and the same command works again. */
	while (waitpid(box_pid, &status, 0) < 0 && errno == EINTR)
		;
	if (size == (int)sizeof(word))
		say_on_terminal(APMP_WORD_FAILED, word.text);
	else
		say_last_lines(log_fd, status);
	return 1;
}
