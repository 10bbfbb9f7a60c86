#ifndef APMP_CLI_MULTIPLEXER_SCREEN_H
#define APMP_CLI_MULTIPLEXER_SCREEN_H

/* Lines of several console ports on one screen, each with the name of its partition. */

#include <stdbool.h>
#include <stddef.h>

enum { SCREEN_LINE_MAX = 1024, SCREEN_NAME_MAX = 64 };

/* What a port has printed since its last newline. */
struct screen_line {
	char name[SCREEN_NAME_MAX];
	int color; /* a number of its own */
	char text[SCREEN_LINE_MAX];
	size_t size;
	bool returned; /* after a carriage return: the next byte begins the line anew */
	int escape;    /* within an escape sequence, which is dropped */
};

struct screen {
	bool terminal, color, json;
	int width;			  /* of the longest name */
	const struct screen_line *chosen; /* shown also before its newline; NULL: none */
	const struct screen_line *open;	  /* stands on the screen without newline */
	size_t open_size;		  /* so many bytes of it */
	bool open_stale;		  /* of which some are not its any more */
};

void screen_bytes(struct screen *screen, struct screen_line *line, const char *bytes, size_t size);
/* Its port is closed: what stands without newline is shown as it is. */
void screen_end(struct screen *screen, struct screen_line *line);
/* Another one is chosen, or none. */
void screen_choose(struct screen *screen, const struct screen_line *line);
/* A line of our own, on standard error where there is no terminal; with JSON none. */
__attribute__((format(printf, 2, 3))) void screen_note(struct screen *screen, const char *format,
						       ...);

#endif
