#ifndef APMP_TESTS_UNIT_MOCK_CONSOLE_H
#define APMP_TESTS_UNIT_MOCK_CONSOLE_H

/*
 * A machine directory with a process that plays its box and console: the real Varlink server with
 * made up answers. Partitions whose names begin with "no-such" do not exist; see mock_console.c.
 */

#include <sys/types.h>

struct mock {
	char directory[64]; /* XDG_RUNTIME_DIR for whoever should find it */
	char name[32];
	char control[160];
	pid_t pid;
};

/* Starts machine `name` in a new directory, or in that of `beside`. Serves when it returns. */
void mock_start(struct mock *mock, const char *name, const struct mock *beside);

/* Powers it off, unless that was done; fails the test if it did not end well. Removes all. */
void mock_stop(struct mock *mock);

/* Waits for its end: fails the test if that was not exit code 0. */
void mock_wait(struct mock *mock);

#endif
