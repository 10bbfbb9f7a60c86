/*
 * The machine file, from path to checked machine.
 *
 * WHAT	A file passes three gates: it is a regular file of sensible size; its bytes are text
 *	(UTF-8 without control characters, so that NUL and invalid bytes have a place and a
 *	sentence of their own); it is YAML that means a machine (machine_file_read.c), and the
 *	machine is consistent (machine_file_check.c). The last two complain into one list, so
 *	that a person sees all mistakes of a file at once. Only the gates before them, and the
 *	syntax of YAML, end the reading: behind them nothing sensible can be said.
 * LIMITS	1 MiB of file; 100 mistakes are kept, the first ones in the file, the others are
 *	counted.
 */
#include "apmpd/machine_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apmpd/machine_file_internal.h"

static const struct machine_pos whole_file = {0};

/* ---- mistakes ---- */

static bool is_before(const struct machine_error *a, const struct machine_error *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

void apmp__machine_error(struct machine_errors *errors, struct machine_pos at, const char *format,
			 ...)
{
	struct machine_error error = {.line = at.line, .column = at.column};
	size_t place = errors->count;
	va_list args;

	va_start(args, format);
	vsnprintf(error.sentence, sizeof(error.sentence), format, args);
	va_end(args);
	while (place > 0 && is_before(&error, &errors->list[place - 1]))
		place--;
	if (errors->count == APMP_MACHINE_ERRORS)
		errors->more++;
	else
		errors->count++;
	if (place == APMP_MACHINE_ERRORS)
		return;
	memmove(&errors->list[place + 1], &errors->list[place],
		(errors->count - 1 - place) * sizeof(error));
	errors->list[place] = error;
}

static void errors_init(struct machine_errors *errors, const char *file)
{
	errors->count = 0;
	errors->more = 0;
	apmp__machine_printable(file, strlen(file), errors->file, sizeof(errors->file));
}

void apmp_machine_errors_print(const struct machine_errors *errors, FILE *out)
{
	for (size_t i = 0; i < errors->count; i++) {
		const struct machine_error *e = &errors->list[i];

		if (e->line == 0)
			fprintf(out, "%s: %s\n", errors->file, e->sentence);
		else
			fprintf(out, "%s:%u:%u: %s\n", errors->file, e->line, e->column,
				e->sentence);
	}
	if (errors->more > 0)
		fprintf(out, "%s: and %zu more mistakes\n", errors->file, errors->more);
}

/* ---- text ---- */

size_t apmp__utf8_length(const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	uint32_t code;
	size_t length;

	if (size == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (size < length)
		return 0;
	code = s[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (length == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000)))
		return 0;
	if (length == 4 && (code < 0x10000 || code > 0x10ffff))
		return 0;
	return length;
}

/* May stand on a terminal: no C0 or C1 control character, no DEL. */
static bool is_printable(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text;

	if (length == 1)
		return s[0] >= 0x20 && s[0] != 0x7f;
	return length > 2 || (length == 2 && !(s[0] == 0xc2 && s[1] < 0xa0));
}

char *apmp__machine_printable(const char *text, size_t size, char *ret_text, size_t text_size)
{
	size_t used = 0;

	for (size_t i = 0; i < size;) {
		size_t length = apmp__utf8_length(text + i, size - i);
		bool plain = is_printable(text + i, length);
		size_t step = plain ? length : 1;
		size_t wide = plain ? length : sizeof("\\xNN") - 1;
		/* An unfinished text leaves room for the dots. */
		size_t rest = i + step < size ? sizeof("...") : sizeof("");

		if (used + wide + rest > text_size) {
			memcpy(ret_text + used, "...", sizeof("..."));
			return ret_text;
		}
		if (plain)
			memcpy(ret_text + used, text + i, length);
		else
			snprintf(ret_text + used, 5, "\\x%02x", (unsigned char)text[i]);
		used += wide;
		i += step;
	}
	ret_text[used] = '\0';
	return ret_text;
}

char *apmp__machine_size_text(uint64_t bytes, char ret_text[APMP_MACHINE_NAME_SIZE])
{
	static const char units[] = {'\0', 'K', 'M', 'G', 'T'};
	size_t unit = 0;

	while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < sizeof(units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(ret_text, APMP_MACHINE_NAME_SIZE, "%llu%.1s", (unsigned long long)bytes,
		 &units[unit]);
	return ret_text;
}

/* Levenshtein distance of two short words; UINT_MAX when one is not short. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[APMP_MACHINE_NAME_SIZE];
	size_t columns = strlen(b), rows = strlen(a);

	if (columns >= APMP_MACHINE_NAME_SIZE || rows >= APMP_MACHINE_NAME_SIZE)
		return UINT32_MAX;
	for (size_t j = 0; j <= columns; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= rows; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= columns; j++) {
			unsigned change = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = corner + 1 < change ? corner + 1 : change;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
		}
	}
	return row[columns];
}

/* Similar: a slip in a short word, two in a longer one. */
void apmp__near_offer(struct apmp__near *near, const char *candidate)
{
	unsigned slips = strlen(candidate) < 4 ? 1 : 2;
	unsigned d = distance(near->word, candidate);

	if (d > slips || strlen(candidate) <= d || (near->best && d >= near->distance))
		return;
	near->best = candidate;
	near->distance = d;
}

char *apmp__near_text(const struct apmp__near *near, char ret_text[64])
{
	ret_text[0] = '\0';
	if (near->best)
		snprintf(ret_text, 64, " (did you mean '%s'?)", near->best);
	return ret_text;
}

/* The first byte that is no text, if any. */
static bool is_text(const char *text, size_t size, struct machine_errors *errors)
{
	struct machine_pos at = {.line = 1, .column = 1};

	for (size_t i = 0; i < size;) {
		size_t length = apmp__utf8_length(text + i, size - i);
		bool space = text[i] == '\t' || text[i] == '\n' || text[i] == '\r';

		if (length == 0 || (length == 1 && !space && !is_printable(text + i, 1))) {
			apmp__machine_error(errors, at,
					    "expected UTF-8 text, found the byte 0x%02x",
					    (unsigned char)text[i]);
			return false;
		}
		at.column++;
		if (text[i] == '\n') {
			at.line++;
			at.column = 1;
		}
		i += length;
	}
	return true;
}

/* ---- reading ---- */

int apmp_machine_text_read(const char *file, const char *text, size_t size,
			   struct machine_errors *errors, struct machine **ret)
{
	struct machine *machine;
	int err;

	errors_init(errors, file);
	if (size > APMP_MACHINE_FILE_MAX) {
		apmp__machine_error(errors, whole_file,
				    "expected at most 1M of machine file, found more");
		return -EINVAL;
	}
	if (!is_text(text, size, errors))
		return -EINVAL;
	machine = calloc(1, sizeof(*machine));
	err = machine ? apmp__machine_parse(text, size, errors, machine) : -ENOMEM;
	if (err == 0 && machine->magic == APMP__MACHINE_MAGIC)
		apmp__machine_check(machine, errors);
	if (err == 0 && errors->count > 0)
		err = -EINVAL;
	if (err == -ENOMEM) {
		errors_init(errors, file); /* the mistakes so far may come from it */
		apmp__machine_error(errors, whole_file, "there is not enough memory to read it");
	}
	if (err) {
		apmp_machine_free(machine);
		return err;
	}
	*ret = machine;
	return 0;
}

static const char *file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "something else";
	}
}

