/*
 * multiplexer_screen.c - lines of several console ports on one screen.
 *
 * WHAT      A line is printed whole, when its newline comes, with its partition's name in front.
 *           Only of the chosen port on a terminal what it has printed so far is shown at once: its
 *           prompt, and the echo of what is typed. That open line gives way to whole lines of
 *           others, and comes back below them.
 * LIMITS    Escape sequences and control characters of a partition are dropped: they would be about
 *           a screen that is not its own. A line of more than SCREEN_LINE_MAX bytes becomes
 *           several.
 */
#include "cli/multiplexer_screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.h"

#define RESET "\033[0m"

static int columns(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void print_name(const struct screen *screen, const struct screen_line *line)
{
	static const int colors[] = {36, 32, 33, 35, 34, 31};
	const size_t count = sizeof(colors) / sizeof(colors[0]);

	if (screen->color)
		printf("\033[%dm%-*s |" RESET " ", colors[(size_t)line->color % count],
		       screen->width, line->name);
	else
		printf("%-*s | ", screen->width, line->name);
}

/* ---- the open line ---- */

/* Takes it off the screen; one that is wrapped stays, and is begun again below. */
static void hide(struct screen *screen)
{
	if (!screen->open)
		return;
	if ((size_t)screen->width + 3 + screen->open_size < (size_t)columns())
		fputs("\r\033[K", stdout);
	else
		putchar('\n');
	screen->open = NULL;
	screen->open_stale = false;
}

static void show(struct screen *screen, const struct screen_line *line)
{
	if (!screen->terminal || screen->json || line != screen->chosen ||
	    (!screen->open && line->size == 0))
		return;
	if (screen->open_stale)
		hide(screen);
	if (!screen->open) {
		print_name(screen, line);
		screen->open = line;
		screen->open_size = 0;
	}
	fwrite(line->text + screen->open_size, 1, line->size - screen->open_size, stdout);
	screen->open_size = line->size;
}

/* ---- whole lines ---- */

/* What is no UTF-8 has no place in JSON. */
static json_t *text_json(const struct screen_line *line)
{
	json_t *text = json_stringn(line->text, line->size);
	char plain[SCREEN_LINE_MAX];

	for (size_t i = 0; !text && i < line->size; i++)
		plain[i] = line->text[i] & 0x80 ? '?' : line->text[i];
	return text ? text : json_stringn(plain, line->size);
}

static void print_line(struct screen *screen, struct screen_line *line)
{
	const struct screen_line *open = screen->open;

	if (screen->json) {
		json_t *one =
		    json_pack("{s:s, s:o}", "partition", line->name, "line", text_json(line));

		cli_print_json(one);
		json_decref(one);
	} else if (open == line && !screen->open_stale) {
		fwrite(line->text + screen->open_size, 1, line->size - screen->open_size, stdout);
		putchar('\n');
		screen->open = NULL;
	} else {
		hide(screen);
		print_name(screen, line);
		fwrite(line->text, 1, line->size, stdout);
		putchar('\n');
	}
	line->size = 0;
	if (open && open != line)
		show(screen, open);
}

/* One byte within an escape sequence: ESC and a letter, or ESC [ ... up to a letter. */
static void skip(struct screen_line *line, char byte)
{
	if (line->escape == 1 && byte == '[')
		line->escape = 2;
	else if (line->escape == 1 || (byte >= '@' && byte <= '~'))
		line->escape = 0;
}

/* It is cut off there, on the screen too if it is there. */
static void cut(struct screen *screen, struct screen_line *line, size_t size)
{
	line->size = size;
	screen->open_stale |= screen->open == line && size < screen->open_size;
}

static void take(struct screen *screen, struct screen_line *line, char byte)
{
	if (line->escape) {
		skip(line, byte);
	} else if (byte == '\n') {
		line->returned = false;
		print_line(screen, line);
	} else if (byte == '\r') {
		line->returned = true;
	} else if (byte == '\b') {
		cut(screen, line, line->size - (line->size > 0));
	} else if (byte == '\033') {
		line->escape = 1;
	} else if ((unsigned char)byte >= ' ' || byte == '\t') {
		if (line->returned)
			cut(screen, line, 0);
		line->returned = false;
		if (line->size == sizeof(line->text))
			print_line(screen, line);
		line->text[line->size++] = byte;
	}
}

void screen_bytes(struct screen *screen, struct screen_line *line, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		take(screen, line, bytes[i]);
	show(screen, line);
}

void screen_end(struct screen *screen, struct screen_line *line)
{
	if (line->size > 0)
		print_line(screen, line);
	if (screen->open == line)
		hide(screen);
	line->returned = false;
	line->escape = 0;
}

void screen_choose(struct screen *screen, const struct screen_line *line)
{
	hide(screen);
	screen->chosen = line;
	if (line)
		show(screen, line);
}

void screen_note(struct screen *screen, const char *format, ...)
{
	const struct screen_line *open = screen->open;
	FILE *out = screen->terminal ? stdout : stderr;
	va_list list;

	if (screen->json)
		return;
	hide(screen);
	fputs("-- ", out);
	va_start(list, format);
	vfprintf(out, format, list);
	va_end(list);
	putc('\n', out);
	if (open)
		show(screen, open);
}
