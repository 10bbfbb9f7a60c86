/* crash_line.c - sentences made where the C library must not be asked for them. */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "instance/crash_internal.h"

#define TRIES 64u

void crash_line_add(struct crash_line *line, const char *text)
{
	for (; *text && line->length < sizeof(line->text) - 1; text++)
		line->text[line->length++] = *text;
	line->text[line->length] = '\0';
}

static void add_digits(struct crash_line *line, uint64_t number, unsigned base)
{
	char digits[24], *first = &digits[sizeof(digits) - 1];

	*first = '\0';
	do
		*--first = "0123456789abcdef"[number % base];
	while (number /= base);
	crash_line_add(line, first);
}

void crash_line_add_number(struct crash_line *line, uint64_t number)
{
	add_digits(line, number, 10);
}

void crash_line_add_address(struct crash_line *line, uint64_t address)
{
	crash_line_add(line, "0x");
	add_digits(line, address, 16);
}

void crash_say(const struct instance *in, const char *head, const char *text)
{
	struct crash_line line = {.length = 0};

	crash_line_add(&line, in->member.name);
	crash_line_add(&line, ": ");
	crash_line_add(&line, head);
	crash_line_add(&line, text);
	line.length -= line.length == sizeof(line.text) - 1; /* room for the end of the line */
	crash_line_add(&line, "\n");
	/* A terminal refuses one writer while it takes from another; what a full one refuses is
	 * lost. */
	for (uint32_t i = 0; i < TRIES; i++) {
		if (write(STDOUT_FILENO, line.text, line.length) >= 0 || errno != EAGAIN)
			return;
		(void)sched_yield();
	}
}
