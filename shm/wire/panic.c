/* panic.c - our own bugs: a record that outlives the process, and its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

void apmp_panic(const char *file, int line, const char *what)
{
	char text[APMP_PANIC_SIZE] = {0};

	snprintf(text, sizeof(text), "%s:%d: %s", file, line, what);
	fprintf(stderr, "%s: assertion failed: %s\n", program_invocation_short_name, text);
	if (panic_recorder) {
		apmp_copy_in(panic_recorder->panic, text, sizeof(text));
		apmp_store_release(&panic_recorder->panicked, 1);
	}
	if (panic_end)
		panic_end(text);
	abort();
}