static int refuse(struct machine_errors *errors, const char *what, int err)
{
	apmp__machine_error(errors, whole_file, "can't %s it: %s", what, strerror(err));
	return -err;
}

/* Reads up to one byte more than a machine file may have. Returns the count or -errno. */
static ssize_t read_all(int fd, char *ret_text)
{
	size_t used = 0;

	while (used <= APMP_MACHINE_FILE_MAX) {
		ssize_t n = read(fd, ret_text + used, APMP_MACHINE_FILE_MAX + 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

static int read_fd(const char *path, int fd, struct machine_errors *errors, struct machine **ret)
{
	struct stat st;
	ssize_t size;
	char *text;
	int err;

	if (fstat(fd, &st) < 0)
		return refuse(errors, "look at", errno);
	if (!S_ISREG(st.st_mode)) {
		apmp__machine_error(errors, whole_file, "expected a regular file, found %s",
				    file_kind(st.st_mode));
		return -EINVAL;
	}
	text = malloc(APMP_MACHINE_FILE_MAX + 1);
	if (!text)
		return refuse(errors, "read", ENOMEM);
	size = read_all(fd, text);
	if (size < 0)
		err = refuse(errors, "read", (int)-size);
	else
		err = apmp_machine_text_read(path, text, (size_t)size, errors, ret);
	free(text);
	return err;
}

int apmp_machine_file_read(const char *path, struct machine_errors *errors, struct machine **ret)
{
	int fd, err;

	errors_init(errors, path);
	/* Not to wait for the other end of a FIFO, nor to take a terminal. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return refuse(errors, "open", errno);
	err = read_fd(path, fd, errors, ret);
	close(fd); /* read only: nothing can be lost */
	return err;
}

/* ---- freeing ---- */

static void sbb_fini(struct machine_sbb *sbb)
{
	for (size_t i = 0; i < sbb->iop_count; i++) {
		struct machine_iop *iop = &sbb->iops[i];

		for (size_t b = 0; b < iop->bus_count; b++)
			free(iop->buses[b].disks);
		free(iop->buses);
	}
	free(sbb->iops);
	free(sbb->cpus);
}

void apmp_machine_free(struct machine *machine)
{
	if (!machine)
		return;
	for (size_t i = 0; i < machine->sbb_count; i++)
		sbb_fini(&machine->sbbs[i]);
	for (size_t i = 0; i < machine->partition_count; i++) {
		free(machine->partitions[i].cpus);
		free(machine->partitions[i].buses);
		for (size_t k = 0; k < machine->partitions[i].failover_count; k++)
			free(machine->partitions[i].failovers[k].targets);
		free(machine->partitions[i].failovers);
		free(machine->partitions[i].autostart);
	}
	free(machine->sbbs);
	free(machine->communities);
	free(machine->partitions);
	machine->magic = 0;
	free(machine);
}
