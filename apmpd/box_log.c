/* Log files of the box. */
#include "apmpd/box_log.h"

#include <fcntl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int create_file(const struct apmp_log *log)
{
	int fd = openat(log->dir_fd, log->name,
			O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

int apmp_log_open(const struct apmp_folder *rundir, const char *name, struct apmp_log *ret)
{
	struct apmp_log log = {.dir_fd = rundir->dir_fd};
	int fd;

	snprintf(log.name, sizeof(log.name), "%s", name);
	fd = create_file(&log);
	if (fd < 0)
		return fd;
	log.fd = fd;
	*ret = log;
	return 0;
}

/* Goes on in a new file.  Where that can't be, the old one is emptied: the limit holds. */
static void rotate(struct apmp_log *log)
{
	char old[sizeof(log->name) + 2];
	int fd = -1;

	snprintf(old, sizeof(old), "%s.1", log->name);
	if (renameat(log->dir_fd, log->name, log->dir_fd, old) == 0) {
		fd = create_file(log);
		if (fd < 0)
			(void)!renameat(log->dir_fd, old, log->dir_fd, log->name);
	}
	if (fd < 0 || dup3(fd, log->fd, O_CLOEXEC) < 0) {
		if (ftruncate(log->fd, 0) < 0)
			return; /* tried again with the next line */
	}
	if (fd >= 0)
		close(fd);
	log->size = 0;
}

/* Whether the file took it whole. */
static bool put(struct apmp_log *log, const char *text, size_t size)
{
	ssize_t n = write(log->fd, text, size);

	if (n > 0)
		log->size += n;
	return n == (ssize_t)size;
}

void apmp_log_write(struct apmp_log *log, const char *text, size_t size)
{
	char missing[96];
	int n;

	if (log->fd < 0)
		return;
	if (log->size + (off_t)size > APMP_LOG_SIZE_MAX)
		rotate(log);
	if (log->lost) {
		n = snprintf(missing, sizeof(missing),
			     "\n(about %" PRIu64 " bytes are missing here: the disk was full)\n",
			     log->lost);
		if (!put(log, missing, (size_t)n)) {
			log->lost += size;
			return;
		}
		log->lost = 0;
	}
	if (!put(log, text, size))
		log->lost += size;
}

void apmp_log_line(struct apmp_log *log, const char *format, ...)
{
	char line[1024];
	struct timespec now;
	struct tm utc;
	size_t length;
	va_list args;
	int n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	length = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
	length += (size_t)snprintf(line + length, sizeof(line) - length, ".%03ldZ ",
				   now.tv_nsec / 1000000);
	va_start(args, format);
	n = vsnprintf(line + length, sizeof(line) - length - 1, format, args);
	va_end(args);
	if (n > 0)
		length += (size_t)n;
	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	apmp_log_write(log, line, length);
}

void apmp_log_tail(int fd, char *ret_text, size_t text_size)
{
	off_t size = lseek(fd, 0, SEEK_END), from;
	ssize_t n;
	char *newline;

	ret_text[0] = '\0';
	if (size <= 0)
		return;
	from = size > (off_t)text_size - 1 ? size - ((off_t)text_size - 1) : 0;
	n = pread(fd, ret_text, text_size - 1, from);
	ret_text[n > 0 ? n : 0] = '\0';
	newline = from > 0 ? strchr(ret_text, '\n') : NULL;
	if (newline)
		memmove(ret_text, newline + 1, strlen(newline + 1) + 1);
}

void apmp_log_close(struct apmp_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}
