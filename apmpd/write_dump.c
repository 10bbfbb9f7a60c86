/* Writing a dump.
 *
 * WHAT     Memory is read twice: once to know what of it is not zero, its sums, and so the room
 *          that it needs; once to write it.  In between the oldest dumps make room for its bytes,
 *          and afterwards those go that are too many: as long as it is not there, they are.
 * STATES   nothing -> DUMP_NEW is being written -> all is in it (copied) -> on the disk (fsync) ->
 *          has its name (rename) -> the name is on the disk -> no more than `keep`.
 * CRASHES  crash_2610: DUMP_NEW is left, which the next power on and `clean` remove.  Dumps that
 *          made room for its bytes are gone.  After the rename: one too many, until the next.
 * LIMITS   The parts are at rest: who wrote them is fenced.  The room on the disk is looked at
 *          before anything is removed; others may take it afterwards.
 */
#include "apmpd/write_dump.h"

#include "apmpd/state_dir.h"
#include "shm/env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BLOCK (64u * APMP_PAGE_SIZE)

struct writing {
	const struct apmp_dump *dump;
	struct apmp_dump_result *result;
	int folder_fd, fd;
	bool copied; /* and that was said */
	struct core_piece piece[CORE_PIECES_MAX];
	uint64_t used[CORE_PIECES_MAX]; /* bytes that are not zero */
	unsigned char block[BLOCK];
};

__attribute__((format(printf, 3, 4))) static int fail(struct writing *w, int error,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(w->result->why, sizeof(w->result->why), format, args);
	va_end(args);
	return error;
}

/* ---- reading ---- */

typedef int page_handler(struct writing *w, uint32_t part, uint64_t off, const void *page);

static int each_page_of(struct writing *w, uint32_t part, uint64_t from, uint64_t to,
			page_handler *handle)
{
	const struct apmp_dump_part *p = &w->dump->parts[part];
	int error = 0;

	while (from < to && !error) {
		uint64_t size = to - from < BLOCK ? to - from : BLOCK;
		ssize_t n = pread(p->fd, w->block, size, (off_t)(p->off + from));

		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)size)
			return n < 0 ? -errno : -ENODATA;
		for (uint64_t at = 0; at < size && !error; at += APMP_PAGE_SIZE)
			if (!core_page_zero(w->block + at))
				error = handle(w, part, from + at, w->block + at);
		from += size;
	}
	return error;
}

