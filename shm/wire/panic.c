/*
 * panic.c - our own bugs: a record that outlives the process, and its end.
 *
 * No lock is taken, that of stderr neither: who panics may have any, or another thread, which was
 * put aside with it.  The record is the first one's; who comes second waits for his end, or brings
 * it about.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"

static struct apmp_recorder *panic_recorder; /* a panic gets no argument */
static void (*panic_end)(const char *text);

void apmp_linux_panic_into(struct apmp_recorder *rec)
{
	panic_recorder = rec;
}

void apmp_linux_panic_by(void (*end)(const char *text))
{
	panic_end = end;
}

static void say(const char *text)
{
	char line[2 * APMP_PANIC_SIZE];
	int n = snprintf(line, sizeof(line), "%s: assertion failed: %s\n",
			 program_invocation_short_name, text);

	if (n > 0)
		(void)!write(STDERR_FILENO, line, (size_t)n); /* lost where nobody reads */
}

void apmp_panic(const char *file, int line, const char *what)
{
	static _Atomic uint32_t panics;
	char text[APMP_PANIC_SIZE] = {0};
	bool first = apmp_fetch_add(&panics, 1) == 0;

	snprintf(text, sizeof(text), "%s:%d: %s", file, line, what);
	say(text);
	if (panic_recorder && first) {
		apmp_copy_in(panic_recorder->panic, text, sizeof(text));
		apmp_store_release(&panic_recorder->panicked, 1);
	}
	if (panic_end)
		panic_end(text);
	if (first)
		abort();
	for (;;) /* the first one aborts */
		pause();
}
