/* Log files in the run directory, each with a size limit. */
#ifndef APMPD_BOX_LOG_H
#define APMPD_BOX_LOG_H

#include "apmpd/rundir.h"

#include <stddef.h>
#include <sys/types.h>

#define APMP_LOG_SIZE_MAX  (1 << 20) /* then the file becomes NAME.1, and a new one begins */
#define APMP_LOG_TAIL_SIZE 2048

struct apmp_log {
	int dir_fd; /* the run directory's, not ours */
	int fd;	    /* the same number for life, whatever file it is */
	off_t size;
	uint64_t lost; /* bytes since the file system took no more */
	char name[32];
};

/* Begins the file anew; close-on-exec.  -errno of open(). */
__attribute__((warn_unused_result)) int apmp_log_open(const struct apmp_folder *rundir,
						      const char *name, struct apmp_log *ret);

/* One line, with date and time.  A full file system loses it; when there is room again, the log
 * says how much is missing. */
__attribute__((format(printf, 2, 3))) void apmp_log_line(struct apmp_log *log, const char *format,
							 ...);

/* Text of somebody else, as it is. */
void apmp_log_write(struct apmp_log *log, const char *text, size_t size);

/* The last lines of a log; "" if there are none. */
void apmp_log_tail(int fd, char *ret_text, size_t text_size);

void apmp_log_close(struct apmp_log *log);

#endif