/* All pages of a part that are not zero; what was never written is skipped at once. */
static int each_page(struct writing *w, uint32_t part, page_handler *handle)
{
	const struct apmp_dump_part *p = &w->dump->parts[part];
	uint64_t at = 0;
	int error = 0;

	while (at < p->size && !error) {
		off_t data = lseek(p->fd, (off_t)(p->off + at), SEEK_DATA), hole;
		uint64_t from, to = p->size;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno; /* no more data */
		hole = lseek(p->fd, data, SEEK_HOLE);
		if ((uint64_t)data >= p->off + p->size)
			return 0;
		from = ((uint64_t)data - p->off) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
		if (hole > 0 && (uint64_t)hole < p->off + p->size)
			to = ((uint64_t)hole - p->off + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE *
			     APMP_PAGE_SIZE;
		error = each_page_of(w, part, from, to, handle);
		at = to;
	}
	return error;
}

static int measure(struct writing *w, uint32_t part, uint64_t off, const void *page)
{
	w->piece[part].sum = core_sum_page(w->piece[part].sum, off / APMP_PAGE_SIZE, page);
	w->used[part] += APMP_PAGE_SIZE;
	return 0;
}

static int measure_all(struct writing *w)
{
	const struct apmp_dump *dump = w->dump;
	int error = 0;

	if (!dump->count || dump->count > CORE_PIECES_MAX)
		return fail(w, -EINVAL, "%u pieces of memory, at most %u can be written",
			    dump->count, CORE_PIECES_MAX);
	for (uint32_t i = 0; i < dump->count && !error; i++) {
		w->piece[i] =
		    (struct core_piece){.pa = dump->parts[i].pa, .size = dump->parts[i].size};
		error = each_page(w, i, measure);
	}
	return error ? fail(w, error, "its memory can't be read: %s", strerror(-error)) : 0;
}

/* ---- room ---- */

static uint64_t head_bytes(const struct writing *w)
{
	return w->piece[0].off;
}

/* The largest that may be left out and is not yet; count: none. */
static uint32_t largest(const struct writing *w)
{
	uint32_t found = w->dump->count;

	for (uint32_t i = 0; i < w->dump->count; i++)
		if (w->dump->parts[i].may_miss && w->used[i] &&
		    (found == w->dump->count || w->used[i] > w->used[found]))
			found = i;
	return found;
}

static int fit(struct writing *w, uint64_t *ret_bytes)
{
	const struct apmp_dump *dump = w->dump;
	uint64_t bytes;
	uint32_t i;

	if (core_place(w->piece, dump->count, strlen(dump->text)) < 0)
		return fail(w, -EINVAL, "its memory is no memory: pieces that are not whole pages");
	bytes = head_bytes(w);
	for (i = 0; i < dump->count; i++)
		bytes += w->used[i];
	while (bytes > dump->limit && (i = largest(w)) < dump->count) {
		bytes -= w->used[i];
		w->result->left_out += w->piece[i].size;
		w->used[i] = w->piece[i].sum = 0;
		w->piece[i].left_out = true;
	}
	if (bytes > dump->limit)
		return fail(w, -E2BIG,
			    "%" PRIu64 " bytes without its private memory, and the limit of "
			    "all dumps is %" PRIu64,
			    bytes, dump->limit);
	*ret_bytes = bytes;
	return core_place(w->piece, dump->count, strlen(dump->text)) < 0 ? -EINVAL : 0;
}

/* From which of the dumps on, newest first, their bytes have no place beside the new one. */
static int first_too_large(const struct writing *w, const struct dump_file *files, int count,
			   uint64_t bytes)
{
	int first = 0;

	while (first < count && (bytes += files[first].bytes) <= w->dump->limit)
		first++;
	return first;
}

/* Whether there is room when the dumps from first on are gone. */
static int check_disk(struct writing *w, uint64_t bytes, const struct dump_file *files, int first,
		      int count)
{
	struct statvfs fs;
	uint64_t had;

	if (fstatvfs(w->folder_fd, &fs) < 0)
		return fail(w, -errno, "no room on the disk can be told: %s", strerror(errno));
	had = (uint64_t)fs.f_bavail * fs.f_frsize;
	for (int i = first; i < count; i++)
		had += files[i].bytes;
	if (had >= bytes + APMP_STATE_SIZE_MAX)
		return 0;
	return fail(w, -ENOSPC,
		    "the disk has %" PRIu64 " bytes, of which NVRAM may need %" PRIu64
		    ", and it wants %" PRIu64,
		    had, (uint64_t)APMP_STATE_SIZE_MAX, bytes);
}

static int remove_from(struct writing *w, const struct dump_file *files, int first, int count)
{
	for (int i = first; i < count; i++)
		if (unlinkat(w->folder_fd, files[i].name, 0) < 0 && errno != ENOENT)
			return fail(w, -errno, "%s can't be removed to make room: %s",
				    files[i].name, strerror(errno));
	return 0;
}

static int name_new(struct writing *w, const struct dump_file *files, int count)
{
	uint64_t number = count ? files[0].number + 1 : 1;

	if (number > DUMP_NUMBER_MAX)
		return fail(w, -EOVERFLOW, "no number follows that of %s; move it away",
			    files[0].name);
	dump_file_name(w->dump->partition, number, w->result->name);
	return 0;
}

/* What `keep` has no place for goes when the new one is there, unless the disk wants it before. */
static int make_room(struct writing *w, uint64_t bytes)
{
	struct dump_file *files;
	int count = dump_files(w->folder_fd, &files), first, error;
	int kept = (int)w->dump->keep - 1;

	if (count < 0)
		return fail(w, count, "the dumps that are there can't be listed: %s",
			    strerror(-count));
	first = first_too_large(w, files, count, bytes);
	error = name_new(w, files, count);
	if (!error)
		error = check_disk(w, bytes, files, first, count);
	if (error == -ENOSPC && kept < first) {
		first = kept;
		error = check_disk(w, bytes, files, first, count);
	}
	if (!error)
		error = remove_from(w, files, first, count);
	free(files);
	return error;
}

/* The new one takes the place of the oldest. */
static void keep_newest(struct writing *w)
{
	struct dump_file *files;
	int count = dump_files(w->folder_fd, &files);

	if (count < 0)
		return;						 /* the next one tries it again */
	(void)!remove_from(w, files, (int)w->dump->keep, count); /* likewise */
	free(files);
}

/* ---- writing ---- */

static int put(struct writing *w, const void *data, size_t size, uint64_t off)
{
	const unsigned char *at = data;

	while (size > 0) {
		ssize_t n = pwrite(w->fd, at, size, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		off += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int put_page(struct writing *w, uint32_t part, uint64_t off, const void *page)
{
	return put(w, page, APMP_PAGE_SIZE, w->piece[part].off + off);
}

static int put_all(struct writing *w)
{
	const struct apmp_dump *dump = w->dump;
	const struct core_piece *last = &w->piece[dump->count - 1];
	size_t size;
	void *head = core_head(w->piece, dump->count, dump->text, strlen(dump->text), &size);
	int error = head ? put(w, head, size, 0) : -ENOMEM;

	free(head);
	for (uint32_t i = 0; i < dump->count && !error; i++)
		if (!w->piece[i].left_out)
			error = each_page(w, i, put_page);
	if (!error && ftruncate(w->fd, (off_t)(last->off + (last->left_out ? 0 : last->size))) < 0)
		error = -errno;
	return error;
}

static int name_it(struct writing *w)
{
	struct stat st;

	if (fsync(w->fd) < 0 || fstat(w->fd, &st) < 0)
		return -errno;
	w->result->bytes = (uint64_t)st.st_blocks * 512;
	if (renameat(w->folder_fd, DUMP_NEW, w->folder_fd, w->result->name) < 0)
		return -errno;
	return fsync(w->folder_fd) < 0 && errno != EINVAL ? -errno : 0;
}

static int open_folder(int state_fd)
{
	if (mkdirat(state_fd, DUMP_FOLDER, 0700) < 0 && errno != EEXIST)
		return -errno;
	state_fd = openat(state_fd, DUMP_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return state_fd < 0 ? -errno : state_fd;
}

/* Nothing is read any more: once. */
static void tell_copied(struct writing *w)
{
	if (!w->copied)
		w->dump->copied(w->dump->ctx);
	w->copied = true;
}

static int write_new(struct writing *w)
{
	int error;

	if (unlinkat(w->folder_fd, DUMP_NEW, 0) < 0 && errno != ENOENT)
		return -errno;
	w->fd = openat(w->folder_fd, DUMP_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (w->fd < 0)
		return -errno;
	error = put_all(w);
	tell_copied(w);
	APMP_POINT_ARG(w->dump->env, crash_2610, w->dump->id);
	if (!error)
		error = name_it(w);
	close(w->fd);
	if (error)
		(void)unlinkat(w->folder_fd, DUMP_NEW, 0); /* the error is told already */
	return error;
}

static int write_into(struct writing *w)
{
	uint64_t bytes = 0;
	int error = measure_all(w);

	if (!error)
		error = fit(w, &bytes);
	if (!error)
		error = make_room(w, bytes);
	if (error)
		return error;
	error = write_new(w);
	if (error)
		return fail(w, error, "cannot write %" PRIu64 " bytes: %s", bytes,
			    strerror(-error));
	keep_newest(w);
	return 0;
}

int apmp_dump_write(const struct apmp_dump *dump, struct apmp_dump_result *ret)
{
	struct writing *w = calloc(1, sizeof(*w));
	int error;

	*ret = (struct apmp_dump_result){0};
	if (!w) {
		snprintf(ret->why, sizeof(ret->why), "no memory");
		dump->copied(dump->ctx);
		return -ENOMEM;
	}
	w->dump = dump;
	w->result = ret;
	w->folder_fd = open_folder(dump->state_fd);
	if (w->folder_fd < 0) {
		error = fail(w, w->folder_fd, "there can be no folder for it: %s",
			     strerror(-w->folder_fd));
	} else {
		error = write_into(w);
		close(w->folder_fd);
	}
	tell_copied(w);
	free(w);
	return error;
}

void apmp_dump_tidy(int state_fd)
{
	(void)unlinkat(state_fd, DUMP_FOLDER "/" DUMP_NEW, 0); /* most often there is none */
	(void)unlinkat(state_fd, DUMP_FOLDER, AT_REMOVEDIR);   /* if there is nothing in it */
}
